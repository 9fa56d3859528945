//! Rules of custom resources in CEL (`x-kubernetes-validations`).
//!
//! The expressions and Kubernetes' function libraries are those of `kube-cel`. What is
//! evaluated where, and the words of the errors, follow kube-apiserver: items of lists are
//! compared with those of the same keys before, unchanged values are not complained about,
//! and `optionalOldSelf` gives an optional value.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube_cel::KubeCelExt;
use kube_cel::cel::objects::OptionalValue;
use kube_cel::cel::{Context, ExecutionError, Value as CelValue};
use serde_json::Value;

use super::cause::Cause;
use super::cel_value::to_cel;
use super::expression::Expression;
use super::node::Node;
use super::path;
use super::rule_budget::{self, Budget, Exceeded};
use super::{rule_cost, rule_types};

thread_local! {
    /// The functions that rules may call. A thread's own, as contexts cannot be shared.
    static FUNCTIONS: Context<'static> = {
        let mut functions = Context::default().with_all();
        rule_budget::add_function(&mut functions);
        functions
    };
}

/// The longest message that an expression may give, in bytes.
const MAX_MESSAGE_LENGTH: usize = 10_240;

/// One rule, compiled.
#[derive(Debug)]
pub(super) struct Rule {
    source: kube_cel::Rule,
    expression: Expression,
    message_expression: Option<Expression>,
    /// Whether the rule compares with the value before.
    uses_old_self: bool,
    /// The fields of the value, present and before, that the rule and its message look at;
    /// nothing if they look at the whole.
    fields: Option<BTreeSet<String>>,
}

impl Rule {
    /// Reads the rules of a schema; those that do not compile have been refused before.
    pub(super) fn read_all(schema: &Value) -> Vec<Self> {
        let rules = schema
            .get("x-kubernetes-validations")
            .and_then(Value::as_array);
        rules
            .into_iter()
            .flatten()
            .filter_map(|rule| Self::read(rule).ok())
            .collect()
    }

    /// Reads and compiles one rule.
    pub(super) fn read(rule: &Value) -> Result<Self, RuleError> {
        let source: kube_cel::Rule = serde_json::from_value(rule.clone())
            .map_err(|error| RuleError::Rule(error.to_string()))?;
        let expression = Expression::parse(&source.rule).map_err(RuleError::Rule)?;
        let message_expression = source
            .message_expression
            .as_deref()
            .map(Expression::parse)
            .transpose()
            .map_err(RuleError::MessageExpression)?;
        let uses_old_self = expression.uses("oldSelf");
        let fields = std::iter::once(&expression)
            .chain(&message_expression)
            .flat_map(|part| [part.fields_of("self"), part.fields_of("oldSelf")])
            .collect::<Option<Vec<_>>>()
            .map(|fields| fields.into_iter().flatten().collect());
        Ok(Self {
            source,
            expression,
            message_expression,
            uses_old_self,
            fields,
        })
    }

    /// Whether the rule compares with the value before.
    pub(super) fn uses_old_self(&self) -> bool {
        self.uses_old_self
    }

    /// What evaluating the rule for one value of `node` costs at most.
    pub(super) fn cost(&self, node: &Node) -> u64 {
        self.expression
            .with_stack(|| rule_cost::estimate(self.expression.tree(), node))
    }

    /// Checks the expressions against the schema that they stand in. `resource` is whether
    /// its values have metadata of their own.
    pub(super) fn check_types(&self, node: &Node, resource: bool) -> Result<(), RuleError> {
        let optional = self.source.optional_old_self == Some(true);
        let check = |expression: &Expression, optional, wanted| {
            let tree = expression.tree();
            expression.with_stack(|| rule_types::check(tree, node, resource, optional, wanted))
        };
        check(&self.expression, optional, "bool").map_err(RuleError::Rule)?;
        match &self.message_expression {
            None => Ok(()),
            Some(message) => check(message, false, "string").map_err(RuleError::MessageExpression),
        }
    }

    /// What the rule says for people: its message, or else the rule itself.
    fn in_words(&self) -> &str {
        match self.source.message.as_deref().map(str::trim) {
            Some(message) if !message.is_empty() => message,
            _ => self.source.rule.trim(),
        }
    }
}

/// Which part of a rule does not compile, and why.
pub(super) enum RuleError {
    /// The rule itself.
    Rule(String),
    /// The expression that gives its message.
    MessageExpression(String),
}

/// Evaluates all rules of an object. `old` is what it was before an update.
pub(super) fn evaluate(root: &Node, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    FUNCTIONS.with(|functions| {
        let mut evaluation = Evaluation {
            functions,
            budget: Budget::new(),
            stopped: false,
            causes: Vec::new(),
        };
        evaluation.value(root, object, old, "");
        evaluation.causes
    })
}

/// The evaluation of the rules of one object.
struct Evaluation<'a> {
    functions: &'a Context<'static>,
    budget: Budget,
    /// A rule cost too much, and no other is evaluated.
    stopped: bool,
    causes: Vec<Cause>,
}

