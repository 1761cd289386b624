//! `gateway.lock`: which components an operator has approved, by their SHA-256, and what each may do. Another component, or one
//! that is granted more, does not run until it is approved.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use gateway_core::model::{ALL_DATA, ComponentSource, Grants, Names, Plugin};
use serde::Deserialize;
use thiserror::Error;

/// The file cannot be read, or does not have a plugin as it is.
#[derive(Debug, Error)]
pub enum LockError {
    /// It is there and cannot be read.
    #[error("{}: {source}", file.display())]
    Unreadable {
        /// Where it is.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what `gateway plugin approve` writes.
    #[error("{}: {source}", file.display())]
    Malformed {
        /// Where it is.
        file: PathBuf,
        /// Why.
        source: Box<serde_yaml::Error>,
    },
    /// It does not have the plugin.
    #[error("plugin `{plugin}` is not approved: {}", cure(file))]
    NotApproved {
        /// Its name.
        plugin: Arc<str>,
        /// Where the file is.
        file: PathBuf,
    },
    /// The plugin uses or is granted more than it has.
    #[error("plugin `{plugin}` {}, which is not approved: {}", more.join(" and "), cure(file))]
    MoreThanApproved {
        /// Its name.
        plugin: Arc<str>,
        /// What is more.
        more: Vec<String>,
        /// Where the file is.
        file: PathBuf,
    },
    /// The plugin is another component.
    #[error(
        "plugin `{plugin}` is not the component that was approved: its SHA-256 is {sha256}, not {approved}: {}",
        cure(file)
    )]
    AnotherComponent {
        /// Its name.
        plugin: Arc<str>,
        /// What it is.
        sha256: String,
        /// What was approved.
        approved: String,
        /// Where the file is.
        file: PathBuf,
    },
}

fn cure(file: &Path) -> String {
    format!("`gateway plugin approve -c …` shows what changes and writes {}", file.display())
}

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
    pub interfaces: BTreeSet<String>,
    #[serde(default)]
    pub grants: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    plugins: BTreeMap<String, Entry>,
}

impl Entry {
    /// What a plugin is now, with the interfaces that its component uses. `None` for a standard plugin, which comes with the gateway.
    pub fn of<'a>(plugin: &Plugin, sha256: &str, interfaces: impl Iterator<Item = &'a String>) -> Option<Self> {
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
            interfaces: interfaces.filter_map(|name| name.split('@').next()).map(str::to_owned).collect(),
            grants: granted(&plugin.grants),
        })
    }

    /// What it has that the other one has not, for people.
    pub fn beyond(&self, other: &Self) -> Vec<String> {
        let mut more: Vec<String> =
            self.interfaces.difference(&other.interfaces).map(|interface| format!("uses {interface}")).collect();
        for (kind, names) in &self.grants {
            let beyond = names.iter().filter(|name| !other.grants_name(kind, name));
            more.extend(beyond.map(|name| match &**kind {
                ALL_DATA => "is granted all headers, attributes and bodies".to_owned(),
                kind => format!("is granted `{name}` of {kind}"),
            }));
        }
        more
    }

    fn grants_name(&self, kind: &str, name: &str) -> bool {
        let none = BTreeSet::new();
        let of = |kind: &str| self.grants.get(kind).unwrap_or(&none);
        let all = |kind: &str| of(kind).contains("*");
        if kind == ALL_DATA {
            return all(ALL_DATA) || DATA_KINDS.iter().all(|kind| all(kind));
        }
        if DATA_KINDS.contains(&kind) {
            // `x-acme-*` contains `x-acme-user` and `x-acme-user-*`.
            let wanted = name.strip_suffix('*').unwrap_or(name);
            let contains = |prefix: &str| wanted.starts_with(prefix);
            return of(kind).contains(name)
                || of(kind).iter().filter_map(|own| own.strip_suffix('*')).any(contains)
                || all(ALL_DATA);
        }
        // What can be read can be used.
        of(kind).contains(name) || (kind == TO_USE && of("secrets").contains(name))
    }
}

/// The secrets that a plugin can use as keys and cannot read.
const TO_USE: &str = "secrets-to-use";

/// The kinds of data that are granted by name, instead of all of it (`ALL_DATA`).
const DATA_KINDS: [&str; 8] = [
    "request-headers-read",
    "request-headers-write",
    "response-headers-read",
    "response-headers-write",
    "attributes-read",
    "attributes-write",
    "body-read",
    "body-write",
];

fn granted(grants: &Grants) -> BTreeMap<String, BTreeSet<String>> {
    let Grants { upstreams, store, secrets, secrets_to_use, sinks, files, data: _ } = grants;
    let all = [
        ("upstreams", upstreams),
        ("store", store),
        ("secrets", secrets),
        (TO_USE, secrets_to_use),
        ("sinks", sinks),
        ("files", files),
    ];
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
        .chain(grants.data_by_kind().into_iter().map(|(kind, names)| (kind.to_owned(), names.into_iter().collect())))
        .collect()
}

