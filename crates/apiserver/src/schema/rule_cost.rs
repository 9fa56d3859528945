//! What evaluating a rule may cost at most, so that no rule can keep the server busy.
//!
//! Kubernetes estimates the cost from the bounds of the schema, or else from what fits into a
//! request, and refuses rules beyond a limit. This follows its model where it matters: loops,
//! and work on texts and lists. What is not known counts as cheap.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, operators};

use super::cel_value::escape;
use super::node::{Additional, Node, ValueType};

/// The most that one rule may cost, over all values that it is evaluated for.
pub(super) const RULE_LIMIT: u64 = 10_000_000;
/// The most that all rules of a schema may cost together.
pub(super) const SCHEMA_LIMIT: u64 = 100_000_000;
/// The largest request, in bytes.
const REQUEST_SIZE: u64 = 3 * 1024 * 1024;
/// Looking at this many bytes of a text, or comparing as many values, costs 1.
const BYTES_PER_COST: u64 = 10;
/// What making a list costs.
const LIST_COST: u64 = 10;

/// How many values of this schema fit into a request.
pub(super) fn most_in_a_request(node: &Node) -> u64 {
    REQUEST_SIZE / (smallest(node) + 1)
}

/// How many items or entries a value may have, if its schema says so.
pub(super) fn declared_count(node: &Node) -> Option<u64> {
    match node.value_type {
        Some(ValueType::Array) => node.limits.max_items,
        _ => node.limits.max_properties,
    }
}

/// The fewest bytes that a value takes in JSON.
fn smallest(node: &Node) -> u64 {
    match node.value_type {
        Some(ValueType::Boolean) => 4,
        Some(ValueType::Integer | ValueType::Number) => 1,
        Some(ValueType::Object) => {
            let required = node.limits.required.iter();
            let fields = required.filter_map(|name| {
                let field = node.properties.get(name)?;
                Some(name.len() as u64 + 4 + smallest(field))
            });
            2 + fields.sum::<u64>()
        }
        _ => 2,
    }
}

/// The largest size of a value: bytes of a text, items of a list, entries of a map.
fn largest(node: &Node) -> u64 {
    match node.value_type {
        Some(ValueType::String) => match (node.limits.format.as_deref(), node.limits.max_length) {
            (Some("date" | "date-time" | "duration"), _) => 32,
            // A character has up to four bytes.
            (_, Some(length)) => length.saturating_mul(4),
            _ => match &node.limits.enumeration {
                Some(values) => {
                    let lengths = values
                        .iter()
                        .filter_map(|value| Some(value.as_str()?.len()));
                    lengths.max().unwrap_or_default() as u64
                }
                None => REQUEST_SIZE - 2,
            },
        },
        Some(ValueType::Array) => declared_count(node).unwrap_or_else(|| {
            let item = node.items.as_deref().map_or(2, smallest);
            (REQUEST_SIZE - 2) / (item + 1)
        }),
        Some(ValueType::Object) => match &node.additional_properties {
            None => 1,
            Some(additional) => declared_count(node).unwrap_or_else(|| {
                let value = additional.values().map_or(2, smallest);
                (REQUEST_SIZE - 2) / (value + 6)
            }),
        },
        _ => 1,
    }
}

/// What is known about the value of an expression.
#[derive(Clone, Copy)]
struct Estimate<'a> {
    cost: u64,
    size: u64,
    node: Option<&'a Node>,
}

impl<'a> Estimate<'a> {
    /// A small value.
    fn plain(cost: u64) -> Self {
        Self {
            cost,
            size: 1,
            node: None,
        }
    }

    fn described(cost: u64, node: Option<&'a Node>) -> Self {
        Self {
            cost,
            size: node.map_or(1, largest),
            node,
        }
    }
}

/// The variables that an expression sees.
struct Scope<'a, 'b> {
    name: &'b str,
    value: Estimate<'a>,
    outer: Option<&'b Scope<'a, 'b>>,
}

impl<'a> Scope<'a, '_> {
    fn find(&self, name: &str) -> Option<Estimate<'a>> {
        if self.name == name {
            return Some(self.value);
        }
        self.outer?.find(name)
    }
}

