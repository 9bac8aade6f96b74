/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a program of the tests ends, with status 2, when what it needs in order to
 * test anything cannot be had: its own name, what that was, and errno's words.
 */
#ifndef MUST_H
#define MUST_H

#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

static inline _Noreturn void die(const char *what)
{
	err(2, "%s", what);
}

static inline void must(bool ok, const char *what)
{
	if (!ok)
		die(what);
}

/* Memory that O_DIRECT takes */
static inline void *aligned(size_t len)
{
	void *buf;

	errno = posix_memalign(&buf, 4096, len);
	must(!errno, "memory");
	return buf;
}

#endif
