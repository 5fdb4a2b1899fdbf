//! Every request carries the webhook's HTTP basic credentials, and the API returns them to nobody (W11).

use serde_json::json;

use super::callers::silent;
use crate::client::NewWebhook;
use crate::scenario::{Scenario, holds, same};

/// `user:päss` as UTF-8, which RFC 7617 recommends. Encoded by hand.
const AUTHORIZATION: &str = "Basic dXNlcjpww6Rzcw==";
/// `:päss`, a password without a user name.
const WITHOUT_USER: &str = "Basic OnDDpHNz";
/// `:`, neither.
const WITHOUT_BOTH: &str = "Basic Og==";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "basic-credentials-go-with-every-attempt",
            "First try and retries carry the same basic credentials, UTF-8 encoded.",
            &["W11"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(500).await;
                    let new = NewWebhook::to(&receiver.url()).basic_auth("user", "päss");
                    world.company(1).owner(7).await?.create_webhook(new).await?;
                    world.company(1).publish().await?;
                    world.advance("PT1H").await;
                    let sent: Vec<Option<String>> = receiver
                        .journal()
                        .all()
                        .iter()
                        .map(|arrival| arrival.header("authorization").map(str::to_owned))
                        .collect();
                    same(
                        "Authorization of each request",
                        sent,
                        vec![Some(AUTHORIZATION.to_owned()); 4],
                    )
                })
            },
        ),
        Scenario::new(
            "an-empty-user-name-is-sent",
            "A user name may be empty: at the creation, without a password, and after a change; the password follows the \
             colon.",
            &["W11"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(500).await;
                    let user = world.company(1).owner(7).await?;
                    let new = NewWebhook::to(&receiver.url()).basic_auth("", "päss");
                    let made = user.create_webhook(new).await?.webhook;
                    same(
                        "user name, and whether there is a password",
                        (made.http_auth_user.as_deref(), made.has_http_auth_password),
                        (Some(""), true),
                    )?;
                    world.company(1).publish().await?;
                    world.settle().await;
                    user.update_webhook(&made.id, json!({"httpAuthPassword": null}))
                        .await?;
                    world.advance("PT3S").await;
                    let named = json!({"httpAuthUser": "user", "httpAuthPassword": "päss"});
                    user.update_webhook(&made.id, named).await?;
                    let emptied = user.update_webhook(&made.id, json!({"httpAuthUser": ""})).await?;
                    same(
                        "the user name after the change",
                        emptied.http_auth_user.as_deref(),
                        Some(""),
                    )?;
                    world.advance("PT30S").await;
                    let sent = receiver.journal().all();
                    let headers: Vec<_> = sent
                        .iter()
                        .map(|arrival| arrival.header("authorization"))
                        .collect();
                    same(
                        "Authorization of each request",
                        headers,
                        [WITHOUT_USER, WITHOUT_BOTH, WITHOUT_USER].map(Some).to_vec(),
                    )
                })
            },
        ),
        Scenario::new(
            "no-credentials-no-authorization",
            "A webhook without credentials sends no Authorization header.",
            &["W11"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(200).await;
                    let user = world.company(1).owner(7).await?;
                    user.create_webhook(NewWebhook::to(&receiver.url())).await?;
                    world.company(1).publish().await?;
                    world.settle().await;
                    let sent = receiver.journal().all();
                    let headers: Vec<_> = sent
                        .iter()
                        .map(|arrival| arrival.header("authorization"))
                        .collect();
                    same("Authorization of each request", headers, vec![None])
                })
            },
        ),
        Scenario::new(
            "the-password-is-never-returned",
            "Responses say that there is a password, and never show it.",
            &["W11"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).owner(7).await?;
                    let new = silent().basic_auth("user", "correct-horse-battery");
                    let made = user.create_webhook(new).await?.webhook;
                    same(
                        "user name, and whether there is a password",
                        (made.http_auth_user.as_deref(), made.has_http_auth_password),
                        (Some("user"), true),
                    )?;
                    let changed = user.update_webhook(&made.id, json!({"name": "renamed"})).await?;
                    let seen = user.webhook(&made.id).await?;
                    let removed = user.delete_webhook(&made.id).await?;
                    let shown = format!("{made:?} {changed:?} {seen:?} {removed:?}");
                    holds(
                        "all answers",
                        "without the password",
                        !shown.contains("correct-horse"),
                        &shown,
                    )
                })
            },
        ),
        Scenario::new(
            "credentials-are-cleared-by-null",
            "Null clears the credentials; a field that is left out does not change them.",
            &["W11", "D9"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(200).await;
                    let user = world.company(1).owner(7).await?;
                    let new = NewWebhook::to(&receiver.url()).basic_auth("user", "päss");
                    let id = user.create_webhook(new).await?.webhook.id;
                    let renamed = user
                        .update_webhook(&id, json!({"name": "still with credentials"}))
                        .await?;
                    same(
                        "a password after another change",
                        renamed.has_http_auth_password,
                        true,
                    )?;
                    let nothing = json!({"httpAuthUser": null, "httpAuthPassword": null});
                    let cleared = user.update_webhook(&id, nothing).await?;
                    same(
                        "user name and password after null",
                        (cleared.http_auth_user, cleared.has_http_auth_password),
                        (None, false),
                    )?;
                    world.company(1).publish().await?;
                    world.settle().await;
                    let sent = receiver.journal().all();
                    let headers: Vec<_> = sent
                        .iter()
                        .map(|arrival| arrival.header("authorization"))
                        .collect();
                    same("Authorization of each request", headers, vec![None])
                })
            },
        )
        .not_through_rest("REST changes no webhook"),
    ]
}
