//! Which endpoint is next, among those that are healthy, for one worker.

use std::cell::RefCell;

use gateway_core::model::Balance;

use super::rendezvous::Rendezvous;

/// Positions among the endpoints that it was made for.
pub(crate) enum Balancer {
    /// There is nothing to choose.
    Only,
    RoundRobin(RoundRobin),
    LeastRequest(WeightedRandom),
    Random(WeightedRandom),
    Hash(Rendezvous, WeightedRandom),
}

/// What a balancer has to know of an endpoint.
pub(crate) struct Candidate {
    /// At least 1.
    pub(crate) weight: u32,
    /// The same for the same endpoint in all gateways.
    pub(crate) identity: u64,
}

impl Balancer {
    pub(crate) fn new(balance: &Balance, candidates: &[Candidate]) -> Self {
        if candidates.len() < 2 {
            return Self::Only;
        }
        let weighted_random = || WeightedRandom::new(candidates.iter().map(|candidate| candidate.weight));
        match balance {
            Balance::RoundRobin => {
                let robin = RoundRobin::new(candidates.iter().map(|candidate| candidate.weight));
                // Workers that all began with the first one would be in step.
                for _ in 0..fastrand::usize(..candidates.len()) {
                    robin.next();
                }
                Self::RoundRobin(robin)
            }
            Balance::LeastRequest => Self::LeastRequest(weighted_random()),
            Balance::Random => Self::Random(weighted_random()),
            Balance::Hash(_) => {
                let entries = candidates.iter().map(|candidate| (candidate.identity, candidate.weight));
                Self::Hash(Rendezvous::new(entries), weighted_random())
            }
        }
    }

    /// `load` tells the requests under way at a position. There is at least one candidate.
    pub(crate) fn pick(&self, key: Option<u64>, load: impl Fn(usize) -> u32) -> usize {
        match self {
            Self::Only => 0,
            Self::RoundRobin(robin) => robin.next(),
            Self::LeastRequest(weighted_random) => weighted_random.less_loaded(load),
            Self::Random(weighted_random) => weighted_random.draw(),
            Self::Hash(rendezvous, weighted_random) => {
                key.map_or_else(|| weighted_random.draw(), |key| rendezvous.pick(key))
            }
        }
    }
}

/// Smooth weighted round-robin, which spreads the heavier endpoints' turns evenly instead of giving them in a row.
pub(crate) struct RoundRobin {
    weights: Vec<i64>,
    credit: RefCell<Vec<i64>>,
    total: i64,
}

impl RoundRobin {
    fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let weights: Vec<i64> = weights.into_iter().map(i64::from).collect();
        let total = weights.iter().sum();
        Self { credit: RefCell::new(vec![0; weights.len()]), weights, total }
    }

    fn next(&self) -> usize {
        let mut credit = self.credit.borrow_mut();
        let mut best = 0;
        for index in 0..credit.len() {
            credit[index] += self.weights[index];
            if credit[index] > credit[best] {
                best = index;
            }
        }
        credit[best] -= self.total;
        best
    }
}

/// Weighted random choice.
pub(crate) struct WeightedRandom {
    /// The sum of the weights up to each position.
    sums: Vec<u32>,
    equal: bool,
}

impl WeightedRandom {
    fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let weights: Vec<u32> = weights.into_iter().collect();
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let add = |sum: &mut u32, weight: u32| {
            *sum = sum.saturating_add(weight);
            Some(*sum)
        };
        Self { sums: weights.into_iter().scan(0, add).collect(), equal }
    }

    fn weight(&self, index: usize) -> u64 {
        let before = if index == 0 { 0 } else { self.sums[index - 1] };
        u64::from(self.sums[index] - before)
    }

    fn draw(&self) -> usize {
        if self.equal {
            return fastrand::usize(..self.sums.len());
        }
        let lot = fastrand::u32(..self.sums.last().copied().unwrap_or(1));
        self.sums.partition_point(|&sum| sum <= lot)
    }

    /// The power of two choices: as good as looking at all of them, and workers that know only their own requests
    /// do not all run to the same endpoint.
    fn less_loaded(&self, load: impl Fn(usize) -> u32) -> usize {
        let first = self.draw();
        let second = if self.equal {
            (first + 1 + fastrand::usize(..self.sums.len() - 1)) % self.sums.len()
        } else {
            self.draw()
        };
        let (of_first, of_second) = (u64::from(load(first)), u64::from(load(second)));
        if of_second * self.weight(first) < of_first * self.weight(second) { second } else { first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[u32], n: usize) -> Vec<usize> {
        let robin = RoundRobin::new(weights.iter().copied());
        (0..n).map(|_| robin.next()).collect()
    }

    #[test]
    fn equal_endpoints_take_turns() {
        assert_eq!(turns(&[1, 1, 1], 6), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_heavier_endpoint_gets_its_share_spread_out() {
        assert_eq!(turns(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    fn share(n: usize, mut pick: impl FnMut() -> usize) -> Vec<usize> {
        let mut counts = vec![0; n];
        (0..10_000).for_each(|_| counts[pick()] += 1);
        counts
    }

    #[test]
    fn lots_fall_by_weight() {
        fastrand::seed(7);
        let weighted_random = WeightedRandom::new([1, 3]);
        let counts = share(2, || weighted_random.draw());
        assert!((7_200..7_800).contains(&counts[1]), "{counts:?}");
        let counts = share(4, || WeightedRandom::new([2; 4]).draw());
        assert!(counts.iter().all(|count| (2_200..2_800).contains(count)), "{counts:?}");
    }

    #[test]
    fn of_two_choices_the_less_loaded_is_taken() {
        fastrand::seed(7);
        let weighted_random = WeightedRandom::new([1, 1]);
        assert_eq!(share(2, || weighted_random.less_loaded(|index| [5, 4][index])), [0, 10_000]);
        // Twice the weight, twice the load: equally good.
        let weighted_random = WeightedRandom::new([1, 2]);
        let counts = share(2, || weighted_random.less_loaded(|index| [5, 10][index]));
        assert!((6_300..7_000).contains(&counts[1]), "{counts:?}");
    }

    #[test]
    fn a_single_endpoint_is_always_next() {
        let only = [Candidate { weight: 3, identity: 1 }];
        for balance in [Balance::RoundRobin, Balance::LeastRequest, Balance::Random] {
            assert_eq!(Balancer::new(&balance, &only).pick(None, |_| 0), 0);
        }
    }
}
