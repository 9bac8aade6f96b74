#!/bin/bash
# Who may do what under each type of reservation, before and after everything that ends or moves it.
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
done_testing
