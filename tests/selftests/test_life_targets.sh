#!/bin/bash
# Several vdisk targets, and others, in one table; messages by sector; unnamed memory belongs to its place.
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512 discard=1
lines() { printf '%s\n' '0 1000 vdisk ram' "1000 3000 linear $DISK 0" "4000 2400 vdisk test mode:$1 ( striped chunk:8 ( ram name:$VD ) ( block $DISK start:4000 ) )" '6400 1600 vdisk ram max:1600'; }
run_ok 'four targets' dm a "$(lines work)"
run_ok 'data' vdio -n 300 -m 512 -f 3 -d 5 --dump-model "$TMP/model" "/dev/mapper/${VD}a"
is "$(dmsetup table "${VD}a" | grep -c ' vdisk ')" 3 'all are in the table'
is "$(dmsetup message "${VD}a" 4000 test held)" 0 'a message by sector'
run_ok 'reload' reload a "$(lines read)"
verified 'the memory went with its place' --check-file "$TMP/model" "/dev/mapper/${VD}a"
run_fails 'another order would drop it' dmsetup load "${VD}a" --table "$(printf '%s\n' '0 6400 vdisk zero' '6400 1600 vdisk ram')"
dmsetup clear "${VD}a"
run_ok 'less of the device keeps the rest' reload a '0 1000 vdisk ram'
dmsetup message "${VD}a" 0 ram forget 2>/dev/null
gone a
vd a 100 "ram name:$VD"
run_ok 'forget' dmsetup message "${VD}a" 0 ram forget
gone a
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
