//! Which process this is, and whether it stops.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tenterhook_model::ids::NodeId;

/// This process, as the other parts of the engine see it.
#[derive(Debug)]
pub(crate) struct ProcessState {
    node: AtomicI64,
    stopping: AtomicBool,
}

impl ProcessState {
    /// A process that takes work, with this id in the `nodes` table.
    pub fn new(node: NodeId) -> Self {
        Self {
            node: AtomicI64::new(node.0),
            stopping: AtomicBool::new(false),
        }
    }

    /// Its current id in the `nodes` table.
    pub fn node(&self) -> NodeId {
        NodeId(self.node.load(Ordering::Acquire))
    }

    /// Sets its new id, after it was declared dead and registered again.
    pub fn set_node(&self, node: NodeId) {
        self.node.store(node.0, Ordering::Release);
    }

    /// Whether it takes no new work.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Takes no new work from now on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}
