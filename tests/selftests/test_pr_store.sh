#!/bin/bash
# What a store keeps: over removal, over a loss of power at every write, over errors; and which stores are refused.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_LOG_WRITES CONFIG_DM_FLAKEY
load_vdisk
null_disk 8 512 discard=1 cache_size=1
d=$DISK
null_disk 8 4096
s=$DISK
null_disk 16 512
log=$DISK
n=$(sectors "$d")
pr() { prioctl "/dev/mapper/$VD$1" "${@:2}"; }
message() { dmsetup message "$VD$1" 0 pr "${@:2}" 2>/dev/null; }
state() { message "$1" read-full-status | sed 's/ live=[01]//g'; }
on() { vd "$1" "$n" "pr domain:d nexus:$1 ( block $d ) ( block ${2:-$s} )"; }
# held: what is on its way to the store is held back
held() { [[ $(dmsetup message "${VD}a" 0 test held) == 1 ]]; }
# refused_resume NAME MESSAGE: what is loaded into device a does not go live
refused_resume() {
	echo "refused resume: $1" >/dev/kmsg
	! on a >/dev/null 2>&1
	ok $? "$1"
	is "$(dmesg | sed -n "/refused resume: $1\$/,\$s/.*device-mapper: vdisk pr: [0-9:]*: \(.*\) (-[0-9]*)\$/\1/p" | head -n 1)" "$2" "$1: it says why"
	gone a 2>/dev/null
}

on a && on b
ok $? 'a store of zeroes is a new one'
is "$(limit a logical_block_size)" 512 'its block size is not that of the disk'
is "$(message a register 0 0xa aptpl; pr b register 0 0xb; pr a reserve 0xa 3)" $'ok\nok' 'register, with APTPL, and reserve'
want=$(state a)
is "$want" 'generation=2 type=write-exclusive-reg-only nexus=a key=0xa holder=1 nexus=b key=0xb holder=0' 'the state'
gone a b
cmp <(dd if="$s" bs=32k count=1 status=none) <(dd if="$s" bs=32k skip=1 count=1 status=none)
ok $? 'both slots are equal'
on c
is "$(state c)" "$want" 'another nexus finds it'
is "$(prcheck 3 s "/dev/mapper/${VD}c")" ok 'and is shut out'
on a
is "$(pr c preempt 0xa 0xb 3) $(pr a preempt 0xa 0xb 3)" 'status 24 ok' 'calls go on'
want='generation=3 type=write-exclusive-reg-only nexus=a key=0xa holder=1'
is "$(state c)" "$want" 'with the next generation'
scratch
refused "pr: the domain's disks have another store, or other words for it" "pr domain:d nexus:x ( block $d ) ( block $s start:8 )"
refused "pr: the domain's disks have another store, or other words for it" "pr domain:d nexus:x ( block $d )"
refusals
gone scratch a c

# Slots that decayed, and other stores
spoil() { printf X | dd of="$s" bs=1 seek="$1" conv=notrunc,fsync status=none; }
for at in 130 $((32768 + 130)); do
	spoil "$at"
	on a
	is "$(state a)" "$want" "byte $at is bad: the other slot is taken"
	gone a
	cmp <(dd if="$s" bs=32k count=1 status=none) <(dd if="$s" bs=32k skip=1 count=1 status=none)
	ok $? "byte $at: both are good again"
done
dd if="$s" of="$TMP/good" bs=64k count=1 status=none
spoil 130
spoil $((32768 + 12))
refused_resume 'no good slot' 'no slot of the store is good; a new store is all zeroes'
dd if="$TMP/good" of="$s" conv=fsync status=none
vd a "$n" "pr domain:other nexus:a ( block $d ) ( block $s )" 2>/dev/null
ok "$((! $?))" "another domain's store"
gone a
dd if=/dev/zero of="$s" bs=64k count=1 conv=fsync status=none
printf X | dd of="$s" bs=1 seek=65535 conv=fsync status=none
refused_resume 'not a new store' 'no slot of the store is good; a new store is all zeroes'
dd if=/dev/zero of="$s" bs=64k count=1 conv=fsync status=none

# Writes that fail: the call fails, and nothing changes. Every store goes through any stack.
dm flakey "0 128 flakey $s 0 3600 0"
stack="concat ( delay write:100us ( block /dev/mapper/${VD}flakey ) )"
vd a "$n" "pr domain:d nexus:a ( block $d ) ( $stack )"
is "$(pr a register 0 0xa; pr a reserve 0xa 1)" $'ok\nok' 'through a stack'
want=$(state a)
reload flakey "0 128 flakey $s 0 0 3600 1 error_writes"
is "$(pr a register 0xa 0xaa) $(pr a release 0xa 1) $(pr a clear 0xa)" 'EIO EIO EIO' 'the store fails: EIO'
is "$(state a)" "$want" 'nothing changed'
is "$(pr a reserve 0xa 1)" ok 'what changes nothing needs no store'
reload flakey "0 128 linear $s 0"
is "$(pr a register 0xa 0xaa)" ok 'the store is back'
want=$(state a)
gone a
vd a "$n" "pr domain:d nexus:a ( block $d ) ( $stack )"
is "$(state a)" "$want" 'and has it'
gone a flakey

