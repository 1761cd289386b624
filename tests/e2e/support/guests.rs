//! The tests' guests as files, for configurations to name.

use std::fs;

use tempfile::TempDir;

/// A folder with `counting.wasm`, `messenger.wasm`, `naughty.wasm`, `prober.wasm`, `scripted.wasm`, `signer.wasm`, `ticking.wasm`, `waiter.wasm` and the secret in `own.txt`.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files: [(&str, &[u8]); 9] = [
        ("counting.wasm", test_guests::counting()),
        ("messenger.wasm", test_guests::messenger()),
        ("naughty.wasm", test_guests::naughty()),
        ("prober.wasm", test_guests::prober()),
        ("scripted.wasm", test_guests::scripted()),
        ("signer.wasm", test_guests::signer()),
        ("ticking.wasm", test_guests::ticking()),
        ("waiter.wasm", test_guests::waiter()),
        ("own.txt", b"whispered\n"),
    ];
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("the folder takes files");
    }
    folder
}

/// `naughty` with all the grants that it wants to be loaded; the bucket, secret and sink are called `own`. More
/// of the plugin's settings may follow.
pub fn naughty(settings: &str) -> String {
    let comma = if settings.is_empty() { "" } else { ", " };
    format!(
        "naughty: {{ component: naughty.wasm, grants: {{ store: [own], secrets: [own], sinks: [own] }}{comma}{settings} }}"
    )
}

/// `waiter` with its grants, and more settings.
pub fn waiter(grants: &str, settings: &str) -> String {
    let comma = if settings.is_empty() { "" } else { ", " };
    format!("waiter: {{ component: waiter.wasm, grants: {{ {grants} }}{comma}{settings} }}")
}

/// What `naughty`'s grants speak of.
pub const OWN: &str = "\
secrets: { own: { file: own.txt } }
sinks: { own: { file: own.log } }
";
