#!/bin/bash
# vdisktab without systemd: what vdisk tab and the generator make of right, wrong and hostile lines. A kernel is not needed.
# kernels: 6.1 6.12 7.3
# check: 6.12
# timeout: 180
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

cd "$TMP" || exit
export VDISKTAB=$TMP/tab
# generate LINE...: of a file of these lines; units are in $TMP/units then
generate() {
	rm -rf units && mkdir units
	printf '%s\n' "$@" >tab
	vdisk-generator units 2>err
}
# what KEY NAME: what the unit of a disk says there
what() { sed -n "s/^$1=//p" "units/vdisk@$2.service" | xargs -d '\n'; }
# wrong MESSAGE LINE: it is said, with the number of the line, by both, and the other lines are there
wrong() {
	local status said
	generate 'first - zero' "$2" 'last - zero'
	is $? 1 "${1:0:60}: the exit status"
	said=$(sed -n 's/^vdisk-generator: //p' err)
	is "$said" "$TMP/tab:2: $1; the disk is not made. vdisk tab checks the file" "${1:0:60}: what is said"
	is "$(cd units && echo ./*.service)" './vdisk@first.service ./vdisk@last.service' "${1:0:60}: the other lines"
	status=0
	said=$(vdisk tab tab 2>&1 >/dev/null) || status=$?
	is "$said $status" "vdisk: tab:2: ${1//$TMP\/} 1" "${1:0:60}: vdisk tab"
}

VDISKTAB=$TMP/none vdisk-generator "$TMP" 2>err
is "$? $(wc -c <err)" '0 0' 'no file'
vdisk tab none 2>err
is "$? $(<err)" '1 vdisk: none: is not there; vdisktab(5) says what to write into it' 'vdisk tab: no file'
generate '' '   # comment' $'\t'
is "$? $(find units -mindepth 1)" '0 ' 'a file of no disks'

# The links
generate 'a - zero' 'b noauto zero' 'c nofail zero' 'd scan,noauto zero' 'e _netdev zero' 'f#1+2=3 - zero' \
	'g-1 len=1M,create,readonly,x-note ram' $'  h\t-\tfile\t/a  '
is "$? $(<err)" '0 ' 'right lines'
is "$(cd units && find . -type l -printf '%P -> %l\n' | sort)" "\
dev-mapper-d.device.requires/vdisk@d.service -> ../vdisk@d.service
multi-user.target.wants/vdisk.target -> ../vdisk.target
vdisk.target.requires/vdisk@a.service -> ../vdisk@a.service
vdisk.target.requires/vdisk@e.service -> ../vdisk@e.service
vdisk.target.requires/vdisk@f\\x231\\x2b2\\x3d3.service -> ../vdisk@f\\x231\\x2b2\\x3d3.service
vdisk.target.requires/vdisk@g-1.service -> ../vdisk@g-1.service
vdisk.target.requires/vdisk@h.service -> ../vdisk@h.service
vdisk.target.wants/vdisk@c.service -> ../vdisk@c.service" 'the links'
is "$(what Before a)" 'umount.target vdisk.target local-fs.target blockdev@dev-mapper-a.target' 'before local-fs.target'
is "$(what Before c)" 'umount.target blockdev@dev-mapper-c.target' 'nofail: before no target of boot'
is "$(what Before e)" 'umount.target vdisk.target remote-fs.target blockdev@dev-mapper-e.target' '_netdev: before remote-fs.target'
is "$(what Wants f\\x231\\x2b2\\x3d3)" 'blockdev@dev-mapper-f\x231\x2b2\x3d3.target' 'what uses it is behind this'
[[ " $(what After a) " == *' systemd-remount-fs.service '* ]]
ok $? 'behind a root that is writable'
is "$(what ExecStart g-1)" ':/usr/local/sbin/vdisk create --create --readonly --len 1M -- "g-1" "ram"' 'options'
is "$(what ExecStart h)" ':/usr/local/sbin/vdisk create -- "h" "file\x09/a  "' 'tabs'
is "$(vdisk tab --json tab | jq -c '[.disks[] | select(.name == "g-1") | .len, .create, .scan], .errors')" $'["1M",true,false]\n[]' 'vdisk tab --json'
generate 'b noauto zero'
is "$(find units -type l)" '' 'only noauto: nothing pulls it in'

# What it lies on
generate 'a - overlay ( file /s/store ) ( cache ( block /dev/disk/by-id/x-1 ) ( blob img-1 len:8 ) )' \
	'b - crypt cipher:aes-xts-plain64 keyfile:/k\ 1 ( striped chunk:8 ( nvme /dev//./nvme0n1 ) ( block /dev/mapper/a ) ( block 8:0 ) )' \
	'c - file /x/../%n"\\\ é'
is $? 0 'dependencies'
is "$(what RequiresMountsFor a)" '"/s/store"' 'a file'
is "$(what Requires a)" 'dev-disk-by\x2did-x\x2d1.device' 'a device'
is "$(what Wants a) $(what Before a | cut -d ' ' -f -3)" \
	'blockdev@dev-mapper-a.target vdisk-fetchd@img-1.service umount.target vdisk.target remote-fs.target' 'a blob'
