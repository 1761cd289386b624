//! From rounds to a table.

use serde_json::json;

use super::load::Seen;

/// One run of the load against one proxy.
pub struct Round {
    pub cpu_micros: u64,
    pub load: Seen,
}

/// One proxy in one scenario.
pub struct Row {
    scenario: &'static str,
    proxy: &'static str,
    rounds: Vec<Round>,
}

impl Round {
    fn cpu_per_request(&self) -> f64 {
        self.cpu_micros as f64 / self.load.requests as f64
    }

    fn requests_per_second(&self) -> f64 {
        self.load.requests as f64 / self.load.seconds
    }

    /// Share of its CPU that the proxy used: under 100 %, something else was the limit.
    fn busy(&self) -> f64 {
        self.cpu_micros as f64 / 1e4 / self.load.seconds
    }
}

impl Row {
    pub fn new(scenario: &'static str, proxy: &'static str, rounds: Vec<Round>) -> Self {
        Self { scenario, proxy, rounds }
    }

    fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }

    /// The median of the ratios round by round: what disturbs a round disturbs both of its turns.
    fn ratio(&self, reference: &Self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().zip(&reference.rounds).map(|(own, other)| figure(own) / figure(other)).collect())
    }

    /// Neighbours on the CPU only ever add, so on a busy machine the lowest figure is the steadiest.
    fn lowest_cpu(&self) -> f64 {
        self.rounds.iter().map(Round::cpu_per_request).fold(f64::INFINITY, f64::min)
    }

    fn errors(&self) -> u64 {
        self.rounds.iter().map(|round| round.load.errors).sum()
    }
}

/// Rows come in pairs: nginx, then what is compared with it.
pub fn markdown(rows: &[Row]) -> String {
    let mut table = String::from(
        "| scenario | proxy | CPU µs/request | ÷ nginx | lowest ÷ nginx | requests/s | ÷ nginx | p50 ms | p99 ms | CPU busy | errors |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for pair in rows.chunks(2) {
        for row in pair {
            table += &format!(
                "| {} | {} | {:.1} | {:.2} | {:.2} | {:.0} | {:.2} | {:.2} | {:.2} | {:.0} % | {} |\n",
                row.scenario,
                row.proxy,
                row.median(Round::cpu_per_request),
                row.ratio(&pair[0], Round::cpu_per_request),
                row.lowest_cpu() / pair[0].lowest_cpu(),
                row.median(Round::requests_per_second),
                row.ratio(&pair[0], Round::requests_per_second),
                row.median(|round| round.load.p50_micros) / 1e3,
                row.median(|round| round.load.p99_micros) / 1e3,
                row.median(Round::busy),
                row.errors(),
            );
        }
    }
    table
}

/// Every round, for whoever wants to look closer.
pub fn json(rows: &[Row]) -> String {
    let round = |round: &Round| {
        json!({
            "cpu-us-per-request": round.cpu_per_request(),
            "requests": round.load.requests,
            "seconds": round.load.seconds,
            "p50-us": round.load.p50_micros,
            "p99-us": round.load.p99_micros,
            "errors": round.load.errors,
        })
    };
    let row = |row: &Row| {
        let rounds: Vec<_> = row.rounds.iter().map(round).collect();
        json!({ "scenario": row.scenario, "proxy": row.proxy, "rounds": rounds })
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    format!("{:#}\n", json!(rows))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => figures[middle],
        _ => (figures[middle - 1] + figures[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(proxy: &'static str, cpu: &[u64]) -> Row {
        let load = Seen { requests: 100, seconds: 1.0, p50_micros: 1000.0, p99_micros: 2000.0, errors: 0 };
        let rounds = cpu.iter().map(|&cpu_micros| Round { cpu_micros, load: load.clone() }).collect();
        Row::new("plain", proxy, rounds)
    }

    #[test]
    fn a_ratio_compares_rounds_that_were_neighbours() {
        let table = markdown(&[row("nginx", &[1000, 2000, 4000]), row("gateway", &[2000, 4000, 8000])]);
        let last = table.lines().last().expect("a table has rows");
        assert_eq!(last, "| plain | gateway | 40.0 | 2.00 | 2.00 | 100 | 1.00 | 1.00 | 2.00 | 0 % | 0 |");
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(vec![3.0, 1.0]), 2.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
