//! The server warns before it removes: one notice per transition, with the time at which it happened (R4).

use jiff::{SignedDuration, Timestamp};

use super::scene::{BAN, MILLISECOND, Scene, WINDOW};
use crate::scenario::{Failure, Need, Play, Scenario, same};
use crate::webhook_type::WebhookType;

/// R4's warnings: hours since the window began, and the kind of the notice.
const WARNINGS: [(i64, &str); 3] = [(24, "FAILING_24H"), (48, "FAILING_48H"), (71, "FAILING_71H")];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new(
            "a-ban-is-told-at-its-start-and-its-end",
            "The start and the end of a ban have one notice each, with the time of the boundary, however late it is read.",
            &["R4", "T3"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver_times(9).await?;
                    expect(&scene, "after nine failures", &[]).await?;
                    world.advance("PT1M").await;
                    let start = world.now();
                    scene.deliver().await?;
                    expect(&scene, "as a ban begins", &[("BANNED", start)]).await?;
                    world.advance(BAN - MILLISECOND).await;
                    expect(&scene, "just before its end", &[("BANNED", start)]).await?;
                    receiver.answer_with(200);
                    world.advance("PT10M").await;
                    scene.deliver().await?;
                    let all = [
                        ("BANNED", start),
                        ("BAN_ENDED", start + BAN),
                        // The success closed the window.
                        ("RECOVERED", world.now()),
                    ];
                    expect(&scene, "after it", &all).await
                })
            },
        ),
        Scenario::new(
            "a-window-to-its-end-is-told-step-by-step",
            "A window that reaches its end has one notice each at 24, 48 and 71 hours and at the removal.",
            &["R4", "R1"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 500).await?;
                    let since = world.now();
                    scene.deliver().await?;
                    world.advance("P5D").await;
                    let mut told: Vec<_> = WARNINGS
                        .map(|(hours, kind)| (kind, since + SignedDuration::from_hours(hours)))
                        .into();
                    told.push(("REMOVED", since + WINDOW));
                    expect(&scene, "two days after the removal", &told).await
                })
            },
        ),
        Scenario::new(
            "every-recovery-is-told",
            "Each success that ends a failure window has a notice, whether a warning came before it or not; another success \
             has none.",
            &["R4"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver().await?;
                    world.advance("PT1H").await;
                    receiver.answer_with(200);
                    let first = world.now();
                    scene.deliver_times(2).await?;
                    expect(&scene, "after an hour's window", &[("RECOVERED", first)]).await?;
                    // A failure at the same instant as a success could be ordered before it, and would then open no
                    // window.
                    world.advance("PT1M").await;
                    receiver.answer_with(500);
                    let since = world.now();
                    scene.deliver().await?;
                    world.advance("PT30H").await;
                    receiver.answer_with(200);
                    let second = world.now();
                    scene.deliver_times(2).await?;
                    let warned = since + SignedDuration::from_hours(24);
                    let told = [
                        ("RECOVERED", first),
                        ("FAILING_24H", warned),
                        ("RECOVERED", second),
                    ];
                    expect(&scene, "after a warned window", &told).await
                })
            },
        ),
        Scenario::new(
            "a-retry-that-succeeds-is-a-recovery",
            "If a failed first try opens a window and its retry ends it, there is a notice of the recovery, with the \
             time of the success; a pause that ends a window is not a recovery.",
            &["R4", "W13"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 500).await?;
                    scene.deliver().await?;
                    receiver.answer_with(200);
                    let success = world.now() + SignedDuration::from_secs(3);
                    world.advance("PT1M").await;
                    expect(&scene, "after the retry", &[("RECOVERED", success)]).await?;
                    receiver.answer_with(500);
                    scene.deliver().await?;
                    scene.user.pause(&scene.webhook.id).await?;
                    scene.user.resume(&scene.webhook.id).await?;
                    receiver.answer_with(200);
                    world.advance("PT1M").await;
                    scene.deliver().await?;
                    expect(&scene, "after a pause", &[("RECOVERED", success)]).await
                })
            },
        )
        .needing(Need::Pause),
        Scenario::new(
            "only-who-sees-the-webhook-sees-its-notices",
            "Its user and the admin see the notices of a general webhook, only its app those of an application webhook.",
            &["R4", "W4"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::new(world, 500).await?;
                    scene.deliver_times(10).await?;
                    let (company, id) = (scene.company(), &scene.webhook.id);
                    let without_an_app = usize::from(world.webhook_type() == WebhookType::General);
                    for (who, caller, sees) in [
                        ("its owner", scene.user.clone(), 1),
                        ("its user, not through an app,", company.user(7), without_an_app),
                        ("the admin", company.admin(9), without_an_app),
                        ("another user", company.user(8), 0),
                        ("another company's admin", world.company(2).admin(9), 0),
                    ] {
                        same(
                            format!("notices that {who} sees"),
                            caller.notices(id).await?.len(),
                            sees,
                        )?;
                    }
                    Ok(())
                })
            },
        ),
    ];
    all.extend(WARNINGS.map(|(hours, kind)| warning(hours, kind)));
    all.into_iter()
        .map(|scenario| scenario.needing(Need::Notices))
        .collect()
}

/// A scenario about one warning, a millisecond before it is due and when it is due.
fn warning(hours: i64, kind: &'static str) -> Scenario {
    Scenario::new(
        format!("warned-at-{hours}-hours"),
        format!("A window is warned about at exactly {hours} hours, and not a millisecond before."),
        &["R4", "T2"],
        move |world| {
            Box::pin(async move {
                let (scene, _receiver) = Scene::new(world, 500).await?;
                let due = world.now() + SignedDuration::from_hours(hours);
                scene.deliver().await?;
                world.advance_to(due - MILLISECOND).await;
                same("the warning, just before", times(&scene, kind).await?, Vec::new())?;
                world.advance_to(due).await;
                same(
                    "the warning, at its moment",
                    times(&scene, kind).await?,
                    vec![due],
                )
            })
        },
    )
}

/// The times of the notices of this kind, oldest first.
async fn times(scene: &Scene<'_>, kind: &str) -> Result<Vec<Timestamp>, Failure> {
    let notices = scene.user.notices(&scene.webhook.id).await?;
    let of_kind = notices.into_iter().filter(|notice| notice.kind == kind);
    Ok(of_kind.map(|notice| notice.at).collect())
}

/// Checks that the webhook has exactly these notices, oldest first.
async fn expect(scene: &Scene<'_>, when: &str, told: &[(&str, Timestamp)]) -> Play {
    let notices = scene.user.notices(&scene.webhook.id).await?;
    let seen: Vec<_> = notices
        .iter()
        .map(|notice| (notice.kind.as_str(), notice.at))
        .collect();
    same(format!("notices {when}"), seen, told.to_vec())
}
