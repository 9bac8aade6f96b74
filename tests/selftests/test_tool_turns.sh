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
