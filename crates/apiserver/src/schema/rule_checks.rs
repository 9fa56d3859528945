//! Checks of CEL rules and defaults when a schema is registered.

use serde_json::Value;

use super::cause::Cause;
use super::defaulting;
use super::node::{Additional, Node};
use super::path::{child, index, key};
use super::pruning;
use super::rule_cost;
use super::rules::{Rule, RuleError};
use super::validation;

/// The reasons that a rule may give.
const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// Checks the rules of a structural schema and of all that lies under it.
pub(super) fn check_rules(schema: &Value) -> Vec<Cause> {
    let mut found = Found::default();
    let root = Reach {
        correlatable: true,
        count: Some(1),
    };
    check_rules_of(schema, "", root, &mut found);
    found.check_total();
    found.causes
}

/// What is wrong with the rules, and what they cost.
#[derive(Default)]
struct Found {
    causes: Vec<Cause>,
    /// The fields of the rules, and what each costs.
    costs: Vec<(String, u64)>,
}

impl Found {
    /// All rules together must not cost too much.
    fn check_total(&mut self) {
        let total = self.costs.iter().map(|(_, cost)| *cost);
        let total = total.fold(0, u64::saturating_add);
        if total <= rule_cost::SCHEMA_LIMIT {
            return;
        }
        self.costs.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        for (field, _) in self.costs.iter().take(MOST_EXPENSIVE) {
            let detail = "contributed to estimated rule cost total exceeding cost limit for \
                          entire OpenAPIv3 schema";
            self.causes.push(Cause::forbidden(field, detail));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let detail = too_expensive(what, total, rule_cost::SCHEMA_LIMIT);
        self.causes.push(Cause::forbidden("", detail));
    }
}

/// How many rules are named if all together cost too much.
const MOST_EXPENSIVE: usize = 4;

fn too_expensive(what: &str, cost: u64, limit: u64) -> String {
    let tenths = cost.saturating_mul(10) / limit;
    let factor = if tenths > 1000 {
        "more than 100x".to_owned()
    } else {
        format!("{}.{}x", tenths / 10, tenths % 10)
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding \
         maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// How the values of a part of a schema are reached from the root.
#[derive(Clone, Copy)]
struct Reach {
    /// Whether a value can be found again in the old object.
    correlatable: bool,
    /// How many values there can be; none if nothing limits them.
    count: Option<u64>,
}

impl Reach {
    /// The items or entries of a value of the schema.
    fn within(self, limit: &Value, correlatable: bool) -> Self {
        let limit = limit.as_u64();
        Self {
            correlatable: self.correlatable && correlatable,
            count: self
                .count
                .and_then(|count| Some(count.saturating_mul(limit?))),
        }
    }
}

fn check_rules_of(schema: &Value, at: &str, reach: Reach, found: &mut Found) {
    let rules = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    if let Some(rules) = rules {
        let place = Place {
            schema,
            node: Node::read(schema),
            root: at.is_empty(),
            reach,
        };
        for (position, rule) in rules.iter().enumerate() {
            let at = index(&child(at, "x-kubernetes-validations"), position);
            check_rule(rule, &place, &at, found);
        }
    }
    let map_is_atomic = schema.get("x-kubernetes-map-type") == Some(&Value::from("atomic"));
    let fields = schema.get("properties").and_then(Value::as_object);
    for (name, property) in fields.into_iter().flatten() {
        let at = key(&child(at, "properties"), name);
        let reach = Reach {
            correlatable: reach.correlatable && !map_is_atomic,
            ..reach
        };
        check_rules_of(property, &at, reach, found);
    }
    if let Some(values @ Value::Object(_)) = schema.get("additionalProperties") {
        let at = child(at, "additionalProperties");
        let reach = reach.within(&schema["maxProperties"], !map_is_atomic);
        check_rules_of(values, &at, reach, found);
    }
    if let Some(items) = schema.get("items") {
        let keyed = schema.get("x-kubernetes-list-type") == Some(&Value::from("map"));
        let reach = reach.within(&schema["maxItems"], keyed);
        check_rules_of(items, &child(at, "items"), reach, found);
    }
}

/// The part of a schema that a rule stands in.
struct Place<'a> {
    schema: &'a Value,
    node: Node,
    root: bool,
    reach: Reach,
}

fn check_rule(rule: &Value, place: &Place<'_>, at: &str, found: &mut Found) {
    let Found { causes, costs } = found;
    let before = causes.len();
    let text = |name: &str| rule.get(name).and_then(Value::as_str);
    let expression = text("rule").unwrap_or_default();
    if expression.trim().is_empty() {
        causes.push(Cause::required(child(at, "rule"), "rule is not specified"));
        return;
    }
    check_message(expression, text("message"), at, causes);
    if text("messageExpression").is_some_and(|message| message.trim().is_empty()) {
        let detail = "messageExpression must be non-empty if specified";
        causes.push(Cause::required(child(at, "messageExpression"), detail));
    }
    if let Some(reason) = text("reason")
        && !REASONS.contains(&reason)
    {
        let known = REASONS.map(str::to_owned);
        causes.push(Cause::not_supported(
            child(at, "reason"),
            &reason.into(),
            &known,
        ));
    }
    if let Some(path) = text("fieldPath") {
        check_field_path(path, place.schema, at, causes);
    }
    // What stands around it must be right before it makes sense to compile the rule.
    if causes.len() > before {
        return;
    }
    let compiled = Rule::read(rule).and_then(|compiled| {
        compiled.check_types(&place.node, place.root)?;
        Ok(compiled)
    });
    match compiled {
        Err(RuleError::Rule(error)) => {
            let detail = format!("compilation failed: {error}");
            causes.push(Cause::invalid(child(at, "rule"), rule, detail));
        }
        Err(RuleError::MessageExpression(error)) => {
            let detail = format!("messageExpression compilation failed: {error}");
            causes.push(Cause::invalid(child(at, "messageExpression"), rule, detail));
        }
        Ok(compiled) if compiled.uses_old_self() && !place.reach.correlatable => {
            let detail =
                "oldSelf cannot be used on the uncorrelatable portion of the schema".to_owned();
            causes.push(Cause::invalid(child(at, "rule"), rule, detail));
        }
        Ok(compiled) => {
            if rule.get("optionalOldSelf").is_some() && !compiled.uses_old_self() {
                let detail = "may not be set if oldSelf is not used in rule";
                let set = &rule["optionalOldSelf"];
                causes.push(Cause::invalid(child(at, "optionalOldSelf"), set, detail));
            }
            let count = place.reach.count;
            let count = count.unwrap_or_else(|| rule_cost::most_in_a_request(&place.node));
            let cost = compiled.cost(&place.node).saturating_mul(count);
            if cost > rule_cost::RULE_LIMIT {
                let detail = too_expensive("estimated rule cost", cost, rule_cost::RULE_LIMIT);
                causes.push(Cause::forbidden(child(at, "rule"), detail));
            }
            costs.push((child(at, "rule"), cost));
        }
    }
}

fn check_message(expression: &str, message: Option<&str>, at: &str, causes: &mut Vec<Cause>) {
    let field = child(at, "message");
    match message {
        Some(message) if !message.is_empty() && message.trim().is_empty() => {
            let detail = "message must be non-empty if specified";
            causes.push(Cause::invalid(field, &message.into(), detail));
        }
        Some(message) if message.trim().contains('\n') => {
            let detail = "message must not contain line breaks";
            causes.push(Cause::invalid(field, &message.into(), detail));
        }
        None | Some("") if expression.trim().contains('\n') => {
            let detail = "message must be specified if rule contains line breaks";
            causes.push(Cause::required(field, detail));
        }
        _ => {}
    }
}

/// A field path must lead to a field of the schema.
fn check_field_path(path: &str, schema: &Value, at: &str, causes: &mut Vec<Cause>) {
    let problem = match split_field_path(path) {
        None => Some("fieldPath must be a valid path: expected [ or ."),
        Some(names) => follow(schema, &names)
            .is_none()
            .then_some("fieldPath must be a valid path: does not refer to a valid field"),
    };
    if let Some(detail) = problem {
        causes.push(Cause::invalid(child(at, "fieldPath"), &path.into(), detail));
    }
}

/// Splits `.a['b'].c` into names; nothing if it is not of that form.
fn split_field_path(path: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = path.trim();
    while !rest.is_empty() {
        let name = if let Some(quoted) = rest.strip_prefix("['") {
            let end = quoted.find("']")?;
            rest = &quoted[end + 2..];
            &quoted[..end]
        } else {
            let plain = rest.strip_prefix('.')?;
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            rest = &plain[end..];
            &plain[..end]
        };
        names.push(name.to_owned());
    }
    Some(names)
}

fn follow<'a>(schema: &'a Value, names: &[String]) -> Option<&'a Value> {
    names
        .iter()
        .try_fold(schema, |schema, name| match schema.get("properties") {
            Some(fields) => fields.get(name),
            None => schema
                .get("additionalProperties")
                .filter(|values| values.is_object()),
        })
}

