/* SPDX-License-Identifier: GPL-2.0-only */
/* Blobs of URLs, and vdisk-fetchd, which supplies them. See helper.c. */
#ifndef VDISK_TOOL_HELPER_H
#define VDISK_TOOL_HELPER_H

#include <sys/types.h>

#include "stack.h"

#define MAX_HELPERS	16

struct helper {
	const char *disk;
	char *blob;		/* what it attaches to */
	char *url, *shown;	/* shown: what others may see of it */
	bool vhd;
	pid_t pid;		/* of who was started without systemd */
};

struct helpers {
	struct helper helper[MAX_HELPERS];
	unsigned int nr;
};

char *url_shown(const char *url);
bool helper_has_unit(void);
int helpers_take(struct helpers *h, const char *disk, struct words *words);
void helpers_free(struct helpers *h);
int helper_start(struct helper *h);
int helper_check(struct helper *h);
void helper_stop(struct helper *h);
void helpers_drop_all(const char *disk, const char *kept);
char *helper_config(const struct helper *h, const char *url, const char *more);
char *helper_config_path(const char *blob);

#endif /* VDISK_TOOL_HELPER_H */
