# shellcheck shell=bash
# What the tests of vdisk-fetchd share: servers and the helper. Source it after blob.sh.
# shellcheck disable=SC2154 # $selftests, $image and $len are theirs

# origin_nginx: serves $TMP/www on port 8080, without ranges on 8081, by HTTP/2 and TLS with $TMP/cert on 8443
origin_nginx() {
	mkdir -p "$TMP/www" "$TMP/nginx"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 \
		-addext subjectAltName=IP:127.0.0.1 -keyout "$TMP/key" -out "$TMP/cert" 2>/dev/null
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
	server { listen 127.0.0.1:8080; root $TMP/www; }
	server { listen 127.0.0.1:8081; root $TMP/www; max_ranges 0; }
	server {
		listen 127.0.0.1:8443 ssl http2;
		ssl_certificate $TMP/cert;
		ssl_certificate_key $TMP/key;
		root $TMP/www;
		location = /down { return 302 http://127.0.0.1:8080/img; }
		location = /over { return 302 https://127.0.0.1:8443/img; }
	}
}
CONF
	mkdir -p /var/log/nginx
	nginx_start
	undo+=("nginx_stop")
}
nginx_start() { "$VDISK_TOOLS/nginx/usr/sbin/nginx" -c "$TMP/nginx.conf" 2>>"$TMP/nginx.err"; }
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
	local status=0 said
	said=$(vdisk-fetchd --name img --check --deadline 20s "${@:4}" "$3" 2>&1) || status=$?
	[[ $status == "$1" && $said == *"$2"* && ($1 == 0 || $said != *$'\n'*) ]]
	ok $? "${3##*/} ${*:4}: $2"
	[[ $status == "$1" && $said == *"$2"* ]] || comment "exits with $status and says" "$said"
}

# same DEVICE: all of it, as the image
same() { cmp -n "$((len * 512))" <(dd if="/dev/mapper/$VD$1" bs=64K iflag=direct status=none) "$image"; }
