# A system: the services that shall run, and what makes them so.
{ platform }:
{ name, services }:
derivation {
  name = "nixos-system-${name}-sandbox";
  system = platform;
  hostName = name;
  inherit services;
  switch = ./switch-to-configuration.sh;
  # Real systems have these, and whether they changed tells whether a reboot is needed.
  kernel = builtins.toFile "linux-sandbox" "the kernel is that of the machine below\n";
  initrd = builtins.toFile "initrd-sandbox" "there is no initial ram disk\n";
  builder = "/bin/sh";
  PATH = "/usr/bin:/bin";
  args = [
    "-euc"
    ''
      mkdir -p "$out/bin" "$out/services"
      cp "$switch" "$out/bin/switch-to-configuration"
      chmod 555 "$out/bin/switch-to-configuration"
      ln -s "$kernel" "$out/kernel"
      ln -s "$initrd" "$out/initrd"
      ln -s "$kernel" "$out/kernel-modules"
      printf sandbox >"$out/nixos-version"
      for service in $services; do
        unit=''${service##*/}
        ln -s "$service" "$out/services/''${unit#*-}"
      done
    ''
  ];
}
