//! Single people in one call, as far as was told: those on its roster, and those whom we invited and
//! whom no roster has shown.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params};

use crate::model::deletion::NO_SUCH_PARTICIPANT;
use crate::model::number::masked;
use crate::model::plan::{Ambiguity, Elsewhere, ParticipantCandidate, Participants};
use crate::model::reconcile::is_same_app;
use crate::store::error::StoreError;

/// A call in which somebody is looked up.
pub(super) struct Room<'a> {
    pub(super) tenant: i64,
    pub(super) call: i64,
    /// The app that we are in this tenant.
    pub(super) client_id: Option<&'a str>,
}

/// One who can be removed from a call.
struct Present {
    participant_id: String,
    is_invited: bool,
    normalised: Option<String>,
    user_id: Option<String>,
}

/// Those whom one of `numbers` means, each a number, address or user id in comparable form.
pub(super) fn by_number(
    connection: &Connection,
    room: &Room<'_>,
    numbers: &[String],
) -> Result<Participants, StoreError> {
    let (meant, others): (Vec<_>, Vec<_>) =
        present(connection, room)?.into_iter().partition(|one| {
            let is =
                |known: &Option<String>| known.as_ref().is_some_and(|one| numbers.contains(one));
            is(&one.normalised) || is(&one.user_id)
        });
    let elsewhere = if meant.is_empty() { unnamed(connection, room, numbers)? } else { None };
    Ok(found(meant, &others, elsewhere))
}

/// The one who has this id, to the letter: it is Graph's, and means nothing to us.
pub(super) fn by_id(
    connection: &Connection,
    room: &Room<'_>,
    id: &str,
) -> Result<Participants, StoreError> {
    let (meant, others): (Vec<_>, Vec<_>) =
        present(connection, room)?.into_iter().partition(|one| one.participant_id == id);
    let elsewhere = if meant.is_empty() { elsewhere(connection, room, id)? } else { None };
    Ok(found(meant, &others, elsewhere))
}

fn found(meant: Vec<Present>, others: &[Present], elsewhere: Option<Elsewhere>) -> Participants {
    let candidates = if meant.is_empty() { others } else { &meant };
    let candidates = candidates.iter().take(Ambiguity::LISTED).map(candidate).collect();
    let matching = meant.into_iter().map(|one| one.participant_id).collect();
    Participants { matching, elsewhere, candidates }
}

fn candidate(one: &Present) -> ParticipantCandidate {
    let party = one.normalised.as_deref().or(one.user_id.as_deref());
    ParticipantCandidate {
        participant_id: one.participant_id.clone(),
        is_invited: one.is_invited,
        party: party.map(masked),
    }
}

/// Everybody who can be removed, each once: who is on the roster and has not left, and whom we invited
/// and no roster has shown. We ourselves are not among them, nor, where our own place is not known, one
/// who may be ourselves.
fn present(connection: &Connection, room: &Room<'_>) -> Result<Vec<Present>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT r.participant_id, r.normalised, r.user_id, r.app_id, \
         r.participant_id IS c.my_participant_id FROM roster AS r \
         JOIN calls AS c ON c.call = r.call WHERE r.call = ?1 AND r.left_at IS NULL \
         ORDER BY r.joined_at, r.participant_id",
    )?;
    let mut rows = statement.query([room.call])?;
    let (mut present, mut are_we_known) = (Vec::new(), false);
    while let Some(row) = rows.next()? {
        let app_id: Option<String> = row.get(3)?;
        let user_id: Option<String> = row.get(2)?;
        // Rows of before apps were told from users name ours as a user.
        if row.get(4)? || room.is_ourselves(app_id.as_deref().or(user_id.as_deref())) {
            are_we_known = true;
            continue;
        }
        let one = Present {
            participant_id: row.get(0)?,
            is_invited: false,
            normalised: row.get(1)?,
            user_id,
        };
        let is_nameless = app_id.is_none() && one.normalised.is_none() && one.user_id.is_none();
        present.push((one, is_nameless));
    }
    let may_be_us = |is_nameless: bool| is_nameless && !are_we_known;
    present.retain(|(_, is_nameless)| !may_be_us(*is_nameless));
    let mut present = present.into_iter().map(|(one, _)| one).collect();
    add_invited(connection, room, &mut present)?;
    Ok(present)
}

/// The invitation `i` may still be followed: no roster has shown whoever it is for, Graph has not said
/// that it failed, and has neither removed him since nor said that it does not know him.
pub(super) fn is_pending() -> String {
    format!(
        "(i.failed = 0 AND NOT EXISTS (SELECT 1 FROM roster AS r WHERE r.call = i.call \
         AND r.participant_id = i.participant_id) \
         AND NOT EXISTS (SELECT 1 FROM deletions AS o JOIN steps AS s ON s.deletion = o.deletion \
         WHERE o.call = i.call AND o.deletion > i.deletion AND s.operation = 'remove-participant' \
         AND s.target = i.participant_id AND (s.state IN ('sent', 'gone') \
         OR '{NO_SUCH_PARTICIPANT}' IN (s.failure, o.failure))))"
    )
}

