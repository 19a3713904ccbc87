//! What a function of SQL is here: a name, a line of documentation, and a body over whole columns.

use std::{borrow::Cow, fmt, hash::Hash, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray, StringBuilder, new_null_array},
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{DataFusionError, Result as PlanResult, ScalarValue, plan_err},
    logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};

type Body = dyn Fn(&[ColumnarValue], usize) -> PlanResult<ArrayRef> + Send + Sync;

/// A function of SQL: a name, a line of documentation, and a body over whole columns.
pub(super) struct Function {
    name: &'static str,
    pub doc: &'static str,
    /// The types of its arguments, in each way to call it.
    takes: Vec<Vec<DataType>>,
    signature: Signature,
    returns: DataType,
    /// What the first argument must be a literal of; empty when it is a value like any other.
    names: Vec<String>,
    /// Why it cannot be called here.
    unusable: Option<&'static str>,
    body: Arc<Body>,
}

impl Function {
    pub fn new(
        name: &'static str,
        doc: &'static str,
        takes: Vec<Vec<DataType>>,
        returns: DataType,
        body: impl Fn(&[ColumnarValue], usize) -> PlanResult<ArrayRef> + Send + Sync + 'static,
    ) -> Function {
        let signature = Signature::user_defined(Volatility::Immutable);
        Function { name, doc, takes, signature, returns, names: Vec::new(), unusable: None, body: Arc::new(body) }
    }

    /// Why it cannot be called with arguments of these types.
    fn misfit(&self, given: &[DataType]) -> String {
        let wanted = |at: usize| {
            let alike = self.takes.iter().filter(|takes| takes.len() == given.len());
            alike.map(|takes| &takes[at]).collect::<Vec<_>>()
        };
        let fits = |at: &usize| wanted(*at).iter().any(|wanted| fit(wanted, &given[*at]).is_some());
        let usage = self.doc.split(": ").next().unwrap_or_default();
        let strange = (0..given.len()).find(|at| !fits(at)).filter(|at| !wanted(*at).is_empty());
        let Some(at) = strange else {
            return format!("{}() with {} arguments: it is called as {usage}", self.name, given.len());
        };
        let what = match wanted(at)[..] {
            [DataType::Utf8, ..] => "a text",
            [DataType::Boolean, ..] => "a boolean",
            _ if given[at].is_string() => "a date or a time: read a text with local_date() or local_time()",
            _ => "a date or a time",
        };
        let is = match &given[at] {
            text if text.is_string() => "a text".to_owned(),
            DataType::Struct(parts) => {
                format!("a struct of {}", parts.iter().map(|part| part.name().as_str()).collect::<Vec<_>>().join(", "))
            }
            list if list.is_list() => "a list".to_owned(),
            other => other.to_string(),
        };
        format!("{}(): argument {} is {is} and must be {what}", self.name, at + 1)
    }

    /// The first argument is the name of something we have, written in the SQL.
    pub fn with_names<'a>(mut self, names: impl Iterator<Item = &'a String>) -> Function {
        self.names = names.cloned().collect();
        // Never without a name, so that an empty list is refused too.
        self.names.push(String::new());
        self
    }

    /// The same in SQL, if what it looks in could not be read: it takes any name, and all its answers are NULL.
    pub fn outline(self) -> Function {
        if self.names.is_empty() && self.unusable.is_none() {
            return self;
        }
        let returns = self.returns.clone();
        let body = Arc::new(move |_: &[ColumnarValue], rows: usize| Ok(new_null_array(&returns, rows)));
        Function { names: Vec::new(), unusable: None, body, ..self }
    }

    /// It is known, and documented, but SQL that calls it is refused.
    pub fn unusable(mut self, why: &'static str) -> Function {
        self.unusable = Some(why);
        self
    }
}

/// A function from text to text.
pub(super) fn text(
    name: &'static str,
    doc: &'static str,
    body: impl for<'a> Fn(&'a str) -> Option<Cow<'a, str>> + Send + Sync + 'static,
) -> Function {
    Function::new(name, doc, vec![vec![DataType::Utf8]], DataType::Utf8, move |args, rows| {
        map_text(&args[0], rows, |_, t| body(t))
    })
}

