//! Clients that show certificates (mTLS): who is let in, and what plugins and upstreams are told about them.

use std::net::SocketAddr;

use rcgen::SanType;
use rustls::{
    ALL_VERSIONS, ClientConfig,
    version::{TLS12, TLS13},
};
use tempfile::TempDir;

use crate::support::{
    Authority, Client, Response, TestGateway, Upstream, certs::Identity, client::Request, counted::metric, eventually,
};

const NAME: &str = "api.example.com";

/// What the upstream is told, by a plugin, of what the connection says.
const TOLD: [(&str, &str); 9] = [
    ("x-subject", "tls.client.subject"),
    ("x-cn", "tls.client.subject.cn"),
    ("x-issuer", "tls.client.issuer"),
    ("x-fingerprint", "tls.client.fingerprint"),
    ("x-dns", "tls.client.san.dns"),
    ("x-uri", "tls.client.san.uri"),
    ("x-email", "tls.client.san.email"),
    ("x-ip", "tls.client.san.ip"),
    ("x-tls", "tls.version"),
];

fn config(upstream: SocketAddr, mode: &str) -> String {
    let headers: Vec<_> = TOLD.iter().map(|(name, key)| format!("{name}: '{{attribute.{key}}}'")).collect();
    format!(
        "workers: 2
listeners:
  - address: 127.0.0.1:0
    tls:
      certificates: [{{ cert: api.pem, key: api.key }}]
      client-certificates: {{ ca: [clients.pem, partners.pem], mode: {mode} }}
admin: {{ address: '127.0.0.1:0' }}
sinks: {{ log: {{ file: access.log }} }}
upstreams: {{ echo: {{ endpoints: ['http://{upstream}'] }} }}
global-plugins: [{{ name: access-log, config: {{ sink: log, fields: [status, attribute.tls.client.subject] }} }}]
routes:
  - name: all
    plugins: [{{ name: transform, config: {{ request: {{ set-headers: {{ {} }} }} }} }}]
    upstream: echo
",
        headers.join(", ")
    )
}

/// A gateway that believes two authorities about its clients, and what the tests need to talk to it.
struct Scene {
    server: Authority,
    clients: Authority,
    partners: Authority,
    gateway: TestGateway,
    upstream: Upstream,
}

impl Scene {
    async fn of(mode: &str) -> Self {
        let (server, clients, partners) = (Authority::new(), Authority::new(), Authority::new());
        let upstream = Upstream::echo().await;
        let folder = TempDir::new().unwrap();
        server.issue(folder.path(), "api", &[NAME]);
        clients.write(&folder.path().join("clients.pem"));
        partners.write(&folder.path().join("partners.pem"));
        let gateway = TestGateway::start_in(folder, &config(upstream.address(), mode)).await;
        Self { server, clients, partners, gateway, upstream }
    }

    fn client(&self, identity: Option<&Identity>, alpn: &str) -> ClientConfig {
        self.server.client_as(identity, &[alpn], ALL_VERSIONS)
    }

    /// One request, forging every header that the upstream is told; `None` where there is no connection for it.
    async fn ask(&self, config: ClientConfig) -> Option<Response> {
        let mut client = Client::connect_tls(self.gateway.address(), NAME, config).await.ok()?;
        let forged = TOLD.iter().fold(Request::get("/"), |request, (name, _)| request.header(name, "forged"));
        // In TLS 1.3 the client believes that all is well until it reads.
        client.try_send(forged).await.ok()
    }

    async fn refused(&self, times: u64) {
        let series = "gateway_connection_failures_total{reason=\"client-certificate\"}";
        eventually("the refusals are counted", async || metric(&self.gateway, series).await == times).await;
        assert_eq!(self.upstream.requests(), 0);
    }
}

