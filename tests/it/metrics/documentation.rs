//! The section on metrics in docs/OPERATIONS.md, held against what is exposed.

use std::collections::BTreeSet;

use super::exposition::{Exposition, Family};

/// The section, without its heading.
pub(super) fn section() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md");
    let page = std::fs::read_to_string(page).expect("it is there");
    let (_, from) = page.split_once("\n## Metrics\n").expect("the section begins");
    let (section, _) = from.split_once("\n## ").expect("another one follows");
    section.to_owned()
}

/// Every word that a label has is in the row of its metric. Actions and what they are answered with
/// are those of the protocol.
#[track_caller]
pub(super) fn explains(section: &str, exposition: &Exposition) {
    for family in exposition.families.iter().filter(|family| family.name != "callgate_requests") {
        let name = family.documented();
        let of = |row: &&str| {
            let after = row.strip_prefix("| `").and_then(|row| row.strip_prefix(&*name));
            after.is_some_and(|after| after.starts_with(['`', '{']))
        };
        let row = section.lines().find(of).expect("it has a row");
        for (label, word) in &family.labels {
            // Operations have their names in the protocol as well.
            if !["tenant", "le", "version", "operation"].contains(&label.as_str()) {
                assert!(row.contains(&format!("`{word}`")), "{name}: {label}=\"{word}\"");
            }
        }
    }
}

/// Each series that an alert looks for is there, also before it has counted anything: an alert on what is
/// not there is never raised.
#[track_caller]
pub(super) fn alerts_on_what_is_there(section: &str, exposition: &Exposition) {
    let (_, rules) = section.split_once("```yaml\n").expect("the rules begin");
    let (rules, _) = rules.split_once("\n```").expect("they end");
    let conditions: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert_eq!(conditions.len(), rules.matches("- alert: ").count());
    let mut looked_at = BTreeSet::new();
    for condition in conditions.iter().filter(|condition| condition.contains("callgate_")) {
        let from = condition.find("callgate_").expect("it is there");
        let selector = &condition[from..];
        let end = selector.find(|c: char| !c.is_ascii_lowercase() && c != '_');
        let (name, rest) = selector.split_at(end.expect("a name ends"));
        let is_meant = |family: &&Family| family.documented() == name;
        let family = exposition.families.iter().find(is_meant);
        let family = family.unwrap_or_else(|| panic!("nothing is called {name}"));
        looked_at.insert(name);
        let Some((matcher, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
        else {
            continue;
        };
        let (label, words) = matcher.split_once('=').expect("one matcher");
        for word in words.trim_start_matches('~').trim_matches('"').split('|') {
            let label = (label.to_owned(), word.to_owned());
            assert!(family.labels.contains(&label), "{name} has no {label:?}");
        }
    }
    assert!(looked_at.contains("callgate_health") && looked_at.len() > 5, "{looked_at:?}");
}
