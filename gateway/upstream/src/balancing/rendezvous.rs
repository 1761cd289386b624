//! Consistent hashing by the highest random weight: each pair of key and endpoint has a score, and the best
//! one has the key. An endpoint that goes gives up its own keys only; one that comes takes 1/n. There is no
//! table to build when one is ejected, the shares are even, and gateways agree without talking.

/// The endpoints' identities and weights.
pub(crate) struct Rendezvous {
    entries: Vec<(u64, f64)>,
    equal: bool,
}

impl Rendezvous {
    pub(crate) fn new(entries: impl IntoIterator<Item = (u64, u32)>) -> Self {
        let entries: Vec<(u64, f64)> =
            entries.into_iter().map(|(identity, weight)| (identity, f64::from(weight))).collect();
        let equal = entries.windows(2).all(|pair| pair[0].1 == pair[1].1);
        Self { entries, equal }
    }

    pub(crate) fn pick(&self, key: u64) -> usize {
        if self.equal {
            let scores = self.entries.iter().map(|(identity, _)| mix(key ^ identity));
            return scores.enumerate().max_by_key(|(_, score)| *score).map_or(0, |(index, _)| index);
        }
        // The logarithm makes the chance of the best score proportional to the weight.
        let score = |&(identity, weight): &(u64, f64)| -weight / unit(mix(key ^ identity)).ln();
        let scores = self.entries.iter().map(score).enumerate();
        scores.max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(index, _)| index)
    }
}

/// A number for some bytes: FNV-1a and a finisher, the same in every process.
pub fn hash_of(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// The finisher of SplitMix64: every bit of the input moves every bit of the output.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Between 0 and 1, both excluded.
fn unit(x: u64) -> f64 {
    ((x >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u64 = 20_000;

    fn of(names: &[(&str, u32)]) -> Rendezvous {
        Rendezvous::new(names.iter().map(|(name, weight)| (hash_of(name.as_bytes()), *weight)))
    }

    fn keys() -> impl Iterator<Item = u64> {
        (0..KEYS).map(|key| hash_of(format!("user-{key}").as_bytes()))
    }

    #[test]
    fn the_keys_of_an_endpoint_that_goes_move_and_no_others() {
        let names: Vec<String> = (0..10).map(|i| format!("http://10.0.0.{i}:80")).collect();
        let all: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let (before, after) = (of(&all), of(&all[1..]));
        let mut moved = 0;
        for key in keys() {
            match before.pick(key) {
                0 => moved += 1,
                index => assert_eq!(after.pick(key), index - 1),
            }
        }
        let share = moved as f64 / KEYS as f64;
        assert!((0.09..0.11).contains(&share), "{share}");
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let rendezvous = of(&[("a", 1), ("b", 3)]);
        let heavy = keys().filter(|key| rendezvous.pick(*key) == 1).count() as f64 / KEYS as f64;
        assert!((0.73..0.77).contains(&heavy), "{heavy}");
        let even = of(&[("a", 2), ("b", 2)]);
        let half = keys().filter(|key| even.pick(*key) == 1).count() as f64 / KEYS as f64;
        assert!((0.48..0.52).contains(&half), "{half}");
    }

    #[test]
    fn the_same_bytes_are_the_same_number_in_every_process() {
        assert_eq!(hash_of(b"anna"), hash_of(b"anna"));
        assert_eq!(hash_of(b""), 0xf52a_15e9_a9b5_e89b);
    }
}
