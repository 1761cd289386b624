//! Which upstream is the same one for two gateways.

use gateway_rules::identity::{Encoder, Sink};

use super::{Endpoint, Upstream, UpstreamTls};

impl Upstream {
    /// The identity of what requests to this upstream reach: gateways that share documents of upstreams find them under it.
    ///
    /// It consists of the endpoints that get requests, in any order, and of how their identity is verified, so that a gateway never
    /// uses what another one has taken from an endpoint that it would not trust itself. `certificates` are the trusted CAs and the
    /// client certificate in DER, in any order: files of the same path may differ between gateways, and change. Name, load
    /// balancing, health checks, limits and timeouts are no part of it: they change how a document is fetched, and not which one
    /// it is.
    pub fn identity(&self, certificates: &[Vec<u8>], sink: &mut Sink<'_>) {
        let UpstreamTls { ca: _, server_name, certificate: _, verify } = &self.tls;
        let gets_requests = |endpoint: &&Endpoint| endpoint.weight > 0;
        let has_weights = self.endpoints.iter().any(|endpoint| gets_requests(&endpoint));
        let endpoints = self.endpoints.iter().filter(|endpoint| !has_weights || gets_requests(endpoint));
        // Scheme and host are the same in upper and lower case (RFC 3986 §6.2.2.1).
        let mut urls: Vec<_> = endpoints.map(|endpoint| endpoint.url.to_string().to_lowercase()).collect();
        urls.sort_unstable();
        urls.dedup();
        let mut certificates: Vec<_> = certificates.iter().collect();
        certificates.sort_unstable();
        Encoder::new("upstream/1", sink)
            .list(urls.iter(), |to, url| _ = to.text(url))
            .list(certificates.iter(), |to, der| _ = to.bytes(der))
            .optional(server_name.as_ref(), |to, name| _ = to.text(name))
            .flag(*verify);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{Balance, Health, HostHeader, Percent, Protocol, UpstreamLimits, UpstreamTimeouts},
        *,
    };

    fn upstream(urls: &[&str]) -> Upstream {
        let endpoint = |url: &&str| Endpoint { url: url.parse().unwrap(), weight: 1 };
        Upstream {
            name: "keys".into(),
            endpoints: urls.iter().map(endpoint).collect(),
            balance: Balance::RoundRobin,
            health: Health { active: None, passive: None, panic_threshold: Percent(30) },
            retry: None,
            circuit_breaker: None,
            limits: UpstreamLimits::default(),
            tls: UpstreamTls::default(),
            protocol: Protocol::Http1,
            host: HostHeader::Preserve,
            timeouts: UpstreamTimeouts::default(),
            idle_connections: 256,
        }
    }

    fn identity_with(upstream: &Upstream, certificates: &[&str]) -> Vec<u8> {
        let certificates: Vec<_> = certificates.iter().map(|text| text.as_bytes().to_vec()).collect();
        let mut bytes = Vec::new();
        upstream.identity(&certificates, &mut |part| bytes.extend_from_slice(part));
        bytes
    }

    fn identity(upstream: &Upstream) -> Vec<u8> {
        identity_with(upstream, &[])
    }

    #[test]
    fn the_encoding_is_pinned_as_gateways_of_other_versions_have_it_too() {
        let mut known = upstream(&["https://b", "https://a:8443"]);
        known.tls.server_name = Some("id".to_owned());
        let expected = b"\0\0\0\0\0\0\0\x0aupstream/1\
            \0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x02\
            \0\0\0\0\0\0\0\x0fhttps://a:8443/\
            \0\0\0\0\0\0\0\x0ahttps://b/\
            \0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x01\
            \0\0\0\0\0\0\0\x02ca\
            \0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x01\
            \0\0\0\0\0\0\0\x02id\
            \0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x01";
        assert_eq!(String::from_utf8_lossy(&identity_with(&known, &["ca"])), String::from_utf8_lossy(expected));
    }

    #[test]
    fn how_requests_are_sent_changes_nothing() {
        let one = upstream(&["http://a", "http://b"]);
        let mut other = upstream(&["http://B", "http://a"]);
        other.name = "id".into();
        other.balance = Balance::Random;
        other.health.panic_threshold = Percent(0);
        other.limits.pending = 1;
        other.timeouts.connect = Duration::from_secs(1);
        other.idle_connections = 1;
        other.endpoints[0].weight = 7;
        assert_eq!(identity(&one), identity(&other));
    }

    #[test]
    fn other_endpoints_and_other_trust_are_another_upstream() {
        let one = upstream(&["https://a"]);
        let with = |tls| Upstream { tls, ..upstream(&["https://a"]) };
        for other in [
            upstream(&["https://b"]),
            upstream(&["https://a", "https://b"]),
            upstream(&["http://a"]),
            with(UpstreamTls { server_name: Some("ca.pem".to_owned()), ..UpstreamTls::default() }),
            with(UpstreamTls { verify: false, ..UpstreamTls::default() }),
        ] {
            assert_ne!(identity(&one), identity(&other), "{other:?}");
        }
        let trust: [&[&str]; 4] = [&[], &["a"], &["b"], &["a", "b"]];
        for (i, certificates) in trust.iter().enumerate() {
            let others = trust[..i].iter();
            assert!(others.into_iter().all(|other| identity_with(&one, other) != identity_with(&one, certificates)));
        }
        assert_eq!(identity_with(&one, &["a", "b"]), identity_with(&one, &["b", "a"]));
    }

    #[test]
    fn an_endpoint_that_gets_no_requests_is_no_part_of_it() {
        let with_weights = |weights: [u32; 2]| {
            let mut upstream = upstream(&["https://a", "https://b"]);
            upstream.endpoints.iter_mut().zip(weights).for_each(|(endpoint, weight)| endpoint.weight = weight);
            identity(&upstream)
        };
        assert_eq!(with_weights([0, 1]), identity(&upstream(&["https://b"])));
        assert_eq!(with_weights([0, 0]), with_weights([1, 1]));
    }
}
