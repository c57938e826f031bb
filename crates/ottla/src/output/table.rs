//! Tables: aligned with a header for people, tab-separated without one for programs.

use super::style::Style;

/// On which side a column is flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// What parts columns for people.
const GAP: &str = "  ";

/// Rows under a header.
pub struct Table {
    header: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: impl Into<Vec<(&'static str, Align)>>) -> Table {
        Table { header: header.into(), rows: Vec::new() }
    }

    /// Adds a row, which MUST have as many cells as the header.
    pub fn row(&mut self, cells: impl Into<Vec<String>>) {
        let cells = cells.into();
        assert_eq!(cells.len(), self.header.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    pub fn to_text(&self, style: Style) -> String {
        match style {
            Style::Terminal { .. } => self.aligned(style),
            Style::Plain | Style::Json => self.rows.iter().map(|row| row.join("\t") + "\n").collect(),
        }
    }

    fn aligned(&self, style: Style) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.header[column].0.len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for ((cell, (_, align)), width) in cells.zip(&self.header).zip(&widths) {
                let padding = " ".repeat(width - cell.chars().count());
                match align {
                    Align::Left => line.extend([cell, &padding, GAP]),
                    Align::Right => line.extend([&padding, cell, GAP]),
                }
            }
            line.trim_end().to_owned()
        };
        let header = line(&mut self.header.iter().map(|(name, _)| *name));
        let rows = self.rows.iter().map(|row| line(&mut row.iter().map(String::as_str)) + "\n");
        [style.dim(&header), "\n".to_owned()].into_iter().chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_for_people_and_tabbed_for_programs() {
        let mut table = Table::new([("NAME", Align::Left), ("SIZE", Align::Right), ("NOTE", Align::Left)]);
        table.row(["orders".to_owned(), "7".to_owned(), "ü".to_owned()]);
        table.row(["a".to_owned(), "12345".to_owned(), String::new()]);
        let people = "NAME     SIZE  NOTE\norders      7  ü\na       12345\n";
        assert_eq!(table.to_text(Style::Terminal { colour: false }), people);
        assert_eq!(table.to_text(Style::Plain), "orders\t7\tü\na\t12345\t\n");
        let coloured = table.to_text(Style::Terminal { colour: true });
        assert!(coloured.starts_with("\x1b[2mNAME     SIZE  NOTE\x1b[0m\norders"), "{coloured:?}");
    }
}
