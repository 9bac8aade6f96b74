// SPDX-License-Identifier: GPL-2.0-only
/*
 * overlay and cache: their bios, and commits.
 *
 * A unit becomes data when its write has ended, so nobody reads from the store
 * what is not there yet. Overwriting data changes nothing and takes no lock.
 *
 * A discard makes units zero, and then punches them out of the store. No write
 * may be sent to a unit that is being punched, or what it wrote could be punched:
 *
 *	write				discard
 *	hold the leaves			list the punch
 *	look at the list of punches	make units zero; are leaves held?
 *
 * The leaves change under presence's lock, so one of the two sees the other: the
 * write then waits, or the punch is left out, which costs room and nothing else.
 * A write that met data before the discard came, and holds nothing, leaves the
 * unit zero: the two were under way at the same time.
 *
 * Without volatile the punch comes later, behind the commit that made the units'
 * zero durable. It is listed, and the leaf looked at, in the same order.
 *
 * Memory: what is dirty cannot be evicted, so first writes and discards wait for
 * commits while too much of it is. The rest of presence goes under pressure, also
 * between ready() and what follows: a leaf that is missing in route() sends the
 * read to a child that loads it and looks again; in a write or discard, which has
 * changed nothing then, likewise.
 */
#include <linux/list.h>
#include <linux/spinlock.h>

#include "vdisk-overlay.h"

/* What changed is committed so much later, if nobody flushes. */
#define VDISK_COMMIT_DELAY	(5 * HZ)

/* So many dirty leaves are committed at once, */
#define VDISK_COMMIT_LEAVES	16384
/* and there are no more than so many, of 1 KiB each, dirty or being written to. */
#define VDISK_BUSY_LEAVES	32768

/* A lack of memory, a suspend, or a preempt and abort, is not the store's fault. */
static bool vdisk_store_is_blamed(blk_status_t status)
{
	return status != BLK_STS_RESOURCE && status != BLK_STS_AGAIN &&
	       status != BLK_STS_DM_REQUEUE && status != BLK_STS_RESV_CONFLICT;
}

/**
 * vdisk_overlay_route - struct vdisk_ops' route
 * @n: the node
 * @run: what is asked for
 *
 * Context: Any context.
 * Return: the child that has it: store, base, or one that is not in the line.
 */
struct vdisk_node *vdisk_overlay_route(struct vdisk_node *n,
				       struct vdisk_run *run)
{
	struct vdisk_node *base = n->children[OVERLAY_BASE];
	struct vdisk_overlay *o = n->priv;
	enum vdisk_presence_state state;
	u64 unit, nr;

	if (run->write || !run->nr) {
		if (o->through)
			return base;
		run->sector += o->data;
		return n->children[OVERLAY_STORE];
	}

	if (run->sector >= o->end)
		return o->hole;
	if (vdisk_cache_is_off(o)) {
		state = VDISK_ABSENT;
		goto base;
	}
	run->nr = min(run->nr, o->end - run->sector);
	unit = run->sector >> o->shift;
	nr = ((run->sector + run->nr - 1) >> o->shift) + 1 - unit;
	nr = vdisk_presence_run(o->presence, unit, nr, &state);
	run->nr = min(run->nr, (sector_t)((unit + nr) << o->shift) - run->sector);
	if (state == VDISK_DATA && o->cache)
		return o->kept;
	if (state == VDISK_DATA) {
		run->sector += o->data;
		return n->children[OVERLAY_STORE];
	}
	if (state == VDISK_MISSING) {
		/* A piece must not need another when it looks again. */
		run->nr = min(run->nr, ((unit + 1) << o->shift) - run->sector);
		if (run->sector < base->len)
			run->nr = min(run->nr, base->len - run->sector);
		return o->missing;
	}
base:
	if (state == VDISK_ZERO || run->sector >= base->len)
		return o->hole;
	run->nr = min(run->nr, base->len - run->sector);
	if (o->fills)
		run->nr = vdisk_fill_cut(o->fills, run->sector, run->nr);
	return base;
}

static u64 vdisk_overlay_unit(const struct vdisk_overlay *o,
			      const struct vdisk_io *io)
{
	return io->bio->bi_iter.bi_sector >> o->shift;
}

/* None of what is behind the end. */
static u64 vdisk_overlay_units(const struct vdisk_overlay *o,
			       const struct vdisk_io *io)
{
	sector_t end = min(bio_end_sector(io->bio), o->end);

	if (end <= io->bio->bi_iter.bi_sector)
		return 0;
	return ((end - 1) >> o->shift) + 1 - vdisk_overlay_unit(o, io);
}

/**
 * vdisk_overlay_load - read the leaves of units
 * @o: the node
 * @unit: the first
 * @nr: how many
 *
 * Context: Process context, may sleep: not on the stack's own workqueue.
 * Return: BLK_STS_MEDIUM if one is damaged, or how the read failed.
 */
blk_status_t vdisk_overlay_load(struct vdisk_overlay *o, u64 unit, u64 nr)
{
	unsigned long index;

	for (;;) {
		blk_status_t status;

		switch (vdisk_presence_look(o->presence, unit, nr, &index)) {
		case VDISK_LOOK_READY:
			return BLK_STS_OK;
		case VDISK_LOOK_DAMAGED:
			return BLK_STS_MEDIUM;
		case VDISK_LOOK_MISSING:
			break;
		}
		/* Of a device it says something else than of a leaf. */
		status = vdisk_meta_load(o->meta, index);
		if (status)
			return status == BLK_STS_MEDIUM ? BLK_STS_IOERR : status;
	}
}

