#!/bin/bash
# vdisk hydrate, detach-base, merge and pr on a disk in use.
# check: 7.3
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
is "$(counter a cache 1 priority)" idle 'behind all other'
says 0 '* on, *' vdisk hydrate "$a" start --rate 8 --no-wait --priority normal
is "$(counter a cache 1 priority)" normal '--priority'
says 1 '*--priority*say idle or normal' vdisk hydrate "$a" start --priority high
says 0 '* off, *' vdisk hydrate "$a" stop
is "$(vdisk hydrate --json "$a" start --rate 1 --no-wait | jq -r '"\(.node) \(.state) \(.of)"')" 'cache on 8192' 'hydrate --json'
# Ctrl-C ends only the waiting.
vdisk hydrate "$a" start --rate 1 >said 2>&1 &
hydrate=$!
sleep 1
kill -INT $hydrate
wait $hydrate
is $? 1 'start, and Ctrl-C: not done'
grep -q 'it goes on' said
ok $? 'it goes on'
says 0 '* on, *' vdisk hydrate "$a" status
script -qec "vdisk hydrate $a start --rate 1M" said >/dev/null
grep -qaE 'hydrate \[#+ *\] +[0-9]+ %, .*/s, [0-9]+ s left' said
ok $? 'hydrate: how far it is, on a terminal'
says 0 '* done, 4 MiB of 4 MiB' vdisk hydrate "$a" start
exec 9<"/dev/mapper/$a"
# vdisktab would make the disk that was
export VDISKTAB=$mnt/tab
printf '%s\n' '# disks' "$b - zero" "$a create overlay volatile label:top ( ram ) ( cache ( file $mnt/c ) ( file $mnt/base.img ) )" >tab
says 0 "*$mnt/tab:3 still has the disk as it was*Put there:"$'\n'"$a create overlay volatile label:top ( ram ) ( cache ( file $mnt/c ) ( zero ) )"$'\n*' \
	vdisk detach-base "$a"
exec 9<&-
says 1 '*detached already' vdisk detach-base "$a"
rm base.img
cmp "/dev/mapper/$a" copy.img
ok $? 'all is there without the base'
vdisk remove "$a"
says 1 '*nothing to hydrate' bash -c "vdisk create $a --len 1M ram >/dev/null; vdisk hydrate $a start"
says 1 "$a*no node has label or type 'pr'*" bash -c "vdisk pr $a read-keys 2>&1 | sed 's/^vdisk: //'; exit \${PIPESTATUS[0]}"
vdisk remove "$a"

# A store above that knows how long its base is: refused before anything is changed
head -c 4M /dev/urandom >base.img
says 0 '*' vdisk create "$a" --create 'overlay ( file o ) ( cache label:c ( file c2 ) ( file base.img ) )'
says 0 '* done, *' vdisk hydrate "$a" start --node c
says 1 '*the store of the overlay above is of a base of 8192 sectors*' vdisk detach-base "$a" --node c
is "$(dmsetup info -c --noheadings -o suspended "$a")" Active 'it is not suspended'
cmp "/dev/mapper/$a" base.img
ok $? 'and has all'
vdisk remove "$a"

# What vdisktab has to say then: with keyfile:, as it is written; and in JSON
head -c 64 /dev/urandom >key
printf '%s\n' "$a nofail,len=2M crypt:xts-aes-256:$mnt/key:$mnt/copy.img" >tab
vdisk create "$a" --len 2M crypt:xts-aes-256:key:copy.img >/dev/null
says 0 "*tab:1 *Put there:"$'\n'"$a nofail,len=6144 crypt cipher:aes-xts-plain64 keyfile:$mnt/key allow_discards ( file $mnt/copy.img )"$'\n*' \
	vdisk grow "$a" 3M
is "$(vdisk snapshot --json "$a" t\ op 2>/dev/null | jq -r '.vdisktab.line, .vdisktab.text')" \
	"1"$'\n'"$a nofail,len=2M overlay label:snapshot1 ( file $mnt/t\\ op ) ( crypt cipher:aes-xts-plain64 keyfile:$mnt/key allow_discards ( file $mnt/copy.img ) )" \
	'snapshot --json'
says 0 '*tab:1 *no line of this stack: mend it*' vdisk grow "$a" 4M
vdisk remove "$a"
echo "$a - file $mnt/grows" >tab
truncate -s 1M grows
vdisk create "$a" file grows >/dev/null
says 0 "$a: 4096 sectors (2 MiB)" vdisk grow "$a" 2M
vdisk remove "$a"
unset VDISKTAB

