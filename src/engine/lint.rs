//! What a stage may be: one SELECT over one row.
//!
//! A stage is a projection. It cannot drop, multiply or look at other rows, and it gives the same answer whenever it
//! is asked: that is what makes replays safe and lets a program be planned once.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use datafusion::{
    common::{
        DFSchema, Result as PlanResult,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::SessionState,
    logical_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, Volatility},
    sql::sqlparser::{
        ast::{
            self, ArrayElemTypeDef, Distinct, GroupByExpr, LimitClause, SelectItem, SetExpr, Spanned, Statement,
            TableFactor, Visit, Visitor, visit_expressions,
        },
        dialect::GenericDialect,
        parser::{Parser, ParserError},
        tokenizer::{Span, Token, Tokenizer},
    },
};

use super::{
    case,
    chain::{TOO_DEEP, deepest, endless, first_line, last_line, multiplies},
    meta, words,
};
use crate::{config::Stage, error::Finding};

/// Names that a map selects from, and that stages select from.
pub(super) const MESSAGE: &str = "message";

/// What is wrong with a stage, and its line.
pub(super) type Mistake = (Option<usize>, String);

/// A stage's SELECT.
pub(super) struct Parsed {
    pub select: ast::Select,
    /// Its columns but those that something is wrong with: what can be planned for its own mistakes.
    pub sound: Vec<SelectItem>,
    pub wrong: Vec<Mistake>,
}

/// Parses a stage: one SELECT from `from`, every column named and computed from one row, and nothing else.
pub(super) fn parse(stage: &Stage, from: &str, known: &SessionState) -> Result<Parsed, Mistake> {
    let query = parse_query(&stage.sql)?;
    let SetExpr::Select(select) = *query.body.clone() else {
        let word = match query.body.as_ref() {
            SetExpr::SetOperation { op, .. } => op.to_string(),
            _ => String::new(),
        };
        let line = line_of_word(&stage.sql, &word).or_else(|| line(query.span()));
        return Err((line, "a stage is one SELECT; UNION, VALUES and brackets around it are not allowed".into()));
    };
    let mut wrong = clauses(&stage.sql, &query, &select);
    let mut sound = Vec::new();
    let mut first = BTreeMap::new();
    let bare = words::names_without_as(&stage.sql, &select);
    for item in &select.projection {
        let mut found = of_column(item, known);
        if let SelectItem::ExprWithAlias { alias, .. } = item
            && bare.contains(&alias.span.start)
        {
            let text = format!("before \"{}\" a comma is missing, or AS if it is the column's name", alias.value);
            found.push((line(alias.span), text));
        }
        if let Some(name) = name_of(item)
            && let Some(line) = first.insert(name, line(item.span()).unwrap_or_default())
        {
            found.push((self::line(item.span()), format!("column \"{name}\" is there already, in line {line}")));
        }
        if found.is_empty() {
            sound.push(item.clone());
        }
        wrong.extend(found);
    }
    let table = of_table(&select, from);
    // Which columns there are is not known then.
    if table.is_some() || select.from.len() > 1 || !select.from[0].joins.is_empty() {
        sound.clear();
    }
    wrong.extend(table);
    if wrong.is_empty()
        && let Some(more) = remainder(&stage.sql, &query, &select)
    {
        sound.clear();
        wrong.push(more);
    }
    Ok(Parsed { select: *select, sound, wrong })
}

fn parse_query(sql: &str) -> Result<ast::Query, Mistake> {
    let not_sql = |error: ParserError| {
        let error = case::inside(sql, &error.to_string()).unwrap_or(error);
        if let Some((line, word)) = words::taken_for_sql(sql) {
            return (Some(line), words::wants_quotes(&word));
        }
        let text = error.to_string();
        let line = text.rsplit_once("Line: ").and_then(|(_, rest)| rest.split(',').next()?.trim().parse().ok());
        let line = line.or_else(|| if text.contains("recursion limit") { deepest(sql) } else { last_line(sql) });
        (line, words::not_sql(&text))
    };
    if let Some(endless) = endless(sql) {
        return Err(endless);
    }
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql).map_err(not_sql)?;
    let mut statements = parser.parse_statements().map_err(not_sql)?.into_iter();
    // The parser stops at `END`, wherever it stands.
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let what =
            format!("the SQL ends before \"{}\": a name that is a word of SQL wants quotes, \"end\"", next.token);
        return Err((line(next.span), what));
    }
    let (first, second) = (statements.next(), statements.next());
    let (other, why) = match (first, second) {
        (Some(Statement::Query(query)), None) => return Ok(*query),
        (Some(Statement::Query(_)), Some(other)) => (other, "is one too many"),
        (Some(other), _) => (other, "is none"),
        (None, _) => return Err((None, "a stage is exactly one SELECT".into())),
    };
    let text = other.to_string();
    let short: String = text.chars().take(40).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    let line = line(other.span()).or_else(|| (why == "is none").then(|| first_line(sql))?);
    Err((line, format!("a stage is exactly one SELECT: \"{short}{more}\" {why}")))
}

