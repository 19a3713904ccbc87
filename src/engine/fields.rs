//! The fields of a message: what a map names in its SQL.

use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
};

use datafusion::sql::sqlparser::ast::{self, AccessExpr, Spanned, Subscript, visit_expressions};

use super::{
    lint::{MESSAGE, Mistake, line},
    meta,
    words::call_as_name,
};
use crate::decode::{Field, Fields};

/// The fields of a message that a mapping uses: every name in it that is not a meta column.
pub(super) fn fields(select: &ast::Select) -> Result<Fields, Vec<Mistake>> {
    let mut tree = Tree::default();
    let mut wrong: Vec<Mistake> = Vec::new();
    // The parts of a path with a subscript, `a` and `b` in `a.b['c']`, are visited as identifiers of their own.
    let mut parts = HashSet::new();
    let _ = visit_expressions(&select.projection, |expr| {
        let path: Option<Vec<&str>> = match expr {
            ast::Expr::Identifier(name) if parts.contains(&name.span.start) => None,
            ast::Expr::Identifier(name) => Some(vec![&name.value]),
            ast::Expr::CompoundIdentifier(names) if parts.contains(&names[0].span.start) => None,
            ast::Expr::CompoundIdentifier(names) => {
                let names: Vec<&str> = names.iter().map(|name| name.value.as_str()).collect();
                Some(if names[0] == MESSAGE { names[1..].to_vec() } else { names })
            }
            ast::Expr::CompoundFieldAccess { root, access_chain } => {
                parts.insert(root.span().start);
                parts.extend(access_chain.iter().filter_map(|access| match access {
                    AccessExpr::Dot(name) => Some(name.span().start),
                    AccessExpr::Subscript(_) => None,
                }));
                let path = subscripts(root, access_chain);
                let named = matches!(**root, ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_));
                // A word of SQL among the names is told by `lint`.
                if path.is_none() && named && call_as_name(expr).is_none() {
                    let text =
                        format!("\"{expr}\" is no field: of an object it is {root}['name'], a list is its JSON text");
                    wrong.push((line(expr.span()), text));
                }
                path
            }
            _ => None,
        };
        match path {
            Some(path) if path.len() == 1 && meta::is_meta(path[0]) => {}
            Some(path) => {
                if let Err(depth) = tree.insert(&path) {
                    let field = path[..depth].join(".");
                    let text = format!("field \"{field}\" is used both as a value and as an object");
                    // Whatever it is used as further on says nothing new.
                    if !wrong.iter().any(|(_, told)| *told == text) {
                        wrong.push((line(expr.span()), text));
                    }
                }
            }
            None => {}
        }
        ControlFlow::<()>::Continue(())
    });
    if wrong.is_empty() { Ok(tree.fields()) } else { Err(wrong) }
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
    /// `Err` says how much of the path is something else already.
    fn insert(&mut self, path: &[&str]) -> Result<(), usize> {
        let name: Arc<str> = path[0].into();
        let leaf = path.len() == 1;
        let node = self.nodes.entry(name.clone()).or_insert_with(|| {
            self.order.push(name.clone());
            (!leaf).then(Tree::default)
        });
        match node {
            None if leaf => Ok(()),
            Some(tree) if !leaf => tree.insert(&path[1..]).map_err(|depth| depth + 1),
            _ => Err(1),
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
