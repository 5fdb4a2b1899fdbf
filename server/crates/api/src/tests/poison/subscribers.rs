//! A bad row of one company does not cost another company's subscribers their events.

use rstest::rstest;

use super::*;
use tenterhook_engine::live::{Interest, Missed};
use tenterhook_model::access::{GeneralScope, WebhookScope};
use tenterhook_model::ids::CompanyId;

fn of_company(company: i64) -> WebhookScope {
    WebhookScope::Company {
        company: CompanyId::new(company).unwrap(),
        general: GeneralScope::All,
        application_of: None,
    }
}

/// A webhook of each of two companies at one receiver; returns the first one's id in the tables.
async fn of_two_companies(world: &World, receiver: &MockServer) -> String {
    for company in [1, 2] {
        let url = format!("{}/{company}/", receiver.uri());
        let webhook = json!({ "subscriptionUrl": url });
        world.webhook(&world.user(company, 7), webhook).await;
    }
    world.row_id(&format!("{}/1/", receiver.uri())).await
}

/// Ten events for each company.
async fn publish(world: &World) {
    for _ in 0..10 {
        world.publish(1, json!({})).await;
        world.publish(2, json!({})).await;
    }
    world.settle().await;
}

/// Attempts that cannot be read or decoded: subscribers who may see their webhook get an error, and others get their
/// own events.
#[rstest]
#[case("raise exception 'damaged' using errcode = 'XX001'")]
#[case("return 300")]
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_attempts_affect_only_their_own_company(#[case] damage: &str) {
    let world = World::new().await;
    let receiver = receiver(200).await;
    let id = of_two_companies(&world, &receiver).await;
    world
        .sql(&format!(
            "alter table attempts rename to attempts_kept;
             create function damaged(webhook uuid, number smallint) returns smallint language plpgsql as $$
             begin
                 if webhook = '{id}' then {damage}; end if;
                 return number;
             end $$;
             create function keep() returns trigger language plpgsql as $$
             begin
                 insert into attempts_kept values (new.*);
                 return new;
             end $$;
             do $$ begin execute (
                 select 'create view attempts as select '
                     || string_agg(case attname when 'number' then 'damaged(webhook, number) as number'
                                                else attname::text end, ', ' order by attnum)
                     || ' from attempts_kept'
                 from pg_attribute where attrelid = 'attempts_kept'::regclass and attnum > 0 and not attisdropped
             ); end $$;
             create trigger kept instead of insert on attempts for each row execute function keep()"
        ))
        .await;
    let interest = |company| Interest {
        scope: of_company(company),
        webhook: None,
    };
    let live = world.engine.live();
    let (mut bad, mut well) = (live.attempts(interest(1)), live.attempts(interest(2)));
    world.publish(1, json!({})).await;
    world.publish(2, json!({})).await;
    world.settle().await;
    let told = realtime::within(realtime::PATIENCE, well.next()).await.unwrap();
    assert_eq!(told.unwrap().len(), 1);
    let missed = realtime::within(realtime::PATIENCE, bad.next()).await.unwrap();
    assert_eq!(missed, Err(Missed::Lost));
}

/// A time that our clocks never reach, such as `infinity`, can be read: no subscriber misses anything.
#[tokio::test(flavor = "multi_thread")]
async fn an_infinite_time_can_be_read() {
    let world = World::new().await;
    world
        .sql(
            "create function spoil() returns trigger language plpgsql as $$
             begin
                 if new.company = 1 then new.at := 'infinity'; end if;
                 return new;
             end $$;
             create trigger spoiled before insert on notices for each row execute function spoil()",
        )
        .await;
    let live = world.engine.live();
    let (mut one, mut other) = (live.notices(of_company(1)), live.notices(of_company(2)));
    of_two_companies(&world, &receiver(500).await).await;
    publish(&world).await;
    for listener in [&mut one, &mut other] {
        let told = realtime::within(realtime::PATIENCE, listener.next())
            .await
            .unwrap();
        assert_eq!(told.unwrap().len(), 1);
    }
}

/// A webhook that cannot be read, and a notice of it that cannot be read either: only subscribers of its company get
/// an error that they missed something.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_webhook_affects_only_its_companys_notices() {
    let world = World::new().await;
    let id = of_two_companies(&world, &receiver(500).await).await;
    publish(&world).await;
    let live = world.engine.live();
    let (mut bad, mut well) = (live.notices(of_company(1)), live.notices(of_company(2)));
    world
        .sql(&format!(
            "update webhooks set user_id = 0 where id = '{id}';
             create function spoil() returns trigger language plpgsql as $$
             begin
                 if new.webhook = '{id}' then new.company := 0; end if;
                 return new;
             end $$;
             create trigger spoiled before insert on notices for each row execute function spoil()"
        ))
        .await;
    // Both bans end.
    world.advance(SignedDuration::from_mins(31)).await;
    let told = realtime::within(realtime::PATIENCE, well.next()).await.unwrap();
    assert!(told.is_ok());
    let missed = realtime::within(realtime::PATIENCE, bad.next()).await.unwrap();
    assert_eq!(missed.map(|told| told.len()), Err(Missed::Lost));
}
