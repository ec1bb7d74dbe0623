//! What is known of a call, and how it grows when something is told.
//!
//! The same news in another order, or twice, leads to the same knowledge but for the times, which
//! are those of arrival. Nothing that is known is replaced, so what an import said stands, but for our
//! own place in the roster, which may become another one while the call goes on. Of the reasons that
//! several news of the end give, the same one stands whichever comes first.

pub(crate) mod roster;

use super::call::{CallState, Direction};
use super::change::{CallChange, EndReason};
use super::end_reason;
use super::reconcile::{CONFIRMATION, SILENCE};
use crate::clock::Timestamp;

/// What is known of one call, without its parties and its roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownCall {
    pub(crate) state: CallState,
    pub(crate) direction: Option<Direction>,
    pub(crate) app_id: Option<String>,
    pub(crate) chain_id: Option<String>,
    pub(crate) thread_id: Option<String>,
    pub(crate) join_meeting_id: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) observed: Option<String>,
    /// The last that was told: of two, the later one is more likely to be true.
    pub(crate) my_participant_id: Option<String>,
    pub(crate) first_seen_at: Timestamp,
    pub(crate) last_seen_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    /// When it began to ring; none when nobody said that it does, whatever its state.
    pub(crate) rings_since: Option<Timestamp>,
    pub(crate) answered_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) end: EndReason,
    /// When Graph is asked whether it still has the call.
    pub(crate) look_at: Option<Timestamp>,
    /// See [`roster::Roster::whole`].
    pub(crate) roster_sequence: Option<i64>,
}

impl KnownCall {
    /// A call of which nothing was told before `now`. Its state is the earliest, so that whatever
    /// is told of it counts.
    pub(crate) fn unheard_of(now: Timestamp) -> Self {
        Self {
            state: CallState::Incoming,
            direction: None,
            app_id: None,
            chain_id: None,
            thread_id: None,
            join_meeting_id: None,
            subject: None,
            observed: None,
            my_participant_id: None,
            first_seen_at: now,
            last_seen_at: now,
            started_at: None,
            rings_since: None,
            answered_at: None,
            ended_at: None,
            end: EndReason::default(),
            look_at: first_look(CallState::Incoming, None, now),
            roster_sequence: None,
        }
    }

    /// Adds what `change` says, at `now`, of a call that `app_id` owns.
    pub(crate) fn merge(&mut self, change: &CallChange, app_id: Option<&str>, now: Timestamp) {
        self.last_seen_at = self.last_seen_at.max(now);
        self.direction = self.direction.or(change.direction);
        fill(&mut self.app_id, app_id);
        fill(&mut self.chain_id, change.chain_id.as_deref());
        fill(&mut self.thread_id, change.thread_id.as_deref());
        fill(&mut self.join_meeting_id, change.join_meeting_id.as_deref());
        fill(&mut self.subject, change.subject.as_deref());
        fill(&mut self.observed, change.observed.as_deref());
        if let Some(told) = &change.my_participant_id {
            self.my_participant_id = Some(told.clone());
        }
        // A reason that is told before the end may be that of something else, and which one came
        // with the end could not be told any more.
        if let Some(end) = change.end.as_ref().filter(|_end| change.tells_of_the_end()) {
            self.end.join(end);
        }
        if change.created || change.state.is_some_and(is_beginning) {
            self.started_at.get_or_insert(self.first_seen_at);
        }
        if change.state == Some(CallState::Incoming) {
            // It may have rung before that was said: then there is less time, never more.
            self.rings_since.get_or_insert(self.first_seen_at);
        }
        if change.state.is_some_and(is_answered) {
            self.answered_at.get_or_insert(now);
        }
        self.advance(change, now);
    }

