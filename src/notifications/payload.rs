//! Reads what Graph posts about calls: every form that is documented or was seen, and what is in
//! none of them as far as it can be understood.
//!
//! Pure. Nothing here decides what becomes of a call: each entry gives what it says, and what is
//! not understood is counted and left out. An id that is not in the body never gets a change, and
//! only an entry whose paths and data are the call itself can end it.

mod address;
mod roster;
#[cfg(test)]
mod tests;

use serde_json::Value;

use self::address::{Address, Part, is_call_id, is_same_call};
use self::roster::is_participant;
use crate::id::{GraphCallId, TenantId};
use crate::model::change::{CallChange, RosterChange};
use crate::model::graph_call::invitation::invitation;
use crate::model::graph_call::json::{
    Object, identifier, member, object, one_or_many, text, type_name,
};
use crate::model::graph_call::{self, json};

/// How many rows one delivery may write: calls, their parties, and those in their rosters. Graph
/// sends one entry, and in 1 MiB have about half as many.
const MOST_ROWS: usize = 5000;
/// How many tenants are told apart. The proof is of one, so that two are one too many.
const MOST_TENANTS: usize = 10;

/// What a POST is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// An object without `value`: the form from before Graph. Its sender sends it again in Graph's.
    PreGraph,
    /// Notifications, or JSON that says nothing.
    Notifications(Notifications),
    /// More than is committed at once, so that nothing of it is taken.
    TooMuch,
}

/// What a delivery says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notifications {
    /// In the order of the body; several may be about one call.
    pub(crate) changes: Vec<CallChange>,
    /// The tenants that the body says its calls are of, each once; the proof must agree with all. Of
    /// very many only the first ones, which cannot all agree either.
    pub(crate) tenants: Vec<TenantId>,
    /// Entries, and calls in their lists, that were left out: about no call, or contradictory.
    pub(crate) ignored: usize,
}

/// A body that is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not JSON")]
pub(crate) struct NotJson;

/// Reads the body of a POST.
///
/// # Errors
///
/// When it is no JSON. Whatever else it is, it is read as far as it can be understood.
pub(crate) fn read(body: &[u8]) -> Result<Delivery, NotJson> {
    let Value::Object(document) = json::parse(body).ok_or(NotJson)? else {
        return Ok(Delivery::Notifications(Notifications {
            ignored: 1,
            ..Notifications::default()
        }));
    };
    if !document.keys().any(|name| name.eq_ignore_ascii_case("value")) {
        return Ok(Delivery::PreGraph);
    }
    let mut reader = Reader::default();
    reader.tenant(&document);
    let entries = json::elements(&document, "value");
    for entry in entries {
        if reader.entry(entry).is_none() {
            reader.read.ignored += 1;
        }
    }
    if reader.rows > MOST_ROWS {
        return Ok(Delivery::TooMuch);
    }
    Ok(Delivery::Notifications(reader.read))
}

#[derive(Default)]
struct Reader {
    read: Notifications,
    /// That all changes write, also those that were too many to be kept.
    rows: usize,
}

/// `changeType`; a word that is not known is an update.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Created,
    Updated,
    Deleted,
}

/// What `resourceData` is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Call,
    Roster,
    /// A call that somebody joins or has left.
    Joining,
    Leaving,
    Operation,
}

