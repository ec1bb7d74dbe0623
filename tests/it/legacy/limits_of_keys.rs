//! What a key is limited to: the calls of some numbers, and some ways of naming a call.

use serde_json::json;

use crate::support::{Gateway, Site, call, until};

/// What finds a call: two look-ups, and a deletion that would be sent.
const ACTIONS: [&str; 3] = ["GetCallID", "GetCallInformation", "DeleteCall"];

/// A site whose one key has `value` in this column.
async fn limited(lines: &str, column: &str, value: &str) -> Gateway {
    let site = Site::with(lines).await;
    site.change(&format!("UPDATE keys SET {column} = '{value}'"));
    Gateway::serve(site).await
}

/// Reason and call of what each of [`ACTIONS`] answers to `selector`, which must be the same; the
/// reason is empty when a call was found.
async fn found(gateway: &Gateway, selector: &str) -> (String, String) {
    let mut told = Vec::new();
    for action in ACTIONS {
        let key = &gateway.key.secret;
        let query = format!("action={action}&apiKey={key}&{selector}&detail=1");
        let dry_run = if action == "DeleteCall" { "&dryRun=1" } else { "" };
        let answer = gateway.get(&format!("{query}{dry_run}")).await;
        let reason = if answer.code() == 0 { "" } else { answer.word() };
        told.push((reason.to_owned(), answer.element("CallID").to_owned()));
    }
    assert!(told.iter().all(|one| *one == told[0]), "{selector}: {told:?}");
    told.swap_remove(0)
}

#[tokio::test]
async fn a_call_outside_the_patterns_of_a_key_does_not_exist_for_it() {
    let gateway = limited("", "numbers", "+4989* *@example.com").await;
    let made = gateway
        .calls(&[
            call("8856", json!({"source": "+4989123"})),
            call("8856", json!({})),
            call("sip:Alice@example.com", json!({})),
        ])
        .await;
    for (call, exists) in [(&made[0], true), (&made[1], false), (&made[2], true)] {
        let selectors = [format!("callID={}", call.id), format!("nativeID={}", call.graph_id)];
        for selector in selectors {
            let expected = if exists { ("", &*call.id) } else { ("not_found", "") };
            let (word, id) = found(&gateway, &selector).await;
            assert_eq!((&*word, &*id), expected, "{selector}");
        }
    }
    // Of the two calls of this number, the one that exists is the only one.
    let (word, id) = found(&gateway, "extension=8856&status=ongoing").await;
    assert_eq!((&*word, &*id), ("", &*made[0].id));
    let outside = format!("callID={}", made[1].id);
    assert_eq!(gateway.delete(&format!("{outside}&detail=1")).await.word(), "not_found");
    assert_eq!((gateway.recorded(), gateway.graph.deletes().await.len()), (0, 0));
    let inside = format!("callID={}", made[0].id);
    assert_eq!(gateway.delete(&format!("{inside}&detail=1")).await.word(), "sent");
}

#[tokio::test]
async fn the_last_call_is_the_last_one_inside_and_others_are_no_candidates() {
    let site = Site::new().await;
    let rights = "rights = 'DeleteCall GetCallID GetCallInformation see-candidates'";
    site.change(&format!("UPDATE keys SET numbers = '+4989*', {rights}"));
    let gateway = Gateway::serve(site).await;
    let ended = |source: &str, at: &str| {
        let at = format!("2026-11-22T05:{at}:00Z");
        call("8856", json!({"source": source, "endedAt": at, "meetingID": "M1"}))
    };
    let made = gateway
        .calls(&[
            ended("+4989123", "40"),
            ended("+4989124", "41"),
            ended("+4940123", "42"),
            ended("+4940124", "43"),
        ])
        .await;
    for selector in ["extension=8856&status=last", "meetingID=M1&status=last"] {
        let (word, id) = found(&gateway, selector).await;
        assert_eq!((&*word, &*id), ("", &*made[1].id), "{selector}");
    }
    assert_eq!(found(&gateway, "extension=%2B4940124&status=last").await.0, "not_found");
    let answer = gateway.delete("meetingID=M1&detail=1").await;
    let text = "2 calls match: parameter callID would decide which one is meant.";
    assert_eq!((answer.word(), answer.element("ErrorMessage")), ("ambiguous", text));
    assert_eq!(answer.body.matches("<Candidate callID=").count(), 2);
    assert!(!answer.body.contains(&made[2].id), "{}", answer.body);
}

