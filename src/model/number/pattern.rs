//! Patterns of numbers and addresses that a key is limited to.
//!
//! A pattern that is written like a number fits numbers only: `8*` is meant for extensions, and not
//! for every sixteenth user id.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use super::{extension_parameter, is_punctuation, split_parameters, without_schemes};

/// A number, or an address, in which `*` stands for any run of characters and `?` for one; a
/// backslash before one of these, or before another, makes it an ordinary character.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NumberPattern {
    /// In the form that numbers are compared in, without blanks.
    text: String,
}

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// Any run of characters, none among them.
    Any,
    /// One character, whichever.
    One,
    /// This character.
    Exactly(char),
}

impl NumberPattern {
    /// More characters than this are refused.
    const LONGEST: usize = 128;
    /// What a comparable number may consist of before its `;ext=`.
    const NUMBER: &str = "0123456789+*#";

    /// Its parts, one after the other.
    fn pieces(&self) -> impl Iterator<Item = Piece> {
        let mut characters = self.text.chars();
        std::iter::from_fn(move || {
            Some(match characters.next()? {
                '*' => Piece::Any,
                '?' => Piece::One,
                // Parsing left none that stands at the end.
                '\\' => Piece::Exactly(characters.next().unwrap_or('\\')),
                other => Piece::Exactly(other),
            })
        })
    }

    /// It is written like a number, and fits nothing else.
    fn is_for_numbers(&self) -> bool {
        let plain = self.text.replace("\\*", "").replace('?', "");
        has_form_of_number(&plain)
    }

    /// It fits this number or address, which is in comparable form.
    #[cfg(test)]
    pub(crate) fn fits(&self, normalised: &str) -> bool {
        Patterns::new(std::slice::from_ref(self)).fit(normalised)
    }
}

/// Patterns that are taken apart once, to be held against many numbers.
pub(crate) struct Patterns {
    /// The parts of each, and whether it fits numbers only.
    taken_apart: Vec<(Vec<Piece>, bool)>,
}

impl Patterns {
    /// Takes them apart.
    pub(crate) fn new(patterns: &[NumberPattern]) -> Self {
        let apart = |one: &NumberPattern| (one.pieces().collect(), one.is_for_numbers());
        Self { taken_apart: patterns.iter().map(apart).collect() }
    }

    /// One of them fits this number or address, which is in comparable form.
    pub(crate) fn fit(&self, normalised: &str) -> bool {
        let is_number = has_form_of_number(normalised);
        let characters: Vec<_> = normalised.chars().collect();
        self.taken_apart
            .iter()
            .any(|(pieces, for_numbers)| (is_number || !for_numbers) && fits(pieces, &characters))
    }
}

fn fits(pieces: &[Piece], characters: &[char]) -> bool {
    let (mut piece, mut at) = (0, 0);
    // The last run, and where what follows it was tried.
    let mut run: Option<(usize, usize)> = None;
    while at < characters.len() {
        match (pieces.get(piece), run) {
            (Some(Piece::Any), _) => {
                run = Some((piece, at));
                piece += 1;
            }
            (Some(Piece::One), _) => (piece, at) = (piece + 1, at + 1),
            (Some(Piece::Exactly(one)), _) if *one == characters[at] => {
                (piece, at) = (piece + 1, at + 1);
            }
            (_, Some((begin, tried))) => {
                run = Some((begin, tried + 1));
                (piece, at) = (begin + 1, tried + 1);
            }
            (_, None) => return false,
        }
    }
    pieces[piece..].iter().all(|piece| *piece == Piece::Any)
}

impl fmt::Display for NumberPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for NumberPattern {
    type Err = &'static str;

    /// Reads a pattern as a person writes it, in the spellings that a number may have.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pattern = Self { text: comparable(text.trim())? };
        if pattern.text.is_empty() {
            return Err("a pattern is empty");
        }
        if pattern.text.chars().count() > Self::LONGEST {
            return Err("a pattern has at most 128 characters");
        }
        if pattern.text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("a pattern of addresses has no blank in it");
        }
        if !escapes_are_complete(&pattern.text) {
            return Err("a backslash stands before *, ? or another backslash");
        }
        if !pattern.pieces().any(|piece| matches!(piece, Piece::Exactly(_))) {
            return Err("a pattern of nothing but wildcards limits nothing: leave it out");
        }
        Ok(pattern)
    }
}

/// The form that numbers and addresses are compared in, with the wildcards where they were.
fn comparable(text: &str) -> Result<String, &'static str> {
    let (written, scheme) = without_schemes(text);
    let (base, parameters) = split_parameters(written);
    let is_number = is_like_number(base);
    let mut normalised = if is_number {
        base.chars().filter(|c| !is_punctuation(*c)).collect()
    } else {
        base.trim().to_lowercase()
    };
    if is_number && normalised.starts_with("00") {
        return Err("write + instead of 00");
    }
    if is_number || scheme || base.contains('@') {
        for extension in parameters.split(';').filter_map(extension_parameter) {
            write!(normalised, ";ext={extension}").expect("a String takes every write");
        }
        Ok(normalised)
    } else {
        Ok(written.trim().to_lowercase())
    }
}

/// It consists of wildcards and of what people write numbers with.
fn is_like_number(text: &str) -> bool {
    let number = |c| NumberPattern::NUMBER.contains(c) || c == '?' || is_punctuation(c);
    text.replace("\\*", "").chars().all(number)
}

/// It has the form into which only numbers are brought.
fn has_form_of_number(text: &str) -> bool {
    let rest = text.trim_start_matches(|c| NumberPattern::NUMBER.contains(c));
    rest.is_empty() || rest.starts_with(";ext=") && !rest.contains('@')
}

