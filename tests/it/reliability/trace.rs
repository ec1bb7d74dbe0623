//! What `power_loss.c` notes: everything a program asked of the disk, in the order it asked.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file, by the number that the kernel gives it. It may be given again when the file is gone.
pub(super) type Inode = u64;

/// The head of a record, in bytes.
const HEAD: usize = 32;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Where the record ends in the trace.
    pub(super) end: usize,
    /// Who asked.
    pub(super) thread: u32,
    pub(super) file: Inode,
    pub(super) what: Asked<'a>,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// An empty file of this name.
    Make(&'a str),
    /// A further name of the file.
    Name(&'a str),
    /// This name of the file away.
    Unlink(&'a str),
    Write {
        offset: usize,
        bytes: &'a [u8],
    },
    /// This length.
    Truncate(usize),
    Sync,
    /// The folder itself, and what was in it: a number and a name on each line.
    SyncFolder(&'a str),
}

/// Reads the records up to the end, or to where there is none.
pub(super) fn read(trace: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some(record) = record(trace, at) {
        at = record.end;
        records.push(record);
    }
    records
}

fn record(trace: &[u8], at: usize) -> Option<Record<'_>> {
    let head = trace.get(at..at.checked_add(HEAD)?)?;
    let small = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let large = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    let (offset, length) = (usize::try_from(large(16)).ok()?, usize::try_from(large(24)).ok()?);
    let end = (at + HEAD).checked_add(length)?;
    let bytes = trace.get(at + HEAD..end)?;
    let text = std::str::from_utf8(bytes).ok();
    let what = match char::from_u32(small(0))? {
        'C' => Asked::Make(text?),
        'N' => Asked::Name(text?),
        'U' => Asked::Unlink(text?),
        'W' => Asked::Write { offset, bytes },
        'T' => Asked::Truncate(offset),
        'S' => Asked::Sync,
        'D' => Asked::SyncFolder(text?),
        _ => return None,
    };
    Some(Record { end, thread: small(4), file: large(8), what })
}

/// Has commands note what they ask of the disk.
pub(super) struct Tracer {
    own: TempDir,
    folder: PathBuf,
}

impl Tracer {
    /// For the files in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        let own = tempfile::tempdir().expect("a temporary folder can be made");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/reliability");
        let mut compiler = Command::new("gcc");
        compiler.args(["-Wall", "-O1", "-shared", "-fPIC", "-pthread", "-o"]);
        compiler.arg(own.path().join("power_loss.so")).arg(source.join("power_loss.c"));
        let made = compiler.output().expect("gcc is there: Debian's package gcc");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::write(own.path().join("trace"), "").expect("a file can be made");
        Self { own, folder: folder.to_owned() }
    }

    /// What has to be in the environment of a command that is to be noted.
    pub(super) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("LD_PRELOAD", self.own.path().join("power_loss.so")),
            ("DISK_TRACE", self.file()),
            ("DISK_FOLDER", self.folder.clone()),
        ]
    }

    /// The trace.
    pub(super) fn file(&self) -> PathBuf {
        self.own.path().join("trace")
    }

    /// How far the disk was asked until now. Whatever was promised to somebody before this call
    /// was asked for earlier.
    pub(super) fn position(&self) -> usize {
        position(&self.file())
    }
}

/// As [`Tracer::position`].
pub(super) fn position(trace: &Path) -> usize {
    let length = trace.metadata().expect("the trace is there").len();
    usize::try_from(length).expect("it fits into memory")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noted(what: char, file: Inode, offset: u64, bytes: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        record.extend(u32::from(what).to_ne_bytes());
        record.extend(7_u32.to_ne_bytes());
        let length = u64::try_from(bytes.len()).unwrap();
        record.extend([file, offset, length].map(u64::to_ne_bytes).concat());
        record.extend(bytes);
        record
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(bytes: Vec<u8>) {
            read(&bytes);
        }

        #[test]
        fn a_trace_that_ends_in_the_middle_gives_what_is_whole(
            writes in prop::collection::vec((any::<u64>(), 0..9_u64, any::<Vec<u8>>()), 0..9),
            cut in 0_usize..400,
        ) {
            let records = writes.iter().map(|(file, at, bytes)| noted('W', *file, *at, bytes));
            let records: Vec<_> = records.collect();
            let trace = records.concat();
            let trace = &trace[..cut.min(trace.len())];
            let mut end = 0;
            let whole = records.iter().take_while(|record| {
                end += record.len();
                end <= trace.len()
            });
            let read = read(trace);
            prop_assert_eq!(read.len(), whole.count());
            for (record, (file, at, bytes)) in read.iter().zip(&writes) {
                let offset = usize::try_from(*at).unwrap();
                prop_assert_eq!(record.what, Asked::Write { offset, bytes });
                prop_assert_eq!((record.file, record.thread), (*file, 7));
            }
        }
    }
}