    /// Moves the state forward, to the end when `change` tells of it.
    fn advance(&mut self, change: &CallChange, now: Timestamp) {
        let told = if change.deleted { Some(CallState::Terminated) } else { change.state };
        let (before, had_ended) = (self.state, self.ended_at.is_some());
        self.state = before.max(told.unwrap_or(before));
        if told == Some(CallState::Terminated) {
            self.ended_at.get_or_insert(now);
        }
        if let Some(ended_at) = self.ended_at {
            // News of the answer may have been overtaken by those of the end.
            self.answered_at = self.answered_at.map(|at| at.min(ended_at));
            // A look at one that had ended is for the deletion that Graph took since.
            self.look_at = self.look_at.filter(|_| had_ended);
        } else if before < CallState::Terminating && self.state == CallState::Terminating {
            let soon = now + CONFIRMATION;
            self.look_at = Some(self.look_at.map_or(soon, |at| at.min(soon)));
        }
    }
}

/// When Graph is asked for a call that is first told of at `now`.
pub(crate) fn first_look(
    state: CallState,
    ended_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    let wait = if state < CallState::Terminating { SILENCE } else { CONFIRMATION };
    ended_at.is_none().then_some(now + wait)
}

impl EndReason {
    /// Adds what `told` says. Of two results one stands whole: the fuller one, then the one that
    /// [`end_reason`] knows better, then the smaller numbers. `terminationReason` goes by itself.
    fn join(&mut self, told: &Self) {
        if told.standing() < self.standing() {
            (self.code, self.subcode) = (told.code, told.subcode);
            self.message.clone_from(&told.message);
        }
        if word_standing(told.word.as_deref()) < word_standing(self.word.as_deref()) {
            self.word.clone_from(&told.word);
        }
    }

    /// The lowest one stands.
    fn standing(&self) -> impl Ord {
        let (code, subcode) = (self.code, self.subcode);
        let missing = usize::from(code.is_none()) + usize::from(subcode.is_none());
        let numbers = Self { code, subcode, ..Self::default() };
        (missing, doubt(&numbers), code, subcode, self.message.is_none(), self.message.clone())
    }
}

fn word_standing(word: Option<&str>) -> impl Ord {
    let reason = EndReason { word: word.map(str::to_owned), ..EndReason::default() };
    (word.is_none(), doubt(&reason), reason.word)
}

/// How little is known of what a reason means.
fn doubt(reason: &EndReason) -> u8 {
    match end_reason::meaning(reason) {
        Some(meaning) if meaning.documented => 0,
        Some(_seen) => 1,
        None => 2,
    }
}

fn fill(known: &mut Option<String>, told: Option<&str>) {
    if known.is_none() {
        *known = told.map(str::to_owned);
    }
}

/// Who is told of it sees the call begin.
fn is_beginning(state: CallState) -> bool {
    state <= CallState::Ringing
}

