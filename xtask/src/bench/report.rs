//! From rounds to a table.

use serde_json::json;

use super::{
    load::Seen,
    scenarios::{Scenario, Target},
};

/// One run of the load against one proxy.
pub struct Round {
    pub cpu_micros: u64,
    pub load: Seen,
}

/// One scenario: nginx, then what is compared with it, the gateway last.
pub struct Group {
    pub scenario: &'static Scenario,
    pub rows: Vec<Row>,
}

/// One proxy in one scenario.
pub struct Row {
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
    pub fn new(proxy: &'static str, rounds: Vec<Round>) -> Self {
        Self { proxy, rounds }
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

impl Group {
    fn gateway_ratio(&self) -> Option<f64> {
        let (nginx, gateway) = (self.rows.first()?, self.rows.last()?);
        Some(gateway.ratio(nginx, Round::cpu_per_request))
    }
}

/// The highest ratio that is good enough; `None` without a target, or when `plain` is needed and was not measured.
fn target(group: &Group, groups: &[Group]) -> Option<f64> {
    match group.scenario.target {
        Target::Ratio(ratio) => Some(ratio),
        Target::AbovePlain(more) => {
            let plain = groups.iter().find(|group| group.scenario.key == "plain")?;
            Some(plain.gateway_ratio()? + more)
        }
        Target::None => None,
    }
}

pub fn markdown(groups: &[Group]) -> String {
    let mut table = String::from(
        "| scenario | proxy | CPU µs/request | ÷ nginx | target | lowest ÷ nginx | requests/s | ÷ nginx | p50 ms | p99 ms | CPU busy | errors |\n\
         |---|---|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for group in groups {
        for (index, row) in group.rows.iter().enumerate() {
            let nginx = &group.rows[0];
            let ratio = row.ratio(nginx, Round::cpu_per_request);
            let is_gateway = index + 1 == group.rows.len();
            let target = target(group, groups).filter(|_| is_gateway).map_or(String::new(), |target| {
                let is_met = ratio <= target && row.errors() == 0;
                format!("{target:.2} {}", if is_met { "pass" } else { "miss" })
            });
            table += &format!(
                "| {} | {} | {:.1} | {ratio:.2} | {target} | {:.2} | {:.0} | {:.2} | {:.2} | {:.2} | {:.0} % | {} |\n",
                group.scenario.name,
                row.proxy,
                row.median(Round::cpu_per_request),
                row.lowest_cpu() / nginx.lowest_cpu(),
                row.median(Round::requests_per_second),
                row.ratio(nginx, Round::requests_per_second),
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
pub fn json(groups: &[Group]) -> String {
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
    let mut rows = Vec::new();
    for group in groups {
        for row in &group.rows {
            let rounds: Vec<_> = row.rounds.iter().map(round).collect();
            let target = target(group, groups);
            let scenario = group.scenario.name;
            rows.push(json!({ "scenario": scenario, "proxy": row.proxy, "target": target, "rounds": rounds }));
        }
    }
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
    use super::{super::scenarios::SCENARIOS, *};

    fn row(proxy: &'static str, cpu: &[u64]) -> Row {
        let load = Seen { requests: 100, seconds: 1.0, p50_micros: 1000.0, p99_micros: 2000.0, errors: 0 };
        let rounds = cpu.iter().map(|&cpu_micros| Round { cpu_micros, load: load.clone() }).collect();
        Row::new(proxy, rounds)
    }

    fn group(key: &str, nginx: &[u64], gateway: &[u64]) -> Group {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.key == key).expect("a scenario has this key");
        Group { scenario, rows: vec![row("nginx", nginx), row("gateway", gateway)] }
    }

    #[test]
    fn a_ratio_compares_rounds_that_were_neighbours() {
        let table = markdown(&[group("plain", &[1000, 2000, 4000], &[2000, 4000, 8000])]);
        let last = table.lines().last().expect("a table has rows");
        let expected =
            "| plain proxy | gateway | 40.0 | 2.00 | 1.05 miss | 2.00 | 100 | 1.00 | 1.00 | 2.00 | 0 % | 0 |";
        assert_eq!(last, expected);
    }

    #[test]
    fn what_a_plugin_may_add_is_counted_from_the_plain_scenario() {
        let (plain, plugin) = (group("plain", &[1000], &[2000]), group("one-plugin", &[1000], &[2050]));
        assert_eq!(target(&plugin, &[]), None);
        let table = markdown(&[plain, plugin]);
        let last = table.lines().last().expect("a table has rows");
        assert!(last.contains("| 2.05 | 2.10 pass |"), "{last}");
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(vec![3.0, 1.0]), 2.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