[[ " $(what After a) " == *' dev-disk-by\x2did-x\x2d1.device blockdev@dev-disk-by\x2did-x\x2d1.target'* ]]
ok $? 'a device: behind who makes it'
is "$(what RequiresMountsFor b)" '"/k 1"' 'a key'
is "$(what Requires b)" 'dev-nvme0n1.device vdisk@a.service' 'another disk'
is "$(what Before b | cut -d ' ' -f 3)" remote-fs.target 'another disk with a blob: late, too'
is "$(what RequiresMountsFor c)" '"/x/../%%n\"\\ é"' 'a path of special characters'
is "$(what ExecStart c)" ':/usr/local/sbin/vdisk create -- "c" "file /x/../%%n\x22\x5c\x5c\x5c \xc3\xa9"' 'and as a word'

generate 'x - block /dev/mapper/b' 'b - block /dev/mapper/a' 'a _netdev ram' 'y - block /dev/mapper/y' \
	'z - block /dev/mapper/none'
is "$(for name in x b a y z; do what Before $name | cut -d ' ' -f 3; done | xargs)" \
	'remote-fs.target remote-fs.target remote-fs.target local-fs.target local-fs.target' '_netdev: what lies on it'

wrong 'x: a line is NAME OPTIONS STACK; OPTIONS may be -' x
wrong 'x: a line is NAME OPTIONS STACK; OPTIONS may be -' 'x -'
wrong "first: is in line 1 already" 'first - ram'
wrong "'a/b' is no name for a disk: at most 120 letters, digits and . _ - + : = @ #" 'a/b - zero'
wrong "'..' is no name for a disk: at most 120 letters, digits and . _ - + : = @ #" '.. - zero'
wrong "'' is no option; there are noauto, nofail, _netdev, create, readonly, scan, len=SIZE, and - for none" 'x noauto, zero'
wrong "'auto' is no option; there are noauto, nofail, _netdev, create, readonly, scan, len=SIZE, and - for none" 'x auto zero'
wrong "len=: '-1' is no size: say a number of sectors (of 512 bytes), or one like 512K, 100M, 10G" 'x len=-1 zero'
wrong 'len= is there twice' 'x len=1,len=2 zero'
wrong "'zeroo' is no node type; there are block nvme file vhd1 ram zero blob striped concat crypt delay overlay cache pr" 'x - zeroo'
wrong "file: path: 'a' is no absolute path" 'x - file a'
wrong 'k: a path in this file begins with /' 'x - crypt cipher:aes-xts-plain64 keyfile:k ( zero )'
for disk in 'sqldiff:/s;create:/a' 'sql:/s;create=1M'; do
	wrong '/s: ;create refuses a store that is there, as it is when the host boots again: leave it out, and put create among the options, with len=SIZE for sql' \
		"x create $disk"
done
wrong "ends as lines of DOS do; sed -i 's/\\r\$//' $TMP/tab mends it" $'x - zero\r'
wrong "a control character is in it; retype the line in $TMP/tab" $'x - file /a\x01'
wrong 'longer than 65536 bytes' "x - file /$(printf '%065536d' 0)"
printf 'first - zero\nx - ze\0ro\nlast - zero' >tab
rm -rf units && mkdir units
vdisk-generator units 2>err
is "$? $(grep -c 'control character' err) $(find units -name '*.service' -type f | wc -l)" '1 1 2' 'a NUL'

# A name that is too long for a unit, but not for a disk
long=x$(printf '%0100d' 0 | tr 0 '#')
generate "$long - zero" 'last - zero'
is "$? $(grep -c 'too long for the name of a unit' err) $(ls units)" "1 1 multi-user.target.wants
vdisk.target.requires
vdisk@last.service" 'a name too long'

# Whatever it reads, it ends, makes only what it should, and each unit has the lines that it should
bad=''
for round in {1..8}; do
	head -c 2000 /dev/urandom | tr -d '\0' >noise
	{
		echo 'first - zero'
		head -c 900 noise | tr '\n' ' ' | sed 's/^/n1 - file \//'
		echo
		head -c 300 noise | base64 -w 0 | sed 's/^/n2 - file \//'
		echo
		cat noise
		printf '\nlast - zero\n'
	} >tab
	rm -rf units && mkdir units
	timeout 10 vdisk-generator units 2>/dev/null
	(($? < 2)) || bad+="round $round: exit status; "
	[[ -e units/vdisk@first.service && -e units/vdisk@last.service && -e units/vdisk@n2.service ]] || bad+="round $round: lost; "
	for unit in units/*.service; do
		[[ $(grep -c '^ExecSt' "$unit") == 2 && $(grep -vcE '^$|^#|^\[(Unit|Service)\]$|^[A-Z][A-Za-z]*=' "$unit") == 0 ]] || bad+="$round: $unit; "
	done
	[[ -z $bad ]] || break
done
is "$bad" '' 'noise'
[[ -z $bad ]] || cp tab "$VDISK_ARTIFACTS/tab.noise"
generate 'a - zero'
chmod 500 units
mkdir full && mount -t tmpfs -o size=4k,nr_inodes=2 full full
vdisk-generator full 2>err
is "$? $(grep -c 'full/' err)" '1 2' 'no room: it says so'
umount full
done_testing
