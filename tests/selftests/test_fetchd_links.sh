#!/bin/bash
# A disk is read through a cold cache, over links that are slow: every byte, by four threads, in random order. Then it is removed
# and made again, with neither server nor helper, and has every byte. VDISK_MIB is the image's size; `make soak` takes 1 GiB.
# kernels: 6.12 7.3
# check: 6.12
# timeout: 120
# vm: --mem 4G --nvme 1200M
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/blob.sh
. "$selftests/blob.sh"
# shellcheck source=tests/selftests/fetchd.sh
. "$selftests/fetchd.sh"

need CONFIG_NET_NS CONFIG_VETH CONFIG_NET_SCH_NETEM
load_vdisk
mib=${VDISK_MIB:-16}
mount -t tmpfs -o "size=$((mib + 64))M" image "$TMP"
undo+=("umount $TMP")
image "$mib"
modprobe -a veth sch_netem
ip netns add far
ip link add near0 type veth peer name far0 netns far
ip addr add 192.0.2.1/24 dev near0
ip link set near0 up
ip -n far addr add 192.0.2.2/24 dev far0
ip -n far link set far0 up
undo+=('ip netns del far')
origin_nginx 192.0.2.2 ip netns exec far
ln "$image" "$TMP/www/img"
blocks=$((len / 128))

# every_byte NAME: of the disk, and how long that took
every_byte() {
	local start=$SECONDS
	run_ok "$1: every byte" blobd --check --all -t 4 --seed "${VDISK_FUZZ_SEED:-$mib}" "/dev/mapper/${VD}a" "$image"
	comment "$1: $((SECONDS - start)) s"
}

# quicker MS: reads of the blob that surely were
quicker() {
	counter a blob 1 latency | awk -F , -v us="$((1000 * $1))" '{ for (i = 1; 32 * 2 ^ i <= us; i++) nr += $i; print nr + 0 }'
}

all_kept() { [[ $(counter a cache 1 data) == "$len" ]]; }

# over NAME MS NETEM...: of what comes from the origin; what is asked there passes at once. MS: what a request takes at least
over() {
	local name=$1 ms=$2
	shift 2
	((!ms)) || tc -n far qdisc replace dev far0 root netem limit 100000 "$@"
	vdisk format /dev/nvme0n1 --len "$len" --force >/dev/null
	ro a "cache ( block /dev/nvme0n1 ) ( blob img len:$len )"
	fetchd http://192.0.2.2:8080/img
	: >"$TMP/nginx/access.log"
	every_byte "$name, cold"
	wait_for 60 all_kept
	is "$(counter a cache 1 data)" "$len" "$name: all of it is kept"
	is "$(awk '$1 != 206' "$TMP/nginx/access.log")" '' "$name: ranges, and nothing else"
	is "$(wc -l <"$TMP/nginx/access.log")" "$(counter a blob 1 requests)" "$name: a range for each request, once"
	((!ms)) || is "$(quicker "$ms")" 0 "$name: the link is that slow"
	comment "$name: $(wc -l <"$TMP/nginx/access.log") requests of nginx for $blocks blocks of 64 KiB, on \
$(awk '{ print $3 }' "$TMP/nginx/access.log" | sort -u | wc -l) connections; $(tc -n far qdisc show dev far0)" "$(status a)"
	stopped
	gone a
	nginx_stop
	ro a "cache ( block /dev/nvme0n1 ) ( blob img len:$len )"
	every_byte "$name, made again, without a server"
	is "$(counter a blob 1 helpers requests)" '0 0' "$name: nobody was asked"
	comment "$name: $(status a)"
	gone a
	nginx_start
}

over 'no delay' 0
over '20 ms' 20 delay 20ms
over '5 ms, 200 Mbit/s' 5 delay 5ms rate 200mbit
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
