//! A certified OpenID provider (npm `oidc-provider`) and a browser that follows its pages. `tests/openid` has the scripts; npm
//! installs what they need, in the versions of the lock file, into cargo's folder for tests.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::LazyLock,
};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    sync::watch,
};

use super::{Client, Response, client::Request, in_time};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/openid");
const FILES: [&str; 4] = ["package.json", "package-lock.json", "provider.mjs", "browser.mjs"];
pub const CLIENT_SECRET: &str = "a client secret for tests & nothing else";

/// The folder with the scripts and their packages.
pub fn scripts() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openid");
        fs::create_dir_all(&folder).expect("a folder");
        // Of several runs at a time one installs.
        let lock = File::create(folder.join("lock")).expect("a file");
        lock.lock().expect("a lock");
        for file in FILES {
            let text = fs::read(Path::new(SOURCES).join(file)).expect("a script");
            if fs::read(folder.join(file)).ok().as_ref() != Some(&text) {
                fs::write(folder.join(file), text).expect("a file");
            }
        }
        let wanted = fs::read(folder.join("package-lock.json")).expect("a lock file");
        if fs::read(folder.join("installed")).ok().as_ref() != Some(&wanted) {
            let npm = std::process::Command::new("npm")
                .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--loglevel", "error"])
                .current_dir(&folder)
                .env("NO_UPDATE_NOTIFIER", "1")
                .output()
                .expect("npm, which comes with Node.js");
            assert!(npm.status.success(), "npm ci: {}", String::from_utf8_lossy(&npm.stderr));
            fs::write(folder.join("installed"), wanted).expect("a file");
        }
        folder
    });
    &FOLDER
}

/// A running provider.
pub struct Provider {
    child: Child,
    lines: watch::Receiver<Vec<String>>,
    pub address: SocketAddr,
}

impl Provider {
    /// One whose access tokens are valid for so many seconds. It serves once it knows its client.
    pub async fn start(lifetime: u32) -> Self {
        let folder = tokio::task::spawn_blocking(scripts).await.expect("no panic");
        let mut child = Command::new("node")
            .args(["provider.mjs", &json!({ "lifetime": lifetime }).to_string()])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Node.js");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (sender, lines) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = stdout.next_line().await {
                sender.send_modify(|lines: &mut Vec<String>| lines.push(line));
            }
        });
        let mut provider = Self { child, lines, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let line = provider.printed("at http://").await;
        provider.address = line.trim_start_matches("at http://").parse().expect("an address");
        provider
    }

    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tells it about the client, a gateway that browsers reach by this origin.
    pub async fn serve(&mut self, origin: &str) {
        self.serve_with(origin, origin).await;
    }

    /// The same, for a gateway that the provider itself reaches by another origin.
    pub async fn serve_with(&mut self, origin: &str, own: &str) {
        let client = json!({
            "client_id": "gateway",
            "client_secret": CLIENT_SECRET,
            "redirect_uris": [format!("{origin}/oidc/callback/main")],
            "post_logout_redirect_uris": [format!("{origin}/oidc/logged-out")],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "backchannel_logout_uri": format!("{own}/oidc/backchannel-logout/main"),
            "backchannel_logout_session_required": true,
        });
        self.say(&client.to_string()).await;
        self.printed("ready").await;
    }

    /// Requests for tokens wait from now on, until `release`.
    pub async fn hold(&mut self) {
        let held = self.count("holding");
        self.say("hold").await;
        in_time("holding", self.lines.wait_for(|lines| lines.iter().filter(|line| *line == "holding").count() > held))
            .await
            .expect("the provider runs");
    }

    pub async fn release(&mut self) {
        self.say("release").await;
    }

    async fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }

    /// Waits for a line with this beginning.
    pub async fn printed(&mut self, beginning: &str) -> String {
        let has = |lines: &Vec<String>| lines.iter().any(|line| line.starts_with(beginning));
        let found = in_time(beginning, self.lines.wait_for(has)).await.expect("the provider runs").clone();
        found.into_iter().find(|line| line.starts_with(beginning)).expect("it was there")
    }

    /// How many lines are this one.
    pub fn count(&self, text: &str) -> usize {
        self.lines.borrow().iter().filter(|line| *line == text).count()
    }

    /// All that it has printed.
    pub fn log(&self) -> String {
        self.lines.borrow().join("\n")
    }

    pub async fn stop(mut self) {
        self.child.kill().await.expect("a child of ours");
    }
}

