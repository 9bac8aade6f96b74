# shellcheck shell=bash
# The packages of the host's own Debian that building and testing need.

DEPS=(
	qemu-system-x86 qemu-utils busybox-static cpio kmod dmsetup rsync xz-utils zstd   # guests
	gcc libc6-dev make bc flex bison libelf-dev libssl-dev pahole perl     # kernels and modules
	libjson-c-dev libblkid-dev uuid-dev libcryptsetup-dev libkeyutils-dev jq libxml2-utils libdevmapper-dev  # the tool, and its tests
	fio e2fsprogs xfsprogs btrfs-progs cryptsetup-bin keyutils sg3-utils shellcheck sparse libiscsi-bin  # tests
	libcurl4-openssl-dev libsystemd-dev curl openssl ca-certificates iproute2  # vdisk-fetchd, and its tests
)

deps() {
	local missing
	missing=$(comm -23 <(printf '%s\n' "${DEPS[@]}" | sort) \
		<(dpkg-query -W -f '${Package} ${db:Status-Status}\n' | sed -n 's/ installed$//p' | sort))
	[[ $missing ]] || return 0
	mapfile -t missing <<<"$missing"
	((EUID == 0)) || die "please install what is missing: apt-get install ${missing[*]}"
	say "installing ${missing[*]}"
	logged "$CACHE/log/deps.log" env DEBIAN_FRONTEND=noninteractive sh -c \
		'"$@" || { apt-get update && "$@"; }' sh "${APT_GET[@]}" install "${missing[@]}"
}

# Programs for the tests that are not to be installed: a web server would be started, now and whenever the host boots; blkpr
# came with Debian 13; and nbdkit is for the benchmarks only.
tool_packages() {
	case $1 in
	nginx) echo nginx bookworm ;;
	blkpr) printf '%s trixie\n' util-linux-extra libc6 ;;
	nbdkit) printf '%s bookworm\n' nbdkit nbd-client libnl-genl-3-200 libnl-3-200 ;;
	*) die "no tool '$1'" ;;
	esac
}

tool() {
	local name=$1 package suite
	local -a packages=()
	[[ $name != servers ]] || { servers && return; }
	deps
	[[ ! -d $CACHE/current/$name ]] || return 0
	locked apt apt_update
	while read -r package suite; do
		packages+=("$package=$(newest "$package" "$suite")")
	done < <(tool_packages "$name")
	locked "$name" entry "$name-${packages[0]#*=}" unpack_tool "${packages[@]}"
	mkdir -p "$CACHE/current"
	ln -sfn "../$name-${packages[0]#*=}" "$CACHE/current/$name"
}

unpack_tool() { fetch "${@: -1}" "${@:1:$#-1}"; }

# Debian's systemd and udev, and the packages whose rules look into disks, for tests of both: likewise unpacked only. Their
# libraries come with them, as far as a host may lack them.
SYSTEM=(systemd libsystemd-shared libsystemd0 libudev1 udev dmsetup lvm2 dmeventd liblvm2cmd2.03 libdevmapper1.02.1
	libdevmapper-event1.02.1 libaio1 libedit2 libbsd0 libmd0 mdadm multipath-tools kpartx liburcu8 sg3-utils-udev)

system() {
	local name version
	local -a packages=()
	deps
	[[ ! -d $(current system) ]] || return 0
	locked apt apt_update
	for name in "${SYSTEM[@]}"; do
		version=$(newest "$name" bookworm)
		packages+=("$name=$version")
	done
	name=system-$( (recipe system && echo "${packages[*]}") | sha256sum | cut -c 1-12)
	locked system entry "$name" unpack_system "${packages[@]}"
	mkdir -p "$CACHE/current"
	ln -sfn "../$name" "$(current system)"
}

# Some of them do not know the merged /usr yet. One file: a guest reads that faster.
unpack_system() {
	local dir=${*: -1} name
	fetch "$dir/root" "${@:1:$#-1}"
	for name in bin sbin lib; do
		cp -a "$dir/root/$name/." "$dir/root/usr/$name"
		rm -r "${dir:?}/root/$name"
	done
	tar -C "$dir/root" --exclude='./usr/share/*' -cf "$dir/root.tar" .
	rm -r "${dir:?}/root"
}

# Object stores that are written in JavaScript: Debian 13's Node.js with a libc of its own, and what the lock file names, in a root
# that a guest changes to. npm has 400 packages more, which go when it has done its work.
SERVERS=$TOP/tests/selftests/servers
NODE=(base-files nodejs)

servers() {
	deps
	[[ ! -d $(current servers) ]] || return 0
	locked apt apt_update
	locked servers entry "servers-$(recipe servers)" unpack_servers
	mkdir -p "$CACHE/current"
	ln -sfn "../servers-$(recipe servers)" "$(current servers)"
}

unpack_servers() {
	local dir=$1 debs=$1/.debs npm=$1/.npm deb file
	say "fetching Node.js with npm (60 MB)"
	mkdir -p "$debs/partial" "$npm" "$dir/root"
	logged "$CACHE/log/servers.log" private_apt apt-get install --download-only --no-install-recommends \
		-o Dir::Cache::archives="$debs" "${NODE[@]}" bash npm
	for deb in "$debs"/base-files_*.deb "$debs"/*.deb; do
		dpkg-deb -x "$deb" "$npm"
	done
	for deb in "$debs"/base-files_*.deb $(private_apt apt-get install --print-uris --no-install-recommends "${NODE[@]}" |
		awk -v debs="$debs" '{ print debs "/" $2 }'); do
		dpkg-deb -x "$deb" "$dir/root"
	done
	# How this host finds and trusts its registry: it may have one of its own.
	for file in /etc/resolv.conf /etc/hosts /etc/npmrc /etc/ssl/certs/ca-certificates.crt "$HOME/.npmrc"; do
		[[ ! -f $file ]] || install -D -m 600 "$file" "$npm$file"
	done
	say "fetching what package-lock.json names"
	install -D -m 644 -t "$npm/servers" "$SERVERS"/package*.json
	logged "$CACHE/log/npm.log" in_root "$npm" -- node /usr/share/nodejs/npm/bin/npm-cli.js --prefix /servers ci \
		--ignore-scripts --omit=dev --no-audit --no-fund
	mv "$npm/servers" "$dir/root"
	# One file: a guest reads that faster. What nobody runs is a third of it.
	tar -C "$dir/root" --exclude='./usr/share/doc' --exclude='./usr/share/locale' --exclude='*.ts' --exclude='*.map' --exclude='*/esm' \
		-cf "$dir/root.tar" .
	rm -r "$debs" "$npm" "$dir/root"
}