/// Graph's ids of those whom we invited into this call, whom no roster has shown, and who may still join.
pub(super) fn pending(connection: &Connection, call: i64) -> Result<Vec<String>, StoreError> {
    let mut known = HashSet::new();
    let ids = invited(connection, call)?.into_iter().map(|(id, _)| id);
    Ok(ids.filter(|id| known.insert(id.clone())).collect())
}

/// Somebody whom one of `numbers` means was, or may have been, invited, and Graph has not told his id.
fn unnamed(
    connection: &Connection,
    room: &Room<'_>,
    numbers: &[String],
) -> Result<Option<Elsewhere>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT i.normalised FROM invitations AS i JOIN deletions AS o ON o.deletion = i.deletion \
         WHERE i.call = ?1 AND i.participant_id IS NULL AND i.failed = 0 \
         AND o.state IN ('open', 'sent', 'unknown') AND NOT EXISTS (SELECT 1 FROM roster AS r \
         WHERE r.call = i.call AND r.user_id = i.normalised AND r.joined_at >= o.created_at)",
    )?;
    let mut rows = statement.query([room.call])?;
    while let Some(row) = rows.next()? {
        if numbers.contains(&row.get(0)?) {
            return Ok(Some(Elsewhere::Unnamed));
        }
    }
    Ok(None)
}

/// Adds those whom we invited and who may still join.
fn add_invited(
    connection: &Connection,
    room: &Room<'_>,
    present: &mut Vec<Present>,
) -> Result<(), StoreError> {
    let mut here: HashSet<String> = present.iter().map(|one| one.participant_id.clone()).collect();
    for (participant_id, normalised) in invited(connection, room.call)? {
        // Two invitations of one user may have led to one place.
        if here.insert(participant_id.clone()) {
            let normalised = Some(normalised);
            present.push(Present { participant_id, is_invited: true, normalised, user_id: None });
        }
    }
    Ok(())
}

/// Graph's id and the user of each invitation into this call that no roster has shown, that has not
/// failed and was not taken back.
fn invited(connection: &Connection, call: i64) -> Result<Vec<(String, String)>, StoreError> {
    let removed = removed(connection, call)?;
    let mut invited = Vec::new();
    let mut statement = connection.prepare_cached(
        "SELECT i.participant_id, i.normalised, i.deletion FROM invitations AS i \
         JOIN calls AS c ON c.call = i.call WHERE i.call = ?1 AND i.participant_id IS NOT NULL \
         AND i.failed = 0 AND i.participant_id IS NOT c.my_participant_id \
         AND NOT EXISTS (SELECT 1 FROM roster AS r WHERE r.call = i.call \
         AND r.participant_id = i.participant_id) ORDER BY i.deletion",
    )?;
    let mut rows = statement.query([call])?;
    while let Some(row) = rows.next()? {
        let (participant_id, invitation): (String, i64) = (row.get(0)?, row.get(2)?);
        if removed.get(&participant_id).is_none_or(|last| *last <= invitation) {
            invited.push((participant_id, row.get(1)?));
        }
    }
    Ok(invited)
}

/// Whom Graph has removed from the call, or did not know when we asked it to, and by which deletion last.
/// Read at once: there may be thousands of them.
fn removed(connection: &Connection, call: i64) -> Result<HashMap<String, i64>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT s.target, max(d.deletion) FROM deletions AS d \
             JOIN steps AS s ON s.deletion = d.deletion \
             WHERE d.call = ?1 AND s.operation = 'remove-participant' AND s.target IS NOT NULL \
             AND (s.state IN ('sent', 'gone') OR ?2 IN (s.failure, d.failure)) GROUP BY s.target",
        )?
        .query_map(params![call, NO_SUCH_PARTICIPANT], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?)
}

impl Room<'_> {
    /// An application in the roster is the one that we are.
    fn is_ourselves(&self, app_id: Option<&str>) -> bool {
        app_id.zip(self.client_id).is_some_and(|(app, client)| is_same_app(app, client))
    }
}

/// What is known of an id that is nobody's who can be removed.
fn elsewhere(
    connection: &Connection,
    room: &Room<'_>,
    id: &str,
) -> Result<Option<Elsewhere>, StoreError> {
    let here: Option<(Option<String>, bool)> = connection
        .prepare_cached(
            "SELECT coalesce(app_id, user_id), left_at IS NULL FROM roster \
             WHERE call = ?1 AND participant_id = ?2",
        )?
        .query_row(params![room.call, id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (is_ours, is_elsewhere): (bool, bool) = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM calls WHERE call = ?1 AND my_participant_id = ?2), \
             EXISTS (SELECT 1 FROM roster WHERE tenant = ?3 AND participant_id = ?2 \
             AND call <> ?1) OR EXISTS (SELECT 1 FROM invitations WHERE tenant = ?3 \
             AND participant_id = ?2 AND call <> ?1)",
        )?
        .query_row(params![room.call, id, room.tenant], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(match here {
        _ if is_ours => Some(Elsewhere::Ourselves),
        Some((app_id, _)) if room.is_ourselves(app_id.as_deref()) => Some(Elsewhere::Ourselves),
        // Whoever is there and was not found may be ourselves; anybody else has left.
        Some((_, true)) => Some(Elsewhere::Ourselves),
        Some((_, false)) => Some(Elsewhere::Left),
        None => is_elsewhere.then_some(Elsewhere::InAnotherCall),
    })
}
