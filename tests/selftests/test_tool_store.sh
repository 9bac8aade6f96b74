#!/bin/bash
# vdisk format, check, repair, dump, map: on files and devices, damaged stores, and every crash state of format.
# kernels: 6.1 6.12 7.3
# check: 6.12
# timeout: 400
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
cd "$TMP" || exit

# exits STATUS NAME COMMAND...: with this status; what it said is in $said
exits() {
	local want=$1 name=$2 status=0
	shift 2
	said=$("$@" 2>&1) || status=$?
	is "$status" "$want" "$name"
	((status == want)) || comment "$* said" "$said"
}

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

# spoil FILE BYTE [COUNT]: other bytes there
spoil() { head -c "${3:-1}" /dev/zero | tr '\0' '\377' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }
clear_at() { dd if=/dev/zero of="$1" bs=4096 seek="$2" count="$3" conv=notrunc status=none; }
local_map() { vdisk map --json "$1" 2>/dev/null | jq -c '.[] | [.start, .length, .state]'; }
sum_map() { local_map "$1" | md5sum; }
# each_unit FILE: a line per sector of 512 bytes
each_unit() { local_map "$1" | jq -r '.[2] as $state | range(.[1] / 512) | $state'; }

output=$(vdisk-unit)
ok $? 'unit tests: checksums, every byte changed, hostile numbers, chance'
comment "$(grep -vE '^ok ' <<<"$output")"

# Options
exits 1 'nothing said' vdisk
exits 0 '--help' vdisk --help
says 1 "*'chek' is no command*format, check, repair*" vdisk chek x
sed 's/\\//g' "$selftests/../../tools/vdisk/vdisk.8" | grep -oE -- '--[a-z-]+' | sort -u >manual
for command in format check repair dump map; do
	exits 0 "$command --help" vdisk "$command" --help
	grep -A 1 '^Example:' <<<"$said" | grep -q "^  vdisk $command " && grep -q '^Exit status:' <<<"$said"
	ok $? "$command --help has an example and exit statuses"
	is "$(grep -oE -- '^  --[a-z-]+' <<<"$said" | tr -d ' ' | grep -vxFf manual)" '' "vdisk(8) has the options of $command"
	says 1 '*no such option: --foo; see vdisk*--help*' vdisk "$command" --foo x
	says 1 '*which store*' vdisk "$command"
	says 1 '*one store at a time*' vdisk "$command" a b
done
says 1 '*: neither a block device nor a regular file' vdisk format / --len 8
says 1 '*: neither a block device nor a regular file' vdisk check /dev/null
for command in check repair dump map; do
	says 1 '*none: there is no such file; vdisk format makes one' vdisk "$command" none
	is "$(vdisk "$command" --json none 2>/dev/null | jq -r .error)" 'none: there is no such file; vdisk format makes one' "$command --json"
done
says 1 '*--len is missing*' vdisk format s
for wrong in '' 0x10 -1 1.5G 1GB 99999999999999999999 '8388608P' '1 G'; do
	says 1 "*--len: '$wrong' is no size*" vdisk format s "--len=$wrong"
done
says 1 '*no disk is that short*' vdisk format s --len 0
says 1 '*--len: 1001 sectors are no multiple of the unit, 8 sectors: say 1008' vdisk format s --len 1001 --unit 4096
says 1 '*--max-len: 1001 sectors are no multiple*say 1008' vdisk format s --len 1000 --max-len 1001 --unit 4096
says 1 '*--max-len: 7 sectors are less than the disk has, 8' vdisk format s --len 8 --max-len 7
says 1 '*--len: the longest disk has 9007199254740991 sectors' vdisk format s --len 9007199254740992
says 1 '*--max-len: the longest disk has *' vdisk format s --len 8 --max-len 8192P
says 1 "*--unit: '1024'*512 or 4096" vdisk format s --len 8 --unit 1024
says 1 "*--uuid: 'x' is none*" vdisk format s --len 8 --uuid x
says 1 '*--lineage: must be one word*' vdisk format s --len 8 --lineage 'a b'
says 1 '*--lineage: is 64 bytes long, and the longest one has 63' vdisk format s --len 8 --lineage "$(printf %064d 0)"
says 1 '*--base-id: has a control character' vdisk format s --len 8 --base-id $'\e[2J'
says 1 '*given twice: --len*' vdisk format s --len 8 --len 9
says 1 "*--damaged-as: 'zero': say absent or data" vdisk repair s --damaged-as zero
is "$(ls)" manual 'what is refused makes no file'

