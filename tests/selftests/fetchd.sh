# shellcheck shell=bash
# What the tests of vdisk-fetchd share: servers and the helper. Source it after blob.sh.
# shellcheck disable=SC2154 # $selftests, $image and $len are theirs

# origin_nginx ADDRESS [COMMAND...]: run by COMMAND, it serves $TMP/www there on port 8080, without ranges on 8081, by HTTP/2 and TLS
# with $TMP/cert on 8443
origin_nginx() {
	local at=$1
	nginx_in=("${@:2}")
	mkdir -p "$TMP/www" "$TMP/nginx"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$at" \
		-addext "subjectAltName=IP:$at" -keyout "$TMP/key" -out "$TMP/cert" 2>/dev/null
	cat >"$TMP/nginx.conf" <<CONF
worker_processes 1;
pid $TMP/nginx/pid;
error_log $TMP/nginx/error.log;
events { worker_connections 256; }
http {
	log_format range '\$status \$http_range \$connection \$server_protocol';
	access_log $TMP/nginx/access.log range;
	client_body_temp_path $TMP/nginx/body;
	proxy_temp_path $TMP/nginx/proxy;
	fastcgi_temp_path $TMP/nginx/fastcgi;
	uwsgi_temp_path $TMP/nginx/uwsgi;
	scgi_temp_path $TMP/nginx/scgi;
	server { listen $at:8080; root $TMP/www; }
	server { listen $at:8081; root $TMP/www; max_ranges 0; }
	server {
		listen $at:8443 ssl http2;
		ssl_certificate $TMP/cert;
		ssl_certificate_key $TMP/key;
		root $TMP/www;
		location = /down { return 302 http://$at:8080/img; }
		location = /over { return 302 https://$at:8443/img; }
	}
}
CONF
	mkdir -p /var/log/nginx
	nginx_start
	undo+=("nginx_stop")
}
nginx_start() { "${nginx_in[@]}" "$VDISK_TOOLS/nginx/usr/sbin/nginx" -c "$TMP/nginx.conf" 2>>"$TMP/nginx.err"; }
nginx_stop() {
	local pid
	pid=$(<"$TMP/nginx/pid")
	kill "$pid"
	timeout 20 tail --pid="$pid" -s 0.05 -f /dev/null
}

# bad_server: $image on port 8090, as bad as `mode` says
bad_server() {
	local line pipe
	: >"$TMP/requests"
	exec {pipe}< <(exec "$selftests/badhttp.pl" 8090 "$image" "$TMP/mode" "$TMP/requests" 2>"$TMP/badhttp.err")
	undo+=("kill -9 $!")
	read -r -t 60 -u "$pipe" line
	is "$line" ready 'the bad server is there'
}
mode() { echo "$1" >"$TMP/mode.new" && mv "$TMP/mode.new" "$TMP/mode"; }

# fetchd [--as UID] OPTION... URL: $helper, what it says in $TMP/fetchd.out. Returns when the blob is served.
fetchd() {
	local -a as=()
	if [[ $1 == --as ]]; then
		as=(setpriv --reuid "$2" --regid "$2" --clear-groups)
		shift 2
	fi
	"${as[@]}" vdisk-fetchd --name img "$@" >"$TMP/fetchd.out" 2>&1 &
	helper=$!
	undo+=("kill -9 $helper")
	wait_for 30 grep -q 'serves img' "$TMP/fetchd.out" || comment "$(<"$TMP/fetchd.out")"
}

# managed [--gap MS] OPTION... URL: as fetchd, of a $manager that keeps its file, and starts it again when it was killed
managed() {
	local -a gap=()
	if [[ $1 == --gap ]]; then
		gap=("$1" "$2")
		shift 2
	fi
	fdstore "${gap[@]}" vdisk-fetchd --name img "$@" >"$TMP/store.out" 2>"$TMP/fetchd.out" &
	manager=$!
	undo+=("kill -9 $manager \$(managed_pid)")
	wait_for 30 serves 1 || comment "$(<"$TMP/fetchd.out")"
}
managed_pid() { awk '$1 == "started" { pid = $2 } END { print pid }' "$TMP/store.out"; }

# serves N: so often it has begun to
serves() { (($(grep -c 'serves img' "$TMP/fetchd.out") == $1)); }

# stopped: SIGTERM, and its exit status is 0
stopped() {
	local status=0
	kill "$helper"
	wait "$helper" || status=$?
	((status == 0)) || ok 1 "the helper ends with $status"
}

# says STATUS TEXT URL [OPTION...]: vdisk-fetchd --check ends so, and says this, in one line
says() {
	local status=0 said name=${3%%\?*}
	said=$(vdisk-fetchd --name img --check --deadline 20s "${@:4}" "$3" 2>&1) || status=$?
	[[ $status == "$1" && $said == *"$2"* && ($1 == 0 || $said != *$'\n'*) ]]
	ok $? "${name##*/} ${*:4}: $2"
	[[ $status == "$1" && $said == *"$2"* ]] || comment "exits with $status and says" "$said"
}

# same DEVICE: all of it, as the image
same() { cmp -n "$((len * 512))" <(dd if="/dev/mapper/$VD$1" bs=64K iflag=direct status=none) "$image"; }

# stores: servers/stores.js, in its root; the account of Azurite is its own, $TMP/keys are those of S3, $TMP/s3.log what that was asked
stores() {
	local root=$TMP/stores
	mkdir "$root"
	mount -t tmpfs -o size=1G stores "$root"
	undo+=("umount -R $root")
	tar -C "$root" -xf "$VDISK_SERVERS"
	cp "$selftests/servers/stores.js" "$root/servers"
	mkdir -p "$root/"{proc,dev,tmp,test}
	mount --bind /proc "$root/proc"
	mount --bind /dev "$root/dev"
	mount --bind "$TMP" "$root/test"
	echo '{}' >"$TMP/keys"
	: >"$TMP/s3.log"
	chroot "$root" node /servers/stores.js /test/keys /test/s3.log >"$TMP/stores.out" 2>&1 &
	undo=("kill -9 $!; wait $!" "${undo[@]}")
	wait_for 300 curl -s -o /dev/null http://127.0.0.1:10000/ http://127.0.0.1:10001/ || { comment "$(<"$TMP/stores.out")" && return 1; }
}

# azure_put URL OPTION...: what there is to put, or nothing
azure_put() {
	local -a nothing=()
	[[ " $* " == *' -T '* ]] || nothing=(-d '')
	curl -sSf -X PUT -H 'x-ms-version: 2021-08-06' "${nothing[@]}" "${@:2}" "$1" >"$TMP/put" 2>&1 ||
		{ ok 1 "put ${1%%\?*}" && comment "$(<"$TMP/put")"; }
}
# azure_time SECONDS: from now
azure_time() { date -u -d "$1 seconds" +%FT%TZ; }
# signature LINES: by the key of Azurite's account, which everybody knows, for a query
signature() {
	printf %b "$1" | openssl dgst -sha256 -mac HMAC -binary -macopt "hexkey:$(base64 -d <<<"$AZURITE_KEY" | od -An -v -tx1 | tr -d ' \n')" |
		base64 -w 0 | sed 's/+/%2B/g; s/\//%2F/g; s/=/%3D/g'
}
AZURITE_KEY=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==

# account_sas: for all that the account has, for a day
account_sas() {
	local end
	end=$(azure_time 86400)
	echo "sv=2021-08-06&ss=b&srt=sco&sp=rwdlac&se=$end&sig=$(signature "devstoreaccount1\nrwdlac\nb\nsco\n\n$end\n\n\n2021-08-06\n\n")"
}
# sas CONTAINER/BLOB SECONDS: to read it
sas() {
	local end
	end=$(azure_time "$2")
	echo "sv=2021-08-06&sr=b&sp=r&se=$end&sig=$(signature "r\n\n$end\n/blob/devstoreaccount1/$1\n\n\n\n2021-08-06\nb\n\n\n\n\n\n\n")"
}

# presigned WHEN SECONDS SECRET: an URL of $s3 for AKIA1, from then on
presigned() {
	local date scope query key part
	hmac() { openssl dgst -sha256 -mac HMAC -macopt "hexkey:$1" | sed 's/.*= *//'; }
	date=$(date -u -d "$1" +%Y%m%dT%H%M%SZ)
	scope=${date:0:8}/eu-west-1/s3/aws4_request
	query="X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA1%2F${scope//\//%2F}&X-Amz-Date=$date&X-Amz-Expires=$2"
	query+='&X-Amz-SignedHeaders=host'
	key=$(printf 'AWS4%s' "$3" | od -An -v -tx1 | tr -d ' \n')
	for part in ${scope//\// }; do
		key=$(printf %s "$part" | hmac "$key")
	done
	part=$(printf 'GET\n/disks/img\n%s\nhost:127.0.0.1:10001\n\nhost\nUNSIGNED-PAYLOAD' "$query" | sha256sum | cut -d ' ' -f 1)
	echo "$s3?$query&X-Amz-Signature=$(printf 'AWS4-HMAC-SHA256\n%s\n%s\n%s' "$date" "$scope" "$part" | hmac "$key")"
}
