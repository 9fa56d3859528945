//! The query parameters of requests, validated.

use crate::status::{Cause, Status};

/// A decoded query.
#[derive(Clone, Debug, Default)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// The first value of a parameter; none if it is missing or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, v)| v.as_str())
            .filter(|v| !v.is_empty())
    }

    /// Whether a parameter is there, even without a value.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// Every value of a parameter.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// A boolean as Kubernetes reads it: anything but `false` and `0` is true.
    pub fn flag(&self, name: &str) -> Option<bool> {
        let value = self.0.iter().find(|(key, _)| key == name)?;
        Some(!matches!(
            value.1.as_str(),
            "false" | "0" | "False" | "FALSE" | "f" | "F"
        ))
    }

    /// A whole number.
    ///
    /// # Errors
    /// 400 if it is something else.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Status::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax"
                ))
            })
        };
        self.get(name).map(parse).transpose()
    }
}

/// What to do about unknown and duplicate fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    /// Nothing.
    Ignore,
    /// A warning.
    Warn,
    /// An error.
    Strict,
}

/// Options of creations, updates and patches.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Do everything but the write.
    pub dry_run: bool,
    /// Unknown and duplicate fields.
    pub field_validation: FieldValidation,
    /// Who writes, as managed fields name it.
    pub field_manager: Option<String>,
    /// Whether an apply takes fields from others.
    pub force: Option<bool>,
}

impl WriteOptions {
    /// Reads the options; `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`.
    ///
    /// # Errors
    /// 422 with all problems.
    pub fn read(query: &Query, kind: &str) -> Result<Self, Status> {
        let mut causes = dry_run_problems(query);
        let field_validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let known = ["", "Ignore", "Strict", "Warn"];
                causes.push(Cause::not_supported(
                    "fieldValidation",
                    &other.into(),
                    &known,
                ));
                FieldValidation::Warn
            }
        };
        let field_manager = query.get("fieldManager");
        causes.extend(field_manager.map(manager_problems).unwrap_or_default());
        if !causes.is_empty() {
            return Err(Status::invalid_options(kind, causes));
        }
        Ok(Self {
            dry_run: query.has("dryRun"),
            field_validation,
            field_manager: field_manager.map(str::to_owned),
            force: query.flag("force"),
        })
    }
}

/// `dryRun` knows one value.
pub fn dry_run_problems(query: &Query) -> Vec<Cause> {
    let values = query.all("dryRun");
    if values.iter().all(|value| *value == "All") {
        return Vec::new();
    }
    let values = serde_json::json!(values);
    vec![Cause::not_supported("dryRun", &values, &["All"])]
}

fn manager_problems(manager: &str) -> Vec<Cause> {
    const LIMIT: usize = 128;
    let mut causes = Vec::new();
    if manager.len() > LIMIT {
        causes.push(Cause::too_long("fieldManager", LIMIT));
    }
    if let Some((position, character)) = manager.char_indices().find(|(_, c)| c.is_control()) {
        let why = format!(
            "invalid character U+{:04X} (at position {position})",
            u32::from(character)
        );
        causes.push(Cause::invalid("fieldManager", &manager.into(), why));
    }
    causes
}

/// How a list's or a watch's resourceVersion is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    /// As it was then.
    Exact,
    /// As it was then or later.
    NotOlderThan,
}

/// Options of lists and watches.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// `labelSelector`, still text.
    pub labels: String,
    /// `fieldSelector`, still text.
    pub fields: String,
    /// How many items to return at most.
    pub limit: Option<usize>,
    /// Where an earlier list ended.
    pub continue_from: Option<String>,
    /// A version, 0 for any.
    pub resource_version: Option<u64>,
    /// How the version is meant.
    pub version_match: Option<VersionMatch>,
    /// Watch instead of list.
    pub watch: bool,
    /// Begin a watch with what is there.
    pub send_initial_events: Option<bool>,
    /// Send bookmarks.
    pub bookmarks: bool,
    /// End a watch after this many seconds.
    pub timeout_seconds: Option<u64>,
}

impl ListOptions {
    /// Reads the options.
    ///
    /// # Errors
    /// 400 for what cannot be read, 422 for what does not go together.
    pub fn read(query: &Query, watch: bool) -> Result<Self, Status> {
        let watch = watch || query.flag("watch") == Some(true);
        let causes = version_problems(query, watch);
        if !causes.is_empty() {
            return Err(Status::invalid_options("ListOptions", causes));
        }
        let resource_version = version(query)?;
        let continue_from = query.get("continue").map(str::to_owned);
        if continue_from.is_some() && resource_version.is_some_and(|version| version != 0) {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
        // Those who take whatever is in the cache get all of it, as that is not read in parts.
        let any = resource_version == Some(0) && continue_from.is_none();
        let limit = query.number("limit")?.and_then(positive).filter(|_| !any);
        Ok(Self {
            labels: query.get("labelSelector").unwrap_or_default().to_owned(),
            fields: query.get("fieldSelector").unwrap_or_default().to_owned(),
            limit: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            continue_from,
            resource_version,
            version_match: match query.get("resourceVersionMatch") {
                Some("Exact") => Some(VersionMatch::Exact),
                Some(_) => Some(VersionMatch::NotOlderThan),
                None => None,
            },
            watch,
            send_initial_events: query.flag("sendInitialEvents"),
            bookmarks: query.flag("allowWatchBookmarks") == Some(true),
            timeout_seconds: query.number("timeoutSeconds")?.and_then(positive),
        })
    }
}

/// The `resourceVersion` of a read.
///
/// # Errors
/// 400 if it is not a number.
pub fn version(query: &Query) -> Result<Option<u64>, Status> {
    let Some(text) = query.get("resourceVersion") else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        Status::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: \
             strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

fn version_problems(query: &Query, watch: bool) -> Vec<Cause> {
    let field = "resourceVersionMatch";
    let matching = query.get(field);
    let version = query.get("resourceVersion");
    let initial = query.has("sendInitialEvents");
    let mut causes = Vec::new();
    if initial {
        if !watch {
            let why = "sendInitialEvents is forbidden for list";
            return vec![Cause::forbidden("sendInitialEvents", why)];
        }
        if matching != Some("NotOlderThan") {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            causes.push(Cause::forbidden(field, why));
            if let Some(other) = matching {
                causes.push(Cause::not_supported(
                    field,
                    &other.into(),
                    &["NotOlderThan"],
                ));
            }
        }
        return causes;
    }
    let Some(matching) = matching else {
        return causes;
    };
    if watch {
        let why =
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        return vec![Cause::forbidden(field, why)];
    }
    if version.is_none() {
        let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
        causes.push(Cause::forbidden(field, why));
    }
    if query.get("continue").is_some() {
        let why = "resourceVersionMatch is forbidden when continue is provided";
        causes.push(Cause::forbidden(field, why));
    }
    match matching {
        "Exact" if version == Some("0") => {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(Cause::forbidden(field, why));
        }
        "Exact" | "NotOlderThan" => {}
        other => {
            let known = ["Exact", "NotOlderThan", ""];
            causes.push(Cause::not_supported(field, &other.into(), &known));
        }
    }
    causes
}
