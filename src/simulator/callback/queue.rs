//! Notifications that wait to be sent, in the order in which they are due.
//!
//! They wait in lanes: all news of a call are in one lane, and of one lane only one POST is under
//! way at a time. So several can be under way and the news of a call still keep their order.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::settings::Settings;

/// As many as POSTs may ever be under way at once.
const LANES: usize = 64;

/// Beyond this, new ones are dropped: a receiver that is gone must not fill the memory.
const MOST_WAITING: usize = 100_000;

/// One entry of a notification, and how it is to be sent.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) settings: Arc<Settings>,
    pub(super) call_id: String,
    /// Whom the token is for.
    pub(super) tenant_id: String,
    /// The call's app, when it was said.
    pub(super) app_id: Option<String>,
    pub(super) chain_id: String,
    /// None for the first news of a call.
    pub(super) scenario_id: Option<String>,
    pub(super) entry: Value,
}

/// What waits, and which lanes are under way.
#[derive(Debug)]
pub(super) struct Queue {
    lanes: Vec<Lane>,
    /// Counts up, so that what is due at the same time keeps its order.
    sequence: u64,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeMap<(Instant, u64), Waiting>,
    under_way: bool,
}

/// What goes into one POST.
#[derive(Debug)]
pub(super) struct Taken {
    /// The lanes that are under way until [`Queue::free`].
    pub(super) lanes: Vec<usize>,
    /// At least one, all for the same settings, tenant and app.
    pub(super) entries: Vec<Waiting>,
}

/// What there is to send.
#[derive(Debug)]
pub(super) enum Head {
    Due(Taken),
    /// Nothing before this.
    At(Instant),
    Nothing,
}

impl Default for Queue {
    fn default() -> Self {
        let lanes = std::iter::repeat_with(Lane::default).take(LANES).collect();
        Self { lanes, sequence: 0, waiting: 0 }
    }
}

impl Queue {
    /// Lets `one` wait until `due`; false when too many wait.
    pub(super) fn push(&mut self, due: Instant, one: Waiting) -> bool {
        if self.waiting >= MOST_WAITING {
            return false;
        }
        let mut hasher = DefaultHasher::new();
        one.call_id.hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % LANES as u64).expect("there are few lanes");
        self.lanes[lane].waiting.insert((due, self.sequence), one);
        self.sequence += 1;
        self.waiting += 1;
        true
    }

    /// How many wait, without those under way.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Takes what is due first and, up to the size of a batch, what may go with it.
    pub(super) fn take(&mut self, now: Instant) -> Head {
        let (lane, due) = match self.first(&[]) {
            None => return Head::Nothing,
            Some((_, due)) if due > now => return Head::At(due),
            Some(first) => first,
        };
        let first = self.pop(lane, due);
        let batch = first.settings.batch;
        let mut taken = Taken { lanes: vec![lane], entries: vec![first] };
        while taken.entries.len() < batch {
            let Some((lane, due)) = self.first(&taken.lanes).filter(|(_, due)| *due <= now) else {
                break;
            };
            let head = self.lanes[lane].waiting.first_key_value();
            if !head.is_some_and(|(_, one)| goes_with(one, &taken.entries[0])) {
                break;
            }
            let one = self.pop(lane, due);
            taken.entries.push(one);
            if !taken.lanes.contains(&lane) {
                taken.lanes.push(lane);
            }
        }
        Head::Due(taken)
    }

    /// The POST of these lanes is over.
    pub(super) fn free(&mut self, lanes: &[usize]) {
        for &lane in lanes {
            self.lanes[lane].under_way = false;
        }
    }

    /// The lane whose head is due first, of those that are not under way or are `ours`.
    fn first(&self, ours: &[usize]) -> Option<(usize, Instant)> {
        let lanes = self.lanes.iter().enumerate();
        let open = lanes.filter(|(index, lane)| !lane.under_way || ours.contains(index));
        let heads = open.filter_map(|(index, lane)| {
            lane.waiting.first_key_value().map(|(&(due, sequence), _)| (due, sequence, index))
        });
        heads.min().map(|(due, _, index)| (index, due))
    }

    fn pop(&mut self, lane: usize, due: Instant) -> Waiting {
        let lane = &mut self.lanes[lane];
        lane.under_way = true;
        self.waiting -= 1;
        let (head, one) = lane.waiting.pop_first().expect("its head was just looked at");
        debug_assert_eq!(head.0, due);
        one
    }
}

