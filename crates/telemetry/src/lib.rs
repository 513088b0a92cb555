//! What a process tells its operators: log lines, metrics, its own size, its version.
//!
//! Called once by every binary ([`init`]) and by every service that counts something ([`Metrics`]). Nothing here knows a resource or opens
//! a socket; `http` serves what this crate collects. Levels mean: ERROR somebody must act, WARN somebody should look, INFO what the process
//! decided by itself, DEBUG one line per request, TRACE for developers.

mod log;
mod metrics;
pub mod process;
pub mod testing;

pub use log::{Format, LogControl, Logging, init};
pub use metrics::Metrics;
/// The types metrics are made of.
pub use prometheus_client;

/// The version string of this build, `0.0.0(abcdef123456)`: crate version and, when the build set `WOLKE_BUILD`, its commit.
pub fn version() -> &'static str {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    static TEXT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    TEXT.get_or_init(|| format!("{VERSION}({})", option_env!("WOLKE_BUILD").unwrap_or("dev")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn version_names_the_build() {
        let v = super::version();
        assert!(v.ends_with(')') && v.contains('('), "{v}");
    }
}
