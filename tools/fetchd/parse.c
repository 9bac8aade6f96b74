// SPDX-License-Identifier: GPL-2.0-only
/*
 * Texts, most of them of a server that may say anything.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "fetchd.h"

/* Digits, and nothing else; it stops behind them. */
bool parse_number(const char **text, uint64_t *number)
{
	uint64_t value = 0;

	if (!isdigit((unsigned char)**text))
		return false;
	for (; isdigit((unsigned char)**text); (*text)++)
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, **text - '0', &value))
			return false;
	*number = value;
	return true;
}

/* Bytes, or with K, M, G, T (powers of 1024) and perhaps "iB" behind it. */
bool parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	const char *unit;

	if (!parse_number(&text, bytes))
		return false;
	if (!*text)
		return true;
	unit = strchr(units, toupper((unsigned char)*text));
	if (!unit || (text[1] && strcasecmp(text + 1, "iB")))
		return false;
	return !__builtin_mul_overflow(*bytes, 1ULL << (10 * (unit - units + 1)), bytes);
}

/* Seconds, or with ms, s, m, h */
bool parse_time(const char *text, uint64_t *ms)
{
	uint64_t factor;

	if (!parse_number(&text, ms))
		return false;
	if (!strcmp(text, "ms"))
		factor = 1;
	else if (!*text || !strcmp(text, "s"))
		factor = 1000;
	else if (!strcmp(text, "m"))
		factor = 60000;
	else if (!strcmp(text, "h"))
		factor = 3600000;
	else
		return false;
	return !__builtin_mul_overflow(*ms, factor, ms);
}

/* "bytes 0-99/1234". Neither an unknown length nor an unsatisfied range will do. */
bool parse_content_range(const char *text, uint64_t *first, uint64_t *last, uint64_t *total)
{
	if (strncasecmp(text, "bytes", 5) || (text[5] != ' ' && text[5] != '\t'))
		return false;
	text += 5;
	text += strspn(text, " \t");
	if (!parse_number(&text, first) || *text++ != '-' || !parse_number(&text, last) || *text++ != '/' ||
	    !parse_number(&text, total))
		return false;
	text += strspn(text, " \t\r\n");
	return !*text && *first <= *last && *last < *total;
}

/* "HTTP/1.1 206 Partial Content", "HTTP/2 206" */
bool parse_status_line(const char *line, int *status)
{
	uint64_t number;

	if (strncasecmp(line, "HTTP/", 5))
		return false;
	line += strcspn(line, " ");
	line += strspn(line, " ");
	*status = parse_number(&line, &number) && number < 1000 ? number : 0;
	return true;
}

/* The value of a header, if it is this one. */
const char *parse_header(const char *line, const char *name)
{
	size_t len = strlen(name);

	if (strncasecmp(line, name, len) || line[len] != ':')
		return NULL;
	return line + len + 1 + strspn(line + len + 1, " \t");
}

/* "65536 4096": offset and length of an access */
bool parse_trace_line(const char *line, uint64_t *offset, uint64_t *len)
{
	if (!parse_number(&line, offset) || *line++ != ' ' || !parse_number(&line, len))
		return false;
	return (*line == '\n' || !*line) && *len && !(*offset % VDISK_BLOCK) && !(*len % VDISK_BLOCK) &&
	       *len <= UINT64_MAX - *offset;
}

/*
 * A text of the server's for us to show: its first line, cut if too long,
 * without what a terminal might obey. Return: is it as it was?
 */
bool copy_text(char *to, size_t room, const char *from)
{
	bool same = true;
	size_t n = 0;

	for (; from[n] && from[n] != '\r' && from[n] != '\n' && n + 1 < room; n++) {
		to[n] = from[n] < ' ' || from[n] > '~' ? '?' : from[n];
		same &= to[n] == from[n];
	}
	same &= !from[n] || from[n] == '\r' || from[n] == '\n';
	while (n && to[n - 1] == ' ')
		n--;
	to[n] = 0;
	return same;
}

/* Only a strong one says that the bytes are the same (RFC 9110, 8.8.1). */
bool etag_is_strong(const char *etag)
{
	return *etag && strncmp(etag, "W/", 2);
}

bool name_is_good(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = strlen(name);

	return len && len < VDISK_NAME_SIZE && strspn(name, allowed) == len;
}

/* The same scheme, host and port? What is a secret of the one is then known to the other. */
bool same_place(const char *one, const char *other)
{
	static const CURLUPart part[] = { CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT };
	CURLU *a = curl_url(), *b = curl_url();
	bool same = a && b && !curl_url_set(a, CURLUPART_URL, one, 0) && !curl_url_set(b, CURLUPART_URL, other, 0);

	for (size_t i = 0; same && i < sizeof(part) / sizeof(part[0]); i++) {
		char *x = NULL, *y = NULL;

		same = !curl_url_get(a, part[i], &x, CURLU_DEFAULT_PORT) &&
		       !curl_url_get(b, part[i], &y, CURLU_DEFAULT_PORT) && !strcasecmp(x, y);
		curl_free(x);
		curl_free(y);
	}
	curl_url_cleanup(a);
	curl_url_cleanup(b);
	return same;
}

/* Overwrite what is secret in a URL: who asks, and the query. */
void hide_url(char *url)
{
	char *host = strstr(url, "://"), *at, *query;

	host = host ? host + 3 : url;
	at = memrchr(host, '@', strcspn(host, "/?#"));
	if (at)
		memset(host, '*', at - host);
	query = strchr(url, '?');
	if (query)
		memset(query + 1, '*', strlen(query + 1));
}

/* How long to wait before another try: twice as long each time up to 10 s, and half of it by chance. */
uint64_t retry_ms(unsigned int tries, uint64_t random)
{
	uint64_t ms = tries > 6 ? 10000 : 200ULL << (tries ? tries - 1 : 0);

	if (ms > 10000)
		ms = 10000;
	return ms / 2 + random % (ms / 2 + 1);
}

/* How long until a debt of bytes is paid. */
uint64_t bucket_wait_ms(uint64_t rate, uint64_t debt)
{
	return rate ? (unsigned __int128)debt * 1000 / rate : 0;
}

static uint64_t big_endian(const unsigned char *bytes, unsigned int nr)
{
	uint64_t value = 0;

	while (nr--)
		value = value << 8 | *bytes++;
	return value;
}

/* Is this the footer of a fixed VHD of so many bytes? Return: NULL, or what is wrong. */
const char *vhd1_footer(const unsigned char *footer, uint64_t total, uint64_t *length)
{
	uint32_t sum = 0;

	if (memcmp(footer, "conectix", 8))
		return "the last 512 bytes are no footer of a VHD";
	for (unsigned int i = 0; i < 512; i++)
		if (i < 64 || i >= 68)
			sum += footer[i];
	if ((uint32_t)~sum != big_endian(footer + 64, 4))
		return "the checksum of the VHD's footer is wrong";
	if (big_endian(footer + 12, 4) >> 16 != 1)
		return "a VHD of an unknown version";
	if (big_endian(footer + 60, 4) != 2)
		return "a VHD that is not fixed: convert it (qemu-img convert -O vpc -o subformat=fixed,force_size)";
	*length = big_endian(footer + 48, 8);
	if (!*length || *length % VDISK_BLOCK || *length > total - 512)
		return "the VHD's footer states a size that is not the object's";
	return NULL;
}
