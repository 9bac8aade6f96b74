// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of what needs neither kernel nor server.
 */
#include <stdlib.h>
#include <string.h>

#include "fetchd.h"

struct options opt = { .url = "", .max_request = 1 << 20 };

static int nr_failed;

static void check(bool good, const char *what)
{
	if (good)
		return;
	printf("failed: %s\n", what);
	nr_failed++;
}

static void test_numbers(void)
{
	static const struct { const char *text; bool good; uint64_t value; } size[] = {
		{ "0", true, 0 }, { "512", true, 512 }, { "64K", true, 65536 }, { "1MiB", true, 1 << 20 },
		{ "2g", true, 2ULL << 30 }, { "", false, 0 }, { "-1", false, 0 }, { "1X", false, 0 }, { "1KB", false, 0 },
		{ " 1", false, 0 }, { "0x10", false, 0 }, { "18446744073709551615", true, UINT64_MAX },
		{ "18446744073709551616", false, 0 }, { "18446744073709551615K", false, 0 },
	}, time[] = {
		{ "5", true, 5000 }, { "5s", true, 5000 }, { "250ms", true, 250 }, { "2m", true, 120000 },
		{ "1h", true, 3600000 }, { "1d", false, 0 }, { "s", false, 0 }, { "1.5s", false, 0 },
		{ "18446744073709551615s", false, 0 },
	};
	uint64_t value;

	for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++)
		check(parse_size(size[i].text, &value) == size[i].good && (!size[i].good || value == size[i].value),
		      size[i].text);
	for (size_t i = 0; i < sizeof(time) / sizeof(time[0]); i++)
		check(parse_time(time[i].text, &value) == time[i].good && (!time[i].good || value == time[i].value),
		      time[i].text);
}

static void test_ranges(void)
{
	static const struct { const char *text; bool good; uint64_t first, last, total; } range[] = {
		{ "bytes 0-0/1", true, 0, 0, 1 }, { "bytes 5-9/10\r\n", true, 5, 9, 10 },
		{ "Bytes  0-4095/18446744073709551615", true, 0, 4095, UINT64_MAX },
		{ "bytes 0-9/*", false, 0, 0, 0 }, { "bytes */10", false, 0, 0, 0 }, { "bytes 0-10/10", false, 0, 0, 0 },
		{ "bytes 9-8/10", false, 0, 0, 0 }, { "bytes 0-/10", false, 0, 0, 0 }, { "bytes -1/10", false, 0, 0, 0 },
		{ "bytes0-1/10", false, 0, 0, 0 }, { "items 0-1/10", false, 0, 0, 0 }, { "bytes 0-1/10, 4-5/10", false, 0, 0, 0 },
		{ "bytes 0-1/18446744073709551616", false, 0, 0, 0 }, { "", false, 0, 0, 0 }, { "bytes", false, 0, 0, 0 },
	};
	uint64_t first, last, total;

	for (size_t i = 0; i < sizeof(range) / sizeof(range[0]); i++) {
		bool good = parse_content_range(range[i].text, &first, &last, &total);

		check(good == range[i].good && (!good || (first == range[i].first && last == range[i].last &&
							  total == range[i].total)), range[i].text);
	}
}

static void test_headers(void)
{
	char text[8];
	int status = -1;

	check(parse_status_line("HTTP/1.1 206 Partial Content\r\n", &status) && status == 206, "HTTP/1.1");
	check(parse_status_line("HTTP/2 404\r\n", &status) && status == 404, "HTTP/2");
	check(parse_status_line("HTTP/1.1\r\n", &status) && !status, "no status");
	check(parse_status_line("HTTP/1.1 2060\r\n", &status) && !status, "a status of four digits");
	check(!parse_status_line("X-HTTP/1.1 200\r\n", &status), "no status line");
	check(!strcmp(parse_header("etag: x", "ETag") ?: "", "x"), "a header in lower case");
	check(!parse_header("ETagged: x", "ETag"), "a longer header");
	check(copy_text(text, sizeof(text), "abc \r\nX: y") && !strcmp(text, "abc"), "a text");
	check(!copy_text(text, sizeof(text), "ab\033c\r\n") && !strcmp(text, "ab?c"), "a text with an escape");
	check(!copy_text(text, sizeof(text), "01234567") && !strcmp(text, "0123456"), "a text that is too long");
	check(copy_text(text, sizeof(text), "0123456\r") && !strcmp(text, "0123456"), "a text that just fits");
	check(etag_is_strong("\"1\"") && etag_is_strong("0x8D") && !etag_is_strong("W/\"1\"") && !etag_is_strong(""), "ETags");
	check(name_is_good("debian-13") && !name_is_good("") && !name_is_good("a/b") && !name_is_good("a b"), "names");
}

