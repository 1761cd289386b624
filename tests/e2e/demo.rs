//! `gateway demo` does what it tells its user.

use std::fs;

use tempfile::TempDir;

use crate::support::{Process, in_time, process::run};

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
    let mut demo = Process::start(folder.path(), ["demo", "--port", "0", "--admin-port", "0"]);
    let address = demo.printed("The gateway listens on http://127.0.0.1:").await;
    assert!(!address.contains("127.0.0.1:0,"), "{address}");
    demo.printed("Ctrl-C ends it").await;
    let welcome = demo.output();
    let page = welcome.lines().find_map(|line| line.strip_prefix("The dashboard is at ")?.split_whitespace().next());
    let page = page.expect("the dashboard's address").to_owned();
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
    let nowhere = shell(line("/nowhere")).await.unwrap();
    assert!(nowhere.starts_with("HTTP/1.1 404") && nowhere.contains("application/problem+json"), "{nowhere}");

    let dashboard = shell(&format!("curl -s {page}")).await.unwrap();
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

#[tokio::test]
async fn the_demo_says_that_its_port_is_taken() {
    let folder = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = run(folder.path(), ["demo", "--port", &port, "--admin-port", "0"]).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot listen"), "{}", ended.stderr);
}
