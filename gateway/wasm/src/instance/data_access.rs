//! Whether a plugin may read or write data of the exchange: asked by every function that gives it data or takes an edit.
//!
//! A read that is denied finds nothing, as if the header were absent, and a write that is denied is refused. Both are counted, and
//! the first one of each kind is logged.
//!
//! The check is at the border between host and guest, because the exchange itself is shared by all stages: the gateway, and plugins
//! with more grants, see everything. A new host function that gives a guest anything of the exchange asks here first. What is not
//! asked for by name (lists of headers, trailers) is filtered without counting it. Values that the gateway derives from a header,
//! such as `traceparent`, count as that header.

use bytes::Bytes;
use gateway_core::model::{Data, DataAccess, DataGrants};
use gateway_pipeline::Reply;
use gateway_rules::data_grants::{HOST, PATH};
use gateway_telemetry::metrics::PluginMetrics;
use http::HeaderMap;

use super::{output::printable, plugin_identity::Identity, state::State};

/// Of a name that a plugin asked for, so much is logged.
const NAME_BYTES: usize = 100;

impl Identity {
    /// What data is granted; `None` if all is.
    #[inline]
    pub(crate) fn data(&self) -> Option<&DataGrants> {
        self.grants.data.as_deref()
    }

    /// Whether it may do this with data of this name. What it may not is counted.
    #[inline]
    pub(crate) fn may(&self, data: Data, access: DataAccess, name: &str, metrics: &PluginMetrics) -> bool {
        match self.data() {
            None => true,
            Some(granted) if granted.allows(data, access, name) => true,
            Some(_) => {
                self.denied(data, access, name, metrics);
                false
            }
        }
    }

    /// Counts an access that is denied, and logs the first one of its kind.
    #[cold]
    pub(crate) fn denied(&self, data: Data, access: DataAccess, name: &str, metrics: &PluginMetrics) {
        metrics.data_denied(data, access);
        if !self.denials.is_first(data, access) {
            return;
        }
        let (plugin, access) = (&*self.name, access.name());
        match data {
            Data::RequestBody | Data::ResponseBody => {
                let side = if data == Data::RequestBody { "request" } else { "response" };
                tracing::warn!(
                    plugin,
                    "plugin is not granted to {access} {side} bodies; if it needs them, add `{side}` to `body.{access}` of its \
                     grants (logged once, and counted in gateway_wasm_data_denied_total)"
                );
            }
            Data::RequestHeaders | Data::ResponseHeaders | Data::Attributes => {
                let (kind, name) = (data.name(), printable(name, NAME_BYTES));
                tracing::warn!(
                    plugin,
                    "plugin is not granted to {access} `{name}`; if it needs it, add it to `{kind}.{access}` of its grants \
                     (logged for the first name only, and counted in gateway_wasm_data_denied_total)"
                );
            }
        }
    }

    /// Leaves the fields out of a list that the plugin may not read. That is not counted: it did not ask for them.
    pub(crate) fn may_list(&self, data: Data, name: &str) -> bool {
        self.data().is_none_or(|granted| granted.allows(data, DataAccess::Read, name))
    }

    /// The plugin's own response, without headers and a body that it may not write. It is still sent: a refusal has to stay one,
    /// whatever `on-error` says.
    pub(crate) fn granted_reply(&self, mut reply: Reply, metrics: &PluginMetrics) -> Reply {
        if self.data().is_none() {
            return reply;
        }
        self.retain_writable(&mut reply.headers, Data::ResponseHeaders, metrics);
        if !reply.body.is_empty() && !self.may(Data::ResponseBody, DataAccess::Write, "", metrics) {
            reply.body = Bytes::new();
        }
        reply
    }

    fn retain_writable(&self, headers: &mut HeaderMap, data: Data, metrics: &PluginMetrics) {
        let denied = headers.keys().filter(|name| !self.may(data, DataAccess::Write, name.as_str(), metrics));
        for name in denied.cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
    }

    /// The trailers that go on behind a body that passed through the plugin: of those that it may write, what it returned, and of
    /// all others what came, whether the plugin has seen it or not.
    pub(crate) fn granted_trailers(
        &self,
        data: Data,
        came: HeaderMap,
        mut returned: HeaderMap,
        metrics: &PluginMetrics,
    ) -> HeaderMap {
        let Some(granted) = self.data() else { return returned };
        let is_same = |name| returned.get_all(name).iter().eq(came.get_all(name).iter());
        // What is returned as it came is no edit.
        let kept: Vec<_> = returned.keys().filter(|name| is_same(*name)).cloned().collect();
        for name in &kept {
            returned.remove(name);
        }
        self.retain_writable(&mut returned, data, metrics);
        for (name, value) in &came {
            if kept.contains(name) || !granted.allows(data, DataAccess::Write, name.as_str()) {
                returned.append(name.clone(), value.clone());
            }
        }
        returned
    }
}

impl State {
    /// Whether the plugin may do this with data of this name.
    #[inline]
    pub(crate) fn may(&self, data: Data, access: DataAccess, name: &str) -> bool {
        self.identity.may(data, access, name, &self.metrics)
    }

    /// Whether the plugin may make another response of the present one, with its head and its body.
    pub(crate) fn may_replace_response(&self) -> bool {
        let Some(granted) = self.identity.data() else { return true };
        if !granted.allows_all(Data::ResponseHeaders, DataAccess::Write) {
            self.identity.denied(Data::ResponseHeaders, DataAccess::Write, "*", &self.metrics);
            return false;
        }
        self.may(Data::ResponseBody, DataAccess::Write, "")
    }

    /// Whether the plugin sees by its path and host what a request is for. For one that does not, all requests of a route have the
    /// same key.
    pub(crate) fn may_tell_requests_apart(&self) -> bool {
        [PATH, HOST].into_iter().all(|name| self.may(Data::RequestHeaders, DataAccess::Read, name))
    }
}
