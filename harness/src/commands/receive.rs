//! `receive`: a receiver on a fixed port that prints its requests.

use std::io::{Write, stdout};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use jiff::SignedDuration;

use tenterhook_harness::journal::Arrival;
use tenterhook_harness::reply::Reply;
use tenterhook_harness::signature::{Keyring, Secret};
use tenterhook_harness::timekeeper::RealTime;
use tenterhook_harness::wire::{Behaviour, Fault, Listen, Script, WireReceiver};

/// Listen for webhooks, respond as configured, and print each request with its errors.
///
/// Each request is printed with its event, webhook, attempt and signature, and with everything that violates the
/// payload's format. Every request has its own connection. Ends with Ctrl-C.
#[derive(Args)]
#[command(after_help = "Examples:
  receive                              answer 200 to everything on port 9000
  receive --fail-first 10              see a ban: the first ten requests get a 500
  receive --status 503 --delay 2s      answer 503 after two seconds
  receive --script fail:3,hang,ok      three 500s, one hang, then 200 forever
  receive --fault hang-before-headers  never answer
  receive --secret whsec_...           check signatures with the webhook's secret")]
pub struct Receive {
    /// The port to listen on; 0 selects a free one.
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// The status of the responses.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    status: u16,
    /// Respond to this number of requests with 500 first.
    #[arg(long, value_name = "N", default_value_t = 0)]
    fail_first: usize,
    /// Wait this long before each response, such as `2s` or `PT2S`.
    #[arg(long, value_name = "TIME")]
    delay: Option<SignedDuration>,
    /// Cause this fault instead of responding; with `--fail-first N`, only for the first N requests.
    #[arg(long, value_enum, value_name = "FAULT")]
    fault: Option<Fault>,
    /// The behaviour for each request in turn, such as `fail:3,hang,ok`; the last is repeated forever. An entry is
    /// `ok`, `fail`, a status, `delay:2s` or the name of a fault, and `:N` repeats it.
    #[arg(long, value_name = "SCRIPT", conflicts_with_all = ["status", "fail_first", "delay", "fault", "body"])]
    script: Option<Script>,
    /// The body of each response.
    #[arg(long, default_value = "")]
    body: String,
    /// A webhook's signing secret, `whsec_…`; can be repeated.
    #[arg(long, value_name = "SECRET")]
    secret: Vec<Secret>,
    /// Print one line per request, without its body.
    #[arg(long, short)]
    quiet: bool,
}

impl Receive {
    /// Serves until the process ends.
    pub async fn run(self) -> anyhow::Result<()> {
        let quiet = self.quiet;
        let me = Arc::new(self);
        let receiver = Arc::clone(&me).listen().await?;
        print(&format!("Listening. Point a webhook at {}\n", receiver.url()))?;
        let mut count = receiver.journal().watch();
        let mut printed = 0;
        loop {
            for arrival in receiver.journal().all().into_iter().skip(printed) {
                printed += 1;
                let behaviour = arrival.connection.map(|connection| me.behaviour(connection));
                print(&describe(&arrival, behaviour.as_ref(), quiet))?;
            }
            count.changed().await?;
        }
    }

    async fn listen(self: Arc<Self>) -> anyhow::Result<WireReceiver> {
        let keyring = Keyring::default();
        for secret in &self.secret {
            keyring.add_for_all(secret.clone());
        }
        let address = SocketAddr::new(self.host, self.port);
        let listen = Listen { address, tls: None };
        let behaviours = Arc::new(move |connection| self.behaviour(connection));
        WireReceiver::start(listen, Arc::new(RealTime), keyring, behaviours)
            .await
            .with_context(|| format!("cannot listen on {address}; is another receiver running?"))
    }

    /// The behaviour of the connection with this number.
    fn behaviour(&self, connection: usize) -> Behaviour {
        if let Some(script) = &self.script {
            return script.behaviour(connection).clone();
        }
        let failing = connection < self.fail_first;
        let reply = match self.fault {
            Some(fault) if failing || self.fail_first == 0 => return Behaviour::Fault(fault),
            None if failing => Reply::status(500),
            _ => Reply::status(self.status).body(self.body.as_str()),
        };
        match self.delay {
            Some(delay) => Behaviour::ReplyAfter(delay, reply),
            None => Behaviour::Reply(reply),
        }
    }
}

/// Describes one request for people.
fn describe(arrival: &Arrival, behaviour: Option<&Behaviour>, quiet: bool) -> String {
    let answered = behaviour.map(ToString::to_string).unwrap_or_default();
    let at = arrival.real.strftime("%H:%M:%S%.3f");
    let mut text = format!(
        "{at}  attempt {} of event {} to webhook {}, {answered}, signature {}\n",
        arrival.attempt(),
        arrival.event(),
        arrival.webhook(),
        arrival.verdict
    );
    for complaint in arrival.complaints() {
        text.push_str(&format!("    ! {complaint}\n"));
    }
    if !quiet {
        let body = serde_json::to_string_pretty(&arrival.json()).unwrap_or_default();
        for line in body.lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

/// Prints to standard output without buffering, also if that is a file.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    const BODY: &str = r#"{"meta":{},"data":{"title":"x"}}"#;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        receive: Receive,
    }

    /// Sends a request with this signature. Returns what `receive` prints about it.
    async fn shown(body: &str, timestamp: i64, signature: Option<String>) -> String {
        let line = Line::parse_from(["receive", "--port", "0", "--secret", SECRET]);
        let receiver = Arc::new(line.receive).listen().await.unwrap();
        // Fails only if another provider is installed, which works as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let request = reqwest::Client::new()
            .post(receiver.url())
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", timestamp)
            .body(body.to_owned());
        let request = match signature {
            Some(signature) => request.header("webhook-signature", signature),
            None => request,
        };
        assert_eq!(request.send().await.unwrap().status(), 200);
        let arrivals = receiver.journal().wait_for(1).await;
        describe(&arrivals[0], None, true)
    }

    fn signed(timestamp: i64) -> Option<String> {
        let key = standardwebhooks::Webhook::new(SECRET).unwrap();
        Some(key.sign("msg_1", timestamp, BODY.as_bytes()).unwrap())
    }

    #[tokio::test]
    async fn a_tampered_request_is_shown_with_what_is_wrong_with_it() {
        let now = tenterhook_harness::realtime::now().as_second();
        let good = shown(BODY, now, signed(now)).await;
        assert!(good.contains("signature valid"), "{good}");
        let changed = shown(&BODY.replace('x', "y"), now, signed(now)).await;
        assert!(changed.contains("INVALID: no signature matches"), "{changed}");
        let unsigned = shown(BODY, now, None).await;
        assert!(
            unsigned.contains("INVALID: no webhook-signature header"),
            "{unsigned}"
        );
        let old = now - 3 * 3_600;
        let stale = shown(BODY, old, signed(old)).await;
        assert!(
            stale.contains("INVALID: webhook-timestamp is off by 3h"),
            "{stale}"
        );
    }
}
