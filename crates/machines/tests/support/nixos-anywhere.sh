#!/bin/sh
# Stands in for nixos-anywhere: takes the options that the real one documents and are used here,
# connects as it does, and changes the host as it does, but for disks, of which a host made of
# namespaces has none.
#
# Files beside it: `runs` counts its starts, `ssh` is what ran as ssh, `fail` makes it fail,
# `impostor` replaces the host key on the way, `hold` names a point at which it stops.
set -eu
here=$(dirname "$0")
flake='' host='' extra=''
port=22
while [ $# -gt 0 ]; do
  case $1 in
    --flake) flake=$2; shift ;;
    --target-host) host=$2; shift ;;
    --ssh-port) port=$2; shift ;;
    --extra-files) extra=$2; shift ;;
    --copy-host-keys | --no-substitute-on-destination) ;;
    *) echo "unknown option $1" >&2; exit 1 ;;
  esac
  shift
done
echo "$host" >>"$here/runs"
cat "$(command -v ssh)" >"$here/ssh"
options="-p $port -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no"

remote() {
  # shellcheck disable=SC2086
  ssh $options "$host" "$@"
}

point() {
  if [ -e "$here/hold" ] && [ "$(cat "$here/hold")" = "$1" ]; then
    touch "$here/$1"
    while [ -e "$here/hold" ]; do sleep 0.05; done
  fi
}

echo "### Gathering machine facts ###"
remote true
point before-disk
output=${flake%#*}#nixosConfigurations.\"${flake##*#}\".config.system.build.toplevel
system=$(nix --extra-experimental-features 'nix-command flakes' build --no-link --json "$output" |
  sed 's/.*"out":"\([^"]*\)".*/\1/')

echo "### Formatting hard drive with disko ###"
remote 'rm -f /nix/var/nix/profiles/system*'
point after-disk
if [ -e "$here/fail" ]; then
  echo "no space left on /dev/vda" >&2
  exit 1
fi
if [ -e "$here/impostor" ]; then
  remote 'rm /etc/ssh/ssh_host_ed25519_key &&
    ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'
  until ! remote true; do sleep 0.05; done 2>"$here/said"
  cat "$here/said" >&2
  exit 255
fi

echo "### Uploading the system closure ###"
NIX_SSHOPTS=$options nix --extra-experimental-features 'nix-command flakes' copy \
  --no-check-sigs --to "ssh://$host" "$system"
tar -C "$extra" -cpf- . | remote 'tar -C / -xf- --no-same-owner'

echo "### Installing NixOS ###"
remote "nix-env -p /nix/var/nix/profiles/system --set $system"

echo "### Rebooting ###"
# From here on the machine shows the host key of the installed system.
remote 'rm /etc/ssh/ssh_host_ed25519_key &&
  ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key && touch /var/reboot'
while remote test -e /var/reboot; do sleep 0.05; done 2>/dev/null
point after-reboot
