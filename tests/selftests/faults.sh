# shellcheck shell=bash
# What the tests of failing allocations share. Source it after common.sh.

need CONFIG_FAILSLAB CONFIG_FAIL_PAGE_ALLOC CONFIG_FAULT_INJECTION_STACKTRACE_FILTER

# Only what is called from the module's text may fail; it is loaded. There is no report for each: its trace would look like a
# warning.
filter_module() {
	local -a range
	local end injector
	mapfile -t range < <(awk '$4 == "[dm_vdisk]" && tolower($2) == "t" { print $1 }' /proc/kallsyms | sort | sed -n '1p;$p')
	end=$(printf '0x%x' "$((0x${range[1]} + 4096))")
	for injector in failslab fail_page_alloc; do
		cd "/sys/kernel/debug/$injector" || exit
		echo "0x${range[0]}" >require-start
		echo "$end" >require-end
		echo 0 >verbose
		echo N >ignore-gfp-wait
		[[ ! -e min-order ]] || echo 0 >min-order
		[[ ! -e ignore-gfp-highmem ]] || echo N >ignore-gfp-highmem
	done
	cd / || exit
	undo+=('echo 0 >/sys/kernel/debug/failslab/probability' 'echo 0 >/sys/kernel/debug/fail_page_alloc/probability')
}
