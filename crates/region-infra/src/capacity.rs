//! How much a host or a storage carries: real size less what is kept back, times how often it may be given away.

/// Defaults where a host or storage sets none (spec 12: overcommit).
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default)]
pub struct Bounds {
    pub cpu: f64,
    pub memory: f64,
    pub storage: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { cpu: 8.0, memory: 1.0, storage: 1.0 }
    }
}

fn carry(size: i64, reserved: i64, own: f64, default: f64) -> i64 {
    let bound = if own > 0.0 { own } else { default };
    ((size - reserved).max(0) as f64 * bound) as i64
}

/// Virtual processors and MiB of memory a host can give.
pub fn host_capacity(bounds: &Bounds, host: &api_compute::Host) -> (i64, i64) {
    (
        carry(host.cpu_count, host.cpu_reserved, host.cpu_cmtbound, bounds.cpu),
        carry(host.mem_size, host.mem_reserved, host.mem_cmtbound, bounds.memory),
    )
}

/// MiB a storage can give.
pub fn storage_limit(bounds: &Bounds, storage: &api_compute::Storage) -> i64 {
    carry(storage.capacity, storage.reserved, storage.cmtbound, bounds.storage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries() {
        for (size, reserved, own, default, want) in
            [(8, 0, 0.0, 8.0, 64), (8, 2, 1.5, 8.0, 9), (4, 8, 0.0, 8.0, 0), (1024, 24, 0.0, 1.0, 1000)]
        {
            assert_eq!(carry(size, reserved, own, default), want);
        }
    }
}
