# The files of a host that are in no Nix store.
#
# usage: deliver SET  writes a set of files, which is not shown yet
#        settle       gives the files that are shown their owners, and removes all other sets;
#                     without any file, nothing is left
#        tidy         removes the sets that are not shown and that no guard goes back to
#
# /var/lib/nio/files is a symbolic link to a set, sets/NAME. The guard of a change points it to
# another one, and back. Standard input of `deliver`: for each file a line with its length in
# bytes, its mode and its owner, a line with its path, and its bytes; of `settle` the same
# without length and bytes. After the last file a line "end": without it, a lost connection
# would look like the end.
set -eu
umask 077
PATH="${PATH:-/bin}:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export PATH
base=/var/lib/nio

incomplete() {
  echo "the files did not arrive as a whole" >&2
  exit 74
}

# A guard has sets that its record does not name yet.
tidy() {
  [ ! -e /run/nio/activation ] || return 0
  kept=" $(readlink "$base/files" || true) "
  if [ -e "$base/activation/record" ]; then
    kept="$kept $(sed -n 's/^files[a-z_]*=//p' "$base/activation/record" | tr '\n' ' ')"
  fi
  for set in "$base"/sets/*; do
    case $kept in
    *" sets/${set##*/} "*) ;;
    *) rm -rf "$set" ;;
    esac
  done
}

deliver() {
  if [ -e "$base/files" ] && [ ! -L "$base/files" ]; then
    echo "$base/files was not made by NICO; move it away" >&2
    exit 73
  fi
  tidy
  set=$base/$1
  # Others may open a file whose mode lets them, and see no names.
  mkdir -p "$base/sets"
  chmod 711 "$base" "$base/sets"
  mkdir "$set"
  trap 'rm -rf "$set"' EXIT
  chmod 711 "$set"
  while read -r size mode owner; do
    if [ "$size" = end ]; then
      trap - EXIT
      return
    fi
    IFS= read -r path
    file=$set/$path
    (umask 066 && mkdir -p "${file%/*}")
    head -c "$size" >"$file"
    [ "$(wc -c <"$file")" -eq "$size" ] || break
    # An owner that the configuration creates is not there yet.
    if chown "$owner" "$file" 2>/dev/null; then
      chmod "$mode" "$file"
    fi
  done
  incomplete
}

settle() {
  number=0
  while read -r mode owner; do
    if [ "$mode" = end ]; then
      if [ "$number" = 0 ] && [ -L "$base/files" ]; then
        rm "$base/files"
      fi
      tidy
      return
    fi
    IFS= read -r path
    number=$((number + 1))
    chown "$owner" "$base/files/$path"
    chmod "$mode" "$base/files/$path"
  done
  incomplete
}

"$@"
