//! Who sends a request: the token's word, and what the store knows of its user.

use super::context::{Services, Session};
use super::error::{ApiError, ErrorCode, Result};
use crate::model::access::Caller;
use crate::store::users::{self, UserEntry};

/// The session of an `Authorization` header's value.
///
/// The user is looked up each time: a cache would let a removed user's token in, in whichever process had seen it (W8).
/// One statement, by primary key.
pub async fn authenticate(services: &Services, authorization: Option<&str>) -> Result<Session> {
    let token = authorization
        .and_then(bearer)
        .ok_or_else(|| unauthenticated("A bearer token is needed."))?;
    let now = services.clock.now();
    let caller = services
        .tokens
        .verify(token, now)
        .await
        .map_err(unauthenticated)?;
    let Caller::User(user) = &caller else {
        return Ok(Session {
            caller,
            app_installed: false,
        });
    };
    let mut conn = services.store.conn().await?;
    let presence = users::presence(&mut conn, user.company, user.user, user.app.as_ref()).await?;
    if presence.removed {
        return Err(unauthenticated("The token's user was removed."));
    }
    if !presence.known {
        let entry = UserEntry {
            company: user.company,
            user: user.user,
            role: user.role,
        };
        users::meet(&mut conn, now, &entry).await?;
    }
    Ok(Session {
        app_installed: presence.app_installed,
        caller,
    })
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthenticated(why: impl ToString) -> ApiError {
    ApiError::new(ErrorCode::Unauthenticated, why.to_string())
}
