//! Files with nothing but a secret in them.
//!
//! Nothing here returns or prints what stands in a file that is not usable.

use std::path::Path;

use crate::config::error::SecretFileFault;
use crate::secret::Secret;

/// The one line in the file, without its line end.
///
/// # Errors
///
/// When there is no such line, or more than that.
pub(super) fn read(path: &Path) -> Result<Secret<String>, SecretFileFault> {
    let bytes = std::fs::read(path).map_err(|error| SecretFileFault::Unreadable(error.kind()))?;
    let Ok(text) = str::from_utf8(&bytes) else { return Err(SecretFileFault::NotText) };
    match text.trim_end_matches(['\r', '\n']) {
        line if line.trim().is_empty() => Err(SecretFileFault::Empty),
        line if line.contains(['\r', '\n']) => Err(SecretFileFault::ManyLines),
        line => Ok(Secret::new(line.to_owned())),
    }
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

    fn check(content: &[u8], expected: Result<&str, SecretFileFault>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, content).unwrap();
        let found = read(&path).map(|secret| secret.expose().clone());
        assert_eq!(found, expected.map(str::to_owned), "{content:?}");
    }

    #[test]
    fn line_ends_are_no_part_of_the_secret() {
        check(b"s3cret", Ok("s3cret"));
        check(b"s3cret\n", Ok("s3cret"));
        check(b"s3cret\r\n", Ok("s3cret"));
        check(b" s3 cret \n", Ok(" s3 cret "));
    }

    #[test]
    fn a_file_without_one_line_of_text_is_refused() {
        check(b"", Err(SecretFileFault::Empty));
        check(b" \n", Err(SecretFileFault::Empty));
        check(b"-----BEGIN-----\nMII\n", Err(SecretFileFault::ManyLines));
        check(b"\xff\xfe", Err(SecretFileFault::NotText));
        let missing = read(Path::new("/nonexistent/secret")).map(|_| ()).unwrap_err();
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
