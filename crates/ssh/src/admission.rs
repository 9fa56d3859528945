//! Whom an SSH server of this crate lets in.

use russh::keys::PublicKey;
use russh::server::Auth;

/// Lets in whoever has one of these keys.
pub(crate) fn by_key(authorized: &[PublicKey], key: &PublicKey) -> Auth {
    let mut known = authorized.iter();
    if known.any(|known| known.key_data() == key.key_data()) {
        Auth::Accept
    } else {
        Auth::reject()
    }
}
