//! A disk that can be made small or read-only under a running gateway, without a right to mount one: a
//! library in front of the C library's, built here, plays it.

use std::fs;
use std::path::PathBuf;
use std::process::Command as Build;

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{Process, Site, soon};

/// The disk that a site's database is on.
pub(super) struct SmallDisk {
    folder: PathBuf,
    library: TempDir,
}

impl SmallDisk {
    /// As large as any, until it is told.
    pub(super) fn of(site: &Site) -> Self {
        let library = tempfile::tempdir().expect("a temporary folder can be made");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/damage/small_disk.c");
        let built = Build::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(library.path().join("small_disk.so"))
            .args([source, "-ldl"])
            .status();
        assert!(built.expect("there is a C compiler").success());
        Self { folder: site.folder().to_owned(), library }
    }

    /// The gateway on this disk.
    pub(super) async fn start(&self, site: &Site) -> Process {
        Process::spawn(site, self.command(site, &["serve"])).await
    }

    /// Runs a command on this disk to its end; gives its exit code, and all that it says.
    pub(super) async fn run(&self, site: &Site, arguments: &[&str]) -> (i32, String) {
        let output = soon("the end of a command", self.command(site, arguments).output()).await;
        let output = output.expect("the binary was built");
        let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
        (output.status.code().expect("it ended by itself"), said)
    }

    fn command(&self, site: &Site, arguments: &[&str]) -> Command {
        let mut command = site.command(arguments);
        command.env("LD_PRELOAD", self.library.path().join("small_disk.so"));
        command.env("SMALL_DISK", &self.folder);
        command
    }

    /// Leaves no room beyond what is used.
    pub(super) fn fill(&self) {
        let files = fs::read_dir(&self.folder).expect("the folder is there");
        let ours = files
            .map(|file| file.expect("a file"))
            .filter(|file| file.file_name().to_string_lossy().starts_with("callgate.db"));
        let used: u64 = ours.map(|file| file.metadata().expect("it is there").len()).sum();
        fs::write(self.folder.join("disk.limit"), used.to_string()).expect("it can be written");
    }

    /// Gives all the room that anybody may want.
    pub(super) fn grow(&self) {
        fs::remove_file(self.folder.join("disk.limit")).expect("it was full");
    }

    /// Refuses every write, or no longer does.
    pub(super) fn read_only(&self, is: bool) {
        let file = self.folder.join("disk.read-only");
        if is { fs::write(file, "") } else { fs::remove_file(file) }.expect("it can be changed");
    }
}
