#!/bin/bash
# RWF_NOWAIT works on every stack and is mostly served at once; polled I/O ends; io_uring sees both.
# check: 6.1 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_KPROBE_EVENTS
load_vdisk
key k 32
truncate -s 8M "$TMP/file"
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

# Who must not wait is not made to sleep on his way through the stack, served at once or not.
trace=/sys/kernel/tracing
[[ -d $trace/events ]] || mount -t tracefs nodev $trace
undo=("echo 0 >$trace/tracing_on; echo >$trace/set_event; echo >$trace/kprobe_events" "${undo[@]}")
# traced FUNCTION OPF COMMAND...: what of it begins and ends in the function, and what gives up the processor, in $TMP/trace
traced() {
	printf '%s\n' "p:vd/down $1 opf=$2:u32" "r:vd/up $1" >$trace/kprobe_events
	echo 0 >$trace/trace
	echo 1 | tee $trace/events/vd/enable $trace/events/sched/sched_switch/enable $trace/tracing_on >/dev/null
	"${@:3}" >/dev/null 2>&1
	echo 0 | tee $trace/tracing_on $trace/events/vd/enable $trace/events/sched/sched_switch/enable >/dev/null
	grep " ${3##*/}-" $trace/trace >"$TMP/trace"
}
# slept BIT: how often one was entered that has this bit, and how often such a one slept
slept() {
	awk -v bit="$1" '
		/ down: / && int(substr($NF, 5) / bit) % 2 { inside[$1] = 1; entered++ }
		/ up: / { inside[$1] = 0 }
		/ sched_switch: / && inside[$1] && !/prev_state=R/ { sleeps++ }
		END { print entered + 0, sleeps + 0 }' "$TMP/trace"
}
# shellcheck disable=SC2016 # the kernel's
map=(dm_vdisk:vdisk_map '+16($arg2)')	# bio->bi_opf
# shellcheck disable=SC2016
traced hrtimer_nanosleep '+0($stack)' sleep 0.01
sed -i 's/opf=.*/opf=1/' "$TMP/trace"
is "$(slept 1)" '1 1' 'a nap is seen'
vd a 8192 ram
traced "${map[@]}" xfs_io -d -c 'pwrite 0 4k' "/dev/mapper/${VD}a"
bit=$(sed -n 's/.* down: .*opf=//p' "$TMP/trace")
traced "${map[@]}" xfs_io -d -c 'pwrite -N -V 1 0 4k' "/dev/mapper/${VD}a"
bit=$(($(sed -n 's/.* down: .*opf=//p' "$TMP/trace") ^ bit))
comment "REQ_NOWAIT is $bit"
gone a
for stack in 'ram' "block ${disks[0]}" "striped chunk:4 $(children 2)" "crypt cipher:aes-xts-plain64 key:$KEY ( block ${disks[0]} )" \
	"overlay volatile copy_on_read ( ram ) ( block ${disks[0]} )" "overlay ( block ${disks[1]} ) ( block ${disks[0]} )" \
	"delay read:1ms ( file $TMP/file buffered )" "file $TMP/file buffered" "cache write_through volatile ( ram ) ( striped chunk:4 $(children 2) )" \
	"pr domain:d nexus:n ( concat $(children 2) )"; do
	[[ $stack != 'overlay ('* ]] || mkstore format "${disks[1]}" --len 8192 --force
	vd a 8192 "$stack"
	traced "${map[@]}" vdio -n 200 -w 100 -m 4 "/dev/mapper/${VD}a"
	read -r entered sleeps < <(slept "$bit")
	is "$((entered >= 100)) $sleeps" '1 0' "$stack: $entered times, and never asleep"
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
