//! Who calls: users, admins and apps of a company, each with a token of its own.

use super::World;
use crate::client::{Client, NewEvent, Publication, Published, Refusal};
use crate::token::Claims;

/// A company of a world.
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

impl<'w> Company<'w> {
    pub(super) fn new(world: &'w World, id: u64) -> Self {
        Self { world, id, server: 0 }
    }

    /// Its id, as payloads carry it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The same company, calling another server of the world.
    pub fn at(self, server: usize) -> Self {
        Self { server, ..self }
    }

    /// A regular user's own token.
    pub fn user(&self, user: u64) -> Client {
        self.world
            .caller(self.server, &Claims::user(self.id, user, "regular"))
    }

    /// An admin's own token.
    pub fn admin(&self, user: u64) -> Client {
        self.world
            .caller(self.server, &Claims::user(self.id, user, "admin"))
    }

    /// An app of this name; see [`App::install`].
    pub fn app(&self, id: &str) -> App<'w> {
        App {
            company: *self,
            id: self.world.place.app(id),
        }
    }

    /// An event of this company that every webhook for `*` gets: deal 8 was changed.
    pub fn deal_changed(&self) -> NewEvent {
        NewEvent::new(self.id, "CHANGE", "deal", "8")
            .with("data", serde_json::json!({"id": 8, "title": "new"}))
    }

    /// The platform publishes that deal 8 was changed.
    pub async fn publish(&self) -> Result<Published, Refusal> {
        self.platform().publish_one(self.deal_changed()).await
    }

    /// The platform publishes that `count` times, in one call.
    pub async fn publish_many(&self, count: usize) -> Result<Publication, Refusal> {
        self.platform().publish(&vec![self.deal_changed(); count]).await
    }

    fn platform(&self) -> Client {
        self.world.caller(self.server, &Claims::of_scope("platform"))
    }
}

impl App<'_> {
    /// Its id in the marketplace.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Registers the app, if it is new, and installs it for a user.
    pub async fn install(&self, user: u64) -> Result<Client, Refusal> {
        let platform = self.company.platform();
        match platform.register_app(&self.id).await {
            Err(refusal) if refusal.code() != "ALREADY_EXISTS" => return Err(refusal),
            _ => {}
        }
        platform.install_app(&self.id, self.company.id, user).await?;
        Ok(self.acting_for(user))
    }

    /// The user uninstalls it; answers how many webhooks went.
    pub async fn uninstall(&self, user: u64) -> Result<u64, Refusal> {
        self.company
            .platform()
            .uninstall_app(&self.id, self.company.id, user)
            .await
    }

    /// The token of the app for a regular user.
    pub fn acting_for(&self, user: u64) -> Client {
        self.token(user, "regular")
    }

    /// The token of the app for an admin.
    pub fn acting_for_admin(&self, user: u64) -> Client {
        self.token(user, "admin")
    }

    fn token(&self, user: u64, role: &'static str) -> Client {
        let claims = Claims::user(self.company.id, user, role).through_app(&self.id);
        self.company.world.caller(self.company.server, &claims)
    }
}
