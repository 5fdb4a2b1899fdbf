//! The companies of a fill. Each has a user and four webhooks with their health.

use anyhow::Context;
use jiff::Timestamp;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Builder;

use super::sealing::Sealer;
use super::{FIRST_COMPANY, Plan, WEBHOOKS_OF_COMPANY};

/// Number of lanes in the server.
pub const LANES: u64 = 64;
/// Companies per statement.
const COMPANIES_AT_ONCE: usize = 2_000;

const USERS: &str = "\
insert into users (lane, company, id, role, created_at)
select k.lane, k.company, $3, 2, $4::text::timestamptz from unnest($1::int[], $2::bigint[]) as k(lane, company)";

const WEBHOOKS: &str = "\
with made as (
    insert into webhooks as w (lane, id, company, owner, user_id, kind, url, action, object, version, secret, created_at,
                               updated_at)
    select k.lane, k.id::uuid, k.company, $6, $6, 1, $7 || '/' || k.place, 0, '*', 2, k.secret, $8::text::timestamptz,
           $8::text::timestamptz
    from unnest($1::int[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[]) as k(lane, id, company, place, secret)
    returning w.lane, w.id
)
insert into webhook_health (lane, webhook) select lane, id from made";

/// The lane of a company, as the server documents it: FNV-1a of the id's eight little-endian bytes, its halves folded,
/// modulo the number of lanes.
pub fn lane(company: i64) -> i32 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = company.to_le_bytes().into_iter().fold(0xcbf2_9ce4_8422_2325, mix);
    i32::try_from((hash ^ (hash >> 32)) % LANES).expect("less than 64")
}

/// Writes the companies with creation time `at`.
pub async fn write(client: &Client, plan: &Plan, at: Timestamp) -> anyhow::Result<()> {
    let mut sealer = Sealer::new(at.as_millisecond().unsigned_abs());
    let (user, made) = (i64::try_from(super::USER)?, at.to_string());
    let companies: Vec<i64> = (0..i64::from(plan.webhooks / WEBHOOKS_OF_COMPANY)).collect();
    for some in companies.chunks(COMPANIES_AT_ONCE) {
        let ids: Vec<i64> = some.iter().map(|place| FIRST_COMPANY + place).collect();
        let lanes: Vec<i32> = ids.iter().copied().map(lane).collect();
        let written = client.execute(USERS, &[&lanes, &ids, &user, &made]).await;
        written.context("the users cannot be written")?;
        let each = i64::from(WEBHOOKS_OF_COMPANY);
        let places: Vec<i64> = some
            .iter()
            .flat_map(|company| (0..each).map(move |slot| company * each + slot))
            .collect();
        let owners: Vec<i64> = places.iter().map(|place| FIRST_COMPANY + place / each).collect();
        let lanes: Vec<i32> = owners.iter().copied().map(lane).collect();
        let webhooks: Vec<uuid::Uuid> = places.iter().map(|place| id(at, *place)).collect();
        let secrets: Vec<Vec<u8>> = webhooks.iter().map(|id| sealer.secret(id.as_bytes())).collect();
        let texts: Vec<String> = webhooks.iter().map(ToString::to_string).collect();
        let values: [&(dyn ToSql + Sync); 8] = [
            &lanes, &texts, &owners, &places, &secrets, &user, &plan.url, &made,
        ];
        let written = client.execute(WEBHOOKS, &values).await;
        written.context("the webhooks cannot be written")?;
    }
    Ok(())
}

/// A UUID version 7 whose random part is a counter, so that a company's webhooks are in the order of their positions.
fn id(at: Timestamp, place: i64) -> uuid::Uuid {
    let mut counted = [0; 10];
    counted[2..].copy_from_slice(&place.to_be_bytes());
    Builder::from_unix_timestamp_millis(at.as_millisecond().unsigned_abs(), &counted).into_uuid()
}

#[cfg(test)]
mod tests {
    /// The server's own test vectors, which must not change.
    #[test]
    fn companies_get_the_same_lanes_as_in_the_server() {
        let lanes = [1, 2, 3, 7, 42, 1000, 123_456_789, (1 << 53) - 1].map(super::lane);
        assert_eq!(lanes, [13, 3, 29, 53, 4, 30, 28, 59]);
    }
}
