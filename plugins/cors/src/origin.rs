//! Which origins are let in.

/// One entry of `allow-origins`, in the form in which browsers write an origin (RFC 6454 §6.2).
#[derive(Debug, PartialEq, Eq)]
pub enum Origin {
    Any,
    /// `null`: a file, a sandboxed frame, a redirect across origins.
    Opaque,
    Pattern {
        scheme: String,
        host: Host,
        port: Port,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub enum Host {
    Exact(String),
    /// Any subdomain, at any depth, of what follows, which begins with a dot.
    Below(String),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Port {
    /// The scheme's own, which browsers leave out.
    Default,
    Exact(u16),
    Any,
}

impl Origin {
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "*" => return Ok(Self::Any),
            "null" => return Ok(Self::Opaque),
            _ => {}
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("`{text}` is not an origin; expected such as `https://app.example.com`"));
        };
        let scheme = scheme.to_ascii_lowercase();
        if !is_scheme(&scheme) {
            return Err(format!("`{scheme}` is not a scheme; expected `https` or `http`"));
        }
        if let Some(end) = rest.find(['/', '?', '#', '@']) {
            let host = &rest[..end];
            return Err(format!("an origin has scheme, host and port only; write `{scheme}://{host}`"));
        }
        let (host, port) = split_port(rest);
        let host = host.to_ascii_lowercase();
        let port = match port {
            None => Port::Default,
            Some("*") => Port::Any,
            Some(digits) => match digits.parse() {
                Ok(443) if scheme == "https" => Port::Default,
                Ok(80) if scheme == "http" => Port::Default,
                Ok(port) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Port::Exact(port),
                _ => return Err(format!("`{digits}` is not a port; expected a number up to 65535, or `*` for any")),
            },
        };
        let host = match host.strip_prefix('*') {
            Some(parent) if parent.starts_with('.') && is_host(&parent[1..]) => Host::Below(parent.to_owned()),
            None if is_host(&host) || is_ipv6(&host) => Host::Exact(host),
            _ => {
                return Err(format!(
                    "`{host}` is not a host; expected such as `app.example.com`, or `*.example.com` for all subdomains"
                ));
            }
        };
        Ok(Self::Pattern { scheme, host, port })
    }

    /// Whether what a browser wrote into `Origin` is this one. Browsers write origins in lower case.
    pub fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Opaque => origin == "null",
            Self::Pattern { scheme, host, port } => {
                let Some(rest) = origin.strip_prefix(scheme.as_str()).and_then(|rest| rest.strip_prefix("://")) else {
                    return false;
                };
                let (found_host, found_port) = split_port(rest);
                let port = match (port, found_port) {
                    (Port::Default | Port::Any, None) => true,
                    (Port::Exact(expected), Some(digits)) => digits.parse() == Ok(*expected),
                    (Port::Any, Some(digits)) => digits.bytes().all(|byte| byte.is_ascii_digit()),
                    _ => false,
                };
                port && match host {
                    Host::Exact(expected) => found_host == expected,
                    // What stands for the asterisk is checked too: `evil/.example.com` is no host.
                    Host::Below(parent) => found_host.strip_suffix(parent.as_str()).is_some_and(is_host),
                }
            }
        }
    }
}

/// Host and port; the colons of an IPv6 address are within brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Labels of letters, digits, hyphens and underscores; names in other scripts are in Punycode here.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.split('.').all(is_label)
}

fn is_ipv6(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inner.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::Origin;

    fn matches(pattern: &str, origin: &str) -> bool {
        Origin::parse(pattern).unwrap_or_else(|problem| panic!("{problem}")).matches(origin)
    }

    #[test]
    fn an_exact_origin_is_scheme_host_and_port() {
        for same in ["https://app.example.com", "HTTPS://App.Example.com", "https://app.example.com:443"] {
            assert!(matches(same, "https://app.example.com"), "{same}");
        }
        for other in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.test",
            "https://xapp.example.com",
            "https://appxexample.com",
            "https://app.example.com/",
            "https://app.example.com@evil.test",
            "null",
            "",
        ] {
            assert!(!matches("https://app.example.com", other), "{other}");
        }
        assert!(matches("http://localhost:3000", "http://localhost:3000"));
        assert!(matches("http://[::1]:3000", "http://[::1]:3000") && matches("http://[::1]", "http://[::1]"));
        assert!(matches("capacitor://localhost", "capacitor://localhost"));
    }

    #[test]
    fn a_wildcard_stands_for_subdomains_at_any_depth_and_not_for_the_domain() {
        for origin in ["https://a.example.com", "https://a.b.example.com"] {
            assert!(matches("https://*.example.com", origin), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://evilexample.com",
            "https://evil.test/.example.com",
            "https://evil.test#.example.com",
            "https://evil.test?.example.com",
            "https://evil.test:1.example.com",
            "https://a..example.com",
            "https://a.example.com.evil.test",
            "http://a.example.com",
            "https://a.example.com:8443",
        ] {
            assert!(!matches("https://*.example.com", origin), "{origin}");
        }
    }

    #[test]
    fn any_port_is_none_or_digits() {
        for origin in ["http://localhost", "http://localhost:1", "http://localhost:65535"] {
            assert!(matches("http://localhost:*", origin), "{origin}");
        }
        assert!(!matches("http://localhost:*", "http://localhost:1x"));
    }

    #[test]
    fn what_is_no_origin_is_said_with_what_would_be() {
        for (text, cure) in [
            ("app.example.com", "expected such as `https://app.example.com`"),
            ("https://app.example.com/", "write `https://app.example.com`"),
            ("https://*example.com", "`*.example.com` for all subdomains"),
            ("https://a.*.com", "`*.example.com` for all subdomains"),
            ("https://*", "`*.example.com` for all subdomains"),
            ("https://", "`*.example.com` for all subdomains"),
            ("https://a:99999", "a number up to 65535"),
            ("https://a:", "a number up to 65535"),
            ("1s://a", "expected `https` or `http`"),
        ] {
            let problem = Origin::parse(text).expect_err(text);
            assert!(problem.contains(cure), "{text}: {problem}");
        }
    }
}
