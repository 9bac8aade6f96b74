#!/bin/bash
# vdisk create, remove, list, show, stat, grow, snapshot, length, check-line: right and wrong use, and that what fails leaves
# nothing behind.
# kernels: 6.1 6.12 7.3
# check: 7.3
# timeout: 500
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"
need CONFIG_EXT4_FS
modprobe dm-mod
# A test before this one in the same guest may have left it
[[ ! -d /sys/module/dm_vdisk ]] || rmmod dm_vdisk
said=$(vdisk create "${VD}a" --len 1M ram 2>&1)
[[ $? == 1 && $said == *'unknown target type (the module dm-vdisk is not loaded: modprobe dm-vdisk says why)' && ! $(dmsetup ls) =~ $VD ]]
ok $? "without the module: $said"
load_vdisk
loop_disk 96 512
make_fs ext4 "$DISK"
rmdir "$mnt/lost+found"
undo=("cd /" "${undo[@]}")
cd "$mnt" || exit
a=${VD}a b=${VD}b

# exits STATUS NAME COMMAND...: with this status; what it said is in $said
exits() {
	local want=$1 name=$2 status=0
	shift 2
	said=$("$@" 2>&1) || status=$?
	is "$status" "$want" "$name"
	((status == want)) || comment "$* said" "$said"
}

# says STATUS PATTERN COMMAND...
says() {
	local status=0
	said=$("${@:3}" 2>&1) || status=$?
	# shellcheck disable=SC2053 # a pattern
	[[ $status == "$1" && $said == $2 ]]
	ok $? "$(printf '%q ' "${@:3}"): $2"
	# shellcheck disable=SC2053
	[[ $status == "$1" && $said == $2 ]] || comment "exits with $status and says" "$said"
}

# What there is of files, devices, keys: the same before and after what fails.
there() { ls -A; dmsetup ls | sort; grep -c 'logon *vdisk:' /proc/keys; ls /dev/mapper; }
# nothing NAME: it left nothing
nothing() { is "$(there)" "$before" "$1: nothing stays"; }

head -c 8M /dev/urandom >base.img
head -c 64 /dev/urandom >key64
cp key64 twice
head -c 32 key64 | cat - <(head -c 32 key64) >halves
head -c 33 /dev/urandom >key33

# The kernel and the tool refuse in the same words.
scratch=scratch
dmsetup create "$VD$scratch" --notable
undo=("dmsetup remove $VD$scratch" "${undo[@]}")
lines=(
	'' 'foo' 'striped ( zero )' 'striped chunk:0 ( zero )' 'striped chunk:x ( zero )' 'striped chunk:8 chunk:8 ( zero )'
	'concat' 'zero ( zero )' 'concat ( zero' 'concat ( zero ) )' 'concat ( zero ) x' 'concat (' 'zero foo' 'zero foo:1'
	'block rel' 'file rel' 'file' 'ram max:7' 'ram name:a/b' 'concat ( zero label:a ) ( zero label:a )' 'zero label:ram'
	'delay read:5 ( zero )' 'delay read:5us/3us@50 ( zero )' 'delay read:1us/2us@100 ( zero )' 'delay read:0@5 ( zero )'
	'crypt ( zero )' 'crypt cipher:aes-xts-plain64 ( zero )' 'crypt cipher:des key::64:logon:a ( zero )'
	'crypt cipher:aes-xts-plain64 key:abc ( zero )' 'crypt cipher:aes-xts-plain64 key::33:logon:a ( zero )'
	'crypt cipher:aes-xts-plain64 key::64:foo:a ( zero )'
	'overlay volatile ( ram )' 'overlay volatile ( ram ) ( zero ) ( zero )' 'overlay volatile fill:8 ( ram ) ( zero )'
	'overlay volatile read_ahead:8 ( ram ) ( zero )' 'pr ( zero )' 'pr domain:d ( zero )' 'concat ( pr domain:d nexus:n ( zero ) )'
	'overlay volatile ( ram ) ( overlay volatile copy_on_read ( ram ) ( zero ) )' 'blob x' 'blob' 'nvme /dev/x nguid:12'
	$'zero a\x01b\xc3\xa9' $'zero \x80'
	'overlay volatile ( ram ) ( overlay ( blob b len:8 ) ( zero ) )' 'overlay volatile ( blob b len:8 ) ( zero )' 'overlay ( delay ( blob b len:8 ) ) ( zero )' 'cache write_through ( ram ) ( zero )'
	'pr domain:d nexus:n ( ram ) ( ram )' 'pr domain:d nexus:n ( ram ) ( concat ( zero ) )' 'pr domain:d nexus:n ( ram ) ( blob b len:8 )'
	"pr domain:d nexus:n ( ram ) ( overlay volatile ( file $PWD/base.img ) ( ram ) )"
	"overlay ( file $PWD/base.img ) ( concat$(printf ' ( blob b%s len:256 )' {1..9}) )"
)
for line in "${lines[@]}"; do
	wanted=$(vdisk check-line "$line" 2>&1)
	[[ $wanted == 'vdisk: '* ]] || { ok 1 "check-line refuses: $line"; continue; }
	# Test builds have one type more.
	[[ $line != foo ]] || wanted+=' test'
	refused "${wanted#vdisk: }" "$line"
