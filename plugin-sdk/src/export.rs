//! `export_plugin!`: what makes a crate a plugin.

/// Makes a type the plugin of this crate, with the phases that are named:
///
/// | Name | Trait |
/// |---|---|
/// | `request` | [`RequestFilter`](crate::RequestFilter) |
/// | `request_body` | [`RequestBodyFilter`](crate::RequestBodyFilter) |
/// | `request_stream` | [`RequestStream`](crate::RequestStream) |
/// | `response` | [`ResponseFilter`](crate::ResponseFilter) |
/// | `response_body` | [`ResponseBodyFilter`](crate::ResponseBodyFilter) |
/// | `response_stream` | [`ResponseStream`](crate::ResponseStream) |
/// | `messages` | [`MessageFilter`](crate::MessageFilter) |
/// | `observe` | [`Observer`](crate::Observer) |
/// | `catalogue` | [`Catalogue`](crate::Catalogue) |
/// | `timers` | [`Timers`](crate::Timers) |
///
/// The gateway calls a plugin only in the phases that its component exports, so name those that the type implements and no others.
/// The crate must be a `cdylib` only: with an `rlib` beside it cargo disables LTO. Natively the macro only checks that the type
/// implements the traits, so that the same crate can be tested natively.
///
/// ```
/// # use plugin_sdk::{NoConfig, Plugin, Problems, Request, Response, ResponseDecision, ResponseFilter, Error};
/// struct Stamp;
/// # impl Plugin for Stamp {
/// #     type Config = NoConfig;
/// #     fn new(_: NoConfig) -> Result<Self, Problems> { Ok(Self) }
/// # }
/// # impl ResponseFilter for Stamp {
/// #     fn on_response(&mut self, _: &Request, response: &Response) -> Result<ResponseDecision, Error> {
/// #         response.set_header("x-stamp", "1")?;
/// #         Ok(ResponseDecision::Next)
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
            impl $crate::__private::active_phases::exports::gateway::plugin::active_phases::Guest for Exported {
                fn phases() -> $crate::__private::active_phases::exports::gateway::plugin::active_phases::PhaseSet {
                    INSTANCE.with(|instance| $crate::__private::exports::phases(instance))
                }
            }

            #[cfg(target_family = "wasm")]
            $crate::__private::active_phases::__export_active_phases!(Exported);

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
            ) -> ::core::result::Result<$crate::__private::imports::gateway::plugin::http::Decision, ::std::string::String> {
                INSTANCE.with(|instance| $crate::__private::exports::on_request(instance, request))
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::request::__export_request!(Exported);
    };
    (request_body, $plugin:ident) => {
        const _: fn() = || {
            fn implemented<P: $crate::RequestBodyFilter>() {}
            implemented::<$plugin>();
        };

        #[cfg(target_family = "wasm")]
        impl $crate::__private::request_body::exports::gateway::plugin::request_body_filter::Guest for Exported {
            fn on_request_body(
                request: &$crate::__private::imports::gateway::plugin::http::Request,
                body: ::core::result::Result<$crate::__private::imports::gateway::plugin::bodies::Body, $crate::__private::imports::gateway::plugin::bodies::BodyError>,
            ) -> ::core::result::Result<$crate::__private::imports::gateway::plugin::http::Decision, ::std::string::String> {
                INSTANCE.with(|instance| $crate::__private::exports::on_request_body(instance, request, body))
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::request_body::__export_request_body!(Exported);
    };
    (request_stream, $plugin:ident) => {
        const _: fn() = || {
            fn implemented<P: $crate::RequestStream>() {}
            implemented::<$plugin>();
        };

        #[cfg(target_family = "wasm")]
        impl $crate::__private::request_stream::exports::gateway::plugin::request_stream::Guest for Exported {
            fn on_request_chunk(
                chunk: $crate::__private::imports::gateway::plugin::bodies::Chunk,
            ) -> ::core::result::Result<$crate::__private::imports::gateway::plugin::bodies::ChunkResult, ::std::string::String> {
                INSTANCE.with(|instance| $crate::__private::exports::on_request_chunk(instance, chunk))
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::request_stream::__export_request_stream!(Exported);
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
            ) -> ::core::result::Result<$crate::__private::imports::gateway::plugin::http::ResponseDecision, ::std::string::String> {
                INSTANCE.with(|instance| $crate::__private::exports::on_response(instance, request, response))
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::response::__export_response!(Exported);
    };
    (response_body, $plugin:ident) => {
        const _: fn() = || {
            fn implemented<P: $crate::ResponseBodyFilter>() {}
            implemented::<$plugin>();
        };

        #[cfg(target_family = "wasm")]
        impl $crate::__private::response_body::exports::gateway::plugin::response_body_filter::Guest for Exported {
            fn on_response_body(
                request: &$crate::__private::imports::gateway::plugin::http::Request,
                response: &$crate::__private::imports::gateway::plugin::http::Response,
                body: ::core::result::Result<$crate::__private::imports::gateway::plugin::bodies::Body, $crate::__private::imports::gateway::plugin::bodies::BodyError>,
            ) -> ::core::result::Result<$crate::__private::imports::gateway::plugin::http::ResponseDecision, ::std::string::String> {
                INSTANCE.with(|instance| $crate::__private::exports::on_response_body(instance, request, response, body))
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::response_body::__export_response_body!(Exported);
    };
    (response_stream, $plugin:ident) => {
        const _: fn() = || {
            fn implemented<P: $crate::ResponseStream>() {}
            implemented::<$plugin>();
        };

        #[cfg(target_family = "wasm")]
        impl $crate::__private::response_stream::exports::gateway::plugin::response_stream::Guest for Exported {
            fn on_response_chunk(
                chunk: $crate::__private::imports::gateway::plugin::bodies::Chunk,
            ) -> ::core::result::Result<$crate::__private::imports::gateway::plugin::bodies::ChunkResult, ::std::string::String> {
                INSTANCE.with(|instance| $crate::__private::exports::on_response_chunk(instance, chunk))
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::response_stream::__export_response_stream!(Exported);
    };
    (messages, $plugin:ident) => {
        const _: fn() = || {
            fn implemented<P: $crate::MessageFilter>() {}
            implemented::<$plugin>();
        };

        #[cfg(target_family = "wasm")]
        impl $crate::__private::messages::exports::gateway::plugin::message_filter::Guest for Exported {
            fn on_message(
                sender: $crate::__private::messages::exports::gateway::plugin::message_filter::Sender,
                message: $crate::__private::messages::exports::gateway::plugin::message_filter::Message,
                state: ::std::vec::Vec<u8>,
            ) -> ::core::result::Result<$crate::__private::messages::exports::gateway::plugin::message_filter::MessageResult, ::std::string::String> {
                INSTANCE.with(|instance| $crate::__private::exports::on_message(instance, sender, message, &state))
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::messages::__export_messages!(Exported);
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
    (timers, $plugin:ident) => {
        const _: fn() = || {
            fn implemented<P: $crate::Timers>() {}
            implemented::<$plugin>();
        };

        #[cfg(target_family = "wasm")]
        impl $crate::__private::timers::exports::gateway::plugin::timers::Guest for Exported {
            fn timers() -> ::std::vec::Vec<$crate::__private::timers::exports::gateway::plugin::timers::Timer> {
                INSTANCE.with(|instance| $crate::__private::exports::timers(instance))
            }

            fn on_timer(name: ::std::string::String) -> ::core::result::Result<(), ::std::string::String> {
                INSTANCE.with(|instance| $crate::__private::exports::on_timer(instance, &name))
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::timers::__export_timers!(Exported);
    };
    ($phase:ident, $plugin:ident) => {
        ::core::compile_error!("expected one of request, request_body, request_stream, response, response_body, response_stream, observe, catalogue, timers");
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
