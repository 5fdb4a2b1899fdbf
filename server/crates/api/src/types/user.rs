//! The users of the companies, as reported by the platform.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::context::Ask;
use crate::error::Result;
use crate::removal::remove_all;
use crate::types::viewer::UserRole;
use crate::user_error::{Path, Problems, UserError};
use tenterhook_policy::input_limits;
use tenterhook_store::removal::Leaving;
use tenterhook_store::users::{self, UserEntry};

/// A user.
#[derive(InputObject)]
pub struct UserInput {
    /// The user's company.
    company_id: ID,
    /// The user's id.
    user_id: ID,
    /// The user's role. A role in a token takes precedence.
    role: UserRole,
}

/// Input of `upsertUsers`.
#[derive(InputObject)]
pub struct UpsertUsersInput {
    /// The users, up to 1000.
    users: Vec<UserInput>,
}

/// Result of `upsertUsers`.
#[derive(SimpleObject)]
pub struct UpsertUsersPayload {
    /// How many users were stored; 0 if there were errors.
    count: i32,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Input of `removeUser`.
#[derive(InputObject)]
pub struct RemoveUserInput {
    /// The user's company.
    company_id: ID,
    /// The user's id.
    user_id: ID,
}

/// Result of `removeUser`.
#[derive(SimpleObject)]
pub struct RemoveUserPayload {
    /// How many webhooks this call removed.
    removed_webhook_count: i32,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Mutations of users.
#[derive(Default)]
pub struct UserMutations;

#[Object]
impl UserMutations {
    /// Adds users, changes their roles, and restores removed users. If there is an error, no user changes. For the
    /// platform.
    async fn upsert_users(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The users.")] input: UpsertUsersInput,
    ) -> Result<UpsertUsersPayload> {
        ctx.session().platform()?;
        let mut problems = Problems::none();
        let entries = entries(&input, &mut problems);
        if !problems.is_empty() {
            return Ok(UpsertUsersPayload {
                count: 0,
                user_errors: problems.into_errors(),
            });
        }
        let now = ctx.now();
        let count = ctx
            .services()
            .store
            .in_tx(async |conn| users::upsert(conn, now, &entries).await)
            .await?;
        Ok(UpsertUsersPayload {
            count: i32::try_from(count).unwrap_or(i32::MAX),
            user_errors: Vec::new(),
        })
    }

    /// Removes a user with all webhooks and installations: after the response the user's tokens are refused and no
    /// attempt starts for any of the webhooks. If a call was interrupted, the next one continues it. For the
    /// platform.
    async fn remove_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The user.")] input: RemoveUserInput,
    ) -> Result<RemoveUserPayload> {
        ctx.session().platform()?;
        let mut problems = Problems::none();
        let company = problems.check(&Path::input().field("companyId"), input.company_id.parse());
        let user = problems.check(&Path::input().field("userId"), input.user_id.parse());
        let (Some(company), Some(user)) = (company, user) else {
            return Ok(RemoveUserPayload {
                removed_webhook_count: 0,
                user_errors: problems.into_errors(),
            });
        };
        let services = ctx.services();
        users::mark_removed(&mut *services.store.conn().await?, ctx.now(), company, user).await?;
        let count = remove_all(services, &Leaving::User(company, user)).await?;
        Ok(RemoveUserPayload {
            removed_webhook_count: count,
            user_errors: Vec::new(),
        })
    }
}

fn entries(input: &UpsertUsersInput, problems: &mut Problems) -> Vec<UserEntry> {
    let list = Path::input().field("users");
    problems.check(
        &list,
        input_limits::entries(input.users.len(), input_limits::USERS),
    );
    if !problems.is_empty() {
        return Vec::new();
    }
    let entries = input.users.iter().enumerate().filter_map(|(index, user)| {
        let at = list.index(index);
        let company = problems.check(&at.field("companyId"), user.company_id.parse());
        let id = problems.check(&at.field("userId"), user.user_id.parse());
        Some(UserEntry {
            company: company?,
            user: id?,
            role: user.role.into(),
        })
    });
    entries.collect()
}
