//! Checks CEL expressions against the schema before they are ever evaluated: fields that do
//! not exist, comparisons of values that can never be equal, rules that are no statements.
//!
//! What is not known for certain is let through; it fails when it is evaluated.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, operators};

use super::cel_value::escape;
use super::node::{Node, ValueType};
use super::rule_functions;

/// Names that functions are called on, not values.
const NAMESPACES: [&str; 12] = [
    "base64", "cel", "cidr", "format", "ip", "json", "math", "optional", "quantity", "semver",
    "sets", "strings",
];

/// Names of types.
const TYPES: [&str; 12] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "google",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// What is known about the value of an expression.
#[derive(Clone, Copy)]
enum Type<'a> {
    Unknown,
    Scalar(&'static str),
    /// A value that a schema describes; `resource` if it has metadata of its own.
    Described {
        node: &'a Node,
        resource: bool,
    },
    /// The metadata of a resource.
    Metadata,
}

const BOOL: Type<'static> = Type::Scalar("bool");
const INT: Type<'static> = Type::Scalar("int");
const STRING: Type<'static> = Type::Scalar("string");

/// The variables that an expression sees.
struct Scope<'a, 'b> {
    name: &'b str,
    value_type: Type<'a>,
    outer: Option<&'b Scope<'a, 'b>>,
}

impl<'a> Scope<'a, '_> {
    fn find(&self, name: &str) -> Option<Type<'a>> {
        if self.name == name {
            return Some(self.value_type);
        }
        self.outer?.find(name)
    }
}

/// Checks an expression over values of `node`, whose result must be of type `wanted`
/// (`bool` or `string`). `resource` is whether the value has metadata of its own.
pub(super) fn check(
    expression: &IdedExpr,
    node: &Node,
    resource: bool,
    optional_old_self: bool,
    wanted: &str,
) -> Result<(), String> {
    let resource = resource || node.embedded_resource;
    let value_type = described(node, resource);
    let old_type = if optional_old_self {
        Type::Unknown
    } else {
        value_type
    };
    let old_self = Scope {
        name: "oldSelf",
        value_type: old_type,
        outer: None,
    };
    let scope = Scope {
        name: "self",
        value_type,
        outer: Some(&old_self),
    };
    match type_of(expression, &scope)? {
        Type::Unknown => Ok(()),
        found if name_of(found) == Some(wanted) => Ok(()),
        _ => Err(format!("cel expression must evaluate to a {wanted}")),
    }
}

/// What a schema says about a value.
fn described(node: &Node, resource: bool) -> Type<'_> {
    if node.int_or_string || node.value_type.is_none() {
        return Type::Unknown;
    }
    match (node.value_type, node.limits.format.as_deref()) {
        (Some(ValueType::String), Some("date" | "date-time")) => Type::Scalar("timestamp"),
        (Some(ValueType::String), Some("duration")) => Type::Scalar("duration"),
        (Some(ValueType::String), Some("byte")) => Type::Scalar("bytes"),
        (Some(ValueType::String), _) => STRING,
        (Some(ValueType::Integer), _) => INT,
        (Some(ValueType::Number), _) => Type::Scalar("double"),
        (Some(ValueType::Boolean), _) => BOOL,
        _ => Type::Described {
            node,
            resource: resource || node.embedded_resource,
        },
    }
}

/// The name of a type in messages, if it is known for certain.
fn name_of(value_type: Type<'_>) -> Option<&'static str> {
    match value_type {
        Type::Unknown => None,
        Type::Scalar(name) => Some(name),
        Type::Metadata => Some("object"),
        Type::Described { node, .. } => match node.value_type {
            Some(ValueType::Array) => Some("list"),
            _ if node.additional_properties.is_some() => Some("map"),
            _ => Some("object"),
        },
    }
}

fn type_of<'a>(expression: &IdedExpr, scope: &Scope<'a, '_>) -> Result<Type<'a>, String> {
    match &expression.expr {
        Expr::Ident(name) => match scope.find(name) {
            Some(found) => Ok(found),
            None if TYPES.contains(&name.as_str()) => Ok(Type::Unknown),
            None => Err(format!(
                "undeclared reference to '{name}' (in container '')"
            )),
        },
        Expr::Literal(literal) => Ok(match literal {
            LiteralValue::Boolean(_) => BOOL,
            LiteralValue::Int(_) => INT,
            LiteralValue::String(_) => STRING,
            LiteralValue::Double(_) => Type::Scalar("double"),
            LiteralValue::Bytes(_) => Type::Scalar("bytes"),
            LiteralValue::Null | LiteralValue::UInt(_) => Type::Unknown,
        }),
        Expr::Select(select) => {
            let operand = type_of(&select.operand, scope)?;
            let field = field_of(operand, &select.field)?;
            Ok(if select.test { BOOL } else { field })
        }
        Expr::Call(call) => type_of_call(call, scope),
        Expr::Comprehension(comprehension) => {
            check_comprehension(comprehension, scope)?;
            Ok(Type::Unknown)
        }
        Expr::List(list) => {
            for element in &list.elements {
                type_of(element, scope)?;
            }
            Ok(Type::Unknown)
        }
        Expr::Struct(value) => Err(format!(
            "undeclared reference to '{}' (in container '')",
            value.type_name
        )),
        Expr::Map(_) | Expr::Unspecified => Ok(Type::Unknown),
    }
}

/// The type of a field of a value.
fn field_of<'a>(operand: Type<'a>, name: &str) -> Result<Type<'a>, String> {
    let undefined = || Err(format!("undefined field '{name}'"));
    match operand {
        Type::Unknown => Ok(Type::Unknown),
        Type::Scalar(scalar) => Err(format!("type '{scalar}' does not support field selection")),
        Type::Metadata if ["name", "generateName"].contains(&name) => Ok(STRING),
        Type::Metadata => undefined(),
        Type::Described { resource: true, .. } if ["apiVersion", "kind"].contains(&name) => {
            Ok(STRING)
        }
        Type::Described { resource: true, .. } if name == "metadata" => Ok(Type::Metadata),
        Type::Described { node, .. } => {
            if let Some(additional) = &node.additional_properties {
                return Ok(additional
                    .values()
                    .map_or(Type::Unknown, |node| described(node, false)));
            }
            match node
                .properties
                .iter()
                .find(|(field, _)| escape(field) == name)
            {
                Some((_, node)) => Ok(described(node, false)),
                None if node.preserve_unknown_fields && node.properties.is_empty() => {
                    Ok(Type::Unknown)
                }
                None => undefined(),
            }
        }
    }
}

