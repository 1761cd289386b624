//! The configuration in force, those before it, and the next one.

use std::{fs, net::SocketAddr, path::PathBuf};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::refused;
use crate::support::{Client, Process, Response, client::Request, eventually};

/// A gateway of its own whose configuration is a file, and is watched.
struct Gateway {
    _process: Process,
    file: PathBuf,
    address: SocketAddr,
    admin: SocketAddr,
    _folder: TempDir,
}

fn yaml(status: u16) -> String {
    format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]
admin: {{ address: '127.0.0.1:0' }}
# A comment that stays.
routes: [{{ name: all, respond: {{ status: {status} }} }}]
"
    )
}

impl Gateway {
    async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("gateway.yaml");
        fs::write(&file, yaml(201)).expect("a file");
        let mut process = Process::start(folder.path(), ["run", "-c", "gateway.yaml"]);
        let address = process.addresses().await[0];
        let admin = process.admin().await;
        Self { _process: process, file, address, admin, _folder: folder }
    }

    async fn ask(&self, request: Request) -> Response {
        Client::connect(self.admin).await.send(request).await
    }

    async fn get(&self, target: &str) -> Response {
        self.ask(Request::get(&format!("/api/v1/config{target}"))).await
    }

    async fn put(&self, target: &str, text: &str) -> Response {
        self.ask(Request::put(&format!("/api/v1/config{target}"), text.to_owned())).await
    }

    async fn revisions(&self) -> Vec<Value> {
        self.get("/revisions").await.json().as_array().expect("a list").clone()
    }

    /// What the one route answers with.
    async fn serves(&self) -> u16 {
        Client::connect(self.address).await.send(Request::get("/")).await.status.as_u16()
    }
}

#[tokio::test]
async fn what_is_in_force_is_shown_as_it_was_typed() {
    let gateway = Gateway::start().await;
    let shown = gateway.get("").await;
    assert_eq!((shown.header("content-type"), shown.header("etag")), ("application/yaml", "\"1\""));
    assert_eq!(shown.text(), yaml(201));
    assert_eq!(shown.header("cache-control"), "no-store");
}

#[tokio::test]
async fn another_one_is_put_in_force_and_into_the_file() {
    let gateway = Gateway::start().await;
    let applied = gateway.put("", &yaml(202)).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    assert_eq!(applied.json(), json!({ "revision": 2, "written": true, "warnings": [] }));
    assert_eq!(gateway.serves().await, 202);
    assert_eq!(fs::read_to_string(&gateway.file).expect("a file"), yaml(202));
    let revisions = gateway.revisions().await;
    assert_eq!(revisions.len(), 2, "that the file has changed is no news: {revisions:?}");
    assert_eq!(revisions[0]["origin"], "operator");
    assert_eq!(revisions[0]["operator"], "127.0.0.1");
    assert_eq!(revisions[0]["active"], true);
    assert_eq!((&revisions[1]["origin"], &revisions[1]["active"]), (&json!("start"), &json!(false)));
    // The file is looked at as before.
    fs::write(&gateway.file, yaml(203)).expect("a file");
    eventually("the file being taken up", async || gateway.serves().await == 203).await;
    eventually("the revision", async || gateway.revisions().await[0]["origin"] == "reload").await;
}

#[tokio::test]
async fn one_that_is_not_valid_changes_nothing_and_says_where() {
    let gateway = Gateway::start().await;
    let broken = yaml(202).replace("respond", "respnd");
    let response = gateway.put("", &broken).await;
    assert_eq!(refused(&response).0, 422);
    let problems = response.json()["problems"].clone();
    assert_eq!(problems.as_array().map(Vec::len), Some(1), "{problems}");
    assert_eq!((&problems[0]["line"], &problems[0]["column"]), (&json!(4), &json!(23)), "{problems}");
    assert!(problems.to_string().contains("unknown key `respnd`; did you mean `respond`?"), "{problems}");
    assert_eq!(gateway.serves().await, 201);
    assert_eq!(fs::read_to_string(&gateway.file).expect("a file"), yaml(201));
    assert_eq!(gateway.revisions().await.len(), 1);
    // Another one can be put in force all the same.
    assert_eq!(gateway.put("", &yaml(204)).await.status, 200);
    assert_eq!(gateway.serves().await, 204);
}

#[tokio::test]
async fn one_can_be_checked_before() {
    let gateway = Gateway::start().await;
    let check = async |text: &str| gateway.ask(Request::post("/api/v1/config/validate", text.to_owned())).await.json();
    assert_eq!(check(&yaml(202)).await, json!({ "valid": true, "problems": [], "warnings": [] }));
    // What is allowed and makes no sense has its place too.
    let odd = yaml(202).replace(
        "routes: [{",
        "routes: [{ match: { methods: [GET] }, plugins: [{ name: cors, config: { allow-origins: ['https://a.test'] } }],",
    );
    let judged = check(&odd).await;
    assert_eq!(judged["valid"], true, "{judged}");
    assert_eq!(judged["warnings"][0]["line"], 4, "{judged}");
    let judged = check("routes: 5\n").await;
    assert_eq!(judged["valid"], false);
    assert_eq!(judged["problems"][0]["line"], 1, "{judged}");
    assert_eq!(gateway.serves().await, 201);
}

