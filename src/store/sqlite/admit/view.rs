//! What the decision may see.

use rusqlite::{Connection, Params, Row, params};

use super::{LAST_OPERATION, held};
use crate::clock::Timestamp;
use crate::id::{CallId, DeletionId};
use crate::model::deletion::{DeletionKind, REPEATED_BY_THE_CALLER, REPEATED_BY_THE_STACK};
use crate::model::participant::ParticipantSelector;
use crate::model::plan::{Earlier, Match, Matches, Operation, Participants, Replaced, View};
use crate::model::selector::{Selector, StatusWord};
use crate::store::admission::{Ask, Selection};
use crate::store::error::StoreError;
use crate::store::sqlite::lease::invited;
use crate::store::sqlite::participants::{self, Room, is_pending};
use crate::store::sqlite::turns::IS_TAKEN;
use crate::store::sqlite::{armed, everybody, resolve};

/// What the decision may see, in the transaction that records it.
pub(super) struct Transaction<'a> {
    connection: &'a Connection,
    ask: &'a Ask,
    /// The calls that matched last.
    matched: Vec<i64>,
}

impl<'a> Transaction<'a> {
    /// Nothing has been looked at yet.
    pub(super) const fn new(connection: &'a Connection, ask: &'a Ask) -> Self {
        Self { connection, ask, matched: Vec::new() }
    }

    /// The calls that matched last, in the store's own numbers.
    pub(super) fn into_matched(self) -> Vec<i64> {
        self.matched
    }

    fn by_selector(
        &self,
        condition: &str,
        made_since: Timestamp,
        since: Timestamp,
    ) -> Result<Option<Earlier>, StoreError> {
        let selection: &Selection = &self.ask.selection;
        let kind = &self.ask.question.kind;
        self.newest(
            &format!(
                "d.key = ?1 AND d.selector_hash = ?2 AND d.created_at > ?3 AND d.selector = ?4 \
                 AND d.kind = ?5 AND d.scope = ?6 {condition} \
                 ORDER BY d.created_at DESC, d.deletion DESC"
            ),
            params![
                self.ask.checked.key.row,
                selection.hash,
                made_since.0,
                selection.canonical,
                kind.as_str(),
                if kind.is_all() { "all" } else { "leg" },
                since.0
            ],
        )
    }

    /// The first deletion `d` of a call `c` for which `condition` holds, by the order in it.
    fn newest(&self, condition: &str, values: impl Params) -> Result<Option<Earlier>, StoreError> {
        let sql = format!(
            "SELECT d.deletion_id, c.call_id, d.state, {LAST_OPERATION}, d.deletion, d.kind, \
             d.scope, d.target, d.created_at FROM deletions AS d JOIN calls AS c ON c.call = d.call \
             WHERE {condition} LIMIT 1"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(values)?;
        rows.next()?.map(|row| earlier(self.connection, row)).transpose()
    }
}

impl View for Transaction<'_> {
    type Error = StoreError;

    fn matching(&mut self, word: Option<StatusWord>) -> Result<Matches, StoreError> {
        let matches = resolve::matching(self.connection, &self.ask.selection, word)?;
        self.matched = matches.calls.iter().map(|one| one.row).collect();
        Ok(matches)
    }

    fn abandoned(&mut self) -> Result<Option<Earlier>, StoreError> {
        let now = self.ask.now;
        // It may have waited for longer than this before its client went away.
        let made_since = now - REPEATED_BY_THE_CALLER;
        self.by_selector("AND d.abandoned_at > ?7", made_since, now - REPEATED_BY_THE_STACK)
    }

    fn earlier(&mut self) -> Result<Option<Earlier>, StoreError> {
        let since = self.ask.now - REPEATED_BY_THE_CALLER;
        self.by_selector("AND d.created_at > ?7", since, since)
    }

    fn armed(&mut self) -> Result<Option<DeletionId>, StoreError> {
        armed::same(self.connection, self.ask)
    }

    fn deletion_of(&mut self, call: &Match) -> Result<Option<Earlier>, StoreError> {
        let open = match &self.ask.question.kind {
            DeletionKind::RejectCall(_) => "RejectCall",
            // Removals and invitations end with the leg that a deletion is to end.
            _ => "DeleteCall",
        };
        self.newest(
            &format!(
                "d.call = ?1 AND d.kind IN ('DeleteCall', 'RejectCall') \
                 AND ({IS_TAKEN} OR d.state = 'open' AND d.kind = ?2) \
                 ORDER BY d.state = 'open' DESC, d.deletion DESC"
            ),
            params![call.row, open],
        )
    }

