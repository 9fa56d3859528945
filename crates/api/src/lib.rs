//! The custom resources of NICO.
