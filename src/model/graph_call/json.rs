//! JSON as it comes: damaged in places, its names in any case, its numbers as texts.
//!
//! Only what is damaged is lost; the rest of the delivery is read.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// An object of a body.
pub(crate) type Object = Map<String, Value>;

/// The longest identifier in bytes; a request to the legacy API cannot carry more either.
pub(crate) const LONGEST_ID: usize = 1024;

/// How deep values are read: deeper than anything that is understood, and less deep than the parser
/// goes.
const DEEPEST: usize = 100;

/// Reads a document. Of members that are there twice, the last one counts.
///
/// Half surrogates and bytes that are no UTF-8 become U+FFFD, numbers beyond every range and what is
/// nested deeper than [`DEEPEST`] become null. `None` when it is no JSON even then.
pub(crate) fn parse(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let repair = || serde_json::from_str(&repaired(&String::from_utf8_lossy(body))).ok();
    // Few bodies are damaged, and looking costs as much as reading.
    serde_json::from_slice(body).ok().or_else(repair)
}

/// A member by its name in any case, the exact spelling first; null says nothing.
pub(crate) fn member<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null()).or_else(|| {
        let mut others = object.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        others.find(|(_, value)| !value.is_null()).map(|(_, value)| value)
    })
}

/// A member that is an object.
pub(crate) fn object<'a>(object: &'a Object, name: &str) -> Option<&'a Object> {
    member(object, name)?.as_object()
}

/// The elements of a member that is an array, or the one that stands in its place.
pub(crate) fn elements<'a>(object: &'a Object, name: &str) -> &'a [Value] {
    member(object, name).map_or(&[], one_or_many)
}

/// The elements of an array, or what is none as its own only element.
pub(crate) fn one_or_many(value: &Value) -> &[Value] {
    match value {
        Value::Array(elements) => elements,
        other => std::slice::from_ref(other),
    }
}

/// The last word of `@odata.type`, such as `#microsoft.graph.call`, in lower case.
pub(crate) fn type_name(data: &Object) -> String {
    let name = member(data, "@odata.type").and_then(text).unwrap_or_default();
    name.rsplit(['.', '#']).next().unwrap_or_default().to_ascii_lowercase()
}

/// A text that says something, without the blanks around it; a whole number may stand in its place,
/// but no other one, which was rounded when it was read.
pub(crate) fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(Cow::Borrowed(text.trim())),
        Value::Number(number) if !number.is_f64() => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// A member that is compared to the letter. One that was cut or repaired would be another one, so
/// there is none when it is too long or damaged.
pub(crate) fn identifier(object: &Object, name: &str) -> Option<String> {
    let text = text(member(object, name)?)?;
    is_identifier(&text).then(|| text.into_owned())
}

/// Whether `text` can identify something.
pub(crate) fn is_identifier(text: &str) -> bool {
    let is_damage = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    !text.is_empty() && text.len() <= LONGEST_ID && !text.contains(is_damage)
}

/// A member that people read: in one line, and cut after `longest` characters.
pub(crate) fn line(object: &Object, name: &str, longest: usize) -> Option<String> {
    let text = text(member(object, name)?)?;
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    let line: String = text.chars().map(blank).take(longest).collect();
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// A member that is a whole number, however it is written; none when it is out of range.
pub(crate) fn integer(object: &Object, name: &str) -> Option<i64> {
    let value = member(object, name)?;
    value.as_i64().or_else(|| whole(value.as_f64()?)).or_else(|| {
        let text = text(value)?;
        text.parse().ok().or_else(|| whole(text.parse().ok()?))
    })
}

/// A float that is a whole number and was not rounded to it.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    // `{:.0}` of a whole number has its digits and nothing else.
    (number.fract() == 0.0 && number.abs() < EXACT).then(|| format!("{number:.0}").parse().ok())?
}

/// `text` with what the parser refuses, though it is well-formed, replaced.
fn repaired(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut in_string = false;
    let mut depth: usize = 0;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, replacement) = match first {
            '\\' if in_string => escape(rest),
            '-' | '0'..='9' if !in_string => number(rest),
            '[' | '{' if !in_string && depth == DEEPEST => (nested(rest), Some("null")),
            _ => (first.len_utf8(), None),
        };
        match first {
            '[' | '{' if !in_string && replacement.is_none() => depth += 1,
            ']' | '}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        in_string ^= first == '"';
        let (token, after) = rest.split_at(length);
        result.push_str(replacement.unwrap_or(token));
        rest = after;
    }
    result
}

