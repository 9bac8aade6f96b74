/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is being written through a cache, to its base and its store.
 */
#ifndef VDISK_THROUGH_H
#define VDISK_THROUGH_H

#include <linux/rbtree.h>
#include <linux/types.h>

#include "vdisk-presence.h"

struct vdisk_through;

/**
 * struct vdisk_through_range - units that are being written
 * @rb: the tree's
 * @first: unit
 * @last: unit
 * @subtree_last: the tree's
 * @spoilt: another one was under way at the same time
 */
struct vdisk_through_range {
	struct rb_node rb;
	u64 first;
	u64 last;
	u64 subtree_last;
	bool spoilt;
};

struct vdisk_through *vdisk_through_create(void);
void vdisk_through_destroy(struct vdisk_through *t);
void vdisk_through_open(struct vdisk_through *t);
bool vdisk_through_close(struct vdisk_through *t, bool now);
bool vdisk_through_is_open(const struct vdisk_through *t);
bool vdisk_through_begin(struct vdisk_through *t,
			 struct vdisk_through_range *range, u64 unit, u64 nr);
void vdisk_through_end(struct vdisk_through *t,
		       struct vdisk_through_range *range,
		       struct vdisk_presence *held, bool kept);
void vdisk_through_cancel(struct vdisk_through *t,
			  struct vdisk_through_range *range);
bool vdisk_through_is_spoilt(const struct vdisk_through_range *range);
bool vdisk_through_is_busy(struct vdisk_through *t, u64 unit, u64 nr);

#endif /* VDISK_THROUGH_H */
