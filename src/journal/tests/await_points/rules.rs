//! What a request must not be, by the registry and the journal as they were when its step was leased.

use super::super::witness::Seen;
use super::*;
use crate::model::deletion::LEG_ASKED_FOR;

impl World {
    /// Why nothing may be sent for this step, by what is on disk right after its lease. That is what was
    /// there at the lease: the store does one thing after the other, and nobody asks anything of it
    /// between the two.
    pub(super) fn problems_at_the_lease(&self, leased: &Leased) -> Vec<String> {
        let StepRef { deletion, position } = leased.step;
        let now = self.clock.now().0;
        let mut problems = Vec::new();
        let mut forbid = |sql: &str, why: &str| {
            let query = format!(
                "SELECT {sql} FROM steps AS s JOIN deletions AS d ON d.deletion = s.deletion \
                 JOIN calls AS c ON c.call = d.call \
                 WHERE s.deletion = {deletion} AND s.position = {position}"
            );
            if self.there.look::<bool>(&query) {
                problems.push(why.to_owned());
            }
        };
        forbid(
            "EXISTS (SELECT 1 FROM holds WHERE lifted_at IS NULL AND value = c.graph_id)",
            "a hold stood",
        );
        forbid(
            "s.operation = 'invite' AND EXISTS (SELECT 1 FROM holds AS h JOIN invitations AS i \
             ON i.replaces = h.value WHERE h.lifted_at IS NULL AND i.deletion = d.deletion)",
            "a hold stood on the call that is left",
        );
        forbid(&format!("d.deadline_at <= {now}"), "the deletion's deadline was over");
        forbid(&format!("s.deadline_at <= {now}"), "the step's deadline was over");
        forbid(
            "EXISTS (SELECT 1 FROM deletions AS o JOIN steps AS t ON t.deletion = o.deletion \
             WHERE o.call = d.call AND o.deletion <> d.deletion AND t.state IN ('sent', 'gone') \
             AND (t.operation = 'hang-up' OR t.operation = 'reject' AND c.state = 'incoming' \
             AND c.answered_at IS NULL))",
            "our leg was taken",
        );
        forbid("coalesce(c.app_id = 'other', 0)", "the call was another app's");
        forbid(
            "d.kind = 'RejectCall' AND s.operation <> 'reject' \
             OR d.kind = 'DeleteParticipant' AND (s.operation <> 'remove-participant' \
             OR s.target IS NOT d.target) \
             OR d.kind = 'InviteParticipant' AND s.operation <> 'invite' \
             OR d.kind = 'DeleteCall' AND s.operation = 'invite' \
             OR d.kind = 'DeleteCall' AND d.scope = 'leg' \
             AND s.operation NOT IN ('reject', 'hang-up')",
            "nobody asked for this operation",
        );
        forbid(
            "s.operation = 'remove-participant' AND coalesce(s.target = c.my_participant_id, \
             s.target = 'me')",
            "it is our own place in the call",
        );
        forbid(
            "s.operation = 'hang-up' AND d.scope = 'all' AND EXISTS (SELECT 1 FROM steps AS r \
             WHERE r.deletion = d.deletion AND r.operation = 'remove-participant' \
             AND (r.state IN ('open', 'unknown', 'obsolete', 'cancelled') \
             OR r.state = 'failed' AND r.failure IS NOT 'Graph has no such participant in the call'))",
            "somebody is left whom only our leg can remove",
        );
        if self.is_anothers_turn(leased) {
            problems.push("another deletion of our leg was being sent".to_owned());
        }
        let admitted = self.admitted.iter().find(|(other, _)| *other == deletion);
        // What was leased with its admission is of the call that was found a moment before.
        if admitted.is_some_and(|(_, call)| *call != leased.graph_id.0) {
            problems.push("it was admitted for another call".to_owned());
        }
        problems
    }

