//! Asking one endpoint how it is, again and again.

use std::{rc::Rc, sync::Arc, time::Duration};

use gateway_core::{
    error::chain,
    model::{ActiveHealth, Check},
};
use gateway_http::body::Body;
use http::{HeaderMap, HeaderValue, Method, header, uri::PathAndQuery};

use super::{check_error::CheckError, grpc_health};
use crate::{
    cluster::{Cluster, Host},
    connections::{connect::Connected, incoming::Transport, request_head::RequestHead},
};

/// For ever; ended by dropping.
pub(crate) async fn keep_asking(cluster: Arc<Cluster>, host: Host) {
    let Some(policy) = &cluster.model.health.active else { return };
    let mut streak = Streak::new(host.health.is_unhealthy());
    // Not all endpoints of all upstreams at once.
    tokio::time::sleep(policy.interval.min(Duration::from_secs(1)).mul_f64(fastrand::f64())).await;
    loop {
        let answer = tokio::time::timeout(policy.timeout, ask(&cluster, &host, policy)).await;
        let answer = answer.unwrap_or(Err(CheckError::Timeout(policy.timeout)));
        cluster.metrics.health_checked(answer.is_ok());
        if let Err(reason) = &answer {
            let (upstream, endpoint) = (&*cluster.model.name, host.address);
            tracing::debug!(upstream, %endpoint, "health check failed: {}", chain(reason));
        }
        if let Some(unhealthy) = streak.count(policy, answer.is_ok()) {
            cluster.set_unhealthy(&host, unhealthy);
        }
        // A tenth more or less, so that gateways and endpoints do not fall into step.
        tokio::time::sleep(policy.interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
    }
}

/// On a connection of its own: whether new ones are accepted is part of the question.
async fn ask(cluster: &Cluster, host: &Host, policy: &ActiveHealth) -> Result<(), CheckError> {
    let line = match cluster.connect_to(host).connect(None, None, &Rc::default()).await? {
        Connected::Http1(connection) => Transport::Http1(connection),
        Connected::Http2(mux) => Transport::Http2(mux.slot().ok_or(CheckError::Gone)?),
    };
    let url = &cluster.model.endpoints[host.origin].url;
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let mut headers = HeaderMap::with_capacity(3 + policy.headers.0.len());
    headers.insert(header::USER_AGENT, HeaderValue::from_static("gateway-health-check"));
    let (method, target, mut body) = match policy.check() {
        Check::Path(path) => (Method::GET, path.clone(), Body::Empty),
        Check::Grpc(service) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            (Method::POST, PathAndQuery::from_static(grpc_health::METHOD), Body::Full(grpc_health::request(service)))
        }
        Check::Connect => return Ok(()),
    };
    for name in policy.headers.0.keys() {
        headers.remove(name);
    }
    headers.extend(policy.headers.0.iter().map(|(name, value)| (name.clone(), value.clone())));
    let host = match headers.remove(header::HOST) {
        Some(host) => host,
        None => HeaderValue::from_str(authority)?,
    };
    let head = RequestHead {
        method: &method,
        target: &target,
        headers: &headers,
        forwarding: None,
        host: &host,
        upgrade: None,
        traceparent: None,
        interim: None,
        expects_continue: false,
        last: true,
    };
    let scheme = url.scheme_str().unwrap_or("http");
    let (response, incoming) = line.send(&head, |body| head.request(scheme, body), &mut body).await?;
    match policy.check() {
        Check::Path(_) if policy.expects(response.status.as_u16()) => Ok(()),
        Check::Path(_) => Err(CheckError::Status(response.status)),
        Check::Grpc(_) => grpc_health::judge(&response, incoming).await,
        Check::Connect => Ok(()),
    }
}

/// Answers of the kind that would change the verdict, in a row.
struct Streak {
    unhealthy: bool,
    against: u32,
}

impl Streak {
    fn new(unhealthy: bool) -> Self {
        Self { unhealthy, against: 0 }
    }

    /// The new verdict, if there is one.
    fn count(&mut self, policy: &ActiveHealth, good: bool) -> Option<bool> {
        if good != self.unhealthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if self.unhealthy { policy.healthy_after } else { policy.unhealthy_after };
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.unhealthy = !self.unhealthy;
        Some(self.unhealthy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_as_many_answers_in_a_row_as_are_configured_to_change_the_verdict() {
        let policy = ActiveHealth { unhealthy_after: 3, healthy_after: 2, ..ActiveHealth::default() };
        let mut streak = Streak::new(false);
        let verdicts = [false, false, true, false, false, false, false, true, false, true, true, true]
            .map(|good| streak.count(&policy, good));
        let (none, sick, well) = (None, Some(true), Some(false));
        assert_eq!(verdicts, [none, none, none, none, none, sick, none, none, none, none, well, none]);
    }
}
