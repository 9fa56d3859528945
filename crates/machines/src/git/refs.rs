//! What `git ls-remote` says.

use nico_api::names::CommitId;

/// The patterns that `ls-remote` is asked for, to find `reference`.
///
/// A name that begins with `refs/` and `HEAD` are taken as they are.
pub(super) fn patterns(reference: &str) -> Vec<String> {
    if is_full(reference) {
        return vec![reference.to_owned(), format!("{reference}^{{}}")];
    }
    vec![
        format!("refs/heads/{reference}"),
        format!("refs/tags/{reference}"),
        format!("refs/tags/{reference}^{{}}"),
    ]
}

/// The commit of `reference` in the output of `ls-remote`: a branch before a tag of the same
/// name, as `nix` does; of an annotated tag the commit that it stands for.
pub(super) fn find(output: &str, reference: &str) -> Option<CommitId> {
    let lookup = |wanted: &str| {
        output
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .find(|(_, name)| *name == wanted)
            .and_then(|(commit, _)| commit.parse().ok())
    };
    if is_full(reference) {
        return lookup(&format!("{reference}^{{}}")).or_else(|| lookup(reference));
    }
    lookup(&format!("refs/heads/{reference}"))
        .or_else(|| lookup(&format!("refs/tags/{reference}^{{}}")))
        .or_else(|| lookup(&format!("refs/tags/{reference}")))
}

fn is_full(reference: &str) -> bool {
    reference == "HEAD" || reference.starts_with("refs/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRANCH: &str = "1111111111111111111111111111111111111111";
    const TAG_OBJECT: &str = "2222222222222222222222222222222222222222";
    const TAGGED: &str = "3333333333333333333333333333333333333333";

    fn output(lines: &[(&str, &str)]) -> String {
        lines
            .iter()
            .map(|(commit, name)| format!("{commit}\t{name}\n"))
            .collect()
    }

    fn found(output: &str, reference: &str) -> Option<String> {
        find(output, reference).map(|commit| commit.to_string())
    }

    #[test]
    fn a_branch_wins_over_a_tag_of_the_same_name() {
        let output = output(&[(TAGGED, "refs/tags/v1"), (BRANCH, "refs/heads/v1")]);
        assert_eq!(found(&output, "v1").as_deref(), Some(BRANCH));
    }

    #[test]
    fn an_annotated_tag_stands_for_its_commit() {
        let output = output(&[(TAG_OBJECT, "refs/tags/v1"), (TAGGED, "refs/tags/v1^{}")]);
        assert_eq!(found(&output, "v1").as_deref(), Some(TAGGED));
        assert_eq!(found(&output, "refs/tags/v1").as_deref(), Some(TAGGED));
    }

    #[test]
    fn a_branch_whose_name_ends_the_same_is_another() {
        let output = output(&[(BRANCH, "refs/heads/team/main")]);
        assert_eq!(found(&output, "main"), None);
    }

    #[test]
    fn the_default_branch_is_head() {
        let output = output(&[(BRANCH, "HEAD"), (TAGGED, "refs/heads/main")]);
        assert_eq!(found(&output, "HEAD").as_deref(), Some(BRANCH));
    }
}
