//! What an error of Redis means: for the request that met it, and for the connection.

use redis::RedisError;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A key or value is too large, or is not a number.
    TooLarge,
    /// The server is unavailable, or did not answer in time.
    Unavailable(String),
}

/// What else an error says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Concerns {
    /// This request only.
    Request,
    /// Perhaps every request: the server is there, but does not serve (a replica, out of memory, loading, not permitted), or its
    /// reply could not be read. A probe decides, since the error may as well be about one command or key.
    Server,
    /// The connection is of no use any more.
    Connection,
    /// The slot is another node's.
    Moved(u16, String),
    /// The slot is on its way to another node, and this key is there already.
    Asked(String),
}

/// Errors that say nothing about the next request.
const OF_ONE_REQUEST: [&str; 5] = ["ERR", "NOSCRIPT", "CROSSSLOT", "TRYAGAIN", "EXECABORT"];

pub(super) fn explain(error: &RedisError) -> (Failure, Concerns) {
    let unavailable = Failure::Unavailable(error.to_string());
    let Some(code) = error.code() else {
        // A reply that is not what the command returns has the same kind as bytes that are no reply at all, so that the kind does
        // not say whether the connection can be read on. The probe does: after bytes that are no reply the client ends the connection.
        let concerns = if error.is_io_error() { Concerns::Connection } else { Concerns::Server };
        return (unavailable, concerns);
    };
    let text = error.detail().unwrap_or_default();
    // Before version 7 the error of a command in a script is part of the script's own: `ERR Error running script (call to …):
    // @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.`
    let within = text.split_once(": -").map_or("", |(_, rest)| rest);
    let code = match within.split(' ').next() {
        Some(inner) if code == "ERR" && !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_uppercase()) => inner,
        _ => code,
    };
    if code == "WRONGTYPE" || code == "ERR" && (text.contains("not an integer") || text.contains("overflow")) {
        return (Failure::TooLarge, Concerns::Request);
    }
    let concerns = match (code, error.redirect_node()) {
        ("MOVED", Some((address, slot))) => Concerns::Moved(slot, address.to_owned()),
        ("ASK", Some((address, _))) => Concerns::Asked(address.to_owned()),
        _ if OF_ONE_REQUEST.contains(&code) => Concerns::Request,
        _ => Concerns::Server,
    };
    (unavailable, concerns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concerns(line: &str) -> Concerns {
        let error = redis::parse_redis_value(line.as_bytes()).unwrap().extract_error().unwrap_err();
        explain(&error).1
    }

    #[test]
    fn a_server_that_does_not_serve_is_told_from_a_request_that_cannot_be_served() {
        for line in [
            "-READONLY You can't write against a read only replica.\r\n",
            "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
            "-NOREPLICAS Not enough good replicas to write.\r\n",
            "-LOADING Redis is loading the dataset in memory\r\n",
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
            "-NOAUTH Authentication required.\r\n",
            "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
            "-NOPERM this user has no permissions to run the 'set' command\r\n",
            "-MISCONF Redis is configured to save RDB snapshots\r\n",
            "-CLUSTERDOWN The cluster is down\r\n",
            "-ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't write.\r\n",
        ] {
            assert_eq!(concerns(line), Concerns::Server, "{line}");
        }
        for line in [
            "-ERR value is not an integer or out of range\r\n",
            "-ERR Error running script (call to f_1): @user_script:9: attempt to index a nil value\r\n",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
            "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
        ] {
            assert_eq!(concerns(line), Concerns::Request, "{line}");
        }
        let unreadable = redis::from_redis_value::<(i64, Vec<Vec<u8>>)>(redis::Value::Array(Vec::new())).unwrap_err();
        assert_eq!(explain(&unreadable.into()).1, Concerns::Server, "a reply that is not what the command returns");
        let strange = RedisError::from((redis::ErrorKind::UnexpectedReturnType, "not what the script returns"));
        assert_eq!(explain(&strange).1, Concerns::Server);
        let closed = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert_eq!(explain(&closed).1, Concerns::Connection);
        assert_eq!(concerns("-MOVED 3999 127.0.0.1:6381\r\n"), Concerns::Moved(3999, "127.0.0.1:6381".to_owned()));
        assert_eq!(concerns("-ASK 3999 127.0.0.1:6381\r\n"), Concerns::Asked("127.0.0.1:6381".to_owned()));
    }
}
