#![doc = include_str!("../README.md")]

mod classify;
mod connector;
mod dns;
mod name_servers;
mod outcome;
mod resolve;
mod response;
pub mod target;
mod timing;
mod tls;
mod transport;

pub use dns::{DnsResolver, NoResolver};
pub use name_servers::{NameServers, Patience};
pub use outcome::{ErrorClass, Lack, Outcome, Sent, Timings};
pub use resolve::{LookupError, Resolver};
pub use response::{ExcerptLimits, MAX_HEADER_BYTES, MAX_HEADERS};
pub use tls::{BadAuthority, authorities};
pub use transport::{Request, Transport, TransportConfig, TransportError};
