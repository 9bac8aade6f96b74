#!/bin/bash
# Usage: build.sh [DIR]: compile the tests' helpers into DIR (${VDISK_OUT:-build}/selftests), those that are missing or old.
# Static, so that any guest can run them.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
dir=${1:-${VDISK_OUT:-$here/../../build}/selftests}
mkdir -p "$dir"
for source in "$here"/*.c; do
	name=$(basename "$source" .c)
	[[ ! $dir/$name -nt $source ]] || continue
	gcc -O2 -Wall -Wextra -static -pthread -o "$dir/$name.$$" "$source"
	mv "$dir/$name.$$" "$dir/$name"
done
