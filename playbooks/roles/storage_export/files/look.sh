# Says what a declared place holds, one line: new, ours, empty, data WORDS, or missing WORDS. Changes nothing. POSIX sh.
# Arguments: name of the volume, path, device (may be empty).
PATH=$PATH:/usr/sbin:/sbin
name=$1 path=$2 device=$3
marker=/etc/commonpool/volumes/$name
holds() { [ -n "$(ls -A "$1" 2>/dev/null | grep -v '^lost+found$')" ]; }
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
found=$(wipefs --noheadings --output TYPE,LABEL "$device" 2>/dev/null | tr -s ' ' | tr '\n' ' ')
if [ -n "$(echo "$found" | tr -d ' ')" ]; then echo "data $device holds $found"
elif holds "$path"; then echo "data $path is not empty"
else echo new
fi
