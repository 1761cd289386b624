use plugin_sdk::{
    Problems,
    serde_json::{Value, json},
    testkit::{TestHost, TestPlugin, TestRequest, config_schema},
};

use super::Acl;

fn status(config: &Value, attributes: &[(&str, &str)]) -> u16 {
    let plugin: Result<TestPlugin<Acl>, Problems> = TestHost::new().plugin(config.clone());
    let mut plugin = plugin.unwrap_or_else(|problems| panic!("{problems}"));
    let request = attributes.iter().fold(TestRequest::get("/"), |request, (key, value)| request.attribute(key, value));
    plugin.request(request).reply().map_or(200, |reply| reply.status)
}

fn problems(config: Value) -> String {
    let refused: Result<TestPlugin<Acl>, Problems> = TestHost::new().plugin(config);
    refused.err().expect("the configuration is refused").to_string()
}

const ANNA: (&str, &str) = ("jwt.sub", "anna");

#[test]
fn who_is_not_known_is_challenged_and_who_is_passes() {
    let config = json!({});
    assert_eq!(status(&config, &[]), 401);
    assert_eq!(status(&config, &[("jwt.sub", "")]), 401);
    assert_eq!(status(&config, &[("jwt.groups", "staff")]), 401);
    assert_eq!(status(&config, &[ANNA]), 200);
    assert_eq!(status(&config, &[("api-key.id", "shop")]), 200);
    assert_eq!(status(&json!({ "identity": ["geo.country"] }), &[("geo.country", "NO")]), 200);

    let host = TestHost::new();
    let mut plugin: TestPlugin<Acl> = host.plugin(json!({ "challenge": "ApiKey realm=\"shop\"" })).unwrap();
    let exchange = plugin.request(TestRequest::get("/").route("r"));
    assert_eq!(exchange.reply().unwrap().header("www-authenticate").unwrap(), "ApiKey realm=\"shop\"");
    assert_eq!(exchange.attribute("acl.error"), Some("anonymous"));
    assert_eq!(host.counter("acl_denied", &[("route", "r"), ("reason", "anonymous")]), 1);
}

#[test]
fn one_group_is_enough_and_must_be_the_whole_name() {
    let config = json!({ "allow": { "groups": ["staff", "Domain Admins"] } });
    for groups in ["staff", "a,staff", "a, staff ,b", "Domain Admins", "x,Domain Admins"] {
        assert_eq!(status(&config, &[ANNA, ("jwt.groups", groups)]), 200, "{groups}");
        assert_eq!(status(&config, &[ANNA, ("api-key.groups", groups)]), 200, "{groups}");
    }
    for groups in ["", "staff2", "Staff", "a staff", "Domain", "Admins"] {
        assert_eq!(status(&config, &[ANNA, ("jwt.groups", groups)]), 403, "{groups}");
    }
    assert_eq!(status(&config, &[ANNA, ("jwt.roles", "staff")]), 403);
    assert_eq!(status(&config, &[ANNA]), 403);
}

#[test]
fn scopes_are_needed_all() {
    let config = json!({ "allow": { "scopes": ["orders:read", "orders:write"] } });
    for (scope, expected) in [
        ("orders:write orders:read", 200),
        ("orders:write,orders:read", 200),
        ("orders:read", 403),
        ("orders:read orders:writes", 403),
    ] {
        assert_eq!(status(&config, &[ANNA, ("jwt.scope", scope)]), expected, "{scope}");
    }
}

#[test]
fn each_kind_that_is_listed_must_hold() {
    let config = json!({ "allow": { "groups": ["staff"], "roles": ["editor", "owner"] } });
    assert_eq!(status(&config, &[ANNA, ("jwt.groups", "staff"), ("jwt.roles", "owner")]), 200);
    assert_eq!(status(&config, &[ANNA, ("jwt.groups", "staff")]), 403);
    assert_eq!(status(&config, &[ANNA, ("jwt.roles", "owner")]), 403);
}

#[test]
fn what_is_denied_outweighs_what_is_allowed() {
    let config = json!({ "allow": { "groups": ["staff"] }, "deny": { "groups": ["suspended"], "roles": ["bot"] } });
    assert_eq!(status(&config, &[ANNA, ("jwt.groups", "staff")]), 200);
    assert_eq!(status(&config, &[ANNA, ("jwt.groups", "staff,suspended")]), 403);
    assert_eq!(status(&config, &[ANNA, ("jwt.groups", "staff"), ("jwt.roles", "bot")]), 403);
    let config = json!({ "deny": { "groups": ["suspended"] } });
    assert_eq!(status(&config, &[ANNA]), 200);
    assert_eq!(status(&config, &[ANNA, ("api-key.groups", "suspended")]), 403);
}

#[test]
fn other_attributes_can_be_read() {
    let config = json!({ "allow": { "roles": ["admin"] }, "roles-from": ["ldap.roles"] });
    assert_eq!(status(&config, &[ANNA, ("ldap.roles", "admin")]), 200);
    assert_eq!(status(&config, &[ANNA, ("jwt.roles", "admin")]), 403);
}

#[test]
fn a_name_with_a_comma_is_one_name() {
    let config = json!({ "allow": { "groups": ["CN=a,OU=b", "100%"] } });
    for (held, expected) in [
        ("CN=a%2COU=b", 200),
        ("x,CN=a%2COU=b", 200),
        ("100%25", 200),
        ("100%", 200),
        ("CN=a,OU=b", 403),
        ("OU=b", 403),
    ] {
        assert_eq!(status(&config, &[ANNA, ("jwt.groups", held)]), expected, "{held}");
    }
    assert_eq!(status(&json!({}), &[("jwt.token", "digest")]), 200, "known, whatever its claims are");
}

#[test]
fn every_problem_is_found_at_its_place() {
    let found = problems(json!({
        "allow": { "groups": ["", "c"], "scopes": ["a b"] },
        "deny": { "roles": [" x"], "groups": ["c"] },
        "identity": [],
        "roles-from": ["a b"],
        "challenge": "",
    }));
    let places: Vec<&str> = found.lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
    assert_eq!(
        places,
        [
            "/allow/groups/0",
            "/allow/scopes/0",
            "/deny/roles/0",
            "/allow/groups/1",
            "/identity",
            "/roles-from/0",
            "/challenge",
        ],
        "{found}",
    );
    assert!(problems(json!({ "allow": { "group": [] } })).contains("unknown field `group`"));
}

#[test]
fn the_schema_takes_its_own_example() {
    let schema = config_schema::<Acl>();
    let validator = jsonschema::validator_for(&schema).expect("the schema is valid");
    assert!(validator.is_valid(&schema["examples"][0]) && validator.is_valid(&json!({})));
    assert!(!validator.is_valid(&json!({ "allow": ["staff"] })) && !validator.is_valid(&json!({ "groups": [] })));
}
