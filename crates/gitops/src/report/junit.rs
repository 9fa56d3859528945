//! JUnit XML: a suite for each rule, a case for each finding. A rule without findings is one case that
//! passed.

use std::fmt::Write;

use crate::finding::{Finding, Severity};
use crate::rules::Rule;

use super::Report;

/// The report as XML. Findings below `fail_on` are skipped cases, as those that are silenced.
pub fn junit(report: &Report<'_>, fail_on: Severity) -> String {
    let mut suites = String::new();
    let (mut cases, mut failures, mut skipped) = (0, 0, 0);
    for rule in &report.rules {
        let suite = Suite::of(report, rule, fail_on);
        cases += suite.cases;
        failures += suite.failures;
        skipped += suite.skipped;
        suites += &suite.text;
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"nico check\" tests=\"{cases}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">\n\
         {suites}</testsuites>\n"
    )
}

/// The findings of one rule.
struct Suite {
    cases: usize,
    failures: usize,
    skipped: usize,
    text: String,
}

impl Suite {
    fn of(report: &Report<'_>, rule: &Rule, fail_on: Severity) -> Self {
        let mut suite = Self {
            cases: 0,
            failures: 0,
            skipped: 0,
            text: String::new(),
        };
        let mut cases = String::new();
        let found = report.findings.iter().map(|finding| (finding, None));
        let silenced = report.suppressed.iter();
        let silenced = silenced.map(|(finding, by)| (finding, Some(by.reason())));
        for (finding, reason) in found.chain(silenced) {
            if finding.rule.id != rule.id {
                continue;
            }
            suite.cases += 1;
            let outcome = match reason {
                Some(reason) => skip(&mut suite, &format!("silenced: {reason}")),
                None if finding.severity < fail_on => skip(
                    &mut suite,
                    &format!("{}: {}", finding.severity, finding.message),
                ),
                None => fail(&mut suite, finding),
            };
            cases += &case(rule, &place(report, finding), &outcome);
        }
        if suite.cases == 0 {
            suite.cases = 1;
            cases = case(rule, rule.title, "");
        }
        let name = escape(&format!("{}: {}", rule.id, rule.title));
        let (count, failures, skipped) = (suite.cases, suite.failures, suite.skipped);
        suite.text = format!(
            "  <testsuite name=\"{name}\" tests=\"{count}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">\n\
             {cases}  </testsuite>\n"
        );
        suite
    }
}

fn skip(suite: &mut Suite, message: &str) -> String {
    suite.skipped += 1;
    format!("      <skipped message=\"{}\"/>\n", escape(message))
}

fn fail(suite: &mut Suite, finding: &Finding) -> String {
    suite.failures += 1;
    let (severity, message) = (finding.severity, escape(&finding.message));
    let more = escape(&format!(
        "{}\nTo put it right: {}",
        finding.consequence, finding.fix
    ));
    format!("      <failure type=\"{severity}\" message=\"{message}\">{more}</failure>\n")
}

fn case(rule: &Rule, name: &str, outcome: &str) -> String {
    let (class, name) = (rule.id, escape(name));
    let head = format!("    <testcase classname=\"{class}\" name=\"{name}\"");
    if outcome.is_empty() {
        return format!("{head}/>\n");
    }
    format!("{head}>\n{outcome}    </testcase>\n")
}

fn place(report: &Report<'_>, finding: &Finding) -> String {
    let path = &report.sources.get(finding.location.file).path;
    let position = report.sources.position(finding.location);
    let mut place = format!("{path}:{}:{}", position.line, position.column);
    if let Some(object) = &finding.object {
        write!(place, " {object}").expect("a string takes all");
    }
    place
}

/// Text for an attribute or an element. What XML has no way to write becomes a question mark.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\t' => write!(escaped, "&#{};", u32::from(letter)).expect("a string takes all"),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('?');
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::tests::{report, repository};
    use super::*;

    #[test]
    fn a_finding_is_a_failed_case_and_every_rule_is_a_suite() {
        let text =
            "\"<&\\u0001>\": 1\n\"<&\\u0001>\": 2\nb: 1\nb: 2 # nico-ignore: FLX023 on purpose\n";
        let repository = repository(&[("a.yaml", text)]);
        let xml = junit(&report(&repository), Severity::Warning);
        let rules = crate::rules::all().len();
        let head = format!(
            "tests=\"{}\" failures=\"1\" errors=\"0\" skipped=\"1\"",
            rules + 1
        );
        assert!(xml.contains(&head), "{xml}");
        assert_eq!(xml.matches("<testsuite ").count(), rules);
        assert!(
            xml.contains("<testcase classname=\"FLX023\" name=\"a.yaml:2:1\">"),
            "{xml}"
        );
        assert!(xml.contains("&lt;&amp;"), "{xml}");
        assert!(
            xml.contains("<skipped message=\"silenced: on purpose\"/>"),
            "{xml}"
        );
        assert!(!xml.contains('\u{1}'));
    }

    #[test]
    fn what_is_below_the_threshold_does_not_fail() {
        let repository = repository(&[("a.yaml", "a: 1\na: 2\n")]);
        let mut report = report(&repository);
        report.findings[0].severity = Severity::Info;
        let xml = junit(&report, Severity::Warning);
        assert!(xml.contains("failures=\"0\""), "{xml}");
        assert!(xml.contains("<skipped message=\"info: the key"), "{xml}");
    }
}
