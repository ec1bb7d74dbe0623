//! Why calls end: Graph's codes, subcodes and words as data, and who therefore ended a call.
//!
//! The meanings are in our own words. What Graph says is kept as it came, also where no meaning is
//! known for it; who ended the call is computed whenever somebody looks, so a better table also
//! speaks of older calls. Pure.

use std::fmt;

use super::change::EndReason;
use crate::clock::Timestamp;

/// The version of the table; it grows whenever a row is added or means something else.
pub(crate) const VERSION: u32 = 1;

/// Who ended a call, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndVerdict {
    /// A deletion of ours did.
    EndedByUs,
    /// It ended, and not by a deletion of ours.
    EndedByOther,
    /// It broke off, or never came to be.
    Failed,
    /// What is known does not say.
    Unknown,
}

impl EndVerdict {
    /// Its word in answers.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::EndedByUs => "ended_by_us",
            Self::EndedByOther => "ended_by_other",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for EndVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What our deletions have to do with the end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OurPart {
    /// Nothing: none was sent, or none can have had an effect.
    None,
    /// Graph answered that it has taken one.
    Taken,
    /// One was sent, and its answer never came or said that Graph had failed.
    Possible,
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallEnd {
    pub(crate) at: Timestamp,
    pub(crate) reason: EndReason,
    pub(crate) ours: OurPart,
}

impl CallEnd {
    /// Who ended it.
    pub(crate) fn verdict(&self) -> EndVerdict {
        verdict(&self.reason, self.ours)
    }
}

/// Who ended a call that ended for `reason`, given our part in it.
///
/// Graph's code for a failure says that it failed, whatever we sent. A reason that names the app is
/// ours when a deletion of ours was taken or may have been; without one the app hung up by itself.
/// A reason that only says that the call is over is ours when a deletion was taken, because Graph
/// had the call until then, and so is an end without any reason, which is that of a call that Graph
/// was found to have no more. A reason that names somebody or something else stands, also after a
/// deletion that was taken: they were faster.
pub(crate) fn verdict(reason: &EndReason, ours: OurPart) -> EndVerdict {
    if is_failure(reason) {
        return EndVerdict::Failed;
    }
    match (meaning(reason).map(|meaning| meaning.cause), ours) {
        (Some(Cause::Failure), _) => EndVerdict::Failed,
        (Some(Cause::App), OurPart::Taken | OurPart::Possible)
        | (Some(Cause::Unsaid), OurPart::Taken) => EndVerdict::EndedByUs,
        (Some(Cause::App | Cause::Unsaid), OurPart::None)
        | (Some(Cause::Other | Cause::Service | Cause::Moved), _) => EndVerdict::EndedByOther,
        (None, OurPart::Taken) if says_nothing(reason) => EndVerdict::EndedByUs,
        (Some(Cause::Unsaid), OurPart::Possible) | (None, _) => EndVerdict::Unknown,
    }
}

/// What `reason` means; none when no table has it.
///
/// Where numbers and word are both there, the numbers win, unless they only say that the call is
/// over.
pub(crate) fn meaning(reason: &EndReason) -> Option<&'static Meaning> {
    let (by_number, by_word) = (by_number(reason), by_word(reason));
    match by_number {
        Some(meaning) if meaning.cause != Cause::Unsaid => Some(meaning),
        // What a word says of a success is not said of a failure.
        _ if is_failure(reason) => by_number,
        _ => by_word.filter(|word| word.cause != Cause::Unsaid).or(by_number).or(by_word),
    }
}

/// Code, subcode and meaning for people, each where it is known: `480/10076 The called party could not
/// be reached.`
pub(crate) fn in_words(reason: &EndReason) -> String {
    let numbers = [reason.code, reason.subcode].into_iter().flatten();
    let numbers = numbers.map(|number| number.to_string()).collect::<Vec<_>>().join("/");
    let meaning = meaning(reason).map(|meaning| meaning.text).unwrap_or_default();
    format!("{numbers} {meaning}").trim().to_owned()
}

/// What is known of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) cause: Cause,
    /// Graph's documents explain it; else it was only seen.
    pub(crate) documented: bool,
    /// For people, a sentence.
    pub(crate) text: &'static str,
}

/// Who or what a reason names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The app hung up: by our deletion, or by itself.
    App,
    /// Somebody else did, or the others left.
    Other,
    /// The service did, by a rule of its own.
    Service,
    /// The call was moved on, and with that our leg ended.
    Moved,
    /// It only says that the call is over.
    Unsaid,
    /// It broke off, or never came to be.
    Failure,
}

impl Cause {
    /// Its word in answers.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Other => "other",
            Self::Service => "service",
            Self::Moved => "moved",
            Self::Unsaid => "unsaid",
            Self::Failure => "failure",
        }
    }
}

fn is_failure(reason: &EndReason) -> bool {
    reason.code.is_some_and(|code| code >= 400)
}

