#!/bin/bash
# Who may do what under each type of reservation, before and after everything that ends or moves it.
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 16 512 cache_size=4 discard=1
n=$(sectors "$DISK")
for nexus in a b c; do
	vd "$nexus" "$n" "pr domain:d nexus:$nexus ( block $DISK )"
done
a=/dev/mapper/${VD}a b=/dev/mapper/${VD}b c=/dev/mapper/${VD}c
pr() { prioctl "/dev/mapper/$VD$1" "${@:2}"; }

is "$(cat "$(queue a)/write_cache")" 'write back' 'flushes come through'
is "$(prcheck 0 s "$a" s "$b" s "$c")" ok 'no reservation'

# begin TYPE: a holds it, b is registered, c is not; all registrants of types 5 and 6 hold it
begin() {
	local nexus
	for nexus in a b c; do
		pr "$nexus" register-ignore 0x1 >/dev/null
	done
	pr a clear 0x1 >/dev/null
	is "$(pr a register 0 0xa; pr b register 0 0xb; pr a reserve 0xa "$1")" $'ok\nok\nok' "type $1: begins"
}

for type in 1 2 3 4 5 6; do
	((type < 5)) && all='' role=r victim=0xa || all=1 role=h victim=0
	begin "$type"
	is "$(prcheck "$type" h "$a" "$role" "$b" s "$c")" ok "type $type: before"
	is "$(pr b preempt 0xb "$victim" "$type")" ok "type $type: b preempts a"
	is "$(prcheck "$type" h "$b" s "$a" s "$c")" ok "type $type: after preempt"

	begin "$type"
	is "$(pr a release 0xa "$type")" ok "type $type: a releases"
	is "$(prcheck 0 r "$a" r "$b" s "$c")" ok "type $type: after release"

	begin "$type"
	is "$(pr b clear 0xb)" ok "type $type: b clears"
	is "$(prcheck 0 s "$a" s "$b" s "$c")" ok "type $type: after clear"

	begin "$type"
	is "$(pr a register 0xa 0)" ok "type $type: a unregisters"
	if [[ $all ]]; then
		is "$(prcheck "$type" s "$a" h "$b" s "$c")" ok "type $type: after unregister"
	else
		is "$(prcheck 0 s "$a" r "$b" s "$c")" ok "type $type: after unregister"
	fi

	# The holder dies: its reservation stays, until somebody preempts it; then it comes back, as a stranger.
	begin "$type"
	gone a
	is "$(prcheck "$type" "$role" "$b" s "$c")" ok "type $type: after the holder's death"
	is "$(pr b preempt 0xb "$victim" "$type")" ok "type $type: b preempts who is dead"
	is "$(prcheck "$type" h "$b" s "$c")" ok "type $type: then"
	vd a "$n" "pr domain:d nexus:a ( block $DISK )"
	is "$(prcheck "$type" h "$b" s "$a" s "$c")" ok "type $type: it comes back"
	is "$(pr b clear 0xb)" ok "type $type: ends"
done

# The holder dies and comes back before anybody notices.
is "$(pr a register 0 0xa; pr a reserve 0xa 2)" $'ok\nok' 'a holds it'
gone a
vd a "$n" "pr domain:d nexus:a ( block $DISK )"
is "$(prcheck 2 h "$a" s "$b" s "$c")" ok 'it comes back to what it held'
gone a b c
vd a "$n" "pr domain:d nexus:a ( block $DISK )"
is "$(prcheck 0 s "$a")" ok 'a domain goes with its last table'

# What is not cut goes straight to a device, what is cut does not. Each bio that was let in is counted out: or else
# preempt-and-abort would wait for it for ever.
vd b "$n" "pr domain:d nexus:b ( block $DISK )"
counted() {
	is "$(pr a register-ignore 0xa) $(pr b register-ignore 0xb)" 'ok ok' "$1: register"
	run_ok "$1: all are counted out" timeout 60 dmsetup message "${VD}b" 0 pr preempt-abort 0xb 0xa write-exclusive
	is "$(pr b clear 0xb)" ok "$1: clear"
}
half=$((n / 2))
for stack in "concat ( striped chunk:8 ( block $DISK len:$half ) ( block $DISK start:$half ) )" \
	"delay ( striped chunk:8 ( block $DISK len:$half ) ( block $DISK start:$half ) )"; do
	reload a "0 $n vdisk pr domain:d nexus:a ( $stack )"
	verified "${stack%% *}: a stripe" -n 400 -m 64 -z 4 -f 2 --verify "$a"
	counted "${stack%% *}"
done
dm err "0 $n error"
reload a "0 $n vdisk pr domain:d nexus:a ( block /dev/mapper/${VD}err )"
is "$(error dd if="$a" of=/dev/null bs=4k count=1 iflag=direct)" 'Input/output error' 'an error below'
is "$(counter a block 1 errors) $(counter a pr 1 conflicts)" '1 0' 'is counted'
counted 'an error below'
is "$(pr b register 0 0xb; pr b reserve 0xb 2)" $'ok\nok' 'a is shut out'
is "$(dd if="$a" bs=4k count=1 iflag=direct 2>&1 | grep -o 'Invalid exchange')" 'Invalid exchange' 'a conflict comes before an error below'
is "$(counter a block 1 errors) $(counter a pr 1 conflicts)" '1 1' 'and is counted'
gone a b err
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
