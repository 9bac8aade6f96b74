# shellcheck shell=bash
# For selftests: results as TAP (the plan comes last), the module, and a clean-up. Source it first, end with done_testing.
# A test names its dm devices "$VD"..., which go, last first, when it ends.

VD=vd$$-
checks=0 failures=0
trap cleanup EXIT

# ok STATUS NAME
ok() {
	local status=$1
	shift
	checks=$((checks + 1))
	((status == 0)) || { failures=$((failures + 1)) && printf 'not '; }
	printf 'ok %d - %s\n' "$checks" "$*"
}

comment() { printf '%s\n' "$@" | sed 's/^/# /'; }

# is ACTUAL EXPECTED NAME
is() {
	local status=0
	[[ $1 == "$2" ]] || status=1
	ok "$status" "$3"
	((status == 0)) || printf '# expected: %q\n# got:      %q\n' "$2" "$1"
}

# run_ok NAME COMMAND...
run_ok() {
	local name=$1 output status=0
	shift
	output=$("$@" 2>&1) || status=$?
	ok "$status" "$name"
	((status == 0)) || comment "$* exited with $status" "$output"
}

# run_fails NAME COMMAND...: and not because there is no such command, or it was killed.
run_fails() {
	local name=$1 output status=0
	shift
	output=$("$@" 2>&1) || status=$?
	ok "$((status == 0 || status >= 126))" "$name"
	((status && status < 126)) || comment "$* exited with $status" "$output"
}

# skip NAME CONFIG_OPTION: a check that this kernel cannot do.
skip() {
	checks=$((checks + 1))
	printf 'ok %d - %s # SKIP %s\n' "$checks" "$1" "$2"
}

has_config() { grep -qE "^$1=(y|m)$" "$VDISK_CONFIG"; }

# need CONFIG_OPTION...: skip the whole test without them.
need() {
	local option
	for option; do
		has_config "$option" || { echo "$option is not set" && exit 4; }
	done
}

done_testing() {
	echo "1..$checks"
	exit "$((failures > 0))"
}

# load FILE: insert a module after those it depends on, the project's or the kernel's.
load() {
	local name=${1##*/} dependency own
	name=${name%.ko}
	[[ ! -d /sys/module/${name//-/_} ]] || return 0
	for dependency in $(modinfo -F depends "$1" | tr , ' '); do
		own=$(find "$VDISK_BUILD" -name "${dependency//_/[-_]}.ko" -print -quit)
		if [[ $own ]]; then load "$own"; else modprobe "$dependency"; fi
	done
	insmod "$1"
}

load_vdisk() { load "$(find "$VDISK_BUILD" -name dm-vdisk.ko -print -quit)"; }

cleanup() {
	local status=$? name
	while read -r name; do
		dmsetup remove --retry "$name" || printf '# %s is still there\n' "$name"
	done < <(dmsetup info -c --noheadings -o minor,name 2>/dev/null | sort -rn | sed -n "s/^[0-9]*:\($VD\)/\1/p")
	exit "$status"
}
