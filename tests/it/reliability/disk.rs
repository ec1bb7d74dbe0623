//! A disk that keeps what was synced, and of the rest what chance has it.
//!
//! What is asked of it is played back from a trace. At a power cut every file is what its last sync
//! made it, and of what came after that a part: none, all, the beginning, or any of it in any
//! order, torn between two sectors. A file that was made is found again when its folder was synced
//! since, and otherwise only perhaps; the same goes for a name that was removed.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use super::shuffle;
use super::trace::{Asked, Inode, Record};
use crate::support::Seeded;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// What is looked at: the database, its log, its journal, its pepper.
const OURS: &str = "callgate.db";

/// A guard that a control leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    Nothing,
    /// A commit does not sync the log: what `synchronous=NORMAL` is.
    SyncsOfCommits,
    /// A checkpoint does not sync the database.
    SyncsOfTheDatabase,
    /// The folder is never synced.
    SyncsOfTheFolder,
}

/// The disk at one moment.
pub(super) struct Disk<'a> {
    without: Without,
    files: Vec<File<'a>>,
    /// The file that has a number now.
    numbered: HashMap<Inode, usize>,
    /// What the folder is known to hold.
    names: BTreeMap<String, usize>,
    /// What was done to it since.
    unsynced: Vec<(&'a str, Option<usize>)>,
    /// What each thread asked last.
    last: HashMap<u32, Record<'a>>,
}

#[derive(Clone, Default)]
struct File<'a> {
    synced: Vec<u8>,
    unsynced: Vec<Change<'a>>,
}

#[derive(Clone, Copy)]
enum Change<'a> {
    Write { offset: usize, bytes: &'a [u8] },
    Truncate(usize),
}

/// What somebody finds after a power cut: names and contents.
pub(super) type Left = BTreeMap<String, Vec<u8>>;

impl<'a> Disk<'a> {
    pub(super) fn new(without: Without) -> Self {
        Self {
            without,
            files: Vec::new(),
            numbered: HashMap::new(),
            names: BTreeMap::new(),
            unsynced: Vec::new(),
            last: HashMap::new(),
        }
    }

    /// Does what a record says was asked.
    pub(super) fn ask(&mut self, record: &Record<'a>) {
        match record.what {
            Asked::Make(name) => {
                self.files.push(File::default());
                self.numbered.insert(record.file, self.files.len() - 1);
                self.unsynced.push((name, Some(self.files.len() - 1)));
            }
            Asked::Name(name) => {
                self.unsynced.push((name, self.numbered.get(&record.file).copied()));
            }
            Asked::Unlink(name) => self.unsynced.push((name, None)),
            Asked::Write { offset, bytes } => self.change(record, Change::Write { offset, bytes }),
            Asked::Truncate(length) => self.change(record, Change::Truncate(length)),
            Asked::Sync if self.is_left_out(record) => {}
            Asked::Sync => {
                if let Some(&file) = self.numbered.get(&record.file) {
                    self.files[file].sync();
                }
            }
            Asked::SyncFolder(_) if self.without == Without::SyncsOfTheFolder => {}
            Asked::SyncFolder(listing) => {
                let lines = listing.lines().filter_map(|line| line.split_once(' '));
                let known = lines.filter_map(|(number, name)| {
                    let file = self.numbered.get(&number.parse().ok()?)?;
                    Some((name.to_owned(), *file))
                });
                self.names = known.collect();
                self.unsynced.clear();
            }
        }
        self.last.insert(record.thread, *record);
    }

    fn change(&mut self, record: &Record<'a>, change: Change<'a>) {
        let file = self.numbered.get(&record.file).expect("a file is made before it is written");
        self.files[*file].unsynced.push(change);
    }

    /// Whether this sync is the guard that is to be missing.
    fn is_left_out(&self, record: &Record<'_>) -> bool {
        let is = |name: &str| self.numbered.get(&record.file) == self.number_of(name).as_ref();
        match self.without {
            Without::Nothing | Without::SyncsOfTheFolder => false,
            Without::SyncsOfTheDatabase => is("callgate.db"),
            Without::SyncsOfCommits => {
                // A commit syncs what its thread has just written; a checkpoint moves what others
                // have written. The head of a log that starts over is synced in every mode.
                let wrote = self.last.get(&record.thread).is_some_and(|last| {
                    last.file == record.file
                        && matches!(last.what, Asked::Write { offset, .. } if offset != 0)
                });
                is("callgate.db-wal") && wrote
            }
        }
    }

    /// The file that has this name now.
    fn number_of(&self, name: &str) -> Option<usize> {
        let changed = self.unsynced.iter().rev().find(|(changed, _)| *changed == name);
        changed.map_or_else(|| self.names.get(name).copied(), |(_, file)| *file)
    }

    /// What a power cut leaves now.
    pub(super) fn cut(&self, seeded: &mut Seeded) -> Left {
        let mut names = self.names.clone();
        // A folder forgets its last changes first.
        let kept = seeded.below(self.unsynced.len() + 1);
        for (name, file) in &self.unsynced[..kept] {
            match file {
                Some(file) => names.insert((*name).to_owned(), *file),
                None => names.remove(*name),
            };
        }
        names.retain(|name, _| name.starts_with(OURS));
        names.into_iter().map(|(name, file)| (name, self.files[file].cut(seeded))).collect()
    }
}

impl<'a> File<'a> {
    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.synced);
        }
    }

    fn cut(&self, seeded: &mut Seeded) -> Vec<u8> {
        let mut left = self.synced.clone();
        let mut changes: Vec<Change<'a>> = self.unsynced.clone();
        match seeded.below(5) {
            0 => changes.clear(),
            1 => {}
            2 => changes.truncate(seeded.below(changes.len() + 1)),
            3 => changes.retain(|_| seeded.percent(50)),
            _ => {
                shuffle(seeded, &mut changes);
                for change in &changes {
                    change.apply_torn(&mut left, seeded);
                }
                changes.clear();
            }
        }
        for change in changes {
            change.apply(&mut left);
        }
        left
    }
}

impl Change<'_> {
    fn apply(self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[offset..end].copy_from_slice(bytes);
            }
            Self::Truncate(length) => content.resize(length, 0),
        }
    }

    /// Some of its sectors, or none.
    fn apply_torn(self, content: &mut Vec<u8>, seeded: &mut Seeded) {
        match self {
            Self::Truncate(_) if seeded.percent(50) => self.apply(content),
            Self::Truncate(_) => {}
            Self::Write { mut offset, mut bytes } => {
                while !bytes.is_empty() {
                    let to_the_next = SECTOR - offset % SECTOR;
                    let (sector, rest) = bytes.split_at(to_the_next.min(bytes.len()));
                    if seeded.percent(50) {
                        Change::Write { offset, bytes: sector }.apply(content);
                    }
                    offset += sector.len();
                    bytes = rest;
                }
            }
        }
    }
}

/// Puts into an empty folder what a power cut has left.
pub(super) fn put(left: &Left, folder: &Path) {
    for (name, content) in left {
        fs::write(folder.join(name), content).expect("a file can be written");
    }
}
