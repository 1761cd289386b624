//! From messages and statuses of a service to a response.

use base64ct::Encoding;

use super::*;

#[test]
fn a_failed_call_is_a_problem_with_its_details() {
    let mut plugin = library();
    let mut exchange = plugin.request_with_body(TestRequest::get("/v1/books"));
    // google.rpc.Status with an Author and an unknown type.
    let any = |url: &str, value: &[u8]| {
        let inner = [&[0x0a, url.len() as u8][..], url.as_bytes(), &[0x12, value.len() as u8], value].concat();
        [&[0x1a, inner.len() as u8][..], &inner].concat()
    };
    let details = [any("t/library.v1.Author", b"\x0a\x03Ann"), any("t/what", b"\x01")].concat();
    let details = base64ct::Base64Unpadded::encode_string(&details);
    let response = TestResponse::new(200)
        .header("content-type", "application/grpc")
        .header("grpc-status", "5")
        .header("grpc-message", "no %22book%22")
        .header("grpc-status-details-bin", details);
    plugin.response_with_body(&mut exchange, response);
    assert_eq!(exchange.status(), Some(404));
    assert_eq!(exchange.response_header("grpc-status"), None);
    let problem: Value = serde_json::from_slice(exchange.response_body()).unwrap();
    assert_eq!(problem["detail"], "no \"book\"");
    assert_eq!(problem["code"], "NOT_FOUND");
    let details = json!([{ "@type": "t/library.v1.Author", "name": "Ann" }, { "@type": "t/what", "value": "AQ==" }]);
    assert_eq!(problem["details"], details);
}

#[test]
fn an_answer_that_is_none_is_the_services_fault() {
    let message = framed(&encoded("library.v1.Book", json!({ "name": "b" }))).unwrap();
    let mut lying = message.clone();
    lying[1] = 0xff;
    let mut compressed = message.clone();
    compressed[0] = 1;
    let twice = message.repeat(2);
    for body in
        [Vec::new(), lying, compressed, twice, framed(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]).unwrap(), vec![0; 3]]
    {
        let mut plugin = library();
        let mut exchange = plugin.request_with_body(TestRequest::post("/library.v1.Library/Purge").body("{}"));
        let response = TestResponse::new(200).header("content-type", "application/grpc").body(body);
        plugin.response_with_body(&mut exchange, response.trailer("grpc-status", "0"));
        assert_eq!(exchange.status(), Some(500));
    }
}

#[test]
fn one_field_can_be_the_answer() {
    for (books, expected) in [(json!([{ "name": "b" }]), json!([{ "name": "b" }])), (json!([]), json!([]))] {
        let mut plugin = library();
        let mut exchange = plugin.request_with_body(TestRequest::get("/v1/books"));
        let body = framed(&encoded("library.v1.ListBooksResponse", json!({ "books": books }))).unwrap();
        let response = TestResponse::new(200).header("content-type", "application/grpc").body(body);
        plugin.response_with_body(&mut exchange, response.trailer("grpc-status", "0"));
        assert_eq!(serde_json::from_slice::<Value>(exchange.response_body()).unwrap(), expected);
    }
}

#[test]
fn an_answer_that_is_not_json_is_sent_as_what_it_is() {
    let mut plugin = library();
    let mut exchange = plugin.request_with_body(TestRequest::post("/library.v1.Library/GetCover").body("{}"));
    let body = framed(&encoded("google.api.HttpBody", json!({ "contentType": "image/png", "data": "AAEC" }))).unwrap();
    let response = TestResponse::new(200).header("content-type", "application/grpc").body(body);
    plugin.response_with_body(&mut exchange, response.trailer("grpc-status", "0"));
    assert_eq!(
        (exchange.response_header("content-type"), exchange.response_body()),
        (Some("image/png"), &[0, 1, 2][..])
    );
}

#[test]
fn a_stream_passes_message_by_message_however_it_is_cut() {
    let books: Vec<u8> = ["a", "b", "c"]
        .iter()
        .flat_map(|name| framed(&encoded("library.v1.Book", json!({ "name": name }))).unwrap())
        .collect();
    for part in [1, 3, 7, 1000] {
        let mut plugin = library();
        let mut exchange = plugin.request_with_body(TestRequest::get("/v1/books:watch"));
        let response = TestResponse::new(200).header("content-type", "application/grpc").body(books.clone());
        plugin.response_with_body(&mut exchange, response.trailer("grpc-status", "14").trailer("grpc-message", "gone"));
        assert!(exchange.streams_response_body());
        plugin.stream_response(&mut exchange, part).unwrap();
        let text = String::from_utf8(exchange.response_body().to_vec()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[..3], [json!({ "name": "a" }), json!({ "name": "b" }), json!({ "name": "c" })]);
        assert_eq!(lines[3]["error"]["code"], "UNAVAILABLE");
        assert_eq!(lines.len(), 4);
    }
}

#[test]
fn a_client_that_wants_events_gets_events() {
    let mut plugin = library();
    let mut exchange =
        plugin.request_with_body(TestRequest::get("/v1/books:watch").header("accept", "text/event-stream;q=1"));
    let body = framed(&encoded("library.v1.Book", json!({ "name": "a" }))).unwrap();
    let response = TestResponse::new(200).header("content-type", "application/grpc").body(body);
    plugin.response_with_body(&mut exchange, response.trailer("grpc-status", "0"));
    plugin.stream_response(&mut exchange, 4).unwrap();
    assert_eq!(exchange.response_header("content-type"), Some("text/event-stream"));
    assert_eq!(exchange.response_body(), b"data: {\"name\":\"a\"}\n\n");
}

#[test]
fn answers_are_written_as_configured() {
    let config = json!({
        "descriptors": ["library"], "services": ["library.v1.Library"], "field-names": "proto", "enums": "numbers",
        "defaults": "include", "deadline": "1500ms",
    });
    let mut plugin = plugin(config);
    let mut exchange = plugin.request_with_body(TestRequest::post("/library.v1.Library/Purge").body("{}"));
    assert_eq!(exchange.header("grpc-timeout"), Some("1500m"));
    let body = framed(&encoded("library.v1.Book", json!({ "genre": 1 }))).unwrap();
    let response = TestResponse::new(200).header("content-type", "application/grpc").body(body);
    plugin.response_with_body(&mut exchange, response.trailer("grpc-status", "0"));
    let answer: Value = serde_json::from_slice(exchange.response_body()).unwrap();
    assert_eq!((&answer["display_title"], &answer["genre"]), (&json!(""), &json!(1)));
}
