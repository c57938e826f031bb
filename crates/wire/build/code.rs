//! Text with indentation.

/// Collects lines of code and indents them by the braces around them.
#[derive(Default)]
pub struct Code {
    text: String,
    depth: usize,
}

impl Code {
    /// Adds `text`, which may be several lines. A line that begins with a closing bracket is less deep, what
    /// follows a line that ends with an opening one is deeper.
    pub fn add(&mut self, text: impl AsRef<str>) {
        for line in text.as_ref().lines() {
            let line = line.trim();
            if line.starts_with(['}', ')', ']']) {
                self.depth = self.depth.saturating_sub(1);
            }
            if !line.is_empty() {
                self.text.push_str(&"    ".repeat(self.depth));
                self.text.push_str(line);
            }
            self.text.push('\n');
            if line.ends_with(['{', '(', '[']) {
                self.depth += 1;
            }
        }
    }

    pub fn blank(&mut self) {
        self.text.push('\n');
    }

    pub fn finish(self) -> String {
        self.text
    }
}
