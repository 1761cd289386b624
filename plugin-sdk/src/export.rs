//! `export_plugin!`: what makes a crate a plugin.

/// Makes a type the plugin of this crate, with the phases that are named: `request`, `response`, `stream`, `observe`; and
/// `catalogue` for [`Catalogue`](crate::Catalogue).
///
/// The gateway calls a plugin only in the phases that its component exports, so name those that the type
/// implements and no others. The crate must be a `cdylib`, and no `rlib` beside it (cargo would leave LTO out); off WebAssembly the macro only checks that the
/// traits are there, so that the same crate can be tested natively.
///
/// ```
/// # use plugin_sdk::{NoConfig, Plugin, Problems, Request, Response, ResponseFilter, Error};
/// struct Stamp;
/// # impl Plugin for Stamp {
/// #     type Config = NoConfig;
/// #     fn new(_: NoConfig) -> Result<Self, Problems> { Ok(Self) }
/// # }
/// # impl ResponseFilter for Stamp {
/// #     fn on_response(&mut self, _: &Request, response: &Response) -> Result<(), Error> {
/// #         Ok(response.set_header("x-stamp", "1")?)
/// #     }
/// # }
/// plugin_sdk::export_plugin!(Stamp: response);
/// ```
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ident: $($phase:ident),+ $(,)?) => {
        const _: () = {
            #[cfg(target_family = "wasm")]
            ::std::thread_local! {
                static INSTANCE: ::std::cell::RefCell<::core::option::Option<$plugin>> =
                    const { ::std::cell::RefCell::new(::core::option::Option::None) };
            }

            #[cfg(target_family = "wasm")]
            struct Exported;

            #[cfg(target_family = "wasm")]
            impl $crate::__private::lifecycle::exports::gateway::plugin::lifecycle::Guest for Exported {
                fn describe() -> $crate::__private::lifecycle::exports::gateway::plugin::lifecycle::Manifest {
                    $crate::__private::exports::describe::<$plugin>(
                        ::core::env!("CARGO_PKG_NAME"),
                        ::core::env!("CARGO_PKG_VERSION"),
                        ::core::env!("CARGO_PKG_DESCRIPTION"),
                    )
                }

                fn configure(
                    config_json: ::std::string::String,
                ) -> ::core::result::Result<
                    (),
                    ::std::vec::Vec<$crate::__private::lifecycle::exports::gateway::plugin::lifecycle::ConfigProblem>,
                > {
                    INSTANCE.with(|instance| $crate::__private::exports::configure(instance, &config_json))
                }
            }

            #[cfg(target_family = "wasm")]
            $crate::__private::lifecycle::__export_lifecycle!(Exported);

            #[cfg(target_family = "wasm")]
            impl $crate::__private::attendance::exports::gateway::plugin::attendance::Guest for Exported {
                fn phases() -> $crate::__private::attendance::exports::gateway::plugin::attendance::PhaseSet {
                    INSTANCE.with(|instance| $crate::__private::exports::phases(instance))
                }
            }

            #[cfg(target_family = "wasm")]
            $crate::__private::attendance::__export_attendance!(Exported);

            $($crate::__export_phase!($phase, $plugin);)+
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_phase {
    (request, $plugin:ident) => {
        const _: fn() = || {
            fn implemented<P: $crate::RequestFilter>() {}
            implemented::<$plugin>();
        };

        #[cfg(target_family = "wasm")]
        impl $crate::__private::request::exports::gateway::plugin::request_filter::Guest for Exported {
            fn on_request(
                request: &$crate::__private::imports::gateway::plugin::http::Request,
            ) -> ::core::result::Result<
                $crate::__private::request::exports::gateway::plugin::request_filter::Decision,
                ::std::string::String,
            > {
                INSTANCE.with(|instance| $crate::__private::exports::on_request(instance, request))
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::request::__export_request!(Exported);
    };
    (response, $plugin:ident) => {
        const _: fn() = || {
            fn implemented<P: $crate::ResponseFilter>() {}
            implemented::<$plugin>();
        };

        #[cfg(target_family = "wasm")]
        impl $crate::__private::response::exports::gateway::plugin::response_filter::Guest for Exported {
            fn on_response(
                request: &$crate::__private::imports::gateway::plugin::http::Request,
                response: &$crate::__private::imports::gateway::plugin::http::Response,
            ) -> ::core::result::Result<(), ::std::string::String> {
                INSTANCE.with(|instance| $crate::__private::exports::on_response(instance, request, response))
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::response::__export_response!(Exported);
    };
    (observe, $plugin:ident) => {
        const _: fn() = || {
            fn implemented<P: $crate::Observer>() {}
            implemented::<$plugin>();
        };

        #[cfg(target_family = "wasm")]
        impl $crate::__private::observe::exports::gateway::plugin::observer::Guest for Exported {
            fn on_complete(
                request: &$crate::__private::imports::gateway::plugin::http::Request,
                response: ::core::option::Option<&$crate::__private::imports::gateway::plugin::http::Response>,
                outcome: $crate::__private::observe::exports::gateway::plugin::observer::Outcome,
            ) {
                INSTANCE.with(|instance| {
                    $crate::__private::exports::on_complete(instance, request, response, outcome);
                });
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::observe::__export_observe!(Exported);
    };
    (stream, $plugin:ident) => {
        const _: fn() = || {
            fn implemented<P: $crate::streams::ResponseStream>() {}
            implemented::<$plugin>();
        };

        #[cfg(target_family = "wasm")]
        impl $crate::__private::stream::exports::gateway::plugin::response_stream::Guest for Exported {
            fn on_response_part(
                part: $crate::__private::stream::exports::gateway::plugin::response_stream::Part,
            ) -> ::core::result::Result<
                $crate::__private::stream::exports::gateway::plugin::response_stream::Passage,
                ::std::string::String,
            > {
                INSTANCE.with(|instance| $crate::__private::exports::on_part(instance, part))
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::stream::__export_stream!(Exported);
    };
    (catalogue, $plugin:ident) => {
        const _: fn() = || {
            fn implemented<P: $crate::Catalogue>() {}
            implemented::<$plugin>();
        };

        #[cfg(target_family = "wasm")]
        impl $crate::__private::catalogue::exports::gateway::plugin::catalogue::Guest for Exported {
            fn endpoints()
            -> ::std::vec::Vec<$crate::__private::catalogue::exports::gateway::plugin::catalogue::Endpoint> {
                INSTANCE.with(|instance| $crate::__private::exports::endpoints(instance))
            }

            fn openapi() -> ::std::string::String {
                INSTANCE.with(|instance| $crate::__private::exports::openapi(instance))
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::catalogue::__export_catalogue!(Exported);
    };
    ($phase:ident, $plugin:ident) => {
        ::core::compile_error!("a phase is one of request, response, stream, observe, catalogue");
    };
}

/// The name that a plugin reports.
pub const fn plugin_name(own: &'static str, package: &'static str) -> &'static str {
    if !own.is_empty() {
        return own;
    }
    match package.as_bytes() {
        [b'p', b'l', b'u', b'g', b'i', b'n', b'-', _, ..] => package.split_at("plugin-".len()).1,
        _ => package,
    }
}

#[cfg(test)]
mod tests {
    use super::plugin_name;

    #[test]
    fn a_plugin_is_called_as_its_crate_unless_it_says_otherwise() {
        assert_eq!(plugin_name("", "plugin-jwt"), "jwt");
        assert_eq!(plugin_name("", "geo"), "geo");
        assert_eq!(plugin_name("", "plugin-"), "plugin-");
        assert_eq!(plugin_name("geo", "plugin-jwt"), "geo");
    }
}
