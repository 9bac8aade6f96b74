// SPDX-License-Identifier: GPL-2.0-only
/*
 * One range of the object over HTTP. A byte counts when status, range, length
 * and ETag of the answer that it came with were what was asked for.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <syslog.h>

#include "fetchd.h"

/* Of an answer that is an error: read to its end, so that the connection can be used again, if that is not far. */
#define IGNORED_MAX	65536

uint64_t chance(void)
{
	uint64_t value = 0;

	/* Without: all wait the same time, which does no harm. */
	if (getrandom(&value, sizeof(value), GRND_NONBLOCK) != sizeof(value))
		return 0;
	return value;
}

/*
 * Are the bytes behind these headers those at @offset, of the object that we
 * know? A @probe asks what the object is; else total, ETag or date are compared.
 * @any_etag: this was asked for without If-Match.
 */
bool response_check(const struct response *r, const struct origin *o, uint64_t offset, uint32_t len, bool any_etag,
		    bool probe, char *why, size_t room, bool *changed)
{
	*changed = false;
	if (r->status == 200) {
		snprintf(why, room, "answers a range with the whole object (200): no ranges can be had there");
		return false;
	}
	if (r->status == 412 && !any_etag) {
		snprintf(why, room, "has another version than %s (412)", *o->etag ? o->etag : o->modified);
		return false;
	}
	if (r->status == 401 || r->status == 403) {
		snprintf(why, room, "does not let us in (%d): credentials, or a URL that has expired", r->status);
		return false;
	}
	if (r->status == 400) {
		snprintf(why, room, "refuses the request (400): of S3 a wrong region, or a session token that has expired");
		return false;
	}
	if (r->status == 404 || r->status == 410) {
		snprintf(why, room, "has no such object (%d)", r->status);
		return false;
	}
	if (r->status == 416) {
		snprintf(why, room, "%s (416)", probe ? "has nothing in it, or no ranges" : "says that the range is beyond its end");
		return false;
	}
	if (r->status != 206) {
		snprintf(why, room, "answers %d", r->status);
		return false;
	}
	if (r->encoded) {
		snprintf(why, room, "sends the object encoded (Content-Encoding)");
		return false;
	}
	if (!r->has_range) {
		snprintf(why, room, "does not say which range it sends (Content-Range)");
		return false;
	}
	if (r->first != offset || r->last - r->first != len - 1) {
		snprintf(why, room, "sends the range %" PRIu64 "-%" PRIu64 " for %" PRIu64 "-%" PRIu64, r->first, r->last,
			 offset, offset + len - 1);
		return false;
	}
	if (probe)
		return true;
	*changed = true;
	if (*o->etag && strcmp(o->etag, r->etag)) {
		snprintf(why, room, "has changed: its ETag was %s and is %s", o->etag, *r->etag ? r->etag : "gone");
		return false;
	}
	if (!*o->etag && *o->modified && strcmp(o->modified, r->modified)) {
		snprintf(why, room, "has changed: its date was %s and is %s", o->modified, *r->modified ? r->modified : "gone");
		return false;
	}
	if (r->total != o->total) {
		snprintf(why, room, "has changed: it had %" PRIu64 " bytes and has %" PRIu64, o->total, r->total);
		return false;
	}
	*changed = false;
	return true;
}

static size_t on_header(char *bytes, size_t size, size_t nr, void *arg)
{
	struct fetch *f = arg;
	struct response *r = &f->response;
	char line[1024];
	size_t len = size * nr < sizeof(line) - 1 ? size * nr : sizeof(line) - 1;
	const char *value, *end;
	uint64_t seconds;
	int status;

	memcpy(line, bytes, len);
	line[len] = 0;
	/* After 100: the headers of another answer */
	if (parse_status_line(line, &status))
		*r = (struct response){ .status = status };
	value = parse_header(line, "ETag");
	/* Of one that we cannot keep as it is, two might look the same. */
	if (value && !copy_text(r->etag, sizeof(r->etag), value))
		r->etag[0] = 0;
	value = parse_header(line, "Last-Modified");
	if (value)
		copy_text(r->modified, sizeof(r->modified), value);
	value = parse_header(line, "Content-Range");
	if (value)
		r->has_range = parse_content_range(value, &r->first, &r->last, &r->total);
	value = parse_header(line, "Content-Encoding");
	if (value && strncasecmp(value, "identity", 8))
		r->encoded = true;
	value = parse_header(line, "Retry-After");
	end = value;
	if (value && parse_number(&end, &seconds))
		r->retry_after_ms = seconds < 60 ? seconds * 1000 : 60000;
	return size * nr;
}

