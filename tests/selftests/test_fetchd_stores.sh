#!/bin/bash
# vdisk-fetchd against object stores: Azurite (public, SAS, page blobs) and an S3 server that verifies Signature Version 4. Who may not
# read is told so; credentials that end in mid-use are renewed without an error; another version of an object is never mixed in.
# kernels: 6.12 7.3
# check: none
# timeout: 400
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/blob.sh
. "$selftests/blob.sh"
# shellcheck source=tests/selftests/fetchd.sh
. "$selftests/fetchd.sh"

load_vdisk
image 4
started=$SECONDS
stores
ok $? 'Azurite and s3rver are there'
comment "after $((SECONDS - started)) s"

# Azure Blob storage
azure=http://127.0.0.1:10000/devstoreaccount1
all=$(account_sas)
azure_put "$azure/open?restype=container&$all" -H 'x-ms-blob-public-access: blob'
azure_put "$azure/closed?restype=container&$all"
for name in open closed; do
	azure_put "$azure/$name/img?$all" -H 'x-ms-blob-type: BlockBlob' -T "$image"
done
says 0 "\"sectors\":$len" "$azure/open/img"
says 0 "\"sectors\":$len" "$azure/open/img" --azure
says 2 'does not let us in (403)' "$azure/closed/img"
says 2 'no such object (404)' "$azure/open/none"
says 0 "\"sectors\":$len" "$azure/closed/img?$(sas closed/img 3600)"
says 2 'does not let us in (403): credentials, or a URL that has expired' "$azure/closed/img?$(sas closed/img -60)"
says 2 'does not let us in (403)' "$azure/closed/img?$(sas open/img 3600)"

ro a "blob img len:$len"
fetchd "$azure/open/img"
compared 'Azure, public: random reads' a -n "${VDISK_OPS:-20}"
run_ok 'Azure, public: every byte' same a
stopped
# Another blob: the same bytes, with another ETag
gone a
ro a "blob img len:$len"
fetchd "$azure/closed/img?$(sas closed/img 3600)"
run_ok 'Azure, SAS in the URL: every byte' same a
stopped

# A SAS that ends in mid-use
waits() { (($(counter a blob 1 waiting) > 0)) && kill -0 "$reader"; }
sas closed/img 20 >"$TMP/sas"
fetchd --credentials "$TMP/sas" "$azure/closed/img"
under_reads
wait_for 100 grep -q 'does not let us in (403)' "$TMP/fetchd.out"
ok $? 'Azure: a SAS that ends in mid-use'
wait_for 20 waits
ok $? 'Azure: reads wait'
sas closed/img 3600 >"$TMP/sas"
run_ok 'Azure: and renewed, every byte' timeout 100 cmp "/dev/mapper/${VD}a" "$image"
enough
read_is 0 'Azure: reads have waited for it, without an error'
! grep -q 'sig=' "$TMP/fetchd.out"
ok $? 'Azure: what is secret is not shown'
stopped

# Another version in mid-use
etag() { curl -sI "$@" | sed -n 's/^etag: *\(.*\)\r$/\1/Ip'; }
# changed NAME PUT ETAG: under reads, PUT another version; ETAG prints which it is
changed() {
	local was is
	was=$($3)
	under_reads
	wait_for 60 is_read 20
	$2 "$TMP/other"
	is=$($3)
	ok "$(($(wc -w <<<"$was $is") != 2))" "$1: there are ETags"
	read_is 3 "$1, another version under reads: an error, and no byte of it before"
	run_ok "$1, another version: and no byte of it after" timeout 100 blobd --check --errors -t 4 -n 20 "/dev/mapper/${VD}a" "$image"
	grep -qF "has changed: its ETag was $was and is $is" "$TMP/fetchd.out"
	ok $? "$1, another version: both are named"
	comment "$(grep 'has changed' "$TMP/fetchd.out" | tail -n 1)"
}
is_read() { (($(counter a blob 1 requests) > before + $1)); }
tr '\0-\377' '\200-\377\0-\177' <"$image" >"$TMP/other"
put_azure() { azure_put "$azure/closed/img?$all" -H 'x-ms-blob-type: BlockBlob' -T "$1"; }
etag_azure() { etag "$azure/closed/img?$all"; }
fetchd --credentials "$TMP/sas" "$azure/closed/img"
before=$(counter a blob 1 requests)
changed Azure put_azure etag_azure
run_fails 'Azure, another version: it stays an error' timeout 20 dd if="/dev/mapper/${VD}a" of=/dev/null count=1 iflag=direct
stopped
gone a

