//! The rules for Flux Kustomizations, among each other and with their sources.

pub mod applying;
pub mod components;
pub mod dependencies;
pub mod files;
pub mod health;
pub mod namespaces;
pub mod ownership;
pub mod providers;
pub mod sources;
pub mod timing;
