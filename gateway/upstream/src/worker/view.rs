//! One worker's view of an upstream's endpoints: which are fit, and whose turn it is. Looking for a change costs a
//! load; only when there is one are the shared members looked at.

use std::{rc::Rc, time::Instant};

use super::endpoint::{Busy, Endpoint};
use crate::{
    balancing::{Balancer, Candidate, hash_of},
    cluster::{Group, Standing, looks_again},
    connections::permits::Open,
    moment::micros,
};

/// Made anew whenever members or their standing change.
pub(crate) struct View {
    pub(crate) version: u64,
    /// Somebody's ejection ends then.
    pub(crate) until: Option<Instant>,
    /// Those that get requests come first, in the balancer's order.
    pub(crate) endpoints: Vec<Rc<Endpoint>>,
    fit: usize,
    balancer: Balancer,
}

impl View {
    /// Connections are kept of endpoints that stay.
    pub(crate) fn new(group: &Group, now: Instant, old: &[Rc<Endpoint>], open: &Rc<Open>) -> Self {
        // Before the members are read: a change after that is seen next time.
        let version = group.version();
        let (members, until) = {
            let members = group.members();
            let in_use: Vec<_> = members.iter().filter(|member| group.is_in_use(member)).cloned().collect();
            let until = looks_again(&in_use, now);
            (in_use, until)
        };
        let is_fit = |standing: &Standing| standing.is_fit(micros(now));
        let fit = members.iter().filter(|member| is_fit(&member.standing)).count();
        let panics = fit == 0 || {
            let threshold = group.model.health.panic_threshold;
            !threshold.is_reached(fit as u64, members.len() as u64)
        };
        let endpoints = members.iter().map(|member| {
            let address = group.connect_to(member);
            let kept = old.iter().find(|endpoint| endpoint.is_at(&address, &member.standing));
            kept.cloned().unwrap_or_else(|| {
                Rc::new(Endpoint::new(&group.model, member, address, open, group.metrics.endpoint(member.address)))
            })
        });
        // Few healthy endpoints are a reason to try the unhealthy ones, but not to wait for those that cannot be reached.
        let none_reachable = members.iter().all(|member| member.standing.is_unreachable());
        let may_get =
            |standing: &Standing| is_fit(standing) || (panics && (none_reachable || !standing.is_unreachable()));
        let (mut endpoints, rest): (Vec<_>, Vec<_>) =
            endpoints.partition(|endpoint: &Rc<Endpoint>| may_get(&endpoint.standing));
        let candidates: Vec<Candidate> = endpoints
            .iter()
            .map(|endpoint| {
                // What is typed tells endpoints apart in every gateway alike; addresses do where a name has several.
                let identity = format!("{} {}", endpoint.url, endpoint.address.socket());
                let typed = || group.model.endpoints.iter().find(|e| e.url == endpoint.url).map_or(1, |e| e.weight);
                let weight = endpoint.standing.weight().unwrap_or_else(typed);
                Candidate { weight, identity: hash_of(identity.as_bytes()) }
            })
            .collect();
        let balancer = Balancer::new(&group.model.balance, &candidates);
        let fit = endpoints.len();
        endpoints.extend(rest);
        Self { version, until, endpoints, fit, balancer }
    }

    /// The endpoint for the next request; none if there is none at all.
    pub(crate) fn pick(&self, key: Option<u64>) -> Option<Busy> {
        if self.fit == 0 {
            return None;
        }
        let index = self.balancer.pick(key, |index| self.endpoints[index].under_way());
        Some(Busy::new(&self.endpoints[index]))
    }

    /// Those that get requests.
    pub(crate) fn fit(&self) -> &[Rc<Endpoint>] {
        &self.endpoints[..self.fit]
    }

    /// One that has not been tried: of those that are fit if there is any, else of the others.
    pub(crate) fn another(&self, tried: &[Rc<Endpoint>]) -> Option<Busy> {
        let (fit, rest) = self.endpoints.split_at(self.fit);
        // From a place by lot, so that not all the load of one that is down falls on its neighbour.
        let start = if fit.is_empty() { 0 } else { fastrand::usize(..fit.len()) };
        // One that cannot be reached would cost the whole time for a connection; it is tried only where there is no other.
        let rest = rest.iter().filter(|endpoint| fit.is_empty() || !endpoint.standing.is_unreachable());
        let mut order = fit[start..].iter().chain(&fit[..start]).chain(rest);
        order.find(|endpoint| !tried.iter().any(|tried| Rc::ptr_eq(tried, endpoint))).map(Busy::new)
    }
}