/// The clauses that a stage cannot have.
fn clauses(sql: &str, query: &ast::Query, select: &ast::Select) -> Vec<Mistake> {
    let offset_alone = matches!(&query.limit_clause, Some(LimitClause::LimitOffset { limit: None, .. }));
    let all = [
        (query.with.is_some(), "WITH"),
        (matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_))), "DISTINCT"),
        (select.from.iter().any(|from| !from.joins.is_empty()) || select.from.len() > 1, "JOIN"),
        (select.selection.is_some(), "WHERE"),
        (
            !matches!(&select.group_by, GroupByExpr::Expressions(by, more) if by.is_empty() && more.is_empty()),
            "GROUP BY",
        ),
        (select.having.is_some(), "HAVING"),
        (select.qualify.is_some(), "QUALIFY"),
        (query.order_by.is_some(), "ORDER BY"),
        (query.limit_clause.is_some(), if offset_alone { "OFFSET" } else { "LIMIT" }),
        (query.fetch.is_some(), "FETCH"),
    ];
    let tell = |(_, clause): (bool, &str)| {
        let instead = match clause {
            "WHERE" | "HAVING" | "QUALIFY" => "to refuse rows write a quality rule in the contract",
            "JOIN" => "to look something up use code('table', value) or division(name)",
            _ => "a stage sees one row at a time",
        };
        // A JOIN may be written as a comma.
        let line = line_of_word(sql, clause).or_else(|| line(select.from.last()?.span()));
        (line, format!("{clause} is not allowed in a stage: {instead}"))
    };
    all.into_iter().filter(|(there, _)| *there).map(tell).collect()
}

/// What is wrong with the table it selects from.
fn of_table(select: &ast::Select, from: &str) -> Option<Mistake> {
    match select.from.first().map(|from| &from.relation) {
        // Fields of a message are known by their names in the SQL: `m.id` would be the field `id` of an object `m`.
        Some(table @ TableFactor::Table { name, alias: Some(alias), .. })
            if from == MESSAGE && name.to_string() == from =>
        {
            let alias = &alias.name;
            Some((line(table.span()), format!("FROM {from} cannot have another name: leave \"{alias}\" out")))
        }
        Some(TableFactor::Table { name, .. }) if name.to_string() == from => None,
        Some(other) => Some((line(other.span()), format!("selects FROM {other}; it must select FROM {from}"))),
        None => Some((line(select.span()), format!("has no FROM; it must select FROM {from}"))),
    }
}

/// Everything beside columns, table and the clauses that have words of their own: the engine passes over some of it.
fn remainder(sql: &str, query: &ast::Query, select: &ast::Select) -> Option<Mistake> {
    let columns = select.projection.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if columns.is_empty() {
        return Some((line(select.span()), "has no columns: name each".into()));
    }
    let from = match select.from.first().map(|from| &from.relation) {
        Some(TableFactor::Table { name, alias: Some(alias), .. }) => {
            format!(" FROM {name} {}{}", if alias.explicit { "AS " } else { "" }, alias.name)
        }
        Some(TableFactor::Table { name, .. }) => format!(" FROM {name}"),
        _ => String::new(),
    };
    let text = query.to_string();
    if text == format!("SELECT {columns}{from}") {
        return None;
    }
    let rest = match text.strip_prefix(&format!("SELECT {columns}")) {
        Some(tail) => tail.replacen(&from, "", 1),
        None => text.trim_start_matches("SELECT ").split(&format!("{columns}{from}")).next()?.to_owned(),
    };
    let rest = rest.trim();
    let line = line_of_word(sql, rest.split(' ').next()?).or_else(|| line(select.span()));
    Some((line, format!("\"{rest}\" is not allowed: a stage is SELECT, its columns, and FROM")))
}

