//! Names of endpoints, looked up again whenever what is known has grown too old.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};

use super::group::Group;
use crate::config::model::Dns;

/// A record may ask to be looked up at every use; we do not.
const SHORTEST: Duration = Duration::from_secs(1);
/// Also a record that never changes is looked up now and then: the name server may have changed its mind.
const LONGEST: Duration = Duration::from_secs(3600);
/// After a failure; it doubles up to `SLOWEST`.
const RETRY: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_secs(30);

/// Asks the configured name servers, or the system's.
pub(super) struct Names(Result<TokioResolver, String>);

impl Names {
    /// Must be called within a runtime.
    pub(super) fn new(settings: &Dns) -> Self {
        Self(resolver(settings).map_err(|error| error.to_string()))
    }

    /// Every address of a name, and how long they hold.
    pub(super) async fn look_up(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), String> {
        let resolver = self.0.as_ref().map_err(Clone::clone)?;
        let found = resolver.lookup_ip(host).await.map_err(|error| error.to_string())?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err("the name has no address".to_owned());
        }
        Ok((addresses, found.valid_until().saturating_duration_since(Instant::now()).clamp(SHORTEST, LONGEST)))
    }
}

fn resolver(settings: &Dns) -> Result<TokioResolver, Box<dyn std::error::Error>> {
    let mut builder = if settings.servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = settings.servers.iter().map(name_server).collect();
        let config = ResolverConfig::from_name_servers(servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Who asks again, asks because what it knew is too old.
    options.cache_size = 0;
    Ok(builder.build()?)
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

/// Keeps the addresses of one name up to date, for ever. `asked` is called once, after the first answer or failure.
pub(super) async fn keep_up(group: Arc<Group>, origin: usize, host: String, names: Rc<Names>, asked: impl FnOnce()) {
    let mut asked = Some(asked);
    let mut retry = RETRY;
    loop {
        let upstream = &*group.model.name;
        let wait = match names.look_up(&host).await {
            Ok((addresses, valid)) => {
                if group.set_addresses(origin, &addresses) {
                    tracing::info!(upstream, name = host, ?addresses, "a name has new addresses");
                }
                retry = RETRY;
                valid
            }
            Err(error) => {
                tracing::warn!(upstream, name = host, "cannot look up a name; what was known before holds: {error}");
                retry = (retry * 2).min(SLOWEST);
                retry / 2
            }
        };
        if let Some(asked) = asked.take() {
            asked();
        }
        tokio::time::sleep(wait).await;
    }
}
