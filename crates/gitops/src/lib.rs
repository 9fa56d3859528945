//! A GitOps repository, checked offline: nothing is fetched, no cluster is asked.
//!
//! The stages are read in this order:
//!
//! - [`load`]: files to documents whose every node knows where it stands;
//! - [`build`]: kustomizations to objects, as kustomize makes them;
//! - [`graph`]: what Flux would apply, from the first Kustomization on;
//! - [`rules`]: pure, from the graph to findings;
//! - [`report`]: findings for people and for programs.
//!
//! [`load::disk`] and [`schema::directory`] read files, and [`render::helm`] starts a program, where somebody
//! asks for it. Everything else is a function of what was read.

pub mod baseline;
pub mod build;
pub mod config;
pub mod duration;
pub mod finding;
#[doc(hidden)]
pub mod fuzzing;
pub mod graph;
pub mod load;
mod pattern;
pub mod presets;
pub mod render;
pub mod report;
pub mod rules;
pub mod schema;
pub mod settings;
pub mod source;
pub mod yaml;

pub use config::Config;
pub use finding::{Finding, Severity};
pub use load::Repository;
pub use settings::Settings;
