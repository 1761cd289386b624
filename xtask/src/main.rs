//! What developers do with this project: `cargo xtask test`, `demo`, `bench`.

mod bench;
mod book;
mod cache_tests;
mod components;
mod dashboard;
mod demo;
mod dist;
mod failures;
mod package;
mod setup;
mod shell;
mod test;
mod tidy;
mod toolchain;

use std::process::ExitCode;

use test::Scope;

const HELP: &str = "\
cargo xtask COMMAND

  test [--fast]                   formatting, tidiness, clippy, all tests, licences; what CI runs. --fast leaves out clippy,
                                  licences and the tests over real sockets except the shortest: under 3 minutes after a build
  advisories                      known vulnerabilities of dependencies; for a schedule, needs cargo-deny and github.com
  tidy                            only the tidiness check
  dashboard                       the dashboard's files in dashboard/dist, which the gateway has inside; needs Node.js
  book                            docs/ and what the gateway says of itself as a book, in target/book/html
  reference                       docs/reference/configuration.md, from the JSON Schema of the configuration
  demo [ARGS...]                  start `gateway demo ARGS...`, from a fast build without optimisation across crates
  bench [--quick] [--envoy] [--only SCENARIO,…] [--binary FILE] [--json FILE]
                                  CPU time per request beside nginx and HAProxy, on this machine
  dist                            the gateway compiled by what `bench` does with it (profile-guided), a quarter of an hour
  package [--help] [ARGS...]      the artefacts of a release, in target/package: archive, .deb, .rpm, container image, SDKs, bill of
                                  materials, checksums, signatures; half an hour
  fuzz [SECONDS]                  random bodies and answers for the plugins that translate protocols, and random operations that the
                                  gateway and the test kit must agree on, a minute each
  cache-tests                     http-tests/cache-tests against nginx and the gateway; writes docs/cache-tests.md

`test` and `demo` install the target wasm32-wasip2 if it is missing. `test` also installs what its tests start: Debian packages
(as root; otherwise it prints the command), Python packages and cargo-deny (into the target folder), npm packages.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let result = match (command, rest) {
        ("test", []) => test::run(Scope::All),
        ("test", [flag]) if flag == "--fast" => test::run(Scope::Fast),
        ("advisories", []) => test::advisories(),
        ("tidy", []) => tidy::run(),
        ("dashboard", []) => dashboard::run(),
        ("book", []) => book::run(),
        ("reference", []) => book::reference(),
        ("demo", args) => demo::run(args),
        ("bench", args) => bench::run(args),
        ("dist", []) => dist::run(),
        ("package", args) => package::run(args),
        ("fuzz", []) => test::fuzz("60"),
        ("fuzz", [seconds]) => test::fuzz(seconds),
        ("cache-tests", []) => cache_tests::run(),
        ("help" | "--help" | "-h", _) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("cannot understand: {}\n\n{HELP}", args.join(" "));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
