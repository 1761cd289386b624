//! What holds where the file says nothing; a type whose default is neither here nor in the model is empty or its first variant.

use std::{collections::BTreeMap, time::Duration};

use gateway_core::model::{PathRule, Percent};

use crate::{
    file::{ActiveHealth, Health, Paths, Statuses, Upstream, UpstreamTls},
    part::Part,
};

impl Default for Paths {
    fn default() -> Self {
        let PathRule { encoded_slashes, merge_slashes, matrix_parameters } = PathRule::default();
        Self { encoded_slashes, merge_slashes, matrix_parameters }
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

impl Default for Health {
    fn default() -> Self {
        Self { active: None, passive: None, panic_threshold: Percent(30) }
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
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { ca: None, server_name: None, certificate: None, verify: true }
    }
}
