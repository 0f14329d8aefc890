//! What each number is called on the page, and the page as text.
//!
//! Reads atomics and a few short locks of the shell; never the hub. `prometheus-client` writes the
//! text; it writes the OpenMetrics format, in which the type of a counter is declared for its name
//! without `_total`, so the lines that declare it are put into the older format here, which
//! every scraper and `promtool check metrics` read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry as Exposed;

use super::HubNumbers;
use super::instruments::{Counters, Histogram};
use super::process::ProcessNumbers;
use crate::hub::gauges::Outcome;
use crate::protocol::cron::RunStatus;
use crate::protocol::methods;
use crate::shell::dialogue::Shared;
use crate::shell::registry::Registry;

/// Where the page's numbers come from.
#[derive(Debug)]
pub struct Sources {
    /// What the gateway's connections share: its counts, the way to the hub, its readiness.
    pub shared: Arc<Shared>,
    /// The live connections.
    pub registry: Arc<Registry>,
}

/// The page as it is now, in Prometheus' text format.
pub(super) fn page(sources: &Arc<Sources>) -> Result<String, fmt::Error> {
    let mut all = Exposed::default();
    all.register_collector(Box::new(OfProcess {
        started_unix_ms: sources.shared.metrics.started_unix_ms,
    }));
    let of_gateway = Box::new(OfGateway(Arc::clone(sources)));
    all.sub_registry_with_prefix("openclaw_gateway").register_collector(of_gateway);
    let mut open_metrics = String::new();
    text::encode(&mut open_metrics, &all)?;
    Ok(to_text_format(&open_metrics))
}

/// Declares counters under the name that their samples have; leaves out the end mark.
fn to_text_format(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len() + 1024);
    let mut help: Option<&str> = None;
    let mut push = |line: &str| {
        out.push_str(line);
        out.push('\n');
    };
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = Some(rest);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            let text = help.take().and_then(|help| help.split_once(' '));
            if let Some((_, text)) = text {
                push(&format!("# HELP {name}{suffix} {text}"));
            }
            push(&format!("# TYPE {name}{suffix} {kind}"));
        } else if !line.starts_with('#') {
            push(line);
        }
    }
    out
}

/// Writes families one after the other.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn family(
        &mut self,
        kind: MetricType,
        name: &str,
        help: &str,
        samples: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        samples(&mut self.0.encode_descriptor(name, help, None, kind)?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(MetricType::Counter, name, help, |family| counter(family, value))
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, of: &Counters) -> fmt::Result {
        self.family(MetricType::Counter, name, help, |family| {
            of.get().try_for_each(|(value, count)| {
                counter(&mut family.encode_family(&[(label, value)])?, count)
            })
        })
    }

    fn outcomes<K: Outcome>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        mut of: impl Iterator<Item = (K, u64)>,
    ) -> fmt::Result {
        self.family(MetricType::Counter, name, help, |family| {
            of.try_for_each(|(outcome, count)| {
                counter(&mut family.encode_family(&[(label, outcome.name())])?, count)
            })
        })
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(MetricType::Gauge, name, help, |family| family.encode_gauge(&value))
    }

    fn gauge_if_known(&mut self, name: &str, help: &str, value: Option<u64>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.gauge(name, help, value))
    }

    /// One value for each value of a label.
    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, u64)],
    ) -> fmt::Result {
        self.family(MetricType::Gauge, name, help, |family| {
            values.iter().try_for_each(|(value, number)| {
                family.encode_family(&[(label, *value)])?.encode_gauge(number)
            })
        })
    }

    fn histogram(&mut self, name: &str, help: &str, of: &Histogram) -> fmt::Result {
        self.family(MetricType::Histogram, name, help, |family| histogram(family, of))
    }
}

fn counter(into: &mut MetricEncoder<'_>, value: u64) -> fmt::Result {
    into.encode_counter::<NoLabelSet, u64, u64>(&value, None)
}

fn histogram(into: &mut MetricEncoder<'_>, of: &Histogram) -> fmt::Result {
    let now = of.snapshot();
    into.encode_histogram::<NoLabelSet>(now.sum, now.count, &now.buckets, None)
}

/// `openclaw_gateway_…`
#[derive(Debug)]
struct OfGateway(Arc<Sources>);

