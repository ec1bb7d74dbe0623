//! Which call a `DeleteCall` means: five identifiers, the status words, and never more than one.

use serde_json::json;

use crate::support::{Answer, Call, Gateway, Site, call};

const PLAIN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<VerbaApi>\n\
                     <Response code=\"0\" type=\"DeleteCall\"/>\n</VerbaApi>\n";
const NOT_FOUND: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<VerbaApi>\n\
                         <Response code=\"2\" type=\"DeleteCall\">\n\
                         <ErrorMessage>Call cannot be found.</ErrorMessage>\n\
                         </Response>\n</VerbaApi>\n";

/// What a dry run would do, or why it would not: the outcome's or the reason's word, and the call.
async fn dry_run(gateway: &Gateway, selector: &str) -> (String, String) {
    let answer = gateway.delete(&format!("{selector}&dryRun=1&detail=1")).await;
    (answer.word().to_owned(), answer.element("CallID").to_owned())
}

/// Two calls that share each identifier but their ids with one other.
async fn three(gateway: &Gateway) -> Vec<Call> {
    let of = |platform, native, meeting, extension: &str| {
        call(
            extension,
            json!({"platformCallID": platform, "nativeID": native, "meetingID": meeting}),
        )
    };
    let calls = [
        of("71627389", "TRS|1|-1", "M6DD", "8856"),
        of("71627389", "{b2f0}=", "M7EE", "8857"),
        of("71627390", "TRS|1|-1", "M6DD", "8857"),
    ];
    gateway.calls(&calls).await
}

#[tokio::test]
async fn each_identifier_names_its_call_and_graph_hangs_it_up() {
    let gateway = Gateway::start().await;
    for (number, selector) in [
        "callID=CALL",
        "callID=GRAPH",
        "cid=CALL",
        "CCDR_ID=GRAPH",
        "platformCallID=P",
        "nativeID=N%7C1%3D",
        "nativeID=GRAPH",
        "meetingID=M%2B",
        "extension=8856&status=ongoing",
    ]
    .into_iter()
    .enumerate()
    {
        let more = json!({"platformCallID": "P", "nativeID": "N|1=", "meetingID": "M+"});
        let call = gateway.calls(&[call("8856", more)]).await.remove(0);
        let selector = selector.replace("CALL", &call.id).replace("GRAPH", &call.graph_id);
        let answer = gateway.delete(&selector).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, PLAIN), "{selector}");
        let deletes = gateway.graph.deletes().await;
        assert_eq!(deletes.len(), number + 1, "{selector}");
        assert_eq!(deletes.last(), Some(&call.graph_id), "{selector}");
        assert_eq!(gateway.graph.state(&call.graph_id).await, "terminated", "{selector}");
        // The next round's call is to be the only one again.
        gateway.change(&format!(
            "UPDATE calls SET platform_call_id = NULL, native_id = NULL, meeting_id = NULL \
             WHERE call_id = '{}'",
            call.id
        ));
    }
}

#[tokio::test]
async fn identifiers_together_narrow_each_other() {
    let gateway = Gateway::start().await;
    let calls = three(&gateway).await;
    let [first, second, third] = [&calls[0].id, &calls[1].id, &calls[2].id];
    for (selector, expected) in [
        ("platformCallID=71627389", None),
        ("nativeID=TRS%7C1%7C-1", None),
        ("platformCallID=71627389&nativeID=TRS%7C1%7C-1", Some(first)),
        ("platformCallID=71627389&extension=8857&status=ongoing", Some(second)),
        ("meetingID=M6DD&extension=8857&status=last,ongoing", Some(third)),
        ("meetingID=M6DD&nativeID=TRS%7C1%7C-1&platformCallID=71627390", Some(third)),
    ] {
        let (word, call) = dry_run(&gateway, selector).await;
        match expected {
            Some(expected) => assert_eq!((word.as_str(), &call), ("would_send", expected)),
            None => assert_eq!(word, "ambiguous", "{selector}"),
        }
    }
    for selector in [
        format!("callID={first}&platformCallID=71627390"),
        format!("callID={first}&cid={second}"),
        format!("callID={first}&nativeID={}", calls[1].graph_id),
        "platformCallID=71627390&meetingID=M7EE".to_owned(),
        format!("callID={first}&status=last"),
    ] {
        let (word, _) = dry_run(&gateway, &selector).await;
        assert!(matches!(word.as_str(), "not_found" | "bad_parameter"), "{selector}: {word}");
    }
    let all = format!(
        "callID={first}&platformCallID=71627389&nativeID=TRS%7C1%7C-1&meetingID=M6DD\
         &extension=8856&status=ongoing"
    );
    assert_eq!(gateway.delete(&all).await.body, PLAIN);
    assert_eq!(gateway.graph.deletes().await, [calls[0].graph_id.as_str()]);
}