done
refusals
says 0 'striped chunk:8 ( delay read:1000us ( zero ) ) ( ram )' vdisk check-line striped chunk:8 '( delay read:1ms ( zero ) )' '( ram )'
is "$(vdisk check-line --json zero | jq -r .stack)" zero 'check-line --json'
is "$(vdisk check-line --json foo 2>/dev/null | jq -r '.error[:5]')" "'foo'" 'check-line --json: an error'

# The table of commands, the manual, the completion
manual=$selftests/../../tools/vdisk/vdisk.8
sed 's/\\//g' "$manual" >"$TMP/manual"
is "$(vdisk --complete | cut -d ' ' -f 1 | sort)" "$(sed -n 's/^\.SS //p' "$TMP/manual" | sort)" 'vdisk(8) has each command, and no other'
is "$(vdisk --help | sed -n 's/^  \([a-z-]*\) .*/\1/p')" "$(vdisk --complete | cut -d ' ' -f 1)" 'so has --help'
while read -r command _ options; do
	undocumented=''
	for option in $options; do
		# Between this command's heading and the next one
		[[ $option == --@(json|help) ]] || sed -n "/^\.SS $command\$/,/^\.S[SH] /p" "$TMP/manual" | grep -qwe "$option" || undocumented+=" $option"
	done
	is "$undocumented" '' "vdisk(8) has the options of $command"
	exits 0 "$command --help" vdisk "$command" --help
	grep -A 1 '^Example:' <<<"$said" | grep -q "^  vdisk $command" && grep -q '^Exit status:' <<<"$said"
	ok $? "$command --help has an example and exit statuses"
done < <(vdisk --complete)
. "$selftests/../../tools/vdisk/vdisk.bash-completion"
COMP_WORDS=(vdisk cr) COMP_CWORD=1
_vdisk
is "${COMPREPLY[*]}" create 'completion: a command'
completes() {
	COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
	_vdisk
	is "${COMPREPLY[*]}" "$1" "completion: ${*:2}"
}
completes 'start stop status' vdisk hydrate none st
completes 'idle' vdisk hydrate none start --priority i
completes 'preempt preempt-abort' vdisk pr none pree
completes 'wipe' vdisk key none w
COMP_WORDS=(vdisk hydrate x --r) COMP_CWORD=3
_vdisk
is "${COMPREPLY[*]}" --rate 'completion: an option'

# Lengths
says 0 16384 vdisk length file base.img
says 0 16384 vdisk length 'overlay volatile ( ram ) ( file base.img )'
says 0 20480 vdisk length 'concat ( file base.img ) ( file base.img len:2M )'
says 0 32736 vdisk length 'striped chunk:12K ( file base.img ) ( file base.img )'
says 1 '*no length of its own*--len' vdisk length ram
says 1 '*none: *' vdisk length file none
says 1 '*is no block device; say*file*' vdisk length block base.img

