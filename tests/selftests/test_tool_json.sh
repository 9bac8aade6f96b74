#!/bin/bash
# vdisk --json: whatever comes of a command, one value, in UTF-8; and what is wrong is said in it.
# check: 7.3
# timeout: 240
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_LOOP CONFIG_EXT4_FS
load_vdisk
direct_tmp
cd "$TMP" || exit
export VDISKTAB=$TMP/tab
a=${VD}a odd=$'voil\xc3\xa0\xff\x07'
undo=("vdisk remove $a" "cd /" "${undo[@]}")
head -c 1M /dev/zero >"$odd"
head -c 64 /dev/urandom >key
cp key other
head -c 512 /dev/zero >blob
printf '%s\n' "$a - file /voilà" >tab
loop_disk 1 512
cryptsetup luksFormat --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --batch-mode --key-file key --header header "$DISK" 2>/dev/null

# json STATUS NAME FILTER COMMAND...: exits with this; what it prints is one value, of which the filter says true
json() {
	local status=0
	vdisk "${@:4}" --json >out 2>err || status=$?
	[[ $status == "$1" ]] && iconv -f UTF-8 -t UTF-8 out | jq -es "length == 1 and (.[0] | $3)" >/dev/null
	status=$?
	ok $status "$2: $3"
	((!status)) || comment "$(<err)" "$(<out)"
	seen[$1${4}]=1
}
declare -A seen

# What fails
json 1 'no command' '.error | startswith("'\''frob'\'' is no command")' frob
json 1 'only --json' '.error | startswith("'\''--json'\'' is no command")'
for command in $(vdisk --complete | cut -d ' ' -f 1); do
	json 1 "$command: wrong use" '.error | contains("no such option")' "$command" --frob
	json 1 "$command: of what is not there" '.error // .errors[0].error | length > 0' "$command" $'no\xff' $'file /no\xffne'
done
json 1 'a path that is no UTF-8' '.error | startswith("'"$TMP/no"'\\xffvoilà: No such file")' create "$a" $'file no\xffvoilà'
json 1 'create of a URL' '.error | startswith("blob: file:///no ")' create "$a" --readonly file:///no
json 1 'length of a URL' '.error | startswith("blob: file:///no ")' length file:///no
json 1 'tab' '.disks == [] and .errors[0].line == 1 and (.errors[0].error | contains("no node type"))' tab <(echo $'x - f\xff')
json 1 'remove: one of two' '.removed == [] and .errors[0].name == "none"' remove none

# What does not
json 0 'create' '.created and .stores == ["'"$TMP"'/c"] and (.stack | endswith("voilà\\xff\u0007 ) ) )"))' \
	create "$a" --create "overlay volatile ( ram ) ( cache ( file c ) ( crypt cipher:aes-xts-plain64 keyfile:key ( file $odd ) ) )"
json 0 'list' '.[0].name == "'"$a"'"' list
json 0 'show' '.stack.children[1].children[1].children[0].words == ["'"$TMP"'/voilà\\xff\u0007"]' show "$a"
json 0 'stat' '.[0].stack.type == "overlay"' stat "$a"
json 0 'hydrate' '.state == "done"' hydrate "$a" start
json 0 'detach-base' '.stack | endswith("( zero ) )")' detach-base "$a"
run_fails 'the key of what was detached is gone' keyctl search @u logon "vdisk:$a"
json 0 'remove' '.removed == ["'"$a"'"] and .errors == []' remove "$a"
vdisk create "$a" --create "overlay ( file s ) ( file $odd )" >/dev/null
json 0 'snapshot' '.store == "'"$TMP"'/t"' snapshot "$a" t
json 0 'merge' '.state == "done" and (.stack | startswith("overlay ( file '"$TMP"'/s ) "))' merge "$a"
json 0 'grow' '.sectors == 4096 and .bytes == 2097152 and .vdisktab == { line: 1, text: null }' grow "$a" 2M
vdisk remove "$a"
vdisk create "$a" --len 1M "pr domain:$a nexus:a ( crypt cipher:aes-xts-plain64 keyfile:key ( ram ) )" >/dev/null
json 0 'pr' '.answer' pr "$a" register-ignore 0xa
json 0 'key wipe' '.key == "wiped" and .suspended' key "$a" wipe
json 0 'key set' '.key == "set" and (.suspended | not)' key "$a" set other
json 0 'create of a URL' '.helpers[0] | .blob == "b" and .url == "file://'"$TMP"'/blob" and .pid > 0 and .unit == null' \
	create b --readonly "file://$TMP/blob"
json 0 'remove of a URL' '.removed == ["b"]' remove b
json 0 'create --explain of a URL' '.commands[1] == "vdisk-fetchd --name '"'b' --once 'file://$TMP/blob'"' &"' \
	create b --readonly "file://$TMP/blob" --explain
json 0 'create --explain' '.commands | length == 1' create b --len 1M ram --explain
vdisk create b --len 1M ram >/dev/null
json 1 'remove: the other one' '.removed == ["b"] and .errors[0].name == "none"' remove none b
json 0 'check-line' '.stack == "zero"' check-line zero
json 0 'length' '.sectors == 2048' length "file $odd"
json 0 'tab' '.disks[0].stack == "file /voilà"' tab
json 0 'format' '.len == 2048' format f --len 1M
json 0 'check' '.result == "clean"' check f
json 0 'repair' '.result == "clean"' repair f
json 0 'dump' '.superblocks | length == 2' dump f
json 0 'map' '.[0].state == "absent"' map f
json 0 'luks' '.stack | startswith("crypt ")' luks --no-key header
json 0 '--version' '.loaded' --version
# vdisk luks, besides: LUKS1, a path with a blank, and Ctrl-C while it asks
cryptsetup luksFormat --type luks1 --pbkdf-force-iterations 1000 --batch-mode --key-file key --header 'a b' "$DISK" 2>/dev/null
is "$(vdisk luks --no-key 'a b' | grep -o '( .*')" "( file $TMP/a\\ b start:0 )" 'luks: LUKS1, and a blank'
(wait_for 20 grep -q Passphrase asked; printf '\003'; sleep 2) |
	script -qec 'trap : INT; vdisk luks header; echo "status $?"; stty -a' asked >/dev/null
grep -q '^status 1' asked && grep -qE '(^| )echo ' asked
ok $? 'luks: Ctrl-C leaves the echo'
for command in $(vdisk --complete | cut -d ' ' -f 1); do
	[[ ${seen[0$command]-} && ${seen[1$command]-} ]] || ok 1 "$command: is tried, right and wrong"
done
done_testing
