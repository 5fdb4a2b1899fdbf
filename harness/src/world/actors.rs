//! The callers of a world: users, admins and apps of a company, each with its own token.

use super::{Home, World};
use crate::client::{Client, NewEvent, Publication, Published, Refusal, RestAccess};
use crate::face::Face;
use crate::token::Claims;
use crate::webhook_type::WebhookType;

/// The app through which application webhooks are opened.
const APP: &str = "crm";

/// A company of a world, with the server that its callers call.
#[derive(Clone, Copy)]
pub struct Company<'w> {
    world: &'w World,
    id: u64,
    server: usize,
}

/// An app, installed or not.
#[derive(Clone)]
pub struct App<'w> {
    company: Company<'w>,
    id: String,
}

impl World {
    /// The type of the webhooks that [`Company::owner`] creates: general, unless a scenario says otherwise.
    pub fn webhook_type(&self) -> WebhookType {
        self.webhook_type
    }

    /// Sets the type of the webhooks that [`Company::owner`] creates from now on.
    pub fn open_webhooks_of(&mut self, webhook_type: WebhookType) {
        self.webhook_type = webhook_type;
    }
}

impl World {
    /// Sets the API through which clients made from now on create, list and delete webhooks. A token is sent in a query string
    /// only if the world's own servers accept that.
    pub fn call_through(&mut self, face: Face) {
        let in_query = match &self.home {
            Home::Here(household) => household.options.rest_query_token,
            Home::There(_) => false,
        };
        self.rest = match face {
            Face::GraphQl => None,
            Face::Rest => {
                let operator = self.key.sign(&Claims::of_scope("operator"), self.now());
                Some(RestAccess::new(operator, in_query))
            }
        };
    }

    /// Number of requests to the REST routes by the clients of [`Face::Rest`]; `None` if clients do not use it.
    pub fn rest_calls(&self) -> Option<usize> {
        self.rest.as_ref().map(RestAccess::calls)
    }
}

impl<'w> Company<'w> {
    pub(super) fn new(world: &'w World, id: u64) -> Self {
        Self { world, id, server: 0 }
    }

    /// The company's id, as in payloads.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The same company, with callers that call another server of the world.
    pub fn at(self, server: usize) -> Self {
        Self { server, ..self }
    }

    /// A client with the token of a regular user.
    pub fn user(&self, user: u64) -> Client {
        self.world
            .caller(self.server, &Claims::user(self.id, user, "regular"))
    }

    /// A client that creates, reads and changes webhooks of the [world's type](World::webhook_type) for a regular user: with
    /// the user's own token, or through an app that this call registers and installs if necessary.
    ///
    /// # Errors
    ///
    /// If the platform may not register or install the app.
    pub async fn owner(&self, user: u64) -> Result<Client, Refusal> {
        match self.world.webhook_type {
            WebhookType::General => Ok(self.user(user)),
            WebhookType::Application => self.app(APP).install(user).await,
        }
    }

    /// A client with the token of an admin.
    pub fn admin(&self, user: u64) -> Client {
        self.world
            .caller(self.server, &Claims::user(self.id, user, "admin"))
    }

    /// An app with this name; see [`App::install`].
    pub fn app(&self, id: &str) -> App<'w> {
        App {
            company: *self,
            id: self.world.ids.app(id),
        }
    }

    /// An event of this company, "deal 8 was changed", which every webhook for `*` gets.
    pub fn deal_changed(&self) -> NewEvent {
        NewEvent::new(self.id, "CHANGE", "deal", "8")
            .with("data", serde_json::json!({"id": 8, "title": "new"}))
    }

    /// Publishes, as the platform, that deal 8 was changed.
    pub async fn publish(&self) -> Result<Published, Refusal> {
        self.platform().publish_one(self.deal_changed()).await
    }

    /// Publishes the same event `count` times, in one call.
    pub async fn publish_many(&self, count: usize) -> Result<Publication, Refusal> {
        self.platform().publish(&vec![self.deal_changed(); count]).await
    }

    fn platform(&self) -> Client {
        self.world.caller(self.server, &Claims::of_scope("platform"))
    }
}

impl App<'_> {
    /// The app's id in the marketplace.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Registers the app if it is new, and installs it for a user. Returns a client of the app for that user.
    pub async fn install(&self, user: u64) -> Result<Client, Refusal> {
        let platform = self.company.platform();
        match platform.register_app(&self.id).await {
            Err(refusal) if refusal.code() != "ALREADY_EXISTS" => return Err(refusal),
            _ => {}
        }
        platform.install_app(&self.id, self.company.id, user).await?;
        Ok(self.acting_for(user))
    }

    /// Uninstalls the app for a user. Returns the number of removed webhooks.
    pub async fn uninstall(&self, user: u64) -> Result<u64, Refusal> {
        self.company
            .platform()
            .uninstall_app(&self.id, self.company.id, user)
            .await
    }

    /// A client with the app's token for a regular user.
    pub fn acting_for(&self, user: u64) -> Client {
        self.token(user, "regular")
    }

    /// A client with the app's token for an admin.
    pub fn acting_for_admin(&self, user: u64) -> Client {
        self.token(user, "admin")
    }

    fn token(&self, user: u64, role: &'static str) -> Client {
        let claims = Claims::user(self.company.id, user, role).through_app(&self.id);
        self.company.world.caller(self.company.server, &claims)
    }
}
