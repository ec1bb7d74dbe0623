//! A call with people in it, as Graph announces it, and what is then asked of Graph about it.

use serde_json::{Value, json};

use super::{Gateway, Key, TENANT, until};

/// Our own place in every such call.
const US: &str = "us";
/// The app that every site is.
const APP: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";

impl Gateway {
    /// Has Graph announce a call that we are in with these people, and waits until all are known;
    /// `more` wins over what is here.
    pub(crate) async fn room(&self, id: &str, people: &[(&str, Value)], more: Value) {
        let us = json!({"id": US, "identity": {"application": {"id": APP}}});
        let others = people.iter().map(|(id, identity)| json!({"id": id, "identity": identity}));
        let mut call = json!({
            "id": id, "source": "+4930123456", "targets": ["8856"], "tenantId": TENANT,
            "myParticipantId": US,
            "participants": std::iter::once(us).chain(others).collect::<Value>(),
        });
        if let (Some(call), Value::Object(more)) = (call.as_object_mut(), more) {
            call.extend(more);
        }
        self.graph.make(&call).await;
        let count = call["participants"].as_array().expect("a list").len();
        self.has_people(id, count).await;
    }

    /// Waits until so many people are known to be in the call.
    pub(crate) async fn has_people(&self, id: &str, count: usize) {
        let query = format!(
            "SELECT count(*) FROM calls JOIN roster USING (call) WHERE graph_id = '{id}' \
             AND joined_at IS NOT NULL AND left_at IS NULL"
        );
        let wanted = i64::try_from(count).expect("few");
        let probe = async || (self.value::<i64>(&query) == wanted).then_some(());
        until(&format!("{count} people are known to be in call {id}"), probe).await;
    }

    /// A key with these rights, and the right to see where its deletions stand.
    pub(crate) async fn key_with(&self, rights: &[&str]) -> Key {
        let mut flags = vec!["--right", "GetDeletion"];
        flags.extend(rights.iter().flat_map(|right| ["--right", right]));
        self.new_key(&flags).await
    }

    /// What was asked of Graph about calls: method, path behind all calls, body.
    pub(crate) async fn asked(&self) -> Vec<String> {
        let requests = self.graph.requests().await;
        let ours = |request: &Value| {
            let path = request["path"].as_str()?.strip_prefix("/v1.0/communications/calls/")?;
            let body = request["body"].as_str().map(|body| format!(" {body}")).unwrap_or_default();
            Some(format!("{} {path}{body}", request["method"].as_str()?))
        };
        requests.iter().filter_map(ours).collect()
    }

    /// Waits until Graph was asked so often about calls.
    pub(crate) async fn has_asked(&self, count: usize) {
        let probe = async || (self.asked().await.len() >= count).then_some(());
        until(&format!("Graph is asked {count} times"), probe).await;
    }

    /// What `GetDeletion` says of a deletion of this key.
    pub(crate) async fn standing(&self, key: &Key, deletion_id: &str) -> Value {
        let query = format!("deletionID={deletion_id}&responseType=JSON");
        let answer = self.get(&key.ask("GetDeletion", &query)).await;
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// A hold on every call of the number that is [`Gateway::room`]'s.
    pub(crate) fn hold(&self) {
        self.change(
            "INSERT INTO holds (hold_id, tenant, kind, value, label, set_by, set_at) \
             SELECT '019000000000', tenant, 'number', '8856', 'case', 'root', 0 FROM tenants LIMIT 1",
        );
    }
}
