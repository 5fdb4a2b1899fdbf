//! What a caller can do wrong with a mutation's input: told as data, with a stable code and the place.

use async_graphql::{Enum, Interface, SimpleObject};

use super::error::{ApiError, Result};
use super::webhooks::WebhookType;
use tenterhook_model::ids::InvalidId;
use tenterhook_policy::access::Denial;
use tenterhook_policy::limits::OutOfBounds;
use tenterhook_policy::matching::NotInCatalog;

/// What was wrong with an input. Codes are stable; new ones may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum UserErrorCode {
    /// The value is not allowed here.
    Invalid,
    /// The text is not a URL that can be called.
    InvalidUrl,
    /// The URL leads to an address that may not be called.
    ForbiddenAddress,
    /// The action or object is not in the event catalogue.
    NotInCatalog,
    /// As many as allowed are there already.
    LimitReached,
    /// There is no such thing, as far as this caller is concerned.
    NotFound,
    /// The caller can see it, but may not do this.
    Forbidden,
    /// The token acts through an app that its user has not installed.
    AppNotInstalled,
    /// What is asked for is not possible in the state that the thing is in.
    InvalidState,
    /// The value is longer than allowed.
    TooLong,
    /// The list has more entries than allowed.
    TooMany,
    /// The idempotency key was used before, with another content.
    IdempotencyConflict,
    /// There is one already.
    AlreadyExists,
}

/// Something that was wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, Interface)]
#[graphql(
    field(name = "code", ty = "&UserErrorCode", desc = "What was wrong, for programs."),
    field(name = "message", ty = "&String", desc = "What was wrong, for people."),
    field(
        name = "path",
        ty = "&Vec<String>",
        desc = "Where, from `input` on; positions in a list are numbers from 0."
    )
)]
pub enum UserError {
    /// Without further data.
    Input(InputError),
    /// With the limit.
    Limit(LimitReachedError),
}

/// Something that was wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct InputError {
    /// What was wrong, for programs.
    code: UserErrorCode,
    /// What was wrong, for people.
    message: String,
    /// Where, from `input` on; positions in a list are numbers from 0.
    path: Vec<String>,
}

/// As many webhooks as allowed are there already.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct LimitReachedError {
    /// What was wrong, for programs: `LIMIT_REACHED`.
    code: UserErrorCode,
    /// What was wrong, for people.
    message: String,
    /// Where, from `input` on.
    path: Vec<String>,
    /// How many are allowed.
    limit: i32,
    /// How many there are.
    used: i32,
    /// What is counted: the user's general webhooks, or the app's for the user.
    scope: WebhookType,
}

impl UserError {
    /// The error of a limit (W3).
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
    /// As a line: what was wrong, and where.
    pub fn line(&self) -> String {
        let (code, path) = match self {
            Self::Input(error) => (error.code, &error.path),
            Self::Limit(error) => (error.code, &error.path),
        };
        format!("{code:?} {}", path.join("."))
    }
}

/// A place in the input, such as `input.events.3.object`.
#[derive(Debug, Clone)]
pub struct Path(Vec<String>);

impl Path {
    /// The input itself.
    pub fn input() -> Self {
        Self(vec!["input".to_owned()])
    }

    /// A field of the place.
    pub fn field(&self, name: &str) -> Self {
        Self(self.0.iter().cloned().chain([name.to_owned()]).collect())
    }

    /// An entry of the place.
    pub fn index(&self, index: usize) -> Self {
        self.field(&index.to_string())
    }
}

/// The errors of an input, as they are found.
#[derive(Debug, Default)]
pub struct Problems(Vec<UserError>);

impl Problems {
    /// Nothing is wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// One thing is wrong.
    pub fn one(code: UserErrorCode, path: Path, message: impl ToString) -> Self {
        let mut problems = Self::none();
        problems.add(code, path, message);
        problems
    }

    /// One more thing is wrong.
    pub fn add(&mut self, code: UserErrorCode, path: Path, message: impl ToString) {
        self.0.push(UserError::Input(InputError {
            code,
            message: sentence(&message.to_string()),
            path: path.0,
        }));
    }

    /// What else is wrong.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The errors.
    pub fn into_errors(self) -> Vec<UserError> {
        self.0
    }

    /// Keeps the value of a check, or what was wrong with it.
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

/// A finding of the policy that is the caller's doing.
pub trait Problem: std::fmt::Display {
    /// What it is called.
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

/// What a denial is: a missing scope fails the operation, anything else is the input's fault, at `path`.
pub fn denied(denial: Denial, path: Path) -> Result<Problems> {
    let (code, path) = match denial {
        Denial::MissingScope => return Err(ApiError::forbidden()),
        Denial::AppNotInstalled => (UserErrorCode::AppNotInstalled, Path::input()),
        Denial::NotFound => (UserErrorCode::NotFound, path),
        Denial::Forbidden(_) => (UserErrorCode::Forbidden, path),
    };
    Ok(Problems::one(code, path, denial))
}

/// With a capital letter and a full stop: messages are shown to people as they are.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars
        .next()
        .map(|c| c.to_uppercase().collect::<String>())
        .unwrap_or_default();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}
