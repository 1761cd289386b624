//! Plugins: what is defined, what is granted, and each use with its configuration.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use gateway_core::model::{self, ComponentSource, Names, OnError};
use jsonschema::Validator;
use serde_json::{Value, json};

use super::{
    data_grants,
    names::{cut, hint},
    report::Report,
    shape::{self, What},
};
use crate::{
    catalog::{Catalog, PluginEndpoint, PluginFacts},
    file::{ConfiguredUse, File, Grants, Plugin, PluginUse, SecretAccess, SecretGrants},
    part::Part,
    yaml::join,
};

/// Every plugin of the file by its name, and the standard ones as soon as they are used.
pub(super) struct Plugins<'c> {
    catalog: &'c mut dyn Catalog,
    builtins: Vec<String>,
    /// `None` for one with a problem of its own, which has been reported.
    known: BTreeMap<String, Option<Loaded>>,
    /// Names and configurations that have been checked, with what is wrong with them: many routes use the
    /// same plugin in the same way.
    checked: HashMap<(String, String), Vec<Complaint>>,
    uses: HashMap<(String, String, OnError), Arc<model::PluginUse>>,
}

struct Loaded {
    plugin: Arc<model::Plugin>,
    schema: Value,
    validator: Validator,
}

/// About a configuration; the pointer is relative to it.
#[derive(Clone)]
struct Complaint {
    pointer: String,
    message: String,
    on_key: bool,
}

impl<'c> Plugins<'c> {
    pub(super) fn new(file: &File, catalog: &'c mut dyn Catalog, report: &mut Report<'_>) -> Self {
        let builtins = catalog.builtins();
        let mut plugins =
            Self { catalog, builtins, known: BTreeMap::new(), checked: HashMap::new(), uses: HashMap::new() };
        for (name, part) in &file.plugins {
            let place = join("/plugins", name);
            let loaded = report.part(part, &place).and_then(|typed| plugins.define(name, typed, &place, file, report));
            plugins.known.insert(name.clone(), loaded);
        }
        plugins
    }

    /// The plugins that some list uses.
    pub(super) fn used(self) -> BTreeMap<String, Arc<model::Plugin>> {
        self.uses.into_values().map(|u| (u.plugin.name.to_string(), u.plugin.clone())).collect()
    }

    /// A list of uses, in order.
    pub(super) fn list(
        &mut self,
        list: &[Part<PluginUse>],
        place: &str,
        report: &mut Report<'_>,
    ) -> Vec<Arc<model::PluginUse>> {
        let parts = report.parts(list, place);
        parts.into_iter().filter_map(|(at, typed)| self.plugin_use(typed, &at, report)).collect()
    }

    /// What one of the uses has an answer for, by its plugin's name, if all is well with it.
    pub(super) fn endpoints(
        &mut self,
        uses: &[Arc<model::PluginUse>],
        name: &str,
        at: &str,
        report: &mut Report<'_>,
    ) -> Option<Vec<PluginEndpoint>> {
        let Some(used) = uses.iter().find(|used| *used.plugin.name == *name) else {
            let known = uses.iter().map(|used| &*used.plugin.name);
            report.value(at, format!("no plugin `{}` among the route's own{}", cut(name), hint(name, known)));
            return None;
        };
        let key = (name.to_owned(), used.config.to_string());
        if self.checked.get(&key).is_none_or(|complaints| !complaints.is_empty()) {
            return None;
        }
        match self.catalog.endpoints(&used.plugin, &used.config) {
            Ok(Some(endpoints)) if !endpoints.is_empty() => Some(endpoints),
            Ok(_) => {
                report
                    .value(at, format!("plugin `{}` does not say what it has an answer for; give a `path`", cut(name)));
                None
            }
            Err(why) => {
                report.value(at, format!("plugin `{}` cannot say what it has an answer for: {why}", cut(name)));
                None
            }
        }
    }

