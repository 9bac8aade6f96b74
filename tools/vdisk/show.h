/* SPDX-License-Identifier: GPL-2.0-only */
/* A disk's status, as a tree. See show.c. */
#ifndef VDISK_TOOL_SHOW_H
#define VDISK_TOOL_SHOW_H

#include "dm.h"
#include "stack.h"

#define MAX_COUNTERS	48

/* A node of a status: a table line's words, with counters among them. */
struct seen {
	const char *type;
	char path[256];		/* as messages name it: overlay/0/file */
	const char *label;
	int parent, depth, index, nr_children;
	const char *option[VDISK_MAX_ARGS];
	int nr_options;
	const char *counter[MAX_COUNTERS];	/* key=value */
	int nr_counters;
};

struct seen_disk {
	struct words words;
	struct seen node[VDISK_MAX_NODES];
	int nr;
};

int seen_get(struct seen_disk *s, struct disk *disk, const char *name);
int seen_get_loaded(struct seen_disk *s, struct disk *disk, const char *name);
const char *seen_counter(const struct seen *n, const char *key);
__u64 seen_count(const struct seen *n, const char *key);
const struct seen *seen_child(const struct seen_disk *s, int parent, int index);

#endif /* VDISK_TOOL_SHOW_H */
