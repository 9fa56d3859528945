//! `.nico.yaml` at the root of a repository: what its owner says about the check.

use std::collections::BTreeMap;

use globset::{Glob, GlobMatcher};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::duration;
use crate::finding::{Finding, Severity};
use crate::rules::{self, Rule};
use crate::settings::{Conventions, PathConvention, Settings, Tier};
use crate::source::Sources;

/// The name of the file.
pub const FILE: &str = ".nico.yaml";

/// What the file says.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What rules are told.
    pub settings: Settings,
    severities: BTreeMap<&'static str, Level>,
    ignored: Vec<GlobMatcher>,
}

/// Why a configuration cannot be used. Each names the field.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has other fields or types than it should.
    #[error("this is no configuration")]
    Malformed(#[from] serde_saphyr::Error),
    /// A pattern is none.
    #[error("{field}: {pattern:?} is no pattern")]
    Pattern {
        /// Where it stands.
        field: &'static str,
        /// What it says.
        pattern: String,
        /// What is wrong with it.
        source: globset::Error,
    },
    /// No rule has this name.
    #[error("{field}: no rule is called {pattern}; `nico check rules` lists them")]
    UnknownRule {
        /// Where it stands.
        field: &'static str,
        /// What it says.
        pattern: String,
    },
    /// A value is not what the field takes.
    #[error("{field}: {value:?} is not {expected}")]
    Value {
        /// Where it stands.
        field: String,
        /// What it says.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct File {
    rules: BTreeMap<String, Level>,
    ignore: Vec<String>,
    kubernetes_version: Option<String>,
    flux_version: Option<String>,
    tiers: Option<Vec<FileTier>>,
    providers: BTreeMap<String, String>,
    ingress_classes: Vec<String>,
    secret_reads_a_day: Option<u64>,
    strict_substitution: bool,
    conventions: FileConventions,
    /// The section of `nico health`.
    #[serde(rename = "health")]
    _health: IgnoredAny,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct FileConventions {
    path: Option<String>,
    source_beside_release: bool,
    external_ingresses: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FileTier {
    name: String,
    namespaces: Vec<String>,
    min_interval: String,
    max_interval: String,
}

/// How bad the findings of a rule are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Off,
    Info,
    Warning,
    Error,
}

impl Config {
    /// Reads the text of a configuration.
    pub fn parse(text: &str) -> Result<Self, Error> {
        // A file of comments alone says nothing.
        let file: Option<File> = serde_saphyr::from_str(text)?;
        let file = file.unwrap_or_default();
        let mut config = Self::default();
        for (pattern, level) in file.rules {
            let rules = matching_rules("rules", &pattern)?;
            // What names one rule is said about it, whatever a pattern says.
            let is_pattern = rules::find(&pattern).is_none();
            for rule in rules {
                if is_pattern {
                    config.severities.entry(rule.id).or_insert(level);
                } else {
                    config.severities.insert(rule.id, level);
                }
            }
        }
        for pattern in file.ignore {
            let ignored = glob("ignore", pattern.trim_start_matches("./"))?;
            config.ignored.push(ignored);
        }
        let settings = &mut config.settings;
        let version = |field: &str, text: Option<String>, major| {
            let minor = text.map(|text| minor_version(field, &text, major));
            minor.transpose()
        };
        settings.kubernetes = version("kubernetesVersion", file.kubernetes_version, 1)?;
        settings.flux = version("fluxVersion", file.flux_version, 2)?;
        if let Some(tiers) = file.tiers {
            settings.tiers = tiers.into_iter().map(tier).collect::<Result<_, _>>()?;
        }
        for (group, name) in file.providers {
            let (namespace, name) = name.split_once('/').ok_or_else(|| Error::Value {
                field: format!("providers.{group}"),
                value: name.clone(),
                expected: "the NAMESPACE/NAME of a Kustomization",
            })?;
            let key = (namespace.to_owned(), name.to_owned());
            settings.providers.push((group, key));
        }
        settings.ingress_classes = file.ingress_classes;
        if let Some(reads) = file.secret_reads_a_day {
            settings.secret_reads_a_day = reads;
        }
        settings.strict_substitution = file.strict_substitution;
        settings.conventions = conventions(file.conventions)?;
        Ok(config)
    }

    /// Gives the findings their severities, and leaves out those of rules that are off and of files
    /// that are ignored.
    pub fn apply(&self, findings: Vec<Finding>, sources: &Sources) -> Vec<Finding> {
        let is_ignored = |finding: &Finding| {
            let path = &sources.get(finding.location.file).path;
            self.ignored.iter().any(|pattern| pattern.is_match(path))
        };
        let with_severity = |finding: Finding| match self.severities.get(finding.rule.id) {
            None => Some(finding),
            Some(Level::Off) => None,
            Some(level) => Some(finding.severity(level.severity())),
        };
        let looked_at = findings.into_iter().filter(|finding| !is_ignored(finding));
        looked_at.filter_map(with_severity).collect()
    }
}

impl Level {
    fn severity(self) -> Severity {
        match self {
            Self::Off | Self::Info => Severity::Info,
            Self::Warning => Severity::Warning,
            Self::Error => Severity::Error,
        }
    }
}

fn conventions(file: FileConventions) -> Result<Conventions, Error> {
    let path = file.path.map(|pattern| {
        PathConvention::parse(&pattern).map_err(|source| Error::Pattern {
            field: "conventions.path",
            pattern,
            source,
        })
    });
    let ingresses = file.external_ingresses.map(|patterns| {
        let patterns = patterns.iter();
        let patterns = patterns.map(|pattern| glob("conventions.externalIngresses", pattern));
        patterns.collect::<Result<_, _>>()
    });
    Ok(Conventions {
        path: path.transpose()?,
        source_beside_release: file.source_beside_release,
        external_ingresses: ingresses.transpose()?,
    })
}

fn tier(tier: FileTier) -> Result<Tier, Error> {
    let interval = |field: &str, text: &str| {
        duration::parse(text).ok_or_else(|| Error::Value {
            field: format!("tiers.{}.{field}", tier.name),
            value: text.to_owned(),
            expected: "a duration, such as 10m",
        })
    };
    Ok(Tier {
        at_least: interval("minInterval", &tier.min_interval)?,
        at_most: interval("maxInterval", &tier.max_interval)?,
        name: tier.name,
        namespaces: tier.namespaces,
    })
}

/// The rules whose identifiers a pattern fits, such as `FLX*`. `field` says where it is written.
pub fn matching_rules(field: &'static str, pattern: &str) -> Result<Vec<&'static Rule>, Error> {
    let glob = glob(field, &pattern.to_ascii_uppercase())?;
    let mut rules = rules::all();
    rules.retain(|rule| glob.is_match(rule.id));
    if rules.is_empty() {
        let pattern = pattern.to_owned();
        return Err(Error::UnknownRule { field, pattern });
    }
    Ok(rules)
}

fn glob(field: &'static str, pattern: &str) -> Result<GlobMatcher, Error> {
    let glob = Glob::new(pattern).map_err(|source| Error::Pattern {
        field,
        pattern: pattern.to_owned(),
        source,
    })?;
    Ok(glob.compile_matcher())
}

/// The minor number of a version such as `1.33`, `v1.33` or `1.33.2`, whose major number is given.
/// `field` says where it is written.
pub fn minor_version(field: &str, text: &str, major: u32) -> Result<u32, Error> {
    let mut numbers = text.strip_prefix('v').unwrap_or(text).split('.');
    let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    let minor = (number() == Some(major)).then(number).flatten();
    minor.ok_or_else(|| Error::Value {
        field: field.to_owned(),
        value: text.to_owned(),
        expected: match major {
            1 => "a version of Kubernetes, such as 1.33",
            _ => "a version of Flux, such as 2.6",
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::{RawFile, Repository};

    #[test]
    fn everything_can_be_said() {
        let config = Config::parse(
            "# comment\n\
             rules: {FLX*: info, FLX023: error}\n\
             ignore: [archive/**]\n\
             kubernetesVersion: v1.33.1\n\
             fluxVersion: '2.6'\n\
             tiers:\n\
             - {name: slow, namespaces: [media], minInterval: 30m, maxInterval: 2h}\n\
             providers: {cert-manager.io: cert-manager/cert-manager}\n\
             ingressClasses: [internal]\n\
             secretReadsADay: 5000\n\
             strictSubstitution: true\n\
             conventions:\n\
             \x20 path: ./apps/{namespace}/{name}/**\n\
             \x20 sourceBesideRelease: true\n\
             \x20 externalIngresses: [network/*]\n",
        )
        .unwrap();
        let settings = &config.settings;
        assert!(settings.strict_substitution && settings.conventions.source_beside_release);
        let path = settings.conventions.path.as_ref().unwrap();
        assert!(path.fits("./apps/a/b/app", "a", "b") && !path.fits("./apps/a/c/app", "a", "b"));
        let external = settings.conventions.external_ingresses.as_ref().unwrap();
        assert!(external[0].is_match("network/a") && !external[0].is_match("media/a"));
        assert_eq!((settings.kubernetes, settings.flux), (Some(33), Some(6)));
        assert_eq!(settings.tiers.len(), 1);
        assert_eq!(settings.tiers[0].at_most, Duration::from_secs(7200));
        let key = ("cert-manager".to_owned(), "cert-manager".to_owned());
        assert_eq!(settings.providers, [("cert-manager.io".to_owned(), key)]);
        assert_eq!(config.severities["FLX023"], Level::Error);
        assert_eq!(config.severities["FLX003"], Level::Info);
    }

    #[test]
    fn nothing_need_be_said() {
        for text in ["", "# nothing\n", "{}\n", "health: {anything: 1}\n"] {
            let config = Config::parse(text).unwrap();
            assert_eq!(config.settings.secret_reads_a_day, 1000);
        }
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, expected) in [
            ("rulez: {}", "rulez"),
            ("rules: {FLX003: fatal}", "fatal"),
            ("rules: {NOPE*: info}", "rules: no rule is called NOPE*"),
            ("rules: {'FLX[': info}", "rules: \"FLX[\" is no pattern"),
            ("ignore: ['a[']", "ignore: \"a[\" is no pattern"),
            (
                "kubernetesVersion: '33'",
                "kubernetesVersion: \"33\" is not a version",
            ),
            (
                "fluxVersion: '1.33'",
                "fluxVersion: \"1.33\" is not a version",
            ),
            (
                "tiers: [{name: a, namespaces: [], minInterval: 1d, maxInterval: 1h}]",
                "tiers.a.minInterval: \"1d\" is not a duration",
            ),
            (
                "providers: {a.b: c}",
                "providers.a.b: \"c\" is not the NAMESPACE/NAME",
            ),
            ("secretReadsADay: many", "many"),
            (
                "conventions: {path: 'a['}",
                "conventions.path: \"a[\" is no pattern",
            ),
        ] {
            let error = Config::parse(text).unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let told = format!("{error} {}", source.unwrap_or_default());
            assert!(told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn findings_get_their_severity_or_are_left_out() {
        let files = [
            ("archive/old/a.yaml", "a: 1\na: 2\n"),
            ("b.yaml", "a: 1\na: 2\n"),
        ];
        let repository = Repository::from_files(files.map(|(path, text)| RawFile {
            path: path.to_owned(),
            content: Ok(text.as_bytes().to_vec()),
        }));
        for (text, expected) in [
            ("{}", &[Severity::Error, Severity::Error][..]),
            ("ignore: [archive/**]", &[Severity::Error]),
            ("ignore: ['./*.yaml', archive/*/a.yaml]", &[]),
            ("rules: {flx023: info}", &[Severity::Info, Severity::Info]),
            ("rules: {FLX*: 'off'}", &[]),
        ] {
            let config = Config::parse(text).unwrap();
            let findings = config.apply(repository.findings.clone(), &repository.sources);
            let severities: Vec<_> = findings.iter().map(|finding| finding.severity).collect();
            assert_eq!(severities, expected, "{text}");
        }
    }
}
