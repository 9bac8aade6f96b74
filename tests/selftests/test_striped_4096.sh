#!/bin/bash
# striped and dm-stripe read each other's bytes, and look the same, over devices with blocks of 4096 bytes.
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
stripe_matrix 4096
done_testing