# Files
uuid=6fd2f2a8-0b3e-4d0f-9a55-1b7a4d9be0c1
exits 0 'a new file' vdisk format s --len 10G --lineage debian-13 --base-id 'the id' --base-len 7 --uuid $uuid
is "$(stat -c %s s)" $(((43008 + 20971520) * 512)) 'is long enough'
(($(stat -c %b s) <= 64))
ok $? 'and sparse'
is "$(vdisk dump --json s | jq -c '.superblocks[] | [.slot, .counts, .problem, (.fields | .unit, .len, .max_len, .presence_nr, .data_start, .base_len, .base_id, .lineage, .uuid, .epoch)]')" \
	"[0,false,null,512,20971520,83886080,42288,43008,7,\"the id\",\"debian-13\",\"$uuid\",1]
[1,true,null,512,20971520,83886080,42288,43008,7,\"the id\",\"debian-13\",\"$uuid\",1]" 'dump'
exits 0 'check' vdisk check s
is "$(local_map s)" '[0,10737418240,"absent"]' 'map'
says 1 "*s: holds a store already (uuid $uuid, a disk of 10 GiB); to lose it*--force" vdisk format s --len 1M
exits 0 'format --force' vdisk format s --len 1M --force
is "$(stat -c %s s)" $(((43008 + 20971520) * 512)) 'a longer file stays as long'
says 0 '*2048 units*' vdisk check s
exits 0 'of a cache' vdisk format s --len 1M --force --write-through
is "$(vdisk dump --json s | jq -c '[.superblocks[].fields | .incompat, .flags]')" '[1,0,1,0]' 'it says so'
is "$(vdisk format s --len 1M --force --write-through --json | jq .write_through)$(vdisk format s --len 1M --force --json | jq .write_through)" \
	truefalse 'format --json'
exits 0 'a size in sectors' vdisk format t --len 8 --max-len 8 --unit 4096
is "$(stat -c %s t)" $(((2048 + 8) * 512)) 'the smallest one'
spoil s 100
spoil s 4200
says 1 '*holds a store already (*bad checksum)*' vdisk format s --len 1M
says 2 '*no good superblock (slot 0: bad checksum, slot 1: bad checksum)*' vdisk check s
exits 2 'repair of that' vdisk repair s
exits 0 'dump of that' vdisk dump s
rm s t
exits 0 '64 TiB' vdisk format big --len 16T --max-len 64T --unit 4096 --json
exits 0 'check of 64 TiB' vdisk check big
rm big
# Stopped at some time: what it made goes with it
for delay in 0.002 0.005 0.01 0.02 0.04; do
	timeout --preserve-status -s INT $delay vdisk format big --len 16T --max-len 64T >/dev/null 2>&1 && rm big
	[[ ! -e big ]] || break
done
[[ ! -e big ]]
ok $? 'a format that is stopped leaves no file'
echo text >text
says 1 '*text: is a file that holds something already*--force' vdisk format text --len 1M
truncate -s 16M fs
mkfs.ext4 -q fs
says 1 '*fs: holds something already (ext4)*--force' vdisk format fs --len 1M
exits 0 'over a file system' vdisk format fs --len 1M --force
is "$(blkid -p -o value -s TYPE fs)" '' 'which is gone'
exits 0 'a file to be looked into' vdisk format a --len 1M
mkfifo pipe
vdisk map --svg pipe a &
# Its lock is read once it is seen there
wait_for 20 grep -q "OFDLCK .*:$(stat -c %i a) " /proc/locks
says 1 '*a: in use by another process*' vdisk format a --len 1M --force
says 1 '*a: in use by another process*' vdisk repair a
exits 0 'to look is not to use' vdisk check a
cat pipe >/dev/null
wait
ln -s a link
exits 0 'a link' vdisk check link

# Contents: unit n is in state n / 7 % 3
for unit in 512 4096; do
	vdisk-unit make old "$unit" 0
	exits 0 "unit $unit: a store with contents" vdisk check old
	want=$(awk -v unit=$unit 'BEGIN {
		split("absent data zero", state)
		for (n = 0; n < 8192 * 512 / unit; n += 7)
			printf "[%d,%d,\"%s\"]\n", n * unit, (n + 7 > 8192 * 512 / unit ? 8192 * 512 / unit - n : 7) * unit, state[n / 7 % 3 + 1]
	}')
	is "$(local_map old | md5sum)" "$(md5sum <<<"$want")" 'map --json'
	is "$(vdisk map old | awk 'NR > 1 { printf "[%d,%d,\"%s\"]\n", $1 * 512, $2 * 512, $3 }' | md5sum)" "$(md5sum <<<"$want")" 'map'
	is "$(vdisk dump --presence --json old | jq -c '.presence[].runs[] | [.start, .length, .state]' | head -n 100 | md5sum)" \
		"$(head -n 100 <<<"$want" | md5sum)" 'dump --presence'
	exits 0 'map --svg' vdisk map --svg old.svg old
	exits 0 'is XML' xmllint --noout old.svg
	grep -q 'fill="#1f6fb4"' old.svg
	ok $? 'with what is in the store'
	is "$(vdisk check --json old | jq -c '.result, .units')" "$(awk -v unit=$unit 'BEGIN {
		for (n = 0; n < 8192 * 512 / unit; n++)
			nr[int(n / 7) % 3]++
		printf "\"clean\"\n{\"absent\":%d,\"data\":%d,\"zero\":%d,\"damaged\":0}", nr[0], nr[1], nr[2]
	}')" 'check --json'
