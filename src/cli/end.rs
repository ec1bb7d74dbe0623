//! Why and by whom a call was ended, as people and scripts read it.

use serde::Serialize;

use super::output::Table;
use crate::clock::Timestamp;
use crate::model::change::EndReason;
use crate::model::end_reason::{OurPart, VERSION, meaning, verdict};

/// The end of a call: Graph's words as they came, what they mean in ours, and our verdict.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndEntry<'a> {
    pub(super) ended_at: String,
    code: Option<i64>,
    subcode: Option<i64>,
    message: Option<&'a str>,
    reason: Option<&'a str>,
    meaning: Option<&'static str>,
    /// Who or what the reason names.
    cause: Option<&'static str>,
    /// Whether Graph's documents explain the reason; null for one without a meaning.
    documented: Option<bool>,
    /// The version of the table of meanings.
    meanings: u32,
    verdict: &'static str,
}

impl<'a> EndEntry<'a> {
    pub(super) fn new(at: Timestamp, reason: &'a EndReason, ours: OurPart) -> Self {
        let EndReason { code, subcode, message, word } = reason;
        let known = meaning(reason);
        Self {
            ended_at: at.to_string(),
            code: *code,
            subcode: *subcode,
            message: message.as_deref(),
            reason: word.as_deref(),
            meaning: known.map(|known| known.text),
            cause: known.map(|known| known.cause.as_str()),
            documented: known.map(|known| known.documented),
            meanings: VERSION,
            verdict: verdict(reason, ours).as_str(),
        }
    }

    /// Adds a row for each fact but the time.
    pub(super) fn add_to(&self, table: &mut Table) {
        let known = self.meaning.map(|text| match self.documented {
            Some(false) => format!("{text} (Graph does not document this reason)"),
            _ => text.to_owned(),
        });
        for (name, value) in [
            ("end reason", self.graphs_words()),
            ("which means", known),
            ("Graph's message", self.message.map(str::to_owned)),
            ("verdict", Some(self.verdict.to_owned())),
        ] {
            if let Some(value) = value {
                table.add([name.to_owned(), value]);
            }
        }
    }

    /// Code and subcode as in `200/5001`, and the word.
    fn graphs_words(&self) -> Option<String> {
        let number = |number: Option<i64>| number.map(|number| number.to_string());
        let numbers = match (number(self.code), number(self.subcode)) {
            (None, None) => None,
            (code, None) => code,
            (code, Some(subcode)) => Some(format!("{}/{subcode}", code.unwrap_or_default())),
        };
        let words: Vec<_> = numbers.into_iter().chain(self.reason.map(str::to_owned)).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reason: &EndReason) -> String {
        let mut table = Table::without_headings();
        EndEntry::new(Timestamp(0), reason, OurPart::Taken).add_to(&mut table);
        table.to_text()
    }

    #[test]
    fn a_reason_is_shown_as_it_came_with_its_meaning_and_the_verdict() {
        let reason = EndReason {
            code: Some(200),
            subcode: Some(7000),
            message: Some("over".to_owned()),
            word: Some("AppInitiated".to_owned()),
        };
        assert_eq!(
            text(&reason),
            "end reason       200/7000 AppInitiated\n\
             which means      The app hung up.\n\
             Graph's message  over\n\
             verdict          ended_by_us\n"
        );
        let unknown = EndReason { code: Some(500), subcode: Some(7106), ..EndReason::default() };
        assert!(text(&unknown).contains("(Graph does not document this reason)"));
        let subcode = EndReason { subcode: Some(5001), ..EndReason::default() };
        assert!(text(&subcode).starts_with("end reason  /5001\n"));
        assert_eq!(text(&EndReason::default()), "verdict  ended_by_us\n");
    }
}
