//! Who is in a call, who we are in it, and whom we asked into it, as far as Graph tells.

use reqwest::Client;
use serde_json::{Value, json};

use super::knows;
use crate::support::{Gateway, LONG, TENANT, until};

const APP: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
const ANN: &str = "278405A3-F568-4B3E-B684-009193463064";

/// What `calls show` says of the call.
async fn shown(gateway: &Gateway, id: &str) -> Value {
    serde_json::from_str(&gateway.run(&["calls", "show", "--json", id]).await).expect("JSON")
}

/// A call of three: us, a number and a user.
async fn made(gateway: &Gateway, id: &str) {
    let roster = json!([
        {"id": "us", "identity": {"application": {"id": APP.to_uppercase()}}},
        {"id": "p-1", "identity": "+4930123456"},
        {"id": "p-2", "identity": {"user": {"id": "8A34A46B-3D17-4ADC-8DCE-DC4E7D572698"}}},
    ]);
    let call = json!({
        "id": id, "source": "+4930123456", "targets": ["8856"], "tenantId": TENANT,
        "myParticipantId": "us", "participants": roster, "inviteMs": 0, "inviteShowsIds": false,
    });
    gateway.graph.make(&call).await;
    knows(gateway, id, "established").await;
}

/// Waits until so many people were told of.
async fn knows_people(gateway: &Gateway, count: i64) {
    let query = "SELECT count(*) FROM roster";
    let probe = async || (gateway.value::<i64>(query) == count).then_some(());
    until("the roster is known", probe).await;
}

#[tokio::test]
async fn a_roster_says_who_we_are_and_who_has_left_in_both_forms() {
    for form in ["v1.0", "beta-2018"] {
        let gateway = Gateway::announced("").await;
        gateway.announce(json!({"form": form})).await;
        made(&gateway, "a").await;
        knows_people(&gateway, 3).await;
        gateway.graph.move_on("a", "participants", &json!({"remove": ["p-1"]})).await;
        let left = "SELECT count(*) FROM roster WHERE left_at IS NOT NULL";
        let probe = async || (gateway.value::<i64>(left) == 1).then_some(());
        until("somebody has left", probe).await;
        let call = shown(&gateway, "a").await;
        assert_eq!(call["myParticipantID"], "us", "{form}");
        let people: Vec<_> = call["roster"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| (&one["participantID"], &one["state"], &one["isUs"], &one["appID"]))
            .map(|one| json!([one.0, one.1, one.2, one.3]))
            .collect();
        let expected = json!([
            ["p-1", "left", false, null],
            ["p-2", "joined", false, null],
            ["us", "joined", true, APP],
        ]);
        assert_eq!(json!(people), expected, "{form}");
    }
}

/// Writes an invitation of Ann of which nobody knows what became.
fn record_an_invitation(gateway: &Gateway) {
    let statements = format!(
        "INSERT INTO deletions (deletion_id, tenant, kind, selector, selector_hash, scope, call, \
             target, state, created_at, deadline_at) SELECT '0192f3a0-0000-7000-8000-000000000001', \
             tenant, 'InviteParticipant', '', x'', 'leg', call, '{ANN}', 'unknown', first_seen_at, 0 \
             FROM calls; \
             INSERT INTO invitations (deletion, call, tenant, user_id, normalised) \
             SELECT deletion, call, tenant, target, lower(target) FROM deletions; \
             INSERT INTO steps (deletion, position, tenant, operation, state, deadline_at) \
             SELECT deletion, 1, tenant, 'invite', 'unknown', 0 FROM deletions; \
             INSERT INTO attempts (deletion, position, number, tenant, started_at) \
             SELECT deletion, 1, 1, tenant, 0 FROM deletions"
    );
    gateway.database().execute_batch(&statements).expect("the statements are valid");
}

#[tokio::test]
async fn an_invitation_whose_answer_was_lost_has_its_participant_from_the_news() {
    for form in ["v1.0", "beta-2018"] {
        let gateway = Gateway::announced("").await;
        gateway.announce(json!({"form": form})).await;
        made(&gateway, "a").await;
        knows_people(&gateway, 3).await;
        record_an_invitation(&gateway);
        let text = gateway.run(&["calls", "show", "a"]).await;
        let row = text.lines().find(|line| line.contains(ANN)).expect("a row of the invited one");
        assert!(row.contains("perhaps invited"), "{text}");

        let path =
            format!("{}/v1.0/communications/calls/a/participants/invite", gateway.graph.url());
        let body = json!({"participants": [{"identity": {"user": {"id": ANN}}}]});
        let client = Client::builder().no_proxy().timeout(LONG).build().expect("a client");
        let invite = client.post(path).bearer_auth("any").json(&body);
        let operation: Value = invite.send().await.unwrap().json().await.unwrap();
        knows_people(&gateway, 4).await;
        let call = shown(&gateway, "a").await;
        let invitation = &call["invitations"][0];
        assert_eq!(invitation["operationID"], operation["id"], "{form}: {call}");
        assert_eq!(invitation["isPending"], false, "{form}: {call}");
        let joined = call["roster"].as_array().expect("a list").iter().find(|one| {
            one["participantID"] == invitation["participantID"] && one["state"] == "joined"
        });
        assert_eq!(joined.expect("the invited one")["userID"], ANN.to_lowercase(), "{form}");
    }
}
