//! Expressions in CEL: parsed with the syntax and macros that rules of Kubernetes may use.

use std::collections::BTreeSet;

use kube_cel::cel::common::ast::{
    ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators,
};
use kube_cel::cel::parser::Parser;
use kube_cel::cel::{Context, ResolveResult};

use super::rule_budget;

/// The variable of a comprehension that iterates over nothing.
const UNUSED: &str = "#unused";

/// A parsed expression.
#[derive(Debug)]
pub(super) struct Expression {
    tree: IdedExpr,
    /// The same, with loops that count their rounds.
    metered: IdedExpr,
    weight: u64,
}

impl Expression {
    /// Parses an expression, with optional fields (`self.?field`) and `cel.bind`, which the
    /// parser does not know by itself.
    ///
    /// # Errors
    /// What is wrong with the syntax, with the place.
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        let mut tree = Parser::default()
            .enable_optional_syntax(true)
            .parse(source)
            .map_err(|error| error.to_string())?;
        expand_bindings(&mut tree);
        select_by_index(&mut tree);
        let mut metered = tree.clone();
        let weight = rule_budget::meter(&mut metered);
        Ok(Self {
            tree,
            metered,
            weight,
        })
    }

    /// Evaluates the expression with the variables and functions of `context`.
    pub(super) fn evaluate(&self, context: &Context<'_>) -> ResolveResult {
        context.resolve(&self.metered)
    }

    /// What evaluating it costs without its loops.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    /// Whether the expression uses the variable `name`.
    pub(super) fn uses(&self, name: &str) -> bool {
        self.tree.references().has_variable(name)
    }

    /// The fields of the variable `name` that the expression looks at; nothing if it looks
    /// at the variable as a whole.
    pub(super) fn fields_of(&self, name: &str) -> Option<BTreeSet<String>> {
        let mut fields = BTreeSet::new();
        collect_fields(&self.tree, name, &mut fields).then_some(fields)
    }

    /// The syntax tree.
    pub(super) fn tree(&self) -> &IdedExpr {
        &self.tree
    }
}

/// Collects the fields of a variable; says whether they are all that is looked at.
fn collect_fields(tree: &IdedExpr, name: &str, fields: &mut BTreeSet<String>) -> bool {
    let is_variable = |tree: &IdedExpr| matches!(&tree.expr, Expr::Ident(found) if found == name);
    match &tree.expr {
        Expr::Ident(found) => found != name,
        Expr::Select(select) if is_variable(&select.operand) => {
            fields.insert(select.field.clone());
            true
        }
        Expr::Unspecified | Expr::Literal(_) => true,
        Expr::Select(select) => collect_fields(&select.operand, name, fields),
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .all(|child| collect_fields(child, name, fields)),
        Expr::Comprehension(inner) => [
            &inner.iter_range,
            &inner.accu_init,
            &inner.loop_cond,
            &inner.loop_step,
            &inner.result,
        ]
        .into_iter()
        .all(|child| collect_fields(child, name, fields)),
        Expr::List(list) => list
            .elements
            .iter()
            .all(|child| collect_fields(child, name, fields)),
        Expr::Map(_) | Expr::Struct(_) => false,
    }
}

/// Turns `value.?field` into `value[?'field']`, which gives nothing where there is no such
/// field; the evaluator fails on the former (cel 0.13).
fn select_by_index(tree: &mut IdedExpr) {
    for child in children(&mut tree.expr) {
        select_by_index(child);
    }
    if let Expr::Call(call) = &mut tree.expr
        && call.func_name == operators::OPT_SELECT
    {
        call.func_name = operators::OPT_INDEX.to_owned();
    }
}

/// Turns `cel.bind(name, value, body)` into what evaluates `body` with that variable: a
/// comprehension over nothing, as cel-go does.
fn expand_bindings(tree: &mut IdedExpr) {
    for child in children(&mut tree.expr) {
        expand_bindings(child);
    }
    let Expr::Call(call) = &mut tree.expr else {
        return;
    };
    let on_cel = call
        .target
        .as_ref()
        .is_some_and(|target| matches!(&target.expr, Expr::Ident(name) if name == "cel"));
    if call.func_name != "bind" || !on_cel {
        return;
    }
    let [variable, value, body] = call.args.as_mut_slice() else {
        return;
    };
    let Expr::Ident(name) = &variable.expr else {
        return;
    };
    let id = tree.id;
    let node = |expr| IdedExpr { id, expr };
    tree.expr = Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: node(Expr::List(ListExpr::new(Vec::new()))),
        iter_var: UNUSED.to_owned(),
        iter_var2: None,
        accu_var: name.clone(),
        accu_init: std::mem::take(value),
        loop_cond: node(Expr::Literal(LiteralValue::Boolean(false.into()))),
        loop_step: node(Expr::Ident(name.clone())),
        result: std::mem::take(body),
    }));
}

/// The expressions directly under another.
pub(super) fn children(expr: &mut Expr) -> Vec<&mut IdedExpr> {
    match expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call
            .target
            .as_deref_mut()
            .into_iter()
            .chain(&mut call.args)
            .collect(),
        Expr::Comprehension(inner) => vec![
            &mut inner.iter_range,
            &mut inner.accu_init,
            &mut inner.loop_cond,
            &mut inner.loop_step,
            &mut inner.result,
        ],
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Select(select) => vec![&mut select.operand],
        Expr::Map(map) => map
            .entries
            .iter_mut()
            .flat_map(|e| values(&mut e.expr))
            .collect(),
        Expr::Struct(value) => value
            .entries
            .iter_mut()
            .flat_map(|entry| values(&mut entry.expr))
            .collect(),
    }
}

/// The expressions of an entry of a map or object.
fn values(entry: &mut EntryExpr) -> Vec<&mut IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&mut field.value],
        EntryExpr::MapEntry(entry) => vec![&mut entry.key, &mut entry.value],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_that_are_looked_at_are_known() {
        for (source, fields) in [
            ("self.min <= self.max", Some(vec!["max", "min"])),
            ("has(self.a) || size(self.b.c) > 0", Some(vec!["a", "b"])),
            ("self.l.all(item, item.v == self.v)", Some(vec!["l", "v"])),
            ("oldSelf.x == 1", Some(vec![])),
            ("self == oldSelf", None),
            ("self['a'] == 1", None),
            ("size(self) > 1 && self.a == 1", None),
            ("self.?a.hasValue()", None),
        ] {
            let found = Expression::parse(source).unwrap().fields_of("self");
            let found = found
                .as_ref()
                .map(|fields| fields.iter().map(String::as_str).collect());
            assert_eq!(found, fields, "{source}");
        }
    }
}
