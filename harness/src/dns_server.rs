//! A DNS server whose answers a test sets.
//!
//! Its answers may not be cached. The answer for an alias includes the whole chain, as from a recursive resolver. It
//! counts its questions. It uses UDP on loopback, and knows addresses and aliases.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::realtime::{self, PATIENCE};

/// Record types.
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
/// Response codes.
const FAILURE: u8 = 2;
const MISSING: u8 = 3;
/// Where the name begins in a question and in the answer to it.
const HEADER: usize = 12;
/// Longest chain of aliases that is followed.
const LONGEST_CHAIN: usize = 12;

/// The answer for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The name has these addresses, of one or both families. Without any the name exists, but has no address.
    Addresses(Vec<IpAddr>),
    /// The name is an alias of this one.
    Alias(String),
    /// The name does not exist, like every name without a setting.
    Missing,
    /// SERVFAIL: the server could not resolve it.
    Failure,
    /// No answer is sent.
    Silence,
    /// The name has these addresses, and questions for IPv6 get no answer.
    SilentAboutIpv6(Vec<IpAddr>),
}

impl Answer {
    /// Reads an answer from a table of names: addresses separated by spaces, `CNAME` and a name, `NODATA`, `NXDOMAIN`,
    /// `SERVFAIL`, `SILENCE`.
    ///
    /// # Panics
    ///
    /// If it is none of these.
    pub fn read(text: &str) -> Self {
        match text {
            "NODATA" => Self::Addresses(Vec::new()),
            "NXDOMAIN" => Self::Missing,
            "SERVFAIL" => Self::Failure,
            "SILENCE" => Self::Silence,
            _ => match text.strip_prefix("CNAME ") {
                Some(name) => Self::Alias(name.to_owned()),
                None => {
                    let address = |word: &str| {
                        word.parse()
                            .unwrap_or_else(|_| panic!("{word:?} is not an address"))
                    };
                    Self::Addresses(text.split(' ').map(address).collect())
                }
            },
        }
    }
}

#[derive(Debug, Default)]
struct Zone {
    names: HashMap<String, Answer>,
    asked: HashMap<String, usize>,
    /// Whether no question gets an answer.
    silent: bool,
    /// The names about which a question was left without an answer.
    unanswered: HashSet<String>,
    /// Number of all questions.
    questions: watch::Sender<usize>,
}

/// A running server. It ends when dropped.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    serving: JoinHandle<()>,
}

impl NameServer {
    /// Listens on a free port of loopback. No name is set yet.
    ///
    /// # Panics
    ///
    /// If this machine has no free port.
    pub async fn start() -> Self {
        let bound = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let socket = bound.unwrap_or_else(|error| panic!("no port for a DNS server: {error}"));
        let address = socket.local_addr();
        let address = address.unwrap_or_else(|error| panic!("a socket without address: {error}"));
        let zone: Arc<Mutex<Zone>> = Arc::default();
        let serving = realtime::spawn(serve(socket, zone.clone()));
        Self {
            address,
            zone,
            serving,
        }
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the answer for a name.
    pub fn set(&self, name: &str, answer: Answer) {
        lock(&self.zone).names.insert(name.to_lowercase(), answer);
    }

    /// Number of questions about a name. Both address families count.
    pub fn asked(&self, name: &str) -> usize {
        lock(&self.zone).asked.get(name).copied().unwrap_or(0)
    }

    /// Whether a question about a name stayed without an answer, for both address families.
    pub fn has_left_unanswered(&self, name: &str) -> bool {
        lock(&self.zone).unanswered.contains(name)
    }

    /// Sets whether all questions stay without an answer.
    pub fn fall_silent(&self, silent: bool) {
        lock(&self.zone).silent = silent;
    }

    /// Number of questions so far, including those without an answer.
    pub fn questions(&self) -> usize {
        *lock(&self.zone).questions.borrow()
    }

    /// Waits until there have been more questions than `before`.
    ///
    /// # Panics
    ///
    /// If there is none after [`PATIENCE`] of real time.
    pub async fn until_asked_again(&self, before: usize) {
        let mut questions = lock(&self.zone).questions.subscribe();
        let came = realtime::within(PATIENCE, questions.wait_for(|count| *count > before)).await;
        assert!(came.is_some(), "nobody asked for a name");
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut message = vec![0; 4096];
    while let Ok((length, asker)) = socket.recv_from(&mut message).await {
        let answer = Question::read(&message[..length]).and_then(|question| answer(&question, &zone));
        if let Some(answer) = answer {
            // The client may have closed its socket.
            let _ = socket.send_to(&answer, asker).await;
        }
    }
}

/// The only question of a message.
struct Question<'m> {
    /// The message from its beginning to the end of the question.
    whole: &'m [u8],
    name: String,
    kind: u16,
}

impl<'m> Question<'m> {
    fn read(message: &'m [u8]) -> Option<Self> {
        let mut labels = Vec::new();
        let mut at = HEADER;
        loop {
            let length = usize::from(*message.get(at)?);
            if length == 0 {
                break;
            }
            let label = message.get(at + 1..at + 1 + length)?;
            labels.push(String::from_utf8_lossy(label).to_lowercase());
            at += 1 + length;
        }
        let kind = message.get(at + 1..at + 3)?;
        Some(Self {
            whole: message.get(..at + 5)?,
            name: labels.join("."),
            kind: u16::from_be_bytes([kind[0], kind[1]]),
        })
    }
}

/// The message with the answer; `None` if no answer is sent.
fn answer(question: &Question<'_>, zone: &Mutex<Zone>) -> Option<Vec<u8>> {
    let mut zone = lock(zone);
    *zone.asked.entry(question.name.clone()).or_default() += 1;
    zone.questions.send_modify(|count| *count += 1);
    if zone.silent {
        zone.unanswered.insert(question.name.clone());
        return None;
    }
    let mut records = Vec::new();
    let mut count: u16 = 0;
    let mut code = 0;
    let mut name = question.name.clone();
    for _ in 0..LONGEST_CHAIN {
        match zone.names.get(&name) {
            Some(Answer::Silence) => {
                zone.unanswered.insert(question.name.clone());
                return None;
            }
            Some(Answer::SilentAboutIpv6(_)) if question.kind == AAAA => return None,
            Some(Answer::Failure) => code = FAILURE,
            Some(Answer::Missing) | None => code = MISSING,
            Some(Answer::Addresses(addresses) | Answer::SilentAboutIpv6(addresses)) => {
                for address in addresses {
                    let (kind, data) = match address {
                        IpAddr::V4(v4) => (A, v4.octets().to_vec()),
                        IpAddr::V6(v6) => (AAAA, v6.octets().to_vec()),
                    };
                    if kind == question.kind {
                        record(&mut records, &name, kind, &data);
                        count += 1;
                    }
                }
            }
            Some(Answer::Alias(target)) => {
                record(&mut records, &name, CNAME, &encoded(target));
                count += 1;
                name.clone_from(target);
                continue;
            }
        }
        break;
    }
    let mut message = question.whole.to_vec();
    // A response; recursion desired and available; one question, and nothing but answers after it.
    message[2..HEADER].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0]);
    message[6..8].copy_from_slice(&count.to_be_bytes());
    message.extend(records);
    Some(message)
}

/// Appends a record with a TTL of zero.
fn record(records: &mut Vec<u8>, name: &str, kind: u16, data: &[u8]) {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    records.extend(encoded(name));
    records.extend(kind.to_be_bytes());
    records.extend([0, 1, 0, 0, 0, 0]);
    records.extend(length.to_be_bytes());
    records.extend(data);
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}
