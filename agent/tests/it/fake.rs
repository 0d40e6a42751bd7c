//! A host in memory: what `Linux` does to files, done to an observed state. It fails only where it
//! is told to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use muster_agent::{
    clock::Clocks,
    drift::{
        Difference, Touch,
        effect::{Asking, Expected},
    },
    format::{
        Edit, Table, Value,
        authorized_keys::Keys,
        passwd,
        pwquality::{Check, Settings},
    },
    host::{Host, ObserveError, Report, rest::Still},
    inventory::{Other, Sources, Sudo},
    observed::{DropIn, Elsewhere, Home, ObservedState, RootFile, Running, Scope},
    plan::{Action, Files},
};

use muster_proto::name::Login;

use crate::world::{GROUP, GSHADOW, NOW, PASSWD, SHADOW};

pub struct Fake {
    passwd: Table,
    shadow: Table,
    group: Table,
    gshadow: Table,
    homes: BTreeMap<String, Home>,
    keys: BTreeMap<String, RootFile>,
    sudo: BTreeMap<String, RootFile>,
    drop_in: DropIn,
    password_policy: BTreeMap<String, RootFile>,
    pub password_check: Check,
    pub elsewhere: BTreeMap<String, Elsewhere>,
    pub running: BTreeMap<u32, Running>,
    /// The keys of accounts that are not Muster's.
    pub others: BTreeMap<String, Keys>,
    /// Whose jobs come back while sessions are ended.
    pub jobs_back: BTreeSet<Login>,
    /// Actions that fail, by their `Debug` name.
    pub failing: Vec<&'static str>,
    /// Whose shell somebody else changes while the account files are rewritten, each time anew: that
    /// stops the rewrite.
    pub outrun: VecDeque<&'static str>,
    /// The lines at the end of passwd that somebody wrote there.
    by_hand: String,
    /// What happens just before something is done.
    pub before_doing: Option<Box<dyn FnMut()>>,
    pub done: Vec<String>,
    pub clocks: Clocks,
    /// What sudo and PAM say otherwise, each with who made it.
    pub said: Vec<(Difference, Touch)>,
    /// What is said to whether all is as it was.
    pub still: Still,
}

fn table(text: &str) -> Table {
    Table::parse(text.as_bytes().to_vec()).unwrap()
}

impl Fake {
    pub fn new() -> Self {
        Self {
            passwd: table(PASSWD),
            shadow: table(SHADOW),
            group: table(GROUP),
            gshadow: table(GSHADOW),
            homes: BTreeMap::from([("/home/eve".to_owned(), Home::Directory(1_500))]),
            keys: BTreeMap::new(),
            sudo: BTreeMap::new(),
            drop_in: DropIn::Absent,
            password_policy: BTreeMap::new(),
            password_check: Check::Quality {
                before: Settings::default(),
                after: Settings::default(),
                unix: 6,
            },
            elsewhere: BTreeMap::new(),
            running: BTreeMap::new(),
            others: BTreeMap::new(),
            jobs_back: BTreeSet::new(),
            failing: Vec::new(),
            outrun: VecDeque::new(),
            by_hand: String::new(),
            before_doing: None,
            done: Vec::new(),
            clocks: Clocks { wall: NOW, boot: 0 },
            said: Vec::new(),
            still: Still::Changed,
        }
    }

    pub fn passwd(&self) -> String {
        String::from_utf8(self.passwd.text().to_vec()).unwrap()
    }

    /// Gives somebody another shell, as `usermod` does.
    pub fn change_shell(&mut self, login: &str) {
        let value = Value::Text("/bin/dash".to_owned());
        let edit = Edit::Set { name: login.to_owned(), field: passwd::SHELL, value };
        self.passwd = Table::parse(self.passwd.splice(&[edit]).unwrap()).unwrap();
    }

    /// Has these lines at the end of passwd instead of those that were there by this.
    pub fn change_passwd(&mut self, lines: &str) {
        let before = self.passwd();
        let before = before.strip_suffix(&self.by_hand).unwrap();
        self.passwd = table(&format!("{before}{lines}"));
        lines.clone_into(&mut self.by_hand);
    }

    /// Who can log in with a key of Muster's.
    pub fn keyed(&self) -> Vec<&str> {
        self.keys.keys().map(String::as_str).collect()
    }
}

/// By hand.
impl Fake {
    /// Writes somebody's keys file, or removes it.
    pub fn put_keys(&mut self, login: &str, text: Option<&str>) {
        put_file(&mut self.keys, login, text);
    }

    /// Writes a sudo file, or removes it.
    pub fn put_sudo(&mut self, name: &str, text: Option<&str>) {
        put_file(&mut self.sudo, name, text);
    }

    /// Returns somebody's keys file; empty if there is none.
    pub fn keys_of(&self, login: &str) -> String {
        text_of(&self.keys, login)
    }

    /// Returns a sudo file; empty if there is none.
    pub fn sudo_file(&self, name: &str) -> String {
        text_of(&self.sudo, name)
    }

