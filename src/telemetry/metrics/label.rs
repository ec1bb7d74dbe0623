//! The labels that metrics have. Each is one of a closed list of words of ours, so that no request can make
//! a series, or be read in one.

use crate::model::plan::Operation;

/// A label: its name, its words, and the place of each in the list.
pub(crate) trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];

    /// How the value is written.
    fn word(self) -> &'static str;

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;

    /// The value with this word.
    fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|label| label.word() == word)
    }
}

macro_rules! labels {
    ($($(#[$doc:meta])* $label:ident $name:literal { $($value:ident $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $label {
            $($value,)*
        }

        impl Label for $label {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &[$(Self::$value,)*];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)*
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    )*};
}

labels! {
    /// What a legacy request asked for.
    Action "action" {
        DeleteCall "DeleteCall",
        RejectCall "RejectCall",
        DeleteParticipant "DeleteParticipant",
        InviteParticipant "InviteParticipant",
        GetCallId "GetCallID",
        GetCallInformation "GetCallInformation",
        GetDeletion "GetDeletion",
        RequestToken "RequestToken",
        ReleaseToken "ReleaseToken",
        // It named none of ours, or was refused before it was read.
        None "none",
    }

    /// How it was answered: the word of the outcome, or of the reason why not.
    Outcome "outcome" {
        Sent "sent",
        Accepted "accepted",
        Armed "armed",
        Joined "joined",
        Gone "gone",
        AlreadyDeleted "already_deleted",
        AlreadyEnded "already_ended",
        WouldSend "would_send",
        Found "found",
        LoggedIn "logged_in",
        Released "released",
        NotFound "not_found",
        Ended "ended",
        Ambiguous "ambiguous",
        Policy "policy",
        NotPermitted "not_permitted",
        RefusedByGraph "refused_by_graph",
        NotKnown "unknown_outcome",
        Prefetch "prefetch",
        BadParameter "bad_parameter",
        UnknownAction "unknown_action",
        BadLogin "bad_login",
        BadKey "bad_key",
        TokenNeeded "token_needed",
        TokenExpired "token_expired",
        Unavailable "unavailable",
        // In answers it is `unavailable`, but nobody is told to come back.
        Withdrawn "withdrawn",
        Internal "internal",
        // The client went away before the answer, or the server stopped.
        CutOff "cut_off",
        Other "other",
    }

    /// What an answer of Graph's meant for the operation that was sent.
    Judged "verdict" {
        Sent "sent",
        Gone "gone",
        NeverThere "never_there",
        Again "again",
        Throttled "throttled",
        Replan "replan",
        TenantFault "tenant_fault",
        Refused "refused",
        Unknown "unknown",
    }

    /// Whether anything is sent for a tenant.
    Sending "state" {
        Flowing "flowing",
        Paused "paused",
        TenantFault "tenant_fault",
        BreakerOpen "breaker_open",
        // The store fails, or the journal has not been read yet.
        SenderStopped "sender_stopped",
    }

    /// What became of a request for a token.
    Login "result" {
        Granted "granted",
        Refused "refused",
        Unavailable "unavailable",
        Unreadable "unreadable",
        Unreachable "unreachable",
        // The credential could not be made ready.
        NotAsked "not_asked",
    }

    /// Where the deletions stand that somebody may have to look after.
    Standing "state" {
        Open "open",
        Armed "armed",
        Failed "failed",
        Unknown "unknown",
        Obsolete "obsolete",
        Held "held",
    }

    /// How a batch of the writer ended.
    Commit "result" {
        Written "written",
        // Nothing in it changed anything.
        Empty "empty",
        Failed "failed",
    }

    /// What waits for the writer.
    Queued "rank" {
        Urgent "urgent",
        News "news",
    }

    /// What is wrong with the store.
    Condition "state" {
        Well "well",
        Full "disk_full",
        Disk "disk_failed",
        Damaged "damaged",
        Moved "moved",
    }

    /// A file of the store.
    StoreFile "file" {
        Database "database",
        Log "wal",
    }

    /// What became of a notification.
    Notified "result" {
        Taken "taken",
        NotProven "not_proven",
        BadKey "bad_key",
        TokenNeeded "token_needed",
        NotPermitted "not_permitted",
        OtherTenant "other_tenant",
        TooMuch "too_much",
        NotJson "not_json",
        Unavailable "unavailable",
        NotFound "not_found",
        Method "method",
        TooLarge "body_too_large",
        Incomplete "body_incomplete",
    }

    /// A part of `/readyz`.
    Part "part" {
        Store "store",
        Reserve "store.reserve",
        Sender "sender",
        Server "server",
        Paused "paused",
        Clock "clock",
        Reconciler "reconciler",
        NotificationKeys "notifications.keys",
        NotificationHost "notifications.host",
        Forward "notifications.forward",
        GraphHost "graph.host",
        NoTenant "graph.tenant",
        // `graph.<tenant>`, whichever it is.
        Tenants "graph.tenants",
        // `graph.<tenant>.app`, whichever it is.
        Apps "graph.apps",
        Other "other",
    }
}

