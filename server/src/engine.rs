//! Takes what is due, makes the request, settles the result.

pub mod transport;
