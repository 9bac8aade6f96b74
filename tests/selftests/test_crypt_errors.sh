#!/bin/bash
# A status from below crypt comes up as it is, on reads and on writes; large writes, discards, REQ_NOWAIT.
# timeout: 600
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_CRYPT CONFIG_KEYS CONFIG_DM_FLAKEY
load_vdisk
null_disk 8 512 discard=1
key k 64
stem="crypt cipher:aes-xts-plain64 key:$KEY"
a=/dev/mapper/${VD}a

reads() { error dd if="$a" of=/dev/null bs="$1" count=1 iflag=direct; }
writes() { error dd if=/dev/zero of="$a" bs="$1" count=1 oflag=direct; }

vd medium 4096 'test mode:fail ( zero )'
dm io '0 4096 error'
vd full 4096 'ram max:8'
declare -A says=([medium]='No data available' [io]='Input/output error')
for leaf in medium io; do
	bad="block /dev/mapper/$VD$leaf"
	for stack in "$stem ( $bad )" "$stem sector_size:4096 ( $bad )" "test up ( $stem ( test up ( $bad ) ) )" "$stem ( $stem ( $bad ) )" \
		"striped chunk:8 ( $stem ( block $DISK ) ) ( $stem ( $bad ) )" "$stem ( striped chunk:8 ( block $DISK len:2048 ) ( $bad ) )"; do
		vd a 4096 "$stack"
		for size in 64k 1M; do
			is "$(reads "$size")" "${says[$leaf]}" "$leaf: read of $size, $stack"
			is "$(writes "$size")" "${says[$leaf]}" "$leaf: write of $size, $stack"
		done
		gone a
	done
done
vd a 4096 "$stem ( block /dev/mapper/${VD}full )"
is "$(writes 64k)" 'No space left on device' 'full: a write'
gone a full io medium

# Only the sectors that fail
dm flakey "0 2048 linear $DISK 0
2048 2048 error
4096 4096 linear $DISK 4096"
vd a 8192 "$stem ( block /dev/mapper/${VD}flakey )"
is "$(writes 4M)" 'Input/output error' 'one large write over good and bad sectors'
is "$(reads 4M)" 'Input/output error' 'one large read over good and bad sectors'
run_ok 'what is good is written' dd if=/dev/urandom of="$a" bs=1M count=1 oflag=direct status=none
run_ok 'what is good is read' dd if="$a" of=/dev/null bs=1M skip=2 iflag=direct status=none
is "$(error dd if="$a" of=/dev/null bs=4k skip=256 count=1 iflag=direct)" 'Input/output error' 'what is bad is not'
run_ok 'flakey: goes down' reload flakey "0 8192 flakey $DISK 0 0 1000 1 error_writes"
is "$(writes 64k)" 'Input/output error' 'flakey: writes fail'
run_ok 'flakey: reads do not' dd if="$a" of=/dev/null bs=64k count=1 iflag=direct status=none
run_ok 'flakey: comes back' reload flakey "0 8192 linear $DISK 0"
verified 'flakey: and then all is well' -n 200 -m 4096 --verify "$a"
gone a flakey

# A write is larger than what is encrypted at once, and comes in odd pieces.
crypt_vd a 8192 "block $DISK" 0
crypt_dm s 8192 "$DISK 0" 0
head -c 4M /dev/urandom >"$TMP/data"
for size in 4M 1M 1000K 132K 4608 512; do
	run_ok "writes of $size" dd if="$TMP/data" of="$a" bs="$size" oflag=direct status=none
	run_ok "writes of $size: dm-crypt reads them" cmp "$TMP/data" "/dev/mapper/${VD}s"
	blockdev --flushbufs "/dev/mapper/${VD}s"
	run_ok "reads of $size" cmp "$TMP/data" <(dd if="$a" bs="$size" iflag=direct status=none)
	head -c 4M /dev/urandom >"$TMP/data"
done

# Discards, as dm-crypt offers them. Write-zeroes: never, so that encrypted zeroes are written.
is "$(limit a discard_max_bytes)" 0 'no discards'
run_fails 'and none are taken' blkdiscard -f "$a"
is "$(limit a write_zeroes_max_bytes)" 0 'no write-zeroes'
run_ok 'the block layer writes zeroes' blkdiscard -z "$a"
run_ok 'which dm-crypt reads' cmp -n 4M /dev/zero "/dev/mapper/${VD}s"
ok "$(($(head -c 4M "$DISK" | tr -d '\0' | wc -c) < 4000000))" 'and which are not zeroes on the disk'
gone a s
crypt_vd a 8192 "block $DISK" 0 allow_discards
crypt_dm s 8192 "$DISK 0" 0 allow_discards
is "$(limit a discard_max_bytes)" "$(limit s discard_max_bytes)" 'allow_discards: as large as those of dm-crypt'
is "$(limit a discard_granularity)" "$(limit s discard_granularity)" 'allow_discards: the granularity'
is "$(limit a write_zeroes_max_bytes)" 0 'allow_discards: no write-zeroes'
run_ok 'a discard' blkdiscard -f "$a"
is "$(head -c 4M "$DISK" | tr -d '\0' | wc -c)" 0 'reaches the disk'
verified 'with discards' -n 200 -d 10 -z 5 -f 2 --discard-any --verify "$a"
gone a s
vd a 8192 "striped chunk:8 ( $stem allow_discards ( block $DISK ) ) ( $stem ( ram ) )"
is "$(limit a discard_max_bytes)" 0 'one child without discards takes them from all'
gone a

# REQ_NOWAIT
for stack in "$stem ( block $DISK )" "$stem ( ram )" "test mode:work ( $stem ( block $DISK ) )"; do
	vd a 8192 "$stack"
	out=$(vdio -n 300 -w 100 -m 64 --verify "$a" 2>&1)
	is $? 0 "$stack: RWF_NOWAIT: no error"
	read -r nowaits again <<<"$(sed -n 's/.* nowaits=\([0-9]*\) again=\([0-9]*\)/\1 \2/p' <<<"$out")"
	ok "$((nowaits == 0 || again * 4 > nowaits))" "$stack: served at once"
	comment "$out"
	run_ok "$stack: io_uring" timeout 60 fio --name=x --filename="$a" --rw=randrw --direct=1 --bsrange=4k-128k --ioengine=io_uring \
		--iodepth=16 --number_ios=300 --size=4m --verify=crc32c --allow_file_create=0
	gone a
done
done_testing
