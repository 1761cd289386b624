//! Numbers as decimal digits. `write!` would do it too, in ten times as many steps, for each of the numbers of
//! each line.

/// Without leading zeros.
pub fn number(value: u64, out: &mut Vec<u8>) {
    padded(value, 1, out);
}

/// With leading zeros up to a width.
pub fn padded(mut value: u64, width: usize, out: &mut Vec<u8>) {
    // Of the largest number.
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while value > 0 {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[start.min(digits.len() - width.min(digits.len()))..]);
}

#[cfg(test)]
mod tests {
    use super::{number, padded};

    #[test]
    fn numbers_are_written_as_format_would() {
        for value in [0, 1, 9, 10, 99, 100, 1234, u64::from(u32::MAX) + 1, u64::MAX] {
            let mut out = Vec::new();
            number(value, &mut out);
            out.push(b' ');
            padded(value, 4, &mut out);
            assert_eq!(String::from_utf8(out).expect("digits"), format!("{value} {value:04}"));
        }
    }
}
