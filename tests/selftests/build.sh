#!/bin/bash
# Usage: build.sh [DIR]: compile the tests' helpers and the tools into DIR (${VDISK_OUT:-build}/selftests), those that are
# missing or old. The helpers are static, so that any guest can run them; the tools find their libraries on the host's root.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
dir=${1:-${VDISK_OUT:-$here/../../build}/selftests}
mkdir -p "$dir"
# is_old NAME SOURCE...: one of them is newer
is_old() {
	local source
	for source in "${@:2}"; do
		[[ $dir/$1 -nt $source ]] || return 0
	done
	return 1
}

for source in "$here"/*.c; do
	name=$(basename "$source" .c)
	sources=("$source")
	case $name in
	mkstore | crashcut) sources+=("$here/../../drivers/md/dm-vdisk/vdisk-store.c" "$here/../../tools/vdisk/crc32c.c") ;;
	esac
	is_old "$name" "${sources[@]}" "$here"/*.h "$here"/../../drivers/md/dm-vdisk/vdisk-store.h || continue
	gcc -O2 -Wall -Wextra -static -pthread -I "$here/../../tools/vdisk" -o "$dir/$name.$$" "${sources[@]}"
	mv "$dir/$name.$$" "$dir/$name"
done

# A boot sector
if is_old prguest "$here/prguest.S"; then
	gcc -m32 -nostdlib -static -Wl,--oformat=binary,-Ttext=0x7c00,--build-id=none -o "$dir/prguest.$$" "$here/prguest.S"
	mv "$dir/prguest.$$" "$dir/prguest"
fi

# Asking make takes its time in a guest.
if is_old vdisk-unit "$here"/../../tools/{vdisk,systemd}/*.[ch] "$here"/../../drivers/md/dm-vdisk/vdisk-{store,types,grammar}.[ch]; then
	for part in vdisk systemd; do
		make -s -C "$here/../../tools/$part" O="$(readlink -f "$dir")" CFLAGS='-O2 -g -Werror'
	done
fi
if is_old fetchd-unit "$here"/../../tools/fetchd/*.[ch] "$here"/../../include/uapi/linux/vdisk.h; then
	make -s -C "$here/../../tools/fetchd" O="$(readlink -f "$dir")" CFLAGS='-O2 -g -Werror'
fi
