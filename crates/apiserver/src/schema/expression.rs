//! Expressions in CEL: parsed with the syntax and macros that rules of Kubernetes may use.

use std::collections::BTreeSet;

use kube_cel::cel::common::ast::{
    ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators,
};
use kube_cel::cel::parser::Parser;
use kube_cel::cel::{Context, ResolveResult};

use super::rule_budget;

/// How many characters an expression may have. kube-apiserver takes 100,000.
const MAX_LENGTH: usize = 20_000;
/// How deep an expression may be, in kube-apiserver too.
const MAX_DEPTH: usize = 250;
/// The stack that the parser takes for brackets in brackets, of which each costs more than ten
/// calls. It is only reserved; what is not touched costs nothing.
const PARSER_STACK: usize = 128 * 1024 * 1024;
/// The stack that it takes for each character of a chain, such as `1+1+1`, at most.
const PARSER_STACK_FOR_CHARACTER: usize = 16 * 1024;
/// Up to this depth, any thread's stack is enough to go through an expression.
const SHALLOW: usize = 16;
/// The stack that going through an expression takes for each level of it, at most.
const STACK_FOR_LEVEL: usize = 64 * 1024;

/// The variable of a comprehension that iterates over nothing.
const UNUSED: &str = "#unused";

/// A parsed expression.
#[derive(Debug)]
pub(super) struct Expression {
    tree: IdedExpr,
    /// The same, with loops that count their rounds.
    metered: IdedExpr,
    weight: u64,
    depth: usize,
}

impl Expression {
    /// Parses an expression, with optional fields (`self.?field`) and `cel.bind`, which the
    /// parser does not know by itself.
    ///
    /// # Errors
    /// What is wrong with the syntax, with the place; or that it is too long or too deep.
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        let length = source.chars().count();
        if length > MAX_LENGTH {
            return Err(format!(
                "expression code point size exceeds limit: size: {length}, limit {MAX_LENGTH}"
            ));
        }
        // The parser's own limit panics where it is exceeded by conditions (cel 0.13).
        if nesting(source) > MAX_DEPTH {
            return Err(too_deep());
        }
        let stack = PARSER_STACK + length * PARSER_STACK_FOR_CHARACTER;
        stacker::grow(stack, || Self::parse_recursively(source))
    }

    fn parse_recursively(source: &str) -> Result<Self, String> {
        let mut tree = Parser::default()
            .max_recursion_depth(u16::MAX)
            .enable_optional_syntax(true)
            .parse(source)
            .map_err(|error| error.to_string())?;
        let depth = depth(&mut tree);
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        expand_bindings(&mut tree);
        select_by_index(&mut tree);
        let mut metered = tree.clone();
        let weight = rule_budget::meter(&mut metered);
        Ok(Self {
            tree,
            metered,
            weight,
            depth,
        })
    }

    /// Does what goes through the expression recursively, with as much stack as that takes.
    pub(super) fn with_stack<R>(&self, work: impl FnOnce() -> R) -> R {
        if self.depth <= SHALLOW {
            return work();
        }
        stacker::grow(self.depth * STACK_FOR_LEVEL, work)
    }

    /// Evaluates the expression with the variables and functions of `context`.
    pub(super) fn evaluate(&self, context: &Context<'_>) -> ResolveResult {
        self.with_stack(|| context.resolve(&self.metered))
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

fn too_deep() -> String {
    format!("expression recursion limit exceeded: {MAX_DEPTH}")
}

/// How often the parser calls itself at most: for brackets in brackets, and for conditions, each
/// of which may stand in the one before. Those in texts count as well.
fn nesting(source: &str) -> usize {
    let (mut open, mut deepest, mut conditions) = (0_usize, 0, 0);
    let mut before = ' ';
    for character in source.chars() {
        match character {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            // Not `.?` and `[?`, which are optional fields.
            '?' if !matches!(before, '.' | '[') => conditions += 1,
            _ => {}
        }
        deepest = deepest.max(open);
        before = character;
    }
    deepest + conditions
}

/// How many levels a tree has.
fn depth(tree: &mut IdedExpr) -> usize {
    let below = children(&mut tree.expr).into_iter().map(depth);
    1 + below.max().unwrap_or_default()
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

    /// Parses and evaluates with less stack than any thread of a server has.
    fn holds(source: String) -> Result<bool, String> {
        let evaluated = move || {
            let expression = Expression::parse(&source)?;
            let value = expression.evaluate(&Context::default());
            Ok(value == Ok(true.into()))
        };
        let thread = std::thread::Builder::new().stack_size(1024 * 1024);
        thread.spawn(evaluated).unwrap().join().unwrap()
    }

    #[test]
    fn no_expression_is_too_deep_for_the_stack() {
        let nested = |open: &str, inner: &str, close: &str, count: usize| {
            format!("{}{inner}{}", open.repeat(count), close.repeat(count))
        };
        type Form = fn(&dyn Fn(&str, &str, &str, usize) -> String, usize) -> String;
        let forms: [Form; 9] = [
            |nested, count| nested("(", "true", ")", count),
            |nested, count| nested("[", "1", "]", count) + " != []",
            |nested, count| nested("{1: ", "1", "}", count) + " != {}",
            |nested, count| nested("size([", "", "])", count) + " == 0",
            |nested, count| nested("[1].all(x, ", "true", ")", count),
            |nested, count| nested("", "true", "? true: true", count),
            |nested, count| nested("", "1", "+1", count) + " > 0",
            |nested, count| nested("", "a", ".a", count) + " == 1",
            |nested, count| nested("!", "true", "", count) + " || true",
        ];
        for form in forms {
            for count in [40, 240, 260, 2000] {
                let source = form(&nested, count);
                let start: String = source.chars().take(20).collect();
                let result = holds(source);
                let may_be_refused = count > 60;
                assert!(
                    result.is_ok() || may_be_refused,
                    "{count} {start}: {result:?}"
                );
            }
        }
        assert_eq!(holds("(".repeat(200) + "true" + &")".repeat(200)), Ok(true));
        let longest = "true".to_owned() + &" && true".repeat(2400);
        assert_eq!(holds(longest.clone()), Ok(true));
        assert!(holds(longest + &" ".repeat(MAX_LENGTH)).is_err());
    }

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
