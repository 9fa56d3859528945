//! The schema of one version of a custom resource: prunes, defaults and validates objects.

use std::sync::Arc;

use serde_json::Value;

use super::cause::{Cause, CauseReason};
use super::merge_type::{MergeType, UndeclaredFields};
use super::node::{Additional, Node};
use super::{
    defaulting, embedded, list_types, pruning, rule_checks, rules, structural, validation,
};

/// A structural schema with its CEL rules, compiled once.
#[derive(Debug)]
pub struct Schema {
    root: Node,
    merge_type: Arc<MergeType>,
}

impl Schema {
    /// Reads `openAPIV3Schema` of a version of a CustomResourceDefinition.
    ///
    /// # Errors
    /// What kube-apiserver refuses: schemas that are not structural, keywords that it does
    /// not support, defaults that do not fit, rules that do not compile. Fields are
    /// relative to the schema, for example `properties[spec].type`.
    pub fn parse(open_api_v3: &Value) -> Result<Self, Vec<Cause>> {
        let mut causes = structural::check(open_api_v3);
        if causes.is_empty() {
            causes = rule_checks::check_rules(open_api_v3);
        }
        let root = Node::read(open_api_v3);
        if causes.is_empty() {
            causes = rule_checks::check_defaults(&root);
        }
        if causes.is_empty() {
            let merge_type = Arc::new(merge_type_of_resource(&root));
            Ok(Self { root, merge_type })
        } else {
            Err(causes)
        }
    }

    /// Removes the fields that the schema does not describe and gives their paths, sorted,
    /// for example `spec.items[0].colour`. `apiVersion`, `kind` and `metadata` are left.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        pruning::prune(&self.root, object)
    }

    /// Fills in defaults. Nulls that the schema does not allow are dropped.
    pub fn apply_defaults(&self, object: &mut Value) {
        defaulting::apply_defaults(&self.root, object);
    }

    /// Checks a pruned and defaulted object. `old` is what it was before an update: what
    /// has not changed since is not complained about.
    ///
    /// Rules in CEL are not evaluated while the object has mistakes that would mislead
    /// them; a cause without a field says so, as Kubernetes does.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = validation::validate(&self.root, object, old, "");
        causes.extend(embedded::problems(&self.root, object));
        let duplicates = list_types::duplicates(&self.root, object);
        let had_duplicates =
            || old.is_some_and(|old| !list_types::duplicates(&self.root, old).is_empty());
        if !duplicates.is_empty() && !had_duplicates() {
            causes.extend(duplicates);
        }
        if !self.root.has_rules {
            return causes;
        }
        if causes.iter().any(blocks_rules) {
            causes.push(Cause::invalid(
                validation::NO_FIELD,
                &Value::Null,
                "some validation rules were not checked because the object was invalid; correct \
                 the existing errors to complete validation",
            ));
        } else {
            causes.extend(rules::evaluate(&self.root, object, old));
        }
        causes
    }

    /// How objects are merged by server-side apply.
    pub fn merge_type(&self) -> Arc<MergeType> {
        Arc::clone(&self.merge_type)
    }
}

/// Whether a mistake makes it pointless to evaluate rules.
fn blocks_rules(cause: &Cause) -> bool {
    matches!(
        cause.reason,
        CauseReason::FieldValueRequired
            | CauseReason::FieldValueTooLong
            | CauseReason::FieldValueTooMany
            | CauseReason::FieldValueTypeInvalid
    )
}

/// The merge behaviour of an object with metadata of its own.
fn merge_type_of_resource(node: &Node) -> MergeType {
    let mut merged = merge_type(node);
    let metadata = MergeType::of_builtin("", "").field("metadata").clone();
    merged.fields.insert("metadata".into(), metadata);
    for name in ["apiVersion", "kind"] {
        merged
            .fields
            .entry(name.into())
            .or_insert_with(MergeType::deduced);
    }
    merged
}

fn merge_type(node: &Node) -> MergeType {
    let is_map = node.additional_properties.is_some();
    let open = is_map || node.preserve_unknown_fields || node.int_or_string;
    let mut merged = MergeType::new(if open {
        UndeclaredFields::Entries
    } else {
        UndeclaredFields::Refused
    });
    merged.list = node.list_type.clone();
    merged.atomic_map = node.atomic_map;
    for (name, property) in &node.properties {
        let resource = property.embedded_resource;
        let property = if resource {
            merge_type_of_resource(property)
        } else {
            merge_type(property)
        };
        merged.fields.insert(name.clone(), Arc::new(property));
    }
    let elements = node.items.as_deref();
    let elements = elements.or(node
        .additional_properties
        .as_ref()
        .and_then(Additional::values));
    merged.elements = elements.map(|elements| Arc::new(merge_type(elements)));
    merged
}
