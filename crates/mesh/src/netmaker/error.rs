//! What came back instead of an answer.

use std::time::Duration;

use nico_runtime::category::{Categorized, Category};

/// A call of Netmaker failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot reach Netmaker at {url}")]
    Unreachable {
        /// The address that was tried.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("Netmaker did not answer {what} within {} s", after.as_secs_f32())]
    Timeout {
        /// What was asked.
        what: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke before the answer was whole.
    #[error("the connection to Netmaker broke during {what}: {detail}")]
    Broken {
        /// What was asked.
        what: String,
        /// Why.
        detail: String,
    },
    /// The answer does not end where answers do.
    #[error("the answer to {what} is longer than {limit} bytes")]
    TooLong {
        /// What was asked.
        what: String,
        /// The longest answer that is read.
        limit: u64,
    },
    /// Something else answers there.
    #[error("NETMAKER_API_URL does not look like a Netmaker API: {what} was answered with {found}")]
    NotNetmaker {
        /// What was asked.
        what: String,
        /// What was found.
        found: String,
    },
    /// The answer is JSON, but not what it should be.
    #[error("cannot understand Netmaker's answer to {what}")]
    Undecodable {
        /// What was asked.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The user name or the password is wrong.
    #[error(
        "Netmaker refuses the login of NETMAKER_USERNAME: {message}; check NETMAKER_USERNAME and NETMAKER_PASSWORD"
    )]
    LoginRefused {
        /// What Netmaker says.
        message: String,
    },
    /// The account needs a second factor, which a program cannot give.
    #[error(
        "the account of NETMAKER_USERNAME needs a second factor: make an access token for it and set NETMAKER_TOKEN or NETMAKER_TOKEN_FILE"
    )]
    SecondFactor,
    /// The access token holds no longer.
    #[error(
        "Netmaker refuses the access token: {message}; set a new one in NETMAKER_TOKEN or NETMAKER_TOKEN_FILE"
    )]
    TokenRefused {
        /// What Netmaker says.
        message: String,
    },
    /// The file with the access token cannot be read.
    #[error("cannot read the access token from the file of NETMAKER_TOKEN_FILE")]
    TokenFile(#[source] std::io::Error),
    /// The account may not do this.
    #[error("Netmaker forbids {what}: {message}; the account needs the role admin")]
    Forbidden {
        /// What was asked.
        what: String,
        /// What Netmaker says.
        message: String,
    },
    /// What was named is not there (any more).
    #[error("Netmaker has no such record for {what}")]
    NoSuchRecord {
        /// What was asked.
        what: String,
    },
    /// The node that the rule is for is not there (any more).
    #[error("Netmaker does not know the routing node for {what}")]
    NoSuchNode {
        /// What was asked.
        what: String,
    },
    /// Netmaker does not accept the request.
    #[error("Netmaker refuses {what} with {status}: {message}")]
    Refused {
        /// What was asked.
        what: String,
        /// The status code.
        status: u16,
        /// What Netmaker says.
        message: String,
    },
    /// Netmaker, or what stands before it, has a fault.
    #[error("Netmaker failed at {what} with {status}: {message}")]
    Server {
        /// What was asked.
        what: String,
        /// The status code.
        status: u16,
        /// What was said.
        message: String,
    },
}

impl ClientError {
    /// Whether a write that ended so may have been done all the same.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::TooLong { .. }
            | Self::Undecodable { .. }
            | Self::Server { .. }
            // Something else answered; whether it passed the request on cannot be known.
            | Self::NotNetmaker { .. } => true,
            Self::Unreachable { .. }
            | Self::LoginRefused { .. }
            | Self::SecondFactor
            | Self::TokenRefused { .. }
            | Self::TokenFile(_)
            | Self::Forbidden { .. }
            | Self::NoSuchRecord { .. }
            | Self::NoSuchNode { .. }
            | Self::Refused { .. } => false,
        }
    }

    /// Whether the failure concerns this request alone, so that others may go on.
    pub fn is_of_one_request(&self) -> bool {
        matches!(
            self,
            Self::NoSuchRecord { .. } | Self::NoSuchNode { .. } | Self::Refused { .. }
        )
    }
}

impl Categorized for ClientError {
    fn category(&self) -> Category {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::TooLong { .. }
            | Self::Undecodable { .. }
            | Self::Server { .. } => Category::Transient,
            Self::NotNetmaker { .. }
            | Self::LoginRefused { .. }
            | Self::SecondFactor
            | Self::TokenRefused { .. }
            | Self::TokenFile(_)
            | Self::Forbidden { .. }
            | Self::Refused { .. } => Category::InvalidInput,
            Self::NoSuchRecord { .. } | Self::NoSuchNode { .. } => Category::Conflict,
        }
    }
}
