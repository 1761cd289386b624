//! The binary as people and scripts use it: what it prints where, and its exit codes.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::support::{
    Client, Process, Upstream,
    certs::Authority,
    client::Request,
    process::{Ended, run},
};

const VALID: &str = "\
listeners: [{ address: '127.0.0.1:0' }]
admin: { address: '127.0.0.1:0' }
upstreams:
  users: { endpoints: ['http://127.0.0.1:9'] }
  others: { endpoints: ['http://127.0.0.1:9'] }
sinks: { access: stderr }
global-plugins: [{ name: access-log, config: { sink: access } }]
routes:
  - name: user
    match: { host: api.example.com, path: '/users/{id}', methods: [GET] }
    plugins:
      - name: rate-limit
        config: { limit: 100, per: 1m }
    upstream: users
  - { name: rest, match: { path: '/other/{*rest}' }, upstream: others }
";

/// Two mistakes, on lines 4 and 7.
const BROKEN: &str = "\
listeners: [{ address: '127.0.0.1:0' }]
upstreams:
  users:
    endpoint: [http://127.0.0.1:9]
routes:
  - name: user
    upstream: user
    match: { path: /users }
";

/// A folder with `valid.yaml` and `broken.yaml`.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("valid.yaml"), VALID).unwrap();
    fs::write(folder.path().join("broken.yaml"), BROKEN).unwrap();
    folder
}

fn assert_plain(ended: &Ended) {
    assert!(!ended.stdout.contains('\u{1b}') && !ended.stderr.contains('\u{1b}'), "colours in a pipe: {ended:?}");
}

#[tokio::test]
async fn help_names_the_commands_and_the_exit_codes() {
    let folder = folder();
    let ended = run(folder.path(), ["--help"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert_plain(&ended);
    let commands: Vec<&str> =
        section(&ended.stdout, "Commands:").filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(
        commands,
        [
            "init",
            "import",
            "run",
            "check",
            "health",
            "demo",
            "schema",
            "route",
            "openapi",
            "plugin",
            "completions",
            "man",
            "help"
        ]
    );
    let codes: Vec<&str> = section(&ended.stdout, "Exit codes:").map(|line| line.trim().split_at(1).0).collect();
    assert_eq!(codes, ["0", "1", "2", "3", "4", "5"]);
    for option in ["--log-format", "--log-level", "--version"] {
        assert!(ended.stdout.contains(option), "{}", ended.stdout);
    }
}

/// The indented lines under a heading, those that continue an entry left out.
fn section<'a>(text: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    let lines = text.lines().skip_while(move |line| *line != heading).skip(1);
    lines.take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("    "))
}

#[tokio::test]
async fn every_command_has_help() {
    let folder = folder();
    for command in ["run", "check", "health", "demo", "schema", "route", "openapi", "plugin", "completions", "man"] {
        let ended = run(folder.path(), [command, "--help"]).await;
        assert_eq!(ended.code, 0);
        assert!(ended.stdout.contains("Usage: gateway "), "{}", ended.stdout);
    }
}

#[tokio::test]
async fn a_command_line_that_is_not_understood_exits_with_2_and_says_what_was_meant() {
    let folder = folder();
    let cases: [(&[&str], &str); 5] = [
        (&["check", "--confg", "x"], "--config"),
        (&["chekc"], "check"),
        (&["run"], "--config"),
        (&["route", "-c", "valid.yaml", "GET"], "<URL>"),
        (&["demo", "--port", "many"], "--port"),
    ];
    for (args, expected) in cases {
        let ended = run(folder.path(), args).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{args:?}");
        assert!(ended.stderr.contains(expected), "{args:?}: {}", ended.stderr);
        assert_plain(&ended);
    }
    assert_eq!(run::<&str>(folder.path(), []).await.code, 2, "nothing at all");
}

