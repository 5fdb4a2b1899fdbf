//! Errors in a mutation's input: returned as data, with a stable code and a path.

use async_graphql::{Enum, Interface, SimpleObject};

use crate::error::{ApiError, Result};
use crate::types::enums::WebhookType;
use tenterhook_model::ids::InvalidId;
use tenterhook_policy::access::Denial;
use tenterhook_policy::input_limits::OutOfBounds;
use tenterhook_policy::matching::NotInCatalog;

/// The kind of fault in an input. Codes are stable; new ones may be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum UserErrorCode {
    /// The value is not allowed here.
    Invalid,
    /// The text is not a URL that can be called.
    InvalidUrl,
    /// The URL leads to an address that must not be called.
    ForbiddenAddress,
    /// The action or object is not in the event catalogue.
    NotInCatalog,
    /// The limit on the number of webhooks is reached.
    LimitReached,
    /// The object does not exist, or the caller may not see it.
    NotFound,
    /// The caller may see the object, but may not do this.
    Forbidden,
    /// The token acts through an app that is not installed for its user.
    AppNotInstalled,
    /// The operation is not possible in the object's current state.
    InvalidState,
    /// The value is longer than allowed.
    TooLong,
    /// The list has more entries than allowed.
    TooMany,
    /// The idempotency key was used before, with another input.
    IdempotencyConflict,
    /// The object exists already.
    AlreadyExists,
}

/// A fault in an input.
#[derive(Debug, Clone, PartialEq, Eq, Interface)]
#[graphql(
    field(
        name = "code",
        ty = "&UserErrorCode",
        desc = "The kind of fault, for programs."
    ),
    field(
        name = "message",
        ty = "&String",
        desc = "The fault, in a sentence for people."
    ),
    field(
        name = "path",
        ty = "&Vec<String>",
        desc = "Path of the faulty value, beginning with `input`; positions in a list are numbers from 0."
    )
)]
pub enum UserError {
    /// An error without further data.
    Input(InputError),
    /// An error with a limit.
    Limit(LimitReachedError),
}

/// A fault in an input.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct InputError {
    /// The kind of fault, for programs.
    code: UserErrorCode,
    /// The fault, in a sentence for people.
    message: String,
    /// Path of the faulty value, beginning with `input`; positions in a list are numbers from 0.
    path: Vec<String>,
}

/// The limit on the number of webhooks is reached.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct LimitReachedError {
    /// The kind of fault, for programs: `LIMIT_REACHED`.
    code: UserErrorCode,
    /// The fault, in a sentence for people.
    message: String,
    /// Path of the faulty value, beginning with `input`.
    path: Vec<String>,
    /// How many webhooks are allowed.
    limit: i32,
    /// How many webhooks there are.
    used: i32,
    /// The kind of webhooks that are counted: the user's general ones, or the app's for the user.
    scope: WebhookType,
}

impl UserError {
    /// Its code, its message for people, and the path of the faulty value, beginning with `input`.
    pub fn parts(&self) -> (UserErrorCode, &str, &[String]) {
        match self {
            Self::Input(error) => (error.code, &error.message, &error.path),
            Self::Limit(error) => (error.code, &error.message, &error.path),
        }
    }

    /// The limit that is reached, and how many webhooks there are.
    pub fn limit(&self) -> Option<(i32, i32)> {
        match self {
            Self::Input(_) => None,
            Self::Limit(error) => Some((error.limit, error.used)),
        }
    }

    /// An error for a reached limit (W3).
    pub fn limit_reached(limit: u32, used: i64, scope: WebhookType) -> Self {
        let whose = match scope {
            WebhookType::General => "A user can have",
            WebhookType::Application => "An app can have",
        };
        let what = match scope {
            WebhookType::General => "general webhooks",
            WebhookType::Application => "webhooks for a user",
        };
        Self::Limit(LimitReachedError {
            code: UserErrorCode::LimitReached,
            message: format!("{whose} at most {limit} {what}."),
            path: vec!["input".to_owned()],
            limit: i32::try_from(limit).unwrap_or(i32::MAX),
            used: i32::try_from(used).unwrap_or(i32::MAX),
            scope,
        })
    }
}

#[cfg(test)]
impl UserError {
    /// One line with code and path.
    pub fn line(&self) -> String {
        let (code, _, path) = self.parts();
        format!("{code:?} {}", path.join("."))
    }
}

/// A path in the input, such as `input.events.3.object`.
#[derive(Debug, Clone)]
pub struct Path(Vec<String>);

impl Path {
    /// The input itself.
    pub fn input() -> Self {
        Self(vec!["input".to_owned()])
    }

    /// The path of a field.
    pub fn field(&self, name: &str) -> Self {
        Self(self.0.iter().cloned().chain([name.to_owned()]).collect())
    }

    /// The path of an entry of a list.
    pub fn index(&self, index: usize) -> Self {
        self.field(&index.to_string())
    }
}

/// Collects the errors of an input.
#[derive(Debug, Default)]
pub struct Problems(Vec<UserError>);

impl Problems {
    /// No errors.
    pub fn none() -> Self {
        Self::default()
    }

    /// A single error.
    pub fn one(code: UserErrorCode, path: Path, message: impl ToString) -> Self {
        let mut problems = Self::none();
        problems.add(code, path, message);
        problems
    }

    /// Adds an error.
    pub fn add(&mut self, code: UserErrorCode, path: Path, message: impl ToString) {
        self.0.push(UserError::Input(InputError {
            code,
            message: sentence(&message.to_string()),
            path: path.0,
        }));
    }

    /// Adds other errors.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether there are no errors.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The errors in the order in which they were added.
    pub fn into_errors(self) -> Vec<UserError> {
        self.0
    }

    /// Returns the value of a check, or adds its error.
    pub fn check<T, E: Problem>(&mut self, path: &Path, checked: std::result::Result<T, E>) -> Option<T> {
        match checked {
            Ok(value) => Some(value),
            Err(problem) => {
                self.add(problem.code(), path.clone(), problem.to_string());
                None
            }
        }
    }
}

/// A finding of the policy that is the caller's fault.
pub trait Problem: std::fmt::Display {
    /// Its code.
    fn code(&self) -> UserErrorCode;
}

impl Problem for OutOfBounds {
    fn code(&self) -> UserErrorCode {
        match self {
            Self::Characters(_) | Self::Bytes(_) => UserErrorCode::TooLong,
            Self::Entries(_) => UserErrorCode::TooMany,
            Self::Empty | Self::Control | Self::Nul | Self::Moment | Self::Colon => UserErrorCode::Invalid,
        }
    }
}

impl Problem for InvalidId {
    fn code(&self) -> UserErrorCode {
        UserErrorCode::Invalid
    }
}

impl Problem for NotInCatalog {
    fn code(&self) -> UserErrorCode {
        UserErrorCode::NotInCatalog
    }
}

/// The error for a denial: a missing scope fails the operation, anything else is an error in the input at `path`.
pub fn denied(denial: Denial, path: Path) -> Result<Problems> {
    let (code, path) = match denial {
        Denial::MissingScope => return Err(ApiError::forbidden()),
        Denial::AppNotInstalled => (UserErrorCode::AppNotInstalled, Path::input()),
        Denial::NotFound => (UserErrorCode::NotFound, path),
        Denial::Forbidden(_) => (UserErrorCode::Forbidden, path),
    };
    Ok(Problems::one(code, path, denial))
}

/// Adds a capital letter and a full stop: messages are shown to people.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars
        .next()
        .map(|c| c.to_uppercase().collect::<String>())
        .unwrap_or_default();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}
