use super::*;
use crate::format::Table;

#[test]
fn an_account_that_another_source_gives_otherwise_is_told_by_what_is_another() {
    let table = Table::parse(b"ana:x:1001:1001:Ana,,,:/home/ana:/bin/bash\n".to_vec()).unwrap();
    let (ana, own) = (Login::parse("ana").unwrap(), table.get("ana").unwrap());
    let told = |answer: Option<&str>| {
        by_names(&ana, own, answer).map(|one| (one.expected, one.found, one.severity))
    };
    let same = "ana:*:1001:1001:Another name:/home/ana:/bin/bash";
    assert_eq!(told(Some(same)), None);
    for (ours, theirs, severity) in [
        ("uid 1001", "uid 2002", Severity::High),
        ("uid 1001", "uid 0", Severity::Critical),
        ("home /home/ana", "home /", Severity::Medium),
        ("shell /bin/bash", "shell /bin/sh", Severity::Medium),
    ] {
        let [was, is] = [ours, theirs].map(|words| words.split_once(' ').unwrap().1);
        let answer = same.replacen(&format!(":{was}"), &format!(":{is}"), 1);
        let wanted = Some((ours.to_owned(), theirs.to_owned(), severity));
        assert_eq!(told(Some(&answer)), wanted);
    }
    let gid = told(Some("ana:*:1001:5:Ana:/home/ana:/bin/bash"));
    assert_eq!(gid.map(|(_, found, _)| found).as_deref(), Some("gid 5"));
    assert_eq!(told(None).unwrap().1, "no such account");
}
