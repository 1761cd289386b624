//! How much memory the process may use, and how much of it plugins may.

use std::{fmt, fs, path::Path};

use gateway_core::model::{Config, Limits};

/// Where nothing is known of the system.
const UNKNOWN: u64 = 1 << 30;
const CGROUPS: &str = "/sys/fs/cgroup";

/// The memory for the instances of all plugins.
#[derive(Debug)]
pub(crate) struct PluginBudget {
    pub(crate) bytes: usize,
    /// What the process may use, where the budget is half of that.
    available: Option<u64>,
}

impl PluginBudget {
    pub(crate) fn of(limits: &Limits) -> Self {
        match limits.plugin_memory {
            Some(bytes) => Self { bytes, available: None },
            None => {
                let available = available().unwrap_or(UNKNOWN);
                Self { bytes: usize::try_from(available / 2).unwrap_or(usize::MAX / 2), available: Some(available) }
            }
        }
    }
}

impl PluginBudget {
    /// Plugins one instance of which may have more than all have together, where an operator has said both.
    pub(crate) fn too_small_for(&self, config: &Config) -> impl Iterator<Item = String> {
        let configured = if self.available.is_none() { self.bytes } else { usize::MAX };
        let larger = config.plugins.iter().filter(move |(_, plugin)| plugin.limits.memory > configured);
        larger.map(move |(name, plugin)| {
            format!(
                "plugin `{name}`: `limits.memory` is {} MiB, and the instances of all plugins may use {} MiB together \
                 (`limits.plugin-memory`)",
                plugin.limits.memory >> 20,
                configured >> 20
            )
        })
    }
}

impl fmt::Display for PluginBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin instances may use {} MiB of memory", self.bytes >> 20)?;
        match self.available {
            Some(available) => write!(
                f,
                ": half of the {} MiB that this process may use; `limits.plugin-memory` sets another limit",
                available >> 20
            ),
            None => f.write_str(" (`limits.plugin-memory`)"),
        }
    }
}

/// The memory of the machine, or the limit of one of the cgroups that the process is in, whichever is least.
fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let read = |path: &Path| fs::read_to_string(path).ok();
    limit_files(&groups).iter().filter_map(|file| limit(&read(Path::new(file))?)).chain(machine).min()
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The files with limits for a process in these groups, as `/proc/self/cgroup` names them (cgroups(7)). The limit of a group holds for
/// all groups within it. In a container the path may be the host's, and the container's own group is at the root.
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => (CGROUPS.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (format!("{CGROUPS}/memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let own = Path::new(path);
        for group in own.ancestors().filter(|group| *group != Path::new("/")) {
            files.push(format!("{root}{}/{file}", group.display()));
        }
        files.push(format!("{root}/{file}"));
    }
    files
}

/// `max` is none, as is what version 1 has in its place, which is more than any machine has.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_looked_for_in_every_group_around_the_process() {
        assert_eq!(
            limit_files("0::/system.slice/gateway.service\n"),
            [
                "/sys/fs/cgroup/system.slice/gateway.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            limit_files("5:cpu,cpuacct:/x\n4:memory:/docker/1\n"),
            [
                "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!(limit_files("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
    }

    #[test]
    fn sizes_are_read_as_the_kernel_writes_them() {
        assert_eq!(limit("536870912\n"), Some(512 << 20));
        assert_eq!(limit("max\n"), None);
        assert_eq!(total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
    }
}