impl Reader {
    /// `None` when the entry is about no call, or nobody can tell about which.
    fn entry(&mut self, entry: &Value) -> Option<()> {
        let entry = entry.as_object()?;
        self.tenant(entry);
        let event = Event::read(entry);
        let data = member(entry, "resourceData");
        let Address { call, part } = address(entry, data)?;
        let Some(id) = call else {
            self.collection(event, data?);
            return Some(());
        };
        // An id with a slash in it that was not encoded, or a path that is another call's: nobody
        // can tell which is meant.
        let own = data.and_then(Value::as_object).filter(|data| is_certainly_call(data));
        if own.and_then(own_id).is_some_and(|own| !is_same_call(&own, &id)) {
            return None;
        }
        let wrapped =
            data.and_then(Value::as_object).filter(|object| Kind::of(object).is_wrapper());
        match (part, data) {
            (Part::Call, Some(Value::Array(items))) if !items.is_empty() => {
                self.items(&id, event, items);
            }
            (Part::Other, _) => self.add(CallChange::of(id)),
            (Part::Operation(operation), data) => {
                let data = data.and_then(|data| one_or_many(data).first()?.as_object());
                self.operation(id, data, Some(&operation));
            }
            _ if wrapped.is_some() => self.wrapped(id, wrapped?),
            (Part::Call, Some(Value::Object(object))) => self.object(id, event, object),
            (Part::Call, _) => self.add(about(id, event)),
            (Part::Roster, data) => {
                let roster = data.and_then(|data| roster::at_roster(data, event.tells_all()));
                self.roster(&id, event, roster);
            }
            (Part::Participant(participant), data) => {
                let data = data.and_then(|data| one_or_many(data).first()?.as_object());
                let roster = match event {
                    Event::Deleted => Some(RosterChange::Left(participant)),
                    _ => data.and_then(|data| roster::one(data, Some(&participant))),
                };
                self.add(CallChange { roster, ..CallChange::of(id) });
            }
        }
        Some(())
    }

    /// Calls in a list, each with its own id.
    fn collection(&mut self, event: Event, data: &Value) {
        for item in one_or_many(data) {
            let call = item.as_object().filter(|object| Kind::of(object) == Kind::Call);
            let Some((id, object)) = call.and_then(|object| Some((own_id(object)?, object))) else {
                self.read.ignored += 1;
                continue;
            };
            self.object(id, event, object);
        }
    }

    /// A list at the path of a call: its roster, or pieces of the call. A piece that has another
    /// id is about another call, and then nobody can tell.
    fn items(&mut self, id: &GraphCallId, event: Event, items: &[Value]) {
        let is_person =
            |item: &Value| item.as_object().is_some_and(|object| Kind::of(object) == Kind::Roster);
        if items.iter().all(is_person) {
            self.roster(id, event, roster::list(items, None, event.tells_all()));
            return;
        }
        for item in items {
            match item.as_object() {
                Some(object) if own_id(object).is_none_or(|own| is_same_call(&own, id)) => {
                    self.object(id.clone(), event, object);
                }
                _ => self.read.ignored += 1,
            }
        }
    }

    /// What one object says of the call whose path was given. Only the call itself can be created
    /// or ended by it.
    fn object(&mut self, id: GraphCallId, event: Event, data: &Object) {
        match Kind::of(data) {
            Kind::Call => {
                self.tenant(data);
                let mut change = about(id, event);
                graph_call::read(data, &mut change);
                change.roster = roster::in_object(data, true);
                self.add(change);
            }
            Kind::Joining | Kind::Leaving => self.wrapped(id, data),
            Kind::Roster => {
                let roster = roster::in_object(data, event.tells_all());
                self.roster(&id, event, roster.or_else(|| roster::one(data, None)));
            }
            Kind::Operation => self.operation(id, Some(data), None),
        }
    }

    /// What is told of something that the app asked for; `operation` is its id in the path.
    fn operation(&mut self, id: GraphCallId, data: Option<&Object>, operation: Option<&str>) {
        let invitation = data.and_then(|data| invitation(data, operation));
        self.add(CallChange { invitation, ..CallChange::of(id) });
    }

    /// The call that somebody joins or has left. What is inside may be that one's own leg, and the
    /// end of it is not the end of the call: it counts when it has the id of the path.
    fn wrapped(&mut self, id: GraphCallId, data: &Object) {
        let mut change = CallChange::of(id);
        if let Some(call) = object(data, "call")
            && own_id(call).is_some_and(|own| is_same_call(&own, &change.graph_id))
        {
            self.tenant(call);
            graph_call::read(call, &mut change);
            change.roster = roster::in_object(call, true);
        }
        if Kind::of(data) == Kind::Leaving {
            change.roster = roster::left(data);
        }
        self.add(change);
    }

    /// What is told of participants. Those in a list that was deleted have left.
    fn roster(&mut self, id: &GraphCallId, event: Event, roster: Option<RosterChange>) {
        let change = |roster| CallChange { roster, ..CallChange::of(id.clone()) };
        match roster {
            Some(RosterChange::Delta { participants, .. }) if event == Event::Deleted => {
                for one in participants {
                    self.add(change(Some(RosterChange::Left(one.participant_id))));
                }
            }
            roster => self.add(change(roster)),
        }
    }

