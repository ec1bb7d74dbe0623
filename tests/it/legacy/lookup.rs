//! `GetCallID`, `GetCallInformation` and `GetDeletion`: what is found, for whom, and that looking
//! changes nothing.

mod shown;

use serde_json::json;

use crate::support::{Answer, Call, Gateway, Key, Site, call, until};

const LOOKS: [&str; 2] = ["GetCallID", "GetCallInformation"];

fn query(key: &Key, action: &str, rest: &str) -> String {
    format!("action={action}&apiKey={}&{rest}", key.secret)
}

async fn ask(gateway: &Gateway, action: &str, rest: &str) -> Answer {
    gateway.get(&query(&gateway.key, action, rest)).await
}

/// A deletion that Graph took, all its times set by hand, and the call it ended.
async fn deleted(gateway: &Gateway) -> (Call, String) {
    let made = call("8856", json!({"platformCallID": "71627389"}));
    let call = gateway.calls(&[made]).await.remove(0);
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    let deletion = answer.element("DeletionID").to_owned();
    gateway.settles(&deletion, "sent").await;
    gateway.change(
        "UPDATE deletions SET created_at = 1795325575000, deadline_at = 1795411975000, \
         settled_at = 1795325575300",
    );
    gateway.change("UPDATE attempts SET started_at = 1795325575001, answered_at = 1795325575299");
    (call, deletion)
}

/// What a notification of the end of that call leaves behind.
fn confirm(gateway: &Gateway, code: i64, subcode: i64, message: &str) {
    gateway.change(&format!(
        "UPDATE calls SET state = 'terminated', ended_at = 1795325576789, end_code = {code}, \
         end_subcode = {subcode}, end_message = '{message}'"
    ));
    gateway.change("UPDATE deletions SET state = 'confirmed', confirmed_at = 1795325576790");
}

#[tokio::test]
async fn a_call_is_looked_up_as_it_is_deleted() {
    let gateway = Gateway::start().await;
    let ended = json!({"endedAt": "2026-11-22T05:40:00Z", "meetingID": "M1"});
    let made =
        [call("8856", json!({"meetingID": "M1"})), call("8856", ended), call("8857", json!({}))];
    let calls = gateway.calls(&made).await;
    let (running, last) = (calls[0].id.as_str(), calls[1].id.as_str());
    for (selector, word, found) in [
        (format!("callID={running}"), "", running),
        (format!("cid={}", running.to_uppercase()), "", running),
        (format!("nativeID={}", calls[0].graph_id), "", running),
        ("extension=8856&status=ongoing".to_owned(), "", running),
        ("extension=8856&status=next,last".to_owned(), "", last),
        ("extension=8856&status=last,ongoing".to_owned(), "", last),
        ("meetingID=M1&status=last".to_owned(), "", last),
        ("meetingID=M1&extension=8857&status=ongoing".to_owned(), "not_found", ""),
        ("meetingID=M1".to_owned(), "ambiguous", ""),
        ("extension=8857&status=next".to_owned(), "not_found", ""),
        ("extension=8857&status=last".to_owned(), "not_found", ""),
        ("extension=8856".to_owned(), "bad_parameter", ""),
        ("extension=8856&status=recorded".to_owned(), "bad_parameter", ""),
        ("call_id=x".to_owned(), "bad_parameter", ""),
        (String::new(), "bad_parameter", ""),
    ] {
        for action in LOOKS {
            let answer = ask(&gateway, action, &format!("{selector}&detail=1")).await;
            let told = (answer.word(), answer.element("CallID"));
            assert_eq!(told, (word, found), "{action} {selector}");
        }
    }
    assert_eq!((gateway.recorded(), gateway.graph.deletes().await.len()), (0, 0));
}

#[tokio::test]
async fn candidates_are_listed_for_keys_that_may_see_them() {
    let gateway = Gateway::start().await;
    gateway.calls(&[call("8856", json!({})), call("8856", json!({}))]).await;
    let rest = "extension=8856&status=ongoing&detail=1";
    let answer = ask(&gateway, "GetCallID", rest).await;
    let text = "2 calls match: parameter callID would decide which one is meant.";
    assert_eq!((answer.code(), answer.element("ErrorMessage")), (2, text));
    assert!(!answer.body.contains("Candidate"), "{}", answer.body);
    let key = gateway.new_key(&["--right", "GetCallID", "--right", "see-candidates"]).await;
    let answer = gateway.get(&query(&key, "GetCallID", rest)).await;
    assert_eq!(answer.body.matches("<Candidate callID=").count(), 2);
    assert!(answer.body.contains("otherParty=\"***456\""), "{}", answer.body);
}

