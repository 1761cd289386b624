//! What is hidden, what comes back, and what messages repeat.

use serde_json::json;

use super::*;

fn sensitive() -> Sensitive {
    let mut sensitive = Sensitive::new(["signing-key".to_owned()].into_iter());
    sensitive.learn(
        "geo",
        &json!({
            "properties": {
                "licence": { "$ref": "#/$defs/Licence" },
                "accounts": { "type": "object", "additionalProperties": { "type": "string", "format": "password" } },
                "city": { "type": "string" },
            },
            "$defs": { "Licence": { "anyOf": [{ "type": "string", "writeOnly": true }, { "type": "null" }] } },
        }),
    );
    sensitive
}

fn masked(text: &str) -> Masked {
    Masked::of(text, &sensitive())
}

#[track_caller]
fn shows(text: &str, expected: &str) {
    let masked = masked(text);
    assert_eq!(masked.text, expected);
    assert_eq!(masked.unmask(&masked.text, &sensitive()).as_deref(), Ok(text));
}

#[test]
fn secrets_have_numbers_in_their_places_and_come_back() {
    for (text, expected) in [
        ("keys: [{ alg: HS256, secret: so secret }]\n", "keys: [{ alg: HS256, secret: <masked 1> }]\n"),
        ("secret: so secret # really\n", "secret: <masked 1> # really\n"),
        ("\"secret\": \"a \\\" b\"\nx: 1\n", "\"secret\": \"<masked 1>\"\nx: 1\n"),
        ("{\"password\":\"x\"}\n", "{\"password\":\"<masked 1>\"}\n"),
        ("a: { client-secret: 'it''s', token: t }\n", "a: { client-secret: '<masked 1>', token: <masked 2> }\n"),
        ("url: redis://u:p@h:1/0\n", "url: redis://<masked 1>@h:1/0\n"),
        ("url: https://h/a?b=c&token=t\n", "url: https://h/a?b=c&token=<masked 1>\n"),
        ("secret: |\n  one\n\n  two\nb: 1\n", "secret: |\n  <masked 1>\nb: 1\n"),
        ("secret: >-\n\n  one\n  two\n", "secret: >-\n\n  <masked 1>\n"),
        ("secret: \"one\n  two\" # c\nb: 1\n", "secret: \"<masked 1>\" # c\nb: 1\n"),
        ("API_KEY: abc", "API_KEY: <masked 1>"),
        ("password: 12345\n", "password: <masked 1>\n"),
    ] {
        shows(text, expected);
    }
}

#[test]
fn it_is_the_document_that_counts_and_not_its_lines() {
    for (text, expected) in [
        ("secret:\n  so secret\nb: 1\n", "secret:\n  <masked 1>\nb: 1\n"),
        ("secret: &a so secret\nb: *a\n", "secret: &a <masked 1>\nb: *a\n"),
        ("secret: !!str so secret\n", "secret: !!str <masked 1>\n"),
        ("secret: !!str &a 'so secret'\n", "secret: !!str &a '<masked 1>'\n"),
        ("? secret\n: so secret\n", "? secret\n: <masked 1>\n"),
        ("{ secret\n  : so secret }\n", "{ secret\n  : <masked 1> }\n"),
        ("passwords:\n- one\n- two\n", "passwords:\n- <masked 1>\n- <masked 2>\n"),
        ("credentials: { user: u, pin: [1] }\n", "credentials: { user: <masked 1>, pin: [<masked 2>] }\n"),
        // What is defined somewhere else, also by way of another alias.
        ("x: &a so secret\nsecret: *a\n", "x: &a <masked 1>\nsecret: *a\n"),
        ("x: &a { y: &b one }\nz: &c [*b]\ntoken: *c\n", "x: &a { y: &b <masked 1> }\nz: &c [*b]\ntoken: *c\n"),
        ("set-headers: { authorization: Basic YTpi, x: y }\n", "set-headers: { authorization: <masked 1>, x: y }\n"),
        ("headers: { cookie: [a=b] }\n", "headers: { cookie: [<masked 1>] }\n"),
        ("h: [{ name: X-Api-Key, value: abc }]\n", "h: [{ name: X-Api-Key, value: <masked 1> }]\n"),
        ("add: ['authorization: Bearer abc']\n", "add: ['<masked 1>']\n"),
        ("x: Bearer abc\n", "x: <masked 1>\n"),
        ("jwks: { keys: [{ kty: oct, k: abc }] }\n", "jwks: { keys: [{ kty: oct, k: <masked 1> }] }\n"),
        ("secrets: { a: hunter2 }\n", "secrets: { a: <masked 1> }\n"),
        ("a: \"redis:\\/\\/u:p@h\"\n", "a: \"<masked 1>\"\n"),
        // Paths and forms have queries too.
        ("active: { path: /x?token=abc }\n", "active: { path: /x?token=<masked 1> }\n"),
        ("path: '/x?a=b&sig=abc&c=d'\n", "path: '/x?a=b&sig=<masked 1>&c=d'\n"),
        ("path: \"/x\\x3ftoken=abc\"\n", "path: \"<masked 1>\"\n"),
        ("query: { set: { key: abc, lang: de } }\n", "query: { set: { key: <masked 1>, lang: de } }\n"),
        ("match: { query: { key: abc, lang: de } }\n", "match: { query: { key: <masked 1>, lang: de } }\n"),
        // Names with something behind the word.
        (
            "set-headers: { x-token-v2: a, x-secret-1: b }\n",
            "set-headers: { x-token-v2: <masked 1>, x-secret-1: <masked 2> }\n",
        ),
        (
            "headers: { x-pass: a, x-jwt: b, x-hmac: c }\n",
            "headers: { x-pass: <masked 1>, x-jwt: <masked 2>, x-hmac: <masked 3> }\n",
        ),
        ("token-of-anna: abc\n", "token-of-anna: <masked 1>\n"),
        ("set: { /user/password: abc }\n", "set: { /user/password: <masked 1> }\n"),
        ("x: Token abc\n", "x: <masked 1>\n"),
    ] {
        shows(text, expected);
    }
}

