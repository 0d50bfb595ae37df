//! The Kubernetes operator of MixNN.
//!
//! ```text
//! MixNNModel --dereference--> World --validate--> Wants --plan--> Step --apply--> pods, record --> status
//! MixNNHost  -------------------^                          (pure)
//! ```
//!
//! | module | does |
//! | --- | --- |
//! | `watch`, `world` | what was seen, kept small |
//! | `books` | what follows from all records, so that nobody reads them all |
//! | `removed` | what is gone, also if nobody watched it go |
//! | `applied`, `told` | what was sent last, so that nothing is sent twice |
//! | `validate` | a model to what is wanted; pure |
//! | [`plan`] | what is next, from record, wants and world; pure |
//! | [`build`] | objects; pure |
//! | `drive`, `apply` | step after step, record first |
//! | `model`, `host`, `pool`, `collect` | who is driven when |
//! | `objects` | what is applied in namespaces of others |
//! | `stranded`, `gone` | designers on silent nodes; what those that are gone cannot say |
//! | `registration`, `ca` | the directory of keys over HTTPS |
//! | `requests`, [`traces`] | what it asks of the API server: counted, and traced if somebody wants it |
//! | [`run`] | leader election and the rest of a process |
//! | `chores` | what the chart's hooks run |
//!
//! The truth is in records ([`record`]), one ConfigMap per model in the platform's namespace, written
//! before what they speak of is made. Not in here: what cells are, what layers compute.

pub mod build;
pub mod plan;
pub mod record;
pub mod run;
pub mod settings;

mod applied;
mod apply;
mod books;
mod ca;
mod chores;
mod collect;
mod context;
mod drive;
mod gone;
mod health;
mod host;
mod keys;
pub mod labels;
mod metrics;
mod model;
mod objects;
mod pool;
mod registration;
mod removed;
mod requests;
mod secrets;
mod status;
mod stranded;
mod told;
pub mod traces;
pub mod validate;
mod watch;
mod world;

pub use chores::Chore;
pub use metrics::Metrics;
pub use run::Operator;
pub use settings::Settings;
