//! What evaluating rules costs while it happens, so that no object keeps the server busy.
//!
//! kube-apiserver counts what an expression really costs and stops at a limit. The evaluator does
//! not count, so every loop is given a condition that does: each round costs as many as its
//! expression has parts. What a single function does with a long text is not counted; the
//! estimate for the schema ([`rule_cost`](super::rule_cost)) bounds that.

use std::cell::Cell;

use kube_cel::cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use kube_cel::cel::{Context, ExecutionError};

use super::expression::children;

/// The most that all rules may cost for one object.
const OBJECT_LIMIT: u64 = 10_000_000;
/// The most that one rule may cost for one value.
const CALL_LIMIT: u64 = 1_000_000;
/// The function that counts. No expression can name it.
const CHARGE: &str = "@charge";

thread_local! {
    static SPENT: Cell<u64> = const { Cell::new(0) };
    static LIMIT: Cell<u64> = const { Cell::new(0) };
}

/// What one evaluation cost too much for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    /// One rule.
    Call,
    /// One object.
    Object,
}

/// What is left for the rules of an object.
#[derive(Debug)]
pub(super) struct Budget(u64);

impl Budget {
    /// That of a new object.
    pub(super) fn new() -> Self {
        Self(OBJECT_LIMIT)
    }

    /// Evaluates something that costs `weight` without its loops, and pays for it.
    ///
    /// # Errors
    /// If there is not enough left.
    pub(super) fn pay<T>(
        &mut self,
        weight: u64,
        evaluate: impl FnOnce() -> T,
    ) -> Result<T, Exceeded> {
        let limit = self.0.min(CALL_LIMIT);
        SPENT.set(weight);
        LIMIT.set(limit);
        let result = evaluate();
        let spent = SPENT.get();
        if spent <= limit {
            self.0 -= spent;
            return Ok(result);
        }
        let exceeded = if limit == CALL_LIMIT {
            Exceeded::Call
        } else {
            Exceeded::Object
        };
        self.0 = 0;
        Err(exceeded)
    }
}

/// Adds the function that counts.
pub(super) fn add_function(functions: &mut Context<'_>) {
    functions.add_function(CHARGE, charge);
}

fn charge(weight: i64) -> Result<bool, ExecutionError> {
    let spent = SPENT.get().saturating_add(weight.unsigned_abs());
    SPENT.set(spent);
    if spent <= LIMIT.get() {
        return Ok(true);
    }
    Err(ExecutionError::function_error(
        CHARGE,
        "the budget is spent",
    ))
}

/// Makes each round of a loop count. Returns what the expression costs without its loops.
pub(super) fn meter(tree: &mut IdedExpr) -> u64 {
    let id = tree.id;
    let Expr::Comprehension(looping) = &mut tree.expr else {
        let inner = children(&mut tree.expr).into_iter().map(meter);
        return 1 + inner.sum::<u64>();
    };
    let around =
        meter(&mut looping.iter_range) + meter(&mut looping.accu_init) + meter(&mut looping.result);
    let round = meter(&mut looping.loop_cond) + meter(&mut looping.loop_step);
    let node = |expr| IdedExpr { id, expr };
    let call = |name: &str, args: Vec<IdedExpr>| {
        node(Expr::Call(CallExpr {
            func_name: name.to_owned(),
            target: None,
            args,
        }))
    };
    let weight = i64::try_from(round).unwrap_or(i64::MAX);
    let charge = call(
        CHARGE,
        vec![node(Expr::Literal(LiteralValue::Int(weight.into())))],
    );
    let end = node(Expr::Literal(LiteralValue::Boolean(false.into())));
    let condition = std::mem::take(&mut looping.loop_cond);
    looping.loop_cond = call(operators::CONDITIONAL, vec![charge, condition, end]);
    1 + around
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Schema;

    /// So many lists of at most so many numbers, each of which is compared with each.
    fn schema(lists: usize, length: usize) -> Schema {
        let rule = "self.all(x, self.all(y, x != y || true))";
        let list = json!({
            "type": "array", "maxItems": length, "items": {"type": "integer"},
            "x-kubernetes-validations": [{"rule": rule}],
        });
        let fields: serde_json::Map<String, Value> = (0..lists)
            .map(|index| (format!("l{index:03}"), list.clone()))
            .collect();
        Schema::parse(&json!({"type": "object", "properties": fields})).expect("a schema")
    }

    fn object(lists: usize, length: usize) -> Value {
        let list: Vec<usize> = (0..length).collect();
        let fields: serde_json::Map<String, Value> = (0..lists)
            .map(|index| (format!("l{index:03}"), json!(list)))
            .collect();
        Value::Object(fields)
    }

    fn messages(schema: &Schema, object: &Value) -> Vec<String> {
        let causes = schema.validate(object, None).into_iter();
        causes
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect()
    }

    #[test]
    fn a_rule_that_costs_too_much_is_stopped() {
        let found = messages(&schema(1, 1000), &object(1, 1000));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains(
                "no further validation rules will be run due to call cost exceeds limit for rule"
            ),
            "{found:?}"
        );
    }

    #[test]
    fn rules_that_together_cost_too_much_are_stopped() {
        assert!(messages(&schema(1, 200), &object(1, 200)).is_empty());
        let found = messages(&schema(100, 200), &object(100, 200));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains(
                "validation failed due to running out of cost budget, no further validation rules \
                 will be run"
            ),
            "{found:?}"
        );
    }
}
