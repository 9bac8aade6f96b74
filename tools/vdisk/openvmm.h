/* SPDX-License-Identifier: GPL-2.0-only */
/* What OpenVMM's --disk takes: see openvmm.c. */
#ifndef VDISK_TOOL_OPENVMM_H
#define VDISK_TOOL_OPENVMM_H

#include "stack.h"

struct openvmm {
	const char *name;	/* of the disk */
	bool later;		/* the disk is made later, when files are there */
	/* Besides the stack */
	bool readonly;
	struct words create;	/* the paths of stores that may be made; words_free() them */
	__u64 len;		/* sectors; 0: not said */
	/* While it is translated */
	bool below;		/* in a base, which is only read */
	unsigned int block;	/* of the device it lies on */
};

int words_openvmm(struct words *words, struct openvmm *o);

#endif /* VDISK_TOOL_OPENVMM_H */
