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

static void open_prefetch(void)
{
	char line[FETCHD_TEXT * 2], want[FETCHD_TEXT * 2];

	prefetch = fopen(opt.prefetch, "re");
	if (!prefetch || !fgets(line, sizeof(line), prefetch)) {
		/* The first boot has none. */
		if (prefetch || errno != ENOENT)
			say(LOG_WARNING, "%s: no trace: %s", opt.prefetch, prefetch ? "empty" : strerror(errno));
	} else if (strncmp(line, TRACE_MAGIC, strlen(TRACE_MAGIC))) {
		say(LOG_WARNING, "%s: no trace", opt.prefetch);
	} else {
		snprintf(want, sizeof(want), TRACE_MAGIC "%s %s\n", opt.name, origin.identity);
		if (!strcmp(line, want))
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

/* After the origin was checked. The trace to replay is opened first: it may be the same file. */
void trace_open(void)
{
	uint64_t units = (origin.length + opt.unit - 1) / opt.unit;

	if (opt.prefetch)
		open_prefetch();
	if (!opt.trace)
		return;
	/* A new file, so that one that is being replayed stays as it is. */
	if (!unlink(opt.trace) || errno == ENOENT)
		trace = fopen(opt.trace, "wxe");
	seen = trace ? calloc(units / 8 + 1, 1) : NULL;
	if (seen)
		fprintf(trace, TRACE_MAGIC "%s %s\n", opt.name, origin.identity);
	else
		cannot(strerror(errno));
}

static bool first_time(uint64_t unit)
{
	if (seen[unit / 8] & 1 << unit % 8)
		return false;
	seen[unit / 8] |= 1 << unit % 8;
	return true;
}

/* Hydration reads everything, in its own order: that says nothing. */
void trace_request(const struct vdisk_request *request)
{
	uint64_t end = request->offset + request->len;
	bool fresh = false;

	if (!trace || request->priority == VDISK_PRIO_IDLE || end > origin.length)
		return;
	for (uint64_t unit = request->offset / opt.unit; unit * opt.unit < end; unit++)
		fresh |= first_time(unit);
	if (fresh)
		fprintf(trace, "%" PRIu64 " %u\n", (uint64_t)request->offset, request->len);
}

void trace_flush(void)
{
	if (trace && fflush(trace))
		cannot(strerror(errno));
}

/* What to fetch next, if anything. */
bool prefetch_next(uint64_t *offset, uint32_t *len)
{
	char line[64];

	while (prefetch && !prefetch_len) {
		if (!fgets(line, sizeof(line), prefetch)) {
			fclose(prefetch);
			prefetch = NULL;
		} else if (!parse_trace_line(line, &prefetch_offset, &prefetch_len) ||
			   prefetch_offset + prefetch_len > device_length) {
			prefetch_len = 0;
		}
	}
	if (!prefetch_len)
		return false;
	*offset = prefetch_offset;
	*len = prefetch_len < opt.max_request ? prefetch_len : opt.max_request;
	prefetch_offset += *len;
	prefetch_len -= *len;
	return true;
}
