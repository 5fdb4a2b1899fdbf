//! A name server that can be slow or silent. One process asks it by means of its own `resolv.conf`.
//!
//! Every name resolves to this machine, one of them to two addresses. The server under test reads its resolver settings
//! as in production. Only the file with the name server's address is replaced, in a mount namespace of that process.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use tenterhook_harness::realtime;

use crate::system;

/// The host name of a receiver. `.example` is reserved (RFC 2606).
pub const NAME: &str = "receiver.faults.example";
/// The host name of a receiver with two addresses: first [`DEAD`], and then the address of all other names.
pub const TWOFOLD: &str = "twofold.faults.example";
/// The first address of [`TWOFOLD`].
pub const DEAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The only port that `resolv.conf` can express.
const PORT: u16 = 53;
/// Longest query, in bytes.
const QUERY: usize = 512;
/// The type of a question for an IPv4 address.
const A: [u8; 2] = [0, 1];
/// Length of a message's fixed header, in bytes.
const HEADER: usize = 12;

/// How the name server responds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manner {
    /// Delay of each response.
    pub delay: Duration,
    /// Whether it sends no responses at all.
    pub silent: bool,
}

/// A running name server. It ends when dropped.
pub struct Names {
    configuration: PathBuf,
    manner: watch::Sender<Manner>,
    work: JoinHandle<()>,
}

impl Names {
    /// Starts a name server on a loopback address of this process, and writes the configuration into `home`.
    ///
    /// # Errors
    ///
    /// If this process may not listen there, or may not give a process its own file.
    pub async fn start(home: &Path) -> anyhow::Result<Self> {
        ensure!(
            cfg!(target_os = "linux") && system::is_root(),
            "only root can give a process its own name server"
        );
        system::run("unshare", &["--mount", "true"])?;
        let [high, low] = (std::process::id() as u16).to_be_bytes();
        let address = SocketAddr::from(([127, 77, high, low.max(1)], PORT));
        let socket = UdpSocket::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let configuration = home.join("resolv.conf");
        fs::write(
            &configuration,
            format!("nameserver {}\noptions timeout:1 attempts:2\n", address.ip()),
        )?;
        let manner = watch::Sender::new(Manner::default());
        let work = realtime::spawn(serve(Arc::new(socket), manner.subscribe()));
        Ok(Self {
            configuration,
            manner,
            work,
        })
    }

    /// Sets how it responds from now on.
    pub fn answer(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// How it responds now.
    pub fn manner(&self) -> Manner {
        *self.manner.borrow()
    }

    /// The arguments of `unshare` that run a program with this name server.
    pub fn wrapped(&self, program: &Path) -> Vec<String> {
        let script = "mount --bind \"$1\" \"$(readlink -f /etc/resolv.conf)\" && shift && exec \"$@\"";
        let words = ["--mount", "sh", "-c", script, "sh"];
        let mut arguments: Vec<String> = words.map(str::to_owned).to_vec();
        arguments.push(self.configuration.display().to_string());
        arguments.push(program.display().to_string());
        arguments
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.work.abort();
    }
}

async fn serve(socket: Arc<UdpSocket>, manner: watch::Receiver<Manner>) {
    let mut query = [0; QUERY];
    while let Ok((length, from)) = socket.recv_from(&mut query).await {
        let Some(answer) = answer(&query[..length]) else {
            continue;
        };
        let now = *manner.borrow();
        if now.silent {
            continue;
        }
        let (socket, manner) = (Arc::clone(&socket), manner.clone());
        realtime::spawn(async move {
            realtime::pause(now.delay).await;
            if !manner.borrow().silent {
                // An error means that the client no longer waits.
                drop(socket.send_to(&answer, from).await);
            }
        });
    }
}

/// The response to a query with one question; `None` for anything else.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut at = HEADER;
    loop {
        match query.get(at)? {
            0 => break,
            label => at += 1 + usize::from(*label),
        }
    }
    let kind = query.get(at + 1..at + 3)?;
    let question = query.get(HEADER..at + 5)?;
    let first = label(TWOFOLD);
    let twofold = question
        .get(..first.len())
        .is_some_and(|asked| asked.eq_ignore_ascii_case(&first));
    let addresses: &[Ipv4Addr] = match (kind == A, twofold) {
        (false, _) => &[],
        (true, false) => &[Ipv4Addr::LOCALHOST],
        (true, true) => &[DEAD, Ipv4Addr::LOCALHOST],
    };
    let found = u8::try_from(addresses.len()).ok()?;
    let mut answer = query.get(..2)?.to_vec();
    // A response; recursion desired and available; no error; one question, `found` answers, nothing else.
    answer.extend([0x81, 0x80, 0, 1, 0, found, 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        // The name by reference to the question, type and class, a TTL of zero, the address.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// The first label of a name, in the encoding of a DNS message.
fn label(name: &str) -> Vec<u8> {
    let first = name.split('.').next().unwrap_or_default();
    let length = u8::try_from(first.len()).unwrap_or(u8::MAX);
    [&[length], first.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(kind: u8) -> Vec<u8> {
        query_for(NAME, kind)
    }

    fn query_for(name: &str, kind: u8) -> Vec<u8> {
        let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.as_bytes());
        }
        query.extend([0, 0, kind, 0, 1]);
        query
    }

    #[test]
    fn one_name_has_two_addresses() {
        let answer = answer(&query_for(TWOFOLD, 1)).unwrap();
        assert_eq!(answer[6..8], [0, 2], "two answers");
        assert!(answer.ends_with(&[0, 4, 127, 0, 0, 1]));
        assert!(answer.windows(6).any(|bytes| bytes == [0, 4, 127, 0, 0, 2]));
    }

    #[test]
    fn a_query_for_ipv4_gets_the_loopback_address() {
        let answer = answer(&query(1)).unwrap();
        assert_eq!(answer[..2], [0xab, 0xcd], "under the question's id");
        assert_eq!(answer[6..8], [0, 1], "one answer");
        assert!(answer.ends_with(&[0, 4, 127, 0, 0, 1]));
    }

    #[test]
    fn any_other_question_has_no_answer_and_no_error() {
        let answer = answer(&query(28)).unwrap();
        assert_eq!((answer[3] & 0x0f, answer[7]), (0, 0));
    }

    #[test]
    fn a_truncated_query_gets_no_response() {
        for length in 0..query(1).len() {
            assert_eq!(answer(&query(1)[..length]), None, "{length} bytes");
        }
    }
}
