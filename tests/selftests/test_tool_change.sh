#!/bin/bash
# vdisk hydrate, detach-base and pr on a disk in use.
# check: 6.12 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"
need CONFIG_EXT4_FS
load_vdisk
loop_disk 64 512
make_fs ext4 "$DISK"
undo=("cd /" "${undo[@]}")
cd "$mnt" || exit
a=${VD}a b=${VD}b

# says STATUS PATTERN COMMAND...
says() {
	local status=0
	said=$("${@:3}" 2>&1) || status=$?
	# shellcheck disable=SC2053 # a pattern
	[[ $status == "$1" && $said == $2 ]]
	ok $? "$(printf '%q ' "${@:3}"): $2"
	# shellcheck disable=SC2053
	[[ $status == "$1" && $said == $2 ]] || comment "exits with $status and says" "$said"
}

head -c 4M /dev/urandom >base.img
cp base.img copy.img
says 0 '*' vdisk create "$a" --create 'overlay volatile label:top ( ram ) ( cache ( file c ) ( file base.img ) )'
says 0 '* off, 0 bytes of 4 MiB' vdisk hydrate "$a" status
says 1 '*the base is still needed*hydrate*start' vdisk detach-base "$a"
says 1 '*say start, stop or status' vdisk hydrate "$a" begin
says 1 '*--rate*is no size*' vdisk hydrate "$a" start --rate x
says 0 '* on, *' vdisk hydrate "$a" start --rate 8 --no-wait
says 0 '* off, *' vdisk hydrate "$a" stop
is "$(vdisk hydrate --json "$a" start --rate 1 --no-wait | jq -r '"\(.node) \(.state) \(.of)"')" 'cache on 8192' 'hydrate --json'
# Ctrl-C ends only the waiting.
vdisk hydrate "$a" start --rate 1 >said 2>&1 &
hydrate=$!
sleep 1
kill -INT $hydrate
wait $hydrate
is $? 0 'start, and Ctrl-C'
grep -q 'it goes on' said
ok $? 'it goes on'
says 0 '* on, *' vdisk hydrate "$a" status
says 0 '* done, 4 MiB of 4 MiB' vdisk hydrate "$a" start
exec 9<"/dev/mapper/$a"
says 0 '*overlay volatile*( zero )*' vdisk detach-base "$a"
exec 9<&-
says 1 '*detached already' vdisk detach-base "$a"
rm base.img
cmp "/dev/mapper/$a" copy.img
ok $? 'all is there without the base'
vdisk remove "$a"
says 1 '*nothing to hydrate' bash -c "vdisk create $a --len 1M ram >/dev/null; vdisk hydrate $a start"
says 1 "$a*no node has label or type 'pr'*" bash -c "vdisk pr $a read-keys 2>&1 | sed 's/^vdisk: //'; exit \${PIPESTATUS[0]}"
vdisk remove "$a"

# Reservations, two nexuses
says 0 '*' vdisk create "$a" "pr domain:d$$ nexus:a ( file copy.img shared )"
says 0 '*' vdisk create "$b" "pr domain:d$$ nexus:b ( file copy.img shared )"
says 0 '' vdisk pr "$a" register-ignore 0xa
says 0 '' vdisk pr "$a" reserve 0xa write-exclusive
says 2 '*reservation conflict*' vdisk pr "$b" reserve 0xb write-exclusive
says 0 '*key=0xa holder=1*' vdisk pr "$b" read-full-status
is "$(vdisk pr --json "$b" read-keys | jq -r '.answer[1]')" key=0xa 'pr --json'
says 1 '*' vdisk pr "$a" nonsense
vdisk remove "$a" "$b"
is "$(dmsetup ls | grep -c "$VD")" 0 'all are removed'
done_testing
