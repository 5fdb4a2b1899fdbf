//! The source of a world's time: simulated in this process, simulated in a remote server, or real.

use std::sync::Arc;

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};

use super::remote::RemoteTime;
use crate::launch::SimulatedTime;
use crate::realtime;
use crate::timekeeper::{RealTime, Time, Timekeeper};

/// A world's time, and how to move it.
#[derive(Clone)]
pub(super) enum TimeDriver {
    /// One clock for servers in this process.
    Here(SimulatedTime),
    /// The clock of a remote server, moved over `/sim/…`.
    There(RemoteTime),
    /// The time of day.
    Real,
}

impl TimeDriver {
    pub(super) fn now(&self) -> Timestamp {
        match self {
            Self::Here(time) => time.now(),
            Self::There(time) => time.now(),
            Self::Real => realtime::now(),
        }
    }

    pub(super) fn time(&self) -> Time {
        match self {
            Self::Here(time) => Arc::new(time.clone()),
            Self::There(time) => Arc::new(time.clone()),
            Self::Real => Arc::new(RealTime),
        }
    }

    pub(super) async fn advance(&self, by: SignedDuration) -> anyhow::Result<()> {
        match self {
            Self::Here(time) => time.advance(by).await.map(drop),
            Self::There(time) => time.advance(by).await,
            Self::Real => {
                ensure!(!by.is_negative(), "time cannot move backwards");
                realtime::pause(by.unsigned_abs()).await;
                Ok(())
            }
        }
    }

    pub(super) async fn advance_to(&self, at: Timestamp) -> anyhow::Result<()> {
        match self {
            Self::Here(time) => time.advance_to(at).await.map(drop),
            Self::There(_) | Self::Real => self.advance(at.duration_since(self.now())).await,
        }
    }

    pub(super) async fn advance_to_next(&self) -> anyhow::Result<Timestamp> {
        match self {
            Self::Here(time) => time.advance_to_next().await,
            Self::There(time) => time.advance_to_next().await,
            Self::Real => {
                Err(anyhow::anyhow!("real time cannot skip")).context("advance to the next due time")
            }
        }
    }
}
