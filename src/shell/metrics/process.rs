//! What the kernel says about this process, read anew for each page.
//!
//! Owns nothing. Whatever cannot be read (no descriptor is left, say) is absent from the page.

use std::fs;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// See the module.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ProcessNumbers {
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) open_descriptors: Option<u64>,
    /// None when unlimited.
    pub(super) descriptors_max: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) cpu: Option<Duration>,
}

impl ProcessNumbers {
    pub(super) fn read() -> Self {
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let descriptors = fs::read_dir("/proc/self/fd").ok();
        Self {
            // Less the one that lists them.
            open_descriptors: descriptors.map(|list| (list.count() as u64).saturating_sub(1)),
            descriptors_max: getrlimit(Resource::Nofile).current,
            ..Self::parse(&statm, &stat, page_size() as u64, clock_ticks_per_second())
        }
    }

    /// From the texts that proc_pid_statm(5) and proc_pid_stat(5) describe.
    fn parse(statm: &str, stat: &str, page_bytes: u64, ticks_per_second: u64) -> Self {
        let mut pages = statm.split_ascii_whitespace().map_while(|text| text.parse::<u64>().ok());
        let virtual_bytes = pages.next().map(|count| count * page_bytes);
        let resident_bytes = pages.next().map(|count| count * page_bytes);
        // The command's name, in parentheses, may hold anything. What follows begins with field 3.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_ascii_whitespace().collect())
            .unwrap_or_default();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = field(14).zip(field(15)).map(|(user, system)| user + system);
        let cpu = ticks.and_then(|ticks| {
            Some(Duration::from_millis((ticks * 1000).checked_div(ticks_per_second)?))
        });
        Self { resident_bytes, virtual_bytes, threads: field(20), cpu, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_spaces_and_parentheses_moves_no_field() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 12 0 99 1 2";
        let expected = ProcessNumbers {
            resident_bytes: Some(3 * 4096),
            virtual_bytes: Some(5 * 4096),
            threads: Some(12),
            cpu: Some(Duration::from_secs(2)),
            ..ProcessNumbers::default()
        };
        assert_eq!(ProcessNumbers::parse("5 3 1 1 0 2 0\n", stat, 4096, 100), expected);
        assert_eq!(ProcessNumbers::parse("", "", 4096, 100), ProcessNumbers::default());
    }

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let read = ProcessNumbers::read();
        for number in [read.resident_bytes, read.open_descriptors, read.threads] {
            assert!(number.is_some_and(|number| number > 0), "{read:?}");
        }
    }
}
