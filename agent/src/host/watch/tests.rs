#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "others do what is watched"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::{Arc, mpsc},
};

use super::{
    event::METADATA,
    pace::{BURST, PACE, PATIENCE, Patience},
    *,
};
use crate::host::files::Faults;

/// A root with the places that the tests touch, on a file system that can be watched, and a watch
/// over it.
struct Root {
    directory: tempfile::TempDir,
    watch: Watch,
    woken: mpsc::Receiver<()>,
}

/// A root, and a watch over it that nobody reads.
fn unread() -> (tempfile::TempDir, Watch) {
    let directory = tempfile::tempdir().unwrap();
    for place in
        ["etc/sudoers.d", "etc/ssh", "etc/pam.d", "home/ana", "root", "var/spool/cron/crontabs"]
    {
        fs::create_dir_all(directory.path().join(place)).unwrap();
    }
    fs::write(directory.path().join("etc/passwd"), "").unwrap();
    let over = Dir::open(directory.path(), Arc::new(Faults::none())).unwrap();
    (directory, Watch::open(over).expect("this test needs root"))
}

fn root() -> Root {
    let (directory, watch) = unread();
    let (sender, woken) = mpsc::channel();
    watch.start(move || sender.send(()).is_ok()).unwrap();
    assert_eq!(watch.mark("/home"), []);
    Root { directory, watch, woken }
}

impl Root {
    fn shell(&self, command: &str) -> u32 {
        let mut child = Command::new("sh")
            .args(["-c", command])
            .current_dir(self.directory.path())
            .spawn()
            .unwrap();
        assert!(child.wait().unwrap().success());
        child.id()
    }

    fn touched(&self) -> Vec<(Place, String, u32)> {
        self.woken.recv_timeout(Duration::from_secs(10)).expect("it wakes");
        let touches = self.watch.touches();
        let pid = |touch: &Touch| touch.culprit.as_ref().map_or(0, |culprit| culprit.pid);
        touches.iter().map(|touch| (touch.place, touch.name.clone(), pid(touch))).collect()
    }
}

#[test]
fn it_tells_which_file_was_touched_and_by_whom() {
    let root = root();
    let pid = root.shell("echo x >> etc/passwd");
    let passwd = (Place::Etc, "passwd".to_owned(), pid);
    assert!(root.touched().contains(&passwd));
    let pid = root.shell("echo x > etc/sudoers.d/extra");
    assert!(root.touched().contains(&(Place::Sudoers, "extra".to_owned(), pid)));
}

#[test]
fn of_homes_only_their_coming_and_going_is_told_and_of_roots_only_its_keys() {
    let root = root();
    root.shell("echo x > home/ana/file; touch home/ana; chmod 700 home/ana; echo x > root/notes");
    root.shell("mkdir home/ben");
    let touched = root.touched();
    assert!(
        touched.iter().all(|(place, name, _)| (*place, name.as_str()) == (Place::Homes, "ben"))
    );
    assert!(!touched.is_empty());

    root.shell("mkdir root/.ssh");
    let touched = root.touched();
    let is_it =
        |(place, name, _): &(Place, String, u32)| *place == Place::RootHome && name == ".ssh";
    assert!(touched.iter().any(is_it), "{touched:?}");
    assert_eq!(root.watch.mark("/home"), []);
    let pid = root.shell("echo x > root/.ssh/known_hosts; echo x > root/.ssh/authorized_keys");
    let keys = (Place::RootKeys, "authorized_keys".to_owned(), pid);
    let touched = root.touched();
    assert!(touched.iter().all(|touch| *touch == keys) && !touched.is_empty(), "{touched:?}");

    let pid = root.shell("echo x >> etc/pam.d/passwd");
    assert!(root.touched().contains(&(Place::Passwords, "passwd".to_owned(), pid)));
}

#[test]
fn what_does_not_decide_about_access_and_what_it_does_itself_wake_nobody() {
    let root = root();
    fs::write(root.directory.path().join("etc/passwd"), "x").unwrap();
    root.shell("echo x > etc/motd; echo x > etc/ssh/moduli; echo x > etc/sudoers.d/.muster-x");
    let pid = root.shell("echo x > var/spool/cron/crontabs/alice");
    let touched = root.touched();
    assert!(touched.iter().all(|(place, name, by)| {
        (*place, name.as_str(), *by) == (Place::Crontabs, "alice", pid)
    }));
}

#[test]
fn a_directory_that_has_taken_the_place_of_another_is_watched_once_it_is_marked() {
    let root = root();
    root.shell("mv etc/sudoers.d old; mkdir etc/sudoers.d");
    assert_eq!(root.watch.mark("/home"), []);
    let pid = root.shell("echo x > etc/sudoers.d/extra");
    let mut touched = root.touched();
    while !touched.contains(&(Place::Sudoers, "extra".to_owned(), pid)) {
        touched = root.touched();
    }
}

