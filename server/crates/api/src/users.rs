//! The users of the companies, as the platform tells of them.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::context::Ask;
use super::error::Result;
use super::removal::remove_all;
use super::user_error::{Path, Problems, UserError};
use super::viewer::UserRole;
use tenterhook_policy::limits;
use tenterhook_store::removal::Leaving;
use tenterhook_store::users::{self, UserEntry};

/// A user.
#[derive(InputObject)]
pub struct UserInput {
    /// The user's company.
    company_id: ID,
    /// The user.
    user_id: ID,
    /// The role; a token's own role wins over it.
    role: UserRole,
}

/// Users to make known.
#[derive(InputObject)]
pub struct UpsertUsersInput {
    /// The users, up to 1000.
    users: Vec<UserInput>,
}

/// What became of the users.
#[derive(SimpleObject)]
pub struct UpsertUsersPayload {
    /// How many users that were; none if there were errors.
    count: i32,
    /// What was wrong with the input; empty when it worked.
    user_errors: Vec<UserError>,
}

/// A user to remove.
#[derive(InputObject)]
pub struct RemoveUserInput {
    /// The user's company.
    company_id: ID,
    /// The user.
    user_id: ID,
}

/// What became of a user's removal.
#[derive(SimpleObject)]
pub struct RemoveUserPayload {
    /// How many webhooks this call removed.
    removed_webhook_count: i32,
    /// What was wrong with the input; empty when it worked.
    user_errors: Vec<UserError>,
}

/// Mutations of users.
#[derive(Default)]
pub struct UserMutations;

#[Object]
impl UserMutations {
    /// Makes users known, changes their roles, and brings removed ones back. All of them, or on an error none. For the
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

    /// Removes a user with all webhooks and installations: once this has answered, the user's tokens are refused and no
    /// attempt starts for any of the webhooks. A call that was cut off is carried on by the next. For the platform.
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
    problems.check(&list, limits::entries(input.users.len(), limits::USERS));
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