#[tokio::test]
async fn what_it_changed_is_told_and_can_be_gone_back_to() {
    let gateway = Gateway::start().await;
    gateway.put("", &yaml(202)).await;
    let diff = gateway.get("/revisions/2/diff").await;
    assert_eq!(diff.header("content-type"), "text/x-diff; charset=utf-8");
    let diff = diff.text();
    assert!(diff.starts_with("--- revision 1\n+++ revision 2\n"), "{diff}");
    let lines: Vec<&str> = diff.lines().filter(|line| line.starts_with(['+', '-']) && line.len() > 20).collect();
    assert!(lines[0].contains("status: 201") && lines[1].contains("status: 202"), "{diff}");
    assert_eq!(gateway.get("/revisions/1").await.text(), yaml(201));

    let back = gateway.ask(Request::post("/api/v1/config/revisions/1/activate", "")).await;
    assert_eq!(back.json()["revision"], 3, "{}", back.text());
    assert_eq!(gateway.serves().await, 201);
    assert_eq!(fs::read_to_string(&gateway.file).expect("a file"), yaml(201));
    let newest = gateway.revisions().await[0].clone();
    assert_eq!((&newest["origin"], &newest["rolled_back_to"]), (&json!("rollback"), &json!(1)));

    for target in ["/revisions/9", "/revisions/9/diff", "/revisions/3/diff?from=9", "/revisions/x"] {
        assert_eq!(refused(&gateway.get(target).await).0, 404, "{target}");
    }
    let none = gateway.ask(Request::post("/api/v1/config/revisions/9/activate", "")).await;
    assert_eq!(refused(&none).0, 404);
}

#[tokio::test]
async fn who_has_not_seen_the_present_one_does_not_write_over_it() {
    let gateway = Gateway::start().await;
    let put = async |tag: &str, status: u16| {
        let request = Request::put("/api/v1/config", yaml(status)).header("if-match", tag);
        gateway.ask(request).await
    };
    assert_eq!(put("\"1\"", 202).await.status, 200);
    let late = put("\"1\"", 203).await;
    assert_eq!(refused(&late), (412, "revision 2 is in force by now: look at it first".to_owned()));
    assert_eq!(gateway.serves().await, 202);
    assert_eq!(put("*", 203).await.status, 200);
}

#[tokio::test]
async fn of_many_who_write_over_the_same_revision_one_succeeds() {
    let gateway = Gateway::start().await;
    let put = |status| Request::put("/api/v1/config", yaml(status)).header("if-match", "\"1\"");
    let all = futures_util::future::join_all((202..210).map(|status| gateway.ask(put(status)))).await;
    let statuses: Vec<u16> = all.iter().map(|response| response.status.as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 7, "{statuses:?}");
    assert_eq!(fs::read_to_string(&gateway.file).expect("a file"), yaml(gateway.serves().await));
}

#[tokio::test]
async fn it_can_be_tried_without_being_written() {
    let gateway = Gateway::start().await;
    let applied = gateway.put("?write=false", &yaml(202)).await.json();
    assert_eq!((&applied["written"], &applied["not_written"]), (&json!(false), &json!("that was asked for")));
    assert_eq!(gateway.serves().await, 202);
    assert_eq!(fs::read_to_string(&gateway.file).expect("a file"), yaml(201));
}

#[tokio::test]
async fn a_file_behind_a_link_is_replaced_and_the_link_stays() {
    let gateway = Gateway::start().await;
    let real = gateway.file.with_file_name("real.yaml");
    fs::rename(&gateway.file, &real).expect("renamed");
    std::os::unix::fs::symlink("real.yaml", &gateway.file).expect("a link");
    assert_eq!(gateway.put("", &yaml(202)).await.json()["written"], true);
    assert!(fs::symlink_metadata(&gateway.file).expect("a link").is_symlink());
    assert_eq!(fs::read_to_string(&real).expect("a file"), yaml(202));
}

#[tokio::test]
async fn secrets_in_the_text_are_shown_to_nobody_and_stay_where_they_are() {
    let gateway = Gateway::start().await;
    let key = "so secret that it has thirty-two bytes";
    let jwt = |status: u16| {
        yaml(status).replace(
            "routes: [",
            &format!(
                "routes: [{{ name: jwt, match: {{ path: /jwt }}, plugins: [{{ name: jwt, config: {{ issuer: i, audience: a, keys: [{{ alg: HS256, secret: {key} }}] }} }}], respond: {{ status: 204 }} }}, "
            ),
        )
    };
    let secret = format!("{}# redis://user:passw0rd@10.0.0.7:6379\n", jwt(202));
    let applied = gateway.put("", &secret).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let shown = gateway.get("").await.text();
    assert!(shown.contains("secret: <masked 1> }") && shown.contains("redis://<masked 2>@10.0.0.7"), "{shown}");
    assert!(shown.contains("# A comment that stays."), "{shown}");
    let diff = gateway.get("/revisions/2/diff").await.text();
    assert!(!diff.contains("passw0rd") && !diff.contains("so secret"), "{diff}");
    // What is edited as it was shown keeps its secrets.
    let judged = gateway.ask(Request::post("/api/v1/config/validate", shown.replace("202", "203"))).await.json();
    assert_eq!(judged["valid"], true, "{judged}");
    let edited = shown.replace("202", "203");
    // Of which revision the numbers are has to be said: another one may have other secrets in other places.
    assert_eq!(refused(&gateway.put("", &edited).await).0, 428);
    let put = Request::put("/api/v1/config", edited).header("if-match", "\"2\"");
    assert_eq!(gateway.ask(put).await.status, 200);
    assert_eq!(fs::read_to_string(&gateway.file).expect("a file"), secret.replace("202", "203"));
    let (status, detail) = refused(&gateway.put("", &shown.replace("<masked 1>", "<masked 7>")).await);
    assert!(status == 422 && detail.contains("`<masked 7>`"), "{detail}");
    let back = gateway.ask(Request::new(Method::POST, "/api/v1/config/revisions/2/activate")).await;
    assert_eq!(back.status, 200);
    assert_eq!(fs::read_to_string(&gateway.file).expect("a file"), secret);
}