impl Evaluation<'_> {
    fn value(&mut self, node: &Node, value: &Value, old: Option<&Value>, at: &str) {
        if !node.has_rules || self.stopped {
            return;
        }
        if !node.rules.is_empty() {
            self.rules(node, value, old, at);
        }
        match value {
            Value::Object(fields) => {
                let old = old.filter(|_| !node.atomic_map);
                for (name, value) in fields {
                    let old = old.and_then(|old| old.get(name));
                    if let Some(property) = node.properties.get(name) {
                        let at = path::child(at, name);
                        self.value(property, value, old, &at);
                    } else if let Some(values) = node.field(name) {
                        let at = path::key(at, name);
                        self.value(values, value, old, &at);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(item_node) = &node.items {
                    for (position, item) in items.iter().enumerate() {
                        let old = node.same_item(item, old);
                        let at = path::index(at, position);
                        self.value(item_node, item, old, &at);
                    }
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, node: &Node, value: &Value, old: Option<&Value>, at: &str) {
        let functions = self.functions;
        let looked_at = node
            .rules
            .iter()
            .map(|rule| rule.fields.as_ref())
            .collect::<Option<Vec<_>>>()
            .map(|fields| fields.into_iter().flatten().map(String::as_str).collect());
        let convert = |value| to_cel(node, value, looked_at.as_ref(), functions);
        let mut plain = functions.new_inner_scope();
        plain.add_variable_from_value("self", convert(value));
        let compared = node.rules.iter().any(|rule| rule.uses_old_self);
        let old_self = old.filter(|_| compared).map(convert);
        let mut optional = plain.new_inner_scope();
        let optional_old_self = old_self
            .clone()
            .map_or_else(OptionalValue::none, OptionalValue::of);
        optional.add_variable_from_value("oldSelf", CelValue::Opaque(Arc::new(optional_old_self)));
        let mut with_old = plain.new_inner_scope();
        if let Some(old_self) = old_self {
            with_old.add_variable_from_value("oldSelf", old_self);
        }
        for rule in &node.rules {
            let takes_optional = rule.source.optional_old_self == Some(true);
            if rule.uses_old_self && old.is_none() && !takes_optional {
                continue;
            }
            let context = if takes_optional { &optional } else { &with_old };
            let unchanged = !rule.uses_old_self && old == Some(value);
            let expression = &rule.expression;
            let paid = self
                .budget
                .pay(expression.weight(), || expression.evaluate(context));
            let detail = match paid {
                Ok(Ok(CelValue::Bool(true))) => continue,
                Ok(_) if unchanged => continue,
                Ok(Ok(_)) => {
                    let failure = failure(rule, value, at, self.message(rule, &with_old));
                    self.causes.push(failure);
                    continue;
                }
                Ok(Err(error)) => describe(&error, rule),
                Err(exceeded) => {
                    self.stopped = true;
                    too_costly(exceeded, rule)
                }
            };
            let value = Value::from(node.value_type.map_or("", |known| known.as_str()));
            self.causes.push(Cause::invalid(at, &value, detail));
            if self.stopped {
                return;
            }
        }
    }

    /// The message that the rule's expression gives, if it gives a usable one.
    fn message(&mut self, rule: &Rule, context: &Context<'_>) -> Option<String> {
        let expression = rule.message_expression.as_ref()?;
        let evaluate = || expression.evaluate(context);
        match self.budget.pay(expression.weight(), evaluate) {
            Ok(Ok(CelValue::String(message))) => {
                let message = message.trim();
                let usable = !message.is_empty()
                    && message.len() <= MAX_MESSAGE_LENGTH
                    && !message.contains('\n');
                usable.then(|| message.to_owned())
            }
            _ => None,
        }
    }
}

/// What is said about the rule that used up what there was to spend.
fn too_costly(exceeded: Exceeded, rule: &Rule) -> String {
    match exceeded {
        Exceeded::Call => format!(
            "'operation cancelled: actual cost limit exceeded': no further validation rules will \
             be run due to call cost exceeds limit for rule: {}",
            rule.in_words()
        ),
        Exceeded::Object => "validation failed due to running out of cost budget, no further \
                             validation rules will be run"
            .to_owned(),
    }
}

/// What is said about a rule that does not hold.
fn failure(rule: &Rule, value: &Value, at: &str, computed: Option<String>) -> Cause {
    let field = format!(
        "{at}{}",
        rule.source.field_path.as_deref().map_or("", str::trim)
    );
    let field = field.trim_start_matches('.');
    let detail = computed.unwrap_or_else(|| match &rule.source.message {
        Some(message) if !message.is_empty() => message.trim().to_owned(),
        _ => format!("failed rule: {}", rule.source.rule.trim()),
    });
    match rule.source.reason.as_deref() {
        Some("FieldValueForbidden") => Cause::forbidden(field, detail),
        Some("FieldValueRequired") => Cause::required(field, detail),
        Some("FieldValueDuplicate") => Cause::duplicate(field, value),
        _ if value.is_object() || value.is_array() => Cause::invalid_object(field, detail),
        _ => Cause::invalid(field, value, detail),
    }
}

/// An error while a rule was evaluated, in the words of kube-apiserver.
fn describe(error: &ExecutionError, rule: &Rule) -> String {
    let cause = match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::NoSuchOverload => {
            return format!(
                "'no such overload': call arguments did not match a supported operator, \
                 function or macro signature for rule: {}",
                rule.in_words()
            );
        }
        ExecutionError::DivisionByZero(_) => "division by zero".into(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".into(),
        ExecutionError::Overflow(..) => "integer overflow".into(),
        other => other.to_string(),
    };
    format!("{cause} evaluating rule: {}", rule.in_words())
}
