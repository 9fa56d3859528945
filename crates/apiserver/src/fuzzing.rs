//! Where text and bytes from outside meet this crate, for fuzzers: whatever comes in, each
//! function returns. None is of use for anything else.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::access::{Access, Authorization, SigningKey, Tokens};
use crate::api::Api;

use crate::apply::{ApplyRequest, TypeInfo, UpdateRequest, apply, track_update};
use crate::patch::{self, MergeKeys};
use crate::registry::{Source, builtin};
use crate::request::field_selector::FieldSelector;
use crate::request::label_selector::LabelSelector;
use crate::request::media::{self, Encoding};
use crate::request::options::{ListOptions, Query, WriteOptions, dry_run_problems};
use crate::request::{Identity, body, path};
use crate::schema::Schema;
use crate::storage::Memory;
use crate::transport::{Certificates, Link, Responder};
use crate::{beginning, controllers};

/// Kinds whose merging differs: lists by key, sets, and nothing but metadata.
const KINDS: &[(&str, &str, &str)] = &[
    ("apps", "Deployment", "apps/v1"),
    ("", "Service", "v1"),
    ("", "ConfigMap", "v1"),
];

/// Bodies in each encoding, and what is decoded of them as a Pod.
pub fn bodies(bytes: &[u8]) {
    for encoding in [Encoding::Json, Encoding::Yaml, Encoding::Protobuf] {
        if let Ok(document) = body::parse(bytes, encoding) {
            decode(document.value);
        }
    }
}

