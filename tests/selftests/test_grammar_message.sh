#!/bin/bash
# Messages find a node by its label, or by a type that only one node has; else they list the choices.
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

load_vdisk
vd a 2400 "striped chunk:8 label:top ( striped chunk:8 label:low ( ram name:m1 label:one ) ( zero ) ) ( test mode:hold ( ram label:two ) )"
message() { dmsetup message "${VD}a" 0 "$@"; }

# says MESSAGE WORD...: it is refused, and the kernel log says so
says() {
	local text=$1 marker="message $RANDOM$RANDOM"
	shift
	echo "$marker" >/dev/kmsg
	run_fails "message $*: refused" message "$@"
	dmesg | sed "1,/$marker/d" | grep -qF ": $text"
	ok $? "message $*: says $text"
}

is "$(message test held)" 0 'by type'
run_ok 'by label' message one forget
says "2 nodes are 'ram', say a label; there are top low one zero test two" ram forget
says "no node has label or type 'x'; there are top low one zero test two" x forget
says "no node has label or type 'block'; there are top low one zero test two" block forget
says 'striped/0/striped/1/zero: understands no message' zero forget
says 'striped/0/striped: understands no message' low forget
says 'striped/1/test: understands: release, hold, held' test nothing
says 'striped/1/test: understands: release, hold, held' test held now
says 'striped/1/test: say what it should do' test
says 'striped/0/striped/0/ram: understands: forget' one forgive
says 'striped/1/test/0/ram: forget: it has no name to forget' two forget
done_testing
