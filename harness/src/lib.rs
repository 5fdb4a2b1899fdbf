//! stub
pub mod client;
pub mod journal;
pub mod payload;
pub mod realtime;
pub mod receiver;
pub mod reply;
pub mod signature;
pub mod timekeeper;
pub mod token;
pub mod wire;
