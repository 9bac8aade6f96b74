#!/bin/bash
# nvme: pinned by its EUI-64, the wrong namespace is refused. The kernel does not believe the identity of QEMU's NVMe (a
# quirk), unless it is told that this is an NVMe like any other.
# vm: --nvme 32M,eui64=0x0011223344556677 --nvme 32M
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NVME
load_vdisk
driver=/sys/bus/pci/drivers/nvme
for dir in "$driver"/0*; do
	echo "${dir##*/}" >"$driver/unbind"
done
echo '1b36 0010 ffffffff ffffffff 0 0 0' >"$driver/new_id"
# namespace HAS: the node of the one that has an EUI-64, or of the other one
namespace() {
	local dir has
	for dir in /sys/block/nvme*; do
		has=''
		[[ $(cat "$dir/eui" 2>/dev/null) != '00 11 22 33 44 55 66 77' ]] || has=1
		[[ $has != "$1" || ! -b /dev/${dir##*/} ]] || { echo "/dev/${dir##*/}" && return; }
	done
	return 1
}
wait_for 20 namespace 1 && wait_for 20 namespace ''
ok $? 'two namespaces'
a=$(namespace 1) b=$(namespace '')
n=$(sectors "$a")
scratch
if [[ $VDISK_KERNEL == 6.1 ]]; then
	# Its driver knows no such call, so what is pinned is refused, whatever it is.
	refused "nvme: eui: this kernel's driver does not tell it" "nvme $a eui:0011223344556677"
	refused "nvme: nguid: this kernel's driver does not tell it" "nvme $a nguid:00112233445566770011223344556677"
	refused "nvme: start: the device has $n sectors" "nvme $a start:$n"
	refused "nvme: has $n sectors, $((n + 1)) are asked of it" "nvme $a" $((n + 1))
	refusals
	vd a "$n" "nvme $a"
	verified 'data, of what is not pinned' -n 300 -d 4 -z 4 -f 2 --verify "/dev/mapper/${VD}a"
	gone a
	done_testing
fi
refused 'nvme: eui: the namespace has 0011223344556677' "nvme $a eui:0011223344556676"
refused 'concat/1/nvme: eui: the namespace has 0011223344556677' "concat ( nvme $a ) ( nvme $a eui:7766554433221100 )"
refused 'nvme: eui: the namespace has none' "nvme $b eui:0011223344556677"
refused 'nvme: nguid: the namespace has none' "nvme $a nguid:00112233445566770011223344556677"
refused 'nvme: eui: the kernel tells it only of a namespace without nguid' \
	"nvme $a eui:0011223344556677 nguid:00112233445566770011223344556677"
# Lengths, as those of block
refused "nvme: start: the device has $n sectors" "nvme $a start:$n"
refused "nvme: len: the device has $n sectors, $((n - 8)) from start on" "nvme $a start:8 len:$((n - 7))"
refused "nvme: has $n sectors, $((n + 1)) are asked of it" "nvme $a" $((n + 1))
refused 'nvme: has 100 sectors, 101 are asked of it' "nvme $a len:100 eui:0011223344556677" 101
refusals

run_ok 'the right one loads' vd a "$n" "nvme $a eui:00-11-22-33-44-55-66-77"
is "$(table a)" "nvme $(devno "$a") eui:0011223344556677" 'TABLE'
run_ok 'what TABLE says loads' reload a "0 $n vdisk $(table a)"
verified 'data' -n 300 -d 4 -z 4 -f 2 --verify "/dev/mapper/${VD}a"
run_fails 'not if it is another namespace' dmsetup load "${VD}a" --table "0 $n vdisk nvme $b eui:0011223344556677"
gone a
done_testing
