//! The answer as XML, to the byte as old parsers know it.
//!
//! No namespace, no attribute beyond `code` and `type` but the `callID` of a `GetCallID` and the
//! `token` of a `RequestToken`, and `Response` is never the root: public clients find it below the root.
//! Every document validates against `docs/verba-api.xsd`.

use super::found::Record;
use super::markup::Markup;
use super::{Answer, Candidates, End, REASON, Sheet, TOKEN};

pub(super) fn render(answer: &Answer<'_>) -> Vec<u8> {
    let code = answer.code.to_string();
    let mut attributes = vec![("code", code.as_str()), ("type", answer.echo)];
    let facts = answer.facts();
    let mut xml = Markup::xml();
    xml.element("VerbaApi", &[], |xml| {
        match &answer.end {
            End::Done { .. } => xml.empty("Response", &attributes),
            End::Found(Sheet { record: Some(record), .. }) => {
                xml.element("Response", &attributes, |xml| verbacdr(xml, record));
            }
            End::Found(sheet) => {
                let attribute = sheet.attribute.as_ref();
                attributes.extend(attribute.map(|(name, value)| (*name, value.as_str())));
                xml.empty("Response", &attributes);
            }
            End::Failed { message, candidates: found, .. } => {
                xml.element("Response", &attributes, |xml| {
                    xml.text("ErrorMessage", &[], message);
                    for (name, value) in facts.iter().filter(|(name, _)| *name == REASON) {
                        xml.text(name, &[], value);
                    }
                    if let Some(found) = found.as_ref().filter(|_| answer.detail) {
                        candidates(xml, found);
                    }
                });
            }
        }
        // The reason of an error stands in it; that of a deletion is a fact like the others.
        let is_error = matches!(answer.end, End::Failed { .. });
        let is_inside = |name| name == TOKEN || (name == REASON && is_error);
        for (name, value) in facts.iter().filter(|(name, _)| !is_inside(*name)) {
            xml.text(name, &[], value);
        }
    });
    xml.finish()
}

fn verbacdr(xml: &mut Markup, record: &Record) {
    xml.element("verbacdr", &[("state", record.state)], |xml| {
        for (name, value) in &record.fields {
            xml.text(name, &[], value);
        }
    });
}

fn candidates(xml: &mut Markup, found: &Candidates) {
    xml.element("Candidates", &[], |xml| {
        for facts in &found.rows {
            let attributes: Vec<_> =
                facts.iter().map(|(name, value)| (*name, value.as_str())).collect();
            xml.empty("Candidate", &attributes);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::tests::{
        ambiguous, body, invited, partly, refused, sent, several_participants, unknown,
    };

    #[test]
    fn a_plain_success_is_the_documented_one() {
        assert_eq!(
            body(&Ok(sent()), Format::Xml, false),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <VerbaApi>\n\
             <Response code=\"0\" type=\"DeleteCall\"/>\n\
             </VerbaApi>\n"
        );
    }

    #[test]
    fn a_plain_error_is_the_documented_one() {
        assert_eq!(
            body(&refused(), Format::Xml, false),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <VerbaApi>\n\
             <Response code=\"2\" type=\"DeleteCall\">\n\
             <ErrorMessage>Call cannot be found.</ErrorMessage>\n\
             </Response>\n\
             </VerbaApi>\n"
        );
    }

    #[test]
    fn the_detail_of_a_success_stands_beside_the_response() {
        assert_eq!(
            body(&Ok(sent()), Format::Xml, true),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <VerbaApi>\n\
             <Response code=\"0\" type=\"DeleteCall\"/>\n\
             <CallID>57dab8b1-894c-409a-b240-bd8beae78896</CallID>\n\
             <DeletionID>0190a0e0-0000-7000-8000-000000000001</DeletionID>\n\
             <Outcome>sent</Outcome>\n\
             <Operation>hang-up</Operation>\n\
             <Note>Bells &amp; &lt;whistles&gt;.</Note>\n\
             </VerbaApi>\n"
        );
    }

    #[test]
    fn reason_and_candidates_stand_inside_the_response() {
        assert_eq!(
            body(&ambiguous(), Format::Xml, true),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <VerbaApi>\n\
             <Response code=\"2\" type=\"DeleteCall\">\n\
             <ErrorMessage>2 calls match: parameter status would decide which one is meant.\
             </ErrorMessage>\n\
             <Reason>ambiguous</Reason>\n\
             <Candidates>\n\
             <Candidate callID=\"57dab8b1-894c-409a-b240-bd8beae78896\" state=\"established\" \
             startedAt=\"2026-11-22T05:32:55.123Z\" otherParty=\"***856\"/>\n\
             <Candidate callID=\"Rec&quot;&lt;1&gt;\" state=\"incoming\"/>\n\
             </Candidates>\n\
             </Response>\n\
             </VerbaApi>\n"
        );
        assert!(!body(&ambiguous(), Format::Xml, false).contains("Candidate"));
    }

    #[test]
    fn the_ids_of_a_refused_deletion_stand_beside_the_response() {
        assert_eq!(
            body(&unknown(), Format::Xml, true),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <VerbaApi>\n\
             <Response code=\"2\" type=\"DeleteCall\">\n\
             <ErrorMessage>It is not known whether the call was ended.</ErrorMessage>\n\
             <Reason>unknown_outcome</Reason>\n\
             </Response>\n\
             <CallID>57dab8b1-894c-409a-b240-bd8beae78896</CallID>\n\
             <DeletionID>0190a0e0-0000-7000-8000-000000000001</DeletionID>\n\
             </VerbaApi>\n"
        );
    }

    #[test]
    fn the_id_of_an_operation_stands_beside_the_response_also_without_detail() {
        assert_eq!(
            body(&Ok(invited()), Format::Xml, false),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <VerbaApi>\n\
             <Response code=\"0\" type=\"DeleteCall\"/>\n\
             <OperationID>op-&lt;1&gt;</OperationID>\n\
             </VerbaApi>\n"
        );
        let detail = body(&Ok(invited()), Format::Xml, true);
        assert!(
            detail.contains(
                "<Operation>invite</Operation>\n\
                 <OperationID>op-&lt;1&gt;</OperationID>\n\
                 <ParticipantID>p-1</ParticipantID>\n"
            ),
            "{detail}"
        );
    }

    #[test]
    fn how_far_a_deletion_of_everybody_got_stands_beside_the_response() {
        let detail = body(&partly(), Format::Xml, true);
        assert!(
            detail.ends_with("<Removed>1</Removed>\n<Participants>3</Participants>\n</VerbaApi>\n"),
            "{detail}"
        );
        assert!(!body(&partly(), Format::Xml, false).contains("Removed"));
    }

    #[test]
    fn participants_are_candidates_with_attributes_of_their_own() {
        let detail = body(&several_participants(), Format::Xml, true);
        assert!(
            detail.contains(
                "<Candidates>\n\
                 <Candidate participantID=\"p-1\" state=\"joined\" party=\"***856\"/>\n\
                 <Candidate participantID=\"p&quot;&lt;2&gt;\" state=\"invited\"/>\n\
                 </Candidates>\n"
            ),
            "{detail}"
        );
        assert!(!body(&several_participants(), Format::Xml, false).contains("Candidate"));
    }
}