/// Protocol buffers of any built-in kind: the first byte says which.
pub fn protobuf(bytes: &[u8]) {
    let Some((first, raw)) = bytes.split_first() else {
        return;
    };
    let kinds = builtin::all();
    let kind = &kinds[usize::from(*first) % kinds.len()];
    let field = |number: u8, bytes: &[u8]| {
        let mut length = bytes.len();
        let mut field = vec![number << 3 | 2];
        while length >= 0x80 {
            field.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend_from_slice(bytes);
        field
    };
    let version = field(1, kind.api_version().as_bytes());
    let meta = [version, field(2, kind.kind.as_bytes())].concat();
    let whole = [b"k8s\0".to_vec(), field(1, &meta), field(2, raw)].concat();
    if let Ok(document) = body::parse(&whole, Encoding::Protobuf) {
        decode(document.value);
    }
}

fn decode(mut value: Value) {
    let kind = builtin::all().iter().find(|kind| {
        value["kind"] == kind.kind.as_str() && value["apiVersion"] == kind.api_version().as_str()
    });
    if let Some(Source::BuiltIn(built_in)) = kind.map(|kind| &kind.source) {
        let _ = built_in.decode(&mut value);
    }
}

/// Selectors of labels and fields.
pub fn selectors(text: &str) {
    let labels = serde_json::json!({"app": "web", "tier": "", "n": "5"});
    if let Ok(selector) = LabelSelector::parse(text) {
        selector.matches(&labels);
    }
    for kind in builtin::all() {
        if let Ok(selector) = FieldSelector::parse(text, kind) {
            selector.matches(&serde_json::json!({"metadata": {"name": "a"}, "spec": {}}));
        }
    }
}

/// Paths, and headers that say how content is written.
pub fn paths(text: &str) {
    let _ = path::parse(text);
    let _ = media::negotiate(Some(text));
    let _ = media::object_encoding(Some(text));
    let _ = media::patch_kind(Some(text), false);
    let _ = media::wants_aggregated(Some(text));
}

/// Options in queries.
pub fn queries(pairs: Vec<(String, String)>) {
    let query = Query(pairs);
    for watch in [false, true] {
        let _ = ListOptions::read(&query, watch);
    }
    let _ = WriteOptions::read(&query, "CreateOptions");
    let _ = dry_run_problems(&query);
}

/// Patches of all types of a document, by kinds that are merged in different ways.
pub fn patches(document: &Value, patch: &Value) {
    let _ = patch::json(document, patch);
    patch::merge(&mut document.clone(), patch);
    for (group, kind, api_version) in KINDS {
        let keys = MergeKeys::for_kind(group, kind);
        let _ = patch::strategic(document, patch, &keys);
        let types = TypeInfo::for_kind(group, kind);
        write(Some(document), patch, api_version, &types);
        write(None, patch, api_version, &types);
    }
}

fn apply_request(api_version: &str, force: bool) -> ApplyRequest {
    ApplyRequest {
        manager: "fuzzer".to_owned(),
        force,
        subresource: None,
        api_version: api_version.to_owned(),
        now: "2026-01-01T00:00:00Z".to_owned(),
        reset_fields: vec!["status".to_owned()],
    }
}

fn write(live: Option<&Value>, new: &Value, api_version: &str, types: &TypeInfo) {
    for force in [false, true] {
        let request = apply_request(api_version, force);
        if let Ok(applied) = apply(live, new, &request, types) {
            let _ = apply(Some(&applied), new, &request, types);
        }
    }
    let update = UpdateRequest {
        manager: "fuzzer".to_owned(),
        subresource: None,
        api_version: api_version.to_owned(),
        now: "2026-01-01T00:00:00Z".to_owned(),
        reset_fields: vec!["status".to_owned()],
    };
    if new.is_object() {
        track_update(live, &mut new.clone(), &update, types);
    }
}

/// Managed fields as somebody may have written them, of an object that others write then. An apply
/// that is done again changes nothing.
///
/// # Panics
/// If it does.
pub fn managed_fields(entries: &Value, live: &Value, new: &Value) {
    let mut live = live.clone();
    let (Some(object), true) = (live.as_object_mut(), new.is_object()) else {
        return;
    };
    object.insert(
        "metadata".to_owned(),
        serde_json::json!({"managedFields": entries}),
    );
    for (group, kind, api_version) in KINDS {
        let types = TypeInfo::for_kind(group, kind);
        write(Some(&live), new, api_version, &types);
        let request = apply_request(api_version, true);
        let Ok(once) = apply(Some(&live), new, &request, &types) else {
            continue;
        };
        if once["metadata"].get("managedFields").is_none() {
            // Nobody owns anything, and the next to apply finds an object from before its time.
            continue;
        }
        let twice = apply(Some(&once), new, &request, &types).expect("it was applied before");
        assert_eq!(once, twice, "{kind}");
    }
}

/// The schema of a custom resource, and an object by it.
pub fn schemas(schema: &Value, object: &Value, old: &Value) {
    let Ok(schema) = Schema::parse(schema) else {
        return;
    };
    let mut object = object.clone();
    schema.prune(&mut object);
    schema.apply_defaults(&mut object);
    let _ = schema.validate(&object, None);
    let _ = schema.validate(&object, Some(old));
    write(
        Some(old),
        &object,
        "example.com/v1",
        &TypeInfo::for_custom_resource(&schema),
    );
}

/// A whole server with its controllers, but without sockets.
#[derive(Debug)]
pub struct Connected {
    responder: Responder,
    administrator: Arc<Identity>,
    _shutdown: DropGuard,
}

/// How long a client waits for more of an answer that has begun.
const IDLE: Duration = Duration::from_millis(50);

impl Connected {
    /// A new server; must be called in a Tokio runtime, and lives in that.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn start() -> Self {
        let certificates = Certificates::make(&[]).expect("certificates");
        let key = SigningKey::from_pem(&certificates.token_key).expect("a key");
        let access = Access::new(Authorization::AlwaysAllow, Tokens::default(), key);
        let shutdown = CancellationToken::new();
        let api = Api::new(Arc::new(Memory::default()), access, shutdown.clone());
        let api = Arc::new(api);
        let namespace = beginning::ensure_namespace(&api, "default").await;
        namespace.expect("a namespace");
        let settings = controllers::Settings {
            simulate_workloads: true,
            ..controllers::Settings::default()
        };
        let tasks = TaskTracker::new();
        controllers::start(&api, &tasks, settings, &certificates.authority);
        let administrator = Identity {
            user: "admin".to_owned(),
            groups: vec!["system:masters".to_owned()],
            ..Identity::default()
        };
        Self {
            responder: Responder {
                api,
                faults: crate::faults::Faults::default(),
            },
            administrator: Arc::new(administrator),
            _shutdown: shutdown.drop_guard(),
        }
    }

    /// What comes back on a connection on which these bytes are sent, if it begins in time. A
    /// request may end in an empty line and a body whose length is not said; it is added then.
    pub async fn connection(&self, bytes: &[u8], patience: Duration) -> Vec<u8> {
        let (client, stream) = tokio::io::duplex(1 << 16);
        let link = Link::default();
        let serve = self
            .responder
            .serve(stream, Some(&self.administrator), &link);
        let bytes = with_length(bytes);
        let mut exchange = pin!(exchange(client, &bytes, patience));
        tokio::select! {
            // A server that has closed the connection may have answered before.
            _ = serve => exchange.await,
            answer = &mut exchange => answer,
        }
    }
}

async fn exchange(client: DuplexStream, bytes: &[u8], patience: Duration) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(client);
    let mut answer = Vec::new();
    let send = async {
        // A server that has read enough closes the connection.
        let _ = writer.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    let receive = async {
        let mut part = [0; 4096];
        let mut wait = patience;
        while let Ok(Ok(count @ 1..)) = timeout(wait, reader.read(&mut part)).await {
            answer.extend_from_slice(&part[..count]);
            wait = IDLE;
        }
    };
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
    answer
}

/// Adds the length of the body where the head ends in an empty line and does not say it.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let Some(end) = end else {
        return bytes.to_vec();
    };
    let (head, body) = (&bytes[..end], &bytes[end + 2..]);
    let mut whole = Vec::with_capacity(bytes.len() + 64);
    for line in head.split(|byte| *byte == b'\n') {
        whole.extend_from_slice(line);
        whole.extend_from_slice(b"\r\n");
    }
    let says = head.to_ascii_lowercase();
    if !says.windows(15).any(|part| part == b"content-length:") {
        whole.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    whole.extend_from_slice(b"\r\n");
    whole.extend_from_slice(body);
    whole
}
