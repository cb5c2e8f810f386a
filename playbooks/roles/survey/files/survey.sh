# Looks at a machine and changes nothing. POSIX sh, no Python; every part may be missing.
# `python` may name the interpreter that the inventory sets.
# Command lines of processes are not read: they hold passwords on too many machines.
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/sbin:/sbin; export PATH
part() { printf '\n== %s\n' "$1"; }
if [ "$(id -u)" = 0 ]; then root=yes
elif sudo -n true 2>/dev/null; then root=sudo
else root=no
fi
as_root() {
    case $root in
        yes) "$@" ;;
        sudo) sudo -n "$@" ;;
        *) return 1 ;;
    esac
} 2>/dev/null
short() { timeout 5 "$@" 2>/dev/null; }

part time; date -u +%s
part clock; short timedatectl show -p NTPSynchronized
part privilege; echo "$root"
part kernel; uname -srm
part system; cat /etc/os-release 2>/dev/null || cat /etc/redhat-release 2>/dev/null
part uptime; cut -d ' ' -f 1 /proc/uptime
part model
for name in sys_vendor product_name bios_date; do
    [ -r /sys/class/dmi/id/$name ] && echo "$name=$(cat /sys/class/dmi/id/$name)"
done
echo "virtual=$(short systemd-detect-virt)"
part processor; nproc; grep -m 1 'model name' /proc/cpuinfo; grep -m 1 -E '^(flags|Features)' /proc/cpuinfo
part memory; grep -E '^(MemTotal|MemAvailable|SwapTotal):' /proc/meminfo
part cgroup; short stat -fc %T /sys/fs/cgroup; cut -f 1,4 /proc/cgroups
part filesystems; cut -f 2 /proc/filesystems | sort
part modules
for name in overlay br_netfilter nf_tables nfsd; do
    if grep -q "^$name " /proc/modules || [ -d /sys/module/$name ] || short modprobe -n -q $name; then echo "$name"; fi
done
part init; if [ -d /run/systemd/system ]; then echo systemd; else echo other; fi
part python
case ${python:-auto} in
    auto*) set -- python3.13 python3.12 python3.11 python3.10 python3.9 python3.8 /usr/bin/python3 python3 ;;  # as Ansible
    *) set -- "$python" ;;
esac
for python; do short $python -c 'import sys; print("%d.%d" % sys.version_info[:2])' && break; done
part mounts; cat /proc/self/mounts
part space; short df -P -k /var/lib /
part disks; short lsblk -b -P -o NAME,TYPE,SIZE,ROTA,RO,FSTYPE,MOUNTPOINT,MODEL
part health
for disk in $(short lsblk -d -n -o NAME,TYPE | awk '$2 == "disk" {print $1}'); do
    echo "-- $disk"; as_root timeout 5 smartctl -H -A "/dev/$disk"
done
part latency
disk=$(short lsblk -d -n -o NAME,TYPE | awk '$2 == "disk" {print $1; exit}')
[ -n "$disk" ] && as_root timeout 10 dd "if=/dev/$disk" of=/dev/null bs=4k count=256 iflag=direct 2>&1 | tail -n 1
part addresses; short ip -o address show scope global
part routes; short ip route
part reached  # by which address: sudo takes the variable away, and its parents have it still
pid=$$
while [ "${pid:-0}" -gt 1 ]; do
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | sed -n 's/^SSH_CONNECTION=[^ ]* [^ ]* \([^ ]*\).*/\1/p'
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
done
part resolver  # the file for pods, and whom it names: what systemd-resolved answers at loopback no pod can ask
file=/etc/resolv.conf
grep -q '^nameserver 127\.0\.0\.53' $file 2>/dev/null && [ -e /run/systemd/resolve/resolv.conf ] && file=/run/systemd/resolve/resolv.conf
echo $file; sed -n 's/^nameserver[[:space:]]*//p' $file 2>/dev/null
part firewall
short systemctl is-active --quiet firewalld && echo firewalld
as_root nft list chains |
    awk '$1 == "table" {table = $2 " " $3} /hook (input|forward) .*policy drop/ && table !~ /commonpool/ {print $4 " of " table}'
part pool; ls -d /opt/commonpool-* 2>/dev/null
as_root grep -E '^ *(server|certificate-authority-data):' /var/lib/kubelet/kubeconfig
part kubelets
ps -e -o pid= -o comm= 2>/dev/null | while read -r pid name; do
    case $name in kubelet | kubelite | k0s | k3s* | rke2*) as_root readlink "/proc/$pid/exe" ;; esac
done
ls /etc/kubernetes/kubelet.conf 2>/dev/null
part listening; as_root ss -H -l -t -n -p || short ss -H -l -t -n
part exports; ls /etc/commonpool/exports.conf /etc/exports.d/commonpool.exports 2>/dev/null
grep -l "^ *[^# ]" /etc/exports /etc/exports.d/*.exports 2>/dev/null
part processes  # of the machine itself: what runs in pods is the pool's, and leaves with its pod
pods=$(grep -l -s kubepods /proc/[0-9]*/cgroup | tr -c '0-9\n' ' ' | tr -s '\n ' ' ')
ps -e -o pid= -o user= -o comm= 2>/dev/null | awk -v pods=" $pods " '!index(pods, " " $1 " ") {$1 = ""; print}' | sort | uniq -c
part data
for place in /var/lib/postgresql /var/lib/pgsql /var/lib/mysql /var/lib/mongodb /var/lib/mongo /var/lib/elasticsearch \
    /var/lib/redis /var/lib/rabbitmq /var/lib/influxdb /u01/app/oracle /opt/oracle /opt/dmdbms /opt/Kingbase /srv/nfs /export; do
    # It may be mounted from a server that is gone.
    [ -n "$(as_root timeout 5 ls -A "$place" || short ls -A "$place")" ] && echo "$place"
done
part end
