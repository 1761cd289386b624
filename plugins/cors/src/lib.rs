//! Lets pages of other origins use an API from a browser: cross-origin resource sharing, as the Fetch standard has it
//! (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! It protects the users of browsers, by saying which pages may read what. It keeps nobody out: that is for the
//! plugins that ask who a client is.

mod config;
mod origin;
#[cfg(test)]
mod tests;

use plugin_sdk::{
    Decision, Edit, Edits, Error, Item, Plugin, Problems, Reply, Request, RequestFilter, Selection, export_plugin,
    metrics,
};

use config::{Allowed, Config, Settings};

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
const EXPOSE_HEADERS: &str = "access-control-expose-headers";

/// The request says it all: what becomes of the response is planned with it.
struct Cors {
    settings: Settings,
    /// Origin, method, and what a preflight asks for.
    asked: Selection,
    /// What the response says to an origin that is let in, and to others.
    let_in: Edits,
    kept_out: Edits,
}

impl Plugin for Cors {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        config.check().map(Self::with)
    }
}

impl RequestFilter for Cors {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let values = self.asked.read(request, None);
        let mut values = values.iter();
        let mut next = || values.next().flatten();
        let (origin, method, asked) = (next(), next(), next());
        // What is not UTF-8 is no origin.
        let origin = origin.map(|origin| std::str::from_utf8(origin).unwrap_or("?"));
        if let (Some(origin), Some(b"OPTIONS"), Some(asked)) = (origin, method, asked) {
            return Ok(self.preflight(request, origin, asked).into());
        }
        if self.settings.lets_in_everyone() {
            // Whether or not there is an `Origin`: a cache may keep the response for those who send one.
            self.let_in.apply(request, None, [])?;
        } else {
            match origin.filter(|origin| self.lets_in(origin)) {
                Some(origin) => self.let_in.apply(request, None, [Some(origin.as_bytes())])?,
                None => self.kept_out.apply(request, None, [])?,
            }
        }
        Ok(Decision::Next)
    }
}

export_plugin!(Cors: request);

impl Cors {
    fn with(settings: Settings) -> Self {
        let asked = [Item::Header("origin".into()), Item::Method, Item::Header("access-control-request-method".into())];
        // The answer depends on `Origin` even where there is none: another client's request may have one (Fetch, "CORS
        // protocol and HTTP caches").
        let vary = Edit::join_response_header("vary").always("Origin");
        let mut let_in = Vec::new();
        if settings.lets_in_everyone() {
            let_in.push(Edit::set_response_header(ALLOW_ORIGIN).always("*"));
        } else {
            let_in.extend([vary.clone(), Edit::set_response_header(ALLOW_ORIGIN)]);
        }
        let_in.push(if settings.credentials {
            Edit::set_response_header(ALLOW_CREDENTIALS).always("true")
        } else {
            Edit::remove_response_header(ALLOW_CREDENTIALS)
        });
        let_in.push(match &settings.expose {
            Some(list) => Edit::set_response_header(EXPOSE_HEADERS).always(list.as_str()),
            None => Edit::remove_response_header(EXPOSE_HEADERS),
        });
        // What the upstream says about origins does not count; its other fields mean something in the answers
        // to preflights only, which it is never asked for.
        let removed = [ALLOW_ORIGIN, ALLOW_CREDENTIALS, EXPOSE_HEADERS].map(Edit::remove_response_header);
        let kept_out: Vec<Edit> = std::iter::once(vary).chain(removed).collect();
        Self { asked: Selection::new(&asked), let_in: Edits::new(&let_in), kept_out: Edits::new(&kept_out), settings }
    }

    fn lets_in(&self, origin: &str) -> bool {
        // No origin is longer than a host name can be, and what is let in is said back.
        origin.len() <= 512 && self.settings.origins.iter().any(|known| known.matches(origin))
    }

    /// The answer to a preflight. One to an origin that is not let in says nothing, from which the browser
    /// concludes that it must not send the request.
    fn preflight(&self, request: &Request, origin: &str, method: &[u8]) -> Reply {
        let allowed = self.lets_in(origin);
        let outcome = if allowed { "allowed" } else { "denied" };
        metrics::add("cors_preflights", 1, &[("route", &request.route()), ("result", outcome)]);
        // Not cacheable by itself (RFC 9110 §9.3.7), but some caches are told to.
        let reply = Reply::new(204).with_header(
            "vary",
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, \
             Access-Control-Request-Private-Network",
        );
        if !allowed {
            return reply;
        }
        let mut reply = reply.with_header(ALLOW_ORIGIN, if self.settings.lets_in_everyone() { "*" } else { origin });
        if self.settings.credentials {
            reply = reply.with_header(ALLOW_CREDENTIALS, "true");
        }
        reply = tell(reply, "access-control-allow-methods", &self.settings.methods, || method.to_vec());
        reply = tell(reply, "access-control-allow-headers", &self.settings.headers, || {
            request.header_values("access-control-request-headers").join(&b", "[..])
        });
        if self.settings.private_network && request.header_bytes("access-control-request-private-network").is_some() {
            reply = reply.with_header("access-control-allow-private-network", "true");
        }
        reply.with_header("access-control-max-age", &self.settings.max_age)
    }
}

fn tell(reply: Reply, field: &str, allowed: &Allowed, asked: impl FnOnce() -> Vec<u8>) -> Reply {
    match allowed {
        Allowed::Nothing => reply,
        Allowed::These(list) => reply.with_header(field, list),
        Allowed::Asked => match asked() {
            names if names.is_empty() => reply,
            names => reply.with_header(field, names),
        },
    }
}
