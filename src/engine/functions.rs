//! The domain in SQL: pure functions of `text`, each with a line of documentation.
//!
//! All of them give NULL for NULL, never fail on a value, and are immutable. What depends on the source — its time
//! zone, its home, its names for codes — is bound when the source is compiled, so SQL stays the same for all cities.

use std::{borrow::Cow, collections::BTreeMap, path::Path, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Date32Array, ListBuilder, StringBuilder, TimestampMicrosecondArray},
    datatypes::{DataType, Date32Type, Field},
};
use chrono::{DateTime, Utc};
use datafusion::logical_expr::ScalarUDF;
use hashbrown::HashSet;

use super::{
    bounded, classes, code_tables,
    function::{Function, look_up, map_text, strings, text},
    meta::timestamp,
};
use crate::{
    config::Source,
    contract::{
        codes::{self, CodeTables},
        weights,
    },
    error::Finding,
    text::{
        classify::Model,
        credit_code::CreditCode,
        datetime,
        division::{Division, Divisions, Level, Retired},
        id_card::IdCard,
        keywords::{KeywordRule, KeywordRules},
        lists, mask, person,
        phone::Phone,
        width,
    },
};

/// Code tables, divisions and rules: read once, shared by all programs.
#[derive(Debug)]
pub struct Library {
    tables: CodeTables,
    divisions: Arc<Divisions>,
    rules: BTreeMap<String, Arc<KeywordRules>>,
    weights: BTreeMap<String, Arc<Model>>,
    is_outline: bool,
}

impl Library {
    /// What stands in for one that could not be read: SQL can be looked at with it, but not run.
    pub fn outline() -> Library {
        let divisions = Arc::new(Divisions::new(Vec::new(), Vec::new()));
        let (tables, rules, weights) = (CodeTables::default(), BTreeMap::new(), BTreeMap::new());
        Library { tables, divisions, rules, weights, is_outline: true }
    }

    pub fn is_outline(&self) -> bool {
        self.is_outline
    }

