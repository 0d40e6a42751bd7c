//! What `Defaults` in sudo's files make of a rule of ours, though they are no rule: whether and by
//! what somebody is asked who she is (`sudoers(5)`). One for whoever is run as (`Defaults>`) looks
//! in an answer of cvtsudoers like one for a user, and is taken for that.

use serde::Deserialize;
use serde_json::Value;

use super::Member;

/// Settings, each by its name, and for whom they are: for everybody if for nobody in particular.
#[derive(Deserialize)]
pub(super) struct Defaults {
    #[serde(rename = "Binding", default)]
    binding: Vec<Member>,
    #[serde(rename = "Options", default)]
    settings: Vec<Value>,
}

/// What is set for a command of somebody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    /// Whether a rule that says nothing of it asks for a password.
    pub(super) authenticate: Option<bool>,
    /// Of this Unix group nobody is asked for one, whatever a rule says.
    pub(super) exempt: Option<String>,
    /// This service of PAM's says who she is, and not sudo's.
    pub(super) service: Option<String>,
    root: bool,
    run_as: bool,
    target: bool,
}

impl Set {
    /// Returns what is set by those for whom `fits` says so.
    pub(super) fn of(all: &[Defaults], fits: &dyn Fn(&Member) -> bool) -> Self {
        let mut set = Self::default();
        for Defaults { binding, settings } in all {
            if binding.is_empty() || last_that_fits(binding, fits) {
                for setting in settings {
                    set.take(setting);
                }
            }
        }
        set
    }

    /// Takes a setting that is read here: a name, or whether it is set.
    fn take(&mut self, setting: &Value) {
        let name = |value: &Value| value.as_str().map(str::to_owned);
        if let Some(value) = setting.get("authenticate") {
            self.authenticate = value.as_bool();
        }
        if let Some(value) = setting.get("exempt_group") {
            self.exempt = name(value);
        }
        if let Some(value) = setting.get("pam_service") {
            self.service = name(value).filter(|name| name != "sudo");
        }
        for (own, keyword) in [
            (&mut self.root, "rootpw"),
            (&mut self.run_as, "runaspw"),
            (&mut self.target, "targetpw"),
        ] {
            *own = setting.get(keyword).map_or(*own, |value| value.as_bool() == Some(true));
        }
    }

    /// Returns what makes sudo ask for another password than hers.
    pub(super) fn other_password(&self) -> Option<&'static str> {
        let all = [(self.root, "rootpw"), (self.run_as, "runaspw"), (self.target, "targetpw")];
        all.into_iter().find(|(is_set, _)| *is_set).map(|(_, setting)| setting)
    }
}

/// Says whether the last member of a list that fits is not negated, as everywhere in sudoers.
pub(super) fn last_that_fits(members: &[Member], fits: &dyn Fn(&Member) -> bool) -> bool {
    members.iter().rev().find(|member| fits(member)).is_some_and(|member| !member.negated)
}
