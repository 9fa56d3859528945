//! One process at a time, by a Lease.
//!
//! The published crates for this are bound to older versions of `kube`; the protocol is the one
//! of client-go's `leaderelection`: the holder renews, others take over when the Lease was not
//! renewed for its duration *by their own clock*, so that clocks need not agree.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long a Lease lasts and how often it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Others take over when the Lease was not renewed for this long. Whole seconds.
    pub lease: Duration,
    /// The holder gives up when it could not renew for this long; shorter than `lease`.
    pub renew_deadline: Duration,
    /// Between two looks at the Lease.
    pub retry: Duration,
}

impl Default for Timing {
    /// 15 s, 10 s and 2 s, as in Kubernetes' own controllers.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// A candidate for the Lease `name` in `namespace`, under a name of its own.
#[derive(Clone, Debug)]
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
}

/// What is known of a Lease that somebody holds: its version, and since when by our clock.
struct Sighting {
    version: Option<String>,
    since: Instant,
}

/// What came of an attempt to renew.
enum Renewal {
    Done,
    /// Somebody wrote in between; the next look tells who.
    Overtaken,
    Lost,
}

/// Tells a leader whether it may still write.
///
/// A process that was stopped for a while does not know that its Lease ran out meanwhile; who asks
/// the fence before each write, and ends the write in time, never writes beside a successor.
#[derive(Clone, Debug)]
pub struct Fence(Option<Held>);

#[derive(Clone, Debug)]
struct Held {
    /// When the renewal that was granted last was asked for; none when the Lease is lost.
    renewed: watch::Receiver<Option<Instant>>,
    timing: Timing,
}

impl Fence {
    /// The fence of a process that needs no Lease.
    pub const fn open() -> Self {
        Self(None)
    }

    /// Until when a write that begins now must have ended, if there is a limit; `None` when none
    /// may begin.
    pub fn write_deadline(&self) -> Option<Option<Instant>> {
        let Some(held) = &self.0 else {
            return Some(None);
        };
        let renewed = (*held.renewed.borrow())?;
        (renewed.elapsed() < held.timing.renew_deadline)
            .then_some(Some(renewed + held.timing.lease))
    }
}

/// Leadership. The Lease is renewed in the background until [`Leadership::release`] or until
/// it is lost.
#[derive(Debug)]
pub struct Leadership {
    candidate: Candidate,
    lost: CancellationToken,
    renewed: watch::Sender<Option<Instant>>,
    renewal: tokio::task::JoinHandle<()>,
}

