//! What a stage may be: one SELECT over one row.
//!
//! A stage is a projection. It cannot drop, multiply or look at other rows, and it gives the same answer whenever it
//! is asked: that is what makes replays safe and lets a program be planned once.

use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
};

use datafusion::{
    common::{
        DFSchema, Result as PlanResult,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::SessionState,
    logical_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, Volatility},
    sql::sqlparser::{
        ast::{self, AccessExpr, SelectItem, SetExpr, Spanned, Statement, Subscript, TableFactor, visit_expressions},
        dialect::GenericDialect,
        parser::{Parser, ParserError},
        tokenizer::Token,
    },
};

use super::meta;
use crate::{
    config::Stage,
    decode::{Field, Fields},
    error::Finding,
};

/// Names that a map selects from, and that stages select from.
pub(super) const MESSAGE: &str = "message";

/// Parses a stage and checks its outer shape: one SELECT from `from`, every column named.
pub(super) fn parse(stage: &Stage, from: &str) -> Result<ast::Select, Finding> {
    let not_sql = |error: ParserError| {
        let text = error.to_string();
        let line = text.rsplit_once("Line: ").and_then(|(_, rest)| rest.split(',').next()?.trim().parse().ok());
        finding(stage, line, not_sql(&text))
    };
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(&stage.sql).map_err(not_sql)?;
    let statements = parser.parse_statements().map_err(not_sql)?;
    // The parser stops at `END`, wherever it stands.
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let what =
            format!("the SQL ends before \"{}\": a name that is a word of SQL wants quotes, \"end\"", next.token);
        return Err(finding(stage, Some(next.span.start.line as usize), what));
    }
    let [Statement::Query(query)] = statements.as_slice() else {
        return Err(finding(stage, None, "a stage is exactly one SELECT".into()));
    };
    let whole = [
        (query.with.is_some(), "WITH"),
        (query.order_by.is_some(), "ORDER BY"),
        (query.limit_clause.is_some() || query.fetch.is_some(), "LIMIT"),
    ];
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Err(finding(stage, None, "a stage is one SELECT; UNION and VALUES are not allowed".into()));
    };
    let parts = [
        (select.distinct.is_some(), "DISTINCT"),
        (select.selection.is_some(), "WHERE"),
        (select.having.is_some(), "HAVING"),
        (select.qualify.is_some(), "QUALIFY"),
        (select.from.iter().any(|from| !from.joins.is_empty()) || select.from.len() > 1, "JOIN"),
        (!matches!(&select.group_by, ast::GroupByExpr::Expressions(by, _) if by.is_empty()), "GROUP BY"),
    ];
    if let Some((_, clause)) = whole.iter().chain(&parts).find(|(there, _)| *there) {
        let instead = match *clause {
            "WHERE" | "HAVING" | "QUALIFY" => "to refuse rows write a quality rule in the contract",
            "JOIN" => "to look something up use code('table', value) or division(name)",
            _ => "a stage sees one row at a time",
        };
        let line = line_of(&stage.sql, clause);
        return Err(finding(stage, line, format!("{clause} is not allowed in a stage: {instead}")));
    }
    let table = select.from.first().map(|from| &from.relation);
    match table {
        // Fields of a message are known by their names in the SQL: `m.id` would be the field `id` of an object `m`.
        Some(TableFactor::Table { name, alias: Some(alias), .. }) if from == MESSAGE && name.to_string() == from => {
            let line = line_of(&stage.sql, "FROM");
            return Err(finding(stage, line, format!("FROM {from} cannot have another name: leave \"{alias}\" out")));
        }
        Some(TableFactor::Table { name, .. }) if name.to_string() == from => {}
        Some(other) => {
            let line = Some(other.span().start.line as usize).filter(|line| *line > 0);
            return Err(finding(stage, line, format!("selects FROM {other}; it must select FROM {from}")));
        }
        None => return Err(finding(stage, None, format!("has no FROM; it must select FROM {from}"))),
    }
    for item in &select.projection {
        let line = Some(item.span().start.line as usize).filter(|line| *line > 0);
        match item {
            SelectItem::ExprWithAlias { .. } => {}
            SelectItem::UnnamedExpr(ast::Expr::Identifier(_)) => {}
            SelectItem::UnnamedExpr(expr) => {
                return Err(finding(stage, line, format!("\"{expr}\" has no name: add AS column_name")));
            }
            other => {
                return Err(finding(stage, line, format!("\"{other}\" is not allowed: name each column")));
            }
        }
    }
    Ok(select.as_ref().clone())
}

