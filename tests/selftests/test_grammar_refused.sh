#!/bin/bash
# A line that is wrong is refused, and the message names the node by its path, and the option.
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

load_vdisk
scratch
types='block nvme file vhd1 ram zero blob striped concat crypt delay overlay cache pr test'
name='is not 1 to 63 of A-Z a-z 0-9 . _ -'
long=$(printf '%064d' 0)

# nested N WORD: WORD ( WORD ( ... ( zero ) ) ), N nodes
nested() {
	local i line=zero
	for ((i = 1; i < $1; i++)); do
		line="$2 ( $line )"
	done
	echo "$line"
}

# many N NODE: ( NODE ) ( NODE ) ...
many() { printf "( $2 ) %.0s" $(seq "$1"); }

refused 'empty: a stack is a node type and its words' ''
refused "'tar' is no node type; there are $types" 'tar'
refused "'(' is no node type; there are $types" '( zero )'
refused "'(' is no node type; there are $types" 'concat ( ( zero ) )'
refused 'word 2 is longer than 4095 bytes' "zero $(printf '%04096d' 0)"
refused 'zero: takes no children' 'zero ( zero )'
refused 'test: takes no more than 1 child' 'test ( zero ) ( zero )'
refused 'concat: takes no more than 128 children' "concat $(many 129 zero)"
refused 'concat: more than 256 nodes' "concat $(many 2 "concat $(many 127 zero)")"
path=$(nested 16 concat)
path=${path% ( zero*}
path=${path// ( //0/}
refused "$path/0/concat: nested deeper than 16" "$(nested 17 concat)"
refused "zero: ')' without its '('" 'zero )'
refused "zero: ')' without its '('" 'zero ) zero'
refused "concat: ')' without its '('" 'concat ( zero ) )'
refused "concat: '(' without a node behind it" 'concat ('
refused "concat/0/concat: '(' without a node behind it" 'concat ( concat ('
refused "concat/0/zero: ')' missing behind it" 'concat ( zero'
refused "concat: 'x' behind a child: words and options come first" 'concat ( zero ) x'
refused 'concat: needs 1 child, has 0' 'concat'
refused 'concat/0/test: needs 1 child, has 0' 'concat ( test ) ( zero )'
refused 'striped: needs 1 child, has 0' 'striped chunk:8'

refused "zero: 'foo:1': unknown option" 'zero foo:1'
refused "zero: 'foo': unknown word" 'zero foo'
refused "concat/1/zero: 'foo': unknown word" 'concat ( zero ) ( zero foo )'
refused "striped: 'chunk': unknown word" 'striped chunk ( zero )'
refused "test: 'up:1': unknown option" 'test up:1 ( zero )'
refused "test: 'upper': unknown word" 'test upper ( zero )'
refused "striped: 'chunks:8': unknown option" 'striped chunks:8 ( zero )'
refused 'striped: chunk: missing' 'striped ( zero )'
refused 'striped: chunk: given twice' 'striped chunk:8 chunk:8 ( zero )'
for number in 8k -8 +8 0x8 8.0 999999999999999999999; do
	refused "striped: chunk: '$number' is not a number of sectors" "striped chunk:$number ( zero )"
done
refused "striped: chunk: '' is not a number of sectors" 'striped chunk: ( zero )'
for number in 0 4194304 18446744073709551615 99999999999999999999; do
	refused 'striped: chunk: not in 1..4194303' "striped chunk:$number ( zero )"
done
refused 'ram: max: not in 8..18014398509481983' 'ram max:7'
refused "concat/1/ram: max: 'x' is not a number of sectors" 'concat ( ram ) ( ram max:x )'
refused "ram: name: 'a/b' $name" 'ram name:a/b'
refused "ram: name: '' $name" 'ram name:'
refused "ram: name: '${long:0:40}' $name" "ram name:$long"
refused "zero: label: 'a:b' $name" 'zero label:a:b'
refused 'zero: label: given twice' 'zero label:a label:b'
refused "zero: label: 'ram' is a node type" 'zero label:ram'
refused "concat/1/zero: label: 'a' is used by another node" 'concat ( zero label:a ) ( zero label:a )'
refused 'zero: drop_volatile: given twice' 'zero drop_volatile drop_volatile'
refused "concat/0/zero: 'drop_volatile': unknown word" 'concat ( zero drop_volatile )'
refused "test: mode: 'x' is not one of pass|work|timer|hold|read|fail" 'test mode:x ( zero )'
refused "test: mode: 'pas' is not one of pass|work|timer|hold|read|fail" 'test mode:pas ( zero )'
refused "test: mode: '' is not one of pass|work|timer|hold|read|fail" 'test mode: ( zero )'
for time in 5 5m 5sec ms 5us1; do
	refused "test: period: '$time' is not a time (us, ms or s)" "test period:$time ( zero )"
done
for time in 0us 11s 10001ms 18446744073709551615s; do
	refused 'test: period: not in 1..10000000 us' "test period:$time ( zero )"
done
for time in 5 5m 1.5ms 1us/ /1us ','; do
	part=$time
	[[ $time != */* ]] || part=
	refused "delay: flush: '$part' is not a time (us, ms or s)" "delay flush:$time ( zero )"
done
for time in 3601s 3600000001us 18446744073709551615s 0/5000s@50; do
	refused 'delay: write: not in 0..3600000000 us' "delay write:$time ( zero )"
done
for percentile in 0 0.000 100 99.9999 99. .5 -1 x ''; do
	refused "delay: read: '$percentile' is not a percentile (above 0, below 100, up to 3 digits behind the point)" \
		"delay read:1us/2us@$percentile ( zero )"
done
refused 'delay: read: the first time has no percentile' 'delay read:1us@50 ( zero )'
refused 'delay: read: every time but the first needs a percentile' 'delay read:1us/2us ( zero )'
refused 'delay: read: percentiles do not rise' 'delay read:1us/2us@50/3us@50 ( zero )'
refused 'delay: discard: times fall' 'delay discard:2us/1us@50 ( zero )'
refused 'delay: read: more than 8 times' "delay read:1us$(printf '/1us@%d' {1..8}) ( zero )"
refused 'delay: read: given twice' 'delay read:1us read:1us ( zero )'
refused "delay: seed: '1us' is not a number" 'delay seed:1us ( zero )'
refused 'delay: seed: not in 0..18446744073709551615' 'delay seed:18446744073709551616 ( zero )'
refused "delay: 'erase:1us': unknown option" 'delay erase:1us ( zero )'
refused 'concat/1/delay: needs 1 child, has 0' 'concat ( zero ) ( delay read:1us )'
refused 'delay: takes no more than 1 child' 'delay ( zero ) ( zero )'

refused 'block: device: missing' 'block'
refused 'concat/0/block: device: missing' 'concat ( block )'
for device in null dev/null 1: :1 1:x 1:2:3; do
	refused "block: device: '$device' is no absolute path and no major:minor" "block $device"
done
for device in /nowhere /dev/null 250:77777; do
	refused 'block: device: cannot be opened' "block $device"
done
refused 'nvme: nguid: not 32 hex digits' 'nvme /dev/x nguid:00'
refused 'nvme: nguid: not 32 hex digits' 'nvme /dev/x nguid:0011223344556677889900112233445g'
refused 'nvme: eui: not 16 hex digits' 'nvme /dev/x eui:00112233445566778'
refused "block: 'eui:0011223344556677': unknown option" 'block /dev/x eui:0011223344556677'
refusals
done_testing