#[tokio::test]
async fn check_says_that_all_is_well() {
    let folder = folder();
    let ended = run(folder.path(), ["check", "-c", "valid.yaml"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.starts_with("valid.yaml: ok: 1 listener, 2 routes, 2 upstreams"), "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
}

#[tokio::test]
async fn check_says_how_much_memory_plugins_could_need_and_may_use() {
    let folder = folder();
    let yaml = "workers: 2
listeners: [{ address: 127.0.0.1:8080 }]
limits: { plugin-memory: 32MiB }
plugins: { transform: { limits: { memory: 24MiB } } }
routes:
  - { name: a, match: { path: /a }, respond: {}, plugins: [{ name: transform, config: { request: { set-headers: { x-a: b } } } }, request-id] }
";
    fs::write(folder.path().join("memory.yaml"), yaml).unwrap();
    let ended = run(folder.path(), ["check", "-c", "memory.yaml"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let line = "2 configurations of plugins on 2 workers: up to 176 MiB with one instance each, if each comes to its \
                `limits.memory`; plugin instances may use 32 MiB of memory (`limits.plugin-memory`)";
    assert!(ended.stdout.ends_with(line), "{}", ended.stdout);
    let warning = "warning: plugin `request-id`: `limits.memory` is 64 MiB, and the instances of all plugins may use 32 MiB together";
    assert!(ended.stderr.starts_with(warning) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
}

#[tokio::test]
async fn check_warns_of_routes_that_differ_only_in_how_a_path_is_read() {
    let folder = folder();
    let check = async |open: &str, admin: &str| {
        let text = format!(
            "listeners: [{{ address: 127.0.0.1:8080 }}]
upstreams: {{ a: {{ endpoints: [http://127.0.0.1:9001] }} }}
routes:
  - {{ name: open, upstream: a, {open} }}
  - {{ name: admin, match: {{ path: '/admin/{{*rest}}' }}, upstream: a, {admin} }}
"
        );
        fs::write(folder.path().join("pair.yaml"), text).unwrap();
        let ended = run(folder.path(), ["check", "-c", "pair.yaml"]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.stderr
    };
    let deny = "plugins: [{ name: ip-rules, config: { allow: [10.0.0.0/8] } }]";
    let keep = "paths: { encoded-slashes: keep }";
    let warned = check(keep, &format!("{deny}, {keep}")).await;
    assert!(warned.contains("warning: pair.yaml:4:"), "{warned}");
    assert!(
        warned.contains("`/admin%2Fx` is served by route `open`, and by `admin` if it is read otherwise"),
        "{warned}"
    );
    let parameters = "paths: { matrix-parameters: keep }";
    let warned = check(parameters, &format!("{deny}, {parameters}")).await;
    assert!(warned.contains("`/admin;x/x` is served by route `open`"), "{warned}");
    // Requests that could mean the other route are rejected, or that one is the same but for its path.
    assert_eq!(check("", deny).await, "");
    assert_eq!(check(keep, deny).await, "");
    assert_eq!(check(parameters, deny).await, "");
    assert_eq!(check(keep, keep).await, "");
}

#[tokio::test]
async fn check_warns_of_an_order_of_plugins_that_makes_no_sense_and_all_is_well_otherwise() {
    let folder = folder();
    let api_key = format!("{{ name: api-key, config: {{ keys: [{{ id: a, sha256: '{}' }}] }} }}", "0".repeat(64));
    let limit = "{ name: rate-limit, config: { limit: 1, per: 1s, key: { attribute: api-key.id } } }";
    let cors = "{ name: cors, config: { allow-origins: ['https://a.example'] } }";
    let plugins = format!("[{limit}, {api_key}, {cors}]");
    let text = VALID.replace("upstream: others }", &format!("upstream: others, plugins: {plugins} }}"));
    fs::write(folder.path().join("odd.yaml"), text).unwrap();
    let ended = run(folder.path(), ["check", "-c", "odd.yaml"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 2, "{ended:?}");
    assert!(ended.stderr.contains("warning: odd.yaml:15:"), "{ended:?}");
    assert!(
        ended.stderr.contains("`rate-limit` stands before `api-key`, so the attribute `api-key.id` is not there yet")
    );
    assert!(ended.stderr.contains("`cors` stands after `api-key`"), "{ended:?}");
}

#[tokio::test]
async fn check_reports_every_problem_with_its_place_and_exits_with_3() {
    let folder = folder();
    let ended = run(folder.path(), ["check", "-c", "broken.yaml"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{}", ended.stderr);
    assert_plain(&ended);
    let problems: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("broken.yaml:")).collect();
    let places: Vec<String> = problems.iter().map(|line| place(line)).collect();
    assert!(places.contains(&"4:5".to_owned()) && places.contains(&"7:15".to_owned()), "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean `endpoints`?"), "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean `users`?"), "{}", ended.stderr);
    assert!(ended.stderr.trim_end().ends_with("problems"), "{}", ended.stderr);
}

/// `4:5` of `FILE:4:5: message`.
fn place(line: &str) -> String {
    let parts: Vec<&str> = line.splitn(4, ':').collect();
    assert_eq!(parts.len(), 4, "FILE:LINE:COLUMN: message, found {line}");
    format!("{}:{}", parts[1], parts[2])
}

#[tokio::test]
async fn check_sees_mistakes_in_a_plugins_configuration() {
    let folder = folder();
    let broken = VALID.replace("limit: 100", "limit: many");
    fs::write(folder.path().join("plugin.yaml"), broken).unwrap();
    let ended = run(folder.path(), ["check", "-c", "plugin.yaml"]).await;
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("plugin.yaml:13:"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_said_clearly() {
    let folder = folder();
    for command in ["check", "run"] {
        let ended = run(folder.path(), [command, "-c", "nowhere.yaml"]).await;
        assert_eq!(ended.code, 3, "{}", ended.stderr);
        assert!(ended.stderr.starts_with("nowhere.yaml: cannot read the configuration"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn check_does_not_listen() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = VALID.replacen("127.0.0.1:0", &taken.local_addr().unwrap().to_string(), 1);
    fs::write(folder.path().join("taken.yaml"), config).unwrap();
    assert_eq!(run(folder.path(), ["check", "-c", "taken.yaml"]).await.code, 0);
}

#[tokio::test]
async fn the_schema_is_one_and_accepts_the_examples() {
    let folder = folder();
    let ended = run(folder.path(), ["schema"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let schema: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::meta::validate(&schema).expect("a JSON Schema");
    let validator = jsonschema::validator_for(&schema).expect("a JSON Schema");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut accepted = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            let instance = yaml(&fs::read_to_string(&path).unwrap());
            let errors: Vec<_> =
                validator.iter_errors(&instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
            accepted += 1;
        }
    }
    assert!(accepted >= 4, "the examples were not found");
    // And it would notice.
    let mut typo = yaml(VALID);
    typo["routs"] = typo["routes"].take();
    assert!(!validator.is_valid(&typo), "an unknown key is accepted");
    let mut wrong = yaml(VALID);
    wrong["routes"][0]["plugins"][0]["config"]["limit"] = "many".into();
    assert!(!validator.is_valid(&wrong), "a plugin's configuration is not looked at");
}

fn yaml(text: &str) -> serde_json::Value {
    serde_yaml::from_str(text).expect("YAML")
}

#[tokio::test]
async fn route_shows_which_route_answers_why_and_with_which_plugins() {
    let folder = folder();
    let ended = run(folder.path(), ["route", "-c", "valid.yaml", "GET", "http://api.example.com/users/7"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.starts_with("GET api.example.com/users/7 is answered by route user\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("plugins: access-log → rate-limit\n"), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("upstream: users"), "{}", ended.stdout);
    assert_plain(&ended);
    // The host can also come as a header, as with curl.
    let args = ["route", "-c", "valid.yaml", "GET", "/users/7", "-H", "Host: api.example.com"];
    assert!(run(folder.path(), args).await.stdout.contains("answered by route user"));
}

#[tokio::test]
async fn route_exits_with_4_and_says_why_no_route_answers() {
    let folder = folder();
    let cases = [
        (["POST", "http://api.example.com/users/7"], "405, Allow: GET"),
        (["GET", "http://api.example.com/"], "404"),
        (["GET", "http://www.example.com/users/7"], "on another host"),
    ];
    for ([method, url], expected) in cases {
        let ended = run(folder.path(), ["route", "-c", "valid.yaml", method, url]).await;
        assert_eq!(ended.code, 4, "{}", ended.stderr);
        assert!(ended.stdout.contains(expected), "{method} {url}: {}", ended.stdout);
    }
}

#[tokio::test]
async fn route_normalises_as_the_gateway_does() {
    let folder = folder();
    let url = "http://api.example.com/x/..//users/%37";
    let ended = run(folder.path(), ["route", "-c", "valid.yaml", "GET", url]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.starts_with("normalised to /users/7\n"), "{}", ended.stdout);
    let ended = run(folder.path(), ["route", "-c", "valid.yaml", "GET", "/../x"]).await;
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert_eq!(ended.stdout, "GET /../x is answered by no route: 400, the path leads above the root");
    let ended = run(folder.path(), ["route", "-c", "valid.yaml", "GET", "http://api.example.com/users%2F7"]).await;
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert!(ended.stdout.contains("400, the path has an encoded slash or backslash"), "{}", ended.stdout);
    let ended = run(folder.path(), ["route", "-c", "valid.yaml", "GET", "/other/..;x"]).await;
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert!(ended.stdout.contains("400, the path has a dot segment with a parameter (`..;x`)"), "{}", ended.stdout);
    let url = r#"http://api.example.com/users/<7>?q="x""#;
    let ended = run(folder.path(), ["route", "-c", "valid.yaml", "GET", url]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("/users/%3C7%3E?q=%22x%22 is answered by route user"), "{}", ended.stdout);
}

#[tokio::test]
async fn inspect_shows_what_a_standard_plugin_is_and_may() {
    let folder = folder();
    let ended = run(folder.path(), ["plugin", "inspect", "jwt"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_plain(&ended);
    for part in ["jwt ", "phases   request", "size ", "gateway:plugin/crypto@0.2.0", "\"properties\""] {
        assert!(ended.stdout.contains(part), "{part} is not in\n{}", ended.stdout);
    }
    let ended = run(folder.path(), ["plugin", "inspect", "jwt", "--json"]).await;
    let facts: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(facts["name"], "jwt");
    assert_eq!(facts["phases"][0], "request");
    assert!(facts["config-schema"].is_object() && facts["size"].as_u64() > Some(1000), "{facts}");
}

#[tokio::test]
async fn inspect_reads_files_and_says_what_is_no_plugin() {
    let folder = folder();
    fs::write(folder.path().join("waiter.wasm"), test_guests::waiter()).unwrap();
    let ended = run(folder.path(), ["plugin", "inspect", "waiter.wasm"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("gateway:plugin/http-client@0.2.0"), "{}", ended.stdout);
    assert!(ended.stdout.contains("upstreams: [NAME]"), "{}", ended.stdout);

    fs::write(folder.path().join("text.wasm"), "not a component").unwrap();
    // The head of a core module, which is no component.
    fs::write(folder.path().join("module.wasm"), b"\0asm\x01\0\0\0").unwrap();
    for file in ["text.wasm", "module.wasm", "nowhere.wasm"] {
        let ended = run(folder.path(), ["plugin", "inspect", file]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{file}: {}", ended.stderr);
        assert!(ended.stderr.starts_with(file), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn log_format_json_makes_every_line_json() {
    let folder = folder();
    let args = ["run", "-c", "valid.yaml", "--log-format", "json"];
    let mut gateway = Process::start(folder.path(), args);
    let line = gateway.logged("listening on").await;
    let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(event["level"], "INFO");
    assert!(event["message"].as_str().unwrap().starts_with("listening on 127.0.0.1:"), "{line}");
    // A failure, so that there are fields of the event's own; and a signal.
    let text = event["message"].as_str().unwrap();
    let address = text["listening on ".len()..].parse().expect("an address");
    assert_eq!(Client::connect(address).await.send(Request::get("/other/x")).await.status, 502);
    gateway.signal("TERM");
    let ended = gateway.ended().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""));
    let mut failures = 0;
    for line in ended.stderr.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if event["reason"] == "upstream-unreachable" {
            assert_eq!((&event["level"], &event["route"]), (&"WARN".into(), &"rest".into()));
            failures += 1;
        }
    }
    assert_eq!(failures, 1, "{}", ended.stderr);
}

#[tokio::test]
async fn a_log_into_a_pipe_has_no_colours_and_the_level_can_be_set() {
    let folder = folder();
    let mut gateway = Process::start(folder.path(), ["run", "-c", "valid.yaml"]);
    gateway.logged("listening on").await;
    gateway.signal("TERM");
    let ended = gateway.ended().await;
    assert_plain(&ended);
    assert!(ended.stderr.contains(" INFO "), "{}", ended.stderr);

    // By the environment; quiet but for warnings, so that another way to know that it serves is needed.
    let upstream = Upstream::named("one").await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = VALID.replace("127.0.0.1:9'", &format!("{}'", upstream.address()));
    fs::write(folder.path().join("quiet.yaml"), config.replacen("127.0.0.1:0", &address.to_string(), 1)).unwrap();
    let gateway = Process::start_with(folder.path(), ["run", "-c", "quiet.yaml"], &[("GATEWAY_LOG", "warn")]);
    crate::support::eventually("it serves", async || tokio::net::TcpStream::connect(address).await.is_ok()).await;
    gateway.signal("TERM");
    let ended = gateway.ended().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

#[tokio::test]
async fn a_first_configuration_is_valid_and_so_is_everything_that_it_comments_out() {
    let folder = TempDir::new().unwrap();
    let ended = run(folder.path(), ["init"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let checked = run(folder.path(), ["check", "-c", "gateway.yaml"]).await;
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""));
    let schema = fs::read_to_string(folder.path().join("gateway.schema.json")).unwrap();
    let printed = run(folder.path(), ["schema"]).await;
    assert!(schema.trim_end() == printed.stdout.trim_end(), "the file has another schema than is printed");

    let text = fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    // The further lines of a setting are indented.
    let is_text = |comment: &str| comment.starts_with(' ') && !comment.starts_with("  ");
    let uncomment = |line: &str| match line.trim_start().strip_prefix('#') {
        Some(setting) if !is_text(setting) => line.replacen('#', "", 1) + "\n",
        _ => format!("{line}\n"),
    };
    let all = text.lines().map(uncomment).collect::<String>().replace("{ env: TOKEN_KEY }", "{ file: token-key }");
    assert!(all.contains("\n  - name: robots") && all.contains("\nsecrets:"), "{all}");
    fs::write(folder.path().join("all.yaml"), all).unwrap();
    let certificates = Authority::new();
    certificates.issue(folder.path(), "server", &["localhost"]);
    fs::write(folder.path().join("token-key"), "thirty-two bytes of a secret key").unwrap();
    let checked = run(folder.path(), ["check", "-c", "all.yaml"]).await;
    assert_eq!(checked.code, 0, "{}", checked.stderr);
}

#[tokio::test]
async fn a_first_configuration_replaces_no_file_and_is_not_written_for_a_service_that_is_no_url() {
    let folder = folder();
    let ended = run(folder.path(), ["init", "valid.yaml"]).await;
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("valid.yaml exists already"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(folder.path().join("valid.yaml")).unwrap(), VALID);

    let ended = run(folder.path(), ["init", "new.yaml", "--upstream", "localhost:9001/api"]).await;
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("--upstream localhost:9001/api: expected a URL"), "{}", ended.stderr);
    assert!(!folder.path().join("new.yaml").exists());
}