/// What the parser says of a text.
pub(super) fn not_sql(said: &str) -> String {
    let said = said.trim_start_matches("SQL error: ParserError(\"").trim_end_matches("\")");
    format!("this is not SQL: {}", said.trim_start_matches("sql parser error: "))
}

/// That a function is not there, and the one that the engine takes for meant if it is like it.
pub(super) fn no_function(said: &str, hint: &str) -> String {
    let quoted = |text: &str| text.split('\'').nth(1).unwrap_or_default().to_owned();
    let (function, meant) = (quoted(said), quoted(hint));
    format!("{}{}", said.trim_end_matches('.'), super::nearest(&function, std::iter::once(meant.as_str())))
}

/// The fields of a message that a mapping uses: every name in it that is not a meta column.
pub(super) fn fields(stage: &Stage, select: &ast::Select) -> Result<Fields, Finding> {
    let mut tree = Tree::default();
    let mut wrong = None;
    // The root of a subscript, `a` in `a['b']`, is visited as an identifier of its own.
    let mut roots = HashSet::new();
    let _ = visit_expressions(&select.projection, |expr| {
        let path: Option<Vec<&str>> = match expr {
            ast::Expr::Identifier(name) if roots.contains(&name.span.start) => None,
            ast::Expr::Identifier(name) => Some(vec![&name.value]),
            ast::Expr::CompoundIdentifier(names) if roots.contains(&names[0].span.start) => None,
            ast::Expr::CompoundIdentifier(names) => {
                let names: Vec<&str> = names.iter().map(|name| name.value.as_str()).collect();
                Some(if names[0] == MESSAGE { names[1..].to_vec() } else { names })
            }
            ast::Expr::CompoundFieldAccess { root, access_chain } => {
                roots.insert(root.span().start);
                subscripts(root, access_chain)
            }
            _ => None,
        };
        match path {
            Some(path) if path.len() == 1 && meta::is_meta(path[0]) => {}
            Some(path) => {
                if let Err(name) = tree.insert(&path) {
                    let line = line_of(&stage.sql, &name);
                    let text = format!("field \"{name}\" is used both as a value and as an object");
                    wrong = Some(finding(stage, line, text));
                }
            }
            None => {}
        }
        ControlFlow::<()>::Continue(())
    });
    match wrong {
        Some(finding) => Err(finding),
        None => Ok(tree.fields()),
    }
}

fn subscripts<'a>(root: &'a ast::Expr, chain: &'a [AccessExpr]) -> Option<Vec<&'a str>> {
    let mut path = match root {
        ast::Expr::Identifier(name) => vec![name.value.as_str()],
        ast::Expr::CompoundIdentifier(names) => names.iter().map(|name| name.value.as_str()).collect(),
        _ => return None,
    };
    for access in chain {
        match access {
            AccessExpr::Dot(ast::Expr::Identifier(name)) => path.push(&name.value),
            AccessExpr::Subscript(Subscript::Index { index: ast::Expr::Value(value) }) => match &value.value {
                ast::Value::SingleQuotedString(name) => path.push(name),
                _ => return None,
            },
            _ => return None,
        }
    }
    Some(path)
}

/// Fields as they are found; the order is that of first use, for the decoder's guess of the next field.
#[derive(Default)]
struct Tree {
    order: Vec<Arc<str>>,
    nodes: BTreeMap<Arc<str>, Option<Tree>>,
}

impl Tree {
    fn insert(&mut self, path: &[&str]) -> Result<(), String> {
        let name: Arc<str> = path[0].into();
        let leaf = path.len() == 1;
        let node = self.nodes.entry(name.clone()).or_insert_with(|| {
            self.order.push(name.clone());
            (!leaf).then(Tree::default)
        });
        match node {
            None if leaf => Ok(()),
            Some(tree) if !leaf => tree.insert(&path[1..]),
            _ => Err(name.to_string()),
        }
    }

    fn fields(mut self) -> Fields {
        let field = |name: Arc<str>| {
            let kind = match self.nodes.remove(&name).flatten() {
                Some(tree) => Field::Struct(tree.fields()),
                None => Field::Text,
            };
            (name, kind)
        };
        Fields(self.order.into_iter().map(field).collect())
    }
}

