# shellcheck shell=bash
# What the tests of crypt share. Source it after common.sh.

modprobe -q dm_crypt

# key NAME BYTES [TYPE]: a random key in the keyring of the user; sets $KEY to what a table calls it
key() {
	head -c "$2" /dev/urandom >"$TMP/key-$1"
	key_from "$@"
}

# key_from NAME BYTES [TYPE]: out of $TMP/key-NAME
key_from() {
	local type=${3:-logon}
	keyctl padd "$type" "vdisk:$$-$1" @u <"$TMP/key-$1" >"$TMP/serial-$1" && KEY=":$2:$type:vdisk:$$-$1"
}

# unlink_key NAME
unlink_key() { keyctl unlink "$(<"$TMP/serial-$1")" @u; }

# crypt_vd NAME SECTORS CHILD IV_OFFSET [OPTION...]: a vdisk with the key $KEY, over CHILD as in a table
crypt_vd() { vd "$1" "$2" "crypt cipher:aes-xts-plain64 key:$KEY iv_offset:$4 ${*:5} ( $3 )"; }

# crypt_dm NAME SECTORS "DEVICE START" IV_OFFSET [OPTION...]: the same by dm-crypt
crypt_dm() { dm "$1" "0 $2 crypt aes-xts-plain64 $KEY $4 $3 $(($# - 4)) ${*:5}"; }
