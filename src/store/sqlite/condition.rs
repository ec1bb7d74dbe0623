//! Whether the disk and the database are as they should be, and what may be done when they are not.
//!
//! Trouble begins with the first operation that meets it, is said once, and shown by `/readyz`. While the
//! disk takes nothing, nothing new is begun; what is owed (how an attempt ended, who was refused) may still
//! be written, with the room of the [`Reserve`]. A damaged database is neither read nor written any more.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::reserve::{Reserve, is_of_the_disk};
use crate::health::Health;
use crate::store::error::StoreError;

/// The latch's name in `/readyz`.
const LATCH: &str = "store";
/// What is degraded without a reserve.
const PART: &str = "store.reserve";
/// How soon it is looked again whether the trouble is over; each time it was not, or came back at once,
/// twice as long.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LAST_LOOK: Duration = Duration::from_secs(16);

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// There is no room left.
    Full,
    /// The disk takes nothing, for whatever reason.
    Disk,
    /// The database is damaged. That does not end by itself.
    Damaged,
    /// The database is no longer where it was. That does not end by itself either.
    Moved,
}

/// What an operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It begins something, which has to be finished later.
    Begin,
    /// It finishes or records what has happened already.
    Owed,
}

/// The condition of the store. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Condition(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    trouble: Option<Trouble>,
    /// Of whoever serves; the commands have none.
    kept: Option<(Reserve, Health)>,
    look_at: Option<Instant>,
    pause: Duration,
}

impl Condition {
    /// Keeps a reserve beside the database at `path`, and shows trouble in `health`, from now on.
    pub(super) fn keep(&self, path: &Path, health: Health) {
        let reserve = Reserve::of(path);
        let made = reserve.keep();
        show_reserve(&reserve, &health, &made);
        self.lock().kept = Some((reserve, health));
        if let Err(error) = made
            && is_of_the_disk(&error)
        {
            tracing::error!("no room could be reserved beside the database: {error}");
            self.begin(trouble_of(&error));
        }
    }

    /// Whether an operation may go on.
    ///
    /// # Errors
    ///
    /// The trouble there is.
    pub(super) fn allows(&self, purpose: Purpose) -> Result<(), StoreError> {
        match (self.trouble(), purpose) {
            (Some(Trouble::Damaged), _) => Err(StoreError::Damaged),
            (Some(Trouble::Moved), _) => Err(StoreError::Moved),
            (Some(Trouble::Full), Purpose::Begin) => Err(StoreError::Full),
            (Some(Trouble::Disk), Purpose::Begin) => Err(StoreError::Disk),
            (None | Some(Trouble::Full | Trouble::Disk), _) => Ok(()),
        }
    }

    /// Takes note of an operation's failure.
    pub(super) fn notice(&self, error: &StoreError) {
        match error {
            StoreError::Full => self.begin(Trouble::Full),
            StoreError::Disk => self.begin(Trouble::Disk),
            StoreError::Damaged => self.begin(Trouble::Damaged),
            StoreError::Moved => self.begin(Trouble::Moved),
            _ => {}
        }
    }