/// Refuses whatever is not row-local and immutable in a planned stage.
pub(super) fn row_local(stage: &Stage, plan: &LogicalPlan) -> Result<(), Finding> {
    let LogicalPlan::Projection(projection) = plan else {
        let text = "a stage is a projection: aggregates, windows and unnest are not allowed".to_owned();
        return Err(finding(stage, None, text));
    };
    let mut input = projection.input.as_ref();
    loop {
        match input {
            LogicalPlan::SubqueryAlias(alias) => input = &alias.input,
            LogicalPlan::TableScan(_) => break,
            other => {
                let text = format!("a stage is a projection over one table; found {}", other.display());
                return Err(finding(stage, None, text));
            }
        }
    }
    projection.expr.iter().try_for_each(|expr| {
        immutable(expr).map_err(|(name, why)| finding(stage, line_of(&stage.sql, &name), format!("{name}() {why}")))
    })
}

/// The first function in `expr` that does not give the same answer for the same row.
pub(super) fn immutable(expr: &Expr) -> Result<(), (String, &'static str)> {
    let mut wrong = None;
    let _ = expr.apply(|node| {
        wrong = match node {
            Expr::ScalarFunction(call) => match call.func.signature().volatility {
                Volatility::Immutable => None,
                _ => Some((
                    call.func.name().to_owned(),
                    "does not give the same answer on a replay; use the message's own time, _timestamp",
                )),
            },
            Expr::AggregateFunction(call) => Some((call.func.name().to_owned(), "looks at more than one row")),
            Expr::WindowFunction(call) => Some((call.fun.to_string(), "looks at more than one row")),
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) => {
                Some(("subquery".to_owned(), "is not allowed: a stage sees one row at a time"))
            }
            _ => None,
        };
        Ok(if wrong.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    wrong.map_or(Ok(()), Err)
}

/// Plans a condition alone, so that what is wrong with it is told of its rule and not of the last stage.
pub(super) fn plannable(condition: Expr, schema: &DFSchema, known: &SessionState) -> PlanResult<Expr> {
    let table = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::new(schema.clone()) });
    let plan = LogicalPlanBuilder::from(table).project([condition.clone()])?.build()?;
    known.optimize(&plan).map(|_| condition)
}

/// Refuses functions that look at more than one row, before the engine advises a GROUP BY.
pub(super) fn one_row(stage: &Stage, select: &ast::Select, known: &SessionState) -> Result<(), Finding> {
    let found = visit_expressions(&select.projection, |expr| match expr {
        ast::Expr::Function(call) => {
            let name = call.name.to_string().to_lowercase();
            let several =
                known.aggregate_functions().contains_key(&name) || known.window_functions().contains_key(&name);
            if call.over.is_some() || several && !known.scalar_functions().contains_key(&name) {
                ControlFlow::Break((name, call.name.span().start.line as usize))
            } else {
                ControlFlow::Continue(())
            }
        }
        _ => ControlFlow::Continue(()),
    });
    let ControlFlow::Break((name, line)) = found else { return Ok(()) };
    let text = format!("{name}() looks at more than one row: a stage sees one row at a time");
    Err(finding(stage, Some(line).filter(|line| *line > 0), text))
}

/// A finding in a stage's file.
pub(super) fn finding(stage: &Stage, line: Option<usize>, what: String) -> Finding {
    let path = stage.path.display();
    Finding::new(line.map_or(path.to_string(), |line| format!("{path}:{line}")), what)
}

/// The first line that holds `word`, ignoring case.
pub(super) fn line_of(sql: &str, word: &str) -> Option<usize> {
    let word = word.to_lowercase();
    sql.lines().position(|line| line.split("--").next().unwrap_or("").to_lowercase().contains(&word)).map(|at| at + 1)
}

/// The line that holds `word`, of those from `first` to `last`.
pub(super) fn line_of_within(sql: &str, word: &str, first: usize, last: usize) -> Option<usize> {
    let lines = sql.lines().enumerate().map(|(at, line)| (at + 1, line));
    let mut within = lines.skip_while(|(at, _)| *at < first).take_while(|(at, _)| *at <= last);
    within.find(|(_, line)| line.contains(word)).map(|(at, _)| at)
}

/// The line in which a column of a stage's SELECT begins.
pub(super) fn line_of_column(sql: &str, column: &str) -> Option<usize> {
    let statements = Parser::parse_sql(&GenericDialect {}, sql).ok()?;
    let [Statement::Query(query)] = statements.as_slice() else { return None };
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let named = |item: &&SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.value == column,
        SelectItem::UnnamedExpr(expr) => expr.to_string() == column,
        _ => false,
    };
    select.projection.iter().find(named).map(|item| item.span().start.line as usize).filter(|line| *line > 0)
}