# A store that does not answer keeps nobody waiting who does not need it.
vd a "$n" "pr domain:d nexus:a ( block $d ) ( test mode:hold ( block $s ) )" &
resumes=$!
wait_for 20 held
! message a read-keys
ok $? 'not read yet: no answer'
while kill -0 "$resumes" 2>/dev/null; do
	dmsetup message "${VD}a" 0 test release
	sleep 0.1
done
wait "$resumes"
is $? 0 'the store answers'
dmsetup message "${VD}a" 0 test hold
vd b "$n" "pr domain:d nexus:b ( block $d ) ( test mode:hold ( block $s ) )"
pr a register-ignore 0xa >"$TMP/call" &
call=$!
wait_for 20 held
ok $? 'a call waits for the store'
run_ok 'status does not' timeout 5 dmsetup status "${VD}b"
run_ok 'nor what reads' timeout 5 dmsetup message "${VD}b" 0 pr read-full-status
run_ok 'nor a suspend of another device' timeout 5 dmsetup suspend "${VD}b"
run_ok 'nor its resume' timeout 5 dmsetup resume "${VD}b"
timeout 1 prioctl "/dev/mapper/${VD}b" register-ignore 0xb >/dev/null
is $? 124 'another call does, and can be killed'
while kill -0 "$call" 2>/dev/null; do
	dmsetup message "${VD}a" 0 test release
	sleep 0.1
done
is "$(<"$TMP/call")" ok 'the call goes on'
gone a b

# In a file: of a read-only table, and not another one of the same name
if modprobe -q ext4; then
	null_disk 32 512
	mkfs.ext4 -qF "$DISK"
	mkdir "$TMP/mnt"
	mount "$DISK" "$TMP/mnt"
	undo=("umount $TMP/mnt" "${undo[@]}")
	truncate -s 64k "$TMP/mnt/store" "$TMP/mnt/other"
	file="pr domain:f nexus:%s ( block $d ) ( file $TMP/mnt/store shared )"
	# shellcheck disable=SC2059
	dmsetup create "${VD}a" --readonly --table "0 $n vdisk $(printf "$file" a)"
	is "$(pr a register 0 0xa; message a read-keys)" $'ok\ngeneration=1 key=0xa' 'a file, a read-only table'
	mv "$TMP/mnt/other" "$TMP/mnt/store"
	scratch
	# shellcheck disable=SC2059
	refused "pr: the domain's disks have another store, or other words for it" "$(printf "$file" b)" "$n"
	refusals
	gone scratch a
fi

# Power is lost behind each of the writes, and in the middle of it: the state is the old one or the new one.
dd if=/dev/zero of="$s" bs=64k count=1 conv=fsync status=none
on a # writes the first, empty, state
gone a
dd if="$s" of="$TMP/begin" bs=64k count=1 status=none
dm log "0 128 log-writes $s $log"
vd a "$n" "pr domain:d nexus:a ( block $d ) ( block /dev/mapper/${VD}log )"
vd b "$n" "pr domain:d nexus:b ( block $d ) ( block /dev/mapper/${VD}log )"
states=("$(state a)")
for call in 'a register 0 0xa' 'b register 0 0xb' 'a reserve 0xa 2' 'b preempt 0xb 0xa 4' 'a register 0 0xc' 'b clear 0xb'; do
	# shellcheck disable=SC2086
	pr $call >/dev/null
	states+=("$(state a)")
done
gone a b log
writes=$(logwrites "$log" "$TMP/begin" "$TMP/cut")
is "$writes" 14 'two writes when it goes live, and two for each of 6 calls'
seen=0
for ((i = 0; i <= writes * 2; i++)); do
	dd if="$TMP/cut.$i" of="$s" conv=fsync status=none
	on a
	got=$(state a)
	gone a
	# Writes 1 and 2 make the slots good; behind 2 k + 2 writes the k-th call has returned.
	done=$((i / 2)) low=0
	((done < 4)) || low=$(((done - 2) / 2))
	high=$(((i + 1) / 2 > 2 ? ((i + 1) / 2 - 1) / 2 : 0))
	[[ $got == "${states[low]}" || $got == "${states[high]}" ]] || { comment "cut $i: $got" "low $low high $high" && break; }
	seen=$((seen + 1))
done
is "$seen" "$((writes * 2 + 1))" 'power lost: the old state or the new one'
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
