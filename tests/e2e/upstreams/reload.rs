//! A reload that changes an upstream: what is known of the endpoints that stay, and the connections to them, stay.

use std::collections::HashMap;

use super::{answers, balanced};
use crate::support::nobody;
use crate::support::{TestGateway, Upstream, counted::metric, eventually};

#[tokio::test]
async fn endpoints_that_stay_keep_their_connections() {
    let (a, b, c) = (Upstream::named("a").await, Upstream::named("b").await, Upstream::named("c").await);
    let mut gateway = TestGateway::start(&balanced(&[a.address(), b.address()], "")).await;
    answers(&gateway, 20).await;
    let changed = balanced(&[b.address(), c.address()], "balance: random, idle-connections: 9");
    gateway.reload(&changed).await.expect("a good configuration");
    answers(&gateway, 50).await;
    assert_eq!((a.connections(), b.connections(), c.connections()), (1, 1, 1));
    eventually("the connection to the one that is gone being closed", async || {
        metric(&gateway, "gateway_upstream_connections{upstream=\"it\"}").await == 2
    })
    .await;
}

#[tokio::test]
async fn endpoints_that_stay_keep_their_standing() {
    let (a, c) = (Upstream::named("a").await, Upstream::named("c").await);
    let dead = nobody();
    let settings = "health: { passive: { consecutive-failures: 2, ejection-time: 1h, max-ejection-time: 1h } }";
    let mut gateway = TestGateway::start(&balanced(&[a.address(), dead], settings)).await;
    answers(&gateway, 20).await;
    let refused = "gateway_upstream_connects_total{upstream=\"it\",result=\"error\"}";
    assert_eq!(metric(&gateway, refused).await, 2);
    let changed = balanced(&[c.address(), dead], &format!("idle-connections: 9, {settings}"));
    gateway.reload(&changed).await.expect("a good configuration");
    assert_eq!(answers(&gateway, 20).await, HashMap::from([("c".to_owned(), 20)]));
    assert_eq!(metric(&gateway, refused).await, 2, "the one that is ejected is still known to be");
}
