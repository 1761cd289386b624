//! `gateway demo` does what it tells its user.

use std::fs;

use tempfile::TempDir;

use crate::support::{Process, eventually, in_time, process::run};

/// A line of the demo's welcome, run by a shell as a user would.
async fn shell(line: &str) -> Option<String> {
    let running = tokio::process::Command::new("sh").arg("-c").arg(line).env("NO_PROXY", "*").output();
    let output = in_time(line, running).await.expect("a shell");
    if output.status.code() == Some(127) {
        return None;
    }
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn the_demos_lines_answer_as_told() {
    let folder = TempDir::new().unwrap();
    let mut demo =
        Process::start(folder.path(), ["demo", "--no-traffic", "--port", "0", "--tls-port", "0", "--admin-port", "0"]);
    let address = demo.printed("The gateway listens on http://127.0.0.1:").await;
    assert!(!address.contains("127.0.0.1:0,"), "{address}");
    demo.printed("Ctrl-C ends the demo").await;
    let welcome = demo.output();
    let dashboard_url =
        welcome.lines().find_map(|line| line.strip_prefix("The dashboard is at ")?.split_whitespace().next());
    let dashboard_url = dashboard_url.expect("the dashboard's address").to_owned();
    let lines: Vec<&str> = welcome.lines().map(str::trim).filter(|line| line.contains("curl ")).collect();
    assert!(lines.len() >= 6, "{welcome}");
    let line =
        |part: &str| *lines.iter().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {welcome}"));

    let Some(echoed) = shell(line("/echo/hello?x=1")).await else {
        return eprintln!("skipped: there is no curl");
    };
    let seen: serde_json::Value = serde_json::from_str(&echoed).unwrap_or_else(|error| panic!("{error}: {echoed}"));
    assert!(seen["target"].as_str().unwrap().ends_with("?x=1"), "{echoed}");
    let transformed = shell(line("/users/42")).await.unwrap();
    assert!(transformed.starts_with("HTTP/1.1 200") && transformed.contains("x-served-by: gateway"), "{transformed}");
    assert!(transformed.contains("/internal/accounts/42") && !transformed.contains("x-powered-by"), "{transformed}");
    let limited = shell(line("/limited")).await.unwrap();
    assert_eq!(limited.split_whitespace().collect::<Vec<_>>(), ["200", "200", "200", "200", "200", "429"]);
    let private = lines.iter().filter(|line| line.contains("/private")).collect::<Vec<_>>();
    let [without, with] = private[..] else { panic!("two lines for /private: {welcome}") };
    let refused = shell(without).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 401") && refused.to_lowercase().contains("www-authenticate"), "{refused}");
    let let_in = shell(with).await.unwrap();
    assert!(let_in.contains(r#""x-user": "ada""#), "the claims are handed on: {let_in}");
    let secure = shell(line("/echo/tls")).await.unwrap();
    assert!(secure.contains(r#""x-forwarded-proto": "https""#), "{secure}");
    let page = || async { shell(line("/catalogue/1")).await.unwrap().to_lowercase() };
    let (first, second) = (page().await, page().await);
    assert!(first.contains("fwd=uri-miss") && second.contains("hit; ttl="), "{first}\n{second}");
    assert!(shell(line("/shop/a")).await.unwrap().contains(r#""version": ""#));
    let nowhere = shell(line("/nowhere")).await.unwrap();
    assert!(nowhere.starts_with("HTTP/1.1 404") && nowhere.contains("application/problem+json"), "{nowhere}");

    let dashboard = shell(&format!("curl -s {dashboard_url}")).await.unwrap();
    assert!(dashboard.contains("<title>Gateway</title>"), "{dashboard}");

    // The access log is on standard output too.
    demo.printed("\"GET /nowhere HTTP/1.1\" 404").await;
    demo.signal("INT");
    let ended = demo.ended().await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stdout.contains('\u{1b}'), "colours in a pipe: {}", ended.stdout);
}

#[tokio::test]
async fn the_demos_configuration_can_be_printed_and_is_valid() {
    let folder = TempDir::new().unwrap();
    let ended = run(folder.path(), ["demo", "--print-config"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    fs::write(folder.path().join("demo.yaml"), &ended.stdout).unwrap();
    let checked = run(folder.path(), ["check", "-c", "demo.yaml"]).await;
    assert_eq!(checked.code, 0, "{}", checked.stderr);
}

/// Every page of the dashboard shows something: requests of each class, a plugin that fails, an ejected endpoint.
#[tokio::test]
async fn the_demos_clients_give_every_page_of_the_dashboard_something_to_show() {
    let folder = TempDir::new().unwrap();
    let mut demo = Process::start(folder.path(), ["demo", "--port", "0", "--tls-port", "0", "--admin-port", "0"]);
    demo.printed("Ctrl-C ends the demo").await;
    let welcome = demo.output();
    let admin = welcome.lines().find_map(|line| line.strip_prefix("The dashboard is at ")?.split_whitespace().next());
    let metrics = format!("curl -s {}metrics", admin.expect("the dashboard's address"));
    let log = welcome.lines().find_map(|line| line.trim().strip_prefix("tail -f ")).expect("the access log").to_owned();
    let wanted = [
        [r#"gateway_requests_total{route="catalogue""#, "2xx"],
        [r#"gateway_requests_total{route="limited""#, "4xx"],
        [r#"gateway_requests_total{route="orders""#, "5xx"],
        [r#"gateway_upstream_requests_total{upstream="shop-canary""#, "2xx"],
        [r#"gateway_wasm_failures_total{plugin="json-body""#, r#"kind="memory""#],
    ];
    eventually("requests of all kinds", async || {
        let scraped = shell(&metrics).await.unwrap_or_default();
        let is_counted = |parts: &[&str; 2]| {
            scraped.lines().any(|line| parts.iter().all(|part| line.contains(part)) && !line.ends_with(" 0"))
        };
        wanted.iter().all(is_counted)
    })
    .await;
    assert!(!fs::read_to_string(&log).unwrap().is_empty());
    demo.signal("INT");
    assert_eq!(demo.ended().await.code, 0);
    assert!(!fs::exists(&log).unwrap(), "the demo's files are removed");
}

#[tokio::test]
async fn the_demo_says_that_its_port_is_taken() {
    let folder = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = run(folder.path(), ["demo", "--port", &port, "--tls-port", "0", "--admin-port", "0"]).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot listen"), "{}", ended.stderr);
}
