#!/bin/bash
# The life of a pr: what loads and what does not, reload, suspend, messages, events, devices on top.
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512 discard=1 cache_size=1
d=$DISK
n=$(sectors "$d")
dev=$(devno "$d")
pr() { prioctl "/dev/mapper/$VD$1" "${@:2}"; }
message() { dmsetup message "$VD$1" 0 pr "${@:2}" 2>"$TMP/err"; }
# says DEVICE NAME ERRNO_TEXT MESSAGE_OF_KERNEL WORD...: a message that is refused
says() {
	local name=$2 want=$3
	echo "says: $name" >/dev/kmsg
	! message "$1" "${@:4}"
	ok $? "$name"
	is "$(dmesg | sed -n "/says: $name\$/,\$s/.*device-mapper: vdisk: [0-9:]*: //p" | tail -n 1)" "$want" "$name: it says why"
}

scratch
refused 'pr: domain: missing' "pr nexus:a ( block $d )"
refused 'pr: nexus: missing' "pr domain:d ( block $d )"
refused "pr: domain: '/x' is not 1 to 63 of A-Z a-z 0-9 . _ -" "pr domain:/x nexus:a ( block $d )"
refused 'concat/0/pr: can only be the root: no other node passes reservations on' "concat ( pr domain:d nexus:a ( block $d ) )"
refused 'pr/0/pr: can only be the root: no other node passes reservations on' "pr domain:d nexus:a ( pr domain:d nexus:b ( block $d ) )"
refused 'pr/1/ram: keeps nothing over a loss of power, so it is no store' "pr domain:d nexus:a ( block $d ) ( ram )"
refused 'pr/1/concat/0/zero: keeps nothing over a loss of power, so it is no store' "pr domain:d nexus:a ( block $d ) ( concat ( zero ) )"
refused 'pr/1/overlay: keeps nothing over a loss of power, so it is no store' \
	"pr domain:d nexus:a ( block $d ) ( overlay volatile ( block $d ) ( block $d ) )"
refused 'pr/1/block: has 64 sectors, 128 are asked of it' "pr domain:d nexus:a ( block $d ) ( block $d len:64 )"
refused "pr: has $n sectors, $((n + 8)) are asked of it" "pr domain:d nexus:a ( block $d )" "$((n + 8))"
vd a "$n" "pr domain:d nexus:a ( block $d )"
refused "pr: nexus: another device is 'a'" "pr domain:d nexus:a ( block $d )"
refused "pr: the domain has no store, as its other disks say" "pr domain:d nexus:b ( block $d ) ( block $d )"
refusals
printf '0 8 linear %s 0\n8 8 vdisk pr domain:x nexus:b ( block %s )\n' "$d" "$d" | dmsetup load "$VD$scratch" 2>/dev/null
ok "$((! $?))" 'not of a part of a disk'
gone scratch

is "$(table a)" "pr domain:d nexus:a ( block $dev )" 'TABLE'
is "$(counter a pr 1 generation registered type key holder conflicts preempted released)" '0 0 none 0x0 0 0 0 0' 'INFO of a new one'
is "$(find /sys/block /dev -name '*face*' | wc -l)" 0 'the face is nowhere to be seen'
vd b "$n" "pr nexus:b domain:d ( block $d )"

# Messages do all that calls do, and read.
message a register 0 0x11 && message b register-ignore 18446744073709551615 && message a reserve 17 write-exclusive-reg-only
ok $? 'messages: register, register-ignore, reserve'
is "$(message b read-keys)" 'generation=2 key=0x11 key=0xffffffffffffffff' 'read-keys'
is "$(message b read-reservation)" 'generation=2 type=write-exclusive-reg-only key=0x11' 'read-reservation'
is "$(message b read-full-status)" \
	'generation=2 type=write-exclusive-reg-only nexus=a key=0x11 holder=1 live=1 nexus=b key=0xffffffffffffffff holder=0 live=1' 'read-full-status'
