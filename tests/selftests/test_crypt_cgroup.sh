#!/bin/bash
# What goes through crypt is charged to the cgroup of who issued it, and is held to its io.max, in both directions.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

need CONFIG_BLK_CGROUP CONFIG_BLK_DEV_THROTTLING CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_CRYPT CONFIG_KEYS
load_vdisk
null_disk 8 512
key k 64
group=/sys/fs/cgroup/$VD a=/dev/mapper/${VD}a
mkdir "$group"
undo=("rmdir $group")
echo +io >/sys/fs/cgroup/cgroup.subtree_control
charged() { sed -n "s/^$(devno "$DISK") .*$1=\([0-9]*\).*/\1/p" "$group/io.stat"; }
# in_group COMMAND...: prints the milliseconds it took
in_group() {
	local start=${EPOCHREALTIME/./}
	# shellcheck disable=SC2016 # for the other shell
	sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$group" "$@" >/dev/null || return
	echo "$(((${EPOCHREALTIME/./} - start) / 1000))"
}
stem="crypt cipher:aes-xts-plain64 key:$KEY"

for stack in "$stem ( block $DISK )" "$stem sector_size:4096 ( test mode:work up ( block $DISK ) )" "test mode:work ( $stem ( block $DISK ) )" \
	"$stem ( $stem ( block $DISK ) )"; do
	vd a 8192 "$stack"
	for size in 4k 1M; do
		count=1
		[[ $size == 1M ]] || count=256
		wrote=$(charged wbytes) read=$(charged rbytes)
		in_group dd if=/dev/zero of="$a" bs="$size" count="$count" oflag=direct status=none >/dev/null
		wait_for 5 eval "[[ \$(charged wbytes) -ge $((${wrote:-0} + (1 << 20))) ]]"
		is "$(($(charged wbytes) - ${wrote:-0}))" "$((1 << 20))" "writes of $size: $stack"
		in_group dd of=/dev/null if="$a" bs="$size" count="$count" iflag=direct status=none >/dev/null
		wait_for 5 eval "[[ \$(charged rbytes) -ge $((${read:-0} + (1 << 20))) ]]"
		is "$(($(charged rbytes) - ${read:-0}))" "$((1 << 20))" "reads of $size: $stack"
	done
	gone a
done

# 3 MiB at 1 MiB/s, of which the first may be had at once
vd a 8192 "$stem ( block $DISK )"
for limit in wbps rbps; do
	words=(if=/dev/zero of="$a" oflag=direct)
	[[ $limit == wbps ]] || words=(of=/dev/null if="$a" iflag=direct)
	free=$(in_group dd bs=256k count=12 "${words[@]}" status=none)
	echo "$(devno "$DISK") $limit=1048576" >"$group/io.max"
	held=$(in_group dd bs=256k count=12 "${words[@]}" status=none)
	echo "$(devno "$DISK") $limit=max" >"$group/io.max"
	ok "$((held < 1500 || held < free))" "$limit holds ($held ms, and $free ms without it)"
done
done_testing