done
vdisk map --json old >/dev/full 2>/dev/null
is $? 1 'output that cannot be written'

# Damage, and repair
vdisk-unit make old 512 0
old=$(sum_map old)
for slot in 0 1; do
	cp old s
	spoil s $((slot * 4096 + 80)) 8
	says 3 "*harmless: superblock in slot $slot: bad checksum*" vdisk check s
	is "$(sum_map s)" "$old" 'nothing is lost'
	exits 0 "repair of slot $slot" vdisk repair s
	exits 0 'it is clean' vdisk check s
	is "$(sum_map s)" "$old" 'and still has what it had'
	is "$(vdisk dump --json s | jq -c '[.superblocks[] | .problem, .fields.sequence]')" \
		"$( ((slot)) && echo '[null,7,null,6]' || echo '[null,7,null,8]')" 'each slot has a sequence of its own'
done
cp old s
spoil s $((8192 + 2 * 512 + 77)) 2
spoil s $((8192 + 3 * 512 + 16)) 2
says 2 '*presence sectors 2 to 3 are bad: sectors 3968 to 7935 of the disk cannot be read or written*' vdisk check s
is "$(vdisk check --json s | jq -c '.result, .units.damaged, (.problems[] | [.severity, .start, .length])')" \
	$'"damage"\n3968\n["damage",2031616,2031616]' 'check --json'
exits 2 'map' vdisk map s
is "$(local_map s | grep damaged)" '[2031616,2031616,"damaged"]' 'of which there is a damaged range'
cp s t
says 2 '*--damaged-as*absent *base*data *store*' vdisk repair s
cmp -s s t
ok $? 'repair guesses nothing'
for state in absent data; do
	cp t s
	says 0 '*2 presence sectors written again*' vdisk repair s --damaged-as $state
	is "$(each_unit s | md5sum)" "$(each_unit old | awk -v as=$state '{ print (NR <= 3968 || NR > 7936 ? $0 : as) }' | md5sum)" "only these are $state"
	exits 0 'it is clean' vdisk check s
