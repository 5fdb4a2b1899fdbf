//! How much of publishing may be under way at once: what comes past it is refused at the door, before memory grows.
//!
//! Promises that bodies of the platform are read, and their publications parsed and kept until they are stored, only
//! within [`ApiSettings::publishing_memory`], by a reckoning of their bytes and JSON values; and that as many calls are
//! under way as [`ApiSettings::publishing_calls`] says. What is refused is coded `UNAVAILABLE`: another process may have
//! room. Does not promise any company its share: that is the engine's door.

mod subject;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::subject::subject;
use super::error::ApiError;
use super::http::BODY_LIMIT;
use super::json::MAX_JSON_VALUES;
use tenterhook_settings::ApiSettings;

/// What a JSON value is reckoned with: as parsed, as GraphQL's and as an event's, each with what the allocator adds.
const VALUE_BYTES: usize = 160;
/// How often each byte of a body is reckoned: as it came, and as events and on their way into the database.
const COPIES: usize = 2;
/// What any call is reckoned with: its connection's buffers and its document.
const CALL_BYTES: usize = 32 * 1024;
/// Memory is counted in units of so many bytes.
const UNIT: usize = 1024;
/// What a publication over a stream or a socket is reckoned with: the largest, since it is parsed before it is weighed.
const STREAMED: usize = COPIES * BODY_LIMIT + MAX_JSON_VALUES * VALUE_BYTES + CALL_BYTES;

/// The room that there is.
#[derive(Clone)]
pub struct Admission {
    calls: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub struct Place {
    memory: OwnedSemaphorePermit,
    _call: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// As much as the settings say.
    pub fn new(settings: &ApiSettings) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(
                settings.publishing_calls.try_into().unwrap_or(usize::MAX),
            )),
            memory: Arc::new(Semaphore::new(settings.publishing_memory / UNIT)),
        }
    }

    /// Room for a body of so many bytes, before it is read.
    pub fn body(&self, bytes: usize) -> Result<Place, ApiError> {
        let memory = self.take(COPIES * bytes + CALL_BYTES)?;
        Ok(Place { memory, _call: None })
    }

    /// More room, for what the body turned out to have in it, before it is parsed.
    pub fn values(&self, place: &mut Place, values: usize) -> Result<(), ApiError> {
        place.memory.merge(self.take(values * VALUE_BYTES)?);
        Ok(())
    }

    /// A turn to publish. What did not come as a body of its own takes its room now.
    pub fn call(&self, place: Option<Place>) -> Result<Place, ApiError> {
        let memory = match place {
            Some(place) => place.memory,
            None => self.take(STREAMED)?,
        };
        let call = self.calls.clone().try_acquire_owned().map_err(|_| full())?;
        Ok(Place {
            memory,
            _call: Some(call),
        })
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        self.memory
            .clone()
            .try_acquire_many_owned(units)
            .map_err(|_| full())
    }
}

fn full() -> ApiError {
    ApiError::overloaded("As many publications as allowed are under way. Try again.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::http::PUBLISHING_LIMIT;
    use crate::json::MAX_PUBLISHED_VALUES;
    use tenterhook_settings::table::LARGEST_PUBLICATION;

    /// What the largest publication that there is takes.
    const LARGEST: usize = COPIES * PUBLISHING_LIMIT + MAX_PUBLISHED_VALUES * VALUE_BYTES + CALL_BYTES;

    fn admission(calls: u32, memory: usize) -> Admission {
        Admission::new(&ApiSettings {
            publishing_calls: calls,
            publishing_memory: memory,
            ..ApiSettings::default()
        })
    }

    fn is_full<T>(result: Result<T, ApiError>) -> bool {
        result.is_err_and(|error| error.code() == ErrorCode::Unavailable && error.retry_after().is_some())
    }

    #[test]
    fn so_many_calls_are_under_way_and_one_more_is_refused_until_one_ends() {
        let admission = admission(2, LARGEST * 2);
        let body = || admission.body(1).ok();
        let first = admission.call(body()).unwrap();
        let _second = admission.call(body()).unwrap();
        assert!(is_full(admission.call(body())));
        drop(first);
        admission.call(body()).unwrap();
    }

    #[test]
    fn the_largest_publication_fits_into_the_least_that_can_be_set() {
        let admission = admission(1, LARGEST_PUBLICATION);
        let mut place = admission.body(PUBLISHING_LIMIT).unwrap();
        admission.values(&mut place, MAX_PUBLISHED_VALUES).unwrap();
    }

    #[test]
    fn so_much_is_read_and_a_byte_or_value_past_it_is_refused() {
        let admission = admission(10, LARGEST);
        let mut largest = admission.body(PUBLISHING_LIMIT).unwrap();
        admission.values(&mut largest, MAX_PUBLISHED_VALUES).unwrap();
        assert!(is_full(admission.body(1)));
        drop(largest);
        let whole = (LARGEST / UNIT * UNIT - CALL_BYTES) / COPIES;
        let mut whole = admission.body(whole).unwrap();
        assert!(is_full(admission.values(&mut whole, 1)));
        assert!(is_full(admission.call(None)));
    }

    #[test]
    fn what_comes_over_a_stream_takes_the_room_of_the_largest() {
        let admission = admission(10, STREAMED.div_ceil(UNIT) * UNIT);
        let place = admission.call(None).unwrap();
        assert!(is_full(admission.call(None)));
        drop(place);
        admission.call(None).unwrap();
    }
}
