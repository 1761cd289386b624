//! Names of endpoints, looked up again whenever what is known has grown too old.

use std::{
    cell::OnceCell,
    fmt::Display,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    system_conf::read_system_conf,
};

use super::group::Group;
use crate::config::model::Dns;

/// A record may ask to be looked up at every use; we do not.
const SHORTEST: Duration = Duration::from_secs(1);
/// Also a record that never changes is looked up now and then: the name server may have changed its mind.
const LONGEST: Duration = Duration::from_secs(3600);
/// The port of name servers (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;
/// After a failure; it doubles up to `SLOWEST`.
const RETRY: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_secs(30);

/// Asks the configured name servers, or the system's.
pub(super) struct Names {
    settings: Dns,
    /// Made when the first name is asked for: where endpoints have addresses only, the system's settings do not matter.
    resolver: OnceCell<Result<TokioResolver, String>>,
}

impl Names {
    pub(super) fn new(settings: &Dns) -> Self {
        Self { settings: settings.clone(), resolver: OnceCell::new() }
    }

    /// Every address of a name, and how long they hold.
    pub(super) async fn look_up(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), String> {
        let resolver = self.resolver.get_or_init(|| resolver(&self.settings).map_err(|error| error.to_string()));
        let resolver = resolver.as_ref().map_err(Clone::clone)?;
        let found = resolver.lookup_ip(host).await.map_err(|error| error.to_string())?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err("the name has no address".to_owned());
        }
        Ok((addresses, found.valid_until().saturating_duration_since(Instant::now()).clamp(SHORTEST, LONGEST)))
    }
}

fn resolver(settings: &Dns) -> Result<TokioResolver, Box<dyn std::error::Error>> {
    let (config, options) = if settings.servers.is_empty() {
        system(read_system_conf())
    } else {
        let servers = settings.servers.iter().map(name_server).collect();
        (ResolverConfig::from_name_servers(servers), ResolverOpts::default())
    };
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Who asks again, asks because what it knew is too old.
    options.cache_size = 0;
    Ok(builder.build()?)
}

/// The system's settings. Where there are none, or none that can be used, the name server of this machine is asked, as
/// resolv.conf(5) has it; `/etc/hosts` and `localhost` need neither.
fn system<E: Display>(read: Result<(ResolverConfig, ResolverOpts), E>) -> (ResolverConfig, ResolverOpts) {
    read.unwrap_or_else(|error| {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, DNS_PORT));
        tracing::warn!("/etc/resolv.conf names no name server that can be used, {server} is asked: {error}");
        (ResolverConfig::from_name_servers(vec![name_server(&server)]), ResolverOpts::default())
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_settings_of_the_system_localhost_and_the_hosts_file_are_known() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (config, options) = system(Err("no nameservers found in config"));
            assert_eq!(config.name_servers().len(), 1);
            let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_options(options)
                .build()
                .unwrap();
            let found: Vec<IpAddr> = resolver.lookup_ip("localhost").await.unwrap().iter().collect();
            assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
        });
    }
}
