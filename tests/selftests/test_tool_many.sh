#!/bin/bash
# Many vdisks at once: each disk has the bytes of its own base, and each store what was written to its disk.
# VDISK_DISKS: how many (50); 200 in `make soak`
# kernels: 6.1 6.12 7.3
# check: 6.12
# timeout: 500
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"
need CONFIG_EXT4_FS
load_vdisk
loop_disk 96 512
make_fs ext4 "$DISK"
rmdir "$mnt/lost+found"
undo=("cd /" "${undo[@]}")
cd "$mnt" || exit
b=${VD}b

# What there is of files, devices, keys: the same before and after
there() { ls -A; dmsetup ls | sort; grep -c 'logon *vdisk:' /proc/keys; ls /dev/mapper; }
nothing() { is "$(there)" "$before" "$1: nothing stays"; }

many=${VDISK_DISKS:-50}
head -c 8M /dev/urandom >base.img
before=$(there)
# Half of them of one name
for i in {1..20}; do
	(vdisk create "$VD$i" --create "overlay ( file s$i ) ( file base.img )" && vdisk remove "$VD$i" && rm "s$i") >/dev/null 2>&1 &
	(vdisk create "$b" --len 1M ram && vdisk remove "$b") >/dev/null 2>&1 &
done
wait
nothing 'creates and removes side by side'

# Each over a base of its own: each has the bytes that are its own
for i in $(seq "$many"); do
	printf "%08192d" "$i" >"base$i"
done
before=$(there)
for i in $(seq "$many"); do
	vdisk create "$VD$i" --create "overlay ( file s$i ) ( file base$i )" >/dev/null 2>&1 &
done
wait
is "$(dmsetup ls | grep -c "^$VD")" "$many" "$many creates at once"
wrong=''
for i in $(seq "$many"); do
	cmp -s "/dev/mapper/$VD$i" "base$i" || wrong+=" $i"
	printf '%04096d' $((i + 1000)) >"/dev/mapper/$VD$i"
done
is "$wrong" '' 'each reads as its base'
for i in $(seq "$many"); do
	vdisk remove "$VD$i" >/dev/null 2>&1 &
done
wait
offset=$(vdisk map --json s1 | jq '.[0].offset')
for i in $(seq "$many"); do
	[[ $(dd if="s$i" bs=4096 skip=$((offset / 4096)) count=1 status=none) == "$(printf '%04096d' $((i + 1000)))" ]] || wrong+=" $i"
done
is "$wrong" '' 'and each store has what was written to it'
rm s*
nothing "$many removes at once"
done_testing
