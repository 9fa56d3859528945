//! Paths and methods, as Go's router `gorilla/mux` takes them, and who may call what.

use axum::http::{Method, Uri};
use bytes::Bytes;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use super::answer::{Answer, Result};
use super::state::State;
use super::{
    accounts, egress, enrollment, gateways, hosts, networks, nodes, policies, second_factor, status,
};

/// A request, once it is known who sent it.
#[derive(Debug)]
pub(super) struct Call {
    /// The account; empty where none is needed.
    pub(super) user: String,
    pub(super) now: Timestamp,
    pub(super) body: Bytes,
    parameters: Vec<String>,
    query: Vec<(String, String)>,
}

impl Call {
    /// The part of the path at the pattern's `index`-th `{}`.
    pub(super) fn parameter(&self, index: usize) -> &str {
        self.parameters.get(index).map_or("", String::as_str)
    }

    /// The first value of a query parameter.
    pub(super) fn query(&self, name: &str) -> &str {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    pub(super) fn is_forced(&self) -> bool {
        self.query("force") == "true"
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Anybody,
    Account,
    /// Somebody who has shown a password, but not yet the second factor.
    HalfLogin,
}

type Handler = fn(&mut State, &Call) -> Result<Answer>;

/// Method, pattern, who may call, what is done. The first that matches counts.
const ROUTES: &[(Method, &str, Access, Handler)] = {
    use Access::{Account, Anybody, HalfLogin};
    &[
        (Method::GET, "/api/server/health", Anybody, status::health),
        (Method::GET, "/api/server/status", Anybody, status::status),
        (
            Method::GET,
            "/api/users/adm/hassuperadmin",
            Anybody,
            accounts::has_super_admin,
        ),
        (
            Method::POST,
            "/api/users/adm/createsuperadmin",
            Anybody,
            accounts::create_super_admin,
        ),
        (
            Method::POST,
            "/api/users/adm/authenticate",
            Anybody,
            accounts::log_in,
        ),
        (
            Method::POST,
            "/api/users/{}/auth/init-totp",
            Account,
            second_factor::begin,
        ),
        (
            Method::POST,
            "/api/users/{}/auth/complete-totp",
            Account,
            second_factor::complete,
        ),
        (
            Method::POST,
            "/api/users/{}/auth/verify-totp",
            HalfLogin,
            second_factor::verify,
        ),
        (
            Method::POST,
            "/api/users/{}/enable",
            Account,
            accounts::enable,
        ),
        (
            Method::POST,
            "/api/users/{}/disable",
            Account,
            accounts::disable,
        ),
        (Method::GET, "/api/users", Account, accounts::list_users),
        (Method::GET, "/api/users/{}", Account, accounts::show_user),
        (
            Method::POST,
            "/api/users/{}",
            Account,
            accounts::create_user,
        ),
        (
            Method::DELETE,
            "/api/users/{}",
            Account,
            accounts::delete_user,
        ),
        (
            Method::POST,
            "/api/v1/users/access_token",
            Account,
            accounts::create_access_token,
        ),
        (
            Method::GET,
            "/api/v1/users/access_token",
            Account,
            accounts::list_access_tokens,
        ),
        (
            Method::DELETE,
            "/api/v1/users/access_token",
            Account,
            accounts::revoke_access_token,
        ),
        (Method::GET, "/api/networks", Account, networks::list),
        (Method::POST, "/api/networks", Account, networks::create),
        (Method::GET, "/api/networks/{}", Account, networks::show),
        (
            Method::DELETE,
            "/api/networks/{}",
            Account,
            networks::delete,
        ),
        (
            Method::POST,
            "/api/v1/enrollment-keys",
            Account,
            enrollment::create_key,
        ),
        (
            Method::GET,
            "/api/v1/enrollment-keys",
            Account,
            enrollment::list_keys,
        ),
        (
            Method::POST,
            "/api/v1/host/register/{}",
            Anybody,
            enrollment::register,
        ),
        (Method::GET, "/api/hosts", Account, hosts::list),
        (Method::GET, "/api/v1/hosts", Account, hosts::page),
        (Method::PUT, "/api/hosts/{}", Account, hosts::update),
        (Method::DELETE, "/api/hosts/{}", Account, hosts::delete_bare),
        (
            Method::DELETE,
            "/api/v1/ui/hosts/{}",
            Account,
            hosts::delete,
        ),
        (
            Method::POST,
            "/api/hosts/{}/networks/{}",
            Account,
            hosts::join_network,
        ),
        (
            Method::DELETE,
            "/api/hosts/{}/networks/{}",
            Account,
            hosts::leave_network,
        ),
        (Method::GET, "/api/nodes", Account, nodes::list),
        (Method::GET, "/api/nodes/{}", Account, nodes::list_network),
        (
            Method::POST,
            "/api/nodes/{}/{}/gateway",
            Account,
            gateways::make_gateway,
        ),
        (
            Method::POST,
            "/api/extclients/{}/{}",
            Account,
            gateways::create_client,
        ),
        (Method::POST, "/api/v1/acls", Account, policies::create),
        (Method::GET, "/api/v1/acls", Account, policies::list),
        (Method::GET, "/api/v1/egress", Account, egress::list),
        (Method::POST, "/api/v1/egress", Account, egress::create),
        (Method::PUT, "/api/v1/egress", Account, egress::update),
        (Method::DELETE, "/api/v1/egress", Account, egress::delete),
    ]
};

/// Answers a request; with the name of the account that sent it, where one did.
pub(super) fn answer(
    state: &mut State,
    method: &Method,
    uri: &Uri,
    authorization: Option<&str>,
    body: Bytes,
) -> (Answer, String) {
    let path = uri.path();
    let clean = clean(path);
    if clean != path {
        let query = uri.query().map(|query| format!("?{query}"));
        let location = clean + &query.unwrap_or_default();
        return (Answer::moved(location), String::new());
    }
    let mut is_known = false;
    for (wanted, pattern, access, handler) in ROUTES {
        let Some(parameters) = matched(pattern, path) else {
            continue;
        };
        is_known = true;
        if wanted != method {
            continue;
        }
        let mut call = Call {
            user: String::new(),
            now: Timestamp::now(),
            body,
            parameters,
            query: pairs(uri.query().unwrap_or_default()),
        };
        if *access != Access::Anybody {
            let half = *access == Access::HalfLogin;
            match accounts::authenticate(state, authorization, half, call.now) {
                Ok(user) => call.user = user,
                Err(refusal) => return (refusal, String::new()),
            }
        }
        let answer = handler(state, &call).unwrap_or_else(|refusal| refusal);
        return (answer, call.user);
    }
    let answer = if is_known {
        Answer::wrong_method()
    } else {
        Answer::unknown_path()
    };
    (answer, String::new())
}

fn matched(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut parts = path.split('/');
    let mut parameters = Vec::new();
    for wanted in pattern.split('/') {
        let part = parts.next()?;
        if wanted == "{}" {
            if part.is_empty() {
                return None;
            }
            parameters.push(percent_decode_str(part).decode_utf8_lossy().into_owned());
        } else if wanted != part {
            return None;
        }
    }
    parts.next().is_none().then_some(parameters)
}

/// The path without doubled slashes and dots; a slash at its end stays.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    if path.ends_with('/') && clean != "/" {
        clean.push('/');
    }
    clean
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, cleaned) in [
            ("/", "/"),
            ("//api/hosts", "/api/hosts"),
            ("/api//hosts/", "/api/hosts/"),
            ("/api/./x/../hosts", "/api/hosts"),
            ("/api/hosts", "/api/hosts"),
        ] {
            assert_eq!(clean(path), cleaned);
        }
    }

    #[test]
    fn a_pattern_takes_one_part_that_is_not_empty() {
        assert_eq!(matched("/a/{}", "/a/b%20c"), Some(vec!["b c".to_owned()]));
        assert_eq!(matched("/a/{}", "/a/"), None);
        assert_eq!(matched("/a/{}", "/a/b/c"), None);
        assert_eq!(matched("/a", "/a/"), None);
    }
}
