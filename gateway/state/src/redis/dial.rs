//! How a connection is opened: with credentials that are read for each, and where there are Sentinels, to the primary that
//! they name at the time.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError, RedisResult, TlsCertificates,
    aio::MultiplexedConnection,
};
use thiserror::Error;

use super::settings::{Credentials, CredentialsError, ReadCredentials, Secret};

/// For connecting, and for a probe.
pub(super) const CONNECT: Duration = Duration::from_secs(2);

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Url(String),
    /// The primary that Sentinels monitor under the name that is the host of the URL.
    Primary {
        url: String,
        sentinels: Vec<String>,
    },
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum DialError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Server(#[from] RedisError),
    /// Of each Sentinel, why it names no primary.
    #[error("{}", .0.join("; "))]
    Sentinels(Vec<String>),
}

pub(super) struct Dialer {
    pub(super) credentials: ReadCredentials,
}

impl Dialer {
    /// Opens a connection; also says to which URL.
    pub(super) async fn dial(&self, target: &Target) -> Result<(MultiplexedConnection, String), DialError> {
        let credentials = (self.credentials)()?;
        let url = match target {
            Target::Url(url) => url.clone(),
            Target::Primary { url, sentinels } => primary(url, sentinels, &credentials).await?,
        };
        let user = (credentials.username.as_deref(), credentials.password.as_ref());
        let connection = open(&url, user, credentials.ca.as_deref()).await?;
        Ok((connection, url))
    }

    /// Where the primary is now, as the Sentinels say.
    pub(super) async fn resolve(&self, target: &Target) -> Result<String, DialError> {
        match target {
            Target::Url(url) => Ok(url.clone()),
            Target::Primary { url, sentinels } => primary(url, sentinels, &(self.credentials)()?).await,
        }
    }
}

/// Asks one Sentinel after another until one knows the primary (Redis' "Guidelines for Redis clients with support for Redis Sentinel").
async fn primary(url: &str, sentinels: &[String], credentials: &Credentials) -> Result<String, DialError> {
    let (scheme, name, database) = parts(url);
    let user = (credentials.sentinel_username.as_deref(), credentials.sentinel_password.as_ref());
    let mut failures = Vec::new();
    let share = CONNECT / u32::try_from(sentinels.len().max(1)).unwrap_or(1);
    for sentinel in sentinels {
        let asked = async {
            let mut connection = open(sentinel, user, credentials.ca.as_deref()).await?;
            let mut question = redis::cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
            question.query_async::<Option<(String, u16)>>(&mut connection).await
        };
        let why = match tokio::time::timeout(share, asked).await {
            Ok(Ok(Some((host, port)))) => return Ok(compose(scheme, &host, port, database)),
            Ok(Ok(None)) => format!("knows no primary `{name}`"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {share:?}"),
        };
        failures.push(format!("Sentinel {sentinel}: {why}"));
    }
    Err(DialError::Sentinels(failures))
}

async fn open(
    url: &str,
    (username, password): (Option<&str>, Option<&Secret>),
    ca: Option<&[u8]>,
) -> RedisResult<MultiplexedConnection> {
    let mut info = url.into_connection_info()?;
    let mut settings = info.redis_settings().clone();
    if let Some(username) = username {
        settings = settings.set_username(username);
    }
    if let Some(Secret(password)) = password {
        settings = settings.set_password(password);
    }
    info = info.set_redis_settings(settings);
    let client = match ca.filter(|_| url.starts_with("rediss:")) {
        Some(ca) => Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) }),
        None => Client::open(info),
    };
    // Each request has the time that is configured, and only that: the client's own limit would end the connection for all.
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
    client?.get_multiplexed_async_connection_with_config(&config).await
}

/// Scheme, host with port, and database of a URL.
pub(super) fn parts(url: &str) -> (&str, &str, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    (scheme, authority, database)
}

pub(super) fn compose(scheme: &str, host: &str, port: u16, database: &str) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let slash = if database.is_empty() { "" } else { "/" };
    format!("{scheme}://{host}:{port}{slash}{database}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_comes_apart_and_together_again() {
        assert_eq!(parts("rediss://main/2"), ("rediss", "main", "2"));
        assert_eq!(parts("redis://10.0.0.1:6379"), ("redis", "10.0.0.1:6379", ""));
        assert_eq!(compose("rediss", "::1", 6379, "2"), "rediss://[::1]:6379/2");
        assert_eq!(compose("redis", "a.internal", 6379, ""), "redis://a.internal:6379");
    }
}