fn says_nothing(reason: &EndReason) -> bool {
    reason.code.is_none() && reason.subcode.is_none() && reason.word.is_none()
}

fn by_number(reason: &EndReason) -> Option<&'static Meaning> {
    let Some(subcode) = reason.subcode else {
        let is_plain = matches!(reason.code, Some(200..=299));
        return is_plain.then_some(&PLAIN);
    };
    let code = reason.code.or(APP.contains(&subcode).then_some(200))?;
    NUMBERS
        .iter()
        .find(|(of, known, _)| (*of, *known) == (code, subcode))
        .map(|(_, _, meaning)| meaning)
}

fn by_word(reason: &EndReason) -> Option<&'static Meaning> {
    let word = reason.word.as_deref()?;
    let known = WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
    known.map(|(_, meaning)| meaning)
}

/// The subcodes of an app that hung up, which are recognised without their code as well.
const APP: [i64; 2] = [7000, 10550];

/// A success without a subcode.
const PLAIN: Meaning = told(Cause::Unsaid, "The call ended, and Graph gave no reason.");

/// Code, subcode and meaning. The documented ones are those of Graph's page on deleting a call.
const NUMBERS: [(i64, i64, Meaning); 37] = [
    (200, 4097, told(Cause::Other, "Another participant hung up.")),
    (200, 4521, told(Cause::Other, "The other side of a call between two hung up.")),
    (200, 5000, told(Cause::Other, "Another participant took us out of the conversation.")),
    (200, 5001, told(Cause::Unsaid, "The conversation is over.")),
    (200, 5002, told(Cause::Other, "Everybody else had left.")),
    (200, 5003, told(Cause::Unsaid, "The conversation is over.")),
    (200, 5007, told(Cause::Other, "Whoever had begun the group call left it.")),
    (200, 5010, told(Cause::Other, "Only one participant was left.")),
    (200, 5012, told(Cause::Service, "The list of participants that arrived was empty.")),
    (200, 5013, told(Cause::Service, "Nobody else joined the group call.")),
    (200, 5014, told(Cause::Service, "No host could be found for the group call.")),
    (200, 5020, told(Cause::Service, "Only hidden participants were on the list that arrived.")),
    (200, 5030, told(Cause::Service, "The time of the breakout room was up.")),
    (200, 5300, told(Cause::Other, "A participant was taken out of the conversation by another.")),
    (200, 5855, told(Cause::Service, "Nobody let the participant in from the lobby in time.")),
    (200, 7000, told(Cause::App, "The app hung up.")),
    (200, 7015, told(Cause::Moved, "The call was transferred.")),
    (200, 10550, told(Cause::App, "The app hung up.")),
    (200, 18503, told(Cause::Other, "The other side of a call between two left.")),
    (200, 540_000, told(Cause::Other, "The telephone user hung up.")),
    (200, 560_000, told(Cause::Other, "The telephone user hung up.")),
    (400, 2203, seen("Graph refused something, and explains no further.")),
    (408, 1106, told(Cause::Failure, "The call was accepted, and nobody confirmed it in time.")),
    (408, 8537, told(Cause::Failure, "The call was not kept alive, and Graph cleaned it up.")),
    (408, 10057, told(Cause::Failure, "The called devices sent no signal in time.")),
    (408, 13025, seen("Something took too long, and Graph explains no further.")),
    (410, 301_005, told(Cause::Failure, "The media found no way between the sides.")),
    (480, 10037, told(Cause::Failure, "The called party has no device to ring.")),
    (480, 10076, told(Cause::Failure, "The called party could not be reached.")),
    (480, 10134, told(Cause::Failure, "The call found no route and was rejected.")),
    (480, 10199, told(Cause::Failure, "The called user may not have private calls.")),
    (500, 1005, told(Cause::Failure, "Microsoft could not exchange media with the app.")),
    (500, 3002, seen("Graph failed, and explains no further.")),
    (500, 3003, seen("Graph failed, and explains no further.")),
    (500, 7106, seen("Graph failed, and explains no further.")),
    (500, 7117, seen("Graph failed, and explains no further.")),
    (500, 560_500, seen("Graph failed, and explains no further.")),
];

/// The words of `terminationReason`, from Graph's first betas; the last one is still sent.
const WORDS: [(&str, Meaning); 4] = [
    ("AppInitiated", told(Cause::App, "The app hung up.")),
    ("AppRedirected", told(Cause::Moved, "The app redirected the call.")),
    ("AppTransferred", told(Cause::Moved, "The app transferred the call.")),
    (
        "CallTerminated",
        Meaning { cause: Cause::Unsaid, documented: false, text: "The call was terminated." },
    ),
];

const fn told(cause: Cause, text: &'static str) -> Meaning {
    Meaning { cause, documented: true, text }
}

/// A failure that Graph's documents do not explain.
const fn seen(text: &'static str) -> Meaning {
    Meaning { cause: Cause::Failure, documented: false, text }
}

#[cfg(test)]
mod tests;
