//! A request to explain, which is not sent.

use gateway_core::error::Failure;
use gateway_http::{
    framing::is_carried,
    path::{Normal, normalise},
    target::encoded,
};
use gateway_route::{Query, Table};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, uri::PathAndQuery};

pub struct Asked {
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
    /// What cannot be understood, in words.
    pub fn parse(method: &str, url: &str, fields: &[String]) -> Result<Self, String> {
        let method: Method = method.parse().map_err(|_| format!("`{method}` is not a method"))?;
        let uri: Uri = encoded(url).parse().map_err(|error| format!("`{url}` is not a URL: {error}"))?;
        let target = uri.path_and_query().cloned().ok_or_else(|| format!("`{url}` has no path"))?;
        let mut headers = HeaderMap::new();
        for line in fields {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("`{line}` is not `name: value`"))?;
            let name: HeaderName =
                name.trim().parse().map_err(|_| format!("`{}` is not a header name", name.trim()))?;
            let value: HeaderValue =
                value.trim().parse().map_err(|_| format!("`{}` is not a header value", value.trim()))?;
            headers.try_append(name, value).map_err(|_| "there are too many fields".to_owned())?;
        }
        let host = match (uri.authority(), headers.remove(header::HOST)) {
            (Some(authority), _) => authority.to_string(),
            (None, Some(host)) => host.to_str().unwrap_or_default().to_owned(),
            (None, None) => String::new(),
        };
        Ok(Self { method, host, target, headers })
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
            host: &self.host,
            path: target.path(),
            query: target.query(),
            method: &self.method,
            headers: &self.headers,
        }
    }
}
