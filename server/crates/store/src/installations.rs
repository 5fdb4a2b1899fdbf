//! Which users have which apps installed.
//!
//! Guarantees: a webhook of an app is created only while the app is installed. Creation locks the installation, and the
//! transaction that deletes it removes its webhooks (W8).

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::schema::{apps, installations};
use super::sql::time;
use super::{Conn, StoreError, users};
use tenterhook_model::app::App;
use tenterhook_model::ids::{AppId, CompanyId, Lane, UserId};

/// One app, installed for one user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Installation {
    /// The tenant.
    pub company: CompanyId,
    /// The user who has the app.
    pub user: UserId,
    /// The platform's id of the app.
    pub app: AppId,
}

/// The result of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// It is installed, now or already before.
    Done(App),
    /// The app does not exist, or was removed.
    NoSuchApp,
    /// The user was removed.
    UserRemoved,
}

/// Installs an app for a user. The user need not be known yet.
pub async fn install_in_tx(
    conn: &mut Conn,
    now: Timestamp,
    installation: &Installation,
) -> Result<Installed, StoreError> {
    let Some(app) = super::apps::hold_in_tx(conn, &installation.app).await? else {
        return Ok(Installed::NoSuchApp);
    };
    let presence = users::presence(conn, installation.company, installation.user, None).await?;
    if presence.known && !users::lock_in_tx(conn, installation.company, installation.user).await? {
        return Ok(Installed::UserRemoved);
    }
    diesel::insert_into(installations::table)
        .values((
            installations::lane.eq(Lane::of(installation.company).0),
            installations::company.eq(installation.company.get()),
            installations::user_id.eq(installation.user.get()),
            installations::app.eq(installation.app.as_str()),
            installations::installed_at.eq(time(now)),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(Installed::Done(app))
}

/// Locks an installation until the transaction ends. Returns whether it exists and its app is not removed.
///
/// The app is checked under this lock: a removal marks the app before it deletes the installations.
pub async fn lock_in_tx(conn: &mut Conn, installation: &Installation) -> Result<bool, StoreError> {
    if !lock_row_in_tx(conn, installation).await? {
        return Ok(false);
    }
    let removed: Option<bool> = apps::table
        .find(installation.app.as_str())
        .select(apps::removed_at.is_not_null())
        .first(conn)
        .await
        .optional()?;
    Ok(removed == Some(false))
}

/// Locks an installation until the transaction ends, even if its app is removed. Returns whether it exists.
pub(crate) async fn lock_row_in_tx(conn: &mut Conn, installation: &Installation) -> Result<bool, StoreError> {
    let row: Option<String> = installations::table
        .find(key(installation))
        .select(installations::app)
        .for_update()
        .first(conn)
        .await
        .optional()?;
    Ok(row.is_some())
}

fn key(installation: &Installation) -> (i32, i64, i64, &str) {
    (
        Lane::of(installation.company).0,
        installation.company.get(),
        installation.user.get(),
        installation.app.as_str(),
    )
}
