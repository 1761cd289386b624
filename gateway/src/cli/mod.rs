//! The command line: subcommands, their arguments and exit codes.

mod approve;
mod bench;
mod check;
mod dev;
mod health;
mod import;
mod init;
mod inspect;
mod manual;
mod openapi;
mod project;
mod route;
mod run;
mod schema;
mod trial;

use std::{
    error::Error,
    fmt::Display,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::{app::StartError, project::Language};

/// A WebAssembly-extensible API gateway.
#[derive(Parser)]
#[command(name = "gateway", version, max_term_width = 100, after_help = EXIT_CODES, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    logging: Logging,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  it could not start, or stopped on an error; `health`: not ready
  2  invalid command line, or an input file that cannot be read
  3  the configuration or the plugin is not valid
  4  `route`: no route answers the request
  5  `plugin test`: a case failed";

#[derive(Subcommand)]
enum Command {
    /// Write a commented configuration to start with, and the JSON Schema for editors beside it
    Init(InitArgs),
    /// Translate a configuration of nginx or Kong, an OpenAPI document or Kubernetes Ingresses, and report line by line
    /// what has no counterpart
    Import(ImportArgs),
    /// Serve a configuration until SIGTERM or SIGINT; SIGHUP or a change of a file reloads it, SIGUSR2 starts a new process in its place
    Run(RunArgs),
    /// Validate a configuration, plugin configurations included, without serving it
    Check(ConfigArgs),
    /// Check that a gateway on this machine is ready, such as for the health check of a container
    Health(HealthArgs),
    /// Serve an example configuration with built-in services and clients
    Demo(DemoArgs),
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
    /// Show which route matches a request, why, and which plugins run
    Route(RouteArgs),
    /// Write an OpenAPI 3.1 document of the endpoints that routes' plugins declare, such as those of gRPC
    /// services
    Openapi(OpenapiArgs),
    /// Create, build, test and inspect plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print a shell completion script
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages to a folder, such as /usr/local/share/man/man1
    Man {
        /// The folder, which must exist
        folder: PathBuf,
    },
}

#[derive(Subcommand)]
enum PluginCommand {
    /// Create a plugin project with a test and a README in a folder of its name
    New(NewArgs),
    /// Build the component of a project as described in its plugin.yaml
    Build(BuildArgs),
    /// Serve a project's gateway.yaml for development: the plugin is rebuilt and reloaded when a file is
    /// saved
    Dev(DevArgs),
    /// Show a component's phases, capabilities and configuration schema, without running it in a gateway
    Inspect(InspectArgs),
    /// Run test cases against a component in the real sandbox, between a client and a service that behave as
    /// the cases say
    Test(TestArgs),
    /// Approve the components of a configuration and their grants in gateway.lock; only approved components
    /// run. This runs no component
    Approve(ApproveArgs),
    /// Benchmark a component with its test cases: microseconds per call and memory, compared with a component
    /// that does nothing
    Bench(BenchArgs),
}

#[derive(Args)]
struct ConfigArgs {
    /// The YAML file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Args)]
struct InitArgs {
    /// The file, which must not exist
    #[arg(default_value = "gateway.yaml")]
    file: PathBuf,
    /// The URL of the service behind the gateway, without a path
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9001")]
    upstream: String,
}

#[derive(Args)]
struct ImportArgs {
    /// nginx.conf or the output of `nginx -T`, kong.yaml, openapi.yaml, or a file with Ingresses
    file: PathBuf,
    /// What the file is; by its contents if left out
    #[arg(long, value_enum, value_name = "FORMAT")]
    from: Option<ImportFormat>,
    /// Write the configuration to this file, which must not exist, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ImportFormat {
    Nginx,
    Kong,
    Openapi,
    Ingress,
}

#[derive(Args)]
struct OpenapiArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// What the document is called
    #[arg(long, default_value = "Services behind the gateway")]
    title: String,
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Do not reload when the configuration or a file that it names changes; SIGHUP still does
    #[arg(long)]
    no_watch: bool,
}

#[derive(Args)]
struct HealthArgs {
    /// The admin listener, without TLS
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900")]
    admin: SocketAddr,
}

#[derive(Args)]
struct DemoArgs {
    /// The port to listen on, on the loopback interface; 0 lets the system choose
    #[arg(short, long, default_value_t = 8080)]
    port: u16,
    /// The port with TLS, on the loopback interface; 0 lets the system choose
    #[arg(long, default_value_t = 8443)]
    tls_port: u16,
    /// The port of the dashboard, metrics and admin API, on the loopback interface; 0 lets the system choose
    #[arg(long, default_value_t = 9900)]
    admin_port: u16,
    /// Send no requests: the dashboard shows only those of other clients
    #[arg(long)]
    no_traffic: bool,
    /// Print the example configuration and exit
    #[arg(long)]
    print_config: bool,
}

#[derive(Args)]
struct RouteArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The request's method
    method: String,
    /// The request's URL, or its path
    url: String,
    /// The name or address of the listener; by default the first one for the URL's scheme
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// A header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
}

