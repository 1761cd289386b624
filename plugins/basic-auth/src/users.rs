//! Who is known, by name.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use plugin_sdk::{
    Pointer, Problems,
    crypto::{self, PasswordError},
    secrets::{self, SecretError},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// A user.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct UserConfig {
    /// The name, without a colon.
    name: String,
    /// The password's hash: argon2id in PHC string format, or bcrypt.
    hash: String,
    /// Groups, for `acl`.
    #[serde(default)]
    groups: Vec<String>,
}

pub(crate) struct User {
    pub(crate) hash: String,
    pub(crate) groups: Option<String>,
}

#[derive(Default)]
pub(crate) struct Users(BTreeMap<String, Rc<User>>);

impl Users {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(&mut self, users: Vec<UserConfig>, at: &Pointer, problems: &mut Problems) {
        for (i, user) in users.into_iter().enumerate() {
            let at = at.then(i);
            for (i, group) in user.groups.iter().enumerate() {
                if group.is_empty() || group.contains(',') {
                    problems.add(at.then("groups").then(i), "must not be empty, and not contain commas");
                }
            }
            let groups = (!user.groups.is_empty()).then(|| user.groups.join(","));
            problems.note(at.then("name"), self.check_name(&user.name));
            problems.note(at.then("hash"), check_hash(&user.hash));
            self.0.insert(user.name, Rc::new(User { hash: user.hash, groups }));
        }
    }

    /// The lines of a secret as `htpasswd` writes them: `NAME:HASH`. Problems name the line and nothing that it says.
    pub(crate) fn add_secret(&mut self, secret: &str, at: &Pointer, problems: &mut Problems) {
        let Some(text) = problems.note(at, read(secret)) else { return };
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let user = line.split_once(':').ok_or_else(|| "needs `NAME:HASH`".to_owned());
            let user = user.and_then(|(name, hash)| {
                self.check_name(name)?;
                check_hash(hash)?;
                Ok((name.to_owned(), hash.to_owned()))
            });
            match user {
                Ok((name, hash)) => {
                    self.0.insert(name, Rc::new(User { hash, groups: None }));
                }
                Err(why) => problems.add(at, format!("line {} of the secret {why}", number + 1)),
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Rc<User>> {
        self.0.get(name)
    }

    /// A hash for a name that nobody has, always the same: who asks for it should wait as long as for a user.
    pub(crate) fn decoy(&self, name: &str) -> Option<&Rc<User>> {
        let sum = name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.0.values().nth(sum.checked_rem(self.0.len())?)
    }

    fn check_name(&self, name: &str) -> Result<(), String> {
        if name.is_empty() || name.len() > 255 || name.chars().any(|c| c == ':' || c.is_control()) {
            Err("needs a name of up to 255 bytes, without colons and control characters".to_owned())
        } else if self.0.contains_key(name) {
            Err("has the name of another user".to_owned())
        } else {
            Ok(())
        }
    }
}

/// In `configure` the gateway only checks the hash.
fn check_hash(hash: &str) -> Result<(), String> {
    match crypto::verify_password(hash, b"", Duration::ZERO) {
        Err(PasswordError::MalformedHash(why)) => Err(format!("has no hash that can be used: {why}")),
        _ => Ok(()),
    }
}

fn read(name: &str) -> Result<String, String> {
    let text = secrets::get(name).map_err(|error| match error {
        SecretError::Denied(_) => format!(
            "the secret `{name}` is not granted; add it to `secrets`, and to the plugin's `grants: {{ secrets: [{name}] }}`"
        ),
        SecretError::Missing => format!("the secret `{name}` has no value"),
        error => format!("the secret `{name}`: {error}"),
    })?;
    String::from_utf8(text).map_err(|_| format!("the secret `{name}` is not text"))
}
