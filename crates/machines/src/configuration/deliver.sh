# Makes a set of files the one under /var/lib/nio/files, all at once.
# Standard input: for each file a line with its length in bytes, its mode and its owner, a line
# with its path, and its bytes; after the last one a line "end".
set -eu
umask 077
PATH="${PATH:-/bin}:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export PATH
base=/var/lib/nio
if [ -e "$base/files" ] && [ ! -L "$base/files" ]; then
  echo "$base/files was not made by NICO; move it away" >&2
  exit 73
fi
# Others may open a file whose mode lets them, and see no names.
mkdir -p "$base/sets"
chmod 711 "$base" "$base/sets"
set=$(mktemp -d "$base/sets/XXXXXXXX")
trap 'rm -rf "$set"' EXIT
chmod 711 "$set"

complete=
while read -r size mode owner; do
  if [ "$size" = end ]; then
    complete=yes
    break
  fi
  IFS= read -r path
  file=$set/$path
  (umask 066; mkdir -p "${file%/*}")
  head -c "$size" >"$file"
  [ "$(wc -c <"$file")" -eq "$size" ] || break
  # An owner that the configuration creates is not there yet.
  if chown "$owner" "$file" 2>/dev/null; then
    chmod "$mode" "$file"
  fi
done
if [ -z "$complete" ]; then
  echo "the files did not arrive as a whole" >&2
  exit 74
fi

ln -s "sets/${set##*/}" "$set.link"
mv -T "$set.link" "$base/files"
trap - EXIT
