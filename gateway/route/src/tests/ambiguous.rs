//! Paths that services read in several ways: which requests pass, on which route and in which form.

use gateway_core::model::{EncodedSlashes, MatrixParameters};
use gateway_http::path::{Normal, Rejected, normalise};
use http::uri::PathAndQuery;

use super::{Draft, Query, RouteMatch, Table, route, routes};

impl Draft {
    fn slashes(mut self, encoded_slashes: EncodedSlashes) -> Self {
        self.paths.encoded_slashes = encoded_slashes;
        self
    }

    fn apart(mut self) -> Self {
        self.paths.merge_slashes = false;
        self
    }

    fn parameters(mut self) -> Self {
        self.paths.matrix_parameters = MatrixParameters::Keep;
        self
    }
}

/// `ROUTE TARGET` of a request, or why it is rejected.
fn asked(drafts: &[Draft], target: &str) -> Result<String, Rejected> {
    let table = Table::new(&routes(drafts.iter().cloned()));
    let (method, headers) = (http::Method::GET, http::HeaderMap::new());
    let target = PathAndQuery::try_from(target).expect("a target");
    let query = |target| Query {
        listener: "",
        host: "",
        path: PathAndQuery::path(target),
        query: None,
        method: &method,
        headers: &headers,
    };
    let target = match normalise(&target, &method)? {
        Normal::Clear(target) => target,
        Normal::Ambiguous(path) => table.resolve(&path, &query(&target))?,
    };
    Ok(match table.find(&query(&target)) {
        RouteMatch::Route { route, .. } => format!("{} {target}", route.name),
        _ => format!("none {target}"),
    })
}

#[track_caller]
fn assert_asked(drafts: &[Draft], cases: &[(&str, Result<&str, Rejected>)]) {
    for (target, expected) in cases {
        assert_eq!(asked(drafts, target).as_deref().map_err(|rejected| *rejected), *expected, "{target}");
    }
}

#[test]
fn without_a_rule_no_spelling_of_a_path_evades_its_route() {
    let drafts = [route("open", "/{*rest}"), route("admin", "/admin/{*rest}")];
    assert_asked(
        &drafts,
        &[
            ("/admin/secret", Ok("admin /admin/secret")),
            ("//admin//secret", Ok("admin /admin/secret")),
            ("/%61dmin/secret", Ok("admin /admin/secret")),
            ("/admin%2Fsecret", Err(Rejected::EncodedSlash)),
            ("/admin%5Csecret", Err(Rejected::EncodedSlash)),
            ("/x%2F..%2Fadmin/secret", Err(Rejected::EncodedSlash)),
            ("/a%2Fb", Err(Rejected::EncodedSlash)),
            ("/admin;x/secret", Err(Rejected::Ambiguous)),
            ("/admin%3Bx/secret", Err(Rejected::Ambiguous)),
            ("/admin;", Err(Rejected::Ambiguous)),
            ("/;x/admin/secret", Err(Rejected::Ambiguous)),
            ("/admin;x%2Fsecret", Err(Rejected::EncodedSlash)),
            ("/public;v=1/a;b", Ok("open /public;v=1/a;b")),
            ("/admin/secret;v=1", Ok("admin /admin/secret;v=1")),
        ],
    );
}

#[test]
fn a_route_that_keeps_slashes_gets_them_unless_they_could_mean_a_route_that_does_not() {
    use EncodedSlashes::Keep;
    let drafts = [
        route("open", "/{*rest}").slashes(Keep),
        route("admin", "/admin/{*rest}"),
        route("project", "/api/{id}/issues").slashes(Keep),
    ];
    assert_asked(
        &drafts,
        &[
            ("/a%2fb", Ok("open /a%2Fb")),
            ("/a%5Cb", Ok("open /a%5Cb")),
            ("/a%2Fadmin", Ok("open /a%2Fadmin")),
            // All routes that it could mean keep slashes: the path as it came decides.
            ("/api/group%2Fproject/issues", Ok("project /api/group%2Fproject/issues")),
            ("/admin%2Fsecret", Err(Rejected::EncodedSlash)),
            ("/admin%5Csecret", Err(Rejected::EncodedSlash)),
            ("/%2Fadmin", Err(Rejected::EncodedSlash)),
            ("/admin/a%2Fb", Err(Rejected::EncodedSlash)),
            ("/a/..%2Fadmin", Err(Rejected::EncodedSlash)),
            ("/a/..%2Fb", Err(Rejected::HiddenDotSegment)),
        ],
    );
}

#[test]
fn a_route_that_decodes_slashes_is_found_by_the_decoded_path() {
    let decode = |name, path| route(name, path).slashes(EncodedSlashes::Decode);
    let drafts = [decode("open", "/{*rest}"), decode("admin", "/admin/{*rest}"), route("fixed", "/fixed/{*rest}")];
    assert_asked(
        &drafts,
        &[
            ("/admin%2Fsecret", Ok("admin /admin/secret")),
            ("/x%2F..%2Fadmin%2fa", Ok("admin /admin/a")),
            ("/a/%2Fb", Ok("open /a/b")),
            ("/a%5Cb", Err(Rejected::Backslash)),
            ("/fixed%2Fa", Err(Rejected::EncodedSlash)),
            ("/a%2F..%2F..%2Fb", Err(Rejected::HiddenDotSegment)),
        ],
    );
    let mixed = [decode("open", "/{*rest}"), route("kept", "/kept/{*rest}").slashes(EncodedSlashes::Keep)];
    assert_asked(&mixed, &[("/kept/a%2Fb", Ok("kept /kept/a%2Fb")), ("/kept%2Fa", Err(Rejected::Ambiguous))]);
}

#[test]
fn a_route_that_keeps_slashes_apart_shares_no_path_with_one_that_merges_them() {
    let drafts = [route("bucket", "/bucket/{*rest}").apart(), route("open", "/{*rest}")];
    assert_asked(
        &drafts,
        &[
            ("/bucket/a//b///c", Ok("bucket /bucket/a//b///c")),
            ("/bucket//", Ok("bucket /bucket//")),
            ("/a//b", Ok("open /a/b")),
            ("//bucket/a", Err(Rejected::Ambiguous)),
        ],
    );
    let open = [route("open", "/{*rest}").apart(), route("admin", "/admin/{*rest}")];
    assert_asked(&open, &[("//a//b", Ok("open //a//b")), ("//admin/secret", Err(Rejected::Ambiguous))]);
}

#[test]
fn routes_that_keep_matrix_parameters_are_found_with_them() {
    let drafts =
        [route("open", "/{*rest}").parameters(), route("item", "/item/{id}").parameters(), route("fixed", "/fixed")];
    assert_asked(
        &drafts,
        &[
            ("/item;v=1/7", Ok("open /item;v=1/7")),
            ("/item/7;v=1", Ok("item /item/7;v=1")),
            ("/fixed;v=1", Err(Rejected::Ambiguous)),
        ],
    );
}

#[test]
fn an_ambiguous_path_without_a_route_is_not_found() {
    assert_asked(&[route("a", "/a/{*rest}")], &[("/b%2Fc", Ok("none /b%2Fc")), ("/b;x", Ok("none /b;x"))]);
}