    /// Adds a change, unless there are too many.
    fn add(&mut self, change: CallChange) {
        let people = match &change.roster {
            Some(
                RosterChange::Whole(people) | RosterChange::Delta { participants: people, .. },
            ) => people.len(),
            Some(RosterChange::Left(_)) => 1,
            None => 0,
        };
        let invitations = usize::from(change.invitation.is_some());
        self.rows += 1 + change.parties.len() + people + invitations;
        if self.rows <= MOST_ROWS {
            self.read.changes.push(change);
        }
    }

    fn tenant(&mut self, object: &Object) {
        let tenant = member(object, "tenantId").and_then(text).map(|text| TenantId::new(&text));
        let tenants = &mut self.read.tenants;
        if let Some(tenant) = tenant.filter(|tenant| !tenants.contains(tenant))
            && tenants.len() < MOST_TENANTS
        {
            tenants.push(tenant);
        }
    }
}

impl Event {
    fn read(entry: &Object) -> Self {
        let word = member(entry, "changeType").and_then(text).unwrap_or_default();
        match word.to_ascii_lowercase().as_str() {
            "created" => Self::Created,
            "deleted" => Self::Deleted,
            _ => Self::Updated,
        }
    }

    /// Whether a plain list of participants is everybody.
    fn tells_all(self) -> bool {
        self == Self::Updated
    }
}

impl Kind {
    /// By `@odata.type`, and by the members of what has none or an unknown one.
    fn of(data: &Object) -> Self {
        let has = |name: &str| member(data, name).is_some();
        match type_name(data).as_str() {
            "call" => Self::Call,
            "participant" | "deltaparticipants" => Self::Roster,
            "participantjoiningnotification" => Self::Joining,
            "participantleftnotification" => Self::Leaving,
            name if name.ends_with("operation") => Self::Operation,
            _ if object(data, "call").is_some() && has("participantId") => Self::Leaving,
            _ if object(data, "call").is_some() => Self::Joining,
            _ if is_participant(data) => Self::Roster,
            _ if has("clientContext") && has("status") => Self::Operation,
            _ => Self::Call,
        }
    }

    fn is_wrapper(self) -> bool {
        matches!(self, Self::Joining | Self::Leaving)
    }
}

/// The call that an entry is about, and which part of it: by its paths, and without any by its
/// data, if that is a call for certain. A path that is there and not understood may be about
/// anything, whatever the other one says.
fn address(entry: &Object, data: Option<&Value>) -> Option<Address> {
    let paths = ["resourceUrl", "resource"].map(|name| member(entry, name));
    if let [None, None] = paths {
        let data = data?.as_object()?;
        let path = member(data, "@odata.id").and_then(text);
        return path.and_then(|path| Address::read(&path)).or_else(|| {
            let is_wrapper = Kind::of(data).is_wrapper();
            let call = if is_wrapper { object(data, "call")? } else { data };
            let id = (is_wrapper || is_certainly_call(call)).then(|| own_id(call))?;
            Some(Address { call: Some(id?), part: Part::Call })
        });
    }
    let read = |path: &Value| Address::read(&text(path)?);
    match paths {
        [Some(url), Some(resource)] => read(url)?.and(read(resource)?),
        [url, resource] => read(url.or(resource)?),
    }
}

/// Participants and operations have ids too.
fn is_certainly_call(data: &Object) -> bool {
    let members = ["state", "callState", "callChainId", "direction", "targets", "callbackUri"];
    let has_member = || members.iter().any(|name| member(data, name).is_some());
    Kind::of(data) == Kind::Call && (type_name(data) == "call" || has_member())
}

/// The id that a call says it has.
fn own_id(call: &Object) -> Option<GraphCallId> {
    let id = identifier(call, "id").filter(|id| is_call_id(id)).map(GraphCallId);
    id.or_else(|| Address::read(&text(member(call, "@odata.id")?)?)?.call)
}

fn about(id: GraphCallId, event: Event) -> CallChange {
    let mut change = CallChange::of(id);
    change.created = event == Event::Created;
    change.deleted = event == Event::Deleted;
    change
}
