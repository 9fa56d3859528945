//! How a tree is broken, and where that is found.
//!
//! In `replace`, `¶` marks the line of the finding and is not written; `APP` is the app of the file.

mod files;
mod kustomizations;
mod machines;
mod networks;
mod releases;
mod secrets;
mod workloads;

/// One way to break a rule.
pub struct Mutation {
    /// The rule that is broken.
    pub rule: &'static str,
    /// Pattern for the path of the file.
    pub file: &'static str,
    /// Pattern for what is replaced; `^` and `$` are those of lines.
    pub find: &'static str,
    /// What stands there afterwards.
    pub replace: &'static str,
    /// Where the mistake is found instead: patterns for the path and for the line.
    pub elsewhere: Option<(&'static str, &'static str)>,
    /// Whether the tree has charts.
    pub has_charts: bool,
}

const fn here(
    rule: &'static str,
    file: &'static str,
    find: &'static str,
    replace: &'static str,
) -> Mutation {
    Mutation {
        rule,
        file,
        find,
        replace,
        elsewhere: None,
        has_charts: true,
    }
}

const fn elsewhere(
    rule: &'static str,
    file: &'static str,
    find: &'static str,
    replace: &'static str,
    place: (&'static str, &'static str),
) -> Mutation {
    Mutation {
        elsewhere: Some(place),
        ..here(rule, file, find, replace)
    }
}

const fn without_charts(
    rule: &'static str,
    file: &'static str,
    find: &'static str,
    replace: &'static str,
) -> Mutation {
    Mutation {
        has_charts: false,
        ..here(rule, file, find, replace)
    }
}

/// The mutations of a rule: all want charts, or none does.
pub fn mutations_of(rule: &str) -> Vec<&'static Mutation> {
    let all = [
        files::MUTATIONS,
        kustomizations::MUTATIONS,
        machines::MUTATIONS,
        networks::MUTATIONS,
        releases::MUTATIONS,
        secrets::MUTATIONS,
        workloads::MUTATIONS,
    ];
    let all = all.into_iter().flatten();
    all.filter(|mutation| mutation.rule == rule).collect()
}