#[tokio::test]
async fn identifiers_are_compared_to_the_letter_and_a_guid_in_any_spelling() {
    let gateway = Gateway::start().await;
    let more = json!({
        "callID": "57dab8b1-894c-409a-b240-bd8beae78896",
        "graphCallID": "2891555A-92FF-42E6-80FA-6E1300C6B5C6",
        "nativeID": "Trs1",
    });
    gateway.calls(&[call("8856", more)]).await;
    for (selector, found) in [
        ("callID=57DAB8B1-894C-409A-B240-BD8BEAE78896", true),
        ("callID=%7B57dab8b1-894c-409a-b240-bd8beae78896%7D", true),
        ("callID=57DAB8B1894C409AB240BD8BEAE78896", true),
        ("callID=2891555a-92ff-42e6-80fa-6e1300c6b5c6", true),
        ("callID=2891555A-92FF-42E6-80FA-6E1300C6B5C6", true),
        ("callID=57dab8b1-894c-409a-b240", false),
        ("nativeID=Trs1", true),
        ("nativeID=TRS1", false),
        ("nativeID=Trs1+", false),
        ("nativeID=Trs", false),
        ("nativeID=%25", false),
        ("nativeID=' OR 1=1 --", false),
    ] {
        let (word, _) = dry_run(&gateway, &selector.replace(' ', "%20")).await;
        assert_eq!(word == "would_send", found, "{selector}: {word}");
    }
}

#[tokio::test]
async fn the_first_status_word_that_matches_any_call_decides() {
    let gateway = Gateway::start().await;
    let ended = |at: &str| json!({"endedAt": at});
    let calls = gateway
        .calls(&[
            call("8856", json!({})),
            call("8856", ended("2026-11-22T05:40:00Z")),
            call("8856", ended("2026-11-22T05:50:00Z")),
            call("8857", ended("2026-11-22T05:50:00Z")),
            call("8857", ended("2026-11-22T05:50:00Z")),
            call("8858", json!({})),
        ])
        .await;
    let (running, last, other) = (&calls[0].id, &calls[2].id, &calls[5].id);
    for (selector, word, call) in [
        ("extension=8856&status=ongoing", "would_send", running.as_str()),
        ("extension=8856&status=last", "would_send", last),
        ("extension=8856&status=last,ongoing", "would_send", last),
        ("extension=8856&status=ONGOING+,+last", "would_send", running),
        // No key can arm a deletion: the word is skipped.
        ("extension=8856&status=next,last", "would_send", last),
        ("extension=8856&status=next", "not_found", ""),
        ("extension=8857&status=ongoing", "not_found", ""),
        ("extension=8857&status=ongoing,last", "ambiguous", ""),
        ("extension=8858&status=last", "not_found", ""),
        ("extension=8858&status=last,ongoing", "would_send", other),
        ("extension=8858&status=recorded", "bad_parameter", ""),
        ("extension=8858&status=ongoing,recorded", "bad_parameter", ""),
        ("extension=8858&status=ongoing,ongoing", "bad_parameter", ""),
        ("extension=8858&status=ongoing,", "bad_parameter", ""),
        ("extension=8858", "bad_parameter", ""),
        ("status=ongoing", "bad_parameter", ""),
    ] {
        let expected = (word.to_owned(), call.to_owned());
        assert_eq!(dry_run(&gateway, selector).await, expected, "{selector}");
    }
}

