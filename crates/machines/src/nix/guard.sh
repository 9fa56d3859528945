# The guard of a host: changes it once for each attempt, and undoes what nobody confirms.
#
# usage: inspect          what the host runs, one fact a line
#        start ATTEMPT SYSTEM ACTION ROLLBACK SECONDS LIMIT FILES
#                         changes the host; waits until it waits for a confirmation, or is done
#        confirm ATTEMPT  keeps the change; waits until it is kept or undone
#        forget ATTEMPT   removes the record of a change that was undone
#        reboot BOOT      reboots, if the host still runs since this boot
#        run STARTER …    the process that stays, with the arguments of `start`
#
# ACTION is switch, boot or test; ROLLBACK is yes or no; SECONDS are those to wait for a
# confirmation; LIMIT are those that a step may take; FILES is the set of files that goes with
# the system, below /var/lib/nio, or empty when the files stay as they are.
#
# With ROLLBACK=yes the new system is first made to run only (`test`). Profile and boot entry
# follow when it is confirmed, so that a host which is rebooted before that comes up as it was.
#
# In memory, while a change is under way: /run/nio/activation, which is the lock as well. On
# disk, until a change is confirmed, or was undone and that was told: the record in
# /var/lib/nio/activation. Of a change that failed and was not undone it stays until the next
# one. Clocks are not trusted: time is counted from boot.
set -u
umask 077
export LC_ALL=C HOME="${HOME:-/root}"
PATH="${PATH:-/bin}:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export PATH

profile=/nix/var/nix/profiles/system
running=/run/current-system
# Keeps the garbage collector from what the host may have to go back to.
gc_root=/nix/var/nix/gcroots/nio-before
lock=/run/nio/activation
record=/var/lib/nio/activation/record
shown_files=/var/lib/nio/files

busy=75 refused=74 not_started=71

boot_id() {
  cat /proc/sys/kernel/random/boot_id
}

seconds_since_boot() {
  read -r up _ </proc/uptime
  echo "${up%%.*}"
}

# Often while it is likely to be over soon, and rarely later.
turns=0
pause() {
  turns=$((turns + 1))
  if [ "$turns" -lt 60 ]; then nap=0.05; else nap=0.3; fi
  sleep "$nap" 2>/dev/null || sleep 1
}