#[derive(Args)]
struct InspectArgs {
    /// The component, or the name of a standard plugin
    file: PathBuf,
    /// Its configuration in YAML, to benchmark its calls
    #[arg(long, value_name = "YAML")]
    config: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct DevArgs {
    /// The project's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The configuration; gateway.yaml in the folder if left out
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct ApproveArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only these plugins; all if left out
    names: Vec<String>,
    /// Only print what needs approval; exit code 3 if there is anything
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
struct BenchArgs {
    #[command(flatten)]
    cases: CasesArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct NewArgs {
    /// Lower-case letters, digits and dashes
    name: String,
    /// The programming language
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
}

#[derive(Args)]
struct BuildArgs {
    /// The project's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
}

#[derive(Args)]
struct TestArgs {
    #[command(flatten)]
    cases: CasesArgs,
    /// Keep the buckets of each case in this Redis in place of the gateway's memory, under names that no other case
    /// has, and remove them when the case has ended
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
}

#[derive(Args)]
struct CasesArgs {
    /// The file of cases, or a folder with tests/cases.yaml
    #[arg(default_value = ".")]
    cases: PathBuf,
    /// The component; the one that the file names if left out
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Only cases whose names have this in them
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

#[derive(Args)]
struct Logging {
    /// Log format; the configuration's by default
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// A level, or `tracing` filter directives; the configuration's if left out
    #[arg(long, global = true, value_name = "FILTER", env = "GATEWAY_LOG")]
    log_level: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Why a command ends with another code than 0.
enum Failed {
    /// 1
    Stopped(String),
    /// 2
    Misunderstood(String),
    /// 3
    Invalid(String),
    /// 4
    NoRoute,
    /// 5
    NotAsExpected,
}

impl Failed {
    fn misunderstood(error: impl Error) -> Self {
        Self::Misunderstood(error.to_string())
    }

    fn invalid(error: impl Error) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Stopped(error.to_string())
    }
}

impl From<StartError> for Failed {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(problems) => Self::Invalid(problems.to_string()),
            other => Self::Stopped(other.to_string()),
        }
    }
}

/// Reads the command line, does what it says, and prints what there is to say.
pub fn main() -> ExitCode {
    let Cli { command, logging } = Cli::parse();
    let done = match command {
        Command::Init(args) => init::init(&args),
        Command::Import(args) => import::import(&args),
        Command::Run(args) => run::run(&args, &logging),
        Command::Check(args) => check::check(&args),
        Command::Health(args) => health::health(&args),
        Command::Demo(args) => run::demo(&args, &logging),
        Command::Schema => schema::schema(),
        Command::Route(args) => route::route(&args),
        Command::Openapi(args) => openapi::openapi(&args),
        Command::Plugin(PluginCommand::Inspect(args)) => inspect::inspect(&args),
        Command::Plugin(PluginCommand::New(args)) => project::new(&args),
        Command::Plugin(PluginCommand::Build(args)) => project::build(&args),
        Command::Plugin(PluginCommand::Test(args)) => trial::test(&args, &logging),
        Command::Plugin(PluginCommand::Dev(args)) => dev::dev(&args, &logging),
        Command::Plugin(PluginCommand::Approve(args)) => approve::approve(&args),
        Command::Plugin(PluginCommand::Bench(args)) => bench::bench(&args),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { folder } => manual::pages(&folder),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Stopped(why)) => {
            complain(format_args!("gateway: {why}"));
            ExitCode::from(1)
        }
        Err(Failed::Misunderstood(why)) => {
            complain(format_args!("gateway: {why}"));
            ExitCode::from(2)
        }
        Err(Failed::Invalid(why)) => {
            complain(format_args!("{}", why.trim_end()));
            ExitCode::from(3)
        }
        Err(Failed::NoRoute) => ExitCode::from(4),
        Err(Failed::NotAsExpected) => ExitCode::from(5),
    }
}

/// Prints to standard output. A closed pipe, as by `head`, is not a failure.
fn print(text: impl Display) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Prints to standard error; failures are ignored.
fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
