//! A scenario: a stable name, one sentence, the rules it covers, and a play that shows whether they hold.
//!
//! A play judges by what a user of the server can see, and reports what it checked, the expected and the actual value.
//! A harness or server that cannot continue is distinguished from a broken promise. A scenario does not choose where it
//! is played: the same play runs in process, against a remote server and against a fake one.

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, Location};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use crate::client::Refusal;
use crate::face::Face;
use crate::naming;
use crate::run::{Breach, Verdict};
use crate::webhook_type::WebhookType;
use crate::world::{AppSees, World, WorldBuilder};

/// The result of a play.
pub type Play = Result<(), Failure>;

/// Why a play ended early.
#[derive(Debug)]
pub enum Failure {
    /// A promise was broken.
    Broken(Breach),
    /// The play could not continue, so nothing is known about the promise.
    CouldNotRun(String),
}

/// What a scenario needs in addition to the core of the contract. A server in this process has all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// Servers that the world can start, stop, crash and configure.
    OwnServers,
    /// Apps that see the general webhooks of their user too: the setting `policy.app_sees` with the value `own_general`
    /// (W4).
    OwnGeneral,
    /// A way to kill the server during its work and to start it again.
    Restart,
    /// A name server of the world, which servers ask for the hosts of webhooks.
    Names,
    /// Live connections over WebSocket.
    Live,
    /// JSON that is passed on with every digit and key.
    Verbatim,
    /// The log of attempts with headers, bodies and timings (D10).
    AttemptLog,
    /// Receivers with TLS.
    Tls,
    /// Checks of subscription URLs and of the addresses behind them (W10).
    Vetting,
    /// HTTP as a complete client supports it: unusual and hostile responses (D1, D2).
    Wire,
    /// Pausing and resuming (W13).
    Pause,
    /// Restoring a removed webhook (W12).
    Restore,
    /// Replays and test deliveries (D12).
    Replay,
    /// Notices (R4).
    Notices,
    /// Rotation of secrets (E7).
    Rotation,
    /// Reading more than webhooks and their deliveries: catalogue, events, several pages.
    Reading,
}

impl Need {
    /// Why a scenario with this need is skipped where it is not met.
    pub fn why_skipped(self) -> String {
        match self {
            Self::OwnServers => "must start, stop or configure its servers: runs in process only".to_owned(),
            Self::OwnGeneral => {
                "needs a server with the setting policy.app_sees = own_general: runs in process only"
                    .to_owned()
            }
            Self::Restart => "must restart the server: runs in process, or with --restart-command".to_owned(),
            Self::Names => "must replace the server's name server: runs in process only".to_owned(),
            other => format!("needs {other:?}, which the server does not support"),
        }
    }
}

/// The webhook types for which a scenario is played (P1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Types {
    /// Once for each type. Its play opens webhooks through [`Company::owner`](crate::world::Company::owner).
    Both,
    /// For one type, because the promise is about that type.
    Only(WebhookType),
    /// Once, and not for a type: the play itself opens webhooks of both types, or the type has no effect.
    Once,
}

type Act = dyn for<'w> Fn(&'w mut World) -> LocalBoxFuture<'w, Play> + Send + Sync;

/// One scenario.
#[derive(Clone)]
pub struct Scenario {
    /// A stable name in kebab case. In the catalogue it has the webhook type as well if the scenario is played for both:
    /// `failures-10/application`.
    pub name: String,
    /// What it shows, in one sentence.
    pub sentence: String,
    /// The rules of the policy that it covers.
    pub rules: &'static [&'static str],
    /// Its needs in addition to the core.
    pub needs: Vec<Need>,
    /// Whether it can also be played in real time: it takes seconds, and judges times with tolerance.
    pub real_time: bool,
    /// Why REST cannot express it, in a few words; `None` if it is also played through REST.
    pub not_through_rest: Option<&'static str>,
    /// The webhook type for which it is played.
    pub webhook_type: Option<WebhookType>,
    types: Option<Types>,
    setup: fn(WorldBuilder) -> WorldBuilder,
    act: Arc<Act>,
}

