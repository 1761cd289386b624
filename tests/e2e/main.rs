//! End-to-end tests: a gateway as users run it, real sockets, real upstream servers. One binary, since linking
//! takes long; `support` makes a test a few lines.

mod support;

mod basics;
mod endurance;
mod forwarding;
mod http2;
mod lifecycle;
mod misbehaving;
mod pipeline;
mod plugins;
mod routing;
mod tls;
