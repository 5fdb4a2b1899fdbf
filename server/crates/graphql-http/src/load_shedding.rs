//! Load shedding: limits how much of bulk operations is in progress at once, so that memory does not grow.
//!
//! Guarantees:
//!
//! - Bodies with bulk operations are read, parsed and kept until they are carried out, only within
//!   [`SheddingConfig::memory`]. The memory is estimated from bytes and JSON values.
//! - At most [`SheddingConfig::calls`] of them are in progress at once.
//!
//! A refused operation gets the code `UNAVAILABLE`, because another process may have room. No caller is guaranteed a
//! share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::SheddingConfig;
use crate::error::RequestError;
use crate::limits::{BODY_LIMIT, MAX_JSON_VALUES};

/// Memory estimate for one JSON value: as parsed, as GraphQL's and as the app's, each with the allocator's overhead.
const VALUE_BYTES: usize = 160;
/// How often each byte of a body is counted: as received, and as the app keeps it.
const COPIES: usize = 2;
/// Memory estimate for any call: its connection's buffers and its document.
const CALL_BYTES: usize = 32 * 1024;
/// Memory is counted in units of this many bytes.
const UNIT: usize = 1024;
/// Memory estimate for an operation over a stream or a socket: the largest possible, because it is parsed before it is
/// measured.
const STREAMED: usize = estimate(BODY_LIMIT, MAX_JSON_VALUES);

/// The memory estimate for an operation whose body has this many bytes and JSON values.
pub const fn estimate(bytes: usize, values: usize) -> usize {
    COPIES * bytes + values * VALUE_BYTES + CALL_BYTES
}

/// The limits, shared by all calls.
#[derive(Clone)]
pub struct LoadShedder {
    calls: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    refusal: &'static str,
}

/// A reservation of memory, and of a call if there is one. Dropping it frees both.
#[derive(Debug)]
pub struct Permit {
    memory: OwnedSemaphorePermit,
    _call: Option<OwnedSemaphorePermit>,
}

impl LoadShedder {
    /// Everything is free.
    pub fn new(config: &SheddingConfig) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(config.calls)),
            memory: Arc::new(Semaphore::new(config.memory / UNIT)),
            refusal: config.refusal,
        }
    }

    /// Reserves memory for a body of at most `bytes` bytes, before it is read.
    pub fn body(&self, bytes: usize) -> Result<Permit, RequestError> {
        let memory = self.reserve(COPIES * bytes + CALL_BYTES)?;
        Ok(Permit { memory, _call: None })
    }

    /// Reserves more memory for the values in the body, before it is parsed.
    pub fn values(&self, permit: &mut Permit, values: usize) -> Result<(), RequestError> {
        permit.memory.merge(self.reserve(values * VALUE_BYTES)?);
        Ok(())
    }

    /// Reserves one of the calls. An operation that did not arrive as a body of its own reserves its memory now.
    pub fn call(&self, permit: Option<Permit>) -> Result<Permit, RequestError> {
        let memory = match permit {
            Some(permit) => permit.memory,
            None => self.reserve(STREAMED)?,
        };
        let call = self.calls.clone().try_acquire_owned();
        let call = call.map_err(|_| self.overloaded())?;
        Ok(Permit {
            memory,
            _call: Some(call),
        })
    }

    fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, RequestError> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        self.memory
            .clone()
            .try_acquire_many_owned(units)
            .map_err(|_| self.overloaded())
    }

    fn overloaded(&self) -> RequestError {
        RequestError::overloaded(self.refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    /// The largest body that a test's app accepts.
    const LARGEST_BODY: usize = 8 * 1024 * 1024;
    const MOST_VALUES: usize = 500_000;
    /// Memory for it.
    const LARGEST: usize = estimate(LARGEST_BODY, MOST_VALUES);

    fn shedder(calls: usize, memory: usize) -> LoadShedder {
        LoadShedder::new(&SheddingConfig {
            calls,
            memory,
            ..SheddingConfig::default()
        })
    }

    fn is_full<T>(result: Result<T, RequestError>) -> bool {
        result.is_err_and(|error| error.code() == ErrorCode::Unavailable && error.retry_after().is_some())
    }

    #[test]
    fn one_call_over_the_limit_is_refused_until_another_ends() {
        let shedder = shedder(2, LARGEST * 2);
        let body = || shedder.body(1).ok();
        let first = shedder.call(body()).unwrap();
        let _second = shedder.call(body()).unwrap();
        assert!(is_full(shedder.call(body())));
        drop(first);
        shedder.call(body()).unwrap();
    }

    #[test]
    fn one_byte_or_value_over_the_memory_is_refused() {
        let shedder = shedder(10, LARGEST);
        let mut largest = shedder.body(LARGEST_BODY).unwrap();
        shedder.values(&mut largest, MOST_VALUES).unwrap();
        assert!(is_full(shedder.body(1)));
        drop(largest);
        let whole = (LARGEST / UNIT * UNIT - CALL_BYTES) / COPIES;
        let mut whole = shedder.body(whole).unwrap();
        assert!(is_full(shedder.values(&mut whole, 1)));
        assert!(is_full(shedder.call(None)));
    }

    #[test]
    fn an_operation_over_a_stream_reserves_the_memory_of_the_largest() {
        let shedder = shedder(10, STREAMED.div_ceil(UNIT) * UNIT);
        let permit = shedder.call(None).unwrap();
        assert!(is_full(shedder.call(None)));
        drop(permit);
        shedder.call(None).unwrap();
    }
}