impl Scenario {
    /// A scenario on a world with one server.
    pub fn new(
        name: impl Into<String>,
        sentence: impl Into<String>,
        rules: &'static [&'static str],
        act: impl for<'w> Fn(&'w mut World) -> LocalBoxFuture<'w, Play> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            sentence: sentence.into(),
            rules,
            needs: Vec::new(),
            real_time: false,
            not_through_rest: None,
            webhook_type: None,
            types: None,
            setup: |builder| builder,
            act: Arc::new(act),
        }
    }

    /// Adds a need.
    pub fn needing(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// Allows it to be played in real time.
    pub fn also_in_real_time(self) -> Self {
        Self {
            real_time: true,
            ..self
        }
    }

    /// Says in a few words why REST cannot express it.
    pub fn not_through_rest(self, why: &'static str) -> Self {
        Self {
            not_through_rest: Some(why),
            ..self
        }
    }

    /// Whether it can be played with clients that use this API.
    pub fn runs_through(&self, face: Face) -> bool {
        face == Face::GraphQl || self.not_through_rest.is_none()
    }

    /// Sets the webhook types for which it is played, if they are not those of its part of the catalogue.
    pub fn of(self, types: Types) -> Self {
        Self {
            types: Some(types),
            ..self
        }
    }

    /// The scenario once for each webhook type for which it is played: its own [`Types`] or, if it has none, `default`.
    pub fn by_type(self, default: Types) -> Vec<Self> {
        let played = |webhook_type| Self {
            webhook_type: Some(webhook_type),
            ..self.clone()
        };
        match self.types.unwrap_or(default) {
            Types::Both => WebhookType::ALL
                .map(|webhook_type| Self {
                    name: format!("{}/{}", self.name, webhook_type.name()),
                    ..played(webhook_type)
                })
                .into(),
            Types::Only(webhook_type) => vec![played(webhook_type)],
            Types::Once => vec![self],
        }
    }

    /// The name without the webhook type.
    pub fn base_name(&self) -> &str {
        naming::base_name(&self.name)
    }

    /// Whether it has this name, with or without the webhook type.
    pub fn is_called(&self, name: &str) -> bool {
        naming::is_called(&self.name, name)
    }

    /// Sets a world that is not the default. Adds the need for own servers.
    pub fn in_world(self, setup: fn(WorldBuilder) -> WorldBuilder) -> Self {
        Self {
            setup,
            ..self.needing(Need::OwnServers)
        }
    }

    /// Plays it where an app also sees the general webhooks of its user. Other scenarios are played where it does not,
    /// which is the default (W4).
    pub fn under_own_general(self) -> Self {
        Self {
            setup: |builder| builder.app_sees(AppSees::OwnGeneral),
            ..self.needing(Need::OwnGeneral)
        }
    }

    /// Gives its world a name server.
    pub fn in_world_with_names(self) -> Self {
        Self {
            setup: WorldBuilder::named,
            ..self.needing(Need::Names)
        }
    }

    /// Whether it can be played only in process.
    pub fn needs_own_servers(&self) -> bool {
        let needs = |need| self.needs.contains(&need);
        needs(Need::OwnServers) || needs(Need::OwnGeneral) || needs(Need::Names)
    }

    /// The builder of its world, in process.
    pub fn builder(&self) -> WorldBuilder {
        (self.setup)(World::builder())
    }

    /// Checks that the play opened a webhook of the type for which it was played. Otherwise `list` would claim a proof for
    /// a type that was never looked at. A scenario about one type may open none.
    fn check_type(&self, world: &World) -> Play {
        let Some(webhook_type) = self.webhook_type else {
            return Ok(());
        };
        let made = world.log().made();
        let is_for_both = self.name != self.base_name();
        if made.iter().any(|webhook| webhook.kind == webhook_type.word()) || made.is_empty() && !is_for_both {
            Ok(())
        } else {
            Err(Failure::CouldNotRun(format!(
                "the play opened no {} webhook",
                webhook_type.name()
            )))
        }
    }

    /// Checks, before the play, that it can run through the world's face.
    fn check_mark(&self, world: &World) -> Play {
        match (world.rest_calls(), self.not_through_rest) {
            (Some(_), Some(why)) => Err(Failure::CouldNotRun(format!("not through REST: {why}"))),
            _ => Ok(()),
        }
    }

    /// Checks that a play through REST called REST. Otherwise `list` would claim a proof for routes that were never called.
    fn check_face(&self, world: &World) -> Play {
        if world.rest_calls() == Some(0) {
            return Err(Failure::CouldNotRun(
                "the play called no REST route: say why with `not_through_rest`".to_owned(),
            ));
        }
        Ok(())
    }

    /// Plays the scenario, and then checks what must hold at the end of any (D7, E7, and the format of payloads).
    pub async fn play(&self, world: &mut World) -> Verdict {
        if let Some(webhook_type) = self.webhook_type {
            world.open_webhooks_of(webhook_type);
        }
        let whole = async {
            self.check_mark(world)?;
            (self.act)(world).await?;
            self.check_type(world)?;
            self.check_face(world)?;
            let complaints = world.complaints().await;
            same("what is wrong with any request or count", complaints, Vec::new())
        };
        match AssertUnwindSafe(whole).catch_unwind().await {
            Ok(Ok(())) => Verdict::Held,
            Ok(Err(Failure::Broken(breach))) => Verdict::Broken(breach),
            Ok(Err(Failure::CouldNotRun(why))) => Verdict::CouldNotRun(why),
            Err(panic) => Verdict::CouldNotRun(message(panic.as_ref())),
        }
    }
}

