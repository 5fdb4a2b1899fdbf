//! Who may create, change and delete which webhook (W2, W4, W6, W7).

use serde_json::json;

use super::callers::{ALL_BUT_ADMIN, Callers, silent};
use crate::client::{Client, WebhookList};
use crate::scenario::{Play, Scenario, refused, same};
use crate::token::Claims;
use crate::world::World;

/// A caller that tries to delete a webhook of another caller.
struct Attempt {
    name: &'static str,
    sentence: &'static str,
    rule: &'static [&'static str],
    webhook: &'static str,
    caller: fn(&World) -> Client,
    outcome: Outcome,
    /// For an attempt through an app: the outcome where apps also see their user's general webhooks.
    under_own_general: Option<Outcome>,
}

/// The remove reason of the removed webhook, or the code of the refusal.
type Outcome = Result<&'static str, &'static str>;

const DELETIONS: &[Attempt] = &[
    Attempt {
        name: "an-app-deletes-its-own-webhook",
        sentence: "An app deletes its own application webhook.",
        rule: &["W6"],
        webhook: "crm's for user 7",
        caller: |world| world.company(1).app("crm").acting_for(7),
        outcome: Ok("DELETED_BY_APP"),
        under_own_general: Some(Ok("DELETED_BY_APP")),
    },
    Attempt {
        name: "another-app-cannot-delete-an-application-webhook",
        sentence: "For another app of the same user an application webhook does not exist.",
        rule: &["W6"],
        webhook: "crm's for user 7",
        caller: |world| world.company(1).app("erp").acting_for(7),
        outcome: Err("NOT_FOUND"),
        under_own_general: Some(Err("NOT_FOUND")),
    },
    Attempt {
        name: "the-app-user-cannot-delete-an-application-webhook",
        sentence: "The app's own user cannot delete its webhook without the app.",
        rule: &["W6", "W5"],
        webhook: "crm's for user 7",
        caller: |world| world.company(1).user(7),
        outcome: Err("NOT_FOUND"),
        under_own_general: None,
    },
    Attempt {
        name: "the-admin-cannot-delete-an-application-webhook",
        sentence: "The company's admin cannot delete an application webhook.",
        rule: &["W6", "W5"],
        webhook: "crm's for user 7",
        caller: |world| world.company(1).admin(9),
        outcome: Err("NOT_FOUND"),
        under_own_general: None,
    },
    Attempt {
        name: "the-same-app-for-an-admin-cannot-delete-a-users-application-webhook",
        sentence: "The same app, acting for the admin, cannot delete what it made for another user.",
        rule: &["W6"],
        webhook: "crm's for user 7",
        caller: |world| world.company(1).app("crm").acting_for_admin(9),
        outcome: Err("NOT_FOUND"),
        under_own_general: Some(Err("NOT_FOUND")),
    },
    Attempt {
        name: "an-app-that-is-not-installed-cannot-delete",
        sentence: "A deletion by an app that the user has not installed is refused for that reason.",
        rule: &["W2"],
        webhook: "crm's for user 7",
        caller: |world| world.company(1).app("crm").acting_for(8),
        outcome: Err("APP_NOT_INSTALLED"),
        under_own_general: Some(Err("APP_NOT_INSTALLED")),
    },
    Attempt {
        name: "a-user-deletes-their-own-webhook",
        sentence: "A regular user deletes their own general webhook.",
        rule: &["W7"],
        webhook: "user 7's",
        caller: |world| world.company(1).user(7),
        outcome: Ok("DELETED_BY_USER"),
        under_own_general: None,
    },
    Attempt {
        name: "another-user-cannot-delete-a-general-webhook",
        sentence: "For another regular user a general webhook does not exist.",
        rule: &["W7"],
        webhook: "user 7's",
        caller: |world| world.company(1).user(8),
        outcome: Err("NOT_FOUND"),
        under_own_general: None,
    },
    Attempt {
        name: "the-admin-deletes-anybodys-general-webhook",
        sentence: "The company's admin deletes the general webhook of another user.",
        rule: &["W7"],
        webhook: "user 7's",
        caller: |world| world.company(1).admin(9),
        outcome: Ok("DELETED_BY_ADMIN"),
        under_own_general: None,
    },
    Attempt {
        name: "an-app-cannot-delete-a-general-webhook",
        sentence: "An app cannot delete a general webhook of its user: it sees none, or can only read it.",
        rule: &["W4"],
        webhook: "user 7's",
        caller: |world| world.company(1).app("crm").acting_for(7),
        outcome: Err("NOT_FOUND"),
        under_own_general: Some(Err("FORBIDDEN")),
    },
    Attempt {
        name: "an-app-for-an-admin-cannot-delete-a-general-webhook",
        sentence: "For an app that acts for an admin another user's general webhook does not exist.",
        rule: &["W4"],
        webhook: "user 7's",
        caller: |world| world.company(1).app("crm").acting_for_admin(9),
        outcome: Err("NOT_FOUND"),
        under_own_general: Some(Err("NOT_FOUND")),
    },
    Attempt {
        name: "an-app-for-an-admin-cannot-delete-the-admins-general-webhook",
        sentence: "An app that acts for an admin cannot delete the admin's own general webhook either.",
        rule: &["W4"],
        webhook: "the admin's",
        caller: |world| world.company(1).app("crm").acting_for_admin(9),
        outcome: Err("NOT_FOUND"),
        under_own_general: Some(Err("FORBIDDEN")),
    },
    Attempt {
        name: "another-companys-admin-cannot-delete",
        sentence: "For the admin of another company a general webhook does not exist.",
        rule: &["W7"],
        webhook: "user 7's",
        caller: |world| world.company(2).admin(9),
        outcome: Err("NOT_FOUND"),
        under_own_general: None,
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<Scenario> = DELETIONS
        .iter()
        .map(|attempt| deletion(attempt, attempt.name.to_owned(), attempt.outcome))
        .collect();
    all.extend(DELETIONS.iter().filter_map(|attempt| {
        let name = format!("{}-under-own-general", attempt.name);
        Some(deletion(attempt, name, attempt.under_own_general?).under_own_general())
    }));
    all.extend([
        Scenario::new(
            "an-admin-creates-for-another-user",
            "An admin may create a webhook for another user; that user may delete it.",
            &["W7"],
            |world| {
                Box::pin(async move {
                    let company = world.company(1);
                    world.platform().upsert_user(company.id(), 8, "REGULAR").await?;
                    let made = company
                        .admin(9)
                        .create_webhook(silent().for_user(8))
                        .await?
                        .webhook;
                    same(
                        "type, userId and ownerId",
                        (made.kind.as_str(), made.user_id.as_str(), made.owner_id.as_str()),
                        ("GENERAL", "8", "9"),
                    )?;
                    same(
                        "what a third user sees",
                        company.user(7).webhook(&made.id).await?,
                        None,
                    )?;
                    let removed = company.user(8).delete_webhook(&made.id).await?;
                    same(
                        "why it went",
                        removed.remove_reason.as_deref(),
                        Some("DELETED_BY_USER"),
                    )
                })
            },
        ),
        Scenario::new(
            "a-regular-user-cannot-create-for-another",
            "A regular user who names another user is refused, and may name themselves.",
            &["W7"],
            |world| {
                Box::pin(async move {
                    let company = world.company(1);
                    world.platform().upsert_user(company.id(), 8, "REGULAR").await?;
                    let user = company.user(7);
                    let for_another = user.create_webhook(silent().for_user(8)).await;
                    refused("a creation for user 8 by user 7", for_another, "FORBIDDEN")?;
                    let own = user.create_webhook(silent().for_user(7)).await?.webhook;
                    same("whose it is", own.user_id.as_str(), "7")
                })
            },
        ),
        Scenario::new(
            "an-admin-cannot-create-for-an-unknown-user",
            "Nobody can create a webhook for a user that the server does not know.",
            &["W7"],
            |world| {
                Box::pin(async move {
                    let created = world
                        .company(1)
                        .admin(9)
                        .create_webhook(silent().for_user(404))
                        .await;
                    refused("a creation for user 404", created, "NOT_FOUND")
                })
            },
        ),
        Scenario::new(
            "an-application-webhook-is-the-tokens-own-users",
            "Through an app, not even an admin can create a webhook for another user.",
            &["W7", "W1"],
            |world| {
                Box::pin(async move {
                    let crm = world.company(1).app("crm");
                    crm.install(8).await?;
                    crm.install(9).await?;
                    let admin = crm.acting_for_admin(9);
                    let for_another = admin.create_webhook(silent().for_user(8)).await;
                    refused("a creation for user 8", for_another, "FORBIDDEN")?;
                    let own = admin.create_webhook(silent()).await?.webhook;
                    same(
                        "type and user of one without a user",
                        (own.kind.as_str(), own.user_id.as_str()),
                        ("APPLICATION", "9"),
                    )
                })
            },
        ),
        Scenario::new(
            "changes-follow-the-same-rights-as-deletions",
            "A caller that may not delete a webhook may not rename it, with the same error.",
            &["W4", "W6", "W7"],
            |world| Box::pin(async move { changes(world, |attempt| attempt.outcome).await }),
        )
        .not_through_rest("REST changes no webhook"),
        Scenario::new(
            "changes-follow-the-same-rights-as-deletions-under-own-general",
            "Where apps also see their user's general webhooks, they may rename what they may delete, and nothing else.",
            &["W4", "W6", "W7"],
            |world| {
                Box::pin(async move {
                    changes(world, |attempt| attempt.under_own_general.unwrap_or(attempt.outcome)).await
                })
            },
        )
        .not_through_rest("REST changes no webhook")
        .under_own_general(),
        Scenario::new(
            "an-app-without-the-admin-scope-writes-nothing",
            "Through an app, all scopes without admin are not enough to create, change or delete.",
            &["W2"],
            |world| {
                Box::pin(async move {
                    let company = world.company(1);
                    let crm = company.app("crm");
                    let id = crm.install(7).await?.create_webhook(silent()).await?.webhook.id;
                    let claims = Claims::user(company.id(), 7, "regular")
                        .through_app(crm.id())
                        .with_scope(ALL_BUT_ADMIN);
                    let caller = world.caller(0, &claims);
                    refused("a creation", caller.create_webhook(silent()).await, "FORBIDDEN")?;
                    let renamed = caller.update_webhook(&id, json!({"name": "renamed"})).await;
                    refused("a change", renamed, "FORBIDDEN")?;
                    refused("a deletion", caller.delete_webhook(&id).await, "FORBIDDEN")
                })
            },
        ),
        Scenario::new(
            "the-admin-scope-alone-is-enough-for-an-app",
            "Through an app, the admin scope alone is enough to create, read, change and delete.",
            &["W2"],
            |world| {
                Box::pin(async move {
                    let company = world.company(1);
                    let crm = company.app("crm");
                    crm.install(7).await?;
                    let claims = Claims::user(company.id(), 7, "regular")
                        .through_app(crm.id())
                        .with_scope("admin");
                    let caller = world.caller(0, &claims);
                    let made = caller.create_webhook(silent()).await?.webhook;
                    let read = caller.webhook(&made.id).await?;
                    same("read by id", read.map(|webhook| webhook.id), Some(made.id.clone()))?;
                    let listed = caller.webhooks(WebhookList::default()).await?;
                    same("webhooks in a list", listed.len(), 1)?;
                    same("places used", caller.quota("APPLICATION", None).await?.used, 1)?;
                    let renamed = caller.update_webhook(&made.id, json!({"name": "renamed"})).await?;
                    same("the new name", renamed.name.as_deref(), Some("renamed"))?;
                    let deleted = caller.delete_webhook(&made.id).await?;
                    same(
                        "why it went",
                        deleted.remove_reason.as_deref(),
                        Some("DELETED_BY_APP"),
                    )
                })
            },
        ),
    ]);
    all
}

/// Lets every caller rename the webhook that it tries to delete elsewhere. The result is that of the deletion.
async fn changes(world: &World, outcome: fn(&Attempt) -> Outcome) -> Play {
    let callers = Callers::new(world).await?;
    for attempt in DELETIONS {
        let id = &callers.webhook(attempt.webhook)?.id;
        let caller = (attempt.caller)(world);
        let renamed = caller.update_webhook(id, json!({"name": attempt.name})).await;
        match outcome(attempt) {
            Ok(_) => same("the new name", renamed?.name.as_deref(), Some(attempt.name))?,
            Err(code) => refused(format!("a change, {}", attempt.name), renamed, code)?,
        }
    }
    Ok(())
}

/// A scenario in which a caller tries to delete a webhook. It is then removed, or still exists.
fn deletion(attempt: &'static Attempt, name: String, outcome: Outcome) -> Scenario {
    Scenario::new(name, attempt.sentence, attempt.rule, move |world| {
        Box::pin(async move {
            let callers = Callers::new(world).await?;
            let id = &callers.webhook(attempt.webhook)?.id;
            let deleted = (attempt.caller)(world).delete_webhook(id).await;
            let after = world.operator().webhook(id).await?;
            let reason = after.and_then(|webhook| webhook.remove_reason);
            match outcome {
                Ok(expected) => {
                    same("removedAt", deleted?.removed_at, Some(world.now()))?;
                    same("removeReason", reason.as_deref(), Some(expected))
                }
                Err(code) => {
                    refused("the deletion", deleted, code)?;
                    same("removeReason after it was refused", reason, None)
                }
            }
        })
    })
}
