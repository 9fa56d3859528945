//! Content negotiation: what a client sends and what it wants to get.

use crate::status::Status;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`; only read, never written.
    Protobuf,
}

/// In which form objects are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// As they are.
    Object,
    /// As rows of a table.
    Table,
    /// Their metadata only.
    Partial,
    /// Lists of metadata only.
    PartialList,
}

/// What a client wants to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Encoding.
    pub encoding: Encoding,
    /// Form.
    pub form: Form,
    /// The version of `meta.k8s.io` of the form.
    pub meta_version: &'static str,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            encoding: Encoding::Json,
            form: Form::Object,
            meta_version: "v1",
        }
    }
}

/// One clause of an `Accept` header.
struct Clause<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Clause<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    }
}

fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept
        .split(',')
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
            let quality = parameters.iter().find(|(key, _)| *key == "q");
            let quality = quality
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(1.0);
            Clause {
                media,
                parameters,
                quality,
            }
        })
        .filter(|clause| !clause.media.is_empty())
        .collect();
    // Stable: equal qualities keep the client's order.
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses
}

fn encoding(media: &str) -> Option<Encoding> {
    match media {
        "application/json" | "*/*" | "application/*" => Some(Encoding::Json),
        "application/yaml" => Some(Encoding::Yaml),
        _ => None,
    }
}

/// Chooses what a client gets.
///
/// # Errors
/// 406 if nothing that it accepts can be made.
pub fn negotiate(accept: Option<&str>) -> Result<Wanted, Status> {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
        return Ok(Wanted::default());
    };
    let wanted = clauses(accept).into_iter().find_map(|clause| {
        let encoding = encoding(clause.media)?;
        let meta_version = match (clause.parameter("v"), clause.parameter("as")) {
            (Some("v1beta1"), _) => "v1beta1",
            (Some("v1"), _) | (_, None) => "v1",
            _ => return None,
        };
        let form = match clause.parameter("as") {
            None => Form::Object,
            Some(_) if clause.parameter("g") != Some("meta.k8s.io") => return None,
            Some("Table") => Form::Table,
            Some("PartialObjectMetadata") => Form::Partial,
            Some("PartialObjectMetadataList") => Form::PartialList,
            Some(_) => return None,
        };
        Some(Wanted {
            encoding,
            form,
            meta_version,
        })
    });
    wanted.ok_or_else(|| {
        Status::not_acceptable(
            "only the following media types are accepted: application/json, application/yaml",
        )
    })
}

/// The version of aggregated discovery that a client prefers to the plain documents.
pub fn wants_aggregated(accept: Option<&str>) -> Option<&'static str> {
    clauses(accept.unwrap_or_default())
        .into_iter()
        .find_map(|clause| {
            let aggregated = clause.parameter("g") == Some("apidiscovery.k8s.io")
                && clause.parameter("as") == Some("APIGroupDiscoveryList");
            match (aggregated, clause.media, clause.parameter("v")) {
                (true, "application/json", Some("v2")) => Some(Some("v2")),
                (true, "application/json", Some("v2beta1")) => Some(Some("v2beta1")),
                (false, "application/json" | "*/*", _) => Some(None),
                _ => None,
            }
        })?
}

/// How a body that is an object is written.
///
/// # Errors
/// 415 if it is neither JSON nor YAML.
pub fn object_encoding(content_type: Option<&str>) -> Result<Encoding, Status> {
    let media = content_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    match media {
        "" | "application/json" => Ok(Encoding::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Encoding::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Encoding::Protobuf),
        _ => Err(Status::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json, application/yaml",
        )),
    }
}

/// The kinds of patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 7386.
    Merge,
    /// RFC 6902.
    Json,
    /// Kubernetes' strategic merge patch.
    Strategic,
    /// Server-side apply.
    Apply,
}

/// The kind of a patch. Custom resources know no strategic merge.
///
/// # Errors
/// 415 if it is none.
pub fn patch_kind(content_type: Option<&str>, custom: bool) -> Result<PatchKind, Status> {
    let media = content_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    match media {
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/strategic-merge-patch+json" if !custom => Ok(PatchKind::Strategic),
        "application/apply-patch+yaml" => Ok(PatchKind::Apply),
        _ => {
            let strategic = if custom {
                ""
            } else {
                "application/strategic-merge-patch+json, "
            };
            Err(Status::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, {strategic}\
                 application/apply-patch+yaml"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_known_clause_wins() {
        let form = |accept: &str| negotiate(Some(accept)).map(|wanted| wanted.form).ok();
        assert_eq!(
            form("text/html, application/json;q=0.5"),
            Some(Form::Object)
        );
        assert_eq!(form("text/html"), None);
        assert_eq!(form("application/json;as=Chair;v=v1;g=meta.k8s.io"), None);
        for (version, known) in [("v1", true), ("v1beta1", true), ("v2", false)] {
            let table = format!("application/json;as=Table;v={version};g=meta.k8s.io");
            assert_eq!(form(&table), known.then_some(Form::Table));
        }
        let both = "application/json;as=Chair;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(form(both), Some(Form::Object));
        assert_eq!(
            negotiate(Some("application/yaml")).unwrap().encoding,
            Encoding::Yaml
        );
    }

    #[test]
    fn aggregated_discovery_is_given_to_those_who_prefer_it() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        assert_eq!(wants_aggregated(Some(v2)), Some("v2"));
        assert_eq!(
            wants_aggregated(Some(&format!("{v2},application/json"))),
            Some("v2")
        );
        assert_eq!(wants_aggregated(Some("application/json")), None);
        assert_eq!(wants_aggregated(None), None);
    }
}
