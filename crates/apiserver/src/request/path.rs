//! What a path names.

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A collection, an object or a subresource.
    Resource(ResourcePath),
    /// `/`.
    Root,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/VERSION` or `/apis/GROUP/VERSION`.
    Resources {
        /// The group, empty for the core group.
        group: String,
        /// The version.
        version: String,
    },
    /// `/version`.
    Version,
    /// `/healthz`, `/livez`, `/readyz`, and their single checks.
    Health {
        /// The first part of the path.
        endpoint: String,
        /// The single check, if one is named.
        check: Option<String>,
    },
    /// `/metrics`.
    Metrics,
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiV3Index,
    /// `/openapi/v3/api/v1` and the like.
    OpenApiV3 {
        /// The group, empty for the core group.
        group: String,
        /// The version.
        version: String,
    },
    /// Anything else.
    Unknown,
}

/// A collection, an object or a subresource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourcePath {
    /// The group, empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The namespace, if the path names one.
    pub namespace: Option<String>,
    /// The plural name of the resource.
    pub resource: String,
    /// The object, if the path names one.
    pub name: Option<String>,
    /// The subresource, if the path names one.
    pub subresource: Option<String>,
    /// Whether it is one of the old `/watch/` paths.
    pub watch: bool,
}

/// Reads a path.
pub fn parse(path: &str) -> Target {
    let parts: Option<Vec<String>> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(decode)
        .collect();
    let Some(parts) = parts else {
        return Target::Unknown;
    };
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [] => Target::Root,
        ["api"] => Target::CoreVersions,
        ["apis"] => Target::Groups,
        ["version"] => Target::Version,
        ["metrics"] => Target::Metrics,
        ["openapi", "v2"] => Target::OpenApiV2,
        ["openapi", "v3"] => Target::OpenApiV3Index,
        ["openapi", "v3", "api", version] => Target::OpenApiV3 {
            group: String::new(),
            version: (*version).to_owned(),
        },
        ["openapi", "v3", "apis", group, version] => Target::OpenApiV3 {
            group: (*group).to_owned(),
            version: (*version).to_owned(),
        },
        [endpoint @ ("healthz" | "livez" | "readyz"), rest @ ..] => Target::Health {
            endpoint: (*endpoint).to_owned(),
            check: (!rest.is_empty()).then(|| rest.join("/")),
        },
        ["apis", group] => Target::Group((*group).to_owned()),
        ["api", version] => Target::Resources {
            group: String::new(),
            version: (*version).to_owned(),
        },
        ["apis", group, version] => Target::Resources {
            group: (*group).to_owned(),
            version: (*version).to_owned(),
        },
        ["api", version, rest @ ..] => resource("", version, rest),
        ["apis", group, version, rest @ ..] => resource(group, version, rest),
        _ => Target::Unknown,
    }
}

fn resource(group: &str, version: &str, parts: &[&str]) -> Target {
    let (watch, parts) = match parts {
        ["watch", rest @ ..] => (true, rest),
        parts => (false, parts),
    };
    let mut path = ResourcePath {
        group: group.to_owned(),
        version: version.to_owned(),
        watch,
        ..ResourcePath::default()
    };
    let rest = match parts {
        // A namespace itself, and its own subresources.
        ["namespaces"] | ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => parts,
        ["namespaces", namespace, rest @ ..] => {
            path.namespace = Some((*namespace).to_owned());
            rest
        }
        parts => parts,
    };
    let mut rest = rest.iter().map(|part| (*part).to_owned());
    let Some(resource) = rest.next() else {
        return Target::Unknown;
    };
    path.resource = resource;
    path.name = rest.next();
    let subresource: Vec<String> = rest.collect();
    path.subresource = (!subresource.is_empty()).then(|| subresource.join("/"));
    Target::Resource(path)
}

/// Undoes percent encoding; none if the result is not UTF-8 or not complete.
pub fn decode(part: &str) -> Option<String> {
    let bytes = part.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] == b'%' {
            let digits = part.get(index + 1..index + 3)?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            index += 3;
        } else {
            decoded.push(bytes[index]);
            index += 1;
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> ResourcePath {
        match parse(path) {
            Target::Resource(path) => path,
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn namespaces_are_both_a_resource_and_a_place() {
        let namespace = resource("/api/v1/namespaces/a");
        assert_eq!(
            (namespace.resource.as_str(), namespace.name.as_deref()),
            ("namespaces", Some("a"))
        );
        assert_eq!(
            resource("/api/v1/namespaces/a/status")
                .subresource
                .as_deref(),
            Some("status")
        );
        let pods = resource("/api/v1/namespaces/a/pods");
        assert_eq!(
            (pods.resource.as_str(), pods.namespace.as_deref()),
            ("pods", Some("a"))
        );
    }

    #[test]
    fn old_watch_paths_are_known() {
        let pods = resource("/api/v1/watch/namespaces/a/pods/x");
        assert!(pods.watch && pods.name.as_deref() == Some("x"));
    }

    #[test]
    fn parts_are_decoded() {
        assert_eq!(resource("/api/v1/nodes/a%3Ab").name.as_deref(), Some("a:b"));
        assert_eq!(parse("/api/v1/nodes/a%"), Target::Unknown);
        assert_eq!(parse("/api/v1/nodes/%ff"), Target::Unknown);
        assert_eq!(parse("/api/v1/nodes/%é"), Target::Unknown);
    }
}