/**
 * vdisk_overlay_pass - struct vdisk_ops' pass
 * @n: the node
 * @run: what is asked for
 *
 * What is in the store is read and overwritten there, and what is absent read
 * from the base, without a change of anything.
 *
 * Context: Process context; does not sleep.
 * Return: the child that has it all, or NULL.
 */
struct vdisk_node *vdisk_overlay_pass(struct vdisk_node *n,
				      struct vdisk_run *run)
{
	struct vdisk_node *base = n->children[OVERLAY_BASE];
	sector_t end = run->sector + run->nr;
	struct vdisk_overlay *o = n->priv;
	enum vdisk_presence_state state;
	u64 unit, nr;

	if (o->fills || o->merge || end > o->end)
		return NULL;
	if (run->write && (!n->children[OVERLAY_STORE]->passes ||
			   READ_ONCE(o->layer->failed)))
		return NULL;
	unit = run->sector >> o->shift;
	nr = ((end - 1) >> o->shift) + 1 - unit;
	if (vdisk_presence_run(o->presence, unit, nr, &state) < nr)
		return NULL;
	if (state == VDISK_DATA) {
		run->sector += o->data;
		return n->children[OVERLAY_STORE];
	}
	return state == VDISK_ABSENT && !run->write && end <= base->len ? base :
									  NULL;
}

static void vdisk_overlay_load_io(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_overlay *o = n->priv;
	blk_status_t status;

	status = vdisk_overlay_load(o, vdisk_overlay_unit(o, io),
				    vdisk_overlay_units(o, io));
	/* Without memory to know what the store has, the base serves as well. */
	if (status && o->cache && status != BLK_STS_MEDIUM &&
	    status != BLK_STS_DM_REQUEUE) {
		vdisk_overlay_fail(o, status);
		status = BLK_STS_OK;
	}
	if (status && (!o->cache || status == BLK_STS_DM_REQUEUE))
		vdisk_end(io, n, status);
	else
		vdisk_again(io, n);
}

/* It was there when ready() looked. */
static enum vdisk_map vdisk_missing_map(struct vdisk_node *missing,
					struct vdisk_io *io)
{
	struct vdisk_overlay *o = missing->parent->priv;

	io->at = o->n;
	vdisk_defer_to(io, o->wq, vdisk_overlay_load_io);
	return VDISK_TAKEN;
}

const struct vdisk_ops vdisk_missing_ops = {
	.map = vdisk_missing_map,
};

static struct vdisk_node *vdisk_kept_route(struct vdisk_node *kept,
					   struct vdisk_run *run)
{
	struct vdisk_overlay *o = kept->parent->priv;

	run->sector += o->data;
	return o->n->children[OVERLAY_STORE];
}

/* On its way up the io meets the cache next. */
static enum vdisk_map vdisk_kept_map(struct vdisk_node *kept, struct vdisk_io *io)
{
	struct vdisk_overlay_io *st = vdisk_state(kept->parent, io);

	st->kept = true;
	return VDISK_DOWN;
}

const struct vdisk_ops vdisk_kept_ops = {
	.route = vdisk_kept_route,
	.map = vdisk_kept_map,
};

/**
 * vdisk_overlay_ready - struct vdisk_ops' ready
 * @n: the node
 * @io: of data
 *
 * Context: Process context; does not sleep.
 * Return: false if the leaves of its units have to be read first.
 */
bool vdisk_overlay_ready(struct vdisk_node *n, struct vdisk_io *io)
{
	struct vdisk_overlay *o = n->priv;
	unsigned long index;

	if (!o->meta || !bio_sectors(io->bio) || vdisk_cache_is_off(o))
		return true;
	switch (vdisk_presence_look(o->presence, vdisk_overlay_unit(o, io),
				    vdisk_overlay_units(o, io), &index)) {
	case VDISK_LOOK_READY:
		return true;
	case VDISK_LOOK_DAMAGED:
		if (o->cache)
			return true;
		vdisk_end(io, n, BLK_STS_MEDIUM);
		return false;
	case VDISK_LOOK_MISSING:
		vdisk_defer_to(io, o->wq, vdisk_overlay_load_io);
		return false;
	}
	return true;
}

/* A write that waits holds nothing. */
static void vdisk_overlay_let_go(struct vdisk_overlay *o,
				 struct vdisk_overlay_io *st)
{
	struct vdisk_through_io *ts = container_of(st, struct vdisk_through_io, st);
	bool write = bio_op(st->io->bio) == REQ_OP_WRITE;

	if (!o->through) {
		vdisk_presence_release(o->presence, st->unit, st->nr, false);
		return;
	}
	ts->begun = false;
	vdisk_through_cancel(o->through, &ts->range);
	if (write)
		vdisk_presence_release_fill(o->presence, st->unit, st->nr, false);
}

/* The write waits if one of its units is being punched, and holds nothing. */
static bool vdisk_overlay_park(struct vdisk_overlay *o,
			       struct vdisk_overlay_io *st)
{
	struct vdisk_punch *punch;
	unsigned long flags;
	bool parked = false;

	if (likely(list_empty_careful(&o->punching)))
		return false;
	spin_lock_irqsave(&o->lock, flags);
	list_for_each_entry(punch, &o->punching, list) {
		if (st->unit >= punch->unit + punch->nr ||
		    punch->unit >= st->unit + st->nr)
			continue;
		vdisk_overlay_let_go(o, st);
		list_add_tail(&st->list, &o->waiting);
		parked = true;
		break;
	}
	spin_unlock_irqrestore(&o->lock, flags);
	return parked;
}

