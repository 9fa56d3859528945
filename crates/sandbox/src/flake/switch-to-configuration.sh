#!/bin/sh
# Makes this system the running one, as its namesake in NixOS does: stops the services that
# are no longer wanted, starts the missing ones, leaves the unchanged ones alone. Ends with 0
# only when every wanted service is ready.
set -eu

system=$(readlink -f "$0")
system=${system%/bin/switch-to-configuration}
state=/run/services
journal=/var/log/activations
ready_seconds=30
stop_seconds=10

# The moment at which a process started, in clock ticks: with it, a pid names one process.
# Fails when there is no such process or it has ended and was not reaped yet.
started_at() {
  [ -e "/proc/$1/stat" ] || return 1
  read -r stat <"/proc/$1/stat" || return 1
  # shellcheck disable=SC2086
  set -- ${stat##*) }
  [ "$1" != Z ] || return 1
  shift 19
  echo "$1"
}

is_running() {
  [ -e "$state/$1/pid" ] || return 1
  read -r pid start <"$state/$1/pid"
  [ "$(started_at "$pid" 2>/dev/null)" = "$start" ]
}

# Runs a command every 50 ms until it succeeds; fails after so many seconds.
wait_until() {
  rounds=$(($1 * 20))
  shift
  until "$@"; do
    rounds=$((rounds - 1))
    [ "$rounds" -gt 0 ] || return 1
    sleep 0.05
  done
}

is_stopped() {
  ! is_running "$1"
}

is_ready_or_dead() {
  "$state/$1/unit/ready" || is_stopped "$1"
}

stop() {
  if is_running "$1"; then
    echo "stopping $1" >&2
    read -r pid start <"$state/$1/pid"
    # The service leads its own session, so the negative pid is all of it.
    kill -TERM "-$pid"
    wait_until "$stop_seconds" is_stopped "$1" || kill -KILL "-$pid"
  fi
  "$state/$1/unit/clean"
  # Another version of it goes on with its data.
  [ -e "$system/services/$1" ] || "$state/$1/unit/forget"
  rm -rf "${state:?}/$1"
}

start() {
  echo "starting $1" >&2
  mkdir -p "$state/$1" /var/log
  ln -sfn "$(readlink -f "$system/services/$1")" "$state/$1/unit"
  setsid "$state/$1/unit/start" </dev/null >>"/var/log/$1.log" 2>&1 9>&- &
  echo "$! $(started_at $!)" >"$state/$1/pid"
  wait_until "$ready_seconds" is_ready_or_dead "$1" || true
  if is_stopped "$1" || ! "$state/$1/unit/ready"; then
    echo "$1 did not become ready; the end of /var/log/$1.log:" >&2
    tail -n 20 "/var/log/$1.log" >&2
    return 1
  fi
}

is_unchanged() {
  [ "$(readlink "$state/$1/unit")" = "$(readlink -f "$system/services/$1")" ] && is_running "$1"
}

names() {
  for path in "$1"/*; do
    [ -e "$path" ] && echo "${path##*/}"
  done
}

switch() {
  failed=0
  mkdir -p "$state" "${journal%/*}"
  # As in NixOS: only one at a time.
  exec 9>/run/switch-to-configuration.lock
  if ! flock --nonblock 9; then
    echo "refused $$ $system" >>"$journal"
    echo "another activation is under way" >&2
    exit 11
  fi
  echo "begin $$ $system" >>"$journal"
  # The last one that was started ends first: what it uses is still there.
  for name in $(names "$state" | sort -r); do
    is_unchanged "$name" || stop "$name"
  done
  ln -sfn "$system" /run/current-system
  for name in $(names "$system/services"); do
    is_unchanged "$name" || start "$name" || failed=1
  done
  echo "end $$ $system" >>"$journal"
  # NixOS ends with 4 when a unit failed.
  [ "$failed" = 0 ] || exit 4
}

dry_activate() {
  for name in $(names "$state"); do
    is_unchanged "$name" || echo "would stop $name" >&2
  done
  for name in $(names "$system/services"); do
    is_unchanged "$name" || echo "would start $name" >&2
  done
}

case ${1-} in
switch | test) switch ;;
# The profile is what the next boot takes; there is no boot loader to be told.
boot) ;;
dry-activate) dry_activate ;;
*)
  echo "usage: $0 switch|boot|test|dry-activate" >&2
  exit 64
  ;;
esac
