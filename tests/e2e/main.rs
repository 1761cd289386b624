//! End-to-end tests: a gateway as users run it, real sockets, real upstream servers. One binary, since linking
//! takes long; `support` makes a test a few lines.

mod support;

mod basics;
mod examples;
mod rate_limit;