static void vdisk_overlay_write_later(struct vdisk_io *io);
static void vdisk_overlay_discard(struct vdisk_io *io);
static void vdisk_overlay_discard_volatile(struct vdisk_io *io);

static bool vdisk_overlay_is_full(const struct vdisk_overlay *o)
{
	return READ_ONCE(o->presence->nr_dirty) + READ_ONCE(o->presence->nr_held) >=
	       VDISK_BUSY_LEAVES;
}

/* The io waits for a commit; it holds nothing. */
static void vdisk_overlay_await(struct vdisk_overlay *o,
				struct vdisk_overlay_io *st,
				struct vdisk_io *io)
{
	unsigned long flags;

	vdisk_may_wait(io);
	st->io = io;
	spin_lock_irqsave(&o->lock, flags);
	list_add_tail(&st->list, &o->throttled);
	/* Under the lock: it may end as soon as that is let go, and @o with it. */
	mod_delayed_work(o->wq, &o->commit, 0);
	spin_unlock_irqrestore(&o->lock, flags);
}

/* True if it does, because too much is dirty. */
static bool vdisk_overlay_throttle(struct vdisk_overlay *o,
				   struct vdisk_overlay_io *st,
				   struct vdisk_io *io)
{
	if (likely(!o->meta || !vdisk_overlay_is_full(o)))
		return false;
	vdisk_overlay_await(o, st, io);
	return true;
}

/**
 * vdisk_overlay_retry - what has waited looks again
 * @o: the node
 * @st: of a write or discard, which holds nothing and is in no list
 *
 * Context: Any context.
 */
void vdisk_overlay_retry(struct vdisk_overlay *o, struct vdisk_overlay_io *st)
{
	if (bio_op(st->io->bio) == REQ_OP_WRITE)
		vdisk_defer(st->io, vdisk_overlay_write_later);
	else if (o->meta || o->through)
		vdisk_defer_to(st->io, o->wq, vdisk_overlay_discard);
	else
		vdisk_defer(st->io, vdisk_overlay_discard_volatile);
}

/*
 * A commit has ended: those who waited look again; or they end, because nothing
 * would be another: a noflush suspend gives them back, or writes may not begin.
 */
static void vdisk_overlay_unthrottle(struct vdisk_overlay *o, blk_status_t status)
{
	struct vdisk_overlay_io *st, *next;
	LIST_HEAD(throttled);

	spin_lock_irq(&o->lock);
	list_splice_init(&o->throttled, &throttled);
	spin_unlock_irq(&o->lock);
	list_for_each_entry_safe(st, next, &throttled, list) {
		if (status)
			vdisk_end(st->io, o->n, status);
		else
			vdisk_overlay_retry(o, st);
	}
}

/*
 * FUA of data whose states are durable is the store's; else the write waits for
 * a commit, which flushes. Nothing of a volatile disk is to be durable.
 */
static void vdisk_overlay_take_fua(struct vdisk_overlay *o,
				   struct vdisk_overlay_io *st,
				   struct vdisk_io *io, bool data)
{
	if (!(io->bio->bi_opf & REQ_FUA))
		return;
	/* Data that is not durable yet is dirty: see vdisk_leaf_set(). */
	smp_rmb();
	if (o->meta && data &&
	    !vdisk_presence_is_dirty(o->presence, st->unit, st->nr))
		return;
	io->bio->bi_opf &= ~REQ_FUA;
	st->fua = o->meta;
}

static enum vdisk_map vdisk_overlay_write(struct vdisk_node *n,
					  struct vdisk_io *io)
{
	bool nowait = io->bio->bi_opf & REQ_NOWAIT;
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;
	enum vdisk_presence_state state;
	bool data;
	int r;

	if (READ_ONCE(o->layer->failed)) {
		vdisk_end(io, n, BLK_STS_IOERR);
		return VDISK_TAKEN;
	}
	if (o->merge) {
		if (vdisk_merge_throttle(o->merge, st, io))
			return VDISK_TAKEN;
		st->iter = io->bio->bi_iter;
	}
	st->io = io;
	st->unit = vdisk_overlay_unit(o, io);
	st->nr = vdisk_overlay_units(o, io);
	data = vdisk_presence_run(o->presence, st->unit, st->nr, &state) == st->nr &&
	       state == VDISK_DATA;
	vdisk_overlay_take_fua(o, st, io, data);
	if (data) {
		st->nr = 0;
		return VDISK_DOWN;
	}
	if (vdisk_overlay_throttle(o, st, io))
		return VDISK_TAKEN;
	r = vdisk_presence_hold(o->presence, st->unit, st->nr,
				nowait ? GFP_NOWAIT : GFP_NOIO);
	if (r) {
		/* It comes to map() again. */
		if (r == -EAGAIN && st->fua)
			io->bio->bi_opf |= REQ_FUA;
		if (r == -EAGAIN)
			vdisk_defer_to(io, o->wq, vdisk_overlay_load_io);
		else if (nowait)
			vdisk_defer(io, vdisk_overlay_write_later);
		else
			vdisk_end(io, n, BLK_STS_RESOURCE);
		return VDISK_TAKEN;
	}
	return vdisk_overlay_park(o, st) ? VDISK_TAKEN : VDISK_DOWN;
}

/*
 * From now on it is under way, unless it has to wait: until the store is known to
 * be dirty. It has to be so even if it has failed and the base is all that is
 * written, for somebody will believe it again.
 */
