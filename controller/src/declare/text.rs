//! Values that parse where they stand, so that an error names file, line and column.

use std::{borrow::Cow, cmp::Ordering};

use muster_proto::{
    key::SshPublicKey,
    name::{AbsolutePath, FullName, Line, Login, ObjectName, Uid, UnixGroupName},
    options::KeyOptions,
    selector::Selector,
    statement::{HomeMode, SourceNetwork},
    sudo::{RunAsUser, SudoCommand},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};
use serde_saphyr::Spanned;

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
        json_schema!({ "type": T::TYPE, "description": T::DESCRIPTION })
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

fn why(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

macro_rules! from_text {
    ($($type:ty: $description:literal, $parse:expr;)*) => {$(
        impl FromText for $type {
            const DESCRIPTION: &'static str = $description;

            fn from_text(text: &str) -> Result<Self, String> {
                #[allow(clippy::redundant_closure_call, reason = "one macro for all types")]
                ($parse)(text).map_err(|error| why(&error))
            }
        }
    )*};
}

from_text! {
    Login: "A login: a lower-case letter or `_`, then up to 30 of a-z, 0-9, `_` and `-`.", Login::parse;
    UnixGroupName: "The name of a Unix group.", UnixGroupName::parse;
    ObjectName: "A name of lower-case letters, digits and `-`.", ObjectName::parse;
    FullName: "A full name for the account's GECOS field: printable ASCII without `:`, `,` and `\\`.", FullName::parse;
    AbsolutePath: "An absolute path.", AbsolutePath::parse;
    Line: "One line of text, at most 200 characters.", Line::parse;
    Selector: "A label selector such as `env=prod,tier in (db,cache),!edge`, or `all`.", Selector::parse;
    HomeMode: "The mode of the home: 0700, 0711, 0750, 0751 or 0755.", HomeMode::parse;
    SourceNetwork: "An address or network in CIDR form.", SourceNetwork::parse;
    SudoCommand: "`ALL`, `/path` (any arguments), `/path \"\"` (none) or `/path a b` (exactly these).", SudoCommand::parse;
    RunAsUser: "An account of the host, or `ALL`.", RunAsUser::parse;
}

/// A uid or gid as asked for; whether it is free is judged later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub u32);

impl FromText for Number {
    const DESCRIPTION: &'static str = "A number from 1000 to 59999 or 100000 to 499999.";
    const TYPE: &'static str = "integer";

    fn from_text(text: &str) -> Result<Self, String> {
        let bad = |_| format!("`{}` is not a uid or gid: expected a number", text.escape_debug());
        let number: u32 = text.parse().map_err(bad)?;
        Uid::parse(number).map(|uid| Self(uid.get())).map_err(|error| why(&error))
    }
}

impl FromText for KeyLine {
    const DESCRIPTION: &'static str = "An SSH public key as in a `.pub` file: TYPE BASE64 COMMENT; \
        before it may stand, as in authorized_keys: from=\"NETWORKS\",command=\"COMMAND\",restrict";

    fn from_text(text: &str) -> Result<Self, String> {
        // A private key's first line must not be taken for options.
        let (options, key) = if text.contains("PRIVATE KEY") {
            (KeyOptions::default(), text)
        } else {
            KeyOptions::split(text).map_err(|error| why(&error))?
        };
        let (key, comment) = SshPublicKey::parse(key).map_err(|error| why(&error))?;
        let comment = Line::parse(&comment).map_err(|error| why(&error))?;
        Ok(Self { key, comment, options })
    }
}
