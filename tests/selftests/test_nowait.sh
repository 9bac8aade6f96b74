#!/bin/bash
# RWF_NOWAIT works on every stack and is mostly served at once; polled I/O ends; io_uring sees both.
# check: 6.1 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512 poll_queues=1
null_disk 8 512 poll_queues=1
for stack in 'ram' "block ${disks[0]}" "striped chunk:8 $(children 2)" "concat $(children 2)" \
	"test mode:work ( block ${disks[0]} )" "test piece:8 up ( striped chunk:16 $(children 2) )" \
	"overlay volatile ( ram ) ( block ${disks[0]} )" "cache write_through volatile ( ram ) ( block ${disks[0]} )" \
	"delay read:300us write:100us ( block ${disks[0]} )" "striped chunk:16 ( delay read:1ms ( block ${disks[0]} ) ) ( ram )"; do
	vd a 16384 "$stack"
	case $stack in
	block* | 'striped chunk:8 '* | concat*) is "$(limit a io_poll)" 1 "$stack: can be polled" ;;
	*) is "$(limit a io_poll)" 0 "$stack: cannot be polled" ;;
	esac
	out=$(vdio -n 400 -w 100 -m 4 --verify "/dev/mapper/${VD}a" 2>&1)
	is $? 0 "$stack: no error"
	read -r nowaits again <<<"$(sed -n 's/.* nowaits=\([0-9]*\) again=\([0-9]*\)/\1 \2/p' <<<"$out")"
	ok "$((nowaits == 0 || again * 4 > nowaits))" "$stack: served at once"
	comment "$out"
	run_ok "$stack: io_uring, polled" timeout 20 fio --name=x --filename="/dev/mapper/${VD}a" --rw=randrw --direct=1 --bs=4k \
		--ioengine=io_uring --hipri=$(($(limit a io_poll) == 1)) --iodepth=8 --number_ios=300 --size=8m --verify=crc32c \
		--allow_file_create=0
	gone a
done

# A leaf that may sleep whatever it is told: what dm-linear says over it
sleepy=$(sectors "${disks[0]}")
dm flakey "0 $sleepy flakey ${disks[0]} 0 3600 0"
dm linear "0 8192 linear /dev/mapper/${VD}flakey 0"
vd a 8192 "block /dev/mapper/${VD}flakey"
nowait() { LC_ALL=C xfs_io -d -c 'pwrite -N -V 1 -b 4k 0 4k' "/dev/mapper/$VD$1" 2>&1 | sed 's/, [^,]*sec.*//; s/^\([0-9.]* KiB\).*/\1/'; }
is "$(nowait a)" "$(nowait linear)" 'a leaf without NOWAIT: as dm-linear'
comment "$(nowait linear)"
gone a linear flakey
done_testing