static bool vdisk_through_enter(struct vdisk_overlay *o,
				struct vdisk_through_io *ts,
				struct vdisk_io *io, u64 unit, u64 nr)
{
	ts->begun = vdisk_through_begin(o->through, &ts->range, unit, nr);
	if (ts->begun)
		return true;
	if (bio_op(io->bio) == REQ_OP_WRITE && ts->st.nr)
		vdisk_presence_release_fill(o->presence, unit, nr, false);
	vdisk_overlay_await(o, &ts->st, io);
	return false;
}

static enum vdisk_map vdisk_through_write(struct vdisk_node *n,
					  struct vdisk_io *io)
{
	u64 unit = vdisk_overlay_unit(n->priv, io), nr;
	bool nowait = io->bio->bi_opf & REQ_NOWAIT;
	struct vdisk_through_io *ts = vdisk_state(n, io);
	struct vdisk_overlay_io *st = &ts->st;
	struct vdisk_overlay *o = n->priv;
	int r;

	nr = vdisk_overlay_units(o, io);
	st->io = io;
	st->kept = false;
	st->nr = 0;
	if (READ_ONCE(o->layer->failed))
		goto base;
	if (vdisk_overlay_throttle(o, st, io))
		return VDISK_TAKEN;
	r = vdisk_presence_hold_fill(o->presence, unit, nr,
				     nowait ? GFP_NOWAIT : GFP_NOIO);
	if (r == -ENOMEM && !nowait) {
		vdisk_overlay_fail(o, BLK_STS_RESOURCE);
		goto base;
	}
	if (r) {
		if (r == -EAGAIN)
			vdisk_defer_to(io, o->wq, vdisk_overlay_load_io);
		else
			vdisk_defer(io, vdisk_overlay_write_later);
		return VDISK_TAKEN;
	}
	st->unit = unit;
	st->nr = nr;
	st->iter = io->bio->bi_iter;
	st->flags = io->bio->bi_flags;
	if (!vdisk_through_enter(o, ts, io, unit, nr) || vdisk_overlay_park(o, st))
		return VDISK_TAKEN;
	return VDISK_DOWN;

base:
	return vdisk_through_enter(o, ts, io, unit, nr) ? VDISK_DOWN : VDISK_TAKEN;
}

static void vdisk_overlay_write_later(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;

	struct vdisk_overlay *o = n->priv;

	if ((o->through ? vdisk_through_write(n, io) :
			  vdisk_overlay_write(n, io)) == VDISK_DOWN)
		vdisk_go_on(io, n);
}

static void vdisk_overlay_list_punch(struct vdisk_overlay *o,
				     struct vdisk_punch *punch, u64 unit, u64 nr)
{
	unsigned long flags;

	punch->unit = unit;
	punch->nr = nr;
	spin_lock_irqsave(&o->lock, flags);
	list_add(&punch->list, &o->punching);
	spin_unlock_irqrestore(&o->lock, flags);
}

/* Writes that waited look again. */
static void vdisk_overlay_unlist_punch(struct vdisk_overlay *o,
				       struct vdisk_punch *punch)
{
	struct vdisk_overlay_io *st, *next;
	unsigned long flags;
	LIST_HEAD(waiting);

	spin_lock_irqsave(&o->lock, flags);
	list_del(&punch->list);
	list_splice_init(&o->waiting, &waiting);
	spin_unlock_irqrestore(&o->lock, flags);
	list_for_each_entry_safe(st, next, &waiting, list)
		vdisk_overlay_retry(o, st);
}

static void vdisk_overlay_discarded(struct vdisk_node *n, struct vdisk_io *io,
				    blk_status_t status)
{
	struct vdisk_overlay_io *st = vdisk_state(n, io);

	vdisk_overlay_unlist_punch(n->priv, &st->punch);
	vdisk_end(io, n, status);
}

/* A punch that failed costs room in the store, and nothing else. */
static void vdisk_overlay_punched(struct vdisk_io *punch, blk_status_t status)
{
	struct vdisk_io *io = punch->owner;

	vdisk_io_free(punch);
	vdisk_overlay_discarded(io->at, io, BLK_STS_OK);
}

static void vdisk_overlay_punch(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_io *punch;

	punch = vdisk_io_alloc(n, io, &st->wait, vdisk_overlay_punch);
	if (!punch)
		return;
	punch->bio->bi_opf = REQ_OP_DISCARD;
	vdisk_io_submit(punch, n->children[OVERLAY_STORE],
			vdisk_overlay_punched);
}

static void vdisk_overlay_discard_volatile(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;
	u64 unit = vdisk_overlay_unit(o, io), nr = vdisk_overlay_units(o, io);
	bool held;
	int r;

	if (o->merge && vdisk_merge_throttle(o->merge, st, io))
		return;
	vdisk_overlay_list_punch(o, &st->punch, unit, nr);
	r = vdisk_presence_zero(o->presence, unit, nr, GFP_NOIO, &held);
	/* What is punched out of the store later is of no matter. */
	if (o->merge)
		vdisk_merge_changed(o->merge, unit << o->shift, nr << o->shift);
	if (!r && o->punches && !held)
		vdisk_overlay_punch(io);
	else
		vdisk_overlay_discarded(n, io, errno_to_blk_status(r));
}

/* Commit soon, so that a cut loses no more than that, and holes are punched. */
static void vdisk_overlay_changed(struct vdisk_overlay *o)
{
	if (READ_ONCE(o->presence->nr_dirty) > VDISK_COMMIT_LEAVES)
		mod_delayed_work(o->wq, &o->commit, 0);
	else
		queue_delayed_work(o->wq, &o->commit, VDISK_COMMIT_DELAY);
}

