//! Live connections, in what all client libraries have in common: how a connection ends.

use serde_json::json;

use super::scene::USER;
use crate::client::live::{PROTOCOL, RawSocket};
use crate::scenario::{Need, Play, Scenario, same};
use crate::world::World;

/// How far the handshake of a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The socket is open, and no message was sent.
    Opened,
    /// The server has accepted its token.
    Acknowledged,
    /// A subscription is running.
    Subscribed,
}

/// Close codes that a client may send: normal, going away, application-defined.
const CODES: [u16; 3] = [1000, 1001, 4000];

pub(super) fn scenarios() -> Vec<Scenario> {
    [
        (Stage::Opened, "before-it-says-anything", "says nothing before"),
        (Stage::Acknowledged, "after-the-acknowledgement", "has been acknowledged"),
        (Stage::Subscribed, "with-a-subscription", "has a subscription running"),
    ]
    .map(|(stage, word, sentence)| {
        let scenario = Scenario::new(
            format!("a-client-closes-{word}"),
            format!(
                "A client that closes its WebSocket gets a close frame with the same code back; it {sentence} (RFC 6455, \
                 5.5.1)."
            ),
            &["R5"],
            move |world| Box::pin(close(world, stage)),
        );
        scenario.needing(Need::Live).also_in_real_time()
    })
    .into()
}

async fn close(world: &mut World, stage: Stage) -> Play {
    let user = world.company(1).user(USER);
    for code in CODES {
        let mut socket = match stage {
            Stage::Opened => RawSocket::connect(&world.url(0), Some(PROTOCOL)).await?,
            Stage::Acknowledged | Stage::Subscribed => user.socket().await?,
        };
        if stage == Stage::Subscribed {
            let query = "subscription { webhookChanged { id } }";
            let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": query}});
            socket.send(&subscribe).await?;
            // The pong shows that the server has processed all messages before the ping.
            socket.send(&json!({"type": "ping"})).await?;
            let answer = socket.message().await?;
            same("the answer to a ping", answer["type"].as_str(), Some("pong"))?;
        }
        socket.close(code).await?;
        let (answered, _) = socket.closed().await?;
        same(
            format!("the code that the server returns for {code}"),
            answered,
            code,
        )?;
    }
    Ok(())
}
