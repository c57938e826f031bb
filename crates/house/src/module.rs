//! What one module declares, imports and names.

use std::collections::BTreeSet;

use crate::tokens::Token;

/// One module: a file, or a block in one.
#[derive(Debug, Default)]
pub struct Module {
    /// Modules declared here that have files of their own.
    pub files: Vec<String>,
    /// Modules declared here with their contents.
    pub blocks: Vec<(String, Module)>,
    /// What else is declared here.
    pub items: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// Words that stand alone or begin a path, outside of imports.
    pub words: BTreeSet<String>,
    /// Paths of two words and more, wherever they are.
    pub paths: Vec<Path>,
}

/// One name that a `use` brings, or all of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    pub path: Path,
    /// The name here; `None` for `*`.
    pub name: Option<String>,
    /// It is passed on to others (`pub use`).
    pub passed_on: bool,
}

/// Words with `::` between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub words: Vec<String>,
    pub line: usize,
}

/// Words behind which the name of an item stands.
const DECLARATIONS: [&str; 9] =
    ["fn", "struct", "enum", "union", "trait", "type", "const", "static", "macro_rules"];

impl Module {
    /// Reads a whole file.
    pub fn parse(tokens: &[Token<'_>]) -> Module {
        let mut reader = Reader { tokens, at: 0 };
        reader.module()
    }
}

struct Reader<'t, 's> {
    tokens: &'t [Token<'s>],
    at: usize,
}

