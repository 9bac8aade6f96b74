# shellcheck shell=bash
# What the selftests share on top of ../lib/ktap.sh. Source it first, end with done_testing.

selftests=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=tests/lib/ktap.sh
. "$selftests/../lib/ktap.sh"
trap finish EXIT

# The helpers are compiled before the guest starts; if not, here, which is slow.
PATH=${VDISK_BUILD%/*}/selftests:$PATH
"$selftests/build.sh" "${VDISK_BUILD%/*}/selftests"
TMP=$(mktemp -d)
null_disks=() disks=() undo=()

finish() {
	local status=$? command
	for command in "${undo[@]}"; do
		eval "$command" >/dev/null 2>&1
	done
	(trap - EXIT && cleanup)
	for command in "${null_disks[@]}"; do
		rmdir "/sys/kernel/config/nullb/$command"
	done
	rm -rf "$TMP"
	exit "$status"
}

# vd NAME SECTORS STACK: a vdisk, /dev/mapper/$VD<NAME>
vd() { dm "$1" "0 $2 vdisk $3"; }

# dm NAME TABLE
dm() { dmsetup create "$VD$1" --table "$2"; }

# reload NAME TABLE [SUSPEND_OPTION...]
reload() {
	local name=$VD$1 table=$2
	shift 2
	dmsetup load "$name" --table "$table" && dmsetup suspend "$@" "$name" && dmsetup resume "$name"
}

gone() {
	local name
	for name; do
		dmsetup remove --retry "$VD$name"
	done
}

events() { dmsetup info -c --noheadings -o events "${VD}a"; }
table() { dmsetup table "$VD$1" | cut -d ' ' -f 4-; }
status() { dmsetup status "$VD$1" | cut -d ' ' -f 4-; }

# counter DEVICE TYPE N KEY...: of the N-th node of a type
counter() { status "$1" | awk -v type="$2" -v n="$3" -v keys="${*:4}" '{
	nr_keys = split(keys, key, " ")
	for (i = 1; i <= NF; i++) {
		if (i == 1 || $(i - 1) == "(")
			here = $i == type && ++seen == n
		for (k = 1; here && k <= nr_keys; k++)
			if (index($i, key[k] "=") == 1)
				value[k] = substr($i, length(key[k]) + 2)
	}
	for (k = 1; k <= nr_keys; k++)
		printf "%s%s", value[k], (k < nr_keys ? " " : "\n")
}'; }

# put DEVICE LETTER BYTES [OPERAND_OF_DD...]: so many of it, in one bio if they fit there
put() { head -c "$3" /dev/zero | tr '\0' "$2" | dd of="$1" bs="$3" oflag=direct conv=notrunc status=none "${@:4}"; }
# letter DEVICE SECTOR: what the first byte of a sector is
letter() { dd if="$1" bs=512 skip="$2" count=1 iflag=direct status=none | tr '\0' . | cut -c 1; }
# error COMMAND...: what the kernel told it, if anything
error() {
	LC_ALL=C "$@" 2>&1 | grep -oE 'No data available|No space left on device|Input/output error|Operation not supported|Cannot allocate memory|Read-only file system|Remote I/O error|Invalid exchange' |
		head -n 1
}

sectors() { blockdev --getsz "$1"; }
devno() { printf '%d:%d' "0x$(stat -Lc %t "$1")" "0x$(stat -Lc %T "$1")"; }
queue() { echo "/sys/block/$(dmsetup info -c --noheadings -o blkdevname "$VD$1")/queue"; }
limit() { cat "$(queue "$1")/$2"; }

# null_disk MIB BLOCK [ATTRIBUTE=VALUE...]: a memory-backed null_blk, $DISK, which ends with the test. With blocks of 4096 it
# loses data where one lies in two pages of memory: it allows that, but takes each part's first sector only for written
# (drivers/block/null_blk/main.c:copy_to_nullb()). For direct I/O in smaller blocks: loop_disk.
null_disk() {
	local name=vd$$n${#null_disks[@]} dir attribute
	modprobe null_blk nr_devices=0
	dir=/sys/kernel/config/nullb/$name
	mkdir "$dir"
	null_disks+=("$name")
	for attribute in memory_backed=1 "size=$1" "blocksize=$2" "${@:3}"; do
		[[ ! -e $dir/${attribute%%=*} ]] || echo "${attribute#*=}" >"$dir/${attribute%%=*}"
	done
	echo 1 >"$dir/power"
	DISK=/dev/$name
	[[ -b $DISK ]] || DISK=/dev/nullb$(<"$dir/index")
	disks+=("$DISK")
}

# loop_disk MIB BLOCK: a loop device over memory, $DISK, which ends with the test
loop_disk() {
	local image=$TMP/loop${#disks[@]}
	modprobe loop
	truncate -s "$1M" "$image"
	DISK=$(losetup --find --show --sector-size "$2" "$image")
	undo=("losetup -d $DISK" "${undo[@]}")
	disks+=("$DISK")
}

# children N [OPTION...]: "( block <disk> OPTION... )" for the first N of disks
children() {
	local i
	for ((i = 0; i < $1; i++)); do
		printf '( block %s%s ) ' "${disks[i]}" "${2:+ $2}"
	done
}

# Messages of refused loads come from dm core: "device-mapper: table: <device>: vdisk: <message> (-EINVAL)". They are looked
# at together, by refusals: reading the kernel log takes its time.
# refused MESSAGE STACK [SECTORS]: the load into $scratch fails and says exactly this
refused_message=() refused_stack=() refused_loaded=() refused_batch=0
refused() {
	local i=${#refused_message[@]}
	refused_message+=("$1")
	refused_stack+=("$2")
	refused_loaded+=('')
	echo "refused: load $$.$refused_batch.$i" >/dev/kmsg
	! printf '0 %s vdisk %s\n' "${3:-2048}" "$2" | dmsetup load "$VD$scratch" >/dev/null 2>&1 || refused_loaded[i]=1
}

refusals() {
	local i said
	echo 'refused: end' >/dev/kmsg
	dmesg >"$TMP/dmesg"
	for i in "${!refused_message[@]}"; do
		said=$(sed -n "/refused: load $$.$refused_batch.$i\$/,/refused: /s/.*device-mapper: table: [^ ]* vdisk: //p" "$TMP/dmesg")
		if [[ ${refused_loaded[i]} ]]; then
			ok 1 "refused: ${refused_message[i]}"
			comment "it loads: ${refused_stack[i]:0:200}"
		elif [[ $said != "${refused_message[i]} ("* ]]; then
			ok 1 "refused: ${refused_message[i]}"
			comment "stack: ${refused_stack[i]:0:200}" "it says: $said"
		else
			ok 0 "refused: ${refused_message[i]}"
		fi
	done
	refused_message=() refused_stack=() refused_loaded=()
	refused_batch=$((refused_batch + 1))
}

# scratch: make a device without a table, to load into
scratch() {
	scratch=scratch
	dmsetup create "$VD$scratch" --notable
}

# same_queue NAME DEVICE DEVICE [EXCEPT]: every file of queue/ is equal
same_queue() {
	local name=$1 a b except=${4:-^$}
	a=$(cd "$(queue "$2")" && grep -rs '' . | grep -vE "$except" | sort)
	b=$(cd "$(queue "$3")" && grep -rs '' . | grep -vE "$except" | sort)
	is "$(diff <(echo "$b") <(echo "$a"))" '' "$name"
}

# What is drawn at random can be drawn again: VDISK_FUZZ_SEED is the first seed, and each vdio has the next.
seeds=()
next_seed() {
	[[ ! ${VDISK_FUZZ_SEED-} ]] || seeds=(-S "$((VDISK_FUZZ_SEED + vdios++))")
}
declare -i vdios=0

# verified NAME VDIO_ARGUMENT...
verified() {
	local name=$1
	shift
	next_seed
	run_ok "$name" vdio "${seeds[@]}" "$@"
}

# under_load NAME ROUND_FUNCTION [VDIO_ARGUMENT...]: run it with the number of each of $rounds while verified I/O runs on device a
rounds=${VDISK_ROUNDS:-10}
under_load() {
	local name=$1 round=$2 pid i failed=0
	shift 2
	next_seed
	vdio -s 9999 "${seeds[@]}" "$@" --verify "/dev/mapper/${VD}a" >"$TMP/out" 2>&1 &
	pid=$!
	for ((i = 0; i < rounds; i++)); do
		"$round" "$i" >>"$TMP/round" 2>&1 || failed=1
		kill -0 "$pid" 2>/dev/null || break
	done
	ok "$failed" "$name: $i rounds"
	((!failed)) || comment "$(tail -n 5 "$TMP/round")"
	kill "$pid"
	timeout 60 tail --pid="$pid" -f /dev/null
	ok $? "$name: the I/O ends"
	wait "$pid"
	is $? 0 "$name: no wrong byte, no error"
	comment "$(<"$TMP/out")"
}

# nothing_leaked: of the module's, which is gone
nothing_leaked() {
	if [[ -w /sys/kernel/debug/kmemleak ]]; then
		# Only what is some seconds old is looked at, and only the second scan reports.
		sleep 6
		echo scan >/sys/kernel/debug/kmemleak
		echo scan >/sys/kernel/debug/kmemleak
		is "$(grep -A 12 unreferenced /sys/kernel/debug/kmemleak | grep -E 'vdisk|dm_')" '' 'nothing leaked'
	else
		skip 'nothing leaked' CONFIG_DEBUG_KMEMLEAK
	fi
}

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || return
		sleep 0.1
	done
}

# Rounds for under_load. Of device a, with or without noflush.
suspend_resume() {
	local -a how=()
	(($1 % 2)) && how=(--noflush)
	dmsetup suspend "${how[@]}" "${VD}a" && dmsetup resume "${VD}a"
}

# Device a gets the next one of $stacks, and is longer by $growth with each round.
stacks=() length=0 growth=0
another_stack() {
	local -a how=()
	(($1 % 3)) || how=(--noflush)
	reload a "0 $((length + growth * $1)) vdisk ${stacks[($1 + 1) % ${#stacks[@]}]}" "${how[@]}"
}

# stripe_matrix BLOCK: both ways, 2..5 children, all chunks
stripe_matrix() {
	local -i n chunk len
	local dump=$TMP/model i
	local -a parts io=(-n "${VDISK_OPS:-80}" -d 4 -z 4 -f 2 -m 512)
	for ((n = 0; n < 5; n++)); do
		null_disk 8 "$1" discard=1
	done
	for n in 2 3 4 5; do
		for chunk in 8 24 128 256 2048; do
			len=$(($(sectors "${disks[0]}") / chunk * chunk * n))
			parts=()
			for ((i = 0; i < n; i++)); do
				parts+=("${disks[i]}" 0)
			done
			vd v "$len" "striped chunk:$chunk $(children "$n")"
			dm s "0 $len striped $n $chunk ${parts[*]}"
			verified "$n x $chunk: written through vdisk" "${io[@]}" --dump-model "$dump" "/dev/mapper/${VD}v"
			verified "$n x $chunk: read through dm-stripe" --check-file "$dump" "/dev/mapper/${VD}s"
			verified "$n x $chunk: written through dm-stripe" "${io[@]}" --dump-model "$dump" "/dev/mapper/${VD}s"
			verified "$n x $chunk: read through vdisk" --check-file "$dump" "/dev/mapper/${VD}v"
			same_queue "$n x $chunk: the same queue" v s
			gone v s
		done
	done
}
