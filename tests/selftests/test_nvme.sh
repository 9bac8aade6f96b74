#!/bin/bash
# nvme: pinned by its identity, the wrong namespace is refused. The kernel believes no identity of QEMU's own NVMe (a quirk),
# so the namespaces come from the kernel's target, over null_blk and back through loop.
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_NVME_TARGET_LOOP CONFIG_BLK_DEV_NULL_BLK
load_vdisk
modprobe nvmet
modprobe nvme-loop
target=/sys/kernel/config/nvmet
port=$target/ports/1
mkdir "$port"
undo=("rmdir $port")
echo loop >"$port/addr_trtype"

# shellcheck disable=SC2317 # called at the end
disconnect() {
	local file
	for file in /sys/class/nvme-fabrics/ctl/nvme*/delete_controller; do
		echo 1 >"$file"
	done
}

# namespace NAME [NGUID]: another controller with one namespace, $node
namespace() {
	local nqn=$VD$1 dir
	dir=$target/subsystems/$nqn
	null_disk 8 512 discard=1
	mkdir "$dir" "$dir/namespaces/1"
	echo 1 >"$dir/attr_allow_any_host"
	echo "$DISK" >"$dir/namespaces/1/device_path"
	[[ ! ${2-} ]] || echo "$2" >"$dir/namespaces/1/device_nguid"
	[[ ! -e $dir/namespaces/1/resv_enable ]] || echo 1 >"$dir/namespaces/1/resv_enable"
	echo 1 >"$dir/namespaces/1/enable"
	ln -s "$dir" "$port/subsystems/$nqn"
	undo=("disconnect" "rm $port/subsystems/$nqn"
		"echo 0 >$dir/namespaces/1/enable" "rmdir $dir/namespaces/1" "rmdir $dir" "${undo[@]}")
	echo "transport=loop,nqn=$nqn" >/dev/nvme-fabrics
	wait_for 20 node_of "$nqn"
	node=$(node_of "$nqn")
}

# node_of NQN: its namespace's node
node_of() {
	local file dir
	for file in /sys/class/nvme/nvme*/subsysnqn; do
		[[ $(<"$file") == "$1" ]] || continue
		dir=${file%/*}
		for dir in /sys/block/"${dir##*/}"n*; do
			[[ ! -b /dev/${dir##*/} ]] || { echo "/dev/${dir##*/}" && return; }
		done
	done
	return 1
}

nguid=00112233445566778899aabbccddeeff
namespace a 00112233-4455-6677-8899-aabbccddeeff
a=$node
namespace b
b=$node
ok "$([[ -b $a && -b $b && $a != "$b" ]]; echo $?)" "two namespaces, $a and $b"
other=$(cat "/sys/block/${b##*/}/nguid" 2>/dev/null || echo none)
comment "nguid of $b: $other"
scratch
refused "nvme: nguid: the namespace has $nguid" "nvme $a nguid:00112233445566778899aabbccddeefe"
refused "striped/1/nvme: nguid: the namespace has $nguid" \
	"striped chunk:8 ( nvme $a ) ( nvme $a nguid:ff112233445566778899aabbccddeeff )"
refused 'nvme: eui: the namespace has none' "nvme $a eui:0011223344556677"
refused 'nvme: eui: the kernel tells it only of a namespace without nguid' "nvme $a eui:0011223344556677 nguid:$nguid"
refused "nvme: device: $(basename "$DISK") is no NVMe namespace" "nvme $DISK"
refused "nvme: device: $(basename "$DISK") is no NVMe namespace" "nvme $DISK nguid:$nguid"
refusals
run_fails 'another namespace does not load' dmsetup load "$VD$scratch" --table "0 8192 vdisk nvme $b nguid:$nguid"

run_ok 'the right one loads' vd a 16384 "nvme $a nguid:00112233-4455-6677-8899-AABBCCDDEEFF"
is "$(table a)" "nvme $(devno "$a") nguid:$nguid" 'TABLE'
verified 'data' -n 500 -d 4 -z 4 -f 2 --verify "/dev/mapper/${VD}a"
run_ok 'without identity' reload a "0 16384 vdisk nvme $b"
gone a scratch

# Reservations reach a namespace through a stack that is that namespace.
if [[ -e $target/subsystems/${VD}a/namespaces/1/resv_enable ]]; then
	held() { prioctl "$a" read-reservation | grep -o 'type.*'; }
	for stack in "nvme $a" "concat ( nvme $a )" "striped chunk:8 ( concat ( nvme $a nguid:$nguid ) )"; do
		vd r 16384 "$stack"
		r=/dev/mapper/${VD}r
		is "$(prioctl "$r" register 0 0x22)" ok "$stack: register"
		is "$(prioctl "$a" read-keys 8 | grep -o ':.*')" ': 0x22 ok' "$stack: reaches the namespace"
		is "$(prioctl "$r" reserve 0x22 2)" ok "$stack: reserve"
		is "$(held)" 'type 2 key 0x22 ok' "$stack: is held there"
		run_ok "$stack: the holder writes" dd if=/dev/zero of="$r" bs=4k count=1 oflag=direct
		is "$(prioctl "$r" release 0x22 2)" ok "$stack: release"
		is "$(held)" 'type 0 key 0x0 ok' "$stack: is not held any more"
		is "$(prioctl "$r" clear 0x22)" ok "$stack: clear"
		is "$(prioctl "$a" read-keys 8 | grep -o ':.*')" ': ok' "$stack: all gone"
		gone r
	done
	is "$(prioctl "$a" register 0 0x33)" ok 'the namespace has a key'
	for stack in "test ( nvme $a )" "concat ( test ( nvme $a ) )"; do
		vd r 16384 "$stack"
		for call in 'register 0 0x22' 'reserve 0x33 1' 'clear 0x33'; do
			# shellcheck disable=SC2086
			[[ $(prioctl "/dev/mapper/${VD}r" $call) == @(EOPNOTSUPP|ENOTTY) ]]
			ok $? "$stack: $call"
		done
		gone r
	done
	is "$(prioctl "$a" read-keys 8 | grep -o ':.*')" ': 0x33 ok' 'the key is untouched'
	prioctl "$a" clear 0x33 >/dev/null
else
	skip 'reservations reach a namespace' "CONFIG_NVME_TARGET without resv_enable"
fi
done_testing