#[tokio::test]
async fn a_key_sees_its_own_tenants_calls_and_its_own_deletions() {
    const OTHER: &str = "0e9c1f7e-52b1-4c3c-9f1c-6d1d3b0d6d11";
    let site = Site::new().await;
    let sibling = site.key(&[]).await;
    let foreign = site.key(&["--tenant", OTHER]).await;
    let gateway = Gateway::serve(site).await;
    let theirs = call("8899", json!({"tenantID": OTHER}));
    let theirs = gateway.calls(&[theirs]).await.remove(0);
    let (ours, deletion) = deleted(&gateway).await;
    let look = async |key: &Key, action: &str, rest: &str| {
        let answer = gateway.get(&query(key, action, rest)).await;
        (answer.code(), answer.element("ErrorMessage").to_owned())
    };
    let seen = (0, String::new());
    let no_call = (2, "Call cannot be found.".to_owned());
    let no_deletion = (2, "Deletion cannot be found.".to_owned());
    for action in LOOKS {
        let (our, their) = (format!("callID={}", ours.id), format!("callID={}", theirs.id));
        assert_eq!(look(&gateway.key, action, &our).await, seen);
        assert_eq!(look(&sibling, action, &our).await, seen);
        assert_eq!(look(&foreign, action, &our).await, no_call);
        assert_eq!(look(&gateway.key, action, &their).await, no_call);
        // Nothing can be sent for that tenant, and looking sends nothing.
        assert_eq!(look(&foreign, action, &their).await, seen);
    }
    let rest = format!("deletionID={deletion}");
    assert_eq!(look(&gateway.key, "GetDeletion", &rest).await, seen);
    for key in [&sibling, &foreign] {
        assert_eq!(look(key, "GetDeletion", &rest).await, no_deletion);
    }
}

#[tokio::test]
async fn each_action_has_a_right_of_its_own() {
    let site = Site::new().await;
    let reader = site.key(&["--right", "GetCallID"]).await;
    let strict = site.key(&["--reason-required"]).await;
    let poster = site.key(&["--post-only"]).await;
    let guarded = site.key(&["--requires-token"]).await;
    let gateway = Gateway::serve(site).await;
    let call = gateway.call("8856").await;
    let rest = format!("callID={}&detail=1", call.id);
    assert_eq!(gateway.get(&query(&reader, "GetCallID", &rest)).await.code(), 0);
    for action in ["GetCallInformation", "GetDeletion", "DeleteCall"] {
        let answer = gateway.get(&query(&reader, action, &rest)).await;
        let text = format!("This API key does not permit {action}.");
        assert_eq!((answer.word(), answer.element("ErrorMessage")), ("not_permitted", &*text));
    }
    // The reason is one for deletions.
    assert_eq!(gateway.get(&query(&strict, "GetCallID", &rest)).await.code(), 0);
    let by_post = query(&poster, "GetCallID", &rest);
    assert_eq!(gateway.get(&by_post).await.word(), "not_permitted");
    assert_eq!(gateway.post("", &by_post).await.code(), 0);
    assert_eq!(gateway.get(&query(&guarded, "GetCallID", &rest)).await.code(), -42);
    assert_eq!(
        gateway.get(&query(&guarded, "GetCallID", &format!("{rest}&token=x"))).await.code(),
        -43
    );
}

#[tokio::test]
async fn a_key_that_was_revoked_sees_nothing_more() {
    let gateway = Gateway::start().await;
    let (call, deletion) = deleted(&gateway).await;
    let rests = [
        ("GetCallID", format!("callID={}", call.id)),
        ("GetCallInformation", format!("callID={}", call.id)),
        ("GetDeletion", format!("deletionID={deletion}")),
    ];
    for (action, rest) in &rests {
        assert_eq!(ask(&gateway, action, rest).await.code(), 0);
    }
    gateway.run(&["keys", "revoke", &gateway.key.id]).await;
    // Nobody waits until the gateway may have noticed.
    for (action, rest) in &rests {
        assert_eq!(ask(&gateway, action, rest).await.code(), -41, "{action}");
    }
}

