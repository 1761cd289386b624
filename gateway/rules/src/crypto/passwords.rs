//! Hashes of passwords: which are taken, and what they verify.

use std::fmt;

use argon2::{Argon2, Params, PasswordHash, PasswordVerifier, Version};

const HASH_BYTES: usize = 512;
/// The parameters of a hash decide what verifying a password costs the gateway.
const ARGON2_KIB: u32 = 256 * 1024;
const ARGON2_PASSES: u32 = 16;
const ARGON2_LANES: u32 = 16;
const BCRYPT_COST: std::ops::RangeInclusive<u32> = 4..=16;

/// Why a hash of a password may not be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashError {
    /// It is too large.
    TooLarge,
    /// It is no hash; with what it should be.
    Malformed(&'static str),
    /// Its cost is too low to be safe or costs more than the gateway allows.
    BcryptCost(u32),
    /// It costs more than the gateway allows.
    Argon2Cost,
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "over {HASH_BYTES} bytes"),
            Self::Malformed(why) => f.write_str(why),
            Self::BcryptCost(cost) => {
                let (least, most) = BCRYPT_COST.into_inner();
                write!(f, "a bcrypt cost of {cost}, needs {least} to {most}")
            }
            Self::Argon2Cost => {
                write!(f, "an argon2id hash that costs more than m={ARGON2_KIB}, t={ARGON2_PASSES}, p={ARGON2_LANES}")
            }
        }
    }
}

impl std::error::Error for HashError {}

/// Whether a hash is one that may be verified.
///
/// # Errors
///
/// It is none, or costs more than the gateway allows.
pub fn check_password_hash(hash: &str) -> Result<(), HashError> {
    if hash.len() > HASH_BYTES {
        return Err(HashError::TooLarge);
    }
    if let Some(rest) = hash.strip_prefix("$2") {
        let parts: Vec<&str> = rest.split('$').collect();
        let [version, cost, rest] = parts[..] else {
            return Err(HashError::Malformed("not a bcrypt hash: `$2b$COST$…`"));
        };
        let is_sound = matches!(version, "a" | "b" | "y") && rest.len() == 53 && cost.len() == 2;
        let cost = cost.parse::<u32>().ok().filter(|_| is_sound && bcrypt_base64(rest));
        let cost = cost.ok_or(HashError::Malformed(
            "not a bcrypt hash: `$2a$`, `$2b$` or `$2y$`, a cost of two digits and 53 characters",
        ))?;
        return if BCRYPT_COST.contains(&cost) { Ok(()) } else { Err(HashError::BcryptCost(cost)) };
    }
    if !hash.starts_with("$argon2id$") {
        return Err(HashError::Malformed("neither argon2id (`$argon2id$…`) nor bcrypt (`$2b$…`)"));
    }
    let parsed =
        PasswordHash::new(hash).map_err(|_| HashError::Malformed("not an argon2id hash in PHC string format"))?;
    if parsed.salt.is_none() || parsed.hash.is_none() {
        return Err(HashError::Malformed("an argon2id hash without salt or value"));
    }
    let params = Params::try_from(&parsed)
        .map_err(|_| HashError::Malformed("an argon2id hash whose parameters are not valid"))?;
    if params.m_cost() > ARGON2_KIB || params.t_cost() > ARGON2_PASSES || params.p_cost() > ARGON2_LANES {
        return Err(HashError::Argon2Cost);
    }
    Ok(())
}

fn bcrypt_base64(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
}

/// Compares in constant time, as both libraries do. A hash that was not checked before matches no password.
pub fn verify_password(hash: &str, password: &[u8]) -> bool {
    if hash.starts_with("$2") {
        return bcrypt::verify(password, hash).unwrap_or(false);
    }
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    Argon2::new(argon2::Algorithm::Argon2id, Version::default(), Params::default())
        .verify_password(password, &parsed)
        .is_ok()
}
