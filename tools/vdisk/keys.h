/* SPDX-License-Identifier: GPL-2.0-only */
/* Keys of disks in the kernel's keyrings. See keys.c. */
#ifndef VDISK_TOOL_KEYS_H
#define VDISK_TOOL_KEYS_H

#include <stdbool.h>

int keys_size(const char *path);
int keys_load(const char *path, const char *description);
bool keys_exist(const char *description);
void keys_drop(const char *description);
void keys_drop_all(const char *name, const char *params, const char *kept);
void keys_reach(void);

#endif /* VDISK_TOOL_KEYS_H */
