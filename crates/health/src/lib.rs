//! A live cluster diagnosed: is it all right, and if not, what is the one thing to fix first?
//!
//! - [`collect`]: reads the cluster through a few lists in parallel; [`world`]: the table of kinds,
//!   and what became of reading each
//! - [`needs`]: which kinds are read when some layers are asked about
//! - [`facts`]: what is kept of the objects; [`index`]: which belong together
//! - [`detect`]: finds what is wrong, a file for each kind of failure
//! - [`diagnose`]: attaches what another issue explains, and puts the one to fix first at the front
//! - [`ongoing`]: what is under way and nothing to worry about
//! - [`report`]: for people, for programs, for Prometheus
//! - [`flux`]: what `nico flux` tells and does
//! - [`thresholds`]: from when on something is worth to be told
//!
//! Everything but [`collect`] and [`flux::reconcile`] is pure, and only the latter writes.

pub mod collect;
pub mod detect;
pub mod diagnose;
pub mod facts;
pub mod flux;
pub mod index;
pub mod issue;
pub mod needs;
pub mod ongoing;
pub mod report;
pub mod thresholds;
pub mod world;
