#!/bin/bash
# libiscsi's tests of persistent reservations, against LIO's iSCSI target, over two LUNs on two devices of one domain: LIO
# passes the calls of all initiators of a LUN on to one device, so that each I_T nexus of the tests needs a LUN.
# kernels: 6.12 7.3
# check: 7.3
# timeout: 300
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_ISCSI_TARGET CONFIG_TCM_IBLOCK CONFIG_BLK_DEV_NULL_BLK
load_vdisk
modprobe -a target_core_mod target_core_iblock iscsi_target_mod
target=/sys/kernel/config/target
mkdir -p "$(<"$target/dbroot")/pr"
null_disk 8 512 cache_size=1
n=$(sectors "$DISK")
iqn=iqn.2026-01.org.example:vdisk
tpg=$target/iscsi/$iqn/tpgt_1
mkdir -p "$tpg/np/127.0.0.1:3260"
undo=("rmdir $tpg/np/127.0.0.1:3260" "rmdir $tpg" "rmdir $target/iscsi/$iqn" "rmdir $target/iscsi" "${undo[@]}")
# Whoever comes is let in, and may write.
for attribute in authentication=0 generate_node_acls=1 demo_mode_write_protect=0; do
	echo "${attribute#*=}" >"$tpg/attrib/${attribute%=*}"
done
for lun in 0 1; do
	vd "$lun" "$n" "pr domain:d nexus:$lun ( block $DISK )"
	dir=$target/core/iblock_$lun/$VD$lun
	mkdir -p "$dir" "$tpg/lun/lun_$lun"
	undo=("rm $tpg/lun/lun_$lun/disk" "rmdir $tpg/lun/lun_$lun" "rmdir $dir" "rmdir ${dir%/*}" "${undo[@]}")
	echo "udev_path=/dev/mapper/$VD$lun,readonly=0" >"$dir/control"
	echo 1 >"$dir/enable"
	echo 0 >"$dir/attrib/pgr_support" # LIO's word for: pass them on
	echo one-disk >"$dir/wwn/vpd_unit_serial" # two ways to one disk
	ln -s "$dir" "$tpg/lun/lun_$lun/disk"
done
echo 1 >"$tpg/enable"
undo=("echo 0 >$tpg/enable" "${undo[@]}")

url=iscsi://127.0.0.1/$iqn
for suite in Prin Prout; do
	# Its exit status says nothing.
	iscsi-test-cu --dataloss --Verbose-scsi --test="SCSI.$suite*" "$url/0" "$url/1"
done >"$TMP/out" 2>&1
verdicts=$(awk '/^Suite: /{ suite = $2 } /^  Test: /{ test = $2 } /^(passed|FAILED)/{ print suite "." test, substr($1, 1, 6) }' "$TMP/out")
passed=$(grep ' passed$' <<<"$verdicts" | cut -d ' ' -f 1 | xargs)
reserve='ProutReserve.Simple'
for test in Access Ownership; do
	for type in EA WE EARO WERO EAAR WEAR; do
		reserve+=" ProutReserve.$test$type"
	done
done
is "$passed" "PrinReadKeys.Simple PrinReadKeys.Truncate PrinReportCapabilities.Simple ProutRegister.Simple $reserve ProutClear.Simple ProutPreempt.RemoveRegistration" \
	'what passes'
# LIO's iblock has no READ FULL STATUS, and answers it, and what does not exist, with INVALID COMMAND OPERATION CODE, where
# libiscsi wants INVALID FIELD IN CDB, and takes it for a target without PERSISTENT RESERVE IN.
is "$(grep -v ' passed$' <<<"$verdicts")" 'PrinServiceactionRange.Range FAILED' 'what does not'
is "$(awk '/^Suite: /{ suite = $2 } /SKIPPED/ { print suite }' "$TMP/out" | sort -u)" 'PrinServiceactionRange' 'nothing else is skipped'
is "$(grep -c 'using multipath dev for second session' "$TMP/out")" 13 'the second nexus is the other LUN'
((!failures)) || comment "$(<"$TMP/out")"
is "$(dmsetup message "${VD}0" 0 pr read-keys)" "$(dmsetup message "${VD}1" 0 pr read-keys)" 'both LUNs have one state'
is "$(dmsetup message "${VD}0" 0 pr read-full-status | cut -d ' ' -f 2-)" 'type=none' 'nobody is left'
done_testing
