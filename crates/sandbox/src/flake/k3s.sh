#!/bin/sh
# Stands in for k3s: the same files in the same places, the programs of the sandbox inside.
set -eu
umask 077

version=@version@
nico=/opt/nico/bin/nico

# The token is read from a file in memory, never from an argument.
keep_token() {
  mkdir -p "/run/k3s/$1"
  cp "$2" "/run/k3s/$1/token.new"
  chmod 600 "/run/k3s/$1/token.new"
  mv "/run/k3s/$1/token.new" "/run/k3s/$1/token"
}

server() {
  keep_token server "$token_file"
  mkdir -p /etc/rancher/k3s
  rm -f /etc/rancher/k3s/k3s.yaml /run/k3s/server/kubeconfig
  set --
  if [ -n "$authority" ]; then
    # All control planes serve what is in the etcd that they share, with the same certificates.
    rm -rf /run/k3s/server/authority
    cp -R "$authority" /run/k3s/server/authority
    chmod -R u+w /run/k3s/server/authority
    set -- --etcd http://127.0.0.1:2379 --cert-dir /run/k3s/server/authority
  fi
  [ -z "$vip" ] || set -- "$@" --advertise-name "$vip"
  "$nico" apiserver --listen 0.0.0.0:6443 \
    --advertise-name "$name" --advertise-name "$address" --advertise-name 127.0.0.1 \
    --token-file /run/k3s/server/token --kubeconfig-out /run/k3s/server/kubeconfig "$@" &
  program=$!
  trap 'kill "$program"; wait "$program"' TERM INT
  until [ -s /run/k3s/server/kubeconfig ]; do
    kill -0 "$program"
    sleep 0.05
  done
  # As k3s does: whoever copies the file has to put the address of the machine there.
  sed -E 's|server: .*|server: https://127.0.0.1:6443|' \
    /run/k3s/server/kubeconfig >/etc/rancher/k3s/k3s.yaml.new
  mv /etc/rancher/k3s/k3s.yaml.new /etc/rancher/k3s/k3s.yaml
  wait "$program"
}

etcd() {
  mkdir -p /run/k3s
  # $servers is a list of options, so it is split on purpose.
  exec "$nico" sandbox etcd --name "$name" --data /var/lib/etcd --ready /run/k3s/etcd-ready $servers
}

agent() {
  keep_token agent "$token_file"
  set --
  [ -z "$etcd" ] || set -- --etcd "$etcd"
  # $servers is a list of options, so it is split on purpose.
  exec "$nico" sandbox kubelet --name "$name" --address "$address" --role "$role" \
    --kubelet-version "v$version" --token-file /run/k3s/agent/token "$@" $servers
}

command=$1
shift
role=worker
servers=
authority=
vip=
etcd=
option=--server
[ "$command" != etcd ] || option=--peer
while [ $# -gt 0 ]; do
  case $1 in
  --name) name=$2 ;;
  --address) address=$2 ;;
  --role) role=$2 ;;
  --token-file) token_file=$2 ;;
  --server) servers="$servers $option $2" ;;
  --authority) authority=$2 ;;
  --tls-san) vip=$2 ;;
  --etcd) etcd=$2 ;;
  *)
    echo "k3s: unknown option $1" >&2
    exit 64
    ;;
  esac
  shift 2
done

case $command in
server | agent | etcd) "$command" ;;
*)
  echo "k3s: unknown command $command" >&2
  exit 64
  ;;
esac