fn type_of_call<'a>(call: &CallExpr, scope: &Scope<'a, '_>) -> Result<Type<'a>, String> {
    if let Some(target) = &call.target {
        let namespace = matches!(&target.expr, Expr::Ident(name)
            if scope.find(name).is_none() && NAMESPACES.contains(&name.as_str()));
        if !namespace {
            let target = type_of(target, scope)?;
            check_method(&call.func_name, target)?;
        }
    } else {
        rule_functions::check_exists(&call.func_name)?;
    }
    let arguments = call
        .args
        .iter()
        .map(|argument| type_of(argument, scope))
        .collect::<Result<Vec<_>, _>>()?;
    let name = call.func_name.as_str();
    match (name, arguments.as_slice()) {
        (
            operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS,
            [left, right],
        ) => check_comparable(name, *left, *right).map(|()| BOOL),
        (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, operands) => {
            match operands
                .iter()
                .find_map(|operand| name_of(*operand).filter(|n| *n != "bool"))
            {
                Some(other) => Err(no_overload(name, &[other])),
                None => Ok(BOOL),
            }
        }
        (operators::IN, _) => Ok(BOOL),
        (
            operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::CONDITIONAL,
            [.., Type::Scalar(left), Type::Scalar(right)],
        ) if left == right && !is_moment(left) => Ok(Type::Scalar(left)),
        (
            operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO,
            [Type::Scalar(left), Type::Scalar(right)],
        ) if left != right && !is_moment(left) && !is_moment(right) => {
            Err(no_overload(name, &[left, right]))
        }
        (operators::INDEX, [Type::Described { node, .. }, _]) => Ok(element_of(node)),
        ("size", _) => Ok(INT),
        ("startsWith" | "endsWith" | "contains" | "matches", _) => Ok(BOOL),
        ("string", _) => Ok(STRING),
        _ => Ok(Type::Unknown),
    }
}

/// A method must exist, and the value must have it.
fn check_method(name: &str, target: Type<'_>) -> Result<(), String> {
    rule_functions::check_exists(name)?;
    match name_of(target) {
        Some(known @ ("int" | "double" | "bool")) => Err(no_overload(name, &[known])),
        Some(known) if known != "string" && rule_functions::is_of_text(name) => {
            Err(no_overload(name, &[known]))
        }
        _ => Ok(()),
    }
}

/// The type of items of a list and of values of a map.
fn element_of(node: &Node) -> Type<'_> {
    let element = node.items.as_deref();
    let element = element.or(node
        .additional_properties
        .as_ref()
        .and_then(|map| map.values()));
    element.map_or(Type::Unknown, |node| described(node, false))
}

/// Whether arithmetic on values of this type gives another type.
fn is_moment(name: &str) -> bool {
    matches!(name, "timestamp" | "duration")
}

/// Values of different types can never be equal, which is a mistake.
fn check_comparable(operator: &str, left: Type<'_>, right: Type<'_>) -> Result<(), String> {
    let (Some(left), Some(right)) = (name_of(left), name_of(right)) else {
        return Ok(());
    };
    let numbers = ["int", "double"];
    if left == right || (numbers.contains(&left) && numbers.contains(&right)) {
        return Ok(());
    }
    Err(no_overload(operator, &[left, right]))
}

fn no_overload(operator: &str, operands: &[&str]) -> String {
    format!(
        "found no matching overload for '{operator}' applied to '({})'",
        operands.join(", ")
    )
}

