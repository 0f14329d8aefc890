//! A test that cannot run on this machine names itself. Also used by `tests/children`.

use std::fs::OpenOptions;
use std::io::Write;

/// Leaves the test, naming it in `target/skipped-tests.txt`, which `make test` prints at the end.
/// With `REQUIRE_ALL=1` in the environment it panics instead.
macro_rules! skip {
    ($name:expr, $reason:expr) => {{
        $crate::kit::note_skipped($name, &$reason);
        return;
    }};
}

/// See `skip!`.
#[track_caller]
pub(crate) fn note_skipped(name: &str, reason: &str) {
    let required = std::env::var("REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!required, "REQUIRE_ALL=1, but {name} cannot run: {reason}");
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/../skipped-tests.txt");
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    writeln!(file, "{name}: {reason}").unwrap();
    eprintln!("skipped {name}: {reason}");
}
