//! Where a WebSocket's frames begin and end (RFC 6455 §5.2), and no more: their contents are not looked at.

/// Follows the frames that go one way.
#[derive(Default)]
pub(super) struct Frames {
    head: [u8; 14],
    /// Octets of a head so far; none between frames and within a payload.
    have: usize,
    /// Octets of the payload to come.
    left: u64,
}

/// A server's frame that closes, with the status 1001: it is going away (RFC 6455 §7.4.1).
pub(super) const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

impl Frames {
    /// Whether a frame could be put in here.
    pub(super) fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Follows the bytes to the end of the frame, or to their own. Returns how many belong to it.
    pub(super) fn advance(&mut self, octets: &[u8]) -> usize {
        let mut used = 0;
        if self.left == 0 {
            for &octet in octets {
                self.head[self.have] = octet;
                self.have += 1;
                used += 1;
                if self.have == self.head_length() {
                    self.left = self.payload_length();
                    self.have = 0;
                    break;
                }
            }
        }
        if self.have > 0 {
            return used;
        }
        let payload = usize::try_from(self.left).unwrap_or(usize::MAX).min(octets.len() - used);
        self.left -= payload as u64;
        used + payload
    }

    /// Follows all bytes, over any number of frames.
    pub(super) fn pass(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            octets = &octets[self.advance(octets)..];
        }
    }

    /// As far as it is known: two bytes, a length, a mask.
    fn head_length(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 != 0 { 4 } else { 0 };
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + mask
    }

    fn payload_length(&self) -> u64 {
        let [_, second, rest @ ..] = &self.head;
        match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([rest[0], rest[1]])),
            127 => rest[..8].iter().fold(0, |length, octet| length << 8 | u64::from(*octet)),
            length => u64::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(masked: bool, payload: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match payload {
            0..126 => frame.push(mask | payload as u8),
            126..65_536 => {
                frame.push(mask | 126);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([7; 4]);
        }
        frame.extend(vec![0x88; payload]);
        frame
    }

    #[test]
    fn frames_of_every_size_end_where_they_end() {
        for payload in [0, 1, 125, 126, 65_535, 65_536] {
            for masked in [false, true] {
                let one = frame(masked, payload);
                let mut frames = Frames::default();
                let more = [&one[..], &GOING_AWAY].concat();
                assert_eq!(frames.advance(&more), one.len(), "{payload}");
                assert!(frames.is_between());
                for end in 1..one.len().min(20) {
                    let mut frames = Frames::default();
                    frames.pass(&one[..end]);
                    assert!(!frames.is_between(), "{payload} cut at {end}");
                    frames.pass(&one[end..]);
                    assert!(frames.is_between());
                }
            }
        }
    }

    #[test]
    fn many_frames_are_followed_octet_by_octet() {
        let all = [frame(false, 3), frame(false, 0), frame(true, 200), GOING_AWAY.to_vec()].concat();
        let mut frames = Frames::default();
        let between = all.iter().filter(|octet| {
            frames.pass(&[**octet]);
            frames.is_between()
        });
        assert_eq!(between.count(), 4);
    }
}