/* Leaves that are discarded as a whole need not be read. */
static blk_status_t vdisk_overlay_clear(struct vdisk_overlay *o, u64 unit, u64 nr)
{
	u64 end = unit + nr;
	blk_status_t status = BLK_STS_OK;
	bool held;
	int r;

	do {
		if (o->meta && unit % VDISK_LEAF_UNITS)
			status = vdisk_overlay_load(o, unit, 1);
		if (o->meta && !status && end % VDISK_LEAF_UNITS)
			status = vdisk_overlay_load(o, end - 1, 1);
		if (status)
			return status;
		r = o->through ?
		    vdisk_presence_drop(o->presence, unit, nr, GFP_NOIO) :
		    vdisk_presence_zero(o->presence, unit, nr, GFP_NOIO, &held);
	} while (r == -EAGAIN);
	return errno_to_blk_status(r);
}

static void vdisk_through_finish(struct vdisk_overlay *o,
				 struct vdisk_through_io *ts, bool kept);

/* The units are absent before the base is told. */
static void vdisk_through_discard(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_through_io *ts = vdisk_state(n, io);
	struct vdisk_overlay_io *st = &ts->st;
	struct vdisk_overlay *o = n->priv;
	bool off = READ_ONCE(o->layer->failed);
	blk_status_t status = BLK_STS_OK;

	st->io = io;
	st->kept = false;
	st->unit = vdisk_overlay_unit(o, io);
	st->nr = vdisk_overlay_units(o, io);
	if ((!off && vdisk_overlay_throttle(o, st, io)) ||
	    !vdisk_through_enter(o, ts, io, st->unit, st->nr) ||
	    (!off && vdisk_overlay_park(o, st)))
		return;
	if (!off)
		status = vdisk_overlay_clear(o, st->unit, st->nr);
	if (status == BLK_STS_DM_REQUEUE) {
		vdisk_through_finish(o, ts, false);
		vdisk_end(io, n, status);
		return;
	}
	/* If it cannot be known what the store has, it is not used any more. */
	if (status)
		vdisk_overlay_fail(o, status);
	vdisk_go_to(io, n->children[OVERLAY_BASE], 0);
}

static void vdisk_overlay_discard(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_overlay *o = n->priv;
	blk_status_t status = BLK_STS_IOERR;

	if (o->through) {
		vdisk_through_discard(io);
		return;
	}
	if (!READ_ONCE(o->layer->failed)) {
		if (vdisk_overlay_throttle(o, vdisk_state(n, io), io))
			return;
		if (o->merge &&
		    vdisk_merge_throttle(o->merge, vdisk_state(n, io), io))
			return;
		status = vdisk_overlay_clear(o, vdisk_overlay_unit(o, io),
					     vdisk_overlay_units(o, io));
	}
	if (o->merge)
		vdisk_merge_changed(o->merge, io->bio->bi_iter.bi_sector,
				    bio_sectors(io->bio));
	vdisk_overlay_changed(o);
	vdisk_end(io, n, status);
}

/* The io waits for a commit that begins after this. */
static void vdisk_overlay_flush(struct vdisk_overlay *o,
				struct vdisk_overlay_io *st)
{
	unsigned long flags;

	spin_lock_irqsave(&o->lock, flags);
	list_add_tail(&st->list, &o->flushes);
	/* Under the lock, as in vdisk_overlay_throttle() */
	mod_delayed_work(o->wq, &o->commit, 0);
	spin_unlock_irqrestore(&o->lock, flags);
}

static void vdisk_overlay_punch_all(struct vdisk_overlay *o)
{
	struct xarray *leaves = &o->presence->leaves;
	struct vdisk_punch punch;
	unsigned long index;
	void *entry;

	xa_for_each_marked(leaves, index, entry, VDISK_LEAF_PUNCH) {
		/* Who flushes does not wait for that, nor who suspends. */
		if (!list_empty_careful(&o->flushes) ||
		    !list_empty_careful(&o->throttled) || READ_ONCE(o->stopping))
			break;
		vdisk_overlay_list_punch(o, &punch, (u64)index * VDISK_LEAF_UNITS,
					 VDISK_LEAF_UNITS);
		vdisk_meta_punch(o->meta, index);
		vdisk_overlay_unlist_punch(o, &punch);
	}
}

static void vdisk_overlay_hydrate_ends(struct vdisk_overlay *o,
				       enum vdisk_hydrate_state state)
{
	WRITE_ONCE(o->layer->hydrate, state);
	dm_table_event(o->n->stack->ti->table);
}

/* All that is in memory was committed, and @proved was set before that began. */
static blk_status_t vdisk_overlay_record_full(struct vdisk_overlay *o)
{
	const struct vdisk_node *base = o->n->children[OVERLAY_BASE];
	blk_status_t status;

	WRITE_ONCE(o->proved, false);
	status = vdisk_meta_full(o->meta, base->ops->length(base));
	if (!status)
		vdisk_overlay_hydrate_ends(o, VDISK_HYDRATE_DONE);
	return status;
}

/*
 * With write_through: make clean what is at rest. While it is not known to be dirty
 * on the store, no writes begin.
 */
