//! Room on the disk that is kept for when there is none: a file beside the database, given up when the
//! disk is full, so that what Graph has answered and what was refused can still be written down.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use nix::sys::statvfs::statvfs;

use super::beside;
use super::mark::folder_of;
use crate::store::error::OpenError;

/// How much is kept: settlements of every request that is under way, and minutes of records.
pub(super) const RESERVE: u64 = 4 << 20;
/// How much more has to be free before the disk no longer counts as full, so that it does not so again
/// with the next commit.
const MARGIN: u64 = 2 << 20;
/// What has to be free for that; whoever is told that the disk is full is told this too, in words.
pub(super) const WANTED: u64 = RESERVE + MARGIN;
/// What is written at once.
const PIECE: usize = 64 << 10;
/// In what a file system counts the room of a file.
const BLOCK: u64 = 512;

/// What there is for when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The reserve, whole.
    Whole,
    /// No reserve, and room to make it.
    Room,
    /// Neither.
    Nothing,
}

/// The reserve of the database at a path.
#[derive(Clone, Debug)]
pub(super) struct Reserve {
    database: PathBuf,
    file: PathBuf,
}

impl Reserve {
    /// That of the database at `path`; nothing is made yet.
    pub(super) fn of(path: &Path) -> Self {
        let mut name = path.as_os_str().to_owned();
        name.push(".reserve");
        Self { database: path.to_owned(), file: name.into() }
    }

    /// Where it is.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Makes it, unless the process before has left it whole; it can be given up, at any rate.
    ///
    /// # Errors
    ///
    /// As [`Reserve::make`].
    pub(super) fn keep(&self) -> io::Result<()> {
        let file = self.open()?;
        if is_whole(&file.metadata()?) { Ok(()) } else { self.make() }
    }

    /// What there is, and would be were so many bytes written `besides`. Where nobody can say how much is
    /// free, there is room.
    pub(super) fn kept(&self, besides: u64) -> Kept {
        if self.file.metadata().is_ok_and(|file| is_whole(&file)) {
            return Kept::Whole;
        }
        let wanted = besides.saturating_add(WANTED);
        let is_short = self.free().is_some_and(|free| free < wanted);
        if is_short { Kept::Nothing } else { Kept::Room }
    }

    /// What is free on its disk for who is not root.
    fn free(&self) -> Option<u64> {
        let disk = statvfs(folder_of(&self.database)).ok()?;
        Some(disk.blocks_available().saturating_mul(disk.fragment_size()))
    }

    /// Makes it, when there is room for it and some more.
    ///
    /// # Errors
    ///
    /// There is not, and nothing is taken; or the file cannot be written, whatever the room: see
    /// [`is_of_the_disk`].
    pub(super) fn make(&self) -> io::Result<()> {
        let mut file = self.open()?;
        let made = fill(&mut file, WANTED).and_then(|()| file.set_len(RESERVE));
        if made.is_err() {
            self.give_up();
        }
        made.and_then(|()| file.sync_all())
    }

    /// Gives its room to whoever writes next.
    pub(super) fn give_up(&self) {
        // What cannot be given up is no room for anybody.
        let _ = OpenOptions::new().write(true).open(&self.file).and_then(|file| file.set_len(0));
    }

    fn open(&self) -> io::Result<File> {
        beside::open_owned_like(&self.database, &self.file)
    }
}

/// Opens something of the database at `path`; where there is no room for that, once more with that of the
/// reserve.
///
/// # Errors
///
/// What `open` says at last.
pub(super) fn with_reserve<T>(
    path: &Path,
    open: impl Fn() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let opened = open();
    if matches!(opened, Err(OpenError::Full(_))) {
        Reserve::of(path).give_up();
        return open();
    }
    opened
}

/// The disk has failed, and not only this file on it, which may be somebody else's or no file at all.
pub(super) fn is_of_the_disk(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::IsADirectory | ErrorKind::NotFound
    )
}

/// A hole has the length and takes no room.
fn is_whole(file: &Metadata) -> bool {
    file.is_file() && file.len() >= RESERVE && file.blocks() * BLOCK >= RESERVE
}

/// Fills a file with what no file system can make smaller.
fn fill(file: &mut File, length: u64) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    for _ in 0..length / PIECE as u64 {
        rand::fill(&mut piece).map_err(io::Error::other)?;
        file.write_all(&piece)?;
    }
    // A file system may find out only now that it has no room.
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_reserve_takes_room_until_it_is_given_up_and_can_be_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(&folder.path().join("callgate.db"));
        let file = folder.path().join("callgate.db.reserve");
        assert_eq!(reserve.kept(0), Kept::Room, "there was none");
        for _ in 0..2 {
            reserve.make().unwrap();
            assert_eq!(reserve.kept(u64::MAX), Kept::Whole);
            let made = file.metadata().unwrap();
            assert_eq!((made.len(), made.mode() & 0o777), (RESERVE, 0o600));
            assert!(made.blocks() * BLOCK >= RESERVE, "{} blocks", made.blocks());
            reserve.give_up();
            assert_eq!(reserve.kept(0), Kept::Room);
            assert_eq!(reserve.kept(u64::MAX), Kept::Nothing);
            assert_eq!(file.metadata().unwrap().len(), 0);
        }
    }

    #[test]
    fn what_is_no_file_is_no_reserve() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(&folder.path().join("callgate.db"));
        fs::create_dir(reserve.file()).unwrap();
        assert_eq!(reserve.kept(0), Kept::Room);
        assert_eq!(reserve.kept(u64::MAX), Kept::Nothing);
    }

    #[test]
    fn a_reserve_without_room_is_none_and_its_bytes_cannot_be_packed() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(&folder.path().join("callgate.db"));
        File::create(reserve.file()).unwrap().set_len(RESERVE).unwrap();
        reserve.keep().unwrap();
        assert!(reserve.file().metadata().unwrap().blocks() * BLOCK >= RESERVE);
        let made = fs::read(reserve.file()).unwrap();
        for (one, next) in made.chunks(PIECE).zip(made.chunks(PIECE).skip(1)) {
            assert_ne!(one, next);
            let zeros: u32 = one.iter().map(|byte| byte.count_zeros()).sum();
            assert!(zeros.abs_diff(4 << 16) < 8_000, "{zeros}");
        }
        // One that is whole is left as it is.
        reserve.keep().unwrap();
        assert_eq!(fs::read(reserve.file()).unwrap(), made);
    }

    #[test]
    fn what_finds_no_room_is_tried_once_more_with_that_of_the_reserve() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callgate.db");
        let reserve = Reserve::of(&path);
        reserve.make().unwrap();
        let tries = Cell::new(0);
        let full = || {
            tries.set(tries.get() + 1);
            Err::<(), _>(OpenError::Full(String::new()))
        };
        let opened =
            with_reserve(&path, || if reserve.kept(0) == Kept::Whole { full() } else { Ok(()) });
        assert!(opened.is_ok() && tries.get() == 1, "{opened:?}");
        assert!(matches!(with_reserve(&path, full), Err(OpenError::Full(_))));
        assert_eq!(tries.get(), 3);
    }
}