impl Collector for OfGateway {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Families(encoder);
        self.connections(&mut page)?;
        self.traffic(&mut page)?;
        self.requests(&mut page)?;
        self.inside(&mut page)?;
        self.kept(&mut page, &self.0.shared.metrics.hub)?;
        work(&mut page, &self.0.shared.metrics.hub)
    }
}

impl OfGateway {
    fn connections(&self, page: &mut Families<'_>) -> fmt::Result {
        let Sources { shared, registry } = &*self.0;
        let metrics = &shared.metrics;
        let hub = &metrics.hub;
        page.gauge(
            "connections_total",
            "Active WebSocket connections",
            metrics.websockets.load(Ordering::Relaxed),
        )?;
        page.gauges(
            "connections",
            "Admitted connections by role",
            "role",
            &[
                ("agent", hub.agents.load(Ordering::Relaxed)),
                ("operator", hub.operators.load(Ordering::Relaxed)),
            ],
        )?;
        page.gauge(
            "connections_unauthenticated",
            "Connections at the port that have not proven anything yet",
            shared.bounds.admission().preauth_connections() as u64,
        )?;
        page.counter("connections_accepted", "Accepted connections", registry.accepted())?;
        let help = "Connections that ended, by reason";
        page.counters("connections_closed", help, "reason", &metrics.closed)?;
        let help = "Connections that there was no room for, by limit";
        page.counters("connections_turned_away", help, "limit", &metrics.turned_away)?;
        let help = "Failed authentications";
        page.counter("auth_failures", help, metrics.auth_failures.get())?;
        let help = "Refused connects, by code";
        page.counters("connects_refused", help, "code", &metrics.connects_refused)?;
        let help = "From the accepted connection to its admission";
        page.histogram("handshake_duration_seconds", help, &metrics.handshakes)?;
        let help = "Round trips of the gateway's pings";
        page.histogram("ping_rtt_seconds", help, &metrics.round_trips)
    }

    fn traffic(&self, page: &mut Families<'_>) -> fmt::Result {
        let Sources { shared, registry, .. } = &*self.0;
        let metrics = &shared.metrics;
        page.counter("messages_sent", "Messages sent to clients", metrics.messages_sent.get())?;
        let help = "Messages from clients";
        page.counter("messages_received", help, metrics.messages_received.get())?;
        let help = "Stream events that slow clients missed";
        page.counter("events_dropped", help, metrics.events_dropped.get())?;
        let help = "Bytes that wait for clients to read them";
        page.gauge("outbox_bytes", help, registry.queued_bytes() as u64)?;
        let help = "Bytes of unfinished messages and of large requests that wait for the hub";
        page.gauge("inbound_bytes", help, shared.bounds.inbound().used() as u64)
    }

    fn requests(&self, page: &mut Families<'_>) -> fmt::Result {
        let metrics = &self.0.shared.metrics;
        page.counter("spawn_requests", "Agent spawn requests", metrics.spawn_requests.get())?;
        let help = "Requests answered with an error, by code";
        page.counters("request_errors", help, "code", &metrics.request_errors)?;
        let name = "request_duration_seconds";
        let help = "From a request's arrival to its answer, by method";
        page.family(MetricType::Histogram, name, help, |family| {
            let called = methods::names().zip(&metrics.requests);
            // A method that nobody called would be sixteen lines of zeros.
            called.filter(|(_, seen)| !seen.is_empty()).try_for_each(|(method, seen)| {
                histogram(&mut family.encode_family(&[("method", method)])?, seen)
            })
        })
    }

    fn inside(&self, page: &mut Families<'_>) -> fmt::Result {
        let Shared { metrics, inbox, readiness, refusals, .. } = &*self.0.shared;
        let is_ready = readiness.not_ready().is_none();
        page.gauge("ready", "1 while the gateway is ready", u64::from(is_ready))?;
        let help = "Inputs that wait for the hub";
        page.gauge("hub_inbox_depth", help, inbox.len() as u64)?;
        page.counter("hub_inputs", "Inputs that the hub has handled", readiness.progress())?;
        let help = "How long the hub worked at a time";
        page.histogram("hub_turn_seconds", help, &metrics.hub_turns)?;
        let help = "How long commits took";
        page.histogram("store_commit_seconds", help, &metrics.commits)?;
        let help = "Changes in a commit";
        page.histogram("store_commit_changes", help, &metrics.commit_changes)?;
        let help = "Commits that failed";
        page.counter("store_commits_failed", help, metrics.commits_failed.get())?;
        let help = "Audit lines that could not be written";
        page.counter("audit_lines_lost", help, refusals.audit().lines_lost())
    }

