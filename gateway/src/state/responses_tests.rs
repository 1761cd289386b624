//! What is kept, claimed and purged.

use super::*;

fn stored(variant: &str, body: &[u8]) -> Stored {
    Stored {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body),
        note: Bytes::new(),
        variant: variant.as_bytes().into(),
        tags: ["users".into()].into(),
        until: Instant::now() + Duration::from_secs(60),
    }
}

fn bodies(responses: &Responses, key: &str) -> Vec<Bytes> {
    responses.find("b", key).iter().map(|stored| stored.body.clone()).collect()
}

fn with_room() -> Arc<Responses> {
    Arc::new(Responses::new(1024 * 1024))
}

#[test]
fn variants_lie_under_one_key_and_replace_their_like() {
    let responses = with_room();
    responses.keep("b", "/", stored("de", b"hallo"));
    responses.keep("b", "/", stored("en", b"hello"));
    responses.keep("b", "/", stored("de", b"servus"));
    assert_eq!(bodies(&responses, "/"), ["servus", "hello"]);
    assert!(responses.find("other", "/").is_empty());
}

#[test]
fn what_is_over_is_not_found() {
    let responses = with_room();
    responses.keep("b", "/", Stored { until: Instant::now(), ..stored("", b"old") });
    assert!(responses.find("b", "/").is_empty());
}

#[test]
fn the_bytes_are_bounded_and_so_is_each_response() {
    let responses = with_room();
    responses.keep("b", "large", stored("", &vec![0; 100_000]));
    assert!(responses.find("b", "large").is_empty());
    for i in 0..1000 {
        responses.keep("b", &i.to_string(), stored("", &[0; 10_000]));
    }
    assert!(responses.usage().1 <= 1024 * 1024);
    assert!(responses.usage().0 > 50);
    responses.resize(0);
    assert_eq!(responses.usage().0, 0);
}

#[test]
fn many_variants_of_one_key_do_not_grow_without_bound() {
    let responses = with_room();
    for i in 0..1000 {
        responses.keep("b", "/", stored(&i.to_string(), b"small"));
    }
    assert_eq!(bodies(&responses, "/").len(), VARIANTS);
    for i in 0..10 {
        responses.keep("b", "/", stored(&i.to_string(), &[0; 20_000]));
    }
    assert!(bodies(&responses, "/").len() <= 3);
}

#[test]
fn purges_take_what_they_name() {
    let responses = with_room();
    let fill = || {
        for key in ["/a", "/a/b", "/c"] {
            responses.keep("b", key, stored("", b""));
        }
        responses.keep("bb", "/a", stored("", b""));
    };
    fill();
    assert_eq!(responses.purge("b", &Purge::Key("/a")), 1);
    assert_eq!(responses.purge("b", &Purge::Prefix("/a")), 1);
    assert_eq!(responses.usage().0, 2);
    fill();
    assert_eq!(responses.purge("b", &Purge::Tag("users")), 3);
    assert_eq!(responses.purge("b", &Purge::Tag("users")), 0);
    assert_eq!(responses.purge("bb", &Purge::All), 1);
}

#[tokio::test]
async fn one_fetches_and_the_others_are_told_when_it_has_ended() {
    let responses = with_room();
    let Turn::Mine(claim) = responses.claim("b", "/", None) else { panic!("nobody was there") };
    let Turn::Another(mut end) = responses.claim("b", "/", None) else { panic!("somebody was there") };
    responses.keep("b", "/", stored("", b""));
    assert!(end.changed().await.is_err());
    // The first one's end is not the next one's.
    let Turn::Mine(_next) = responses.claim("b", "/", None) else { panic!("it has ended") };
    drop(claim);
    assert!(matches!(responses.claim("b", "/", None), Turn::Another(_)));
}

#[test]
fn who_looked_before_it_was_kept_and_claims_after_is_told_to_look_again() {
    let responses = with_room();
    let looked = responses.moment("b", "/");
    let Turn::Mine(claim) = responses.claim("b", "/", Some(looked)) else { panic!("nobody was there") };
    responses.keep("b", "/", stored("", b""));
    drop(claim);
    assert!(matches!(responses.claim("b", "/\nbeside", Some(looked)), Turn::LookAgain));
    assert!(matches!(responses.claim("b", "/", Some(looked)), Turn::LookAgain));
    let looked = responses.moment("b", "/");
    assert!(matches!(responses.claim("b", "/", Some(looked)), Turn::Mine(_)));
}

#[test]
fn a_fetch_that_is_given_up_is_somebody_elses_turn() {
    let responses = with_room();
    drop(responses.claim("b", "/", None));
    assert!(matches!(responses.claim("b", "/", None), Turn::Mine(_)));
}

#[test]
fn nobody_waits_for_what_is_not_kept() {
    let responses = with_room();
    let Turn::Mine(_claim) = responses.claim("b", "/", None) else { panic!("nobody was there") };
    responses.waive("b", "/", Duration::from_secs(60));
    assert!(matches!(responses.claim("b", "/", None), Turn::Everyone));
    responses.waive("b", "/", Duration::ZERO);
    assert!(matches!(responses.claim("b", "/", None), Turn::Mine(_)));
}

#[test]
fn waivers_are_bounded() {
    let responses = with_room();
    for i in 0..WAIVERS + 100 {
        responses.waive("b", &i.to_string(), Duration::from_secs(60));
    }
    assert_eq!(responses.lock().by_key.len(), WAIVERS);
    // What is new takes the place of another one, so that nobody can use up the room.
    assert!(matches!(responses.claim("b", &(WAIVERS + 99).to_string(), None), Turn::Everyone));
}
