use http::{HeaderMap, Method, StatusCode};

use gateway_rules::attributes::MAX_ATTRIBUTES;

use super::{super::tests::slot, *};

#[test]
fn a_header_is_set_appended_and_removed() {
    let mut exchange = slot();
    exchange.set_request_header("X-A", b"1").unwrap();
    exchange.append_request_header("x-a", b"2").unwrap();
    assert_eq!(exchange.request.headers.get_all("x-a").iter().count(), 2);
    exchange.set_request_header("x-a", &[0xff]).unwrap();
    assert_eq!(exchange.request.headers["x-a"].as_bytes(), [0xff], "bytes need not be UTF-8");
    exchange.remove_request_header("x-a").unwrap();
    assert!(exchange.request.headers.is_empty());
}

#[test]
fn what_is_not_a_field_is_refused() {
    let mut exchange = slot();
    for (name, value) in [("", "v"), ("a b", "v"), ("a:", "v"), ("a", "b\r\nc: d"), ("a", "\0")] {
        assert_eq!(exchange.set_request_header(name, value.as_bytes()), Err(EditError::InvalidSyntax), "{name:?}");
    }
}

#[test]
fn connection_and_framing_are_the_gateways_own() {
    let mut exchange = slot();
    for name in ["connection", "Content-Length", "transfer-encoding", "te", "upgrade", "keep-alive", "trailer"] {
        assert_eq!(exchange.set_request_header(name, b"1"), Err(EditError::Forbidden), "{name}");
        assert_eq!(exchange.remove_request_header(name), Err(EditError::Forbidden), "{name}");
    }
    assert_eq!(exchange.append_request_header("host", b"b"), Err(EditError::Forbidden));
}

#[test]
fn setting_host_sets_the_authority() {
    let mut exchange = slot();
    exchange.set_request_header("host", b"other.example:81").unwrap();
    assert_eq!(exchange.request.authority, "other.example:81");
    assert_eq!(exchange.set_request_header("host", b"user@b"), Err(EditError::InvalidSyntax));
    assert!(exchange.request.headers.is_empty());
}

#[test]
fn a_head_does_not_grow_over_its_bounds() {
    let mut exchange = slot();
    assert_eq!(exchange.set_request_header("x-long", &[b'a'; 200]), Err(EditError::TooLarge));
    for name in ["a", "b", "c", "d"] {
        exchange.set_request_header(name, b"1").unwrap();
    }
    assert_eq!(exchange.set_request_header("e", b"1"), Err(EditError::TooLarge));
    exchange.set_request_header("a", b"2").unwrap();
}

#[test]
fn what_has_come_takes_no_room_away() {
    let mut exchange = slot();
    for name in ["x-1", "x-2", "x-3", "x-4", "x-5"] {
        exchange.request.headers.insert(name, HeaderValue::from_static("of the client"));
    }
    for name in ["a", "b", "c", "d"] {
        exchange.set_request_header(name, b"1").unwrap();
    }
    assert_eq!(exchange.set_request_header("e", b"1"), Err(EditError::TooLarge));
    assert_eq!(exchange.no_room(), Some(NoRoom::Head));
}

#[test]
fn a_target_is_in_normal_form() {
    let mut exchange = slot();
    exchange.set_target("/x?y=/../z").unwrap();
    assert_eq!(exchange.request.target, "/x?y=/../z");
    assert_eq!(*exchange.original_target(), "/a?b");
    for target in ["x", "", "/a/../b", "/a/%2e%2E/b", "/a b", "/a#b", "/a\\b"] {
        assert_eq!(exchange.set_target(target), Err(EditError::InvalidSyntax), "{target:?}");
    }
    assert_eq!(exchange.set_target("/aaaaaaaaaaaaaaaaaaaaaaaa"), Err(EditError::TooLarge));
}