    /// Reads everything beside the contracts; all mistakes at once.
    pub fn read(schemas: &Path) -> Result<Library, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut keep = |found: Vec<Finding>| findings.extend(found);
        let tables = CodeTables::read(schemas).map_err(&mut keep).unwrap_or_default();
        let (in_force, retired) = codes::read_divisions(schemas).map_err(&mut keep).unwrap_or_default();
        let mut rules = BTreeMap::new();
        for set in codes::rule_sets(schemas).map_err(&mut keep).unwrap_or_default() {
            let rows = codes::read_keyword_rules(schemas, &set).map_err(&mut keep).unwrap_or_default();
            let rows = rows.into_iter().map(|row| KeywordRule {
                rule: row.rule,
                l1: row.l1,
                l2: row.l2,
                l3: row.l3,
                keywords: row.keywords,
            });
            rules.insert(set, Arc::new(KeywordRules::new(rows.collect())));
        }
        let trained = weights::read_all(schemas).map_err(&mut keep).unwrap_or_default();
        let weights = trained.into_iter().map(|(name, trained)| (name, Arc::new(trained.model))).collect();
        if !findings.is_empty() {
            return Err(findings);
        }
        let division = |row: codes::DivisionRow| Division {
            code: row.code,
            name: row.name,
            level: match row.level.as_str() {
                "province" => Level::Province,
                "city" => Level::City,
                _ => Level::County, // the reader accepts these three only
            },
            city_code: row.city_code,
            city_name: row.city_name,
            tel_area_code: row.tel_area_code,
        };
        let gone = |row: codes::RetiredRow| Retired {
            code: row.code,
            name: row.name,
            first_seen_yyyymm: row.first_seen_yyyymm,
            last_seen_yyyymm: row.last_seen_yyyymm,
            successor_code: row.successor_code,
            successor_name: row.successor_name,
        };
        let divisions =
            Divisions::new(in_force.into_iter().map(division).collect(), retired.into_iter().map(gone).collect());
        Ok(Library { tables, divisions: Arc::new(divisions), rules, weights, is_outline: false })
    }

    pub fn tables(&self) -> &CodeTables {
        &self.tables
    }

    /// Weights by name.
    pub(super) fn weights(&self) -> &BTreeMap<String, Arc<Model>> {
        &self.weights
    }

    /// The codes of a table; `divisions` is the list of divisions in force.
    pub(crate) fn codes_of(&self, table: &str) -> Option<HashSet<Box<str>>> {
        if table == code_tables::DIVISIONS {
            return Some(self.divisions.in_force().iter().map(|division| division.code.as_str().into()).collect());
        }
        Some(self.tables.get(table)?.codes.iter().map(|code| code.code.as_ref().into()).collect())
    }

    /// What is wrong with what a source says of codes and of its home.
    pub(super) fn check(&self, source: &Source) -> Vec<Finding> {
        if self.is_outline {
            return Vec::new();
        }
        let (_, mut findings) = code_tables::said_by(source, &self.tables);
        findings.extend(code_tables::placed_by(source, &self.divisions).1);
        findings.extend(self.knows_home(source).err());
        findings
    }

    /// The functions as `source` sees them; `weights` are those that the contract names.
    pub(super) fn functions(&self, source: &Source, weights: Option<&str>) -> Vec<ScalarUDF> {
        let (said, _) = code_tables::said_by(source, &self.tables);
        let (zone, home) = (source.time_zone, source.home.clone());
        let (divisions, _) = code_tables::placed_by(source, &self.divisions);
        let area = home.as_deref().and_then(|home| divisions.area_code(home)).map(str::to_owned);
        let area_too = area.clone();
        let mut all = vec![
            text(
                "clean_text",
                "clean_text(t): blanks, tabs, line breaks and control characters become one space each, none at the ends; NULL when nothing is left.",
                |t| Some(width::clean(t)).filter(|t| !t.is_empty()),
            ),
            text("half_width", "half_width(t): full-width letters, digits and signs as half-width ones.", |t| {
                Some(width::half_width(t))
            }),
            text(
                "given",
                "given(t): clean_text(t), NULL when it only says that there is nothing: a word for it (未知, 暂无, 保密, null, nan), or marks \
                 and seven zeros or more alone (/, -, ??, 0000-00000000).",
                |t| match width::clean(t) {
                    Cow::Borrowed(t) => width::given(t).map(Cow::Borrowed),
                    Cow::Owned(t) => width::given(&t).map(|t| Cow::Owned(t.to_owned())),
                },
            ),
            text(
                "person",
                "person(t): given(t), NULL when it names nobody: words for anybody (匿名, 热心市民, 先生/女士, 不愿透露姓名), or digits alone.",
                |t| match width::clean(t) {
                    Cow::Borrowed(t) => person::person(t).map(Cow::Borrowed),
                    Cow::Owned(t) => person::person(&t).map(|t| Cow::Owned(t.to_owned())),
                },
            ),
            text(
                "phone",
                "phone(t): phone number, digits only, with area code (a local number gets its home's); NULL when it is none, or there are several. Words of Chinese may stand beside it.",
                move |t| Phone::parse(t, area.as_deref()).ok().map(|phone| Cow::Owned(phone.as_str().to_owned())),
            ),
            text("phone_ext", "phone_ext(t): extension of a phone number, NULL when there is none.", move |t| {
                let phone = Phone::parse(t, area_too.as_deref()).ok()?;
                phone.extension().map(|ext| Cow::Owned(ext.to_owned()))
            }),
            text(
                "id_card",
                "id_card(t): citizen ID (GB 11643), 18 characters with a valid check; NULL otherwise.",
                |t| IdCard::parse(t).ok().map(|id| Cow::Owned(id.as_str().to_owned())),
            ),
            text(
                "credit_code",
                "credit_code(t): unified social credit code (GB 32100) with valid checks; NULL otherwise.",
                |t| CreditCode::parse(t).ok().map(|code| Cow::Owned(code.as_str().to_owned())),
            ),
            text("mask_phone", "mask_phone(t): phone number with its middle hidden.", |t| {
                Some(Cow::Owned(mask::mask_phone(t)))
            }),
            text("mask_name", "mask_name(t): name with all but its ends hidden.", |t| {
                Some(Cow::Owned(mask::mask_name(t)))
            }),
            text("mask_id", "mask_id(t): ID number, birth date hidden.", |t| Some(Cow::Owned(mask::mask_id(t)))),
        ];
        all.push(Function::new(
            "mask_text",
            "mask_text(t) or mask_text(t, name): free text with phones, IDs, plates, bank cards, e-mail addresses and this name hidden.",
            vec![vec![DataType::Utf8], vec![DataType::Utf8, DataType::Utf8]],
            DataType::Utf8,
            |args, rows| match args.get(1) {
                None => map_text(&args[0], rows, |_, t| Some(mask::mask_text(t))),
                Some(names) => {
                    let names = strings(names, rows)?;
                    let name = |row| names.is_valid(row).then(|| names.value(row));
                    map_text(&args[0], rows, |row, t| Some(mask::mask_text_of(t, name(row))))
                }
            },
        ));
        all.push(time(
            "local_time",
            "local_time(t): instant of a time as systems write it, also as Java, JavaScript and .NET print it, in the source's zone when it names none; NULL when it is none.",
            move |t| datetime::parse_time(t, zone),
        ));
        all.push(time(
            "due_time",
            "due_time(t): the same of a time until which something is to be done: a day alone is its last second.",
            move |t| datetime::parse_due(t, zone),
        ));
        all.push(Function::new(
            "local_date",
            "local_date(t): date of a text; NULL when it is none.",
            vec![vec![DataType::Utf8]],
            DataType::Date32,
            move |args, rows| {
                let text = strings(&args[0], rows)?;
                let date =
                    |t: Option<&str>| t.and_then(|t| datetime::parse_date(t, zone)).map(Date32Type::from_naive_date);
                Ok(Arc::new(text.iter().map(date).collect::<Date32Array>()) as ArrayRef)
            },
        ));
        all.push(Function::new(
            "flag_yes",
            "flag_yes(t): true for 是 1 true Y yes 有 已, false for 否 0 false N no 无 未, NULL otherwise.",
            vec![vec![DataType::Utf8]],
            DataType::Boolean,
            |args, rows| {
                let text = strings(&args[0], rows)?;
                Ok(Arc::new(text.iter().map(|t| t.and_then(yes)).collect::<BooleanArray>()) as ArrayRef)
            },
        ));
        let element = Arc::new(Field::new_list_field(DataType::Utf8, true));
        all.push(Function::new(
            "json_texts",
            "json_texts(t): the elements of a JSON array as a list of texts; NULL when it is none.",
            vec![vec![DataType::Utf8]],
            DataType::List(element.clone()),
            move |args, rows| {
                let text = strings(&args[0], rows)?;
                let mut out = ListBuilder::new(StringBuilder::new()).with_field(element.clone());
                for elements in text.iter().map(|text| text.and_then(lists::json_texts)) {
                    let is_list = elements.is_some();
                    elements.into_iter().flatten().for_each(|element| out.values().append_option(element));
                    out.append(is_list);
                }
                Ok(Arc::new(out.finish()) as ArrayRef)
            },
        ));
        all.extend(code_tables::functions(said, zone));
        let (known, at) = (divisions.clone(), home.clone());
        all.push(Function::new(
            "division",
            "division(t) or division(t, day): 6-digit code in force of a division's name, path or (retired) code; NULL when unknown.",
            code_tables::with_day(&[DataType::Utf8]),
            DataType::Utf8,
            move |args, rows| {
                let text = strings(&args[0], rows)?;
                let days = args.get(1).map(|on| code_tables::days(on, rows, zone)).transpose()?;
                let mut out = StringBuilder::with_capacity(rows, rows * 6);
                for (row, text) in text.iter().enumerate() {
                    let day = days.as_ref().and_then(|days| days[row]);
                    let found = text.and_then(|text| known.lookup(text, at.as_deref(), day));
                    out.append_option(found.map(|division| division.code.as_str()));
                }
                Ok(Arc::new(out.finish()) as ArrayRef)
            },
        ));
        let (known, at) = (divisions.clone(), home.clone());
        all.push(text(
            "division_rest",
            "division_rest(t): what of a text stands behind the name or code of its division(t), a street or a zone without a code; NULL when nothing does, or there is no division.",
            move |t| known.rest(t, at.as_deref(), None).map(Cow::Owned),
        ));
        let known = divisions.clone();
        all.push(Function::new(
            "division_name",
            "division_name(code): name of a division in force.",
            vec![vec![DataType::Utf8]],
            DataType::Utf8,
            move |args, rows| look_up(&args[0], rows, |t| known.by_code(t).map(|division| division.name.as_str())),
        ));
        all.push(classes::keyword_class(&self.rules));
        all.push(classes::content_class(weights, &self.weights));
        all.push(classes::content_class_learned(weights, &self.weights));
        let all = all.into_iter().map(|function| if self.is_outline { function.outline() } else { function });
        all.map(ScalarUDF::new_from_impl).chain(bounded::functions()).collect()
    }

    /// With a wrong home no local phone and no bare name would be read, and nothing would say why.
    fn knows_home(&self, source: &Source) -> Result<(), Finding> {
        let Some(home) = &source.home else { return Ok(()) };
        if self.divisions.lookup(home, None, None).is_some() {
            return Ok(());
        }
        if self.divisions.in_force().is_empty() {
            let what =
                format!("home = \"{home}\" needs codes/divisions.csv, which has no division in force or is not there");
            return Err(Finding::new(source.place("home"), what));
        }
        let near = crate::near::did_you_mean(home, self.divisions.in_force().iter().map(|it| it.code.as_str()));
        Err(Finding::new(
            source.place("home"),
            format!("home = \"{home}\" is no division in codes/divisions.csv{near}"),
        ))
    }
}

