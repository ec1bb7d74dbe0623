//! Files with nothing but a secret in them.
//!
//! Nothing here returns or prints what stands in a file that is not usable.

use std::path::Path;

use crate::config::error::SecretFileFault;
use crate::secret::Secret;

/// The lines in the file, `most` at most and one at least, without their line ends. Empty ones at the
/// end are none.
///
/// # Errors
///
/// When there is no line, an empty one before another, or more of them.
pub(super) fn read(path: &Path, most: usize) -> Result<Vec<Secret<String>>, SecretFileFault> {
    let bytes = std::fs::read(path).map_err(|error| SecretFileFault::Unreadable(error.kind()))?;
    let Ok(text) = str::from_utf8(&bytes) else { return Err(SecretFileFault::NotText) };
    let text = text.trim_end_matches(['\r', '\n']);
    let mut secrets = Vec::new();
    for line in text.split('\n') {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() {
            return Err(SecretFileFault::Empty);
        }
        if secrets.len() == most || line.contains('\r') {
            return Err(SecretFileFault::ManyLines);
        }
        secrets.push(Secret::new(line.to_owned()));
    }
    Ok(secrets)
}

/// Whether every user of the machine can read the file.
#[cfg(unix)]
pub(super) fn is_readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

/// Whether every user of the machine can read the file: not known here.
#[cfg(not(unix))]
pub(super) fn is_readable_by_others(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    fn check(content: &[u8], most: usize, expected: Result<&[&str], SecretFileFault>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, content).unwrap();
        let found = read(&path, most);
        let found =
            found.map(|lines| lines.iter().map(|line| line.expose().clone()).collect::<Vec<_>>());
        let expected = expected.map(|lines| lines.iter().map(|&line| line.to_owned()).collect());
        assert_eq!(found, expected, "{content:?}");
    }

    #[test]
    fn line_ends_are_no_part_of_the_secret() {
        check(b"s3cret", 1, Ok(&["s3cret"]));
        check(b"s3cret\n", 1, Ok(&["s3cret"]));
        check(b"s3cret\r\n", 1, Ok(&["s3cret"]));
        check(b" s3 cret \n", 1, Ok(&[" s3 cret "]));
        check(b"new\r\nold\r\n\n", 2, Ok(&["new", "old"]));
    }

    #[test]
    fn a_file_without_lines_of_text_is_refused() {
        check(b"", 1, Err(SecretFileFault::Empty));
        check(b" \n", 1, Err(SecretFileFault::Empty));
        check(b"\nold\n", 2, Err(SecretFileFault::Empty));
        check(b"new\n\nold\n", 2, Err(SecretFileFault::Empty));
        check(b"-----BEGIN-----\nMII\n", 1, Err(SecretFileFault::ManyLines));
        check(b"1\n2\n3\n", 2, Err(SecretFileFault::ManyLines));
        check(b"1\r2\n", 2, Err(SecretFileFault::ManyLines));
        check(b"\xff\xfe", 1, Err(SecretFileFault::NotText));
        let missing = read(Path::new("/nonexistent/secret"), 1).map(|_| ()).unwrap_err();
        assert_eq!(missing, SecretFileFault::Unreadable(ErrorKind::NotFound));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_readable_by_others_when_its_mode_says_so() {
        use std::os::unix::fs::PermissionsExt;

        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, expected) in [(0o600, false), (0o640, false), (0o644, true)] {
            std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(is_readable_by_others(file.path()), expected, "{mode:o}");
        }
    }
}
