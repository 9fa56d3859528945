# Says what this host runs, one fact a line. Reads only.
PATH="${PATH:-/bin}:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:/usr/bin:/bin"
export PATH
profile=/nix/var/nix/profiles/system
system=$(readlink -f "$profile" 2>/dev/null) && [ -e "$profile" ] && echo "profile=$system"
[ -e /run/current-system ] && echo "current=$(readlink -f /run/current-system)"
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
if [ -r /run/nio/attempt ]; then
  { read -r attempt; read -r system; read -r status; } </run/nio/attempt
  printf 'attempt=%s\nattempt_system=%s\nattempt_status=%s\n' "$attempt" "$system" "$status"
fi
exit 0
