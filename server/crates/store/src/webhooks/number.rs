//! Finds a webhook by the number that payloads carry.
//!
//! The lookup only translates a name into a key, as decoding a global id does. It does not decide who may see the webhook.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;

use crate::sql::statement;
use crate::{Conn, StoreError};
use tenterhook_model::ids::{CompanyId, Lane, WebhookId, WebhookKey, WebhookNumber};

/// The unique index on lane and number finds the row, with one look for each lane.
const FIND: &str = "\
select w.lane, w.id from webhooks w
where w.lane = any($1) and w.number = $2 and ($3::bigint is null or w.company = $3) limit 2";

#[derive(QueryableByName)]
struct KeyRow {
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    id: uuid::Uuid,
}

/// The key of the webhook with this number: in one company, or without a company in all of them.
///
/// Numbers are unique within a lane, and so within a company. If two companies have the number, which one sequence for all
/// lanes does not produce, it names no webhook.
pub async fn key(
    conn: &mut Conn,
    number: WebhookNumber,
    company: Option<CompanyId>,
) -> Result<Option<WebhookKey>, StoreError> {
    let lanes: Vec<i32> = match company {
        Some(company) => vec![Lane::of(company).0],
        None => Lane::all().map(|lane| lane.0).collect(),
    };
    let rows: Vec<KeyRow> = statement(FIND)
        .bind::<Array<Integer>, _>(lanes)
        .bind::<BigInt, _>(number.get())
        .bind::<Nullable<BigInt>, _>(company.map(CompanyId::get))
        .load(conn)
        .await?;
    Ok(match rows.as_slice() {
        [row] => Some((Lane(row.lane), WebhookId(row.id))),
        _ => None,
    })
}
