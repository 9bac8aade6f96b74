#!/bin/bash
# Disks as OpenVMM's --disk spells them, made by vdisk create: their bytes, where they are kept, and what --explain prints.
# kernels: 6.1 6.12 7.3
# check: 6.12
# timeout: 120
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_EXT4_FS CONFIG_BLK_DEV_LOOP CONFIG_DM_CRYPT
load_vdisk
loop_disk 96 512
make_fs ext4 "$DISK"
undo=("cd /" "${undo[@]}")
cd "$mnt" || exit
a=${VD}a
export OPENVMM_AUTO_CACHE_PATH=$mnt/caches
mkdir caches
head -c 4M /dev/urandom >base.img
head -c 64 /dev/urandom >key
# made SPELLING STACK [OPTION...]: it becomes this stack
made() {
	local said
	said=$(vdisk create "$a" "${@:3}" "$1" 2>&1)
	is "$said $(table a)" "/dev/mapper/$a: ${said#*: } $2" "$1"
}
removed() { vdisk remove "$a" || ok 1 "$1: removed"; }
same_bytes() { cmp -s "/dev/mapper/$a" "$1"; ok $? "$2"; }

# --explain does nothing, and what it prints does the same
explained=$(vdisk create --explain "$a" 'sqldiff:ex;create:base.img')
is "$(head -n 1 <<<"$explained")" "# overlay ( file $mnt/ex ) ( file $mnt/base.img )" '--explain: the stack'
[[ ! -e ex && ! -e /dev/mapper/$a ]]
ok $? '--explain: nothing is done'
PATH=$PATH sh -e <<<"$explained" >/dev/null
is "$? $(table a)" "0 overlay ( file $mnt/ex ) ( file $mnt/base.img )" '--explain: the commands'
[[ $(dmsetup info -c --noheadings -o uuid "$a") == VDISK-????????-* ]]
ok $? '--explain: the host keeps off it'
removed explained
# Names that a shell or an option could be
for name in "#$a" "-$a"; do
	sh -e < <(vdisk create --explain --scan -- "$name" mem:1M) >/dev/null
	[[ $? == 0 && $(dmsetup info -c --noheadings -o uuid -- "$name") == VDISK-SCAN-* ]]
	ok $? "--explain: $name"
	vdisk remove -- "$name" >/dev/null 2>&1
done
[[ $(vdisk create --explain "#$a" crypt:xts-aes-256:key:mem:1M) == *$'\n# dmsetup cannot pass'* ]]
ok $? '--explain: what dmsetup cannot'
is "$(vdisk create --explain --json "$a" 'sqldiff:ey;create:base.img' | jq -r '.commands[]' | sed "s/VDISK-[0-9a-f-]*/VDISK-/")" \
	"vdisk format '$mnt/ey' --len 8192 --unit 512 --base-len 8192
dmsetup create --uuid VDISK- --table '0 8192 vdisk overlay ( file $mnt/ey ) ( file $mnt/base.img )' -- '$a'" '--explain --json: the same commands'

made memdiff:file:base.img "overlay volatile ( ram ) ( file $mnt/base.img )"
same_bytes base.img 'memdiff: reads as its base'
put "/dev/mapper/$a" A 4096
is "$(letter "/dev/mapper/$a" 0)" A 'memdiff: is written'
removed memdiff
made memdiff:base.img "overlay volatile ( ram ) ( file $mnt/base.img )"
same_bytes base.img 'memdiff: is gone with the disk'
removed memdiff
made mem:1M ram
is "$(sectors "/dev/mapper/$a")" 2048 'mem: its length'
removed mem
made 'sqldiff:diff;create:base.img' "overlay ( file $mnt/diff ) ( file $mnt/base.img )"
put "/dev/mapper/$a" B 4096
removed sqldiff
made sqldiff:diff:base.img "overlay ( file $mnt/diff ) ( file $mnt/base.img )"
is "$(letter "/dev/mapper/$a" 0)" B 'sqldiff: stays'
removed sqldiff
run_fails 'sqldiff: a store that is there is not made' vdisk create "$a" 'sqldiff:diff;create:base.img'
# ;create is about its own store
said=$(vdisk create "$a" 'sqldiff:new;create:sqldiff:none:base.img' 2>&1)
[[ $? == 1 && $said == *"$mnt/none: No such file or directory"* && ! -e new && ! -e none ]]
ok $? 'sqldiff: only what ;create is said of is made'
made 'sqldiff:new;create:sqldiff:diff:base.img' "overlay ( file $mnt/new ) ( overlay ( file $mnt/diff ) ( file $mnt/base.img ) )"
is "$(letter "/dev/mapper/$a" 0)" B 'sqldiff: over another one'
removed sqldiff
made 'sql:all;create=2M' "overlay ( file $mnt/all ) ( zero )"
put "/dev/mapper/$a" C 4096
removed sql
made sql:all "overlay ( file $mnt/all ) ( zero )"
is "$(letter "/dev/mapper/$a" 0) $(sectors "/dev/mapper/$a")" 'C 4096' 'sql: stays, and has a length'
removed sql
made memdiff:autocache:debian:base.img "overlay volatile ( ram ) ( cache ( file $mnt/caches/debian.vdisk ) ( file $mnt/base.img ) )"
same_bytes base.img 'autocache: reads as its base'
(($(counter a cache 1 data) == 8192))
ok $? 'autocache: and keeps it'
removed autocache
made autocache:debian:base.img,ro "cache ( file $mnt/caches/debian.vdisk ) ( file $mnt/base.img )"
same_bytes base.img 'autocache: the same bytes again'
is "$(blockdev --getro "/dev/mapper/$a") $(counter a cache 1 data) $(counter a file 2 reads)" '1 8192 0' 'autocache: all from the store; ro'
removed autocache