/// The message of a panic.
pub fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

/// Breaks the play unless `seen` equals `expected`. `what` names the value.
#[track_caller]
pub fn same<T: PartialEq + Debug>(what: impl Into<String>, seen: T, expected: T) -> Play {
    if seen == expected {
        Ok(())
    } else {
        Err(broken(what, format!("{expected:#?}"), format!("{seen:#?}")))
    }
}

/// Breaks the play unless the condition holds. `expected` is the condition in words, and `seen` the value that it is
/// about.
#[track_caller]
pub fn holds(what: impl Into<String>, expected: &str, condition: bool, seen: &dyn Debug) -> Play {
    if condition {
        Ok(())
    } else {
        Err(broken(what, expected.to_owned(), format!("{seen:#?}")))
    }
}

/// Breaks the play unless the call was refused with this code.
#[track_caller]
pub fn refused<T: Debug>(what: impl Into<String>, answer: Result<T, Refusal>, code: &str) -> Play {
    match answer {
        Err(Refusal::Transport(error)) => Err(Failure::CouldNotRun(format!("{error:#}"))),
        Err(refusal) if refusal.means(code) => Ok(()),
        Err(refusal) => Err(broken(what, format!("refused with {code}"), refusal.to_string())),
        Ok(answer) => Err(broken(
            what,
            format!("refused with {code}"),
            format!("{answer:#?}"),
        )),
    }
}

#[track_caller]
fn broken(what: impl Into<String>, expected: String, seen: String) -> Failure {
    let place = Location::caller();
    Failure::Broken(Breach {
        what: what.into(),
        expected,
        seen,
        place: format!("{}:{}", place.file(), place.line()),
    })
}

impl From<Refusal> for Failure {
    #[track_caller]
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Transport(error) => Self::CouldNotRun(format!("{error:#}")),
            refusal => broken(
                "a call that the story needs",
                "it is done".to_owned(),
                refusal.to_string(),
            ),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::CouldNotRun(format!("{error:#}"))
    }
}
