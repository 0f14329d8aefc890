//! Signals, on a thread instead of in a handler.
//!
//! SIGTERM and SIGINT ask the gateway to stop; a second one of either stops it at once. SIGHUP asks
//! it to open its files anew and to read its configuration again. SIGPIPE is ignored by Rust's
//! runtime. Called by `app` at the start.

use std::io;
use std::thread::{Builder, JoinHandle};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::signal_name;

/// What the signals so far mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// The first: stop in good order. Holds the signal's name, such as `SIGTERM`.
    Stop(&'static str),
    /// Another one: stop at once.
    StopNow,
    /// SIGHUP, while the gateway runs: open files anew.
    Reload,
}

/// Watches until it is dropped or [`SignalWatch::close`]d.
#[derive(Debug)]
pub struct SignalWatch {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// Starts the thread, `signals`, which calls the function for each signal that means something.
pub fn watch(mut on_stop: impl FnMut(StopSignal) + Send + 'static) -> io::Result<SignalWatch> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let handle = signals.handle();
    let mut policy = StopPolicy::default();
    let thread = Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in &mut signals {
            if let Some(meaning) = policy.receive(signal) {
                on_stop(meaning);
            }
        }
    })?;
    Ok(SignalWatch { handle, thread: Some(thread) })
}

impl SignalWatch {
    /// Ends the thread and waits for it. Not from within its function.
    pub fn close(mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the signal thread panicked");
        }
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// Turns signals into what they mean.
#[derive(Debug, Default)]
struct StopPolicy {
    is_stopping: bool,
}

impl StopPolicy {
    fn receive(&mut self, signal: i32) -> Option<StopSignal> {
        if signal == SIGHUP {
            return (!self.is_stopping).then_some(StopSignal::Reload);
        }
        if self.is_stopping {
            return Some(StopSignal::StopNow);
        }
        self.is_stopping = true;
        Some(StopSignal::Stop(signal_name(signal).unwrap_or("a signal")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::bounded;
    use signal_hook::low_level::raise;

    use super::*;

    #[test]
    fn second_signal_of_either_kind_stops_at_once() {
        let mut policy = StopPolicy::default();
        assert_eq!(policy.receive(SIGHUP), Some(StopSignal::Reload));
        assert_eq!(policy.receive(SIGINT), Some(StopSignal::Stop("SIGINT")));
        assert_eq!(policy.receive(SIGHUP), None);
        assert_eq!(policy.receive(SIGTERM), Some(StopSignal::StopNow));
        assert_eq!(policy.receive(SIGTERM), Some(StopSignal::StopNow));
    }

    #[test]
    fn signals_reach_the_function() {
        let (sender, stops) = bounded(4);
        let watch = watch(move |stop| sender.send(stop).unwrap()).unwrap();
        let next = || stops.recv_timeout(Duration::from_secs(20)).unwrap();
        raise(SIGHUP).unwrap();
        assert_eq!(next(), StopSignal::Reload);
        raise(SIGTERM).unwrap();
        assert_eq!(next(), StopSignal::Stop("SIGTERM"));
        raise(SIGINT).unwrap();
        assert_eq!(next(), StopSignal::StopNow);
        watch.close();
        assert!(stops.recv().is_err(), "the thread is gone, and its function with it");
    }
}
