//! On a real database: which values are sealed again, which are left, and that a run can be stopped and repeated.

use diesel::QueryableByName;
use diesel::sql_types::{Bytea, Nullable, Text};
use diesel_async::RunQueryDsl;
use jiff::civil::date;
use secrecy::ExposeSecret;

use super::*;
use tenterhook_model::ids::CompanyId;
use tenterhook_model::webhook::Sealed;
use tenterhook_policy::sealing::{BasicAuth, PREFIX_LENGTH};
use tenterhook_policy::signing::SigningSecret;
use tenterhook_store::{Conn, testing};

const OLD: &str = "8f3c1b9e5d7204a6e1c8437b90fa2d56be04d8137ca9f2605e81b4c7392d6fa0";
const NEW: &str = "27d1e09a4cb85f36f0a7c2e8196db3440e9b5a71c683df12ab94e0573c8f2d6b";
const LOST: &str = "c4e7a1093bd85f26e0137f9c6ab24d80519ef3c7280b64da7e15c390fd862ba4";

fn ring(keys: &[&str]) -> Keyring {
    Keyring::parse(&keys.join(" ")).unwrap()
}

/// A stored webhook, with its secrets in plain text.
struct Planted {
    id: WebhookId,
    lane: Lane,
    secret: SigningSecret,
    previous: SigningSecret,
}

/// Stores a webhook whose credentials and two secrets are sealed by `keyring`.
async fn plant(conn: &mut Conn, company: i64, keyring: &Keyring) -> Planted {
    let planted = Planted {
        id: WebhookId::new("2026-11-23T12:00:00Z".parse().unwrap()),
        lane: Lane::of(CompanyId::new(company).unwrap()),
        secret: SigningSecret::generate(),
        previous: SigningSecret::generate(),
    };
    let auth = BasicAuth {
        user: "aladdin".to_owned(),
        password: Some("open sesame".into()),
    };
    let id = planted.id;
    diesel::sql_query(format!(
        "insert into webhooks (lane, id, company, owner, user_id, kind, url, action, object, version, auth, secret,
                               previous_secret, previous_secret_expires_at, created_at, updated_at)
         values ({}, '{id}', {company}, 1, 1, 1, 'https://example.com/', 0, '*', 2, $1, $2, $3, '2026-11-02',
                 '2026-11-01', '2026-11-01')",
        planted.lane.0
    ))
    .bind::<Bytea, _>(keyring.seal_auth(id, &auth).0)
    .bind::<Bytea, _>(keyring.seal_secret(id, &planted.secret).0)
    .bind::<Bytea, _>(keyring.seal_secret(id, &planted.previous).0)
    .execute(conn)
    .await
    .unwrap();
    planted
}

#[derive(QueryableByName)]
struct Stored {
    #[diesel(sql_type = Nullable<Bytea>)]
    auth: Option<Vec<u8>>,
    #[diesel(sql_type = Bytea)]
    secret: Vec<u8>,
    #[diesel(sql_type = Nullable<Bytea>)]
    previous_secret: Option<Vec<u8>>,
    #[diesel(sql_type = Text)]
    changed: String,
}

async fn stored(conn: &mut Conn, planted: &Planted) -> Stored {
    diesel::sql_query(format!(
        "select auth, secret, previous_secret, updated_at::date::text as changed from webhooks
         where lane = {} and id = '{}'",
        planted.lane.0, planted.id
    ))
    .get_result(conn)
    .await
    .unwrap()
}

/// Checks that every value opens with `keyring` and is what was planted.
async fn assert_opens(conn: &mut Conn, planted: &Planted, keyring: &Keyring) {
    let row = stored(conn, planted).await;
    let auth = keyring.open_auth(planted.id, &Sealed(row.auth.unwrap())).unwrap();
    assert_eq!(auth.password.unwrap().expose_secret(), "open sesame");
    for (sealed, secret) in [
        (row.secret, &planted.secret),
        (row.previous_secret.unwrap(), &planted.previous),
    ] {
        let opened = keyring.open_secret(planted.id, &Sealed(sealed)).unwrap();
        assert_eq!(opened.reveal().expose_secret(), secret.reveal().expose_secret());
    }
    assert_eq!(row.changed, "2026-11-01", "its user changed nothing");
}

async fn counts(store: &Store) -> Vec<(Vec<u8>, i64)> {
    let mut counts = sealed::count(&mut store.conn().await.unwrap(), PREFIX_LENGTH)
        .await
        .unwrap();
    counts.sort();
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_is_resealed_once_in_batches() {
    let (store, _) = testing::database(date(2026, 11, 23)..=date(2026, 11, 23)).await;
    let mut conn = store.conn().await.unwrap();
    let (old, both, new) = (ring(&[OLD]), ring(&[NEW, OLD]), ring(&[NEW]));
    let mut planted = Vec::new();
    for company in [7, 7, 7, 8, 9] {
        planted.push(plant(&mut conn, company, &old).await);
    }
    // A webhook with only some values sealed again, as if a user had just changed the credentials.
    planted.push(plant(&mut conn, 7, &both).await);
    assert_eq!(
        counts(&store).await.iter().map(|(_, count)| count).sum::<i64>(),
        18
    );

    let mut told = Vec::new();
    let progress = run(&store, &both, 2, |progress| told.push(progress))
        .await
        .unwrap();
    assert_eq!((progress.webhooks, progress.unopened), (5, 0));
    assert_eq!(told.len(), Lane::all().count());
    assert_eq!(told.last(), Some(&progress));
    for planted in &planted {
        assert_opens(&mut conn, planted, &new).await;
    }
    assert_eq!(counts(&store).await, [(new.prefix().to_vec(), 18)]);

    let again = run(&store, &both, BATCH, |_| {}).await.unwrap();
    assert_eq!((again.webhooks, again.unopened), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_cannot_be_opened_are_kept_and_counted() {
    let (store, _) = testing::database(date(2026, 11, 23)..=date(2026, 11, 23)).await;
    let mut conn = store.conn().await.unwrap();
    let (lost, both) = (ring(&[LOST]), ring(&[NEW, OLD]));
    let kept = plant(&mut conn, 7, &lost).await;
    let before = stored(&mut conn, &kept).await;
    let other = plant(&mut conn, 7, &ring(&[OLD])).await;
    // With a batch of one, the run must get past it.
    let progress = run(&store, &both, 1, |_| {}).await.unwrap();
    assert_eq!((progress.webhooks, progress.unopened), (1, 1));
    assert_eq!(stored(&mut conn, &kept).await.secret, before.secret);
    assert_opens(&mut conn, &other, &ring(&[NEW])).await;
    let mut expected = [(lost.prefix().to_vec(), 3), (both.prefix().to_vec(), 3)];
    expected.sort();
    assert_eq!(counts(&store).await, expected);
}
