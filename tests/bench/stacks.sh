# shellcheck shell=bash
# The devices that the benchmarks compare. Source it after ../lib/ktap.sh.

SECTORS=$((4 << 21))
CHUNK=128
FILE_MIB=128
BLOB_MIB=64
LAYER_MIB=64
BIN=${VDISK_BUILD%/*}/bench
# What the generator is told, and what it answers.
# shellcheck disable=SC2034 # used by who sources this
generator=/sys/kernel/debug/vdisk-biogen/run

load_bench() {
	load_vdisk
	load "$(find "$VDISK_BUILD" -name vdisk-biogen.ko -print -quit)"
	modprobe null_blk nr_devices=0
}

# null_disk NUMBER bio|mq: /dev/nullb<NUMBER>, a device that answers at once and copies nothing, unless $NULL_MEMORY is 1;
# it has something to flush if $NULL_CACHE says how many MiB. Fails if the kernel has no such mode: newer ones take the other one
# instead, and only the attribute tells.
null_disk() {
	local dir=/sys/kernel/config/nullb/nullb$1 mode=2
	[[ $2 != bio ]] || mode=0
	mkdir "$dir"
	echo "$((SECTORS >> 11))" >"$dir/size"
	echo "$mode" >"$dir/queue_mode"
	echo 0 >"$dir/irqmode"
	echo "${NULL_MEMORY:-0}" >"$dir/memory_backed"
	[[ ! ${NULL_CACHE-} ]] || echo "$NULL_CACHE" >"$dir/cache_size"
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

# started LOG COMMAND...: in the background, on the first processor, where the generator is not; returns when it has said its
# first line, which is left in $said.
started() {
	local log=$TMPDIR/$1
	shift
	: >"$log"
	taskset -c 0 "$@" >>"$log" &
	# shellcheck disable=SC2016 # for sh
	timeout 60 sh -c 'until read -r line <"$1"; do sleep 0.05; done' sh "$log"
	read -r said <"$log"
}

# blob_stacks PREFIX: the same bytes from servers that have them in memory: nbdkit over a unix socket (N), a ublk server (U), and
# vdisk blob with a helper that answers one request a call (H1), all there are (HB), or these by io_uring (HU).
blob_stacks() {
	local p=$1 tool=$VDISK_TOOLS/nbdkit image=$TMPDIR/image twin name
	local lib=$tool/usr/lib/x86_64-linux-gnu
	local -A mode=([H1]=one [HB]=batch [HU]=uring)
	BLOB_SECTORS=$((BLOB_MIB << 11))
	head -c "${BLOB_MIB}M" /dev/urandom >"$image"

	# What the kernel was told of copying, the C library has not heard.
	[[ $(</proc/cmdline) != *clearcpuid=erms* ]] || local -x GLIBC_TUNABLES=glibc.cpu.hwcaps=-ERMS,-FSRM
	# Its threads run where the scheduler likes.
	modprobe nbd nbds_max=1
	"$tool/usr/bin/nbdkit" -U "$TMPDIR/nbd" -P "$TMPDIR/nbd.pid" "$lib/nbdkit/plugins/nbdkit-memory-plugin.so" "${BLOB_MIB}M"
	LD_LIBRARY_PATH=$lib:$tool/lib/x86_64-linux-gnu "$tool/sbin/nbd-client" -unix "$TMPDIR/nbd" /dev/nbd0 >/dev/null
	dd if="$image" of=/dev/nbd0 bs=1M oflag=direct status=none

	modprobe ublk_drv
	started ublk "$BIN/ublkmem" "$image"
	for twin in '' b; do
		ln -s /dev/nbd0 "$TMPDIR/$p-N$twin"
		ln -s "$said" "$TMPDIR/$p-U$twin"
	done
	# Scheduling is not what is measured.
	for name in /dev/nbd0 "$said"; do
		echo none >"/sys/block/${name##*/}/queue/scheduler"
	done
	for name in H1 HB HU; do
		dmsetup create "$VD$p-$name" --readonly --table "0 $BLOB_SECTORS vdisk blob $name len:$BLOB_SECTORS"
		started "$name" "$BIN/blobmem" "${mode[$name]}" "$name" "$image"
	done
	for name in N U H1 HB HU; do
		cmp "$image" "$(node "$p" 0 "$name")"
	done
}