/// Texts made of texts, each with the row it stands in. A column in which nothing changes is not copied.
pub(super) fn map_text<'b>(
    arg: &ColumnarValue,
    rows: usize,
    body: impl for<'a> Fn(usize, &'a str) -> Option<Cow<'a, str>> + 'b,
) -> PlanResult<ArrayRef> {
    let text = strings(arg, rows)?;
    if text.null_count() == text.len() {
        return Ok(Arc::new(text));
    }
    let mut out: Option<StringBuilder> = None;
    // Rows before this one are in `out`; those from here on are what they were.
    let mut copied = 0;
    for row in (0..text.len()).filter(|row| text.is_valid(*row)) {
        let value = text.value(row);
        let made = body(row, value);
        if let Some(Cow::Borrowed(same)) = made
            && std::ptr::eq(same, value)
        {
            continue;
        }
        let out = out.get_or_insert_with(|| StringBuilder::with_capacity(rows, text.values().len()));
        if copied < row {
            out.append_array(&text.slice(copied, row - copied))?;
        }
        out.append_option(made);
        copied = row + 1;
    }
    let Some(mut out) = out else { return Ok(Arc::new(text)) };
    if copied < text.len() {
        out.append_array(&text.slice(copied, text.len() - copied))?;
    }
    Ok(Arc::new(out.finish()))
}

/// Texts looked up: the answers stand in a table, so they are copied once, into the column.
pub(super) fn look_up<'t>(
    arg: &ColumnarValue,
    rows: usize,
    table: impl Fn(&str) -> Option<&'t str>,
) -> PlanResult<ArrayRef> {
    let text = strings(arg, rows)?;
    if text.null_count() == text.len() {
        return Ok(Arc::new(text));
    }
    let mut out = StringBuilder::with_capacity(rows, rows * 8);
    for value in text.iter() {
        out.append_option(value.and_then(&table));
    }
    Ok(Arc::new(out.finish()))
}

pub(super) fn strings(arg: &ColumnarValue, rows: usize) -> PlanResult<StringArray> {
    let array = arg.to_array(rows)?;
    Ok(array.as_string::<i32>().clone())
}

/// The literal first argument; checked at planning.
pub(super) fn literal(arg: &ColumnarValue) -> &str {
    match arg {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(name))) => name,
        _ => "",
    }
}

pub(super) fn lost(what: &str) -> DataFusionError {
    DataFusionError::Internal(format!("{what} was there at planning"))
}

/// What an argument is read as. A text is never read as a time here: it may have no zone, and not be a time at all.
fn fit(wanted: &DataType, given: &DataType) -> Option<DataType> {
    use DataType::*;
    let fits = match (wanted, given) {
        (wanted, given) if wanted == given => true,
        (_, Null) => true,
        (Utf8, given) => !given.is_nested(),
        (Timestamp(..), Timestamp(..)) | (Date32, Date64) => true,
        _ => false,
    };
    fits.then(|| wanted.clone())
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn coerce_types(&self, given: &[DataType]) -> PlanResult<Vec<DataType>> {
        let same = |takes: &&Vec<DataType>| takes.len() == given.len();
        let fitted =
            |takes: &Vec<DataType>| takes.iter().zip(given).map(|(wanted, given)| fit(wanted, given)).collect();
        match self.takes.iter().filter(same).find_map(fitted) {
            Some(types) => Ok(types),
            None => plan_err!("{}", self.misfit(given)),
        }
    }
    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(self.returns.clone())
    }
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        if let Some(why) = self.unusable {
            return plan_err!("{}(): {why}", self.name);
        }
        if !self.names.is_empty() {
            let known = self.names.iter().map(String::as_str).filter(|name| !name.is_empty());
            match args.scalar_arguments[0] {
                Some(ScalarValue::Utf8(Some(name))) if self.names.contains(name) && !name.is_empty() => {}
                Some(ScalarValue::Utf8(Some(name))) => {
                    let near = crate::near::did_you_mean(name, known);
                    return plan_err!("{}('{name}', …): there is no '{name}'{near}", self.name);
                }
                _ => return plan_err!("{}(): the first argument is the name of a table, in quotes", self.name),
            }
        }
        Ok(Arc::new(Field::new(self.name, self.returns.clone(), true)))
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        Ok(ColumnarValue::Array(super::shield::open(|| (self.body)(&args.args, args.number_rows))?))
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}()", self.name)
    }
}
impl PartialEq for Function {
    fn eq(&self, other: &Function) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.body, &other.body)
    }
}
impl Eq for Function {}
impl Hash for Function {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}
