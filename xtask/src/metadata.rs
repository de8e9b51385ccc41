//! What the steps need of `cargo metadata`.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::process;

pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) target: PathBuf,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) published: bool,
    pub(crate) features: Vec<String>,
    pub(crate) examples: Vec<String>,
}

impl Metadata {
    pub(crate) fn read() -> Result<Self, String> {
        let json = process::output("cargo metadata --no-deps --format-version 1")?;
        Self::parse(&json).ok_or_else(|| "`cargo metadata` has changed its format".into())
    }

    fn parse(json: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(json).ok()?;
        Some(Self {
            packages: json["packages"].as_array()?.iter().map(Package::parse).collect::<Option<_>>()?,
            target: json["target_directory"].as_str()?.into(),
        })
    }
}

impl Package {
    fn parse(json: &Value) -> Option<Self> {
        let examples = json["targets"].as_array()?.iter().filter(|target| target["kind"] == json!(["example"]));
        Some(Self {
            name: json["name"].as_str()?.into(),
            published: json["publish"] != json!([]), // null: anywhere; a list: these registries
            features: json["features"].as_object()?.keys().cloned().collect(),
            examples: examples.map(|target| target["name"].as_str().map(str::to_owned)).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Metadata, Package};

    #[test]
    fn published_packages_their_features_and_examples_are_found() {
        let json = r#"{"target_directory": "/t", "packages": [
            {"name": "lib", "publish": null, "features": {"a": [], "default": ["a"]}, "targets": [
                {"kind": ["lib"], "name": "lib"}, {"kind": ["example"], "name": "hello"}]},
            {"name": "tool", "publish": [], "features": {}, "targets": []}]}"#;
        let metadata = Metadata::parse(json).expect("the format is cargo's");

        assert_eq!(metadata.target.to_str(), Some("/t"));
        let lib = Package {
            name: "lib".into(),
            published: true,
            features: vec!["a".into(), "default".into()],
            examples: vec!["hello".into()],
        };
        let tool = Package { name: "tool".into(), published: false, features: vec![], examples: vec![] };
        assert_eq!(metadata.packages, [lib, tool]);
    }

    #[test]
    fn a_package_without_the_expected_keys_is_refused() {
        let json = r#"{"target_directory": "/t", "packages": [{"name": "lib"}]}"#;
        assert!(Metadata::parse(json).is_none());
    }
}