static blk_status_t vdisk_through_commit(struct vdisk_overlay *o)
{
	bool clean = vdisk_through_close(o->through, READ_ONCE(o->stopping));
	blk_status_t status;

	/*
	 * Once the store has failed, writes go to the base alone. One that did so
	 * before the close is known here: @failed was set before it began.
	 */
	if (clean &&
	    (READ_ONCE(o->layer->failed) || vdisk_meta_flush_base(o->meta))) {
		vdisk_through_open(o->through);
		clean = false;
	}
	status = vdisk_meta_commit(o->meta);
	if (clean && !status)
		return vdisk_meta_dirty(o->meta, false);
	if (clean)
		vdisk_through_open(o->through);
	return status;
}

/* Those who wait for that may begin as soon as the store says that it is dirty. */
static blk_status_t vdisk_through_mark(struct vdisk_overlay *o)
{
	blk_status_t status;

	if (vdisk_through_is_open(o->through) || list_empty_careful(&o->throttled))
		return BLK_STS_OK;
	status = vdisk_meta_dirty(o->meta, true);
	if (!status)
		vdisk_through_open(o->through);
	else if (status != BLK_STS_DM_REQUEUE)
		vdisk_overlay_fail(o, status);
	return status;
}

/**
 * vdisk_overlay_commit_work - make durable what has changed
 * @work: struct vdisk_overlay.commit
 *
 * Context: Process context; never runs twice at a time.
 */
void vdisk_overlay_commit_work(struct work_struct *work)
{
	struct vdisk_overlay *o = container_of(to_delayed_work(work),
					       struct vdisk_overlay, commit);
	struct vdisk_overlay_io *st, *next;
	blk_status_t status = BLK_STS_IOERR, held = BLK_STS_OK;
	bool proved = READ_ONCE(o->proved);
	LIST_HEAD(flushes);

	spin_lock_irq(&o->lock);
	list_splice_init(&o->flushes, &flushes);
	spin_unlock_irq(&o->lock);

	if (!READ_ONCE(o->layer->failed)) {
		status = o->through ? vdisk_through_commit(o) :
				      vdisk_meta_commit(o->meta);
		if (!status && proved)
			status = vdisk_overlay_record_full(o);
		/* Given back by a noflush suspend: the next resume commits. */
		if (status && status != BLK_STS_DM_REQUEUE)
			vdisk_overlay_fail(o, status);
	}
	if (status == BLK_STS_DM_REQUEUE)
		held = status;
	else if (o->through)
		held = vdisk_through_mark(o);

	list_for_each_entry_safe(st, next, &flushes, list)
		vdisk_end(st->io, o->n, status);
	vdisk_overlay_unthrottle(o, held);
	if (!status && o->through && vdisk_through_is_open(o->through))
		queue_delayed_work(o->wq, &o->commit, VDISK_COMMIT_DELAY);
	if (status || !o->punches)
		return;
	vdisk_overlay_punch_all(o);
	if (xa_marked(&o->presence->leaves, VDISK_LEAF_PUNCH))
		queue_delayed_work(o->wq, &o->commit, VDISK_COMMIT_DELAY);
}

static void vdisk_overlay_map_flush(struct vdisk_node *n, struct vdisk_io *io)
{
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;

	/* Durable is what outlives us; a volatile disk does not. */
	if (!o->meta) {
		vdisk_end(io, n, BLK_STS_OK);
		return;
	}
	vdisk_may_wait(io);
	st->io = io;
	vdisk_overlay_flush(o, st);
}

static blk_status_t vdisk_overlay_fill_load(struct vdisk_node *n, u64 unit,
					    u64 nr)
{
	return vdisk_overlay_load(n->priv, unit, nr);
}

static bool vdisk_overlay_fill_list(struct vdisk_node *n,
				    struct vdisk_punch *punch, u64 unit, u64 nr)
{
	struct vdisk_overlay *o = n->priv;

	vdisk_overlay_list_punch(o, punch, unit, nr);
	return !o->through || !vdisk_through_is_busy(o->through, unit, nr);
}

static void vdisk_overlay_fill_unlist(struct vdisk_node *n,
				      struct vdisk_punch *punch)
{
	vdisk_overlay_unlist_punch(n->priv, punch);
}

static bool vdisk_overlay_fill_full(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;

	return o->meta && vdisk_overlay_is_full(o);
}

static void vdisk_overlay_filled(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;

	if (o->meta)
		vdisk_overlay_changed(o);
}

/* Without room for what was only read, an overlay can live. */
static void vdisk_overlay_fill_failed(struct vdisk_node *n, blk_status_t status)
{
	struct vdisk_overlay *o = n->priv;

	if (o->cache && vdisk_store_is_blamed(status))
		vdisk_overlay_fail(o, status);
}

/* It is done when a cut cannot undo it. */
static void vdisk_overlay_hydrated(struct vdisk_node *n, bool all)
{
	struct vdisk_overlay *o = n->priv;

	if (!all || !vdisk_overlay_is_whole(o)) {
		vdisk_overlay_hydrate_ends(o, VDISK_HYDRATE_FAILED);
	} else if (!o->meta || o->through) {
		vdisk_overlay_hydrate_ends(o, VDISK_HYDRATE_DONE);
	} else {
		WRITE_ONCE(o->proved, true);
		mod_delayed_work(o->wq, &o->commit, 0);
	}
}

const struct vdisk_fill_ops vdisk_overlay_fill_ops = {
	.load = vdisk_overlay_fill_load,
	.list = vdisk_overlay_fill_list,
	.unlist = vdisk_overlay_fill_unlist,
	.full = vdisk_overlay_fill_full,
	.filled = vdisk_overlay_filled,
	.failed = vdisk_overlay_fill_failed,
	.hydrated = vdisk_overlay_hydrated,
};

