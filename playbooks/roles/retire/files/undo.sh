# Undoes an onboarding. Prints `changed` when there was something to undo. POSIX sh; every part may be gone already.
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
for file in /run/netns/cni-*; do [ -e "$file" ] && rm -f "$file"; done
for table in "inet commonpool-policy" "ip kube-proxy" "ip6 kube-proxy"; do
    # shellcheck disable=SC2086
    nft list table $table >/dev/null 2>&1 && [ -n "$found" ] && nft delete table $table
done
ip route flush proto 177 2>/dev/null
for place in /etc/commonpool /run/commonpool /opt/commonpool-*; do
    [ -e "$place" ] && { found=yes; rm -rf "$place"; }
done
# These may be mount points of their own: they are emptied.
for place in /var/lib/commonpool /var/lib/kubelet; do
    [ -n "$(ls -A "$place" 2>/dev/null)" ] && { found=yes; find "$place" -xdev -mindepth 1 -delete; }
done
[ -n "$found" ] && echo changed
exit 0
