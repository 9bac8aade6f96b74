// SPDX-License-Identifier: GPL-2.0-only
/*
 * The order in which the disk was read for the first time, written down, and
 * read again the next time. A trace is a hint: nothing depends on what it says.
 *
 *	vdisk-trace 1 NAME IDENTITY
 *	OFFSET LENGTH
 *	...
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "fetchd.h"

#define TRACE_MAGIC	"vdisk-trace 1 "

static FILE *trace, *prefetch;
static unsigned char *seen;	/* a bit a unit */
static uint64_t prefetch_offset, prefetch_len;

/* Is this the first line of a trace of this version of the origin? */
static bool is_ours(const char *line)
{
	char want[FETCHD_TEXT * 2];

	snprintf(want, sizeof(want), TRACE_MAGIC "%s %s\n", opt.name, origin.identity);
	return !strcmp(line, want);
}

static void open_prefetch(void)
{
	char line[FETCHD_TEXT * 2];

	prefetch = fopen(opt.prefetch, "re");
	if (!prefetch || !fgets(line, sizeof(line), prefetch)) {
		/* The first boot has none. */
		if (prefetch || errno != ENOENT)
			say(LOG_WARNING, "%s: no trace: %s", opt.prefetch, prefetch ? "empty" : strerror(errno));
	} else if (strncmp(line, TRACE_MAGIC, strlen(TRACE_MAGIC))) {
		say(LOG_WARNING, "%s: no trace", opt.prefetch);
	} else {
		if (is_ours(line))
			return;
		say(LOG_WARNING, "%s: the trace of another origin, or of another version of it", opt.prefetch);
	}
	if (prefetch)
		fclose(prefetch);
	prefetch = NULL;
}

/* A trace that cannot be written ends; the disk does not. */
static void cannot(const char *why)
{
	say(LOG_WARNING, "--trace %s: %s; going on without: name a file in a directory that this user may write",
	    opt.trace, why);
	if (trace)
		fclose(trace);
	trace = NULL;
}

/* Has any of it not been read before? With @mark, from now on it has. */
static bool unread(uint64_t offset, uint64_t len, bool mark)
{
	bool fresh = false;

	for (uint64_t unit = offset / opt.unit; unit * opt.unit < offset + len; unit++) {
		fresh |= !(seen[unit / 8] & 1 << unit % 8);
		if (mark)
			seen[unit / 8] |= 1 << unit % 8;
	}
	return fresh;
}

/* The trace that a predecessor began goes on; it may have been killed in the middle of a line. */
static void go_on(void)
{
	char line[FETCHD_TEXT * 2];
	uint64_t offset, len;
	bool whole = true;

	trace = fopen(opt.trace, "r+e");
	if (trace && fgets(line, sizeof(line), trace) && is_ours(line)) {
		while (fgets(line, sizeof(line), trace)) {
			whole = strchr(line, '\n');
			if (parse_trace_line(line, &offset, &len) && offset + len <= origin.length)
				unread(offset, len, true);
		}
		fseek(trace, 0, SEEK_END);
		if (!whole)
			fputc('\n', trace);
		return;
	}
	if (trace)
		fclose(trace);
	trace = NULL;
}

/* After the origin was checked. The trace to replay is opened first: it may be the same file. */
void trace_open(void)
{
	uint64_t units = (origin.length + opt.unit - 1) / opt.unit;

	if (opt.prefetch)
		open_prefetch();
	if (!opt.trace)
		return;
	seen = calloc(units / 8 + 1, 1);
	/* A predecessor's table is still there: this is the same run. */
	if (seen && device_attached)
		go_on();
	if (trace)
		return;
	/* A new file, so that one that is being replayed stays as it is. */
	if (seen && (!unlink(opt.trace) || errno == ENOENT))
		trace = fopen(opt.trace, "wxe");
	if (trace)
		fprintf(trace, TRACE_MAGIC "%s %s\n", opt.name, origin.identity);
	else
		cannot(strerror(errno));
}

/* Hydration reads everything, in its own order: that says nothing. */
void trace_request(const struct vdisk_request *request)
{
	uint64_t end = request->offset + request->len;

	if (!trace || request->priority == VDISK_PRIO_IDLE || end > origin.length)
		return;
	if (unread(request->offset, request->len, true))
		fprintf(trace, "%" PRIu64 " %u\n", (uint64_t)request->offset, request->len);
}

void trace_flush(void)
{
	if (trace && fflush(trace))
		cannot(strerror(errno));
}

/* What to fetch next, if anything: what was read already is kept above us, or will be asked for again. */
bool prefetch_next(struct vdisk_request *req)
{
	char line[64];

	while (prefetch && !prefetch_len) {
		if (!fgets(line, sizeof(line), prefetch)) {
			fclose(prefetch);
			prefetch = NULL;
		} else if (!parse_trace_line(line, &prefetch_offset, &prefetch_len) ||
			   prefetch_offset + prefetch_len > device_length ||
			   (trace && !unread(prefetch_offset, prefetch_len, false))) {
			prefetch_len = 0;
		}
	}
	if (!prefetch_len)
		return false;
	req->offset = prefetch_offset;
	req->len = prefetch_len < opt.max_request ? prefetch_len : opt.max_request;
	prefetch_offset += req->len;
	prefetch_len -= req->len;
	return true;
}
