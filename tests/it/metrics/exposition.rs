//! A strict reader of `OpenMetrics` text, as far as the gateway writes it. It knows nothing of the program
//! that wrote it, and panics at whatever the format forbids.

use std::collections::{BTreeMap, BTreeSet};

/// What was exposed at one moment.
#[derive(Clone, Debug)]
pub(super) struct Exposition {
    pub(super) families: Vec<Family>,
}

/// A metric with all its series.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) kind: String,
    /// By name and labels, as they are written.
    pub(super) series: BTreeMap<String, f64>,
    pub(super) labels: BTreeSet<(String, String)>,
}

impl Exposition {
    #[track_caller]
    pub(super) fn read(text: &str) -> Self {
        let lines = text.strip_suffix("\n# EOF\n").expect("it ends as it should").lines();
        let mut families: Vec<Family> = Vec::new();
        let mut lines = lines.peekable();
        while let Some(line) = lines.next() {
            let (name, help) = described(line, "HELP");
            assert!(help.len() > 10 && !help.contains('\\'), "{line}");
            let (typed, kind) = described(lines.next().expect("a type"), "TYPE");
            assert_eq!(name, typed, "HELP and TYPE belong together");
            if let Some(line) = lines.next_if(|line| line.starts_with("# UNIT ")) {
                let (of, unit) = described(line, "UNIT");
                assert_eq!(of, name);
                assert!(name.ends_with(&format!("_{unit}")), "{line}");
            }
            assert!(families.iter().all(|other| other.name != name), "{name} is there twice");
            let mut family = Family {
                name: name.to_owned(),
                kind: kind.to_owned(),
                series: BTreeMap::new(),
                labels: BTreeSet::new(),
            };
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                family.take(line);
            }
            family.check();
            families.push(family);
        }
        Self { families }
    }

    /// The value of a series; 0 where a counter has not begun.
    pub(super) fn value(&self, series: &str) -> f64 {
        let found = self.families.iter().find_map(|family| family.series.get(series));
        found.copied().unwrap_or_default()
    }

    /// By how much each series has changed since `before`.
    pub(super) fn since(&self, before: &Self) -> BTreeMap<String, f64> {
        let all = self.families.iter().flat_map(|family| &family.series);
        let changes = all.map(|(name, value)| (name.clone(), value - before.value(name)));
        changes.filter(|(_, change)| *change != 0.0).collect()
    }
}

impl Family {
    /// The name that its documentation has.
    pub(super) fn documented(&self) -> String {
        match self.kind.as_str() {
            "counter" => format!("{}_total", self.name),
            "info" => format!("{}_info", self.name),
            _ => self.name.clone(),
        }
    }

    #[track_caller]
    fn take(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let value: f64 = value.parse().expect("a value is a number");
        assert!(value.is_finite() && value >= 0.0, "{line}");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect("labels end")),
            None => (series, ""),
        };
        let suffix = name.strip_prefix(&self.name).expect("a sample is of its family");
        let suffixes: &[&str] = match self.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("what is a {other}?"),
        };
        assert!(suffixes.contains(&suffix), "{line} is of a {}", self.kind);
        let mut rest = labels;
        while !rest.is_empty() {
            let (name, after) = rest.split_once("=\"").expect("a label has a value");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
            let (value, after) = after.split_once('"').expect("a value ends");
            assert!(!value.contains('\\'), "{line} needs no escapes");
            self.labels.insert((name.to_owned(), value.to_owned()));
            rest = after.strip_prefix(',').unwrap_or(after);
            assert!(after.is_empty() || after.starts_with(','), "{line}");
        }
        let before = self.series.insert(series.to_owned(), value);
        assert!(before.is_none(), "{series} is there twice");
    }

    #[track_caller]
    fn check(&self) {
        let name = self.name.as_bytes();
        assert!(name.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_'));
        assert!(self.name.starts_with("callgate_"), "{}", self.name);
        if self.kind != "histogram" {
            return;
        }
        let class = |series: &String| {
            let bound = series.split_once("{le=\"")?.1.trim_end_matches("\"}").replace('+', "");
            bound.parse::<f64>().ok()
        };
        let mut classes: Vec<_> =
            self.series.iter().filter_map(|(name, count)| Some((class(name)?, *count))).collect();
        classes.sort_by(|one, other| one.partial_cmp(other).expect("they are numbers"));
        assert!(classes.windows(2).all(|pair| pair[0].1 <= pair[1].1), "each holds the lower ones");
        let all = self.series.get(&format!("{}_count", self.name)).expect("a count");
        assert_eq!(classes.last(), Some(&(f64::INFINITY, *all)), "the last class holds all");
    }
}

#[track_caller]
fn described<'a>(line: &'a str, what: &str) -> (&'a str, &'a str) {
    let rest = line.strip_prefix(&format!("# {what} ")).unwrap_or_else(|| panic!("{line}: {what}"));
    rest.split_once(' ').expect("a name, and what is said of it")
}