#[test]
fn a_plugins_schema_says_what_is_secret_in_its_configuration() {
    shows(
        "plugins: [{ name: geo, config: { licence: abc, accounts: { anna: x }, city: Bonn } }]\n",
        "plugins: [{ name: geo, config: { licence: <masked 1>, accounts: { anna: <masked 2> }, city: Bonn } }]\n",
    );
    let other = "plugins: [{ name: other, config: { licence: abc } }]\n";
    shows(other, other);
}

#[test]
fn comments_with_secrets_are_hidden_and_others_stay() {
    for (text, expected) in [
        ("# redis://u:p@h\na: 1\n", "# redis://<masked 1>@h\na: 1\n"),
        ("a: 1 # password: abc\n", "a: 1 # <masked 1>\n"),
        ("# secret:\n#   abc\n# other\na: 1\n", "# <masked 1>\n#   <masked 2>\n# other\na: 1\n"),
        ("# tokens:\n# - abc\n# - def\na: 1\n", "# <masked 1>\n# <masked 2>\n# - def\na: 1\n"),
        ("#token=abc\na: 1\n", "#<masked 1>\na: 1\n"),
        ("secret: hunter2\n# it was hunter2 before\n", "secret: <masked 1>\n# <masked 2>\n"),
        ("# ü A comment that stays: yes\na: 1\n", "# ü A comment that stays: yes\na: 1\n"),
    ] {
        shows(text, expected);
    }
    let key = "# -----BEGIN PRIVATE KEY-----\n# MIIB\n# MIIC\n# -----END PRIVATE KEY-----\n# stays\na: 1\n";
    let shown = masked(key).text;
    assert!(!shown.contains("MII") && shown.contains("# stays"), "{shown}");
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "secrets: { signing-key: { env: KEY } }\n",
        "secrets: { password: { file: /run/secrets/x } }\n",
        "admin: { access: [{ name: ops, token: signing-key }] }\n",
        "plugins: { jwt: { grants: { secrets: [signing-key, misspelt] } } }\n",
        "plugins: { jwt: { grants: { secrets: { signing-key: use, password: read } } } }\n",
        "secret: { from: signing-key }\n",
        "path: /token:refresh\n",
        "endpoints: ['http://127.0.0.1:9001']\n",
        "tokens: 5\n",
        "secret:\n  file: x\n",
        "credentials: true\n",
        "key: { cookie: session }\n",
        "secret: ''\n",
        "token-of-anna: { lang: de }\n",
        "query: { remove: [key], rename: { lang: language } }\n",
        "key: { query: { only: [key, token] } }\n",
        "plugins: { jwt: { grants: {} } }\n",
        "rewrite: '/a?lang={header.x}'\n",
        "a: 1 # token bucket\n",
        "a: [x, y]\n",
    ] {
        assert_eq!(masked(text).text, text);
    }
}

