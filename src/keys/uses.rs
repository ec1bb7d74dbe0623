//! From where keys are used, gathered in bounded memory until it is written.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::access::KeyUse;

/// Places that are held at most. Past it, new ones are not noted until the next time it is written;
/// no key is used from so many places but one that has got abroad.
const HELD: usize = 10_000;
/// Places that are written in one transaction, so that requests come in between.
const WRITTEN_TOGETHER: usize = 250;

/// What is not written yet.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    places: HashMap<Place, Noted>,
    /// Apart from the places, and by key only: a guess is no use, and all are counted.
    query_passwords: HashMap<i64, u64>,
}

/// By whom and from where a key was used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    key_row: i64,
    peer: IpAddr,
    /// Empty where nobody logged in.
    login: String,
}

#[derive(Clone, Copy, Debug)]
struct Noted {
    first: Timestamp,
    last: Timestamp,
}

impl Uses {
    /// Takes note of one use.
    pub(super) fn note(&self, key_row: i64, peer: IpAddr, login: Option<&str>, now: Timestamp) {
        let place = Place {
            key_row,
            peer: peer.to_canonical(),
            login: login.unwrap_or_default().to_owned(),
        };
        self.held().note(place, Noted { first: now, last: now });
    }

    /// Takes note of one password in a query string.
    pub(super) fn note_query_password(&self, key_row: i64) {
        self.held().count(key_row, 1);
    }

    /// Writes what has gathered; what cannot be written is kept.
    pub(super) async fn write(&self, store: &Store) {
        let Held { places, query_passwords } = std::mem::take(&mut *self.held());
        self.write_query_passwords(store, query_passwords).await;
        let mut places: Vec<_> = places.into_iter().collect();
        // By key, so that what a key has too many of is looked for once.
        places.sort_by_key(|(place, noted)| (place.key_row, noted.last));
        for (number, now) in places.chunks(WRITTEN_TOGETHER).enumerate() {
            let uses = now.iter().map(|(place, noted)| key_use(place, *noted)).collect();
            if let Err(error) = store.note_uses(uses).await {
                let unwritten = &places[number * WRITTEN_TOGETHER..];
                if !error.is_shown() {
                    tracing::error!(
                        places = unwritten.len(),
                        "it could not be written from where keys were used: {error}"
                    );
                }
                let mut newer = self.held();
                for (place, noted) in unwritten {
                    newer.note(place.clone(), *noted);
                }
                return;
            }
        }
    }

    async fn write_query_passwords(&self, store: &Store, counts: HashMap<i64, u64>) {
        if counts.is_empty() {
            return;
        }
        let counts: Vec<_> = counts.into_iter().collect();
        if let Err(error) = store.note_query_passwords(counts.clone()).await {
            if !error.is_shown() {
                tracing::error!("passwords in query strings could not be counted: {error}");
            }
            let mut newer = self.held();
            for (key_row, count) in counts {
                newer.count(key_row, count);
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn note(&mut self, place: Place, noted: Noted) {
        // Whoever calls without logging in, from however many places, leaves room for who does.
        let room = if place.login.is_empty() { HELD / 2 } else { HELD };
        if let Some(known) = self.places.get_mut(&place) {
            known.first = known.first.min(noted.first);
            known.last = known.last.max(noted.last);
        } else if self.places.len() < room {
            self.places.insert(place, noted);
        }
    }

    fn count(&mut self, key_row: i64, count: u64) {
        let known = self.query_passwords.entry(key_row).or_default();
        *known = known.saturating_add(count);
    }
}

fn key_use(place: &Place, noted: Noted) -> KeyUse {
    KeyUse {
        key_row: place.key_row,
        peer: place.peer.to_string(),
        login: place.login.clone(),
        first_used_at: noted.first,
        last_used_at: noted.last,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::store::fixture::{Fixture, NOW};

    fn peer(number: usize) -> IpAddr {
        Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into()
    }

    fn seen(there: &Fixture) -> String {
        there.look(
            "SELECT coalesce(group_concat(one, '; '), '') FROM (SELECT peer || ' ' || login || ' ' \
             || (first_used_at - 1790000000000) || ' ' || (last_used_at - 1790000000000) AS one \
             FROM key_uses ORDER BY peer, login)",
        )
    }

    #[tokio::test]
    async fn uses_of_one_place_are_one_row_with_the_first_and_the_last() {
        let there = Fixture::new().await;
        let uses = Uses::default();
        let later = NOW + Duration::from_secs(1);
        let mapped = "::ffff:192.0.2.7".parse().unwrap();
        uses.note(there.key_row, "192.0.2.7".parse().unwrap(), Some("Jane"), later);
        uses.note(there.key_row, mapped, Some("Jane"), NOW);
        uses.note(there.key_row, mapped, None, later);
        uses.write(&there.store).await;
        assert_eq!(seen(&there), "192.0.2.7  1000 1000; 192.0.2.7 Jane 0 1000");
        uses.note(there.key_row, mapped, Some("jane"), later + Duration::from_secs(1));
        uses.write(&there.store).await;
        assert_eq!(seen(&there), "192.0.2.7  1000 1000; 192.0.2.7 jane 0 2000", "one login");
        assert_eq!(there.look::<i64>("SELECT last_used_at FROM keys"), NOW.0 + 2000);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_kept_and_counted_on() {
        let there = Fixture::new().await;
        let uses = Uses::default();
        for number in 0..WRITTEN_TOGETHER + 5 {
            uses.note(there.key_row, peer(number), None, NOW);
            uses.note_query_password(there.key_row);
        }
        let passwords = || there.look::<i64>("SELECT query_password_uses FROM keys");
        there.by_hand("ALTER TABLE key_uses RENAME TO hidden");
        there.by_hand("ALTER TABLE keys RENAME COLUMN query_password_uses TO hidden");
        uses.write(&there.store).await;
        uses.note_query_password(there.key_row);
        there.by_hand("ALTER TABLE hidden RENAME TO key_uses");
        there.by_hand("ALTER TABLE keys RENAME COLUMN hidden TO query_password_uses");
        uses.write(&there.store).await;
        let sent = i64::try_from(WRITTEN_TOGETHER).unwrap() + 6;
        assert_eq!(passwords(), sent);
        assert_eq!(there.look::<i64>("SELECT count(*) FROM key_uses"), 20);
        uses.write(&there.store).await;
        assert_eq!(passwords(), sent, "once");
    }

    #[tokio::test]
    async fn a_key_that_was_removed_meanwhile_holds_up_no_other() {
        let there = Fixture::new().await;
        let uses = Uses::default();
        uses.note(there.key_row + 7, peer(1), None, NOW);
        uses.note_query_password(there.key_row + 7);
        uses.note(there.key_row, peer(2), None, NOW);
        uses.write(&there.store).await;
        assert_eq!(seen(&there), "0.0.0.2  0 0");
    }

    #[test]
    fn no_more_places_are_held_than_there_is_room_for_and_logins_have_their_own() {
        let uses = Uses::default();
        for number in 0..HELD {
            uses.note(1, peer(number), None, NOW);
        }
        assert_eq!(uses.held().places.len(), HELD / 2);
        for number in 0..HELD {
            uses.note(1, peer(number), Some("jane"), NOW);
        }
        uses.note(1, peer(0), Some("jane"), NOW + Duration::from_secs(1));
        let held = uses.held();
        assert_eq!(held.places.len(), HELD);
        let latest = held.places.values().map(|noted| noted.last).max();
        assert_eq!(latest, Some(NOW + Duration::from_secs(1)));
    }
}
