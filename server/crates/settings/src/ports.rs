//! Ports in settings.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// One port or a range of ports, written `443` or `8000-8999`. Never 0, because no connection to port 0 is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// The text is neither a port nor a range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither a port from 1 to 65535 nor a range of them")]
pub struct NotPorts;

impl PortRange {
    /// All ports of the range.
    pub fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl FromStr for PortRange {
    type Err = NotPorts;

    fn from_str(text: &str) -> Result<Self, NotPorts> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse::<u16>().map_err(|_| NotPorts);
        let (first, last) = (port(first)?, port(last)?);
        if (1..=last).contains(&first) {
            Ok(Self { first, last })
        } else {
            Err(NotPorts)
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_ends_and_nothing_past_them() {
        let range: PortRange = "8000 - 8999".parse().unwrap();
        assert!([8000, 8999].into_iter().all(|port| range.ports().contains(&port)));
        assert!(![7999, 9000].into_iter().any(|port| range.ports().contains(&port)));
        let one: PortRange = "443".parse().unwrap();
        assert_eq!(one.ports(), 443..=443);
        assert_eq!([range.to_string(), one.to_string()], ["8000-8999", "443"]);
    }

    #[test]
    fn invalid_ranges_are_refused() {
        for text in ["", "0", "0-443", "65536", "443-80", "-", "80-", "http", "1-2-3"] {
            assert_eq!(text.parse::<PortRange>(), Err(NotPorts), "{text}");
        }
        assert!("1-65535".parse::<PortRange>().is_ok());
    }
}
