# shellcheck shell=bash
# Builds the modules out of a copy of the sources, one for each kernel.

build() {
	local plain='' kernel dir entry
	local -a test=(VDISK_TEST=y) make
	[[ ${1-} != --plain ]] || { plain=-plain test=() && shift; }
	(($#)) || die 'build: which kernel?'
	kernel=$1 dir=$OUT/$1$plain
	shift
	prepare "$kernel"
	entry=$(readlink -f "$(current "$kernel")")

	mkdir -p "$dir"
	exec {lock}>"$dir.lock"
	flock "$lock"
	rsync -a --delete --exclude='*.o' --exclude='*.ko' --exclude='*.mod*' --exclude='.*.cmd' \
		--exclude='Module.symvers' --exclude=modules.order --include={drivers,include,tests,Kbuild,Makefile}{,/**} \
		--exclude='*' "$TOP/" "$dir/"

	case $kernel in
	uml-* | kasan-*) make=(debug_make "$kernel" "$entry") ;;
	*) make=(make -C "$entry/lib/modules/$(<"$entry/release")/build" -j"$(nproc)") ;;
	esac
	make+=("M=$dir" W=1 KCFLAGS=-Werror "${test[@]}" "$@" modules)
	! needs_root13 "$kernel" "$entry" || make=(in_root13 "$entry" "$dir" -- "${make[@]}")
	say "$kernel: building the modules in $dir"
	logged "$OUT/log/build-$kernel$plain.log" "${make[@]}"
}
