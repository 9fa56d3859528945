# What every machine needs so that NICO can reach it again.
{ lib, node, ... }:
{
  networking.hostName = lib.mkIf (node != null) node.name;
  # Addresses come from DHCP; set them here where they do not.
  networking.useDHCP = lib.mkDefault true;

  services.openssh.enable = true;
  services.openssh.settings.PasswordAuthentication = false;

  # The public half of the key in the Machine's `sshKeySecretRef`. Without it the machine would
  # lock NICO out, and be rolled back.
  users.users.root.openssh.authorizedKeys.keyFiles = [ ../authorized_keys ];

  nix.settings.experimental-features = [
    "nix-command"
    "flakes"
  ];
  # Closures come from the operator, which is trusted as root already.
  nix.settings.trusted-users = [ "root" ];

  boot.loader.systemd-boot.enable = true;
  boot.loader.efi.canTouchEfiVariables = true;

  system.stateVersion = "26.05";
}
