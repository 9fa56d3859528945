//! The cluster controller against an embedded API server, with a stand-in for the machine layer
//! and a second server as the new cluster.

mod crashes;
mod creation;
mod deletion;
mod lab;
mod machine_layer;
mod mistakes;
mod races;
mod writes;
