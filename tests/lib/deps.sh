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

# Programs for the tests that are not to be installed: a web server would be started, now and whenever the host boots; and blkpr
# came with Debian 13.
tool_packages() {
	case $1 in
	nginx) echo nginx bookworm ;;
	blkpr) printf '%s trixie\n' util-linux-extra libc6 ;;
	*) die "no tool '$1'" ;;
	esac
}

tool() {
	local name=$1 package suite
	local -a packages=()
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
