//! A request to explain, which is not sent.

use gateway_core::{error::Failure, model::Listener};
use gateway_http::{
    framing::is_carried,
    path::{Normal, normalise},
    target::encoded,
};
use gateway_route::{Query, Table};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, header,
    uri::{InvalidUri, PathAndQuery},
};
use thiserror::Error;

/// What is no request.
#[derive(Debug, Error)]
pub enum NoRequest {
    #[error("`{0}` is not a method")]
    Method(String),
    #[error("`{0}` is not a URL: {1}")]
    Url(String, #[source] InvalidUri),
    #[error("`{0}` has no path")]
    NoPath(String),
    #[error("`{0}` is not `name: value`")]
    Field(String),
    #[error("`{0}` is not a header name")]
    Name(String),
    #[error("`{0}` is not a header value")]
    Value(String),
    #[error("there is no listener `{0}`")]
    Listener(String),
    #[error("there are too many fields")]
    TooManyFields,
}

pub struct Asked {
    /// The name of the listener; `at` sets it.
    listener: String,
    scheme: Option<String>,
    pub method: Method,
    host: String,
    pub target: PathAndQuery,
    headers: HeaderMap,
}

/// The gateway answers such a request itself.
pub struct Unserved {
    pub status: u16,
    pub why: String,
}

impl Asked {
    /// A URL, or a path with `host` among the fields, which are `name: value` each.
    ///
    /// # Errors
    ///
    /// What cannot be understood.
    pub fn parse(method: &str, url: &str, fields: &[String]) -> Result<Self, NoRequest> {
        let method: Method = method.parse().map_err(|_| NoRequest::Method(method.to_owned()))?;
        let uri: Uri = encoded(url).parse().map_err(|error| NoRequest::Url(url.to_owned(), error))?;
        let target = uri.path_and_query().cloned().ok_or_else(|| NoRequest::NoPath(url.to_owned()))?;
        let mut headers = HeaderMap::new();
        for line in fields {
            let (name, value) = line.split_once(':').ok_or_else(|| NoRequest::Field(line.clone()))?;
            let name: HeaderName = name.trim().parse().map_err(|_| NoRequest::Name(name.trim().to_owned()))?;
            let value: HeaderValue = value.trim().parse().map_err(|_| NoRequest::Value(value.trim().to_owned()))?;
            headers.try_append(name, value).map_err(|_| NoRequest::TooManyFields)?;
        }
        let host = match (uri.authority(), headers.remove(header::HOST)) {
            (Some(authority), _) => authority.to_string(),
            (None, Some(host)) => host.to_str().unwrap_or_default().to_owned(),
            (None, None) => String::new(),
        };
        let scheme = uri.scheme_str().map(str::to_ascii_lowercase);
        Ok(Self { listener: String::new(), scheme, method, host, target, headers })
    }

    /// Says which listener it comes to. Without a name it is the first one that has TLS as the URL's scheme says.
    ///
    /// # Errors
    ///
    /// There is no listener of this name.
    pub fn at(mut self, name: Option<&str>, listeners: &[Listener]) -> Result<Self, NoRequest> {
        let found = match name {
            Some(name) => {
                let found = listeners.iter().find(|listener| *listener.name == *name);
                Some(found.ok_or_else(|| NoRequest::Listener(name.to_owned()))?)
            }
            None => {
                let fits = |listener: &&Listener| match self.scheme.as_deref() {
                    Some(scheme) => (scheme == "https") == listener.tls.is_some(),
                    None => true,
                };
                listeners.iter().find(fits).or(listeners.first())
            }
        };
        self.listener = found.map(|listener| listener.name.to_string()).unwrap_or_default();
        Ok(self)
    }

    /// Its path and query in the form that everyone sees.
    ///
    /// # Errors
    ///
    /// It gets no further than that.
    pub fn admit(&self, table: &Table) -> Result<PathAndQuery, Unserved> {
        let unserved = |failure: Failure, why: String| Unserved { status: failure.status().as_u16(), why };
        if !is_carried(&self.method) {
            return Err(unserved(Failure::MethodNotImplemented, "the method is not forwarded".to_owned()));
        }
        let normal = normalise(&self.target, &self.method).and_then(|normal| match normal {
            Normal::Clear(target) => Ok(target),
            Normal::Ambiguous(path) => table.resolve(&path, &self.query(&self.target)),
        });
        normal.map_err(|why| unserved(why.into(), why.to_string()))
    }

    /// For the routing table.
    pub fn query<'a>(&'a self, target: &'a PathAndQuery) -> Query<'a> {
        Query {
            listener: &self.listener,
            host: &self.host,
            path: target.path(),
            query: target.query(),
            method: &self.method,
            headers: &self.headers,
        }
    }
}
