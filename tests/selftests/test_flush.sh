#!/bin/bash
# A flush reaches each device once; a durable write (FUA) is durable where it was written.
# timeout: 600
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
tracing=/sys/kernel/tracing
mountpoint -q $tracing || mount -t tracefs tracefs $tracing
issue=$tracing/events/block/block_rq_issue

# How many flushes the devices had: field 16 of stat
flushes() {
	local disk
	for disk in "${disks[@]}"; do
		awk '{ printf "%d ", $16 }' "/sys/block/${disk##*/}/stat"
	done
}
# since BEFORE: flushes since then
since() { paste -d ' ' <(tr ' ' '\n' <<<"$1") <(flushes | tr ' ' '\n') | awk 'NF == 2 { printf "%d ", $2 - $1 }'; }
# leaves KEY: a counter of each
leaves() { for i in 1 2 3; do counter a block "$i" "$1"; done | tr '\n' ' '; }

# issued COMMAND...: flags and sectors of each write that the devices are given meanwhile
issued() {
	local devices
	devices=$(for i in "${disks[@]}"; do devno "$i" && echo; done | tr : , | paste -s -d '|')
	echo >$tracing/trace
	echo 1 >"$issue/enable"
	"$@"
	echo 0 >"$issue/enable"
	sed -nE "s/.*block_rq_issue: ($devices) ([A-Z]*W[A-Z]*) [0-9]+ \(\) [0-9]+ \+ ([0-9]+) .*/\2 \3/p" $tracing/trace
}
durable_write() { dd if=/dev/zero of="$a" bs=64k count=1 oflag=direct,dsync status=none; }

# durable: the file system's way, so a flush for all follows on the write. Where a device has FUA, the write arrives as one,
# whole; where it has not, it is flushed behind it.
durable() {
	local before written=() had=() i wrong=0
	before=$(flushes)
	read -ra written <<<"$(leaves writes)"
	if (($(limit a fua))); then
		if [[ ! -d $issue ]]; then
			skip "$stack: a durable write arrives as one" CONFIG_FTRACE
			return
		fi
		issued durable_write >"$TMP/issued"
		is "$(awk '$1 ~ /W.*F/ { nr += $2 } END { print nr }' "$TMP/issued")" 128 "$stack: a durable write arrives as one"
		comment "$(sort "$TMP/issued" | uniq -c)"
		is "$(since "$before")" '1 1 1 ' "$stack: and needs no flush"
		return
	fi
	durable_write
	read -ra had <<<"$(since "$before")"
	for i in "${!had[@]}"; do
		if (($(counter a block $((i + 1)) writes) > written[i])); then
			((had[i] > 1)) || wrong=1
		else
			((had[i] == 1)) || wrong=1
		fi
	done
	ok "$wrong" "$stack: a durable write is flushed where it went: ${had[*]}"
}

a=/dev/mapper/${VD}a
for kind in null loop; do
	disks=()
	for _ in 1 2 3; do
		if [[ $kind == null ]]; then null_disk 8 512 cache_size=1; else loop_disk 8 512; fi
	done
	is "$(for i in "${disks[@]}"; do cat "/sys/block/${i##*/}/queue/fua"; done | sort -u)" "$([[ $kind == null ]]; echo $((!$?)))" \
		"$kind disks: FUA"
	for stack in "striped chunk:8 $(children 3)" "concat $(children 3 len:1000)" "test ( striped chunk:8 $(children 3) )" \
		"test mode:work up ( concat $(children 3 len:1000) )" "test piece:1 ( striped chunk:8 $(children 3) )" \
		"striped chunk:8 $(children 3 | sed 's/( block [^)]*)/( test mode:work & )/g')" \
		"test piece:8 ( striped chunk:16 ( concat ( block ${disks[0]} ) ) ( concat ( test up ( block ${disks[1]} ) ) ) ( block ${disks[2]} ) )"; do
		vd a 2400 "$stack"
		is "$(limit a write_cache)" 'write back' "$stack: has a write cache"
		durable
		if [[ $kind == loop ]]; then
			gone a
			continue
		fi
		before=$(flushes)
		dd if=/dev/zero of="$a" bs=64k count=2 oflag=direct status=none
		is "$(since "$before")" '0 0 0 ' "$stack: writes flush nothing"
		dd if=/dev/zero of="$a" bs=64k count=1 oflag=direct conv=fsync status=none
		is "$(since "$before")" '1 1 1 ' "$stack: a flush reaches each device"
		is "$(leaves flushes)" '2 2 2 ' "$stack: and is counted"
		gone a
	done
done

# A device that is there twice is flushed once where the stack only remaps, as dm-linear would.
vd a 2400 "striped chunk:8 ( block ${disks[0]} ) ( block ${disks[0]} start:8000 ) ( block ${disks[1]} )"
before=$(flushes)
dd if=/dev/zero of="$a" bs=64k count=1 oflag=direct conv=fsync status=none
is "$(since "$before")" '1 1 0 ' 'a device that is there twice'
gone a

vd a 2400 'striped chunk:8 ( ram ) ( zero )'
run_ok 'memory: a flush is nothing' dd if=/dev/zero of="$a" bs=64k count=1 oflag=direct conv=fsync
done_testing
