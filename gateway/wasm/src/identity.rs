//! Identities as SHA-256 of an encoding (`gateway_rules::identity`).

use aws_lc_rs::digest;
use gateway_rules::identity::Sink;

/// An identity.
pub(super) type Sha256 = [u8; digest::SHA256_OUTPUT_LEN];

/// Hashes what `encode` writes.
pub(super) fn sha256(encode: impl FnOnce(&mut Sink<'_>)) -> Sha256 {
    let mut context = digest::Context::new(&digest::SHA256);
    encode(&mut |bytes| context.update(bytes));
    let mut identity = Sha256::default();
    identity.copy_from_slice(context.finish().as_ref());
    identity
}
