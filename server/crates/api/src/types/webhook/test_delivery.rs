//! Test deliveries (D12): sends a request to check that a webhook's receiver can be reached.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::context::Ask;
use crate::error::{ApiError, ErrorCode, Result};
use crate::types::attempt::Attempt;
use crate::types::delivery::Delivery;
use crate::types::webhook::authorize::{Checked, manageable, no_such_webhook};
use crate::user_error::UserError;
use tenterhook_engine::NotTested;
use tenterhook_policy::access;

/// Input of `testWebhook`.
#[derive(InputObject)]
pub struct TestWebhookInput {
    /// The webhook's global id or number.
    id: ID,
}

/// Result of `testWebhook`.
#[derive(SimpleObject)]
pub struct TestWebhookPayload {
    /// The attempt; null if there were errors in the input. The attempt, its delivery and its event are not stored,
    /// so they can be read only here: `node`, `nodes` and `event` return null for their ids.
    attempt: Option<Attempt>,
    /// Errors in the input; empty if the request was sent, even if it failed.
    user_errors: Vec<UserError>,
}

/// Mutations that test webhooks.
#[derive(Default)]
pub struct TestMutations;

#[Object]
impl TestMutations {
    /// Sends one request with a made-up event that matches the webhook's subscription, at once, and responds when it
    /// has ended, by default after at most ten seconds. It is signed like any other request, and sent during a ban or
    /// pause too. It is not retried, not counted and not stored.
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
            "Too many test deliveries are in progress. Try again when some have ended.",
        )),
        Err(error @ NotTested::Stopping) => Err(ApiError::unavailable(error)),
        Err(error @ NotTested::Unusable) => Err(ApiError::internal(error)),
        Err(NotTested::Store(error)) => Err(error.into()),
    }
}
