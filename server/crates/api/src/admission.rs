//! Admission of publications: limits how much of publishing is in progress at once, so that memory does not grow.
//!
//! Guarantees:
//!
//! - Bodies of the platform are read, and their publications parsed and kept until they are stored, only within
//!   [`ApiSettings::publishing_memory`]. The memory is estimated from bytes and JSON values.
//! - At most [`ApiSettings::publishing_calls`] calls are in progress at once.
//!
//! A refused call gets the code `UNAVAILABLE`, because another process may have room. No company is guaranteed a
//! share: the engine takes care of that.

mod subject;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::subject::subject;
use super::error::ApiError;
use super::http::BODY_LIMIT;
use super::json::MAX_JSON_VALUES;
use tenterhook_settings::ApiSettings;

/// Memory estimate for one JSON value: as parsed, as GraphQL's and as an event's, each with the allocator's overhead.
const VALUE_BYTES: usize = 160;
/// How often each byte of a body is counted: as received, and as events on their way into the database.
const COPIES: usize = 2;
/// Memory estimate for any call: its connection's buffers and its document.
const CALL_BYTES: usize = 32 * 1024;
/// Memory is counted in units of this many bytes.
const UNIT: usize = 1024;
/// Memory estimate for a publication over a stream or a socket: the largest possible, because it is parsed before it
/// is measured.
const STREAMED: usize = COPIES * BODY_LIMIT + MAX_JSON_VALUES * VALUE_BYTES + CALL_BYTES;

/// The limits, shared by all calls.
#[derive(Clone)]
pub struct Admission {
    calls: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// A reservation of memory, and of a call if there is one. Dropping it frees both.
#[derive(Debug)]
pub struct Place {
    memory: OwnedSemaphorePermit,
    _call: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// Takes the limits from the settings.
    pub fn new(settings: &ApiSettings) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(
                settings.publishing_calls.try_into().unwrap_or(usize::MAX),
            )),
            memory: Arc::new(Semaphore::new(settings.publishing_memory / UNIT)),
        }
    }

    /// Reserves memory for a body of at most `bytes` bytes, before it is read.
    pub fn body(&self, bytes: usize) -> Result<Place, ApiError> {
        let memory = self.take(COPIES * bytes + CALL_BYTES)?;
        Ok(Place { memory, _call: None })
    }

    /// Reserves more memory for the values in the body, before it is parsed.
    pub fn values(&self, place: &mut Place, values: usize) -> Result<(), ApiError> {
        place.memory.merge(self.take(values * VALUE_BYTES)?);
        Ok(())
    }

    /// Reserves one of the calls. A publication that did not arrive as a body of its own reserves its memory now.
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

    /// Memory for the largest possible publication.
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
