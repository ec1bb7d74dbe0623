//! The answer as one line of text, for clients that can do no more than print it.
//!
//! Whatever is in it, it stays one line: a caller splits the output of many requests at line ends.

use super::{Answer, End, Sheet, member};

pub(super) fn render(answer: &Answer<'_>) -> Vec<u8> {
    let details = if answer.detail { details(answer) } else { value(answer) };
    let line = match &answer.end {
        End::Done { .. } | End::Found(_) if details.is_empty() => "OK".to_owned(),
        End::Done { .. } | End::Found(_) => format!("OK:{details}"),
        End::Failed { message, .. } if details.is_empty() => {
            format!("ERROR:{}:{message}", answer.code)
        }
        End::Failed { message, .. } => format!("ERROR:{}:{message} ({details})", answer.code),
    };
    let mut body = one_line(&line);
    body.push('\n');
    body.into_bytes()
}

/// What was asked for, as the plain answer says it.
fn value(answer: &Answer<'_>) -> String {
    let value = match &answer.end {
        End::Found(sheet) => sheet.value.clone(),
        End::Done { .. } => answer.operation_id().map(str::to_owned),
        End::Failed { .. } => None,
    };
    value.unwrap_or_default()
}

/// Everything that `detail` adds: `name=value`, under the names that JSON uses.
fn details(answer: &Answer<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (name, value) in answer.facts() {
        parts.push(format!("{}={value}", member(name)));
    }
    if let End::Found(Sheet { record: Some(record), .. }) = &answer.end {
        parts.extend(record.fields.iter().map(|(name, value)| format!("{name}={value}")));
    }
    if let End::Failed { candidates: Some(found), .. } = &answer.end {
        for facts in &found.rows {
            let facts: Vec<String> =
                facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
            parts.push(format!("candidate {}", facts.join(" ")));
        }
    }
    parts.join("; ")
}

/// `text` with a blank for everything that some reader takes for the end of a line.
fn one_line(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.chars().map(|c| if breaks(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::tests::{ambiguous, body, invited, partly, refused, sent};
    use super::one_line;

    #[test]
    fn a_plain_answer_is_one_short_line() {
        assert_eq!(body(&Ok(sent()), Format::Text, false), "OK\n");
        assert_eq!(body(&refused(), Format::Text, false), "ERROR:2:Call cannot be found.\n");
        assert_eq!(body(&Ok(invited()), Format::Text, false), "OK:op-<1>\n");
    }

    #[test]
    fn detail_stands_on_the_same_line() {
        assert_eq!(
            body(&Ok(sent()), Format::Text, true),
            "OK:callID=57dab8b1-894c-409a-b240-bd8beae78896; \
             deletionID=0190a0e0-0000-7000-8000-000000000001; outcome=sent; operation=hang-up; \
             note=Bells & <whistles>.\n"
        );
        assert_eq!(
            body(&ambiguous(), Format::Text, true),
            "ERROR:2:2 calls match: parameter status would decide which one is meant. \
             (reason=ambiguous; candidate callID=57dab8b1-894c-409a-b240-bd8beae78896 \
             state=established startedAt=2026-11-22T05:32:55.123Z otherParty=***856; \
             candidate callID=Rec\"<1> state=incoming)\n"
        );
    }

    #[test]
    fn the_counts_of_everybody_are_part_of_the_detail() {
        let line = body(&partly(), Format::Text, true);
        assert!(line.ends_with("; removed=1; participants=3)\n"), "{line}");
    }

    #[test]
    fn every_kind_of_line_end_becomes_a_blank() {
        assert_eq!(one_line("a\nb\r\nc\u{85}d\u{2028}e\u{2029}f\u{b}g"), "a b  c d e f g");
    }
}
