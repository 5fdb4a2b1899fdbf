//! One type per kind of identifier, its text form, and what makes it invalid.
//!
//! Guarantees: a value of such a type is a valid id. [`Lane::of`] never changes, because lanes are stored. Not guaranteed:
//! that the object that an id names exists.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

/// The largest decimal id: 2^53−1, so that a JSON number holds it exactly.
pub const MAX_DECIMAL_ID: i64 = (1 << 53) - 1;
/// The longest app or object id, in characters.
pub(crate) const MAX_NAME_ID: usize = 64;
/// The number of lanes. Fixed for the life of a database: the `settings` table stores it.
pub const LANES: i32 = 64;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Company and user ids are decimal.
    #[error("must be a decimal number from 1 to {MAX_DECIMAL_ID}")]
    NotDecimal,
    /// App and object ids are short names.
    #[error("must be 1 to {MAX_NAME_ID} characters of A-Z a-z 0-9 . _ -")]
    NotAName,
}

macro_rules! decimal_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// Checks the range 1 … 2^53−1.
            pub fn new(value: i64) -> Result<Self, InvalidId> {
                if (1..=MAX_DECIMAL_ID).contains(&value) { Ok(Self(value)) } else { Err(InvalidId::NotDecimal) }
            }

            /// The id as an integer, for the database and for JSON.
            pub fn get(self) -> i64 {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Only decimal digits, without sign, leading zero or space, so that an id has one spelling.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(InvalidId::NotDecimal);
                }
                Self::new(text.parse().map_err(|_| InvalidId::NotDecimal)?)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

decimal_id!(
    /// A company: the tenant.
    CompanyId
);
decimal_id!(
    /// A user of a company. The same number in another company is another user.
    UserId
);
decimal_id!(
    /// The decimal webhook id in payloads and in the `tenterhook-webhook` header (E4, E7).
    WebhookNumber
);

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The id as the platform sent it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
                if (1..=MAX_NAME_ID).contains(&text.len()) && text.bytes().all(valid) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId::NotAName)
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_id!(
    /// An app of the marketplace.
    AppId
);
name_id!(
    /// The platform's id of an object, such as a deal's.
    ObjectId
);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id with the time `at`, unique by 74 random bits.
            pub fn new(at: Timestamp) -> Self {
                Self(uuid_v7(at))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

uuid_id!(
    /// A webhook's internal id.
    WebhookId
);
uuid_id!(
    /// An event's id, in the header `webhook-id` and in `meta.id`.
    EventId
);
uuid_id!(
    /// A notice's id.
    NoticeId
);

impl NoticeId {
    /// An id with the time `at` that is greater than those of the same millisecond with a lower rank. The highest rank is
    /// 4,095.
    pub fn ranked(at: Timestamp, rank: u16) -> Self {
        let mut random: [u8; 10] = rand::random();
        random[..2].copy_from_slice(&rank.to_be_bytes());
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}

impl EventId {
    /// The greatest id in the millisecond of `at`: ids of later times are greater.
    pub fn last_of(at: Timestamp) -> Self {
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &[0xff; 10]).into_uuid())
    }

    /// The time of acceptance in the id, to the millisecond. It decides the event's partition.
    pub fn accepted_at(self) -> Timestamp {
        let (seconds, nanos) = self.0.get_timestamp().map_or((0, 0), |t| t.to_unix());
        let millis = i64::try_from(seconds).unwrap_or(0) * 1000 + i64::from(nanos / 1_000_000);
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// A server process, as in the `nodes` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i64);

/// The shard key of every tenant table: a fixed hash of the company.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub i32);

impl Lane {
    /// FNV-1a, 64 bit, over the eight little-endian bytes of the company id, folded to its upper half (the low bits of FNV
    /// depend only on the low bits of each byte), modulo [`LANES`].
    ///
    /// Test vectors keep it unchanged: rows are stored under their lane, so another hash would no longer find them.
    pub fn of(company: CompanyId) -> Self {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in company.0.to_le_bytes() {
            hash ^= u64::from(byte);
            hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
        }
        let folded = (hash ^ (hash >> 32)) % LANES as u64;
        Self(i32::try_from(folded).unwrap_or(0))
    }

    /// All lanes, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..LANES).map(Self)
    }
}

/// The key of a webhook in every table: its company's lane, and its id.
pub type WebhookKey = (Lane, WebhookId);

/// The key of a delivery: one event for one webhook. Replays increase the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryKey {
    /// The company's lane.
    pub lane: Lane,
    /// The webhook that gets the event.
    pub webhook: WebhookId,
    /// The event to deliver.
    pub event: EventId,
    /// 0 for the delivery made at publication; each replay adds 1 (D12).
    pub generation: i32,
}

