# shellcheck shell=bash
# User Mode Linux out of Debian's kernel sources, with what a stock kernel lacks: KUnit, KASAN, lockdep, fault injection.

prepare_uml() {
	local kernel=$1 package suite version name
	case $kernel in
	uml-6.12) package=linux-source-6.12 suite=bookworm ;;
	uml-7.3)
		suite=trixie-backports
		package=$(private_apt apt-cache show "linux-source=$(newest linux-source "$suite")" |
			grep -oP '^Depends: .*\Klinux-source-[0-9.]+')
		;;
	esac
	version=$(newest "$package" "$suite")
	name=uml-$version-$(recipe "$kernel")
	entry "$name" build_uml "$package" "$version"
	ln -sfn "../$name" "$(current "$kernel")"
}

build_uml() {
	local package=$1 version=$2 dir=$3 log=$CACHE/log/$1-uml.log
	local -a make=(make -C "$dir/build" ARCH=um -j"$(nproc)")
	fetch "$dir" "$package=$version"
	mkdir "$dir/build"
	tar -xf "$dir/usr/src/$package.tar.xz" -C "$dir/build" --strip-components=1
	rm -r "${dir:?}/usr"

	say "building User Mode Linux $version (some 5 minutes, log: $log)"
	logged "$log" "${make[@]}" KCONFIG_ALLCONFIG="$LIB/uml.config" allnoconfig
	logged "$log" "${make[@]}" all
	logged "$log" "${make[@]}" INSTALL_MOD_PATH="$dir" modules_install
	cp "$dir/build/linux" "$dir/linux"
	cp "$dir/build/.config" "$dir/config"
	# To build modules, only headers, scripts and Kbuild's files are needed.
	find "$dir/build" -type f ! -path '*/scripts/*' ! -path '*/tools/*' ! -name '*.h' ! -name '*.lds' ! -name 'Makefile*' \
		! -name 'Kconfig*' ! -name 'Kbuild*' ! -name auto.conf ! -name .config ! -name Module.symvers \
		! -name kernel.release -delete
}
