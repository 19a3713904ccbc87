//! What is wrong inside a CASE.
//!
//! A CASE that cannot be read may still be a column named `case`: the parser goes back, takes it for one, and complains of
//! the word behind it. So each CASE is read once more by itself, and the innermost that cannot be read tells why.

use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};

/// Line and column that the parser names at the end of what it says.
fn place(said: &str) -> Option<Location> {
    let (line, column) = said.rsplit_once(" at Line: ")?.1.split_once(", Column: ")?;
    let column = column.trim_end_matches(|c: char| !c.is_ascii_digit());
    Some(Location { line: line.parse().ok()?, column: column.parse().ok()? })
}

/// What is wrong with the first CASE that begins before the place where the parser gave up, which it has `said`, or with
/// one inside it.
pub(super) fn inside(sql: &str, said: &str) -> Option<ParserError> {
    let mut until = place(said);
    let all = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
    let tokens: Vec<TokenWithSpan> =
        all.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let (mut at, mut found) = (0, None);
    while at < tokens.len() {
        let begins = tokens[at].span.start;
        if until.is_some_and(|until| begins >= until) {
            break;
        }
        if !is_case(&tokens[at..]) {
            at += 1;
            continue;
        }
        let mut parser = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens[at..].to_vec());
        parser.advance_token();
        match parser.parse_case_expr() {
            Ok(_) => at += parser.index(),
            Err(error) => {
                until = place(&error.to_string()).or(until);
                found = Some(error);
                at += 1; // it may be in one of those inside
            }
        }
    }
    found
}

/// Whether a CASE begins here, and no column of that name: a WHEN follows before anything that ends a column.
fn is_case(tokens: &[TokenWithSpan]) -> bool {
    let keyword = |token: &Token| match token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    if keyword(&tokens[0].token) != Keyword::CASE {
        return false;
    }
    let mut depth = 0_usize;
    for token in &tokens[1..] {
        match &token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket if depth == 0 => return false,
            Token::RParen | Token::RBracket => depth -= 1,
            Token::Comma if depth == 0 => return false,
            other if depth == 0 => match keyword(other) {
                Keyword::WHEN => return true,
                Keyword::AS | Keyword::FROM | Keyword::END => return false,
                _ => {}
            },
            _ => {}
        }
    }
    false
}
