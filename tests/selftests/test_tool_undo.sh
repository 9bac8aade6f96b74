#!/bin/bash
# Each call of the kernel that vdisk create makes fails in turn: what comes of that is a disk that works; or an error in one line,
# with what to do about it, and nothing is left: no device, store, key, helper or other file. A run takes every eighth of them, from
# any on; `make soak` takes all. test_system_undo.sh runs it under systemd.
# VDISK_EVERY: another number
# kernels: 6.1 6.12 7.3
# check: 6.12
# timeout: 500
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_LOOP CONFIG_EXT4_FS
load_vdisk
[[ -d /run/systemd/system ]] && systemd=1 || systemd=''
[[ $systemd ]] || direct_tmp
declare -i every=${VDISK_EVERY:-8}
a=${VD}a
undo=("vdisk remove $a" "cd /" "${undo[@]}")
mkdir "$TMP/work"
cd "$TMP/work" || exit
head -c 64 /dev/urandom >key
head -c 1M /dev/urandom >plain
vdisk create "$a" --len 1M "crypt cipher:aes-xts-plain64 keyfile:key ( ram name:$a )" >/dev/null
dd if=plain of="/dev/mapper/$a" bs=64K oflag=direct status=none
vdisk remove "$a"
vdisk create "$a" --len 1M "ram name:$a" >/dev/null
dd if="/dev/mapper/$a" of=base bs=64K status=none
vdisk remove "$a"

there() {
	ls -A
	ls /dev/mapper /run /sys/block
	grep -c 'logon *vdisk:' /proc/keys
	pgrep -f "$helper"
	[[ ! $systemd ]] || { ls -A /run/vdisk/fetchd && systemctl list-units --all --plain --no-legend 'vdisk-fetchd@*'; }
}
gone() { [[ $(there) == "$before" ]]; }
no_helper() { ! pgrep -f "$helper" >/dev/null; }
helper='^[^ ]*vdisk-fetchd --name '

one_line=^'vdisk: '[^$'\n']+$
# What the kernel says of a node has its own words.
advice='; |\?|\(|overlay: |no absolute path'

# each NAME ERROR STACK: its calls fail so, one after the other
each() {
	local name=$1 error=$2 stack=$3 status said wrong=0
	local -i n=$((RANDOM % every)) tried=0 past=0 refused=0
	while ((past < 3)); do
		n+=every tried+=1
		status=0
		said=$(failcall $n "$error" "$TMP/report" vdisk create "$a" --create "$stack" 2>&1 >"$TMP/out") || status=$?
		[[ -s $TMP/report ]] && past=0 || past+=1
		if ((status == 0)); then
			timeout 20 cmp "/dev/mapper/$a" plain && vdisk remove "$a" && rm store && wait_for 10 no_helper && gone && continue
		elif [[ $status == 1 && $said =~ $one_line && $said =~ $advice ]] && gone; then
			refused+=1
			said=${said//$TMP}
			comment "$(<"$TMP/report"): ${said//$a/NAME}"
			continue
		fi
		wrong=1
		comment "call $n ($(<"$TMP/report")) of $name: exits with $status and says" "$said" "$(diff <(echo "$before") <(there))"
		vdisk remove "$a"
		keyctl purge -s logon "vdisk:$a"
		rm -f store
		wait_for 10 no_helper
	done >"$TMP/said" 2>&1
	ok "$wrong" "$name: $tried calls of $n fail with $error, $refused times for good"
	cat "$TMP/said"
	((refused))
	ok $? "$name: some are errors"
}

url="overlay ( file store ) ( crypt cipher:aes-xts-plain64 keyfile:key ( file://$PWD/base ) )"
if [[ $systemd ]]; then
	# Its user reads the image, and directories that all instances share stay.
	chmod 711 "$TMP"
	vdisk create "$a" --create "$url" >/dev/null
	vdisk remove "$a"
	rm store
fi
before=$(there)
[[ $systemd ]] || each 'a store and a key' 5 "overlay ( file store ) ( crypt cipher:aes-xts-plain64 keyfile:key ( file base ) )"
each 'a URL, too' 5 "$url"
done_testing