# What is refused leaves nothing
before=$(there)
for stack in 'foo' 'file none' 'file a/b/c' 'block base.img' 'ram' 'overlay ( file s ) ( file base.img )' 'overlay ( file base.img ) ( zero )' \
	'crypt cipher:aes-xts-plain64 keyfile:none ( file base.img )' 'crypt cipher:aes-xts-plain64 keyfile:key33 ( file base.img )' \
	'crypt cipher:aes-xts-plain64 keyfile:halves ( file base.img )' \
	'crypt cipher:aes-xts-plain64 key::64:logon:none ( file base.img )' 'concat ( ram ) ( ram )' 'blob b len:1M' \
	'overlay lineage:x ( file s ) ( file base.img start:9M )'; do
	exits 1 "create: $stack" vdisk create "$a" "$stack"
	nothing "$stack"
done
for stack in 'overlay ( file no/s ) ( file base.img )' 'overlay ( file s ) ( zero )' \
	'overlay ( file s ) ( crypt cipher:aes-xts-plain64 keyfile:halves ( file base.img ) )' \
	'overlay ( file s ) ( overlay ( file s ) ( file base.img ) )' 'overlay ( file s ) ( nvme /dev/loop0 )' \
	'overlay ( file s ) ( file base.img label:x ) ( zero )'; do
	exits 1 "create --create: $stack" vdisk create "$a" --create "$stack"
	nothing "$stack"
done
says 1 '*has 16384 sectors, 32768 are asked of it' vdisk create "$a" --len 16M file base.img
says 1 '*is no name*' vdisk create a/b zero --len 1M
says 1 "*--len: 'x' is no size*" vdisk create "$a" zero --len x
says 1 '*something is missing*' vdisk create "$a"
nothing 'wrong use'
# A table that is refused when it goes live: the store is of another base
vdisk format s --len 16384 --lineage other >/dev/null
before=$(there)
says 1 '*cannot go live*lineage*' vdisk create "$a" 'overlay lineage:mine ( file s ) ( file base.img )'
nothing 'refused by preresume'

# The module is of another version
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"$/\1/p' "$selftests/../../dkms.conf")
says 0 "vdisk $version"$'\n'"module dm-vdisk $version" vdisk --version
echo 0.0.1 >"$TMP/version"
mount --bind "$TMP/version" /sys/module/dm_vdisk/version
undo=('umount -q /sys/module/dm_vdisk/version' "${undo[@]}")
says 1 "*the loaded module dm-vdisk is version 0.0.1, this tool is $version*modprobe -r dm-vdisk*" vdisk --version
is "$(vdisk --version --json 2>/dev/null | jq -r '"\(.vdisk) \(.module) \(.loaded) \(.error | length > 0)"')" \
	"$version 0.0.1 true true" '--version --json'
says 1 '*cannot go live*lineage*the loaded module is version 0.0.1*' vdisk create "$a" 'overlay lineage:mine ( file s ) ( file base.img )'
umount /sys/module/dm_vdisk/version
rm s
# A busy name, with a store and a key that must not be made
vdisk create "$b" --len 1M ram >/dev/null
before=$(there)
says 1 '*there is a mapped device of that name*' vdisk create "$b" --create 'overlay ( file s ) ( crypt cipher:aes-xts-plain64 keyfile:key64 ( file base.img ) )'
nothing 'busy name'
# A key of that name
keyctl padd logon "vdisk:$a" @u <key64 >/dev/null
before=$(there)
says 1 "*key 'vdisk:$a' is there already*" vdisk create "$a" --create 'overlay ( file s ) ( crypt cipher:aes-xts-plain64 keyfile:key64 ( file base.img ) )'
nothing 'busy key'
keyctl purge logon "vdisk:$a" >/dev/null
# No space for the store, and no permission to have another open file
before=$(there)
(ulimit -f 1 && vdisk create "$a" --create 'overlay ( file s ) ( file base.img )') >/dev/null 2>&1
nothing 'a store that cannot be made long enough'
# Ctrl-C at some time
for delay in 0 0.001 0.002 0.004 0.008 0.016 0.03; do
	timeout --preserve-status -s INT $delay vdisk create "$a" --create 'overlay ( file s ) ( crypt cipher:aes-xts-plain64 keyfile:key64 ( file base.img ) )' >/dev/null 2>&1 &&
		vdisk remove "$a" && rm s
	[[ $(there) == "$before" ]] || break
