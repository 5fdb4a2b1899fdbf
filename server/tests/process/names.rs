//! A server whose name servers are not available.

use std::net::UdpSocket;

use tenterhook_harness::database::Cluster;
use tenterhook_harness::dns_server::{Answer, NameServer};
use tenterhook_harness::realtime;
use tenterhook_harness::reply::{Reply, Script};

use super::callers::{Callers, SECRET, create, deal_changed, deliveries, folder, production, receiver};

/// D13: nothing responds at the name server's port, and no lookup of another name shows whether name servers work. In
/// real time.
#[tokio::test(flavor = "multi_thread")]
async fn without_name_servers_attempts_are_postponed_and_logged() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let process = production(keys.path(), &database.url(None))
        .setting("TENTERHOOK_DNS_SERVERS", nobody.to_string())
        .serve()
        .await
        .unwrap();
    let callers = Callers::new(&process, SECRET);
    let user = callers.user();
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("http://{name}.example.com/"));
    let (a, b, c) = tokio::join!(create(&user, &a), create(&user, &b), create(&user, &c));
    callers
        .platform()
        .publish(&vec![deal_changed(); 10])
        .await
        .unwrap();
    let postponed = async || {
        let (_, metrics) = user.get("/metrics").await.unwrap();
        let name = "tenterhook_attempts_postponed_total{lack=\"NAME_SERVERS\"} ";
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        value.map_or(0, |value| value.parse::<u64>().unwrap())
    };
    realtime::eventually("all that is in flight is postponed", async || {
        postponed().await >= 24
    })
    .await;
    let printed = process.printed();
    let lines: Vec<_> = printed
        .lines()
        .filter(|line| line.contains("no name server responds"))
        .collect();
    assert!((1..=3).contains(&lines.len()), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("WARN")), "{lines:?}");
    for webhook in [a, b, c] {
        let health = user.webhook(&webhook).await.unwrap().unwrap().health;
        assert_eq!((health.state.as_str(), health.ban_counter), ("ACTIVE", 0));
        for delivery in deliveries(&user, &webhook).await {
            assert_eq!(
                (delivery.status.as_str(), delivery.attempts.len()),
                ("PENDING", 0)
            );
        }
    }
}

/// D13: the log says when attempts count although no name server responds, and when they respond again.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_reports_that_dns_is_given_up_and_that_it_recovers() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let names = NameServer::start().await;
    names.set("receiver.example", Answer::read("127.0.0.1"));
    names.fall_silent(true);
    let process = production(keys.path(), &database.url(None))
        .setting("TENTERHOOK_DNS_SERVERS", names.address().to_string())
        .setting("TENTERHOOK_POLICY_ATTEMPT_TIMEOUT", "1s")
        .setting("TENTERHOOK_POLICY_RETRY_DELAYS", "100ms,100ms,100ms")
        // Longer than an attempt, so that the question of each counts.
        .setting("TENTERHOOK_POLICY_DNS_SILENCE", "2s")
        .setting("TENTERHOOK_POLICY_DNS_GIVE_UP", "500ms")
        .serve()
        .await
        .unwrap();
    let callers = Callers::new(&process, SECRET);
    // Each attempt looks the name up.
    let reply = Reply::status(200).header("connection", "close");
    let receiver = receiver(Script::always(reply)).await;
    let url = format!("http://receiver.example:{}/", receiver.address().port());
    create(&callers.user(), &url).await;
    let lines = |what: &str| {
        let printed = process.printed();
        let lines = printed.lines().filter(|line| line.contains(what));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (given_up, again) = (
        "requests whose host names cannot be resolved now count as failures",
        "name servers respond again",
    );
    for round in 1..=2 {
        names.fall_silent(true);
        let publication = callers.platform().publish(&vec![deal_changed(); 5]).await;
        publication.unwrap();
        realtime::eventually("attempts are judged", async || lines(given_up).len() == round).await;
        names.fall_silent(false);
        realtime::eventually("name servers answer", async || lines(again).len() == round).await;
    }
    realtime::eventually("all have ended", async || callers.tally().await.open == 0).await;
    for (what, level) in [(given_up, "WARN"), (again, "INFO")] {
        let lines = lines(what);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains(level)), "{lines:?}");
    }
}
