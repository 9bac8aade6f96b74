#!/bin/bash
# A bio that a worker submits is charged to the cgroup of who wrote it.
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_CGROUP CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512
null_disk 8 512
group=/sys/fs/cgroup/$VD
mkdir "$group"
undo=("rmdir $group")
echo +io >/sys/fs/cgroup/cgroup.subtree_control
charged() { sed -n "s/^$(devno "$DISK") .*wbytes=\([0-9]*\).*/\1/p" "$group/io.stat"; }
for stack in "test mode:work ( block $DISK )" "test mode:timer period:1ms up ( block $DISK )" \
	"test mode:read piece:8 ( concat ( block $DISK ) )" \
	"striped chunk:8 ( test mode:work ( block $DISK ) ) ( test mode:work ( block ${disks[0]} ) )" \
	"concat ( test mode:work ( block $DISK len:4096 ) ) ( ram )"; do
	vd a 8192 "$stack"
	before=$(charged)
	sh -c "echo \$\$ >$group/cgroup.procs; exec dd if=/dev/zero of=/dev/mapper/${VD}a bs=64k count=8 oflag=direct status=none"
	size=524288
	[[ $stack != striped* ]] || size=262144
	wait_for 5 eval "[[ \$(charged) -ge $((${before:-0} + size)) ]]"
	is "$(($(charged) - ${before:-0}))" "$size" "$stack"
	gone a
done
done_testing
