//! Each attempt is logged as it happened, for the promised time.

use serde_json::{Value, json};
use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::reply::{Reply, Script};
use tenterhook_harness::world::World;

use crate::scene::Scene;

const ATTEMPTS: &str = "query($id: ID!) { webhook(id: $id) { deliveries(first: 1) { nodes { attempts { \
    number startedAt endedAt durationMs timings { dnsMs connectMs firstByteMs } httpStatus errorClass errorMessage \
    requestHeaders { name value } requestBody responseHeaders { name value } responseBody responseTruncated } } } } }";

async fn attempts(scene: &Scene) -> Vec<Value> {
    let mut data = scene
        .user
        .query(ATTEMPTS, json!({"id": scene.webhook.id}))
        .await
        .expect("the user sees it");
    let attempts = data
        .pointer_mut("/webhook/deliveries/nodes/0/attempts")
        .map(Value::take);
    attempts
        .and_then(|attempts| attempts.as_array().cloned())
        .expect("there is a delivery")
}

fn header<'a>(headers: &'a Value, name: &str) -> Option<&'a str> {
    let mut headers = headers.as_array()?.iter();
    headers.find(|header| header["name"] == name)?["value"].as_str()
}

/// D10: number, times, status, error, response headers and the beginning of the response body; request headers with
/// secrets redacted, and the request body as sent.
#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_is_logged_as_it_was() {
    let reply = |status: u16| Reply::status(status).header("x-receiver", "seven").body("thanks");
    let (scene, receiver) = Scene::new(Script::by_attempt([reply(502)], reply(200))).await;
    scene.deliver().await;
    scene.world.advance("PT3S").await;

    let logged = attempts(&scene).await;
    let arrivals = receiver.journal().all();
    assert_eq!(logged.len(), 2);
    for (attempt, arrival) in logged.iter().zip(&arrivals) {
        assert_eq!(attempt["number"], arrival.attempt());
        assert_eq!(attempt["startedAt"], format!("{:.3}", arrival.at));
        assert_eq!(
            attempt["requestBody"].as_str().map(str::as_bytes),
            Some(&arrival.body[..])
        );
        for name in [
            "webhook-id",
            "webhook-timestamp",
            "tenterhook-webhook",
            "tenterhook-attempt",
            "content-type",
        ] {
            assert_eq!(
                header(&attempt["requestHeaders"], name),
                arrival.header(name),
                "{name}"
            );
        }
        let signature = arrival.header("webhook-signature").unwrap();
        assert!(
            !header(&attempt["requestHeaders"], "webhook-signature")
                .unwrap()
                .contains(&signature[3..])
        );
        assert_eq!(header(&attempt["responseHeaders"], "x-receiver"), Some("seven"));
        assert_eq!(
            (&attempt["responseBody"], &attempt["responseTruncated"]),
            (&json!("thanks"), &json!(false))
        );
        assert!(
            attempt["durationMs"].as_f64().unwrap() >= attempt["timings"]["firstByteMs"].as_f64().unwrap()
        );
    }
    assert_eq!(
        (&logged[0]["httpStatus"], &logged[0]["errorClass"]),
        (&json!(502), &json!("STATUS"))
    );
    assert!(logged[0]["errorMessage"].is_string());
    assert_eq!(
        (&logged[1]["httpStatus"], &logged[1]["errorClass"]),
        (&json!(200), &Value::Null)
    );
    scene.world.verify().await;
}

/// D10: 1 KiB of the body is kept for a success. Truncated text stays valid text.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_success_one_kib_is_kept() {
    let (scene, _receiver) = Scene::new(Reply::status(200).body("ä".repeat(1000))).await;
    scene.deliver().await;
    let attempt = &attempts(&scene).await[0];
    assert_eq!(
        (&attempt["responseBody"], &attempt["responseTruncated"]),
        (&json!("ä".repeat(512)), &json!(true))
    );
    scene.world.verify().await;
}

/// D10, D7: after thirty days attempts and events are deleted. Counters keep them.
#[tokio::test(flavor = "multi_thread")]
async fn after_thirty_days_history_is_dropped_and_still_counted() {
    let world = World::start().await;
    let receiver = world.receiver(200).await;
    let user = world.company(1).user(7);
    let webhook = user
        .create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap()
        .webhook;
    world.company(1).publish().await.unwrap();
    world.advance("PT719H59M59.999S").await;
    assert_eq!(
        user.deliveries(&webhook.id).await.unwrap().len(),
        1,
        "kept for thirty days"
    );
    world.advance("PT0.001S").await;
    assert_eq!(user.deliveries(&webhook.id).await.unwrap(), []);
    let tally = world.tally().await;
    assert_eq!((tally.accepted, tally.succeeded), (1, 1));
    world.company(1).publish().await.unwrap();
    world.settle().await;
    assert_eq!(receiver.journal().len(), 2);
    world.verify().await;
}
