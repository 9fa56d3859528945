//! Faults between a watch and the connection: lines are lost, repeated, held back or cut off.

use std::collections::VecDeque;

use axum::body::{Body, BodyDataStream};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::sync::watch;

use crate::status::Status;

use super::Faults;
use super::decide::{Stage, Subject};
use super::rule::Fault;

/// A watch whose lines pass by the rules.
struct FaultyWatch {
    faults: Faults,
    subject: Subject,
    lines: BodyDataStream,
    /// Beginning of a line whose end has not come yet.
    partial: BytesMut,
    ready: VecDeque<Bytes>,
    ended: bool,
    changed: watch::Receiver<()>,
    /// The last rule that the watch as a whole was shown to.
    judged: u64,
    frozen_by: Option<u64>,
}

/// Puts the rules between the lines of a watch and the connection.
pub(super) fn watch(faults: &Faults, subject: Subject, response: Response) -> Response {
    let mut changed = faults.shared.changed.subscribe();
    changed.mark_changed();
    let (head, body) = response.into_parts();
    let watch = FaultyWatch {
        faults: faults.clone(),
        subject,
        lines: body.into_data_stream(),
        partial: BytesMut::new(),
        ready: VecDeque::new(),
        ended: false,
        changed,
        judged: 0,
        frozen_by: None,
    };
    let lines = stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((line, watch))
    });
    Response::from_parts(head, Body::from_stream(lines))
}

impl FaultyWatch {
    async fn next(&mut self) -> Option<Result<Bytes, axum::Error>> {
        loop {
            self.judge();
            if self.frozen_by.is_some() {
                // Cannot fail: the sender lives as long as the rules.
                self.changed.changed().await.ok()?;
                self.changed.mark_changed();
                continue;
            }
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                biased;
                chunk = self.lines.next() => match chunk {
                    Some(Ok(chunk)) => self.take(chunk),
                    Some(Err(error)) => return Some(Err(error)),
                    None => {
                        let rest = std::mem::take(&mut self.partial).freeze();
                        if !rest.is_empty() {
                            self.ready.push_back(rest);
                        }
                        self.end();
                    }
                },
                _ = self.changed.changed() => self.changed.mark_changed(),
            }
        }
    }

    /// Applies the rules that came or went since the last call to the watch as a whole.
    fn judge(&mut self) {
        let over = self.ended && self.frozen_by.is_none();
        if over || !self.changed.has_changed().unwrap_or(false) {
            return;
        }
        self.changed.mark_unchanged();
        if self
            .frozen_by
            .is_some_and(|rule| self.faults.is_there(rule))
        {
            return;
        }
        self.frozen_by = None;
        let hit = self.faults.judge_watch(&self.subject, &mut self.judged);
        match hit.map(|hit| (hit.id, hit.fault)) {
            Some((id, Fault::FreezeWatch)) => self.frozen_by = Some(id),
            Some((_, Fault::ExpireWatch)) => self.expire(),
            Some(_) => self.end(),
            None => {}
        }
    }

    fn take(&mut self, chunk: Bytes) {
        if self.partial.is_empty() && self.faults.are_none() {
            self.ready.push_back(chunk);
            return;
        }
        self.partial.extend_from_slice(&chunk);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line = self.partial.split_to(end + 1).freeze();
            self.line(line);
            if self.ended {
                return;
            }
        }
    }

    fn line(&mut self, line: Bytes) {
        let hit = self.subject.event(&line).and_then(|event| {
            let hits = self.faults.decide(Stage::Event, &event, 0);
            hits.into_iter().next()
        });
        match hit.map(|hit| hit.fault) {
            Some(Fault::DropEvent) => {}
            Some(Fault::DuplicateEvent) => self.ready.extend([line.clone(), line]),
            Some(Fault::ExpireAtEvent) => self.expire(),
            Some(Fault::EndAtEvent) => self.end(),
            _ => self.ready.push_back(line),
        }
    }

    fn expire(&mut self) {
        let status = Status::expired("The resourceVersion for the provided watch is too old.");
        let mut line = json!({"type": "ERROR", "object": status.to_value()}).to_string();
        line.push('\n');
        self.ready.push_back(line.into());
        self.end();
    }

    /// Nothing more comes; what is ready is still sent.
    fn end(&mut self) {
        self.lines = Body::empty().into_data_stream();
        self.ended = true;
    }
}
