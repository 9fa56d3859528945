//! Sets of fields, and their algebra.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::path::PathElement;
use crate::schema::MergeType;

/// A set of paths, as a tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FieldSet {
    members: BTreeSet<PathElement>,
    /// Never holds an empty set.
    children: BTreeMap<PathElement, FieldSet>,
}

impl FieldSet {
    /// Whether no path is in the set.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    /// Adds the path of this one step.
    pub(super) fn insert(&mut self, element: PathElement) {
        self.members.insert(element);
    }

    /// Adds all paths of `set`, behind this step.
    pub(super) fn insert_under(&mut self, element: &PathElement, set: FieldSet) {
        if set.is_empty() {
            return;
        }
        match self.children.get_mut(element) {
            Some(present) => present.extend(set),
            None => {
                self.children.insert(element.clone(), set);
            }
        }
    }

    fn extend(&mut self, other: FieldSet) {
        if self.is_empty() {
            *self = other;
            return;
        }
        self.members.extend(other.members);
        for (element, set) in other.children {
            self.insert_under(&element, set);
        }
    }

    /// Whether the path of this one step is in the set.
    pub(super) fn contains(&self, element: &PathElement) -> bool {
        self.members.contains(element)
    }

    /// The paths behind this step.
    pub(super) fn under(&self, element: &PathElement) -> Option<&FieldSet> {
        self.children.get(element)
    }

    /// The set of these dotted paths of named fields, for example `metadata.uid`.
    pub(super) fn of_fields<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mut set = FieldSet::default();
        for path in paths {
            let mut steps = path.rsplit('.').map(PathElement::field);
            let mut one = FieldSet::default();
            if let Some(last) = steps.next() {
                one.insert(last);
            }
            for step in steps {
                let mut outer = FieldSet::default();
                outer.insert_under(&step, one);
                one = outer;
            }
            set.extend(one);
        }
        set
    }

    /// The paths that are in one of the sets.
    pub(super) fn union(&self, other: &FieldSet) -> FieldSet {
        self.clone().and(other.clone())
    }

    /// The paths of this set, and those of another one.
    pub(super) fn and(mut self, other: FieldSet) -> FieldSet {
        self.extend(other);
        self
    }

    /// The paths that are in both sets.
    pub(super) fn intersection(&self, other: &FieldSet) -> FieldSet {
        let children = self.children.iter().filter_map(|(element, set)| {
            let common = set.intersection(other.children.get(element)?);
            (!common.is_empty()).then(|| (element.clone(), common))
        });
        FieldSet {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: children.collect(),
        }
    }

    /// The paths of this set that are not in `other`.
    pub(super) fn difference(mut self, other: &FieldSet) -> FieldSet {
        self.members
            .retain(|element| !other.members.contains(element));
        self.children.retain(|element, set| {
            if let Some(other) = other.children.get(element) {
                *set = std::mem::take(set).difference(other);
            }
            !set.is_empty()
        });
        self
    }

    /// The paths of this set that are neither in `other` nor behind a path of `other`.
    pub(super) fn difference_with_all_under(mut self, other: &FieldSet) -> FieldSet {
        self.members
            .retain(|element| !other.members.contains(element));
        self.children.retain(|element, set| {
            if let Some(other) = other.children.get(element) {
                *set = std::mem::take(set).difference_with_all_under(other);
            }
            !set.is_empty() && !other.members.contains(element)
        });
        self
    }

    /// Adds the named fields on the way to the paths of the set: who owns all that is in a
    /// field decides whether the field is there.
    pub(super) fn with_named_parents(&self, merge_type: &MergeType) -> FieldSet {
        let named = self.children.keys().filter(|element| match element {
            PathElement::Field(name) => merge_type.names_field(name),
            _ => false,
        });
        let children = self.children.iter().map(|(element, set)| {
            let child_type = match element {
                PathElement::Field(name) => merge_type.field(name),
                _ => merge_type.element(),
            };
            (element.clone(), set.with_named_parents(child_type))
        });
        FieldSet {
            members: self.members.iter().chain(named).cloned().collect(),
            children: children.collect(),
        }
    }

    /// The paths, as conflicts show them.
    pub(super) fn paths(&self) -> Vec<String> {
        let members = self.members.iter().map(ToString::to_string);
        let under = self.children.iter().flat_map(|(element, set)| {
            set.paths()
                .into_iter()
                .map(move |path| format!("{element}{path}"))
        });
        members.chain(under).collect()
    }

    /// Whether some path of the set is in one that is still as managed fields write it.
    pub(super) fn overlaps_written(&self, fields: &Value) -> bool {
        let under = |element: &PathElement| fields.get(element.to_fields_v1());
        self.members
            .iter()
            .any(|element| under(element).is_some_and(is_member))
            || self.children.iter().any(|(element, set)| {
                under(element).is_some_and(|fields| set.overlaps_written(fields))
            })
    }

    /// Whether all paths of the set are in one that is still as managed fields write it.
    pub(super) fn is_within_written(&self, fields: &Value) -> bool {
        let under = |element: &PathElement| fields.get(element.to_fields_v1());
        self.members
            .iter()
            .all(|element| under(element).is_some_and(is_member))
            && self.children.iter().all(|(element, set)| {
                under(element).is_some_and(|fields| set.is_within_written(fields))
            })
    }

    /// Reads the set as managed fields write it (`FieldsV1`).
    pub(super) fn from_fields_v1(fields: &Value) -> Option<FieldSet> {
        let mut set = FieldSet::default();
        for (name, under) in fields.as_object()? {
            if name == "." {
                continue;
            }
            let element = PathElement::parse(name)?;
            if !under.is_object() {
                return None;
            }
            set.insert_under(&element, FieldSet::from_fields_v1(under)?);
            if is_member(under) {
                set.insert(element);
            }
        }
        Some(set)
    }

    /// The set as managed fields write it (`FieldsV1`).
    pub(super) fn to_fields_v1(&self) -> Value {
        Value::Object(self.written_fields())
    }

    fn written_fields(&self) -> Map<String, Value> {
        let nothing = || Value::Object(Map::new());
        let elements: BTreeSet<_> = self.members.iter().chain(self.children.keys()).collect();
        let fields = elements.into_iter().map(|element| {
            let mut within = Map::new();
            if let Some(set) = self.children.get(element) {
                if self.members.contains(element) {
                    within.insert(".".to_owned(), nothing());
                }
                within.extend(set.written_fields());
            }
            (element.to_fields_v1(), Value::Object(within))
        });
        fields.collect()
    }
}

