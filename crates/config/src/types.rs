//! Values that configurations share.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, time::Duration};

/// A password or key. It cannot be printed, logged or serialised by accident: all of these write `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Secret, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Secret;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret text")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret(text.to_string()))
            }
        }
        // A number or boolean in its place is refused by a message of ours: serde's would show the value.
        d.deserialize_string(Visitor)
    }
}

/// A length of time: whole seconds, or `250ms`, `30s`, `5m`, `2h`, `1d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    pub const fn secs(secs: u64) -> Period {
        Period(Duration::from_secs(secs))
    }

    fn parse(text: &str) -> Option<Period> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let n: u64 = text[..digits].parse().ok()?;
        let secs = |s: u64| n.checked_mul(s).map(Duration::from_secs);
        match &text[digits..] {
            "ms" => Some(Duration::from_millis(n)),
            "" | "s" => secs(1),
            "m" => secs(60),
            "h" => secs(3600),
            "d" => secs(86_400),
            _ => None,
        }
        .map(Period)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_millis() {
            0 => s.collect_str(&format_args!("{}s", self.0.as_secs())),
            _ => s.collect_str(&format_args!("{}ms", self.0.as_millis())),
        }
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Period, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Period;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time such as 30s, 5m, 2h or 1d")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Period, E> {
                Period::parse(text.trim()).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Period, E> {
                u64::try_from(n).map(Period::secs).map_err(|_| E::invalid_value(de::Unexpected::Signed(n), &self))
            }
        }
        d.deserialize_any(Visitor)
    }
}

/// For fields that are a [`Duration`]: `#[serde(deserialize_with = "config::period")]`, written as a [`Period`].
pub fn period<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    Period::deserialize(d).map(|p| p.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods() {
        let check = |text: &str, want: Option<u64>| assert_eq!(Period::parse(text).map(|p| p.0.as_millis() as u64), want, "{text}");
        check("90", Some(90_000));
        check("250ms", Some(250));
        check("5m", Some(300_000));
        check("1d", Some(86_400_000));
        for bad in ["", "s", "-1", "1.5h", "5 m", "99999999999999999999", "99999999999999999d", "1w"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }
}