# Longer than its base: its store remembers. What was done is done, even if nobody can be told.
says 0 '*' vdisk create "$a" --create 'overlay ( file grown ) ( file base.img )'
says 0 '*all is done, but cannot write the output*' bash -c "vdisk grow $a +1M >/dev/full"
put "/dev/mapper/$a" w 512 seek=10239
says 0 '*all is done, but cannot write the output*' bash -c "vdisk snapshot $a snapped >/dev/full"
says 0 '*all is done, but cannot write the output*' bash -c "vdisk remove --json $a >/dev/full"
is "$(vdisk length 'overlay ( file grown ) ( file base.img )')" 10240 'a disk that is longer than its base: length'
says 0 "/dev/mapper/$a: 10240 sectors*" vdisk create "$a" 'overlay ( file grown ) ( file base.img )'
is "$(letter "/dev/mapper/$a" 10239)" w 'what is behind the base'
vdisk remove "$a"
says 0 "/dev/mapper/$a: 10240 sectors*" vdisk create "$a" --create 'overlay ( file clone ) ( overlay ( file grown ) ( file base.img ) )'
is "$(letter "/dev/mapper/$a" 10239)" w 'and through a clone'
vdisk remove "$a"
says 0 "/dev/mapper/$a: 8192 sectors*" vdisk create "$a" --len 4M 'overlay ( file grown ) ( file base.img )'
vdisk remove "$a"
says 1 '*cannot write the output*' bash -c 'vdisk length file base.img >/dev/full'
rm grown snapped clone

# vdisk merge: a snapshot goes back into what it is of
truncate -s 24M image
says 0 '*' vdisk create "$a" file image
put "/dev/mapper/$a" b 1048576
# By another name of the disk, too
echo "$a - file $mnt/image" >tab
says 0 "*tab:1 still has the disk as it was*Put there:"$'\n'"$a - overlay label:snapshot1 *" \
	env VDISKTAB="$mnt/tab" vdisk snapshot "/dev/mapper/$a" delta
put "/dev/mapper/$a" n 1048576 seek=2
says 1 '*no overlay that is merged, so there is nothing to merge' vdisk merge "$a" status
says 1 '*say start, stop or status' vdisk merge "$a" begin
says 1 '*--rate*is no size*' vdisk merge "$a" --rate x
says 1 '*no such overlay: other*' vdisk merge "$a" --node other
says 0 '*snapshot1: on, *' vdisk merge "$a" --rate 64K --no-wait
is "$(vdisk merge --json "$a" status | jq -r '"\(.node) \(.state) \(.of)"')" 'snapshot1 on 49152' 'merge --json'
vdisk merge "$a" --rate 64K >said 2>&1 &
merge=$!
sleep 1
kill -INT $merge
wait $merge
is $? 1 'start, and Ctrl-C: not done'
grep -q 'it goes on; vdisk merge' said
ok $? 'it goes on'
says 0 '*snapshot1: off, *' vdisk merge "$a" stop
# README has vdisk merge && rm STORE: only what is done may be a success.
vdisk merge "$a" --rate 64K >said 2>&1 &
merge=$!
# shellcheck disable=SC2317 # called by wait_for
merging() { vdisk merge "$a" status 2>/dev/null | grep -q ': on,'; }
wait_for 20 merging
says 0 '*snapshot1: off, *' vdisk merge "$a" stop
wait $merge
is $? 1 'start, and stop by another: not done'
grep -qE 'merge was stopped|nothing to merge' said
ok $? 'it says so'
is "$(dmsetup table "$a" | grep -c ' merge ')" 0 'stop: the base is only read again'
exec 9<"/dev/mapper/$a"
export VDISKTAB=$mnt/tab
echo "$a - overlay label:snapshot1 ( file $mnt/delta ) ( file $mnt/image )" >tab
says 0 "*tab:1 still has the disk as it was*Put there:"$'\n'"$a - file $mnt/image"$'\n'"$a: is its base now*" vdisk merge "$a"
exec 9<&-
unset VDISKTAB
is "$(dmsetup table "$a" | cut -d ' ' -f 4-)" "file $mnt/image" 'the base is the disk'
sync image
is "$(letter image 0)$(letter image 2048)$(letter image 4096)" b.n 'and has all'
vdisk remove "$a"
says 1 '*was merged into its base*' vdisk create "$a" 'overlay ( file delta ) ( file image )'
is "$(vdisk check --json delta | jq .merged)" true 'check --json'
# Somebody else reads the base
says 0 '*' vdisk create "$a" --create 'overlay ( file delta2 ) ( file image )'
says 0 '*' vdisk create "$b" --create 'overlay ( file delta3 ) ( file image )'
says 1 '*in use by another disk or program*' vdisk merge "$a"
is "$(dmsetup table "$a" | grep -c ' merge ')$(dmsetup info -c --noheadings -o suspended "$a")" 0Active 'the disk is as it was'
vdisk remove "$a" "$b"

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