# The bytes of dm-crypt, with the units that OpenVMM has: the blocks of the disk
crypt_key=$(od -An -v -tx1 key | tr -d ' \n')
truncate -s 4M enc
made crypt:xts-aes-256:key:enc "crypt cipher:aes-xts-plain64 key::64:logon:vdisk:$a allow_discards ( file $mnt/enc )"
dd if=base.img of="/dev/mapper/$a" bs=64K oflag=direct status=none
removed crypt
plain=$(losetup -f --show enc)
undo=("losetup -d $plain" "${undo[@]}")
dm c "0 8192 crypt aes-xts-plain64 $crypt_key 0 $plain 0"
cmp -s "/dev/mapper/${VD}c" base.img
ok $? 'crypt: dm-crypt reads it'
gone c
loop_disk 4 4096
made "crypt:xts-aes-256:key:$DISK" \
	"crypt cipher:aes-xts-plain64 key::64:logon:vdisk:$a sector_size:4096 iv_large_sectors allow_discards ( block $(devno "$DISK") )"
dd if=base.img of="/dev/mapper/$a" bs=64K oflag=direct status=none
removed crypt
dm c "0 8192 crypt aes-xts-plain64 $crypt_key 0 $DISK 0 2 sector_size:4096 iv_large_sectors"
cmp -s "/dev/mapper/${VD}c" base.img
ok $? 'crypt: with blocks of 4096'
gone c
made prwrap:base.img "pr domain:$a nexus:$a ( file $mnt/base.img )"
run_ok 'prwrap: a reservation' vdisk pr "$a" register 0 0x1
removed prwrap
made delay:30:base.img "delay read:30000us write:30000us ( file $mnt/base.img )"
start=$(date +%s%N)
letter "/dev/mapper/$a" 0 >/dev/null
(($(date +%s%N) - start >= 30000000))
ok $? 'delay: takes its time'
removed delay
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on base.img disk.vhd
made memdiff:disk.vhd "overlay volatile ( ram ) ( vhd1 $mnt/disk.vhd )"
same_bytes base.img 'a VHD'
removed vhd

# A blob comes with its helper.
made=$(vdisk create "$a" "memdiff:blob:flat:file://$mnt/base.img")
is "$(table a)" "overlay volatile ( ram ) ( blob $a len:8192 )" 'blob:flat'
[[ $made == *$'\n'"blob $a: file://$mnt/base.img, supplied by vdisk-fetchd, process "* ]]
ok $? 'blob: it says who supplies it'
same_bytes base.img 'blob: its bytes'
removed blob
is "$(vdisk create --json --explain "$a" "memdiff:blob:vhd1:file://$mnt/disk.vhd" | jq -r '.helpers[0].url, .sectors, .created' | xargs)" \
	"file://$mnt/disk.vhd 8192 false" 'blob:vhd1, in JSON'
said=$(vdisk create "$a" "memdiff:blob:flat:http://me:pass@127.0.0.1:1/none?sig=token" 2>&1)
is "$said" "vdisk: blob: http://127.0.0.1:1/none cannot be read: Couldn't connect to server (vdisk-fetchd --check tries it again)" \
	'blob: no token in an error'
run_fails 'blob: one that is not there' vdisk create "$a" "memdiff:blob:flat:file://$mnt/none"
is "$(dmsetup ls | grep -c "$VD") $(grep -c "logon *vdisk:$VD" /proc/keys)" '0 0' 'nothing is left'
done_testing
