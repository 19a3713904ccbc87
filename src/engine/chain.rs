//! How long and how deep an expression is, by its tokens: before anything goes as deep as there are operators.

use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

use super::lint::{Mistake, line};

/// Operators in a row that an expression may have: the engine goes as deep as there are, and falls off its stack.
const LONGEST: usize = 500;
const TOO_LONG: &str = "more than 500 operators in a row: write IN (…), or compute a part in the stage before";

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
    // By bracket and CASE that is open, with the place of the CASE.
    let mut rows = vec![(0, None)];
    // What follows is a name, whatever the word.
    let mut named = false;
    for token in tokens(sql)? {
        let (row, case) = rows.last_mut()?;
        let in_case = case.is_some();
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
        if rows.last()?.0 > LONGEST {
            return Some((line(token.span), TOO_LONG.to_owned()));
        }
    }
    let (_, open) = rows.into_iter().rfind(|(_, case)| case.is_some())?;
    Some((line(open?), "this CASE has no END".to_owned()))
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
