//! Reads one source file as far as the rules of the tree need it: which modules of the crate it
//! names, and from where.
//!
//! Not a parser. Comments and literals are blanked first, so that what is left of a file is tokens;
//! of those only `mod`, braces, `#[cfg(test)]` and paths are looked at.

use std::collections::BTreeSet;

/// A file below `src`.
#[derive(Debug)]
pub(super) struct SourceFile {
    /// As messages show it: `src/store/sqlite.rs`.
    pub(super) path: String,
    /// What it is in the crate: `["store", "sqlite"]`; nothing for `lib.rs`.
    pub(super) module: Vec<String>,
    pub(super) text: String,
}

/// A top-level module of the crate that a file names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) line: usize,
    /// The first segment behind `crate::`.
    pub(super) target: String,
    /// Whether only a test build sees it.
    pub(super) in_tests: bool,
}

impl SourceFile {
    /// The file with the path `path`, seen from the package's root.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let inner = path.strip_prefix("src/").unwrap_or(path);
        let inner = inner.strip_suffix(".rs").unwrap_or(inner);
        let module = match inner {
            "lib" => Vec::new(),
            inner => inner.split('/').map(str::to_owned).collect(),
        };
        Self { path: path.to_owned(), module, text: text.to_owned() }
    }

    /// The top-level module that it belongs to, if any.
    pub(super) fn top(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }

    /// Every module of the crate that it names, in the order of its lines. A module named through
    /// `super` counts as well; `test_only` are the modules that only a test build has.
    pub(super) fn references(&self, test_only: &BTreeSet<Vec<String>>) -> Vec<Reference> {
        let mut found = Vec::new();
        self.walk(test_only, |step| {
            if let Step::Names(reference) = step {
                found.push(reference);
            }
        });
        found
    }

    /// The modules in files of their own that it declares under `#[cfg(test)]`.
    pub(super) fn test_only_modules(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        self.walk(&BTreeSet::new(), |step| {
            if let Step::DeclaresTestModule(module) = step {
                found.push(module);
            }
        });
        found
    }

    /// Whether the code, not a comment or a text, has the macro `name`; with its lines.
    pub(super) fn macro_calls(&self, name: &str) -> Vec<usize> {
        let tokens = tokens(&self.text);
        let calls = tokens.windows(2).filter(|pair| pair[0].text == name && pair[1].text == "!");
        calls.map(|pair| pair[0].line).collect()
    }

    fn walk(&self, test_only: &BTreeSet<Vec<String>>, mut tell: impl FnMut(Step)) {
        let tokens = tokens(&self.text);
        let mut module = self.module.clone();
        let mut in_tests = (1..=module.len()).any(|end| test_only.contains(&module[..end]));
        // What each open brace ends: an inline module and whether its outside is test code, or
        // anything else.
        let mut open: Vec<Option<bool>> = Vec::new();
        let mut test_attribute = false;
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let follows = |offset: usize| tokens.get(at + offset).map_or("", |token| &token.text);
            match token.text.as_str() {
                "cfg" if follows(1) == "(" && follows(2) == "test" && follows(3) == ")" => {
                    test_attribute = true;
                }
                "mod" if follows(2) == "{" => {
                    module.push(follows(1).to_owned());
                    open.push(Some(in_tests));
                    in_tests |= test_attribute;
                    test_attribute = false;
                    at += 2;
                }
                "mod" if follows(2) == ";" && test_attribute => {
                    let mut declared = module.clone();
                    declared.push(follows(1).to_owned());
                    tell(Step::DeclaresTestModule(declared));
                }
                "{" => {
                    test_attribute = false;
                    open.push(None);
                }
                "}" => {
                    if let Some(outside) = open.pop().flatten() {
                        module.pop();
                        in_tests = outside;
                    }
                }
                ";" => test_attribute = false,
                "crate" | "super" if follows(1) == "::" && !is_behind_a_path(&tokens, at) => {
                    let (above, next) = climb(&tokens, at);
                    // A path that stays below the crate's root names its own module only.
                    if above.is_none_or(|steps| steps >= module.len()) {
                        for (line, target) in first_segments(&tokens, next) {
                            tell(Step::Names(Reference { line, target, in_tests }));
                        }
                    }
                    at = next;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }
}

enum Step {
    Names(Reference),
    DeclaresTestModule(Vec<String>),
}

#[derive(Debug)]
struct Token {
    line: usize,
    text: String,
}

/// Whether the token at `at` continues a path: in `a::super` it is not the beginning.
fn is_behind_a_path(tokens: &[Token], at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| tokens[before].text == "::")
}

/// How many `super` stand at `at` (nothing for `crate`), and where the path goes on behind them.
fn climb(tokens: &[Token], at: usize) -> (Option<usize>, usize) {
    if tokens[at].text == "crate" {
        return (None, at + 2);
    }
    let pairs = tokens[at..].chunks(2);
    let steps = pairs.take_while(|pair| pair.len() == 2 && pair[0].text == "super").count();
    (Some(steps), at + 2 * steps)
}

/// The first segments of the path or of the `{…}` group at `at`.
fn first_segments(tokens: &[Token], at: usize) -> Vec<(usize, String)> {
    let Some(first) = tokens.get(at) else { return Vec::new() };
    if first.text != "{" {
        return vec![(first.line, first.text.clone())];
    }
    let mut found = Vec::new();
    let mut depth = 0;
    let mut at_start = false;
    for token in &tokens[at..] {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                at_start = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            "," => at_start = depth == 1,
            name => {
                if at_start {
                    found.push((token.line, name.to_owned()));
                }
                at_start = false;
            }
        }
    }
    found
}

fn tokens(text: &str) -> Vec<Token> {
    let code = without_comments_and_literals(text);
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
            let length = match first {
                _ if is_word(first) => rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            let (token, behind) = rest.split_at(length);
            tokens.push(Token { line: number + 1, text: token.to_owned() });
            rest = behind.trim_start();
        }
    }
    tokens
}

/// The text with blanks in place of comments, strings and characters; every line stays where it is.
fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_word = false;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' if !in_word => raw_string(rest),
            '\'' => character(rest),
            _ => 0,
        };
        let length = if skipped == 0 { first.len_utf8() } else { skipped };
        let (read, behind) = rest.split_at(length);
        if skipped == 0 {
            code.push_str(read);
        } else {
            code.extend(read.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
        }
        // `br"…"` and `cr"…"` are raw strings too, `for"` is none.
        in_word = skipped == 0 && first.is_alphanumeric() && !matches!(first, 'b' | 'c');
        rest = behind;
    }
    code
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the raw string that `text` begins with; 0 if it begins with none.
fn raw_string(text: &str) -> usize {
    let fence = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    let Some(inside) = text[1 + fence..].strip_prefix('"') else { return 0 };
    let end = format!("\"{}", "#".repeat(fence));
    inside.find(&end).map_or(text.len(), |at| 1 + fence + 1 + at + end.len())
}

/// The length of the character that `text` begins with; 0 if it is a lifetime.
fn character(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => {
            letters.next();
            letters.find(|(_, letter)| *letter == '\'').map_or(text.len(), |(at, _)| at + 1)
        }
        Some(_) => match letters.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}