done
# Ctrl-C in a long one: what it did stays, and the next one has the rest to do
vdisk format big --len 16T >/dev/null
head -c 32M /dev/zero | tr '\0' '\377' | dd of=big bs=1M seek=8192 oflag=seek_bytes iflag=fullblock conv=notrunc status=none
repaired() { [[ $(od -An -tx1 -j 8192 -N 1 big) == *00 ]]; }
vdisk repair big --damaged-as absent 2>said &
wait_for 100 repaired
kill -INT $!
wait $!
is "$? $(grep -o 'big: stopped; .*' said)" '1 big: stopped; what was repaired stays so: say it again, and it goes on' 'repair, stopped'
says 2 '*presence sectors [1-9]*to 65535 are bad*' vdisk check big
says 0 '*presence sectors written again*' vdisk repair big --damaged-as absent
exits 0 'it is clean' vdisk check big
rm big
vdisk-unit make s 512 2
says 2 '*nothing of the base is absent, but 2732 units are*' vdisk check s
says 0 '*without the claim that nothing is absent*' vdisk repair s
is "$(vdisk dump --json s | jq -c '[.superblocks[].fields.flags]') $(sum_map s)" "[0,0] $old" 'no unit has become present'

# Of a cache with write_through: dirty is no fault, full is; what is damaged is in the base as well
vdisk-unit make s 512 1 1
says 0 '*write_through*when its host went down*No errors*' vdisk check s
is "$(vdisk check --json s | jq -c '[.write_through, .dirty]')" '[true,true]' 'check --json'
says 0 '*incompat *0x1 write-through*flags *0x1 dirty*' vdisk dump s
spoil s $((8192 + 2 * 512 + 77)) 2
exits 2 'damaged' vdisk check s
says 1 '*whose base has the data: say --damaged-as absent*' vdisk repair s --damaged-as data
says 0 '*1 presence sectors written again: *read as the base*' vdisk repair s
is "$(vdisk dump --json s | jq -c '[.superblocks[].fields | .flags, .incompat]') $(each_unit s | md5sum)" \
	"[1,1,1,1] $(each_unit old | awk '{ print (NR <= 3968 || NR > 5952 ? $0 : "absent") }' | md5sum)" 'its units are absent, and it is still dirty'
vdisk-unit make s 512 2 1
says 2 '*unknown flags 0x2*' vdisk check s
vdisk-unit make s 512 1
says 3 '*unknown flags 0x1*' vdisk check s
cp old s
truncate -s $((8192 + 4096)) s
says 2 '*the store is cut off*' vdisk check s
says 1 '*is cut off*' vdisk map s
says 1 '*is cut off; make it as long as it was*' vdisk repair s --damaged-as absent
truncate -s 2M s
says 2 '*the store is cut off: it has 2097152 bytes, and its data ends at 5242880*' vdisk check s

