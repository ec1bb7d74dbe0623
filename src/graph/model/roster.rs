//! Rosters and operations as Graph shows them, read tolerantly.

use serde_json::Value;

use crate::model::change::Participant;
use crate::model::graph_call::invitation::{failure, invited};
use crate::model::graph_call::json::{identifier, member, parse, text};
use crate::model::graph_call::participant::participant;
use crate::model::participant::Invited;

/// The participants on one page of a roster and the address of the next page; none when it is no
/// such page, or holds somebody who cannot be told by an id: those who are missing from a list must
/// not pass for absent. Who was removed is in it and is left out.
pub(in crate::graph) fn page(body: &str) -> Option<(Vec<Participant>, Option<String>)> {
    let Value::Object(page) = parse(body.as_bytes())? else { return None };
    let people = member(&page, "value")?.as_array()?;
    let read = people.iter().map(|person| participant(person.as_object()?, None));
    let mut people = read.collect::<Option<Vec<_>>>()?;
    people.retain(|person| !person.removed);
    let next = match member(&page, "@odata.nextLink") {
        None => None,
        Some(next) => Some(text(next)?.into_owned()),
    };
    Some((people, next))
}

/// The operation's id, that of the one invited participant where there is one, and whether it failed.
pub(in crate::graph) fn operation(body: &str) -> Option<Invited> {
    let Value::Object(operation) = parse(body.as_bytes())? else { return None };
    Some(Invited {
        operation_id: identifier(&operation, "id")?,
        participant_id: invited(&operation).map(|(id, _)| id),
        failed: failure(&operation),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_is_read_with_its_names_in_any_case() {
        let body = r#"{"Value":[{"ID":"a","Info":{"Identity":{"Phone":{"Id":"+49 30 1"}}}}],
            "@OData.nextLink":"https://graph.microsoft.com/next"}"#;
        let (people, next) = page(body).unwrap();
        assert_eq!(people[0].participant_id, "a");
        assert_eq!(people[0].normalised.as_deref(), Some("+49301"));
        assert_eq!(next.as_deref(), Some("https://graph.microsoft.com/next"));
    }

    #[test]
    fn what_is_no_page_and_no_operation_is_none() {
        for body in ["", "[]", "<html>", r#"{"value":{}}"#, r#"{"error":{}}"#, r#"{"value":[[]]}"#]
        {
            assert_eq!(page(body), None, "{body}");
            assert_eq!(operation(body), None, "{body}");
        }
        assert_eq!(page(r#"{"value":[],"@odata.nextLink":{}}"#), None);
        let bare = Invited { operation_id: "o".to_owned(), participant_id: None, failed: None };
        assert_eq!(operation(r#"{"id":"o"}"#), Some(bare));
    }

    #[test]
    fn an_operation_that_failed_at_once_says_why() {
        let body = r#"{"id":"o","status":"Failed","resultInfo":{"code":480,"subcode":10076}}"#;
        let why = operation(body).unwrap().failed.unwrap();
        assert_eq!((why.code, why.subcode), (Some(480), Some(10076)));
        assert_eq!(operation(r#"{"id":"o","status":"running"}"#).unwrap().failed, None);
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_neither(body in ".{0,200}") {
            prop_assert_eq!((page(&body), operation(&body)), (None, None));
        }

        #[test]
        fn everybody_on_a_page_is_in_it(ids in prop::collection::vec("[a-z0-9-]{1,8}", 0..20)) {
            let people: Vec<_> = ids.iter().map(|id| json!({"id": id, "info": {}})).collect();
            let (people, _) = page(&json!({"value": people}).to_string()).unwrap();
            let found: Vec<_> = people.into_iter().map(|one| one.participant_id).collect();
            prop_assert_eq!(found, ids);
        }
    }
}
