//! Hosts made of Linux namespaces, and what runs NICO on one laptop.
