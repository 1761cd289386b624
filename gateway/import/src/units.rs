//! Durations and sizes of other formats, in the gateway's notation.

use std::fmt;

use gateway_rules::units;

/// Milliseconds as `250ms`, `5s`, `2m`.
pub(crate) fn milliseconds(number: u64) -> String {
    fmt::from_fn(|f| units::write(f, number, &units::DURATIONS, "0s")).to_string()
}

/// A time of nginx, such as `60`, `60s`, `500ms`, `5m`, `1h 30m` in one word, in milliseconds.
pub(crate) fn nginx_time(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let factor = match &rest[..unit] {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        rest = &rest[unit..];
        total = total.checked_add(number.checked_mul(factor)?)?;
    }
    Some(total)
}

/// A size of nginx, such as `10m`, as `10MiB`.
pub(crate) fn nginx_size(text: &str) -> Option<String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    Some(match &text[digits..] {
        "" => number.to_string(),
        "k" | "K" => format!("{number}KiB"),
        "m" | "M" => format!("{number}MiB"),
        "g" | "G" => format!("{number}GiB"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_of_nginx_are_read() {
        assert_eq!(nginx_time("60").map(milliseconds).as_deref(), Some("1m"));
        assert_eq!(nginx_time("1m30s").map(milliseconds).as_deref(), Some("90s"));
        assert_eq!(nginx_time("250ms").map(milliseconds).as_deref(), Some("250ms"));
        assert_eq!((nginx_time("soon"), nginx_time("99999999999999999999d")), (None, None));
        assert_eq!(nginx_size("10m").as_deref(), Some("10MiB"));
        assert_eq!((nginx_size("512").as_deref(), nginx_size("1t")), (Some("512"), None));
    }
}
