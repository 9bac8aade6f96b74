#!/bin/bash
# test_tool_undo.sh where systemd runs the helper of a URL: each call of the kernel that vdisk create makes fails in turn. A run
# takes every twentieth, from any on; `make soak` takes all.
# VDISK_EVERY: another number
# kernels: 6.12 7.3
# check: 7.3
# timeout: 400
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/system.sh
. "$selftests/system.sh"

need CONFIG_OVERLAY_FS
load_vdisk
system_root
ok $? 'the product is installed'
mkdir "$root/img"
echo 'vdisk-fetchd:x:991:991::/nonexistent:/bin/false' >>"$root/etc/passwd"
cat >"$root/probe" <<PROBE
export VDISK_BUILD=$VDISK_BUILD VDISK_CONFIG=$VDISK_CONFIG VDISK_EVERY=${VDISK_EVERY:-20} TMPDIR=/img
export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
exec "$selftests/test_tool_undo.sh"
PROBE
before=$(dmsetup ls | sort)
boot /probe "${VDISK_EVERY:+7}600"
sed 's/^/# /' "$TMP/said"
is "$(grep -c '^ok ' "$TMP/said") $(grep -c '^not ok ' "$TMP/said") $(tail -n 1 "$TMP/said")" '2 0 1..2' 'what it says under systemd'
is "$(dmsetup ls | sort)" "$before" 'nothing is left'
((failures == 0)) || comment "$(<"$TMP/log")"
done_testing
