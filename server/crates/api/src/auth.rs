//! Who sends a request: the token's word, and what the store knows of its user.

use super::context::{Services, Session};
use super::error::{ApiError, ErrorCode, Result};
use super::token::{Refusal, Verified};
use tenterhook_model::access::Caller;
use tenterhook_store::users::{self, UserEntry};

/// The session of an `Authorization` header's value.
///
/// The user is looked up each time: a cache would let a removed user's token in, in whichever process had seen it (W8).
/// One statement, by primary key.
pub async fn authenticate(services: &Services, authorization: Option<&str>) -> Result<Session> {
    let token = authorization
        .and_then(bearer)
        .ok_or_else(|| unauthenticated("A bearer token is needed."))?;
    let now = services.clock.now();
    let Verified {
        caller,
        name,
        expires_at,
    } = services
        .tokens
        .verify(token, now)
        .await
        .map_err(unauthenticated)?;
    let Caller::User(user) = &caller else {
        return Ok(Session {
            caller,
            token: name,
            app_installed: false,
            expires_at,
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
        token: name,
        caller,
        expires_at,
    })
}

/// The session as it is now: the token's end has not been reached, the user is still there, and what is installed is
/// known anew. For what goes on longer than a request.
pub async fn renew(services: &Services, session: &Session) -> Result<Session> {
    if services.clock.now() >= session.expires_at {
        return Err(unauthenticated(Refusal::Expired));
    }
    let Caller::User(user) = &session.caller else {
        return Ok(session.clone());
    };
    let mut conn = services.store.conn().await?;
    let presence = users::presence(&mut conn, user.company, user.user, user.app.as_ref()).await?;
    if presence.removed {
        return Err(unauthenticated("The token's user was removed."));
    }
    Ok(Session {
        app_installed: presence.app_installed,
        ..session.clone()
    })
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthenticated(why: impl ToString) -> ApiError {
    ApiError::new(ErrorCode::Unauthenticated, why.to_string())
}
