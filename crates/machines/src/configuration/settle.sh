# Gives the files under /var/lib/nio/files their owners and removes all sets but theirs.
# Standard input: for each file a line with its mode and its owner, and a line with its path;
# after the last one a line "end". Without any file, nothing is left.
set -eu
PATH="${PATH:-/bin}:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export PATH
base=/var/lib/nio

number=0 complete=
while read -r mode owner; do
  if [ "$mode" = end ]; then
    complete=yes
    break
  fi
  IFS= read -r path
  number=$((number + 1))
  chown "$owner" "$base/files/$path"
  chmod "$mode" "$base/files/$path"
done
if [ -z "$complete" ]; then
  echo "the list of files did not arrive as a whole" >&2
  exit 74
fi

if [ "$number" = 0 ] && [ -L "$base/files" ]; then
  rm -f "$base/files"
fi
kept=$(readlink "$base/files" || true)
for set in "$base"/sets/*; do
  if [ -e "$set" ] && [ "sets/${set##*/}" != "$kept" ]; then
    rm -rf "$set"
  fi
done
