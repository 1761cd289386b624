//! Which data of exchanges plugins may read and write, by the gateway's rules.

use gateway_rules::data_grants::{BodyAccess, GrantedNames, NamedAccess};
pub(super) use gateway_rules::data_grants::{Data, DataAccess, HOST, METHOD, PATH, STATUS};

use super::{TestHost, host::current_state};
use crate::{Body, BodyError, Reply, body::Fields};

impl TestHost {
    /// Limits the headers and trailers of requests that plugins can read and write, as
    /// `grants: { request-headers: { read: […], write: […] } }` does in a configuration. `host` is the authority, `:path` path and query,
    /// `:method` the method, and `*` at the end of a name stands for every end.
    ///
    /// ```
    /// use plugin_sdk::{Decision, Error, NoConfig, Plugin, Problems, Request, RequestFilter, testkit::{TestHost, TestRequest}};
    ///
    /// struct Tagger;
    ///
    /// impl Plugin for Tagger {
    ///     type Config = NoConfig;
    ///
    ///     fn new(_: NoConfig) -> Result<Self, Problems> {
    ///         Ok(Self)
    ///     }
    /// }
    ///
    /// impl RequestFilter for Tagger {
    ///     fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
    ///         let kind = if request.header("cookie").is_some() { "user" } else { "anonymous" };
    ///         request.set_header("x-kind", kind)?;
    ///         Ok(Decision::Next)
    ///     }
    /// }
    ///
    /// let host = TestHost::new();
    /// host.limit_request_headers(&["accept"], &["x-*"]);
    /// let mut plugin = host.plugin::<Tagger>(serde_json::json!({})).unwrap();
    /// let exchange = plugin.request(TestRequest::get("/").header("cookie", "a=b"));
    /// assert_eq!(exchange.header("x-kind"), Some("anonymous"));
    /// ```
    pub fn limit_request_headers(&self, read: &[&str], write: &[&str]) {
        self.0.borrow_mut().data.request_headers = Some(of_headers(read, write));
    }

    /// Limits the headers and trailers of responses in the same way. `:status` is the status.
    pub fn limit_response_headers(&self, read: &[&str], write: &[&str]) {
        self.0.borrow_mut().data.response_headers = Some(of_headers(read, write));
    }

    /// Limits attributes in the same way.
    pub fn limit_attributes(&self, read: &[&str], write: &[&str]) {
        let names = |names: &[&str]| GrantedNames::of_attributes(names.iter().copied());
        self.0.borrow_mut().data.attributes = Some(NamedAccess { read: names(read), write: names(write) });
    }

    /// Limits the bodies that plugins can read and replace to those that are named: `request`, `response`. The gateway refuses a
    /// component that exports a function for a body without the grant, so its plugin is not called with it here either.
    pub fn limit_bodies(&self, read: &[&str], write: &[&str]) {
        let has = |names: &[&str], name| names.contains(&name);
        self.0.borrow_mut().data.body = Some(BodyAccess {
            read_request: has(read, "request"),
            read_response: has(read, "response"),
            write_request: has(write, "request"),
            write_response: has(write, "response"),
        });
    }
}

fn of_headers(read: &[&str], write: &[&str]) -> NamedAccess {
    let names = |names: &[&str]| GrantedNames::of_headers(names.iter().copied());
    NamedAccess { read: names(read), write: names(write) }
}

/// Whether the plugin that is called may do this with data of this name.
pub(super) fn may(data: Data, access: DataAccess, name: &str) -> bool {
    current_state(|state| state.data.allows(data, access, name)).unwrap_or(true)
}

/// Whether it may do this with all data of a kind.
pub(super) fn may_with_all(data: Data, access: DataAccess) -> bool {
    current_state(|state| state.data.allows_all(data, access)).unwrap_or(true)
}

impl TestHost {
    fn may(&self, data: Data, access: DataAccess, name: &str) -> bool {
        self.0.borrow().data.allows(data, access, name)
    }

    /// A body as the plugin may read it.
    pub(super) fn readable(&self, of: Data, trailers: Data, body: Result<Body, BodyError>) -> Result<Body, BodyError> {
        if !self.may(of, DataAccess::Read, "") {
            return Err(BodyError::Unavailable);
        }
        let Body { bytes, trailers: fields } = body?;
        Ok(Body { bytes, trailers: self.readable_fields(trailers, fields) })
    }

    /// Of trailers, those that the plugin may read.
    pub(super) fn readable_fields(&self, data: Data, mut fields: Fields) -> Fields {
        fields.retain(|(name, _)| self.may(data, DataAccess::Read, name));
        fields
    }

    /// The trailers that go on: of those that the plugin may write, what it returned, and of all others what came.
    pub(super) fn granted_trailers(&self, data: Data, came: Fields, mut returned: Fields) -> Fields {
        returned.retain(|(name, _)| self.may(data, DataAccess::Write, name));
        returned.extend(came.into_iter().filter(|(name, _)| !self.may(data, DataAccess::Write, name)));
        returned
    }

    /// A reply without headers and a body that the plugin may not write. It is still sent.
    pub(super) fn granted_reply(&self, mut reply: Reply) -> Reply {
        reply.headers.retain(|(name, _)| self.may(Data::ResponseHeaders, DataAccess::Write, name));
        if !self.may(Data::ResponseBody, DataAccess::Write, "") {
            reply.body = Vec::new();
        }
        reply
    }
}
