#!/bin/bash
# overlay: presence goes from table to table with its store; errors of children; discards and writes that meet.
# kernels: 6.1 6.12 7.3 uml-6.12
# timeout: 600
# check: uml-6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 16 512 discard=1
null_disk 16 512 discard=1
base=${disks[0]} store=${disks[1]}
a=/dev/mapper/${VD}a
put "$base" b 65536

# A snapshot: another overlay on top, everything found by its label
vd a 16384 "overlay volatile label:one ( ram label:r1 ) ( block $base )"
put "$a" 1 4096
two="overlay volatile label:two ( ram label:r2 ) ( overlay volatile label:one ( ram label:r1 ) ( block $base ) )"
run_ok 'a snapshot' reload a "0 16384 vdisk $two"
put "$a" 2 2048
is "$(letter "$a" 0)$(letter "$a" 4)$(letter "$a" 8)" 21b 'upper layer, lower layer, base'
is "$(counter a overlay 1 data) $(counter a overlay 2 data)" '4 8' 'each has its own'
scratch=a
refused "overlay: drops the contents of the live table's ram 'r2'; say drop_volatile if that is meant" \
	"overlay volatile label:one ( ram label:r1 ) ( block $base )" 16384
other='its presence in the live table belongs to another store, or to another block size; a new overlay needs a label of its own'
refused "overlay: $other" "overlay volatile label:one ( ram label:r2 ) ( overlay volatile label:two ( ram label:r1 ) ( block $base ) )" 16384
refused "overlay: $other" "overlay volatile label:two ( block $store ) ( overlay volatile label:one ( ram label:r1 ) ( block $base ) )" 16384
refused "overlay/1/overlay: $other" "overlay volatile label:two ( ram label:r2 ) ( overlay volatile label:one ( striped chunk:8 ( ram label:r1 ) ) ( block $base ) )" 16384
refusals
dmsetup clear "${VD}a"
is "$(letter "$a" 0)$(letter "$a" 4)$(letter "$a" 8)" 21b 'nothing has changed'
run_ok 'the snapshot is dropped' reload a "0 16384 vdisk overlay volatile drop_volatile label:one ( ram label:r1 ) ( block $base )"
is "$(letter "$a" 0)$(letter "$a" 4)$(letter "$a" 8)" 11b 'the lower layer is as it was'
gone a

# Without labels: the new top would find the memory of the old one
vd a 16384 "overlay volatile ( ram ) ( block $base )"
put "$a" 1 4096
refused "overlay: $other" "overlay volatile ( block $store ) ( block $base )" 16384
refused "overlay: drops the contents of the live table's overlay '/overlay'; say drop_volatile if that is meant" \
	"overlay volatile label:n ( ram ) ( overlay volatile ( ram ) ( block $base ) )" 16384
refusals
gone a

# One device is store and base: dm core must not be asked for it in two modes
vd a 8192 "overlay volatile ( block $store start:8192 ) ( overlay volatile ( ram ) ( block $store len:8192 ) )"
put "$a" 1 4096
is "$(letter "$store" 8192)" 1 'one device is store and base'
run_ok 'reload' reload a "0 8192 vdisk overlay volatile ( block $store start:8192 ) ( overlay volatile ( ram ) ( block $store len:8192 ) )"
gone a

# Suspend, reload and grow under load
stack="overlay volatile label:o ( block $store ) ( striped chunk:64 ( block $base ) )"
stacks=("$stack" "test mode:work ( $stack )" "concat ( test up ( $stack ) )")
length=16384 growth=128
io=(-d 8 -z 8 -f 2 -w 20 --discard-zeroes --size "$((16384 * 512))")
vd a 16384 "$stack"
under_load 'suspend and resume' suspend_resume "${io[@]}"
under_load 'reload' another_stack "${io[@]}"
gone a

# A write that fails leaves the units as they were; a base that fails is the reader's error
vd bad 16384 'test mode:fail ( zero )'
vd full 16384 'ram max:8'
bad="block /dev/mapper/${VD}bad" full="block /dev/mapper/${VD}full"
vd a 16384 "overlay volatile ( $full ) ( block $base )"
is "$(error dd if=/dev/zero of="$a" bs=64k count=1 oflag=direct)" 'No space left on device' 'the status of the store'
is "$(letter "$a" 100)$(counter a overlay 1 data)" b0 'the units are still absent'
run_ok 'less fits' put "$a" w 4096
is "$(letter "$a" 0)$(letter "$a" 8)" wb 'and is there'
gone a
vd a 16384 "overlay volatile ( ram ) ( $bad )"
is "$(error dd if="$a" of=/dev/null bs=4k count=1 iflag=direct)" 'No data available' 'the status of the base'
run_ok 'a write needs no base' put "$a" w 4096
is "$(letter "$a" 0)" w 'and is read without it'
run_ok 'neither does a discard' blkdiscard -f -o 4096 -l 4096 "$a"
is "$(letter "$a" 8)" . 'what is discarded is read without it'
gone a
vd a 16384 "overlay volatile ( concat ( block $store len:64 ) ( $bad ) ) ( block $base )"
is "$(error dd if=/dev/zero of="$a" bs=64k count=1 oflag=direct)" 'No data available' 'a part fails: the status'
is "$(letter "$a" 0)$(letter "$a" 64)$(counter a overlay 1 data)" .b64 'and only what the store has counts as written'
run_ok 'a punch that fails is none of the guest' blkdiscard -f -o 32768 -l 4096 "$a"
is "$(letter "$a" 64)$(letter "$a" 72)" .b 'it reads as zeroes'
gone a full bad

# A write comes while its units are being punched: it waits, or it would be punched as well. A suspend ends all delays. The
# discards come by another device: the kernel locks a device's inode for one, and dd's seek wants that lock.
held() { wait_for 10 sh -c "dmsetup status ${VD}a | grep -q 'held=$1'"; }
vd a 16384 "overlay volatile ( delay discard:1000s ( ram ) ) ( block $base )"
put "$a" 1 65536
dm d "0 16384 linear $a 0"
blkdiscard -f -l 65536 "/dev/mapper/${VD}d" 2>/dev/null &
held 1
put "$a" 2 4096 seek=3 &
write=$!
put "$a" 3 4096 seek=100
sleep 1
kill -0 "$write"
ok $? 'a write during a punch waits'
dmsetup suspend "${VD}a" && dmsetup resume "${VD}a"
wait
is "$(letter "$a" 24)$(letter "$a" 0)$(letter "$a" 800)" 2.3 'and is not lost'
is "$(counter a overlay 1 data zero)" '16 120' 'counted'
gone d a

# A discard comes while a first write is under way: nothing is punched, and the write, which ends last, wins
vd a 16384 "overlay volatile ( delay write:1000s discard:1000s ( ram ) ) ( block $base )"
dm d "0 16384 linear $a 0"
put "$a" 1 4096 seek=1 &
held 1
run_ok 'a discard during a write is done at once' timeout 60 blkdiscard -f -l 65536 "/dev/mapper/${VD}d"
is "$(letter "$a" 8)" . 'and is seen'
dmsetup suspend "${VD}a" && dmsetup resume "${VD}a"
wait
is "$(letter "$a" 8)$(letter "$a" 0)" 1. 'the write ends later, and is there'
gone d a
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
