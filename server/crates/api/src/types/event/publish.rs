//! Publishing events (E1–E6), for the platform.

mod draft;

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};

use crate::context::Ask;
use crate::error::{ApiError, Result};
use crate::types::enums::EventAction;
use crate::types::event::Event;
use crate::types::scalars::{DateTime, EventObject, Json};
use crate::user_error::{Path, Problems, UserError, UserErrorCode};
use tenterhook_engine::{PublishError, Published};
use tenterhook_model::event;

/// Origin of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "event::ChangeSource")]
pub enum ChangeSource {
    /// A user of the web app.
    App,
    /// A client of the platform's API.
    Api,
}

/// An event to publish.
#[derive(InputObject)]
pub struct EventInput {
    /// The company's id.
    company_id: ID,
    /// The kind of change; not `ANY`. Publish a merge once, for the surviving object.
    action: EventAction,
    /// The kind of object: one in the catalogue of either payload version.
    object: EventObject,
    /// The platform's id of the object: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
    object_id: ID,
    /// The id of the user who made the change.
    user_id: ID,
    /// The object's state after the change, up to 256 KiB.
    data: Option<Json>,
    /// The object's whole state before the change, up to 256 KiB. In payloads of version 2 the server leaves out what
    /// has not changed.
    previous: Option<Json>,
    /// The ids of the users who may see the object; null means everyone in the company. Payloads of version 2 do not
    /// have them if the object is a `user`.
    permitted_user_ids: Option<Vec<ID>>,
    /// Origin of the change.
    #[graphql(default_with = "Some(ChangeSource::App)")]
    change_source: Option<ChangeSource>,
    /// Whether the change was part of a bulk edit.
    #[graphql(default_with = "Some(false)")]
    is_bulk_edit: Option<bool>,
    /// For a merge, the id of the object that was merged into this one; otherwise null.
    merged_from_id: Option<ID>,
    /// For a merge, the last state of the object in `mergedFromId`, up to 256 KiB; otherwise null.
    merged_from_previous: Option<Json>,
    /// Identifies events with a common cause. Default: a new id.
    correlation_id: Option<ID>,
    /// The company's host name, shown in payloads.
    host: Option<String>,
    /// Makes the call safe to repeat: within a day (by default) of the first use of this key, a repetition for the same
    /// company publishes nothing and returns the first event.
    idempotency_key: Option<String>,
    /// When the change happened. Default: the time of acceptance.
    occurred_at: Option<DateTime>,
}

/// Input of `publishEvents`.
#[derive(InputObject)]
pub struct PublishEventsInput {
    /// The events, up to 1000.
    events: Vec<EventInput>,
}

/// A stored event.
#[derive(SimpleObject)]
pub struct PublishedEvent {
    /// Index of the event in the input, from 0.
    index: i32,
    /// The event. For a merge, the event about the surviving object. For a repeated key, the first event with the key.
    event: Event,
    /// How many deliveries the event created, including lost ones.
    delivery_count: i32,
    /// Whether its idempotency key was used before, so that nothing was published now.
    duplicate: bool,
}

/// Result of `publishEvents`.
#[derive(SimpleObject)]
pub struct PublishEventsPayload {
    /// The stored events, in the order of the input.
    events: Vec<PublishedEvent>,
    /// Errors in the input; empty on success. After any error no event was published, with one exception: a conflict of
    /// an idempotency key refuses only its own event.
    user_errors: Vec<UserError>,
}

/// Mutations that publish.
#[derive(Default)]
pub struct PublishingMutations;

#[Object]
impl PublishingMutations {
    /// Publishes events. They are stored before the response. If one event is invalid, none is published. For the
    /// platform.
    async fn publish_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The events.")] input: PublishEventsInput,
    ) -> Result<PublishEventsPayload> {
        ctx.session().platform()?;
        let drafts = match draft::check(input.events, &ctx.services().policy().catalog) {
            Ok(drafts) => drafts,
            Err(problems) => {
                return Ok(PublishEventsPayload {
                    events: Vec::new(),
                    user_errors: problems.into_errors(),
                });
            }
        };
        if drafts.is_empty() {
            return Ok(PublishEventsPayload {
                events: Vec::new(),
                user_errors: Vec::new(),
            });
        }
        Ok(answer(ctx.services().publisher.publish(drafts).await?))
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Stopping => Self::unavailable(error),
            PublishError::Full => {
                Self::overloaded("Too many publications are waiting to be stored. Try again.")
            }
            PublishError::Crowded => {
                Self::crowded("Too many events of this company are waiting to be stored. Try again.")
            }
            PublishError::Store(error) => error.into(),
            PublishError::Refused { .. } => Self::internal(error),
        }
    }
}

fn answer(published: Vec<Published>) -> PublishEventsPayload {
    let mut events = Vec::new();
    let mut problems = Problems::none();
    for (index, published) in published.into_iter().enumerate() {
        let (event, deliveries, duplicate) = match published {
            Published::New { event, deliveries } => (event, deliveries, false),
            Published::Duplicate { event, deliveries } => (event, deliveries, true),
            Published::Conflict => {
                problems.add(
                    UserErrorCode::IdempotencyConflict,
                    Path::input().field("events").index(index).field("idempotencyKey"),
                    "this key was used before, with another input",
                );
                continue;
            }
        };
        events.push(PublishedEvent {
            index: i32::try_from(index).unwrap_or(i32::MAX),
            event: event.into(),
            delivery_count: i32::try_from(deliveries).unwrap_or(i32::MAX),
            duplicate,
        });
    }
    PublishEventsPayload {
        events,
        user_errors: problems.into_errors(),
    }
}
