/* SPDX-License-Identifier: GPL-2.0-only */
/* /etc/vdisktab: see tab.c and vdisktab(5). */
#ifndef VDISK_TOOL_TAB_H
#define VDISK_TOOL_TAB_H

#include "stack.h"

#define TAB_PATH	(getenv("VDISKTAB") ?: "/etc/vdisktab")

struct tab_disk {
	unsigned int line;
	char *name, *options, *stack, *len;	/* as they are written; len: NULL if it is not */
	bool noauto, nofail, netdev, create, readonly, scan;
	/* What the stack lies on */
	struct words files, devices, blobs;
};

struct tab {
	const char *path;
	struct tab_disk *disk;
	unsigned int nr;
	unsigned int wrong;	/* lines */
};

int tab_read(struct tab *tab, const char *path, void (*say)(void *arg, unsigned int line, const char *text), void *arg);
const struct tab_disk *tab_find(const struct tab *tab, const char *name);
const struct tab_disk *tab_find_device(const struct tab *tab, const char *path);
void tab_free(struct tab *tab);

#endif /* VDISK_TOOL_TAB_H */
