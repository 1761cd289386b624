//! Where the token is looked for, and taking it away.

use plugin_sdk::testkit::TestRequest;
use serde_json::{Value, json};

use super::support::{accepted, bearer, config_with, plugin, refused, token};

fn from(sources: Value) -> Value {
    config_with(json!({ "from": sources, "forward": false, "required": false }))
}

#[test]
fn the_scheme_is_read_in_any_case() {
    let (_, mut plugin) = plugin(config_with(json!({})));
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer  "] {
        let request = TestRequest::get("/").header("authorization", format!("{scheme} {}", token(json!({}))));
        let exchange = accepted(plugin.request(request));
        assert!(exchange.header("authorization").is_some(), "it goes on by default");
    }
}

#[test]
fn a_token_need_not_go_on() {
    let (_, mut plugin) = plugin(config_with(json!({ "forward": false, "required": false })));
    assert_eq!(accepted(plugin.request(bearer(&token(json!({}))))).header("authorization"), None);
    let basic = accepted(plugin.request(TestRequest::get("/").header("authorization", "Basic YTpi")));
    assert_eq!(basic.header("authorization"), Some("Basic YTpi"), "what is no token is not ours to remove");
}

#[test]
fn a_header_of_another_name_holds_the_token_alone_or_after_a_scheme() {
    let token = token(json!({}));
    let (_, mut alone) = plugin(from(json!([{ "header": "X-Token" }])));
    let exchange = accepted(alone.request(TestRequest::get("/").header("x-token", &token)));
    assert_eq!((exchange.attribute("jwt.sub"), exchange.header("x-token")), (Some("anna"), None));

    let (_, mut after) = plugin(from(json!([{ "header": "x-token", "scheme": "Token" }])));
    let exchange = accepted(after.request(TestRequest::get("/").header("x-token", format!("token {token}"))));
    assert_eq!(exchange.attribute("jwt.sub"), Some("anna"));
}

#[test]
fn a_cookie_is_taken_from_among_others() {
    let token = token(json!({}));
    let (_, mut plugin) = plugin(from(json!([{ "cookie": "session" }])));
    let request = TestRequest::get("/").header("cookie", format!("a=b; session={token}; c=d")).header("cookie", "e=f");
    let exchange = accepted(plugin.request(request));
    assert_eq!(exchange.attribute("jwt.sub"), Some("anna"));
    assert_eq!(exchange.header_values("cookie"), [b"a=b; c=d; e=f"]);

    let exchange = accepted(plugin.request(TestRequest::get("/").header("cookie", format!("session=\"{token}\""))));
    assert_eq!(exchange.attribute("jwt.sub"), Some("anna"));
    assert_eq!(exchange.header("cookie"), None);
}

#[test]
fn a_query_parameter_is_removed_and_the_others_stay_as_they_are() {
    let token = token(json!({}));
    let (_, mut plugin) = plugin(from(json!([{ "query": "access_token" }])));
    for (target, left) in [
        (format!("/a%2Fb?x=%20&access_token={token}&y"), "/a%2Fb?x=%20&y"),
        (format!("/?access_token={token}"), "/"),
        (format!("/?access%5Ftoken={token}&&z"), "/?&z"),
    ] {
        let exchange = accepted(plugin.request(TestRequest::get(&target)));
        assert_eq!(exchange.attribute("jwt.sub"), Some("anna"));
        assert_eq!(exchange.target(), left);
    }
    let exchange = accepted(plugin.request(TestRequest::get("/?token=x")));
    assert_eq!((exchange.attribute("jwt.sub"), exchange.target()), (None, "/?token=x"));
}

#[test]
fn two_tokens_are_one_too_many() {
    let (token, other) = (token(json!({})), "x.y.z");
    let all = json!([{ "header": "authorization" }, { "cookie": "t" }, { "query": "t" }]);
    let (_, mut plugin) = plugin(from(all));
    accepted(plugin.request(bearer(&token)));
    for request in [
        bearer(&token).header("authorization", format!("Bearer {other}")),
        bearer(&token).header("cookie", format!("t={other}")),
        TestRequest::get(&format!("/?t={token}&%74={other}")),
        TestRequest::get(&format!("/?t={other}")).header("cookie", format!("t={token}")),
        TestRequest::get("/").header("cookie", format!("t={token}; t={other}")),
    ] {
        let reply = refused(plugin.request(request), 400, "ambiguous");
        assert!(reply.header("www-authenticate").unwrap().contains(r#"error="invalid_request""#));
    }
    refused(
        plugin.request(TestRequest::get("/").header("authorization", format!("Bearer {token}, Bearer {other}"))),
        401,
        "malformed",
    );
}
