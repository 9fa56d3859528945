//! The second factor: one-time passwords after RFC 6238, set up by the account itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::json;

use super::accounts::login_answer;
use super::answer::{Answer, Result};
use super::body::Fields;
use super::route::Call;
use super::state::State;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const STEP_SECONDS: i64 = 30;

pub(super) fn begin(state: &mut State, call: &Call) -> Result<Answer> {
    let user = own_account(call)?;
    let key: [u8; 20] = rand::random();
    let secret = base32(&key);
    let url = format!(
        "otpauth://totp/Netmaker:{user}?algorithm=SHA1&digits=6&issuer=Netmaker&period=30&secret={secret}"
    );
    let signature = STANDARD.encode(state.signer.seal(&url));
    Ok(Answer::wrapped(
        "totp setup initiated",
        json!({"otp_auth_url": url, "otp_auth_url_signature": signature, "qr_code": ""}),
    ))
}

pub(super) fn complete(state: &mut State, call: &Call) -> Result<Answer> {
    let user = own_account(call)?.to_owned();
    let fields = read(call)?;
    let url = fields.text("otp_auth_url").map_err(Answer::bad_request)?;
    let signature = fields.text("otp_auth_url_signature").unwrap_or_default();
    let seal = STANDARD.decode(signature).unwrap_or_default();
    if !state.signer.is_sealed(&url, &seal) {
        return Err(Answer::bad_request("otp auth url signature mismatch"));
    }
    let secret = url.split_once("secret=").map_or("", |(_, rest)| rest);
    let key = unbase32(secret.split('&').next().unwrap_or_default());
    let code = fields.text("totp").unwrap_or_default();
    if !holds(&key, &code, call.now.as_second()) {
        return Err(Answer::bad_request(format!(
            "cannot setup totp for user {user}: invalid otp"
        )));
    }
    state.account_mut(&user)?.second_factor = Some(key);
    Ok(Answer::wrapped(
        format!("totp setup complete for user {user}"),
        (),
    ))
}

pub(super) fn verify(state: &mut State, call: &Call) -> Result<Answer> {
    let user = own_account(call)?.to_owned();
    let code = read(call)?.text("totp").unwrap_or_default();
    let Some(key) = state.account_mut(&user)?.second_factor.clone() else {
        return Err(Answer::bad_request(format!(
            "mfa is disabled for user({user}), cannot process totp verification"
        )));
    };
    if !holds(&key, &code, call.now.as_second()) {
        return Err(Answer::unauthorized("invalid otp"));
    }
    login_answer(state, &user, format!("W1R3: User {user} Authorized"), call)
}

fn own_account(call: &Call) -> Result<&str> {
    if call.parameter(0) == call.user {
        Ok(&call.user)
    } else {
        Err(Answer::unauthorized("unauthorized"))
    }
}

fn read(call: &Call) -> Result<Fields> {
    Fields::read(&call.body)
        .map_err(|error| Answer::bad_request(format!("invalid request body: {error}")))
}

/// Whether `code` is that of now, or of the step before or after.
fn holds(key: &[u8], code: &str, now: i64) -> bool {
    let step = now / STEP_SECONDS;
    (step - 1..=step + 1).any(|step| one_time_password(key, step) == code)
}

fn one_time_password(key: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let seal = hmac::sign(&key, &step.to_be_bytes());
    let seal = seal.as_ref();
    let offset = usize::from(seal[19] & 15);
    let mut word = [0; 4];
    word.copy_from_slice(&seal[offset..offset + 4]);
    format!(
        "{:06}",
        (u32::from_be_bytes(word) & 0x7fff_ffff) % 1_000_000
    )
}

fn base32(bytes: &[u8]) -> String {
    let bit = |index: usize| bytes[index / 8] >> (7 - index % 8) & 1;
    let digit = |start: usize| (start..start + 5).fold(0, |sum, index| sum << 1 | bit(index));
    (0..bytes.len() * 8)
        .step_by(5)
        .map(|start| char::from(ALPHABET[usize::from(digit(start))]))
        .collect()
}

fn unbase32(text: &str) -> Vec<u8> {
    let mut bits = 0_u32;
    let mut count = 0;
    let mut bytes = Vec::new();
    for digit in text.bytes() {
        let Some(value) = (0_u32..)
            .zip(ALPHABET)
            .find(|(_, letter)| **letter == digit)
        else {
            continue;
        };
        bits = bits << 5 | value.0;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap_or_default());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_time_passwords_are_those_of_rfc_6238() {
        let key = b"12345678901234567890";
        assert_eq!(one_time_password(key, 59 / 30), "287082");
        assert_eq!(one_time_password(key, 1_111_111_109 / 30), "081804");
        assert_eq!(unbase32(&base32(key)), key);
    }
}
