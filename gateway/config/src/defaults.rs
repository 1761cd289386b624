//! What holds where the file says nothing; a type whose default is neither here nor in the model is empty or its first variant.

use gateway_core::model::Percent;

use crate::{
    file::{Health, Upstream, UpstreamTls},
    part::Part,
};

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

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { ca: None, server_name: None, certificate: None, verify: true }
    }
}
