//! How long a new password has to be, as libpwquality reads it: the drop-ins in the order of their
//! names, then the main file, then the arguments of the module; what is read later holds. Ours is
//! one of the drop-ins, and holds only where nothing that is read after it says otherwise.

/// The main file, read after all drop-ins.
pub const MAIN: &str = "pwquality.conf";
/// The directory of the main file.
pub const PLACE: &str = "/etc/security";
/// The directory of the drop-ins.
pub const DIRECTORY: &str = "/etc/security/pwquality.conf.d";
/// Our drop-in.
pub const FILE: &str = "50-muster.conf";

/// More than PAM takes for a password (`PAM_MAX_RESP_SIZE`, with its end).
pub const MOST_LENGTH: u32 = 511;

/// What holds where nothing is said.
const DEFAULT_LENGTH: u32 = 8;
/// Less is taken for this.
const LEAST_LENGTH: u32 = 6;
/// libpwquality reads nothing more after a line of more bytes.
const MOST_LINE_BYTES: usize = 1022;

const CREDITS: [&str; 4] = ["dcredit", "ucredit", "lcredit", "ocredit"];
/// Settings that do not bear on the length, of libpwquality 1.4.5 and before.
const OTHERS: &[&str] = &[
    "difok",
    "minclass",
    "maxrepeat",
    "maxclassrepeat",
    "maxsequence",
    "gecoscheck",
    "dictcheck",
    "usercheck",
    "usersubstr",
    "badwords",
    "dictpath",
    "retry",
    "enforce_for_root",
    "local_users_only",
];

/// What settings say of the length, each as it was said last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    minlen: Option<i32>,
    /// How much shorter a password may be for what it has of one kind.
    credits: [Option<i32>; 4],
    enforcing: Option<i32>,
}

/// Who sees to how long a new password is, our drop-in left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Nobody has looked.
    #[default]
    Unseen,
    /// It cannot be told, for this reason.
    Unclear(String),
    /// `pam_unix` alone, which wants so many characters.
    Unix(u32),
    /// `pam_pwquality`, and `pam_unix` after it.
    Quality {
        /// What is read before our drop-in.
        before: Settings,
        /// What is read after it.
        after: Settings,
        /// What `pam_unix` wants.
        unix: u32,
    },
}

/// A file of settings that libpwquality reads no further, or may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is no setting that is known here")]
pub struct BadSettings {
    line: usize,
}

impl Settings {
    /// Reads a file of settings after these.
    pub fn read(&mut self, text: &[u8]) -> Result<(), BadSettings> {
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let bad = || BadSettings { line: number + 1 };
            if line.len() > MOST_LINE_BYTES {
                return Err(bad());
            }
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let ends = |c: char| c.is_whitespace() || c == '=';
            let (name, value) = line.split_once(ends).unwrap_or((line, ""));
            let value = value.trim_start();
            let value = value.strip_prefix('=').unwrap_or(value).trim_start();
            self.set(name, value).ok_or_else(bad)?;
        }
        Ok(())
    }

    /// Reads the arguments of the module after these. It passes over what it does not know.
    pub fn argue(&mut self, arguments: &[String]) {
        for argument in arguments {
            let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
            let _ = self.set(name, value);
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let name = name.to_ascii_lowercase();
        let credits = CREDITS.iter().zip(&mut self.credits);
        if let Some((_, credit)) = credits.into_iter().find(|(known, _)| **known == name) {
            *credit = Some(value.parse().ok()?);
        } else if name == "minlen" {
            self.minlen = Some(value.parse().ok()?);
        } else if name == "enforcing" {
            self.enforcing = Some(value.parse().ok()?);
        } else if !OTHERS.contains(&name.as_str()) {
            return None;
        }
        Some(())
    }

    fn then(&self, later: &Self) -> Self {
        let mut credits = self.credits;
        for (credit, later) in credits.iter_mut().zip(later.credits) {
            *credit = later.or(*credit);
        }
        Self {
            minlen: later.minlen.or(self.minlen),
            credits,
            enforcing: later.enforcing.or(self.enforcing),
        }
    }

    /// By how much a password may be shorter than is said, if it has all that counts for it.
    fn credit(&self) -> u32 {
        let credits = self.credits.iter().flatten();
        credits.filter_map(|credit| u32::try_from(*credit).ok()).fold(0, u32::saturating_add)
    }

    /// The length of the shortest password that is taken.
    fn shortest(&self) -> u32 {
        if self.enforcing == Some(0) {
            return 0;
        }
        let length = self.minlen.map(|length| u32::try_from(length).unwrap_or_default());
        let length = length.unwrap_or(DEFAULT_LENGTH).max(LEAST_LENGTH);
        length.saturating_sub(self.credit())
    }
}

impl Check {
    /// Returns the length of the shortest password that is taken, with our drop-in saying this;
    /// nothing if that cannot be told.
    pub fn shortest(&self, ours: Option<u32>) -> Option<u32> {
        match self {
            Self::Unseen | Self::Unclear(_) => None,
            Self::Unix(length) => Some(*length),
            Self::Quality { before, after, unix } => {
                let minlen = ours.and_then(|length| i32::try_from(length).ok());
                let ours = Settings { minlen, ..Settings::default() };
                Some(before.then(&ours).then(after).shortest().max(*unix))
            }
        }
    }

    /// Returns what our drop-in has to say for passwords to be so long: nothing if they have to be
    /// without it, or if it would be of no use. It must never make another's setting weaker.
    pub fn needs(&self, length: u32) -> Option<u32> {
        let Self::Quality { before, after, .. } = self else { return None };
        if length == 0 || self.shortest(None).is_some_and(|shortest| shortest >= length) {
            return None;
        }
        let ours = length.saturating_add(before.then(after).credit());
        let is_of_use = ours <= MOST_LENGTH && self.shortest(Some(ours)) >= Some(length);
        is_of_use.then_some(ours)
    }

    /// Returns why passwords need not be so long, as somebody is told who can change it.
    pub fn why_not(&self, length: u32) -> String {
        match self {
            _ if length > MOST_LENGTH => format!("PAM takes no more than {MOST_LENGTH}"),
            Self::Unseen => "nobody has looked at what PAM checks".to_owned(),
            Self::Unclear(reason) => format!("it cannot be told who checks them: {reason}"),
            Self::Unix(_) => "`passwd` does not run pam_pwquality: install libpam-pwquality, and \
                              see that /etc/pam.d/common-password runs it before pam_unix"
                .to_owned(),
            Self::Quality { before, after, .. } => {
                if before.then(after).enforcing == Some(0) {
                    return format!("`enforcing = 0` stands in {PLACE}: take it out");
                }
                let shortest = self.shortest(Some(length)).unwrap_or_default();
                format!(
                    "{shortest} are enough by what {PLACE}/{MAIN}, a later drop-in or an argument \
                     of pam_pwquality says of `minlen` or credits: take it out there"
                )
            }
        }
    }
}

/// Returns our drop-in.
pub fn render(length: u32) -> String {
    format!("# Written by Muster; changes made here are taken back.\nminlen = {length}\n")
}

/// Returns what `pam_unix` wants by its arguments (`pam_unix`(8)).
pub fn unix_length(arguments: &[String]) -> u32 {
    let said = arguments.iter().filter_map(|argument| argument.strip_prefix("minlen="));
    said.filter_map(|length| length.parse().ok()).next_back().unwrap_or(LEAST_LENGTH)
}

#[cfg(test)]
mod tests;