fn check_comprehension(
    comprehension: &ComprehensionExpr,
    scope: &Scope<'_, '_>,
) -> Result<(), String> {
    let element = match type_of(&comprehension.iter_range, scope)? {
        Type::Described { node, .. } if node.value_type == Some(ValueType::Array) => {
            element_of(node)
        }
        Type::Described { node, .. } if node.additional_properties.is_some() => STRING,
        _ => Type::Unknown,
    };
    type_of(&comprehension.accu_init, scope)?;
    let second = comprehension.iter_var2.as_deref();
    // With two variables the first is the position or the key.
    let first = if second.is_some() {
        Type::Unknown
    } else {
        element
    };
    let accumulator = Scope {
        name: &comprehension.accu_var,
        value_type: Type::Unknown,
        outer: Some(scope),
    };
    let behind = Scope {
        name: second.unwrap_or(""),
        value_type: Type::Unknown,
        outer: Some(&accumulator),
    };
    let inner = Scope {
        name: &comprehension.iter_var,
        value_type: first,
        outer: Some(&behind),
    };
    type_of(&comprehension.loop_cond, &inner)?;
    type_of(&comprehension.loop_step, &inner)?;
    type_of(&comprehension.result, &inner)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::expression::Expression;
    use super::*;

    fn verdict(rule: &str) -> Result<(), String> {
        let node = Node::read(&json!({
            "type": "object",
            "properties": {
                "size": {"type": "integer"}, "ratio": {"type": "number"},
                "name": {"type": "string"}, "a-b": {"type": "string"},
                "port": {"x-kubernetes-int-or-string": true},
                "at": {"type": "string", "format": "date-time"},
                "list": {"type": "array", "items": {"type": "object", "properties":
                         {"v": {"type": "integer"}}}},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            },
        }));
        let expression = Expression::parse(rule).unwrap();
        check(expression.tree(), &node, true, false, "bool")
    }

    #[test]
    fn rules_that_make_sense_are_let_through() {
        for rule in [
            "self.size > 1 && self.name.startsWith('x')",
            "self.ratio > 1",
            "has(self.name) ? self.a__dash__b == 'x' : true",
            "self.port == 80 || self.port == 'http'",
            "self.at < timestamp('2030-01-01T00:00:00Z')",
            "self.list.all(item, item.v > 0)",
            "self.list.exists_one(item, item.v == 1)",
            "self.list.map(item, item.v).sum() < 10",
            "self.list[0].v == size(self.list)",
            "self.map.all(key, self.map[key] == 'x')",
            "self.map.x == 'y' && 'a.b/c' in self.map",
            "self.any.whatever.you == 'like'",
            "self.metadata.name == self.name && self.kind == 'Widget'",
            "quantity('1Gi').isGreaterThan(quantity('1Mi'))",
            "sets.contains(['a'], [self.name])",
            "self == oldSelf",
            "type(self.size) == int",
            "self.size + 1 > oldSelf.size * 2",
            "self.name.split(',').size() > 1 && self.list.map(i, i.v).isSorted()",
            "self.at - duration('1h') < timestamp('2030-01-01T00:00:00Z')",
            "[1, 2].all(i, i > 0) && cel.bind(v, self.size, v > 1)",
            "format.dns1123Label().validate(self.name).hasValue()",
            "self.name.matches('^a') && string(self.size).reverse() == '1'",
        ] {
            assert_eq!(verdict(rule), Ok(()), "{rule}");
        }
    }

    #[test]
    fn rules_that_cannot_hold_are_refused() {
        for (rule, reason) in [
            ("self.sise > 1", "undefined field 'sise'"),
            ("has(self.none)", "undefined field 'none'"),
            ("self.list.all(item, item.w > 0)", "undefined field 'w'"),
            ("self.list[0].w == 1", "undefined field 'w'"),
            ("self.metadata.labels.a == 'b'", "undefined field 'labels'"),
            (
                "self.size.x == 1",
                "type 'int' does not support field selection",
            ),
            (
                "other == 1",
                "undeclared reference to 'other' (in container '')",
            ),
            (
                "self.size == 'x'",
                "found no matching overload for '_==_' applied to '(int, string)'",
            ),
            (
                "self.size && true",
                "found no matching overload for '_&&_' applied to '(int)'",
            ),
            (
                "missing(self.size)",
                "undeclared reference to 'missing' (in container '')",
            ),
            (
                "self.name.missing()",
                "undeclared reference to 'missing' (in container '')",
            ),
            (
                "self.size.startsWith('x')",
                "found no matching overload for 'startsWith' applied to '(int)'",
            ),
            (
                "self.list.startsWith('x')",
                "found no matching overload for 'startsWith' applied to '(list)'",
            ),
            (
                "self.name + self.size == 'x'",
                "found no matching overload for '_+_' applied to '(string, int)'",
            ),
            ("self.name", "cel expression must evaluate to a bool"),
            ("size(self.list)", "cel expression must evaluate to a bool"),
        ] {
            assert_eq!(verdict(rule), Err(reason.to_owned()), "{rule}");
        }
    }
}