/// What is wrong with a column before anything is known of the table.
fn of_column(item: &SelectItem, known: &SessionState) -> Vec<Mistake> {
    use ast::Expr::Identifier;
    let mut calls = Calls { known, depth: 0, wrong: Vec::new() };
    let _ = item.visit(&mut calls);
    if multiplies(item) {
        calls.wrong.push((line(item.span()), TOO_DEEP.to_owned()));
    }
    let text = match item {
        SelectItem::ExprWithAlias { expr, alias }
            if meta::is_meta(&alias.value) && *expr != Identifier(alias.clone()) =>
        {
            Some(format!("every stage has a column \"{}\" of its own: give this one another name", alias.value))
        }
        SelectItem::ExprWithAlias { .. } | SelectItem::UnnamedExpr(Identifier(_)) => None,
        SelectItem::UnnamedExpr(expr) => Some(format!("\"{expr}\" has no name: add AS column_name")),
        other => Some(format!("\"{other}\" is not allowed: name each column")),
    };
    calls.wrong.extend(text.map(|text| (line(item.span()), text)));
    calls.wrong
}

/// Calls and queries in an expression that look at more than the row; before the engine advises a GROUP BY.
struct Calls<'a> {
    known: &'a SessionState,
    /// Queries around what is visited.
    depth: usize,
    wrong: Vec<Mistake>,
}

impl Visitor for Calls<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        if self.depth == 0 {
            let text = "a subquery is not allowed: a stage sees one row at a time".to_owned();
            self.wrong.push((line(query.span()), text));
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        if let Some(what) = text_length(expr) {
            self.wrong.push((line(expr.span()), what));
        }
        if let Some(what) = words::misnamed(expr) {
            self.wrong.push((line(expr.span()), what));
            return ControlFlow::Break(()); // the engine would say more of it, in other words
        }
        let ast::Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let (name, known) = (call.name.to_string().to_lowercase(), self.known);
        let several = known.aggregate_functions().contains_key(&name) || known.window_functions().contains_key(&name);
        let why = match known.scalar_functions().get(&name) {
            _ if call.over.is_some() => "looks at more than one row: a stage sees one row at a time",
            Some(scalar) if scalar.signature().volatility != Volatility::Immutable => CHANGES,
            Some(scalar) if SERIES.contains(&scalar.name()) => AS_MANY,
            Some(_) => return ControlFlow::Continue(()),
            None if several => "looks at more than one row: a stage sees one row at a time",
            None if name == "unnest" => "makes several rows of one: a stage has a row for each",
            None => return ControlFlow::Continue(()),
        };
        self.wrong.push((line(call.name.span()), format!("{name}() {why}")));
        ControlFlow::Continue(())
    }
}

/// Lists that are as long as a number of the message says.
const SERIES: [&str; 2] = ["range", "generate_series"];
const AS_MANY: &str = "makes as many elements as its numbers or times say: write them out";

/// The engine would take the type and pass over its length.
fn text_length(expr: &ast::Expr) -> Option<String> {
    use ast::DataType::{Char, String as Text, Varchar};
    let ast::Expr::Cast { data_type, .. } = expr else { return None };
    let mut kind = data_type;
    while let ast::DataType::Array(ArrayElemTypeDef::AngleBracket(of) | ArrayElemTypeDef::SquareBracket(of, _)) = kind {
        kind = of;
    }
    let (name, length) = match kind {
        Char(Some(length)) => ("CHAR", length.to_string()),
        Varchar(Some(length)) => ("VARCHAR", length.to_string()),
        Text(Some(length)) => ("STRING", length.to_string()),
        _ => return None,
    };
    Some(format!("{name}({length}) does not cut a text: use left(…, {length}), or the type VARCHAR"))
}

/// The same for a condition; what is wrong with it otherwise is not told here.
pub(super) fn text_lengths(condition: &str) -> Vec<String> {
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(condition).and_then(|mut parser| parser.parse_expr());
    let mut wrong = Vec::new();
    let _ = visit_expressions(&parsed.clone().ok(), |expr| {
        wrong.extend(text_length(expr));
        ControlFlow::<()>::Continue(())
    });
    wrong.extend(parsed.is_ok_and(|expr| multiplies(&expr)).then(|| TOO_DEEP.to_owned()));
    wrong
}

const CHANGES: &str =
    "does not give the same answer on a replay; use what is the message's own, _timestamp, _partition, _offset";

