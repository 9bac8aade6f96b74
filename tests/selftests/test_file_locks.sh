#!/bin/bash
# file: who else may have it: other disks, QEMU, cloud-hypervisor; what a reload hands over; no file on the disk itself.
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_EXT4_FS
load_vdisk
null_disk 400 512 discard=1
make_fs ext4 "$DISK"
img=$mnt/img
truncate -s 8M "$img"
scratch
busy='path: in use by another disk or program'

# load_ro STACK: into $scratch, read-only
load_ro() { dmsetup load --readonly "$VD$scratch" --table "0 16384 vdisk $1"; }
# may NAME LOCK FILE, may_not NAME LOCK FILE: a program gets such a lock
may() { run_ok "$1" filelock "${@:2}"; }
may_not() { run_fails "$1" filelock "${@:2}"; }
qemu() { qemu-io -f raw "$@" "$img" <<<'read 0 512'; }

may 'nobody has it' write 0 0 "$img"
vd a 16384 "file $img"
refused "file: $busy" "file $img" 16384
refused "file: $busy" "file $img shared" 16384
refused "concat/0/file: $busy" "concat ( file $img start:8 )" 8192
run_fails 'nor to read it' load_ro "file $img"
run_fails 'nor as a base' dmsetup load "$VD$scratch" --table "0 16384 vdisk overlay volatile ( ram ) ( file $img )"
may_not 'cloud-hypervisor cannot write it' write 0 0 "$img"
may_not 'nor read it' read 0 0 "$img"
run_fails 'QEMU cannot write it' qemu
run_ok 'but it can look' qemu -r -U

run_ok 'reload: the same file' reload a "0 8192 vdisk file $img len:8192"
may_not 'is still locked' read 0 0 "$img"
dmsetup load "${VD}a" --table '0 16384 vdisk zero'
may_not 'while another table waits' read 0 0 "$img"
run_ok 'reload: without it' reload a '0 16384 vdisk zero'
may 'nobody has it' write 0 0 "$img"
run_ok 'reload: with it again' reload a "0 16384 vdisk file $img"
may_not 'is locked' read 0 0 "$img"

# A snapshot: what was written becomes a base
run_ok 'reload: as a base' reload a "0 16384 vdisk overlay volatile ( ram ) ( file $img )"
vd b 16384 "overlay volatile ( ram ) ( file $img )"
ok $? 'another disk may use it as well'
may 'cloud-hypervisor may read it' read 0 0 "$img"
may_not 'but not write it' write 0 0 "$img"
run_ok 'QEMU may read it' qemu -r
run_fails 'but not write it' qemu
refused "file: $busy" "file $img" 16384
refusals
gone b
run_ok 'reload: written again' reload a "0 16384 vdisk file $img drop_volatile"
may_not 'nobody may read it then' read 0 0 "$img"
gone a
may 'nobody has it' write 0 0 "$img"

# A store is known by its file, not by its name
truncate -s 8M "$mnt/store" "$mnt/other"
vd a 16384 "overlay volatile ( file $mnt/store ) ( file $img )"
dd if=/dev/urandom of="/dev/mapper/${VD}a" bs=4k count=1 oflag=direct conv=notrunc status=none
mv "$mnt/store" "$mnt/gone"
mv "$mnt/other" "$mnt/store"
scratch=a
refused 'overlay: its presence in the live table belongs to another store, or to another block size; a new overlay needs a label of its own' \
	"overlay volatile ( file $mnt/store ) ( file $img )" 16384
refusals
mv "$mnt/gone" "$mnt/store"
run_ok 'reload: the same store' reload a "0 16384 vdisk overlay volatile ( file $mnt/store ) ( file $img )"
gone a
scratch=scratch
rm "$mnt/store"

# shared
vd a 16384 "file $img shared"
vd b 16384 "file $img shared"
ok $? 'shared: two disks'
refused "file: $busy" "file $img" 16384
run_fails 'shared: nobody who does not expect it may read' load_ro "file $img ro"
may_not 'nor cloud-hypervisor write' write 0 0 "$img"
gone a b
refused 'concat/0/file: path: twice in this table' "concat ( file $img len:8 ) ( file $img start:8 )" 16
vd a 16 "concat ( file $img len:8 shared ) ( file $img start:8 shared )"
ok $? 'shared: twice in a stack'
gone a
run_ok 'read-only: twice in a stack' load_ro "concat ( file $img len:8192 ) ( file $img start:8192 )"
dmsetup clear "$VD$scratch"

