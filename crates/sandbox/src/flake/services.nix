# A service is a derivation with four scripts: `start` stays in the foreground, `ready`
# succeeds once the service does its work, `clean` removes what it left when it has ended, and
# `forget` its data, once it is not wanted any more. A service whose store path did not change is
# not restarted.
{ platform }:
let
  service =
    {
      name,
      start,
      ready,
      clean,
      forget ? "",
    }:
    derivation {
      inherit
        name
        start
        ready
        clean
        forget
        ;
      system = platform;
      builder = "/bin/sh";
      PATH = "/usr/bin:/bin";
      args = [
        "-euc"
        ''
          mkdir -p "$out"
          for script in start ready clean forget; do
            eval "content=\$$script"
            printf '#!/bin/sh\nset -eu\n%s' "$content" >"$out/$script"
            chmod 555 "$out/$script"
          done
        ''
      ];
    };
in
{
  # The etcd inside k3s: another version of k3s is another etcd.
  etcd =
    {
      k3s,
      node,
      peers,
    }:
    service {
      name = "etcd";
      start = ''
        exec ${k3s}/bin/k3s etcd --name '${node.name}' --address '${node.ip}' \
          ${toString (map (peer: "--server '${peer.name}=${peer.ip}'") peers)}
      '';
      ready = ''
        test -e /run/k3s/etcd-ready
      '';
      clean = ''
        rm -f /run/k3s/etcd-ready
      '';
      forget = ''
        rm -rf /var/lib/etcd
      '';
    };

  server =
    {
      k3s,
      token,
      node,
      authority,
      vip,
    }:
    service {
      name = "k3s-server";
      start = ''
        exec ${k3s}/bin/k3s server --name '${node.name}' --address '${node.ip}' --token-file ${token} \
          ${if authority == null then "" else "--authority ${authority}"} \
          ${if vip == null then "" else "--tls-san '${vip}'"}
      '';
      ready = ''
        test -s /etc/rancher/k3s/k3s.yaml
      '';
      clean = ''
        rm -rf /etc/rancher/k3s /run/k3s/server
      '';
    };

  agent =
    {
      k3s,
      token,
      node,
      servers,
      role,
      etcd,
    }:
    service {
      name = "k3s-agent";
      start = ''
        exec ${k3s}/bin/k3s agent --name '${node.name}' --address '${node.ip}' --role ${role} \
          --token-file ${token} ${if etcd then "--etcd /run/k3s/etcd-ready" else ""} \
          ${toString (map (server: "--server '${server}'") servers)}
      '';
      ready = ''
        test -s /run/k3s/agent/token
      '';
      clean = ''
        rm -rf /run/k3s/agent
      '';
    };
}
