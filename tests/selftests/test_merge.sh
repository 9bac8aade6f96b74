#!/bin/bash
# The option and message merge: what an overlay's store has is copied into its base while the disk is used; then the base is the
# disk. Until then nothing has changed, whatever fails, and afterwards the store is refused.
# timeout: 600
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_FLAKEY CONFIG_EXT4_FS
load_vdisk
modprobe dm-flakey
null_disk 16 512
null_disk 32 512 discard=1
null_disk 16 4096
null_disk 32 4096 discard=1
base=${disks[0]} store=${disks[1]} base4=${disks[2]} store4=${disks[3]}
a=/dev/mapper/${VD}a b=/dev/mapper/${VD}b s=/dev/mapper/${VD}s p=/dev/mapper/${VD}p
# Not a multiple of what is copied at a time
len=16432
node=overlay
merge() { dmsetup message "${VD}a" 0 "$node" merge "$@"; }
is_now() { [[ $(counter a overlay 1 merge) == "$1" ]]; }
merged() {
	blockdev --flushbufs "$1"
	[[ $(vdisk check --json --force-share "$1" | jq .merged) == true ]]
}
works() { reload "$1" "0 $(sectors "/dev/mapper/$VD$1") linear $2 0"; }
no_writes() { reload "$1" "0 $(sectors "/dev/mapper/$VD$1") flakey $2 0 0 100 1 error_writes"; }
nothing() { reload "$1" "0 $(sectors "/dev/mapper/$VD$1") error"; }
# told TEXT COMMAND...: what it is refused for
told() {
	dmesg -C
	! "${@:2}" 2>/dev/null
	ok $? "$1: refused"
	dmesg | grep -qF "$1"
	ok $? "$1"
}

# What is refused
scratch
refused 'overlay: merge: zero in its base keeps nothing of what is written' 'overlay volatile merge ( ram ) ( delay ( zero ) )' 4096
refused 'overlay: merge: ram in its base keeps nothing of what is written' "overlay merge ( block $store ) ( ram )" 4096
refused 'overlay: merge: overlay in its base keeps nothing of what is written' \
	"overlay merge label:m ( block $store ) ( overlay volatile label:l ( block $store4 ) ( block $base ) )" 4096
refused 'overlay: merge: the base has 2048 sectors, the disk 4096' "overlay volatile merge ( ram ) ( block $base len:2048 )" 4096
refused 'overlay/1/overlay: merge: as a base it is only read' \
	"overlay volatile ( ram ) ( overlay volatile merge label:l ( ram ) ( block $base ) )" 4096
refused 'overlay/1/cache: takes no writes: say write_through, make it the base of an overlay, or the device read-only' \
	"overlay volatile merge ( ram ) ( cache volatile label:c ( ram label:r ) ( block $base ) )" 4096
refused 'overlay/1/blob: can only be read: put it below an overlay, or load a read-only table' \
	"overlay volatile merge ( ram ) ( blob b len:4096 )" 4096
blockdev --setro "$base4"
refused "overlay: merge: the base is read-only: $(devno "$base4")" "overlay volatile merge ( ram ) ( block $base4 )" 4096
blockdev --setrw "$base4"
refusals
gone scratch
told 'overlay: merge: the device is read-only' \
	dmsetup create --readonly "${VD}a" --table "0 4096 vdisk overlay volatile merge ( ram ) ( block $base )"
vd a 4096 "overlay volatile ( ram ) ( block $base )"
told 'merge: needs the option merge' merge start
reload a "0 4096 vdisk overlay volatile merge ( ram ) ( block $base )"
told "merge: '0' is no number of sectors per second" merge start 0
told 'merge: start [<sectors per second>], stop, or finish' merge go
told 'merge: is off, not ready' merge finish
is "$(counter a overlay 1 merge unmerged)" 'off 4096' 'nobody has asked'
told 'merge: the base is that of' vd b 4096 "overlay volatile merge ( ram ) ( block $base )"
gone b 2>/dev/null
told 'merges into it' vd b 1024 "overlay volatile ( ram ) ( block $base start:1024 len:1024 )"
gone b 2>/dev/null
vd b 4096 "overlay volatile ( ram ) ( block $base start:4096 )"
ok $? 'another part of it may be a base'
gone b a
vd b 4096 "overlay volatile ( ram ) ( block $base )"
vdisk format "$store" --len 4096 --force >/dev/null
run_ok 'what is only read below its base may be the base of others' \
	vd a 4096 "overlay volatile merge label:m ( ram ) ( overlay label:l ( block $store ) ( block $base ) )"
gone a b

