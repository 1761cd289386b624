//! `gateway run` and `gateway demo`.

use std::sync::Arc;

use gateway_core::model;

use super::{DemoArgs, Failed, LogFormat, Logging, RunArgs, print};
use crate::{
    app::{Gateway, Options, Source},
    demo,
};

pub(super) fn run(args: &RunArgs, logging: &Logging) -> Result<(), Failed> {
    let options = Options {
        source: Source::File(args.config.config.clone()),
        signals: true,
        watch: !args.no_watch,
        code_cache: true,
        logging: Some(overrides(logging)),
        timers: Arc::default(),
    };
    let gateway = Gateway::start(options)?;
    if let Some(admin) = gateway.admin_address() {
        tracing::info!("admin on {admin}");
    }
    let addresses: Vec<_> = gateway.addresses().iter().map(ToString::to_string).collect();
    tracing::info!("listening on {}", addresses.join(", "));
    gateway.wait();
    Ok(())
}

pub(super) fn demo(args: &DemoArgs, logging: &Logging) -> Result<(), Failed> {
    if args.print_config {
        return print(demo::CONFIG.trim_end());
    }
    let ports = demo::Ports { http: args.port, https: args.tls_port, admin: args.admin_port };
    let mut demo = demo::Demo::start(ports, !args.no_traffic)?;
    let options = Options {
        source: demo.source(),
        signals: true,
        watch: false,
        code_cache: true,
        logging: Some(overrides(logging)),
        timers: Arc::default(),
    };
    let gateway = Gateway::start(options)?;
    demo.serve_clients(gateway.addresses())?;
    print(demo.welcome(gateway.addresses(), gateway.admin_address()).trim_end())?;
    gateway.wait();
    Ok(())
}

pub(super) fn overrides(logging: &Logging) -> crate::app::LogOverrides {
    crate::app::LogOverrides {
        format: logging.log_format.map(|format| match format {
            LogFormat::Text => model::LogFormat::Text,
            LogFormat::Json => model::LogFormat::Json,
        }),
        level: logging.log_level.clone(),
    }
}
