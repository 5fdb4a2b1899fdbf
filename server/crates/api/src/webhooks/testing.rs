//! Test deliveries (D12): whether a webhook's receiver can be reached, asked by sending it something.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::managed::{Checked, manageable, no_such_webhook};
use crate::attempts::Attempt;
use crate::context::Ask;
use crate::deliveries::Delivery;
use crate::error::{ApiError, ErrorCode, Result};
use crate::user_error::UserError;
use tenterhook_engine::NotTested;
use tenterhook_policy::access;

/// A webhook to send a test delivery.
#[derive(InputObject)]
pub struct TestWebhookInput {
    /// The global id.
    id: ID,
}

/// What became of a test delivery.
#[derive(SimpleObject)]
pub struct TestWebhookPayload {
    /// How the request went; null if there were errors. It, its delivery and its event are stored nowhere: this is the
    /// only place to read them, and `node`, `nodes` and `event` answer null for their ids.
    attempt: Option<Attempt>,
    /// What was wrong with the input; empty when it was sent, whatever came of it.
    user_errors: Vec<UserError>,
}

/// Mutations that try webhooks out.
#[derive(Default)]
pub struct TestMutations;

#[Object]
impl TestMutations {
    /// Sends a webhook one request with a made-up event it has subscribed to, at once, and answers when that has ended:
    /// after ten seconds at the latest. Signed as every other, also in a ban or pause; not retried, not counted, not
    /// stored.
    async fn test_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The webhook.")] input: TestWebhookInput,
    ) -> Result<TestWebhookPayload> {
        Ok(match test(ctx, &input.id).await? {
            Ok(attempt) => TestWebhookPayload {
                attempt: Some(attempt),
                user_errors: Vec::new(),
            },
            Err(problems) => TestWebhookPayload {
                attempt: None,
                user_errors: problems.into_errors(),
            },
        })
    }
}

async fn test(ctx: &Context<'_>, id: &ID) -> Result<Checked<Attempt>> {
    let (found, ()) = match manageable(ctx, id, access::change).await? {
        Ok(found) => found,
        Err(problems) => return Ok(Err(problems)),
    };
    match ctx.services().prober.test(found.key()).await {
        Ok(tested) => Ok(Ok(Attempt::new(tested.attempt.clone(), Delivery::from(tested)))),
        Err(NotTested::Gone) => Ok(Err(no_such_webhook())),
        Err(NotTested::TooMany) => Err(ApiError::new(
            ErrorCode::RateLimited,
            "Too many test deliveries are under way. Try again when some have ended.",
        )),
        Err(error @ NotTested::Stopping) => Err(ApiError::unavailable(error)),
        Err(error @ NotTested::Unusable) => Err(ApiError::internal(error)),
        Err(NotTested::Store(error)) => Err(error.into()),
    }
}