/// Whether what is written under a path says that the path itself is in the set.
fn is_member(under: &Value) -> bool {
    under
        .as_object()
        .is_some_and(|fields| fields.is_empty() || fields.contains_key("."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn element() -> impl Strategy<Value = PathElement> {
        prop_oneof![
            "[ab]".prop_map(PathElement::Field),
            (0..2_usize).prop_map(PathElement::Index),
            "[xy]".prop_map(|text| PathElement::value(&Value::from(text))),
            "[12]".prop_map(|id| PathElement::key([("id", &Value::from(id))])),
        ]
    }

    fn field_set() -> impl Strategy<Value = FieldSet> {
        let path = prop::collection::vec(element(), 1..4);
        prop::collection::vec(path, 0..8).prop_map(|paths| {
            paths.into_iter().fold(FieldSet::default(), |set, path| {
                let mut one = FieldSet::default();
                for (behind, element) in path.into_iter().rev().enumerate() {
                    let mut outer = FieldSet::default();
                    if behind == 0 {
                        outer.insert(element);
                    } else {
                        outer.insert_under(&element, one);
                    }
                    one = outer;
                }
                set.union(&one)
            })
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(set in field_set()) {
            prop_assert_eq!(FieldSet::from_fields_v1(&set.to_fields_v1()), Some(set));
        }

        #[test]
        fn sets_overlap_if_they_have_paths_in_common(a in field_set(), b in field_set()) {
            let overlap = !a.intersection(&b).is_empty();
            prop_assert_eq!(a.overlaps_written(&b.to_fields_v1()), overlap);
        }

        #[test]
        fn a_set_is_within_another_if_nothing_is_left_without_it(a in field_set(), b in field_set()) {
            let within = a.clone().difference(&b).is_empty();
            prop_assert_eq!(a.is_within_written(&b.to_fields_v1()), within);
            prop_assert!(a.is_within_written(&a.union(&b).to_fields_v1()));
        }

        #[test]
        fn union_and_intersection_do_not_depend_on_the_order(a in field_set(), b in field_set()) {
            prop_assert_eq!(a.union(&b), b.union(&a));
            prop_assert_eq!(a.intersection(&b), b.intersection(&a));
            prop_assert_eq!(a.union(&a), a);
        }

        #[test]
        fn intersection_and_difference_share_out_a_set(a in field_set(), b in field_set()) {
            let (common, rest) = (a.intersection(&b), a.clone().difference(&b));
            prop_assert!(common.intersection(&rest).is_empty());
            prop_assert_eq!(common.union(&rest), a);
        }

        #[test]
        fn nothing_is_left_of_a_set_without_itself(a in field_set(), b in field_set()) {
            prop_assert!(a.clone().difference(&a).is_empty());
            prop_assert!(a.clone().difference(&a.union(&b)).is_empty());
            let without = a.clone().difference_with_all_under(&b);
            prop_assert_eq!(without.clone().difference(&a), FieldSet::default());
            prop_assert!(without.intersection(&b).is_empty());
        }
    }

    #[test]
    fn a_field_removes_what_is_in_it() {
        let set = FieldSet::of_fields(["spec.size", "status.phase", "status.ready.since"]);
        let rest = set.difference_with_all_under(&FieldSet::of_fields(["status"]));
        assert_eq!(rest, FieldSet::of_fields(["spec.size"]));
    }

    #[test]
    fn paths_are_shown_as_conflicts_show_them() {
        let fields = json!({"f:a": {".": {}, "k:{\"id\":\"2\",\"port\":80}": {"f:v": {}}},
                            "f:set": {"v:\"x\"": {}}, "f:list": {"i:3": {}}});
        let set = FieldSet::from_fields_v1(&fields).unwrap();
        assert_eq!(
            set.paths(),
            [".a", ".a[id=\"2\",port=80].v", ".list[3]", ".set[=\"x\"]"]
        );
    }
}
