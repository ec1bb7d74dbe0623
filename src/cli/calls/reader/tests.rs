//! Tables of lines, right and wrong, in both formats.

use proptest::prelude::*;

use super::*;

/// Each line as its number and its fields, or what is wrong with it.
fn lines(format: Format, text: impl AsRef<[u8]>) -> Vec<String> {
    let mut lines = Vec::new();
    read(text.as_ref(), format, &mut |number, fields| {
        lines.push(match fields {
            Ok(fields) => format!("{number}: {}", describe(&fields)),
            Err(problem) => format!("{number}! {problem}"),
        });
        true
    })
    .unwrap();
    lines
}

fn describe(fields: &Fields<'_>) -> String {
    let mut parts: Vec<String> = Field::ALL
        .iter()
        .filter_map(|(field, name)| Some(format!("{name}={}", fields.get(*field)?)))
        .collect();
    parts.extend(fields.targets.iter().map(|target| format!("target={target}")));
    parts.join(" ")
}

#[test]
fn the_names_stand_in_the_order_of_the_variants() {
    for (index, (field, _)) in Field::ALL.into_iter().enumerate() {
        assert_eq!(field as usize, index);
    }
}

#[test]
fn blank_lines_byte_order_marks_and_line_ends_of_either_kind_are_tolerated() {
    let json = "\u{feff}{\"graphCallID\":\"a\"}\r\n\r\n  \n{\"graphCallID\":\"b\"}";
    assert_eq!(lines(Format::Jsonl, json), ["1: graphCallID=a", "4: graphCallID=b"]);
    for csv in [
        "\u{feff}graphCallID,subject\r\n\r\n  \r\na,\r\n\"b\",\"x\"\r\n",
        "\u{feff}graphCallID,subject\n\n  \na,\n\"b\",\"x\"",
        "\r\n\u{20}\r\ngraphCallID,subject\na,\r\nb,x\n\n\n",
    ] {
        assert_eq!(
            lines(Format::Csv, csv),
            ["4: graphCallID=a", "5: graphCallID=b subject=x"],
            "{csv:?}"
        );
    }
    assert_eq!(lines(Format::Csv, "\n\n"), [""; 0]);
    assert_eq!(lines(Format::Jsonl, ""), [""; 0]);
}

#[test]
fn a_csv_record_is_numbered_by_the_line_it_begins_on() {
    let csv = "graphCallID,subject\na,\"two\nlines\"\nb,\"\n\n\"\r\nc,x,y\n";
    assert_eq!(
        lines(Format::Csv, csv),
        [
            "2: graphCallID=a subject=two\nlines",
            "4: graphCallID=b subject=\n\n",
            "7! expected 2 columns as in the first line, found 3",
        ]
    );
}

#[test]
fn a_quote_that_is_not_closed_is_named_by_the_line_it_opens_on() {
    for end in ["", "\n", "\nc,z", "\r\n\nc,\"\"z\r\n"] {
        assert_eq!(
            lines(Format::Csv, format!("graphCallID,subject\n\na,\"x\ny\"\nb,\"q{end}")),
            ["3: graphCallID=a subject=x\ny", "5! a quote is not closed"],
            "{end:?}"
        );
    }
}

#[test]
fn what_is_empty_is_absent() {
    let json = r#"{"graphCallID":"a","source":null,"targets":null,"subject":""}"#;
    assert_eq!(lines(Format::Jsonl, json), ["1: graphCallID=a"]);
    assert_eq!(lines(Format::Csv, "graphCallID,source,targets\na,,\n"), ["2: graphCallID=a"]);
}

#[test]
fn a_parameter_behind_a_semicolon_is_part_of_its_number() {
    for (cell, targets) in [
        ("8856", "target=8856"),
        ("8856;8857", "target=8856 target=8857"),
        ("tel:+4930;ext=12;8857", "target=tel:+4930;ext=12 target=8857"),
        ("sip:+49@x;user=phone;ext=1;;8857;", "target=sip:+49@x;user=phone;ext=1 target=8857"),
        ("ext=1;8857", "target=ext=1 target=8857"),
        (" ; ", ""),
        ("=;8857", "target== target=8857"),
    ] {
        let found = lines(Format::Csv, format!("graphCallID,targets\na,{cell}\n"));
        assert_eq!(found[0], format!("2: graphCallID=a {targets}").trim_end(), "{cell}");
    }
}

