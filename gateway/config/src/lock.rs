//! `gateway.lock`: which components an operator has approved, by their SHA-256, and what each may do. Another component, or one
//! that is granted more, does not run until it is approved.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

use gateway_core::model::{ComponentSource, Grants, Names, Plugin};
use serde::Deserialize;

/// Beside the configuration.
pub const FILE: &str = "gateway.lock";

/// What was approved, by the plugins' names.
#[derive(Debug, Default)]
pub struct Lock {
    file: PathBuf,
    entries: BTreeMap<String, Entry>,
}

/// A component and what it may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Entry {
    pub component: String,
    pub sha256: String,
    #[serde(default)]
    pub imports: BTreeSet<String>,
    #[serde(default)]
    pub grants: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    plugins: BTreeMap<String, Entry>,
}

impl Entry {
    /// What a plugin is now, with what its component imports. `None` for a standard plugin, which comes with the gateway.
    pub fn of<'a>(plugin: &Plugin, sha256: &str, imports: impl Iterator<Item = &'a String>) -> Option<Self> {
        let component = match &plugin.component {
            ComponentSource::Builtin(_) => return None,
            ComponentSource::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            ComponentSource::Http { url, .. } => super::without_credentials(url),
            ComponentSource::Oci(reference) => format!("oci://{reference}"),
        };
        Some(Self {
            component,
            sha256: sha256.to_owned(),
            // Another version of an interface can do nothing more.
            imports: imports.filter_map(|name| name.split('@').next()).map(str::to_owned).collect(),
            grants: granted(&plugin.grants),
        })
    }

    /// What it has that the other one has not, for people.
    pub fn beyond(&self, other: &Self) -> Vec<String> {
        let mut more: Vec<String> =
            self.imports.difference(&other.imports).map(|import| format!("imports {import}")).collect();
        let none = BTreeSet::new();
        for (kind, names) in &self.grants {
            let before = other.grants.get(kind).unwrap_or(&none);
            more.extend(names.difference(before).map(|name| format!("is granted `{name}` of {kind}")));
        }
        more
    }
}

fn granted(grants: &Grants) -> BTreeMap<String, BTreeSet<String>> {
    let Grants { upstreams, store, secrets, sinks, files } = grants;
    let all = [("upstreams", upstreams), ("store", store), ("secrets", secrets), ("sinks", sinks), ("files", files)];
    let names = |names: &Names| -> BTreeSet<String> {
        match names {
            // As it is typed nowhere.
            Names::All => BTreeSet::from(["*".to_owned()]),
            Names::Only(names) => names.iter().cloned().collect(),
        }
    };
    all.into_iter()
        .map(|(kind, granted)| (kind.to_owned(), names(granted)))
        .filter(|(_, names)| !names.is_empty())
        .collect()
}

impl Lock {
    /// Reads the one in a folder; `None` if there is none.
    ///
    /// # Errors
    ///
    /// It cannot be read or understood; with its name.
    pub fn read(folder: &Path) -> Result<Option<Self>, String> {
        let file = folder.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", file.display())),
        };
        let typed: Typed = serde_yaml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(Some(Self { file, entries: typed.plugins }))
    }

    /// Whether a plugin is approved with its grants, as far as that can be told without its component.
    ///
    /// # Errors
    ///
    /// It is not; what is missing, and how to approve it.
    pub fn allows_grants(&self, plugin: &Plugin) -> Result<(), String> {
        let name = &plugin.name;
        let Some(approved) = self.entries.get(&**name) else {
            return Err(format!("plugin `{name}` is not approved: {}", self.cure()));
        };
        let now = Entry { grants: granted(&plugin.grants), ..Entry::default() };
        let more = now.beyond(approved);
        match &more[..] {
            [] => Ok(()),
            more => Err(format!("plugin `{name}` {}, which is not approved: {}", more.join(" and "), self.cure())),
        }
    }

    /// Whether a component is the one that was approved for a plugin.
    ///
    /// # Errors
    ///
    /// It is not; which one it is, and how to approve it.
    pub fn allows_component(&self, plugin: &Plugin, sha256: &str) -> Result<(), String> {
        self.allows_grants(plugin)?;
        let name = &plugin.name;
        let approved = self.entries.get(&**name).map_or("", |entry| &entry.sha256);
        if approved.eq_ignore_ascii_case(sha256) {
            return Ok(());
        }
        let cure = self.cure();
        Err(format!(
            "plugin `{name}` is not the component that was approved: its SHA-256 is {sha256}, not {approved}: {cure}"
        ))
    }

    fn cure(&self) -> String {
        format!("`gateway plugin approve -c …` shows what changes and writes {}", self.file.display())
    }

    pub fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }
}

/// The file's text.
pub fn written(entries: &BTreeMap<String, Entry>) -> String {
    // Quoted as JSON, which YAML takes as it is.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let list = |names: &BTreeSet<String>| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let mut text = "# What each component is, and what it may do. Written by `gateway plugin approve`; it belongs beside the configuration.\nplugins:".to_owned();
    if entries.is_empty() {
        text.push_str(" {}");
    }
    text.push('\n');
    for (name, entry) in entries {
        let _ = writeln!(text, "  {}:", quoted(name));
        let _ = writeln!(text, "    component: {}", quoted(&entry.component));
        let _ = writeln!(text, "    sha256: {}", quoted(&entry.sha256));
        let _ = writeln!(text, "    imports: [{}]", list(&entry.imports));
        let grants = entry.grants.iter().map(|(kind, names)| format!("{kind}: [{}]", list(names)));
        let _ = writeln!(text, "    grants: {{ {} }}", grants.collect::<Vec<_>>().join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(imports: &[&str], store: &[&str]) -> Entry {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let grants = if store.is_empty() { BTreeMap::new() } else { [("store".to_owned(), names(store))].into() };
        Entry { component: "a \"b\": c".to_owned(), sha256: "ab".repeat(32), imports: names(imports), grants }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Lock::read(folder.path()).unwrap().is_none());
        for entries in [
            BTreeMap::new(),
            BTreeMap::from([
                ("one".to_owned(), entry(&[], &[])),
                (
                    "the other: \"one\"".to_owned(),
                    entry(&["gateway:plugin/http@0.1.0", "wasi:x/y@0.2.0"], &["a", "b # c"]),
                ),
            ]),
        ] {
            fs::write(folder.path().join(FILE), written(&entries)).unwrap();
            assert_eq!(Lock::read(folder.path()).unwrap().unwrap().entries, entries);
        }
        fs::write(folder.path().join(FILE), "plugins: { a: { componnt: x } }").unwrap();
        assert!(Lock::read(folder.path()).unwrap_err().contains("gateway.lock: "));
    }

    #[test]
    fn what_is_more_is_named_and_what_is_less_is_not() {
        let before = entry(&["http", "log"], &["visits"]);
        assert_eq!(entry(&["http"], &[]).beyond(&before), [""; 0]);
        let more = entry(&["http", "store"], &["visits", "sums"]).beyond(&before);
        assert_eq!(more, ["imports store", "is granted `sums` of store"]);
    }
}
