use super::*;

fn nested(open: &str, close: &str, levels: usize) -> String {
    format!("{}{}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn nesting_is_bounded_for_every_bracket() {
    for (open, close) in [("{a", "}"), ("[", "]"), ("{a:", "}")] {
        let within = format!("{{a(b:{})}}", nested(open, close, MAX_NESTING - 2));
        let past = format!("{{a(b:{})}}", nested(open, close, MAX_NESTING - 1));
        assert_eq!(check(&within), Ok(()), "{open}");
        assert_eq!(check(&past), Err(TooMuch::Nesting), "{open}");
    }
}

#[test]
fn brackets_in_strings_and_comments_are_text() {
    let brackets = "{[(".repeat(100);
    for text in [
        format!("{{a(b:\"{brackets}\")}}"),
        format!("{{a(b:\"\\\"{brackets}\")}}"),
        format!("{{a(b:\"\"\"{brackets}\n\\\"\"\"{brackets}\"\"\")}}"),
        format!("# {brackets}\n{{a}}"),
    ] {
        assert_eq!(check(&text), Ok(()), "{text}");
    }
}

#[test]
fn a_string_left_open_hides_nothing_on_the_next_line() {
    let text = format!("{{a(b:\"\n{}", "[".repeat(100));
    assert_eq!(check(&text), Err(TooMuch::Nesting));
}

#[test]
fn tokens_are_bounded() {
    let fields = |n| format!("{{{}}}", "a ".repeat(n));
    assert_eq!(check(&fields(MAX_TOKENS - 2)), Ok(()));
    assert_eq!(check(&fields(MAX_TOKENS - 1)), Err(TooMuch::Tokens));
}

#[test]
fn aliases_are_bounded_and_arguments_are_not_aliases() {
    let aliases = |n: usize| format!("{{{}}}", (0..n).map(|i| format!("a{i}:b ")).collect::<String>());
    assert_eq!(check(&aliases(MAX_ALIASES)), Ok(()));
    assert_eq!(check(&aliases(MAX_ALIASES + 1)), Err(TooMuch::Aliases));
    let arguments: String = (0..200).map(|i| format!("a{i}:{{b:1}} ")).collect();
    assert_eq!(check(&format!("{{a({arguments})}}")), Ok(()));
}

#[test]
fn directives_are_bounded() {
    let directives = |n| format!("{{__typename {}}}", "@skip(if:true)".repeat(n));
    assert_eq!(check(&directives(MAX_DIRECTIVES)), Ok(()));
    assert_eq!(check(&directives(MAX_DIRECTIVES + 1)), Err(TooMuch::Directives));
}

/// Each fragment spreads the next one twice: 2^levels spreads from a short text.
fn doubling(levels: usize) -> String {
    let mut text = "{...F0}".to_owned();
    for level in 0..levels {
        let next = level + 1;
        text += &format!("fragment F{level} on Query{{...F{next} ...F{next}}}");
    }
    text + &format!("fragment F{levels} on Query{{__typename}}")
}

#[test]
fn fragments_that_expand_exponentially_are_refused_at_once() {
    assert_eq!(check(&doubling(6)), Ok(()));
    assert_eq!(check(&doubling(12)), Err(TooMuch::Spreads));
    assert_eq!(check(&doubling(100)), Err(TooMuch::Spreads));
    let unreached = doubling(40).replacen("{...F0}", "{a}", 1);
    assert_eq!(check(&unreached), Err(TooMuch::Spreads));
}

#[test]
fn spreads_are_bounded_exactly() {
    let spreads = |n| format!("{{{}}}fragment F on Query{{a}}", "...F ".repeat(n));
    // 2,000 tokens allow at most 998 spreads, so the limit is reached through two levels.
    let twice = |n| {
        format!(
            "{{{}}}fragment F on Query{{...G}}fragment G on Query{{a}}",
            "...F ".repeat(n)
        )
    };
    assert_eq!(check(&spreads(990)), Ok(()));
    assert_eq!(check(&twice(499)), Ok(()));
    assert_eq!(check(&twice(501)), Err(TooMuch::Spreads));
}

#[test]
fn cycles_end() {
    assert_eq!(check("{...A}fragment A on Q{...B}fragment B on Q{...A}"), Ok(()));
    assert_eq!(check("fragment A on Q{...A}"), Ok(()));
}

#[test]
fn on_begins_an_inline_fragment_and_no_text_causes_a_panic() {
    assert_eq!(check("{... on Query{a} ...{b} ... @include(if:true){c}}"), Ok(()));
    for text in [
        "",
        "\u{feff}{a}",
        "é{ß}",
        "}}}}",
        "...",
        "\"",
        "\"\"\"",
        "\"\\",
        "@",
        ":",
        "fragment",
        "fragment {",
    ] {
        assert_eq!(check(text), Ok(()), "{text:?}");
    }
}

#[test]
fn the_standard_introspection_query_passes() {
    let introspection = "query IntrospectionQuery{__schema{queryType{name}types{...FullType}directives{name args{...InputValue}}}}
        fragment FullType on __Type{kind name fields(includeDeprecated:true){name args{...InputValue}type{...TypeRef}}}
        fragment InputValue on __InputValue{name type{...TypeRef}defaultValue}
        fragment TypeRef on __Type{kind name ofType{kind name ofType{kind name ofType{kind name ofType{kind name}}}}}";
    assert_eq!(check(introspection), Ok(()));
}

/// Found by variations of the fuzz corpora: the result depended on the order of a hash map, which changes every time.
#[test]
fn cycles_of_fragments_always_have_the_same_result() {
    let parts: Vec<String> = (0..9)
        .map(|n| format!("fragment f{n} on A {{ ...f{} ...f{} }}", (n + 1) % 9, (n + 4) % 9))
        .collect();
    let document = format!("{{ ...f0 }} {}", parts.join(" "));
    let verdict = check(&document);
    assert!((0..100).all(|_| check(&document) == verdict));
}
