//! Accounts, login, and the tokens that follow from it.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{Answer, Result};
use super::body::Fields;
use super::route::Call;
use super::state::{AccessToken, Account, State};
use super::token::{ACCESS, Claims, HALF, LOGIN};

const SUPER_ADMIN: &str = "super-admin";
const ADMIN: &str = "admin";
/// How long a login lasts, in seconds.
const LOGIN_LIFETIME: i64 = 43_200;
const HALF_LOGIN_LIFETIME: i64 = 300;

/// Whose token this is.
///
/// # Errors
/// 401, when it is nobody's, has ended, was revoked, or is not of the kind that is wanted.
pub(super) fn authenticate(
    state: &State,
    authorization: Option<&str>,
    wants_half: bool,
    now: Timestamp,
) -> Result<String> {
    let refused = || Answer::unauthorized("unauthorized");
    let token = authorization
        .and_then(|header| header.split(' ').nth(1))
        .ok_or_else(refused)?;
    let (claims, is_valid) = state
        .signer
        .read(token, now.as_second())
        .ok_or_else(refused)?;
    if claims.kind == ACCESS && !state.access_tokens.contains_key(&claims.jti) {
        return Err(Answer::unauthorized("token revoked"));
    }
    if !is_valid || (claims.kind == HALF) != wants_half {
        return Err(refused());
    }
    if state.account(&claims.user)?.is_disabled {
        return Err(Answer::unauthorized("user account disabled"));
    }
    Ok(claims.user)
}

pub(super) fn has_super_admin(state: &mut State, _: &Call) -> Result<Answer> {
    let has = state
        .accounts
        .values()
        .any(|account| account.role == SUPER_ADMIN);
    Ok(Answer::bare(&Value::Bool(has)))
}

pub(super) fn create_super_admin(state: &mut State, call: &Call) -> Result<Answer> {
    let fields = Fields::read(&call.body).map_err(Answer::bad_request)?;
    let has = |account: &Account| account.role == SUPER_ADMIN;
    if state.accounts.values().any(has) {
        return Err(Answer::bad_request("superadmin user already exists"));
    }
    let name = create(state, &fields, SUPER_ADMIN)?;
    Ok(Answer::bare(&view(state, &name)))
}

pub(super) fn log_in(state: &mut State, call: &Call) -> Result<Answer> {
    let fields =
        Fields::read(&call.body).map_err(|_| Answer::internal("W1R3: It's not you it's me."))?;
    let failed = |_| Answer::internal("W1R3: It's not you it's me.");
    let name = fields.text("username").map_err(failed)?;
    let password = fields.text("password").map_err(failed)?;
    let account = state.account(&name)?;
    if account.is_disabled {
        return Err(Answer::unauthorized("user account disabled"));
    }
    if password.is_empty() {
        return Err(Answer::bad_request("password can't be empty"));
    }
    if password != account.password {
        return Err(Answer::bad_request("incorrect credentials"));
    }
    if account.second_factor.is_some() {
        let now = call.now.as_second();
        let end = now + HALF_LOGIN_LIFETIME;
        let claims = Claims::new(&name, account.role, HALF, now, end);
        let half = state.signer.sign(&claims);
        return Ok(Answer::wrapped(
            "W1R3: TOTP required",
            json!({"user_name": name, "pre_auth_token": half}),
        ));
    }
    login_answer(
        state,
        &name,
        format!("W1R3: Device {name} Authorized"),
        call,
    )
}

/// What a login that succeeded is answered with.
pub(super) fn login_answer(
    state: &State,
    name: &str,
    message: String,
    call: &Call,
) -> Result<Answer> {
    let now = call.now.as_second();
    let role = state.account(name)?.role;
    let claims = Claims::new(name, role, LOGIN, now, now + LOGIN_LIFETIME);
    let token = state.signer.sign(&claims);
    Ok(Answer::wrapped(
        message,
        json!({"UserName": name, "AuthToken": token}),
    ))
}

pub(super) fn create_user(state: &mut State, call: &Call) -> Result<Answer> {
    let fields = Fields::read(&call.body).map_err(Answer::bad_request)?;
    if state.account(&call.user)?.role != SUPER_ADMIN {
        return Err(Answer::forbidden("only superadmin can create admin users"));
    }
    let name = create(state, &fields, ADMIN)?;
    Ok(Answer::bare(&view(state, &name)))
}

pub(super) fn show_user(state: &mut State, call: &Call) -> Result<Answer> {
    if call.parameter(0) != call.user {
        return Err(Answer::unauthorized("unauthorized"));
    }
    Ok(Answer::bare(&view(state, &call.user)))
}

pub(super) fn list_users(state: &mut State, _: &Call) -> Result<Answer> {
    let users = state.accounts.keys().map(|name| view(state, name));
    Ok(Answer::bare(&users.collect()))
}

pub(super) fn delete_user(state: &mut State, call: &Call) -> Result<Answer> {
    let name = call.parameter(0).to_owned();
    let caller = state.account(&call.user)?.role;
    let role = state.account_mut(&name)?.role;
    if role == SUPER_ADMIN {
        return Err(Answer::internal("superadmin cannot be deleted"));
    }
    if caller != SUPER_ADMIN {
        return Err(Answer::internal(
            "admin cannot delete another admin user, including oneself",
        ));
    }
    state.accounts.remove(&name);
    state.access_tokens.retain(|_, token| token.user != name);
    Ok(Answer::bare(&Value::String(format!("{name} deleted."))))
}

