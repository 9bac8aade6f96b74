#!/bin/bash
# Usage: build.sh [DIR]: compile the tests' helpers and the tools into DIR (${VDISK_OUT:-build}/selftests), those that are
# missing or old. The helpers are static, so that any guest can run them; the tools find their libraries on the host's root.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
dir=${1:-${VDISK_OUT:-$here/../../build}/selftests}
mkdir -p "$dir"
for source in "$here"/*.c; do
	name=$(basename "$source" .c)
	[[ ! $dir/$name -nt $source ]] || continue
	shared=()
	case $name in
	mkstore | crashcut)
		shared=(-I "$here/../../tools/vdisk" "$here/../../drivers/md/dm-vdisk/vdisk-store.c" "$here/../../tools/vdisk/crc32c.c")
		;;
	esac
	gcc -O2 -Wall -Wextra -static -pthread -o "$dir/$name.$$" "$source" "${shared[@]}"
	mv "$dir/$name.$$" "$dir/$name"
done

# A boot sector
if [[ ! $dir/prguest -nt $here/prguest.S ]]; then
	gcc -m32 -nostdlib -static -Wl,--oformat=binary,-Ttext=0x7c00,--build-id=none -o "$dir/prguest.$$" "$here/prguest.S"
	mv "$dir/prguest.$$" "$dir/prguest"
fi

# Asking make takes its time in a guest.
for source in "$here"/../../tools/{vdisk,systemd}/*.[ch] "$here"/../../drivers/md/dm-vdisk/vdisk-{store,types,grammar}.[ch]; do
	[[ -e $source ]] || continue
	if [[ ! $dir/vdisk-unit -nt $source ]]; then
		for part in vdisk systemd; do
			make -s -C "$here/../../tools/$part" O="$(readlink -f "$dir")" CFLAGS='-O2 -g -Werror'
		done
		break
	fi
done

for source in "$here"/../../tools/fetchd/*.[ch] "$here"/../../include/uapi/linux/vdisk.h; do
	if [[ ! $dir/fetchd-unit -nt $source ]]; then
		make -s -C "$here/../../tools/fetchd" O="$(readlink -f "$dir")" CFLAGS='-O2 -g -Werror'
		break
	fi
done
