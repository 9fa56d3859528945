//! What went wrong, and why, in words for a person.

use std::error::Error;
use std::iter::successors;

/// An error and what caused it, the last cause last. A cause that the one before tells already is
/// left out, and of what a Kubernetes API answered only its own words are told.
pub fn of(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut told: Vec<String> = vec![];
    for cause in successors(Some(error), |cause: &&(dyn Error + 'static)| {
        (*cause).source()
    }) {
        if let Some(answer) = answer(cause) {
            // Its cause is the same answer again.
            told.push(answer);
            break;
        }
        let words = without_answer(cause);
        if !told.last().is_some_and(|before| before.contains(&words)) {
            told.push(words);
        }
    }
    told
}

/// The same on one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    of(error).join(": ")
}

/// What an error says, without an answer of a Kubernetes API that it repeats in all detail.
fn without_answer(error: &(dyn Error + 'static)) -> String {
    let words = error.to_string();
    let repeated = error.source().filter(|cause| answer(*cause).is_some());
    let own = repeated.and_then(|cause| words.strip_suffix(&cause.to_string()));
    match own {
        Some(own) => own.trim_end_matches([':', ' ']).to_owned(),
        None => words,
    }
}

/// What a Kubernetes API answered, if the error is that.
fn answer(error: &(dyn Error + 'static)) -> Option<String> {
    match error.downcast_ref()? {
        kube::Error::Api(status) if status.message.is_empty() => {
            Some(format!("it answered {} {}", status.code, status.reason))
        }
        kube::Error::Api(status) => Some(status.message.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the Machines")]
    struct Reading(#[source] kube::Error);

    fn answered(message: &str) -> Reading {
        let status = Status {
            code: 403,
            reason: "Forbidden".to_owned(),
            message: message.to_owned(),
            ..Status::default()
        };
        Reading(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn of_an_answer_its_own_words_are_told_once() {
        assert_eq!(
            chain(&answered("you may not")),
            "cannot read the Machines: you may not"
        );
        assert_eq!(
            chain(&answered("")),
            "cannot read the Machines: it answered 403 Forbidden"
        );
    }

    #[test]
    fn an_answer_that_is_repeated_in_all_detail_is_told_in_its_words() {
        let error = kube::runtime::watcher::Error::InitialListFailed(answered("you may not").0);
        assert_eq!(
            chain(&error),
            "failed to perform initial object list: you may not"
        );
    }

    #[test]
    fn a_cause_that_was_told_is_left_out() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = Reading(kube::Error::Service(Box::new(refused)));
        assert_eq!(
            of(&error),
            [
                "cannot read the Machines",
                "ServiceError: connection refused"
            ]
        );
    }
}
