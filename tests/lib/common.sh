# shellcheck shell=bash
# shellcheck disable=SC2034 # used by the parts
# What the parts of `vm` share: where things are, how to speak, how to fail.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LIB=$TOP/tests/lib
CACHE=${VDISK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vdisk}
OUT=${VDISK_OUT:-$TOP/build}
KERNELS=(6.1 6.12 7.3 uml-6.12 kasan-6.12)
# To install on this host, which may be updating itself
APT_GET=(apt-get -y -o DPkg::Lock::Timeout=600)

say() { printf 'vm: %s\n' "$*" >&2; }
die() { say "$*"; exit 125; }

# logged LOG COMMAND...: keep a command's output in a file, show its end only if it fails.
logged() {
	local log=$1
	shift
	mkdir -p "${log%/*}"
	"$@" >"$log" 2>&1 && return
	tail -n 60 "$log" >&2
	die "failed: $* (all its output: $log)"
}

known_kernel() {
	[[ " ${KERNELS[*]} " == *" $1 "* ]] || die "no kernel '$1' (there are: ${KERNELS[*]})"
}

# current KERNEL|root13|system|servers: the link to its cache entry. It is of this version of what fills the entry, so that a checkout with
# another recipe makes its own.
current() { echo "$CACHE/current/$1-$(recipe "$1")"; }

recipe() {
	case $1 in
	root13) declare -f unpack_root13 && declare -p ROOT13 ;;
	system) declare -f unpack_system && declare -p SYSTEM ;;
	servers) declare -f unpack_servers && declare -p NODE && cat "$SERVERS/package-lock.json" ;;
	uml-* | kasan-*) declare -f build_debug && debug_config "$1" ;;
	*) declare -f unpack_stock stock_initramfs ;;
	esac | sha256sum | cut -c 1-12
}

# locked NAME COMMAND...: one process at a time.
locked() {
	local lock
	mkdir -p "$CACHE"
	exec {lock}>"$CACHE/lock-$1"
	flock "$lock"
	shift
	"$@"
	exec {lock}>&-
}

# entry NAME COMMAND...: make the cache entry NAME with COMMAND, which fills the directory that it gets as its last
# argument. The entry appears by a rename, so a fetch or a build that was cut short leaves only a .tmp, which the next
# try throws away. The caller holds a lock.
entry() {
	local name=$1 tmp=$CACHE/$1.tmp
	shift
	[[ ! -d $CACHE/$name ]] || return 0
	rm -rf "$tmp"
	mkdir -p "$tmp"
	"$@" "$tmp"
	mv "$tmp" "$CACHE/$name"
}
