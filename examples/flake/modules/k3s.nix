# k3s on one node of the cluster that cluster.nix describes.
{
  lib,
  cluster,
  node,
  role,
  ...
}:
let
  first = builtins.head cluster.controlPlane;
  isFirst = node.name == first.name;
  # A virtual address or load balancer when the cluster has one, else the first server.
  endpoint = cluster.vip or first.ip;
  addresses =
    map (server: server.ip) cluster.controlPlane ++ lib.optional (cluster ? vip) cluster.vip;
in
{
  services.k3s = {
    enable = true;
    inherit role;
    # `secretDelivery: Flake` puts the token beside the flake, `Host` on the machine only.
    tokenFile =
      if builtins.pathExists ../join-token then ../join-token else "/var/lib/nio/files/join-token";
    clusterInit = role == "server" && isFirst;
    serverAddr = lib.mkIf (!(role == "server" && isFirst)) "https://${endpoint}:6443";
    extraFlags = [
      "--node-ip=${node.ip}"
    ]
    ++ lib.optionals (role == "server") (map (address: "--tls-san=${address}") addresses);
  };

  networking.firewall = {
    allowedTCPPorts = [
      10250
    ]
    ++ lib.optionals (role == "server") [
      2379
      2380
      6443
    ];
    # Flannel's VXLAN.
    allowedUDPPorts = [ 8472 ];
  };
}