/* Is it all in the store? */
static bool vdisk_overlay_has(const struct vdisk_overlay *o,
			      const struct vdisk_io *io)
{
	u64 nr = vdisk_overlay_units(o, io);
	enum vdisk_presence_state state;

	return vdisk_presence_run(o->presence, vdisk_overlay_unit(o, io), nr,
				  &state) == nr && state == VDISK_DATA;
}

/*
 * A read had to wait, and need not any more. It goes on as one piece, as it was
 * cut: to the store, if that has all of it by now, else to the base. What the
 * store has got since then it need not see.
 */
static void vdisk_overlay_read_later(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;

	if (vdisk_fill_again(o->fills, io, &st->wait))
		return;
	if (vdisk_cache_is_off(o) || !vdisk_overlay_has(o, io))
		vdisk_go_to(io, n->children[OVERLAY_BASE], 0);
	else if (o->cache)
		vdisk_go_to(io, o->kept, 0);
	else
		vdisk_go_to(io, n->children[OVERLAY_STORE], o->data);
}

static enum vdisk_map vdisk_overlay_read(struct vdisk_node *n,
					 struct vdisk_io *io)
{
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;

	st->nr = 0;
	st->fua = false;
	st->kept = false;
	if (!o->fills)
		return VDISK_DOWN;
	/* A store that has failed meanwhile may be where route() sends it. */
	st->iter = io->bio->bi_iter;
	st->flags = io->bio->bi_flags;
	if (vdisk_cache_is_off(o))
		return VDISK_DOWN;
	if (vdisk_fill_read(o->fills, io, &st->wait, vdisk_overlay_read_later))
		return VDISK_TAKEN;
	vdisk_fill_look(o->fills, io->bio->bi_iter.bi_sector);
	return VDISK_DOWN;
}

/*
 * A unit that the base ends in is in the store with zeroes behind that end, and a
 * read of it is not cut there. The base must not be asked for them. As completions
 * count by what a bio was sent down with, it may be shorter then.
 */
static bool vdisk_cache_end_at_base(struct bio *bio, sector_t len)
{
	struct bvec_iter iter = bio->bi_iter;
	sector_t has = len - min(len, iter.bi_sector);

	if (has >= bio_sectors(bio))
		return true;
	bio_advance_iter(bio, &bio->bi_iter, to_bytes(has));
	zero_fill_bio(bio);
	bio->bi_iter = iter;
	bio->bi_iter.bi_size = to_bytes(has);
	return has;
}

/* The store could not be read; the base has it as well. */
static void vdisk_cache_read_base(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_node *base = n->children[OVERLAY_BASE];
	struct vdisk_overlay_io *st = vdisk_state(n, io);

	/* Of read-ahead, nobody has tried hard. */
	if (vdisk_store_is_blamed(st->status) &&
	    !(io->bio->bi_opf & (REQ_RAHEAD | REQ_FAILFAST_MASK)))
		vdisk_overlay_fail(n->priv, st->status);
	if (vdisk_cache_end_at_base(io->bio, base->len))
		vdisk_go_to(io, base, 0);
	else
		vdisk_end(io, n, BLK_STS_OK);
}

static bool vdisk_cache_keep(struct vdisk_node *n, struct vdisk_io *io,
			     blk_status_t status)
{
	struct vdisk_overlay_io *st = vdisk_state(n, io);

	if (!st->kept || !status || status == BLK_STS_AGAIN ||
	    status == BLK_STS_DM_REQUEUE || status == BLK_STS_RESV_CONFLICT)
		return false;
	st->kept = false;
	st->status = status;
	vdisk_rewind(io, n, st->iter, st->flags);
	vdisk_defer(io, vdisk_cache_read_base);
	return true;
}

/* Not the store's if it has failed: then only the base is written. */
static void vdisk_through_finish(struct vdisk_overlay *o,
				 struct vdisk_through_io *ts, bool kept)
{
	bool held = bio_op(ts->st.io->bio) == REQ_OP_WRITE && ts->st.nr;
	u64 nr = ts->range.last - ts->range.first + 1;

	ts->begun = false;
	vdisk_fills_spoil(o->fills, ts->range.first << o->shift, nr << o->shift);
	vdisk_through_end(o->through, &ts->range, held ? o->presence : NULL, kept);
	if (o->meta)
		vdisk_overlay_changed(o);
}

/* The base has taken it. */
static void vdisk_through_store(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_overlay *o = n->priv;

	/* It needs not be durable there. */
	io->bio->bi_opf &= ~REQ_FUA;
	vdisk_go_to(io, n->children[OVERLAY_STORE], o->data);
}

/* What fails the store does not fail the guest. */
static void vdisk_through_failed(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_through_io *ts = vdisk_state(n, io);

	if (vdisk_store_is_blamed(ts->st.status))
		vdisk_overlay_fail(n->priv, ts->st.status);
	vdisk_through_finish(n->priv, ts, false);
	vdisk_end(io, n, BLK_STS_OK);
}

