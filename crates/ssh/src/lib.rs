//! Sessions to machines over SSH, with pinned host keys.