fn goes_with(one: &Waiting, first: &Waiting) -> bool {
    let is_for_the_same = one.tenant_id == first.tenant_id && one.app_id == first.app_id;
    Arc::ptr_eq(&one.settings, &first.settings) && is_for_the_same
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::simulator::fields::Fields;

    fn settings(batch: usize) -> Arc<Settings> {
        let body = json!({"url": "http://127.0.0.1:1/", "batch": batch}).to_string();
        Arc::new(Settings::read(Fields::read(body.as_bytes()).unwrap()).unwrap())
    }

    fn waiting(settings: &Arc<Settings>, call_id: &str, tenant_id: &str, entry: usize) -> Waiting {
        Waiting {
            settings: Arc::clone(settings),
            call_id: call_id.to_owned(),
            tenant_id: tenant_id.to_owned(),
            app_id: None,
            chain_id: String::new(),
            scenario_id: None,
            entry: json!(entry),
        }
    }

    fn taken(head: Head) -> Option<(Vec<usize>, Vec<u64>)> {
        match head {
            Head::Due(Taken { lanes, entries }) => {
                Some((lanes, entries.iter().map(|one| one.entry.as_u64().unwrap()).collect()))
            }
            Head::At(_) | Head::Nothing => None,
        }
    }

    #[test]
    fn a_call_with_news_under_way_waits_and_another_does_not() {
        let (mut queue, settings, now) = (Queue::default(), settings(1), Instant::now());
        for (entry, call) in ["a", "a", "b"].into_iter().enumerate() {
            assert!(queue.push(now, waiting(&settings, call, "t", entry)));
        }
        let (lanes, first) = taken(queue.take(now)).unwrap();
        assert_eq!(first, [0]);
        assert_eq!(taken(queue.take(now)).unwrap().1, [2]);
        assert!(matches!(queue.take(now), Head::Nothing), "the rest is of the first call");
        queue.free(&lanes);
        assert_eq!(taken(queue.take(now)).unwrap().1, [1]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_is_due_earlier_goes_first_whenever_it_came() {
        let (mut queue, settings, now) = (Queue::default(), settings(1), Instant::now());
        let later = now + Duration::from_secs(1);
        queue.push(later, waiting(&settings, "a", "t", 0));
        queue.push(now, waiting(&settings, "a", "t", 1));
        let (lanes, first) = taken(queue.take(now)).unwrap();
        assert_eq!(first, [1]);
        queue.free(&lanes);
        assert!(matches!(queue.take(now), Head::At(due) if due == later));
        assert_eq!(taken(queue.take(later)).unwrap().1, [0]);
    }

    #[test]
    fn a_batch_holds_what_is_due_of_one_tenant_in_order() {
        let (mut queue, settings, now) = (Queue::default(), settings(4), Instant::now());
        let news = [("a", "t"), ("b", "t"), ("a", "t"), ("c", "t"), ("d", "t"), ("e", "u")];
        for (entry, (call, tenant)) in news.into_iter().enumerate() {
            queue.push(now, waiting(&settings, call, tenant, entry));
        }
        let mut posts = Vec::new();
        while let Some((lanes, entries)) = taken(queue.take(now)) {
            queue.free(&lanes);
            posts.push(entries);
        }
        assert_eq!(posts, [vec![0, 1, 2, 3], vec![4], vec![5]]);
    }

    #[test]
    fn too_many_are_refused() {
        let (mut queue, settings, now) = (Queue::default(), settings(1), Instant::now());
        for entry in 0..MOST_WAITING {
            assert!(queue.push(now, waiting(&settings, "a", "t", entry)));
        }
        assert!(!queue.push(now, waiting(&settings, "a", "t", 0)));
        assert_eq!(queue.len(), MOST_WAITING);
    }
}
