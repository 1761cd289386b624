//! Handlers and exports that do not fit: refused when the plugin is built or configured.

use std::fs;

use super::Copied;
use crate::support::process::run_long;

/// It would do nothing, and let everything pass.
#[tokio::test]
async fn a_phase_in_javascript_that_is_async_is_refused_when_it_is_built() {
    const REFUSAL: &str = "must not be async or a generator";
    let copied = Copied::of("examples/plugins/hello-javascript");
    let source = copied.project.join("hello.js");
    let text = fs::read_to_string(&source).expect("a file");
    let with = |phase: &str| text.replacen("onRequest(", &format!("{phase},\n    onRequest("), 1);
    for phase in [
        "async onResponse(request, response) { response.status = 500 }",
        "*onResponse(request, response) { response.status = 500 }",
        "onComplete: async () => {}",
        "async onRequestBodyError() {}",
    ] {
        fs::write(&source, with(phase)).expect("a file");
        let built = run_long(&copied.project, ["plugin", "build"]).await;
        assert_ne!(built.code, 0, "{phase}: {}", built.stdout);
        assert!(format!("{}{}", built.stdout, built.stderr).contains(REFUSAL), "{}{}", built.stdout, built.stderr);
    }

    // One that is not part of `create` shows when the plugin is configured, which is before it serves.
    for (phase, is_refused) in
        [("onResponse: elsewhere", true), ("helper: async () => {} /* async onRequest() */", false)]
    {
        fs::write(&source, with(phase) + "async function elsewhere() {}\n").expect("a file");
        let component = copied.build().await;
        let component = component.to_str().expect("UTF-8");
        let config = "{ keys: { a: anna } }";
        let inspected = run_long(copied.folder.path(), ["plugin", "inspect", component, "--config", config]).await;
        assert_eq!(inspected.code, if is_refused { 3 } else { 0 }, "{phase}: {}{}", inspected.stdout, inspected.stderr);
        assert_eq!(inspected.stderr.contains(REFUSAL), is_refused, "{}", inspected.stderr);
    }
}

/// Neither does anything otherwise, silently: a handler that `plugin.yaml` does not export, and an export without a handler.
async fn handlers_and_exports_are_compared(language: &str, edits: &[(&str, &str, &str)], problems: [&str; 2]) {
    let copied = Copied::of(&format!("examples/plugins/hello-{language}"));
    for (file, from, to) in edits {
        let file = copied.project.join(file);
        let text = fs::read_to_string(&file).expect("a file");
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replacen(from, to, 1)).expect("a file");
    }
    let built = run_long(&copied.project, ["plugin", "build"]).await;
    let mut told = format!("{}{}", built.stdout, built.stderr);
    if built.code == 0 {
        let component = copied.project.join("build/hello.wasm");
        let component = component.to_str().expect("UTF-8");
        let inspected =
            run_long(&copied.project, ["plugin", "inspect", component, "--config", "{ keys: { a: anna } }"]).await;
        assert_eq!(inspected.code, 3, "{}{}", inspected.stdout, inspected.stderr);
        told = inspected.stderr;
    }
    for problem in problems {
        assert!(told.contains(problem), "{told}");
    }
}

const OBSERVER_TOO: (&str, &str, &str) =
    ("plugin.yaml", "exports: [request-filter]", "exports: [request-filter, observer]");

#[tokio::test]
async fn a_handler_in_go_and_its_export_are_missed_by_name() {
    let handler = "func (h *Hello) OnRequestBody(gateway.Request, gateway.Body) (gateway.Decision, error) {\n\treturn nil, nil\n}\n\nfunc main()";
    let edits = [OBSERVER_TOO, ("hello.go", "func main()", handler)];
    let problems = [
        "OnRequestBody is defined, but plugin.yaml does not export request-body-filter",
        "plugin.yaml exports observer, but OnComplete is not defined",
    ];
    handlers_and_exports_are_compared("go", &edits, problems).await;

    let edits = [(
        "hello.go",
        "func main()",
        "func (h *Hello) OnResponse(gateway.Request) error {\n\treturn nil\n}\n\nfunc main()",
    )];
    let problem = "OnResponse does not have the signature that the documentation of the package gives";
    handlers_and_exports_are_compared("go", &edits, [problem; 2]).await;
}

#[tokio::test]
async fn a_handler_in_c_and_its_export_are_missed_by_name() {
    let handler = "gw_decision gw_on_request_body(gw_request request, gw_body body) {\n    (void)request, (void)body;\n    return GW_NEXT;\n}\n\ngw_decision gw_on_request(";
    let edits = [OBSERVER_TOO, ("hello.c", "gw_decision gw_on_request(", handler)];
    let problems = [
        "gw_on_request_body is defined, but plugin.yaml does not export request-body-filter",
        "plugin.yaml exports observer, but gw_on_complete is not defined",
    ];
    handlers_and_exports_are_compared("c", &edits, problems).await;
}

#[tokio::test]
async fn a_handler_in_python_and_its_export_are_missed_by_name() {
    let handler = "    def on_request_body(self, request, body):\n        return None\n\n    def on_request(";
    let edits = [OBSERVER_TOO, ("hello.py", "    def on_request(", handler)];
    let problems = [
        "on_request_body is defined, but plugin.yaml does not export request-body-filter",
        "plugin.yaml exports observer, but on_complete is not defined",
    ];
    handlers_and_exports_are_compared("python", &edits, problems).await;
}

#[tokio::test]
async fn a_handler_in_javascript_and_its_export_are_missed_by_name() {
    let edits = [
        OBSERVER_TOO,
        ("hello.js", "requestFilter }", "requestFilter, observer }"),
        ("hello.js", "onRequest(", "onRequestBody() {},\n      onRequest("),
    ];
    let problems = [
        "onRequestBody is defined, but the module does not export requestBodyFilter",
        "the module exports observer, but onComplete is not defined",
    ];
    handlers_and_exports_are_compared("javascript", &edits, problems).await;

    // The tool that makes the component would leave out what the world does not have.
    let edits = [("hello.js", "requestFilter }", "requestFilter, observer }")];
    let problem = "the module exports observer, but `exports` in plugin.yaml does not name observer";
    handlers_and_exports_are_compared("javascript", &edits, [problem; 2]).await;
    let problem = "`exports` in plugin.yaml names observer, but the module does not export observer";
    handlers_and_exports_are_compared("javascript", &[OBSERVER_TOO], [problem; 2]).await;
}

#[tokio::test]
async fn a_phase_in_python_that_is_async_is_refused_when_it_is_built() {
    let copied = Copied::of("examples/plugins/hello-python");
    let source = copied.project.join("hello.py");
    let text = fs::read_to_string(&source).expect("a file");
    let phase =
        "    async def on_response(self, request, response):\n        response.status = 500\n\n    def on_request(";
    fs::write(&source, text.replacen("    def on_request(", phase, 1)).expect("a file");
    let built = run_long(&copied.project, ["plugin", "build"]).await;
    assert_ne!(built.code, 0, "{}", built.stdout);
    let told = format!("{}{}", built.stdout, built.stderr);
    assert!(told.contains("on_response must not be async or a generator"), "{told}");
}