#[tokio::test]
async fn who_looked_at_what_is_recorded_and_folded() {
    let gateway = Gateway::start().await;
    let (call, deletion) = deleted(&gateway).await;
    for _ in 0..3 {
        ask(&gateway, "GetCallInformation", "extension=8856&status=last").await;
    }
    ask(&gateway, "GetDeletion", &format!("deletionID={deletion}")).await;
    ask(&gateway, "GetDeletion", &format!("deletionID={}", call.id)).await;
    let count = |action: &str, more: &str| {
        gateway.value::<i64>(&format!(
            "SELECT coalesce(sum(count), 0) FROM audit WHERE \
             canonical LIKE '%\"action\":\"{action}\"%' AND {more}"
        ))
    };
    let call_id =
        format!("canonical LIKE '%\"decision\":\"allowed\",\"result\":\"found\"%{}%'", call.id);
    until("three looks are recorded", async || {
        (count("GetCallInformation", &call_id) == 3).then_some(())
    })
    .await;
    let selector = "personal LIKE '%extension=4:8856;status=last;%'";
    assert_eq!(count("GetCallInformation", selector), 3);
    until("both looks for a deletion are recorded", async || {
        let found = format!("canonical LIKE '%\"found\"%{deletion}%'");
        let refused = format!(
            "canonical LIKE '%\"not_found\"%' AND personal LIKE '%deletionID={};%'",
            call.id
        );
        (count("GetDeletion", &found) == 1 && count("GetDeletion", &refused) == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_look_does_not_wait_for_who_writes_and_a_prefetch_sees_nothing() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    let writing = gateway.database();
    writing.execute_batch("BEGIN IMMEDIATE; UPDATE calls SET subject = 'x'").unwrap();
    let rest = format!("callID={}&detail=1", call.id);
    for action in LOOKS {
        assert_eq!(ask(&gateway, action, &rest).await.code(), 0);
    }
    drop(writing);
    let query = query(&gateway.key, "GetCallInformation", &rest);
    let head = "HTTP/1.1\r\nHost: a\r\nSec-Purpose: prefetch";
    let answer = gateway.ask(format!("GET /verba/api?{query} {head}\r\n\r\n")).await;
    assert_eq!((answer.code(), answer.word()), (2, "prefetch"));
    assert!(!answer.body.contains(&call.id), "{}", answer.body);
}

#[tokio::test]
async fn a_hold_is_not_shown_to_who_may_not_see_holds() {
    let site = Site::new().await;
    let rights = ["--right", "DeleteCall", "--right", "GetDeletion", "--right", "see-holds"];
    let auditor = site.key(&rights).await;
    let gateway = Gateway::serve(site).await;
    let (_, deletion) = deleted(&gateway).await;
    gateway.change("UPDATE deletions SET state = 'held', failure = 'a hold stands on the call'");
    let rest = format!("deletionID={deletion}");
    let answer = ask(&gateway, "GetDeletion", &rest).await;
    assert_eq!((answer.element("State"), answer.element("Reason")), ("failed", "policy"));
    assert!(!answer.body.contains("hold") && !answer.body.contains("held"), "{}", answer.body);
    gateway.change(&format!(
        "UPDATE deletions SET key = (SELECT key FROM keys WHERE key_id = '{}')",
        auditor.id
    ));
    let answer = gateway.get(&query(&auditor, "GetDeletion", &rest)).await;
    assert_eq!((answer.element("State"), answer.element("Reason")), ("held", "policy"));
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_is_no_call_that_cannot_be_found() {
    let gateway = Gateway::start().await;
    let (call, deletion) = deleted(&gateway).await;
    gateway.database().execute_batch("ALTER TABLE attempts RENAME TO lost").unwrap();
    confirm(&gateway, 200, 5001, "");
    for (action, rest) in [
        ("GetCallInformation", format!("callID={}", call.id)),
        ("GetDeletion", format!("deletionID={deletion}")),
    ] {
        let answer = ask(&gateway, action, &rest).await;
        assert_eq!((answer.status, answer.code()), (503, -1), "{action}");
    }
}
