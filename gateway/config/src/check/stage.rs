//! The plugins of a route in the order in which they run, as the checks of their order and of their configurations see them.

use std::sync::Arc;

use gateway_core::model::{ComponentSource, OnError, PluginUse};
use serde_json::Value;

use crate::yaml::join;

/// Plugins that reject clients without credentials, and the beginnings of the attributes that they set.
pub(super) const IDENTITY: &[(&str, &str)] = &[
    ("jwt", "jwt."),
    ("api-key", "api-key."),
    ("basic-auth", "basic-auth."),
    ("ext-auth", "ext-auth."),
    ("oidc", "oidc."),
];

/// One plugin of a pipeline: what it is, where it stands, and whether all routes have it.
pub(super) struct Stage<'a> {
    pub(super) builtin: Option<&'a str>,
    pub(super) config: &'a Value,
    pub(super) place: String,
    pub(super) global: bool,
    pub(super) skips: bool,
}

pub(super) fn stages<'a>(uses: &'a [Arc<PluginUse>], place: &str, global: bool) -> impl Iterator<Item = Stage<'a>> {
    let place = place.to_owned();
    uses.iter().enumerate().map(move |(i, used)| Stage {
        builtin: match &used.plugin.component {
            ComponentSource::Builtin(name) => Some(name.as_str()),
            ComponentSource::File(_) | ComponentSource::Http { .. } | ComponentSource::Oci(_) => None,
        },
        config: &used.config,
        place: join(&place, &i.to_string()),
        global,
        skips: used.on_error == OnError::Skip,
    })
}
