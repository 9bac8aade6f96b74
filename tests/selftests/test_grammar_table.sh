#!/bin/bash
# TABLE is canonical: what it prints loads again and prints the same. Words may be escaped as dm does it.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
export LC_ALL=C # half characters are fine
load_vdisk
null_disk 8 512
dev=$(devno "$DISK")
inactive() { dmsetup table --inactive "$VD$scratch" | cut -d ' ' -f 4-; }
scratch

# prints NAME STACK CANONICAL [SECTORS]
prints() {
	local again
	run_ok "$1: loads" dmraw load "$VD$scratch" "${4:-2400}" "$2"
	again=$(inactive)
	is "$again" "$3" "$1: what it prints"
	dmsetup load "$VD$scratch" --table "0 ${4:-2400} vdisk $again"
	is "$(inactive)" "$3" "$1: and again"
}

prints 'a path' "block $DISK" "block $dev"
prints 'a number' "block $dev start:8" "block $dev start:8"
prints 'options in any order' "block $DISK label:x len:4000 start:0" "block $dev start:0 len:4000 label:x"
prints 'white space' $'  striped  \t chunk:008   (   ram  )  (\tzero ) ' 'striped chunk:8 ( ram ) ( zero )'
prints 'times' 'test up piece:16 mode:timer period:2s ( zero )' 'test mode:timer period:2000000us piece:16 up ( zero )'
prints 'ms' 'test period:3ms ( zero )' 'test period:3000us ( zero )'
prints 'latencies' 'delay seed:01 discard:3600s write:0 flush:0/1ms@0.5 read:200us/2ms@99/20ms@99.900 ( zero )' \
	'delay read:200us/2000us@99/20000us@99.9 write:0us flush:0us/1000us@0.5 discard:3600000000us seed:1 ( zero )'
longest=$(printf '/3600000000us@99.99%d' {1..7})
prints 'the longest latency' "delay read:3600s$longest ( zero )" "delay read:3600000000us$longest ( zero )"
prints 'names' 'ram max:100 name:a.B_c-9' 'ram name:a.B_c-9 max:100'
prints 'escaped words' '\s\triped chunk\:8 \( \zero \)' 'striped chunk:8 ( zero )'
prints 'drop_volatile says something about the load only' 'zero drop_volatile' 'zero'
prints 'nesting' 'concat ( concat ( striped chunk:8 ( block '"$DISK"' len:1200 label:l ) ( ram ) ) ) ( test ( concat ( zero ) ) )' \
	"concat ( concat ( striped chunk:8 ( block $dev len:1200 label:l ) ( ram ) ) ) ( test ( concat ( zero ) ) )"
# shellcheck disable=SC2046
deep=$(printf 'concat ( %.0s' $(seq 15))zero$(printf ' )%.0s' $(seq 15))
prints '16 nodes deep' "$deep" "$deep"
# shellcheck disable=SC2046
wide="striped chunk:1 $(printf '( zero ) %.0s' $(seq 128))"
prints '128 children' "$wide" "${wide% }" 2432

# libdevmapper doubles every backslash, so an escape reaches the kernel only by an ioctl of one's own.
# Paths with every byte that ends a word; 0xA0 does, too, and is the second byte of "à".
for name in 'a b' $'a\tb' $'a\nb' 'a\b' $'\xc3\xa0' 'a(b' 'a'; do
	ln -s "$DISK" "$TMP/$name"
	escaped=$(printf '%s' "$TMP/$name" | sed -z 's/[ \t\n\\\xa0]/\\&/g'; echo x)
	dmraw load "$VD$scratch" 2400 "block ${escaped%x}"
	ok $? "the path $(printf %q "$name") loads"
	is "$(inactive)" "block $dev" "the path $(printf %q "$name") opens the device"
	rm "$TMP/$name"
done
mknod "$TMP/x y" b "${dev%:*}" "${dev#*:}"
run_ok 'mknod: a path with a space loads' dmraw load "$VD$scratch" 8 "block $TMP/x\\ y"
run_fails 'without its escape it does not' dmraw load "$VD$scratch" 8 "block $TMP/x y"
done_testing