    fn kept(&self, page: &mut Families<'_>, hub: &HubNumbers) -> fmt::Result {
        let families = [
            ("sessions", "Sessions that are kept", &hub.sessions),
            ("journal_entries", "Log entries that are kept", &hub.journal_entries),
            ("journal_bytes", "Bytes of the log entries that are kept", &hub.journal_bytes),
            ("devices", "Devices that are known, revoked ones included", &hub.devices),
            ("pairings_pending", "Devices that wait for approval", &hub.pairings),
        ];
        for (name, help, number) in families {
            page.gauge(name, help, number.load(Ordering::Relaxed))?;
        }
        let version = ("version", env!("CARGO_PKG_VERSION"));
        page.gauges("build_info", "What runs", version.0, &[(version.1, 1)])
    }
}

/// What agents and programs do.
fn work(page: &mut Families<'_>, hub: &HubNumbers) -> fmt::Result {
    let now = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let open = [("queued", now(&hub.spawns_queued)), ("running", now(&hub.spawns_running))];
    page.gauges("spawns", "Spawns that have not ended", "status", &open)?;
    let help = "Spawns that have ended, by status";
    page.outcomes("spawns_ended", help, "status", hub.spawns_ended.get())?;
    page.gauge("runs_open", "Messages to agents without a final answer", now(&hub.runs_open))?;
    let help = "Runs that have ended, by state";
    page.outcomes("runs_ended", help, "state", hub.runs_ended.get())?;
    page.gauge("cron_jobs", "Jobs of the schedule", now(&hub.cron_jobs))?;
    let help = "Runs of jobs that have not ended";
    page.gauge("cron_runs_open", help, now(&hub.cron_running))?;
    let ended = || hub.cron_ended.get();
    let ran = |status: RunStatus| matches!(status, RunStatus::Ok | RunStatus::Error);
    let help = "Runs of jobs that have ended, by status";
    page.outcomes("cron_runs", help, "status", ended().filter(|(status, _)| ran(*status)))?;
    let name = "cron_occurrences_missed";
    let help = "Occurrences of jobs that did not run, by status";
    page.outcomes(name, help, "status", ended().filter(|(status, _)| !ran(*status)))
}

/// `process_…`, under the names that Prometheus' own libraries use.
#[derive(Debug)]
struct OfProcess {
    started_unix_ms: u64,
}

impl Collector for OfProcess {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Families(encoder);
        let now = ProcessNumbers::read();
        let started = Duration::from_millis(self.started_unix_ms).as_secs_f64();
        let (name, help) = ("process_start_time_seconds", "When it started, Unix time");
        page.family(MetricType::Gauge, name, help, |family| family.encode_gauge(&started))?;
        if let Some(cpu) = now.cpu {
            let (name, help) = ("process_cpu_seconds", "User and system CPU time");
            page.family(MetricType::Counter, name, help, |family| {
                family.encode_counter::<NoLabelSet, f64, u64>(&cpu.as_secs_f64(), None)
            })?;
        }
        let families = [
            ("process_resident_memory_bytes", "Memory in RAM", now.resident_bytes),
            ("process_virtual_memory_bytes", "Memory mapped", now.virtual_bytes),
            ("process_open_fds", "Open descriptors", now.open_descriptors),
            ("process_max_fds", "Descriptors that may be open", now.descriptors_max),
            ("process_threads", "Threads", now.threads),
        ];
        families
            .into_iter()
            .try_for_each(|(name, help, value)| page.gauge_if_known(name, help, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_declared_under_the_name_of_their_samples() {
        let open_metrics = "# HELP a_b Said.\n# TYPE a_b counter\na_b_total 1\n\
                            # HELP c Left.\n# TYPE c gauge\nc{l=\"# TYPE\"} 2\n# EOF\n";
        let expected = "# HELP a_b_total Said.\n# TYPE a_b_total counter\na_b_total 1\n\
                        # HELP c Left.\n# TYPE c gauge\nc{l=\"# TYPE\"} 2\n";
        assert_eq!(to_text_format(open_metrics), expected);
    }
}
