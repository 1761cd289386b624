//! Grants of data in the test kit.

use plugin_sdk::{
    BodyError, Edit, EditError, Edits, Reply, Request,
    cache::{Cache, CacheError},
    testkit::{TestHost, TestRequest},
};

use super::puppet;

#[test]
fn data_that_is_not_granted_is_not_there_and_edits_of_it_are_refused() {
    let host = TestHost::new();
    host.limit_request_headers(&["accept"], &["x-*"]);
    host.limit_response_headers(&[], &["x-own"]);
    host.limit_attributes(&["acme.*"], &["acme.*"]);
    host.limit_bodies(&[], &[]);
    let on_request = |request: &Request| {
        assert_eq!((request.header("cookie"), request.header("accept").as_deref()), (None, Some("*/*")));
        assert_eq!(request.headers().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["accept"]);
        assert_eq!((request.path().as_str(), request.query(), request.authority().as_str()), ("", None, ""));
        assert_eq!(request.attribute("jwt.sub"), None);
        for refused in [
            request.set_header("accept", "a"),
            request.set_header("x_own", "another spelling"),
            request.set_method("PUT"),
            request.set_path_with_query("/other"),
            request.set_attribute("jwt.sub", "root"),
            request.remove_attribute("jwt.sub"),
        ] {
            assert_eq!(refused, Err(EditError::Forbidden));
        }
        request.set_header("x-own", "1")?;
        request.set_attribute("acme.tier", "gold")?;
        let edits = Edits::new(&[
            Edit::set_header("accept").always("b"),
            Edit::set_header("x-list").always("1"),
            Edit::set_response_header("x-other").always("1"),
        ]);
        assert!(edits.apply(request, None, []).is_err());
        assert_eq!(request.replace_body("new"), Err(BodyError::Unavailable));
        let cache = Cache::new("pages");
        assert!(matches!(cache.find(request, "k", false), Err(CacheError::Unavailable)));
        Ok(Reply::new(403).with_header("x-own", "1").with_header("set-cookie", "a=b").with_text("no").into())
    };
    let mut plugin = puppet(&host, on_request);
    let request = TestRequest::get("/secret?token=1").header("cookie", "a=b").header("accept", "*/*");
    let exchange = plugin.request(request.attribute("jwt.sub", "anna"));
    assert_eq!((exchange.header("x-own"), exchange.header("x-list")), (Some("1"), Some("1")));
    assert_eq!((exchange.header("accept"), exchange.attribute("jwt.sub")), (Some("*/*"), Some("anna")));
    let reply = exchange.reply().unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (403, &b""[..]));
    assert_eq!(reply.headers, [("x-own".to_owned(), b"1".to_vec())]);
}
