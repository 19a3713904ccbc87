//! Comparisons of what cannot be compared, refused before any row is there.
//!
//! All fields of a message are texts. DataFusion would read a text beside a number as a number, beside a time as a time, and
//! fail of each row whose text is none: `wait > 5` rejects the row in which `wait` is `5.0`. Nobody has written a cast there,
//! so nobody expects it. What is meant has to be written: a text in quotes, or what reads the text and gives NULL for what
//! it cannot read.

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema, DataFusionError, Result as PlanResult,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Between, BinaryExpr, Cast, Expr, ExprSchemable, Operator, TryCast, expr::InList},
};

/// Leaves an expression as it is, or says what is wrong with it. Before common types are found.
pub(super) fn refuse(expr: Expr, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    expr.apply(|node| match mistake(node, schema) {
        Some(what) => Err(DataFusionError::Plan(what)),
        None => Ok(TreeNodeRecursion::Continue),
    })?;
    Ok(Transformed::no(expr))
}

fn mistake(node: &Expr, schema: &DFSchema) -> Option<String> {
    let kind = |expr: &Expr| expr.get_type(schema).ok();
    match node {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
            let is_null = |side: &Expr| matches!(side, Expr::Literal(value, _) if value.is_null());
            let distinct = matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom);
            if !distinct && (is_null(left) || is_null(right)) {
                return Some(format!("\"{op} NULL\" is NULL in each row: write IS NULL or IS NOT NULL"));
            }
            among(&[left, right], schema)
        }
        Expr::InList(InList { expr, list, .. }) => list.iter().find_map(|item| among(&[expr, item], schema)),
        Expr::Between(Between { expr, low, high, .. }) => {
            among(&[expr, low], schema).or_else(|| among(&[expr, high], schema))
        }
        Expr::Case(case) => {
            let of = case.expr.as_ref();
            let whens = case.when_then_expr.iter().map(|(when, _)| when);
            let compared = of.and_then(|of| whens.into_iter().find_map(|when| among(&[of, when], schema)));
            let thens = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
            let all: Vec<&Expr> = thens.chain(case.else_expr.as_deref()).collect();
            compared.or_else(|| among(&all, schema))
        }
        Expr::ScalarFunction(call) => {
            let args: Vec<&Expr> = call.args.iter().collect();
            match (call.func.name(), &args[..]) {
                ("coalesce" | "nvl" | "nullif" | "greatest" | "least", all) => among(all, schema),
                ("nvl2", [_, all @ ..]) => among(all, schema),
                ("date_part" | "date_trunc" | "date_bin", [_, of, ..]) | ("to_char", [of, ..])
                    if !matches!(of, Expr::Literal(..)) && kind(of)?.is_string() =>
                {
                    let (function, of, inside) = (call.func.name(), shown(of), inside(of));
                    Some(format!(
                        "{function}(): {of} is a text: read it first, with local_time({inside}) or local_date({inside})"
                    ))
                }
                _ => None,
            }
        }
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
            match (kind(expr)?, field.data_type()) {
                (from, DataType::List(_)) if from.is_string() => Some(format!(
                    "a CAST makes a list of one element of a text: use json_texts({0}) for a JSON array, \
                     string_to_array({0}, ',') for texts with commas between them",
                    inside(expr)
                )),
                (DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, None)) => Some(
                    "a CAST to TIMESTAMP forgets the zone and keeps UTC: for the local time use to_local_time(…)"
                        .to_owned(),
                ),
                _ => None,
            }
        }
        _ => None,
    }
}

fn compares(op: Operator) -> bool {
    use Operator::*;
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// What is wrong with expressions of which a common type is to be found: one is a text that only its row tells, another one
/// is none.
fn among(all: &[&Expr], schema: &DFSchema) -> Option<String> {
    let kind = |expr: &Expr| expr.get_type(schema).ok();
    // Written without a zone it would be taken for UTC, and nobody would notice for eight hours of a day.
    let written = all.iter().find_map(|expr| match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    });
    let is_time =
        |expr: &&&Expr| !matches!(expr, Expr::Literal(..)) && matches!(kind(expr), Some(DataType::Timestamp(..)));
    if let (Some(written), Some(time)) = (written, all.iter().find(is_time)) {
        let time = shown(time);
        return Some(format!("'{written}' is a text and {time} a time: write local_time('{written}')"));
    }
    let is_text = |expr: &&&Expr| !matches!(expr, Expr::Literal(..)) && kind(expr).is_some_and(|kind| kind.is_string());
    let text = all.iter().find(is_text)?;
    let (text, inside) = (shown(text), inside(text));
    let (other, kind) = all.iter().find_map(|expr| Some((shown(expr), word(&kind(expr)?)?)))?;
    let read = match kind {
        "a number" => format!("TRY_CAST({inside} AS DOUBLE)"),
        "a date" => format!("local_date({inside})"),
        "a time" => format!("local_time({inside})"),
        _ => format!("flag_yes({inside})"),
    };
    Some(format!(
        "{text} is a text and {other} {kind}: read the text, {read}, or write a text, '…', in place of {other}"
    ))
}

/// What is no text is.
fn word(kind: &DataType) -> Option<&'static str> {
    Some(match kind {
        kind if kind.is_numeric() => "a number",
        DataType::Boolean => "true or false",
        DataType::Date32 | DataType::Date64 => "a date",
        DataType::Timestamp(..) => "a time",
        _ => return None,
    })
}

/// An expression, shortly: what is told of it is beside its line. A name stands in quotes, by which that is found.
fn shown(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => format!("\"{}\"", column.name),
        Expr::Literal(value, _) => value.to_string(),
        Expr::ScalarFunction(call) => format!("{}(…)", call.func.name()),
        Expr::Cast(_) | Expr::TryCast(_) => "the CAST".to_owned(),
        Expr::Case(_) => "the CASE".to_owned(),
        _ => "the expression".to_owned(),
    }
}

/// The same as an argument.
fn inside(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) if column.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
            column.name.clone()
        }
        Expr::Column(_) => shown(expr),
        _ => "…".to_owned(),
    }
}
