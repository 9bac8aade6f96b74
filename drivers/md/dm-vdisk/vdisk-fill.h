/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fills: what a read of a cache, or of an overlay with copy_on_read, finds
 * absent is read from the base in whole blocks, and kept in the store.
 */
#ifndef VDISK_FILL_H
#define VDISK_FILL_H

#include "vdisk.h"
#include "vdisk-presence.h"

struct vdisk_fills;

/* A discard's punch or a fill's write to the store that may be under way. */
struct vdisk_punch {
	struct list_head list;
	u64 unit;
	u64 nr;
};

/**
 * struct vdisk_fill_ops - what fills need of their node
 * @load: read the presence of units; process context, on @wq, sleeps
 * @list: from now on, first writes to @punch wait; false if one is under way that
 *	the presence does not know of; any context
 * @unlist: and go on
 * @full: no more states may change now; any context
 * @filled: units have become data; any context
 * @failed: the store has failed; any context
 * @hydrated: hydration is over; true if the store has all that the base has;
 *	process context, on @wq
 */
struct vdisk_fill_ops {
	blk_status_t (*load)(struct vdisk_node *n, u64 unit, u64 nr);
	bool (*list)(struct vdisk_node *n, struct vdisk_punch *punch, u64 unit,
		     u64 nr);
	void (*unlist)(struct vdisk_node *n, struct vdisk_punch *punch);
	bool (*full)(struct vdisk_node *n);
	void (*filled)(struct vdisk_node *n);
	void (*failed)(struct vdisk_node *n, blk_status_t status);
	void (*hydrated)(struct vdisk_node *n, bool all);
};

struct vdisk_fills *vdisk_fills_create(struct vdisk_node *n,
				       const struct vdisk_fill_ops *ops,
				       struct vdisk_presence *p,
				       struct workqueue_struct *wq,
				       sector_t block, sector_t ahead);
int vdisk_fills_pools(struct vdisk_fills *f);
void vdisk_fills_destroy(struct vdisk_fills *f);
void vdisk_fills_start(struct vdisk_fills *f, sector_t data);
void vdisk_fills_stop(struct vdisk_fills *f);
bool vdisk_fills_stopped(const struct vdisk_fills *f);
void vdisk_fills_drain(struct vdisk_fills *f);
void vdisk_fills_abort(struct vdisk_fills *f,
		       bool (*which)(struct vdisk_io *io), blk_status_t status);
void vdisk_fills_spoil(struct vdisk_fills *f, sector_t sector, sector_t nr);
void vdisk_fills_status(struct vdisk_fills *f, struct vdisk_out *out);
sector_t vdisk_fill_cut(struct vdisk_fills *f, sector_t sector, sector_t nr);
void vdisk_fill_look(struct vdisk_fills *f, sector_t sector);
bool vdisk_fill_read(struct vdisk_fills *f, struct vdisk_io *io,
		     struct vdisk_wait *wait, void (*fn)(struct vdisk_io *io));
bool vdisk_fill_again(struct vdisk_fills *f, struct vdisk_io *io,
		      struct vdisk_wait *wait);
int vdisk_fill_absent(struct vdisk_fills *f, sector_t sector, bool idle,
		      void (*ended)(void *data, blk_status_t outcome), void *data);

struct vdisk_hydrate *vdisk_hydrate_create(struct vdisk_node *n,
					   struct vdisk_fills *f,
					   const struct vdisk_fill_ops *ops,
					   struct vdisk_presence *p,
					   struct workqueue_struct *wq);
void vdisk_hydrate_start(struct vdisk_hydrate *h, u64 rate, bool idle);
void vdisk_hydrate_stop(struct vdisk_hydrate *h);
void vdisk_hydrate_drain(struct vdisk_hydrate *h);
sector_t vdisk_hydrate_at(const struct vdisk_hydrate *h);
void vdisk_hydrate_destroy(struct vdisk_hydrate *h);

#endif /* VDISK_FILL_H */
