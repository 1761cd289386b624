//! What holds where the file says nothing; a type whose default is not here is empty or its first variant.

use std::collections::BTreeMap;

use gateway_core::model::{self, LogFormat, PathRule, Percent};
use gateway_rules::bounds::Received;

use crate::{
    file::{
        ActiveHealth, Balance, CircuitBreaker, Health, Limits, Log, PassiveHealth, Paths, PlainBalance,
        PlainRetryCondition, PluginLimits, Retry, RetryCondition, Statuses, Timeouts, Upstream, UpstreamLimits,
        UpstreamTimeouts, UpstreamTls,
    },
    part::Part,
    units::{Share, Size, Span},
};

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for Paths {
    fn default() -> Self {
        let PathRule { encoded_slashes, merge_slashes, matrix_parameters } = PathRule::default();
        Self { encoded_slashes, merge_slashes, matrix_parameters }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let Received { header_bytes, header_count, uri_bytes, buffer_bytes } = Received::default();
        Self {
            header_bytes: Size(header_bytes as u64),
            header_count,
            uri_bytes: Size(uri_bytes as u64),
            body_bytes: Size::mib(10),
            buffer_bytes: Size(buffer_bytes as u64),
            cache_bytes: Size::mib(128),
            store_bytes: Size::mib(256),
            plugin_instances: 4000,
            connections: model::Limits::CONNECTIONS,
            streams: 128,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header_read: Span::secs(10),
            idle: Span::secs(75),
            request: None,
            body: Span::secs(60),
            upgrade_idle: Span::secs(300),
            drain_delay: Span::secs(5),
            drain: Span::secs(30),
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            balance: Part::default(),
            health: Part::default(),
            retry: None,
            circuit_breaker: None,
            limits: Part::default(),
            tls: None,
            protocol: Part::default(),
            host: Part::default(),
            timeouts: Part::default(),
            idle_connections: Part(Ok(256)),
        }
    }
}

impl Default for Balance {
    fn default() -> Self {
        Self::Plain(PlainBalance::RoundRobin)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self { active: None, passive: None, panic_threshold: Share(Percent(30)) }
    }
}

impl Default for ActiveHealth {
    fn default() -> Self {
        Self {
            path: None,
            grpc: None,
            tcp: None,
            headers: BTreeMap::new(),
            expect: vec![Part(Ok(Statuses::Range("200-299".to_owned())))],
            interval: Span::secs(5),
            timeout: Span::secs(1),
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }
}

impl Default for PassiveHealth {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            failure_rate: None,
            minimum_requests: 20,
            window: Span::secs(10),
            eject_for: Span::secs(30),
            eject_for_at_most: Span::secs(300),
            max_ejected: Share(Percent(50)),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        let plain = [PlainRetryCondition::ConnectFailure, PlainRetryCondition::Reset].map(RetryCondition::Plain);
        let statuses = [502, 503, 504].map(RetryCondition::Status);
        Self {
            attempts: 1,
            on: plain.into_iter().chain(statuses).map(|condition| Part(Ok(condition))).collect(),
            budget: Share(Percent(20)),
            budget_floor: 3,
            backoff: Span::millis(25),
            backoff_at_most: Span::millis(250),
        }
    }
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            failure_rate: Share(Percent(50)),
            minimum_requests: 20,
            window: Span::secs(10),
            open_for: Span::secs(5),
            probes: 3,
        }
    }
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self { connections: None, pending: 1024, requests: None }
    }
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { ca: None, server_name: None, certificate: None, verify: true }
    }
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self { connect: Span::secs(5), response: None, body: None, idle: Span::secs(60) }
    }
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self { memory: Size::mib(64), time: Span::millis(50), instances: 256, max_calls: 1_000_000 }
    }
}
