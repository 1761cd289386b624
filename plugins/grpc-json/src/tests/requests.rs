//! From a request to a message, and what is refused.

use super::*;

#[test]
fn a_path_with_a_pattern_is_a_field() {
    let exchange = library().request_with_body(TestRequest::get("/v1/shelves/3/books/a%20b"));
    assert_eq!(exchange.target(), "/library.v1.Library/GetBook");
    assert_eq!(called(&exchange, GET), json!({ "name": "shelves/3/books/a b" }));
    let exchange = library().request_with_body(TestRequest::post("/v1/shelves/a/b%2Fc/d:archive").body("{}"));
    assert_eq!(exchange.target(), "/library.v1.Library/ArchiveBook");
    assert_eq!(called(&exchange, GET), json!({ "name": "shelves/a/b%2Fc/d" }));
}

#[test]
fn query_parameters_are_fields_also_of_messages_and_lists() {
    let query = "tags=a&tags=b&author.name=Ann&author.born=-5&genre=GENRE_POETRY&lent=true&fields=name,displayTitle";
    let exchange = library().request_with_body(TestRequest::get(&format!("/v1/books?{query}")));
    let expected = json!({
        "tags": ["a", "b"], "author": { "name": "Ann", "born": "-5" }, "genre": "GENRE_POETRY", "lent": true,
        "fields": "name,displayTitle",
    });
    assert_eq!(called(&exchange, GET), expected);
    // A number of an enumeration; names as the descriptors have them.
    let exchange = library()
        .request_with_body(TestRequest::post("/v1/shelves/1/books?draft=true").body(r#"{"display_title":"x"}"#));
    let expected = json!({ "parent": "shelves/1", "draft": true, "book": { "displayTitle": "x" } });
    assert_eq!(called(&exchange, "library.v1.CreateBookRequest"), expected);
    assert_eq!(
        called(&library().request_with_body(TestRequest::get("/v1/books?genre=1")), GET),
        json!({ "genre": "GENRE_POETRY" })
    );
}

#[test]
fn what_a_query_cannot_say_is_refused_by_name() {
    for (query, parameter) in [
        ("nothing=1", "nothing"),
        ("author=x", "author"),
        ("author.nobody=x", "author.nobody"),
        ("name.x=1", "name.x"),
        ("lent=maybe", "lent"),
        ("lent=true&lent=true", "lent"),
        ("author.born=soon", "author.born"),
        ("genre=GENRE_NONE", "genre"),
    ] {
        let problem = refused(&library().request_with_body(TestRequest::get(&format!("/v1/books?{query}"))), 400);
        assert_eq!(problem["parameter"], parameter, "{problem}");
    }
    let mut lenient = plugin(json!({ "descriptors": "library", "unknown-parameters": "ignore" }));
    assert_eq!(
        called(&lenient.request_with_body(TestRequest::get("/v1/books?nothing=1&lent=true")), GET),
        json!({ "lent": true })
    );
    let many = "tags=a&".repeat(1001);
    refused(&library().request_with_body(TestRequest::get(&format!("/v1/books?{many}"))), 400);
}

#[test]
fn a_body_that_is_a_field_cannot_reach_others() {
    let create = |body: &str| library().request_with_body(TestRequest::post("/v1/shelves/1/books").body(body));
    let problem = refused(&create(r#"{}, "draft": true"#), 400);
    assert_eq!(problem["pointer"], "", "{problem}");
    assert_eq!(refused(&create(r#"{ "author": { "born": [] } }"#), 400)["pointer"], "/author/born");
    assert_eq!(called(&create(""), "library.v1.CreateBookRequest"), json!({ "parent": "shelves/1" }));
}

#[test]
fn every_kind_of_value_survives() {
    let book = json!({
        "name": "b", "displayTitle": "T", "genre": "GENRE_POETRY", "words": "9007199254740993", "cover": "AAEC/w==",
        "price": 1.5, "lent": true, "author": { "name": "Ann" }, "tags": ["x", ""], "copies": { "a": 1 },
        "published": "2024-02-29T12:00:00.500Z", "loan": "1.500s", "extra": { "a": [1.0, null, "b"] }, "note": "n",
        "attachment": { "@type": "type.googleapis.com/library.v1.Author", "name": "Bea" }, "number": 0, "edition": 0,
        "sequel": { "name": "c" },
    });
    let request = TestRequest::post("/v1/shelves/1/books").body(book.to_string());
    let mut plugin = library();
    let mut exchange = plugin.request_with_body(request);
    let message = called(&exchange, "library.v1.CreateBookRequest");
    let response = TestResponse::new(200)
        .header("content-type", "application/grpc+proto")
        .body(framed(&encoded("library.v1.Book", message["book"].clone())).unwrap())
        .trailer("grpc-status", "0")
        .trailer("x-cost", "5");
    plugin.response_with_body(&mut exchange, response);
    assert_eq!(serde_json::from_slice::<Value>(exchange.response_body()).unwrap(), book);
    assert_eq!(exchange.response_header("content-type"), Some("application/json"));
    assert_eq!(exchange.response_header("x-cost"), Some("5"));
    assert_eq!(exchange.response_trailers(), []);
}

#[test]
fn what_is_wrong_in_a_body_has_its_place() {
    for (body, pointer) in [
        ("{", ""),
        ("[]", ""),
        ("1 2", ""),
        (r#"{ "words": "x" }"#, "/words"),
        (r#"{ "tags": ["a", 5] }"#, "/tags/1"),
        (r#"{ "copies": { "a/b": "x" } }"#, "/copies/a~1b"),
        (r#"{ "nothing": 1 }"#, "/nothing"),
        (r#"{ "published": "yesterday" }"#, "/published"),
        (r#"{ "sequel": { "cover": "*" } }"#, "/sequel/cover"),
    ] {
        let request = TestRequest::post("/v1/shelves/1/books").body(body);
        let problem = refused(&library().request_with_body(request), 400);
        assert_eq!(problem["pointer"], pointer, "{body}: {problem}");
    }
    let deep = format!("{}{}", r#"{"sequel":"#.repeat(1000), "}".repeat(1000));
    refused(&library().request_with_body(TestRequest::post("/v1/shelves/1/books").body(deep)), 400);
}

#[test]
fn only_what_is_described_can_be_called() {
    let mut plugin = library();
    refused(&plugin.request_with_body(TestRequest::get("/v1/nothing")), 404);
    refused(&plugin.request_with_body(TestRequest::post("/v1/shelves/1/books/2")), 405);
    refused(&plugin.request_with_body(TestRequest::get("/v1/shelves//books/2")), 404);
    refused(
        &plugin.request_with_body(
            TestRequest::post("/v1/shelves/1/books").header("content-type", "text/xml").body("<a/>"),
        ),
        415,
    );
    refused(&plugin.request_with_body(TestRequest::get("/v1/books").body("{}")), 400);
    let exchange = plugin.request_with_body(TestRequest::post("/library.v1.Library/Purge").body("{}"));
    assert_eq!(exchange.target(), "/library.v1.Library/Purge");
    let mut annotated = self::plugin(json!({ "descriptors": "library", "auto-mapping": false }));
    refused(&annotated.request_with_body(TestRequest::post("/library.v1.Library/Purge").body("{}")), 404);
    // Who speaks gRPC is not in need of this.
    let native = TestRequest::post("/library.v1.Library/Purge").header("content-type", "application/grpc").body("x");
    assert_eq!(plugin.request_with_body(native).body(), b"x");
}

#[test]
fn a_rule_may_have_a_method_of_its_own() {
    let exchange = library().request_with_body(TestRequest::new("LEND", "/v1/shelves/1/books/2"));
    assert_eq!(exchange.target(), "/library.v1.Library/LendBook");
    assert_eq!(called(&exchange, GET), json!({ "name": "shelves/1/books/2" }));
}
