# Undoes an onboarding. Prints `changed` when there was something to undo. POSIX sh; every part may be gone already.
# With the argument `wipe`, what was taken as volumes is emptied: disks are overwritten once (NIST SP 800-88, Clear).
# /etc/commonpool says what was brought here, so it goes last: whatever is cut short goes on from any point.
PATH=$PATH:/usr/sbin:/sbin
found= node=
[ -e /etc/commonpool/kubelet.yaml ] && node=yes  # else what is below /var/lib/kubelet is somebody's
for unit in network proxy kubelet containerd; do
    [ -e /etc/systemd/system/commonpool-$unit.service ] || continue
    found=yes
    systemctl disable --now --quiet commonpool-$unit.service 2>/dev/null
    rm -f /etc/systemd/system/commonpool-$unit.service
done
[ -n "$found" ] && systemctl daemon-reload
# Containers outlive containerd: their shims are ended by the folder of programs that they were started from.
for program in /proc/[0-9]*/exe; do
    case $(readlink "$program" 2>/dev/null) in
        /opt/commonpool-*/bin/containerd-shim-runc-v2*)
            pid=${program#/proc/}; pid=${pid%/exe}
            for child in $(cat "/proc/$pid/task/$pid/children" 2>/dev/null); do kill -9 "$child" 2>/dev/null; done
            kill -9 "$pid" 2>/dev/null; found=yes ;;
    esac
done
kept="/var/lib/commonpool/${node:+|/var/lib/kubelet/}"
for place in $(awk -v "places=^($kept|/run/commonpool/${node:+|/run/netns/cni-})" '$2 ~ places {print $2}' /proc/mounts | sort -r); do
    umount -l "$place" 2>/dev/null
done
# What is still mounted there may be a volume's own data, and below these folders everything is deleted.
if grep -q -E "^[^ ]+ ($kept)" /proc/mounts; then
    echo "still mounted below /var/lib/kubelet or /var/lib/commonpool; nothing there is deleted" >&2; exit 1
fi
for file in ${node:+/run/netns/cni-*}; do [ -e "$file" ] && rm -f "$file"; done
for table in "inet commonpool-policy" "ip kube-proxy" "ip6 kube-proxy"; do
    # shellcheck disable=SC2086
    [ -n "$node" ] && nft list table $table >/dev/null 2>&1 && nft delete table $table
done
ip route flush proto 177 2>/dev/null
# Before the disks: what is exported cannot be unmounted.
if [ -e /etc/systemd/system/commonpool-export.service ]; then
    found=yes
    systemctl disable --now --quiet commonpool-export.service
    rm -f /etc/systemd/system/commonpool-export.service
    if [ -e /etc/exports.d/commonpool.exports ]; then
        rm -f /etc/exports.d/commonpool.exports; exportfs -ra
        [ -n "$(exportfs -s)" ] || systemctl disable --now --quiet nfs-server.service  # somebody's own exports stay
    fi
fi
# The distribution's own service did not run before ours came, and does not afterwards.
if [ -e /etc/systemd/system/nfs-ganesha.service.d/commonpool.conf ]; then
    found=yes
    systemctl disable --quiet nfs-ganesha.service 2>/dev/null
    rm -f /etc/systemd/system/nfs-ganesha.service.d/commonpool.conf
    rmdir --ignore-fail-on-non-empty /etc/systemd/system/nfs-ganesha.service.d
    systemctl daemon-reload
fi
for unit in /etc/systemd/system/commonpool-volume-*.service; do
    [ -e "$unit" ] || continue
    found=yes
    systemctl disable --now --quiet "${unit##*/}" 2>/dev/null
    rm -f "$unit"
done
# Whether it is the disk that was taken, or the one whose wiping was cut short.
same() {
    [ ! -e "$taken" ] || [ "$(blkid -p -o value -s UUID -s TYPE "$device")" = "$(cat "$taken")" ] || [ "$(wiping)" = "$(cat "$taken")" ]
}
wiping() { echo "wiping $(lsblk -d -n -b -o SIZE,WWN,SERIAL,MODEL "$device")"; }
for marker in /etc/commonpool/volumes/*; do
    [ "$1" = wipe ] && [ -e "$marker" ] || continue
    path=$(sed -n 1p "$marker"); device=$(sed -n 2p "$marker") taken=/etc/commonpool/disks/${marker##*/}
    if [ -b "$device" ] && ! grep -q "^$(readlink -f "$device") " /proc/mounts && same; then
        mkdir -p "${taken%/*}"; wiping >"$taken"; sync "$taken"
        # Whole or not at all: what a bad sector kept is no wiped disk.
        blkdiscard -f -z "$device" 2>/dev/null || { head -c "$(blockdev --getsize64 "$device")" /dev/zero >"$device" && sync "$device"; } ||
            { echo "could not wipe $device" >&2; exit 1; }
    elif [ -z "$device" ] && [ -d "$path" ]; then
        find "$path" -xdev -type f -exec shred -n 1 -u {} +
        find "$path" -xdev -mindepth 1 -delete
    else
        echo "could not wipe $device $path" >&2; exit 1
    fi
    found=yes
done
# These may be mount points of their own: they are emptied.
for place in /var/lib/commonpool ${node:+/var/lib/kubelet}; do
    [ -n "$(ls -A "$place" 2>/dev/null)" ] && { found=yes; find "$place" -xdev -mindepth 1 -delete; }
done
for place in /run/commonpool /opt/commonpool-* /etc/commonpool; do
    [ -e "$place" ] && { found=yes; rm -rf "$place"; }
done
[ -n "$found" ] && echo changed
exit 0
