//! Values that parse where they stand, so that an error names file, line and column.

use std::{borrow::Cow, cmp::Ordering};

use muster_proto::{
    key::SshPublicKey,
    name::{AbsolutePath, FullName, Line, Login, ObjectName, Uid, UnixGroupName, reserved},
    options::KeyOptions,
    selector::Selector,
    statement::{HomeMode, SourceNetwork},
    sudo::{RunAsUser, SudoCommand},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};
use serde_saphyr::Spanned;

use crate::told::told;

/// Where something stands in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
}

/// A text that was parsed to what it means, and where it stands. Two are the same if they mean the
/// same.
#[derive(Clone, Debug)]
pub struct Text<T> {
    /// What it means.
    pub value: T,
    /// Where it stands.
    pub at: At,
}

/// Anything else whose place is worth remembering.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    /// What stands there.
    pub value: T,
    /// Where.
    pub at: At,
}

impl<T: Ord> Ord for Text<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value.cmp(&other.value)
    }
}

impl<T: Ord> PartialOrd for Text<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: PartialEq> PartialEq for Text<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Text<T> {}

/// Something that a text in a file can mean.
pub trait FromText: Sized {
    /// What the schema says of it.
    const DESCRIPTION: &'static str;

    /// The type that the schema gives it.
    const TYPE: &'static str = "string";

    /// Returns what else the schema says: as much of the parser's rule as a schema can.
    fn rules() -> Schema;

    /// Reads the text.
    fn from_text(text: &str) -> Result<Self, String>;
}

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Placed { value, at } = Placed::<String>::deserialize(deserializer)?;
        T::from_text(&value).map(|value| Self { value, at }).map_err(D::Error::custom)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self { value, at: At { line: referenced.line(), column: referenced.column() } })
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<T: FromText> JsonSchema for Text<T> {
    fn schema_name() -> Cow<'static, str> {
        let name = std::any::type_name::<T>();
        name.rsplit("::").next().unwrap_or(name).to_owned().into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = T::rules();
        schema.insert("type".to_owned(), T::TYPE.into());
        schema.insert("description".to_owned(), T::DESCRIPTION.into());
        schema
    }
}

/// A key as it stands in a `.pub` file, with its comment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyLine {
    /// The key.
    pub key: SshPublicKey,
    /// What its holder calls it.
    pub comment: Line,
    /// What it may be used for.
    pub options: KeyOptions,
}

/// A login or a Unix group's name, as `name` reads it.
const ACCOUNT_NAME: &str = "[a-z_][a-z0-9_-]{0,30}";
/// A path: no part is empty, `.` or `..`.
const PATH: &str = r"(/([A-Za-z0-9_+-]|\.[A-Za-z0-9_+-]|\.\.[A-Za-z0-9._+-])[A-Za-z0-9._+-]*)+";
/// A label's key and its value.
const KEY: &str = "[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?";
const VALUE: &str = "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?";
/// Space that selectors may have between their words.
const SPACE: &str = r"[ \t\r\n]";

fn pattern(text: &str) -> Schema {
    json_schema!({ "pattern": format!("^{text}$") })
}

fn selector() -> Schema {
    let one = format!(
        "(!{SPACE}*{KEY}|{KEY}|{KEY}{SPACE}*(=|==|!=){SPACE}*{VALUE}|{KEY}{SPACE}+(in|notin){SPACE}*\\(\
         {SPACE}*{VALUE}{SPACE}*(,{SPACE}*{VALUE}{SPACE}*)*\\))"
    );
    pattern(&format!("{SPACE}*{one}{SPACE}*(,{SPACE}*{one}{SPACE}*)*"))
}

macro_rules! from_text {
    ($($type:ty: $description:literal, $parse:expr, $rules:expr;)*) => {$(
        impl FromText for $type {
            const DESCRIPTION: &'static str = $description;

            fn rules() -> Schema {
                $rules
            }

            fn from_text(text: &str) -> Result<Self, String> {
                #[allow(clippy::redundant_closure_call, reason = "one macro for all types")]
                ($parse)(text).map_err(|error| told(&error))
            }
        }
    )*};
}

