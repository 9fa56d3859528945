//! Many machines as one Kubernetes cluster.