    fn plugin_use(&mut self, typed: &PluginUse, at: &str, report: &mut Report<'_>) -> Option<Arc<model::PluginUse>> {
        let (name, name_at, config, on_error) = match typed {
            PluginUse::Name(name) => (name, at.to_owned(), None, OnError::Fail),
            PluginUse::Configured(ConfiguredUse { name, config, on_error }) => {
                let name_at = join(at, "name");
                let on_error = report.part(on_error, &join(at, "on-error")).copied().unwrap_or_default();
                (report.part(name, &name_at)?, name_at, config.as_ref(), on_error)
            }
        };
        if !self.known.contains_key(name) {
            if !self.builtins.contains(name) {
                let known: BTreeSet<&str> = self.known.keys().chain(&self.builtins).map(String::as_str).collect();
                report.value(&name_at, format!("unknown plugin `{}`{}", cut(name), hint(name, known)));
                return None;
            }
            let plugin = model::Plugin {
                name: name.as_str().into(),
                component: ComponentSource::Builtin(name.clone()),
                grants: standard_grants(),
                limits: model::PluginLimits::default(),
                isolation: model::Isolation::default(),
            };
            let loaded = self.load(plugin, &name_at, report);
            self.known.insert(name.clone(), loaded);
        }
        let Loaded { plugin, schema, validator } = self.known.get(name)?.as_ref()?;

        let empty = json!({});
        let config_or_empty = config.unwrap_or(&empty);
        let text = config_or_empty.to_string();
        let catalog = &mut self.catalog;
        let complaints = self.checked.entry((name.clone(), text.clone())).or_insert_with(|| {
            if schema.is_null() && config_or_empty != &empty {
                let message = format!("plugin `{name}` takes no configuration");
                return vec![Complaint { pointer: String::new(), message, on_key: true }];
            }
            let complaints = misfits(validator, schema, config_or_empty, config.is_none());
            if complaints.is_empty() { asked(*catalog, plugin, config_or_empty) } else { complaints }
        });
        let config_at = join(at, "config");
        for Complaint { pointer, message, on_key } in complaints.iter() {
            let pointer = format!("{config_at}{pointer}");
            if *on_key { report.key(&pointer, message) } else { report.value(&pointer, message) }
        }
        let shared = self.uses.entry((name.clone(), text, on_error));
        let new = || model::PluginUse { plugin: plugin.clone(), config: config_or_empty.clone(), on_error };
        Some(shared.or_insert_with(|| Arc::new(new())).clone())
    }

    fn define(
        &mut self,
        name: &str,
        typed: &Plugin,
        place: &str,
        file: &File,
        report: &mut Report<'_>,
    ) -> Option<Loaded> {
        // All parts are looked at before the first that is missing ends it.
        let component = self.component(name, typed, place, report);
        let at = join(place, "limits");
        let limits = report.part(&typed.limits, &at).cloned();
        let at = join(place, "grants");
        let typed_grants = report.part(&typed.grants, &at);
        let data = typed_grants.and_then(|typed| {
            granted_names_exist(typed, &at, file, report);
            data_grants::granted(typed, &at, report)
        });
        let isolation = report.part(&typed.isolation, &join(place, "isolation")).copied();

        let component = component?;
        let base = match &component {
            ComponentSource::Builtin(_) => standard_grants(),
            ComponentSource::File(_) | ComponentSource::Http { .. } | ComponentSource::Oci(_) => {
                model::Grants::default()
            }
        };
        let plugin = model::Plugin {
            name: name.into(),
            component,
            grants: model::Grants { data, ..grants(typed_grants?, base) },
            limits: limits?,
            isolation: isolation?,
        };
        self.load(plugin, &join(place, "component"), report)
    }

    fn component(&self, name: &str, typed: &Plugin, place: &str, report: &mut Report<'_>) -> Option<ComponentSource> {
        let standard = self.builtins.iter().any(|builtin| builtin == name);
        let Some(part) = &typed.component else {
            if standard {
                return Some(ComponentSource::Builtin(name.to_owned()));
            }
            let known = self.builtins.iter().map(String::as_str);
            let meant = hint(name, known);
            report
                .key(place, format!("plugin `{name}` has no `component`, and no standard plugin has its name{meant}"));
            return None;
        };
        let at = join(place, "component");
        let text = report.part(part, &at)?;
        let builtin = text.strip_prefix("builtin:");
        if standard && builtin != Some(name) {
            report.value(&at, format!("`{name}` is a standard plugin; give another component another name"));
            return None;
        }
        match builtin {
            None if text.is_empty() => {
                report.value(&at, "expected a component's file or `builtin:NAME`, found empty text");
                None
            }
            None => self.elsewhere(text, typed, place, report),
            Some(builtin) if self.builtins.iter().any(|known| known == builtin) => {
                Some(ComponentSource::Builtin(builtin.to_owned()))
            }
            Some(unknown) => {
                let known = self.builtins.iter().map(String::as_str);
                report.value(&at, format!("unknown standard plugin `{}`{}", cut(unknown), hint(unknown, known)));
                None
            }
        }
    }