# Two lines of a table, which is no reload
# lines [OPTION_OF_FIRST [OPTION_OF_SECOND]]: what follows "0 8 vdisk"
lines() { printf 'file %s len:8 %s\n8 8 vdisk file %s start:8 len:8 %s' "$img" "${1-}" "$img" "${2-}"; }
refused 'file: path: twice in this table' "$(lines)" 8
refused 'file: path: twice in this table' "$(lines shared)" 8
refused 'file: path: twice in this table' "overlay volatile ( ram ) ( file $img len:8 )"$'\n'"8 8 vdisk file $img" 8
dm a "0 8 vdisk $(lines shared shared)"
ok $? 'shared: two lines'
run_ok 'shared: two lines, reloaded' reload a "0 8 vdisk $(lines shared shared)"
gone a
may 'nobody has it' write 0 0 "$img"
run_ok 'read-only: two lines' dmsetup load --readonly "$VD$scratch" --table "0 8 vdisk $(lines ro ro)"
run_ok 'read-only: two lines, loaded over them' dmsetup load --readonly "$VD$scratch" --table "0 8 vdisk $(lines ro ro)"
may_not 'read-only: two lines: locked' write 0 0 "$img"
run_ok 'one line, loaded over them' dmsetup load "$VD$scratch" --table "0 16384 vdisk file $img"
run_ok 'one line, loaded again' dmsetup load "$VD$scratch" --table "0 16384 vdisk file $img"
dmsetup clear "$VD$scratch"
may 'nobody has it' write 0 0 "$img"

# Others were first
for lock in 'write 0 0' 'read 0 0' 'read 101 1' 'read 100 102'; do
	# shellcheck disable=SC2086 # words
	filelock $lock "$img" 60 >"$TMP/locked" &
	wait_for 5 grep -q locked "$TMP/locked"
	refused "file: $busy" "file $img" 16384
	kill $!
	wait $! 2>/dev/null
done
filelock read 0 0 "$img" 60 >"$TMP/locked" &
wait_for 5 grep -q locked "$TMP/locked"
run_ok 'who reads does not keep out who reads' load_ro "file $img ro"
kill $!
wait $! 2>/dev/null
refusals
dmsetup clear "$VD$scratch"

# ro
refused 'file: ro: but it would be written to' "file $img ro" 16384
refusals
dmsetup create --readonly "${VD}a" --table "0 16384 vdisk file $img"
run_fails 'a read-only table: not written' dd if=/dev/zero of="/dev/mapper/${VD}a" bs=4096 count=1 oflag=direct conv=notrunc
run_ok 'but read' dd if="/dev/mapper/${VD}a" of=/dev/null bs=4096 count=1 iflag=direct
gone a

# Paths
mkfifo "$mnt/fifo"
ln -s img "$mnt/link"
touch "$mnt/empty"
refused 'file: path: missing' file
refused "file: path: 'img' is no absolute path" 'file img'
refused 'file: path: cannot be opened (-ENOENT)' "file $mnt/nothing"
refused 'file: path: cannot be opened (-EISDIR)' "file $mnt"
refused 'file: path: no regular file' "file $mnt/fifo"
refused 'file: path: no regular file' "file $DISK"
refused 'file: start: the file has 0 sectors' "file $mnt/empty"
refused 'file: start: the file has 16384 sectors' "file $img start:16384"
refused 'file: len: the file has 16384 sectors, 16376 from start on' "file $img start:8 len:16377"
refused 'file: has 16376 sectors, 16384 are asked of it' "file $img start:8" 16384
refusals
vd a 16384 "file $mnt/link"
is "$(table a)" "file $img" 'the table shows where the path led'
rm "$mnt/link" "$img"
[[ $(status a) == *' deleted' ]]
ok $? 'the status says that the file is deleted'
gone a
odd=$mnt/$'a b\\c\n\u00e0('
truncate -s 8M "$odd"
escaped=$(sed -z 's/\\/\\\\/g; s/ /\\ /g; s/\n/\\\n/g; s/\xa0/\\\xa0/g' <<<"$odd" | head -c -2)
dmraw load "$VD$scratch" 16384 "file $escaped"
ok $? 'a path of odd bytes'
dmsetup clear "$VD$scratch"

