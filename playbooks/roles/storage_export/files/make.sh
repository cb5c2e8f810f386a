# Makes a file system on a disk that is empty or that a person, by name, gave up. POSIX sh.
# Arguments: name of the volume, path, device, what look.sh found, and `shared` where it is to be exported.
# What was allowed is written down first, with the disk's identity and with what it held: a run that is cut short in the
# middle goes on, and on another disk, or one that was written to since, nobody may.
set -eu
PATH=$PATH:/usr/sbin:/sbin
name=$1 path=$2 device=$3
volumes=/etc/commonpool/volumes
consent=/etc/commonpool/consents/$name
mkdir -p "$volumes" "${consent%/*}"
if [ ! -e "$consent" ] || [ "${4:-}" != begun ]; then
    { lsblk -d -n -b -o SIZE,WWN,SERIAL,MODEL "$device"; cat /proc/sys/kernel/random/uuid
      wipefs --noheadings --output OFFSET,TYPE,UUID "$device" | sed 's/  */ /g; s/ $//'; } >"$consent.new"
    sync "$consent.new"; mv "$consent.new" "$consent"; sync "${consent%/*}"
fi
wipefs --quiet --all "$device"
mkfs.ext4 -q -F -U "$(sed -n 2p "$consent")" -L "$(printf %.16s "$name")" "$device"
# Over NFS a kubelet cannot give the volume to its pod's group, and root is nobody; whoever the pods run as writes.
[ "${5:-}" != shared ] || debugfs -w -R 'set_inode_field / mode 040777' "$device" 2>/dev/null
printf '%s\n%s\n' "$path" "$device" >"$volumes/$name"
sync "$volumes/$name" "$volumes"
rm -f "$consent"
