//! Authentication of a request: verifies the token and reads its user from the store.

use crate::context::Services;
use crate::error::{ApiError, ErrorCode, Result};
use crate::session::Session;
use crate::token::{Refusal, Verified};
use tenterhook_model::access::Caller;
use tenterhook_policy::access::AppAccess;
use tenterhook_store::users::{self, UserEntry};

/// Makes a session from the value of an `Authorization` header.
///
/// The user is read every time, with one statement by primary key. A cache would accept a removed user's token in
/// every process that had seen it (W8).
pub async fn authenticate(services: &Services, authorization: Option<&str>) -> Result<Session> {
    let token = authorization
        .and_then(bearer)
        .ok_or_else(|| unauthenticated("A bearer token is needed."))?;
    session(services, token).await
}

/// Makes a session from a token.
pub async fn session(services: &Services, token: &str) -> Result<Session> {
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
            app: through_app(services, false),
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
        app: through_app(services, presence.app_installed),
        token: name,
        caller,
        expires_at,
    })
}

/// The session as of now, for what lasts longer than a request. Fails if the token has expired or its user was
/// removed. Reads again whether the app is installed.
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
        app: through_app(services, presence.app_installed),
        ..session.clone()
    })
}

fn through_app(services: &Services, installed: bool) -> AppAccess {
    AppAccess {
        installed,
        sees: services.policy().app_sees,
    }
}

/// The token in the value of an `Authorization` header; `None` if its scheme is another one.
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthenticated(why: impl ToString) -> ApiError {
    ApiError::new(ErrorCode::Unauthenticated, why.to_string())
}
