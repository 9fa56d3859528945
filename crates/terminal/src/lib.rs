//! Text for a person at a terminal, shared by all commands that show a tree.
//!
//! [`tree`] sets rows in columns with branches and paragraphs. Nothing here writes anywhere, and
//! nothing knows what the text is about.

pub mod tree;
