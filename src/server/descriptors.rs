//! The file descriptors of the process, of which every connection takes one.
//!
//! A server that runs out of them can accept nobody, open no file and reach no other server. So it
//! takes no more connections than leave some for everything else.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the number of descriptors that this process may have open as far as it may, and gives it;
/// none when there is no limit.
pub(crate) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!("the number of open files cannot be raised: {error}");
            current
        }
    }
}

/// How many of two listeners' `wished` connections fit below `limit` beside `reserve` other
/// descriptors. When not all do, the second listener has a quarter, or what the first leaves; each
/// has at least one, for who listens at all.
pub(crate) fn connections(wished: [usize; 2], limit: Option<u64>, reserve: usize) -> [usize; 2] {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else {
        return wished;
    };
    let [first, second] = wished;
    let room = limit.saturating_sub(reserve);
    let second = second.min((room / 4).max(room.saturating_sub(first))).max(1);
    [first.min(room.saturating_sub(second)).max(1), second]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_everything_else() {
        for (wished, limit, expected) in [
            ([10_000, 2_000], Some(1000), [600, 200]),
            ([10_000, 100], Some(1000), [700, 100]),
            ([100, 2_000], Some(1000), [100, 700]),
            ([10_000, 2_000], Some(12_199), [9_999, 2_000]),
            ([10_000, 2_000], Some(12_200), [10_000, 2_000]),
            ([10_000, 2_000], Some(1 << 20), [10_000, 2_000]),
            ([10_000, 2_000], Some(100), [1, 1]),
            ([1, 1], Some(100), [1, 1]),
            ([10_000, 2_000], None, [10_000, 2_000]),
        ] {
            assert_eq!(connections(wished, limit, 200), expected, "{wished:?} of {limit:?}");
        }
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        let raised = raise();
        assert_eq!(raised, getrlimit(Resource::Nofile).maximum);
        assert_eq!(raised, getrlimit(Resource::Nofile).current);
    }
}
