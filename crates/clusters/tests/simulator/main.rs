//! Drives the decisions of the cluster layer through a model of the world: machines that fail,
//! reboot, vanish and come back, Nodes that lie, API conflicts, operators that stop between any
//! two actions, several clusters that want the same machines. After every step the invariants of
//! a rollout are checked, and once the faults stop every cluster must become what its spec says.
//!
//! - [`world`]: machines and clusters, and what happens to them
//! - [`cluster`]: a cluster, its objects, and its Nodes
//! - [`view`]: what an operator sees
//! - [`host`]: a machine, and what the machine layer does with it
//! - [`operator`]: observes, plans, and does one action at a time
//! - [`events`]: everything that can happen
//! - [`invariants`]: what must hold whatever happens
//!
//! `NICO_SIMULATOR_STEPS` sets the number of steps, `NICO_SIMULATOR_SEED` where they start; the
//! same seed gives the same runs. A failure is shrunk to few events.

#![allow(clippy::unwrap_used, reason = "a test may end here")]

mod cluster;
mod events;
mod host;
mod invariants;
mod operator;
mod view;
mod world;

use std::cell::Cell;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

use events::{Event, Setup};
use world::World;

/// Steps over random clusters in one run of the tests.
const STEPS: u64 = 1_000_000;

/// How long a failure is shrunk, in milliseconds.
const SHRINKING: u32 = 60_000;

/// Where the runs start, so that every run of the tests is the same.
const SEED: u64 = 1;

/// Events before the faults stop.
const EVENTS: usize = 400;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

/// Lets everything happen, then has the faults stop. Gives the number of steps.
fn simulate(setup: &Setup, events: &[Event]) -> Result<u64, String> {
    let mut world = World::new(setup);
    for event in events {
        world
            .happen(event)
            .map_err(|broken| format!("{broken}\nafter {event:?}\n{}", world.story()))?;
    }
    world
        .settle()
        .map_err(|broken| format!("{broken}\nafter the faults stopped\n{}", world.story()))?;
    Ok(world.steps)
}

#[test]
fn no_rollout_breaks_a_cluster_and_every_rollout_ends() {
    let wanted = from_environment("NICO_SIMULATOR_STEPS").unwrap_or(STEPS);
    let seed = from_environment("NICO_SIMULATOR_SEED").unwrap_or(SEED);
    println!("NICO_SIMULATOR_SEED={seed}");
    let started = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let (steps, runs) = std::thread::scope(|scope| {
        let seeds = (0..threads).map(|thread| seed.wrapping_add(thread));
        let running: Vec<_> = seeds
            .map(|seed| scope.spawn(move || simulate_many(seed, wanted / threads)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .fold((0, 0), |(steps, runs), (more, others)| {
                (steps + more, runs + others)
            })
    });
    let seconds = started.elapsed().as_secs_f64();
    println!("{steps} steps in {runs} runs, {seconds:.1} s");
}

/// Runs over random clusters and events until there were `wanted` steps. Gives the number of
/// steps and of runs.
fn simulate_many(seed: u64, wanted: u64) -> (u64, u64) {
    let (steps, runs) = (Cell::new(0), Cell::new(0));
    let mut seeds = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    });
    let scripts = (
        events::any_setup(),
        prop::collection::vec(events::any_event(), 0..EVENTS),
    );
    while steps.get() < wanted {
        let config = Config {
            cases: 16,
            max_shrink_time: SHRINKING,
            max_shrink_iters: 1_000_000,
            failure_persistence: None,
            ..Config::default()
        };
        let mut batch = TestRunner::new_with_rng(config, seeds.new_rng());
        let outcome = batch.run(&scripts, |(setup, events)| {
            let done = simulate(&setup, &events).map_err(TestCaseError::fail)?;
            steps.set(steps.get() + done);
            runs.set(runs.get() + 1);
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(why, (setup, events))) => {
                panic!("{why}\nNICO_SIMULATOR_SEED={seed}\n{setup:?}\n{events:?}")
            }
            Err(TestError::Abort(why)) => panic!("{why}"),
        }
    }
    (steps.get(), runs.get())
}

#[test]
fn clusters_of_every_size_roll_without_faults() {
    for (control_planes, workers) in [(1, 0), (1, 1), (2, 0), (3, 0), (3, 50), (5, 200)] {
        let setup = Setup::one_cluster(control_planes, workers);
        let steps = simulate(&setup, &events::rollout()).unwrap();
        println!("{control_planes}+{workers}: {steps} steps");
    }
}