    fn deletion_at(&mut self, call: &Match, target: &str) -> Result<Option<Earlier>, StoreError> {
        // One who is told of as being in the call once more, after Graph took the removal, came back;
        // or was invited once more. Of one who is not told of as gone for long, nobody knows whether the
        // removal lasted. Whoever joined by an invitation is known by his id, or, where that was never
        // told, by being told of since.
        self.newest(
            &format!(
                "d.call = ?1 AND d.kind = ?2 AND d.target = ?3 AND (d.state = 'open' \
             OR d.kind = 'DeleteParticipant' AND (d.state IN ('confirmed', 'gone') \
             OR d.state = 'sent' AND d.settled_at > ?4) \
             AND NOT EXISTS (SELECT 1 FROM roster AS r WHERE r.call = d.call \
             AND r.participant_id = d.target AND r.left_at IS NULL \
             AND (d.state = 'confirmed' OR r.joined_at >= d.settled_at)) \
             AND NOT EXISTS (SELECT 1 FROM invitations AS i WHERE i.call = d.call \
             AND i.participant_id = d.target AND i.deletion > d.deletion) \
             OR d.kind = 'InviteParticipant' AND d.state IN ('sent', 'unknown') \
             AND d.created_at > ?4 AND EXISTS (SELECT 1 FROM invitations AS i \
             WHERE i.deletion = d.deletion AND {} AND (i.participant_id IS NOT NULL \
             OR NOT EXISTS (SELECT 1 FROM roster AS r WHERE r.call = i.call \
             AND r.user_id = i.normalised AND r.joined_at >= d.created_at)))) \
             ORDER BY d.state = 'open' DESC, d.deletion DESC",
                is_pending()
            ),
            params![
                call.row,
                self.ask.question.kind.as_str(),
                target,
                (self.ask.now - REPEATED_BY_THE_CALLER).0
            ],
        )
    }

    fn participants(
        &mut self,
        call: &Match,
        who: &ParticipantSelector,
    ) -> Result<Participants, StoreError> {
        let room = Room {
            tenant: self.ask.selection.tenant_row,
            call: call.row,
            client_id: self.ask.question.client_id.as_deref(),
        };
        match who {
            ParticipantSelector::Id(id) => participants::by_id(self.connection, &room, id),
            ParticipantSelector::Known(number) => {
                let numbers = self.ask.selection.numbering.alternatives(number);
                participants::by_number(self.connection, &room, &numbers)
            }
        }
    }

    fn replaced(&mut self, id: &str) -> Result<Replaced, StoreError> {
        let asked = &self.ask.selection;
        let selector = Selector {
            call_id: Some(id.to_owned()),
            platform_call_id: None,
            native_id: None,
            meeting_id: None,
            extension: None,
            status: None,
        };
        let selection = Selection { selector, numbers: Vec::new(), ..asked.clone() };
        let mut matches = resolve::matching(self.connection, &selection, None)?;
        let is_one = matches.count == 1 && !matches.is_cut;
        Ok(match matches.calls.pop().filter(|_| is_one) {
            Some(call) => Replaced::Known(Box::new(call)),
            // For a key that is limited, a call that nobody knows is none of its own.
            None if matches.count == 0 && !matches.is_cut && asked.patterns.is_empty() => {
                Replaced::Unknown
            }
            None => Replaced::Hidden,
        })
    }

    fn held(&mut self, call: &Match) -> Result<bool, StoreError> {
        held(self.connection, call.row)
    }
}

fn earlier(connection: &Connection, row: &Row<'_>) -> Result<Earlier, StoreError> {
    let (deletion_id, call_id): (String, String) = (row.get(0)?, row.get(1)?);
    let (state, operation): (String, Option<String>) = (row.get(2)?, row.get(3)?);
    let (deletion, kind, scope): (i64, String, String) = (row.get(4)?, row.get(5)?, row.get(6)?);
    let target: Option<String> = row.get(7)?;
    let is_all = scope == "all";
    let is_invitation = kind == "InviteParticipant";
    Ok(Earlier {
        deletion_id: deletion_id.parse().map_err(StoreError::unexpected)?,
        call_id: CallId::new(&call_id),
        state: state.parse().map_err(StoreError::unexpected)?,
        operation: operation.as_deref().and_then(Operation::from_word),
        is_all,
        created_at: Timestamp(row.get(8)?),
        participant_id: target.filter(|_| !is_invitation),
        progress: if is_all { everybody::progress(connection, deletion)? } else { None },
        invited: if is_invitation { invited(connection, deletion)? } else { None },
    })
}
