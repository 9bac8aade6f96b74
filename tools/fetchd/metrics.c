// SPDX-License-Identifier: GPL-2.0-only
/*
 * Numbers in the text form of Prometheus: a file, as node_exporter's textfile
 * collector reads it, or a unix socket that speaks as much HTTP as it takes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "fetchd.h"

#define METRICS_MS	5000	/* how often the file is written */

struct counters counters;

static bool to_file;
static int listener = -1;
static int clients[FETCHD_MAX_CLIENTS] = { -1, -1, -1, -1 };
static const char *path;

static const struct {
	const char *name, *type, *help;
	const uint64_t *value;
} table[] = {
	{ "requests_total", "counter", "Requests of the kernel", &counters.requests },
	{ "request_bytes_total", "counter", "Bytes of them", &counters.request_bytes },
	{ "answered_bytes_total", "counter", "Bytes answered", &counters.answered_bytes },
	{ "failed_total", "counter", "Requests answered with an error", &counters.failed },
	{ "late_total", "counter", "Answers that came too late", &counters.late },
	{ "origin_tries_total", "counter", "Ranges asked of the origin", &counters.tries },
	{ "origin_bytes_total", "counter", "Bytes from the origin", &counters.fetched_bytes },
	{ "origin_retries_total", "counter", "Ranges asked again", &counters.retries },
	{ "origin_wrong_total", "counter", "Answers of the origin that were refused", &counters.wrong },
	{ "origin_changed_total", "counter", "Answers of another version of the object", &counters.changed },
	{ "credentials_read_total", "counter", "Times that credentials were read", &counters.reloads },
	{ "prefetched_bytes_total", "counter", "Bytes fetched for --prefetch", &counters.prefetched_bytes },
	{ "prefetch_hit_bytes_total", "counter", "Bytes of them that were asked for", &counters.prefetch_hit_bytes },
};

static void print_one(FILE *to, const char *name, const char *type, const char *help, uint64_t value)
{
	fprintf(to, "# HELP vdisk_fetchd_%s %s.\n# TYPE vdisk_fetchd_%s %s\n", name, help, name, type);
	fprintf(to, "vdisk_fetchd_%s{blob=\"%s\"} %" PRIu64 "\n", name, opt.name, value);
}

static void print(FILE *to)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		print_one(to, table[i].name, table[i].type, table[i].help, *table[i].value);
	print_one(to, "attached", "gauge", "Whether the blob is served", device_attached);
	print_one(to, "origin_changed", "gauge", "Whether the origin is another one than at start", origin.changed);
	print_one(to, "length_bytes", "gauge", "Bytes of the disk", origin.length);
}

/* Without them the disk is served all the same. */
static void cannot(const char *why)
{
	say(LOG_WARNING, "--metrics %s: %s; going on without: name a file in a directory that this user may write",
	    opt.metrics, why);
}

void metrics_open(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (!opt.metrics)
		return;
	to_file = strncmp(opt.metrics, "unix:", 5);
	if (to_file)
		return;
	path = opt.metrics + 5;
	if (!*path || strlen(path) >= sizeof(address.sun_path)) {
		cannot("too long for a socket, or empty");
		return;
	}
	memcpy(address.sun_path, path, strlen(path));
	unlink(path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener >= 0 && !bind(listener, (struct sockaddr *)&address, sizeof(address)) && !listen(listener, 4))
		return;
	cannot(strerror(errno));
	if (listener >= 0)
		close(listener);
	listener = -1;
}

static void write_file(void)
{
	static bool said;
	char name[4096];
	FILE *file;
	bool good;

	snprintf(name, sizeof(name), "%s.new", opt.metrics);
	file = fopen(name, "we");
	good = file;
	if (file) {
		print(file);
		good = !ferror(file);
		good = !fclose(file) && good && !rename(name, opt.metrics);
	}
	if (!good && !said)
		cannot(strerror(errno));
	said = !good;
}

/* Whatever was asked: this is the answer. It fits into the socket's buffer. */
static void answer(int client)
{
	char request[4096], *text = NULL;
	size_t len = 0;
	FILE *memory;

	if (read(client, request, sizeof(request)) <= 0)
		return;
	memory = open_memstream(&text, &len);
	if (!memory)
		return;
	fputs("HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n", memory);
	print(memory);
	if (!fclose(memory))
		(void)!send(client, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	free(text);
}

unsigned int metrics_fds(struct curl_waitfd *fds)
{
	unsigned int nr = 0;

	if (listener < 0)
		return 0;
	for (unsigned int i = 0; i < FETCHD_MAX_CLIENTS; i++)
		if (clients[i] >= 0)
			fds[nr++] = (struct curl_waitfd){ .fd = clients[i], .events = CURL_WAIT_POLLIN };
	fds[nr++] = (struct curl_waitfd){ .fd = listener, .events = CURL_WAIT_POLLIN };
	return nr;
}

/* The one that has said nothing for longest makes room. */
static void accept_client(void)
{
	if (clients[0] >= 0)
		close(clients[0]);
	memmove(clients, clients + 1, sizeof(clients) - sizeof(clients[0]));
	clients[FETCHD_MAX_CLIENTS - 1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/* In each turn of the loop, with what metrics_fds() gave. */
void metrics_step(const struct curl_waitfd *fds, unsigned int nr)
{
	static uint64_t last;
	uint64_t now = now_ms();

	for (unsigned int i = 0; i < nr; i++) {
		if (!fds[i].revents)
			continue;
		if (fds[i].fd == listener)
			accept_client();
		for (unsigned int c = 0; c < FETCHD_MAX_CLIENTS; c++) {
			if (fds[i].fd != clients[c])
				continue;
			answer(clients[c]);
			close(clients[c]);
			clients[c] = -1;
		}
	}
	if (to_file && (!last || now - last >= METRICS_MS)) {
		write_file();
		last = now;
	}
}

void metrics_close(void)
{
	if (listener >= 0)
		unlink(path);
	else if (to_file)
		write_file();
}
