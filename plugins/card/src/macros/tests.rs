//! Tests of the macros of cards.

use super::*;

fn macros<'a>(user: &'a str, turn: &str) -> Macros<'a> {
    Macros::new("Elara", user, Seeds::new(turn, "conversation"))
}

fn expanded(text: &str) -> String {
    macros("Ada", "turn").expand("card.first_mes", text)
}

#[test]
fn placeholders_are_replaced_in_any_case_and_only_once() {
    let table = [
        ("{{char}} greets {{user}}", "Elara greets Ada"),
        ("{{Char}}{{USER}}{{ user }}", "ElaraAdaAda"),
        ("<BOT>, <bot>, <CHAR> and <User>", "Elara, Elara, Elara and Ada"),
        ("{{{user}}}", "{Ada}"),
        ("{{bot}}{{newline}}{{noop}}.", "Elara\n."),
        ("{{// not for you }}shown", "shown"),
        ("<b>bold</b> a < b { } }} {a: b, c::d}", "<b>bold</b> a < b { } }} {a: b, c::d}"),
        ("{{user", "{{user"),
        ("{{ {{user}}", "{{ Ada"),
        ("größer als {{user}} 🌒", "größer als Ada 🌒"),
        ("a {{original}}b", "a b"),
    ];
    for (text, wanted) in table {
        assert_eq!(expanded(text), wanted, "{text}");
    }
    assert_eq!(macros("{{char}}", "turn").expand("x", "{{user}} {{reverse:{{user}}}}"), "{{char}} }}rahc{{");
}

#[test]
fn the_macros_of_version_3_are_replaced() {
    let one_of = |text: &str, wanted: &[&str]| {
        let said = expanded(text);
        assert!(wanted.contains(&said.as_str()), "{text}: {said}");
    };
    one_of("{{random:Evening,Night}}, {{user}}", &["Evening, Ada", "Night, Ada"]);
    one_of("{{Random: a , b }}", &["a", "b"]);
    one_of("{{random::a, b::c}}", &["a, b", "c"]);
    one_of(r"{{pick:red\, or so,blue}}", &["red, or so", "blue"]);
    one_of("{{roll:d6}}", &["1", "2", "3", "4", "5", "6"]);
    one_of("{{roll:2}}", &["1", "2"]);
    one_of("{{roll 1d2+10}}", &["11", "12"]);
    for (text, wanted) in [
        ("{{reverse:olleh}}", "hello"),
        ("{{comment:to whoever edits this}}{{hidden_key:storm}}.", "."),
        ("{{reverse::olleh}}{{reverse:}}", "hello"),
        ("{{Roll: 2 D 1 + 3 }}{{roll::1d1-1}}", "50"),
        ("{{HIDDEN_KEY: a }}{{Comment: b }}{{ // c }}{{//}}.", "."),
        ("{{random:only}}", "only"),
        ("{{pick:}}{{random:}}{{random::}}.", "."),
        ("{{random:a,a}}", "a"),
        ("{{roll:1}}", "1"),
    ] {
        assert_eq!(expanded(text), wanted, "{text}");
    }
}

#[test]
fn an_inner_macro_comes_first_and_a_note_is_gone_as_a_whole() {
    for (text, wanted) in [
        ("{{random:{{user}},{{user}}}}, come in.", "Ada, come in."),
        ("{{// ask {{user}} first }}Come in.", "Come in."),
        ("{{comment: {{random:a,b}} }}Come in.", "Come in."),
        ("{{reverse:{{reverse:{{user}}}}}}", "Ada"),
        ("{{random:{{reverse:cba}},abc}}", "abc"),
    ] {
        assert_eq!(expanded(text), wanted, "{text}");
    }
}

#[test]
fn a_comma_in_a_name_separates_nothing() {
    for turn in ["1", "2", "3", "4", "5"] {
        assert_eq!(macros("Ada, Countess", turn).expand("x", "{{random:{{user}}}}"), "Ada, Countess");
    }
}

