# Says what a declared place holds, one line: new, ours, empty, begun, data WORDS, small WORDS, or missing WORDS. Changes
# nothing. POSIX sh. Arguments: name of the volume, path, device (may be empty), declared capacity in bytes.
PATH=$PATH:/usr/sbin:/sbin
name=$1 path=$2 device=$3 capacity=${4:-0}
marker=/etc/commonpool/volumes/$name
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
if [ -b "$device" ]; then
    size=$(blockdev --getsize64 "$device")
    if [ "$size" -lt "$capacity" ]; then
        echo "small $device has $size bytes, and pool.yaml declares a capacity of $capacity: declare at most what it has"; exit
    fi
fi
if [ -e "$marker" ]; then echo ours; exit; fi
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
else echo new
fi