    /// A component that is not in the binary: a file, or one that has to be fetched.
    fn elsewhere(&self, text: &str, typed: &Plugin, place: &str, report: &mut Report<'_>) -> Option<ComponentSource> {
        let at = join(place, "component");
        let sha256_at = join(place, "sha256");
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        if scheme.is_some_and(|scheme| scheme == "https" || scheme == "http") {
            let Some(part) = &typed.sha256 else {
                report.key(place, "a component by its URL needs `sha256`, so that it is the one that was meant");
                return None;
            };
            let typed = report.part(part, &sha256_at)?;
            if typed.len() != 64 || !typed.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                report.value(&sha256_at, "expected a SHA-256 of 64 hexadecimal digits");
                return None;
            }
            return Some(ComponentSource::Http { url: text.to_owned(), sha256: typed.to_ascii_lowercase() });
        }
        if typed.sha256.is_some() {
            report.value(
                &sha256_at,
                "`sha256` is for components by their URL; in a registry, `@sha256:DIGEST` says which",
            );
            return None;
        }
        match scheme {
            Some("oci") => Some(ComponentSource::Oci(text["oci://".len()..].to_owned())),
            Some(other) => {
                let other = cut(other);
                report
                    .value(&at, format!("expected a file, `https://`, `oci://` or `builtin:NAME`, found `{other}://`"));
                None
            }
            None => Some(ComponentSource::File(report.path(text))),
        }
    }

    fn load(&mut self, plugin: model::Plugin, at: &str, report: &mut Report<'_>) -> Option<Loaded> {
        // Before anything of the component runs.
        self.catalog.admit(&plugin).map_err(|error| report.value(at, error.to_string())).ok()?;
        let facts = self.catalog.open(&plugin.component).map_err(|error| report.value(at, error.to_string())).ok()?;
        // A standard plugin asks for what only some configurations of it need.
        if !matches!(plugin.component, ComponentSource::Builtin(_)) {
            let (place, _) = at.rsplit_once('/').unwrap_or_default();
            for (import, grant) in ungranted(&facts, &plugin.grants) {
                let name = &plugin.name;
                let message = format!(
                    "plugin `{name}` wants `gateway:plugin/{import}`, which is not granted; add `{grant}` to `grants`"
                );
                report.key(&join(place, "grants"), message);
            }
        }
        if let Some(granted) = &plugin.grants.data {
            let (place, _) = at.rsplit_once('/').unwrap_or_default();
            data_grants::fit(&facts, &plugin.name, granted, &join(place, "grants"), report);
        }
        if let Some(warning) = &facts.warning {
            report.warn(at, warning);
        }
        report.sensitive.learn(&plugin.name, &facts.config_schema);
        let schema = facts.config_schema.clone();
        // A plugin without a schema takes none, which is said elsewhere in better words.
        let anything = Value::Bool(true);
        match jsonschema::draft202012::new(if schema.is_null() { &anything } else { &schema }) {
            Ok(validator) => Some(Loaded { plugin: Arc::new(plugin), schema, validator }),
            Err(error) => {
                let error = cut(&error.to_string());
                let message = format!("plugin `{}` brings a JSON Schema that is not valid: {error}", plugin.name);
                report.value(at, message);
                None
            }
        }
    }
}

fn misfits(validator: &Validator, schema: &Value, config: &Value, left_out: bool) -> Vec<Complaint> {
    let complaint = |misfit: shape::Misfit| {
        let message = match misfit.what {
            What::MissingKey { .. } if left_out => format!("{} in `config`", misfit.message),
            _ => misfit.message,
        };
        Complaint { pointer: misfit.pointer, message, on_key: misfit.on_key }
    };
    let misfits = shape::misfits(validator, schema, config).into_iter();
    misfits.filter(|misfit| !misfit.is_said_elsewhere()).map(complaint).collect()
}

