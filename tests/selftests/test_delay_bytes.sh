#!/bin/bash
# delay changes no byte, wherever it stands in a stack, and under suspend, reload and changes of its latencies; dm-delay reads
# what it wrote, and the reverse.
# check: 6.12
# timeout: 600
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
for _ in 1 2 3; do
	null_disk 8 512 discard=1 cache_size=1
done
a=/dev/mapper/${VD}a
dump=$TMP/model
striped="striped chunk:16 $(children 2)"
d='delay read:100us/1ms@90 write:50us/2ms@95 flush:200us discard:1ms'
delayed=$(children 2 | sed "s|( block [^)]*)|( $d & )|g")
part="start:0 len:8192"

# The same bytes by each: the first 16384 sectors lie where $striped has them.
stacks=(
	"$striped"
	"$d ( $striped )"
	"striped chunk:16 $delayed"
	"striped chunk:16 ( $d ( block ${disks[0]} ) ) ( block ${disks[1]} )"
	"$d seed:7 ( striped chunk:16 $delayed )"
	"$d ( delay write:300us read:1us ( $striped ) )"
	"concat ( $d ( striped chunk:16 $(children 2 "$part") ) ) ( delay read:1ms ( striped chunk:16 $(children 2 start:8192) ) )"
	"$d ( test mode:work piece:8 ( delay read:20us ( test up ( $striped ) ) ) )"
)
io=(-n "${VDISK_OPS:-80}" -d 4 -z 4 -f 3 -u 10 -m 128)
for stack in "${stacks[@]:1}"; do
	vd a 16384 "$stack"
	verified "written: $stack" "${io[@]}" -w 10 --verify --dump-model "$dump" "$a"
	gone a
	vd a 16384 "$striped"
	verified 'read without it' --check-file "$dump" "$a"
	verified 'written without it' "${io[@]}" --dump-model "$dump" "$a"
	gone a
	vd a 16384 "$stack"
	verified 'read with it' --check-file "$dump" "$a"
	is "$(counter a delay 1 held)" 0 'nothing is held'
	gone a
done

if has_config CONFIG_DM_DELAY; then
	disk=${disks[2]}
	for classes in "1" "1 2" "1 2 3" "0 0 60"; do
		args='' i=0 names=(read write flush) latencies=()
		for ms in $classes; do
			args+=" $disk 8 $ms"
			latencies[i]=$ms
			i=$((i + 1))
		done
		# Arguments that are missing are those before
		while ((i < 3)); do
			latencies[i]=${latencies[i - 1]}
			i=$((i + 1))
		done
		options=
		for i in 0 1 2; do
			options+=" ${names[i]}:${latencies[i]}ms"
		done
		vd a 8192 "delay$options ( block $disk start:8 )"
		dm p "0 8192 delay$args"
		verified "dm-delay $classes: written through vdisk" "${io[@]}" --dump-model "$dump" "$a"
		blockdev --flushbufs "/dev/mapper/${VD}p"
		verified "dm-delay $classes: read through dm-delay" --check-file "$dump" "/dev/mapper/${VD}p"
		verified "dm-delay $classes: written through dm-delay" "${io[@]}" --dump-model "$dump" "/dev/mapper/${VD}p"
		verified "dm-delay $classes: read through vdisk" --check-file "$dump" "$a"
		for op in read write flush; do
			comment "$classes: $op: vdisk $(delayio -n 5 "$op" "$a"), dm-delay $(delayio -n 5 "$op" "/dev/mapper/${VD}p")"
		done
		gone a p
	done
else
	skip 'dm-delay' CONFIG_DM_DELAY
fi

# Another stack, a suspend, or other latencies, in rounds under I/O of 4 threads
vd a 16384 "${stacks[1]}"
vdio -s 9999 -d 3 -z 3 -f 2 -w 20 --verify "$a" >"$TMP/out" 2>&1 &
pid=$!
failed=0
for ((i = 0; i < ${VDISK_ROUNDS:-12}; i++)); do
	how=()
	((i % 3)) || how=(--noflush)
	case $((i % 4)) in
	0) reload a "0 16384 vdisk ${stacks[(i / 4 + 2) % 8]}" "${how[@]}" ;;
	1) dmsetup suspend "${how[@]}" "${VD}a" && sleep 0.1 && dmsetup resume "${VD}a" ;;
	2) reload a "0 16384 vdisk $d label:top ( $striped )" "${how[@]}" ;;
	3)
		for latency in 0 100us 1s 0/50ms@50 "$((i * 50))us"; do
			dmsetup message "${VD}a" 0 top set "read:$latency" && sleep 0.1 || failed=1
		done
		;;
	esac >>"$TMP/round" 2>&1 || failed=1
	kill -0 "$pid" || break
done
ok "$failed" "under load: $i rounds"
((!failed)) || comment "$(tail -n 5 "$TMP/round")"
kill "$pid"
timeout 60 tail --pid="$pid" -f /dev/null
ok $? 'under load: the I/O ends'
wait "$pid"
is $? 0 'under load: no wrong byte, no error'
comment "$(<"$TMP/out")"
done_testing
