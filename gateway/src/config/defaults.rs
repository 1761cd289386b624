//! What holds where the file says nothing; a type whose default is not here is empty or its first variant.

use super::{
    file::{Limits, Log, Paths, PluginLimits, Timeouts, Upstream, UpstreamTimeouts},
    model::{EncodedSlashes, LogFormat},
    part::Part,
    units::{Size, Span},
};

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for Paths {
    fn default() -> Self {
        Self { encoded_slashes: EncodedSlashes::Keep, merge_slashes: true }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: Size::kib(64),
            header_count: 100,
            uri_bytes: Size::kib(16),
            body_bytes: Size::mib(10),
            buffer_bytes: Size::mib(1),
            connections: 16_384,
            streams: 128,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header_read: Span::secs(10),
            idle: Span::secs(75),
            request: Span::secs(60),
            body: Span::secs(60),
            drain: Span::secs(30),
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            tls: None,
            host: Part::default(),
            timeouts: Part::default(),
            idle_connections: Part(Ok(256)),
        }
    }
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self { connect: Span::secs(5), idle: Span::secs(60) }
    }
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self { memory: Size::mib(64), time: Span::millis(50), instances: 64, max_calls: 1_000_000 }
    }
}