impl Part {
    /// The part that `/readyz` names so.
    pub(crate) fn named(name: &str) -> Self {
        let of_tenant = name.strip_prefix("graph.");
        Self::of(name).unwrap_or(match of_tenant.map(|tenant| tenant.strip_suffix(".app")) {
            Some(Some(_)) => Self::Apps,
            Some(None) => Self::Tenants,
            None => Self::Other,
        })
    }
}

impl Label for Operation {
    const NAME: &'static str = "operation";
    const ALL: &'static [Self] =
        &[Self::HangUp, Self::Reject, Self::ReadRoster, Self::RemoveParticipant, Self::Invite];

    fn word(self) -> &'static str {
        self.as_str()
    }

    fn index(self) -> usize {
        match self {
            Self::HangUp => 0,
            Self::Reject => 1,
            Self::ReadRoster => 2,
            Self::RemoveParticipant => 3,
            Self::Invite => 4,
        }
    }
}

/// One label, or two: what tells the series of a metric apart.
pub(crate) trait Labels: Copy + 'static {
    /// How many combinations there are.
    fn count() -> usize;

    /// Every combination, in the order of [`Labels::place`].
    fn all() -> impl Iterator<Item = Self>;

    /// The place among all combinations.
    fn place(self) -> usize;

    /// Names and words.
    fn pairs(self) -> Vec<(&'static str, &'static str)>;
}

impl<L: Label> Labels for L {
    fn count() -> usize {
        L::ALL.len()
    }

    fn all() -> impl Iterator<Item = Self> {
        L::ALL.iter().copied()
    }

    fn place(self) -> usize {
        self.index()
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        vec![(L::NAME, self.word())]
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn count() -> usize {
        A::ALL.len() * B::ALL.len()
    }

    fn all() -> impl Iterator<Item = Self> {
        A::ALL.iter().flat_map(|a| B::ALL.iter().map(|b| (*a, *b)))
    }

    fn place(self) -> usize {
        self.0.index() * B::ALL.len() + self.1.index()
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        vec![(A::NAME, self.0.word()), (B::NAME, self.1.word())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<L: Labels>() {
        let places: Vec<_> = L::all().map(L::place).collect();
        assert_eq!(places, (0..L::count()).collect::<Vec<_>>());
        let mut words: Vec<_> = L::all().map(L::pairs).collect();
        words.sort();
        words.dedup();
        assert_eq!(words.len(), L::count(), "two series would be one");
    }

    #[test]
    fn every_combination_has_a_place_and_a_name_of_its_own() {
        check::<(Action, Outcome)>();
        check::<(Operation, Judged)>();
        check::<Sending>();
        check::<Login>();
        check::<Standing>();
        check::<Commit>();
        check::<Queued>();
        check::<Condition>();
        check::<StoreFile>();
        check::<Notified>();
        check::<Part>();
    }

    #[test]
    fn the_parts_of_tenants_are_one_part_and_no_part_is_lost() {
        for (name, part) in [
            ("store", Part::Store),
            ("store.reserve", Part::Reserve),
            ("graph.host", Part::GraphHost),
            ("graph.57dab8b1-894c-409a-b240-bd8beae78896", Part::Tenants),
            ("graph.57dab8b1-894c-409a-b240-bd8beae78896.app", Part::Apps),
            ("a part that is new", Part::Other),
        ] {
            assert_eq!(Part::named(name), part, "{name}");
        }
    }
}
