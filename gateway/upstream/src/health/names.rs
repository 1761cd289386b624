//! Names of endpoints, looked up again whenever what is known has grown too old.

use std::{
    cell::RefCell,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use gateway_core::model::Dns;
use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
    system_conf::parse_resolv_conf,
};
use thiserror::Error;

use crate::cluster::Cluster;

/// A record may ask to be looked up at every use; we do not.
const SHORTEST: Duration = Duration::from_secs(1);
/// Also a record that never changes is looked up now and then: the name server may have changed its mind.
const LONGEST: Duration = Duration::from_secs(3600);
/// After a failure; it doubles up to `SLOWEST`.
const RETRY: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_secs(30);

/// The system's name servers (resolv.conf(5)).
const SYSTEM: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// The port of name servers (RFC 1035 §4.2).
const PORT: u16 = 53;

/// What `/etc/hosts` says has no TTL: for so long it is not looked at again.
const HOSTS_VALID: Duration = Duration::from_secs(10);

/// Asks the configured name servers, or the system's. Names in `/etc/hosts`, and `localhost`, need none.
pub(crate) struct Names {
    servers: Vec<SocketAddr>,
    /// Where the system's are written.
    system: PathBuf,
    made: RefCell<Option<Made>>,
}

/// What was made of the system's files, and what they were like.
struct Made {
    stamps: [Stamp; 2],
    hosts: Arc<Hosts>,
    resolver: Result<TokioResolver, NetError>,
}

/// Why a name has no addresses.
#[derive(Debug, Error)]
pub(crate) enum LookupError {
    /// The name servers cannot be asked, or have no answer.
    #[error(transparent)]
    Resolver(#[from] NetError),
    #[error("the name has no address")]
    NoAddress,
}

/// Tells one version of a file from another; none if there is no file.
type Stamp = Option<(SystemTime, u64)>;

impl Names {
    /// Must be called within a runtime.
    pub(crate) fn new(settings: &Dns) -> Self {
        Self::of(settings.servers.clone(), SYSTEM.into())
    }

    fn of(servers: Vec<SocketAddr>, system: PathBuf) -> Self {
        Self { servers, system, made: RefCell::default() }
    }

    /// Every address of a name, and how long they hold.
    pub(crate) async fn look_up(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), LookupError> {
        let (hosts, resolver) = self.known();
        // As with `files dns` in nsswitch.conf(5): of a name that is there, name servers are not asked for the other family.
        let local = in_hosts(&hosts, host);
        if !local.is_empty() {
            return Ok((local, HOSTS_VALID));
        }
        let found = resolver?.lookup_ip(host).await?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err(LookupError::NoAddress);
        }
        Ok((addresses, found.valid_until().saturating_duration_since(Instant::now()).clamp(SHORTEST, LONGEST)))
    }

    /// The system's files may be written after the gateway has started, by DHCP or when a network comes up. They are read
    /// again when they have changed, as glibc does.
    fn known(&self) -> (Arc<Hosts>, Result<TokioResolver, NetError>) {
        let stamps = [stamp(&self.system), stamp(Path::new(HOSTS))];
        let mut made = self.made.borrow_mut();
        let made = match made.take().filter(|made| made.stamps == stamps) {
            Some(known) => made.insert(known),
            None => made.insert(Made {
                stamps,
                hosts: Arc::new(Hosts::from_system().unwrap_or_default()),
                resolver: resolver(&self.servers, &self.system),
            }),
        };
        (made.hosts.clone(), made.resolver.clone())
    }
}

fn in_hosts(hosts: &Hosts, host: &str) -> Vec<IpAddr> {
    let Ok(name) = Name::from_utf8(host) else { return Vec::new() };
    let found =
        [RecordType::A, RecordType::AAAA].map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)));
    let records = found.iter().flatten().flat_map(|found| found.answers());
    records.filter_map(|record| record.data.ip_addr()).collect()
}

fn stamp(file: &Path) -> Stamp {
    let found = fs::metadata(file).ok()?;
    Some((found.modified().ok()?, found.len()))
}

fn resolver(servers: &[SocketAddr], system: &Path) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if servers.is_empty() {
        let (config, options) = system_settings(system);
        let mut builder = TokioResolver::builder_with_config(config, provider);
        *builder.options_mut() = options;
        builder
    } else {
        TokioResolver::builder_with_config(only(servers), provider)
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // They have been looked at by then.
    options.use_hosts_file = ResolveHosts::Never;
    // Who asks again, asks because what it knew is too old.
    options.cache_size = 0;
    builder.build()
}

/// Where the file names no server, the one on this machine is asked (resolv.conf(5)).
fn system_settings(file: &Path) -> (ResolverConfig, ResolverOpts) {
    fs::read(file).map_err(NetError::from).and_then(parse_resolv_conf).unwrap_or_else(|error| {
        let local: SocketAddr = (Ipv4Addr::LOCALHOST, PORT).into();
        tracing::warn!("no name server in {}, asking {local}: {error}", file.display());
        (only(&[local]), ResolverOpts::default())
    })
}

fn only(servers: &[SocketAddr]) -> ResolverConfig {
    ResolverConfig::from_name_servers(servers.iter().map(name_server).collect())
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

/// Keeps the addresses of one name up to date, for ever. `asked` is called once, after the first answer or failure.
pub(crate) async fn keep_up(
    cluster: Arc<Cluster>,
    origin: usize,
    host: String,
    names: Rc<Names>,
    asked: impl FnOnce(),
) {
    let mut asked = Some(asked);
    let mut retry = RETRY;
    loop {
        let upstream = &*cluster.model.name;
        let wait = match names.look_up(&host).await {
            Ok((addresses, valid)) => {
                if cluster.set_addresses(origin, &addresses) {
                    tracing::info!(upstream, name = host, ?addresses, "DNS addresses changed");
                }
                retry = RETRY;
                valid
            }
            Err(error) => {
                tracing::warn!(upstream, name = host, "DNS lookup failed; the previous addresses stay in use: {error}");
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

    #[tokio::test]
    async fn the_hosts_file_and_localhost_need_no_name_server() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        // The names of this machine, of which there is `localhost` at least.
        let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
        let own = hosts.lines().filter_map(|line| line.split('#').next()?.split_whitespace().nth(1)).next_back();
        for text in [None, Some(""), Some("# nothing\noptions ndots:2\n"), Some("search *\n")] {
            match text {
                Some(text) => fs::write(&file, text).unwrap(),
                None => assert!(!file.exists()),
            }
            let names = Names::of(Vec::new(), file.clone());
            for name in ["localhost"].into_iter().chain(own) {
                let (addresses, _) = names.look_up(name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(!addresses.is_empty(), "{name}");
            }
        }
    }

    #[tokio::test]
    async fn the_systems_file_is_read_again_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        let server = || system_settings(&file).0.name_servers()[0].ip;
        assert_eq!(server(), Ipv4Addr::LOCALHOST);
        let names = Names::of(Vec::new(), file.clone());
        let known = || {
            names.known().1.unwrap();
            names.made.borrow().as_ref().unwrap().stamps
        };
        let without = known();
        assert_eq!(known(), without);
        fs::write(&file, "nameserver 127.0.0.53\n").unwrap();
        assert_ne!(known(), without);
        assert_eq!(server(), Ipv4Addr::new(127, 0, 0, 53));
    }
}
