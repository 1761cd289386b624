//! What the rule for paths promises, sentence by sentence.

use super::*;

const KEEP: PathRule = PathRule {
    encoded_slashes: EncodedSlashes::Keep,
    merge_slashes: true,
    matrix_parameters: MatrixParameters::SameRoute,
};
const APART: PathRule = PathRule { merge_slashes: false, ..KEEP };
const REJECT: PathRule = PathRule { encoded_slashes: EncodedSlashes::Reject, ..KEEP };
const DECODE: PathRule = PathRule { encoded_slashes: EncodedSlashes::Decode, ..KEEP };

fn normal(path: &str, rule: PathRule) -> Result<String, Rejected> {
    let target = PathAndQuery::try_from(path).expect("a target");
    let target = match normalise(&target, &Method::GET)? {
        Normal::Clear(target) => target,
        Normal::Ambiguous(path) => path.under(rule)?,
    };
    Ok(target.as_str().to_owned())
}

#[track_caller]
fn assert_normal(rule: PathRule, cases: &[(&str, &str)]) {
    for (path, expected) in cases {
        assert_eq!(normal(path, rule).as_deref(), Ok(*expected), "{path}");
    }
}

#[track_caller]
fn assert_rejected(rule: PathRule, cases: &[(&str, Rejected)]) {
    for (path, expected) in cases {
        assert_eq!(normal(path, rule), Err(*expected), "{path}");
    }
}

#[test]
fn a_normal_path_is_returned_as_it_is() {
    for path in ["/", "/a/b", "/a/", "/a.b/..c/d.", "/a%20b%C3%BC", "/a=1/%0A(b)*,'!$&+=:@~-_", "/?a=..//%2f%zz"] {
        let target = PathAndQuery::try_from(path).expect("a target");
        let Ok(Normal::Clear(out)) = normalise(&target, &Method::GET) else { panic!("{path} is not clear") };
        assert_eq!(out.as_str().as_ptr(), target.as_str().as_ptr(), "{path} was copied");
    }
}

