/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * overlay and cache: what the node's life, vdisk-overlay.c, and its bios,
 * vdisk-overlay-io.c, have in common.
 */
#ifndef VDISK_OVERLAY_H
#define VDISK_OVERLAY_H

#include <crypto/sha2.h>

#include "vdisk.h"
#include "vdisk-fill.h"
#include "vdisk-merge.h"
#include "vdisk-meta.h"
#include "vdisk-presence.h"
#include "vdisk-through.h"

enum { OVERLAY_STORE, OVERLAY_BASE };

/* A discard of so many leaves is the longest: some ms. */
#define VDISK_ZERO_LEAVES	4096

enum vdisk_hydrate_state {
	VDISK_HYDRATE_OFF,
	VDISK_HYDRATE_ON,
	VDISK_HYDRATE_DONE,
	VDISK_HYDRATE_FAILED,
};

enum vdisk_merge_state {
	VDISK_MERGE_OFF,
	VDISK_MERGE_ON,
	VDISK_MERGE_READY,	/* a suspend can copy what is left; what changes is copied */
	VDISK_MERGE_DONE,
	VDISK_MERGE_FAILED,
};

/**
 * struct vdisk_layer - what goes from table to table
 * @presence: of the store
 * @store: digest of the store's line and objects; set when a table goes live
 * @live: it was set
 * @through: what it has is in the base as well; likewise
 * @known: @sb was read
 * @failed: a commit failed; of a cache: the store did
 * @merged: the store may say that it was merged, but the disk goes on to be in it
 * @merging: a merge is on, and goes on with the next table
 * @merge_rate: of it
 * @hydrate: what became of the last message that asked for it
 * @rate: of the hydration
 * @urgent: the hydration, as other I/O is
 * @sb: the store's superblock
 */
struct vdisk_layer {
	struct vdisk_presence presence;
	u8 store[SHA256_DIGEST_SIZE];
	bool live;
	bool through;
	bool known;
	bool failed;
	bool merged;
	bool merging;
	u64 merge_rate;
	enum vdisk_hydrate_state hydrate;
	u64 rate;
	bool urgent;
	struct vdisk_store_sb sb;
};

/**
 * struct vdisk_overlay - the node
 * @n: back
 * @layer: what goes to the next table
 * @presence: in @layer
 * @cache: it is one
 * @through: of a cache with write_through; else NULL
 * @fills: of a cache, or with copy_on_read; else NULL
 * @hydrate: with @fills
 * @merge: with the option merge; else NULL
 * @hole: a child that is not in the line and reads as zeroes
 * @missing: another one, for reads of a leaf that is not in memory
 * @kept: of a cache, another one: its store, for reads that know the way back
 * @shift: a unit is 1 << @shift sectors
 * @punches: the store takes discards
 * @data: where the disk begins in the store
 * @end: what is behind it reads as zeroes
 * @store: digest of the store
 * @meta: of the store; NULL if volatile
 * @claim: in vdisk_claims while the table is live
 * @wq: loads and commits, which wait for I/O of @n's own: not on the stack's,
 *	whose work that I/O may need
 * @commit: commits
 * @shrinker: of @presence
 * @stopping: a suspend waits; punches may be left for later
 * @lock: guards what follows; taken with interrupts off, presence's inside it
 * @punching: vdisk_punch.list, of fills that are stored as well
 * @waiting: writes that wait for one of them, vdisk_overlay_io.list
 * @flushes: ios that wait for a commit, vdisk_overlay_io.list
 * @throttled: writes and discards that wait for one, because too much is dirty
 * @proved: nothing is absent; the next commit makes that known
 */
struct vdisk_overlay {
	struct vdisk_node *n;
	struct vdisk_layer *layer;
	struct vdisk_presence *presence;
	bool cache;
	struct vdisk_through *through;
	struct vdisk_fills *fills;
	struct vdisk_hydrate *hydrate;
	struct vdisk_merge *merge;
	struct vdisk_node *hole;
	struct vdisk_node *missing;
	struct vdisk_node *kept;
	unsigned int shift;
	bool punches;
	sector_t data;
	sector_t end;
	u8 store[SHA256_DIGEST_SIZE];
	struct vdisk_meta *meta;
	struct list_head claim;
	struct workqueue_struct *wq;
	struct delayed_work commit;
	struct shrinker *shrinker;
	bool stopping;
	spinlock_t lock;	/* guards what follows */
	struct list_head punching;
	struct list_head waiting;
	struct list_head flushes;
	struct list_head throttled;
	bool proved;
};

/**
 * struct vdisk_overlay_io - per bio
 * @list: in one of the lists
 * @io: the io
 * @punch: volatile: of a discard
 * @iter: a cache's read, or a write while it is merged: of its bio, on its way down
 * @flags: likewise
 * @status: a cache's read: why the store could not be read
 * @kept: a cache's read: it goes to the store
 * @unit: first unit of a write that holds leaves
 * @nr: units; 0 if it holds nothing
 * @fua: a write is to be durable, and its units' states with it
 * @wait: for the bio of a punch, or for a fill
 */
struct vdisk_overlay_io {
	struct list_head list;
	struct vdisk_io *io;
	union {
		struct vdisk_punch punch;
		struct bvec_iter iter;
	};
	u64 unit;
	u64 nr;
	unsigned short flags;
	blk_status_t status;
	bool fua;
	bool kept;
	struct vdisk_wait wait;
};

/**
 * struct vdisk_through_io - per bio, with write_through
 * @st: a write's @kept: it is on its way to the store
 * @range: its units
 * @begun: @range is under way
 */
struct vdisk_through_io {
	struct vdisk_overlay_io st;
	struct vdisk_through_range range;
	bool begun;
};

/* A cache whose store has failed is its base. */
static inline bool vdisk_cache_is_off(const struct vdisk_overlay *o)
{
	return o->cache && READ_ONCE(o->layer->failed);
}

/* vdisk-overlay.c */
void vdisk_overlay_fail(struct vdisk_overlay *o, blk_status_t status);
bool vdisk_overlay_is_whole(const struct vdisk_overlay *o);

/* vdisk-overlay-io.c */
extern const struct vdisk_ops vdisk_missing_ops, vdisk_kept_ops;
extern const struct vdisk_fill_ops vdisk_overlay_fill_ops;
struct vdisk_node *vdisk_overlay_route(struct vdisk_node *n,
				       struct vdisk_run *run);
bool vdisk_overlay_ready(struct vdisk_node *n, struct vdisk_io *io);
enum vdisk_map vdisk_overlay_map(struct vdisk_node *n, struct vdisk_io *io);
enum vdisk_end vdisk_overlay_end(struct vdisk_node *n, struct vdisk_io *io,
				 blk_status_t *status);
enum vdisk_map vdisk_cache_map(struct vdisk_node *n, struct vdisk_io *io);
enum vdisk_end vdisk_cache_end(struct vdisk_node *n, struct vdisk_io *io,
			       blk_status_t *status);
void vdisk_overlay_abort(struct vdisk_node *n,
			 bool (*which)(struct vdisk_io *io), blk_status_t status);
blk_status_t vdisk_overlay_load(struct vdisk_overlay *o, u64 unit, u64 nr);
void vdisk_overlay_retry(struct vdisk_overlay *o, struct vdisk_overlay_io *st);
void vdisk_overlay_commit_work(struct work_struct *work);

#endif /* VDISK_OVERLAY_H */
