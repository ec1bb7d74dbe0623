//! What waits for the writer: what somebody is kept waiting by, and news, which come after it.
//!
//! Each has its own limit, so that however many news come, a deletion is still taken.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::store::error::StoreError;

/// Operations of one rank that wait at most; past it the store answers [`StoreError::Busy`].
const LIMIT: usize = 4096;
/// So many batches in a row may pass over the news that wait.
const PATIENCE: usize = 8;

/// In which order operations come, and which are refused first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::sqlite) enum Rank {
    /// A client or the sender waits for it.
    Urgent,
    /// It comes when nothing urgent waits, or first in a batch after [`PATIENCE`] without any.
    News,
}

/// The operations that wait, shared by those who queue them and the thread.
pub(super) struct Queue<W>(Mutex<Waiting<W>>, Condvar);

struct Waiting<W> {
    urgent: VecDeque<W>,
    news: VecDeque<W>,
    is_open: bool,
    /// Which batch it is since news were taken, while some waited.
    passed_over: usize,
    /// What was taken for this batch.
    took_news: bool,
    took_urgent: bool,
}

impl<W> Queue<W> {
    pub(super) fn new() -> Self {
        let waiting = Waiting {
            urgent: VecDeque::new(),
            news: VecDeque::new(),
            is_open: true,
            passed_over: 0,
            took_news: false,
            took_urgent: false,
        };
        Self(Mutex::new(waiting), Condvar::new())
    }

    /// Adds one at the end of its rank.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] when too many wait, [`StoreError::Stopped`] when it is closed.
    pub(super) fn push(&self, rank: Rank, work: W) -> Result<(), StoreError> {
        let mut waiting = self.lock();
        if !waiting.is_open {
            return Err(StoreError::Stopped);
        }
        let of_rank = match rank {
            Rank::Urgent => &mut waiting.urgent,
            Rank::News => &mut waiting.news,
        };
        if of_rank.len() == LIMIT {
            return Err(StoreError::Busy);
        }
        of_rank.push_back(work);
        self.1.notify_one();
        Ok(())
    }

    /// The first of the next batch, which this waits for; none when the queue is closed and empty.
    pub(super) fn first(&self) -> Option<W> {
        let mut waiting = self.lock();
        while waiting.is_open && waiting.urgent.is_empty() && waiting.news.is_empty() {
            waiting = self.1.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let before = if waiting.took_news { 0 } else { waiting.passed_over };
        waiting.passed_over = if waiting.news.is_empty() { 0 } else { before + 1 };
        (waiting.took_news, waiting.took_urgent) = (false, false);
        waiting.pop()
    }

    /// Another one for the same batch, if there is one. After something urgent no news are added:
    /// its commit would wait for them.
    pub(super) fn next(&self) -> Option<W> {
        self.lock().pop()
    }

    /// Up to `most` of those that wait, of both ranks.
    pub(super) fn rest(&self, most: usize) -> Vec<W> {
        let mut waiting = self.lock();
        let Waiting { urgent, news, .. } = &mut *waiting;
        let of_urgent = urgent.len().min(most);
        let of_news = news.len().min(most - of_urgent);
        urgent.drain(..of_urgent).chain(news.drain(..of_news)).collect()
    }

    /// How many wait that are urgent, and how many news.
    pub(super) fn lengths(&self) -> [usize; 2] {
        let waiting = self.lock();
        [waiting.urgent.len(), waiting.news.len()]
    }

    /// Takes no more; what waits is left to the thread.
    pub(super) fn close(&self) {
        self.lock().is_open = false;
        self.1.notify_one();
    }

    /// Closes it and drops what waits.
    pub(super) fn abandon(&self) {
        self.close();
        let (urgent, news) = {
            let mut waiting = self.lock();
            (std::mem::take(&mut waiting.urgent), std::mem::take(&mut waiting.news))
        };
        // Not while it is locked: the last handle of the writer may go with one of them.
        drop((urgent, news));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> Waiting<W> {
    fn pop(&mut self) -> Option<W> {
        let is_news_turn = self.passed_over > PATIENCE && !self.news.is_empty();
        if !is_news_turn && let Some(urgent) = self.urgent.pop_front() {
            self.took_urgent = true;
            return Some(urgent);
        }
        let news = if self.took_urgent { None } else { self.news.pop_front() };
        self.took_news |= news.is_some();
        news
    }
}

impl<W> fmt::Debug for Queue<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_urgent_comes_first_and_each_rank_in_its_order() {
        let queue = Queue::new();
        for (rank, work) in [(Rank::News, 3), (Rank::Urgent, 1), (Rank::News, 4), (Rank::Urgent, 2)]
        {
            queue.push(rank, work).unwrap();
        }
        queue.close();
        let batch = || [queue.first(), queue.next(), queue.next()];
        assert_eq!(batch(), [Some(1), Some(2), None], "whose commit waits for no news");
        assert_eq!(batch(), [Some(3), Some(4), None]);
        assert_eq!(queue.first(), None);
        assert!(matches!(queue.push(Rank::Urgent, 5), Err(StoreError::Stopped)));
    }

    #[test]
    fn however_many_news_wait_what_is_urgent_is_taken() {
        let queue = Queue::new();
        for _ in 0..LIMIT {
            queue.push(Rank::News, 0).unwrap();
        }
        assert!(matches!(queue.push(Rank::News, 0), Err(StoreError::Busy)));
        queue.push(Rank::Urgent, 1).unwrap();
        queue.push(Rank::Urgent, 2).unwrap();
        assert_eq!(queue.first(), Some(1));
        assert_eq!(queue.rest(3), [2, 0, 0]);
        assert_eq!(queue.rest(LIMIT).len(), LIMIT - 2);
    }

    #[test]
    fn news_have_their_turn_though_something_urgent_always_waits() {
        let queue = Queue::new();
        queue.push(Rank::News, 'n').unwrap();
        queue.push(Rank::News, 'n').unwrap();
        let mut taken = String::new();
        for _ in 0..2 * (PATIENCE + 1) {
            queue.push(Rank::Urgent, 'u').unwrap();
            taken.extend(queue.first());
        }
        assert_eq!(taken, "uuuuuuuunuuuuuuuun");
    }
}
