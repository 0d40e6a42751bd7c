//! What accounts a host has, whoever made them: in the words of the host, which signs them inside its
//! receipts. Who was granted what is not in here; whoever wants both holds one beside the other.

/// The accounts of a host that can log in or become root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// In the order of their logins.
    pub accounts: Vec<LocalAccount>,
    /// How many more there are, which do not fit.
    pub more: u32,
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAccount {
    /// Its login, of whatever form.
    pub login: String,
    /// Its uid.
    pub uid: u32,
    /// The full name, as the host has it.
    pub name: String,
    /// What it runs.
    pub shell: String,
    /// What its password is.
    pub password: LocalPassword,
    /// Whether its day in shadow has come, so that PAM lets nobody in.
    pub shut: bool,
    /// Fingerprints of the keys that let somebody in.
    pub keys: Vec<String>,
    /// Each way in which it is or becomes root.
    pub root_by: Vec<String>,
    /// Each thing about its ways in and to root that could not be learnt.
    pub unknown: Vec<String>,
    /// Whether it is Muster's.
    pub owned: bool,
}

/// What the password of an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LocalPassword {
    /// No password fits.
    None,
    /// There is one.
    Set,
    /// The empty one fits.
    Empty,
    /// It is locked.
    Locked,
}

impl LocalPassword {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Set => "set",
            Self::Empty => "empty",
            Self::Locked => "locked",
        }
    }

    /// Says whether somebody gets in by it.
    pub fn lets_in(self) -> bool {
        matches!(self, Self::Set | Self::Empty)
    }
}
