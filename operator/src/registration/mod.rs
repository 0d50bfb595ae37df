//! Registration on a cluster: who calls is told by TokenReview, what is registered is kept in the API
//! server, by whichever replica is asked.

mod auth;
mod backend;
mod clients;
mod heads;
mod tokens;
mod turns;

pub use auth::PodTokens;
pub use backend::{ClusterRegistry, directory_of};
