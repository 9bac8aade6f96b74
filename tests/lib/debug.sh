# shellcheck shell=bash
# Kernels out of Debian's sources with what a stock kernel lacks: KUnit, KASAN, lockdep, fault injection. uml-6.12 is a User Mode
# Linux, which is fast and has one processor; kasan-6.12 runs in QEMU and has several.

prepare_debug() {
	local kernel=$1 package=linux-source-6.12 version name
	version=$(newest "$package" bookworm)
	name=${kernel%%-*}-$version-$(recipe "$kernel")
	entry "$name" build_debug "$kernel" "$package" "$version"
	ln -sfn "../$name" "$(current "$kernel")"
}

# debug_make KERNEL DIR ARG...: make in the sources of a kernel in DIR
debug_make() {
	local arch=x86_64
	[[ $1 != uml-* ]] || arch=um
	make -C "$2/build" ARCH=$arch -j"$(nproc)" "${@:3}"
}

debug_config() {
	cat "$LIB/debug.config"
	[[ $1 == uml-* ]] || cat "$LIB/kasan.config"
}

build_debug() {
	local kernel=$1 package=$2 version=$3 dir=$4 log=$CACHE/log/$1.log
	fetch "$dir" "$package=$version"
	mkdir "$dir/build"
	tar -xf "$dir/usr/src/$package.tar.xz" -C "$dir/build" --strip-components=1
	rm -r "${dir:?}/usr"

	say "building $kernel $version (some 8 minutes, log: $log)"
	debug_config "$kernel" >"$dir/config"
	logged "$log" debug_make "$kernel" "$dir" KCONFIG_ALLCONFIG="$dir/config" allnoconfig
	logged "$log" debug_make "$kernel" "$dir" all
	logged "$log" debug_make "$kernel" "$dir" INSTALL_MOD_PATH="$dir" modules_install
	case $kernel in
	uml-*) cp "$dir/build/linux" "$dir/linux" ;;
	*) cp "$dir/build/arch/x86/boot/bzImage" "$dir/vmlinuz" ;;
	esac
	cp "$dir/build/.config" "$dir/config"
	# To build modules, only headers, scripts and Kbuild's files are needed.
	find "$dir/build" -type f ! -path '*/scripts/*' ! -path '*/tools/*' ! -name '*.h' ! -name '*.lds' ! -name 'Makefile*' \
		! -name 'Kconfig*' ! -name 'Kbuild*' ! -name auto.conf ! -name .config ! -name Module.symvers \
		! -name kernel.release -delete
}
