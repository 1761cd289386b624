//! Clients of the demo, so that its dashboard has something to show.

use std::{io, net::SocketAddr, rc::Rc, thread, time::Duration};

use http::{Method, header};
use reqwest::Client;
use tokio::{sync::oneshot, task::LocalSet, time::MissedTickBehavior};

/// About ten requests per second.
const INTERVAL: Duration = Duration::from_millis(100);
/// Clients do not wait longer, so no more than a few dozen requests are under way.
const TIMEOUT: Duration = Duration::from_secs(3);
/// More than the sandbox of `json-body` has room for.
const LARGE: usize = 900 * 1024;

/// Where requests go.
pub(super) struct Target {
    pub(super) http: SocketAddr,
    /// Of the listener with TLS, and its certificate in PEM.
    pub(super) https: Option<(SocketAddr, Vec<u8>)>,
    /// A token that `jwt` accepts.
    pub(super) token: String,
}

/// Clients in a thread of this process. They end when it is dropped.
pub(super) struct Traffic {
    _stop: oneshot::Sender<()>,
}

impl Traffic {
    pub(super) fn start(target: Target) -> io::Result<Self> {
        let mut builder = Client::builder().no_proxy().timeout(TIMEOUT).user_agent("gateway-demo");
        if let Some((_, certificate)) = &target.https {
            builder =
                builder.add_root_certificate(reqwest::Certificate::from_pem(certificate).map_err(io::Error::other)?);
        }
        let client = builder.build().map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("demo-traffic".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    _ = stopped => {}
                    () = requests(client, target) => {}
                }
            });
        })?;
        Ok(Self { _stop: stop })
    }
}

async fn requests(client: Client, target: Target) {
    let target = Rc::new(target);
    let mut clock = tokio::time::interval(INTERVAL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let request = next(&target, fastrand::u32(0..100));
        let request = client.request(request.method, request.url).headers(request.headers).body(request.body);
        tokio::task::spawn_local(async move {
            // Failures are part of the show: the gateway counts them.
            if let Ok(response) = request.send().await {
                let _ = response.bytes().await;
            }
        });
    }
}

struct Request {
    method: Method,
    url: String,
    headers: http::HeaderMap,
    body: String,
}

/// One of a hundred requests.
fn next(target: &Target, number: u32) -> Request {
    let url = |path: &str| format!("http://{}{path}", target.http);
    let get = |url: String| Request { method: Method::GET, url, headers: http::HeaderMap::new(), body: String::new() };
    let post = |body: String| {
        let headers = http::HeaderMap::from_iter([(header::CONTENT_TYPE, "application/json".parse().expect("a type"))]);
        Request { method: Method::POST, url: url("/orders"), headers, body }
    };
    match number {
        0..20 => get(url("/echo/hello")),
        20..30 => match target.https {
            Some((address, _)) => get(format!("https://localhost:{}/echo/secure", address.port())),
            None => get(url("/echo/hello")),
        },
        30..40 => get(url(&format!("/users/{}", number + 1))),
        40..55 => get(url(&format!("/catalogue/{}", number % 5))),
        55..80 => get(url("/shop/basket")),
        80..84 => {
            let mut request = get(url("/private"));
            request.headers.insert(header::AUTHORIZATION, format!("Bearer {}", target.token).parse().expect("a token"));
            request
        }
        84 => get(url("/private")),
        85..93 => get(url("/limited")),
        93 => get(url("/nowhere")),
        94..98 => post(r#"{ "item": 7, "price": 0 }"#.to_owned()),
        _ => post(format!(r#"{{ "item": 7, "note": "{}" }}"#, "x".repeat(LARGE))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_requested() {
        let https = Some((([127, 0, 0, 1], 2).into(), Vec::new()));
        let target = Target { http: ([127, 0, 0, 1], 1).into(), https, token: "a.b.c".into() };
        let requests: Vec<_> = (0..100).map(|number| next(&target, number)).collect();
        let config: serde_json::Value = serde_yaml::from_str(super::super::CONFIG).unwrap();
        for route in config["routes"].as_array().unwrap() {
            let path = route["match"]["path"].as_str().unwrap().split('{').next().unwrap();
            assert!(requests.iter().any(|request| request.url.contains(path)), "{path}");
        }
        assert!(requests.iter().any(|request| request.url.starts_with("https:")));
    }
}