#[test]
fn escapes_have_one_spelling() {
    assert_normal(
        KEEP,
        &[
            ("/%7Euser/%41%62%2D%5f%2e", "/~user/Ab-_."),
            ("/%c3%bc%3a%3B", "/%C3%BC%3A%3B"),
            ("/ü", "/%C3%BC"),
            ("/a[0]{b}|^\"", "/a%5B0%5D%7Bb%7D%7C%5E%22"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/a%0d%0ab%09%7f", "/a%0D%0Ab%09%7F"),
        ],
    );
}

#[test]
fn broken_escapes_backslashes_and_nul_are_rejected() {
    assert_rejected(
        KEEP,
        &[
            ("/%", Rejected::BrokenEscape),
            ("/%4", Rejected::BrokenEscape),
            ("/%zz", Rejected::BrokenEscape),
            ("/%+1", Rejected::BrokenEscape),
            ("/%4/1", Rejected::BrokenEscape),
            ("/%ü", Rejected::BrokenEscape),
            ("/a\\b", Rejected::Backslash),
            ("/%00", Rejected::ControlCharacter),
            ("/a%00b", Rejected::ControlCharacter),
        ],
    );
}

#[test]
fn dot_segments_are_resolved_however_they_are_written() {
    assert_normal(
        KEEP,
        &[
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/a/..", "/"),
            ("/.", "/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b?x=/../", "/b?x=/../"),
            ("/a/b/c/../../d/", "/a/d/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/a//../b", "/b"),
        ],
    );
}

#[test]
fn nothing_is_above_the_root() {
    for path in ["/..", "/../", "/a/../..", "/%2e%2e/a", "/.//../x"] {
        assert_eq!(normal(path, KEEP), Err(Rejected::AboveRoot), "{path}");
    }
    assert_eq!(normal("/a//../../..", APART), Err(Rejected::AboveRoot));
}

#[test]
fn slashes_in_a_row_become_one_where_configured() {
    assert_normal(KEEP, &[("//", "/"), ("//a///b//", "/a/b/"), ("/a//.", "/a/"), ("/a//b?c//d", "/a/b?c//d")]);
    assert_normal(APART, &[("//", "//"), ("//a///b//", "//a///b//"), ("/a//../b", "/a/b"), ("//..", "/")]);
}

#[test]
fn encoded_slashes_are_kept_rejected_or_decoded() {
    assert_normal(KEEP, &[("/a%2fb%5cc", "/a%2Fb%5Cc"), ("/a%2F..b", "/a%2F..b")]);
    assert_normal(DECODE, &[("/a%2fb", "/a/b"), ("/a%2f%2e%2e%2Fb", "/b"), ("/a/%2F/b", "/a/b"), ("/%252F", "/%252F")]);
    assert_rejected(DECODE, &[("/a%5Cb", Rejected::Backslash), ("/a/..%2f..%2f..", Rejected::AboveRoot)]);
    assert_rejected(REJECT, &[("/a%2fb", Rejected::EncodedSlash), ("/a%5Cb", Rejected::EncodedSlash)]);
    assert_normal(REJECT, &[("/a?b=%2f", "/a?b=%2f")]);
}

#[test]
fn a_dot_segment_in_disguise_is_rejected() {
    for path in
        ["/a/..%2Fb", "/a/x%2f..%2fb", "/a/..%5c", "/a/%2e%2e%5Cb", "/..;/a", "/.;x=1/a", "/a/%2e.;", "/a/..%3Bx"]
    {
        assert_eq!(normal(path, KEEP), Err(Rejected::HiddenDotSegment), "{path}");
    }
}

#[test]
fn the_asterisk_is_for_options() {
    let target = PathAndQuery::from_static("*");
    assert!(matches!(normalise(&target, &Method::OPTIONS), Ok(Normal::Clear(target)) if target == *"*"));
    assert!(matches!(normalise(&target, &Method::GET), Err(Rejected::Asterisk)));
}

#[test]
fn a_query_right_after_the_authority_belongs_to_the_root() {
    let uri: http::Uri = "http://host?a=1".parse().expect("a uri");
    let target = uri.path_and_query().expect("a target");
    assert!(matches!(normalise(target, &Method::GET), Ok(Normal::Clear(target)) if target == *"/?a=1"));
}

/// What a path can be read as, sorted.
fn readings(path: &str) -> Vec<String> {
    let target = PathAndQuery::try_from(path).expect("a target");
    let Ok(Normal::Ambiguous(path)) = normalise(&target, &Method::GET) else { return vec![] };
    let readings = path.readings().filter_map(|reading| path.read(reading).ok());
    let mut readings: Vec<_> = readings.map(|target| target.as_str().to_owned()).collect();
    readings.sort();
    readings.dedup();
    readings
}

#[test]
fn an_ambiguous_path_has_every_reading_that_a_service_may_have() {
    assert_eq!(readings("/a/b?c=%2f;//"), [""; 0]);
    assert_eq!(readings("/a%2fb?c=%2f"), ["/a%2Fb?c=%2f", "/a/b?c=%2f"]);
    assert_eq!(readings("/a%5cb"), ["/a%5Cb", "/a/b"]);
    assert_eq!(readings("//a"), ["//a", "/a"]);
    assert_eq!(readings("/a;x=1/b"), ["/a/b", "/a;x=1/b"]);
    assert_eq!(readings("/a%3bx/b"), ["/a%3Bx/b", "/a/b"]);
    assert_eq!(readings("/a;x%2Fb"), ["/a", "/a/b", "/a;x%2Fb", "/a;x/b"]);
    // An empty segment that only one of the readings has.
    assert_eq!(readings("/a/%2Fb"), ["/a/%2Fb", "/a//b", "/a/b"]);
    assert_eq!(readings("/;x/a"), ["//a", "/;x/a", "/a"]);
    // `..` removes another segment before slashes are merged than after it.
    assert_eq!(readings("/a//../b"), ["/a/b", "/b"]);
}

#[test]
fn a_path_that_grows_too_long_is_rejected() {
    assert_eq!(normal(&format!("/{}", "[".repeat(40_000)), KEEP), Err(Rejected::TooLong));
}

#[test]
fn the_normal_form_is_its_own_normal_form() {
    const PARTS: &[&str] =
        &["/", "/", ".", "..", "%2e", "%2F", "%5C", "a", "%41", "ü", "%c3", "[", ";", "%25", "2e", "%", "//", "x%20"];
    let mut state = 1_u64;
    let mut roll = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut normals = 0;
    for _ in 0..60_000 {
        let path: String = (0..roll(9)).map(|_| PARTS[roll(PARTS.len())]).collect();
        for rule in [KEEP, APART, REJECT, DECODE] {
            let Ok(once) = normal(&format!("/{path}"), rule) else { continue };
            normals += 1;
            assert_eq!(normal(&once, rule).as_deref(), Ok(&*once), "/{path}");
            assert!(once.starts_with('/') && once.bytes().all(|b| b == b'/' || b == b'%' || is_pchar(b)), "{once}");
            assert!(!once.split('/').any(|segment| matches!(segment, "." | "..")), "/{path} became {once}");
            assert!(!rule.merge_slashes || !once.contains("//"), "/{path} became {once}");
        }
    }
    assert!(normals > 10_000, "too few paths were tried: {normals}");
}
