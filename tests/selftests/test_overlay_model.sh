#!/bin/bash
# overlay and cache: four threads read, write, discard, zero and flush, and every byte read is compared with a model, on stacks of one
# to five layers; between rounds the disk is removed and made again, or its table reloaded. A run takes some of the shapes, drawn by
# its seed; `make soak` takes all of them.
# VDISK_SHAPES: how many; VDISK_SHAPE: of those that have this word; VDISK_OPS: operations a round; VDISK_ROUNDS; VDISK_FUZZ_SEED
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 7.3
# timeout: 3600
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_KEYS
load_vdisk
seed=${VDISK_FUZZ_SEED:-$RANDOM} ops=${VDISK_OPS:-400}
RANDOM=$((seed % 32768))
rounds=${VDISK_ROUNDS:-3}
a=/dev/mapper/${VD}a
key k 64

null_disk 8 512
null_disk 8 4096
null_disk 16 512 discard=1
null_disk 16 512 discard=1
null_disk 16 512 discard=1
null_disk 16 4096 discard=1
B="block ${disks[0]}" B4="block ${disks[1]}" T1="block ${disks[2]}" T2="block ${disks[3]}" T3="block ${disks[4]}" L="block ${disks[5]}"
F="file $TMP/store buffered"
K="crypt cipher:aes-xts-plain64 key:$KEY"
M='volatile ( ram )' Q="blob img$$ len:16384"
verified 'the base' -n 300 -m 128 -r 0 -S "$((seed + 1))" --size $((16384 * 512)) --dump-model "$TMP/base512" "${disks[0]}"
verified 'the base of 4096' -n 300 -m 128 -r 0 -S "$((seed + 2))" --size $((16384 * 512)) --dump-model "$TMP/base4096" "${disks[1]}"
dd if="${disks[0]}" of="$TMP/image" bs=1M count=8 iflag=direct status=none
# It ends with the table that names the blob.
while :; do
	blobd --identity "$seed" "img$$" "$TMP/image"
done >"$TMP/helper" 2>&1 &
undo=("kill $!; pkill -x blobd" "${undo[@]}")

# What is formatted first (W: for write_through) | block size | sectors of the base that are seen | sectors of the disk | stack
#
# A base of '-' holds what is not known.
shapes=(
	"$T1|512|16384|16384|overlay ( $T1 ) ( $B )"
	"|512|16384|16384|overlay $M ( $B )"
	"|512|16384|16384|overlay volatile ( $T1 ) ( $B )"
	"$F|512|16384|16384|overlay ( $F ) ( $B )"
	"$L|4096|16384|16384|overlay ( $L ) ( $B4 )"
	"$T1|4096|16384|16384|overlay unit:4096 ( $T1 ) ( $B4 )"
	"$F|4096|16384|16384|overlay unit:4096 ( $F ) ( cache $M ( $B4 ) )"
	"$T1|512|16384|16384|overlay copy_on_read fill:8 ( $T1 ) ( $B )"
	"|512|16384|16384|overlay $M ( cache volatile fill:16 ( ram ) ( $B ) )"
	"$T1;$T2|512|16384|16384|overlay ( $T1 ) ( cache ( $T2 ) ( $B ) )"
	"$T1;$T2|512|16384|16384|overlay ( $T1 ) ( overlay ( $T2 ) ( $B ) )"
	"$T1;$T2;$T3|512|16384|16384|overlay ( $T1 ) ( cache ( $T2 ) ( overlay ( $T3 ) ( $B ) ) )"
	"$T1;$T2|512|16384|16384|overlay ( $T1 ) ( cache $M ( cache ( $T2 ) ( cache volatile fill:64 ( ram ) ( $B ) ) ) )"
	"$T1;$T2;$T3|512|16384|16384|overlay ( $T1 ) ( overlay ( $T2 ) ( cache $M ( overlay ( $T3 ) ( cache volatile fill:8 ( ram ) ( $B ) ) ) ) )"
	"$T1|512|5001|16384|overlay ( $T1 ) ( $B len:5001 )"
	"$T1;$T2|512|5001|16384|overlay copy_on_read ( $T1 ) ( cache ( $T2 ) ( $B len:5001 ) )"
	"$T1|512|8001|8001|overlay ( $T1 ) ( $B )"
	"$T1|512|-|16384|$K ( overlay ( $T1 ) ( $B ) )"
	"$K ( $T1 )|512|16384|16384|overlay ( $K ( $T1 ) ) ( $B )"
	"$T1|512|-|16384|overlay ( $T1 ) ( cache $M ( $K ( $B ) ) )"
	"striped chunk:16 ( $T1 ) ( $T2 )|512|16384|16384|overlay ( striped chunk:16 ( $T1 ) ( $T2 ) ) ( concat ( $B len:3000 ) ( $B start:3000 ) )"
	"$T1|512|16384|16384|overlay ( delay write:200us/2ms@90 ( $T1 ) ) ( delay read:100us ( $B ) )"
	"W $T1|512|-|16384|cache write_through ( $T1 ) ( $T2 )"
	"|512|-|16384|cache write_through fill:24 $M ( $T2 )"
	"W $L;$F|4096|16384|16384|cache write_through fill:64 ( $L ) ( overlay unit:4096 ( $F ) ( $B4 ) )"
	"$T1;W $T2|512|16384|16384|overlay ( $T1 ) ( cache write_through ( $T2 ) ( $B ) )"
	"W $T1;W $T2|512|-|16384|cache write_through ( $T1 ) ( cache write_through ( $T2 ) ( delay write:200us/2ms@90 ( $T3 ) ) )"
	"$T1|512|16384|16384|overlay copy_on_read fill:16 ( $T1 ) ( $Q )"
	"$T1;$T2|512|16384|16384|overlay ( $T1 ) ( cache fill:64 ( $T2 ) ( striped chunk:16 ( $Q ) ) )"
	"W $T1;$T2|512|16384|16384|cache write_through ( $T1 ) ( overlay copy_on_read ( $T2 ) ( $Q ) )"
	"W $K ( $T1 );$T2|512|16384|16384|cache write_through ( $K ( $T1 ) ) ( overlay ( $T2 ) ( $B ) )"
)
left=()
for k in "${!shapes[@]}"; do
	[[ ${shapes[k]} != *"${VDISK_SHAPE-}"* ]] || left+=("$k")
