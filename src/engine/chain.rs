//! How long and how deep an expression is, by its tokens: before anything goes as deep as there are operators.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{Expr, Visit, Visitor},
    dialect::GenericDialect,
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

use super::lint::{Mistake, line};

/// Operators in a row that an expression may have: the engine goes as deep as there are, and falls off its stack.
const LONGEST: usize = 500;
const TOO_LONG: &str = "more than 500 operators in a row: write IN (…), or compute a part in the stage before";

/// Brackets in brackets, and subscripts in a row: some of what is in more the parser reads again and again, and each level
/// of what is in less is planned in no time. A message is 64 deep at most.
const DEEPEST: usize = 40;
const SUBSCRIPTS: usize = 64;
pub(super) const TOO_DEEP: &str = "this is nested too deep: compute a part in the stage before";

/// Operators that are words. What the parser guards itself, as `NOT`, is none of them.
const OPERATORS: &[Keyword] = &[
    Keyword::AND,
    Keyword::OR,
    Keyword::XOR,
    Keyword::DIV,
    Keyword::IS,
    Keyword::IN,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::SIMILAR,
    Keyword::RLIKE,
    Keyword::REGEXP,
    Keyword::AT,
    Keyword::COLLATE,
    Keyword::OVERLAPS,
    Keyword::OPERATOR,
    Keyword::MEMBER,
    Keyword::INTERVAL,
    Keyword::UNION,
    Keyword::EXCEPT,
    Keyword::INTERSECT,
];

fn tokens(sql: &str) -> Option<Vec<TokenWithSpan>> {
    Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()
}

/// That an expression has too many operators in a row, those in its brackets included, or a CASE without an end, which
/// the parser would look for again and again.
pub(super) fn endless(sql: &str) -> Option<Mistake> {
    use Token::*;
    // By bracket and CASE that is open, with the place of the CASE; and the subscripts there, in a row.
    let mut rows = vec![(0, None)];
    let mut subscripts = vec![0];
    let mut too_deep = None;
    // What follows is a name, whatever the word.
    let mut named = false;
    for token in tokens(sql)? {
        let (row, case) = rows.last_mut()?;
        let (in_case, is_part) = (case.is_some(), named);
        match &token.token {
            Word(_) if named => {}
            Word(word) => match word.keyword {
                Keyword::CASE => rows.push((0, Some(token.span))),
                // Also a field's name, which the parser refuses elsewhere.
                Keyword::END if in_case => close(&mut rows),
                Keyword::WHEN | Keyword::THEN | Keyword::ELSE => *row = 0,
                keyword if OPERATORS.contains(&keyword) => *row += 1,
                _ => {}
            },
            LParen | LBracket => rows.push((0, None)),
            RParen | RBracket => close(&mut rows),
            Comma => *row = 0,
            Number(..) | SingleQuotedString(_) | Whitespace(_) | Period => {}
            _ => *row += 1,
        }
        named = match &token.token {
            Whitespace(_) => named,
            Word(word) => word.keyword == Keyword::AS,
            other => *other == Period,
        };
        subscripts.resize(rows.len(), 0);
        match token.token {
            RBracket => *subscripts.last_mut()? += 1,
            LBracket | Period | Whitespace(_) => {}
            Word(_) if is_part => {}
            _ => *subscripts.last_mut()? = 0,
        }
        if rows.len() > DEEPEST || *subscripts.last()? > SUBSCRIPTS {
            too_deep.get_or_insert((line(token.span), TOO_DEEP.to_owned()));
        }
        if rows.last()?.0 > LONGEST {
            return Some((line(token.span), TOO_LONG.to_owned()));
        }
    }
    match rows.into_iter().rev().find_map(|(_, case)| case) {
        Some(open) => Some((line(open), "this CASE has no END".to_owned())),
        None => too_deep,
    }
}

fn close<T>(rows: &mut Vec<(usize, T)>) {
    if rows.len() == 1 {
        return; // nothing is open
    }
    let inner = rows.pop().map_or(0, |(row, _)| row);
    if let Some((outer, _)) = rows.last_mut() {
        *outer = inner.max(*outer);
    }
}

/// Whether the planner would take an expression for many times as many as are written: it writes the arguments of some
/// functions out twice, those of functions in them four times, and so on.
pub(super) fn multiplies(expr: &impl Visit) -> bool {
    const MOST: f64 = 50_000.0;
    /// By expression that is open, the weights of what is in it so far; and the largest of all.
    struct Weights(Vec<Vec<f64>>, f64);
    impl Visitor for Weights {
        type Break = ();
        fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
            self.0.push(Vec::new());
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let inner = self.0.pop().unwrap_or_default();
            let first = inner.first().copied().unwrap_or_default();
            let once = 1.0 + inner.iter().sum::<f64>();
            let weight = match expr {
                Expr::Function(call) => {
                    let name = call.name.to_string().to_lowercase();
                    if matches!(name.as_str(), "coalesce" | "nvl" | "nvl2" | "ifnull") { 2.0 * once } else { once }
                }
                Expr::Between { .. } => once + 1.5 * first,
                Expr::Case { operand: Some(_), conditions, .. } => once + conditions.len() as f64 * first,
                _ => once,
            };
            self.0.last_mut().into_iter().for_each(|outer| outer.push(weight));
            self.1 = self.1.max(weight);
            ControlFlow::Continue(())
        }
    }
    let mut weights = Weights(Vec::new(), 0.0);
    let _ = expr.visit(&mut weights);
    weights.1 > MOST
}

/// The line in which most brackets are open.
pub(super) fn deepest(sql: &str) -> Option<usize> {
    let (mut depth, mut most) = (0_usize, (0, None));
    for token in tokens(sql)? {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most.0 || most.1.is_none() {
            most = (depth, line(token.span));
        }
    }
    most.1
}

/// The line of the first word.
pub(super) fn first_line(sql: &str) -> Option<usize> {
    let mut tokens = tokens(sql)?.into_iter();
    line(tokens.find(|token| !matches!(token.token, Token::Whitespace(_)))?.span)
}

/// The line of the last word.
pub(super) fn last_line(sql: &str) -> Option<usize> {
    let mut tokens = tokens(sql)?.into_iter();
    line(tokens.rfind(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF))?.span)
}