#[tokio::test]
async fn what_is_in_a_clients_certificate_is_known_to_plugins_and_cannot_be_forged() {
    let scene = Scene::of("required").await;
    let names = vec![
        SanType::DnsName("anna.example".try_into().unwrap()),
        SanType::DnsName("ben.example".try_into().unwrap()),
        SanType::URI("spiffe://acme/anna".try_into().unwrap()),
        SanType::Rfc822Name("anna@acme.example".try_into().unwrap()),
        SanType::IpAddress("192.0.2.7".parse().unwrap()),
    ];
    let anna = scene.clients.identify("anna, chief", names);
    for alpn in ["h2", "http/1.1"] {
        let response = scene.ask(scene.client(Some(&anna), alpn)).await.expect("a response");
        for (name, value) in [
            ("x-subject", "CN=anna\\, chief"),
            ("x-cn", "anna, chief"),
            ("x-issuer", "CN=the test's authority"),
            ("x-dns", "anna.example,ben.example"),
            ("x-uri", "spiffe://acme/anna"),
            ("x-email", "anna@acme.example"),
            ("x-ip", "192.0.2.7"),
            ("x-tls", "1.3"),
        ] {
            assert_eq!(response.upstream_saw(name), [value], "{name} over {alpn}");
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &anna.certificate);
        let hexadecimal: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(response.upstream_saw("x-fingerprint"), [hexadecimal]);
    }
    eventually("the access log tells the subject", async || {
        let log = std::fs::read_to_string(scene.gateway.folder().join("access.log")).unwrap_or_default();
        log.matches(r#"{"status":200,"attribute_tls_client_subject":"CN=anna\\, chief"}"#).count() == 2
    })
    .await;
}

#[tokio::test]
async fn every_authority_in_the_list_is_believed_and_no_other() {
    let scene = Scene::of("required").await;
    let stranger = Authority::new().identify("mallory", Vec::new());
    // The one that signed the server's own certificate is not believed about clients.
    let own = scene.server.identify("mallory", Vec::new());
    for identity in [None, Some(&stranger), Some(&own)] {
        for versions in [[&TLS12], [&TLS13]] {
            let config = scene.server.client_as(identity, &["http/1.1"], &versions);
            assert!(scene.ask(config).await.is_none());
        }
    }
    scene.refused(6).await;
    let partner = scene.partners.identify("partner", Vec::new());
    let response = scene.ask(scene.client(Some(&partner), "h2")).await.expect("a response");
    assert_eq!(response.upstream_saw("x-subject"), ["CN=partner"]);
}

#[tokio::test]
async fn an_optional_certificate_may_be_missing_but_not_wrong() {
    let scene = Scene::of("optional").await;
    let stranger = Authority::new().identify("mallory", Vec::new());
    assert!(scene.ask(scene.client(Some(&stranger), "http/1.1")).await.is_none());
    scene.refused(1).await;
    let nobody = scene.ask(scene.client(None, "h2")).await.expect("a response");
    for (name, key) in TOLD.iter().filter(|(name, _)| *name != "x-tls") {
        assert_eq!(nobody.upstream_saw(name), [""; 0], "{key} is not the client's to say");
    }
    assert_eq!(nobody.upstream_saw("x-tls"), ["1.3"]);
    let anna = scene.clients.identify("anna", Vec::new());
    let known = scene.ask(scene.client(Some(&anna), "h2")).await.expect("a response");
    assert_eq!(known.upstream_saw("x-subject"), ["CN=anna"]);
}

#[tokio::test]
async fn a_session_does_not_outlive_what_the_listener_believes() {
    let mut scene = Scene::of("required").await;
    let anna = scene.clients.identify("anna", Vec::new());
    // The clone shares the sessions: the second connection could be resumed.
    let config = scene.client(Some(&anna), "http/1.1");
    assert!(scene.ask(config.clone()).await.is_some());
    assert!(scene.ask(config.clone()).await.is_some());
    scene.partners.write(&scene.gateway.folder().join("clients.pem"));
    scene.gateway.reload(&self::config(scene.upstream.address(), "required")).await.unwrap();
    assert!(scene.ask(config).await.is_none(), "her authority is not believed any more");
}
