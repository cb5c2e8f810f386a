# Undoes an onboarding. Prints `changed` when there was something to undo. POSIX sh; every part may be gone already.
# With the argument `wipe`, what was taken as volumes is emptied: disks are overwritten once (NIST SP 800-88, Clear).
PATH=$PATH:/usr/sbin:/sbin
found=
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
for place in $(awk '$2 ~ "^/(run|var/lib)/commonpool/|^/var/lib/kubelet/|^/run/netns/cni-" {print $2}' /proc/mounts | sort -r); do
    umount -l "$place" 2>/dev/null
done
# What is still mounted there may be a volume's own data, and below these folders everything is deleted.
if grep -q -E "^[^ ]+ /var/lib/(kubelet|commonpool)/" /proc/mounts; then
    echo "still mounted below /var/lib/kubelet or /var/lib/commonpool; nothing there is deleted" >&2; exit 1
fi
for file in /run/netns/cni-*; do [ -e "$file" ] && rm -f "$file"; done
for table in "inet commonpool-policy" "ip kube-proxy" "ip6 kube-proxy"; do
    # shellcheck disable=SC2086
    nft list table $table >/dev/null 2>&1 && [ -n "$found" ] && nft delete table $table
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
        blkdiscard -f -z "$device" 2>/dev/null || dd if=/dev/zero of="$device" bs=1M 2>/dev/null
        [ -z "$(wipefs --noheadings "$device")" ] || { echo "could not wipe $device" >&2; exit 1; }
    elif [ -z "$device" ] && [ -d "$path" ]; then
        find "$path" -xdev -type f -exec shred -n 1 -u {} +
        find "$path" -xdev -mindepth 1 -delete
    else
        echo "could not wipe $device $path" >&2; exit 1
    fi
    found=yes
done
for place in /etc/commonpool /run/commonpool /opt/commonpool-*; do
    [ -e "$place" ] && { found=yes; rm -rf "$place"; }
done
# These may be mount points of their own: they are emptied.
for place in /var/lib/commonpool /var/lib/kubelet; do
    [ -n "$(ls -A "$place" 2>/dev/null)" ] && { found=yes; find "$place" -xdev -mindepth 1 -delete; }
done
[ -n "$found" ] && echo changed
exit 0
