//! Scripts: requests of the control API from a file, one a line, such as
//! `/sim/calls {"source": "+4930123456", "targets": ["8856"]}`.

use bytes::Bytes;
use hyper::{Method, Request};

use super::control;
use super::state::State;

/// A line that was not carried out. Those before it were.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ScriptError {
    /// Counted from 1.
    pub line: usize,
    /// What the control API says of it.
    pub message: String,
}

/// Posts each line to the control API; blank lines and those that begin with `#` are passed over.
pub(super) fn run(state: &mut State, script: &str) -> Result<usize, ScriptError> {
    let mut count = 0;
    for (index, line) in script.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        post(state, line).map_err(|message| ScriptError { line: index + 1, message })?;
        count += 1;
    }
    Ok(count)
}

fn post(state: &mut State, line: &str) -> Result<(), String> {
    let (path, body) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    if !control::is_for(path) {
        return Err("a line begins with a path of the control API, such as /sim/calls".to_owned());
    }
    let request = Request::builder().method(Method::POST).uri(path);
    let request = request.body(Bytes::from(body.to_owned())).map_err(|error| error.to_string())?;
    let answer = control::answer(state, &request);
    if answer.status.is_success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&answer.body).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Timestamp};

    fn check(script: &str) -> Result<usize, ScriptError> {
        run(&mut State::new(Clock::manual(Timestamp(0))), script)
    }

    #[test]
    fn each_line_is_a_request_of_the_control_api() {
        let script = "# two calls of one number, and a throttled Graph\n\n\
            /sim/calls {\"id\": \"a\", \"source\": \"+4930123456\", \"targets\": [\"8856\"]}\n\
            /sim/calls {\"id\": \"b\", \"source\": \"+4930123457\", \"targets\": [\"8856\"]}\n\
            /sim/calls/a/end\n\
            /sim/faults {\"method\": \"DELETE\", \"status\": 429, \"retryAfter\": 1, \"times\": 2}";
        assert_eq!(check(script), Ok(4));
    }

    #[test]
    fn a_line_that_fails_is_named() {
        for (script, line, word) in [
            ("\n/sim/calls {\"surce\": \"1\"}", 2, "source"),
            ("/v1.0/communications/calls {}", 1, "control API"),
            ("/sim/nothing {}", 1, "noSuchPath"),
            ("/sim/calls {", 1, "badField"),
        ] {
            let error = check(script).unwrap_err();
            assert_eq!(error.line, line, "{script}");
            assert!(error.message.contains(word), "{script}: {error}");
        }
    }
}
