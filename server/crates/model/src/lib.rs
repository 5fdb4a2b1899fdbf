//! The types of the domain: ids, webhooks, events, deliveries, attempts, health, and callers.
//!
//! These are plain values without IO, and arithmetic on times. The database stores the numbers of `code()`, which never change meaning. Decisions are
//! made in `tenterhook_policy`.

pub mod access;
pub mod app;
pub mod attempt;
pub mod delivery;
pub mod event;
pub mod health;
pub mod ids;
pub mod notice;
pub mod secret;
pub mod time;
pub mod webhook;

/// Declares an enum that the database stores as a `smallint`, with the conversions in both directions.
macro_rules! stored_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stored number.
            pub fn code(self) -> i16 {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The value of a stored number; `None` for a number that no version has written.
            pub fn from_code(code: i16) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use stored_enum;
