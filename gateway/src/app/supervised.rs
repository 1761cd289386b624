//! Notifications to a service manager, if one started the process (sd_notify(3)): that it serves, reloads and stops, and, for as long as
//! every worker is alive, that there is no need to kill it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use tokio::task::AbortHandle;

/// How often a worker's pulse beats.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// A worker counts its beats here, as long as it gets to run, and says when it has ended in good order.
#[derive(Clone, Default)]
pub(super) struct Pulse(Arc<AtomicU64>);

/// Not to be reached by counting.
const ENDED: u64 = u64::MAX;

impl Pulse {
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// No more beats are to be expected.
    pub(super) fn end(&self) {
        self.0.store(ENDED, Relaxed);
    }

    fn beats(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The line to the service manager. Silent where there is none, and where we are a part of some other process.
#[derive(Clone, Copy)]
pub(super) struct Manager {
    listens: bool,
}

impl Manager {
    pub(super) fn new(listens: bool) -> Self {
        Self { listens }
    }

    pub(super) fn ready(self) {
        self.tell(|| Ok(vec![NotifyState::Ready]));
    }

    /// `ready` follows, whatever comes of it. `Type=notify-reload` wants the time to tell reloads apart.
    pub(super) fn reloading(self) {
        self.tell(|| Ok(vec![NotifyState::Reloading, NotifyState::monotonic_usec_now()?]));
    }

    pub(super) fn stopping(self) {
        self.tell(|| Ok(vec![NotifyState::Stopping]));
    }

    /// Another process is the service from now on.
    pub(super) fn main_process(self, id: u32) {
        self.tell(|| Ok(vec![NotifyState::MainPid(id)]));
    }

    /// Where the manager has a watchdog: strokes it as long as all workers' pulses beat, until the process ends: a drain may last
    /// longer than the watchdog's time. The handle ends it before, when another process becomes the service.
    pub(super) fn watch(self, pulses: Vec<Pulse>) -> Option<AbortHandle> {
        let watchdog_timeout = sd_notify::watchdog_enabled().filter(|_| self.listens)?;
        let mut ward = Ward::new(pulses, watchdog_timeout, Instant::now());
        let task = async move {
            // sd_watchdog_enabled(3) recommends half of the time.
            let mut ticks = tokio::time::interval(watchdog_timeout / 2);
            loop {
                ticks.tick().await;
                match ward.silent(Instant::now()) {
                    None => self.tell(|| Ok(vec![NotifyState::Watchdog])),
                    Some(worker) => tracing::error!(
                        "worker {worker} does not respond: the service manager's watchdog is not notified"
                    ),
                }
            }
        };
        Some(tokio::task::spawn_local(task).abort_handle())
    }

    fn tell<'a>(self, what: impl FnOnce() -> io::Result<Vec<NotifyState<'a>>>) {
        if self.listens
            && let Err(error) = what().and_then(|states| sd_notify::notify(&states))
        {
            tracing::warn!(%error, "cannot notify the service manager");
        }
    }
}

/// Who has when been heard.
struct Ward {
    heard: Vec<(Pulse, u64, Instant)>,
    watchdog_timeout: Duration,
}

impl Ward {
    fn new(pulses: Vec<Pulse>, watchdog_timeout: Duration, now: Instant) -> Self {
        // Where the watchdog's time is shorter than a few beats, a worker is missed later.
        let watchdog_timeout = (watchdog_timeout / 2).max(3 * BEAT);
        Self { heard: pulses.into_iter().map(|pulse| (pulse, 0, now)).collect(), watchdog_timeout }
    }

    /// The first worker that has not been heard for too long.
    fn silent(&mut self, now: Instant) -> Option<usize> {
        for (pulse, beats, heard) in &mut self.heard {
            let present = pulse.beats();
            if present != *beats || present == ENDED {
                (*beats, *heard) = (present, now);
            }
        }
        self.heard.iter().position(|(_, _, heard)| now.saturating_duration_since(*heard) > self.watchdog_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_without_a_pulse_is_found_and_one_that_comes_round_forgiven() {
        let pulses: Vec<Pulse> = (0..2).map(|_| Pulse::default()).collect();
        let began = Instant::now();
        let mut ward = Ward::new(pulses.clone(), Duration::from_secs(30), began);
        let after = |seconds| began + Duration::from_secs(seconds);
        pulses[0].beat();
        assert_eq!(ward.silent(after(14)), None);
        pulses[0].beat();
        assert_eq!(ward.silent(after(16)), Some(1));
        pulses[1].beat();
        assert_eq!(ward.silent(after(17)), None);
        // One that has drained before the other is not missing.
        pulses[1].end();
        for second in 18..60 {
            pulses[0].beat();
            assert_eq!(ward.silent(after(second)), None);
        }
    }

    #[test]
    fn an_impatient_manager_does_not_make_a_worker_dead_that_beats_once_a_second() {
        let pulse = Pulse::default();
        let began = Instant::now();
        let mut ward = Ward::new(vec![pulse], Duration::from_millis(100), began);
        assert_eq!(ward.silent(began + 2 * BEAT), None);
        assert_eq!(ward.silent(began + 4 * BEAT), Some(0));
    }
}
