//! How long something takes, in time on the wall and in CPU time, and how that grows.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The best of several runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// Time on the wall.
    pub(crate) wall: Duration,
    /// CPU time of this thread.
    pub(crate) cpu: Duration,
}

/// More than a processor's caches hold, in bytes.
const CACHES: usize = 128 << 20;

/// Runs `work` `runs` times; the best of each clock, because whatever else the machine does only ever adds.
///
/// Each run begins with cold caches. That is how an agent finds them, which looks at its host every half minute and lets dozens of commands run in between; and otherwise a small host would
/// be read from the cache, a large one from memory, and the exponent would tell how large the cache is.
pub(crate) fn best_of<T>(runs: u32, mut work: impl FnMut() -> T) -> Took {
    let mut strangers = vec![0_u8; CACHES];
    let mut best = Took {
        wall: Duration::MAX,
        cpu: Duration::MAX,
    };
    for _ in 0..runs {
        let next = strangers[0].wrapping_add(1);
        strangers.fill(next);
        std::hint::black_box(&strangers);
        let (wall, cpu) = (Instant::now(), cpu_time());
        let result = work();
        best.cpu = best.cpu.min(cpu_time() - cpu);
        best.wall = best.wall.min(wall.elapsed());
        drop(std::hint::black_box(result));
    }
    best
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("CPU time is not negative");
    let nanos = u32::try_from(time.tv_nsec).expect("less than a second");
    Duration::new(seconds, nanos)
}

/// The exponent `e` of the power law `time = c × size^e` that fits best, by least squares on logarithms.
pub(crate) fn exponent(points: &[(u32, Duration)]) -> f64 {
    let logs: Vec<(f64, f64)> = points
        .iter()
        .map(|(size, time)| (f64::from(*size).ln(), time.as_secs_f64().ln()))
        .collect();
    let count = logs.len() as f64;
    let mean_x = logs.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = logs.iter().map(|(_, y)| y).sum::<f64>() / count;
    let covariance: f64 = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    covariance / variance
}