/* Return: may what this answer brings be taken? */
static bool check(struct fetch *f)
{
	bool changed;

	if (f->response.checked)
		return true;
	if (!response_check(&f->response, &origin, f->offset + f->base, f->len - f->base, f->no_match, f->probe, f->why,
			    sizeof(f->why), &changed)) {
		f->error = changed ? ESTALE : EIO;
		return false;
	}
	f->response.checked = true;
	return true;
}

static size_t on_data(char *bytes, size_t size, size_t nr, void *arg)
{
	struct fetch *f = arg;
	size_t len = size * nr;

	if (f->response.status >= 300 && f->response.ignored + len <= IGNORED_MAX) {
		f->response.ignored += len;
		return len;
	}
	if (!check(f))
		return CURL_WRITEFUNC_ERROR;
	if (len > f->len - f->got) {
		snprintf(f->why, sizeof(f->why), "sends more than the range that it states");
		f->error = EIO;
		f->got = f->base;
		return CURL_WRITEFUNC_ERROR;
	}
	memcpy(f->data + f->got, bytes, len);
	f->got += len;
	counters.fetched_bytes += len;
	return len;
}

static void add_header(struct fetch *f, const char *format, const char *value)
{
	struct curl_slist *longer;
	char line[8192];

	if ((size_t)snprintf(line, sizeof(line), format, value) >= sizeof(line))
		return;
	longer = curl_slist_append(f->headers, line);
	if (longer)
		f->headers = longer;
}

static void set_headers(struct fetch *f, bool trusted)
{
	curl_slist_free_all(f->headers);
	f->headers = NULL;
	for (unsigned int i = 0; trusted && i < FETCHD_MAX_HEADERS && opt.header[i]; i++)
		add_header(f, "%s", opt.header[i]);
	if (!f->probe && !f->no_match && *origin.etag)
		add_header(f, "If-Match: %s", origin.etag);
	else if (!f->probe && !f->no_match && *origin.modified)
		add_header(f, "If-Unmodified-Since: %s", origin.modified);
	if (opt.azure)
		add_header(f, "x-ms-version: %s", "2021-08-06");
	/* S3 wants the hash of the (empty) body said; curl signs it. */
	if (trusted && opt.sigv4 && !strncmp(opt.sigv4, "aws:amz", 7))
		add_header(f, "x-amz-content-sha256: %s", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	if (trusted && creds.bearer)
		add_header(f, "Authorization: Bearer %s", creds.bearer);
	if (trusted && creds.token)
		add_header(f, "x-amz-security-token: %s", creds.token);
	curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
}

/* What is the same for all tries of a fetch. Return: is it complete? */
static bool set_up(struct fetch *f)
{
	CURL *easy = f->easy ?: (f->easy = curl_easy_init());

	if (!easy)
		return false;
	curl_easy_reset(easy);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, f);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "vdisk-fetchd/" FETCHD_VERSION);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)opt.connect_ms);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1024L);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)((opt.stall_ms + 999) / 1000));
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, f);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, f);
	curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	if (opt.rate)
		curl_easy_setopt(easy, CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)opt.rate);
	if (opt.cacert)
		curl_easy_setopt(easy, CURLOPT_CAINFO, opt.cacert);
	if (opt.proxy)
		curl_easy_setopt(easy, CURLOPT_PROXY, opt.proxy);
	return true;
}

/* Ask the origin, or, of redirects, another one, which is not told our secrets: libcurl would tell it our headers. */
static void ask(struct fetch *f, const char *url)
{
	bool trusted = same_place(opt.url, url);
	uint64_t now = now_ms();
	char range[64];

	snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, f->offset + f->got, f->offset + f->len - 1);
	curl_easy_setopt(f->easy, CURLOPT_URL, url);
	/* Never back to http: of this and of all redirects behind it */
	if (!strncasecmp(url, "https:", 6))
		curl_easy_setopt(f->easy, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(f->easy, CURLOPT_RANGE, range);
	if (f->deadline)
		curl_easy_setopt(f->easy, CURLOPT_TIMEOUT_MS, (long)(f->deadline > now ? f->deadline - now : 1));
	curl_easy_setopt(f->easy, CURLOPT_AWS_SIGV4, trusted ? opt.sigv4 : NULL);
	curl_easy_setopt(f->easy, CURLOPT_USERNAME, trusted ? origin.user : NULL);
	curl_easy_setopt(f->easy, CURLOPT_PASSWORD, trusted ? origin.password : NULL);
	if (trusted && creds.user)
		curl_easy_setopt(f->easy, CURLOPT_USERPWD, creds.user);
	set_headers(f, trusted);
	f->response = (struct response){};
	f->state = FETCH_RUNNING;
	if (curl_multi_add_handle(multi, f->easy) != CURLM_OK) {
		snprintf(f->why, sizeof(f->why), "is not asked: no memory");
		fetch_failed(f, EIO, true);
	}
}

