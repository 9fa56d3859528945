#!/bin/sh
# Runs a program that has a /nix of its own and otherwise the file system of this machine, in
# which nothing is made for it, not even a mount point.
#
# usage: own-nix.sh ROOT NIX PROGRAM [ARGUMENT…]
#   ROOT  an empty directory, where the file system is put together
#   NIX   what the program sees as /nix
#
# Runs in a mount namespace of its own.
set -eu

root=$1 nix=$2
shift 2
export PATH="$PATH:/usr/sbin:/sbin"

mount -t tmpfs -o mode=0755 root "$root"
for path in /* /.[!.]*; do
  if [ "$path" = /nix ]; then
    continue
  elif [ -L "$path" ]; then
    cp -P "$path" "$root$path"
  elif [ -d "$path" ]; then
    mkdir "$root$path"
    mount --rbind "$path" "$root$path"
  elif [ -e "$path" ]; then
    : >"$root$path"
    mount --bind "$path" "$root$path"
  fi
done
mkdir "$root/nix" "$root/real"
mount --bind "$nix" "$root/nix"

cd "$root"
pivot_root . real
cd /
umount -l /real
rmdir /real

exec "$@"