#[test]
fn each_phase_may_change_its_own_message_and_the_last_none() {
    let mut exchange = slot();
    assert_eq!(exchange.set_status(204), Err(EditError::Forbidden));
    exchange.phase = Phase::Response;
    exchange.response = Some(ResponseHead { status: StatusCode::OK, headers: HeaderMap::new() });
    assert_eq!(exchange.set_method("POST"), Err(EditError::Forbidden));
    exchange.set_status(204).unwrap();
    assert_eq!(exchange.set_status(199), Err(EditError::InvalidSyntax));
    exchange.set_response_header("x-a", b"1").unwrap();
    exchange.phase = Phase::Complete;
    assert_eq!(exchange.set_response_header("x-a", b"2"), Err(EditError::Forbidden));
    assert_eq!(exchange.set_attribute("a", "b"), Err(EditError::Forbidden));
}

#[test]
fn attributes_are_bounded_in_number_and_bytes() {
    let mut exchange = slot();
    let most = exchange.bounds.added_bytes;
    exchange.set_attribute("a", &"x".repeat(most - 1)).unwrap();
    assert_eq!(exchange.set_attribute("b", "1"), Err(EditError::TooLarge));
    exchange.set_attribute("a", "small again").unwrap();
    exchange.bounds = Rc::new(Bounds { added_bytes: 10_000, ..Bounds::clone(&exchange.bounds) });
    for n in 1..MAX_ATTRIBUTES {
        exchange.set_attribute(&format!("n{n}"), "").unwrap();
    }
    assert_eq!(exchange.set_attribute("one more", ""), Err(EditError::InvalidSyntax));
    assert_eq!(exchange.set_attribute("one-more", ""), Err(EditError::TooLarge));
    assert_eq!(exchange.attribute("a"), Some("small again"));
}

#[test]
fn a_removed_attribute_is_gone_and_still_tells_clients_apart() {
    let mut exchange = slot();
    exchange.set_attribute("jwt.sub", "anna").unwrap();
    exchange.set_attribute("note", "x").unwrap();
    for key in ["jwt.sub", "note", "never-set"] {
        exchange.remove_attribute(key).unwrap();
    }
    assert_eq!((exchange.attribute("jwt.sub"), exchange.attributes().count()), (None, 0));
    let traits: Vec<_> = exchange.traits().unwrap().map(|known| (known.name, known.value)).collect();
    assert_eq!(traits, [("jwt.sub", &b"anna"[..])]);
    assert_eq!(exchange.remove_attribute("tls.version"), Err(EditError::Forbidden));
    assert_eq!(exchange.remove_attribute("a b"), Err(EditError::InvalidSyntax));
    exchange.begin_transaction();
    exchange.set_attribute("note", "y").unwrap();
    exchange.commit();
    exchange.begin_transaction();
    exchange.remove_attribute("note").unwrap();
    exchange.roll_back();
    assert_eq!(exchange.attribute("note"), Some("y"), "removed by a call that was skipped");
    exchange.phase = Phase::Complete;
    assert_eq!(exchange.remove_attribute("note"), Err(EditError::Forbidden));
}

#[test]
fn what_is_rolled_back_is_as_it_was_and_what_is_committed_stays() {
    let mut exchange = slot();
    exchange.begin_transaction();
    exchange.set_request_header("x-a", b"1").unwrap();
    exchange.set_method("PUT").unwrap();
    exchange.set_attribute("k", "v").unwrap();
    exchange.replace_request_body(Body::Full("new".into())).unwrap();
    exchange.roll_back();
    assert!(exchange.request.headers.is_empty() && exchange.request.method == Method::GET);
    assert_eq!(exchange.attribute("k"), None);
    assert!(matches!(exchange.request_body, Body::Empty));
    exchange.begin_transaction();
    exchange.set_request_header("x-a", b"1").unwrap();
    exchange.commit();
    exchange.roll_back();
    assert_eq!(exchange.request.headers["x-a"], "1");
}
