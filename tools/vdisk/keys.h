/* SPDX-License-Identifier: GPL-2.0-only */
/* Keys of disks in the kernel's keyrings. See keys.c. */
#ifndef VDISK_TOOL_KEYS_H
#define VDISK_TOOL_KEYS_H

#include <stdbool.h>

#define MAX_KEYS	16	/* of a disk: vdisk:NAME, vdisk:NAME:1, and so on */

int keys_size(const char *path);
int keys_load(const char *path, const char *description);
bool keys_exist(const char *description);
void keys_drop(const char *description);
void keys_drop_all(const char *name, const char *params, const char *kept);
int keys_reach(const char *line);

#endif /* VDISK_TOOL_KEYS_H */
