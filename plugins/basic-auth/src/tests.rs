use base64ct::{Base64, Encoding};
use plugin_sdk::{
    serde_json::{Value, json},
    testkit::{TestExchange, TestHost, TestPlugin, TestRequest, config_schema},
};

use super::BasicAuth;

/// The passwords are `open sesame` and `naïve: yes`.
const ANNA: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdC1vZi1hbm5h$MlzKAbpDxiyDJdwkMTMDFg9ED1rnyPn1OXNFKm1f3Jg";
const BEN: &str = "$2y$04$rV3amTNfLuW0n7Dtcky2k.2w0YFTIeDmxrzJdKWCVARjBlXbEdNWu";

fn config(more: Value) -> Value {
    let mut config = json!({ "users": [{ "name": "anna", "hash": ANNA, "groups": ["staff", "ops"] }, { "name": "ben", "hash": BEN }] });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn plugin(more: Value) -> (TestHost, TestPlugin<BasicAuth>) {
    let host = TestHost::new();
    let plugin = host.plugin(config(more)).unwrap_or_else(|problems| panic!("{problems}"));
    (host, plugin)
}

fn basic(credentials: &str) -> TestRequest {
    TestRequest::get("/").header("authorization", format!("Basic {}", Base64::encode_string(credentials.as_bytes())))
}

fn refused(exchange: &TestExchange, status: u16, code: &str) {
    assert_eq!(exchange.attribute("basic-auth.error"), Some(code));
    let reply = exchange.reply().expect("refused");
    assert_eq!(reply.status, status);
    let challenge = reply.header("www-authenticate");
    assert_eq!(challenge.as_deref(), (status == 401).then_some(r#"Basic realm="gateway", charset="UTF-8""#));
}

#[test]
fn who_knows_the_password_gets_in_and_the_upstream_does_not_learn_it() {
    let (_, mut plugin) = plugin(json!({}));
    let exchange = plugin.request(basic("anna:open sesame"));
    assert!(exchange.reply().is_none());
    assert_eq!(exchange.attribute("basic-auth.user"), Some("anna"));
    assert_eq!(exchange.attribute("basic-auth.groups"), Some("staff,ops"));
    assert_eq!(exchange.header("authorization"), None);
    let exchange = plugin.request(basic("ben:naïve: yes"));
    assert_eq!((exchange.attribute("basic-auth.user"), exchange.attribute("basic-auth.groups")), (Some("ben"), None));
}

#[test]
fn a_password_goes_on_if_it_is_told_to() {
    let (_, mut plugin) = plugin(json!({ "forward": true }));
    assert!(plugin.request(basic("anna:open sesame")).header("authorization").is_some());
}

#[test]
fn who_does_not_know_it_does_not() {
    let (host, mut plugin) = plugin(json!({}));
    refused(&plugin.request(TestRequest::get("/")), 401, "missing");
    refused(&plugin.request(TestRequest::get("/").header("authorization", "Bearer x")), 401, "missing");
    for wrong in
        ["anna:open sesam", "anna:", "ben:open sesame", "Anna:open sesame", "nobody:open sesame", ":open sesame"]
    {
        refused(&plugin.request(basic(wrong)), 401, "wrong");
    }
    refused(&plugin.request(basic("anna:open sesame").header("authorization", "Basic eA==")), 400, "ambiguous");
    assert_eq!(host.counter("basic_auth_denied", &[("route", "test"), ("reason", "wrong")]), 6);
}

#[test]
fn what_is_no_name_and_password_is_malformed() {
    let (_, mut plugin) = plugin(json!({}));
    for credentials in ["anna", "an\nna:x", "anna:\0"] {
        refused(&plugin.request(basic(credentials)), 401, "malformed");
    }
    for value in ["Basic !!", "Basic YQ=", &format!("Basic {}", "A".repeat(4096))] {
        refused(&plugin.request(TestRequest::get("/").header("authorization", value)), 401, "malformed");
    }
    let latin1 = format!("Basic {}", Base64::encode_string(b"anna:\xe9"));
    refused(&plugin.request(TestRequest::get("/").header("authorization", latin1)), 401, "malformed");
    let unpadded = Base64::encode_string(b"anna:open sesame").trim_end_matches('=').to_owned();
    let exchange = plugin.request(TestRequest::get("/").header("authorization", format!("basic {unpadded}")));
    assert!(exchange.reply().is_none(), "some clients leave the padding out");
}

#[test]
fn anonymous_is_who_sends_nothing_and_not_who_sends_a_wrong_password() {
    let (_, mut plugin) = plugin(json!({ "required": false }));
    assert!(plugin.request(TestRequest::get("/")).reply().is_none());
    refused(&plugin.request(basic("anna:x")), 401, "wrong");
}

#[test]
fn while_too_many_passwords_are_verified_clients_are_told_to_come_again() {
    let (host, mut plugin) = plugin(json!({}));
    host.set_passwords_busy(true);
    for name in ["anna", "nobody"] {
        let exchange = plugin.request(basic(&format!("{name}:open sesame")));
        refused(&exchange, 503, "busy");
        assert_eq!(exchange.reply().unwrap().header("retry-after").as_deref(), Some("1"));
    }
}

#[test]
fn users_come_from_a_secret_like_a_file_of_htpasswd() {
    let host = TestHost::new();
    host.set_secret("users", format!("# staff\nanna:{ANNA}\n\nben:{BEN}\r\n"));
    let mut plugin: TestPlugin<BasicAuth> = host.plugin(json!({ "users-secret": "users" })).unwrap();
    assert!(plugin.request(basic("ben:naïve: yes")).reply().is_none());
    refused(&plugin.request(basic("ben:x")), 401, "wrong");
}

#[test]
fn problems_name_the_place_and_never_the_secret() {
    let problems = |config: Value| {
        let host = TestHost::new();
        host.set_secret("bad", format!("anna:{ANNA}\nsecret-without-colon\nanna:{BEN}\nben:plain-password\n"));
        host.deny("denied");
        host.plugin::<BasicAuth>(config).err().map_or_else(String::new, |problems| problems.to_string())
    };
    assert_eq!(problems(json!({})), "needs a user in `users` or `users-secret`; without one nobody is let in");
    let text = problems(json!({ "users-secret": "bad" }));
    assert_eq!(text.lines().count(), 3);
    assert!(text.contains("/users-secret: line 2 of the secret needs `NAME:HASH`"), "{text}");
    assert!(text.contains("line 3 of the secret has the name of another user"), "{text}");
    assert!(text.contains("line 4 of the secret has no hash that can be used: neither argon2id"), "{text}");
    assert!(!text.contains("plain-password") && !text.contains("without-colon"), "{text}");
    assert!(problems(json!({ "users-secret": "denied" })).contains("grants: { secrets: [denied] }"));
    let entry = |name: &str, hash: &str| problems(json!({ "users": [{ "name": name, "hash": hash }] }));
    assert!(entry("a:b", BEN).starts_with("/users/0/name: needs a name"));
    assert!(entry("a", "plain").starts_with("/users/0/hash: has no hash that can be used"));
    assert_eq!(problems(config(json!({ "cache-ttl": "2h" }))), "/cache-ttl: must be at most 1h");
}

#[test]
fn the_schema_describes_every_option_and_the_readme_too() {
    let schema = config_schema::<BasicAuth>();
    let readme = include_str!("../README.md");
    for (name, option) in schema["properties"].as_object().unwrap() {
        assert!(option["description"].is_string(), "{name}");
        assert!(readme.contains(&format!("| `{name}` |")), "{name}");
    }
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    assert!(validator.is_valid(&schema["examples"][0]) && validator.is_valid(&config(json!({}))));
}
