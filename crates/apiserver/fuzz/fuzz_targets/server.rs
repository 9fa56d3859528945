#![no_main]

use std::cell::RefCell;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use nico_apiserver::fuzzing::Connected;
use tokio::runtime::{Builder, Runtime};

/// What kube-apiserver, too, answers with 500, though it is the client's mistake.
const NOBODY: &str = "without impersonating a user";
/// How long an answer may take, on a clock that only runs while there is nothing to do.
const PATIENCE: Duration = Duration::from_secs(1);
/// After so many connections a new server is made, so that what is stored does not grow for ever.
const CONNECTIONS: usize = 500;

thread_local! {
    static SERVER: RefCell<Option<(Runtime, Connected, usize)>> = const { RefCell::new(None) };
}

fn start() -> (Runtime, Connected, usize) {
    // Nobody waits: time goes on by itself when there is nothing to do.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let server = runtime.block_on(Connected::start());
    (runtime, server, 0)
}

// What a client sends on one connection. The server neither panics nor says that it has made a
// mistake.
fuzz_target!(|bytes: &[u8]| {
    SERVER.with_borrow_mut(|slot| {
        let (runtime, server, used) = slot.get_or_insert_with(start);
        *used += 1;
        let answer = runtime.block_on(server.connection(bytes, PATIENCE));
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            !answer.starts_with("HTTP/1.1 500") || answer.contains(NOBODY),
            "{answer}"
        );
        if *used == CONNECTIONS {
            *slot = None;
        }
    });
});
