/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Merge: what an overlay's store has goes into its base.
 */
#ifndef VDISK_MERGE_H
#define VDISK_MERGE_H

#include "vdisk.h"

struct vdisk_merge;
struct vdisk_overlay;
struct vdisk_overlay_io;

struct vdisk_merge *vdisk_merge_create(struct vdisk_overlay *o);
int vdisk_merge_give(struct vdisk_merge *m);
void vdisk_merge_destroy(struct vdisk_merge *m);
void vdisk_merge_changed(struct vdisk_merge *m, sector_t sector, sector_t nr);
bool vdisk_merge_throttle(struct vdisk_merge *m, struct vdisk_overlay_io *st,
			  struct vdisk_io *io);
void vdisk_merge_abort(struct vdisk_merge *m, bool (*which)(struct vdisk_io *io),
		       blk_status_t status);
void vdisk_merge_presuspend(struct vdisk_merge *m);
void vdisk_merge_postsuspend(struct vdisk_merge *m);
void vdisk_merge_resume(struct vdisk_merge *m);
void vdisk_merge_status(const struct vdisk_merge *m, struct vdisk_out *out);
int vdisk_merge_message(struct vdisk_merge *m, unsigned int argc, char **argv);

#endif /* VDISK_MERGE_H */
