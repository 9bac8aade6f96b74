#!/bin/bash
# A URL in a stack: vdisk create asks how long it is, starts its helper, and waits for that; vdisk remove ends it. Whatever is
# wrong with the origin or the helper is said in one line, and leaves nothing.
# kernels: 6.1 6.12 7.3
# check: 6.12
# timeout: 240
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/blob.sh
. "$selftests/blob.sh"
# shellcheck source=tests/selftests/fetchd.sh
. "$selftests/fetchd.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_LOOP CONFIG_EXT4_FS
load_vdisk
direct_tmp
cd "$TMP" || exit
image 4
mode ok
bad_server
a=${VD}a url=http://127.0.0.1:8090/img
undo=("vdisk remove $a" "cd /" "${undo[@]}")
head -c 64 /dev/urandom >key

helpers() { pgrep -fc '^vdisk-fetchd --name '; }
there() { ls; dmsetup ls | sort; grep -c 'logon *vdisk:' /proc/keys; ls /dev/mapper /run; helpers; }
no_helper() { [[ $(helpers) == 0 ]]; }
# refused NAME TEXT STACK [OPTION...]: in one line, and nothing stays
refused() {
	local said status=0
	said=$(vdisk create "$a" "${@:4}" "$3" 2>&1) || status=$?
	[[ $status == 1 && $said == 'vdisk: '*"$2"* && $said != *$'\n'* ]]
	ok $? "$1: $2"
	[[ $said == *"$2"* ]] || comment "exits with $status and says" "$said"
	is "$(there)" "$before" "$1: nothing stays"
}

before=$(there)
made=$(vdisk create "$a" --create "cache ( file $TMP/store ) ( $url )" --readonly)
is "$made" "/dev/mapper/$a: $len sectors (4 MiB)
blob $a: $url, supplied by vdisk-fetchd, process $(pgrep -f '^vdisk-fetchd --name ')" 'a URL as a child'
is "$(table a)" "cache ( file $TMP/store ) ( blob $a len:$len )" 'its blob'
is "$(counter a blob 1 helpers)" 1 'the helper is there'
run_ok 'every byte' cmp "/dev/mapper/$a" "$image"
run_ok 'remove' vdisk remove "$a"
run_ok 'the helper is gone' wait_for 10 no_helper
rm store
is "$(there)" "$before" 'remove: nothing stays'

# Spellings: with options, several, a VHD, one of OpenVMM's
cp "$image" other
run_ok 'two URLs' vdisk create "$a" "overlay volatile ( ram ) ( concat ( blob $url on_loss:fail label:x ) ( blob file://$TMP/other len:1M ) )"
is "$(table a)" "overlay volatile ( ram ) ( concat ( blob $a len:$len on_loss:fail label:x ) ( blob $a-1 len:2048 ) )" 'two URLs: their blobs'
cmp "/dev/mapper/$a" <(cat "$image" <(head -c 1M other))
ok $? 'two URLs: every byte'
run_ok 'two URLs: grow' vdisk grow "$a" 9M
cmp -n 4194304 "/dev/mapper/$a" "$image"
ok $? 'two URLs: they go on'
vdisk remove "$a"
run_ok 'two URLs: both helpers are gone' wait_for 10 no_helper
is "$(vdisk length "$url")" "$len" 'length'
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on "$image" disk.vhd
run_ok 'a VHD' vdisk create "$a" --readonly "file://$TMP/disk.vhd vhd1"
cmp "/dev/mapper/$a" "$image"
ok $? 'a VHD: its disk'
vdisk remove "$a"
failcall 0 0 "$TMP/calls" vdisk create "$a" "memdiff:blob:flat:$url?sig=secret" >/dev/null
vdisk remove "$a"
failcall $(($(<"$TMP/calls") / 2)) "tr '\\0' ' ' </proc/\$(pgrep -x vdisk)/cmdline >'$TMP/args'" "$TMP/report" \
	vdisk create "$a" "memdiff:blob:flat:$url?sig=secret" >/dev/null
is "$(<"$TMP/args")" "vdisk create $a memdiff:blob:flat:$url?********** " 'what is secret is not in ps meanwhile'
vdisk remove "$a"
rm -f "$TMP"/{calls,args,report}
run_ok "blob:flat:, with what is secret" vdisk create "$a" "memdiff:blob:flat:$url?sig=secret"
run_fails 'it is not in ps' pgrep -f sig=secret
[[ $(vdisk create --explain b "memdiff:blob:flat:$url?sig=secret") == *$'\n'"vdisk-fetchd --name 'b' --once '$url' --credentials FILE &" ]]
ok $? '--explain: the helper'
# Who removes it otherwise
dmsetup remove "$a"
run_ok 'dmsetup remove ends the helper, too' wait_for 10 no_helper
run_ok 'what that left is no hindrance' vdisk create "$a" --readonly "$url"
vdisk remove "$a"
wait_for 10 no_helper
rm disk.vhd other
is "$(there)" "$before" 'nothing stays'