/// The length of the array or object at the beginning; of all that is there when it does not end.
fn nested(text: &str) -> usize {
    let mut depth: usize = 0;
    let mut in_string = false;
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// The length of the escape at the beginning, and what replaces it when it is half a surrogate.
fn escape(text: &str) -> (usize, Option<&'static str>) {
    match unit(text) {
        Some(0xd800..=0xdbff) => match unit(&text[6..]) {
            Some(0xdc00..=0xdfff) => (12, None),
            _ => (6, Some("\\ufffd")),
        },
        Some(0xdc00..=0xdfff) => (6, Some("\\ufffd")),
        Some(_) => (6, None),
        None => (1 + text[1..].chars().next().map_or(0, char::len_utf8), None),
    }
}

/// The UTF-16 unit that an escape stands for: `\u` and four hexadecimal digits.
fn unit(text: &str) -> Option<u16> {
    let digits = text.get(..6)?.strip_prefix("\\u")?;
    let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hexadecimal.then(|| u16::from_str_radix(digits, 16).ok())?
}

/// The length of the number at the beginning, and what replaces it when no float can hold it.
fn number(text: &str) -> (usize, Option<&'static str>) {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let length = text.bytes().take_while(|byte| is_part(byte)).count();
    let is_infinite = text[..length].parse::<f64>().is_ok_and(f64::is_infinite);
    (length, is_infinite.then_some("null"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &[u8], expected: &str) {
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(parse(body), Some(expected), "{}", String::from_utf8_lossy(body));
    }

    #[test]
    fn half_a_surrogate_is_replaced_and_a_whole_one_is_kept() {
        check(br#"{"a":"x\ud83dy"}"#, "{\"a\":\"x\u{fffd}y\"}");
        check(br#"{"a":"\ude00"}"#, "{\"a\":\"\u{fffd}\"}");
        check(br#"["\ud83d","\ud83d\ude00"]"#, "[\"\u{fffd}\",\"\u{1f600}\"]");
        check(br#"["\ud83d\ud83d\ude00","\\ud83d"]"#, "[\"\u{fffd}\u{1f600}\",\"\\\\ud83d\"]");
        check(br#"["\"\ud83d\"", 1]"#, "[\"\\\"\u{fffd}\\\"\",1]");
        check(br#"{"\udfff":2}"#, "{\"\u{fffd}\":2}");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        check(
            b"[\"a\xffb\",\"\xe2\x82\",\"\\ud800\"]",
            "[\"a\u{fffd}b\",\"\u{fffd}\",\"\u{fffd}\"]",
        );
    }

    #[test]
    fn a_number_beyond_every_range_is_null() {
        check(
            br#"{"a":1e999,"b":-1E+999,"c":"1e999","d":7}"#,
            r#"{"a":null,"b":null,"c":"1e999","d":7}"#,
        );
        check(format!("[{}]", "9".repeat(400)).as_bytes(), "[null]");
    }

    #[test]
    fn what_is_too_deep_is_null_and_the_rest_is_read() {
        let deep = |depth: usize| {
            let (open, close) = (r#"{"\"[":["x\"]}","#.repeat(depth), "]}".repeat(depth));
            format!(r#"{{"bot":{open}1{close},"state":["hold"]}}"#)
        };
        for depth in [1, 40, 49, 50, 51, 63, 64, 200, 20_000] {
            let document = parse(deep(depth).as_bytes()).unwrap();
            assert_eq!(document["state"][0], "hold", "{depth}");
        }
        let lists = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        for depth in [DEEPEST, 127, 128, 100_000] {
            assert!(parse(lists(depth).as_bytes()).is_some(), "{depth}");
        }
        assert_eq!(parse("[".repeat(100_000).as_bytes()), None);
        assert_eq!(parse("[{".repeat(100_000).as_bytes()), None);
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for body in ["", " ", "{", "nul", "[1,]", "{\"a\":\"\\ud83d\"", "[1e999", "\"\\"] {
            assert_eq!(parse(body.as_bytes()), None, "{body}");
        }
        assert_eq!(parse(b"\xff\xfe{\x00}\x00"), None);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_document() {
        check("\u{feff}{\"a\":1}".as_bytes(), r#"{"a":1}"#);
    }

    #[test]
    fn a_name_is_found_in_any_case_and_null_says_nothing() {
        let Some(Value::Object(document)) =
            parse(br#"{"State":"1","state":null,"CODE":2,"code":3,"x":1,"x":4}"#)
        else {
            unreachable!("it is an object")
        };
        assert_eq!(member(&document, "state").unwrap(), "1");
        assert_eq!(member(&document, "code").unwrap(), 3);
        assert_eq!(member(&document, "x").unwrap(), 4);
        assert_eq!(member(&document, "absent"), None);
    }

    #[test]
    fn a_whole_number_is_read_however_it_is_written() {
        let read = |value: &str| {
            let document = parse(format!(r#"{{"n":{value}}}"#).as_bytes()).unwrap();
            integer(document.as_object().unwrap(), "n")
        };
        for (value, expected) in [
            ("5001", Some(5001)),
            ("\" 5001 \"", Some(5001)),
            ("5001.0", Some(5001)),
            ("\"5001.0\"", Some(5001)),
            ("-1", Some(-1)),
            ("-0.0", Some(0)),
            ("0.5", None),
            ("1e3", Some(1000)),
            ("1e99", None),
            ("99999999999999999999", None),
            ("\"9007199254740993.5\"", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("\"\"", None),
            ("\"inf\"", None),
            ("\"nan\"", None),
            ("true", None),
            ("[1]", None),
            ("null", None),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
    }

    #[test]
    fn a_line_for_people_is_cut_and_an_identifier_never() {
        let document = Value::from_iter([
            ("name", format!(" a\nb\u{0}{}", "\u{e4}".repeat(300))),
            ("blank", "\u{1}\u{2}".to_owned()),
            ("long", "x".repeat(LONGEST_ID + 1)),
            ("damaged", "a\u{fffd}".to_owned()),
            ("id", format!(" {} ", "x".repeat(LONGEST_ID))),
        ]);
        let rounded: Value =
            serde_json::from_str(r#"{"id":1.5e20,"large":18446744073709551616}"#).unwrap();
        assert_eq!(identifier(rounded.as_object().unwrap(), "id"), None);
        assert_eq!(identifier(rounded.as_object().unwrap(), "large"), None);
        let document = document.as_object().unwrap();
        let name = line(document, "name", 256).unwrap();
        assert_eq!((name.chars().count(), &name[..4]), (256, "a b "));
        assert_eq!(line(document, "blank", 256), None);
        assert_eq!(identifier(document, "long"), None);
        assert_eq!(identifier(document, "damaged"), None);
        assert_eq!(identifier(document, "id").unwrap().len(), LONGEST_ID);
    }
}