is "$(counter b pr 1 generation registered type key holder)" '2 2 write-exclusive-reg-only 0xffffffffffffffff 0' 'INFO'
says b 'conflict' 'pr: reserve: reservation conflict' reserve 0xffffffffffffffff write-exclusive
is "$(<"$TMP/err" grep -c 'Invalid exchange')" 1 'conflict: EBADE'
says a 'other type' "pr: release: the reservation is of another type, or the victims' key is 0" release 0x11 write-exclusive
says a 'aptpl' 'pr: aptpl: without a store nothing is kept over a loss of power' register 0x11 0x12 aptpl
says a 'bad key' 'pr: +1: no key; keys are 0x<hex> or decimal' clear +1
says a 'key too long' 'pr: 18446744073709551616: no key; keys are 0x<hex> or decimal' clear 18446744073709551616
says a 'bad type' 'pr: exclusive: no type; types are write-exclusive or exclusive-access, then nothing, -reg-only or -all-regs' reserve 0x11 exclusive
says a 'words' 'pr: preempt: takes 3 words, not 2' preempt 0x11 0x12
says a 'unknown' 'pr: understands: register, register-ignore, reserve, release, preempt, preempt-abort, clear, drain, read-keys, read-reservation, read-full-status' read
events=$(dmsetup info -c --noheadings -o events "${VD}b")
message a release 0x11 write-exclusive-reg-only
is "$(counter b pr 1 released preempted) $(counter a pr 1 released)" '1 0 0' 'the other one is told of the release'
is "$(dmsetup info -c --noheadings -o events "${VD}b")" $((events + 1)) 'by an event'

# Calls
is "$(pr a reserve 0x11 7)" EINVAL 'no such type'
is "$(pr a reserve 0x11 0)" EINVAL 'no such type either'
is "$(pr a register 0x99 0x11)" 'status 24' 'register with a wrong key, for the key it has'
is "$(pr a reserve 0x11 1)" ok 'dm core did not unregister it'
is "$(pr a register 0x11 0; message a read-keys)" $'ok\ngeneration=3 key=0xffffffffffffffff' 'to unregister works as before'
is "$(pr a register 0x99 0x11; pr a register 0 0x11; pr a register 0x11 0)" $'status 24\nok\nok' 'also behind a call that failed'
pr a register 0 0x11 >"$TMP/out"
for i in 1 2 3; do
	pr a register-often "0x9$i" 0x11 3000 >"$TMP/often$i" &
done
wait
is "$(cat "$TMP"/often*) $(message a read-keys)" $'status 24\nstatus 24\nstatus 24 generation=6 key=0x11 key=0xffffffffffffffff' \
	'nor for calls that fail all at once'
pr a register 0x11 0 >"$TMP/out"
is "$(pr a preempt 0 0 1) $(pr a clear 0) $(pr a release 0 1) $(pr a reserve 0 1)" 'status 24 status 24 status 24 status 24' 'key 0 is no key'
is "$(pr a sgio)" ENOTTY 'SG_IO'
is "$(pr a register-ignore 0x11; pr a reserve 0x11 1)" $'ok\nok' 'again'
case $VDISK_KERNEL in
6.*) is "$(pr a read-keys 8) $(pr a read-reservation)" 'ENOTTY ENOTTY' 'this kernel has no ioctls to read' ;;
*)
	is "$(pr a read-keys 8)" 'generation 8 of 2: 0x11 0xffffffffffffffff ok' 'IOC_PR_READ_KEYS'
	is "$(pr a read-keys 1)" 'generation 8 of 2: 0x11 ok' 'with little room'
	is "$(pr a read-reservation)" 'generation 8 type 1 key 0x11 ok' 'IOC_PR_READ_RESERVATION'
	;;
esac

# The tool of util-linux, and the C library that it is for
lib=$VDISK_TOOLS/blkpr/usr/lib/x86_64-linux-gnu
tool() {
	"$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$VDISK_TOOLS/blkpr/usr/sbin/blkpr" --command "$@" "/dev/mapper/${VD}t" \
		>/dev/null 2>&1
}
vd t "$n" "pr domain:t nexus:t ( block $d )"
tool register --key 1 && tool reserve --key 1 --type write-exclusive-all-regs
is "$(message t read-reservation)" 'generation=1 type=write-exclusive-all-regs key=0x0' 'blkpr: register, reserve'
! tool reserve --key 2 --type write-exclusive
ok $? 'blkpr: conflict'
tool preempt --oldkey 1 --key 0 --type exclusive-access
is "$(message t read-reservation)" 'generation=2 type=exclusive-access key=0x1' 'blkpr: preempt'
tool release --key 1 --type exclusive-access && tool register --key 3 --flag ignore-key && tool clear --key 3
is "$(message t read-full-status)" 'generation=4 type=none' 'blkpr: release, register and ignore, clear'
gone t

