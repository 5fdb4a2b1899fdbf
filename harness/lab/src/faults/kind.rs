//! The faults around a server, by name. Names are stable, so that reports can be compared.

use std::fmt;

use clap::ValueEnum;
use serde::{Serialize, Serializer};

/// A fault in what surrounds a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// A server is killed with SIGKILL.
    KillServer,
    /// A server gets SIGTERM while it works.
    TerminateServer,
    /// A server is stopped with SIGSTOP, often for longer than the other servers wait for it.
    FreezeServer,
    /// Postgres shuts down normally and starts again.
    StopPostgres,
    /// Postgres is killed, as `pg_ctl stop -m immediate` does, and has to recover.
    KillPostgres,
    /// Connections to Postgres are cut one after the other, between two messages.
    CutConnections,
    /// Connections to Postgres are cut in the middle of a statement.
    CutStatements,
    /// Connections to Postgres are cut after the statement has arrived and before its response.
    LoseAnswers,
    /// Connections to Postgres stall: no bytes pass, and no connection ends.
    StallConnections,
    /// The disk that Postgres writes to is full.
    FillDisk,
    /// The wall clock of a server's machine jumps by up to an hour, forwards or backwards.
    StepServerClock,
    /// The wall clock that servers and Postgres share jumps, forwards or backwards.
    StepSharedClock,
    /// A server runs out of file descriptors.
    ExhaustDescriptors,
    /// The machine's name server responds late.
    SlowNames,
    /// Open connections to Postgres fall silent: no bytes pass, and they do not end. New ones work.
    SilenceDatabase,
    /// The machine's name server does not respond at all.
    SilenceNames,
    /// Packets to the first of a receiver's two addresses get no response.
    DeadAddress,
    /// Postgres refuses to store a receiver's response.
    PoisonedAnswer,
    /// Postgres refuses to store the events of some calls, which are published at the same time as others.
    PoisonedEvent,
}

impl Kind {
    /// All kinds of fault.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Whether the fault does not affect servers, Postgres and the connections between them, so that no call may fail
    /// because of it.
    pub fn spares_calls(self) -> bool {
        matches!(
            self,
            Self::SlowNames
                | Self::SilenceNames
                | Self::DeadAddress
                | Self::PoisonedAnswer
                | Self::PoisonedEvent
        )
    }

    /// The name of the kind, which [`ValueEnum`] parses.
    pub fn name(self) -> String {
        let described = self.to_possible_value();
        let described = described.expect("no kind is hidden from the command line");
        described.get_name().to_owned()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}
