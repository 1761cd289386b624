//! Loading a configuration: it is read, checked, compiled and tried, and nothing that serves changes by that.
//!
//! What is loaded is a value. It may hold what others could take meanwhile (files for sinks, a thread for traces); dropped, it gives
//! all of that back. Whatever can fail is done here, so that `install` cannot fail. Code that runs while a configuration is loaded
//! writes to nothing that the installed one uses: not to hosts' health, metrics, documents, or memory of tags and descriptors.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Weak},
};

use gateway_config::{Checked, Problems, Sensitive};
use gateway_core::model::{Config, Endpoint, OnError, PluginUse, Upstream};
use gateway_route::Table;
use gateway_server::{Beginning, tls::Termination};
use gateway_telemetry::{metrics::ClusterHealth, sinks::LoadedSinks};
use gateway_upstream::{ClientTls, Cluster, LoadedCluster, Watch};
use gateway_wasm::services::Named;

use super::{ListenerKey, ListenerSettings, Read, Snapshot, StartError, Used, read};
use crate::{
    app::{
        Source,
        admin::Rules,
        catalog::Components,
        descriptors::{self, Few},
        memory::PluginBudget,
        reflected::Told,
        secrets,
        shared::Shared,
        traces::LoadedTraces,
    },
    fetch::{Kept, Tag},
};

/// A configuration that can be installed.
pub(in crate::app) struct Loaded {
    text: Arc<str>,
    base: PathBuf,
    config: Arc<Config>,
    warnings: Problems,
    sensitive: Arc<Sensitive>,
    rules: Option<Arc<Rules>>,
    listeners: Vec<ListenerSettings>,
    sinks: LoadedSinks,
    traces: Option<LoadedTraces>,
    table: Arc<Table>,
    global: Vec<Arc<Used>>,
    routes: Vec<Vec<Arc<Used>>>,
    clusters: Vec<LoadedCluster>,
    secrets: Named,
    files: Named,
    tags: Vec<Tag>,
    told: Told,
    /// There are too few file descriptors for what is configured.
    few: Option<Few>,
}

impl Loaded {
    /// `old` is the installed configuration: what does not change is taken from there, and stays as it is.
    pub(in crate::app) fn load(source: &Source, shared: &Shared, old: Option<&Snapshot>) -> Result<Self, StartError> {
        let Read { text, base, checked, components } = read(source, shared)?;
        let Checked { mut config, warnings, sensitive } = checked;
        let few = descriptors::bound(&mut config.limits, config.workers, config.listeners.len());
        let mut made = HashMap::new();
        let mut all = |uses: &[Arc<PluginUse>]| {
            uses.iter().map(|used| self::used(used, &components, &mut made)).collect::<Result<Vec<_>, _>>()
        };
        let global = all(&config.global_plugins)?;
        let routes = config.routes.iter().map(|route| all(&route.plugins)).collect::<Result<Vec<_>, _>>()?;

        let listeners = listeners(&config, old.map(|old| &old.listeners[..]).unwrap_or_default())?;
        let clusters = clusters(&config, old)?;
        let none = Default::default();
        let sinks = old.map_or(&none, |old| &*old.sinks).load(&config.sinks).map_err(io::Error::other)?;
        let secrets = all_secrets(&config, &components)?;
        let before = old.and_then(|old| old.traces.as_ref());
        let counted = || shared.metrics.traces();
        let traces = config.tracing.as_ref();
        let traces = traces.map(|settings| LoadedTraces::load(settings, &clusters, &secrets, before, counted()));
        let traces = traces.transpose()?;
        let files = components.files().clone();
        // A listener that is there stays until the process ends, and so does what holds for it.
        let rules = match &config.admin {
            Some(admin) => Some(Arc::new(Rules::load(admin, &secrets)?)),
            None => old.and_then(|old| old.rules.clone()),
        };
        // Who cannot look at it need not keep it.
        let text = if rules.is_some() { text.into() } else { Arc::default() };
        let (tags, told) = components.remembered();
        Ok(Self {
            text,
            base,
            rules,
            table: Arc::new(Table::new(&config.routes)),
            config: Arc::new(config),
            warnings,
            sensitive,
            listeners,
            sinks,
            traces,
            global,
            routes,
            clusters,
            secrets,
            files,
            tags,
            told,
            few,
        })
    }

    pub(in crate::app) fn config(&self) -> &Config {
        &self.config
    }

    pub(in crate::app) fn listeners(&self) -> &[ListenerSettings] {
        &self.listeners
    }

    /// Logs warnings about the configuration. Not before the log is open, where they would be lost.
    pub(in crate::app) fn warn(&self) {
        for warning in self.warnings.lines() {
            tracing::warn!("{warning}");
        }
        for warning in PluginBudget::of(&self.config.limits).too_small_for(&self.config) {
            tracing::warn!("{warning}");
        }
        match &self.few {
            // A default is as much as there is, and no wish.
            Some(few) if few.is_default => tracing::info!("{few}"),
            Some(few) => tracing::warn!("{few}"),
            None => {}
        }
    }