# Self reference
truncate -s 300M "$mnt/disk"
vd a 614400 "file $mnt/disk"
mkdir "$TMP/inner" "$TMP/innermost"
undo=("umount $TMP/innermost" "umount $TMP/inner" "${undo[@]}")
mkfs.ext4 -qF "/dev/mapper/${VD}a"
mount "/dev/mapper/${VD}a" "$TMP/inner"
truncate -s 100M "$TMP/inner/img"
scratch=a
refused 'file: path: on a file system on this very disk' "file $TMP/inner/img" 204800
vd b 204800 "file $TMP/inner/img"
mkfs.ext4 -qF "/dev/mapper/${VD}b"
mount "/dev/mapper/${VD}b" "$TMP/innermost"
truncate -s 8M "$TMP/innermost/img"
refused 'file: path: on a file system on this very disk' "file $TMP/innermost/img" 16384
refusals
scratch=b
refused 'file: path: on a file system on this very disk' "file $TMP/innermost/img" 16384
refusals
run_fails 'held: the file system stays mounted' umount "$TMP/inner"
umount "$TMP/innermost"
gone b
run_ok 'and goes when the disk is gone' umount "$TMP/inner"
# overlayfs lies where its directories do
scratch=a
if has_config CONFIG_OVERLAY_FS; then
	modprobe -q overlay
	mount "/dev/mapper/${VD}a" "$TMP/inner"
	mkdir "$TMP/inner/"{lower,upper,work} "$mnt/"{lower,upper,work}
	truncate -s 8M "$TMP/inner/lower/img"
	truncate -s 8M "$mnt/lower/other"
	undo=("umount $TMP/merged" "${undo[@]}")
	mkdir "$TMP/merged"
	mount -t overlay overlay -o "lowerdir=$mnt/lower,upperdir=$TMP/inner/upper,workdir=$TMP/inner/work" "$TMP/merged"
	refused 'file: path: on a file system on this very disk' "file $TMP/merged/other" 16384
	refusals
	umount "$TMP/merged"
	mount -t overlay overlay -o "lowerdir=$TMP/inner/lower,upperdir=$mnt/upper,workdir=$mnt/work" "$TMP/merged"
	refused 'overlay/1/file: path: on a file system on this very disk' "overlay volatile ( ram ) ( file $TMP/merged/img )" 16384
	refusals
	truncate -s 8M "$TMP/merged/new"
	vd b 16384 "file $TMP/merged/new"
	ok $? 'overlayfs: but elsewhere'
	gone b
	umount "$TMP/merged" "$TMP/inner"
fi
# Nor must the log lie there
loop_disk 350 512
mke2fs -qF -b 4096 -O journal_dev "/dev/mapper/${VD}a"
mkfs.ext4 -qF -b 4096 -J "device=/dev/mapper/${VD}a" "$DISK"
mount "$DISK" "$TMP/inner"
truncate -s 100M "$TMP/inner/img"
refused 'file: path: on a file system on this very disk' "file $TMP/inner/img" 204800
refusals
umount "$TMP/inner"
if has_config CONFIG_XFS_FS; then
	mkfs.xfs -qf -l "logdev=/dev/mapper/${VD}a,size=64m" "$DISK" >/dev/null
	modprobe -q xfs
	mount -t xfs -o "logdev=/dev/mapper/${VD}a" "$DISK" "$TMP/inner"
	truncate -s 100M "$TMP/inner/img"
	refused 'file: path: on a file system on this very disk' "file $TMP/inner/img" 204800
	refusals
	umount "$TMP/inner"
fi
# btrfs does not say what it lies on as others do
if has_config CONFIG_BTRFS_FS; then
	mkfs.btrfs -qf "/dev/mapper/${VD}a"
	modprobe -q btrfs
	mount "/dev/mapper/${VD}a" "$TMP/inner"
	truncate -s 100M "$TMP/inner/img"
	scratch=a
	refused 'file: path: on a file system on this very disk' "file $TMP/inner/img" 204800
	vd b 204800 "file $TMP/inner/img"
	mkfs.ext4 -qF "/dev/mapper/${VD}b"
	mount "/dev/mapper/${VD}b" "$TMP/innermost"
	truncate -s 8M "$TMP/innermost/img"
	refused 'file: path: on a file system on this very disk' "file $TMP/innermost/img" 16384
	refusals
	umount "$TMP/innermost"
	gone b
	umount "$TMP/inner"
	# Nor does it tell of its other disks
	truncate -s 300M "$mnt/other"
	vd c 614400 "file $mnt/other"
	mkfs.btrfs -qf "/dev/mapper/${VD}a" "/dev/mapper/${VD}c"
	btrfs device scan >/dev/null
	mount "/dev/mapper/${VD}a" "$TMP/inner"
	truncate -s 100M "$TMP/inner/img"
	for scratch in a c; do
		refused 'file: path: on a file system on this very disk' "file $TMP/inner/img" 204800
	done
	refusals
	vd b 204800 "file $TMP/inner/img"
	ok $? 'but on another one'
	gone b
	umount "$TMP/inner"
	gone c
	rm "$mnt/other"
	scratch=scratch
fi
gone a scratch
run_ok 'and the next one' umount "$mnt"
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
