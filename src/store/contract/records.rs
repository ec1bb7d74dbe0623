//! Registry and audit chain.

use std::time::Duration;

use rusqlite::types::Value;

use crate::id::CallId;
use crate::model::call::CallState;
use crate::model::chain::{Personal, chained, hex};
use crate::store::access::AuditEntry;
use crate::store::error::StoreError;
use crate::store::fixture::{Fixture, NOW, by_call_id, entry, event};
use crate::store::records::ImportedCall;

/// Position, count, canonical bytes, salt, personal part, digest and link of a record.
type Row = (i64, i64, Vec<u8>, Vec<u8>, String, Vec<u8>, Vec<u8>);

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_call_is_shown_by_either_id_in_any_tenant() {
    let there = Fixture::new().await;
    there.call("57DAB8B1894C409AB240BD8BEAE78896", "100").await;
    for id in [
        "our-57DAB8B1894C409AB240BD8BEAE78896",
        "57DAB8B1894C409AB240BD8BEAE78896",
        "57dab8b1-894c-409a-b240-bd8beae78896",
    ] {
        // As an id that is no GUID it is compared to the letter.
        let found = there.store.call(CallId::new(id)).await.unwrap();
        assert_eq!(found.len(), 1, "{id}");
        assert_eq!(found[0].row.targets, ["+4989111"]);
    }
}

#[tokio::test]
async fn the_audit_chain_verifies_when_it_is_computed_anew() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.record("a", NOW).await;
    let refused = AuditEntry {
        at: NOW + SECOND,
        count: 3,
        event: event(),
        personal: Personal { selector: Some("callID=1:x;".to_owned()), ..Personal::default() },
    };
    there.store.record(vec![refused.clone(), refused.clone()]).await.unwrap();

    let connection = there.other_hand();
    let rows: Vec<Row> = connection
        .prepare("SELECT position, count, canonical, salt, personal, digest, link FROM audit ORDER BY position")
        .unwrap()
        .query_map((), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(rows.iter().map(|row| (row.0, row.1)).collect::<Vec<_>>(), [(1, 1), (2, 3), (3, 3)]);
    assert_ne!(rows[1].3, rows[2].3, "each record has a salt of its own");
    let mut previous = Vec::new();
    for (position, _, canonical, salt, personal, digest, link) in rows {
        use aws_lc_rs::digest::{SHA256, digest as hash};
        assert_eq!(hash(&SHA256, &canonical).as_ref(), digest);
        assert_eq!(hash(&SHA256, &[previous, digest].concat()).as_ref(), link);
        let hidden = hex(hash(&SHA256, &[&salt, personal.as_bytes()].concat()).as_ref());
        let text = String::from_utf8(canonical).unwrap();
        assert!(text.contains(&hidden) && text.contains(&format!("\"position\":{position}")));
        previous = link;
    }
    let first: Vec<u8> = there.look("SELECT link FROM audit WHERE position = 1");
    let again = chained(
        2,
        refused.at,
        3,
        &refused.event,
        &refused.personal,
        &there.look::<Vec<u8>>("SELECT salt FROM audit WHERE position = 2"),
        &first,
    );
    assert_eq!(again.link, there.look::<Vec<u8>>("SELECT link FROM audit WHERE position = 2"));
}

#[tokio::test]
async fn an_allowed_decision_is_in_the_chain_and_a_refused_one_is_left_to_its_recorder() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.admit(there.ask(by_call_id("nobody"), NOW).await).await;
    assert_eq!(there.look::<i64>("SELECT count(*) FROM audit"), 0);
    let deletion = there.record("a", NOW).await;
    let canonical: Vec<u8> = there.look("SELECT canonical FROM audit");
    let canonical = String::from_utf8(canonical).unwrap();
    for part in ["\"allowed\"", "\"admitted\"", "our-a", &deletion.to_string()] {
        assert!(canonical.contains(part), "{part} in {canonical}");
    }
    assert_eq!(there.look::<Value>("SELECT tenant FROM audit"), Value::Integer(there.tenant_row));
}

#[tokio::test]
async fn an_import_only_moves_a_call_forward() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let mut ended = there.imported("a", "200");
    ended.state = CallState::Terminated;
    ended.ended_at = Some(NOW);
    there.import(ended).await;
    there.call("a", "100").await;
    let call = there.store.call(CallId::new("a")).await.unwrap().remove(0);
    assert_eq!((call.row.state.as_str(), call.row.ended_at), ("terminated", Some(NOW)));
    let ends = "SELECT count(*) FROM parties WHERE ended_at IS NOT NULL";
    assert_eq!(there.look::<i64>(ends), 3, "the new party too");
}

#[tokio::test]
async fn an_import_is_recorded_with_the_number_of_its_calls_or_nothing_of_it_is_written() {
    let there = Fixture::new().await;
    let import = async |ids: &[(&str, &str)]| {
        let calls = ids.iter().map(|(call_id, graph_id)| ImportedCall {
            call_id: Some(CallId::new(call_id)),
            ..there.imported(graph_id, "100")
        });
        there.store.import_calls(calls.collect(), entry("calls import", NOW)).await
    };
    let report = import(&[("one", "a"), ("two", "b"), ("three", "c")]).await.unwrap();
    assert_eq!((report.added, report.merged), (3, 0));
    let conflict = import(&[("four", "d"), ("one", "e"), ("six", "f")]).await;
    assert!(matches!(conflict, Err(StoreError::Conflict)), "{conflict:?}");
    assert_eq!(there.look::<i64>("SELECT count(*) FROM calls"), 3);
    assert_eq!(there.recorded(), "calls import");
    assert_eq!(there.look::<i64>("SELECT count FROM audit"), 3);
}
