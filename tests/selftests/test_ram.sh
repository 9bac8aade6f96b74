#!/bin/bash
# ram: sparse, discards free, bounded by max; named memory outlives tables, unnamed goes from table to table.
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

load_vdisk
vd a 65536 ram
a=/dev/mapper/${VD}a
used() { counter "$1" ram 1 used; }
get() { dd if="$1" bs=4096 count=1 iflag=direct status=none | tr -d '\0' | cut -c 1-3; }

is "$(used a)" 0 'empty at first'
verified 'data' --zeroed -d 10 -z 10 -f 2 -w 20 -m 1024 --verify "$a"
run_ok 'discard all' blkdiscard "$a"
is "$(used a)" 0 'discard frees'
is "$(get "$a")" '' 'and zeroes'
put "$a" x 16384
is "$(used a)" 32 'takes what is written'
run_ok 'discard of parts of pages' blkdiscard -o 3584 -l 1024 "$a"
is "$(used a)" 32 'frees nothing'
run_ok 'write zeroes' blkdiscard -z -o 1024 -l 8192 "$a"
is "$(used a)" 24 'frees the whole pages'
is "$(dd if="$a" bs=512 count=20 iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | tr -d '\n')" \
	'xx................xx' 'and zeroes the rest'

# Reload
put "$a" abc 4096
run_ok 'reload, longer' reload a '0 131072 vdisk ram'
is "$(get "$a")" aaa 'unnamed: handed over'
scratch=a
refused "zero: drops the contents of the live table's ram '/ram'; say drop_volatile if that is meant" zero
refused "test: drops the contents of the live table's ram '/ram'; say drop_volatile if that is meant" 'test ( ram )'
refusals
dmsetup clear "${VD}a"
is "$(get "$a")" aaa 'still there'
run_ok 'drop_volatile' reload a '0 131072 vdisk test drop_volatile ( ram label:mine )'
is "$(get "$a")" '' 'dropped'
put "$a" def 4096
run_ok 'elsewhere in the stack, by its label' reload a '0 131072 vdisk concat ( ram label:mine )'
is "$(get "$a")" ddd 'handed over by label'
gone a
vd a 65536 'ram label:mine'
is "$(get "$a")" '' 'unnamed: gone with its device'
gone a

# Named
vd a 65536 "ram name:$VD"
put "$a" ghi 4096
vd b 65536 "test ( ram name:$VD )"
is "$(get "/dev/mapper/${VD}b")" ggg 'named: one memory, two devices'
gone a b
vd a 65536 "ram name:$VD"
is "$(get "$a")" ggg 'named: outlives its tables'
run_ok 'reload without it needs no drop_volatile' reload a '0 65536 vdisk zero'
run_ok 'and back' reload a "0 65536 vdisk ram name:$VD"
is "$(get "$a")" ggg 'still there'
run_ok 'forget' dmsetup message "${VD}a" 0 ram forget
is "$(get "$a")" ggg 'forget waits for its last table'
gone a
vd a 65536 "ram name:$VD"
is "$(get "$a")" '' 'then it is forgotten'
dmsetup message "${VD}a" 0 ram forget
gone a

# max
vd a 65536 "ram max:64 name:${VD}m"
run_ok 'max: up to it' dd if=/dev/zero of="$a" bs=4096 count=8 oflag=direct
is "$(LC_ALL=C dd if=/dev/zero of="$a" bs=4096 count=1 seek=8 oflag=direct 2>&1 | grep -o 'No space left on device')" \
	'No space left on device' 'max: beyond it'
is "$(counter a ram 1 errors)" 1 'is an error of the leaf'
run_ok 'max: what is there can be written again' dd if=/dev/zero of="$a" bs=4096 count=8 oflag=direct
run_ok 'max: reading takes nothing' dd if="$a" of=/dev/null bs=1M iflag=direct
run_ok 'max: room again' blkdiscard -l 4096 "$a"
run_ok 'max: is used' dd if=/dev/zero of="$a" bs=4096 count=1 seek=1000 oflag=direct
dmsetup message "${VD}a" 0 ram forget
gone a
vd a 65536 'ram max:64'
run_ok 'max: a reload may change it' reload a '0 65536 vdisk ram max:128'
run_ok 'max: then more fits' dd if=/dev/zero of="$a" bs=4096 count=16 oflag=direct
gone a
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
