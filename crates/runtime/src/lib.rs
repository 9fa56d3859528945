//! What every NICO controller shares.
