// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hydration: from the first sector of the base to the last, what is absent is
 * filled, while the disk is in use, and behind everything else unless it is told
 * to be as urgent as that.
 *
 * One work item walks; it begins fills, and never waits for one. When a fill
 * ends the work is queued again, or when the rate allows the next one.
 *
 * What could not be kept this time, because of a write nearby or for want of
 * memory, is looked for again in another pass, a moment later: however long that
 * goes on, it ends when the guest gives it room. So is what could not be had because
 * the base was out of reach; the walk pauses then. What cannot be read or stored is
 * not tried again: the pass after which nothing else is missing is the last one,
 * and has failed.
 */
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "vdisk-fill.h"

/* Fills at a time: what a base that answers slowly needs. */
#define VDISK_HYDRATE_FILLS	16

/* When guests use all fills, or are in the way, look again so much later. */
#define VDISK_HYDRATE_AGAIN	(HZ / 50)

/* When the base is out of reach. */
#define VDISK_HYDRATE_PAUSE	HZ

/**
 * struct vdisk_hydrate - of a node
 * @n: the node; its second child is the base
 * @f: its fills
 * @ops: the node's
 * @p: presence of its first child
 * @wq: for @work
 * @work: walks
 * @on: @work may be queued
 * @restart: begin at the beginning
 * @rate: sectors per second, or 0: as fast as it goes
 * @idle: behind everything else
 * @next: where to look next; @work's own, as @due is
 * @due: when the next fill may begin, as ktime_get_ns() has it
 * @flying: fills that are under way
 * @cut_off: the base is out of reach
 * @again: something of this pass could not be kept this time
 * @bad: something of it never can
 */
struct vdisk_hydrate {
	struct vdisk_node *n;
	struct vdisk_fills *f;
	const struct vdisk_fill_ops *ops;
	struct vdisk_presence *p;
	struct workqueue_struct *wq;
	struct delayed_work work;
	bool on;
	bool restart;
	u64 rate;
	bool idle;
	sector_t next;
	u64 due;
	atomic_t flying;
	bool cut_off;
	bool again;
	bool bad;
};

static sector_t vdisk_hydrate_end(const struct vdisk_hydrate *h)
{
	return h->n->children[1]->len;
}

static void vdisk_hydrate_missed(struct vdisk_hydrate *h, blk_status_t why)
{
	bool again = why == BLK_STS_AGAIN || why == BLK_STS_RESOURCE ||
		     why == BLK_STS_DM_REQUEUE;

	WRITE_ONCE(*(again ? &h->again : &h->bad), true);
}

/* A fill of ours has ended. Any context. */
static void vdisk_hydrate_ended(void *data, blk_status_t outcome)
{
	struct vdisk_hydrate *h = data;

	if (outcome == BLK_STS_TRANSPORT) {
		WRITE_ONCE(h->again, true);
		WRITE_ONCE(h->cut_off, true);
	} else if (outcome) {
		vdisk_hydrate_missed(h, outcome);
	}
	/* Who finds none flying sees that. */
	atomic_fetch_dec_release(&h->flying);
	if (READ_ONCE(h->on))
		queue_delayed_work(h->wq, &h->work, 0);
}

/* Go past what is not absent; false if nothing is left. */
static bool vdisk_hydrate_skip(struct vdisk_hydrate *h)
{
	unsigned int shift = ilog2(h->n->lim.logical_block_size) - SECTOR_SHIFT;
	u64 end = ((vdisk_hydrate_end(h) - 1) >> shift) + 1, unit, nr;
	enum vdisk_presence_state state;
	blk_status_t status;
	u32 skip;

	while (READ_ONCE(h->on) && h->next < vdisk_hydrate_end(h)) {
		cond_resched();
		unit = h->next >> shift;
		status = h->ops->load(h->n, unit, 1);
		if (status) {
			vdisk_hydrate_missed(h, status);
			div_u64_rem(unit, VDISK_LEAF_UNITS, &skip);
			nr = VDISK_LEAF_UNITS - skip;
		} else {
			/* To the end it may be far, each time. */
			nr = min(end - unit, (u64)VDISK_LEAF_UNITS);
			nr = vdisk_presence_run(h->p, unit, nr, &state);
			if (state == VDISK_ABSENT)
				return true;
			/* Evicted just now. */
			if (state == VDISK_MISSING)
				continue;
		}
		WRITE_ONCE(h->next, (unit + nr) << shift);
	}
	return false;
}

static void vdisk_hydrate_begin(struct vdisk_hydrate *h)
{
	WRITE_ONCE(h->next, 0);
	WRITE_ONCE(h->again, false);
	WRITE_ONCE(h->bad, false);
}

