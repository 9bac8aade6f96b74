# shellcheck shell=bash
# Debian packages out of a private apt state: nothing is installed, and the host's own sources stay as they are.

APT=$CACHE/apt
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirrors are the ones that the host uses itself.
host_mirror() {
	# shellcheck disable=SC2016 # for apt-get
	apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
		awk -v security="$1" '$1 == "Debian" && ($2 ~ /-security$/) == security { print $3; exit }'
}

private_apt() {
	local command=$1
	shift
	"$command" -qq -o Dir::Etc::sourcelist="$APT/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$APT/lists" -o Dir::State::status="$APT/status" -o Dir::Cache="$APT" \
		-o Dir::Cache::pkgcache=pkgcache.bin -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}

apt_update() {
	local main security suite
	# Once an hour is enough.
	[[ ! $(find "$APT/updated" -mmin -60 2>/dev/null) ]] || return 0
	main=${VDISK_MIRROR:-$(host_mirror 0)}
	security=${VDISK_SECURITY_MIRROR:-$(host_mirror 1)}
	# debootstrap leaves a root without it
	security=${security:-http://deb.debian.org/debian-security}
	[[ $main ]] ||
		die "no Debian mirror in this host's apt: run 'apt-get update', or set VDISK_MIRROR and VDISK_SECURITY_MIRROR"
	mkdir -p "$APT/lists/partial" "$APT/archives/partial"
	touch "$APT/status"
	for suite in bookworm trixie trixie-backports; do
		echo "deb [signed-by=$KEYRING] $main $suite main"
	done >"$APT/sources.list"
	for suite in bookworm-security trixie-security; do
		echo "deb [signed-by=$KEYRING] $security $suite main"
	done >>"$APT/sources.list"
	say "apt: reading the package lists"
	logged "$CACHE/log/apt-update.log" private_apt apt-get update
	touch "$APT/updated"
}

# newest PACKAGE SUITE: its newest version in a suite (bookworm also means bookworm-security).
newest() {
	private_apt apt-cache madison "$1" |
		awk -F' *[|] *' -v suite="$2" '$3 ~ (" " suite "(-security)?/main ") { print $2; exit }' | tr -d ' '
}

# fetch DIR PACKAGE=VERSION...: unpack them into DIR.
fetch() {
	local dir=$1 debs package size
	shift
	debs=$dir/.debs
	mkdir -p "$debs"
	for package; do
		size=$(private_apt apt-cache show "$package" | awk '/^Size:/ { print int(($2 + 999999) / 1000000); exit }')
		say "fetching ${package//=/ } ($size MB)"
		(cd "$debs" && logged "$CACHE/log/fetch.log" private_apt apt-get download "$package")
	done
	for package in "$debs"/*.deb; do
		dpkg-deb -x "$package" "$dir"
	done
	rm -r "$debs"
}
