# A k3s cluster on NixOS, for machines that NICO manages.
#
# NICO applies one output to each machine, `.#<machine>`, and `.#minimal` when a machine leaves
# its cluster. Before it evaluates, it puts three files beside this one:
#
#   cluster.nix       who is in the cluster (replaces the empty one in this repository)
#   join-token        the secret with which nodes join   (spec.secretDelivery: Flake)
#   machine-ssh-key   the private key of the machine     (spec.secretDelivery: Flake)
#
# With `secretDelivery: Host` the two secrets are under /var/lib/nio/files on the machine
# instead, and never in a Nix store.
{
  description = "k3s clusters for NICO";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    # Only for machines that are installed from scratch (spec.installMode).
    disko.url = "github:nix-community/disko";
    disko.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    { nixpkgs, disko, ... }:
    let
      inherit (nixpkgs) lib;
      cluster = import ./cluster.nix;

      system =
        modules: arguments:
        lib.nixosSystem {
          system = "x86_64-linux";
          specialArgs = arguments;
          modules = [
            disko.nixosModules.disko
            ./modules/disk.nix
            ./modules/base.nix
          ]
          ++ modules;
        };

      member =
        role: node:
        lib.nameValuePair node.name (
          system [ ./modules/k3s.nix ] { inherit cluster node role; }
        );
    in
    {
      nixosConfigurations =
        lib.listToAttrs (
          map (member "server") cluster.controlPlane ++ map (member "agent") cluster.workers
        )
        // {
          # What a machine runs when it belongs to no cluster: reachable, and nothing else.
          minimal = system [ ] {
            inherit cluster;
            node = null;
            role = null;
          };
        };
    };
}
