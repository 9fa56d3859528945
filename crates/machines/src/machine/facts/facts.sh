# Prints what is known of this host, one fact a line, fields separated by tabs:
#
#   fact        NAME  VALUE
#   filesystem  SOURCE  MOUNTPOINT  SIZE_KIB  USED_KIB
#   disk        NAME  SIZE_SECTORS  ROTATIONAL  MODEL  SERIAL
#   dns         ADDRESS
#   interface   NAME  MAC  MTU  SPEED_MBPS
#   address     INTERFACE  ADDRESS/PREFIX
#   end
#
# Read over stdin by any POSIX shell, busybox included; changes nothing, leaves nothing behind.
# What cannot be told is left empty or out. The last line proves that nothing was cut off.

PATH="$PATH:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:/usr/sbin:/sbin:/usr/bin:/bin"
export PATH
export LC_ALL=C

# Read to its end before anything runs: nothing in here can eat the rest of the script.
{

# By the shell alone: there are hosts without tr, and no field is worth a process.
tab=$(printf '\t')
breaks=$(printf '\t\n\r_')
breaks=${breaks%_}
words=$IFS

row() {
    line=''
    for field in "$@"; do
        case $field in
            *["$breaks"]*)
                IFS=$breaks
                set -f
                flat=''
                for part in $field; do
                    flat="$flat $part"
                done
                set +f
                IFS=$words
                field=$flat
                ;;
        esac
        line="$line$tab$field"
    done
    printf '%s\n' "${line#"$tab"}"
}

fact() {
    [ -z "$2" ] || row fact "$1" "$2"
}

content() {
    [ ! -r "$1" ] || cat "$1"
}

# The file that a symbolic link ends at, if the link is there.
resolved() {
    [ ! -L "$1" ] || readlink -f "$1"
}

release() {
    sed -n "s/^$1=//p" /etc/os-release | sed -e 's/^"\(.*\)"$/\1/' -e "s/^'\(.*\)'\$/\1/" -e '1q'
}

fact os.name "$(release PRETTY_NAME)"
fact os.id "$(release ID)"
fact os.version "$(release VERSION_ID)"
fact os.variantId "$(release VARIANT_ID)"
fact kernel.version "$(uname -r)"
fact architecture "$(uname -m)"
fact hostname "$(uname -n)"
fact uptime.days "$(awk '{ print int($1 / 86400) }' /proc/uptime)"

fact cpu.model "$(awk -F ': *' '/^(model name|Model|cpu model)[ \t]*:/ { print $2; exit }' /proc/cpuinfo)"
fact cpu.threads "$(grep -c '^processor' /proc/cpuinfo)"
fact cpu.cores "$(
    for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
        [ ! -r "$cpu/topology/core_id" ] ||
            echo "$(cat "$cpu/topology/physical_package_id").$(cat "$cpu/topology/core_id")"
    done | sort -u | grep -c .
)"
fact memory.mb "$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)"

fact virtualization.type "$(systemd-detect-virt)"
for engine in docker podman containerd nerdctl; do
    if command -v "$engine" >/dev/null; then
        fact container.engine "$engine"
        break
    fi
done

fact system.serial "$(content /sys/class/dmi/id/product_serial)"
fact system.uuid "$(content /sys/class/dmi/id/product_uuid)"
fact system.vendor "$(content /sys/class/dmi/id/sys_vendor)"
fact system.product "$(content /sys/class/dmi/id/product_name)"
zone=$(resolved /etc/localtime)
case $zone in
    */zoneinfo/*) fact system.timezone "${zone##*/zoneinfo/}" ;;
    *) fact system.timezone "$(content /etc/timezone)" ;;
esac

fact nix.version "$(nix --version | awk '{ print $NF }')"
fact nixos.version "$(content /run/current-system/nixos-version)"
generation=$(readlink /nix/var/nix/profiles/system)
case $generation in
    system-*-link)
        generation=${generation#system-}
        fact nixos.generation "${generation%-link}"
        ;;
esac
fact nixos.bootedSystem "$(resolved /run/booted-system)"
fact nixos.currentSystem "$(resolved /run/current-system)"

{ df -Pkl || df -Pk; } | awk 'NR > 1 && ($1 ~ /^\// || $6 == "/") && !seen[$6]++ { print $1, $2, $3, $6 }' |
    sed 64q | while read -r source size used mount; do
        row filesystem "$source" "$mount" "$size" "$used"
    done

for disk in /sys/block/*; do
    name=${disk##*/}
    case $name in
        loop* | ram* | zram* | dm-* | md* | sr* | fd*) continue ;;
    esac
    [ -r "$disk/size" ] || continue
    row disk "$name" "$(content "$disk/size")" "$(content "$disk/queue/rotational")" \
        "$(content "$disk/device/model")" "$(content "$disk/device/serial")"
done | sed 64q

sed -n 's/^nameserver[[:space:]][[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/resolv.conf |
    sed 8q | while read -r server; do
        row dns "$server"
    done

for interface in /sys/class/net/*; do
    name=${interface##*/}
    [ "$name" != lo ] && [ -r "$interface/mtu" ] || continue
    row interface "$name" "$(content "$interface/address")" "$(content "$interface/mtu")" \
        "$(content "$interface/speed")"
done | sed 64q

ip -o addr show | awk '$2 != "lo" && ($3 == "inet" || $3 == "inet6") { print $2, $4 }' |
    sed 256q | while read -r name address; do
        row address "$name" "$address"
    done

case $(content /sys/module/apparmor/parameters/enabled) in
    Y) fact security.apparmor true ;;
    N) fact security.apparmor false ;;
esac
case $(content /sys/fs/selinux/enforce) in
    1) fact security.selinux enforcing ;;
    0) fact security.selinux permissive ;;
esac
secure_boot=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
if [ -r "$secure_boot" ]; then
    case $(od -An -tu1 "$secure_boot" | awk '{ last = $NF } END { print last }') in
        1) fact security.secureBoot true ;;
        0) fact security.secureBoot false ;;
    esac
fi
case $(content /sys/class/tpm/tpm0/tpm_version_major) in
    2) fact security.tpm 2.0 ;;
    1) fact security.tpm 1.2 ;;
esac

row end

} </dev/null 2>/dev/null
