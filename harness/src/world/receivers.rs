//! The receivers of a world.

use std::sync::{Arc, PoisonError};

use super::{Home, World};
use crate::journal::Journal;
use crate::receiver::Receiver;
use crate::reply::Script;
use crate::timekeeper::Time;
use crate::wire::{Authority, Behaviour, Behaviours, Certificate, Listen, Tls, WireReceiver};

impl World {
    /// A web server that responds according to `script`.
    pub async fn receiver(&self, script: impl Into<Script>) -> Receiver {
        let receiver = Receiver::start(self.shared_time(), self.keyring.clone(), script).await;
        self.keep(receiver.journal());
        receiver
    }

    /// A receiver on raw sockets that treats all connections alike.
    ///
    /// # Panics
    ///
    /// If this machine has no free port.
    pub async fn wire(&self, behaviour: impl Into<Behaviour>) -> WireReceiver {
        let behaviour = behaviour.into();
        self.listen(Listen::default(), Arc::new(move |_| behaviour.clone()))
            .await
    }

    /// As [`World::wire`], with a behaviour for each connection, by its number from 0.
    ///
    /// # Panics
    ///
    /// As [`World::wire`].
    pub async fn wire_by_connection(&self, behaviours: Behaviours) -> WireReceiver {
        self.listen(Listen::default(), behaviours).await
    }

    /// As [`World::wire`], over TLS with a self-signed certificate that servers do not trust.
    ///
    /// # Panics
    ///
    /// As [`World::wire`].
    pub async fn wire_tls(&self, behaviour: impl Into<Behaviour>) -> WireReceiver {
        let tls = Authority::new().and_then(|authority| Certificate::SelfSigned.tls(&authority));
        let tls = tls.unwrap_or_else(|error| panic!("no certificate: {error:#}"));
        self.wire_over(tls, behaviour).await
    }

    /// As [`World::wire`], over TLS with this certificate: see [`Certificate::tls`].
    ///
    /// # Panics
    ///
    /// As [`World::wire`].
    pub async fn wire_over(&self, tls: Tls, behaviour: impl Into<Behaviour>) -> WireReceiver {
        let behaviour = behaviour.into();
        let listen = Listen {
            tls: Some(tls),
            ..Listen::default()
        };
        self.listen(listen, Arc::new(move |_| behaviour.clone())).await
    }

    /// A port that refuses connections.
    ///
    /// # Panics
    ///
    /// As [`World::wire`].
    pub fn refusing(&self) -> WireReceiver {
        let receiver = WireReceiver::refusing(self.shared_time(), self.keyring.clone());
        receiver.unwrap_or_else(|error| panic!("no port to refuse on: {error}"))
    }

    /// A port that never completes a connection.
    ///
    /// # Panics
    ///
    /// As [`World::wire`].
    pub async fn deaf(&self) -> WireReceiver {
        let receiver = WireReceiver::deaf(self.shared_time(), self.keyring.clone()).await;
        receiver.unwrap_or_else(|error| panic!("no port that accepts nothing: {error}"))
    }

    /// The platform's endpoint for notices; see [`WorldBuilder::notifying`](super::WorldBuilder::notifying).
    /// [`World::verify`] does not check its requests, because they are not deliveries.
    ///
    /// # Panics
    ///
    /// If the world was built without one.
    pub fn notice_endpoint(&self) -> &Receiver {
        let endpoint = match &self.home {
            Home::Here(household) => household.notice_endpoint.as_ref(),
            Home::There(_) => None,
        };
        endpoint.unwrap_or_else(|| panic!("no server of this world has an endpoint for notices"))
    }

    async fn listen(&self, listen: Listen, behaviours: Behaviours) -> WireReceiver {
        let receiver =
            WireReceiver::start(listen, self.shared_time(), self.keyring.clone(), behaviours).await;
        let receiver = receiver.unwrap_or_else(|error| panic!("cannot listen: {error}"));
        self.keep(receiver.journal());
        receiver
    }

    fn shared_time(&self) -> Time {
        self.driver.time()
    }

    fn keep(&self, journal: &Journal) {
        self.journals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(journal.clone());
    }
}
