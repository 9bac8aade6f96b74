#!/bin/bash
# A helper that does anything at random: what it may not is refused and counted, every byte that arrives is right, and the disks
# of others are served meanwhile. VDISK_FUZZ_SECONDS for more, VDISK_FUZZ_SEED for the same again.
# kernels: 6.1 6.12 7.3 uml-6.12
# timeout: 600
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/blob.sh
. "$selftests/blob.sh"

load_vdisk
image 4
ro a "cache volatile fill:16 ( ram ) ( blob img len:$len on_loss:fail helper_timeout:1s )"
ro b "blob other len:$len"
helper -t 2 other
other=$helper
seed=${VDISK_FUZZ_SEED:-$RANDOM} end=$((SECONDS + ${VDISK_FUZZ_SECONDS:-10})) rounds=0 bad='' records=0
while ((!rounds || SECONDS < end)); do
	# Its own reads and those of a reader that minds no errors, but wrong bytes
	blobd --fuzz -t 4 --files 3 -n 3000 --seed $((seed + rounds)) img "$image" >"$TMP/fuzz" 2>&1 &
	fuzzer=$!
	timeout 60 blobd --check --errors -t 2 -n 100 --seed $((seed + rounds)) "/dev/mapper/${VD}a" "$image" >"$TMP/read" 2>&1 ||
		bad="reads, seed $((seed + rounds)): $(<"$TMP/read")"
	timeout 60 blobd --check -t 2 -n 20 --seed $((seed + rounds)) "/dev/mapper/${VD}b" "$image" >"$TMP/read" 2>&1 ||
		bad="the other disk, seed $((seed + rounds)): $(<"$TMP/read")"
	timeout 60 tail --pid="$fuzzer" -s 0.05 -f /dev/null || bad="the fuzzer hangs, seed $((seed + rounds))"
	kill -9 "$fuzzer" 2>/dev/null
	wait "$fuzzer" 2>/dev/null || bad+=" the fuzzer, seed $((seed + rounds)): $(<"$TMP/fuzz")"
	[[ ! $bad ]] || break
	records=$((records + $(sed -n 's/calls=\([0-9]*\).*/\1/p' "$TMP/fuzz")))
	rounds=$((rounds + 1))
	# What was read stays in the cache: begin anew
	dmsetup remove --retry "${VD}a"
	ro a "cache volatile fill:16 ( ram ) ( blob img len:$len on_loss:fail helper_timeout:1s )"
done
is "$bad" '' "seed $seed: $rounds rounds, $records records"
kill -0 "$other"
ok $? "the other blob's helper is there"
is "$(counter b blob 1 refused failed)" '0 0' 'and was refused nothing'
# At any addresses: a guest that is emulated has the same ones each time.
randomize=$(</proc/sys/kernel/randomize_va_space)
echo 2 >/proc/sys/kernel/randomize_va_space
once=$(timeout 60 blobd --fuzz -n 1000 --seed "$seed" img "$image" 2>&1)
is "$(timeout 60 blobd --fuzz -n 1000 --seed "$seed" img "$image" 2>&1)" "$once" 'a seed draws the same again'
comment "$once"
echo "$randomize" >/proc/sys/kernel/randomize_va_space
helper -t 2 img
compared 'a good helper: every byte' a -n 200
dead
gone a b
wait_for 20 rmmod dm_vdisk
ok $? 'nothing holds the module'
done_testing