#[test]
fn a_text_that_was_edited_gets_them_back_where_they_are_now() {
    let masked = masked("a: { secret: one }\nb: { secret: 'it''s, two' }\n");
    let unmask = |text: &str| masked.unmask(text, &sensitive());
    let edited = "b: { secret: '<masked 2>' }\nc: 1\na: { secret: new }\nd: { token: \"<masked 1>\" }\n";
    let expected = "b: { secret: 'it''s, two' }\nc: 1\na: { secret: new }\nd: { token: \"one\" }\n";
    assert_eq!(unmask(edited).as_deref(), Ok(expected));
    // By a program that writes YAML in its own way.
    assert_eq!(unmask("{\"secret\": \"<masked 2>\"}").as_deref(), Ok("{\"secret\": \"it's, two\"}"));
    assert_eq!(unmask("secret: <masked 2>\n").as_deref(), Ok("secret: \"it's, two\"\n"));
    assert_eq!(unmask("secret: |\n  <masked 2>\n").as_deref(), Ok("secret: |\n  it's, two\n"));
    assert_eq!(unmask("secret: <masked what>").as_deref(), Ok("secret: <masked what>"));
    assert_eq!(unmask("secret: <masked ").as_deref(), Ok("secret: <masked "));
    assert_eq!(
        unmask("# see <masked 1> and <masked 9>\na: 1\n").as_deref(),
        Ok("# see <masked 1> and <masked 9>\na: 1\n")
    );
}

#[test]
fn a_secret_comes_back_only_where_a_secret_stands() {
    let masked = masked("a: { secret: one }\nx: Bearer two\nurl: 'http://u:p@h'\n");
    for (text, wrong) in [
        ("secret: <masked 7>\n", "no secret for `<masked 7>`"),
        ("secret: <masked 0>\n", "no secret for `<masked 0>`"),
        ("body: <masked 1>\n", "`<masked 1>` does not stand where a secret does"),
        ("timeout: <masked 1>\n", "does not stand where"),
        ("body: 'it is <masked 1>'\n", "`<masked 1>` is only a part of a value"),
        ("secret: Bearer <masked 2>\n", "only a part"),
        ("secret: <masked 3>\n", "does not stand where"),
        ("# <masked 1>\n", "does not stand where"),
    ] {
        let Err(Unmaskable(why)) = masked.unmask(text, &sensitive()) else { panic!("{text}") };
        assert!(why.contains(wrong), "{why}");
    }
    // What is a secret by how it looks is one everywhere.
    assert_eq!(masked.unmask("y: <masked 2>\n", &sensitive()).as_deref(), Ok("y: Bearer two\n"));
}

#[test]
fn messages_and_excerpts_do_not_repeat_secrets() {
    let text = "secret: &a\n  so \"secret\" # c\npin: 1\npassword: 'abc'\n";
    let redaction = Redaction::of_text(text, &sensitive());
    assert_eq!(redaction.text.as_deref(), Some("secret: &a\n  ** ******** # c\npin: 1\npassword: '***'\n"));
    assert_eq!(redaction.apply("found `so \"secret\"`"), "found `***`");
    assert_eq!(redaction.apply("found string \"so \\\"secret\\\"\""), "found string \"***\"");
    assert_eq!(redaction.apply("expected an abcissa, found `abc`"), "expected an abcissa, found `***`");
    let long = "x".repeat(200);
    let redaction = Redaction::of([long.clone()]);
    assert_eq!(redaction.apply(&format!("found `{}`", crate::check::cut(&long))), "found `***…`");
    let broken = "routes: [{ secret: 's3cret-x', ü: 5\n#b c\n\tpath: /path/d\n";
    assert!(Redaction::of_text(broken, &sensitive()).text.is_none());
    let redaction = Redaction::of_any_text(broken, &sensitive(), |word| ["routes", "secret", "path"].contains(&word));
    let expected = "routes: [{ secret: '********', *: *\n#* *\n\tpath: *path**\n";
    assert_eq!(redaction.text.as_deref(), Some(expected));
}
