# shellcheck shell=bash
# The packages of the host's own Debian that building and testing need.

DEPS=(
	qemu-system-x86 qemu-utils busybox-static cpio kmod dmsetup rsync xz-utils zstd   # guests
	gcc libc6-dev make bc flex bison libelf-dev libssl-dev pahole perl     # kernels and modules
	libjson-c-dev libblkid-dev uuid-dev libcryptsetup-dev libkeyutils-dev jq libxml2-utils libdevmapper-dev  # the tool, and its tests
	fio e2fsprogs xfsprogs btrfs-progs cryptsetup-bin keyutils sg3-utils shellcheck sparse libiscsi-bin  # tests
	libcurl4-openssl-dev libsystemd-dev curl openssl iproute2  # vdisk-fetchd, and its tests
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
		'apt-get -y install "$@" || { apt-get update && apt-get -y install "$@"; }' sh "${missing[@]}"
}

# A web server for the tests. Installed it would be started, now and whenever the host boots: so it is unpacked only.
nginx() {
	local version
	deps
	[[ ! -d $CACHE/current/nginx ]] || return 0
	locked apt apt_update
	version=$(newest nginx bookworm)
	locked nginx entry "nginx-$version" unpack_nginx "nginx=$version"
	mkdir -p "$CACHE/current"
	ln -sfn "../nginx-$version" "$CACHE/current/nginx"
}

unpack_nginx() { fetch "$2" "$1"; }