/// A browser without scripts: cookies by host and port, and redirects.
#[derive(Clone, Default)]
pub struct Browser {
    cookies: BTreeMap<(SocketAddr, String), String>,
}

impl Browser {
    /// Sends one request and keeps the cookies of the response.
    pub async fn send(&mut self, address: SocketAddr, request: Request) -> Response {
        let own = self.cookies.iter().filter(|((host, _), _)| *host == address);
        let pairs: Vec<_> = own.map(|((_, name), value)| format!("{name}={value}")).collect();
        let request = if pairs.is_empty() { request } else { request.header("cookie", &pairs.join("; ")) };
        let response = Client::connect(address).await.send(request).await;
        for line in response.header_values("set-cookie") {
            let (name, rest) = line.split_once('=').expect("a pair");
            let (value, attributes) = rest.split_once(';').unwrap_or((rest, ""));
            let attributes = attributes.to_ascii_lowercase();
            if attributes.contains("max-age=0") || attributes.contains("01 jan 1970") {
                self.cookies.remove(&(address, name.to_owned()));
            } else {
                self.cookies.insert((address, name.to_owned()), value.to_owned());
            }
        }
        response
    }

    /// Navigates to a URL, and on until there is no redirect. Returns where it ended.
    pub async fn visit(&mut self, url: &str) -> (String, Response) {
        self.follow(url, Request::get).await
    }

    async fn follow(&mut self, url: &str, first: impl Fn(&str) -> Request) -> (String, Response) {
        let mut url = url.to_owned();
        for i in 0..20 {
            let (address, target) = split(&url);
            let request = if i == 0 { first(target) } else { Request::get(target) };
            let response = self.send(address, request.header("sec-fetch-mode", "navigate")).await;
            if !response.status.is_redirection() {
                return (url, response);
            }
            let location = response.header("location");
            url = if location.starts_with('/') { format!("http://{address}{location}") } else { location.to_owned() };
        }
        panic!("redirects without end at {url}");
    }

    /// Sends the form of a page, with its hidden fields and these.
    pub async fn submit(&mut self, page: &Response, fields: &str) -> (String, Response) {
        let html = page.text();
        let attribute = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("no {name} in {html}"));
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        let form = html.split("<form").nth(1).unwrap_or_else(|| panic!("no form in {html}"));
        let mut body = fields.to_owned();
        for input in form.split("<input").skip(1).filter(|input| input.contains("type=\"hidden\"")) {
            body += &format!("&{}={}", attribute(input, "name"), attribute(input, "value"));
        }
        self.follow(&attribute(form, "action"), |target| {
            Request::post(target, body.clone()).header("content-type", "application/x-www-form-urlencoded")
        })
        .await
    }

    /// Visits a page of the gateway and logs in on the way: two pages of the provider.
    pub async fn login(&mut self, url: &str, user: &str) -> Response {
        let (_, page) = self.visit(url).await;
        let (_, page) = self.submit(&page, &format!("login={user}&password=x")).await;
        let (end, page) = self.submit(&page, "x=y").await;
        assert_eq!(end, url, "{} {}", page.status, page.text());
        page
    }

    /// The value of one cookie.
    pub fn cookie(&self, address: SocketAddr, name: &str) -> Option<&str> {
        self.cookies.get(&(address, name.to_owned())).map(String::as_str)
    }

    /// Keeps a cookie as if a response had set it.
    pub fn set_cookie(&mut self, address: SocketAddr, name: &str, value: &str) {
        self.cookies.insert((address, name.to_owned()), value.to_owned());
    }

    /// Takes the cookies of one gateway to another, as if both had the same host.
    pub fn move_to(&mut self, from: SocketAddr, to: SocketAddr) {
        let moved: Vec<_> = self.cookies.iter().filter(|((host, _), _)| *host == from).collect();
        let moved: Vec<_> = moved.into_iter().map(|((_, name), value)| ((to, name.clone()), value.clone())).collect();
        self.cookies.extend(moved);
    }
}

fn split(url: &str) -> (SocketAddr, &str) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url}"));
    let end = rest.find('/').unwrap_or(rest.len());
    let target = if end == rest.len() { "/" } else { &rest[end..] };
    (rest[..end].parse().unwrap_or_else(|_| panic!("{url}")), target)
}