# Its name is another disk's blob, with bytes of the same length: it does not get those
head -c 4M /dev/urandom >third
before=$(there)
vdisk create "$a" --readonly "concat ( $url ) ( file://$TMP/third )" >/dev/null
run_ok 'a name in use: create' cmp <(cat "$image" third) "/dev/mapper/$a"
said=$(vdisk create "$a-1" --readonly "$url" 2>&1)
is "$? $said" "1 vdisk: blob $a-1 is another disk's, and has its helper: choose another name for the disk" 'a name in use'
dmsetup rename "$a" "${a}x"
said=$(vdisk create "$a" --readonly "$url" 2>&1)
is "$? $said" "1 vdisk: blob $a is another disk's, and has its helper: choose another name for the disk" 'a name in use: renamed'
cmp <(cat "$image" third) "/dev/mapper/${a}x"
ok $? 'a name in use: it goes on'
vdisk remove "/dev/mapper/${a}x"
wait_for 10 no_helper
rm -f "/run/vdisk-$a:$a"*.log	# it had another name when they were made
# By its path, and when create was killed
vdisk create "$a" --readonly "crypt cipher:aes-xts-plain64 keyfile:key ( $url )" >/dev/null
run_ok 'remove by path' vdisk remove "/dev/mapper/$a"
wait_for 10 no_helper
is "$(there)" "$before" 'remove by path: nothing stays'
: >"/run/vdisk-$a:$a.conf"
keyctl padd logon "vdisk:$a" @u <key >/dev/null
keyctl padd logon "vdisk:$a:1" @u <key >/dev/null
dmsetup create "$a" --notable -u "VDISK-$$"
run_ok 'remove of what a killed create left' vdisk remove "$a"
is "$(there)" "$before" 'remove of what a killed create left: nothing stays'
rm third
before=$(there)

# When its base is detached, its helper is not needed
vdisk create "$a" --create "overlay copy_on_read ( file $TMP/store ) ( $url )" >/dev/null
vdisk hydrate "$a" start &>/dev/null && vdisk detach-base "$a" >/dev/null
run_ok 'detach-base: the helper is gone' wait_for 10 no_helper
cmp "/dev/mapper/$a" "$image"
ok $? 'detach-base: every byte'
vdisk remove "$a"
rm store
is "$(there)" "$before" 'detach-base: nothing stays'

# What is wrong with the origin
stack="overlay ( file $TMP/store ) ( crypt cipher:aes-xts-plain64 keyfile:key ( $url ) )"
mode 404
refused 404 "$url has no such object (404) (vdisk-fetchd --check tries it again)" "$stack" --create
mode 200
refused 'no ranges' 'no ranges can be had there' "$stack" --create
mode ok
refused 'nobody there' "blob: http://127.0.0.1:1/x cannot be read: Couldn't connect" 'http://u:secret@127.0.0.1:1/x?sig=secret' --readonly
refused 'no VHD' 'no footer of a VHD' "$url vhd1" --readonly
refused 'no file' 'No such file' 'file:///none' --readonly
refused 'no such scheme' 'ftp: no such kind of origin' 'ftp://127.0.0.1/x' --readonly
refused 'a blank' 'say %20 for a blank' 'http://h/a\ b' --readonly
refused 'it takes no writes' 'can only be read: put it below an overlay' "$url"
a='a+b' refused 'a name that no blob has' "'a+b' is no name for a disk with a URL" "$url" --readonly
refused 'longer than it is' "the table's len: is more than the origin has" "overlay ( file $TMP/store ) ( blob $url len:1G )" --create

# What is wrong with the helper, once the origin was good
mkdir bin
path=$PATH real=$(command -v vdisk-fetchd)
# fake COMMAND: what is done instead of serving
fake() { printf '#!/bin/bash\n[[ " $* " != *" --check "* ]] && { %s; }\nexec %s "$@"\n' "$1" "$real" >bin/vdisk-fetchd; }
chmod 755 bin
fake 'echo "vdisk-fetchd: it fell over" >&2; exit 2'
chmod 755 bin/vdisk-fetchd
before=$(there)
PATH=$TMP/bin:$path
refused 'it ends' 'blob: its helper has ended: it fell over (vdisk-fetchd --check may say more)' "$stack" --create
fake 'exit 0'
refused 'it ends without a word' 'blob: its helper has ended: vdisk-fetchd said nothing (vdisk-fetchd --check may say more)' "$stack" --create
fake 'exec sleep 1000'
said=$(timeout --preserve-status -s INT 3 vdisk create "$a" --create "$stack" 2>&1)
is "$? $said" '1 vdisk: stopped; what was begun is undone' 'one that hangs, and Ctrl-C'
is "$(pgrep -fc '^sleep 1000') $(there)" "0 $before" 'one that hangs: nothing stays'
PATH=$path
mkdir none
vdisk=$(command -v vdisk)
said=$(PATH=$TMP/none "$vdisk" create "$a" --readonly "$url" 2>&1)
is "$? $said" '1 vdisk: blob: vdisk-fetchd, which supplies blobs, cannot be run; is it installed?' 'no vdisk-fetchd'
done_testing