/// Who is told of it knows that the call was answered. A call can be redirected while it rings.
fn is_answered(state: CallState) -> bool {
    (CallState::Established..CallState::Redirecting).contains(&state)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::GraphCallId;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn reason(code: Option<i64>, subcode: Option<i64>, word: Option<&str>) -> EndReason {
        EndReason { code, subcode, message: None, word: word.map(str::to_owned) }
    }

    #[test]
    fn a_call_is_looked_for_until_it_has_ended() {
        assert_eq!(first_look(CallState::Established, None, NOW), Some(NOW + SILENCE));
        assert_eq!(first_look(CallState::Terminating, None, NOW), Some(NOW + CONFIRMATION));
        assert_eq!(first_look(CallState::Terminated, Some(NOW), NOW), None);
    }

    #[test]
    fn an_answer_is_neither_a_beginning_nor_an_end() {
        let told = |is: fn(CallState) -> bool| {
            use CallState::{
                Established, Establishing, Incoming, Redirecting, Ringing, Terminating,
                TransferAccepted,
            };
            let states = [Incoming, Establishing, Ringing, Established, TransferAccepted];
            states.into_iter().chain([Redirecting, Terminating]).map(is).collect::<Vec<_>>()
        };
        assert_eq!(told(is_beginning), [true, true, true, false, false, false, false]);
        assert_eq!(told(is_answered), [false, false, false, true, true, false, false]);
    }

    #[test]
    fn a_call_rings_when_that_is_said_of_it_and_since_it_was_first_heard_of() {
        let later = NOW + CONFIRMATION;
        let mut known = KnownCall::unheard_of(NOW);
        let change = CallChange::of(GraphCallId("a".to_owned()));
        known.merge(&change, None, NOW);
        assert_eq!((known.state, known.rings_since), (CallState::Incoming, None));
        let rings = CallChange { state: Some(CallState::Incoming), ..change };
        known.merge(&rings, None, later);
        assert_eq!(known.rings_since, Some(NOW));
    }

    #[test]
    fn our_own_place_is_the_one_that_was_told_last() {
        let mut known = KnownCall::unheard_of(NOW);
        let change = CallChange::of(GraphCallId("a".to_owned()));
        for (told, expected) in
            [(None, None), (Some("p"), Some("p")), (None, Some("p")), (Some("q"), Some("q"))]
        {
            let my_participant_id = told.map(str::to_owned);
            known.merge(&CallChange { my_participant_id, ..change.clone() }, None, NOW);
            assert_eq!(known.my_participant_id.as_deref(), expected);
        }
    }

    #[test]
    fn of_two_results_the_better_known_one_stands_whole() {
        for (better, worse) in [
            ((Some(200), Some(7000)), (Some(200), None)),
            ((None, Some(7000)), (Some(200), None)),
            ((Some(200), Some(99)), (Some(200), None)),
            ((Some(200), None), (None, None)),
            ((Some(200), Some(5001)), (Some(500), Some(7106))),
            ((Some(500), Some(7106)), (Some(200), Some(99))),
            ((Some(200), Some(4521)), (Some(200), Some(5001))),
        ] {
            let of = |(code, subcode): (Option<i64>, Option<i64>)| reason(code, subcode, None);
            for (first, second) in [(better, worse), (worse, better)] {
                let mut end = of(first);
                end.join(&of(second));
                assert_eq!(end, of(better), "{first:?}, {second:?}");
            }
        }
    }

    #[test]
    fn a_word_goes_by_itself() {
        let mut end = reason(Some(200), None, Some("CallTerminated"));
        end.join(&reason(None, None, Some("AppInitiated")));
        end.join(&reason(None, None, Some("Absurd")));
        assert_eq!(end, reason(Some(200), None, Some("AppInitiated")));
    }

    #[test]
    fn a_reason_without_an_end_is_none() {
        let end = Some(reason(Some(200), Some(5001), Some("AppInitiated")));
        let change = CallChange { end, ..CallChange::of(GraphCallId("a".to_owned())) };
        for state in [None, Some(CallState::Established), Some(CallState::Terminating)] {
            let mut known = KnownCall::unheard_of(NOW);
            known.merge(&CallChange { state, ..change.clone() }, None, NOW);
            assert_eq!(known.end, EndReason::default(), "{state:?}");
        }
    }

    proptest! {
        #[test]
        fn results_are_joined_to_the_same_one_in_any_order(
            told in prop::collection::vec(
                (prop::option::of(200_i64..202), prop::option::of(6999_i64..7002), prop::option::of("[ab]?")),
                1..5,
            ),
        ) {
            let told = told.into_iter().map(|(code, subcode, word)| EndReason {
                message: word.clone(),
                ..reason(code, subcode, word.as_deref())
            });
            let joined = |told: &mut dyn Iterator<Item = EndReason>| {
                let mut end = EndReason::default();
                told.for_each(|one| end.join(&one));
                end
            };
            let forward = joined(&mut told.clone());
            prop_assert_eq!(&joined(&mut told.clone().rev()), &forward);
            prop_assert_eq!(&joined(&mut told.clone().chain(told)), &forward);
        }
    }
}
