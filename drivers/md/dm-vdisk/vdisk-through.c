// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writes through a cache.
 *
 * The base is the truth. A write goes there first, and if it was taken, to the
 * store; then its units are data. A discard makes them absent and goes to the
 * base. All that is under way is in a tree, by its units:
 *
 *	under way at the same time	in the end
 *	two writes, or a write		the units are absent: who knows in which
 *	and a discard			order base and store have taken them
 *	a write, and a fill that	the fill is not stored, and who comes later
 *	reads the base			reads the base again
 *	a write, and a fill that	the write waits, see vdisk-overlay-io.c
 *	is being stored
 *
 * So nobody waits for the order of anything, and a unit that is data, with nothing
 * of it under way, is the same in base and store.
 *
 * A loss of power may leave base and store as different as it likes. So writes
 * begin only while the store is marked dirty, durably, and then who opens it
 * after a loss of power empties it.
 */
#include <linux/interval_tree_generic.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "vdisk-through.h"

/**
 * struct vdisk_through - of a node
 * @lock: guards what follows; any context, presence's lock inside it
 * @tree: struct vdisk_through_range
 * @open: writes may begin; also read without the lock
 * @wrote: one has begun since vdisk_through_close() was called last
 */
struct vdisk_through {
	spinlock_t lock;	/* guards what follows */
	struct rb_root_cached tree;
	bool open;
	bool wrote;
};

#define VDISK_THROUGH_FIRST(range)	((range)->first)
#define VDISK_THROUGH_LAST(range)	((range)->last)

INTERVAL_TREE_DEFINE(struct vdisk_through_range, rb, u64, subtree_last,
		     VDISK_THROUGH_FIRST, VDISK_THROUGH_LAST, static inline,
		     vdisk_through_tree)

/**
 * vdisk_through_create - prepare for writes
 *
 * Context: Process context, may sleep.
 * Return: what the other functions want, not open, or NULL.
 */
struct vdisk_through *vdisk_through_create(void)
{
	struct vdisk_through *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return NULL;
	spin_lock_init(&t->lock);
	t->tree = RB_ROOT_CACHED;
	return t;
}

/**
 * vdisk_through_destroy - undo vdisk_through_create()
 * @t: nothing is under way; or NULL
 */
void vdisk_through_destroy(struct vdisk_through *t)
{
	kfree(t);
}

/**
 * vdisk_through_open - the store is dirty, durably
 * @t: the node's
 *
 * Context: Process context.
 */
void vdisk_through_open(struct vdisk_through *t)
{
	spin_lock_irq(&t->lock);
	WRITE_ONCE(t->open, true);
	/* Who waits for that is about to write. */
	t->wrote = true;
	spin_unlock_irq(&t->lock);
}

/**
 * vdisk_through_close - stop writes from beginning, if now is a good time
 * @t: the node's
 * @now: it is, unless one is under way; else none must have begun lately, either
 *
 * Context: Process context.
 * Return: true if none is under way any more, and none begins until
 *	vdisk_through_open(); false if nothing has changed.
 */
bool vdisk_through_close(struct vdisk_through *t, bool now)
{
	bool closed;

	spin_lock_irq(&t->lock);
	closed = t->open && (now || !t->wrote) &&
		 RB_EMPTY_ROOT(&t->tree.rb_root);
	t->wrote = false;
	if (closed)
		WRITE_ONCE(t->open, false);
	spin_unlock_irq(&t->lock);
	return closed;
}

/**
 * vdisk_through_is_open - may writes begin?
 * @t: the node's
 *
 * Context: Any context; the answer may be old.
 * Return: true if so.
 */
bool vdisk_through_is_open(const struct vdisk_through *t)
{
	return READ_ONCE(t->open);
}

/**
 * vdisk_through_begin - a write or discard goes to the base from now on
 * @t: the node's
 * @range: for vdisk_through_end()
 * @unit: its first
 * @nr: how many
 *
 * Context: Any context.
 * Return: false if none may begin.
 */
bool vdisk_through_begin(struct vdisk_through *t,
			 struct vdisk_through_range *range, u64 unit, u64 nr)
{
	struct vdisk_through_range *other;
	unsigned long flags;
	bool open;

	range->first = unit;
	range->last = unit + nr - 1;
	range->spoilt = false;
	spin_lock_irqsave(&t->lock, flags);
	open = t->open;
	if (open) {
		t->wrote = true;
		other = vdisk_through_tree_iter_first(&t->tree, range->first,
						      range->last);
		for (; other; other = vdisk_through_tree_iter_next(other,
								   range->first,
								   range->last)) {
			WRITE_ONCE(other->spoilt, true);
			range->spoilt = true;
		}
		vdisk_through_tree_insert(range, &t->tree);
	}
	spin_unlock_irqrestore(&t->lock, flags);
	return open;
}

/**
 * vdisk_through_end - undo vdisk_through_begin()
 * @t: the node's
 * @range: the range
 * @held: a write, whose leaves were held by vdisk_presence_hold_fill(): the
 *	presence; they are released. Else NULL.
 * @kept: base and store have taken the write: its units are data, unless it is
 *	spoilt; else they become absent
 *
 * In one step, so that who begins later finds the units as they stay.
 *
 * Context: Any context.
 */
void vdisk_through_end(struct vdisk_through *t,
		       struct vdisk_through_range *range,
		       struct vdisk_presence *held, bool kept)
{
	unsigned long flags;

	spin_lock_irqsave(&t->lock, flags);
	vdisk_through_tree_remove(range, &t->tree);
	if (held)
		vdisk_presence_release_through(held, range->first,
					       range->last - range->first + 1,
					       kept && !range->spoilt);
	spin_unlock_irqrestore(&t->lock, flags);
}

/**
 * vdisk_through_cancel - undo vdisk_through_begin() of what was not sent
 * @t: the node's
 * @range: the range
 *
 * Context: Any context.
 */
void vdisk_through_cancel(struct vdisk_through *t,
			  struct vdisk_through_range *range)
{
	vdisk_through_end(t, range, NULL, false);
}

/**
 * vdisk_through_is_spoilt - is it of no use to send a write to the store?
 * @range: the write's, which is under way
 *
 * Context: Any context.
 * Return: true if its units will be absent, whatever happens.
 */
bool vdisk_through_is_spoilt(const struct vdisk_through_range *range)
{
	return READ_ONCE(range->spoilt);
}

/**
 * vdisk_through_is_busy - is anything under way?
 * @t: the node's
 * @unit: the first of the units that are of interest
 * @nr: how many
 *
 * Context: Any context.
 * Return: true if there is a range with one of them.
 */
bool vdisk_through_is_busy(struct vdisk_through *t, u64 unit, u64 nr)
{
	unsigned long flags;
	bool busy;

	spin_lock_irqsave(&t->lock, flags);
	busy = vdisk_through_tree_iter_first(&t->tree, unit, unit + nr - 1);
	spin_unlock_irqrestore(&t->lock, flags);
	return busy;
}
