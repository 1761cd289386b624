//! What `gateway route` tells people.

use http::Method;

use super::{ask, route, table};
use crate::Verdict;

#[test]
fn an_explanation_shows_each_candidate_and_its_first_failing_condition() {
    let table = table([
        route("orders-v2", "/orders/{id}").host("api.example.com").method(Method::GET).header("x-version", "2"),
        route("orders", "/orders/{id}").host("api.example.com").method(Method::GET),
        route("orders-beta", "/orders/{*rest}").host("*.example.com").query("beta", "true"),
        route("default", "/{*rest}"),
        route("unrelated", "/users"),
    ]);
    let explanation = table.explain(&ask("GET api.example.com/orders/5").query());
    assert_eq!(explanation.winner, Some(1));
    assert_eq!(
        explanation.to_string(),
        "\
GET api.example.com/orders/5 is answered by route orders

Routes with a matching host and path, the most specific first:
  1. orders-v2    /orders/{id}  on api.example.com
                  wants header x-version: \"2\", the request has none
  2. orders       /orders/{id}  on api.example.com
                  answers
  3. orders-beta  /orders/{*rest}  on *.example.com
                  wants query parameter beta=true, the request has no query
  4. default      /{*rest}  on every host
                  matches too, but its host is less specific
"
    );
}

#[test]
fn an_explanation_of_a_miss_says_what_would_have_matched() {
    let table = table([
        route("here", "/a").host("api.example.com").method(Method::PUT),
        route("there", "/b").host("other.example.com"),
    ]);
    let explanation = table.explain(&ask("GET api.example.com/a").query());
    assert_eq!(explanation.allow, [Method::PUT]);
    assert!(explanation.to_string().starts_with("GET api.example.com/a is answered by no route: 405, Allow: PUT\n"));

    let explanation = table.explain(&ask("GET api.example.com/b").query());
    assert_eq!(explanation.winner, None);
    let Verdict::Fails { wanted, found } = &explanation.elsewhere[0].verdict else { panic!("it cannot match") };
    assert_eq!((wanted.as_str(), found.as_str()), ("host other.example.com", "api.example.com"));
}
