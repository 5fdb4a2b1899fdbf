//! How the value of a setting is written, in every source, and how it is shown.
//!
//! Guarantees: [`Value::read`] reads what [`Value::show`] writes, except for secrets, which are never shown.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use jiff::{Span, SpanRelativeTo};
use secrecy::SecretString;
use url::Url;

use super::{AppSees, ClockKind, EveryoneV1, JwksSource, PortRange};

/// A type that a setting can have.
pub(super) trait Value: Sized {
    /// Whether the value is a secret, which is never shown.
    const SECRET: bool = false;

    /// Reads the text from any source. The error completes the sentence "the value …".
    fn read(text: &str) -> Result<Self, String>;
    /// Writes the value for people, in a form that can be read again.
    fn show(&self) -> String;
}

/// Types whose own text form is used.
macro_rules! plain {
    ($($type:ty: $expected:literal),+ $(,)?) => {$(
        impl Value for $type {
            fn read(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| format!("must be {}", $expected))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

plain! {
    u16: "a whole number up to 65535",
    u32: "a whole number",
    SocketAddr: "an address and a port, such as 127.0.0.1:8080",
    IpNet: "a network, such as 10.0.0.0/8 or 127.0.0.1/32",
    PortRange: "a port or a range of them, such as 443 or 8000-8999",
}

impl Value for bool {
    fn read(text: &str) -> Result<Self, String> {
        match text.trim() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn read(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("must not be empty".to_owned()),
            text if text.chars().any(char::is_control) => {
                Err("must not contain control characters".to_owned())
            }
            text => Ok(text.to_owned()),
        }
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for SecretString {
    const SECRET: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        Ok(Self::from(text.trim()))
    }

    fn show(&self) -> String {
        "(not shown)".to_owned()
    }
}

impl Value for PathBuf {
    fn read(text: &str) -> Result<Self, String> {
        Ok(Self::from(text))
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

/// URLs without credentials: no endpoint in the settings needs them, and URLs are logged.
impl Value for Url {
    fn read(text: &str) -> Result<Self, String> {
        let expected = || "must be a full http or https URL".to_owned();
        let url = Self::parse(text.trim()).map_err(|_| expected())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not contain credentials".to_owned());
        }
        if matches!(url.scheme(), "http" | "https") {
            Ok(url)
        } else {
            Err(expected())
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for ClockKind {
    fn read(text: &str) -> Result<Self, String> {
        match text.trim() {
            "system" => Ok(Self::System),
            "simulated" => Ok(Self::Simulated),
            _ => Err("must be system or simulated".to_owned()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::System => "system".to_owned(),
            Self::Simulated => "simulated".to_owned(),
        }
    }
}

impl Value for AppSees {
    fn read(text: &str) -> Result<Self, String> {
        match text.trim() {
            "application" => Ok(Self::Application),
            "own_general" => Ok(Self::OwnGeneral),
            _ => Err("must be application or own_general".to_owned()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Application => "application".to_owned(),
            Self::OwnGeneral => "own_general".to_owned(),
        }
    }
}

impl Value for EveryoneV1 {
    fn read(text: &str) -> Result<Self, String> {
        match text.trim() {
            "empty" => Ok(Self::Empty),
            "star" => Ok(Self::Star),
            "absent" => Ok(Self::Absent),
            _ => Err("must be empty, star or absent".to_owned()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Empty => "empty".to_owned(),
            Self::Star => "star".to_owned(),
            Self::Absent => "absent".to_owned(),
        }
    }
}

impl Value for JwksSource {
    fn read(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            Url::read(text).map(Self::Url)
        } else {
            PathBuf::read(text).map(Self::File)
        }
    }

    fn show(&self) -> String {
        match self {
            Self::File(path) => path.show(),
            Self::Url(url) => url.show(),
        }
    }
}

/// ISO 8601 or friendly; a day has 24 hours; whole milliseconds.
impl Value for Duration {
    fn read(text: &str) -> Result<Self, String> {
        let span: Span = text
            .trim()
            .parse()
            .map_err(|_| "must be a duration, such as PT30M or 30m".to_owned())?;
        let whole = span
            .to_duration(SpanRelativeTo::days_are_24_hours())
            .map_err(|_| "must not use months or years, which vary in length".to_owned())?;
        let duration = Self::try_from(whole).map_err(|_| "must not be negative".to_owned())?;
        if duration.subsec_nanos() % 1_000_000 == 0 {
            Ok(duration)
        } else {
            Err("must be in whole milliseconds".to_owned())
        }
    }

    fn show(&self) -> String {
        let millis = self.as_millis();
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
        let unit = units
            .into_iter()
            .find(|(_, length)| millis > 0 && millis.is_multiple_of(*length));
        let (name, length) = unit.unwrap_or(("ms", 1));
        format!("{}{name}", millis / length)
    }
}

/// A size in bytes: all other numbers have types of fixed width.
impl Value for usize {
    fn read(text: &str) -> Result<Self, String> {
        let expected = || "must be a size in bytes, such as 16384 or 16KiB".to_owned();
        let text = text.trim();
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match text[digits.len()..].trim_start() {
            "" | "B" => 1,
            "KiB" => 1024,
            "MiB" => 1024 * 1024,
            _ => return Err(expected()),
        };
        let number: Self = digits.parse().map_err(|_| expected())?;
        number.checked_mul(unit).ok_or_else(expected)
    }

    fn show(&self) -> String {
        let units = [("MiB", 1024 * 1024), ("KiB", 1024)];
        let unit = units
            .into_iter()
            .find(|(_, size)| *self > 0 && self.is_multiple_of(*size));
        unit.map_or_else(
            || self.to_string(),
            |(name, size)| format!("{}{name}", self / size),
        )
    }
}

/// `None` means not set; an empty text removes an earlier value.
impl<T: Value> Value for Option<T> {
    const SECRET: bool = T::SECRET;

    fn read(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            Ok(None)
        } else {
            T::read(text).map(Some)
        }
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }
}

/// Separated by commas; an empty text is an empty list.
impl<T: Value> Value for Vec<T> {
    fn read(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::new());
        }
        text.split(',')
            .map(|entry| T::read(entry).map_err(|error| format!("{:?} {error}", entry.trim())))
            .collect()
    }

    fn show(&self) -> String {
        self.iter().map(T::show).collect::<Vec<_>>().join(",")
    }
}

impl<T: Value, const N: usize> Value for [T; N] {
    fn read(text: &str) -> Result<Self, String> {
        Vec::read(text)?
            .try_into()
            .map_err(|all: Vec<T>| format!("must have exactly {N} entries, not {}", all.len()))
    }

    fn show(&self) -> String {
        self.iter().map(T::show).collect::<Vec<_>>().join(",")
    }
}

impl Value for BTreeSet<String> {
    fn read(text: &str) -> Result<Self, String> {
        Vec::read(text).map(Self::from_iter)
    }

    fn show(&self) -> String {
        self.iter().cloned().collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_iso_8601_or_friendly() {
        let read = |text: &str| Duration::read(text).map(|duration| duration.as_millis());
        for text in ["PT30M", "30m", "30 min", "1800s", "0.5h", "PT0.5H"] {
            assert_eq!(read(text), Ok(1_800_000), "{text}");
        }
        assert_eq!(read("P30D"), Ok(30 * 86_400_000));
        assert_eq!(read("30d"), Ok(30 * 86_400_000));
        assert_eq!(read("2w"), Ok(14 * 86_400_000));
        assert_eq!(read("250ms"), Ok(250));
        assert_eq!(read("PT0S"), Ok(0));
        for text in ["", "30", "P1M", "1y", "-3s", "-PT3S", "1us", "3 parsecs", "PT"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_take_binary_units() {
        assert_eq!(usize::read("16KiB"), Ok(16384));
        assert_eq!(usize::read("1 MiB"), Ok(1_048_576));
        assert_eq!(usize::read("0"), Ok(0));
        for text in [
            "",
            "KiB",
            "16KB",
            "-1",
            "1.5KiB",
            "99999999999999999999",
            "18446744073709551615KiB",
        ] {
            assert!(usize::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_may_be_empty_and_name_the_bad_entry() {
        assert_eq!(Vec::<IpNet>::read(" "), Ok(vec![]));
        assert_eq!(Vec::<IpNet>::read("10.0.0.0/8, ::1/128").unwrap().len(), 2);
        assert!(
            Vec::<IpNet>::read("10.0.0.0/8,nonsense")
                .unwrap_err()
                .starts_with("\"nonsense\" must be a network")
        );
        assert!(Vec::<u16>::read("1,,2").is_err());
        assert!(<[Duration; 3]>::read("1h,2h").unwrap_err().contains("exactly 3"));
    }

    #[test]
    fn shown_values_can_be_read_back() {
        fn there_and_back<T: Value + PartialEq + std::fmt::Debug>(text: &str) {
            let value = T::read(text).unwrap();
            assert_eq!(T::read(&value.show()).unwrap(), value);
        }
        for text in ["0s", "1ms", "999ms", "1s", "90s", "1h", "25h", "3d", "1d 1ms"] {
            there_and_back::<Duration>(text);
        }
        for text in ["0", "1", "1024", "1025", "3MiB"] {
            there_and_back::<usize>(text);
        }
        there_and_back::<Vec<Duration>>("3s,30s,150s");
        there_and_back::<JwksSource>("https://example.com/jwks.json");
        there_and_back::<JwksSource>("keys/jwks.json");
        there_and_back::<BTreeSet<String>>("b,a");
        there_and_back::<Option<PathBuf>>("");
        there_and_back::<SocketAddr>("[::1]:8080");
        there_and_back::<ClockKind>("simulated");
        there_and_back::<AppSees>("application");
        there_and_back::<AppSees>("own_general");
        there_and_back::<EveryoneV1>("empty");
        there_and_back::<EveryoneV1>("star");
        there_and_back::<EveryoneV1>("absent");
        there_and_back::<bool>("false");
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(
            SecretString::read("postgres://u:hunter2@h/d").unwrap().show(),
            "(not shown)"
        );
        assert!(JwksSource::read("ftp://example.com/").is_err());
        assert!(Url::read("example.com").is_err());
    }
}
