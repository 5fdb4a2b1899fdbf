//! Apps of the marketplace, and the users who have them installed (W8). Only the platform changes them.

use async_graphql::async_trait::async_trait;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::context::Ask;
use crate::cursor;
use crate::error::{ApiError, Result};
use crate::global_id::GlobalId;
use crate::relay::{Connection, PageArguments, TotalCount, cost_of, page_cost};
use crate::removal::remove_all;
use crate::types::scalars::DateTime;
use crate::user_error::{Path, Problems, UserError, UserErrorCode};
use tenterhook_model as model;
use tenterhook_model::access::Caller;
use tenterhook_model::ids::AppId;
use tenterhook_policy::input_limits;
use tenterhook_store::apps::{self, AppKey, Registration};
use tenterhook_store::installations::{self, Installation, Installed};
use tenterhook_store::removal::Leaving;

/// An app from the platform's marketplace.
#[derive(Clone)]
pub struct App(model::app::App);

impl From<model::app::App> for App {
    fn from(app: model::app::App) -> Self {
        Self(app)
    }
}

/// An app from the platform's marketplace.
#[Object]
impl App {
    /// The app's global id.
    pub(super) async fn id(&self) -> ID {
        GlobalId::App(self.0.id.clone()).to_id()
    }

    /// The platform's id of the app.
    async fn app_id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    /// The app's name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// When the app was registered.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When the app left the marketplace; null while it is there.
    async fn removed_at(&self) -> Option<DateTime> {
        self.0.removed_at.map(DateTime)
    }
}

/// Whether the caller may read the app itself: the platform and operators may, and so may tokens that are used through this app.
pub fn sees_app(caller: &Caller, app: &AppId) -> bool {
    match caller {
        Caller::Platform | Caller::Operator => true,
        Caller::User(user) => user.app.as_ref() == Some(app),
    }
}

/// Queries about apps.
#[derive(Default)]
pub struct AppQueries;

#[Object]
impl AppQueries {
    /// All apps, newest first, including removed ones. For the platform and operators.
    ///
    /// Cost: 1 + page size × cost of the selected fields.
    #[graphql(complexity = "cost_of(page_cost(first, None), child_complexity)")]
    async fn apps(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size, 1 to 100. Default: 20.")] first: Option<i32>,
        #[graphql(desc = "Only elements after this cursor.")] after: Option<String>,
    ) -> Result<Connection<App>> {
        if !matches!(ctx.session().caller, Caller::Platform | Caller::Operator) {
            return Err(ApiError::forbidden());
        }
        let window = PageArguments {
            first,
            after,
            ..PageArguments::default()
        }
        .window(cursor::decode_app)?;
        let slice = apps::page(&mut *ctx.services().store.conn().await?, &window).await?;
        let key = |app: &model::app::App| AppKey {
            created_at: app.created_at,
            app: app.id.clone(),
        };
        Ok(Connection::new(
            slice,
            AllApps,
            |app| cursor::encode_app(&key(app)),
            App,
        ))
    }
}

/// Input of `registerApp`.
#[derive(InputObject)]
pub struct RegisterAppInput {
    /// The platform's id of the app: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
    app_id: ID,
    /// The app's name, up to 255 characters.
    name: String,
}

/// Result of `registerApp`.
#[derive(SimpleObject)]
pub struct RegisterAppPayload {
    /// The app; null if there were errors.
    app: Option<App>,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Input of `removeApp`.
#[derive(InputObject)]
pub struct RemoveAppInput {
    /// The platform's id of the app.
    app_id: ID,
}

/// Result of `removeApp`.
#[derive(SimpleObject)]
pub struct RemoveAppPayload {
    /// The app; null if there were errors.
    app: Option<App>,
    /// How many webhooks this call removed.
    removed_webhook_count: i32,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Input of `installApp`: an app and a user.
#[derive(InputObject)]
pub struct InstallAppInput {
    /// The platform's id of the app.
    app_id: ID,
    /// The user's company.
    company_id: ID,
    /// The user's id.
    user_id: ID,
}

/// Result of `installApp`.
#[derive(SimpleObject)]
pub struct InstallAppPayload {
    /// The app; null if there were errors.
    app: Option<App>,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Input of `uninstallApp`: an app and a user.
#[derive(InputObject)]
pub struct UninstallAppInput {
    /// The platform's id of the app.
    app_id: ID,
    /// The user's company.
    company_id: ID,
    /// The user's id.
    user_id: ID,
}

/// Result of `uninstallApp`.
#[derive(SimpleObject)]
pub struct UninstallAppPayload {
    /// The app; null if there were errors.
    app: Option<App>,
    /// How many webhooks this call removed.
    removed_webhook_count: i32,
    /// Errors in the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Mutations of apps and installations.
#[derive(Default)]
pub struct AppMutations;

#[Object]
impl AppMutations {
    /// Registers an app, or restores a removed one. For the platform.
    async fn register_app(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The app.")] input: RegisterAppInput,
    ) -> Result<RegisterAppPayload> {
        ctx.session().platform()?;
        Ok(match register(ctx, &input).await? {
            Ok(app) => RegisterAppPayload {
                app: Some(App(app)),
                user_errors: Vec::new(),
            },
            Err(problems) => RegisterAppPayload {
                app: None,
                user_errors: problems.into_errors(),
            },
        })
    }

    /// Removes an app from the marketplace, and all its webhooks of all users: after the response no attempt starts
    /// for any of them. If a call was interrupted, the next one continues it. For the platform.
    async fn remove_app(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The app.")] input: RemoveAppInput,
    ) -> Result<RemoveAppPayload> {
        ctx.session().platform()?;
        Ok(match remove(ctx, &input).await? {
            Ok((app, count)) => RemoveAppPayload {
                app: Some(App(app)),
                removed_webhook_count: count,
                user_errors: Vec::new(),
            },
            Err(problems) => RemoveAppPayload {
                app: None,
                removed_webhook_count: 0,
                user_errors: problems.into_errors(),
            },
        })
    }