done
nothing 'stopped'
vdisk remove "$b"

# An overlay in a new store
before=$(there)
says 0 "/dev/mapper/$a: 16384 sectors (8 MiB)" vdisk create "$a" --create overlay '( file s )' '( file base.img )'
[[ $(dmsetup info -c --noheadings -o uuid "$a") == VDISK-????????-* ]]
ok $? 'its uuid'
cmp "/dev/mapper/$a" base.img
ok $? 'it reads as its base'
put "/dev/mapper/$a" A 4096
sync "/dev/mapper/$a"
is "$(vdisk list --json | jq -r '.[] | "\(.name) \(.sectors) \(.open) \(.type)"')" "$a 16384 0 overlay" 'list'
completes "$a" vdisk show "${a:0:4}"
completes "$a" vdisk remove none "${a:0:4}"
vdisk show "$a" >shown
ok $? 'show'
grep -q 'overlay .*local 4 KiB, zero 0 bytes, absent 8.0 MiB' shown
ok $? 'show: sizes'
comment "$(<shown)"
is "$(vdisk show --json "$a" | jq -r '.stack | "\(.type) \(.counters.data) \(.children | length) \(.children[1].path)"')" \
	'overlay 8 2 overlay/1/file' 'show --json'
says 1 '*there is no such disk*vdisk list*' vdisk show none
said=$(vdisk stat --prometheus)
grep -q "^vdisk_node_written_sectors_total{disk=\"$a\",node=\"overlay/0/file\",type=\"file\",label=\"\"} [1-9]" <<<"$said"
ok $? 'stat: a counter'
awk '/^#/ { if (seen[$3]++) exit 1; metric = $3; next } { split($1, part, "{"); if (part[1] != metric) exit 1 }' <<<"$said"
ok $? 'stat: each metric once, its type before it'
is "$(vdisk stat "$a" "$a" | grep -c "^vdisk_sectors{")" 1 'stat: a disk that is named twice'
says 1 '*is in use*' bash -c "exec 9<'/dev/mapper/$a'; vdisk remove '$a'"

# grow: the store's file gets longer
says 1 '*is not made shorter*' vdisk grow "$a" 1M
says 0 "$a: 32768 sectors (16 MiB)" vdisk grow "$a" +8M
is "$(sectors "/dev/mapper/$a")" 32768 'grow'
is "$(letter "/dev/mapper/$a" 0)" A 'grow: what was written'
put "/dev/mapper/$a" B 4096 seek=2048
is "$(letter "/dev/mapper/$a" 16384)" B 'grow: its end'
says 1 '*formatted for at most*' vdisk grow "$a" 1G
is "$(letter "/dev/mapper/$a" 0) $(sectors "/dev/mapper/$a")" 'A 32768' 'a refused one changes nothing'

is "$(stat -c %s s)" $(((2048 + 32768) * 512)) 'nor the length of the store'

# snapshot
says 1 '*s: is there already*' vdisk snapshot "$a" s
says 0 "$a: $PWD/top" vdisk snapshot "$a" top
put "/dev/mapper/$a" C 4096
is "$(letter "/dev/mapper/$a" 0) $(letter "/dev/mapper/$a" 16384)" 'C B' 'snapshot: new and old'
says 0 '' vdisk remove "$a"
says 0 '*16 MiB)' vdisk create "$a" --len 16M --readonly 'overlay ( file s ) ( file base.img )'
is "$(letter "/dev/mapper/$a" 0)" A 'what was before the snapshot'
is "$(blockdev --getro "/dev/mapper/$a")" 1 '--readonly'
vdisk remove "$a"
rm s top shown
nothing 'all that was removed'

# What show and stat count: a cache that is read twice, and a sector that cannot be read
before=$(there)
vdisk create "$a" --create --readonly 'cache ( file c ) ( file base.img )' >/dev/null
cat "/dev/mapper/$a" >/dev/null
blockdev --flushbufs "/dev/mapper/$a"
cat "/dev/mapper/$a" >/dev/null
read -r hits misses <<<"$(counter a file 1 read_sectors) $(counter a file 2 read_sectors)"
((hits >= 16384 && misses >= 16384))
ok $? 'a cache is read twice'
rate=$(awk "BEGIN { printf \"%.1f\", 100 * $hits / ($hits + $misses) }")
vdisk show "$a" | grep -q "^cache .* local 8 MiB, zero 0 bytes, absent 0 bytes  hit rate $rate %"
ok $? "show: hit rate $rate %"
is "$(vdisk show --json "$a" | jq '.stack.hit_rate * 1000 | round')" "$(awk "BEGIN { printf \"%.0f\", 1000 * $hits / ($hits + $misses) }")" 'show --json: hit_rate'
is "$(vdisk stat "$a" | sed -n 's/^vdisk_node_local_ratio{.*node="cache".*} //p')" 1 'stat: the local share'
timeout --preserve-status -s INT 5 vdisk show "$a" --watch >shown
is "$? $(($(grep -c '^cache ' shown) >= 2))" '0 1' 'show --watch'
vdisk remove "$a"
dm bad "0 16384 error"
vdisk create "$a" "overlay volatile ( ram ) ( block $(devno "/dev/mapper/${VD}bad") )" >/dev/null
is "$(vdisk show "$a" | grep -c ERRORS) $(vdisk stat "$a" | sed -n 's/^vdisk_node_local_ratio{.*} //p')" '0 0' 'show: no errors yet; all is absent'
letter "/dev/mapper/$a" 0 2>/dev/null
vdisk show "$a" | grep -q '^  block .*, [1-9][0-9]* ERRORS$'
ok $? 'show: errors'
put "/dev/mapper/$a" A $((4096 * 512))
is "$(vdisk stat "$a" | sed -n 's/^vdisk_node_local_ratio{.*} //p')" 0.25 'stat: a quarter is local'
vdisk remove "$a"
gone bad
rm c shown
nothing 'what was counted'

# A blank and a backslash in a path, which dmsetup cannot pass; a letter with a byte that is a blank to the kernel
cp base.img $'a b\\'
cp base.img voilà
before=$(there)
says 0 '*8 MiB)' vdisk create "$a" 'overlay ( file voilà.store ) ( file voilà )' --create
cmp -n 8388608 "/dev/mapper/$a" voilà
ok $? 'a path with a letter that ends in 0xa0'
says 0 '*' vdisk grow "$a" 9M
vdisk remove "$a"
rm voilà.store
says 0 '*8 MiB)' vdisk create "$a" 'overlay volatile ( ram label:r ) ( file a\ b\\ )'
says 0 '*' vdisk grow "$a" 9M
cmp -n 8388608 "/dev/mapper/$a" base.img
ok $? 'a path with a blank and a backslash'
vdisk remove "$a"
nothing 'with such a path'

# Keys from a file
vdisk create "$a" 'crypt cipher:aes-xts-plain64 keyfile:key64 ( ram )' --len 1M >/dev/null
put "/dev/mapper/$a" D 4096
is "$(letter "/dev/mapper/$a" 0)" D 'keyfile:'
says 0 '*wiped*' vdisk key "$a" wipe
says 1 '*is no key*' vdisk key "$a" set key33
says 0 "$a: set" vdisk key "$a" set twice
is "$(letter "/dev/mapper/$a" 0)" D 'key wipe, key set'
says 0 "$a: *" vdisk grow "$a" 2M
vdisk remove "$a"
nothing 'keys of a removed disk'

done_testing
