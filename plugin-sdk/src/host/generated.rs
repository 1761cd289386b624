//! What wit-bindgen makes of `wit/0.2`: the imports once, and each exported interface as a world of
//! its own, so that a plugin exports only what its author names in `export_plugin!`.

#![allow(missing_docs, reason = "generated; `wit/0.2` documents it")]

/// Everything that can be imported. What an author does not call is dropped by the linker.
pub mod imports {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        world: "gateway:plugin/imports",
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

pub mod attendance {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world attendance { export gateway:plugin/attendance@0.2.0; }",
        world: "gateway:sdk/attendance",
        pub_export_macro: true,
        export_macro_name: "__export_attendance",
        default_bindings_module: "plugin_sdk::__private::attendance",
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

pub mod request {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world request { export gateway:plugin/request-filter@0.2.0; }",
        world: "gateway:sdk/request",
        with: { "gateway:plugin/http@0.2.0": crate::host::generated::imports::gateway::plugin::http },
        pub_export_macro: true,
        export_macro_name: "__export_request",
        default_bindings_module: "plugin_sdk::__private::request",
    });
}

pub mod response {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world response { export gateway:plugin/response-filter@0.2.0; }",
        world: "gateway:sdk/response",
        with: { "gateway:plugin/http@0.2.0": crate::host::generated::imports::gateway::plugin::http },
        pub_export_macro: true,
        export_macro_name: "__export_response",
        default_bindings_module: "plugin_sdk::__private::response",
    });
}

pub mod observe {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world observe { export gateway:plugin/observer@0.2.0; }",
        world: "gateway:sdk/observe",
        with: { "gateway:plugin/http@0.2.0": crate::host::generated::imports::gateway::plugin::http },
        pub_export_macro: true,
        export_macro_name: "__export_observe",
        default_bindings_module: "plugin_sdk::__private::observe",
    });
}

pub mod stream {
    wit_bindgen::generate!({
        path: "../wit/0.2",
        inline: "package gateway:sdk; world passing { export gateway:plugin/response-stream@0.2.0; }",
        world: "gateway:sdk/passing",
        with: { "gateway:plugin/http@0.2.0": crate::host::generated::imports::gateway::plugin::http },
        pub_export_macro: true,
        export_macro_name: "__export_stream",
        default_bindings_module: "plugin_sdk::__private::stream",
    });
}
