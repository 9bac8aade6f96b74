// SPDX-License-Identifier: GPL-2.0-only
/*
 * The origin: what it is, checked before anybody depends on it. And files,
 * which are read here, without libcurl.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "fetchd.h"

struct origin origin = { .fd = -1 };

static int refused(const char *what)
{
	say(LOG_ERR, "%s %s", origin.shown, what);
	return FETCHD_ORIGIN;
}

/* Nothing that a copy with its date has not: stores keep it for as long as they live. */
static void file_identity(const struct stat *st, char *identity, size_t room)
{
	snprintf(identity, room, "file:%jd:%jd.%09ld", (intmax_t)st->st_size, (intmax_t)st->st_mtim.tv_sec,
		 st->st_mtim.tv_nsec);
}

static int open_file(void)
{
	struct stat st;
	off_t end = -1;

	if (origin.fd < 0)
		origin.fd = open(origin.path, O_RDONLY | O_CLOEXEC);
	if (origin.fd < 0 || fstat(origin.fd, &st))
		return refused(strerror(errno));
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
		end = lseek(origin.fd, 0, SEEK_END);
	if (end < 0)
		return refused("is neither a file nor a block device");
	origin.total = end;
	file_identity(&st, origin.identity, sizeof(origin.identity));
	return FETCHD_OK;
}

/* The URL as it may be seen by others, and what kind it is. */
int origin_open(void)
{
	char *scheme = NULL, *host = NULL, *shown = NULL, *bare = NULL;
	CURLU *url = curl_url();
	int status = FETCHD_OK;

	if (!url || curl_url_set(url, CURLUPART_URL, opt.url, 0) || curl_url_get(url, CURLUPART_SCHEME, &scheme, 0)) {
		say(LOG_ERR, "this is no URL; http://, https:// or file:///path is");
		curl_url_cleanup(url);
		return FETCHD_USE;
	}
	curl_url_get(url, CURLUPART_HOST, &host, 0);
	origin.is_file = !strcmp(scheme, "file");
	if (!origin.is_file && strcmp(scheme, "http") && strcmp(scheme, "https")) {
		say(LOG_ERR, "%s: no such kind of origin; there are http, https, file", scheme);
		status = FETCHD_USE;
	}
	if (host && strlen(host) > 22 && !strcmp(host + strlen(host) - 22, ".blob.core.windows.net"))
		opt.azure = true;
	curl_url_get(url, CURLUPART_USER, &origin.user, CURLU_URLDECODE);
	curl_url_get(url, CURLUPART_PASSWORD, &origin.password, CURLU_URLDECODE);
	curl_url_set(url, CURLUPART_USER, NULL, 0);
	curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
	curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
	if (!curl_url_get(url, CURLUPART_URL, &bare, 0)) {
		free(opt.url);
		opt.url = bare;
	}
	curl_url_set(url, CURLUPART_QUERY, NULL, 0);
	if (!curl_url_get(url, CURLUPART_URL, &shown, 0))
		copy_text(origin.shown, sizeof(origin.shown), shown);
	if (!status && origin.is_file && curl_url_get(url, CURLUPART_PATH, &origin.path, CURLU_URLDECODE))
		status = FETCHD_USE;
	curl_free(shown);
	curl_free(host);
	curl_free(scheme);
	curl_url_cleanup(url);
	return status;
}

/* The URL to ask, with what the credentials add. For curl_free(). */
char *origin_url(void)
{
	CURLU *url = curl_url();
	char *text = NULL;

	if (url && !curl_url_set(url, CURLUPART_URL, opt.url, 0) &&
	    (!creds.query || !curl_url_set(url, CURLUPART_QUERY, creds.query, CURLU_APPENDQUERY)))
		curl_url_get(url, CURLUPART_URL, &text, 0);
	curl_url_cleanup(url);
	return text;
}

/* Return: 0, or what to tell the kernel. */
int origin_read_file(struct fetch *f)
{
	char identity[sizeof(origin.identity)];
	struct stat st;

	while (f->got < f->len) {
		ssize_t got = pread(origin.fd, f->data + f->got, f->len - f->got, f->offset + f->got);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			snprintf(f->why, sizeof(f->why), "cannot be read: %s", got ? strerror(errno) : "it is too short");
			return got && errno == ENODATA ? ENODATA : EIO;
		}
		f->got += got;
		counters.fetched_bytes += got;
	}
	/* After the read: what it was before does not say what was read. */
	if (fstat(origin.fd, &st)) {
		snprintf(f->why, sizeof(f->why), "cannot be read: %s", strerror(errno));
		return EIO;
	}
	file_identity(&st, identity, sizeof(identity));
	if (!f->probe && strcmp(identity, origin.identity)) {
		snprintf(f->why, sizeof(f->why), "has changed: it was %s and is %s", origin.identity, identity);
		counters.changed++;
		return ESTALE;
	}
	return 0;
}

static int check_vhd1(void)
{
	unsigned char footer[512];
	const char *wrong = "is too short for a VHD";
	int status;

	if (origin.total >= 1024) {
		status = read_origin(origin.total - sizeof(footer), sizeof(footer), (char *)footer, false);
		if (status)
			return status;
		wrong = vhd1_footer(footer, origin.total, &origin.length);
	}
	return wrong ? refused(wrong) : FETCHD_OK;
}

/* What is there? Nobody is attached yet. */
int origin_check(void)
{
	char byte;
	int status;

	if (origin.is_file) {
		status = open_file();
		if (status)
			return status;
	} else {
		status = read_origin(0, 1, &byte, true);
		if (status)
			return status;
		if (!*origin.etag && !*origin.modified && !opt.no_etag)
			return refused("states neither an ETag nor a date, so a change would not be seen (--no-etag to accept that)");
		if (*origin.etag || *origin.modified)
			snprintf(origin.identity, sizeof(origin.identity), "%.*s", (int)sizeof(origin.identity) - 1,
				 *origin.etag ? origin.etag : origin.modified);
	}
	origin.length = origin.total & -(uint64_t)VDISK_BLOCK;
	if (opt.vhd1) {
		status = check_vhd1();
		if (status)
			return status;
	}
	return origin.length ? FETCHD_OK : refused("has less than 512 bytes");
}
