#!/bin/bash
# Every allocation of a load fails in turn: a clear error, nothing leaked. Then allocations of I/O fail: nothing stuck. A run takes
# every third of a load's, from any on; `make soak` takes all.
# VDISK_EVERY: another number
# kernels: uml-6.12
# timeout: 2400
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

# shellcheck source=tests/selftests/faults.sh
. "$selftests/faults.sh"

need CONFIG_KEYS
load_vdisk
key k 64
crypt="crypt cipher:aes-xts-plain64 key:$KEY"
null_disk 8 512 discard=1
null_disk 8 512 discard=1
scratch
echo clear >/sys/kernel/debug/kmemleak 2>/dev/null

filter_module
every=${VDISK_EVERY:-3}

for stack in "block ${disks[0]} label:x" "striped chunk:8 $(children 2)" "ram name:$VD max:800" \
	"test mode:work up piece:8 ( concat ( striped chunk:8 $(children 2 len:400) ) ( ram label:z ) )" \
	'delay read:1ms/2ms@50 write:1s flush:0 ( striped chunk:8 ( delay discard:1s ( ram ) ) ( zero ) )' \
	'striped chunk:8 ( test mode:read ( ram ) ) ( zero )' "$crypt sector_size:4096 ( ram )" \
	"pr domain:$VD nexus:a ( ram ) ( concat ( block ${disks[1]} len:128 ) )" \
	"overlay volatile copy_on_read ( ram ) ( block ${disks[0]} )" "overlay ( block ${disks[1]} ) ( block ${disks[0]} )"; do
	other=0 failed=() tried=0
	first=$((1 + RANDOM % every))
	for ((n = first; n < 500; n += every)); do
		tried=$((tried + 1))
		echo "fail: $$ $n" >/dev/kmsg
		dmraw load "$VD$scratch" 1600 "$stack" "$n" >/dev/null 2>"$TMP/error"
		status=$?
		((status != 3)) || break
		# What the kernel can do without is no error.
		((status != 0)) || continue
		failed+=("$n")
		[[ $(<"$TMP/error") == *'Cannot allocate memory'* ]] || other=$((other + 1))
	done
	# The kernel can do without half of them: of a short table's 19, a third may have one that it needs.
	ok "$((${#failed[@]} < (every > 1 ? 1 : 4) || status != 3))" "$stack: ${#failed[@]} of $((tried - 1)) allocations, of $((n - 1))"
	is "$other" 0 'each failure is -ENOMEM'
	# Those whose number is followed by no message; the log has the numbers of all stacks, the last ones count
	silent=$(dmesg | awk -v all="${failed[*]}" -v start="fail: $$ $first" '
		substr($0, length($0) - length(start) + 1) == start { delete said }
		/fail: [0-9]+ [0-9]+$/ { n = $NF }
		/vdisk: .*(out of memory|-ENOMEM)/ { said[n] = 1 }
		END { split(all, a); for (i in a) if (!(a[i] in said)) print a[i] }')
	is "$silent" '' 'and says so'
	run_ok 'and then it loads' dmraw load "$VD$scratch" 1600 "$stack"
	dmsetup clear "$VD$scratch"
done

# inject PERCENT: of all allocations below the module
inject() {
	local injector
	for injector in failslab fail_page_alloc; do
		echo -1 >"/sys/kernel/debug/$injector/times"
		echo "$1" >"/sys/kernel/debug/$injector/probability"
	done
}

vd a 8192 "test piece:8 mode:read up ( striped chunk:16 ( test mode:work ( block ${disks[0]} ) ) ( block ${disks[1]} ) )"
vd r 65536 ram
vd c 8192 "$crypt ( test mode:work up ( block ${disks[0]} ) )"
# null_blk takes its memory in our callers' name: all of it now, and no discards
dd if=/dev/urandom of="/dev/mapper/${VD}a" bs=1M oflag=direct count=4 status=none
dd if=/dev/urandom of="/dev/mapper/${VD}c" bs=1M oflag=direct count=4 status=none
# All writes take turns with the bounce in reserve, or all but some.
for percent in 100 30; do
	inject $percent
	verified "crypt, $percent % of allocations fail" -n 300 -m 256 -f 2 -w 60 --verify "/dev/mapper/${VD}c"
done
inject 100
verified 'I/O that needs no memory of its own' -n 500 -f 2 --verify "/dev/mapper/${VD}a"
dd if=/dev/zero of="/dev/mapper/${VD}r" bs=64k count=200 oflag=direct >"$TMP/out" 2>&1
grep -qE 'Cannot allocate memory|Input/output error' "$TMP/out"
ok $? 'ram without memory: an error'
inject 0
verified 'ram with memory again' -n 300 -d 4 -z 4 --verify "/dev/mapper/${VD}r"

# A store of reservations: null_blk's memory first. A call that fails has changed nothing, here or there.
dd if=/dev/zero of="${disks[1]}" bs=64k count=1 oflag=direct status=none
full() { dmsetup message "${VD}p" 0 pr read-full-status; }
# nth N COMMAND...: its N-th allocation fails. A pool below may do without it: then the command succeeds, and was the last one.
nth() { (echo "$1" >/proc/self/fail-nth && exec "${@:2}"); }
slots_equal() {
	cmp <(dd if="${disks[1]}" bs=32k count=1 iflag=direct status=none) \
		<(dd if="${disks[1]}" bs=32k skip=1 count=1 iflag=direct status=none)
}
inject 0
dmsetup create "${VD}p" --notable
dmsetup load "${VD}p" --table "0 8192 vdisk pr domain:$VD nexus:a ( block ${disks[0]} ) ( concat ( block ${disks[1]} len:128 ) )"
for ((n = 1; n < 50; n++)); do
	nth "$n" dmsetup resume "${VD}p" 2>"$TMP/error" && break
	grep -q 'Cannot allocate memory' "$TMP/error" || break
done
ok "$((n < 2 || $(full | wc -w) != 2))" "pr: its store is read and written: $((n - 1)) allocations"
calls=('register 0 0xa' 'reserve 0xa 3' 'register 0xa 0xb' 'preempt 0xb 0xb 1' 'release 0xb 1' 'clear 0xb')
for call in "${calls[@]}"; do
	before=$(full) changed=''
	for ((n = 1; n < 50; n++)); do
		# shellcheck disable=SC2086
		result=$(nth "$n" prioctl "/dev/mapper/${VD}p" $call)
		[[ $result == ENOMEM ]] || break
		[[ $(full) == "$before" ]] || changed+=" $n"
		slots_equal || changed+=" slots $n"
	done
	is "$result$changed" ok "pr: $call"
	ok "$((n < 2))" "pr: $call: $((n - 1)) allocations"
	[[ $(full) != "$before" ]]
	ok $? "pr: $call: has changed something"
	slots_equal
	ok $? "pr: $call: both slots are equal"
done
prioctl "/dev/mapper/${VD}p" register 0 0xa >/dev/null
inject 100
verified 'pr: I/O that needs no memory' -n 300 -f 2 --verify "/dev/mapper/${VD}p"
is "$(prioctl "/dev/mapper/${VD}p" clear 0xa)" ENOMEM 'pr: a call needs some'
inject 0
want=$(full)
gone p
vd p 8192 "pr domain:$VD nexus:a ( block ${disks[0]} ) ( concat ( block ${disks[1]} len:128 ) )"
is "$(full)" "$want" 'pr: the store has what the calls said'
gone a c p r

# A cache does without its store, and the disk does not notice; an overlay's write fails, and nothing is lost.
dd if=/dev/zero of="${disks[1]}" bs=1M count=8 oflag=direct status=none
for stack in 'volatile fill:8 ( ram )' "fill:8 ( block ${disks[1]} )"; do
	for percent in 100 30; do
		vdisk format "${disks[1]}" --len 8192 --write-through --force >/dev/null
		vd w 8192 "cache write_through $stack ( block ${disks[0]} )"
		inject $percent
		verified "cache write_through $stack: $percent % of allocations fail" -n 300 -m 64 -f 2 -w 30 --verify \
			--dump-model "$TMP/model" "/dev/mapper/${VD}w"
		inject 0
		((percent < 100)) || is "$(counter w cache 1 store)" failed 'the store is not used'
		dmsetup suspend "${VD}w" && dmsetup resume "${VD}w"
		is "$(counter w cache 1 store)" ok 'until the next resume'
		verified 'nothing is lost' --check-file "$TMP/model" "/dev/mapper/${VD}w"
		gone w
	done
done
vdisk format "${disks[1]}" --len 8192 --force >/dev/null
put "${disks[0]}" b 512
vd o 8192 "overlay ( block ${disks[1]} ) ( block ${disks[0]} )"
inject 100
is "$(error put "/dev/mapper/${VD}o" w 512)" 'Cannot allocate memory' 'overlay: a write'
is "$(error dd if="/dev/mapper/${VD}o" of=/dev/null bs=512 count=1 iflag=direct)" 'Cannot allocate memory' 'a read'
inject 0
is "$(letter "/dev/mapper/${VD}o" 0) $(counter o overlay 1 store)" 'b ok' 'nothing has changed'
put "/dev/mapper/${VD}o" w 512 conv=fsync
is "$(letter "/dev/mapper/${VD}o" 0)$(letter "${disks[0]}" 0)" wb 'with memory'
gone o "$scratch"
run_ok 'overlay: its store' vdisk check "${disks[1]}"
run_ok 'nothing holds the module' rmmod dm_vdisk
nothing_leaked
done_testing