    /// Says whether an account's password is locked.
    pub fn is_locked(&self, login: &str) -> bool {
        let line = self.shadow.get(login).unwrap();
        line.text(1).unwrap().starts_with('!')
    }
}

fn put_file(place: &mut BTreeMap<String, RootFile>, name: &str, text: Option<&str>) {
    place.remove(name);
    let file = |text: &str| RootFile { text: text.as_bytes().to_vec(), sound: true };
    place.extend(text.map(|text| (name.to_owned(), file(text))));
}

fn text_of(place: &BTreeMap<String, RootFile>, name: &str) -> String {
    let text = place.get(name).map(|file| file.text.clone()).unwrap_or_default();
    String::from_utf8(text).unwrap()
}

fn put(place: &mut BTreeMap<String, RootFile>, files: &Files) {
    for name in &files.remove {
        place.remove(name);
    }
    for (name, text) in &files.write {
        let text = text.clone().into_bytes();
        place.insert(name.clone(), RootFile { text, sound: true });
    }
}

impl Host for Fake {
    fn clocks(&self) -> Clocks {
        self.clocks
    }

    fn observe(&mut self, scope: &Scope) -> Result<ObservedState, ObserveError> {
        let mut observed = ObservedState {
            passwd: self.passwd.clone(),
            shadow: self.shadow.clone(),
            group: self.group.clone(),
            gshadow: Some(self.gshadow.clone()),
            keys: self.keys.clone(),
            sudo: Some(self.sudo.clone()),
            drop_in: self.drop_in.clone(),
            password_policy: self.password_policy.clone(),
            password_check: self.password_check.clone(),
            running: self.running.clone(),
            ..ObservedState::default()
        };
        for (login, wanted) in &scope.wanted {
            let entry = self.passwd.get(login.as_str());
            let path = wanted.home.place(entry.and_then(|entry| entry.text(5)));
            let home = self.homes.get(path).copied().unwrap_or(Home::Absent);
            observed.homes.insert(login.clone(), home);
            let answer = self.elsewhere.get(login.as_str()).cloned().unwrap_or(Elsewhere::Nobody);
            observed.elsewhere.insert(login.clone(), answer);
        }
        Ok(observed)
    }

    fn sources(&mut self, _: &ObservedState, _: &[Other]) -> Sources {
        Sources { keys: self.others.clone(), sudo: Sudo::Rules(Vec::new()) }
    }

    fn effects(&mut self, _: &ObservedState, _: &Expected<'_>, _: Asking) -> Vec<Difference> {
        self.said.iter().map(|(said, _)| said.clone()).collect()
    }

    fn heard_after(&self) -> Vec<Touch> {
        self.said.iter().map(|(_, by)| by.clone()).collect()
    }

    fn remember(&mut self) {}

    fn forget(&mut self) {}

    fn still(&mut self) -> Still {
        self.still
    }

    fn prepare(&mut self, _: &[&Action]) {}

    fn perform(&mut self, action: &Action) -> Report {
        let name = format!("{action:?}").split('(').next().unwrap().to_owned();
        if let Some(happens) = &mut self.before_doing {
            happens();
        }
        self.done.push(name.clone());
        if self.failing.contains(&name.as_str()) {
            return Report { untouched: true, ..Report::failed("told to fail") };
        }
        if name == "Accounts"
            && let Some(login) = self.outrun.pop_front()
        {
            self.change_shell(login);
            let failed = Report::failed("somebody else was faster");
            return Report { untouched: true, outrun: true, ..failed };
        }
        match action {
            Action::Sudo(files) => put(&mut self.sudo, files),
            Action::Keys(files) => put(&mut self.keys, files),
            Action::PasswordPolicy(files) => put(&mut self.password_policy, files),
            Action::Accounts(edits) => {
                for (table, edits) in [
                    (&mut self.gshadow, &edits.gshadow),
                    (&mut self.group, &edits.group),
                    (&mut self.shadow, &edits.shadow),
                    (&mut self.passwd, &edits.passwd),
                ] {
                    *table = Table::parse(table.splice(edits).unwrap()).unwrap();
                }
            }
            Action::Sessions(leavers) => {
                self.running.retain(|uid, _| leavers.iter().all(|leaver| leaver.uid != *uid));
                let jobs_back = std::mem::take(&mut self.jobs_back);
                return Report { jobs_back, ..Report::default() };
            }
            Action::Jobs(_) | Action::LeftBehind(_) | Action::Purge(_) | Action::Sweep(_) => {}
            Action::Homes(homes) => {
                let built = homes.iter().map(|home| (home.path.clone(), Home::Directory(home.uid)));
                self.homes.extend(built);
            }
            Action::DropIn(files) => {
                let text = files.write.values().next();
                self.drop_in = text.map_or(DropIn::Absent, |text| {
                    let text = text.clone().into_bytes();
                    DropIn::Present(RootFile { text, sound: true })
                });
            }
        }
        Report::default()
    }

    fn settle(&mut self) {}
}
