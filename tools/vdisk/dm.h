/* SPDX-License-Identifier: GPL-2.0-only */
/* Device-mapper, and what the kernel says in its log. See dm.c. */
#ifndef VDISK_TOOL_DM_H
#define VDISK_TOOL_DM_H

#include <libdevmapper.h>

#define DISK_UUID	"VDISK-"
#define DISK_UUID_SCAN	"VDISK-SCAN-"	/* the host may look into it */

/* A mapped device of one vdisk target, or one without a table. */
struct disk {
	struct dm_info info;
	char name[129];	/* as the kernel has it, which /dev/mapper/NAME is not */
	char uuid[129];
	__u64 sectors;
	char *params;	/* NULL: there is no table */
};

void disk_log_off(void);
bool disk_module_version(char *version, int size);
int disk_lock(const char *name);
void disk_unlock(void);
int disk_get(struct disk *disk, const char *name, bool table);
int disk_get_loaded(struct disk *disk, const char *name);
void disk_put(struct disk *disk);
struct dm_names *disk_names(struct dm_task **task);
int disk_make(const char *name, const char *uuid);
int disk_load(const char *name, const char *uuid, __u64 sectors, const char *params, bool read_only);
int disk_clear(const char *name, const char *uuid);
int disk_suspend(const char *name, const char *uuid);
int disk_resume(const char *name, const char *uuid, bool scan);
int disk_go_on(const struct disk *disk);
int disk_check_node(const char *name);
bool disk_is(const char *name, const char *uuid);
int disk_remove(const char *name, const char *uuid);
int disk_message(const char *name, const char *text, char **answer);
bool disk_scans(const struct disk *disk);
int disk_replace(const char *name, const struct disk *old, __u64 sectors, const char *params);

#endif /* VDISK_TOOL_DM_H */
