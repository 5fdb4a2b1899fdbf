drop table tallies, notices, outcomes, attempts, deliveries, idempotency, events, webhook_health, webhooks,
    installations, users, apps, changes, nodes, settings;
