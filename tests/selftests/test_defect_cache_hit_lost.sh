#!/bin/bash
# What OpenVMM does wrong, D2: one read finds something in an upper layer, then a gap, then what a cache below has, and the cache's
# part never reaches the reader, who sees what was in his memory. Here: every pattern of hits and misses in three layers.
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 4 512
base=$DISK
a=/dev/mapper/${VD}a
put "$base" b 65536

# The case itself: the top has sector 0, the cache has sector 2
vd a 128 "overlay volatile ( ram ) ( cache volatile fill:1 read_ahead:0 ( ram ) ( block $base ) )"
dd if="$a" of=/dev/null bs=512 skip=2 count=1 iflag=direct status=none
dmsetup suspend "${VD}a" && dmsetup resume "${VD}a"
put "$a" 1 512
is "$(dd if="$a" bs=1536 count=1 iflag=direct status=none | fold -w 512 | cut -c 1 | tr -d '\n')" 1bb 'a hit behind a hit and a gap'
gone a

# Four sectors in a row, each absent, in the cache or in the top, in all 81 ways. The base changes afterwards, so what is read tells
# which of the three it was.
states=''
for a4 in n b t; do for a3 in n b t; do for a2 in n b t; do for a1 in n b t; do
	states+=$a1$a2$a3$a4
done; done; done; done
put "$base" b $((324 * 512))
vd a 324 "overlay volatile ( ram ) ( cache volatile fill:1 read_ahead:0 ( ram ) ( block $base ) )"
for ((i = 0; i < 324; i++)); do
	case ${states:i:1} in
	b) dd if="$a" of=/dev/null bs=512 skip=$i count=1 iflag=direct status=none ;;
	t) put "$a" t 512 seek=$i ;;
	esac
done
dmsetup suspend "${VD}a" && dmsetup resume "${VD}a"
put "$base" n $((324 * 512))
is "$(dd if="$a" bs=$((324 * 512)) count=1 iflag=direct status=none | fold -w 512 | cut -c 1 | tr -d '\n')" "$states" 'every pattern in one read'
gone a
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