    /// Lets what the process shares follow this configuration: upstreams and their checks, metrics, sinks, traces. It
    /// cannot fail. Blocks until new names of endpoints have been looked up once, for a few seconds at most.
    pub(in crate::app) fn install(self, shared: &Arc<Shared>, watch: &Watch) -> Arc<Snapshot> {
        let metrics = &shared.metrics;
        let clusters: Vec<Arc<Cluster>> = self.clusters.into_iter().map(|cluster| cluster.install(metrics)).collect();
        watch.follow(clusters.clone(), self.config.dns.clone());
        // Only now: as long as something checks the old groups it could still find an endpoint unhealthy.
        clusters.iter().for_each(|cluster| cluster.end_checks());
        metrics.watch_upstreams(clusters.iter().map(|cluster| {
            let health_counts: Weak<dyn ClusterHealth> = Arc::<Cluster>::downgrade(cluster);
            (cluster.model.name.clone(), health_counts)
        }));
        let traces = self.traces.and_then(|traces| traces.install(&clusters, metrics));
        shared.reflected.install(self.told);
        let kept = Kept::usual();
        self.tags.iter().for_each(|tag| kept.remember(tag));
        Arc::new(Snapshot {
            text: self.text,
            base: self.base,
            config: self.config,
            warnings: self.warnings,
            sensitive: self.sensitive,
            rules: self.rules,
            listeners: self.listeners,
            sinks: Arc::new(self.sinks.install(metrics)),
            traces,
            table: self.table,
            global: self.global,
            routes: self.routes,
            clusters,
            secrets: self.secrets,
            files: self.files,
            shared: shared.clone(),
        })
    }
}

/// The plugins that were tried are those that serve. Many routes use the same one in the same way.
fn used(
    used: &Arc<PluginUse>,
    components: &Components<'_>,
    made: &mut HashMap<*const PluginUse, Arc<Used>>,
) -> Result<Arc<Used>, StartError> {
    if let Some(known) = made.get(&Arc::as_ptr(used)) {
        return Ok(known.clone());
    }
    let prepared = components.tried(used);
    let prepared = prepared.ok_or_else(|| io::Error::other(format!("`{}` was not tried", used.plugin.name)))?;
    let new = Arc::new(Used { prepared: prepared.clone(), skip_on_error: used.on_error == OnError::Skip });
    made.insert(Arc::as_ptr(used), new.clone());
    Ok(new)
}

/// Those that plugins were tried with. One that could not be read then is read again, for the error that says why.
fn all_secrets(config: &Config, components: &Components<'_>) -> io::Result<Named> {
    let missing = config.secrets.iter().filter(|(name, _)| !components.secrets().contains_key(*name));
    let missing = missing.map(|(name, source)| (name.clone(), source.clone())).collect();
    let mut all = secrets::read_all(&missing)?;
    all.extend(components.secrets().clone());
    Ok(all)
}

/// Sessions of a listener that was there already can be resumed.
fn listeners(config: &Config, old: &[ListenerSettings]) -> Result<Vec<ListenerSettings>, StartError> {
    let mut seen: HashMap<SocketAddr, usize> = HashMap::new();
    let key = |address: SocketAddr, seen: &mut HashMap<_, usize>| {
        let count = seen.entry(address).or_default();
        *count += 1;
        ListenerKey { address, ordinal: *count - 1 }
    };
    config
        .listeners
        .iter()
        .map(|listener| {
            let key = key(listener.address, &mut seen);
            let before = old.iter().find(|(other, _)| *other == key).and_then(|(_, before)| before.tls.as_deref());
            let tls = listener.tls.as_ref().map(|tls| Termination::load(tls, before)).transpose()?;
            let proxy_protocol = listener.proxy_protocol.clone().map(Arc::new);
            let name = listener.name.clone();
            Ok((key, Beginning { listener: name, proxy_protocol, tls: tls.map(Arc::new) }))
        })
        .collect()
}

/// What is known of endpoints that stay is kept.
fn clusters(config: &Config, old: Option<&Snapshot>) -> io::Result<Vec<LoadedCluster>> {
    let load = |upstream: &Arc<Upstream>| {
        let secure = upstream.endpoints.iter().any(|endpoint| Endpoint::is_secure(&endpoint.url));
        let tls = secure.then(|| ClientTls::load(&upstream.tls, upstream.protocol)).transpose();
        if secure && !upstream.tls.verify {
            tracing::warn!(
                upstream = &*upstream.name,
                "`verify: false`: the server is not authenticated, so an attacker on the path can read and change everything"
            );
        }
        let named = |error| io::Error::other(format!("upstream `{}`: {error}", upstream.name));
        let old = old.and_then(|old| old.clusters.iter().find(|cluster| cluster.model.name == upstream.name));
        Ok(LoadedCluster::new(upstream.clone(), tls.map_err(named)?, old))
    };
    config.upstreams.values().map(load).collect()
}
