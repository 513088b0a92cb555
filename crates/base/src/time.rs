//! Time: a UTC instant in microseconds, and the only place that reads the clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Microseconds since 1970-01-01T00:00:00Z. Written on the wire as `2026-02-03T04:05:06.000000Z`, always six digits (spec 01 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub const ZERO: Timestamp = Timestamp(0);

    pub fn micros(self) -> i64 {
        self.0
    }

    pub fn plus_secs(self, secs: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(secs.saturating_mul(1_000_000)))
    }

    pub fn plus_millis(self, millis: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(millis.saturating_mul(1_000)))
    }

    /// Microseconds from `earlier` to this instant.
    pub fn since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads what existing clients send: ISO 8601 with or without `T`, seconds, fraction and zone; a plain date; compact
    /// `YYYYMMDDhhmmss`; RFC 2822 dates (spec 01 §2.2). A value without a zone is UTC.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let text = text.trim();
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Some(Timestamp(at.as_microsecond()));
        }
        let civil = if text.len() == 14 && text.bytes().all(|b| b.is_ascii_digit()) {
            jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", text).ok()
        } else {
            text.strip_suffix('Z').unwrap_or(text).parse::<jiff::civil::DateTime>().ok()
        };
        if let Some(civil) = civil {
            return civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|z| Timestamp(z.timestamp().as_microsecond()));
        }
        jiff::fmt::rfc2822::parse(text).ok().map(|z| Timestamp(z.timestamp().as_microsecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Days-to-civil by Howard Hinnant's algorithm: this runs some hundred times for a page of rows, and jiff's formatter allocates.
        let (days, micros) = (self.0.div_euclid(86_400_000_000), self.0.rem_euclid(86_400_000_000));
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let (d, m) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
        let y = yoe + era * 400 + i64::from(m <= 2);
        let (s, us) = (micros / 1_000_000, micros % 1_000_000);
        write!(f, "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{us:06}Z", s / 3600, s / 60 % 60, s % 60)
    }
}

/// The clock. Services hold one and pass it on; tests hold one they turn by hand.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    pub fn real() -> Clock {
        Clock(None)
    }

    /// A clock that stands still until [`Clock::advance`].
    pub fn manual(start: Timestamp) -> Clock {
        Clock(Some(Arc::new(AtomicI64::new(start.0))))
    }

    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(at) => Timestamp(at.load(Ordering::SeqCst)),
            None => Timestamp(std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_micros() as i64)),
        }
    }

    /// Moves a manual clock; a real one does not move.
    pub fn advance(&self, by: std::time::Duration) {
        if let Some(at) = &self.0 {
            at.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form() {
        for (text, wire) in [
            ("2026-02-03T04:05:06.789Z", "2026-02-03T04:05:06.789000Z"),
            ("2026-02-03 04:05:06", "2026-02-03T04:05:06.000000Z"),
            ("2026-02-03T04:05", "2026-02-03T04:05:00.000000Z"),
            ("2026-02-03T12:05:06+08:00", "2026-02-03T04:05:06.000000Z"),
            ("2024-02-29", "2024-02-29T00:00:00.000000Z"),
            ("20260203040506", "2026-02-03T04:05:06.000000Z"),
            ("1969-12-31T23:59:59.000001Z", "1969-12-31T23:59:59.000001Z"),
        ] {
            assert_eq!(Timestamp::parse(text).expect(text).to_string(), wire, "{text}");
        }
        assert_eq!(Timestamp::parse("yesterday"), None);
    }
}