static void test_urls(void)
{
	static const struct { const char *one, *other; bool same; } place[] = {
		{ "https://a/x", "https://A:443/y?z", true }, { "http://a:8080/x", "http://u:p@a:8080/", true },
		{ "https://a/x", "http://a/x", false }, { "https://a/x", "https://a:8443/x", false },
		{ "https://a/x", "https://b/x", false }, { "https://a/x", "https://a.b/x", false }, { "https://a/x", "", false },
	};
	static const struct { const char *url, *hidden; } secret[] = {
		{ "https://a/x", "https://a/x" }, { "https://u:p@a/x@y", "https://***@a/x@y" }, { "u:p@a:3128", "***@a:3128" },
		{ "https://a?sig=1", "https://a?*****" }, { "https://u:p@q@a/x?y@z", "https://*****@a/x?***" }, { "", "" },
	};
	char text[64];

	for (size_t i = 0; i < sizeof(place) / sizeof(place[0]); i++)
		check(same_place(place[i].one, place[i].other) == place[i].same, place[i].other);
	for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++) {
		strcpy(text, secret[i].url);
		hide_url(text);
		check(!strcmp(text, secret[i].hidden), secret[i].url);
	}
}

static void test_response(void)
{
	const struct origin o = { .total = 1000, .etag = "\"a\"" };
	const struct origin weak = { .total = 1000, .modified = "Mon" };
	const struct response good = {
		.status = 206, .has_range = true, .first = 100, .last = 199, .total = 1000, .etag = "\"a\"",
	};
	struct { const char *what; struct response r; bool changed; } bad[] = {
		{ "200", good, false }, { "416", good, false }, { "500", good, false }, { "no Content-Range", good, false },
		{ "another first byte", good, false }, { "one byte less", good, false }, { "one byte more", good, false },
		{ "encoded", good, false }, { "another length", good, true }, { "another ETag", good, true },
		{ "no ETag", good, true }, { "no status", good, false }, { "412", good, false },
	};
	struct response r = good;
	char why[256];
	bool changed;

	bad[0].r.status = 200;
	bad[1].r.status = 416;
	bad[2].r.status = 500;
	bad[3].r.has_range = false;
	bad[4].r.first = 99;
	bad[5].r.last = 198;
	bad[6].r.last = 200;
	bad[7].r.encoded = true;
	bad[8].r.total = 1001;
	strcpy(bad[9].r.etag, "\"b\"");
	bad[10].r.etag[0] = 0;
	bad[11].r.status = 0;
	bad[12].r.status = 412;
	check(response_check(&good, &o, 100, 100, false, false, why, sizeof(why), &changed) && !changed, "a good answer");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check(!response_check(&bad[i].r, &o, 100, 100, false, false, why, sizeof(why), &changed) &&
		      changed == bad[i].changed && *why, bad[i].what);
	response_check(&bad[9].r, &o, 100, 100, true, false, why, sizeof(why), &changed);
	check(strstr(why, "\"a\"") && strstr(why, "\"b\""), "both ETags are named");
	strcpy(r.modified, "Tue");
	check(!response_check(&r, &weak, 100, 100, false, false, why, sizeof(why), &changed) && changed, "another date");
	strcpy(r.modified, "Mon");
	check(response_check(&r, &weak, 100, 100, false, false, why, sizeof(why), &changed), "the same date");
}

static void test_retries(void)
{
	uint64_t longest = 0;

	for (unsigned int tries = 0; tries < 100; tries++) {
		uint64_t low = retry_ms(tries, 0), high = low;

		for (uint64_t chance = 0; chance < 20000; chance += 7) {
			uint64_t ms = retry_ms(tries, chance);

			low = ms < low ? ms : low;
			high = ms > high ? ms : high;
		}
		check(low >= 100 && high <= 10000 && high >= low * 3 / 2, "how long to wait");
		check(high >= longest, "longer each time");
		longest = high;
	}
	check(longest > 9000, "10 s in the end");
	check(retry_ms(~0U, ~0ULL) <= 10000, "after many tries");
	check(bucket_wait_ms(1000, 500) == 500 && !bucket_wait_ms(0, 500), "the rate");
	check(bucket_wait_ms(1, UINT64_MAX / 1000) == UINT64_MAX / 1000 * 1000, "a large debt");
}

static void make_footer(unsigned char *footer, uint64_t size, unsigned int type)
{
	uint32_t sum = 0;

	memset(footer, 0, 512);
	memcpy(footer, "conectix", 8);
	footer[13] = 1;
	footer[63] = type;
	for (int i = 0; i < 8; i++)
		footer[55 - i] = size >> 8 * i;
	for (int i = 0; i < 512; i++)
		sum += footer[i];
	sum = ~sum;
	for (int i = 0; i < 4; i++)
		footer[67 - i] = sum >> 8 * i;
}

