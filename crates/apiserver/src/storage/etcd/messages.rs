//! The messages of etcd's API that are used here, with the fields that are used, after
//! `etcdserverpb/rpc.proto` and `mvccpb/kv.proto`.
//!
//! They are written out because generating them needs `protoc` wherever NICO is built.

use bytes::Bytes;
use prost::{Enumeration, Message, Oneof};

/// In every answer.
#[derive(Clone, PartialEq, Message)]
pub struct ResponseHeader {
    /// The revision of the whole store.
    #[prost(int64, tag = "3")]
    pub revision: i64,
}

/// A key and its value.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The revision of the last write.
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    /// The value; empty in deletions.
    #[prost(bytes = "bytes", tag = "5")]
    pub value: Bytes,
}

/// A read of a range of keys.
#[derive(Clone, PartialEq, Message)]
pub struct RangeRequest {
    /// The first key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The key behind the last; empty for one key.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// How many, 0 for all.
    #[prost(int64, tag = "3")]
    pub limit: i64,
    /// At which revision, 0 for now.
    #[prost(int64, tag = "4")]
    pub revision: i64,
    /// Only count.
    #[prost(bool, tag = "9")]
    pub count_only: bool,
}

/// The answer to it.
#[derive(Clone, PartialEq, Message)]
pub struct RangeResponse {
    /// The header.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// In the order of their keys.
    #[prost(message, repeated, tag = "2")]
    pub kvs: Vec<KeyValue>,
    /// How many are in the range, whatever the limit.
    #[prost(int64, tag = "4")]
    pub count: i64,
}

/// A write.
#[derive(Clone, PartialEq, Message)]
pub struct PutRequest {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// A deletion.
#[derive(Clone, PartialEq, Message)]
pub struct DeleteRangeRequest {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
}

/// One operation of a transaction.
#[derive(Clone, PartialEq, Message)]
pub struct RequestOp {
    /// Which.
    #[prost(oneof = "Operation", tags = "2, 3")]
    pub request: Option<Operation>,
}

/// An operation.
#[derive(Clone, PartialEq, Oneof)]
pub enum Operation {
    /// Write.
    #[prost(message, tag = "2")]
    Put(PutRequest),
    /// Delete.
    #[prost(message, tag = "3")]
    Delete(DeleteRangeRequest),
}

/// What a comparison looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Target {
    /// How often the key was written.
    Version = 0,
    /// The revision of the creation.
    Create = 1,
    /// The revision of the last write.
    Mod = 2,
}

/// A condition of a transaction: that the revision of the last write of a key is this.
#[derive(Clone, PartialEq, Message)]
pub struct Compare {
    /// 0 is "equal".
    #[prost(int32, tag = "1")]
    pub result: i32,
    /// What is compared.
    #[prost(enumeration = "Target", tag = "2")]
    pub target: i32,
    /// Of which key.
    #[prost(bytes = "bytes", tag = "3")]
    pub key: Bytes,
    /// 0 if there is no such key. It is part of a choice, so that even 0 is sent.
    #[prost(oneof = "Compared", tags = "6")]
    pub with: Option<Compared>,
}

/// What a comparison expects.
#[derive(Clone, PartialEq, Oneof)]
pub enum Compared {
    /// This revision of the last write.
    #[prost(int64, tag = "6")]
    ModRevision(i64),
}

/// A transaction.
#[derive(Clone, PartialEq, Message)]
pub struct TxnRequest {
    /// The conditions.
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// What is done if they hold.
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<RequestOp>,
}

/// The answer to it.
#[derive(Clone, PartialEq, Message)]
pub struct TxnResponse {
    /// The header; its revision is that of the write.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Whether the conditions held.
    #[prost(bool, tag = "2")]
    pub succeeded: bool,
}

/// Forget what is older.
#[derive(Clone, PartialEq, Message)]
pub struct CompactionRequest {
    /// The oldest revision to keep.
    #[prost(int64, tag = "1")]
    pub revision: i64,
}

/// The answer to it.
#[derive(Clone, PartialEq, Message)]
pub struct CompactionResponse {}

/// Something to do with watches.
#[derive(Clone, PartialEq, Message)]
pub struct WatchRequest {
    /// Which.
    #[prost(oneof = "Watching", tags = "1")]
    pub request: Option<Watching>,
}

/// What to do with a watch.
#[derive(Clone, PartialEq, Oneof)]
pub enum Watching {
    /// Begin one.
    #[prost(message, tag = "1")]
    Create(WatchCreateRequest),
}

/// Begins a watch.
#[derive(Clone, PartialEq, Message)]
pub struct WatchCreateRequest {
    /// The first key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The key behind the last.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// The revision of the first event.
    #[prost(int64, tag = "3")]
    pub start_revision: i64,
    /// Send what was there before, too.
    #[prost(bool, tag = "6")]
    pub prev_kv: bool,
}

/// Events, or the end of a watch.
#[derive(Clone, PartialEq, Message)]
pub struct WatchResponse {
    /// There will be no more events.
    #[prost(bool, tag = "4")]
    pub canceled: bool,
    /// The oldest revision that is kept, if the wanted one is older.
    #[prost(int64, tag = "5")]
    pub compact_revision: i64,
    /// Why there will be no more events.
    #[prost(string, tag = "6")]
    pub cancel_reason: String,
    /// In the order of their revisions.
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
}

/// A write that was seen.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// 0 is a write, 1 a deletion.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// What is there; in deletions only the key and the revision.
    #[prost(message, optional, tag = "2")]
    pub kv: Option<KeyValue>,
    /// What was there.
    #[prost(message, optional, tag = "3")]
    pub prev_kv: Option<KeyValue>,
}
