//! Which call, or part of one, a path of Graph's side names.

use super::refusal::Refusal;

/// What a path names. `version` and `collection` are for the answer's context.
pub(super) struct Resource<'a> {
    pub(super) version: &'static str,
    pub(super) collection: String,
    /// The app of the path, where it names one.
    pub(super) app_id: Option<&'a str>,
    pub(super) call_id: &'a str,
    pub(super) part: Part<'a>,
}

/// The part of a call that is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Whole,
    Rejection,
    Roster,
    Invitation,
    Participant(&'a str),
    Operation(&'a str),
}

impl<'a> Resource<'a> {
    /// Finds it. Names are compared without case, ids are taken as they are.
    pub(super) fn find(path: &'a [String]) -> Result<Self, Refusal> {
        let folded: Vec<String> = path.iter().map(|segment| segment.to_lowercase()).collect();
        let folded: Vec<&str> = folded.iter().map(String::as_str).collect();
        let (version, collection, known) = match folded[..] {
            ["v1.0", "communications", "calls", ..] => ("v1.0", "communications/calls".into(), 3),
            ["beta", "communications", "calls", ..] => ("beta", "communications/calls".into(), 3),
            ["beta", "app", "calls", ..] => ("beta", "app/calls".into(), 3),
            ["beta", "applications", _, "calls", ..] => {
                ("beta", format!("applications('{}')/calls", path[2]), 4)
            }
            ["beta", "applications", _, ..] => return Err(Refusal::no_segment(path, 3)),
            ["v1.0" | "beta", "communications", ..] | ["beta", "app" | "applications", ..] => {
                return Err(Refusal::no_segment(path, 2));
            }
            ["v1.0" | "beta", ..] => return Err(Refusal::no_segment(path, 1)),
            _ => return Err(Refusal::no_version(path)),
        };
        let call_id = match path.get(known) {
            None => return Err(Refusal::no_segment(path, known - 1)),
            Some(id) if id.is_empty() => return Err(Refusal::no_segment(path, known)),
            Some(id) => id,
        };
        let part = match &folded[known + 1..] {
            [] => Part::Whole,
            ["reject"] => Part::Rejection,
            ["participants"] => Part::Roster,
            ["participants", ""] => return Err(Refusal::no_segment(path, known + 2)),
            ["participants", "invite"] => Part::Invitation,
            ["participants", _] => Part::Participant(&path[known + 2]),
            ["operations", id] if !id.is_empty() => Part::Operation(&path[known + 2]),
            ["participants", ..] | ["operations", _, _, ..] => {
                return Err(Refusal::no_segment(path, known + 3));
            }
            ["operations", ..] => return Err(Refusal::no_segment(path, known + 2)),
            _ => return Err(Refusal::no_segment(path, known + 1)),
        };
        let app_id = (known == 4).then(|| path[2].as_str());
        Ok(Self { version, collection, app_id, call_id, part })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::state::segments;
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Result<&str, &str>) {
        let segments = segments(path);
        let found = Resource::find(&segments);
        let found = found.as_ref().map(|resource| resource.call_id);
        assert_eq!(found.map_err(|refusal| refusal.message.as_str()), expected, "{path}");
    }

    #[test]
    fn every_path_form_names_a_call() {
        check("/v1.0/communications/calls/a", Ok("a"));
        check("/beta/communications/calls/a", Ok("a"));
        check("/beta/app/calls/a", Ok("a"));
        check("/beta/applications/app%2Fid/calls/a", Ok("a"));
        check("/V1.0/Communications/CALLS/aB%2f%3F", Ok("aB/?"));
    }

    #[test]
    fn a_part_of_a_call_is_named_behind_it() {
        for (path, part) in [
            ("/v1.0/communications/calls/a", Part::Whole),
            ("/beta/app/calls/a/Reject", Part::Rejection),
            ("/beta/applications/x/calls/a/participants", Part::Roster),
            ("/v1.0/communications/calls/a/PARTICIPANTS/aB%2F", Part::Participant("aB/")),
            ("/beta/app/calls/a/participants/Invite", Part::Invitation),
            ("/v1.0/communications/calls/a/operations/aB", Part::Operation("aB")),
        ] {
            let segments = segments(path);
            let found = Resource::find(&segments).ok().map(|resource| resource.part);
            assert_eq!(found, Some(part), "{path}");
        }
    }

    #[test]
    fn any_other_path_is_refused_with_the_segment_that_is_unknown() {
        for (path, segment) in [
            ("/v1.0/app/calls/a", "app"),
            ("/v1.0/applications/x/calls/a", "applications"),
            ("/v1.0//communications/calls/a", ""),
            ("/v1.0/communications/calls", "calls"),
            ("/v1.0/communications/calls/", ""),
            ("/v1.0/communications/calls/a/b", "b"),
            ("/v1.0/communications/calls/a/reject/b", "reject"),
            ("/v1.0/communications/calls/a/participants/", ""),
            ("/v1.0/communications/calls/a/participants/p/b", "b"),
            ("/v1.0/communications/calls/a/participants/invite/b", "b"),
            ("/v1.0/communications/calls/a/operations", "operations"),
            ("/v1.0/communications/calls/a/operations/", ""),
            ("/v1.0/communications/call/a", "call"),
            ("/beta/applications/x/call/a", "call"),
            ("/beta/app", "app"),
            ("/beta", "beta"),
        ] {
            check(path, Err(&format!("Resource not found for the segment '{segment}'.")));
        }
        check("/v2.0/communications/calls/a", Err("Invalid version: v2.0"));
        check("/", Err("Invalid version: "));
    }
}
