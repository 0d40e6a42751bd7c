use muster_proto::id::Digest;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::{super::super::MIGRATIONS, *};

/// How the database goes about a question.
async fn plan(query: &DriftQuery) -> String {
    let options = SqliteConnectOptions::new().in_memory(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    MIGRATIONS.run(&pool).await.unwrap();
    let sql = format!("EXPLAIN QUERY PLAN {}", Search::new(query, Timestamp(7)).sql);
    let steps: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&pool).await.unwrap();
    let steps: Vec<String> = steps.into_iter().map(|(.., step)| step).collect();
    steps.join("\n")
}

#[tokio::test]
async fn drift_is_looked_for_by_an_index_and_never_through_all_that_there_is() {
    let all = DriftQuery { limit: 20, ..DriftQuery::default() };
    let host = Some(Digest::new([1; 32]));
    let open = DriftQuery { scope: DriftScope::Unaccepted, ..all.clone() };
    let without = [Digest::new([2; 32])].into();
    for (query, index) in [
        (DriftQuery { host, ..all.clone() }, "INDEX drift_of_host_by_place (host=?)"),
        (DriftQuery { host, after: Some(9), ..all.clone() }, "(host=? AND place>?)"),
        (DriftQuery { host, ..open.clone() }, "(host=?"),
        (DriftQuery { by: "ana".to_owned(), ..all.clone() }, "INDEX drift_by_login (by_login=?)"),
        (open.clone(), "INDEX drift_still_there"),
        (DriftQuery { after: Some(9), without, ..open.clone() }, "INDEX drift_still_there"),
        (DriftQuery { after: Some(9), ..all.clone() }, "(rowid>?)"),
    ] {
        let plan = plan(&query).await;
        let drift = plan.lines().find(|step| step.contains(" drift")).unwrap_or_default();
        assert!(drift.contains(index), "{query:?}: {plan}");
        let few = query.host.is_some() && query.scope == DriftScope::All;
        assert!(!few || !plan.contains("TEMP B-TREE"), "sorted already: {plan}");
    }
}

#[test]
fn only_what_is_asked_for_stands_in_the_question() {
    let search = Search::new(&DriftQuery { limit: 1, ..DriftQuery::default() }, Timestamp(7));
    assert_eq!(search.values, [Value::Number(7), Value::Number(2)]);
    assert!(!search.sql.contains("$3"), "{}", search.sql);
    let host = Some(Digest::new([1; 32]));
    let search = Search::new(&DriftQuery { host, limit: 1, ..DriftQuery::default() }, Timestamp(7));
    assert_eq!(search.values[1], Value::Bytes(vec![1; 32]));
    assert!(search.sql.contains("AND drift.host = $2 ORDER BY"), "{}", search.sql);
}