# kept PREFIX NAME STACK: a cache of a user's, with what fills and reads ahead by default, but in memory
kept() { dmsetup create "$VD$1-$2" --readonly --table "0 $BLOB_SECTORS vdisk cache volatile ( ram ) ( $3 )"; }

# present_stacks PREFIX: caches that have all, over blob (CH) and over a disk (CB)
present_stacks() {
	local p=$1 name
	kept "$p" CB 'block /dev/nullb0'
	kept "$p" CH "blob HB len:$BLOB_SECTORS"
	kept "$p" CBb 'block /dev/nullb0'
	for name in CB CH CBb; do
		dd if="$(node "$p" 0 "$name")" of=/dev/null bs=1M iflag=direct status=none
		# Who suspends waits for what is being kept.
		dmsetup suspend "$VD$p-$name"
		dmsetup resume "$VD$p-$name"
	done
}

# layer NAME: make one of the layers over /dev/nullb0 anew, with nothing in it: vdisk overlay (O), dm-snapshot with an exception store
# (SP) or one in memory (SN), dm-thin (TH) and dm-clone (CL). D is a disk, which has all.
declare -A thin_id=()
layer() {
	local name=$1 p=$VD$prefix base=/dev/nullb0 len=$((LAYER_MIB << 11)) disk=${layer_disk[$1]} kind
	[[ ! -e /dev/mapper/$p-$name ]] || dmsetup remove --retry "$p-$name"
	case $name in
	D*) set -- "linear $disk 0" ;;
	O*)
		"$BIN/../selftests/vdisk" format "$disk" --len $len --force >/dev/null
		set -- "vdisk overlay ( block $disk ) ( block $base )"
		;;
	SP* | SN*)
		kind=P
		[[ $name == SP* ]] || kind=N
		dd if=/dev/zero of="$disk" bs=1M count=1 oflag=direct status=none
		set -- "snapshot $base $disk $kind 8"
		;;
	TH*)
		[[ ! ${thin_id[$name]-} ]] || dmsetup message "$p-pool" 0 "delete ${thin_id[$name]}"
		thin_id[$name]=$((thin_ids++))
		dmsetup message "$p-pool" 0 "create_thin ${thin_id[$name]}"
		set -- "thin /dev/mapper/$p-pool ${thin_id[$name]} $base"
		;;
	CL*)
		dd if=/dev/zero of="$layer_meta" bs=1M count=1 oflag=direct status=none
		set -- "clone $layer_meta $disk $base 8 1 no_hydration"
		;;
	esac
	dmsetup create "$p-$name" --table "0 $len $1"
	# All find the disk's own cache as empty.
	sync "$disk"
}

# layer_stacks PREFIX NAME...: these, over disks in memory, with a cache that has to be flushed
layer_stacks() {
	local prefix=$1 name n=1
	shift
	declare -gA layer_disk=()
	SECTORS=$(((LAYER_MIB + 16) << 11)) NULL_MEMORY=1 NULL_CACHE=1024
	thin_ids=0
	modprobe -a dm_snapshot dm_thin_pool
	null_disk 0 mq
	dd if=/dev/urandom of=/dev/nullb0 bs=1M count=$LAYER_MIB oflag=direct status=none
	for name; do
		null_disk $n mq
		layer_disk[$name]=/dev/nullb$n
		n=$((n + 1))
	done
	null_disk $n mq
	# Room for both twins
	SECTORS=$((4 * SECTORS)) null_disk $((n + 1)) mq
	dmsetup create "$VD$prefix-pool" --table "0 $((4 * LAYER_MIB << 11)) thin-pool /dev/nullb$n /dev/nullb$((n + 1)) 128 0 1 skip_block_zeroing"
	null_disk $((n + 2)) mq
	layer_meta=/dev/nullb$((n + 2))
	for name; do
		layer "$name"
		[[ $name != D* ]] || dd if=/dev/urandom of="${layer_disk[$name]}" bs=1M count=$LAYER_MIB oflag=direct status=none
	done
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
	F* | L[DB]* | N* | U*) readlink -f "$TMPDIR/$1-$3" ;;
	*) echo "/dev/mapper/$VD$1-$3" ;;
	esac
}
