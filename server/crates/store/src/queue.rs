//! The queue of deliveries: publishing adds to it, claiming leases from it, settling removes what has ended.

pub mod claim;
pub mod leases;
pub mod publish;
pub mod settle;