/// Makes event ids that ascend in the order in which this process makes them (D11).
///
/// Within one millisecond the twelve bits after the time count up (RFC 9562, 6.2, method 1). The 4,097th id of a millisecond
/// takes the time of the next one.
#[derive(Debug, Default)]
pub struct EventIds {
    last_millis: u64,
    sequence: u16,
}

impl EventIds {
    const LAST_SEQUENCE: u16 = 0x0fff;

    /// The next id, with the time `at` or that of the previous id, whichever is later.
    pub fn next(&mut self, at: Timestamp) -> EventId {
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        if millis > self.last_millis {
            (self.last_millis, self.sequence) = (millis, 0);
        } else if self.sequence < Self::LAST_SEQUENCE {
            self.sequence += 1;
        } else {
            (self.last_millis, self.sequence) = (self.last_millis + 1, 0);
        }
        let mut random: [u8; 10] = rand::random();
        random[..2].copy_from_slice(&self.sequence.to_be_bytes());
        EventId(uuid::Builder::from_unix_timestamp_millis(self.last_millis, &random).into_uuid())
    }
}

fn uuid_v7(at: Timestamp) -> Uuid {
    let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_frozen() {
        let lane = |n| Lane::of(CompanyId::new(n).unwrap()).0;
        let vectors: Vec<i32> = [1, 2, 3, 7, 42, 1000, 123_456_789, MAX_DECIMAL_ID]
            .map(lane)
            .to_vec();
        assert_eq!(vectors, [13, 3, 29, 53, 4, 30, 28, 59]);
    }

    #[test]
    fn decimal_ids_have_one_spelling() {
        assert_eq!("1".parse::<CompanyId>().unwrap().get(), 1);
        assert_eq!(
            "9007199254740991".parse::<UserId>().unwrap().get(),
            MAX_DECIMAL_ID
        );
        for bad in [
            "",
            "0",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "9007199254740992",
            "99999999999999999999",
            "x",
        ] {
            assert_eq!(bad.parse::<UserId>(), Err(InvalidId::NotDecimal), "{bad:?}");
        }
    }

    #[test]
    fn names_are_bounded() {
        assert!("a".repeat(64).parse::<AppId>().is_ok());
        for bad in ["", "a b", "ä", "a/b", &"a".repeat(65)] {
            assert_eq!(bad.parse::<ObjectId>(), Err(InvalidId::NotAName), "{bad:?}");
        }
    }

    #[test]
    fn ranks_order_the_notices_of_a_millisecond() {
        let at: Timestamp = "2026-11-23T10:11:12.345678Z".parse().unwrap();
        for rank in 1..=6 {
            assert!(NoticeId::ranked(at, rank - 1) < NoticeId::ranked(at, rank));
        }
    }

    #[test]
    fn an_event_id_carries_its_moment() {
        let at: Timestamp = "2026-11-23T10:11:12.345678Z".parse().unwrap();
        assert_eq!(
            EventId::new(at).accepted_at(),
            "2026-11-23T10:11:12.345Z".parse().unwrap()
        );
    }
}
