#!/bin/bash
# overlay and cache: their store or their base fails for a while, for writes, for flushes, for reads. Each failure is the error of who
# asked; what was acknowledged is there when the store works again; nothing wrong is ever read.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_FLAKEY
load_vdisk
modprobe dm-flakey
null_disk 4 512
null_disk 16 512 discard=1
base=${disks[0]} store=${disks[1]}
a=/dev/mapper/${VD}a s=/dev/mapper/${VD}s b=/dev/mapper/${VD}b
size=$(sectors "$store")
put "$base" b 2097152
# The store, and the base: as they are, without writes, or not at all
works() { reload "$1" "0 $(sectors "/dev/mapper/$VD$1") linear $2 0"; }
no_writes() { reload "$1" "0 $(sectors "/dev/mapper/$VD$1") flakey $2 0 0 100 1 error_writes"; }
nothing() { reload "$1" "0 $(sectors "/dev/mapper/$VD$1") error"; }
seen() { dd if="$a" bs=512 skip="$1" count="$2" iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | tr -d '\n'; }
kept() { counter a overlay 1 store; }
failed='' dirty=''

vdisk format "$store" --len 4096 --force >/dev/null
dm s "0 $size linear $store 0"
dm b "0 8192 linear $base 0"
stack="overlay ( block $s ) ( block $b )"
vd a 4096 "$stack"
put "$a" 1 4096
sync "$a"

# Data cannot be written: the writer's error. The unit is what it was; the overlay goes on.
no_writes s "$store"
is "$(error put "$a" 2 512 seek=20)" 'Input/output error' 'a first write fails'
is "$(error put "$a" 2 512)" 'Input/output error' 'so does an overwrite'
is "$(seen 0 1)$(seen 20 1)" 1b 'and nothing has changed'
is "$(kept)" ok 'the overlay goes on'
works s "$store"
put "$a" 3 512 seek=20
run_ok 'the store is back' sync "$a"
is "$(seen 19 3)" b3b 'and takes writes'

# Presence cannot be written: no flush is acknowledged. What had been is there, and nothing of that is lost when the store is back.
put "$a" 4 512 seek=21
blkdiscard -f -o $((8 * 512)) -l 512 "$a"
no_writes s "$store"
is "$(error sync "$a")$(kept)" 'Input/output errorfailed' 'a commit fails'
is "$(error sync "$a")$(error put "$a" 5 512 seek=40)" 'Input/output errorInput/output error' 'and nothing is acknowledged from there on'
is "$(error blkdiscard -f -l 512 "$a")$(seen 20 2)$(seen 8 1)" 'Input/output error34.' 'but read'
works s "$store"
is "$(error sync "$a")" 'Input/output error' 'not by itself'
is "$(error put "$a" 6 512 seek=20)" 'Input/output error' 'nor what changes no state'
dmsetup suspend "${VD}a" && dmsetup resume "${VD}a"
run_ok 'a resume tries again' sync "$a"
gone a
vd a 4096 "$stack"
is "$(seen 0 1)$(seen 8 1)$(seen 19 3)" 1.b34 'all that was acknowledged is there'

# It fails in the middle of a load, and goes away with it: nothing wrong is read afterwards
for ((i = 0; i < 4; i++)); do
	vdio -s 30 -t 4 -m 16 -f 10 -d 5 -z 5 --discard-zeroes "$a" >/dev/null 2>&1 &
	pid=$!
	sleep 0.3
	no_writes s "$store"
	wait $pid
	[[ $? == 2 ]] && failed+=1
	works s "$store"
	gone a
	vdisk check "$s" >/dev/null || dirty+=x
	vd a 4096 "$stack"
done
is "$failed$dirty" 1111 'four times under load: errors, and a clean store'
run_ok 'all of it can be read' dd if="$a" of=/dev/null bs=64k iflag=direct status=none

# The base cannot be read: who needs it gets the error, nobody else does, and it is not taken for zeroes
put "$a" 6 4096 seek=256
sync "$a"
nothing b "$base"
is "$(seen 2048 1)" 6 'what is in the store needs no base'
# The load above may have written any other sector: a fresh store has none
gone a
vdisk format "$s" --len 4096 --force >/dev/null
vd a 4096 "$stack"
put "$a" 7 512 seek=100
is "$(seen 100 1)" 7 'a write needs no base'
is "$(error dd if="$a" of=/dev/null bs=512 skip=99 count=1 iflag=direct)$(error dd if="$a" of=/dev/null bs=512 skip=100 count=2 iflag=direct)" \
	'Input/output errorInput/output error' 'a read does'
blkdiscard -f -o $((200 * 512)) -l 512 "$a"
is "$(seen 200 1)" . 'zeroes do not'
works b "$base"
is "$(seen 99 3)$(seen 200 2)" b7b.b 'and is back'
gone a

# Presence cannot be read: no unit is taken for absent
vd a 4096 "$stack"
nothing s
is "$(error dd if="$a" of=/dev/null bs=512 count=1 iflag=direct)$(error put "$a" x 512)" 'Input/output errorInput/output error' 'presence cannot be read'
works s "$store"
is "$(seen 100 1)$(seen 0 1)" 7b 'later it can'
gone a

# A cache whose store fails is its base
vdisk format "$s" --len 4096 --force >/dev/null
dmsetup create "${VD}a" --readonly --table "0 4096 vdisk cache fill:8 read_ahead:0 ( block $s ) ( block $b )"
run_ok 'a cache is filled' dd if="$a" of=/dev/null bs=4096 count=8 iflag=direct status=none
nothing s
is "$(seen 0 4)$(seen 100 1)" bbbbb 'its store fails: the base'
works s "$store"
nothing b
is "$(error dd if="$a" of=/dev/null bs=512 skip=300 count=1 iflag=direct)" 'Input/output error' 'its base fails: an error'
works b "$base"
gone a b s
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
