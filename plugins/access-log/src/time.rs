//! Points in time as text, in UTC.

use crate::digits::padded;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `2026-01-31T23:59:59.999Z` (RFC 3339), from milliseconds since the Unix epoch.
pub fn rfc3339(epoch_ms: u64, out: &mut Vec<u8>) {
    let Civil { year, month, day, hour, minute, second } = Civil::new(epoch_ms / 1000);
    let millis = epoch_ms % 1000;
    for (value, width, after) in
        [(year, 4, b'-'), (month, 2, b'-'), (day, 2, b'T'), (hour, 2, b':'), (minute, 2, b':'), (second, 2, b'.')]
    {
        padded(value, width, out);
        out.push(after);
    }
    padded(millis, 3, out);
    out.push(b'Z');
}

/// `31/Jan/2026:23:59:59 +0000`, as in Common Log Format.
pub fn common(epoch_ms: u64, out: &mut Vec<u8>) {
    let Civil { year, month, day, hour, minute, second } = Civil::new(epoch_ms / 1000);
    let month = usize::try_from(month).ok().and_then(|month| MONTHS.get(month - 1)).unwrap_or(&"Jan");
    padded(day, 2, out);
    out.push(b'/');
    out.extend_from_slice(month.as_bytes());
    for (before, value, width) in [(b'/', year, 4), (b':', hour, 2), (b':', minute, 2), (b':', second, 2)] {
        out.push(before);
        padded(value, width, out);
    }
    out.extend_from_slice(b" +0000");
}

/// Date and time of day in the proleptic Gregorian calendar.
#[derive(Debug, PartialEq)]
struct Civil {
    year: u64,
    /// 1 to 12.
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Civil {
    /// Counts years from March, so that the leap day is a year's last (H. Hinnant, `civil_from_days`).
    fn new(epoch_seconds: u64) -> Self {
        let (days, second) = (epoch_seconds / 86_400, epoch_seconds % 86_400);
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{common, rfc3339};

    fn text(write: fn(u64, &mut Vec<u8>), epoch_ms: u64) -> String {
        let mut out = Vec::new();
        write(epoch_ms, &mut out);
        String::from_utf8(out).expect("times are ASCII")
    }

    #[test]
    fn the_epoch_leap_days_and_the_ends_of_years_and_centuries_are_right() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000Z"),
            (1_767_225_600, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(text(rfc3339, seconds * 1000), expected);
        }
        assert_eq!(text(rfc3339, 1_767_225_600_007), "2026-01-01T00:00:00.007Z");
        assert_eq!(text(common, 971_186_136_000), "10/Oct/2000:13:55:36 +0000");
    }
}