    /// An attempt that was begun before for another deletion of this call is not over. Whoever ends our
    /// leg waits for all of such a deletion, single participants for the request that ends our leg. Nobody
    /// waits for what gave way to the end of our leg.
    fn is_anothers_turn(&self, leased: &Leased) -> bool {
        let earlier: Vec<_> = self
            .permits
            .iter()
            .map(|Permit { step, number, .. }| {
                format!(", ({}, {}, {number})", step.deletion, step.position)
            })
            .collect();
        self.there.look(&format!(
            "SELECT EXISTS (SELECT 1 FROM attempts AS a JOIN steps AS s \
             ON s.deletion = a.deletion AND s.position = a.position \
             JOIN deletions AS o ON o.deletion = a.deletion \
             JOIN deletions AS d ON d.call = o.call AND d.deletion <> o.deletion \
             WHERE (a.deletion, a.position, a.number) IN (VALUES (0, 0, 0){}) \
             AND a.answered_at IS NULL AND d.deletion = {} \
             AND o.kind IN ('DeleteCall', 'RejectCall') AND s.failure IS NOT '{LEG_ASKED_FOR}' \
             AND (s.operation IN ('hang-up', 'reject') OR d.kind IN ('DeleteCall', 'RejectCall')))",
            earlier.concat(),
            leased.step.deletion
        ))
    }

    /// The call that is to be rejected rings by the rules, and nobody has to ask the gateway for that.
    pub(super) fn rings(&self, step: StepRef) -> bool {
        let StepRef { deletion, position } = step;
        let now = self.clock.now().0;
        self.there.look(&format!(
            "SELECT c.state = 'incoming' AND c.answered_at IS NULL AND c.ended_at IS NULL \
             AND c.rings_since + iif(c.observed IS NULL, 15000, 5000) > {now} \
             AND s.deadline_at > {now} FROM steps AS s JOIN deletions AS d \
             ON d.deletion = s.deletion JOIN calls AS c ON c.call = d.call \
             WHERE s.deletion = {deletion} AND s.position = {position}"
        ))
    }

    /// What Graph has seen was allowed. Which attempts a request may be was on disk when it arrived;
    /// that one of them is over by now says nothing.
    pub(super) fn check(&mut self, seed: u64) {
        for Seen { what, begun, may_be_done } in self.witness.seen() {
            assert!(!begun.is_empty(), "seed {seed}: {what}: no such step was begun on disk");
            let is_of = |permit: &Permit| {
                permit.what == what
                    && permit.is_polled
                    && begun.contains(&(permit.step, permit.number))
            };
            let all = 0..self.permits.len();
            let (allowed, forbidden): (Vec<_>, Vec<_>) = all
                .filter(|permit| is_of(&self.permits[*permit]))
                .partition(|permit| self.permits[*permit].problems.is_empty());
            let problems: Vec<_> =
                forbidden.iter().map(|permit| &self.permits[*permit].problems).collect();
            let problems = format!("{problems:?}");
            self.may_be.push(allowed);
            let request = self.may_be.len() - 1;
            let is_allowed = self.attribute(request, &mut Vec::new());
            assert!(
                is_allowed,
                "seed {seed}: {what}: nothing allows it, or it was sent: {problems}"
            );
            let mine = |permit: &&Permit| permit.request == Some(request);
            let step = self.permits.iter().find(mine).unwrap().step;
            let has_invited = what.starts_with("invite ") && self.may_be_done.contains(&step);
            assert!(!has_invited, "seed {seed}: {what}: it may have been done before");
            if may_be_done {
                self.may_be_done.push(step);
            }
            self.sent.push(what);
        }
    }

    /// Finds the attempt that this request is. Two deletions may remove the same participant side by side:
    /// what was taken for the one may have been the other's.
    fn attribute(&mut self, request: usize, tried: &mut Vec<usize>) -> bool {
        for permit in self.may_be[request].clone() {
            if tried.contains(&permit) {
                continue;
            }
            tried.push(permit);
            let other = self.permits[permit].request;
            if other.is_none_or(|other| self.attribute(other, tried)) {
                self.permits[permit].request = Some(request);
                return true;
            }
        }
        false
    }
}
