//! Which route answers a request. Pure: built once from a checked configuration, then only read.
//!
//! Precedence is that of the Kubernetes Gateway API (`HTTPRouteSpec.hostnames` and `HTTPRouteRule.matches`),
//! extended to parameters, and never depends on the order in the file:
//!
//! 1. host: an exact name, then `*.suffix`, the longest first, then routes for every host;
//! 2. path: segment by segment from the left, a literal before `{parameter}` before `{*rest}`, and so an exact
//!    path before any pattern and a longer prefix before a shorter one;
//! 3. a condition on the method before none;
//! 4. the larger number of header conditions;
//! 5. the larger number of query conditions;
//! 6. the route's name.
//!
//! A more specific route whose other conditions fail hides nothing: the search goes on with the less specific
//! ones, also those of a less specific host. Decisions where implementations differ:
//!
//! - A path that services read in several ways must lead to routes that agree on one (`ambiguous.rs`).
//! - A trailing slash makes another path: `/a` does not match `/a/`.
//! - `/a/{*rest}` matches `/a`, `/a/` and all below, as the Gateway API's `PathPrefix` does. Were `/a` left out,
//!   a catch-all route without the authentication of `/a/{*rest}` would serve it.
//! - A method matches only itself: a route for `GET` does not serve `HEAD`, as in Gateway API, Envoy, Kong and
//!   Traefik. Who wants both lists both.

#![warn(unreachable_pub)]

mod ambiguous;
mod condition;
mod explain;
mod host;
mod query;
mod table;
#[cfg(test)]
mod tests;
mod tree;

pub use explain::{Candidate, Explanation, Verdict};
pub use query::Query;
pub use table::{RouteMatch, Table};