done
many=${VDISK_SHAPES:-3}
((many <= ${#left[@]})) || many=${#left[@]}

# make_store STACK BLOCK SECTORS
make_store() {
	local device
	local -a through=()
	[[ $1 != 'W '* ]] || through=(--write-through)
	set -- "${1#W }" "$2" "$3"
	case $1 in
	block*) device=${1#block } ;;
	file*)
		device=$TMP/store
		rm -f "$device"
		;;
	*)
		vd f 32768 "$1"
		device=/dev/mapper/${VD}f
		;;
	esac
	vdisk format "$device" --len "$3" --max-len "$3" --unit "$2" "${through[@]}" --force >/dev/null
	case $1 in
	block* | file*) ;;
	*) gone f ;;
	esac
}

# base_model BLOCK SEEN SECTORS: as the disk is at first, to $TMP/model
base_model() {
	local per=$(($1 / 512)) nr i bytes=''
	nr=$(($3 / per))
	head -c $((32 + 4 * ($2 / per))) "$TMP/base$1" >"$TMP/model"
	truncate -s $((32 + 4 * nr)) "$TMP/model"
	for ((i = 0; i < 8; i++)); do
		bytes+=$(printf '\\x%02x' $((nr >> 8 * i & 255)))
	done
	# shellcheck disable=SC2059 # bytes
	printf "$bytes" | dd of="$TMP/model" bs=1 seek=24 conv=notrunc status=none
}

nr_ops=0
# shape N
shape() {
	local formats block seen len stack store round how
	local -a stores io
	IFS='|' read -r formats block seen len stack <<<"${shapes[$1]}"
	IFS=';' read -ra stores <<<"$formats"
	for store in "${stores[@]}"; do
		make_store "$store" "$block" "$len"
	done
	vd a "$len" "$stack" || ok 1 "shape $1: $stack"
	rm -f "$TMP/model"
	[[ $seen == - ]] || base_model "$block" "$seen" "$len"
	for ((round = 0; round < rounds; round++)); do
		io=(-t 4 -n "$ops" -m 128 -f 4 -u 8 -w 20 -z 8 -S $((seed + 100 * $1 + round)))
		[[ $stack == crypt* ]] || io+=(-d 8 --discard-zeroes)
		[[ ! -f $TMP/model ]] || io+=(--known "$TMP/model")
		verified "shape $1, round $round: $stack" "${io[@]}" --verify --dump-model "$TMP/next" "$a"
		mv "$TMP/next" "$TMP/model"
		nr_ops=$((nr_ops + ops))
		how=$((RANDOM % 3))
		[[ $formats ]] || how=$((RANDOM % 2))
		case $how in
		0) reload a "0 $len vdisk $stack" ;;
		1) dmsetup suspend --noflush "${VD}a" && dmsetup resume "${VD}a" ;;
		2) gone a && vd a "$len" "$stack" ;;
		esac
		ok $? "shape $1, round $round: again, in way $how"
		verified "shape $1, round $round: it is all there" --check-file "$TMP/model" "$a"
	done
	gone a
	[[ $stack != 'cache write_through'*"( $T2 )" ]] || verified "shape $1: the base has all" --check-file "$TMP/model" "${disks[3]}"
	for store in "${stores[@]#W }"; do
		case $store in
		block*) run_ok "shape $1: a clean store" vdisk check "${store#block }" ;;
		file*) run_ok "shape $1: a clean store" vdisk check "$TMP/store" ;;
		esac
	done
	[[ $seen == - ]] || verified "shape $1: the base is as it was" --check-file "$TMP/base$block" "${disks[block / 4096]}"
}

# Drawn without putting back
for ((k = 0; k < many; k++)); do
	draw=$((RANDOM % ${#left[@]}))
	shape "${left[draw]}"
	unset "left[draw]"
	left=("${left[@]}")
done
comment "seed $seed, $many of ${#shapes[@]} shapes, $nr_ops operations"
unlink_key k
kill %1
pkill -x blobd
wait
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