# A table that was refused copies nothing, though it gets messages
put "$base" B 2097152
vd b 4096 "overlay volatile ( ram ) ( block $base )"
vd a 4096 "overlay volatile ( ram label:r ) ( block $base )"
put "$a" x 65536
! reload a "0 4096 vdisk overlay volatile merge ( ram label:r ) ( block $base )" 2>/dev/null
ok $? 'another disk has the base'
merge start
sleep 1
is "$(letter "$base" 0)" B 'nothing was copied'
gone b
run_ok 'alone with it, it goes live' dmsetup resume "${VD}a"
wait_for 100 is_now ready
is "$(letter "$base" 0)$(letter "$base" 128)" xB 'and copies'
gone a

# in_use NAME STORE OPTIONS_OF_FORMAT BASE OVERLAY: a disk is merged while it is used, and goes on to be used as its base
in_use() {
	local name=$1 its_store=$2 options=$3 its_base=$4 overlay=$5 load known final load_events
	final=$its_base
	[[ $overlay != *volatile* ]] || final=${final/ (/ drop_volatile (}
	known=(--known "$TMP/model")
	if [[ $options == *4096* && $its_base == *" $base"* ]]; then
		# It has smaller blocks than the disk, and so than the model.
		dd if=/dev/zero of="$base" bs=1M count=16 oflag=direct status=none
		its_base="overlay volatile unit:4096 label:look ( ram label:own ) ( $its_base )"
		known=(--zeroed)
	else
		vd p $len "$its_base"
		verified "$name: a base" -n 100 -m 256 -r 0 --size $((len * 512)) --dump-model "$TMP/model" "$p"
		gone p
	fi
	# shellcheck disable=SC2086 # options
	[[ ! $its_store ]] || vdisk format "$its_store" --len $len --force $options >/dev/null
	vd a $len "${overlay/merge/}"
	verified "$name: a disk" -n 400 -m 64 -r 0 -z 10 -d 10 --discard-zeroes -f 3 "${known[@]}" --dump-model "$TMP/model" "$a"
	reload a "0 $len vdisk $overlay"
	verified "$name: it is the same" --check-file "$TMP/model" "$a"
	next_seed
	vdio -s 9999 -t 2 "${seeds[@]}" -m 64 -z 10 -f 5 -u 5 --known "$TMP/model" --verify --dump-model "$TMP/model" "$a" \
		>"$TMP/out" 2>&1 &
	load=$!
	load_events=$(events)
	merge start
	ok $? "$name: start"
	wait_for 300 is_now ready
	ok $? "$name: ready"
	is "$(events)" $((load_events + 1)) "$name: an event says so"
	sleep 1
	[[ $name != *round* ]] || reload a "0 $len vdisk $overlay" --noflush
	[[ $name != *round* ]] || wait_for 300 is_now ready
	merge finish
	dmsetup suspend "${VD}a"
	is "$(counter a overlay 1 merge unmerged)" 'done 0' "$name: done"
	dmsetup load "${VD}a" --table "0 $len vdisk $final"
	dmsetup resume "${VD}a"
	is "$(table a | cut -d ' ' -f 1)" "${final%% *}" "$name: the base is the disk"
	sleep 1
	kill $load
	wait $load
	is $? 0 "$name: no wrong byte, no error"
	comment "$(<"$TMP/out")"
	gone a
	vd p $len "$its_base"
	verified "$name: the base has all" --check-file "$TMP/model" "$p"
	gone p
	[[ $its_store ]] || return
	merged "$its_store"
	ok $? "$name: the store says so"
	told 'store: was merged into its base, which is the disk now' vd a $len "${overlay/merge/}"
	gone a 2>/dev/null
}
in_use 512 "$store" '' "block $base" "overlay merge ( block $store ) ( block $base )"
blockdev --flushbufs "$store"
vdisk check "$store" | grep -q 'It was merged into its base'
ok $? 'and vdisk check'
told 'store: was merged into its base, which is the disk now' \
	vd a $len "overlay volatile ( ram ) ( overlay label:l ( block $store ) ( block $base ) )"
gone a 2>/dev/null
in_use 4096 "$store4" '--unit 4096' "block $base4" "overlay merge ( block $store4 ) ( block $base4 )"
in_use 'unit:4096' "$store" '--unit 4096' "block $base" "overlay merge unit:4096 ( block $store ) ( block $base )"
make_fs ext4 "$base4"
truncate -s 4206592 "$mnt/a" "$mnt/b"
# Zeroes need not be written there.
pieces="striped chunk:8 ( file $mnt/a ) ( file $mnt/b )"
in_use volatile '' '' "$pieces" "overlay volatile merge ( ram ) ( $pieces )"
pieces="striped chunk:8 ( block $base len:8216 ) ( block $base start:8216 len:8216 )"
in_use 'in pieces, copy_on_read, another round' "$store" '' "$pieces" "overlay copy_on_read fill:8 merge ( concat ( block $store len:9999 ) ( block $store start:9999 ) ) ( $pieces )"

# Into a disk that is itself a layer, as after a snapshot
vd p $len "block $base"
verified 'layers: a base' -n 100 -m 256 -r 0 --dump-model "$TMP/model" "$p"
gone p
vdisk format "$store" --len 8192 --max-len $len --force >/dev/null
lower="overlay label:lower ( block $store ) ( block $base )"
vd a 8192 "$lower"
dd if="$a" of=/dev/null bs=4096 count=1 iflag=direct status=none
reload a "0 $len vdisk overlay volatile label:upper ( ram ) ( $lower )"
is "$(letter "$a" 9000)" . 'behind the end of the lower one are zeroes'
told 'store: of a disk of 8192 sectors, behind which the one above reads zeroes' \
	reload a "0 $len vdisk overlay volatile merge label:upper ( ram ) ( $lower )"
gone a
vdisk format "$store" --len $len --force >/dev/null
vd a $len "$lower"
verified 'layers: the lower one' -n 200 -m 64 -r 0 -z 5 --known "$TMP/model" --dump-model "$TMP/model" "$a"
reload a "0 $len vdisk overlay volatile label:upper ( ram ) ( $lower )"
verified 'layers: the upper one' -n 200 -m 64 -r 0 -d 20 --discard-zeroes --known "$TMP/model" --dump-model "$TMP/model" "$a"
reload a "0 $len vdisk overlay volatile merge label:upper ( ram ) ( $lower )"
node=upper
merge start
wait_for 200 is_now ready
merge finish
dmsetup suspend "${VD}a"
is "$(counter a overlay 1 merge)" 'done' 'layers: done'
dmsetup load "${VD}a" --table "0 $len vdisk overlay drop_volatile label:lower ( block $store ) ( block $base )"
dmsetup resume "${VD}a"
gone a
node=overlay
vd a $len "$lower"
verified 'layers: the lower one has all' --check-file "$TMP/model" "$a"

# Given up half way, or cut off; and all the same it is the disk that it was. A rate, in the meantime.
reload a "0 $len vdisk overlay merge label:lower ( block $store ) ( block $base )"
data=$(counter a overlay 1 data)
start=$(date +%s%N)
merge start $((data / 4))
wait_for 60 is_now ready
ok $((($(date +%s%N) - start) / 1000000 < 2500)) 'no faster than its rate'
merge stop
is_now off
ok $? 'stopped'
verified 'given up: the same bytes' --check-file "$TMP/model" "$a"
merge start 64
dmsetup suspend "${VD}a"
left=$(counter a overlay 1 merge unmerged)
sleep 1
is "$(counter a overlay 1 merge unmerged)" "$left" 'a suspend has it pause'
dmsetup resume "${VD}a"
merge start
wait_for 10 is_now ready
ok $? 'another rate'
merge stop
merge start 64
gone a
vd a $len "overlay ( block $store ) ( block $base )"
verified 'cut off: the same bytes' --check-file "$TMP/model" "$a"
gone a

# The base fails, in the first copy or in the last; the store fails: the disk is as it was, and another start does it
vdisk format "$store" --len $len --force >/dev/null
dm s "0 $(sectors "$store") linear $store 0"
dm b "0 $(sectors "$base") linear $base 0"
stack="overlay merge ( block $s ) ( delay write:0 label:d ( block $b ) )"
vd a $len "$stack"
put "$a" x 1048576
put "$a" y 1048576 seek=4
sync "$a"
no_writes b "$base"
events=$(events)
merge start
wait_for 100 is_now failed
ok $? 'the base fails'
is "$(events) $(letter "$a" 0)$(letter "$a" 8192)" "$((events + 1)) xy" 'an event says so, and nothing is lost'
works b "$base"
merge start
wait_for 100 is_now ready
ok $? 'another start'
# rest: leave it to the suspend, for the base answers late until then
rest() {
	dmsetup message "${VD}a" 0 d set write:20s
	put "$a" "$1" 65536 seek=100
	put "$a" "$2" 65536 seek=102
	sync "$a"
	is_left() { (($(counter a overlay 1 unmerged) > 0)); }
	is_left
	ok $? "there is something left: $1$2"
	merge finish
}
rest q z
no_writes b "$base"
dmsetup suspend "${VD}a"
is "$(counter a overlay 1 merge)" failed 'the base fails in the suspend'
! merged "$store"
ok $? 'the store does not say that it was merged'
dmsetup message "${VD}a" 0 d set write:0
dmsetup resume "${VD}a"
is "$(letter "$a" 12800)$(letter "$a" 13056)" qz 'and the disk is as it was'
works b "$base"
nothing s
merge start
wait_for 100 is_now failed
ok $? 'the store fails'
works s "$store"
dmsetup suspend "${VD}a" && dmsetup resume "${VD}a"
merge start
wait_for 100 is_now ready

# A suspend that is given up is none that finishes
dmsetup message "${VD}a" 0 d set read:600s
timeout -s KILL 30 dd if="$a" of=/dev/null bs=4096 count=1 skip=1500 iflag=direct status=none &
reader=$!
wait_for 20 sh -c "dmsetup status ${VD}a | grep -q held=1"
dmsetup suspend "${VD}b"
merge finish
run_fails 'a suspend is given up' timeout -s INT 3 dmsetup suspend --nolockfs "${VD}a"
dmsetup resume "${VD}b"
dmsetup message "${VD}a" 0 d set read:0
kill -KILL $reader 2>/dev/null
gone a
! merged "$store"
ok $? 'and a removal later does not merge it'

# Done, but the overlay goes on: the store says so before anything is written
vd a $len "$stack"
merge start
wait_for 100 is_now ready
rest r t
dmsetup suspend "${VD}a"
is_now 'done' && merged "$store"
ok $? 'done, and merged'
is "$(letter "$b" 12800)$(letter "$b" 13056)" rt 'with what was left'
no_writes s "$store"
told 'store: says that it was merged, which cannot be undone' dmsetup resume "${VD}a"
works s "$store"
run_ok 'the overlay goes on' dmsetup resume "${VD}a"
! merged "$store"
ok $? 'and its store says so'
dmsetup message "${VD}a" 0 d set write:0
put "$a" w 1048576 seek=2
sync "$a"
gone a
vd a $len "overlay merge ( block $s ) ( block $b )"
is "$(letter "$a" 0)$(letter "$a" 4096)$(letter "$a" 8192)" xwy 'what was written then is there'
gone a s b

# Two that share a file, though it says shared
truncate -s 4M "$mnt/image"
vd b 4096 "overlay volatile ( ram ) ( file $mnt/image shared )"
told 'merge: the base is that of' vd a 4096 "overlay volatile merge ( ram ) ( file $mnt/image shared )"
gone a 2>/dev/null
gone b

# Writes wait for a slow base, so that it ends; suspends do not wait for those. Nothing of it is kept anywhere.
len=524288
dm b "0 $len zero"
vd a $len "overlay volatile merge ( zero ) ( delay write:0 ( block $b ) )"
slow() { dmsetup message "${VD}a" 0 delay set "write:$1"; }
dd if=/dev/zero of="$a" bs=1M count=100 oflag=direct status=none
merge start
wait_for 300 is_now ready
slow 100ms
dd if=/dev/zero of="$a" bs=1M count=200 oflag=direct status=none &
writer=$!
is_behind() { (($(counter a overlay 1 unmerged) > 131072)); }
wait_for 100 is_behind
sleep 1
before=$(counter a zero 1 written_sectors)
sleep 1
ok $(($(counter a zero 1 written_sectors) - before > 8192)) 'writes wait'
ok $(($(counter a overlay 1 unmerged) > 131072 + 8192)) 'when they are too far ahead'
run_ok 'a suspend has them go on' timeout 60 dmsetup suspend --nolockfs "${VD}a"
dmsetup resume "${VD}a"
run_ok 'so does one without a flush' timeout 60 dmsetup suspend --noflush --nolockfs "${VD}a"
dmsetup resume "${VD}a"
sleep 1
kill -0 $writer
ok $? 'those that come later wait again'
slow 0
run_ok 'a faster base ends it' timeout 60 tail --pid=$writer -s 0.1 -f /dev/null
# All the time somebody writes, faster than a base with a latency; and yet it ends
merge stop
slow 3ms
timeout 300 sh -c "while :; do dd if=/dev/zero of=$a bs=1M count=256 oflag=direct status=none; done" &
writer=$!
merge start
wait_for 280 is_now ready
ok $? 'ready, though somebody writes'
slow 0
run_ok 'a discard of all' timeout 100 blkdiscard -f "$a"
merge stop
kill $writer
wait
gone a b
done_testing