    /// The trouble there is.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.lock().trouble
    }

    /// Looks, when it is time, whether the disk takes something again: the reserve is made first.
    pub(super) fn look(&self) {
        let Some((reserve, health)) = self.due() else { return };
        // Meanwhile everybody else asks what is allowed.
        let made = reserve.make();
        show_reserve(&reserve, &health, &made);
        let mut state = self.lock();
        // The next one is looked after less often, if this does not last.
        state.look_later();
        if let Err(error) = made
            && is_of_the_disk(&error)
        {
            tracing::debug!("the disk still takes nothing: {error}");
            return;
        }
        // What came meanwhile does not end by itself.
        if matches!(state.trouble, Some(Trouble::Damaged | Trouble::Moved)) {
            return;
        }
        state.trouble = None;
        health.ready(LATCH);
        tracing::info!("the disk takes what is written again, and requests are accepted");
    }

    /// What is looked with, when it is time.
    fn due(&self) -> Option<(Reserve, Health)> {
        let state = self.lock();
        let is_due = state.look_at.is_some_and(|due| due <= Instant::now())
            && matches!(state.trouble, Some(Trouble::Full | Trouble::Disk));
        state.kept.clone().filter(|_| is_due)
    }

    fn begin(&self, trouble: Trouble) {
        let mut state = self.lock();
        if state.trouble.is_some_and(|before| before >= trouble) {
            return;
        }
        state.trouble = Some(trouble);
        let now = Instant::now();
        let lasted = state.look_at.is_none_or(|last| last + LAST_LOOK * 2 < now);
        if lasted {
            state.pause = FIRST_LOOK;
        }
        state.look_at = Some(now + state.pause);
        // A command says by itself what it could not do.
        if let Some((reserve, health)) = &state.kept {
            tracing::error!("{}", trouble.sentence());
            health.unready(LATCH, trouble.reason());
            if matches!(trouble, Trouble::Full | Trouble::Disk) {
                reserve.give_up();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change leaves something whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn look_later(&mut self) {
        self.pause = LAST_LOOK.min(self.pause * 2);
        self.look_at = Some(Instant::now() + self.pause);
    }
}

impl Trouble {
    fn reason(self) -> &'static str {
        match self {
            Self::Full => {
                "the disk is full: make room; it goes on once 6 MiB are free beside the database"
            }
            Self::Disk => "the disk cannot be written",
            Self::Damaged => "the database is damaged: stop, restore a backup and start",
            Self::Moved => "the database was moved away: stop, put back what was there and start",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Full => {
                "the disk is full: requests are refused and nothing is sent until 6 MiB are free \
                 beside the database, which is looked for by itself"
            }
            Self::Disk => {
                "the disk cannot be written: requests are refused and nothing is sent until it can \
                 be, which is looked for by itself"
            }
            Self::Damaged => {
                "the database is damaged: everything is refused; stop, restore a backup and start"
            }
            Self::Moved => {
                "the database or its write-ahead log was moved, removed or replaced: everything is \
                 refused; stop, put back what was there and start"
            }
        }
    }
}

/// Without a reserve everything is as ever while there is room.
fn show_reserve(reserve: &Reserve, health: &Health, made: &std::io::Result<()>) {
    match made {
        Ok(()) => health.restored(PART),
        Err(error) if is_of_the_disk(error) => {}
        Err(error) => {
            let reason = "the file beside the database cannot be written: no room is kept for when \
                          the disk is full; give it to the owner of the database, or delete it, and \
                          start again";
            health.degraded(PART, reason);
            let file = reserve.file().display();
            tracing::warn!(
                "no room is kept for when the disk is full, because {file} cannot be written: {error}; \
                 give it to the owner of the database, or delete it while nothing runs"
            );
        }
    }
}

fn trouble_of(error: &std::io::Error) -> Trouble {
    match error.kind() {
        std::io::ErrorKind::StorageFull => Trouble::Full,
        _ => Trouble::Disk,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs::File;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::store::error::OpenError;
    use crate::store::sqlite::reserve::WANTED;

    #[test]
    fn whoever_is_told_that_the_disk_is_full_is_told_how_much_room_it_takes() {
        let amount = format!(" {} MiB ", WANTED >> 20);
        for text in [
            Trouble::Full.reason(),
            Trouble::Full.sentence(),
            &StoreError::Full.to_string(),
            &OpenError::Full("callgate.db".to_owned()).to_string(),
        ] {
            assert!(text.contains(&amount), "{text}");
        }
    }

    #[test]
    fn while_the_disk_is_full_only_what_is_owed_may_be_written() {
        let condition = Condition::default();
        assert!(condition.allows(Purpose::Begin).is_ok());
        condition.notice(&StoreError::Busy);
        assert!(condition.allows(Purpose::Begin).is_ok());
        condition.notice(&StoreError::Full);
        assert!(matches!(condition.allows(Purpose::Begin), Err(StoreError::Full)));
        assert!(condition.allows(Purpose::Owed).is_ok());
        condition.notice(&StoreError::Damaged);
        for purpose in [Purpose::Begin, Purpose::Owed] {
            assert!(matches!(condition.allows(purpose), Err(StoreError::Damaged)));
        }
        condition.notice(&StoreError::Full);
        assert_eq!(condition.trouble(), Some(Trouble::Damaged), "what is worse stays");
    }

    #[tokio::test(start_paused = true)]
    async fn the_reserve_is_given_up_in_trouble_and_made_again_before_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callgate.db");
        let file = folder.path().join("callgate.db.reserve");
        let (condition, health) = (Condition::default(), Health::default());
        condition.keep(&path, health.clone());
        let is_there = || file.metadata().unwrap().len() > 0;
        assert!(is_there());
        condition.notice(&StoreError::Full);
        assert!(!is_there());
        let unready = BTreeMap::from([(LATCH, Trouble::Full.reason())]);
        assert_eq!(health.report().unready, unready);
        condition.look();
        assert_eq!(health.report().unready, unready, "not at once");

        // As long as the reserve cannot be made, it is not over.
        std::fs::remove_file(&file).unwrap();
        symlink("/dev/full", &file).unwrap();
        tokio::time::advance(FIRST_LOOK).await;
        condition.look();
        assert_eq!(health.report().unready, unready);
        std::fs::remove_file(&file).unwrap();
        tokio::time::advance(FIRST_LOOK * 2).await;
        condition.look();
        assert!(health.report().unready.is_empty());
        assert!(is_there());
        assert!(condition.allows(Purpose::Begin).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reserve_that_cannot_be_opened_is_no_trouble_of_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("callgate.db.reserve");
        std::fs::create_dir(&file).unwrap();
        let (condition, health) = (Condition::default(), Health::default());
        condition.keep(&folder.path().join("callgate.db"), health.clone());
        assert!(health.report().unready.is_empty(), "{:?}", health.report());
        assert!(health.report().degraded[PART].contains("no room is kept"));
        assert!(condition.allows(Purpose::Begin).is_ok());
        // Nor does it keep the trouble that there is from being over.
        condition.notice(&StoreError::Full);
        assert!(!health.report().unready.is_empty());
        tokio::time::advance(FIRST_LOOK).await;
        condition.look();
        assert!(health.report().unready.is_empty());
        // With a reserve it is as it should be.
        condition.notice(&StoreError::Full);
        std::fs::remove_dir(&file).unwrap();
        tokio::time::advance(LAST_LOOK).await;
        condition.look();
        assert_eq!(health.report(), Health::default().report());
    }

    #[test]
    fn nobody_waits_while_the_reserve_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("callgate.db.reserve");
        let (condition, health) = (Condition::default(), Health::default());
        condition.keep(&folder.path().join("callgate.db"), health);
        condition.notice(&StoreError::Full);
        condition.lock().look_at = Some(Instant::now());
        // A pipe that is full takes nothing until it is read.
        std::fs::remove_file(&file).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&file).status();
        assert!(made.unwrap().success());
        let mut pipe = File::options().read(true).write(true).open(&file).unwrap();
        let (told, asked) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| condition.look());
            // Who looks writes by now.
            pipe.read_exact(&mut [0]).unwrap();
            scope.spawn(|| told.send(condition.allows(Purpose::Owed)));
            let answer = asked.recv_timeout(Duration::from_secs(10));
            // All of it is read, whatever was found, so that the test ends.
            std::io::copy(&mut pipe.take((6 << 20) - 1), &mut std::io::sink()).unwrap();
            assert!(matches!(answer, Ok(Ok(()))), "{answer:?}");
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_damaged_database_does_not_mend_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (condition, health) = (Condition::default(), Health::default());
        condition.keep(&folder.path().join("callgate.db"), health.clone());
        condition.notice(&StoreError::Damaged);
        tokio::time::advance(LAST_LOOK * 10).await;
        condition.look();
        let unready = BTreeMap::from([(LATCH, Trouble::Damaged.reason())]);
        assert_eq!(health.report().unready, unready);
    }
}
