//! An error in one line.

use std::error::Error;

/// An error with its causes, each behind a colon.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netmaker::ClientError;

    #[test]
    fn an_error_names_its_causes() {
        let error = ClientError::Unreachable {
            url: "http://192.0.2.1".to_owned(),
            source: "no route".into(),
        };
        assert_eq!(
            chain(&error),
            "cannot reach Netmaker at http://192.0.2.1: no route"
        );
    }
}
