//! The tests' guests as components, built when a test first needs one.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use component_build::{Error, Place, Profile, Set};

macro_rules! guests {
    ($($(#[$doc:meta])* $name:ident: $file:literal;)*) => {
        $($(#[$doc])*
        pub fn $name() -> &'static [u8] {
            static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
            BYTES.get_or_init(|| read($file))
        })*
    };
}

guests! {
    /// Misbehaves as its configuration says (`naughty/src/lib.rs`); imports nothing that can wait.
    naughty: "guest-naughty.wasm";

    /// Has the timers of its configuration, which do what their names say (`ticking/src/lib.rs`).
    ticking: "guest-ticking.wasm";

    /// Does what messages of WebSockets and event streams say (`messenger/src/lib.rs`).
    messenger: "guest-messenger.wasm";

    /// Waits for bodies, upstreams and clocks as its configuration says (`waiter/src/lib.rs`).
    waiter: "guest-waiter.wasm";

    /// Counts calls, responses of an upstream or bytes (`counting/src/lib.rs`).
    counting: "guest-counting.wasm";

    /// Tries to read and edit everything (`prober/src/lib.rs`).
    prober: "guest-prober.wasm";

    /// Runs scripts that come with requests (`scripted/src/lib.rs`).
    scripted: "guest-scripted.wasm";

    /// Uses stores, upstreams, documents and more (`services/src/lib.rs`), as `tests/languages/services` does in other languages.
    services: "guest-services.wasm";

    /// Uses keys that it cannot read (`signer/src/lib.rs`).
    signer: "guest-signer.wasm";

    /// The example for messages (`examples/plugins/chat-rust/src/lib.rs`).
    chat: "example-chat.wasm";

    /// The example to copy (`examples/plugins/hello-rust/src/lib.rs`).
    hello: "example-hello.wasm";
}

fn read(file: &str) -> Vec<u8> {
    static FOLDER: OnceLock<Result<PathBuf, Error>> = OnceLock::new();
    let folder = FOLDER.get_or_init(build).as_ref().unwrap_or_else(|error| panic!("the tests' guests: {error}"));
    let file = folder.join(file);
    fs::read(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()))
}

fn build() -> Result<PathBuf, Error> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = Place::of_program(here.ancestors().nth(2).unwrap_or(here))?;
    // Benchmarks measure what is shipped.
    let profile = if cfg!(debug_assertions) { Profile::Quick } else { Profile::Fast };
    Ok(Set::guests(&place, profile)?.build(&place)?.folder().to_owned())
}
