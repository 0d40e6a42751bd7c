//! The question for drift as the database is asked it: only what is asked for stands in it, since the
//! database chooses an index before it knows the values.

use muster_proto::{id::HostId, time::Timestamp};

use super::{
    super::{exceptions::JOINED, signed},
    DriftQuery,
};
use crate::exception::DriftScope;

/// A value that stands in the question's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(i64),
    Bytes(Vec<u8>),
    Text(String),
}

/// A question and its values, in the order of their numbers.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Search {
    pub(super) fn new(query: &DriftQuery, now: Timestamp) -> Self {
        let scope = match query.scope {
            DriftScope::Unaccepted => "open = 1 AND exceptions.until IS NULL",
            DriftScope::Open => "open = 1",
            DriftScope::All => "TRUE",
        };
        let sql = format!(
            "SELECT drift.place, drift.host, receipt, item, open, until, made, made_by, reason
             FROM {JOINED}
             WHERE {scope}"
        );
        let mut search = Self { sql, values: vec![Value::Number(signed(now.0))] };
        let text = |text: &str| Value::Text(text.to_owned());
        if let Some(host) = query.host {
            search.and("drift.host =", Value::Bytes(host.as_bytes().to_vec()));
        }
        if let Some(least) = query.least {
            search.and("severity >=", Value::Number(i64::from(least.rank())));
        }
        for (is, wanted) in [
            ("drift.kind =", &query.kind),
            ("drift.subject =", &query.subject),
            ("by_login =", &query.by),
        ] {
            if !wanted.is_empty() {
                search.and(is, text(wanted));
            }
        }
        if let Some(since) = query.since {
            search.and("since >=", Value::Number(signed(since.0)));
        }
        if let Some(until) = query.until {
            search.and("since <", Value::Number(signed(until.0)));
        }
        if let Some(after) = query.after {
            search.and("drift.place >", Value::Number(signed(after)));
        }
        if !query.without.is_empty() {
            let without = Value::Text(listed(&query.without));
            let none = "lower(hex(drift.host)) NOT IN (SELECT value FROM json_each";
            search.clause(&format!("{none}("), without, "))");
        }
        search.end(query)
    }

    fn and(&mut self, is: &str, value: Value) {
        self.clause(&format!("{is} "), value, "");
    }

    fn clause(&mut self, before: &str, value: Value, after: &str) {
        self.values.push(value);
        let number = self.values.len();
        self.sql = format!("{} AND {before}${number}{after}", self.sql);
    }

    fn end(mut self, query: &DriftQuery) -> Self {
        let order = match (query.after, query.scope) {
            (Some(_), _) => "drift.place",
            (None, DriftScope::Unaccepted | DriftScope::Open) => "severity DESC, drift.place DESC",
            (None, DriftScope::All) => "drift.place DESC",
        };
        // One more than is wanted tells whether there is more.
        self.values.push(Value::Number(i64::from(query.limit).saturating_add(1)));
        let limit = self.values.len();
        self.sql = format!("{} ORDER BY {order} LIMIT ${limit}", self.sql);
        self
    }
}

/// Writes ids as the database reads a list.
fn listed<'h>(hosts: impl IntoIterator<Item = &'h HostId>) -> String {
    let quoted: Vec<String> = hosts.into_iter().map(|host| format!("\"{host}\"")).collect();
    format!("[{}]", quoted.join(","))
}

#[cfg(test)]
mod tests;
