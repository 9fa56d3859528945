//! The order of list items after a strategic merge.
//!
//! Items that the patch names keep the patch's order, the others keep the live order, and
//! the live order decides between the two where it can.

use serde_json::Value;

/// What tells the items of a list apart.
#[derive(Clone, Copy)]
pub(super) enum Identity<'a> {
    /// The value itself (lists of scalars).
    Whole,
    /// The value under this key (lists of objects).
    Key(&'a str),
}

impl Identity<'_> {
    /// Whether two items stand for the same entry.
    pub(super) fn same(self, one: &Value, other: &Value) -> bool {
        match self {
            Identity::Whole => one == other,
            Identity::Key(key) => one.get(key).is_some() && one.get(key) == other.get(key),
        }
    }

    fn position(self, item: &Value, items: &[Value]) -> Option<usize> {
        items
            .iter()
            .position(|candidate| self.same(item, candidate))
    }
}

/// Orders `merged`: items that `order` names as they are named there, the others as they
/// were in `live`.
pub(super) fn arrange(
    merged: Vec<Value>,
    order: &[Value],
    live: &[Value],
    identity: Identity<'_>,
) -> Vec<Value> {
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| identity.position(item, order).is_some());
    named.sort_by_key(|item| identity.position(item, order));
    others.sort_by_key(|item| identity.position(item, live).unwrap_or(usize::MAX));
    interleave(others, named, live, identity)
}

/// Puts each of `others` before the first of `named` that follows it in `live`.
fn interleave(
    others: Vec<Value>,
    named: Vec<Value>,
    live: &[Value],
    identity: Identity<'_>,
) -> Vec<Value> {
    let mut arranged = Vec::with_capacity(others.len() + named.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        let place = identity.position(&item, live);
        while let Some(other) = others.peek() {
            match (identity.position(other, live), place) {
                (Some(left), Some(right)) if left < right => arranged.extend(others.next()),
                _ => break,
            }
        }
        arranged.push(item);
    }
    arranged.extend(others);
    arranged
}
