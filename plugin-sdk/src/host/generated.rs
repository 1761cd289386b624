//! What wit-bindgen makes of `wit/0.2`: the imports once, and each exported interface as a world of
//! its own, so that a plugin exports only what its author names in `export_plugin!`.

#![allow(missing_docs, reason = "generated; `wit/0.2` documents it")]

/// Everything that can be imported. What an author does not call is dropped by the linker.
pub mod imports {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        world: "gateway:plugin/imports",
        features: ["cache"],
        generate_all,
    });
}

pub mod lifecycle {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world lifecycle { export gateway:plugin/lifecycle@0.2.0; }",
        world: "gateway:sdk/lifecycle",
        pub_export_macro: true,
        export_macro_name: "__export_lifecycle",
        default_bindings_module: "plugin_sdk::__private::lifecycle",
    });
}

pub mod active_phases {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world active { export gateway:plugin/active-phases@0.2.0; }",
        world: "gateway:sdk/active",
        pub_export_macro: true,
        export_macro_name: "__export_active_phases",
        default_bindings_module: "plugin_sdk::__private::active_phases",
    });
}

pub mod catalogue {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world listing { export gateway:plugin/catalogue@0.2.0; }",
        world: "gateway:sdk/listing",
        pub_export_macro: true,
        export_macro_name: "__export_catalogue",
        default_bindings_module: "plugin_sdk::__private::catalogue",
    });
}

pub mod timers {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world timing { export gateway:plugin/timers@0.2.0; }",
        world: "gateway:sdk/timing",
        pub_export_macro: true,
        export_macro_name: "__export_timers",
        default_bindings_module: "plugin_sdk::__private::timers",
    });
}

pub mod request {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world request { export gateway:plugin/request-filter@0.2.0; }",
        world: "gateway:sdk/request",
        with: {
            "gateway:plugin/http@0.2.0": crate::host::generated::imports::gateway::plugin::http,
        },
        pub_export_macro: true,
        export_macro_name: "__export_request",
        default_bindings_module: "plugin_sdk::__private::request",
    });
}

pub mod request_body {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world request-body { export gateway:plugin/request-body-filter@0.2.0; }",
        world: "gateway:sdk/request-body",
        with: {
            "gateway:plugin/http@0.2.0": crate::host::generated::imports::gateway::plugin::http,
            "gateway:plugin/bodies@0.2.0": crate::host::generated::imports::gateway::plugin::bodies,
        },
        pub_export_macro: true,
        export_macro_name: "__export_request_body",
        default_bindings_module: "plugin_sdk::__private::request_body",
    });
}

pub mod request_stream {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world request-chunks { export gateway:plugin/request-stream@0.2.0; }",
        world: "gateway:sdk/request-chunks",
        with: {
            "gateway:plugin/http@0.2.0": crate::host::generated::imports::gateway::plugin::http,
            "gateway:plugin/bodies@0.2.0": crate::host::generated::imports::gateway::plugin::bodies,
        },
        pub_export_macro: true,
        export_macro_name: "__export_request_stream",
        default_bindings_module: "plugin_sdk::__private::request_stream",
    });
}

pub mod response {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world response { export gateway:plugin/response-filter@0.2.0; }",
        world: "gateway:sdk/response",
        with: {
            "gateway:plugin/http@0.2.0": crate::host::generated::imports::gateway::plugin::http,
        },
        pub_export_macro: true,
        export_macro_name: "__export_response",
        default_bindings_module: "plugin_sdk::__private::response",
    });
}

pub mod response_body {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world response-body { export gateway:plugin/response-body-filter@0.2.0; }",
        world: "gateway:sdk/response-body",
        with: {
            "gateway:plugin/http@0.2.0": crate::host::generated::imports::gateway::plugin::http,
            "gateway:plugin/bodies@0.2.0": crate::host::generated::imports::gateway::plugin::bodies,
        },
        pub_export_macro: true,
        export_macro_name: "__export_response_body",
        default_bindings_module: "plugin_sdk::__private::response_body",
    });
}

pub mod response_stream {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world response-chunks { export gateway:plugin/response-stream@0.2.0; }",
        world: "gateway:sdk/response-chunks",
        with: {
            "gateway:plugin/http@0.2.0": crate::host::generated::imports::gateway::plugin::http,
            "gateway:plugin/bodies@0.2.0": crate::host::generated::imports::gateway::plugin::bodies,
        },
        pub_export_macro: true,
        export_macro_name: "__export_response_stream",
        default_bindings_module: "plugin_sdk::__private::response_stream",
    });
}

pub mod messages {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world messages { export gateway:plugin/message-filter@0.2.0; }",
        world: "gateway:sdk/messages",
        pub_export_macro: true,
        export_macro_name: "__export_messages",
        default_bindings_module: "plugin_sdk::__private::messages",
    });
}

pub mod observe {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world observe { export gateway:plugin/observer@0.2.0; }",
        world: "gateway:sdk/observe",
        with: {
            "gateway:plugin/http@0.2.0": crate::host::generated::imports::gateway::plugin::http,
        },
        pub_export_macro: true,
        export_macro_name: "__export_observe",
        default_bindings_module: "plugin_sdk::__private::observe",
    });
}