/// The most that evaluating an expression for one value of `node` costs.
pub(super) fn estimate(expression: &IdedExpr, node: &Node) -> u64 {
    let value = Estimate::described(0, Some(node));
    let old = Scope {
        name: "oldSelf",
        value,
        outer: None,
    };
    let scope = Scope {
        name: "self",
        value,
        outer: Some(&old),
    };
    cost_of(expression, &scope).cost
}

fn cost_of<'a>(expression: &IdedExpr, scope: &Scope<'a, '_>) -> Estimate<'a> {
    match &expression.expr {
        Expr::Ident(name) => match scope.find(name) {
            Some(found) => Estimate { cost: 1, ..found },
            None => Estimate::plain(1),
        },
        Expr::Literal(literal) => Estimate {
            size: match literal {
                LiteralValue::String(text) => text.inner().len() as u64,
                _ => 1,
            },
            ..Estimate::plain(0)
        },
        Expr::Select(select) => {
            let operand = cost_of(&select.operand, scope);
            let cost = operand.cost.saturating_add(1);
            if select.test {
                return Estimate::plain(cost);
            }
            Estimate::described(cost, field_of(operand.node, &select.field))
        }
        Expr::Call(call) => cost_of_call(call, scope),
        Expr::Comprehension(comprehension) => cost_of_loop(comprehension, scope),
        Expr::List(list) => Estimate {
            size: list.elements.len() as u64,
            ..Estimate::plain(
                list.elements
                    .iter()
                    .map(|element| cost_of(element, scope).cost)
                    .fold(LIST_COST, u64::saturating_add),
            )
        },
        Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => Estimate::plain(LIST_COST),
    }
}

fn field_of<'a>(node: Option<&'a Node>, name: &str) -> Option<&'a Node> {
    let node = node?;
    if let Some(additional) = &node.additional_properties {
        return additional.values();
    }
    let mut fields = node.properties.iter();
    fields
        .find(|(field, _)| escape(field) == name)
        .map(|(_, node)| node)
}

/// The schema of items of a list and of values of a map.
fn element_of(node: Option<&Node>) -> Option<&Node> {
    let node = node?;
    let values = node.additional_properties.as_ref();
    node.items
        .as_deref()
        .or_else(|| values.and_then(Additional::values))
}

fn traversal(size: u64) -> u64 {
    size.div_ceil(BYTES_PER_COST)
}

fn cost_of_call<'a>(call: &CallExpr, scope: &Scope<'a, '_>) -> Estimate<'a> {
    let target = call.target.as_ref().map(|target| cost_of(target, scope));
    let arguments: Vec<Estimate<'a>> = call
        .args
        .iter()
        .map(|argument| cost_of(argument, scope))
        .collect();
    let inner = target
        .iter()
        .chain(&arguments)
        .map(|part| part.cost)
        .fold(0, u64::saturating_add);
    let first = target.or(arguments.first().copied());
    let first_size = first.map_or(1, |value| value.size);
    let last_size = arguments.last().map_or(1, |value| value.size);
    let costing = |own: u64| inner.saturating_add(own);
    let with_size = |own: u64, size: u64| Estimate {
        size,
        ..Estimate::plain(costing(own))
    };
    match call.func_name.as_str() {
        operators::EQUALS | operators::NOT_EQUALS => {
            Estimate::plain(costing(traversal(first_size.min(last_size))))
        }
        operators::IN => Estimate::plain(costing(last_size)),
        operators::LOGICAL_AND | operators::LOGICAL_OR => Estimate::plain(inner),
        operators::CONDITIONAL => {
            let size = arguments.iter().skip(1).map(|value| value.size).max();
            with_size(0, size.unwrap_or(1))
        }
        operators::INDEX => {
            Estimate::described(costing(1), element_of(first.and_then(|value| value.node)))
        }
        operators::ADD => {
            let size = first_size.saturating_add(last_size);
            let texts = size > 2;
            with_size(if texts { traversal(size) } else { 1 }, size)
        }
        "startsWith" | "endsWith" => Estimate::plain(costing(traversal(last_size))),
        "contains" => {
            let both = traversal(first_size).saturating_mul(traversal(last_size));
            Estimate::plain(costing(both))
        }
        "matches" | "find" | "findAll" => {
            let pattern = last_size.div_ceil(4);
            let both = traversal(first_size.saturating_add(1)).saturating_mul(pattern);
            with_size(both, first_size)
        }
        "isSorted" | "sum" | "min" | "max" | "indexOf" | "lastIndexOf" => {
            Estimate::plain(costing(first_size))
        }
        "lowerAscii" | "upperAscii" | "replace" | "split" | "substring" | "trim" | "url"
        | "isURL" | "quantity" | "ip" | "cidr" => with_size(traversal(first_size), first_size),
        _ => Estimate::plain(costing(1)),
    }
}