# The moment at which a process started: with it, a pid names one process. Fails when there is
# no such process, or it ended and was not reaped yet.
started_at() {
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086
  set -- ${stat##*) }
  [ "$1" != Z ] || return 1
  shift 19
  echo "$1"
}

# Whether the process of this identity, "PID START", runs.
is_running() {
  # shellcheck disable=SC2086
  set -- $1
  [ $# = 2 ] && [ "$(started_at "$1")" = "$2" ]
}

holder() {
  cat "$lock/holder" 2>/dev/null
}

is_guarded() {
  is_running "$(holder)"
}

hold() {
  echo "$$ $(started_at $$)" >"$lock/holder.new" && mv "$lock/holder.new" "$lock/holder"
}

# Takes the lock over from a holder that this process was told of or that is dead. Of several
# that try at once, one succeeds.
take_over() {
  mkdir "$lock/handover" 2>/dev/null || return 1
  if [ "$(holder)" = "$1" ]; then hold; else false; fi
  set -- $?
  rmdir "$lock/handover"
  return "$1"
}

# Takes the lock. Fails when a live process has it.
acquire() {
  mkdir -p "${lock%/*}"
  if mkdir "$lock" 2>/dev/null; then
    hold
    return
  fi
  # Its holder may be about to write who it is, or be dead and have left it half taken over.
  if [ ! -e "$lock/holder" ] || [ -e "$lock/handover" ]; then
    sleep 1
    is_guarded || rmdir "$lock/handover" 2>/dev/null
  fi
  last=$(holder)
  ! is_running "$last" && take_over "$last" &&
    rm -f "$lock/pending" "$lock/confirmed" "$lock/expired" "$lock/refused" "$lock/log"
}

release() {
  rm -f "$gc_root"
  rm -rf "$lock"
  rmdir "${lock%/*}" 2>/dev/null
}

remove_record() {
  directory=${record%/*}
  rm -rf "$directory"
  rmdir "${directory%/*}" 2>/dev/null
}

# Writes the record, as a whole and so that a power cut does not take it away.
save() {
  state=$1
  directory=${record%/*}
  (umask 022 && mkdir -p "${directory%/*}") && mkdir -p "$directory" || return
  {
    for name in attempt system action rollback boot before before_link before_profile \
      files files_before state cause status; do
      eval "printf '%s=%s\n' $name \"\$$name\""
    done
    [ ! -e "$lock/log" ] || tail -n 20 "$lock/log" | sed 's/^/said=/'
  } | cat >"$record.new" && mv "$record.new" "$record" &&
    { sync "$record" "$directory" 2>/dev/null || sync; }
}

# Reads the record into variables. Fails when there is none.
load() {
  attempt='' system='' action='' rollback='' boot='' before='' before_link='' before_profile=''
  files='' files_before='' state='' cause='' status=''
  [ -r "$record" ] || return 1
  while IFS= read -r line; do
    case $line in
    said=*) ;;
    attempt=* | system=* | action=* | rollback=* | boot=* | before=* | before_link=* | \
      before_profile=* | files=* | files_before=* | state=* | cause=* | status=*)
      value=${line#*=}
      eval "${line%%=*}=\$value"
      ;;
    esac
  done <"$record"
}

is_settled() {
  [ "$state" = rolled-back ] || [ "$state" = failed ]
}

report() {
  echo "boot=$(boot_id)"
  [ ! -e "$profile" ] || echo "profile=$(readlink -f "$profile")"
  [ ! -e "$running" ] || echo "current=$(readlink -f "$running")"
  link=$(readlink "$profile" 2>/dev/null)
  case $link in
  *system-[0-9]*-link)
    number=${link##*system-}
    echo "generation=${number%-link}"
    ;;
  esac
  if [ -e /run/booted-system ] && [ -e "$profile" ]; then
    reboot=no
    for part in kernel initrd kernel-modules; do
      booted=$(readlink -f "/run/booted-system/$part" 2>/dev/null)
      wanted=$(readlink -f "$profile/$part" 2>/dev/null)
      [ "$booted" = "$wanted" ] || reboot=yes
    done
    echo "reboot=$reboot"
  fi
  [ ! -L "$shown_files" ] || echo "files=$(readlink "$shown_files")"
  ! is_guarded || echo guard=running
  [ ! -r "$record" ] || sed 's/^/record./' "$record"
}

limited() {
  if command -v timeout >/dev/null 2>&1; then
    timeout -k 10 "$limit" "$@"
  else
    "$@"
  fi
}

run_logged() {
  (
    umask 022
    limited "$@"
  ) >>"$lock/log" 2>&1 </dev/null
}

switch_to() {
  run_logged "$1/bin/switch-to-configuration" "$2"
}

set_profile() {
  run_logged nix-env -p "$profile" --set "$system"
}

# Puts the profile back, without the generation that was made meanwhile.
restore_profile() {
  made=$(readlink "$profile" 2>/dev/null)
  [ "$made" != "$before_link" ] || return 0
  if [ -z "$before_link" ]; then
    rm -f "$profile" "${profile%/*}/$made"
    return
  fi
  number=${before_link##*system-}
  run_logged nix-env -p "$profile" --switch-generation "${number%-link}"
  number=${made##*system-}
  run_logged nix-env -p "$profile" --delete-generations "${number%-link}"
  switch_to "$before_profile" boot
}

# Makes a set the files that the host shows; none of them when it is empty.
show_files() {
  if [ -n "$1" ]; then
    ln -sfn "$1" "$shown_files.new" && mv -T "$shown_files.new" "$shown_files"
  else
    rm -f "$shown_files"
  fi
}

# Whether the host is as it was before the change.
is_back() {
  [ "$(readlink "$profile" 2>/dev/null)" = "$before_link" ] || return
  [ -z "$files" ] || [ "$(readlink "$shown_files" 2>/dev/null)" = "$files_before" ] || return
  # A reboot went back already, and an action that is for the next boot changed nothing yet.
  [ "$cause" = rebooted ] || [ "$action" = boot ] || [ "$(readlink -f "$running")" = "$before" ]
}

# The change failed for CAUSE, with STATUS. Goes back, if that was asked for and there is
# something to go back to; what the host runs then says whether it worked.
undo() {
  cause=$1 status=$2
  if [ "$rollback" = no ] || [ -z "$before$before_profile" ]; then
    save failed
    return
  fi
  save rolling-back
  # First, for the system of before looks at them when it is activated.
  [ -z "$files" ] || show_files "$files_before" 2>>"$lock/log"
  restore_profile
  if [ "$cause" != rebooted ] && [ "$action" != boot ] && [ -n "$before" ]; then
    switch_to "$before" test
  fi
  if is_back; then
    [ -z "$files" ] || rm -rf "${shown_files%/*}/$files"
    save rolled-back
  else
    save failed
  fi
}

# Makes the change last. Ends with no record when it did.
commit() {
  if [ "$action" != test ]; then
    save committing
    set_profile || {
      undo profile $?
      return
    }
    switch_to "$system" boot || {
      undo boot $?
      return
    }
  fi
  remove_record
}

# Ends what a guard has left that was killed, or whose host was rebooted.
recover() {
  load && ! is_settled || return 0
  use_programs_of_before
  if [ "$state" = committing ] && { [ "$action" = boot ] || [ "$(readlink -f "$running")" = "$system" ]; }; then
    commit
  elif [ "$boot" = "$(boot_id)" ]; then
    undo killed ''
  else
    undo rebooted ''
  fi
}

# The new system may take away the programs that are needed to go back.
use_programs_of_before() {
  [ -z "$before" ] || PATH=$before/sw/bin:$PATH
}

change() {
  boot=$(boot_id)
  before=$(readlink -f "$running") && [ -e "$running" ] || before=''
  before_profile=$(readlink -f "$profile") && [ -e "$profile" ] || before_profile=''
  before_link=$(readlink "$profile" 2>/dev/null)
  files_before=$(readlink "$shown_files" 2>/dev/null)
  cause='' status=''
  rm -f "$lock/log"
  use_programs_of_before
  {
    save activating && { [ -z "$before" ] || ln -sfn "$before" "$gc_root"; } &&
      { [ -z "$files" ] || show_files "$files"; }
  } 2>"$lock/refused" || return
  rm "$lock/refused"
  if [ "$rollback" = no ]; then
    [ "$action" = test ] || set_profile || {
      undo profile $?
      return
    }
    switch_to "$system" "$action" || {
      undo switch $?
      return
    }
    remove_record
    return
  fi
  [ "$action" = boot ] || switch_to "$system" test || {
    undo switch $?
    return
  }
  : >"$lock/pending"
  save waiting || {
    undo record ''
    return
  }
  end=$(($(seconds_since_boot) + seconds))
  turns=0
  # Of a confirmation and the end of the wait, one can take the file away.
  until [ -e "$lock/confirmed" ]; do
    if [ "$(seconds_since_boot)" -ge "$end" ] && mv "$lock/pending" "$lock/expired" 2>/dev/null; then
      undo not-confirmed ''
      return
    fi
    pause
  done
  commit
}

run() {
  take_over "$1" || exit 0
  limit=$7
  recover
  if [ "$attempt" != "$2" ]; then
    attempt=$2 system=$3 action=$4 rollback=$5 seconds=$6 files=$8
    change
  fi
  if [ -e "$lock/refused" ]; then
    # Nothing was changed. Whoever started this reads why, and cleans up.
    exit
  fi
  release
}

# Starts the process that stays, out of reach of the end of this session.
launch() {
  shell=$(command -v sh)
  if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null 2>&1 &&
    systemd-run --quiet --collect --no-ask-password --unit=nio-activation \
      --description='Activation of a NixOS configuration, undone unless confirmed' \
      --property=TimeoutStopSec=5 "$shell" "$lock/guard" run "$@" </dev/null >/dev/null 2>&1; then
    return
  fi
  if command -v setsid >/dev/null 2>&1; then
    setsid "$shell" "$lock/guard" run "$@" </dev/null >/dev/null 2>&1 &
  else
    nohup "$shell" "$lock/guard" run "$@" </dev/null >/dev/null 2>&1 &
  fi
}

is_waiting() {
  load && [ "$state" = waiting ]
}

# Waits for the guard: until it waits for a confirmation, or has ended.
follow() {
  turns=0
  while is_guarded; do
    if [ "$1" = waiting ] && is_waiting; then
      break
    fi
    pause
  done
  if [ -e "$lock/refused" ] && ! is_guarded; then
    cat "$lock/refused" >&2
    release
    # A record that was begun says nothing that is true.
    if load && [ "$state" = activating ]; then remove_record; else rm -f "$record.new"; fi
    exit "$refused"
  fi
}

start() {
  if load && [ "$attempt" = "$1" ] && { is_settled || is_guarded; }; then
    follow waiting
    report
    return
  fi
  end=$(($(seconds_since_boot) + 10))
  until acquire; do
    if load && [ "$attempt" = "$1" ]; then
      follow waiting
      report
      return
    fi
    [ "$(seconds_since_boot)" -lt "$end" ] || exit "$busy"
    pause
  done
  printf '%s\n' "$guard" >"$lock/guard" || {
    release
    exit "$refused"
  }
  me=$(holder)
  launch "$me" "$@"
  end=$(($(seconds_since_boot) + 30))
  while [ "$(holder)" = "$me" ]; do
    if [ "$(seconds_since_boot)" -ge "$end" ]; then
      release
      exit "$not_started"
    fi
    pause
  done
  follow waiting
  report
}

confirm() {
  if load && [ "$attempt" = "$1" ] && ! is_settled; then
    if is_guarded; then
      follow waiting
      mv "$lock/pending" "$lock/confirmed" 2>/dev/null
      follow end
    else
      # Whoever was to wait for this is dead: what it began is ended first.
      start "$attempt" "$system" "$action" "$rollback" 0 "$2" "$files" >/dev/null
    fi
  fi
  report
}

case ${1-} in
inspect) report ;;
start | confirm | run) "$@" ;;
forget)
  if load && [ "$attempt" = "$2" ] && is_settled; then remove_record; fi
  ;;
reboot)
  if [ "$(boot_id)" = "$2" ]; then
    if [ -d /run/systemd/system ]; then systemctl reboot; else reboot; fi
  fi
  ;;
esac