impl<'s> Reader<'_, 's> {
    /// Reads up to the brace that closes the module, or to the end.
    fn module(&mut self) -> Module {
        let mut module = Module::default();
        let (mut depth, mut elsewhere) = (0, false);
        while let Some(token) = self.next() {
            match token.text {
                "pub" => {
                    self.visibility();
                    if self.peek(0) == "use" {
                        self.at += 1;
                        self.import(true, &mut module);
                    }
                }
                // `#[path = "…"]`: a file of another folder is no part of this crate.
                "path" if self.peek(0) == "=" => elsewhere = true,
                "{" => depth += 1,
                "}" if depth == 0 => break,
                "}" => depth -= 1,
                "use" => self.import(false, &mut module),
                "mod" if depth == 0 && std::mem::take(&mut elsewhere) => {}
                "mod" if depth == 0 => self.declared(&mut module),
                word if DECLARATIONS.contains(&word) && depth == 0 => self.item(word, &mut module),
                _ if token.is_name() => self.path(token, &mut module),
                _ => {}
            }
        }
        module
    }

    fn next(&mut self) -> Option<Token<'s>> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn peek(&self, ahead: usize) -> &'s str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.text)
    }

    /// Skips what may stand behind `pub`.
    fn visibility(&mut self) {
        if self.peek(0) == "(" {
            while !matches!(self.peek(0), ")" | "") {
                self.at += 1;
            }
            self.at += 1;
        }
    }

    fn declared(&mut self, module: &mut Module) {
        let Some(name) = self.next().filter(Token::is_name) else { return };
        match self.next().map(|token| token.text) {
            Some("{") => {
                let contents = self.module();
                module.blocks.push((name.text.to_owned(), contents));
            }
            _ => module.files.push(name.text.to_owned()),
        }
    }

    fn item(&mut self, word: &str, module: &mut Module) {
        // `const fn`, `static mut`, `macro_rules!`, `const _`.
        let skipped = match (word, self.peek(0)) {
            ("const", "fn" | "unsafe" | "async") | ("type", "") => return,
            ("static", "mut") | ("macro_rules", "!") => 1,
            _ => 0,
        };
        let name = self.peek(skipped);
        if self.peek(skipped + 1) != "::" {
            module.items.insert(name.to_owned());
            self.at += skipped + 1;
        }
    }

    /// Reads a path whose first word has been read, if it has another one.
    fn path(&mut self, first: Token<'s>, module: &mut Module) {
        let mut words = vec![first.text.to_owned()];
        while self.peek(0) == "::" && self.tokens.get(self.at + 1).is_some_and(Token::is_name) {
            words.push(self.peek(1).to_owned());
            self.at += 2;
        }
        module.words.extend(words.first().cloned());
        if words.len() > 1 {
            module.paths.push(Path { words, line: first.line });
        }
    }

    /// Reads what follows `use`, with its semicolon.
    fn import(&mut self, passed_on: bool, module: &mut Module) {
        if self.peek(0) == "<" {
            return; // `impl Trait + use<'a>`
        }
        let known = module.imports.len();
        self.import_tree(&[], module);
        module.imports[known..].iter_mut().for_each(|import| import.passed_on = passed_on);
    }

    fn import_tree(&mut self, prefix: &[String], module: &mut Module) {
        let mut words = prefix.to_vec();
        while let Some(token) = self.next() {
            match token.text {
                "::" => {}
                "*" => return module.import(words, None, token.line),
                "{" => {
                    while !matches!(self.peek(0), "}" | "") {
                        self.import_tree(&words, module);
                        if self.peek(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                _ if token.is_name() => {
                    words.push(token.text.to_owned());
                    match self.peek(0) {
                        "::" => {}
                        "as" => {
                            let name = self.peek(1).to_owned();
                            self.at += 2;
                            return module.import(words, Some(name), token.line);
                        }
                        _ => {
                            if token.text == "self" && words.len() > 1 {
                                words.pop();
                            }
                            let name = words.last().cloned();
                            return module.import(words, name, token.line);
                        }
                    }
                }
                _ => return,
            }
        }
    }
}

impl Import {
    /// Whether the module itself needs what it imports. What it only passes on it would not miss.
    pub fn is_needed(&self, module: &Module) -> bool {
        !self.passed_on || self.name.as_ref().is_some_and(|name| module.words.contains(name))
    }
}

impl Module {
    fn import(&mut self, words: Vec<String>, name: Option<String>, line: usize) {
        self.imports.push(Import { path: Path { words, line }, name, passed_on: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::tokens;

    fn parsed(source: &str) -> Module {
        Module::parse(&tokens(source))
    }

    #[test]
    fn imports_are_taken_apart() {
        let module =
            parsed("use a::{b, c::{self, d as e}, f::*}; pub use crate::g; fn f() { use super::h; }");
        let imports: Vec<(String, Option<&str>)> =
            module.imports.iter().map(|one| (one.path.words.join("::"), one.name.as_deref())).collect();
        let expected = [
            ("a::b", Some("b")),
            ("a::c", Some("c")),
            ("a::c::d", Some("e")),
            ("a::f", None),
            ("crate::g", Some("g")),
            ("super::h", Some("h")),
        ];
        assert_eq!(imports, expected.map(|(path, name)| (path.to_owned(), name)));
    }

    #[test]
    fn what_is_only_passed_on_is_not_needed() {
        let module = parsed("pub use a::B; pub(crate) use c::{D, E}; use f::G; pub use h::*; fn i(d: D) {}");
        let needed: Vec<bool> = module.imports.iter().map(|import| import.is_needed(&module)).collect();
        assert_eq!(needed, [false, true, false, true, false]);
    }

    #[test]
    fn what_is_declared_is_found_but_not_what_is_inside_of_functions() {
        let module = parsed(
            "mod a; #[path = \"../z.rs\"] mod z; pub mod b { pub struct C; } pub const fn d() { const E: u8 = 0; } static mut F: u8 = 0; \
             macro_rules! g { () => {} } impl C { fn h() {} } const I: j::K = 1;",
        );
        assert_eq!(module.files, ["a"]);
        assert_eq!(module.blocks.len(), 1);
        assert!(module.blocks[0].1.items.contains("C"));
        assert_eq!(module.items.iter().map(String::as_str).collect::<Vec<_>>(), ["F", "I", "d", "g"]);
        assert_eq!(module.paths.len(), 1);
    }

    #[test]
    fn paths_are_found_wherever_they_are() {
        let module = parsed(
            "fn f(x: crate::a::B) -> C<d::e::F<G>> { h::i::<J>(); Self::k; l.m::<n::O>() } x! { p => q::r }",
        );
        let paths: Vec<String> = module.paths.iter().map(|path| path.words.join("::")).collect();
        assert_eq!(paths, ["crate::a::B", "d::e::F", "h::i", "Self::k", "n::O", "q::r"]);
    }
}
