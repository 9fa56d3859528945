# What stands in for the k3s package: `bin/k3s server` is the embedded API server and
# `bin/k3s agent` a heartbeat. Its store path is named as that of nixpkgs, so that the version
# can be told from a closure.
{ platform }:
{
  k3s =
    version:
    derivation {
      name = "k3s-${version}";
      system = platform;
      inherit version;
      program = ./k3s.sh;
      builder = "/bin/sh";
      PATH = "/usr/bin:/bin";
      args = [
        "-euc"
        ''
          mkdir -p "$out/bin"
          sed "s|@version@|$version|" "$program" >"$out/bin/k3s"
          chmod 555 "$out/bin/k3s"
        ''
      ];
    };
}
