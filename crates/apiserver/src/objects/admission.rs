//! Defaults of what is registered to judge requests. The server keeps it and asks nobody.

use serde_json::{Value, json};

use super::values::{items_mut, set_default};

/// A webhook is asked about everything that its rules name, and must answer.
pub fn webhook_defaults(kind: &str, configuration: &mut Value) {
    for webhook in items_mut(configuration.get_mut("webhooks")) {
        for (field, value) in [
            ("failurePolicy", json!("Fail")),
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
            ("timeoutSeconds", json!(10)),
        ] {
            set_default(webhook, field, value);
        }
        if kind == "MutatingWebhookConfiguration" {
            set_default(webhook, "reinvocationPolicy", "Never".into());
        }
        if webhook["clientConfig"]["service"].is_object() {
            set_default(&mut webhook["clientConfig"]["service"], "port", 443.into());
        }
        for rule in items_mut(webhook.get_mut("rules")) {
            set_default(rule, "scope", "*".into());
        }
    }
}

/// Policies are about everything that they match, and must be judged.
pub fn policy_defaults(policy: &mut Value) {
    let spec = &mut policy["spec"];
    if !spec.is_object() {
        return;
    }
    set_default(spec, "failurePolicy", "Fail".into());
    constraints_defaults(spec.get_mut("matchConstraints"));
}

/// A binding applies to everything that its policy is about.
pub fn binding_defaults(binding: &mut Value) {
    constraints_defaults(binding.pointer_mut("/spec/matchResources"));
}

fn constraints_defaults(constraints: Option<&mut Value>) {
    let Some(constraints) = constraints.filter(|it| it.is_object()) else {
        return;
    };
    set_default(constraints, "matchPolicy", "Equivalent".into());
    set_default(constraints, "namespaceSelector", json!({}));
    set_default(constraints, "objectSelector", json!({}));
    for rules in ["resourceRules", "excludeResourceRules"] {
        for rule in items_mut(constraints.get_mut(rules)) {
            set_default(rule, "scope", "*".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_are_strict_unless_they_say_otherwise() {
        let mut configuration = json!({"webhooks": [{
            "failurePolicy": "Ignore", "rules": [{}],
            "clientConfig": {"service": {"name": "a", "namespace": "b"}}}]});
        webhook_defaults("MutatingWebhookConfiguration", &mut configuration);
        let webhook = &configuration["webhooks"][0];
        assert_eq!(webhook["failurePolicy"], "Ignore");
        assert_eq!(webhook["timeoutSeconds"], 10);
        assert_eq!(webhook["reinvocationPolicy"], "Never");
        assert_eq!(webhook["clientConfig"]["service"]["port"], 443);
        assert_eq!(webhook["rules"][0]["scope"], "*");
    }

    #[test]
    fn a_policy_matches_everything_that_it_does_not_exclude() {
        let mut policy = json!({"spec": {"matchConstraints": {"resourceRules": [{}]}}});
        policy_defaults(&mut policy);
        let constraints = &policy["spec"]["matchConstraints"];
        assert_eq!(policy["spec"]["failurePolicy"], "Fail");
        assert_eq!(constraints["matchPolicy"], "Equivalent");
        assert_eq!(constraints["resourceRules"][0]["scope"], "*");
    }
}
