//! The key sets that a provider publishes, as they are configured.

use plugin_jose::RemoteKeys;
use plugin_sdk::{
    Pointer, Problems, Span,
    documents::{self, DocumentError, Source},
};

use crate::config::RemoteConfig;

/// Where a key set is fetched, and when; nothing if that has a problem.
pub(crate) fn read(config: RemoteConfig, at: &Pointer, problems: &mut Problems) -> Option<RemoteKeys> {
    let RemoteConfig { upstream, path, refresh, retry, max_stale, timeout } = config;
    let before = problems.iter().count();
    let mut range = |name: &str, span: Span, least: &str, most: &str, fits: bool| {
        if !fits {
            problems.add(at.then(name), format!("must be from {least} to {most}, is {span}"));
        }
    };
    let seconds = |span: Span, range: std::ops::RangeInclusive<u64>| range.contains(&span.seconds());
    range("refresh", refresh, "10s", "1d", seconds(refresh, 10..=86_400));
    range("retry", retry, "1s", "1h", seconds(retry, 1..=3600));
    range("max-stale", max_stale, "10s", "30d", seconds(max_stale, 10..=30 * 86_400));
    range("timeout", timeout, "1ms", "60s", !timeout.0.is_zero() && timeout.seconds() <= 60);
    if max_stale < refresh {
        problems.add(at.then("max-stale"), "must not be less than `refresh`: there would be no keys in between");
    }
    let source = Source {
        upstream,
        path_with_query: path,
        refresh: refresh.0,
        retry: retry.0,
        max_stale: max_stale.0,
        timeout: timeout.0,
    };
    match documents::get(&source, 0, false) {
        Err(DocumentError::Denied(_)) => {
            let name = &source.upstream;
            let cure = format!("needs an upstream `{name}`, and `grants: {{ upstreams: [{name}] }}` for the plugin");
            problems.add(at.then("upstream"), cure);
        }
        Err(DocumentError::Invalid(why)) => problems.add(at.then("path"), why),
        // Nothing is fetched yet.
        _ => {}
    }
    (before == problems.iter().count()).then(|| RemoteKeys::new(source))
}