from_text! {
    Login: "A login: a lower-case letter or `_`, then up to 30 of a-z, 0-9, `_` and `-`; none that a system has for itself.",
        Login::parse,
        json_schema!({
            "pattern": format!("^{ACCOUNT_NAME}$"),
            "not": { "anyOf": [{ "enum": reserved() }, { "pattern": "^systemd-" }] },
        });
    UnixGroupName: "The name of a Unix group: a lower-case letter or `_`, then up to 30 of a-z, 0-9, `_` and `-`.",
        UnixGroupName::parse,
        pattern(ACCOUNT_NAME);
    ObjectName: "A name of up to 63 lower-case letters, digits and `-`.",
        ObjectName::parse,
        pattern("[a-z0-9][a-z0-9-]{0,62}");
    FullName: "A full name for the account's GECOS field: printable ASCII without `:`, `,` and `\\`.",
        FullName::parse,
        pattern(r"[ -+\-./0-9;-\[\]-~]{0,100}");
    AbsolutePath: "An absolute path, without `..`, of letters, digits, `.`, `_`, `+` and `-`.",
        AbsolutePath::parse,
        json_schema!({ "pattern": format!("^{PATH}$"), "maxLength": 200 });
    Line: "One line of text, at most 200 characters, none of them invisible.",
        Line::parse,
        json_schema!({
            "maxLength": 200,
            "pattern": r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]*$",
        });
    Selector: "A label selector such as `env=prod,tier in (db,cache),!edge`, or `all`.",
        Selector::parse,
        selector();
    HomeMode: "The mode of the home: 0700, 0711, 0750, 0751 or 0755.",
        HomeMode::parse,
        pattern("07(00|11|50|51|55)");
    SourceNetwork: "An address or network in CIDR form.",
        SourceNetwork::parse,
        pattern("[0-9A-Fa-f:.]+(/[0-9]{1,3})?");
    SudoCommand: "`ALL`, `/path` (any arguments), `/path \"\"` (none) or `/path a b` (exactly these).",
        SudoCommand::parse,
        json_schema!({
            "pattern": format!("^(ALL|{PATH}( \"\"|( [A-Za-z0-9._/+@=:-]+)*))$"),
            "maxLength": 1000,
        });
    RunAsUser: "An account of the host, or `ALL`.",
        RunAsUser::parse,
        pattern(&format!("(ALL|{ACCOUNT_NAME})"));
}

/// A uid or gid as asked for; whether it is free is judged later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub u32);

impl FromText for Number {
    const DESCRIPTION: &'static str = "A number from 1000 to 59999 or 100000 to 499999.";
    const TYPE: &'static str = "integer";

    fn rules() -> Schema {
        json_schema!({
            "anyOf": [
                { "minimum": 1_000, "maximum": 59_999 },
                { "minimum": 100_000, "maximum": 499_999 },
            ],
        })
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let bad = |_| format!("`{}` is not a uid or gid: expected a number", text.escape_debug());
        let number: u32 = text.parse().map_err(bad)?;
        Uid::parse(number).map(|uid| Self(uid.get())).map_err(|error| told(&error))
    }
}

/// How a file names a host: by its full id or by what it calls itself. Which one that is, is judged
/// later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(String);

impl HostName {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromText for HostName {
    const DESCRIPTION: &'static str = "A host's full id or its hostname: a letter or digit, then up to 252 of them, `.`, `_` and `-`.";

    fn rules() -> Schema {
        pattern("[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && text.len() <= 253 && text.bytes().all(inside) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.escape_debug().take(80).collect();
        Err(format!(
            "`{shown}` is neither a host's id nor a hostname: expected letters, digits, `.`, `_` and `-`"
        ))
    }
}

impl FromText for KeyLine {
    const DESCRIPTION: &'static str = "An SSH public key as in a `.pub` file: TYPE BASE64 COMMENT; \
        before it may stand, as in authorized_keys: from=\"NETWORKS\",command=\"COMMAND\",restrict";

    fn rules() -> Schema {
        let network = "[0-9A-Fa-f:.]+(/[0-9]{1,3})?";
        let word = "[A-Za-z0-9._/+@=:,-]";
        let option = format!(
            "(from=\"{network}(,{network})*\"|command=\"(internal-sftp|/{word}*)( {word}+)*\"|restrict)"
        );
        let kinds = "(ssh-ed25519|sk-ssh-ed25519@openssh\\.com|ecdsa-sha2-nistp(256|384|521)|\
                     sk-ecdsa-sha2-nistp256@openssh\\.com|ssh-rsa)";
        pattern(&format!("({option}(,{option})* )?{kinds} [A-Za-z0-9+/]+={{0,2}}( .*)?"))
    }

    fn from_text(text: &str) -> Result<Self, String> {
        // A private key's first line must not be taken for options.
        let (options, key) = if text.contains("PRIVATE KEY") {
            (KeyOptions::default(), text)
        } else {
            KeyOptions::split(text).map_err(|error| told(&error))?
        };
        let (key, comment) = SshPublicKey::parse(key).map_err(|error| told(&error))?;
        let comment = Line::parse(&comment).map_err(|error| told(&error))?;
        Ok(Self { key, comment, options })
    }
}