pub(super) fn enable(state: &mut State, call: &Call) -> Result<Answer> {
    state.account_mut(call.parameter(0))?.is_disabled = false;
    Ok(Answer::wrapped("user account enabled", ()))
}

pub(super) fn disable(state: &mut State, call: &Call) -> Result<Answer> {
    let account = state.account_mut(call.parameter(0))?;
    if account.role == SUPER_ADMIN {
        return Err(Answer::bad_request(
            "cannot disable super-admin user account",
        ));
    }
    account.is_disabled = true;
    Ok(Answer::wrapped("user account disabled", ()))
}

pub(super) fn create_access_token(state: &mut State, call: &Call) -> Result<Answer> {
    let fields = Fields::read(&call.body).map_err(Answer::bad_request)?;
    let text = |name| fields.text(name).map_err(Answer::bad_request);
    let (name, user, expires_at) = (text("name")?, text("user_name")?, text("expires_at")?);
    if name.is_empty() {
        return Err(Answer::bad_request("name is required"));
    }
    if user.is_empty() {
        return Err(Answer::bad_request("username is required"));
    }
    // Without a time it is Go's zero time: the token has ended before it is used.
    let end = if expires_at.is_empty() {
        0
    } else {
        let end: Timestamp = expires_at
            .parse()
            .map_err(|_| Answer::bad_request(format!("parsing time {expires_at:?}")))?;
        end.as_second()
    };
    let role = state.account(&user)?.role;
    may_act_for(state, call, &user, role, "create token for")?;
    let id = Uuid::new_v4().to_string();
    let mut claims = Claims::new(&user, role, ACCESS, call.now.as_second(), end);
    claims.jti.clone_from(&id);
    let token = state.signer.sign(&claims);
    state.access_tokens.insert(
        id,
        AccessToken {
            name,
            user: user.clone(),
            created_by: call.user.clone(),
            created_at: call.now,
            expires_at,
        },
    );
    Ok(Answer::wrapped(
        format!("api access token has generated for user {user}"),
        json!({"UserName": user, "AuthToken": token}),
    ))
}

pub(super) fn list_access_tokens(state: &mut State, call: &Call) -> Result<Answer> {
    let user = call.query("username");
    if user.is_empty() {
        return Err(Answer::bad_request("username is required"));
    }
    let tokens = state.access_tokens.iter();
    let tokens: Vec<Value> = tokens
        .filter(|(_, token)| token.user == user)
        .map(|(id, token)| {
            json!({
                "id": id,
                "name": token.name,
                "user_name": token.user,
                "expires_at": token.expires_at,
                "last_used": "0001-01-01T00:00:00Z",
                "created_by": token.created_by,
                "created_at": token.created_at.to_string(),
            })
        })
        .collect();
    let message = format!("fetched api access tokens for user {user}");
    Ok(Answer::wrapped(message, tokens))
}

pub(super) fn revoke_access_token(state: &mut State, call: &Call) -> Result<Answer> {
    let id = call.query("id");
    if id.is_empty() {
        return Err(Answer::bad_request("id is required"));
    }
    let Some(token) = state.access_tokens.get(id) else {
        return Err(Answer::bad_request("token does not exist"));
    };
    let user = token.user.clone();
    let role = state.account(&user)?.role;
    may_act_for(state, call, &user, role, "delete token of")?;
    state.access_tokens.remove(id);
    Ok(Answer::wrapped("revoked access token", ()))
}

/// Everybody for himself, and the super admin for all.
fn may_act_for(state: &State, call: &Call, user: &str, role: &str, what: &str) -> Result<()> {
    let caller = state.account(&call.user)?.role;
    if caller == SUPER_ADMIN || call.user == user || !matches!(role, SUPER_ADMIN | ADMIN) {
        return Ok(());
    }
    Err(Answer::forbidden(format!(
        "not enough permissions to {what} user {user}"
    )))
}

fn create(state: &mut State, fields: &Fields, role: &'static str) -> Result<String> {
    let name = fields.text("username").map_err(Answer::bad_request)?;
    let password = fields.text("password").map_err(Answer::bad_request)?;
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "-.@+".contains(letter);
    if name.len() <= 3 || !name.chars().all(is_allowed) {
        return Err(Answer::bad_request("invalid username"));
    }
    if password.len() < 5 {
        return Err(Answer::bad_request(
            "password requirement not met. minimum 5 characters",
        ));
    }
    if state.accounts.contains_key(&name) {
        return Err(Answer::error(StatusCode::BAD_REQUEST, "user exists"));
    }
    let account = Account {
        password,
        role,
        is_disabled: false,
        second_factor: None,
    };
    state.accounts.insert(name.clone(), account);
    Ok(name)
}

fn view(state: &State, name: &str) -> Value {
    let account = state.accounts.get(name);
    let role = account.map_or("", |account| account.role);
    json!({
        "username": name,
        "external_identity_provider_id": "",
        "is_mfa_enabled": account.is_some_and(|account| account.second_factor.is_some()),
        "display_name": "",
        "account_disabled": account.is_some_and(|account| account.is_disabled),
        "isadmin": false,
        "issuperadmin": role == SUPER_ADMIN,
        "auth_type": "basic_auth",
        "remote_gw_ids": null,
        "user_group_ids": {},
        "platform_role_id": role,
        "network_roles": {},
        "last_login_time": "0001-01-01T00:00:00Z",
    })
}
