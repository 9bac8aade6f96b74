# shellcheck shell=bash
# A Debian 13 root to build the newest kernel's modules in: its objtool needs a newer libc than Debian 12 has, and its
# configuration gcc-14. The packages are only unpacked, which is enough to compile and needs no root.

ROOT13=(base-files bash coreutils dash diffutils findutils gcc-14 grep make mawk pahole perl-base sed sparse)

# needs_root13 KERNEL ENTRY: or do the kernel's own tools and its compiler run on the host?
needs_root13() {
	[[ $1 == 7.3 ]] || return
	! command -v gcc-14 >/dev/null ||
		ldd "$2"/usr/lib/linux-kbuild-*/tools/objtool/objtool.real-x86 2>&1 | grep -q 'not found'
}

prepare_root13() {
	local name
	[[ ! -d $(current root13) ]] || return 0
	name=root13-$(private_apt apt-get install --print-uris --no-install-recommends "${ROOT13[@]}" |
		cut -d ' ' -f 2 | sha256sum | cut -c 1-12)
	entry "$name" unpack_root13
	ln -sfn "../$name" "$(current root13)"
}

unpack_root13() {
	local dir=$1 debs=$1/.debs deb
	say "fetching a Debian 13 root with gcc-14 (70 MB)"
	mkdir -p "$debs/partial"
	logged "$CACHE/log/root13.log" private_apt apt-get install --download-only --no-install-recommends \
		-o Dir::Cache::archives="$debs" "${ROOT13[@]}"
	# First the links of the merged /usr, then what goes through them.
	for deb in "$debs"/base-files_*.deb "$debs"/*.deb; do
		dpkg-deb -x "$deb" "$dir"
	done
	ln -s mawk "$dir/usr/bin/awk"
	rm -r "$debs"
}

in_root13() { in_root "$(readlink -f "$(current root13)")" "$@"; }

# in_root ROOT DIR... -- COMMAND...: run it in the root, with these directories at the same paths.
in_root() {
	local root=$1
	local -a dirs=(/proc /dev) options=(--mount)
	shift
	while [[ $1 != -- ]]; do
		dirs+=("$1")
		shift
	done
	shift
	# Root needs none of its own, which a chroot would not get.
	((EUID == 0)) || options+=(--map-root-user)
	# shellcheck disable=SC2016 # for the inner shell
	unshare "${options[@]}" bash -euc '
		root=$1 n=$2
		shift 2
		for dir in "${@:1:n}"; do
			mkdir -p "$root$dir"
			mount --rbind "$dir" "$root$dir"
		done
		shift "$n"
		exec chroot "$root" "$@"
	' bash "$root" "${#dirs[@]}" "${dirs[@]}" "$@"
}