/// Refuses whatever is not row-local and immutable in a planned stage: what its text did not show.
pub(super) fn row_local(plan: &LogicalPlan) -> Vec<Mistake> {
    let LogicalPlan::Projection(projection) = plan else {
        return vec![(None, "a stage is a projection: aggregates, windows and unnest are not allowed".to_owned())];
    };
    let mut input = projection.input.as_ref();
    loop {
        match input {
            LogicalPlan::SubqueryAlias(alias) => input = &alias.input,
            LogicalPlan::TableScan(_) => break,
            other => return vec![(None, format!("a stage is a projection over one table; found {}", other.display()))],
        }
    }
    projection.expr.iter().flat_map(immutable).map(|text| (None, text)).collect()
}

/// What in `expr` does not give the same answer for the same row.
pub(super) fn immutable(expr: &Expr) -> Vec<String> {
    let mut wrong = Vec::new();
    let _ = expr.apply(|node| {
        let (name, why) = match node {
            Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                (format!("{}()", call.func.name()), CHANGES)
            }
            Expr::ScalarFunction(call) if SERIES.contains(&call.func.name()) => {
                (format!("{}()", call.func.name()), AS_MANY)
            }
            Expr::AggregateFunction(call) => (format!("{}()", call.func.name()), "looks at more than one row"),
            Expr::WindowFunction(call) => (format!("{}()", call.fun), "looks at more than one row"),
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) => {
                ("a subquery".to_owned(), "is not allowed: only the row is there")
            }
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        wrong.push(format!("{name} {why}"));
        Ok(TreeNodeRecursion::Jump)
    });
    wrong
}

/// Plans a condition alone, so that what is wrong with it is told of its rule and not of the last stage.
pub(super) fn plannable(condition: Expr, schema: &DFSchema, known: &SessionState) -> PlanResult<Expr> {
    let table = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::new(schema.clone()) });
    let plan = LogicalPlanBuilder::from(table).project([condition.clone()])?.build()?;
    known.optimize(&plan).map(|_| condition)
}

/// What is wrong with a stage, in the order of its lines, each once.
pub(super) fn tell(stage: &Stage, mut wrong: Vec<Mistake>) -> Vec<Finding> {
    wrong.sort_by_key(|(line, _)| *line);
    wrong.dedup();
    wrong.into_iter().map(|(line, what)| finding(stage, line, what)).collect()
}

/// The line where something begins.
pub(super) fn line(span: Span) -> Option<usize> {
    Some(span.start.line as usize).filter(|line| *line > 0)
}

/// The line of a clause by its first word, which is no name there and in no brackets.
fn line_of_word(sql: &str, clause: &str) -> Option<usize> {
    let wanted = clause.split(' ').next()?;
    let mut depth = 0;
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
    tokens.iter().find_map(|token| {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::Word(word)
                if depth == 0 && word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted) =>
            {
                return line(token.span);
            }
            _ => {}
        }
        None
    })
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
    let query = parse_query(sql).ok()?;
    line(query.body.as_select()?.projection.iter().find(|item| name_of(item) == Some(column))?.span())
}

/// Whether a column of a stage's SELECT is what one of these functions gives.
pub(super) fn is_call_of(sql: &str, column: &str, functions: &[&str]) -> bool {
    let called = |query: ast::Query| {
        let item = query.body.as_select()?.projection.iter().find(|item| name_of(item) == Some(column))?;
        let SelectItem::ExprWithAlias { expr: ast::Expr::Function(call), .. } = item else { return None };
        Some(call.name.to_string())
    };
    let called = parse_query(sql).ok().and_then(called);
    called.is_some_and(|name| functions.iter().any(|function| name.eq_ignore_ascii_case(function)))
}

/// The name that is written behind AS.
pub(super) fn alias_of(item: &SelectItem) -> Option<&str> {
    if let SelectItem::ExprWithAlias { alias, .. } = item { Some(&alias.value) } else { None }
}

fn name_of(item: &SelectItem) -> Option<&str> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(&alias.value),
        SelectItem::UnnamedExpr(ast::Expr::Identifier(name)) => Some(&name.value),
        _ => None,
    }
}

/// The line in which a stage's SELECT begins.
pub(super) fn line_of_select(sql: &str) -> Option<usize> {
    line(parse_query(sql).ok()?.body.as_select()?.span())
}
