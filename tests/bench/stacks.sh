# shellcheck shell=bash
# The devices that the benchmarks compare. Source it after ../lib/ktap.sh.

SECTORS=$((4 << 21))
CHUNK=128
FILE_MIB=128
# What the generator is told, and what it answers.
# shellcheck disable=SC2034 # used by who sources this
generator=/sys/kernel/debug/vdisk-biogen/run

load_bench() {
	load_vdisk
	load "$(find "$VDISK_BUILD" -name vdisk-biogen.ko -print -quit)"
	modprobe null_blk nr_devices=0
}

# null_disk NUMBER bio|mq: /dev/nullb<NUMBER>, a device that answers at once and copies nothing, unless $NULL_MEMORY is 1. Fails if the kernel has no
# such mode: newer ones take the other one instead, and only the attribute tells.
null_disk() {
	local dir=/sys/kernel/config/nullb/nullb$1 mode=2
	[[ $2 != bio ]] || mode=0
	mkdir "$dir"
	echo "$((SECTORS >> 11))" >"$dir/size"
	echo "$mode" >"$dir/queue_mode"
	echo 0 >"$dir/irqmode"
	echo "${NULL_MEMORY:-0}" >"$dir/memory_backed"
	nproc >"$dir/submit_queues"
	echo 1 >"$dir/power"
	if [[ $(<"$dir/queue_mode") != "$mode" ]]; then
		echo 0 >"$dir/power"
		rmdir "$dir"
		return 1
	fi
	# Scheduling is not what is measured.
	[[ $2 != mq ]] || echo none >"/sys/block/nullb$1/queue/scheduler"
}

dm() { dmsetup create "$VD$1" --table "0 $SECTORS $2"; }

# chain NAME DISK: five dm-linear devices on top of each other
chain() {
	local n below=$2
	for n in 1 2 3 4; do
		dm "$1-$n" "linear $below 0"
		below=/dev/mapper/$VD$1-$n
	done
	dm "$1" "linear $below 0"
}

# stacks PREFIX FIRST: what is measured over null disks FIRST, FIRST + 1 and FIRST + 2. The names ending in b are the
# peers once more, to tell what two measurings of the same differ by.
stacks() {
	local p=$1 a=/dev/nullb$2 b=/dev/nullb$(($2 + 1)) c=/dev/nullb$(($2 + 2))
	dm "$p-L1" "linear $a 0"
	dm "$p-V1" "vdisk block $a"
	dm "$p-V5" "vdisk concat ( concat ( concat ( concat ( block $a ) ) ) )"
	dm "$p-L1b" "linear $a 0"
	chain "$p-L5" "$a"
	chain "$p-L5b" "$a"
	dm "$p-S" "striped 2 $CHUNK $b 0 $c 0"
	dm "$p-VS" "vdisk striped chunk:$CHUNK ( block $b len:$((SECTORS / 2)) ) ( block $c len:$((SECTORS / 2)) )"
	dm "$p-Sb" "striped 2 $CHUNK $b 0 $c 0"
}

# crypt_stacks PREFIX DISK SECTOR_SIZE: dm-crypt as cryptsetup sets it up (C), dm-crypt without its queues (CN), and vdisk.
# $KEY is what tables call the key.
crypt_stacks() {
	local p=$1 disk=/dev/nullb$2 twin
	for twin in '' b; do
		dm "$p-C$twin" "crypt aes-xts-plain64 $KEY 0 $disk 0 1 sector_size:$3"
		dm "$p-CN$twin" "crypt aes-xts-plain64 $KEY 0 $disk 0 3 sector_size:$3 no_read_workqueue no_write_workqueue"
	done
	dm "$p-VC" "vdisk crypt cipher:aes-xts-plain64 key:$KEY sector_size:$3 ( block $disk )"
}

# pr_stacks PREFIX NR STACK: a stack without pr (W), and with it (P), when its domain has so many registrants. Those without a
# device stay as long as P is there.
pr_stacks() {
	local p=$1 nr=$2 stack=$3 i
	dm "$p-W" "vdisk $stack"
	dm "$p-P" "vdisk pr domain:$p nexus:0 ( $stack )"
	dm "$p-Wb" "vdisk $stack"
	dmsetup message "$VD$p-P" 0 pr register 0 1
	dmsetup message "$VD$p-P" 0 pr reserve 1 write-exclusive-reg-only
	for ((i = 1; i < nr; i++)); do
		dm "$p-R" "vdisk pr domain:$p nexus:$i ( zero )"
		dmsetup message "$VD$p-R" 0 pr register 0 1
		dmsetup remove "$VD$p-R"
	done
}

# file_stacks FS DISK: files on such a file system, of the same size: one for all that go past the page cache, the file itself (F),
# a loop device (LD) and vdisk (VF), and one for a loop device that goes through it (LB). Both have been written to.
file_stacks() {
	local fs=$1 disk=/dev/nullb$2 dir=$TMPDIR/$1 twin file
	mkdir "$dir"
	modprobe -q "$fs"
	modprobe -q loop
	case $fs in
	ext4) mkfs.ext4 -qF -b 4096 "$disk" ;;
	*) "mkfs.$fs" -qf "$disk" >/dev/null ;;
	esac
	mount -t "$fs" "$disk" "$dir"
	for file in direct buffered; do
		head -c "${FILE_MIB}M" /dev/zero >"$dir/$file"
	done
	sync -f "$dir"
	for twin in '' b; do
		ln -s "$dir/direct" "$TMPDIR/$fs-F$twin"
		ln -s "$(losetup --find --show --direct-io=on "$dir/direct")" "$TMPDIR/$fs-LD$twin"
		ln -s "$(losetup --find --show "$dir/buffered")" "$TMPDIR/$fs-LB$twin"
	done
	dmsetup create "$VD$fs-VF" --table "0 $((FILE_MIB << 11)) vdisk file $dir/direct"
}

file_stacks_gone() {
	local link
	dmsetup remove --retry "$VD$1-VF"
	for link in "$TMPDIR/$1"-L*; do
		losetup -d "$(readlink "$link")"
	done
	umount "$TMPDIR/$1"
}

# device PREFIX FIRST NAME: what the generator calls one of them, or the null disk itself (raw), or a cipher of PREFIX's
# sector size (B)
device() {
	case $3 in
	B) echo "cipher=${1//[a-z]/}" && return ;;
	esac
	printf dev=
	node "$@"
}

# node PREFIX FIRST NAME: its path
node() {
	case $3 in
	raw) echo "/dev/nullb$2" ;;
	F* | L[DB]*) readlink -f "$TMPDIR/$1-$3" ;;
	*) echo "/dev/mapper/$VD$1-$3" ;;
	esac
}