impl Lock {
    /// Reads the one in a folder; `None` if there is none.
    ///
    /// # Errors
    ///
    /// It cannot be read or understood; with its name.
    pub fn read(folder: &Path) -> Result<Option<Self>, LockError> {
        let file = folder.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LockError::Unreadable { file, source }),
        };
        match serde_yaml::from_str::<Typed>(&text) {
            Ok(typed) => Ok(Some(Self { file, entries: typed.plugins })),
            Err(source) => Err(LockError::Malformed { file, source: Box::new(source) }),
        }
    }

    /// Whether a plugin is approved with its grants, as far as that can be told without its component.
    ///
    /// # Errors
    ///
    /// It is not; what is missing, and how to approve it.
    pub fn allows_grants(&self, plugin: &Plugin) -> Result<(), LockError> {
        let (name, file) = (&plugin.name, || self.file.clone());
        let Some(approved) = self.entries.get(&**name) else {
            return Err(LockError::NotApproved { plugin: name.clone(), file: file() });
        };
        let now = Entry { grants: granted(&plugin.grants), ..Entry::default() };
        let more = now.beyond(approved);
        match more.is_empty() {
            true => Ok(()),
            false => Err(LockError::MoreThanApproved { plugin: name.clone(), more, file: file() }),
        }
    }

    /// Whether a component is the one that was approved for a plugin.
    ///
    /// # Errors
    ///
    /// It is not; which one it is, and how to approve it.
    pub fn allows_component(&self, plugin: &Plugin, sha256: &str) -> Result<(), LockError> {
        self.allows_grants(plugin)?;
        let approved = self.entries.get(&*plugin.name).map_or("", |entry| &entry.sha256);
        if approved.eq_ignore_ascii_case(sha256) {
            return Ok(());
        }
        Err(LockError::AnotherComponent {
            plugin: plugin.name.clone(),
            sha256: sha256.to_owned(),
            approved: approved.to_owned(),
            file: self.file.clone(),
        })
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
        let _ = writeln!(text, "    interfaces: [{}]", list(&entry.interfaces));
        let grants = entry.grants.iter().map(|(kind, names)| format!("{kind}: [{}]", list(names)));
        let _ = writeln!(text, "    grants: {{ {} }}", grants.collect::<Vec<_>>().join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use gateway_core::model::{BodyAccess, DataGrants, GrantedNames, NamedAccess};

    use super::*;

    fn entry(imports: &[&str], store: &[&str]) -> Entry {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let grants = if store.is_empty() { BTreeMap::new() } else { [("store".to_owned(), names(store))].into() };
        Entry { component: "a \"b\": c".to_owned(), sha256: "ab".repeat(32), interfaces: names(imports), grants }
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
                    entry(&["gateway:plugin/http@0.2.0", "wasi:x/y@0.2.0"], &["a", "b # c"]),
                ),
            ]),
        ] {
            fs::write(folder.path().join(FILE), written(&entries)).unwrap();
            assert_eq!(Lock::read(folder.path()).unwrap().unwrap().entries, entries);
        }
        fs::write(folder.path().join(FILE), "plugins: { a: { componnt: x } }").unwrap();
        assert!(Lock::read(folder.path()).unwrap_err().to_string().contains("gateway.lock: "));
    }

    #[test]
    fn what_is_more_is_named_and_what_is_less_is_not() {
        let before = entry(&["http", "log"], &["visits"]);
        assert_eq!(entry(&["http"], &[]).beyond(&before), [""; 0]);
        let more = entry(&["http", "store"], &["visits", "sums"]).beyond(&before);
        assert_eq!(more, ["uses store", "is granted `sums` of store"]);
    }

    #[test]
    fn reading_a_secret_is_more_than_using_it() {
        let entry = |kind: &str| {
            let grants = BTreeMap::from([(kind.to_owned(), BTreeSet::from(["key".to_owned()]))]);
            Entry { grants, ..Entry::default() }
        };
        let (read, to_use) = (entry("secrets"), entry("secrets-to-use"));
        assert_eq!(to_use.beyond(&read), [""; 0]);
        assert_eq!(read.beyond(&to_use), ["is granted `key` of secrets"]);
        assert_eq!(to_use.beyond(&Entry::default()), ["is granted `key` of secrets-to-use"]);
        let names = Names::Only(vec!["key".to_owned()]);
        let granted = granted(&Grants { secrets_to_use: names, ..Grants::default() });
        assert_eq!(granted.get(TO_USE), to_use.grants.get(TO_USE));
    }

    #[test]
    fn more_data_is_more_and_fewer_data_is_not() {
        let of = |data: Option<DataGrants>| Entry {
            grants: granted(&Grants { data: data.map(Box::new), ..Grants::default() }),
            ..Entry::default()
        };
        let headers = |read: &[&str], write: &[&str]| {
            let names = |names: &[&str]| GrantedNames::of_headers(names.iter().copied());
            of(Some(DataGrants {
                request_headers: Some(NamedAccess { read: names(read), write: names(write) }),
                ..DataGrants::default()
            }))
        };
        let (all, some) = (of(None), headers(&["X-Acme-*", "host"], &[]));
        assert_eq!((some.beyond(&all), all.beyond(&all)), (vec![], vec![]));
        assert_eq!(all.beyond(&some), ["is granted all headers, attributes and bodies"]);
        assert_eq!(all.beyond(&headers(&["*"], &["*"])), [""; 0], "it is everything that can be listed");
        assert_eq!(headers(&["x-acme-user", "x-acme-user-*"], &[]).beyond(&some), [""; 0]);
        assert_eq!(
            headers(&["x-*"], &["host"]).beyond(&some),
            ["is granted `x-*` of request-headers-read", "is granted `host` of request-headers-write"]
        );
        let no_body = of(Some(DataGrants { body: Some(BodyAccess::default()), ..DataGrants::default() }));
        assert_eq!(some.beyond(&no_body), ["is granted `*` of body-read", "is granted `*` of body-write"]);
        assert_eq!(of(None).beyond(&Entry::default()), ["is granted all headers, attributes and bodies"]);
        let kinds = DataGrants::default().by_kind().map(|(kind, _)| kind);
        assert_eq!(kinds, DATA_KINDS);
    }
}