#[tokio::test]
async fn ongoing_leaves_out_a_call_whose_deletion_graph_has_taken() {
    let gateway = Gateway::start().await;
    let calls = gateway.calls(&[call("8856", json!({})), call("8856", json!({}))]).await;
    assert_eq!(gateway.delete(&format!("callID={}", calls[0].id)).await.code(), 0);
    let answer = gateway.delete("extension=8856&status=ongoing&detail=1").await;
    assert_eq!((answer.word(), answer.element("CallID")), ("sent", calls[1].id.as_str()));
}

#[tokio::test]
async fn an_ambiguous_selector_does_nothing_and_says_what_would_decide() {
    let gateway = Gateway::start().await;
    let ended = json!({"endedAt": "2026-11-22T05:40:00Z", "platformCallID": "7"});
    let running = json!({"platformCallID": "7"});
    gateway.calls(&[call("8856", running), call("8857", ended)]).await;
    let answer = gateway.delete("platformCallID=7&detail=1").await;
    let text = "2 calls match: parameter status would decide which one is meant.";
    assert_eq!((answer.word(), answer.element("ErrorMessage")), ("ambiguous", text));
    assert_eq!(gateway.delete("platformCallID=7&status=last&dryRun=1").await.word(), "would_send");

    let many: Vec<_> = (0..101).map(|_| call("8899", json!({}))).collect();
    gateway.calls(&many).await;
    let key = gateway.new_key(&["--right", "DeleteCall", "--right", "see-candidates"]).await;
    let answer = gateway.get(&key.query("extension=8899&status=ongoing&detail=1")).await;
    let text = "More than 100 calls match: parameter callID would decide which one is meant.";
    assert_eq!(answer.element("ErrorMessage"), text);
    assert_eq!(answer.body.matches("<Candidate callID=").count(), 10);
    assert!(answer.body.contains("otherParty=\"***456\""), "{}", answer.body);
    assert!(!answer.body.contains("4930123456"), "{}", answer.body);
    assert_eq!((gateway.recorded(), gateway.graph.deletes().await.len()), (0, 0));
}

#[tokio::test]
async fn a_call_of_another_tenant_does_not_exist() {
    let gateway = Gateway::start().await;
    let tenant = json!({"tenantID": "0e9c1f7e-52b1-4c3c-9f1c-6d1d3b0d6d11", "platformCallID": "7"});
    let call = gateway.calls(&[call("8856", tenant)]).await.remove(0);
    for selector in [
        format!("callID={}", call.id),
        format!("callID={}", call.graph_id),
        "platformCallID=7".to_owned(),
        "extension=8856&status=ongoing,last".to_owned(),
    ] {
        assert_eq!(gateway.delete(&selector).await.body, NOT_FOUND, "{selector}");
    }
    assert!(gateway.graph.requests().await.is_empty());
}

#[tokio::test]
async fn a_reason_is_kept_and_a_key_can_require_one() {
    let site = Site::new().await;
    let strict = site.key(&["--reason-required"]).await;
    let gateway = Gateway::serve(site).await;
    let call = gateway.call("8856").await;
    let ask = async |rest: &str| -> Answer {
        gateway.get(&strict.query(&format!("callID={}{rest}", call.id))).await
    };
    let answer = ask("").await;
    let text = "Parameter reason is missing: this API key requires one.";
    assert_eq!((answer.code(), answer.element("ErrorMessage")), (-20, text));
    assert_eq!(ask("&reason=").await.code(), -20);
    assert_eq!(ask(&format!("&reason={}", "a".repeat(257))).await.code(), -20);
    assert_eq!(ask("&reason=wrong%00call").await.code(), -20);
    assert!(gateway.graph.requests().await.is_empty());
    assert_eq!(ask("&reason=wrong+call%0D%0Aagain").await.code(), 0);
    let kept: String = gateway.value("SELECT reason FROM deletions");
    assert_eq!(kept, "wrong call\r\nagain");
    let personal: String = gateway.value("SELECT group_concat(personal) FROM audit");
    assert!(personal.contains("wrong call"), "{personal}");
}
