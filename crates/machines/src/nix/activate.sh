# Activates a system once for each attempt.
# Arguments: attempt, system, action (switch, boot or test), seconds to wait for the lock.
# Goes on when the connection is lost: nothing here writes to it before the end.
set -u
attempt=$1 system=$2 action=$3 patience=$4
trap '' HUP PIPE
umask 077
PATH="${PATH:-/bin}:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export PATH
state=/run/nio
mkdir -p "$state" || exit 1

exec 9>"$state/lock" || exit 1
if command -v flock >/dev/null 2>&1; then
  flock -w "$patience" 9 || exit 75
fi

# The record of an attempt: its name, its system, how it ended.
if [ -r "$state/attempt" ]; then
  { read -r last; read -r _; read -r status; } <"$state/attempt"
  if [ "$last" = "$attempt" ]; then
    tail -n 20 "$state/log" >&2
    exit "$status"
  fi
fi

if [ "$action" != test ]; then
  nix-env -p /nix/var/nix/profiles/system --set "$system" >"$state/log" 2>&1 </dev/null 9>&- || {
    tail -n 20 "$state/log" >&2
    exit 73
  }
fi
(umask 022; exec "$system/bin/switch-to-configuration" "$action") >"$state/log" 2>&1 </dev/null 9>&-
status=$?
printf '%s\n%s\n%s\n' "$attempt" "$system" "$status" >"$state/attempt.new"
mv "$state/attempt.new" "$state/attempt"
tail -n 20 "$state/log" >&2
exit "$status"