#[test]
fn events_that_the_kernel_cuts_short_are_none() {
    let mut event = [0_u8; METADATA];
    event[0] = 24;
    event[20] = 7;
    let all = |bytes: &[u8]| Events(bytes).map(|event| event.pid).collect::<Vec<_>>();
    assert_eq!(all(&event), [7]);
    assert_eq!(all(&[event, event].concat()), [7, 7]);
    for length in 0..METADATA {
        assert_eq!(all(&event[..length]), [0_u32; 0]);
    }
    event[0] = 23;
    assert_eq!(all(&event), [0_u32; 0]);
}

#[test]
fn whoever_never_comes_to_rest_is_looked_at_at_a_pace() {
    let mut pace = Pace::default();
    let now = Duration::from_secs(1_000);
    let at_once = Patience { least: Duration::ZERO, most: PATIENCE };
    let paced = Patience { least: PACE, most: PACE };
    for _ in 0..BURST {
        assert_eq!(pace.patience(now), at_once);
    }
    assert_eq!(pace.patience(now), paced);
    assert_eq!(pace.patience(now + PACE.mul_f32(0.9)), paced);
    assert_eq!(pace.patience(now + PACE), at_once);
    assert_eq!(pace.patience(now + PACE), paced);
    // A quiet day gives no more than a burst.
    let later = now + Duration::from_hours(24);
    for _ in 0..BURST {
        assert_eq!(pace.patience(later), at_once);
    }
    assert_eq!(pace.patience(later), paced);
}

#[test]
fn whoever_is_in_the_middle_of_a_change_of_accounts_is_let_finish() {
    let root = root();
    fs::write(root.directory.path().join("etc/passwd.lock"), "1").unwrap();
    let begun = clocks::monotonic();
    root.shell("echo x >> etc/passwd");
    root.woken.recv_timeout(Duration::from_secs(10)).expect("it wakes, also past a crashed writer");
    assert!(clocks::monotonic().saturating_sub(begun) >= PATIENCE, "it waited for the lock");

    root.shell("echo x >> etc/passwd; sleep 0.05; echo x >> etc/shadow; rm etc/passwd.lock");
    let touched = root.touched();
    let is_whole = |name: &str| touched.iter().any(|(_, touched, _)| touched == name);
    assert!(is_whole("passwd") && is_whole("shadow"), "{touched:?}");
}

#[test]
fn whoever_takes_a_lock_is_known_when_what_he_wrote_is_told_and_he_has_gone() {
    let (directory, watch) = unread();
    assert_eq!(watch.mark("/home"), []);
    let mut known = culprit::Known::default();
    let mut take = || take(&watch.groups, &watch.touches, &mut known);
    let script = ": > etc/passwd.lock; echo locked; read go; echo x >> etc/passwd";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "locked\n");
    assert!(!take(), "a lock wakes nobody");
    assert_eq!(watch.touches(), []);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(take());
    let touches = watch.touches();
    let culprit = touches.last().and_then(|touch| touch.culprit.as_ref()).unwrap();
    assert_eq!((culprit.pid, culprit.program.as_str()), (child.id(), "sh"), "{touches:?}");
}

#[test]
fn what_the_kernel_has_told_is_known_at_once_and_once_it_is_told_no_more() {
    let root = root();
    let pid = root.shell("echo x >> etc/passwd");
    let (begun, mut late) = (clocks::monotonic(), root.watch.late());
    // How soon is for whoever asks to say; here another may have the processor.
    while late.is_empty() && clocks::monotonic().saturating_sub(begun) < Duration::from_secs(10) {
        late = root.watch.late();
    }
    let culprit = late.first().and_then(|touch| touch.culprit.as_ref()).expect("it is known");
    assert_eq!((culprit.pid, late[0].name.as_str()), (pid, "passwd"));
    assert_eq!(root.watch.late(), late, "the next look knows it too");
    root.woken.recv_timeout(Duration::from_secs(10)).expect("and is taken");
    root.watch.forget(&late);
    assert!(root.watch.is_touched(), "what was not looked at is looked at");
    assert_eq!(root.watch.touches(), []);
    assert!(!root.watch.is_touched());
}

#[test]
fn a_password_that_somebody_changes_is_no_edit_of_pams_configuration() {
    let (directory, watch) = unread();
    fs::create_dir_all(directory.path().join("etc/security")).unwrap();
    assert_eq!(watch.mark("/home"), []);
    let mut known = culprit::Known::default();
    let mut take = || take(&watch.groups, &watch.touches, &mut known);
    let write = |name: &str| {
        let words = ["-c", &format!(": > etc/security/{name}")];
        let ended = Command::new("sh").args(words).current_dir(directory.path()).status();
        assert!(ended.unwrap().success());
    };
    write("opasswd");
    assert!(!take());
    write("access.conf");
    assert!(take());
}
