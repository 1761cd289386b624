//! Which way to read a path that services read differently.
//!
//! The routes say how their services read paths, and the path decides the route. So every reading is looked up, and
//! all routes that are found must agree; if they do not, there is no safe answer and the request is rejected. What
//! is matched is then also what goes upstream, where nothing is left that could be read as another route's path:
//! `/admin%2Fsecret` never gets past the plugins of `/admin/{*rest}` by way of `/{*rest}`.
//!
//! - Encoded slashes: with `reject` in one of the routes the request is rejected. With `decode` in all of them the
//!   decoded path decides. With `keep` in all of them the path as it came decides, also where the decoded one would
//!   lead to another route: each of these routes says that its service takes `%2F` as a part of a name.
//! - Slashes in a row: either all merge or none does.
//! - Matrix parameters: with `same-route` in one of the routes, the route must be the same with and without them.

use std::sync::Arc;

use gateway_core::model::{EncodedSlashes, MatrixParameters, Route};
use gateway_http::path::{Ambiguous, Reading, Rejected};
use http::uri::PathAndQuery;
use smallvec::SmallVec;

use super::{
    query::Query,
    table::{RouteMatch, Table},
};

/// A reading and the route that it leads to.
type LookedUp<'t> = (Reading, Option<&'t Arc<Route>>);

impl Table {
    /// The normal form of an ambiguous path under the rule of its routes. The path and query of `query` are not looked at.
    pub fn resolve(&self, path: &Ambiguous, query: &Query<'_>) -> Result<PathAndQuery, Rejected> {
        let found: SmallVec<[LookedUp<'_>; 8]> =
            path.readings().map(|reading| (reading, self.route_of(path, reading, query))).collect();
        let mut rules = found.iter().filter_map(|(_, route)| route.map(|route| route.paths));
        let Some(rule) = rules.next() else {
            // No route: the request is answered with 404 or 405, whatever its path means.
            return path.read(Reading { decode_slashes: false, merge_slashes: false, strip_parameters: false });
        };
        let mut matrix_parameters = rule.matrix_parameters;
        let mut agree = true;
        let mut reject = rule.encoded_slashes == EncodedSlashes::Reject;
        for other in rules {
            reject |= other.encoded_slashes == EncodedSlashes::Reject;
            agree &= !path.doubts.encoded_slash || other.encoded_slashes == rule.encoded_slashes;
            agree &= !path.doubts.double_slash || other.merge_slashes == rule.merge_slashes;
            if other.matrix_parameters == MatrixParameters::SameRoute {
                matrix_parameters = MatrixParameters::SameRoute;
            }
        }
        if path.doubts.encoded_slash && reject {
            return Err(Rejected::EncodedSlash);
        }
        if !agree || matrix_parameters == MatrixParameters::SameRoute && parameters_matter(&found) {
            // A hidden dot segment is rejected whatever the routes say, so that changing them would not help.
            let hidden = path.under(rule).err().filter(|why| *why == Rejected::HiddenDotSegment);
            return Err(hidden.unwrap_or(Rejected::Ambiguous));
        }
        path.under(rule)
    }

    fn route_of(&self, path: &Ambiguous, reading: Reading, query: &Query<'_>) -> Option<&Arc<Route>> {
        // In a reading that leads nowhere, no service can find anything.
        let target = path.read(reading).ok()?;
        match self.find(&Query { path: target.path(), query: target.query(), ..*query }) {
            RouteMatch::Route { route, .. } => Some(route),
            RouteMatch::NotFound | RouteMatch::MethodNotAllowed { .. } => None,
        }
    }
}

/// Whether a reading without parameters leads to another route than the same one with them. Routes that a plugin has
/// made are one: they have their plugins and their upstream in common.
fn parameters_matter(found: &[LookedUp<'_>]) -> bool {
    found.iter().filter(|(reading, _)| reading.strip_parameters).any(|(stripped, route)| {
        let same = Reading { strip_parameters: false, ..*stripped };
        let with = found.iter().find(|(reading, _)| *reading == same).and_then(|(_, route)| *route);
        with.map(|route| &route.name) != route.map(|route| &route.name)
    })
}
