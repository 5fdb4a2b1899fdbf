//! Variables that Kubernetes sets in every pod for each Service of the namespace. For a Service named `tenterhook` or
//! `tenterhook-api` some of them have the prefix of our settings. They must not stop the server from starting.
//!
//! The kubelet (`pkg/kubelet/envvars`) takes the names from Docker's container links:
//!
//! ```text
//! TENTERHOOK_SERVICE_HOST=10.96.0.5            TENTERHOOK_PORT_8080_TCP=tcp://10.96.0.5:8080
//! TENTERHOOK_SERVICE_PORT=8080                 TENTERHOOK_PORT_8080_TCP_PROTO=tcp
//! TENTERHOOK_SERVICE_PORT_HTTP=8080            TENTERHOOK_PORT_8080_TCP_PORT=8080
//! TENTERHOOK_PORT=tcp://10.96.0.5:8080         TENTERHOOK_PORT_8080_TCP_ADDR=10.96.0.5
//! ```

/// The possible protocols of a Service's port.
const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];
/// The endings after the protocol in the variables of one port.
const OF_A_PORT: [&str; 3] = ["_PROTO", "_PORT", "_ADDR"];

/// Whether a Service set this variable. `…_PORT` alone could also be a setting or a misspelt one: then the value decides.
pub(super) fn is_one(name: &str, value: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || is_of_a_named_port(name)
        || is_of_a_port(name)
        || (name.ends_with("_PORT") && is_address(value))
}

/// `…_SERVICE_PORT_HTTP`.
fn is_of_a_named_port(name: &str) -> bool {
    name.split_once("_SERVICE_PORT_")
        .is_some_and(|(_, port)| !port.is_empty())
}

/// `…_PORT_8080_TCP`, with or without an ending.
fn is_of_a_port(name: &str) -> bool {
    let name = OF_A_PORT
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name);
    let protocol = |(_, protocol): &(&str, &str)| PROTOCOLS.contains(&protocol.to_lowercase().as_str());
    name.rsplit_once('_')
        .filter(protocol)
        .and_then(|(rest, _)| rest.rsplit_once("_PORT_"))
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

/// `tcp://10.96.0.5:8080`.
fn is_address(value: &str) -> bool {
    value
        .split_once("://")
        .is_some_and(|(protocol, address)| PROTOCOLS.contains(&protocol) && !address.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::table::TABLE;
    use super::*;

    #[test]
    fn only_service_links_are_recognised() {
        for (name, value) in [
            ("TENTERHOOK_SERVICE_HOST", "10.96.0.5"),
            ("TENTERHOOK_SERVICE_HOST", "fd00::5"),
            ("TENTERHOOK_SERVICE_PORT", "8080"),
            ("TENTERHOOK_SERVICE_PORT_HTTP", "8080"),
            ("TENTERHOOK_SERVICE_PORT_HTTP_METRICS", "9090"),
            ("TENTERHOOK_PORT", "tcp://10.96.0.5:8080"),
            ("TENTERHOOK_PORT", "udp://[fd00::5]:53"),
            ("TENTERHOOK_PORT", "sctp://10.96.0.5:36412"),
            ("TENTERHOOK_PORT_8080_TCP", "tcp://10.96.0.5:8080"),
            ("TENTERHOOK_PORT_8080_TCP_PROTO", "tcp"),
            ("TENTERHOOK_PORT_8080_TCP_PORT", "8080"),
            ("TENTERHOOK_PORT_8080_TCP_ADDR", "10.96.0.5"),
            ("TENTERHOOK_PORT_53_UDP", "udp://10.96.0.5:53"),
            ("TENTERHOOK_PORT_36412_SCTP_ADDR", "10.96.0.5"),
            ("TENTERHOOK_API_SERVICE_HOST", "10.96.0.6"),
            ("TENTERHOOK_API_SERVICE_PORT_HTTPS", "443"),
            ("TENTERHOOK_API_PORT", "tcp://10.96.0.6:443"),
            ("TENTERHOOK_API_PORT_443_TCP_ADDR", "10.96.0.6"),
            // Even if the Service is named like a setting.
            ("TENTERHOOK_LISTEN_PORT", "tcp://10.96.0.7:80"),
            ("TENTERHOOK_POLICY_BAN_THRESHOLD_SERVICE_PORT", "80"),
        ] {
            assert!(is_one(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("TENTERHOOK_PORT", "8080"),
            ("TENTERHOOK_PORT", ""),
            ("TENTERHOOK_PORT", "tcp://"),
            ("TENTERHOOK_PORT", "http://10.96.0.5:8080"),
            ("TENTERHOOK_TARGET_PORT", "443"),
            ("TENTERHOOK_TARGET_PORTS", "tcp://10.96.0.5:8080"),
            ("TENTERHOOK_HOST", "10.96.0.5"),
            ("TENTERHOOK_SERVICE", "tcp://10.96.0.5:8080"),
            ("TENTERHOOK_SERVICE_HOSTS", "10.96.0.5"),
            ("TENTERHOOK_SERVICE_PORT_", "8080"),
            ("TENTERHOOK_PORT_HTTP_TCP", "tcp://10.96.0.5:8080"),
            ("TENTERHOOK_PORT_65536_TCP", "tcp://10.96.0.5:8080"),
            ("TENTERHOOK_PORT_8080_TLS", "tls://10.96.0.5:8080"),
            ("TENTERHOOK_PORT_8080_TCP_NAME", "http"),
            ("TENTERHOOK_8080_TCP", "tcp://10.96.0.5:8080"),
            ("TENTERHOOK_LISTEN", "tcp://10.96.0.5:8080"),
        ] {
            assert!(!is_one(name, value), "{name}={value}");
        }
    }

    /// With any value: no setting has such a name. A `…_PORT` is ignored only if its value is a URL of these protocols.
    #[test]
    fn no_setting_is_recognised_as_a_service_link() {
        for entry in TABLE {
            for value in ["", "8080", "10.96.0.5", "80,443", "https://a.example:443"] {
                assert!(
                    !is_one(&entry.variable(), value),
                    "{} = {value:?}",
                    entry.variable()
                );
            }
        }
    }
}