static void test_vhd1(void)
{
	unsigned char footer[512];
	uint64_t length = 0;

	make_footer(footer, 1 << 20, 2);
	check(!vhd1_footer(footer, (1 << 20) + 512, &length) && length == 1 << 20, "a fixed VHD");
	check(vhd1_footer(footer, 1 << 20, &length), "a VHD that is cut short");
	for (int i = 0; i < 512; i++) {
		footer[i] ^= 4;
		check(vhd1_footer(footer, (1 << 20) + 512, &length), "a VHD with a wrong byte");
		footer[i] ^= 4;
	}
	make_footer(footer, 1 << 20, 3);
	check(vhd1_footer(footer, (1 << 20) + 512, &length), "a dynamic VHD");
	make_footer(footer, 1000, 2);
	check(vhd1_footer(footer, 1 << 20, &length), "a VHD of half a sector");
	make_footer(footer, 0, 2);
	check(vhd1_footer(footer, 1 << 20, &length), "a VHD of nothing");
}

static void test_trace(void)
{
	uint64_t offset, len;

	check(parse_trace_line("65536 4096\n", &offset, &len) && offset == 65536 && len == 4096, "a line of a trace");
	check(!parse_trace_line("65536 0\n", &offset, &len) && !parse_trace_line("1 512\n", &offset, &len) &&
	      !parse_trace_line("512 1\n", &offset, &len) && !parse_trace_line("512\n", &offset, &len) &&
	      !parse_trace_line("512 512 x\n", &offset, &len) && !parse_trace_line("", &offset, &len) &&
	      !parse_trace_line("18446744073709551104 1024\n", &offset, &len), "lines that are none");
}

static void test_creds(void)
{
	static const struct { const char *text; bool good; const char *user, *bearer, *query, *token; } table[] = {
		{ "?sv=1&sig=a%2b\n", true, NULL, NULL, "sv=1&sig=a%2b", NULL },
		{ "{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"B\",\"SessionToken\":\"C\"}", true, "A:B", NULL, NULL, "C" },
		{ "{\"access_token\":\"T\"}", true, NULL, "T", NULL, NULL },
		{ "{\"accessToken\":\"T\\r\\nX: y\"}", false, NULL, NULL, NULL, NULL },
		{ "{\"AccessKeyId\":\"A\"}", false, NULL, NULL, NULL, NULL },
		{ "{\"SessionToken\":\"C\"}", false, NULL, NULL, NULL, NULL },
		{ "{\"AccessKeyId\":1,\"SecretAccessKey\":2}", false, NULL, NULL, NULL, NULL },
		{ "{", false, NULL, NULL, NULL, NULL }, { "", false, NULL, NULL, NULL, NULL },
		{ "\n", false, NULL, NULL, NULL, NULL }, { "two words", false, NULL, NULL, NULL, NULL },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct creds c;
		const char *why;
		bool good = creds_take(table[i].text, strlen(table[i].text), &c, &why);

		check(good == table[i].good && !strcmp(c.user ?: "", table[i].user ?: "") &&
		      !strcmp(c.bearer ?: "", table[i].bearer ?: "") && !strcmp(c.query ?: "", table[i].query ?: "") &&
		      !strcmp(c.token ?: "", table[i].token ?: ""), table[i].text);
		creds_drop(&c);
	}
}

/* Whatever a server says: no crash. For the sanitizers, and for what is accepted by chance. */
static void test_chance(void)
{
	static const char letters[] = "bytes 0123456789-/*KMGT{}\":W,\r\n\033\377";
	struct creds c;
	const char *why;
	uint64_t a, b, d;
	char text[64];
	int status;

	srandom(1);
	for (int i = 0; i < 200000; i++) {
		size_t len = random() % sizeof(text);

		for (size_t k = 0; k < len; k++)
			text[k] = letters[random() % (sizeof(letters) - 1)];
		text[len ? len - 1 : 0] = 0;
		if (i % 2)
			memcpy(text, "bytes ", 6);
		if (parse_content_range(text, &a, &b, &d))
			check(a <= b && b < d, "a range by chance");
		parse_status_line(text, &status);
		parse_trace_line(text, &a, &b);
		parse_size(text, &a);
		parse_time(text, &a);
		creds_take(text, strlen(text), &c, &why);
		creds_drop(&c);
	}
}

int main(void)
{
	test_numbers();
	test_ranges();
	test_headers();
	test_urls();
	test_response();
	test_retries();
	test_vhd1();
	test_trace();
	test_creds();
	test_chance();
	return nr_failed ? 1 : 0;
}
