//! Numbers with a unit as configurations write them: the one grammar of durations and sizes.
//!
//! The gateway uses this module, and the SDK compiles the file as a part of itself (`plugin-sdk/src/span.rs`), so that plugins need
//! no further crate. It therefore uses the standard library only.

use std::fmt;

/// Durations in milliseconds. The largest unit comes first, so that the first that divides is the shortest way to write a value.
pub const DURATIONS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads digits and a unit, without a sign, a space or a fraction. What is more than 64 bits hold becomes the largest number.
pub fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    if digits.is_empty() {
        return None;
    }
    Some(digits.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor))
}

/// Writes a value in the shortest way. `zero` is how nothing is written.
///
/// # Errors
///
/// Those of the formatter.
pub fn write(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)], zero: &str) -> fmt::Result {
    match units.iter().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => f.write_str(zero),
    }
}
