//! Reads a password: from a prompt where there is somebody to ask, else from standard input.

use std::io::{self, BufRead, IsTerminal};

use crate::cli::error::CliError;
use crate::secret::Secret;
use crate::users;

/// More than any password has.
const LONGEST: u64 = 4096;

/// The password for a user: asked for twice at a terminal, else the first line of standard input
/// without its end.
///
/// # Errors
///
/// When there is none, it is no text, or the two are not the same.
pub(super) fn read_password() -> Result<Secret<String>, CliError> {
    let input = io::stdin();
    if !input.is_terminal() {
        return first_line(input.lock());
    }
    let asked = |prompt: &str| {
        let text = rpassword::prompt_password(prompt);
        text.map_err(|error| CliError::Unavailable("no password could be read".to_owned(), error))
    };
    let password = asked("Password: ")?;
    if password.is_empty() {
        return Err(CliError::Input("no password was given".to_owned()));
    }
    // Nobody types one again that will be refused.
    users::check_length(&password).map_err(|error| CliError::Input(error.to_string()))?;
    if asked("Once more: ")? == password {
        Ok(Secret::new(password))
    } else {
        Err(CliError::Input("the two passwords are not the same".to_owned()))
    }
}

fn first_line(input: impl BufRead) -> Result<Secret<String>, CliError> {
    let mut line = Vec::new();
    let read = input.take(LONGEST + 1).read_until(b'\n', &mut line);
    read.map_err(|error| CliError::Unavailable("standard input cannot be read".to_owned(), error))?;
    let has_end = line.last() == Some(&b'\n');
    let text = line.strip_suffix(b"\n").unwrap_or(&line);
    let text = if has_end { text.strip_suffix(b"\r").unwrap_or(text) } else { text };
    if text.is_empty() {
        let problem = "no password: it is the first line of standard input";
        return Err(CliError::Input(problem.to_owned()));
    }
    if text.len() as u64 > LONGEST {
        return Err(CliError::Input(format!("the password is longer than {LONGEST} bytes")));
    }
    match String::from_utf8(text.to_vec()) {
        Ok(password) => Ok(Secret::new(password)),
        Err(_) => Err(CliError::Input("the password is not valid UTF-8".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(input: impl AsRef<[u8]>) -> Result<String, String> {
        let read = first_line(input.as_ref());
        read.map(|password| password.expose().clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_password_is_the_first_line_without_its_end_and_nothing_else_is_removed() {
        assert_eq!(line("geheim\n").as_deref(), Ok("geheim"));
        assert_eq!(line("geheim\r\n").as_deref(), Ok("geheim"));
        assert_eq!(line("geheim").as_deref(), Ok("geheim"), "half a line is one");
        assert_eq!(line(" ge\theim \r\r\nmore\n").as_deref(), Ok(" ge\theim \r"));
        assert_eq!(line("Pässwort\n").as_deref(), Ok("Pässwort"));
        assert_eq!(line("x".repeat(4096)), Ok("x".repeat(4096)));
    }

    #[test]
    fn what_is_no_password_is_refused_and_not_shown() {
        for none in ["", "\n", "\r\n", "\nsecond\n"] {
            assert!(line(none).unwrap_err().starts_with("no password"), "{none:?}");
        }
        assert_eq!(line(b"gehe\xfcim\n"), Err("the password is not valid UTF-8".to_owned()));
        assert!(line("x".repeat(4097)).unwrap_err().contains("longer than 4096 bytes"));
        assert!(line("x".repeat(1 << 20)).unwrap_err().contains("longer than 4096 bytes"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_a_password_has_no_line_feed(input in any::<Vec<u8>>()) {
            if let Ok(password) = line(&input) {
                prop_assert!(!password.contains('\n') && input.starts_with(password.as_bytes()));
            }
        }
    }
}