#[tokio::test]
async fn a_short_number_and_the_long_one_are_one_for_patterns_too() {
    let prefixes = "numbering.prefixes = [\"+4989123\"]";
    for (pattern, number, lines, exists) in [
        ("+498912388*", "8856", prefixes, true),
        ("+498912388*", "8956", prefixes, false),
        ("+498912388*", "8856", "", false),
        ("88*", "+49891238856", prefixes, true),
        ("88*", "+49891238956", prefixes, false),
        ("88*", "+49891238856", "", false),
        // What follows the prefix is too long for an extension.
        ("88*", "+498912388561234", prefixes, false),
    ] {
        let gateway = limited(lines, "numbers", pattern).await;
        let made = gateway.call(number).await;
        let (word, _) = found(&gateway, &format!("callID={}", made.id)).await;
        assert_eq!(word, if exists { "" } else { "not_found" }, "{pattern} {number} {lines}");
    }
}

#[tokio::test]
async fn a_pattern_of_numbers_does_not_open_the_calls_of_user_ids() {
    let gateway = limited("", "numbers", "8*").await;
    let user = "8a34a46b-3d17-4adc-8dce-dc4e7d572698";
    let made = gateway.calls(&[call(user, json!({})), call("8856", json!({}))]).await;
    assert_eq!(found(&gateway, &format!("callID={}", made[0].id)).await.0, "not_found");
    assert_eq!(found(&gateway, &format!("callID={}", made[1].id)).await.0, "");
}

#[tokio::test]
async fn people_on_the_roster_count_for_patterns_only_when_told_so() {
    for (lines, word) in [("", "not_found"), ("legacy.match_roster = true", "")] {
        let gateway = limited(lines, "numbers", "7788*").await;
        let made = gateway.call("8856").await;
        gateway.change(
            "INSERT INTO roster (call, participant_id, tenant, raw, normalised) \
             SELECT call, 'p', tenant, '778899', '778899' FROM calls",
        );
        assert_eq!(found(&gateway, &format!("callID={}", made.id)).await.0, word, "{lines}");
        let by_number = "extension=8856&status=ongoing";
        assert_eq!(found(&gateway, by_number).await.0, word, "{lines}");
    }
}

#[tokio::test]
async fn a_key_sees_its_own_deletions_whatever_it_is_limited_to() {
    let gateway = Gateway::start().await;
    let made = gateway.call("8856").await;
    let answer = gateway.delete(&format!("callID={}&detail=1", made.id)).await;
    let deletion = answer.element("DeletionID").to_owned();
    gateway.change("UPDATE keys SET numbers = '+4989*'");
    let look = async |action: &str, rest: &str| {
        let query = format!("action={action}&apiKey={}&{rest}&detail=1", gateway.key.secret);
        gateway.get(&query).await.word().to_owned()
    };
    until("the limit counts", async || {
        let word = look("GetCallID", &format!("callID={}", made.id)).await;
        (word == "not_found").then_some(())
    })
    .await;
    assert_eq!(look("GetDeletion", &format!("deletionID={deletion}")).await, "sent");
}

#[tokio::test]
async fn a_key_names_calls_only_by_what_it_may_name_them_by() {
    let gateway = limited("", "identifier_kinds", "callID extension").await;
    let made = gateway.call("8856").await;
    for selector in [format!("callID={}", made.id), "extension=8856&status=ongoing".to_owned()] {
        assert_eq!(found(&gateway, &selector).await.0, "", "{selector}");
    }
    let both = format!("callID={}&nativeID={}", made.id, made.graph_id);
    let native = format!("nativeID={}", made.graph_id);
    for (selector, kind) in [
        (&*native, "nativeID"),
        (&*both, "nativeID"),
        ("nativeID=nobody", "nativeID"),
        ("platformCallID=x", "platformCallID"),
        ("meetingID=x&status=last", "meetingID"),
    ] {
        for action in ACTIONS {
            let query = format!("action={action}&apiKey={}&detail=1", gateway.key.secret);
            let answer = gateway.get(&format!("{query}&{selector}")).await;
            let text = format!("This API key does not permit {kind}.");
            let told = (answer.code(), answer.word(), answer.element("ErrorMessage"));
            assert_eq!(told, (2, "not_permitted", &*text), "{action} {selector}");
        }
    }
    // Parameters come before, and nothing was done.
    assert_eq!(gateway.delete(&format!("{native}&status=recorded")).await.code(), -20);
    assert_eq!((gateway.recorded(), gateway.graph.deletes().await.len()), (0, 0));
}
