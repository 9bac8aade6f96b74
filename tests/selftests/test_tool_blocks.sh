#!/bin/bash
# vdisk create --create: the block size of a new store is the one that the kernel gives the disk.
# kernels: 6.1 6.12 7.3
# check: 7.3
# timeout: 120
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
a=${VD}a

# What there is of files, devices, keys: the same before and after
there() { ls -A; dmsetup ls | sort; grep -c 'logon *vdisk:' /proc/keys; ls /dev/mapper; }
nothing() { is "$(there)" "$before" "$1: nothing stays"; }

head -c 8M /dev/urandom >base.img
# A file system with blocks of 4096 bytes: of its files' direct I/O the kernel makes the block size of the disk, and so does --create
# that of a store. Devices by their numbers: these are what a live table has, and /dev/block is udev's.
loop_disk 32 4096
big=$DISK
mkfs.ext4 -qF -b 4096 "$big"
mkdir big
mount "$big" big
undo=("umount $PWD/big" "${undo[@]}")
truncate -s 8M big/base
loop_disk 32 4096
before=$(there)
for stack in '( file big/s ) ( file base.img )' '( file s ) ( file big/base )' '( file big/s ) ( ram )' "( file s ) ( block $(devno "$DISK") )" \
	"unit:512 ( file s ) ( block $(devno "$DISK") )" '( file s ) ( overlay volatile unit:4096 ( ram ) ( file base.img ) )'; do
	run_ok "blocks of 4096: $stack" vdisk create "$a" --len 8M --create "overlay $stack"
	is "$(limit a logical_block_size)" 4096 'which the disk has'
	run_ok 'and it is removed' vdisk remove "$a"
	rm -f s big/s
done
for stack in '( file big/s block:512 ) ( file big/base buffered )' '( file s ) ( ram )'; do
	run_ok "blocks of 512: $stack" vdisk create "$a" --len 8M --create "overlay $stack"
	is "$(limit a logical_block_size)" 512 'which the disk has'
	vdisk remove "$a"
	rm -f s big/s
done
vdisk create "$a" --create "overlay ( file s ) ( block $(devno "$DISK") start:8M len:8M )" >/dev/null
is "$(vdisk grow "$a" 16M 2>&1)" "$a: 32768 sectors (16 MiB)" 'grow: over a device'
is "$(vdisk snapshot "$a" top 2>&1)" "$a: $PWD/top" 'snapshot: over a device'
vdisk remove "$a"
rm s top
nothing 'blocks of 4096'

# What a store on a device says is read past the page cache, which is older than what the disk has written
loop_disk 32 512
run_ok 'a store on a device' vdisk format "$DISK" --len 8M
exec 8<"$DISK"
head -c 64K <&8 >/dev/null
run_ok 'is a disk' vdisk create "$a" --len 8M "overlay ( block $(devno "$DISK") ) ( zero )"
run_ok 'which grows' vdisk grow "$a" 16M
is "$(vdisk length "overlay ( block $DISK ) ( zero )")" 32768 'length: the store tells, and not the page cache'
vdisk remove "$a"
exec 8<&-

# What the file system says, or else its device
umount big
for fs in $(file_systems); do
	[[ $fs != tmpfs ]] || continue
	modprobe -q "$fs"
	for block in 512 4096; do
		loop_disk 320 $block
		case $fs in
		ext4) mkfs.ext4 -q "$DISK" ;;
		*) "mkfs.$fs" -qf "$DISK" >/dev/null 2>&1 ;;
		esac
		mount "$DISK" big
		truncate -s 8M big/base
		run_ok "$fs over $block: the block size is known" vdisk create "$a" --create 'overlay ( file big/s ) ( file big/base )'
		comment "it is $(limit a logical_block_size)"
		vdisk remove "$a"
		umount big
	done
done
done_testing
