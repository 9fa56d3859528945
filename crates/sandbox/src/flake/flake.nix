# A NixOS-shaped flake without nixpkgs: the systems are plain derivations with the one file
# that deploying asks for, `bin/switch-to-configuration`.
#
# The operator puts three files beside this one: `cluster.nix` (who is in the cluster),
# `join-token` and `machine-ssh-key`. Without them the flake still has `minimal`.
{
  description = "Clusters for the hosts of `nico sandbox`";

  outputs =
    { self }:
    let
      platform = import ./platform.nix;
      package = import ./package.nix { inherit platform; };
      system = import ./system.nix { inherit platform; };
      service = import ./services.nix { inherit platform; };

      cluster =
        if builtins.pathExists ./cluster.nix then
          import ./cluster.nix
        else
          {
            controlPlane = [ ];
            workers = [ ];
          };

      # With `secretDelivery: Host` the token is not beside the flake but on the host.
      token =
        if builtins.pathExists ./join-token then
          builtins.path {
            name = "join-token";
            path = ./join-token;
          }
        else
          "/var/lib/nio/files/join-token";

      # Where the control planes keep their objects: "memory", each for itself, or "etcd", which all
      # share. With etcd the folder `authority` has the certificates with which all of them serve.
      datastore = import ./datastore.nix;
      etcd = datastore == "etcd";
      authority = if etcd then ./authority else null;

      k3s = package.k3s (import ./kubernetes-version.nix);
      servers = map (node: "https://${node.ip}:6443") cluster.controlPlane;

      controlPlane =
        node:
        system {
          name = node.name;
          services = builtins.filter (unit: unit != null) [
            (if etcd then service.etcd { inherit k3s node; peers = cluster.controlPlane; } else null)
            (service.server {
              inherit
                k3s
                token
                node
                authority
                ;
              vip = cluster.vip or null;
            })
            (service.agent {
              inherit
                k3s
                token
                node
                servers
                etcd
                ;
              role = "control-plane";
            })
          ];
        };

      worker =
        node:
        system {
          name = node.name;
          services = [
            (service.agent {
              inherit
                k3s
                token
                node
                servers
                ;
              role = "worker";
              etcd = false;
            })
          ];
        };

      configuration = toplevel: { config.system.build = { inherit toplevel; }; };

      configurations =
        toplevel: nodes:
        builtins.listToAttrs (
          map (node: {
            name = node.name;
            value = configuration (toplevel node);
          }) nodes
        );
    in
    {
      nixosConfigurations = {
        minimal = configuration (system {
          name = "minimal";
          services = [ ];
        });
      }
      // configurations controlPlane cluster.controlPlane
      // configurations worker cluster.workers;
    };
}
