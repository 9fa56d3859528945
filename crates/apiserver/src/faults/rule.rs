//! Rules as plain data: what they look for, which of those they take, and what happens to them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a client asks for, in the words of Kubernetes' authorisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// GET of one object, and of what is no resource, such as discovery.
    Get,
    /// GET of a collection.
    List,
    /// GET of a collection that goes on with its changes.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH, applies included.
    Patch,
    /// DELETE of one object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
}

impl Verb {
    /// All verbs that change something.
    pub const WRITES: [Self; 5] = [
        Self::Create,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::DeleteCollection,
    ];
}

/// What an event of a watch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventType {
    /// An object is new, or new in the selection.
    Added,
    /// An object has changed.
    Modified,
    /// An object is gone, or gone from the selection.
    Deleted,
    /// Only the version has moved on.
    Bookmark,
}

/// Which of the requests, watches or events that a rule looks for it takes. They are counted for
/// each rule from 1, over all clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Nth {
    /// Every one.
    #[default]
    All,
    /// The first so many; with 0, none.
    First(u64),
    /// This one only; with 0, none.
    Only(u64),
    /// Each whose number can be divided by this; with 0, none.
    Every(u64),
    /// This one and all after it; with 0, every one.
    From(u64),
}

impl Nth {
    /// Whether the one with this number, which is at least 1, is taken.
    pub fn takes(self, number: u64) -> bool {
        match self {
            Self::All => true,
            Self::First(count) => number <= count,
            Self::Only(only) => number == only,
            Self::Every(step) => step != 0 && number.is_multiple_of(step),
            Self::From(first) => number >= first,
        }
    }
}

/// What a rule looks for. What is left out matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Matcher {
    /// One of these verbs.
    pub verbs: Vec<Verb>,
    /// One of these resources, by plural or kind, with the group if it matters: `nodes`, `Node`,
    /// `leases.coordination.k8s.io`.
    pub resources: Vec<String>,
    /// This namespace.
    pub namespace: Option<String>,
    /// The object of this name: of a creation the one to create, of a list or watch the one that
    /// the field selector `metadata.name` asks for, of an event the one that it is about. A name
    /// that the server makes up is not known yet.
    pub name: Option<String>,
    /// This subresource; empty for none.
    pub subresource: Option<String>,
    /// This user: the common name of a client certificate.
    pub user: Option<String>,
    /// User agents that begin like this.
    pub user_agent: Option<String>,
    /// One of these events; if none are given, all but bookmarks. Only for faults of events.
    pub events: Vec<EventType>,
    /// Which of those that match.
    pub nth: Nth,
}

/// Whether a fault comes before the request is handled, or when it is done and only the answer
/// is left to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// Nothing is done.
    #[default]
    Before,
    /// Everything is done, and its result is lost.
    After,
}

/// An error answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Refusal {
    /// 409: somebody else was faster. `AlreadyExists` for a creation, else `Conflict`.
    Conflict,
    /// 429 `TooManyRequests`.
    TooManyRequests {
        /// Seconds after which to try again, in the header and in the details.
        retry_after: u32,
    },
    /// 500 `InternalError`.
    InternalError,
    /// 503 `ServiceUnavailable`.
    ServiceUnavailable,
    /// 504 `Timeout`.
    Timeout,
}

/// How far back a stale read looks; never further than the history reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AsOf {
    /// At this resourceVersion.
    Revision(u64),
    /// So many writes, to whatever object, before the newest one.
    Behind(u64),
}

/// What happens to a request, a watch or an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Fault {
    /// A request waits.
    Latency {
        /// Before it is handled.
        #[serde(
            default,
            with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required"
        )]
        before: Duration,
        /// When it is done, before the answer is sent.
        #[serde(
            default,
            with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required"
        )]
        after: Duration,
    },
    /// A request is answered with an error.
    Refuse {
        /// Which.
        with: Refusal,
        /// Whether what was asked for is done all the same.
        #[serde(default)]
        when: When,
    },
    /// The whole connection is reset (TCP RST, no TLS `close_notify`): with HTTP/2 that ends
    /// every other request on it too.
    Reset {
        /// Whether what was asked for is done all the same.
        #[serde(default)]
        when: When,
    },
    /// A get or a list answers from the past. Watches are not stale: freeze them.
    Stale {
        /// From when.
        as_of: AsOf,
        /// Only reads that allow it with `resourceVersion=0`. Otherwise also those that want the
        /// newest state; one that names a newer version gets 504, as from a server that lags
        /// behind.
        #[serde(default)]
        only_cached: bool,
    },
    /// A watch stays open and nothing comes any more, no bookmark and no end at its timeout,
    /// until the rule is removed. Then it goes on with what it held back. Open watches too.
    FreezeWatch,
    /// A watch ends, as at its timeout. Open watches too.
    EndWatch,
    /// A watch ends with the ERROR event `410 Expired`. Open watches too.
    ExpireWatch,
    /// An event is not sent.
    DropEvent,
    /// An event is sent twice.
    DuplicateEvent,
    /// A watch ends instead of sending an event.
    EndAtEvent,
    /// A watch ends with `410 Expired` instead of sending an event.
    ExpireAtEvent,
}

/// What to look for, and what to do to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What the rule looks for; everything, if it is left out.
    #[serde(default)]
    pub on: Matcher,
    /// What happens to it.
    pub fault: Fault,
}

impl Rule {
    /// Does this to everything, until it is narrowed down.
    pub fn new(fault: Fault) -> Self {
        Self {
            on: Matcher::default(),
            fault,
        }
    }

    /// Answers with an error instead of handling the request.
    pub fn refuse(with: Refusal) -> Self {
        Self::new(Fault::Refuse {
            with,
            when: When::Before,
        })
    }

    /// Resets the connection.
    pub fn reset(when: When) -> Self {
        Self::new(Fault::Reset { when })
    }

    /// Only these verbs.
    #[must_use]
    pub fn verbs(mut self, verbs: impl Into<Vec<Verb>>) -> Self {
        self.on.verbs = verbs.into();
        self
    }

    /// Only this resource, beside those that were already named.
    #[must_use]
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.on.resources.push(resource.into());
        self
    }

    /// Only in this namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.on.namespace = Some(namespace.into());
        self
    }

    /// Only the object of this name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.on.name = Some(name.into());
        self
    }

    /// Only this subresource; with an empty name, only objects themselves.
    #[must_use]
    pub fn subresource(mut self, subresource: impl Into<String>) -> Self {
        self.on.subresource = Some(subresource.into());
        self
    }

    /// Only requests of this user.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.on.user = Some(user.into());
        self
    }

    /// Only requests of user agents that begin like this.
    #[must_use]
    pub fn user_agent(mut self, prefix: impl Into<String>) -> Self {
        self.on.user_agent = Some(prefix.into());
        self
    }

    /// Only these events.
    #[must_use]
    pub fn events(mut self, events: impl Into<Vec<EventType>>) -> Self {
        self.on.events = events.into();
        self
    }

    /// Only these of those that match.
    #[must_use]
    pub fn nth(mut self, nth: Nth) -> Self {
        self.on.nth = nth;
        self
    }
}