    /// Installs an app for a user. Does nothing if it is already installed. For the platform.
    async fn install_app(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The app and the user.")] input: InstallAppInput,
    ) -> Result<InstallAppPayload> {
        ctx.session().platform()?;
        Ok(match install(ctx, &input).await? {
            Ok(app) => InstallAppPayload {
                app: Some(App(app)),
                user_errors: Vec::new(),
            },
            Err(problems) => InstallAppPayload {
                app: None,
                user_errors: problems.into_errors(),
            },
        })
    }

    /// Uninstalls an app for a user, and removes all its webhooks of that user: after the response no attempt starts
    /// for any of them. If the app is not installed, nothing is removed. For the platform.
    async fn uninstall_app(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The app and the user.")] input: UninstallAppInput,
    ) -> Result<UninstallAppPayload> {
        ctx.session().platform()?;
        Ok(match uninstall(ctx, &input).await? {
            Ok((app, count)) => UninstallAppPayload {
                app: Some(App(app)),
                removed_webhook_count: count,
                user_errors: Vec::new(),
            },
            Err(problems) => UninstallAppPayload {
                app: None,
                removed_webhook_count: 0,
                user_errors: problems.into_errors(),
            },
        })
    }
}

/// The result, or the errors in the input.
type Answer<T> = Result<std::result::Result<T, Problems>>;

fn no_such_app() -> Problems {
    Problems::one(
        UserErrorCode::NotFound,
        Path::input().field("appId"),
        "no such app",
    )
}

async fn register(ctx: &Context<'_>, input: &RegisterAppInput) -> Answer<model::app::App> {
    let mut problems = Problems::none();
    let at = Path::input().field("appId");
    let id: Option<AppId> = problems.check(&at, input.app_id.parse());
    problems.check(
        &Path::input().field("name"),
        input_limits::text(&input.name, input_limits::APP_NAME_CHARS),
    );
    let Some(id) = id.filter(|_| problems.is_empty()) else {
        return Ok(Err(problems));
    };
    let now = ctx.now();
    let registration = ctx
        .services()
        .store
        .in_tx(async |conn| apps::register_in_tx(conn, now, &id, &input.name).await)
        .await?;
    Ok(match registration {
        Registration::Done(app) => Ok(app),
        Registration::AlreadyExists => Err(Problems::one(
            UserErrorCode::AlreadyExists,
            at,
            "an app with this id is already registered",
        )),
        Registration::RemovalUnfinished => Err(Problems::one(
            UserErrorCode::InvalidState,
            at,
            "the app's removal is not finished: call removeApp again first",
        )),
    })
}

async fn remove(ctx: &Context<'_>, input: &RemoveAppInput) -> Answer<(model::app::App, i32)> {
    let mut problems = Problems::none();
    let Some(id) = problems.check::<AppId, _>(&Path::input().field("appId"), input.app_id.parse()) else {
        return Ok(Err(problems));
    };
    let services = ctx.services();
    let app = apps::mark_removed(&mut *services.store.conn().await?, ctx.now(), &id).await?;
    let Some(app) = app else {
        return Ok(Err(no_such_app()));
    };
    let count = remove_all(services, &Leaving::App(id)).await?;
    Ok(Ok((app, count)))
}

async fn install(ctx: &Context<'_>, input: &InstallAppInput) -> Answer<model::app::App> {
    let installation = match installation(&input.app_id, &input.company_id, &input.user_id) {
        Ok(installation) => installation,
        Err(problems) => return Ok(Err(problems)),
    };
    let now = ctx.now();
    let installed = ctx
        .services()
        .store
        .in_tx(async |conn| installations::install_in_tx(conn, now, &installation).await)
        .await?;
    Ok(match installed {
        Installed::Done(app) => Ok(app),
        Installed::NoSuchApp => Err(no_such_app()),
        Installed::UserRemoved => Err(Problems::one(
            UserErrorCode::NotFound,
            Path::input().field("userId"),
            "the user was removed",
        )),
    })
}

async fn uninstall(ctx: &Context<'_>, input: &UninstallAppInput) -> Answer<(model::app::App, i32)> {
    let installation = match installation(&input.app_id, &input.company_id, &input.user_id) {
        Ok(installation) => installation,
        Err(problems) => return Ok(Err(problems)),
    };
    let services = ctx.services();
    let found = apps::find(
        &mut *services.store.conn().await?,
        std::slice::from_ref(&installation.app),
    )
    .await?;
    let Some(app) = found.into_iter().next() else {
        return Ok(Err(no_such_app()));
    };
    let count = remove_all(services, &Leaving::Installation(installation)).await?;
    Ok(Ok((app, count)))
}

fn installation(app: &ID, company: &ID, user: &ID) -> std::result::Result<Installation, Problems> {
    let mut problems = Problems::none();
    let at = |name| Path::input().field(name);
    let app = problems.check(&at("appId"), app.parse());
    let company = problems.check(&at("companyId"), company.parse());
    let user = problems.check(&at("userId"), user.parse());
    match (app, company, user) {
        (Some(app), Some(company), Some(user)) => Ok(Installation { company, user, app }),
        _ => Err(problems),
    }
}

/// All apps, to count them.
struct AllApps;

#[async_trait]
impl TotalCount for AllApps {
    async fn count(&self, ctx: &Context<'_>) -> Result<i64> {
        Ok(apps::count(&mut *ctx.services().store.conn().await?).await?)
    }
}
