#!/bin/bash
# What is in use stays: removing under load, unloading the module, and what is left when all is gone.
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

load_vdisk
vd a 65536 'ram'
run_fails 'rmmod with a table is refused' rmmod dm_vdisk
vdio -s 9999 /dev/mapper/"${VD}a" >"$TMP/out" 2>&1 &
pid=$!
wait_for 10 sh -c "dmsetup status ${VD}a | grep -q 'writes=[1-9]'"
run_fails 'remove under load is refused' dmsetup remove "${VD}a"
kill "$pid"
wait "$pid"
is $? 0 'the I/O did not notice'

dmsetup create "${VD}b" --notable
dmsetup load "${VD}b" --table '0 2048 vdisk zero'
gone a
run_fails 'rmmod with an inactive table is refused' rmmod dm_vdisk
run_ok 'the inactive table is cleared' dmsetup clear "${VD}b"
run_ok 'rmmod then works' rmmod dm_vdisk
run_ok 'and the module loads again' load_vdisk
dmsetup load "${VD}b" --table '0 2048 vdisk zero'
run_ok 'the same device takes a table again' dmsetup resume "${VD}b"
done_testing
