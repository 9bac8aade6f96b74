# shellcheck shell=bash
# What the tests of blob share: an image, helpers, read-only disks. Source it after common.sh.

# image MIB: $image, random bytes
image() {
	image=$TMP/image
	head -c "$(($1 << 20))" /dev/urandom >"$image"
	chmod 755 "$TMP"	# for helpers of another uid
	len=$(($1 << 11))
}

# ro NAME STACK: a read-only disk of $len sectors
ro() { dmsetup create "$VD$1" --readonly --table "0 $len vdisk $2"; }

# reload_ro NAME STACK [SUSPEND_OPTION...]
reload_ro() {
	local name=$VD$1 stack=$2
	shift 2
	dmsetup load "$name" --readonly --table "0 $len vdisk $stack" && dmsetup suspend "$@" "$name" && dmsetup resume "$name"
}

# helper OPTION... NAME: serves $image; $helper is its process. Returns when it is attached.
helper() {
	local line
	exec {pipe}< <(exec blobd "$@" "$image" 2>"$TMP/helper.err")
	helper=$!
	undo+=("kill -9 $helper")
	read -r -t 60 -u "$pipe" line
	[[ $line == attached ]] || comment "$(<"$TMP/helper.err")"
}

# dead: kill -9 the helper
dead() {
	kill -9 "$helper"
	timeout 30 tail --pid="$helper" -s 0.05 -f /dev/null
}

# is_count KEY VALUE DEVICE
is_count() { [[ $(counter "$3" blob 1 "$1") == "$2" ]]; }

# compared NAME DEVICE OPTION...: random reads by 4 threads
compared() {
	local name=$1 device=/dev/mapper/$VD$2
	shift 2
	run_ok "$name" timeout 200 blobd --check -t 4 "$@" "$device" "$image"
}

# reading DEVICE OPTION...: $reader is the process of such reads, $TMP/reader what it says
reading() {
	local device=/dev/mapper/$VD$1
	shift
	timeout 200 blobd --check "$@" "$device" "$image" >"$TMP/reader" 2>&1 &
	reader=$!
}

# under_reads: until it is enough() there are reads; $reader
under_reads() {
	rm -f "$TMP/enough"
	until [[ -e $TMP/enough ]]; do
		timeout 200 blobd --check -t 4 -n 25 --seed $RANDOM "/dev/mapper/${VD}a" "$image" || exit
	done >"$TMP/reader" 2>&1 &
	reader=$!
}
enough() { : >"$TMP/enough"; }

# read_is STATUS NAME: how the reads ended
read_is() {
	local status=0
	timeout 100 tail --pid="$reader" -s 0.05 -f /dev/null
	wait "$reader" || status=$?
	is "$status" "$1" "$2"
	[[ $status == "$1" ]] || comment "$(<"$TMP/reader")"
}
