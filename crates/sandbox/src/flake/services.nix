# A service is a derivation with three scripts: `start` stays in the foreground, `ready`
# succeeds once the service does its work, `clean` removes what it left. A service whose store
# path did not change is not restarted.
{ platform }:
let
  service =
    {
      name,
      start,
      ready,
      clean,
    }:
    derivation {
      inherit
        name
        start
        ready
        clean
        ;
      system = platform;
      builder = "/bin/sh";
      PATH = "/usr/bin:/bin";
      args = [
        "-euc"
        ''
          mkdir -p "$out"
          for script in start ready clean; do
            eval "content=\$$script"
            printf '#!/bin/sh\nset -eu\n%s' "$content" >"$out/$script"
            chmod 555 "$out/$script"
          done
        ''
      ];
    };
in
{
  server =
    {
      k3s,
      token,
      node,
    }:
    service {
      name = "k3s-server";
      start = ''
        exec ${k3s}/bin/k3s server --name '${node.name}' --address '${node.ip}' --token-file ${token}
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
    }:
    service {
      name = "k3s-agent";
      start = ''
        exec ${k3s}/bin/k3s agent --name '${node.name}' --address '${node.ip}' --role ${role} \
          --token-file ${token} ${toString (map (server: "--server '${server}'") servers)}
      '';
      ready = ''
        test -s /run/k3s/agent/token
      '';
      clean = ''
        rm -rf /run/k3s/agent
      '';
    };
}
