#!/bin/bash
# IMA: a load measures the target's name, version and stack, long ones as a digest.
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_IMA
[[ -e /sys/kernel/security/ima/policy ]] || { echo 'CONFIG_IMA: no policy can be loaded' && exit 4; }
load_vdisk
echo 'measure func=CRITICAL_DATA label=device-mapper template=ima-buf' >/sys/kernel/security/ima/policy 2>/dev/null ||
	{ echo 'CONFIG_IMA_WRITE_POLICY is not set, and a policy was loaded before' && exit 4; }
# The data of the last event of this name
measured() { awk -v name="$1" '$5 == name { data = $6 } END { print data }' \
	/sys/kernel/security/ima/ascii_runtime_measurements | perl -ne 'print pack "H*", $_'; }

vd a 2400 'striped chunk:8 label:x ( ram ) ( zero )'
data=$(measured dm_table_load)
[[ $data == *'target_name=vdisk,target_version='*',stack=striped chunk:8 label:x ( ram ) ( zero );'* ]]
ok $? 'a stack'
comment "$data"
# What is a separator there is escaped.
mkdir "$TMP/a,b=c"
truncate -s 1M "$TMP/a,b=c/d;e"
run_ok 'a file' vd f 2048 "file $TMP/a,b=c/d;e buffered"
data=$(measured dm_table_load)
[[ $data == *",stack=file $TMP/a\\,b\\=c/d\\;e buffered;"* ]]
ok $? 'separators in a stack'
comment "$data" "$(table f)"
gone f
# shellcheck disable=SC2046
long="concat $(printf "( concat ( block $(devno "/dev/mapper/${VD}a") len:8 label:a%03d ) ) " $(seq 1 60))"
dmsetup create "${VD}b" --notable
run_ok 'a long stack loads' dmsetup load "${VD}b" --table "0 480 vdisk $long"
digest=$(dmsetup table --inactive "${VD}b" | cut -d ' ' -f 4- | tr -d '\n' | sha256sum | cut -d ' ' -f 1)
data=$(measured dm_table_load)
[[ $data == *"stack_sha256=$digest;"* ]]
ok $? 'has its digest'
comment "${data: -200}" "$digest"
done_testing