static enum vdisk_end vdisk_through_done(struct vdisk_node *n,
					 struct vdisk_io *io,
					 blk_status_t *status)
{
	struct vdisk_through_io *ts = vdisk_state(n, io);
	struct vdisk_overlay_io *st = &ts->st;
	struct vdisk_overlay *o = n->priv;
	bool kept = st->kept && !*status;

	if (!ts->begun)
		return VDISK_UP;
	if (!st->kept && bio_op(io->bio) == REQ_OP_WRITE && st->nr && !*status &&
	    !vdisk_through_is_spoilt(&ts->range)) {
		st->kept = true;
		vdisk_rewind(io, n, st->iter, st->flags);
		vdisk_defer(io, vdisk_through_store);
		return VDISK_KEPT;
	}
	if (st->kept && *status && *status != BLK_STS_DM_REQUEUE) {
		io->at = n;
		st->status = *status;
		vdisk_defer(io, vdisk_through_failed);
		return VDISK_KEPT;
	}
	/* A suspend has given back what was meant for the store: the base has it. */
	if (st->kept)
		*status = BLK_STS_OK;
	vdisk_through_finish(o, ts, kept);
	return VDISK_UP;
}

static enum vdisk_map vdisk_through_map(struct vdisk_node *n,
					struct vdisk_io *io)
{
	struct vdisk_through_io *ts = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;

	ts->begun = false;
	switch (bio_op(io->bio)) {
	case REQ_OP_WRITE:
		/* What is to be durable is so in the base. */
		return bio_sectors(io->bio) ? vdisk_through_write(n, io) : VDISK_DOWN;
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
		vdisk_defer_to(io, o->wq, vdisk_overlay_discard);
		return VDISK_TAKEN;
	default:
		vdisk_end(io, n, BLK_STS_NOTSUPP);
		return VDISK_TAKEN;
	}
}

/**
 * vdisk_cache_map - struct vdisk_ops' map, of a cache
 * @n: the node
 * @io: the io
 *
 * Context: Process context.
 * Return: what became of the bio.
 */
enum vdisk_map vdisk_cache_map(struct vdisk_node *n, struct vdisk_io *io)
{
	if (bio_op(io->bio) == REQ_OP_READ)
		return vdisk_overlay_read(n, io);
	if (((struct vdisk_overlay *)n->priv)->through)
		return vdisk_through_map(n, io);
	/* It has nothing of the guest's to be flushed, and refuses to get some. */
	vdisk_end(io, n, bio_op(io->bio) == REQ_OP_WRITE && !bio_sectors(io->bio) ?
		  BLK_STS_OK : BLK_STS_IOERR);
	return VDISK_TAKEN;
}

/**
 * vdisk_cache_end - struct vdisk_ops' end, of a cache
 * @n: the node
 * @io: the io
 * @status: how it went below
 *
 * Context: Any context.
 * Return: VDISK_KEPT if it goes down once more.
 */
enum vdisk_end vdisk_cache_end(struct vdisk_node *n, struct vdisk_io *io,
			       blk_status_t *status)
{
	if (bio_op(io->bio) == REQ_OP_READ)
		return vdisk_cache_keep(n, io, *status) ? VDISK_KEPT : VDISK_UP;
	if (((struct vdisk_overlay *)n->priv)->through)
		return vdisk_through_done(n, io, status);
	return VDISK_UP;
}

/**
 * vdisk_overlay_abort - struct vdisk_ops' abort
 * @n: the node
 * @which: those to end
 * @status: of theirs
 *
 * Context: Process context.
 */
void vdisk_overlay_abort(struct vdisk_node *n,
			 bool (*which)(struct vdisk_io *io), blk_status_t status)
{
	struct vdisk_overlay *o = n->priv;

	if (o->fills)
		vdisk_fills_abort(o->fills, which, status);
	if (o->merge)
		vdisk_merge_abort(o->merge, which, status);
}

/**
 * vdisk_overlay_map - struct vdisk_ops' map, of an overlay
 * @n: the node
 * @io: the io
 *
 * Context: Process context.
 * Return: what became of the bio.
 */
enum vdisk_map vdisk_overlay_map(struct vdisk_node *n, struct vdisk_io *io)
{
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;

	switch (bio_op(io->bio)) {
	case REQ_OP_READ:
		return vdisk_overlay_read(n, io);
	case REQ_OP_WRITE:
		st->fua = false;
		if (bio_sectors(io->bio))
			return vdisk_overlay_write(n, io);
		vdisk_overlay_map_flush(n, io);
		return VDISK_TAKEN;
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
		if (o->meta)
			vdisk_defer_to(io, o->wq, vdisk_overlay_discard);
		else if (io->bio->bi_opf & REQ_NOWAIT)
			vdisk_defer(io, vdisk_overlay_discard_volatile);
		else
			vdisk_overlay_discard_volatile(io);
		return VDISK_TAKEN;
	default:
		vdisk_end(io, n, BLK_STS_NOTSUPP);
		return VDISK_TAKEN;
	}
}

/**
 * vdisk_overlay_end - struct vdisk_ops' end, of an overlay
 * @n: the node
 * @io: the io
 * @status: how it went below
 *
 * Context: Any context.
 * Return: VDISK_KEPT if it waits for a commit.
 */
enum vdisk_end vdisk_overlay_end(struct vdisk_node *n, struct vdisk_io *io,
				 blk_status_t *status)
{
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;

	if (st->nr) {
		vdisk_presence_release(o->presence, st->unit, st->nr, !*status);
		if (o->meta)
			vdisk_overlay_changed(o);
	}
	/* An error does not mean that nothing was written. */
	if (o->merge && bio_op(io->bio) == REQ_OP_WRITE)
		vdisk_merge_changed(o->merge, st->iter.bi_sector,
				    st->iter.bi_size >> SECTOR_SHIFT);
	if (!st->fua || *status)
		return VDISK_UP;
	vdisk_overlay_flush(o, st);
	return VDISK_KEPT;
}
