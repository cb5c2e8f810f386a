# Says what a declared place holds, one line: new, ours, empty, begun, data WORDS, small WORDS, moved WORDS, or missing WORDS.
# Changes nothing. POSIX sh. Arguments: name of the volume, path, device (may be empty), declared capacity in bytes.
PATH=$PATH:/usr/sbin:/sbin
name=$1 path=$2 device=$3 capacity=${4:-0}
marker=/etc/commonpool/volumes/$name
taken=/etc/commonpool/disks/$name
consent=/etc/commonpool/consents/$name
holds() { [ -n "$(ls -A "$1" 2>/dev/null | grep -v '^lost+found$')" ]; }
# Whether make.sh was cut short on this very disk, and nothing is on it now but what was there then, or its own beginning.
begun() {
    [ -e "$consent" ] && [ "$(sed -n 1p "$consent")" = "$(lsblk -d -n -b -o SIZE,WWN,SERIAL,MODEL "$device")" ] || return 1
    uuid=$(sed -n 2p "$consent")
    wipefs --noheadings --output OFFSET,TYPE,UUID "$device" 2>/dev/null | tr -s ' ' | while read -r line; do
        case $line in *" $uuid") ;; *) tail -n +3 "$consent" | grep -q -x -F -e "$line" || exit 1 ;; esac
    done
}
# What a database or encryption keeps on a raw disk bears no mark: blank is what holds zeros, looked at in 65 places.
blank() {
    step=$(($(blockdev --getsize64 "$device") / 4096 / 64)) at=0
    [ "$({ dd "if=$device" bs=1M count=1 || echo unread
           while [ $at -lt $((step * 64)) ]; do dd "if=$device" bs=4k skip=$at count=1 || echo unread; at=$((at + step)); done
         } 2>/dev/null | tr -d '\000' | head -c 1 | wc -c)" -eq 0 ]
}
# Whether it is what was taken by this name: the same folder, or the same disk, by whatever name the kernel has for it now.
ours() {
    was=$(sed -n 2p "$marker")
    [ "$(sed -n 1p "$marker")" = "$path" ] && [ "${was:+disk}" = "${device:+disk}" ] || return 1
    if [ -b "$device" ] && [ -e "$taken" ]; then [ "$(blkid -p -o value -s UUID -s TYPE "$device")" = "$(cat "$taken")" ]
    else [ "$was" = "$device" ]
    fi
}
if [ -b "$device" ]; then
    size=$(blockdev --getsize64 "$device")
    if [ "$size" -lt "$capacity" ]; then
        echo "small $device has $size bytes, and pool.yaml declares a capacity of $capacity: declare at most what it has"; exit
    fi
fi
if [ -e "$marker" ]; then
    if ours; then echo ours
    else echo "moved it was taken as $(paste -s -d ' ' "$marker"), and $path $device is another: declare that by another name"
    fi
    exit
fi
if [ -z "$device" ]; then
    if [ -e "$path" ] && [ ! -d "$path" ]; then echo "data $path is no folder"
    elif holds "$path"; then echo "data $path is not empty"
    elif [ -d "$path" ]; then echo empty
    else echo new
    fi
    exit
fi
if [ ! -b "$device" ]; then echo "missing there is no block device $device"; exit; fi
if grep -q "^$(readlink -f "$device") " /proc/mounts; then echo "data $device is mounted"; exit; fi
if begun; then echo begun; exit; fi
found=$(wipefs --noheadings --output TYPE,LABEL "$device" 2>/dev/null | tr -s ' ' | tr '\n' ' ')
if [ -n "$(echo "$found" | tr -d ' ')" ]; then echo "data $device holds $found"
elif holds "$path"; then echo "data $path is not empty"
elif ! blank; then echo "data $device bears no file system, but is not blank"
else echo new
fi
