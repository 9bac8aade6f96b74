# shellcheck shell=bash
# Debian's own kernels: image, modules and headers, unpacked into the cache.

# The metapackage's suffix and the suite of each kernel. "7.3" is whatever is newest in the backports.
stock_source() {
	case $1 in
	6.1) echo amd64 bookworm ;;
	6.12) echo 6.12-amd64 bookworm ;;
	7.3) echo amd64 trixie-backports ;;
	esac
}

# with_version VERSION: the packages that standard input names, of that version. kbuild of 6.1 is one package for all releases, of
# which the archive has the newest version only: it may be ahead of the image, which takes that and later ones.
with_version() {
	local package
	while read -r package; do
		if [[ $(private_apt apt-cache madison "$package" | awk -F' *[|] *' -v version="$1" '$2 == version') ]]; then
			echo "$package=$1"
		else
			echo "$package"
		fi
	done
}

# unpack_stock RELEASE VERSION FINAL DIR: FINAL is where DIR will end up, which the headers must know.
unpack_stock() {
	local release=$1 version=$2 final=$3 dir=$4 packages
	# 6.1 and 6.12 are one image package; since 6.17 it is split. The kbuild and -common packages hang on the headers.
	mapfile -t packages < <(private_apt apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
		--no-breaks --no-replaces --no-enhances "linux-image-$release=$version" "linux-headers-$release=$version" |
		grep -xE 'linux-(image|binary|base|modules|headers|kbuild)-.*' | grep -v -- '-unsigned$' | sort -u |
		with_version "$version")
	fetch "$dir" "${packages[@]}"

	# The newest packages follow the merged /usr.
	[[ ! -d $dir/usr/lib/modules ]] || ln -s usr/lib "$dir/lib"
	sed -i "s|/usr/src/|$final/usr/src/|" "$dir/usr/src/linux-headers-$release/Makefile"
	ln -sfn "$final/usr/src/linux-headers-$release" "$dir/lib/modules/$release/build"
	find "$dir" -name 'vmlinuz*' -exec mv {} "$dir/vmlinuz" \;
	ln -s "usr/src/linux-headers-$release/.config" "$dir/config"
	depmod -b "$dir" "$release"
	stock_initramfs "$dir" "$release"
	echo "$release" >"$dir/release"
}

# The modules without which a guest cannot reach its root, numbered in the order of loading.
stock_initramfs() {
	local dir=$1 release=$2 tree=$1/initramfs file name
	local -i n=100
	mkdir -p "$tree/modules"
	for name in virtio_pci 9pnet_virtio 9p overlay; do
		modprobe -d "$dir" -S "$release" --show-depends --ignore-install "$name"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
		name=${file##*/}
		name=$tree/modules/$((n++))-${name%%.*}.ko
		case $file in
		*.xz) xz -dc "$file" >"$name" ;;
		*.zst) zstd -qdc "$file" >"$name" ;;
		*) cp "$file" "$name" ;;
		esac
	done
	(cd "$tree" && find . | cpio -o -H newc --quiet) >"$dir/modules.cpio"
	rm -r "$tree"
}

prepare_stock() {
	local kernel=$1 meta suite version release name
	read -r meta suite < <(stock_source "$kernel")
	version=$(newest "linux-headers-$meta" "$suite")
	release=$(private_apt apt-cache show "linux-headers-$meta=$version" | grep -oP '^Depends:.*\blinux-headers-\K[^ ]+')
	name=stock-$version-$(recipe "$kernel")
	entry "$name" unpack_stock "$release" "$version" "$CACHE/$name"
	! needs_root13 "$kernel" "$CACHE/$name" || locked root13 prepare_root13
	ln -sfn "../$name" "$(current "$kernel")"
}
