//! Expressions in CEL: parsed with the syntax and macros that rules of Kubernetes may use.

use kube_cel::cel::common::ast::{
    ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators,
};
use kube_cel::cel::parser::Parser;
use kube_cel::cel::{Context, ResolveResult};

/// The variable of a comprehension that iterates over nothing.
const UNUSED: &str = "#unused";

/// A parsed expression.
#[derive(Debug)]
pub(super) struct Expression(IdedExpr);

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
        Ok(Self(tree))
    }

    /// Evaluates the expression with the variables and functions of `context`.
    pub(super) fn evaluate(&self, context: &Context<'_>) -> ResolveResult {
        context.resolve(&self.0)
    }

    /// Whether the expression uses the variable `name`.
    pub(super) fn uses(&self, name: &str) -> bool {
        self.0.references().has_variable(name)
    }

    /// The syntax tree.
    pub(super) fn tree(&self) -> &IdedExpr {
        &self.0
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
fn children(expr: &mut Expr) -> Vec<&mut IdedExpr> {
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