fn escapes_are_complete(text: &str) -> bool {
    let mut characters = text.chars();
    while let Some(one) = characters.next() {
        if one == '\\' && !matches!(characters.next(), Some('*' | '?' | '\\')) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Number;
    use super::*;

    fn pattern(text: &str) -> NumberPattern {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_pattern_is_kept_in_the_form_that_numbers_are_compared_in() {
        for (given, kept) in [
            (" +49 (30) 123-* ", "+4930123*"),
            ("tel:+49.30.???", "+4930???"),
            ("88*", "88*"),
            ("\\*21#", "\\*21#"),
            ("sips:*@Example.com;transport=tls", "*@example.com"),
            ("+4930*;EXT=1-2;isub=9", "+4930*;ext=12"),
            ("Agent-*", "agent-*"),
            ("agent;*", "agent;*"),
            ("8A34a46b-*", "8a34a46b-*"),
            ("contoso\\\\*", "contoso\\\\*"),
        ] {
            let read = pattern(given);
            assert_eq!(read.to_string(), kept, "{given}");
            assert_eq!(pattern(kept), read);
        }
    }

    #[test]
    fn what_would_fit_nothing_or_everything_is_refused() {
        let long = "8".repeat(129);
        for (wrong, why) in [
            ("", "empty"),
            (" tel: ", "empty"),
            ("()-", "empty"),
            ("*", "leave it out"),
            ("(?)*", "leave it out"),
            ("sip:**", "leave it out"),
            ("0049*", "instead of 00"),
            ("0 (0) 49", "instead of 00"),
            ("a b*", "blank"),
            ("a\0", "blank"),
            ("8\\", "backslash"),
            ("a\\b", "backslash"),
            ("8\\(*", "backslash"),
            (&long, "128"),
        ] {
            let error = wrong.parse::<NumberPattern>().unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
        assert!("8".repeat(128).parse::<NumberPattern>().is_ok());
    }

    #[test]
    fn wildcards_stand_for_characters() {
        for (text, fitting, other) in [
            ("88*", &["88", "8856", "88;ext=5"][..], &["8", "188", "+4988"][..]),
            ("88??", &["8856"], &["885", "88561", "88"]),
            ("*56", &["56", "8856", "5656"], &["8855", "56;ext=1"]),
            ("+49*8*6", &["+4986", "+49301238856", "+498866"], &["+496", "+49885"]),
            ("\\*21*", &["*21", "*21#"], &["21", "x21", "8*21"]),
            ("*@example.com", &["alice@example.com", "@example.com"], &["alice@example.comm"]),
            ("al?ce@*", &["alice@x", "alüce@x"], &["alce@x", "aliice@x"]),
            ("a.c%_", &["a.c%_"], &["abc%_", "a.cx_", "a.c%x"]),
        ] {
            for one in fitting {
                assert!(pattern(text).fits(one), "{text} {one}");
            }
            for one in other {
                assert!(!pattern(text).fits(one), "{text} {one}");
            }
        }
    }

    #[test]
    fn a_pattern_of_numbers_fits_no_user_id_and_no_address() {
        for address in ["8a34a46b-3d17-4adc-8dce-dc4e7d572698", "8856@example.com", "8;ext=5@x"] {
            assert!(!pattern("8*").fits(address), "{address}");
        }
        assert!(pattern("8*@example.com").fits("8856@example.com"));
        assert!(pattern("8a*").fits("8a34a46b-3d17-4adc-8dce-dc4e7d572698"));
    }

    /// What the pattern means, by the book: each way of sharing the characters out.
    fn fits_by_the_book(pieces: &[Piece], text: &[char]) -> bool {
        match (pieces.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((Piece::Any, rest)), None) => fits_by_the_book(rest, text),
            (Some((Piece::Any, rest)), Some((_, after))) => {
                fits_by_the_book(rest, text) || fits_by_the_book(pieces, after)
            }
            (Some((Piece::Exactly(one), rest)), Some((first, after))) if one == first => {
                fits_by_the_book(rest, after)
            }
            (Some((Piece::One, rest)), Some((_, after))) => fits_by_the_book(rest, after),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn what_is_displayed_is_read_back(
            text in "(sip:|TEL:| |;|ext=|=|@|\\\\\\*|\\\\|\\*|\\?|[0-9a-zA-Z().#+-]|\\PC){0,16}",
        ) {
            if let Ok(read) = text.parse::<NumberPattern>() {
                let shown = read.to_string();
                // Columns hold them with blanks between.
                prop_assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), [shown.as_str()]);
                prop_assert_eq!(shown.parse(), Ok(read));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), number in any::<String>()) {
            let _ = text.parse::<NumberPattern>().map(|pattern| pattern.fits(&number));
        }

        #[test]
        fn a_pattern_without_wildcards_fits_its_own_number(
            raw in "(sip:|TEL:|;|ext=|=|@|\\+|[0-9a-zA-Z().#-]){1,16}",
        ) {
            if let (Ok(number), Ok(read)) = (Number::parse(&raw), raw.parse::<NumberPattern>()) {
                prop_assert!(read.fits(&number.normalised), "{} {:?}", read, number);
            }
        }

        #[test]
        fn it_fits_what_it_means(text in "x[ab*?]{0,8}", other in "x[ab]{0,8}") {
            let read = pattern(&text);
            let pieces: Vec<_> = read.pieces().collect();
            let characters: Vec<_> = other.chars().collect();
            prop_assert_eq!(read.fits(&other), fits_by_the_book(&pieces, &characters));
        }
    }
}
