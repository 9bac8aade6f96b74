#!/bin/bash
# vdisk by many at once: changes of a disk take turns, and a create that is stopped too late stays whole.
# kernels: 6.1 6.12 7.3
# check: 7.3
# timeout: 200
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
a=${VD}a b=${VD}b

# What there is of files, devices, keys: the same before and after
there() { ls -A; dmsetup ls | sort; grep -c 'logon *vdisk:' /proc/keys; ls /dev/mapper; }
nothing() { is "$(there)" "$before" "$1: nothing stays"; }

head -c 8M /dev/urandom >base.img
head -c 64 /dev/urandom >key64

# Stopped when it is live and somebody has it open: it cannot be undone any more, so it stays whole
if has_config CONFIG_DM_DELAY; then
	modprobe dm-delay
	before=$(there)
	loop_disk 16 512
	vdisk format "$DISK" --len 8M --max-len 8M >/dev/null
	dm slow "0 32768 delay $DISK 0 700"
	vdisk create "$a" "overlay ( block $(devno "/dev/mapper/${VD}slow") ) ( crypt cipher:aes-xts-plain64 keyfile:key64 ( file base.img ) )" >"$TMP/said" 2>&1 &
	create=$!
	wait_for 20 grep -q resume "/proc/$create/stack"
	exec 8<"/dev/$(dmsetup info -c --noheadings -o blkdevname "$a")"
	kill -INT $create
	wait $create
	is "$? $(grep -c "$a: was stopped too late: it is in use already" "$TMP/said") $(grep -c "logon *vdisk:$a" /proc/keys)" '1 1 1' \
		'stopped too late: its key stays'
	exec 8<&-
	run_ok 'and so does the disk' dd if="/dev/mapper/$a" of=/dev/null bs=4096 count=1 iflag=direct status=none
	vdisk remove "$a"
	gone slow
	nothing 'stopped too late'
else
	skip 'stopped too late' CONFIG_DM_DELAY
fi

# Ctrl-Z while the disk is suspended: not before it goes on. What it waits for is a read that a suspended device
# below keeps. A job of its own, or the kernel would not stop it at all.
loop_disk 16 512
dm low "0 32768 linear $DISK 0"
vdisk create "$a" --len 8M "block $(devno "/dev/mapper/${VD}low")" >/dev/null
dmsetup suspend --noflush --nolockfs "${VD}low"
dd if="/dev/mapper/$a" of=/dev/null bs=4096 count=1 iflag=direct status=none &
reads() { [[ $(<"/sys/block/$(dmsetup info -c --noheadings -o blkdevname "$a")/inflight") =~ ^\ *1\  ]]; }
wait_for 20 reads
set -m
vdisk grow "$a" 9M >"$TMP/said" 2>&1 &
grow=$!
set +m
wait_for 20 grep -q suspend "/proc/$grow/stack"
kill -TSTP $grow
dmsetup resume "${VD}low"
is_stopped() { grep -q '^State:.T' "/proc/$grow/status"; }
wait_for 20 is_stopped
ok $? 'Ctrl-Z stops it'
is "$(dmsetup info -c --noheadings -o suspended "$a") $(sectors "/dev/mapper/$a")" 'Active 18432' 'but not the disk'
kill -CONT $grow
wait $grow
is $? 0 'and then it ends'
vdisk remove "$a"
gone low

# Another disk that finds a store which is being made, at any moment, and uses it, keeps it; or does not get it.
before=$(there)
taken=0 lost=''
failcall 0 0 "$TMP/calls" vdisk create "$a" --create 'overlay ( file s ) ( file base.img )' >/dev/null
vdisk remove "$a"
rm s
for ((n = $(<"$TMP/calls"); n; n--)); do
	rm -f "$TMP/b"
	failcall "$n" "[ ! -e s ] || vdisk create $b 'overlay ( file s ) ( file base.img )' >'$TMP/b' 2>&1" "$TMP/report" \
		vdisk create "$a" --create 'overlay ( file s ) ( file base.img )' >"$TMP/said" 2>&1
	vdisk remove "$a" 2>/dev/null
	if [[ -b /dev/mapper/$b ]]; then
		taken=$((taken + 1))
		put "/dev/mapper/$b" w 512
		vdisk remove "$b"
		vdisk create "$b" 'overlay ( file s ) ( file base.img )' >/dev/null 2>&1
		[[ $(letter "/dev/mapper/$b" 0) == w ]] || lost+=" $n"
		grep -q 's: in use by another process.*; it was made just now, and stays' "$TMP/said" || lost+=" $n: unsaid"
		vdisk remove "$b" 2>/dev/null
	fi
	rm -f s
	# It was not there yet; or there were not as many calls this time.
	[[ -e $TMP/b || ! -s $TMP/report ]] || break
done
comment "of $(<"$TMP/calls") calls: $taken times, from call $n on"
is "$lost" '' 'a store that another disk uses stays'
ok $((taken < 3)) 'some did'
nothing 'a store that is taken'

# Changes take turns: none is lost, and what is removed is not what was made meanwhile
before=$(there)
lost=''
for i in {1..12}; do
	vdisk create "$a" --create 'overlay ( file s ) ( file base.img )' >/dev/null
	vdisk grow "$a" 9M >grown 2>&1 &
	grow=$!
	vdisk snapshot "$a" top >snapped 2>&1 || lost+=" snapshot"
	wait $grow || lost+=" grow"
	[[ $(sectors "/dev/mapper/$a") == 18432 && $(table a) == *'/top '*'/s '* ]] || lost+=" $i"
	vdisk remove "$a"
	rm s top
done
is "$lost" '' 'grow and snapshot at the same time: both are there'
rm grown snapped
lock=/run/vdisk-$a.lock
for command in "create $a --len 1M ram" "grow $a 2M" "snapshot $a top" "key $a wipe" "remove $a"; do
	exec 7>"$lock"
	flock 7
	# shellcheck disable=SC2086
	vdisk $command >"$TMP/said" 2>&1 7>&- &
	wait_for 20 grep -q "$a: another vdisk changes it; waiting" "$TMP/said"
	ok $? "${command%% *} waits for the lock"
	kill -INT $!
	wait $!
	is "$? $(dmsetup ls | grep -c "$a")" "1 $([[ $command == create* ]]; echo $?)" 'and Ctrl-C ends that'
	exec 7>&-
	[[ $command != create* ]] || vdisk create "$a" --len 1M ram >/dev/null
done
vdisk remove "/dev/mapper/$a"
nothing 'changes'
is "$(find /run -maxdepth 1 -name 'vdisk-*')" '' 'no lock is left'
done_testing