/// Checks that defaults fit the schema that they are part of.
pub(super) fn check_defaults(root: &Node) -> Vec<Cause> {
    let mut causes = Vec::new();
    if root.default.is_some() {
        causes.push(Cause::forbidden("default", "must not be set at the root"));
    }
    for name in ["apiVersion", "kind", "metadata"] {
        if let Some(property) = root.properties.get(name) {
            let at = key("properties", name);
            forbid_defaults(property, &at, name, &mut causes);
        }
    }
    check_defaults_under(root, "", &mut causes);
    causes
}

/// What every resource has is not defaulted by its schema.
fn forbid_defaults(node: &Node, at: &str, resource_field: &str, causes: &mut Vec<Cause>) {
    if node.default.is_some() {
        let detail = format!("must not be set in top-level {resource_field}");
        causes.push(Cause::forbidden(child(at, "default"), detail));
    }
    for (name, property) in &node.properties {
        let at = key(&child(at, "properties"), name);
        forbid_defaults(property, &at, resource_field, causes);
    }
}

fn check_defaults_under(node: &Node, at: &str, causes: &mut Vec<Cause>) {
    for (name, property) in &node.properties {
        let at = key(&child(at, "properties"), name);
        check_default(property, &at, causes);
        check_defaults_under(property, &at, causes);
    }
    if let Some(Additional::Values(values)) = &node.additional_properties {
        let at = child(at, "additionalProperties");
        check_default(values, &at, causes);
        check_defaults_under(values, &at, causes);
    }
    if let Some(items) = &node.items {
        let at = child(at, "items");
        check_default(items, &at, causes);
        check_defaults_under(items, &at, causes);
    }
}

fn check_default(node: &Node, at: &str, causes: &mut Vec<Cause>) {
    let Some(default) = &node.default else {
        return;
    };
    let field = child(at, "default");
    let mut pruned = default.clone();
    if !pruning::prune_default(node, &mut pruned).is_empty() {
        causes.push(Cause::invalid(
            &field,
            default,
            "must not have unknown fields",
        ));
        return;
    }
    let mut complete = default.clone();
    defaulting::apply_defaults(node, &mut complete);
    let problems = validation::validate(node, &complete, None, &field);
    causes.extend(
        problems
            .into_iter()
            .filter(|cause| cause.field != validation::NO_FIELD),
    );
}
