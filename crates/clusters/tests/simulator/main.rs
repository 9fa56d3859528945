//! Drives the decisions of the cluster layer through a model of the world: machines that fail,
//! reboot, vanish and come back, Nodes that lie, API conflicts, operators that stop between any
//! two actions, several clusters that want the same machines. After every step the invariants of
//! a rollout are checked, and once the faults stop every cluster must become what its spec says.
//!
//! - [`world`]: machines, clusters, and what the API shows of them
//! - [`host`]: a machine, and what the machine layer does with it
//! - [`operator`]: observes, plans, and does one action at a time
//! - [`events`]: everything that can happen
//! - [`invariants`]: what must hold whatever happens
//!
//! `NICO_SIMULATOR_STEPS` sets the number of steps, `NICO_SIMULATOR_SEED` repeats a run. A
//! failure is shrunk to few events.

mod events;
mod host;
mod invariants;
mod operator;
mod world;

use std::cell::Cell;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

use events::{Event, Setup};
use world::World;

/// Steps over random clusters in one run of the tests.
const STEPS: u64 = 1_000_000;

/// How long a failure is shrunk, in milliseconds.
const SHRINKING: u32 = 60_000;

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
    let seed = from_environment("NICO_SIMULATOR_SEED").unwrap_or_else(rand::random);
    println!("NICO_SIMULATOR_SEED={seed}");
    let started = Instant::now();
    let (steps, runs) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config {
        cases: u32::MAX,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    });
    let scripts = (
        events::any_setup(),
        prop::collection::vec(events::any_event(), 0..EVENTS),
    );
    // The runner has no end of its own: it is left as soon as there were enough steps.
    let enough = || steps.get() >= wanted;
    while !enough() {
        let mut batch = TestRunner::new_with_rng(
            Config {
                cases: 16,
                max_shrink_time: SHRINKING,
                max_shrink_iters: 1_000_000,
                failure_persistence: None,
                ..Config::default()
            },
            runner.new_rng(),
        );
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
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} steps in {} runs, {seconds:.1} s",
        steps.get(),
        runs.get()
    );
}

#[test]
fn clusters_of_every_size_roll_without_faults() {
    for (control_planes, workers) in [(1, 0), (1, 1), (2, 0), (3, 0), (3, 50), (5, 200)] {
        let setup = Setup::one_cluster(control_planes, workers);
        let steps = simulate(&setup, &events::rollout()).unwrap();
        println!("{control_planes}+{workers}: {steps} steps");
    }
}