# A fixed VHD in a page blob
head -c 3M "$image" >"$TMP/raw"
qemu-img convert -O vpc -o subformat=fixed,force_size=on "$TMP/raw" "$TMP/vhd"
azure_put "$azure/open/vhd?$all" -H 'x-ms-blob-type: PageBlob' -H "x-ms-blob-content-length: $(stat -c %s "$TMP/vhd")"
azure_put "$azure/open/vhd?comp=page&$all" -H 'x-ms-page-write: update' -H "x-ms-range: bytes=0-$(($(stat -c %s "$TMP/vhd") - 1))" \
	-T "$TMP/vhd"
says 0 '"disk_bytes":3145728' "$azure/open/vhd" --vhd1
len=6144 ro a 'blob img len:6144'
fetchd --vhd1 "$azure/open/vhd"
run_ok 'Azure, page blob, --vhd1: every byte of the disk' timeout 100 cmp "/dev/mapper/${VD}a" "$TMP/raw"
stopped
gone a

# S3
s3=http://127.0.0.1:10001/disks/img
sign=(--credentials "$TMP/mine" --aws-sigv4 aws:amz:eu-west-1:s3)
# keys FILE ID SECRET [TOKEN]
keys() {
	printf '{"Version":1,"AccessKeyId":"%s","SecretAccessKey":"%s"%s}\n' "$2" "$3" "${4:+,\"SessionToken\":\"$4\"}" >"$1.new"
	mv "$1.new" "$1"
}
put_s3() {
	curl -sf --aws-sigv4 aws:amz:eu-west-1:s3 -u AKIA1:one -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -T "$1" "$s3"
}
keys "$TMP/keys" AKIA1 one
run_ok 'S3: an object' put_s3 "$image"
says 2 'does not let us in (403)' "$s3"
keys "$TMP/mine" AKIA1 one
says 0 "\"sectors\":$len" "$s3" "${sign[@]}"
says 2 'refuses the request (400): of S3 a wrong region' "$s3" --credentials "$TMP/mine" --aws-sigv4 aws:amz:us-east-1:s3
keys "$TMP/mine" AKIA1 two
says 2 'does not let us in (403)' "$s3" "${sign[@]}"
keys "$TMP/mine" AKIA2 one
says 2 'does not let us in (403)' "$s3" "${sign[@]}"
says 0 "\"sectors\":$len" "$(presigned now 3600 one)"
says 2 'does not let us in (403): credentials, or a URL that has expired' "$(presigned '2 minutes ago' 60 one)"
says 2 'does not let us in (403)' "$(presigned now 3600 two)"

ro a "blob img len:$len"
fetchd "$(presigned now 3600 one)"
run_ok 'S3, presigned URL: every byte' same a
stopped
keys "$TMP/mine" AKIA1 one
fetchd "${sign[@]}" "$s3"
compared 'S3, signed: random reads' a -n "${VDISK_OPS:-20}"
run_ok 'S3, signed: every byte' same a
grep -qE '^206 bytes=[0-9]+-[0-9]+ "[0-9a-f]{32}"$' "$TMP/s3.log"
ok $? 'S3: ranges of the ETag that was first'

# Keys that are revoked in mid-use (403), and a session that ends (400)
# renewed NAME STATUS ID SECRET [TOKEN]: others are good from now on, and before long they are ours
renewed() {
	: >"$TMP/fetchd.out"
	under_reads
	keys "$TMP/keys" "${@:3}"
	wait_for 60 grep -q "($2)" "$TMP/fetchd.out"
	ok $? "S3, $1: refused ($2)"
	keys "$TMP/mine" "${@:3}"
	run_ok "S3, $1: and read again, every byte" timeout 60 cmp "/dev/mapper/${VD}a" "$image"
	enough
	read_is 0 "S3, $1: reads have waited for it, without an error"
}
renewed 'keys that are revoked' 403 ASIA1 three token1
stopped
fetchd --credentials-command "cat $TMP/mine" --aws-sigv4 aws:amz:eu-west-1:s3 "$s3"
renewed 'a session that ends' 400 ASIA1 three token2

keys "$TMP/keys" AKIA1 one
keys "$TMP/mine" AKIA1 one
kill -HUP "$helper"
etag_s3() { etag --aws-sigv4 aws:amz:eu-west-1:s3 -u AKIA1:one -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$s3"; }
before=$(counter a blob 1 requests)
changed S3 put_s3 etag_s3
put_s3 "$image"
run_ok 'S3: what it was again, every byte' timeout 60 cmp "/dev/mapper/${VD}a" "$image"
stopped
gone a
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
