//! Turns the Rust bindings of Flux's custom resources into JSON schemas.
//!
//! The bindings have no schemas of their own (`schema = "disabled"`), so their source is read: each
//! struct becomes an object, its fields the properties. In the folder of this tool:
//!
//!     cargo run > ../../crates/gitops/src/schema/flux.json

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use syn::{Attribute, Fields, GenericArgument, Item, PathArguments, Type};

/// The groups, and the crates with their bindings.
const CRATES: [(&str, &str); 3] = [
    ("helm.toolkit.fluxcd.io", "kcr_helm_toolkit_fluxcd_io"),
    ("kustomize.toolkit.fluxcd.io", "kcr_kustomize_toolkit_fluxcd_io"),
    ("source.toolkit.fluxcd.io", "kcr_source_toolkit_fluxcd_io"),
];

fn main() -> anyhow::Result<()> {
    let folders = folders()?;
    let mut kinds = BTreeMap::new();
    for (group, name) in CRATES {
        let folder = folders.get(name).with_context(|| format!("cargo knows no {name}"))?;
        for version in fs::read_dir(folder)? {
            let version = version?;
            if version.file_type()?.is_dir() {
                let name = version.file_name().to_string_lossy().into_owned();
                read_version(&version.path(), group, &name, &mut kinds)?;
            }
        }
    }
    println!("{}", serde_json::to_string_pretty(&kinds)?);
    Ok(())
}

/// Where cargo has put the sources of the bindings.
fn folders() -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let output = Command::new("cargo").args(["metadata", "--format-version=1"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let mut folders = BTreeMap::new();
    for package in packages {
        let (name, manifest) = (package["name"].as_str(), package["manifest_path"].as_str());
        let (name, manifest) = name.zip(manifest).context("a package without a name")?;
        let folder = Path::new(manifest).with_file_name("src");
        folders.insert(name.to_owned(), folder);
    }
    Ok(folders)
}

fn read_version(
    folder: &Path,
    group: &str,
    version: &str,
    kinds: &mut BTreeMap<String, Value>,
) -> anyhow::Result<()> {
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if path.file_name().is_some_and(|name| name == "mod.rs") {
            continue;
        }
        let syntax = syn::parse_file(&fs::read_to_string(&path)?)?;
        let types: BTreeMap<String, &Item> = syntax.items.iter().filter_map(named).collect();
        for item in &syntax.items {
            let Item::Struct(definition) = item else { continue };
            if let Some(kind) = kind_of(&definition.attrs) {
                let spec = schema_of(&definition.ident.to_string(), &types)?;
                kinds.insert(format!("{group}/{version}/{kind}"), spec);
            }
        }
    }
    Ok(())
}

fn named(item: &Item) -> Option<(String, &Item)> {
    match item {
        Item::Struct(definition) => Some((definition.ident.to_string(), item)),
        Item::Enum(definition) => Some((definition.ident.to_string(), item)),
        _ => None,
    }
}

/// The kind in `#[kube(kind = "…")]`.
fn kind_of(attributes: &[Attribute]) -> Option<String> {
    value_in(attributes, "kube", "kind")
}

/// The text of `key = "text"` in an attribute.
fn value_in(attributes: &[Attribute], name: &str, key: &str) -> Option<String> {
    let mut found = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(name)) {
        // Other forms of nested attributes end the reading of this one.
        let _ = attribute.parse_nested_meta(|meta| {
            let is_meant = meta.path.is_ident(key);
            if meta.input.peek(syn::Token![=]) {
                let text: syn::LitStr = meta.value()?.parse()?;
                if is_meant {
                    found = Some(text.value());
                }
            }
            Ok(())
        });
    }
    found
}

fn schema_of(name: &str, types: &BTreeMap<String, &Item>) -> anyhow::Result<Value> {
    match types.get(name) {
        Some(Item::Struct(definition)) => {
            let Fields::Named(fields) = &definition.fields else {
                bail!("{name} has no named fields");
            };
            let mut properties = Map::new();
            let mut required = Vec::new();
            for field in &fields.named {
                let ident = field.ident.as_ref().context("a field without a name")?.to_string();
                let ident = ident.trim_start_matches("r#").to_owned();
                let key = value_in(&field.attrs, "serde", "rename").unwrap_or(ident);
                let (inner, is_optional) = optional(&field.ty);
                properties.insert(key.clone(), type_schema(inner, types)?);
                if !is_optional {
                    required.push(key);
                }
            }
            let mut schema = json!({"type": "object", "properties": properties});
            if !required.is_empty() {
                schema["required"] = required.into();
            }
            Ok(schema)
        }
        Some(Item::Enum(definition)) => {
            let names = definition.variants.iter().map(|variant| {
                let renamed = value_in(&variant.attrs, "serde", "rename");
                renamed.unwrap_or_else(|| variant.ident.to_string())
            });
            Ok(json!({"type": "string", "enum": names.collect::<Vec<_>>()}))
        }
        _ => bail!("the type {name} is not known"),
    }
}

/// The type in an `Option`.
fn optional(ty: &Type) -> (&Type, bool) {
    match generic(ty) {
        Some((name, arguments)) if name == "Option" => (arguments[0], true),
        _ => (ty, false),
    }
}

fn type_schema(ty: &Type, types: &BTreeMap<String, &Item>) -> anyhow::Result<Value> {
    let (name, arguments) = generic(ty).context("a type that is no path")?;
    Ok(match name.as_str() {
        "String" => json!({"type": "string"}),
        "bool" => json!({"type": "boolean"}),
        "i32" | "i64" | "u32" | "u64" => json!({"type": "integer"}),
        "f32" | "f64" => json!({"type": "number"}),
        "IntOrString" => json!({"x-kubernetes-int-or-string": true}),
        "Value" | "Condition" => json!({"x-kubernetes-preserve-unknown-fields": true}),
        "Vec" => json!({"type": "array", "items": type_schema(arguments[0], types)?}),
        "BTreeMap" | "HashMap" => {
            json!({"type": "object", "additionalProperties": type_schema(arguments[1], types)?})
        }
        "Option" | "Box" => type_schema(arguments[0], types)?,
        other => schema_of(other, types)?,
    })
}

/// The last name of a path, and what stands in its angle brackets.
fn generic(ty: &Type) -> Option<(String, Vec<&Type>)> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    let arguments = match &last.arguments {
        PathArguments::AngleBracketed(arguments) => arguments
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    Some((last.ident.to_string(), arguments))
}