#[test]
fn a_pick_stays_and_a_random_choice_changes_from_turn_to_turn() {
    let said = |text: &str| {
        let turns = (0..50).map(|turn| macros("Ada", &turn.to_string()).expand("x", text));
        turns.collect::<BTreeSet<_>>()
    };
    assert_eq!(said("{{pick:a,b,c}} {{pick:a,b,c}}").len(), 1);
    assert_eq!(said("{{random:a,b,c}}").len(), 3);
    assert_eq!(said("{{roll:d3}}").len(), 3);
}

#[test]
fn only_what_changes_from_turn_to_turn_varies() {
    let macros = macros("Ada", "turn");
    macros.expand("x", "{{user}} {{pick:a,b}}");
    assert!(!macros.take_varies());
    macros.expand("x", "{{random:a,b}}");
    assert!(macros.take_varies() && !macros.take_varies());
}

#[test]
fn a_macro_that_is_not_known_is_removed_and_noted() {
    let macros = macros("Ada", "turn");
    assert_eq!(macros.expand("x", "It is {{time_UTC+1}}{{getvar::x}}{{}}{{roll:0}}{{char:x}}."), "It is .");
    let unknown = ["", "getvar", "time_UTC+1"].map(|name| Removed::Unknown(name.into()));
    let wrong = ["char", "roll"].map(|name| Removed::WrongArgument(name.into()));
    assert_eq!(macros.removed(), [&unknown[..], &wrong[..]].concat());
}

#[test]
fn the_original_is_inserted_once_expanded() {
    let macros = macros("Ada", "turn");
    let text = macros.expand_with_original("x", "{{Original}} Be {{char}}.", "Help {{user}}.");
    assert_eq!(text, "Help {{user}}. Be Elara.");
}

/// Texts whose time would grow with the square of their length, were they not read once.
#[test]
fn hostile_texts_stay_within_bounds() {
    let size = 900_000;
    let repeated = |text: &str| text.repeat(size / text.len());
    assert_eq!(expanded(&repeated("{{ ")).len(), size);
    assert_eq!(expanded(&repeated("{")).len(), size);
    assert_eq!(expanded(&repeated("<")).len(), size);
    assert!(expanded(&format!("{}{}", repeated("{{a"), repeated("}}"))).bytes().all(|byte| byte == b'}'));
    let levels = size / 20;
    let nested = format!("{}{}{}", "{{reverse:".repeat(levels), "x".repeat(size), "}}".repeat(levels));
    assert_eq!(expanded(&nested), "");
    let choices = format!("{{{{random:{}}}}}", repeated("a,"));
    assert!(expanded(&choices).len() <= 1);
    let long = "x".repeat(200);
    let grown = Macros::new(&long, "Ada", Seeds::new("", "")).expand("x", &repeated("{{char}}"));
    assert!(grown.len() <= size + MAX_GROWTH, "{}", grown.len());
}

#[test]
fn what_is_removed_is_named_with_its_reason() {
    let deep = format!("{}{{{{user}}}}{}", "{{reverse:".repeat(MAX_DEPTH + 1), "}}".repeat(MAX_DEPTH + 1));
    let long = "{{user}}".repeat(8);
    let name = "x".repeat(MAX_GROWTH / 4);
    for (text, user, reason) in [
        ("{{time}}", "Ada", "`{{time}}` is not known"),
        ("{{}}", "Ada", "without a name"),
        ("{{roll:0d0}}", "Ada", "`{{roll}}` is removed where its argument can't be used"),
        ("{{char: x}}", "Ada", "`{{char}}` is removed where its argument can't be used"),
        (deep.as_str(), "Ada", "more than 16 deep"),
        (long.as_str(), name.as_str(), "more than 1048576 bytes"),
    ] {
        let macros = macros(user, "turn");
        macros.expand("card.description", text);
        let notes: Vec<_> = macros.removed().iter().map(ToString::to_string).collect();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains(reason), "{notes:?}");
    }
}
