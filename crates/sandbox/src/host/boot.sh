#!/bin/sh
# The first process of a host: builds its file system, leaves the real one, becomes sshd, or
# systemd that runs sshd.
#
# usage: boot.sh ROOT DISK NAME NICO INIT
#   ROOT  an empty directory, where the file system is put together
#   DISK  what the host keeps over a reboot: nix, etc, var, root, home, tmp
#   NAME  the host name
#   NICO  the nico binary
#   INIT  sshd or systemd; for systemd, this process is in a control group of the host's own
#
# Runs as pid 1 of a new pid namespace, with its own mount, network and uts namespaces. What a
# host writes ends in DISK or in memory: of the real file system it has only /usr and a few
# directories of /etc, read-only, and after pivot_root it cannot even name the rest.
set -eu

root=$1 disk=$2 name=$3 nico=$4 init=$5
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root

bind() {
  mount --bind "$1" "$2"
}

bind_read_only() {
  mount --bind "$1" "$2"
  mount -o remount,bind,ro "$2"
}

mount -t tmpfs -o mode=0755 root "$root"

for path in usr bin sbin lib lib32 lib64 libx32; do
  if [ -L "/$path" ]; then
    cp -P "/$path" "$root/$path"
  elif [ -d "/$path" ]; then
    mkdir "$root/$path"
    bind_read_only "/$path" "$root/$path"
  fi
done

for path in nix etc var root home tmp; do
  mkdir "$root/$path"
  bind "$disk/$path" "$root/$path"
done
chmod 1777 "$root/tmp"

# Debian's programs look these up: links to mawk and others, shared libraries, certificates.
for path in alternatives ld.so.cache ssl; do
  if [ -d "/etc/$path" ]; then
    mkdir -p "$root/etc/$path"
  elif [ -e "/etc/$path" ]; then
    : >"$root/etc/$path"
  else
    continue
  fi
  bind_read_only "/etc/$path" "$root/etc/$path"
done

mkdir -p "$root/opt/nico/bin"
: >"$root/opt/nico/bin/nico"
bind_read_only "$nico" "$root/opt/nico/bin/nico"

mkdir "$root/proc" "$root/sys" "$root/dev" "$root/run"
mount -t proc proc "$root/proc"
bind_read_only "$root/proc/sys" "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=0755 run "$root/run"
mount -t tmpfs -o mode=0755 dev "$root/dev"
# The boot id of the machine below would stay the same over a reboot of the host.
cat /proc/sys/kernel/random/uuid >"$root/run/boot-id"
bind_read_only "$root/run/boot-id" "$root/proc/sys/kernel/random/boot_id"
for device in null zero full random urandom tty; do
  : >"$root/dev/$device"
  bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"

hostname "$name"
ip link set lo up

mkdir "$root/real"
cd "$root"
pivot_root . real
cd /
umount -l /real
rmdir /real

mkdir -p /run/sshd

# What the boot loader would do with the system profile, and then what systemd would.
profile=/nix/var/nix/profiles/system
if [ -e "$profile" ]; then
  ln -s "$(readlink -f "$profile")" /run/booted-system
fi
switch="$profile/bin/switch-to-configuration test"
sshd='/usr/sbin/sshd -D -e -f /etc/ssh/sshd_config'

if [ "$init" = sshd ]; then
  if [ -e "$profile" ]; then
    $switch || echo "the system did not start as a whole" >&2
  fi
  exec $sshd
fi

mkdir -p /run/systemd/system
cat >/run/systemd/system/host.target <<END
[Unit]
Description=A host of nico sandbox
Requires=sshd.service system-profile.service
END
cat >/run/systemd/system/system-profile.service <<END
[Unit]
Description=The services of the system profile
ConditionPathExists=$profile
Before=sshd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-$switch
END
cat >/run/systemd/system/sshd.service <<END
[Unit]
Description=The SSH server
[Service]
ExecStart=$sshd
END
# Only now: the new namespace begins at the group of the process that makes it.
exec unshare --cgroup sh -c '
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  exec env container=nico /lib/systemd/systemd --system --unit=host.target </dev/null'
