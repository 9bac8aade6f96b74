#!/bin/bash
# What cryptsetup makes, as plain and as LUKS2, is opened through vdisk, and the reverse.
# check: 7.3
# timeout: 600
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_CRYPT CONFIG_KEYS CONFIG_CRYPTO_USER_API_SKCIPHER CONFIG_EXT4_FS
load_vdisk
null_disk 48 512
model=$TMP/model io=(-n "${VDISK_OPS:-60}" -r 30)

# plain KEY_BYTES OFFSET SKIP CRYPTSETUP_OPTION... -- VDISK_OPTION...
plain() {
	local name="plain: $*" bits=$(($1 * 8)) offset=$2 skip=$3
	local -a setup=()
	key "plain$1" "$1"
	shift 3
	while [[ $1 != -- ]]; do
		setup+=("$1") && shift
	done
	shift
	run_ok "$name: cryptsetup open" cryptsetup open -q --type plain --cipher aes-xts-plain64 --key-size "$bits" --key-file "$TMP/key-plain$((bits / 8))" \
		--offset "$offset" --skip "$skip" --size 8192 "${setup[@]}" "$DISK" "${VD}s"
	crypt_vd v 8192 "block $DISK start:$offset" "$skip" "$@"
	verified "$name: written through cryptsetup" "${io[@]}" --dump-model "$model" "/dev/mapper/${VD}s"
	verified "$name: read through vdisk" --check-file "$model" "/dev/mapper/${VD}v"
	verified "$name: written through vdisk" "${io[@]}" --dump-model "$model" "/dev/mapper/${VD}v"
	# It insists on having the disk for itself.
	run_ok "$name: cryptsetup close" cryptsetup close "${VD}s"
	gone v
	run_ok "$name: cryptsetup open again" cryptsetup open -q --type plain --cipher aes-xts-plain64 --key-size "$bits" \
		--key-file "$TMP/key-plain$((bits / 8))" --offset "$offset" --skip "$skip" --size 8192 "${setup[@]}" "$DISK" "${VD}s"
	verified "$name: read through cryptsetup" --check-file "$model" "/dev/mapper/${VD}s"
	cryptsetup close "${VD}s"
}

plain 64 0 0 --
plain 32 2048 0 --
plain 64 512 24 --
plain 64 512 80 --sector-size 4096 -- sector_size:4096
plain 32 512 80 --sector-size 2048 --iv-large-sectors -- sector_size:2048 iv_large_sectors

# luks2 SECTOR_SIZE KEY_BITS
luks2() {
	local name="LUKS2, sectors of $1, $2 bits" file=$TMP/pass mnt=$TMP/mnt uuid json offset
	head -c 16 /dev/urandom >"$file"
	mkdir -p "$mnt"
	run_ok "$name: format" cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --sector-size "$1" \
		--cipher aes-xts-plain64 --key-size "$2" --key-file "$file" "$DISK"
	run_ok "$name: open" cryptsetup open -q --key-file "$file" "$DISK" "${VD}s"
	mkfs.ext4 -q "/dev/mapper/${VD}s"
	mount "/dev/mapper/${VD}s" "$mnt"
	cp -r "$selftests" "$mnt/a"
	head -c 3000000 /dev/urandom >"$mnt/random"
	(cd "$mnt" && find . -type f -exec sha256sum {} + | sort) >"$TMP/sums"
	umount "$mnt"
	cryptsetup close "${VD}s"

	json=$(cryptsetup luksDump --dump-json-metadata "$DISK" | tr -d ' \n\t')
	offset=$(sed -n 's/.*"segments":{"0":{[^}]*"offset":"\([0-9]*\)".*/\1/p' <<<"$json")
	is "$(sed -n 's/.*"segments":{"0":{[^}]*"sector_size":\([0-9]*\).*/\1/p' <<<"$json")" "$1" "$name: says its sector size"
	uuid=$(cryptsetup luksUUID "$DISK")
	rm -f "$TMP/key-volume"
	run_ok "$name: its volume key" cryptsetup luksDump -q --dump-volume-key --volume-key-file "$TMP/key-volume" --key-file "$file" "$DISK"
	# What cryptsetup calls it
	keyctl padd logon "cryptsetup:$uuid-d0" @u <"$TMP/key-volume" >"$TMP/serial-volume"
	KEY=":$(($2 / 8)):logon:cryptsetup:$uuid-d0"

	# The tool reads all that, and has the key under a name of its own
	is "$(vdisk luks --no-key "$DISK")" \
		"crypt cipher:aes-xts-plain64 key::$(($2 / 8)):logon:vdisk:luks-$uuid iv_offset:0 sector_size:$1 ( block $DISK start:$((offset / 512)) )" \
		"$name: vdisk luks"
	is "$(vdisk luks --key-file <(echo wrong) "$DISK" 2>&1)" "vdisk: $DISK: no key slot opens with this passphrase" "$name: another passphrase"
	stack=$(vdisk luks --key-file "$file" "$DISK")
	run_ok "$name: its key is there" keyctl search @u logon "vdisk:luks-$uuid"
	run_ok "$name: vdisk create" vdisk create "${VD}v" "$stack"
	is "$(sectors "/dev/mapper/${VD}v")" "$(($(sectors "$DISK") - offset / 512))" "$name: its length"
	is "$(blkid -p -o value -s TYPE "/dev/mapper/${VD}v")" ext4 "$name: the payload is there"
	gone v
	keyctl purge logon "vdisk:luks-$uuid" >/dev/null

	crypt_vd v "$(($(sectors "$DISK") - offset / 512))" "block $DISK start:$((offset / 512))" 0 "sector_size:$1"
	run_ok "$name: mount through vdisk" mount "/dev/mapper/${VD}v" "$mnt"
	is "$(cd "$mnt" && find . -type f -exec sha256sum {} + | sort | diff - "$TMP/sums")" '' "$name: the same files"
	rm -r "$mnt/a/"*.sh
	head -c 2000000 /dev/urandom >"$mnt/more"
	(cd "$mnt" && find . -type f -exec sha256sum {} + | sort) >"$TMP/sums"
	umount "$mnt"
	gone v

	run_ok "$name: open again" cryptsetup open -q --key-file "$file" "$DISK" "${VD}s"
	run_ok "$name: clean" e2fsck -fn "/dev/mapper/${VD}s"
	run_ok "$name: mount through cryptsetup" mount "/dev/mapper/${VD}s" "$mnt"
	is "$(cd "$mnt" && find . -type f -exec sha256sum {} + | sort | diff - "$TMP/sums")" '' "$name: the changed files"
	umount "$mnt"
	cryptsetup close "${VD}s"
	unlink_key volume
}

is "$(vdisk luks --no-key "$DISK" 2>&1)" "vdisk: $DISK: no LUKS container (cryptsetup luksDump may tell more)" 'no LUKS container'
modprobe ext4
luks2 512 256
luks2 4096 512
cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --cipher serpent-xts-plain64 --key-file "$TMP/pass" "$DISK"
is "$(vdisk luks --no-key "$DISK" 2>&1)" \
	"vdisk: $DISK: is encrypted with serpent-xts-plain64; crypt knows aes-xts-plain64 only: use cryptsetup open" 'another cipher'
done_testing