# Devices
for block in 512 4096; do
	null_disk 8 "$block"
	disk=$DISK
	if ((block == 4096)); then
		says 1 '*has blocks of 4096 bytes*--unit 4096' vdisk format "$disk" --len 1M
	else
		mkfs.ext4 -q "$disk"
		says 1 '*holds something already (ext4)*' vdisk format "$disk" --len 1M
		wipefs -qa "$disk"
		printf '\125\252' | dd of="$disk" bs=1 seek=510 conv=notrunc status=none
		says 1 '*holds something already (dos)*' vdisk format "$disk" --len 1M
		wipefs -qa "$disk"
	fi
	says 1 '*is too small: 16392 sectors (8.0 MiB) are needed for this --len and --max-len, and it has 16384 (8 MiB)' \
		vdisk format "$disk" --len 14344 --max-len 14344 --unit $block
	dd if=/dev/urandom of="$disk" bs=1M count=8 oflag=direct status=none
	exits 0 "$block: a device" vdisk format "$disk" --len 14336 --max-len 14336 --unit $block
	exits 0 'check' vdisk check "$disk"
	is "$(local_map "$disk")" '[0,7340032,"absent"]' 'map'
	says 1 '*holds a store already*' vdisk format "$disk" --len 8
	dm held "0 16384 linear $disk 0"
	for command in 'format --force --len 8' check repair dump map; do
		# shellcheck disable=SC2086
		says 1 '*in use: mounted, or below another device*' vdisk $command "$disk"
	done
	exits 0 'map --force-share' vdisk map --force-share "$disk"
	gone held
	dd if=/dev/urandom of="$disk" bs=4096 seek=2 count=1 oflag=direct conv=notrunc status=none
	says 2 "*presence sector$([[ $block == 4096 ]] || echo 's 0 to 7 are bad')*sectors 0 to 14335 of the disk*" vdisk check "$disk"
	exits 0 'repair' vdisk repair --damaged-as data "$disk"
	exits 0 'check' vdisk check "$disk"
	is "$(vdisk check --json "$disk" | jq .units.data)" $((block == 512 ? 14336 : 14336 / 8)) 'all is data'
	blockdev --setro "$disk"
	says 1 '*is read-only*' vdisk format "$disk" --len 8 --unit $block --force
	exits 0 'check of what is read-only' vdisk check "$disk"
	blockdev --setrw "$disk"
done

# What the kernel makes of it, and what it leaves: data, zeroes, a damaged sector taken for absent
load_vdisk
null_disk 8 512
base=$DISK disk=${disks[0]}
tr '\0' b </dev/zero | dd of="$base" bs=1M count=8 iflag=fullblock oflag=direct status=none
exits 0 'a store for the kernel' vdisk format "$disk" --len 4096 --max-len 8192 --force
vd a 4096 "overlay ( block $disk ) ( block $base )"
tr '\0' w </dev/zero | dd of="/dev/mapper/${VD}a" bs=4096 count=2 seek=3 iflag=fullblock oflag=direct conv=fsync status=none
run_ok 'zeroes' blkdiscard -z -o 1048576 -l 524288 "/dev/mapper/${VD}a"
says 1 '*in use*' vdisk check "$disk"
gone a
exits 0 'what the kernel wrote is clean' vdisk check "$disk"
is "$(local_map "$disk")" '[0,12288,"absent"]
[12288,8192,"data"]
[20480,1028096,"absent"]
[1048576,524288,"zero"]
[1572864,524288,"absent"]' 'and what was written'
is "$(dd if="$disk" bs=512 skip=$((2048 + 24)) count=16 iflag=direct status=none | tr -cd w | wc -c)" 8192 'data is where it has to be'
head -c 512 /dev/urandom | dd of="$disk" bs=512 seek=16 oflag=direct conv=notrunc status=none
exits 2 'a damaged sector' vdisk check "$disk"
exits 0 'taken for absent' vdisk repair --damaged-as absent "$disk"
vd a 4096 "overlay ( block $disk ) ( block $base )"
is "$(dd if="/dev/mapper/${VD}a" bs=512 count=4096 iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | uniq -c | awk '{ print $1 $2 }' | tr '\n' ' ')" \
	'2048b 1024. 1024b ' 'reads as the base, and beyond it as it was'
gone a
exits 0 'and is clean' vdisk check "$disk"

