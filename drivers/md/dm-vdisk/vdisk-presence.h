/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Presence: what a store has of a disk, unit by unit.
 *
 * A unit is a logical block of the disk. States and what changes them:
 *
 *	              written   discarded or zeroed   filled from the base
 *	from absent:  data      zero                  data
 *	from data:    =         zero                  =
 *	from zero:    data      =                     =
 *
 * Nothing becomes absent again: the base never shines through once more. But for
 * a cache with write_through, whose base has all: what is written becomes data, or
 * absent if it is not known to be the same in both, and what is discarded or
 * zeroed, absent.
 */
#ifndef VDISK_PRESENCE_H
#define VDISK_PRESENCE_H

#include <linux/types.h>
#include <linux/xarray.h>

#include "vdisk-store.h"

enum vdisk_presence_state {
	VDISK_ABSENT,	/* the store has nothing: ask the base */
	VDISK_DATA,	/* the store has it */
	VDISK_ZERO,	/* it reads as zeroes, whatever the store has there */
	VDISK_DAMAGED,	/* nobody knows; only ever of a whole leaf */
	VDISK_MISSING,	/* not read yet; no entry says so */
};

/* A leaf is what a sector of the presence area has room for. */
#define VDISK_LEAF_UNITS	VDISK_STORE_LEAF_UNITS

/* Marks of entries */
#define VDISK_LEAF_DIRTY	XA_MARK_0	/* not as on the store */
#define VDISK_LEAF_PUNCH	XA_MARK_1	/* zero units have room there */
#define VDISK_LEAF_BUSY		XA_MARK_2	/* on its way to the store */

/**
 * struct vdisk_presence - the states of all units
 * @leaves: by unit / VDISK_LEAF_UNITS: a value entry, if all of the leaf is in
 *	that state, else a struct vdisk_leaf. Nothing: the leaf is not in memory
 *	or, of a @blank presence, all of it is absent. Its lock, taken with
 *	interrupts off, guards all changes.
 * @blank: what is not there is absent
 * @nr_leaves: that take memory
 * @nr_entries: of a presence that is not @blank
 * @nr_dirty: entries with VDISK_LEAF_DIRTY
 * @nr_held: leaves that writes hold
 * @evictions: entries dropped so far
 * @hand: where the next one is looked for
 * @nr: units by state, of leaves that are there; of VDISK_ABSENT it is not kept
 *
 * Looking takes no lock.
 */
struct vdisk_presence {
	struct xarray leaves;
	bool blank;
	unsigned long nr_leaves;
	unsigned long nr_entries;
	unsigned long nr_dirty;
	unsigned long nr_held;
	unsigned long evictions;
	unsigned long hand;
	u64 nr[4];
};

void vdisk_presence_init(struct vdisk_presence *p, bool blank);
void vdisk_presence_free(struct vdisk_presence *p);
u64 vdisk_presence_run(struct vdisk_presence *p, u64 unit, u64 nr,
		       enum vdisk_presence_state *state);
enum vdisk_presence_look {
	VDISK_LOOK_READY,
	VDISK_LOOK_MISSING,	/* *index was not read yet */
	VDISK_LOOK_DAMAGED,
};

enum vdisk_presence_look vdisk_presence_look(struct vdisk_presence *p, u64 unit,
					     u64 nr, unsigned long *index);
bool vdisk_presence_is_dirty(struct vdisk_presence *p, u64 unit, u64 nr);
int vdisk_presence_insert(struct vdisk_presence *p, unsigned long index,
			  enum vdisk_store_leaf_kind kind, const __le64 *bits,
			  unsigned long evictions);
bool vdisk_presence_snapshot(struct vdisk_presence *p, unsigned long index,
			     struct vdisk_store_leaf *copy);
unsigned long vdisk_presence_evict(struct vdisk_presence *p, unsigned long nr);
void vdisk_presence_settle(struct vdisk_presence *p, unsigned long index,
			   bool written);
bool vdisk_presence_take_holes(struct vdisk_presence *p, unsigned long index,
			       struct vdisk_store_leaf *copy);
int vdisk_presence_hold(struct vdisk_presence *p, u64 unit, u64 nr, gfp_t gfp);
void vdisk_presence_release(struct vdisk_presence *p, u64 unit, u64 nr,
			    bool written);
int vdisk_presence_hold_fill(struct vdisk_presence *p, u64 unit, u64 nr,
			     gfp_t gfp);
void vdisk_presence_release_fill(struct vdisk_presence *p, u64 unit, u64 nr,
				 bool filled);
void vdisk_presence_release_through(struct vdisk_presence *p, u64 unit, u64 nr,
				    bool kept);
int vdisk_presence_zero(struct vdisk_presence *p, u64 unit, u64 nr, gfp_t gfp,
			bool *held);
int vdisk_presence_drop(struct vdisk_presence *p, u64 unit, u64 nr, gfp_t gfp);
void vdisk_presence_forget(struct vdisk_presence *p);

#endif /* VDISK_PRESENCE_H */
