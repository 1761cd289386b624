//! Where the operator connects, and who that is.

use std::collections::{BTreeMap, HashMap, HashSet};

use gateway_core::model::{self, Proof, SecretSource};

use super::{
    listeners,
    names::{cut, hint},
    report::Report,
};
use crate::{
    file::{Access, File},
    secret,
    yaml::join,
};

const PLACE: &str = "/admin";

pub(super) fn admin(
    file: &File,
    listeners: &[model::Listener],
    secrets: &BTreeMap<String, SecretSource>,
    report: &mut Report<'_>,
) -> Option<model::Admin> {
    let typed = report.part(file.admin.as_ref()?, PLACE)?;
    let at = "/admin/address";
    let address = listeners::address(&typed.address, at, &mut HashMap::new(), report);
    if let Some(address) = address
        && address.port() != 0
        && listeners.iter().any(|listener| listener.address == address)
    {
        report.value(at, format!("`{address}` is also the address of a listener"));
    }
    let tls = typed.tls.as_ref().and_then(|part| listeners::tls(part, "/admin/tls", report));
    let shows = tls.as_ref().is_some_and(|tls| tls.client_certificates.is_some());
    let mut names = HashSet::new();
    let mut access = Vec::new();
    for (place, typed) in report.parts(&typed.access, "/admin/access") {
        if !typed.name.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            report.value(&join(&place, "name"), "is a name of visible ASCII characters".to_owned());
        } else if !names.insert(&typed.name) {
            report.value(&join(&place, "name"), format!("`{}` is there already", cut(&typed.name)));
        }
        let by = proof(typed, &place, shows, (file, secrets), report);
        let role = report.part(&typed.role, &join(&place, "role")).copied();
        if let (Some(by), Some(role)) = (by, role) {
            access.push(model::Access { name: typed.name.clone(), by, role });
        }
    }
    let address = address?;
    let tokens = access.iter().any(|access| matches!(access.by, Proof::Token(_)));
    if tokens && typed.tls.is_none() && !address.ip().is_loopback() {
        report.warn("/admin/access", "tokens pass in clear text where the listener has no `tls`".to_owned());
    }
    Some(model::Admin { address, tls, access })
}

fn proof(
    typed: &Access,
    place: &str,
    shows: bool,
    (file, secrets): (&File, &BTreeMap<String, SecretSource>),
    report: &mut Report<'_>,
) -> Option<Proof> {
    match (&typed.token, &typed.certificate) {
        (Some(secret), None) => {
            let at = join(place, "token");
            if !file.secrets.contains_key(secret) {
                let hint = hint(secret, file.secrets.keys().map(String::as_str));
                report.value(&at, format!("expected the name of one of `secrets`{hint}"));
            }
            // One that cannot be read has been reported where it is defined.
            let token = secrets.get(secret).and_then(|source| secret::read(source).ok());
            if let Some(Err(wanted)) = token.map(|token| model::check_token(&token)) {
                report.value(&at, format!("secret `{}`: {wanted}", cut(secret)));
            }
            Some(Proof::Token(secret.clone()))
        }
        (None, Some(name)) => {
            if !shows {
                let message = "nobody shows one: give `tls` its `client-certificates`".to_owned();
                report.value(&join(place, "certificate"), message);
            }
            Some(Proof::Certificate(name.to_ascii_lowercase()))
        }
        (None, None) | (Some(_), Some(_)) => {
            report.value(place, "needs either a `token` or a `certificate`".to_owned());
            None
        }
    }
}