/// Name and documentation of every function, for `huiju docs`.
pub fn function_docs(library: &Library, source: &Source) -> Vec<(String, &'static str)> {
    let functions = library.functions(source, None);
    let doc = |udf: &ScalarUDF| {
        let ours = udf.inner().as_ref().downcast_ref::<Function>()?;
        Some((udf.name().to_owned(), ours.doc))
    };
    functions.iter().filter_map(doc).collect()
}

/// A function from text to instant.
fn time(
    name: &'static str,
    doc: &'static str,
    read: impl Fn(&str) -> Option<DateTime<Utc>> + Send + Sync + 'static,
) -> Function {
    Function::new(name, doc, vec![vec![DataType::Utf8]], timestamp(), move |args, rows| {
        let text = strings(&args[0], rows)?;
        let micros = text.iter().map(|t| t.and_then(&read).map(|time| time.timestamp_micros()));
        Ok(Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC")) as ArrayRef)
    })
}

fn yes(typed: &str) -> Option<bool> {
    match &*width::half_width(typed.trim()) {
        "是" | "1" | "true" | "TRUE" | "True" | "Y" | "y" | "yes" | "YES" | "Yes" | "有" | "已" => Some(true),
        "否" | "0" | "false" | "FALSE" | "False" | "N" | "n" | "no" | "NO" | "No" | "无" | "未" => Some(false),
        _ => None,
    }
}