# On top: dm-linear passes calls on, two targets do not.
dm top "0 $n linear /dev/mapper/${VD}b 0"
is "$(pr top register 0xffffffffffffffff 0xb)" ok 'through dm-linear'
is "$(prcheck 1 r "/dev/mapper/${VD}top")" ok 'conflicts come up through dm-linear'
gone top

# Events
events=$(dmsetup info -c --noheadings -o events "${VD}b")
dmsetup wait "${VD}b" "$events" &
waiter=$!
is "$(pr a preempt 0x11 0xb 1)" ok 'a preempts b'
wait_for 10 eval "! kill -0 $waiter"
ok $? 'b gets an event'
is "$(counter b pr 1 preempted key)" '1 0x0' 'and a count'
pr b register 0 0xb >/dev/null
events=$(dmsetup info -c --noheadings -o events "${VD}b")
dmsetup suspend "${VD}b"
is "$(pr a preempt 0x11 0xb 1)" ok 'a preempts b, which is suspended'
dmsetup resume "${VD}b"
is "$(dmsetup info -c --noheadings -o events "${VD}b")" $((events + 1)) 'b gets the event when it is resumed'

# Reload and suspend
pr b register 0 0xb >/dev/null
events=$(dmsetup info -c --noheadings -o events "${VD}a")
reload a "0 $n vdisk pr domain:d nexus:a ( test ( block $d ) )"
is "$(message a read-full-status)" 'generation=13 type=write-exclusive nexus=a key=0x11 holder=1 live=1 nexus=b key=0xb holder=0 live=1' \
	'a reload keeps all'
is "$(prcheck 1 h "/dev/mapper/${VD}a" r "/dev/mapper/${VD}b")" ok 'and what is allowed'
dmsetup suspend "${VD}a"
is "$(pr a reserve 0x11 1) $(pr a clear 0x11) $(pr a register 0x11 0)" 'EAGAIN EAGAIN EAGAIN' 'suspended: EAGAIN'
says a 'suspended' 'pr: clear: the device is suspended' clear 0x11
is "$(message a read-keys)" 'generation=13 key=0x11 key=0xb' 'suspended: reading is fine'
dmsetup resume "${VD}a"
reload a "0 $n vdisk pr domain:d nexus:c ( block $d )"
is "$(message b read-full-status)" 'generation=13 type=write-exclusive nexus=a key=0x11 holder=1 live=0 nexus=b key=0xb holder=0 live=1' \
	'a reload to another nexus leaves the old one without a device'
is "$(prcheck 1 s "/dev/mapper/${VD}a" r "/dev/mapper/${VD}b")" ok 'the new one is a stranger'
reload a "0 $n vdisk pr domain:e nexus:a ( block $d )"
is "$(prcheck 0 s "/dev/mapper/${VD}a") $(pr a register 0 1)" 'ok ok' 'another domain'
vd c "$n" "pr domain:d nexus:a ( block $d )"
is "$(prcheck 1 h "/dev/mapper/${VD}c")" ok 'another device becomes the nexus that nobody is'
gone c
is "$(pr b preempt 0xb 0x11 5)" ok 'preempt a nexus without a device'
is "$(message b read-full-status)" 'generation=14 type=write-exclusive-all-regs nexus=b key=0xb holder=1 live=1' 'it is gone'
gone a b

# In any order, under load
name=(a b c)
for order in '0 1 2' '2 1 0' '1 0 2'; do
	for i in 0 1 2; do
		vd "${name[i]}" "$n" "pr domain:d nexus:${name[i]} ( block $d )"
		pr "${name[i]}" register 0 "$((i + 1))" >/dev/null
		while [[ ! -e $TMP/enough ]]; do
			dd if=/dev/zero of="/dev/mapper/$VD${name[i]}" bs=16k count=500 oflag=direct status=none
		done 2>/dev/null &
	done
	pr a reserve 1 5 >/dev/null
	for i in {1..10}; do
		pr a preempt 1 "$((i % 2 + 2))" 5 >/dev/null
		pr b register-ignore 2 >/dev/null
		pr c register-ignore 3 >/dev/null
	done
	touch "$TMP/enough"
	wait
	rm "$TMP/enough"
	for i in $order; do
		gone "${name[i]}"
	done
done
ok $? 'removal in any order'
is "$(dmesg | grep -cE 'vdisk.*(WARNING|BUG)')" 0 'no complaint'
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
