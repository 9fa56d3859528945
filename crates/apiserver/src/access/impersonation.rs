//! Acting as somebody else: the `Impersonate-*` headers, as `kubectl --as` sends them.

use std::collections::BTreeMap;

use http::HeaderMap;

use crate::request::Identity;
use crate::status::Status;

use super::attributes::{Attributes, Resource};
use super::{ANONYMOUS, AUTHENTICATED, Access, UNAUTHENTICATED, service_accounts};

const EXTRA: &str = "impersonate-extra-";

/// An identity that somebody wants to take on.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted(Identity);

/// The identity that the headers ask for, if they ask for one.
///
/// # Errors
/// 500, as the real server has it, if they ask for more but name no user.
pub fn wanted(headers: &HeaderMap) -> Result<Option<Wanted>, Status> {
    let texts = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect()
    };
    let first = |name: &str| texts(name).into_iter().next().unwrap_or_default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            extra.insert(unescaped(key), texts(name.as_str()));
        }
    }
    let wanted = Identity {
        user: first("impersonate-user"),
        uid: first("impersonate-uid"),
        groups: texts("impersonate-group"),
        extra,
    };
    if wanted == Identity::default() {
        return Ok(None);
    }
    if wanted.user.is_empty() {
        return Err(Status::internal(
            "requested impersonation without impersonating a user",
        ));
    }
    Ok(Some(Wanted(wanted)))
}

impl Wanted {
    /// The identity, with the groups that come with it, if `sender` may take it on.
    ///
    /// # Errors
    /// 403.
    pub fn allowed_to(self, access: &Access, sender: &Identity) -> Result<Identity, Status> {
        let mut identity = self.0;
        for wanted in parts(&identity) {
            access.check(sender, &Attributes::Resource(wanted))?;
        }
        if let Some((namespace, _)) = account(&identity.user)
            && identity.groups.is_empty()
        {
            identity.groups = service_accounts::groups(namespace);
        }
        let implied = if identity.user == ANONYMOUS {
            UNAUTHENTICATED
        } else {
            AUTHENTICATED
        };
        let known = |group: &String| group == AUTHENTICATED || group == UNAUTHENTICATED;
        if !identity.groups.iter().any(known) {
            identity.groups.push(implied.to_owned());
        }
        Ok(identity)
    }
}

/// All that must be allowed to take on an identity.
fn parts(identity: &Identity) -> Vec<Resource<'_>> {
    let part = |group, resource, subresource, name| Resource {
        verb: "impersonate",
        group,
        resource,
        subresource,
        namespace: "",
        name,
    };
    let authentication = "authentication.k8s.io";
    let mut parts = vec![match account(&identity.user) {
        Some((namespace, name)) => Resource {
            namespace,
            ..part("", "serviceaccounts", "", name)
        },
        None => part("", "users", "", &identity.user),
    }];
    parts.extend(
        identity
            .groups
            .iter()
            .map(|group| part("", "groups", "", group)),
    );
    if !identity.uid.is_empty() {
        parts.push(part(authentication, "uids", "", &identity.uid));
    }
    for (key, values) in &identity.extra {
        parts.extend(
            values
                .iter()
                .map(|value| part(authentication, "userextras", key, value)),
        );
    }
    parts
}

/// Namespace and name of a ServiceAccount.
fn account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(service_accounts::PREFIX)?.split_once(':')
}

/// Keys of extras are percent-encoded, since not every character can be in a header's name.
fn unescaped(key: &str) -> String {
    crate::request::path::decode(key).unwrap_or_else(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn every_part_of_an_identity_must_be_allowed() {
        let headers = headers(&[
            ("Impersonate-User", "anna"),
            ("Impersonate-Group", "crew"),
            ("Impersonate-Group", "guests"),
            ("Impersonate-Uid", "7"),
            ("Impersonate-Extra-example.com%2fscope", "read"),
        ]);
        let wanted = wanted(&headers).unwrap().unwrap();
        let parts: Vec<String> = parts(&wanted.0)
            .iter()
            .map(|part| {
                format!(
                    "{} {}/{} {}",
                    part.group, part.resource, part.subresource, part.name
                )
            })
            .collect();
        assert_eq!(
            parts,
            [
                " users/ anna",
                " groups/ crew",
                " groups/ guests",
                "authentication.k8s.io uids/ 7",
                "authentication.k8s.io userextras/example.com/scope read",
            ]
        );
    }

    #[test]
    fn a_service_account_is_taken_on_in_its_namespace() {
        let headers = headers(&[("Impersonate-User", "system:serviceaccount:a:robot")]);
        let wanted = wanted(&headers).unwrap().unwrap();
        let parts = parts(&wanted.0);
        assert_eq!(
            (parts[0].resource, parts[0].namespace),
            ("serviceaccounts", "a")
        );
    }

    #[test]
    fn groups_alone_are_nobody() {
        assert_eq!(wanted(&HeaderMap::new()).unwrap(), None);
        assert!(wanted(&headers(&[("Impersonate-Group", "crew")])).is_err());
    }
}