/* The end of a pass, or of its walk. */
static void vdisk_hydrate_turn(struct vdisk_hydrate *h)
{
	/* Pairs with vdisk_hydrate_ended(), which queues the work once more. */
	if (!READ_ONCE(h->on) || atomic_read_acquire(&h->flying))
		return;
	if (READ_ONCE(h->again)) {
		vdisk_hydrate_begin(h);
		queue_delayed_work(h->wq, &h->work, VDISK_HYDRATE_AGAIN);
		return;
	}
	WRITE_ONCE(h->on, false);
	h->ops->hydrated(h->n, !READ_ONCE(h->bad));
}

static void vdisk_hydrate_work(struct work_struct *work)
{
	struct vdisk_hydrate *h = container_of(to_delayed_work(work),
					       struct vdisk_hydrate, work);

	if (xchg(&h->restart, false))
		vdisk_hydrate_begin(h);
	/* A resume starts it again. */
	while (READ_ONCE(h->on) && !vdisk_fills_stopped(h->f) &&
	       atomic_read(&h->flying) < VDISK_HYDRATE_FILLS) {
		u64 rate = READ_ONCE(h->rate), now = ktime_get_ns();
		sector_t nr;
		int r;

		if (xchg(&h->cut_off, false)) {
			queue_delayed_work(h->wq, &h->work, VDISK_HYDRATE_PAUSE);
			return;
		}
		if (rate && h->due > now) {
			queue_delayed_work(h->wq, &h->work,
					   nsecs_to_jiffies(h->due - now) + 1);
			return;
		}
		if (!vdisk_hydrate_skip(h)) {
			vdisk_hydrate_turn(h);
			return;
		}
		nr = vdisk_fill_cut(h->f, h->next, vdisk_hydrate_end(h) - h->next);
		atomic_inc(&h->flying);
		r = vdisk_fill_absent(h->f, h->next, READ_ONCE(h->idle),
				      vdisk_hydrate_ended, h);
		if (r)
			atomic_dec(&h->flying);
		if (r == -ESHUTDOWN)
			return;
		if (r == -EBUSY) {
			queue_delayed_work(h->wq, &h->work, VDISK_HYDRATE_AGAIN);
			return;
		}
		if (r)
			WRITE_ONCE(h->again, true);
		else if (rate)
			h->due = max(h->due, now) + div64_u64(nr * NSEC_PER_SEC, rate);
		WRITE_ONCE(h->next, h->next + nr);
	}
}

/**
 * vdisk_hydrate_create - prepare for hydration
 * @n: the node
 * @f: its fills
 * @ops: its own
 * @p: the presence of its first child
 * @wq: for the walk, which waits for @ops->load
 *
 * Context: Process context, may sleep.
 * Return: what the other functions want, or NULL.
 */
struct vdisk_hydrate *vdisk_hydrate_create(struct vdisk_node *n,
					   struct vdisk_fills *f,
					   const struct vdisk_fill_ops *ops,
					   struct vdisk_presence *p,
					   struct workqueue_struct *wq)
{
	struct vdisk_hydrate *h = kzalloc(sizeof(*h), GFP_KERNEL);

	if (!h)
		return NULL;
	h->n = n;
	h->f = f;
	h->ops = ops;
	h->p = p;
	h->wq = wq;
	INIT_DELAYED_WORK(&h->work, vdisk_hydrate_work);
	return h;
}

/**
 * vdisk_hydrate_start - begin, at the beginning
 * @h: the hydration; it may be on
 * @rate: sectors per second, or 0
 * @idle: its I/O comes behind all other
 *
 * Context: Process context; nothing happens while the fills are stopped.
 */
void vdisk_hydrate_start(struct vdisk_hydrate *h, u64 rate, bool idle)
{
	WRITE_ONCE(h->rate, rate);
	WRITE_ONCE(h->idle, idle);
	WRITE_ONCE(h->restart, true);
	WRITE_ONCE(h->on, true);
	mod_delayed_work(h->wq, &h->work, 0);
}

/**
 * vdisk_hydrate_stop - begin no more fills
 * @h: the hydration
 *
 * Context: Process context; the walk may still be running.
 */
void vdisk_hydrate_stop(struct vdisk_hydrate *h)
{
	WRITE_ONCE(h->on, false);
}

/**
 * vdisk_hydrate_drain - wait for the end of the walk
 * @h: the hydration, stopped
 *
 * Context: Process context, postsuspend; no fill is left.
 */
void vdisk_hydrate_drain(struct vdisk_hydrate *h)
{
	cancel_delayed_work_sync(&h->work);
}

/**
 * vdisk_hydrate_at - how far the walk is
 * @h: the hydration
 *
 * Context: Any context.
 * Return: sectors of the base.
 */
sector_t vdisk_hydrate_at(const struct vdisk_hydrate *h)
{
	return READ_ONCE(h->next);
}

/**
 * vdisk_hydrate_destroy - undo vdisk_hydrate_create()
 * @h: the hydration, drained; or NULL
 */
void vdisk_hydrate_destroy(struct vdisk_hydrate *h)
{
	if (h)
		cancel_delayed_work_sync(&h->work);
	kfree(h);
}
