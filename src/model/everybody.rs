//! Who the others in a call are, and who we are among them. Pure.

use std::collections::HashSet;

use super::reconcile::is_same_app;

/// Who is in a call, and as which app we asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InTheCall {
    /// The app that asked, where it is known.
    pub(crate) client_id: Option<String>,
    pub(crate) everybody: Vec<Present>,
}

/// One who is in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    /// Graph's id of this one in this call.
    pub(crate) participant_id: String,
    /// The id of an application.
    pub(crate) app_id: Option<String>,
    /// A number, an address or a user's id is known: this is no application.
    pub(crate) is_person: bool,
}

impl InTheCall {
    /// The ids of the others, each once, given Graph's id of our own place where it was told. None when
    /// nobody who is there is known to be ourselves, and somebody may be: an application, or one of whom
    /// nothing is known. A place that was told and is not there tells nothing: we may have another one.
    pub(crate) fn others(&self, my_participant_id: Option<&str>) -> Option<Vec<String>> {
        let is_us = |one: &Present| {
            Some(one.participant_id.as_str()) == my_participant_id || self.is_our_app(one)
        };
        let may_be_us = |one: &Present| one.app_id.is_some() || !one.is_person;
        if !self.everybody.iter().any(is_us) && self.everybody.iter().any(may_be_us) {
            return None;
        }
        let mut known = HashSet::new();
        let others = self.everybody.iter().filter(|one| !is_us(one));
        let others = others.map(|one| &one.participant_id).filter(|id| known.insert(*id));
        Some(others.cloned().collect())
    }

    /// Graph's id of our own place, when our app is among those who are there.
    pub(crate) fn ours(&self) -> Option<&str> {
        let us = self.everybody.iter().find(|one| self.is_our_app(one));
        us.map(|one| one.participant_id.as_str())
    }

    fn is_our_app(&self, one: &Present) -> bool {
        one.app_id.as_deref().is_some_and(|app_id| self.is_ours(app_id))
    }

    /// The app of this id is the one that asked.
    pub(crate) fn is_ours(&self, app_id: &str) -> bool {
        self.client_id.as_deref().is_some_and(|client_id| is_same_app(app_id, client_id))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
    const THEIRS: &str = "1891555a-92ff-42e6-80fa-6e1300c6b5c6";

    fn there(everybody: &[(&str, Option<&str>)]) -> InTheCall {
        let one = |(id, app): &(&str, Option<&str>)| Present {
            participant_id: (*id).to_owned(),
            app_id: app.map(str::to_owned),
            is_person: app.is_none(),
        };
        let everybody = everybody.iter().map(one).collect();
        InTheCall { client_id: Some(OURS.to_owned()), everybody }
    }

    #[test]
    fn we_are_told_from_the_others_by_our_place_or_by_our_app() {
        let people = [("a", None), ("b", None), ("a", None)];
        assert_eq!(there(&people).others(None).unwrap(), ["a", "b"]);
        assert_eq!(there(&people).others(Some("a")).unwrap(), ["b"]);
        let with_us = [("a", None), ("me", Some(OURS)), ("bot", Some(THEIRS))];
        assert_eq!(there(&with_us).others(None).unwrap(), ["a", "bot"]);
        assert_eq!(there(&with_us).others(Some("bot")).unwrap(), ["a"]);
        assert_eq!((there(&with_us).ours(), there(&people).ours()), (Some("me"), None));
        assert_eq!(there(&[]).others(None).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn nobody_is_removed_when_an_app_in_the_call_may_be_ourselves() {
        let with_a_bot = [("a", None), ("bot", Some(THEIRS))];
        assert_eq!(there(&with_a_bot).others(None), None);
        let with_us = [("a", None), ("bot", Some(THEIRS)), ("me", None)];
        assert_eq!(there(&with_us).others(Some("me")).unwrap(), ["a", "bot"]);
        let unknown = InTheCall { client_id: None, ..there(&[("me", Some(OURS))]) };
        assert_eq!(unknown.others(None), None);
    }

    #[test]
    fn a_place_that_is_not_on_the_roster_tells_nothing() {
        let now = [("a", None), ("new", Some(THEIRS))];
        assert_eq!(there(&now).others(Some("old")), None);
        assert_eq!(
            there(&[("a", None)]).others(Some("old")).unwrap(),
            ["a"],
            "nobody else is there"
        );
        assert_eq!(there(&[]).others(Some("old")).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn one_of_whom_nothing_is_known_may_be_ourselves() {
        let mut now = there(&[("a", None), ("nameless", None)]);
        now.everybody[1].is_person = false;
        for (place, others) in
            [(None, None), (Some("old"), None), (Some("nameless"), Some(vec!["a".to_owned()]))]
        {
            assert_eq!(now.others(place), others);
        }
        now.everybody.extend(there(&[("me", Some(OURS))]).everybody);
        assert_eq!(now.others(Some("old")).unwrap(), ["a", "nameless"]);
    }

    proptest! {
        #[test]
        fn we_are_never_among_the_others_and_everybody_else_is(
            people in prop::collection::vec(("[a-e]", 0..3_usize), 0..8),
            me in prop::option::of("[a-e]"),
        ) {
            let people: Vec<(&str, Option<&str>)> = people
                .iter()
                .map(|(id, app)| (id.as_str(), [None, Some(OURS), Some(THEIRS)][*app]))
                .collect();
            let Some(others) = there(&people).others(me.as_deref()) else { return Ok(()) };
            for (id, app) in &people {
                let is_us = me.as_deref() == Some(*id) || *app == Some(OURS);
                let listed = others.iter().filter(|other| other == id).count();
                let elsewhere = people.iter().any(|(other, app)| other == id && *app != Some(OURS));
                if is_us && !elsewhere || me.as_deref() == Some(*id) {
                    prop_assert_eq!(listed, 0);
                } else if !is_us {
                    prop_assert_eq!(listed, 1);
                }
            }
        }
    }
}
