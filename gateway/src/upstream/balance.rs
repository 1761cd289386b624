//! Which endpoint is next: smooth weighted round-robin, which spreads the heavier endpoints' turns evenly
//! instead of giving them in a row.

use std::cell::RefCell;

/// Turns among a fixed number of endpoints, for one worker.
pub struct RoundRobin {
    weights: Vec<i64>,
    credit: RefCell<Vec<i64>>,
    total: i64,
}

impl RoundRobin {
    /// Weights are at least 1.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let weights: Vec<i64> = weights.into_iter().map(i64::from).collect();
        let total = weights.iter().sum();
        Self { credit: RefCell::new(vec![0; weights.len()]), weights, total }
    }

    /// The index of the endpoint whose turn it is; 0 where there is only one.
    pub fn next(&self) -> usize {
        if self.weights.len() < 2 {
            return 0;
        }
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

    #[test]
    fn one_endpoint_is_always_next() {
        assert_eq!(turns(&[3], 3), [0, 0, 0]);
    }
}
