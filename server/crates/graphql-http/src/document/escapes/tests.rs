use async_graphql::parser::parse_query;
use async_graphql::parser::types::{DocumentOperations, Selection};
use async_graphql::{Positioned, Value};

use super::*;

/// The values of the arguments `s` of all fields, and where each field is.
fn read(document: &str) -> Vec<(String, Pos)> {
    let parsed = parse_query(&*readable(document)).unwrap_or_else(|error| panic!("{document}: {error}"));
    let DocumentOperations::Single(operation) = parsed.operations else {
        panic!("one operation");
    };
    let field = |selection: &Positioned<Selection>| {
        let Selection::Field(field) = &selection.node else {
            panic!("a field");
        };
        let value = field.node.get_argument("s").unwrap();
        let Some(Value::String(text)) = value.node.clone().into_const() else {
            panic!("a string");
        };
        (text, selection.pos)
    };
    operation
        .node
        .selection_set
        .node
        .items
        .iter()
        .map(field)
        .collect()
}

fn string(literal: &str) -> String {
    read(&format!("{{ a(s: {literal}) }}")).remove(0).0
}

#[test]
fn a_pair_of_escapes_is_one_character_and_braces_are_read() {
    for (literal, expected) in [
        (r#""\ud83d\ude00""#, "😀"),
        (r#""\uD83D\uDE00""#, "😀"),
        (r#""\u{1F600}""#, "😀"),
        (r#""\u{1f600}\u{1F600}""#, "😀😀"),
        (r#""a\ud83d\ude00b\u{e4}\u00e4""#, "a😀bää"),
        (r#""\ud800\udc00\udbff\udfff""#, "\u{10000}\u{10ffff}"),
        (r#""\u{0}\u{A}\u{D}\u{22}\u{5C}\u{9}""#, "\0\n\r\"\\\t"),
        (r#""\u{10FFFF}\u{D7FF}\u{E000}""#, "\u{10ffff}\u{d7ff}\u{e000}"),
        (r#""\u{000000000000000000041}""#, "A"),
        (r#""\\u{41}""#, "\\u{41}"),
        (r#""\\\u{41}""#, "\\A"),
        (r#""\"\u{41}\"""#, "\"A\""),
        (r#""\u{FEFF}\u{2028}""#, "\u{feff}\u{2028}"),
        (r#""😀\u{1F600}""#, "😀😀"),
        (r#""\n\b\u2a1A""#, "\n\u{8}\u{2a1a}"),
    ] {
        assert_eq!(string(literal), expected, "{literal}");
    }
}

#[test]
fn block_strings_and_comments_have_no_escapes() {
    for document in [
        "{ a(s: \"\"\"\\ud83d\\ude00 \\u{1F600}\"\"\") }",
        "{ a(s: \"x\") } # \"\\u{1F600}\"",
        "# it's \"\\ud83d\\ude00\n{ a(s: \"x\") }",
        "{ a(s: \"\"\"\\\"\"\" \"\\u{41}\" \"\"\") }",
    ] {
        assert_eq!(readable(document), document);
    }
    assert_eq!(string("\"\"\"\\u{41}\"\"\""), "\\u{41}");
}

#[test]
fn every_token_keeps_its_line_and_column() {
    for (new, old) in [
        (r#""\ud83d\ude00""#, r#""abcdefghijkl""#),
        (r#""\u{1F600}\u{22}""#, r#""abcdefghijklmno""#),
        (r#""ä\u{A}""#, r#""äabcde""#),
    ] {
        let text =
            |literal: &str| format!("{{\n a(s: {literal}) b(s: {literal}), c(s:{literal})\n d(s: \"\") }}");
        let places = |literal: &str| {
            read(&text(literal))
                .into_iter()
                .map(|(_, pos)| pos)
                .collect::<Vec<_>>()
        };
        assert_eq!(places(new), places(old), "{new}");
    }
}

#[test]
fn a_faulty_escape_is_named_with_its_place() {
    for (literal, message) in [
        (r#""\ud83d""#, r"column 8: \ud83d is half of a surrogate pair"),
        (
            r#""ab\ud83dcd""#,
            r"column 10: \ud83d is half of a surrogate pair",
        ),
        (
            r#""\ude00\ud83d""#,
            r"column 8: \ude00 is half of a surrogate pair",
        ),
        (
            r#""\ud83d\u0041""#,
            r"column 8: \ud83d is half of a surrogate pair",
        ),
        (r#""\ud83d\ude""#, r"column 8: \ud83d is half of a surrogate pair"),
        (
            r#""\ud83d\u{DE00}""#,
            r"column 8: \ud83d is half of a surrogate pair",
        ),
        (
            r#""\u{D83D}\u{DE00}""#,
            r"column 8: \u{D83D} is half of a surrogate pair",
        ),
        (r#""\u{DFFF}""#, r"column 8: \u{DFFF} is half of a surrogate pair"),
        (
            r#""\u{110000}""#,
            r"column 8: \u{110000} is past the last character",
        ),
        (
            r#""\u{FFFFFFFFF}""#,
            r"column 8: \u{FFFFFFFFF is past the last character",
        ),
        (r#""\u{}""#, r"column 8: \u{} needs four hexadecimal digits"),
        (r#""\u{41""#, r"column 8: \u{41 needs four hexadecimal digits"),
        (r#""\u{4g}""#, r"column 8: \u{4g} needs four hexadecimal digits"),
        (r#""\u{ 41}""#, r"column 8: \u{ needs four hexadecimal digits"),
        (r#""\u12""#, r"column 8: \u12 needs four hexadecimal digits"),
        (
            r#""\u{1F600}\u+041""#,
            r"column 17: \u needs four hexadecimal digits",
        ),
        (r#""\x41""#, r"column 8: \x41 is not an escape"),
        (r#""\u00e4\ä""#, r"column 14: \ä is not an escape"),
    ] {
        let document = format!("{{ a(s:{literal}) }}");
        assert!(parse_query(&*readable(&document)).is_err(), "{literal}");
        let error = fault(&document).unwrap_or_else(|| panic!("{literal}"));
        assert!(
            error.message.starts_with("Syntax error at line 1, "),
            "{}",
            error.message
        );
        assert!(error.message.contains(message), "{} {message}", error.message);
    }
    let second_line = fault("{\n a(s: \"\", t: \"\\ud83d\") }").unwrap();
    assert_eq!(second_line.locations, [Pos { line: 2, column: 15 }]);
}

#[test]
fn a_document_without_faulty_escapes_has_no_fault() {
    for document in [
        "",
        "{ a",
        r#"{ a(s: "\ud83d\ude00\u{41}\n") }"#,
        r#"{ a(s: ""#,
        "\"\"\"\\x",
    ] {
        assert!(fault(document).is_none(), "{document}");
    }
    // Documents that end in the middle of an escape.
    for document in [
        r#"{ a(s: "\"#,
        r#"{ a(s: "\u"#,
        r#"{ a(s: "\u{"#,
        r#"{ a(s: "\ud83d\"#,
    ] {
        assert_eq!(readable(document), document);
        assert!(fault(document).is_some(), "{document}");
    }
}
