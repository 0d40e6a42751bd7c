//! The published JSON Schema of declarative files, from the definitions that read them. What is in
//! `packaging/schema` is this text; a test keeps it so.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::Declared;

/// The maps by name, each with what its names are.
const NAMES: &[(&str, &str)] = &[
    ("users", "Login"),
    ("groups", "ObjectName"),
    ("unix_groups", "UnixGroupName"),
    ("roles", "ObjectName"),
    ("assignments", "ObjectName"),
    ("adoptions", "ObjectName"),
];

/// Returns the schema as it is published.
pub fn text() -> Result<String, serde_json::Error> {
    let settings = SchemaSettings::draft2020_12();
    let mut schema = settings.into_generator().into_root_schema_for::<Declared>();
    schema.insert("title".to_owned(), "What files declare to Muster".into());
    for (map, name) in NAMES {
        let found =
            schema.pointer_mut(&format!("/properties/{map}")).and_then(Value::as_object_mut);
        if let Some(map) = found {
            map.insert("propertyNames".to_owned(), json!({ "$ref": format!("#/$defs/{name}") }));
        }
    }
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}
