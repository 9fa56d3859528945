//! End-to-end tests with real `sshd`, `nix`, `git` and `kubectl`.
