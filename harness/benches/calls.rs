//! `make speed`: calls a second through the SDK to the simulated EC2 in process, on one core, and the share of its best run.

use goldsmith_harness::speed::calls_per_second;

const RUNS: usize = 5;
const CALLS: u32 = 2000;

fn main() -> Result<(), String> {
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(calls_per_second(CALLS)?);
    }
    runs.sort_by(f64::total_cmp);
    let best = runs.last().copied().unwrap_or_default();
    for run in &runs {
        println!("{run:>8.0} calls a second, {:>3.0}% of the best", 100.0 * run / best);
    }
    Ok(())
}