# What cannot be read is damage, and not all that is beside it
modprobe dm-flakey
disk=${disks[0]}
vdisk-unit make old 512 0
dd if=old of="$disk" bs=1M oflag=direct conv=notrunc status=none
printf '%s\n' "0 16 linear $disk 0" '16 8 error' "24 16360 linear $disk 24" | dmsetup create "${VD}bad"
says 2 '*presence sectors 0 to 7 are unreadable: sectors 0 to 8191 *' vdisk check "/dev/mapper/${VD}bad"
exits 1 'what cannot be written cannot be repaired' vdisk repair --damaged-as absent "/dev/mapper/${VD}bad"
gone bad
printf '%s\n' "0 8 error" "8 16376 linear $disk 8" | dmsetup create "${VD}bad"
says 3 '*slot 0: cannot be read; the other one is good*' vdisk check "/dev/mapper/${VD}bad"
is "$(sum_map "/dev/mapper/${VD}bad")" "$old" 'the other slot is as good'

# Format, when a write fails: what is there is the old store, or none.
exits 1 'the first write fails' vdisk format "/dev/mapper/${VD}bad" --len 4M --force
gone bad
exits 0 'the old store is whole' vdisk check "$disk"
is "$(sum_map "$disk")" "$old" 'with all it held'
printf '%s\n' "0 16 linear $disk 0" '16 8 error' "24 16360 linear $disk 24" | dmsetup create "${VD}bad"
exits 1 'the presence area cannot be cleared' vdisk format "/dev/mapper/${VD}bad" --len 4M --force
gone bad
says 1 '*holds no store*' vdisk check "$disk"

# Every state of a power cut: the writes of a format as dm-log-writes saw them, the first 0, 1, ... of them.
if has_config CONFIG_DM_LOG_WRITES; then
	modprobe dm-log-writes
	null_disk 64 512
	log=$DISK
	dd if=old of="$disk" bs=1M oflag=direct conv=notrunc status=none
	dd if="$disk" of=state bs=1M status=none
	dm log "0 16384 log-writes $disk $log"
	exits 0 'format' vdisk format "/dev/mapper/${VD}log" --len 4M --max-len 16M --force
	gone log
	dd if="$log" of=log bs=1M status=none
	empty=$(md5sum <<<'[0,4194304,"absent"]')
	word() { od -An -t u8 -j "$1" -N 8 log | tr -d ' '; }
	nr=$(word 16) at=512 seen='' flushed=1 unordered=0
	for ((i = 0; i < nr; i++)); do
		sector=$(word $at) sectors=$(word $((at + 8))) flags=$(word $((at + 16)))
		at=$((at + 512))
		# Superblocks: what was before them is durable.
		((!(flags & 1))) || flushed=1
		if ((sectors)); then
			((flushed || (sector >= 16 && sector < 2048))) || unordered=1
			((sector >= 16)) || ((flags & 3)) || flushed=0
			((sector < 16)) || flushed=0
			dd if=log of=state bs=512 skip=$((at / 512)) seek="$sector" count="$sectors" conv=notrunc status=none
			at=$((at + sectors * 512))
		fi
		said=$(vdisk check state 2>&1)
		status=$?
		case $status in
		1) seen+=n ;;
		0 | 3) case $(sum_map state) in
			"$old") seen+=o ;;
			"$empty") seen+=f ;;
			*) seen+=X ;;
			esac ;;
		*) seen+=X ;;
		esac
	done
	[[ $seen =~ ^o+n+f+$ ]]
	ok $? 'every state is the old store, then none, then the new one'
	is "$unordered" 0 'and a flush is between what depends on one another'
	comment "$nr writes and flushes: $seen"
else
	skip 'states of a power cut' CONFIG_DM_LOG_WRITES
fi

# The same by hand, as a file has it: zeroed slots, cleared presence, each on its own
cp old s
clear_at s 0 1
is "$(vdisk check s >/dev/null; echo $?) $(sum_map s)" "3 $old" 'slot 0 is gone'
clear_at s 1 1
exits 1 'both slots are gone' vdisk check s
clear_at s 2 1
exits 1 'presence is cleared' vdisk check s
vdisk format new --len 4M --max-len 16M >/dev/null
dd if=new of=s bs=4096 count=1 conv=notrunc status=none
is "$(vdisk check s >/dev/null; echo $?) $(local_map s)" '3 [0,4194304,"absent"]' 'slot 0 is new'
done_testing
