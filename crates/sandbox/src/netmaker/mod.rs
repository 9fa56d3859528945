//! A stand-in for a Netmaker server, community edition 1.5.1: the part of its HTTP API that a client
//! for egress rules meets, in memory, with its odd answers.
//!
//! What it answers was recorded from a real server; the recordings are replayed against it. It
//! routes no packet, checks no licence and keeps nothing.
//!
//! - [`NetmakerServer`]: a server that runs, and what tests may do to it
//! - [`Faults`]: what goes wrong between a server and its client
//! - `route`: paths, methods, who may call
//! - `accounts`, `token`, `second_factor`: users, login, tokens
//! - `networks`, `enrollment`, `hosts`, `nodes`, `gateways`: the mesh
//! - `egress`, `range`, `policies`: egress rules and what hangs on them
//! - `state`, `body`, `answer`: what is kept, what is read, what is written

mod accounts;
mod answer;
mod body;
mod egress;
mod enrollment;
mod faults;
mod gateways;
mod hosts;
mod networks;
mod nodes;
mod policies;
mod range;
mod route;
mod second_factor;
mod server;
mod state;
mod status;
mod token;

pub use egress::Rule;
pub use faults::{Fault, FaultRule, Faults};
pub use server::{ListenError, NetmakerServer, Seen};