impl Candidate {
    /// A candidate. `identity` must differ between processes.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        timing: Timing,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            timing,
        }
    }

    /// Waits until this process holds the Lease; `None` when `shutdown` comes first.
    pub async fn lead(self, shutdown: &CancellationToken) -> Option<Leadership> {
        let mut sighting = None;
        let asked = loop {
            let asked = Instant::now();
            match self.try_acquire(&mut sighting).await {
                Ok(true) => break asked,
                Ok(false) => {}
                Err(error) => warn!(%error, lease = self.name, "cannot acquire the lease"),
            }
            tokio::select! {
                () = tokio::time::sleep(self.timing.retry) => {}
                () = shutdown.cancelled() => return None,
            }
        };
        info!(lease = self.name, identity = self.identity, "leading");
        let lost = CancellationToken::new();
        let renewed = watch::Sender::new(Some(asked));
        let renewal = tokio::spawn(self.clone().renew(asked, renewed.clone(), lost.clone()));
        Some(Leadership {
            candidate: self,
            lost,
            renewed,
            renewal,
        })
    }

    /// Takes the Lease when it is free, ours, or was not renewed for its duration since we first
    /// saw it in its present version.
    async fn try_acquire(&self, sighting: &mut Option<Sighting>) -> Result<bool, kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.held(None)),
            };
            return accepted(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            let version = lease.resource_version();
            let seen = sighting.get_or_insert_with(|| Sighting {
                version: version.clone(),
                since: Instant::now(),
            });
            if seen.version != version {
                *seen = Sighting {
                    version,
                    since: Instant::now(),
                };
            }
            if seen.since.elapsed() < duration_of(&spec, self.timing.lease) {
                return Ok(false);
            }
        }
        self.write(lease, self.held(Some(spec))).await
    }

    async fn renew(
        self,
        mut renewed: Instant,
        told: watch::Sender<Option<Instant>>,
        lost: CancellationToken,
    ) {
        loop {
            tokio::time::sleep(self.timing.retry).await;
            let asked = Instant::now();
            let left = self.timing.renew_deadline.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.try_renew()).await {
                Ok(Ok(Renewal::Done)) => {
                    renewed = asked;
                    told.send_replace(Some(asked));
                }
                Ok(Ok(Renewal::Lost)) => {
                    warn!(lease = self.name, "another process took the lease");
                    break;
                }
                Ok(Err(error)) => warn!(%error, lease = self.name, "cannot renew the lease"),
                Ok(Ok(Renewal::Overtaken)) | Err(_) => {}
            }
            if renewed.elapsed() >= self.timing.renew_deadline {
                warn!(lease = self.name, "the lease could not be renewed in time");
                break;
            }
        }
        told.send_replace(None);
        lost.cancel();
    }

    async fn try_renew(&self) -> Result<Renewal, kube::Error> {
        let lease = self.leases.get(&self.name).await?;
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(Renewal::Lost);
        }
        let written = self.write(lease, self.held(Some(spec))).await?;
        Ok(if written {
            Renewal::Done
        } else {
            Renewal::Overtaken
        })
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let lease = self.leases.get(&self.name).await?;
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            let free = LeaseSpec {
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(1),
                ..spec
            };
            self.write(lease, free).await?;
        }
        Ok(())
    }

    /// Writes with the version that was read, so that of two writers one fails.
    async fn write(&self, lease: Lease, spec: LeaseSpec) -> Result<bool, kube::Error> {
        let lease = Lease {
            spec: Some(spec),
            ..lease
        };
        accepted(
            self.leases
                .replace(&self.name, &PostParams::default(), &lease)
                .await,
        )
    }

    fn held(&self, previous: Option<LeaseSpec>) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let previous = previous.unwrap_or_default();
        let is_ours = previous.holder_identity.as_deref() == Some(&self.identity);
        let transitions = previous.lease_transitions.unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.lease.as_secs()).ok(),
            acquire_time: if is_ours {
                previous.acquire_time
            } else {
                now.clone()
            },
            renew_time: now,
            lease_transitions: Some(transitions.saturating_add(i32::from(!is_ours))),
            ..LeaseSpec::default()
        }
    }
}

impl Leadership {
    /// Cancelled when the Lease was lost; whoever holds this must stop writing at once.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// What to ask before each write.
    pub fn fence(&self) -> Fence {
        Fence(Some(Held {
            renewed: self.renewed.subscribe(),
            timing: self.candidate.timing,
        }))
    }

    /// Ends the leadership and frees the Lease, so that another process need not wait for it
    /// to run out.
    pub async fn release(self) {
        self.renewal.abort();
        self.renewed.send_replace(None);
        if self.lost.is_cancelled() {
            return;
        }
        match tokio::time::timeout(self.candidate.timing.retry, self.candidate.release()).await {
            Ok(Ok(())) => info!(lease = self.candidate.name, "lease released"),
            Ok(Err(error)) => warn!(%error, lease = self.candidate.name, "lease not released"),
            Err(_) => warn!(lease = self.candidate.name, "lease not released in time"),
        }
    }
}

/// Who lets go of the leadership without freeing the Lease renews it no longer.
impl Drop for Leadership {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// `false` when somebody else wrote first.
fn accepted(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn duration_of(spec: &LeaseSpec, default: Duration) -> Duration {
    spec.lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(default, Duration::from_secs)
}
