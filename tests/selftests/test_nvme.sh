#!/bin/bash
# nvme: pinned by its identity, the wrong namespace is refused.
# vm: --nvme 32M,eui64=0x0011223344556677 --nvme 32M --nvme 32M,lbs=4096 --nvme 32M,lbs=4096
# timeout: 300
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NVME CONFIG_BLK_DEV_NULL_BLK
load_vdisk
scratch
n0=/dev/nvme0n1 n1=/dev/nvme1n1
null_disk 4 512
refused 'nvme: eui: the namespace has 0011223344556677' "nvme $n0 eui:0011223344556678"
refused 'nvme: nguid: the namespace has none' "nvme $n0 nguid:00112233445566770011223344556677"
refused 'nvme: eui: the namespace has none' "nvme $n1 eui:0011223344556677"
refused 'striped/1/nvme: eui: the namespace has none' "striped chunk:8 ( nvme $n0 ) ( nvme $n1 eui:0011223344556677 )"
refused 'nvme: eui: the kernel tells it only of a namespace without nguid' \
	"nvme $n0 eui:0011223344556677 nguid:00112233445566770011223344556677"
refused "nvme: device: $(basename "$DISK") is no NVMe namespace" "nvme $DISK"
refused "nvme: device: $(basename "$DISK") is no NVMe namespace" "nvme $DISK eui:0011223344556677"
refusals

run_ok 'the right one loads' vd a 65536 "nvme $n0 eui:00-11-22-33-44-55-66-77"
is "$(table a)" "nvme $(devno "$n0") eui:0011223344556677" 'TABLE'
verified 'data' -n 500 -d 4 -z 4 -f 2 --verify "/dev/mapper/${VD}a"
run_ok 'without identity' reload a "0 65536 vdisk nvme $n1"
done_testing