/* Return: is it asked where it was redirected to? If that is one redirect too many, @result says so. */
static bool redirected(struct fetch *f, CURLcode *result)
{
	char *url = NULL;

	if (*result || f->error || !opt.redirects)
		return false;
	curl_easy_getinfo(f->easy, CURLINFO_REDIRECT_URL, &url);
	if (!url)
		return false;
	if (f->hops++ == opt.redirects) {
		*result = CURLE_TOO_MANY_REDIRECTS;
		return false;
	}
	ask(f, url);
	return true;
}

/* One try, of what is missing. */
void fetch_begin(struct fetch *f)
{
	char *url;

	f->base = f->got;
	f->error = 0;
	f->hops = 0;
	f->wants_creds = false;
	if (!f->tries++)
		f->began = now_ms();
	counters.tries++;
	if (origin.is_file) {
		int error = origin_read_file(f);

		if (error)
			fetch_failed(f, error, false);
		else
			fetch_done(f, true);
		return;
	}
	url = origin_url();
	if (!url || !set_up(f)) {
		curl_free(url);
		snprintf(f->why, sizeof(f->why), "is not asked: no memory");
		fetch_failed(f, EIO, true);
		return;
	}
	ask(f, url);
	curl_free(url);
}

/* This try was none. @again: another one might be. */
void fetch_failed(struct fetch *f, int error, bool again)
{
	static uint64_t said;
	uint64_t now = now_ms(), wait = retry_ms(f->tries, chance());

	f->error = error;
	if (f->response.retry_after_ms > wait)
		wait = f->response.retry_after_ms;
	if (!again || (f->deadline && now + wait >= f->deadline)) {
		fetch_done(f, false);
		return;
	}
	if (!f->probe && (!said || now - said > 10000)) {
		say(LOG_WARNING, "%s %s; trying again", origin.shown, f->why);
		said = now;
	}
	counters.retries++;
	f->state = FETCH_WAITING;
	f->due = now + wait;
}

/* May another try help at a start, when somebody waits to be told? */
static bool may_help(const struct fetch *f, CURLcode result)
{
	if (!f->probe)
		return true;
	if (f->response.status && f->response.status != 206)
		return f->response.status >= 500 || f->response.status == 429;
	if (f->error)
		return false;
	return result == CURLE_COULDNT_CONNECT || result == CURLE_OPERATION_TIMEDOUT || result == CURLE_GOT_NOTHING ||
	       result == CURLE_RECV_ERROR || result == CURLE_SEND_ERROR || result == CURLE_COULDNT_RESOLVE_HOST;
}

/* Might other credentials do? S3 says 400 (ExpiredToken) of a session that has ended. */
static bool let_in(const struct fetch *f)
{
	int status = f->response.status;

	return status != 401 && status != 403 && !(status == 400 && creds.token);
}

void fetch_finished(struct fetch *f, CURLcode result)
{
	bool first_412 = f->response.status == 412 && !f->no_match && !f->probe;
	int error = EIO;

	if (redirected(f, &result))
		return;
	if (f->error) {
		/* on_data() said why. */
	} else if (result == CURLE_OK || (result == CURLE_PARTIAL_FILE && f->response.status)) {
		if (check(f) && f->got == f->len) {
			fetch_done(f, true);
			return;
		}
		if (f->response.checked)
			snprintf(f->why, sizeof(f->why), "sends %u of %u bytes", f->got - f->base, f->len - f->base);
	} else {
		/* If it was us who ended the last try: what was wrong with those before says more. */
		if (!*f->why || !f->deadline || now_ms() < f->deadline)
			snprintf(f->why, sizeof(f->why), "cannot be read: %s", curl_easy_strerror(result));
		error = result == CURLE_OPERATION_TIMEDOUT ? ETIMEDOUT : ENOLINK;
	}
	if (f->response.status && f->response.status != 206)
		f->got = f->base;
	if (error == EIO)
		counters.wrong++;
	if (f->error == ESTALE) {
		counters.changed++;
		fetch_failed(f, ESTALE, false);
		return;
	}
	if (first_412) {
		/* What is it now? Asked without a condition, the ETag will differ, and both can be named. */
		f->no_match = true;
		f->state = FETCH_WAITING;
		f->due = 0;
		return;
	}
	if (!let_in(f) && creds_wanted() && f->tries <= (f->probe ? 2U : ~0U)) {
		fetch_failed(f, EACCES, true);
		if (f->state == FETCH_WAITING) {
			f->wants_creds = true;
			creds_start(false);
		}
		return;
	}
	fetch_failed(f, error, may_help(f, result));
}
