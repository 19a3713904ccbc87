//! Texts that are cast to decimals, none of them endless.
//!
//! Arrow reads the digits of such a text by calling itself for each of them. A message may hold 600,000, which are more
//! than a stack can do, and that ends the process, not the row. So a text that is longer than any decimal counts as one
//! that is no number.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{Array, ArrayAccessor, ArrayRef, AsArray, LargeStringArray, StringArray, StringViewArray},
    datatypes::DataType,
};
use datafusion::{
    common::{
        DFSchema, Result as PlanResult, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Cast, ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TryCast,
        Volatility,
    },
};

/// Bytes; a decimal has 76 digits at most.
const LONGEST: usize = 256;
/// What stands for a text that is longer.
const NO_NUMBER: &str = "-";

/// Looks at the length of every text that is cast to a decimal.
pub(super) fn bound(expr: Expr, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    static BOUNDED: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Bounded { signature }))
    });
    expr.transform_up(|mut expr| {
        let kind = expr.get_type(schema);
        let of = match &mut expr {
            Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => expr.as_mut(),
            Expr::ScalarFunction(call) if call.func.name().starts_with("arrow_") && !call.args.is_empty() => {
                &mut call.args[0]
            }
            _ => return Ok(Transformed::no(expr)),
        };
        // A literal was short enough to be written; some functions ask whether it is one.
        let is_text = !matches!(of, Expr::Literal(..)) && of.get_type(schema).is_ok_and(|from| from.is_string());
        if !is_text || !kind.is_ok_and(|kind| kind.is_decimal()) {
            return Ok(Transformed::no(expr));
        }
        *of = BOUNDED.call(vec![of.clone()]);
        Ok(Transformed::yes(expr))
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    signature: Signature,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        "bounded_digits"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        Ok(types[0].clone())
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        match &args.args[0] {
            ColumnarValue::Array(texts) => Ok(ColumnarValue::Array(short(texts))),
            ColumnarValue::Scalar(text) => {
                let text = short(&text.to_array()?);
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&text, 0)?))
            }
        }
    }
}

fn short(texts: &ArrayRef) -> ArrayRef {
    fn replaced<'a, A: FromIterator<Option<&'a str>> + Array + 'static>(
        texts: impl ArrayAccessor<Item = &'a str>,
    ) -> Option<ArrayRef> {
        let text = |row: usize| texts.is_valid(row).then(|| texts.value(row));
        let is_long = |text: Option<&str>| text.is_some_and(|text| text.len() > LONGEST);
        let any = (0..texts.len()).any(|row| is_long(text(row)));
        any.then(|| {
            let short = |row: usize| if is_long(text(row)) { Some(NO_NUMBER) } else { text(row) };
            Arc::new((0..texts.len()).map(short).collect::<A>()) as ArrayRef
        })
    }
    let replaced = match texts.data_type() {
        DataType::Utf8 => replaced::<StringArray>(texts.as_string::<i32>()),
        DataType::LargeUtf8 => replaced::<LargeStringArray>(texts.as_string::<i64>()),
        DataType::Utf8View => replaced::<StringViewArray>(texts.as_string_view()),
        _ => None,
    };
    replaced.unwrap_or_else(|| texts.clone())
}
