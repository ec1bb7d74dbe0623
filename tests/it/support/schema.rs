//! Every XML answer of a test, held against the schema that integrations get.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

/// The answers that a test got; validated when the test ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept(Mutex<BTreeSet<String>>);

impl Answers {
    /// Keeps an answer's body if it is XML.
    pub(crate) fn keep(&self, body: &str) {
        if body.starts_with("<?xml") {
            let mut kept = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.insert(body.to_owned());
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let answers = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        // A test that fails for another reason says that one.
        if !answers.is_empty() && !std::thread::panicking() {
            validate(answers);
        }
    }
}

fn validate(answers: &BTreeSet<String>) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut command = Command::new("xmllint");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verba-api.xsd");
    command.arg("--nonet").arg("--noout").arg("--schema").arg(schema);
    for (number, answer) in answers.iter().enumerate() {
        let file = folder.path().join(format!("{number}.xml"));
        std::fs::write(&file, answer).expect("an answer can be written");
        command.arg(file);
    }
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("xmllint is missing: install Debian's package libxml2-utils")
        }
        Err(error) => panic!("xmllint cannot be run: {error}"),
    };
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "not valid by docs/verba-api.xsd: {complaints}\n{answers:#?}");
}

#[test]
#[should_panic(expected = "not valid by docs/verba-api.xsd")]
fn an_answer_that_the_schema_does_not_know_fails_its_test() {
    let answers = Answers::default();
    answers.keep("<?xml version=\"1.0\"?><VerbaApi><Response code=\"7\" type=\"x\"/></VerbaApi>");
}
