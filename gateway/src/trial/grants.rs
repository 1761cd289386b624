//! What a plugin is granted by a file of cases, where its calls are measured: the same as where the cases are run (`configuration`),
//! so that what is measured is what serves. Whether calls run on fibers, and what each access to data costs, depends on it.

use gateway_core::model::{BodyAccess, DataGrants, GrantedNames, Grants, NamedAccess, Names};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    SERVICE,
    cases::{Case, Cases, DataGrant},
    error::TrialError,
};

/// Names that can be read and written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Lists {
    read: Vec<String>,
    write: Vec<String>,
}

/// # Errors
///
/// Grants of data that are not well-formed.
pub(super) fn granted(cases: &Cases, case: Option<&Case>) -> Result<Grants, TrialError> {
    let only = |names: &mut dyn Iterator<Item = &String>| Names::Only(names.cloned().collect());
    if cases.grants_everything {
        let all = || Names::All;
        return Ok(Grants {
            upstreams: all(),
            store: all(),
            secrets: only(&mut cases.secrets.keys()),
            secrets_to_use: all(),
            sinks: all(),
            files: all(),
            data: None,
        });
    }
    let services = case.map(|case| case.services(cases)).unwrap_or_default();
    let upstreams = services.keys().map(|name| (*name).to_owned()).chain([SERVICE.to_owned()]);
    let data = data(cases)?;
    Ok(Grants {
        upstreams: Names::Only(upstreams.collect()),
        store: only(&mut cases.store.iter()),
        secrets: only(&mut cases.secrets.keys()),
        secrets_to_use: only(&mut cases.secrets_to_use.keys()),
        sinks: only(&mut cases.sinks.iter()),
        files: only(&mut cases.files.keys()),
        data: (!data.is_unlimited()).then(|| Box::new(data)),
    })
}

fn data(cases: &Cases) -> Result<DataGrants, TrialError> {
    let mut granted = DataGrants::default();
    for (kind, value) in &cases.grants {
        let Lists { read, write } = lists(value)?;
        let (read, write) = (read.iter().map(String::as_str), write.iter().map(String::as_str));
        let headers = |read, write| Some(NamedAccess { read, write });
        match kind {
            DataGrant::RequestHeaders => {
                granted.request_headers = headers(GrantedNames::of_headers(read), GrantedNames::of_headers(write));
            }
            DataGrant::ResponseHeaders => {
                granted.response_headers = headers(GrantedNames::of_headers(read), GrantedNames::of_headers(write));
            }
            DataGrant::Attributes => {
                granted.attributes = headers(GrantedNames::of_attributes(read), GrantedNames::of_attributes(write));
            }
            DataGrant::Body => {
                let has = |names: &[&str], side| names.contains(&side);
                let (read, write): (Vec<_>, Vec<_>) = (read.collect(), write.collect());
                granted.body = Some(BodyAccess {
                    read_request: has(&read, "request"),
                    read_response: has(&read, "response"),
                    write_request: has(&write, "request"),
                    write_response: has(&write, "response"),
                });
            }
        }
    }
    Ok(granted)
}

/// Nothing at all grants nothing.
fn lists<T: DeserializeOwned + Default>(value: &Value) -> Result<T, TrialError> {
    if value.is_null() {
        return Ok(T::default());
    }
    serde_json::from_value(value.clone()).map_err(|error| TrialError::Configuration(format!("grants: {error}")))
}
