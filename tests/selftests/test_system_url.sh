#!/bin/bash
# vdisk create of a URL under systemd: an instance of vdisk-fetchd@.service supplies it, and nothing of that is left by
# vdisk remove, nor by what fails. Restarted, killed, or stopped until the watchdog bites, it gets its file back from systemd:
# reads wait, and for the disk there was always a helper.
# kernels: 6.1 6.12 7.3
# check: 6.12
# timeout: 400
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/system.sh
. "$selftests/system.sh"

need CONFIG_OVERLAY_FS
load_vdisk
system_root
ok $? 'the product is installed'
mkdir -p "$root/img" "$root/etc/vdisk/fetchd"
head -c 2M /dev/urandom >"$root/img/image"
# What systemd reads in a file of environment has rules of its own.
# shellcheck disable=SC2016
hard='a$HOME"`b'\'''
cp "$root/img/image" "$root/img/$hard"
install -m 600 "$root/img/image" "$root/img/private"
echo 'URL=file:///img/image' >"$root/etc/vdisk/fetchd/own.conf"
cat >"$root/probe" <<'PROBE'
there() { dmsetup ls | sort; ls /etc/vdisk/fetchd; ls -A /run/vdisk/fetchd; ls /run/vdisk-*:*; systemctl list-units --all --plain --no-legend 'vdisk-fetchd@*'; }
nothing() { [[ $(there 2>/dev/null) == "$before" ]] && echo "$1: nothing stays" || echo "$1: $(there 2>&1)"; }
one() { "$@" 2>&1 | sed 's/^/says: /'; }
before=$(there 2>/dev/null)
echo '--- no user'
one vdisk create d --readonly file:///img/image
nothing 'no user'
echo 'vdisk-fetchd:x:991:991::/nonexistent:/bin/false' >>/etc/passwd
echo '--- made'
vdisk create d --readonly file:///img/image
dmsetup table d | cut -d ' ' -f 4-
systemctl is-active vdisk-fetchd@d.service
cmp /dev/mapper/d /img/image && echo same
readlink /run/vdisk/fetchd/d.conf
stat -Lc %a /run/vdisk/fetchd/d.conf
vdisk remove d && nothing remove
echo '--- json'
vdisk create d --readonly file:///img/image --json | tr -d ' \n' | grep -o '"helpers":[^]]*]'
echo '--- removed by dmsetup: the helper ends, and another disk of that name is made'
dmsetup remove d
while systemctl is-active --quiet vdisk-fetchd@d.service; do sleep 0.2; done
vdisk create d --readonly 'file:///img/a$HOME"`b'\''' >/dev/null
cmp /dev/mapper/d /img/image && echo same
vdisk remove d && nothing remove
echo '--- restarted, killed, and not heard of any more, under reads'
vdisk create d --readonly file:///img/image >/dev/null
pid() { systemctl show -P MainPID vdisk-fetchd@d.service; }
another() {
	local i now
	for ((i = 0; i < 1800; i++)); do
		now=$(pid)
		[[ $now != 0 && $now != "$old" && $(systemctl is-active vdisk-fetchd@d.service) == active ]] && break
		sleep 0.1
	done
	echo "$1: $(systemctl is-active vdisk-fetchd@d.service), $(systemctl show -P NFileDescriptorStore vdisk-fetchd@d.service) files," \
		"$(dmsetup status d | grep -oE " ($2)=[0-9]+" | xargs)"
}
until [[ -e /tmp/enough ]]; do
	dd if=/dev/mapper/d iflag=direct bs=64k status=none | cmp - /img/image || echo 'wrong bytes'
done &
old=$(pid)
systemctl restart vdisk-fetchd@d.service
another restarted 'helpers|failed|losses'
old=$(pid)
kill -KILL "$old"
another killed 'helpers|failed|losses'
old=$(pid)
kill -STOP "$old"
# Its helper_timeout: is as long as the watchdog waits: who is first is chance.
another stopped 'helpers|failed'
touch /tmp/enough
wait
vdisk remove d && nothing 'an instance that was restarted'
echo '--- explained'
vdisk create d --explain --readonly 'file:///img/a$HOME"`b'\''' >/tmp/explained
tail -n 1 /tmp/explained
sh -e /tmp/explained && timeout 60 cmp /dev/mapper/d /img/image && echo same
dmsetup remove d
while systemctl is-active --quiet vdisk-fetchd@d.service; do sleep 0.2; done
rm /etc/vdisk/fetchd/d.conf
nothing explained
echo '--- wrong'
one vdisk create d --readonly file:///img/private
nothing 'what the unit cannot read'
one vdisk create d --readonly 'file:///img/image uid:5'
nothing 'who is not allowed'
one vdisk create own --readonly file:///img/image
nothing 'a configuration that is another one'
PROBE
before=$(dmsetup ls | sort)
boot /probe
is "$(<"$TMP/said")" "--- no user
says: vdisk: there is no user vdisk-fetchd, and vdisk-fetchd@.service runs as that; make it: useradd --system vdisk-fetchd
no user: nothing stays
--- made
/dev/mapper/d: 4096 sectors (2 MiB)
blob d: file:///img/image, supplied by vdisk-fetchd@d.service
blob d len:4096 uid:991
active
same
/run/vdisk-d:d.conf
600
remove: nothing stays
--- json
\"helpers\":[{\"blob\":\"d\",\"url\":\"file:///img/image\",\"unit\":\"vdisk-fetchd@d.service\",\"pid\":null}]
--- removed by dmsetup: the helper ends, and another disk of that name is made
same
remove: nothing stays
--- restarted, killed, and not heard of any more, under reads
restarted: active, 1 files, helpers=1 failed=0 losses=0
killed: active, 1 files, helpers=1 failed=0 losses=0
stopped: active, 1 files, helpers=1 failed=0
an instance that was restarted: nothing stays
--- explained
OPTIONS=\"--once\"' | install -D -m 600 /dev/stdin '/etc/vdisk/fetchd/d.conf' && systemctl start vdisk-fetchd@d.service
same
explained: nothing stays
--- wrong
says: vdisk: vdisk-fetchd@d.service: does not start; journalctl -u vdisk-fetchd@d.service says why
what the unit cannot read: nothing stays
says: vdisk: vdisk-fetchd@d.service: has ended; journalctl -u vdisk-fetchd@d.service says why
who is not allowed: nothing stays
says: vdisk: /etc/vdisk/fetchd/own.conf: is there already: choose another name for the disk, or say blob NAME len:LENGTH
a configuration that is another one: nothing stays" 'what the host says'
is "$(dmsetup ls | sort)" "$before" 'nothing is left'
((failures == 0)) || comment "$(<"$TMP/said")" "$(<"$TMP/log")"
done_testing