/// What the plugin itself says.
fn asked(catalog: &mut dyn Catalog, plugin: &model::Plugin, config: &Value) -> Vec<Complaint> {
    let problems = catalog.configure(plugin, config).err().unwrap_or_default();
    let complaint = |problem: crate::PluginProblem| {
        let message = if problem.message.is_empty() { "is refused by the plugin".to_owned() } else { problem.message };
        let pointer = if problem.pointer.starts_with('/') { problem.pointer } else { String::new() };
        Complaint { pointer, message: format!("plugin `{}`: {message}", plugin.name), on_key: false }
    };
    problems.into_iter().map(complaint).collect()
}

/// What standard plugins are granted unless the file says otherwise.
fn standard_grants() -> model::Grants {
    model::Grants { store: Names::All, sinks: Names::All, files: Names::All, ..model::Grants::default() }
}

fn grants(typed: &Grants, base: model::Grants) -> model::Grants {
    let names = |typed: &Option<Vec<Part<String>>>, base: Names| match typed {
        Some(list) => Names::Only(list.iter().filter_map(|part| part.get().cloned()).collect()),
        None => base,
    };
    let (secrets, secrets_to_use) = match &typed.secrets {
        None => (base.secrets, base.secrets_to_use),
        Some(secrets) => (secrets.granted(SecretAccess::Read), secrets.granted(SecretAccess::Use)),
    };
    model::Grants {
        upstreams: names(&typed.upstreams, base.upstreams),
        store: names(&typed.store, base.store),
        secrets,
        secrets_to_use,
        sinks: names(&typed.sinks, base.sinks),
        files: names(&typed.files, base.files),
        data: base.data,
    }
}

impl SecretGrants {
    /// The secrets that are granted for this. In a list they are for reading.
    fn granted(&self, access: SecretAccess) -> Names {
        Names::Only(match self {
            Self::Names(names) if access == SecretAccess::Read => {
                names.iter().filter_map(|part| part.get().cloned()).collect()
            }
            Self::Names(_) => Vec::new(),
            Self::Access(secrets) => {
                let with = secrets.iter().filter(|(_, granted)| granted.get() == Some(&access));
                with.map(|(name, _)| name.clone()).collect()
            }
        })
    }
}

fn granted_names_exist(typed: &Grants, place: &str, file: &File, report: &mut Report<'_>) {
    let secrets: Vec<&str> = file.secrets.keys().map(String::as_str).collect();
    let unknown = |kind: &str, name: &str, known: &[&str]| {
        let meant = hint(name, known.iter().copied());
        (!known.contains(&name)).then(|| format!("unknown {kind} `{}`{meant}", cut(name)))
    };
    if let Some(SecretGrants::Access(granted)) = &typed.secrets {
        for (name, access) in granted {
            let at = join(&join(place, "secrets"), name);
            report.part(access, &at);
            if let Some(message) = unknown("secret", name, &secrets) {
                report.key(&at, message);
            }
        }
    }
    let mut check = |kind: &str, list: &[Part<String>], known: Vec<&str>| {
        let at = join(place, &format!("{kind}s"));
        for (at, name) in report.parts(list, &at) {
            if let Some(message) = unknown(kind, name, &known) {
                report.value(&at, message);
            }
        }
    };
    check(
        "upstream",
        typed.upstreams.as_deref().unwrap_or_default(),
        file.upstreams.keys().map(String::as_str).collect(),
    );
    if let Some(SecretGrants::Names(names)) = &typed.secrets {
        check("secret", names, secrets.clone());
    }
    check("sink", typed.sinks.as_deref().unwrap_or_default(), file.sinks.keys().map(String::as_str).collect());
    check("file", typed.files.as_deref().unwrap_or_default(), file.files.keys().map(String::as_str).collect());
}

/// Imports without their grant, and the line that would give it.
fn ungranted(facts: &PluginFacts, grants: &model::Grants) -> Vec<(&'static str, &'static str)> {
    let wants = facts.wants;
    [
        (wants.upstreams && grants.upstreams.is_empty(), ("http-client", "upstreams: [UPSTREAM]")),
        (wants.store && grants.store.is_empty(), ("store", "store: [BUCKET]")),
        (
            wants.secrets && grants.secrets.is_empty() && grants.secrets_to_use.is_empty(),
            ("secrets", "secrets: [SECRET]"),
        ),
        (wants.sinks && grants.sinks.is_empty(), ("sinks", "sinks: [SINK]")),
        (wants.files && grants.files.is_empty(), ("files", "files: [FILE]")),
    ]
    .into_iter()
    .filter_map(|(missing, words)| missing.then_some(words))
    .collect()
}
