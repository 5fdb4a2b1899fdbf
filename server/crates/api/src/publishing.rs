//! Publishing events (E1–E6). The platform's business.

mod draft;

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};

use super::context::Ask;
use super::error::{ApiError, Result};
use super::events::{Event, EventAction};
use super::scalars::{DateTime, EventObject, Json};
use super::user_error::{Path, Problems, UserError, UserErrorCode};
use tenterhook_engine::{PublishError, Published};
use tenterhook_model::event;

/// Where a change came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "event::ChangeSource")]
pub enum ChangeSource {
    /// Somebody in the web app.
    App,
    /// A call of the platform's API.
    Api,
}

/// An event to publish.
#[derive(InputObject)]
pub struct EventInput {
    /// The company.
    company_id: ID,
    /// What happened; not `ANY`. A merge is published once, about the survivor.
    action: EventAction,
    /// To which kind of object: one of the catalogue of either payload version.
    object: EventObject,
    /// To which object: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
    object_id: ID,
    /// Who did it.
    user_id: ID,
    /// The object's state after it, up to 256 KiB.
    data: Option<Json>,
    /// The object's whole state before it, up to 256 KiB.
    previous: Option<Json>,
    /// The users that may see the object; null means everyone in the company.
    permitted_user_ids: Option<Vec<ID>>,
    /// Where the change came from.
    #[graphql(default_with = "Some(ChangeSource::App)")]
    change_source: Option<ChangeSource>,
    /// Whether it was one of many changed together.
    #[graphql(default_with = "Some(false)")]
    is_bulk_edit: Option<bool>,
    /// Of a merge: the object that was merged into this one.
    merged_from_id: Option<ID>,
    /// Of a merge: that object's last state, up to 256 KiB.
    merged_from_previous: Option<Json>,
    /// Groups events of one cause; a new one unless given.
    correlation_id: Option<ID>,
    /// The company's host, for payloads.
    host: Option<String>,
    /// The same key of the same company publishes once within a day.
    idempotency_key: Option<String>,
    /// When it happened; the moment of acceptance unless given.
    occurred_at: Option<DateTime>,
}

/// Events to publish.
#[derive(InputObject)]
pub struct PublishEventsInput {
    /// The events, up to 1000.
    events: Vec<EventInput>,
}

/// An event that is stored.
#[derive(SimpleObject)]
pub struct PublishedEvent {
    /// Its place in the input, from 0.
    index: i32,
    /// The event; of a merge the survivor's, of a repeated key the first.
    event: Event,
    /// How many deliveries it made, lost ones included.
    delivery_count: i32,
    /// Whether its key was published before: then nothing was published now.
    duplicate: bool,
}

/// What became of the events.
#[derive(SimpleObject)]
pub struct PublishEventsPayload {
    /// Those that are stored, in order.
    events: Vec<PublishedEvent>,
    /// What was wrong with the input; empty when it worked. Anything but a conflict of an idempotency key refuses all
    /// events.
    user_errors: Vec<UserError>,
}

/// Mutations that publish.
#[derive(Default)]
pub struct PublishingMutations;

#[Object]
impl PublishingMutations {
    /// Publishes events: stored before they are acknowledged, all of them or on an error none. For the platform.
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
                Self::overloaded("As many publications as allowed wait to be stored. Try again.")
            }
            PublishError::Crowded => {
                Self::crowded("As many events of this company as allowed wait to be stored. Try again.")
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
                    "this key was used before, for another content",
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
