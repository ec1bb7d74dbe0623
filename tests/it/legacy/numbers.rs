//! How `extension` finds a number: equal means equal, however it was written.

use serde_json::json;

use crate::support::{Gateway, call};

/// Checks with dry runs which values of `extension` find the one call of `party`.
async fn check(gateway: &Gateway, party: &str, values: &[(&str, bool)]) {
    let made = gateway.calls(&[call(party, json!({"source": "sip:trunk@example.com"}))]).await;
    for (value, found) in values {
        let answer = gateway.delete(&format!("extension={value}&status=ongoing&dryRun=1")).await;
        let expected = if *found { ("would_send", made[0].id.as_str()) } else { ("not_found", "") };
        assert_eq!((answer.word(), answer.element("CallID")), expected, "{value} for {party}");
    }
}

#[tokio::test]
async fn a_number_is_found_however_it_is_written() {
    let gateway = Gateway::start().await;
    let values = [
        ("%2B49301238856", true),
        ("+49301238856", true),
        ("%2B49+30+123-8856", true),
        ("%2B49%20(30)%20123.8856", true),
        ("0049301238856", true),
        ("tel:%2B49301238856", true),
        ("TEL:%2B49301238856;phone-context=x", true),
        ("sip:tel:%2B49301238856", true),
        ("++%2B49301238856+", true),
        ("49301238856", false),
        ("%2B49301238856;ext=12", false),
        ("8856", false),
        ("%2B4930123885", false),
        ("1238856", false),
        ("%2B493012388561", false),
    ];
    check(&gateway, "tel:+49 (30) 123-8856", &values).await;
}

#[tokio::test]
async fn an_extension_behind_a_number_is_part_of_it() {
    let gateway = Gateway::start().await;
    let values = [
        ("tel:%2B4930123;ext=8856", true),
        ("%2B49-30-123;ext=88-56;isub=1", true),
        ("%2B4930123", false),
        ("%2B4930123;ext=8857", false),
    ];
    check(&gateway, "+4930123;ext=8856", &values).await;
}

#[tokio::test]
async fn what_is_no_number_is_compared_whole_and_without_case() {
    let gateway = Gateway::start().await;
    let values = [
        ("sip:alice@example.com", true),
        ("SIPS:Alice@Example.com;transport=tls", true),
        ("ALICE@EXAMPLE.COM", true),
        ("alice", false),
        ("alice@example.co", false),
        ("bob@example.com", false),
    ];
    check(&gateway, "sip:Alice@example.com", &values).await;
    let id = "278405a3-f568-4b3e-b684-009193463064";
    let values = [(id, true), ("278405A3-F568-4B3E-B684-009193463064", true), ("278405a3", false)];
    check(&gateway, id, &values).await;
}

#[tokio::test]
async fn a_repaired_plus_sign_is_told_of() {
    let gateway = Gateway::start().await;
    gateway.call("+49301238856").await;
    let note = "Parameter extension began with a blank, which was read as an unescaped plus sign: \
                send %2B.";
    let answer = gateway.delete("extension=+49301238856&status=ongoing&dryRun=1").await;
    assert_eq!((answer.word(), answer.element("Note")), ("would_send", note));
    let answer = gateway.delete("extension=%2B49301238856&status=ongoing&dryRun=1").await;
    assert!(answer.word() == "would_send" && !answer.body.contains("unescaped"));
}

#[tokio::test]
async fn a_short_number_meets_a_long_one_only_through_a_prefix() {
    let gateway = Gateway::with("numbering.prefixes = [\"+4930123\"]").await;
    let values = [("8856", true), ("%2B49301238856", true), ("88-56", true), ("38856", false)];
    check(&gateway, "+49301238856", &values).await;
    check(&gateway, "8857", &[("8857", true), ("%2B49301238857", true), ("123", false)]).await;
}

#[tokio::test]
async fn both_parties_count_and_people_on_the_roster_only_when_told_so() {
    for (lines, word) in [("", "not_found"), ("legacy.match_roster = true", "would_send")] {
        let gateway = Gateway::with(lines).await;
        let call = gateway.call("8856").await;
        gateway.change(
            "INSERT INTO roster (call, participant_id, tenant, raw, normalised) \
             SELECT call, 'p', tenant, '8899', '8899' FROM calls",
        );
        for (number, word) in
            [("%2B4930123456", "would_send"), ("8856", "would_send"), ("8899", word)]
        {
            let selector = format!("extension={number}&status=ongoing&dryRun=1");
            assert_eq!(gateway.delete(&selector).await.word(), word, "{number} {lines}");
        }
        // Who asks by one's own number and id means the same call.
        let both = format!("extension=8899&status=ongoing&callID={}&dryRun=1", call.id);
        assert_eq!(gateway.delete(&both).await.word(), word);
    }
}

#[tokio::test]
async fn a_value_that_names_nobody_is_a_parameter_error() {
    let gateway = Gateway::start().await;
    for value in ["tel:", "%2B", "(+)", "+++", "sip:%20", "88%0056", "88%0A56", "88%7F"] {
        let answer = gateway.delete(&format!("extension={value}&status=ongoing&detail=1")).await;
        assert_eq!((answer.code(), answer.word()), (-20, "bad_parameter"), "{value}");
    }
}