#[test]
fn a_line_of_json_that_is_wrong_is_named_and_the_next_one_is_read() {
    let long = format!(r#"{{"graphCallID":"{}"}}"#, "x".repeat(3 * LONGEST_LINE));
    for (line, problem) in [
        ("[]", "expected one JSON object on the line, { to }"),
        ("5", "expected one JSON object on the line, { to }"),
        (r#"{"callid":"a"}"#, "`callid`: unknown field; did you mean callID?"),
        (r#"{"foo":"a"}"#, "`foo`: unknown field"),
        (r#"{"source":8856}"#, "`source`: expected a text in quotes"),
        (r#"{"source":["8856"]}"#, "`source`: expected a text in quotes"),
        (r#"{"targets":"8856"}"#, "`targets`: expected a list of texts"),
        (r#"{"targets":[1]}"#, "`targets`: expected a list of texts"),
        (r#"{"state":"hold","state":"hold"}"#, "`state`: is there twice"),
        (r#"{"graphCallID":"a""#, "no valid JSON at column 18: EOF while parsing an object"),
        (r#"{"graphCallID":"a"} x"#, "no valid JSON at column 21: trailing characters"),
        (&long, "longer than 1048576 bytes"),
    ] {
        let text = format!("{line}\n{{\"graphCallID\":\"b\"}}\n");
        assert_eq!(lines(Format::Jsonl, &text), [&format!("1! {problem}"), "2: graphCallID=b"]);
    }
    assert_eq!(
        lines(Format::Jsonl, b"{\"graphCallID\":\"\xff\"}\n{\"graphCallID\":\"b\"}"),
        ["1! not valid UTF-8", "2: graphCallID=b"]
    );
}

#[test]
fn without_a_right_header_nothing_of_a_csv_file_is_read() {
    let hint = "(the first line names the columns)";
    for (header, problem) in [
        ("graphCallID,foo", format!("`foo`: unknown field {hint}")),
        ("graphcallid", format!("`graphcallid`: unknown field; did you mean graphCallID? {hint}")),
        ("graphCallID,state,state", "`state`: two columns have this name".to_owned()),
        ("callID,state", format!("no column is called graphCallID {hint}")),
        ("graphCallID,", format!("``: unknown field {hint}")),
    ] {
        assert_eq!(lines(Format::Csv, format!("{header}\na,b\n")), [format!("1! {problem}")]);
    }
}

#[test]
fn a_csv_line_that_is_no_text_is_named_and_the_next_one_is_read() {
    assert_eq!(
        lines(Format::Csv, b"graphCallID\n\xff\nb\n"),
        ["2! not valid UTF-8", "3: graphCallID=b"]
    );
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(text in "(?s)[{}\\[\\]\",:;\r\na-c0-9=\u{feff}\\\\ ]{0,60}") {
        lines(Format::Jsonl, &text);
        lines(Format::Csv, format!("graphCallID,targets\n{text}"));
        lines(Format::Csv, text);
    }

    #[test]
    fn every_row_of_a_csv_file_is_numbered_by_its_own_line(
        gaps in proptest::collection::vec(0..3_usize, 1..8),
        end in prop_oneof!["\n", "\r\n"],
    ) {
        let mut text = format!("graphCallID{end}");
        let mut line = 2;
        let mut expected = Vec::new();
        for gap in gaps {
            text.push_str(&end.repeat(gap));
            line += gap;
            text.extend(["c", &line.to_string(), end.as_str()]);
            expected.push(format!("{line}: graphCallID=c{line}"));
            line += 1;
        }
        prop_assert_eq!(lines(Format::Csv, text), expected);
    }
}