fn cost_of_loop<'a>(looping: &ComprehensionExpr, scope: &Scope<'a, '_>) -> Estimate<'a> {
    let range = cost_of(&looping.iter_range, scope);
    let start = cost_of(&looping.accu_init, scope);
    let is_map = range
        .node
        .is_some_and(|node| node.additional_properties.is_some());
    let element = if is_map {
        // Its keys; they are as small as they can be where nothing limits them.
        Estimate::plain(0)
    } else {
        Estimate::described(0, element_of(range.node))
    };
    let accumulator = Scope {
        name: &looping.accu_var,
        value: start,
        outer: Some(scope),
    };
    let second = Scope {
        name: looping.iter_var2.as_deref().unwrap_or(""),
        value: Estimate::described(0, element_of(range.node)),
        outer: Some(&accumulator),
    };
    let inner = Scope {
        name: &looping.iter_var,
        value: element,
        outer: Some(&second),
    };
    let step = cost_of(&looping.loop_step, &inner).cost;
    let condition = cost_of(&looping.loop_cond, &inner).cost;
    let result = cost_of(&looping.result, &inner);
    // A loop over nothing only binds a variable.
    let rounds = match &looping.iter_range.expr {
        Expr::List(list) => list.elements.len() as u64,
        _ => range.size,
    };
    let looped = rounds.saturating_mul(step.saturating_add(condition));
    let cost = [range.cost, start.cost, looped, result.cost]
        .into_iter()
        .fold(0, u64::saturating_add);
    let builds_list = matches!(&looping.accu_init.expr, Expr::List(_));
    Estimate {
        cost,
        size: if builds_list { rounds } else { result.size },
        node: result.node,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::expression::Expression;
    use super::*;

    fn cost(rule: &str) -> u64 {
        let node = Node::read(&json!({"type": "object", "properties": {
            "n": {"type": "integer"}, "text": {"type": "string"},
            "short": {"type": "string", "maxLength": 10},
            "list": {"type": "array", "items": {"type": "string"}},
            "few": {"type": "array", "maxItems": 10,
                    "items": {"type": "string", "maxLength": 10}},
            "map": {"type": "object", "additionalProperties": {"type": "integer"}},
        }}));
        estimate(Expression::parse(rule).unwrap().tree(), &node)
    }

    #[test]
    fn rules_that_look_at_each_value_once_are_cheap_enough() {
        for rule in [
            "self.n > 1 && self.n < 10",
            "self == oldSelf",
            "self.text == oldSelf.text",
            "self.text.startsWith('x') || self.text.matches('^[a-z]+$')",
            "self.list.all(x, x == 'a')",
            "self.list.exists_one(x, x.startsWith('a'))",
            "self.few.all(x, self.few.all(y, self.few.all(z, x == y || y == z)))",
            "self.map.all(key, self.map[key] > 0)",
            "cel.bind(v, self.n, v > 1)",
            "self.few.map(x, x + 'y').all(x, x in self.few)",
        ] {
            assert!(cost(rule) <= RULE_LIMIT, "{rule}: {}", cost(rule));
        }
    }

    #[test]
    fn loops_in_loops_without_bounds_cost_too_much() {
        for rule in [
            "self.list.all(x, self.list.all(y, x == y))",
            "self.list.all(x, x in self.list)",
            "self.list.all(x, x.contains(self.short))",
            "self.map.all(a, self.map.exists(b, self.map[a] == self.map[b]))",
            "self.list.map(x, x).all(x, self.list.exists(y, y == x))",
        ] {
            assert!(cost(rule) > RULE_LIMIT, "{rule}: {}", cost(rule));
        }
    }
}
