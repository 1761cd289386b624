//! What is kept, claimed and purged.

use super::{super::ConsumerId, *};

fn stored(variant: &str, body: &[u8]) -> Stored {
    Stored {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body),
        note: Bytes::new(),
        variant: variant.as_bytes().into(),
        tags: ["users".into()].into(),
        until: Instant::now() + Duration::from_secs(60),
        invalidations: 0,
    }
}

fn at<'a>(bucket: &'a str, key: &'a str) -> CacheKey<'a> {
    CacheKey::anonymous(bucket, key)
}

fn bodies(responses: &Responses, key: &str) -> Vec<Bytes> {
    responses.find(at("b", key)).iter().map(|stored| stored.body.clone()).collect()
}

fn with_room() -> Arc<Responses> {
    Arc::new(Responses::new(1024 * 1024))
}

#[test]
fn variants_lie_under_one_key_and_replace_their_like() {
    let responses = with_room();
    responses.keep(at("b", "/"), stored("de", b"hallo"));
    responses.keep(at("b", "/"), stored("en", b"hello"));
    responses.keep(at("b", "/"), stored("de", b"servus"));
    assert_eq!(bodies(&responses, "/"), ["servus", "hello"]);
    assert!(responses.find(at("other", "/")).is_empty());
}

#[test]
fn what_is_over_is_not_found() {
    let responses = with_room();
    responses.keep(at("b", "/"), Stored { until: Instant::now(), ..stored("", b"old") });
    assert!(responses.find(at("b", "/")).is_empty());
}

#[test]
fn the_bytes_are_bounded_and_so_is_each_response() {
    let responses = with_room();
    responses.keep(at("b", "large"), stored("", &vec![0; 100_000]));
    assert!(responses.find(at("b", "large")).is_empty());
    for i in 0..1000 {
        responses.keep(at("b", &i.to_string()), stored("", &[0; 10_000]));
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
        responses.keep(at("b", "/"), stored(&i.to_string(), b"small"));
    }
    assert_eq!(bodies(&responses, "/").len(), MAX_VARIANTS);
    for i in 0..10 {
        responses.keep(at("b", "/"), stored(&i.to_string(), &[0; 20_000]));
    }
    assert!(bodies(&responses, "/").len() <= 3);
}

#[test]
fn purges_take_what_they_name() {
    let responses = with_room();
    let fill = || {
        for key in ["/a", "/a/b", "/c"] {
            responses.keep(at("b", key), stored("", b""));
        }
        responses.keep(at("bb", "/a"), stored("", b""));
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

#[test]
fn consumers_have_responses_of_their_own_which_are_forgotten_and_purged_with_everybodys() {
    let responses = with_room();
    let of = |consumer: u8| CacheKey { consumer: Some(ConsumerId([consumer; 16])), ..at("b", "/a\nhttp") };
    let fill = || {
        for consumer in [1, 2] {
            responses.keep(of(consumer), stored("", &[consumer]));
        }
        responses.keep(at("b", "/a\nhttp"), stored("", b"all"));
        responses.keep(at("b", "/c"), stored("", b"all"));
    };
    let left = || [of(1), of(2), at("b", "/a\nhttp"), at("b", "/c")].map(|key| !responses.find(key).is_empty());
    fill();
    assert_eq!(responses.find(of(2))[0].body, [2][..]);
    assert!(responses.find(of(3)).is_empty());
    responses.remove(of(1));
    assert_eq!(left(), [false, true, true, true]);
    responses.forget("b", "/a\nhttp");
    assert_eq!(left(), [false, false, false, true]);
    fill();
    assert_eq!(left(), [true; 4]);
    assert_eq!(responses.purge("b", &Purge::Key("/a")), 3);
    assert_eq!(left(), [false, false, false, true]);
}

#[tokio::test]
async fn one_fetches_and_the_others_are_told_when_it_has_ended() {
    let responses = with_room();
    let Turn::Mine(claim) = responses.claim(at("b", "/"), None) else { panic!("nobody was there") };
    let Turn::Another(mut end) = responses.claim(at("b", "/"), None) else { panic!("somebody was there") };
    responses.keep(at("b", "/"), stored("", b""));
    assert!(end.changed().await.is_err());
    // The first one's end is not the next one's.
    let Turn::Mine(_next) = responses.claim(at("b", "/"), None) else { panic!("it has ended") };
    drop(claim);
    assert!(matches!(responses.claim(at("b", "/"), None), Turn::Another(_)));
}

#[test]
fn who_looked_before_it_was_kept_and_claims_after_is_told_to_look_again() {
    let responses = with_room();
    let looked = responses.lookup_mark(at("b", "/"));
    let Turn::Mine(claim) = responses.claim(at("b", "/"), Some(looked)) else { panic!("nobody was there") };
    responses.keep(at("b", "/"), stored("", b""));
    drop(claim);
    assert!(matches!(responses.claim(at("b", "/\nbeside"), Some(looked)), Turn::LookAgain));
    assert!(matches!(responses.claim(at("b", "/"), Some(looked)), Turn::LookAgain));
    let looked = responses.lookup_mark(at("b", "/"));
    assert!(matches!(responses.claim(at("b", "/"), Some(looked)), Turn::Mine(_)));
}

#[test]
fn a_fetch_that_is_given_up_is_somebody_elses_turn() {
    let responses = with_room();
    drop(responses.claim(at("b", "/"), None));
    assert!(matches!(responses.claim(at("b", "/"), None), Turn::Mine(_)));
}

#[test]
fn nobody_waits_for_what_is_not_kept() {
    let responses = with_room();
    let Turn::Mine(_claim) = responses.claim(at("b", "/"), None) else { panic!("nobody was there") };
    responses.waive(at("b", "/"), Duration::from_secs(60));
    assert!(matches!(responses.claim(at("b", "/"), None), Turn::Everyone));
    responses.waive(at("b", "/"), Duration::ZERO);
    assert!(matches!(responses.claim(at("b", "/"), None), Turn::Mine(_)));
}

#[test]
fn waivers_are_bounded() {
    let responses = with_room();
    for i in 0..WAIVERS + 100 {
        responses.waive(at("b", &i.to_string()), Duration::from_secs(60));
    }
    assert_eq!(responses.lock().by_key.len(), WAIVERS);
    // What is new takes the place of another one, so that the memory cannot be exhausted.
    assert!(matches!(responses.claim(at("b", &(WAIVERS + 99).to_string()), None), Turn::Everyone));
}
