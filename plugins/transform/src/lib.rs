//! Edits the heads of requests and responses by configuration.
//!
//! All values of a phase are computed before its first edit, so that the order of the edits does not decide
//! what a template sees.

mod config;
mod headers;
mod target;
mod template;

use plugin_sdk::{
    Decision, EditError, Error, Phases, Plugin, Problem, Problems, Request, RequestFilter, Response, ResponseDecision,
    ResponseFilter, export_plugin,
};

use crate::{
    config::Config,
    headers::{HeaderEdits, Refused},
    target::TargetEdits,
    template::{Scope, Values},
};

const PREFIX_HEADER: &str = "x-forwarded-prefix";

struct Transform {
    request: HeaderEdits,
    target: TargetEdits,
    response: HeaderEdits,
    /// Where values are computed; kept, so that a warm instance does not allocate for them.
    values: Values,
}

impl Plugin for Transform {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let request = HeaderEdits::new(&config.request.headers(), Scope::Request, "/request", &mut problems);
        let target = TargetEdits::new(&config.request, &mut problems);
        let response = HeaderEdits::new(&config.response.headers(), Scope::Response, "/response", &mut problems);
        if problems.is_empty() && request.is_empty() && target.is_empty() && response.is_empty() {
            problems.add("", "says nothing to do: give `request` or `response` some edits");
        }
        problems.or(Self { request, target, response, values: Values::default() })
    }

    fn phases(&self) -> Phases {
        Phases {
            request: !self.request.is_empty() || !self.target.is_empty(),
            response: !self.response.is_empty(),
            completion: false,
            ..Phases::default()
        }
    }
}

impl RequestFilter for Transform {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        self.values.clear();
        self.request.compute(request, None, &mut self.values);
        let target = match self.target.compute(request) {
            Ok(target) => target,
            Err(what) => return Ok(refuse(request, what)),
        };
        if let Some(prefix) = self.target.stripped(request) {
            announce_prefix(request, prefix)?;
        }
        match self.request.apply(request, None, &self.values) {
            Ok(()) => {}
            // Of valid names only a value of the client's makes it: a `host` that is none.
            Err(Refused { error: EditError::InvalidSyntax, .. }) => {
                return Ok(refuse(request, "a header of the request cannot be made of what it says"));
            }
            Err(refused) => return Err(refused.into()),
        }
        match target.map_or(Ok(()), |target| request.set_path_with_query(&target)) {
            Ok(()) => Ok(Decision::Next),
            Err(EditError::InvalidSyntax) => Ok(refuse(request, "the path cannot be made of what the request says")),
            Err(error) => Err(Error::new(format!("cannot change the target: {error}"))),
        }
    }
}

impl ResponseFilter for Transform {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        self.values.clear();
        self.response.compute(request, Some(response), &mut self.values);
        self.response.apply(request, Some(response), &self.values)?;
        Ok(ResponseDecision::Next)
    }
}

/// Lets the service make links that the client can follow, as Traefik and Kong do. What a proxy before the gateway has
/// stripped comes first; of a client that is no trusted proxy the gateway takes no such header.
fn announce_prefix(request: &Request, prefix: &str) -> Result<(), Error> {
    let mut whole = request.header_bytes(PREFIX_HEADER).unwrap_or_default();
    while whole.last() == Some(&b'/') {
        whole.pop();
    }
    whole.extend_from_slice(prefix.as_bytes());
    request.set_header(PREFIX_HEADER, &whole)?;
    Ok(())
}

/// What a client can bring about is no failure of the plugin: under `on-error: skip`, a failure would let the request pass
/// to a path that nobody meant.
fn refuse(request: &Request, detail: &str) -> Decision {
    Problem::new(400).detail(detail).member("request-id", request.id()).into()
}

export_plugin!(Transform: request, response);

#[cfg(test)]
mod tests;
