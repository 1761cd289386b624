//! Orders and uses of plugins that are allowed and make no sense: warnings, since an operator may have a reason. Only the standard
//! plugins are known here, by what they are and not by what the file calls them.

use std::sync::Arc;

use gateway_core::model::PluginUse;
use http::Method;
use serde_json::Value;

use super::{
    report::Report,
    stage::{IDENTITY, Stage, stages},
    unkeyed,
};

/// Plugins that turn clients away.
const GUARDS: &[&str] = &["jwt", "api-key", "basic-auth", "ext-auth", "oidc", "acl", "ip-rules"];

/// Looks at a route's own plugins behind the global ones. `methods` are those that the route takes, all if empty.
pub(super) fn check(
    global: &[Arc<PluginUse>],
    own: &[Arc<PluginUse>],
    place: &str,
    methods: &[Method],
    report: &mut Report<'_>,
) {
    let stages: Vec<Stage<'_>> = stages(global, "/global-plugins", true).chain(stages(own, place, false)).collect();
    unkeyed::check(&stages, report);
    for (i, stage) in stages.iter().enumerate() {
        let Some(name) = stage.builtin else { continue };
        let (before, after) = (&stages[..i], &stages[i + 1..]);
        let mut warn = |message: String| report.warn(&stage.place, message);
        let has = |stages: &[Stage<'_>], names: &[&str]| {
            stages.iter().find_map(|stage| stage.builtin.filter(|name| names.contains(name))).map(str::to_owned)
        };
        if stage.skips && (GUARDS.contains(&name) || name == "json-body") {
            warn(format!(
                "`{name}` has `on-error: skip`: where it fails itself, requests go on unchecked; leave it out"
            ));
        }
        match name {
            "cache" => {
                if let Some(guard) = has(after, GUARDS) {
                    warn(format!(
                        "`cache` stands before `{guard}`: what is stored is given without asking `{guard}`, and responses to clients \
                         that it identifies are not stored; put it after"
                    ));
                }
            }
            "cors" => {
                let identity: Vec<&str> = IDENTITY.iter().map(|(name, _)| *name).chain(["acl"]).collect();
                if let Some(guard) = has(before, &identity) {
                    warn(format!(
                        "`cors` stands after `{guard}`: browsers send preflights without credentials, so they are refused; \
                         put it before"
                    ));
                }
                if !stage.global && !methods.is_empty() && !methods.contains(&Method::OPTIONS) {
                    warn("`cors` never sees a preflight: the route's `methods` lack OPTIONS; add it".to_owned());
                }
            }
            "acl" => {
                let identity: Vec<&str> = IDENTITY.iter().map(|(name, _)| *name).collect();
                if let (None, Some(late)) = (has(before, &identity), has(after, &identity)) {
                    warn(format!("`acl` stands before `{late}`: nobody is known yet; put it after"));
                }
            }
            _ => {}
        }
        let mut attributes = Vec::new();
        read(stage.config, None, &mut attributes);
        for attribute in attributes {
            let Some((setter, _)) = IDENTITY.iter().find(|(_, prefix)| attribute.starts_with(prefix)) else { continue };
            if has(before, &[setter]).is_none() && has(after, &[setter]).is_some() {
                let message = format!(
                    "`{name}` stands before `{setter}`, so the attribute `{attribute}` is not there yet; put it after"
                );
                report.warn(&stage.place, message);
            }
        }
    }
}

/// The attributes that a configuration reads in the request phase: `attribute: NAME`, or `{attribute.NAME}` in a template.
fn read<'a>(config: &'a Value, key: Option<&str>, found: &mut Vec<&'a str>) {
    match config {
        Value::String(text) if key == Some("attribute") => found.push(text),
        Value::String(text) => {
            let placeholders = text.split("{attribute.").skip(1);
            found.extend(placeholders.filter_map(|rest| rest.split(['}', '|']).next()));
        }
        Value::Array(values) => values.iter().for_each(|value| read(value, None, found)),
        // In the response phase every plugin has run; and what is logged is read when all is over.
        Value::Object(map) => {
            let map = map.iter().filter(|(key, _)| key.as_str() != "response");
            map.for_each(|(key, value)| read(value, Some(key), found));
        }
        _ => {}
    }
}
