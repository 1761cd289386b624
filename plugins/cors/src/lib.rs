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
    Decision, Error, Plugin, Problems, Reply, Request, RequestFilter, Response, ResponseFilter, export_plugin, metrics,
};

use config::{Allowed, Config, Settings};
use origin::Origin;

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
const EXPOSE_HEADERS: &str = "access-control-expose-headers";
/// The origin of the request, for the response phase: until then a plugin may have removed the header.
const ORIGIN_ATTRIBUTE: &str = "cors.origin";

struct Cors(Settings);

impl Plugin for Cors {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        config.check().map(Self)
    }
}

impl RequestFilter for Cors {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        let Some(origin) = request.header("origin") else { return Ok(Decision::Next) };
        if request.method() == "OPTIONS"
            && let Some(method) = request.header_bytes("access-control-request-method")
        {
            return Ok(self.preflight(request, &origin, &method).into());
        }
        // No origin that is let in is longer than a host name can be.
        if !self.lets_in_everyone()
            && origin.len() <= 512
            && let Err(error) = request.set_attribute(ORIGIN_ATTRIBUTE, &origin)
        {
            // Without the note the page may not read the answer, and that is the safe side.
            plugin_sdk::debug!("no note left in `{ORIGIN_ATTRIBUTE}`: {error}");
        }
        Ok(Decision::Next)
    }
}

impl ResponseFilter for Cors {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<(), Error> {
        if self.lets_in_everyone() {
            // Whether or not there was an `Origin`: a cache may keep the response for those who send one.
            response.set_header(ALLOW_ORIGIN, "*")?;
            response.remove_header(ALLOW_CREDENTIALS)?;
            return self.expose(response);
        }
        vary(response)?;
        match request.attribute(ORIGIN_ATTRIBUTE) {
            Some(origin) if self.lets_in(&origin) => {
                response.set_header(ALLOW_ORIGIN, &origin)?;
                if self.0.credentials {
                    response.set_header(ALLOW_CREDENTIALS, "true")?;
                } else {
                    response.remove_header(ALLOW_CREDENTIALS)?;
                }
                self.expose(response)
            }
            // What the upstream says about origins does not count; its other fields mean something in the answers
            // to preflights only, which it is never asked for.
            _ => {
                for name in [ALLOW_ORIGIN, ALLOW_CREDENTIALS, EXPOSE_HEADERS] {
                    response.remove_header(name)?;
                }
                Ok(())
            }
        }
    }
}

export_plugin!(Cors: request, response);

impl Cors {
    /// Everyone gets the same answer then, and caches need not tell origins apart.
    fn lets_in_everyone(&self) -> bool {
        self.0.origins.first() == Some(&Origin::Any)
    }

    fn lets_in(&self, origin: &str) -> bool {
        self.0.origins.iter().any(|known| known.matches(origin))
    }

    /// The answer to a preflight. One to an origin that is not let in says nothing, from which the browser
    /// concludes that it must not send the request.
    fn preflight(&self, request: &Request, origin: &str, method: &[u8]) -> Reply {
        let allowed = self.lets_in(origin);
        let outcome = if allowed { "allowed" } else { "refused" };
        metrics::add("cors_preflights", 1, &[("route", &request.route()), ("outcome", outcome)]);
        // Not cacheable by itself (RFC 9110 §9.3.7), but some caches are told to.
        let reply = Reply::new(204).with_header(
            "vary",
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, \
             Access-Control-Request-Private-Network",
        );
        if !allowed {
            return reply;
        }
        let mut reply = reply.with_header(ALLOW_ORIGIN, if self.lets_in_everyone() { "*" } else { origin });
        if self.0.credentials {
            reply = reply.with_header(ALLOW_CREDENTIALS, "true");
        }
        reply = tell(reply, "access-control-allow-methods", &self.0.methods, || method.to_vec());
        reply = tell(reply, "access-control-allow-headers", &self.0.headers, || {
            request.header_values("access-control-request-headers").join(&b", "[..])
        });
        if self.0.private_network && request.header_bytes("access-control-request-private-network").is_some() {
            reply = reply.with_header("access-control-allow-private-network", "true");
        }
        reply.with_header("access-control-max-age", &self.0.max_age)
    }

    fn expose(&self, response: &Response) -> Result<(), Error> {
        match &self.0.expose {
            Some(list) => response.set_header(EXPOSE_HEADERS, list)?,
            None => response.remove_header(EXPOSE_HEADERS)?,
        }
        Ok(())
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

/// The answer depends on `Origin` even where there was none: another client's request may have one (Fetch, "CORS
/// protocol and HTTP caches").
fn vary(response: &Response) -> Result<(), Error> {
    let said = response.header_values("vary").iter().any(|line| {
        let mut names = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name.eq_ignore_ascii_case(b"origin") || name == b"*")
    });
    if !said {
        response.append_header("vary", "Origin")?;
    }
    Ok(())
}
