// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine: how a bio walks down a stack and up again.
 *
 * A stack that only remaps needs one loop (vdisk_map_remap()) and keeps one
 * pointer per bio, the leaf, for the error counters.
 *
 * Any other stack keeps a struct vdisk_io. Who owns the bio:
 *
 *	vdisk_down()	the engine, until map() says TAKEN or the leaf has it
 *	TAKEN, KEPT	the node, until it calls vdisk_go_on() or vdisk_end()
 *	multiplied	its pieces; the last to end passes it on upwards
 *
 * Multiplying: a bio that a node cannot pass on in one piece is sent on as
 * several bios of the node's own pool. Data is cut where route() says; a flush
 * goes to every child; a discard, secure erase or write-zeroes to every child
 * that has a part of it. Nobody ever waits for a pool: an io that finds it
 * empty is parked and goes on when one of its bios comes back. A bio of a
 * node's pool only ever needs bios of pools below that node, so there is no
 * cycle, and each pool's reserve guarantees progress.
 */
#include <linux/blk-cgroup.h>
#include <linux/blk-integrity.h>
#include <linux/slab.h>

#include "vdisk.h"

/* Reserve of a pool: one bio would do for progress. */
#define VDISK_POOL_SIZE		16

/**
 * struct vdisk_multi - an io that is being multiplied at a node
 * @pending: bios on their way, plus one while there may be more
 * @status: of a piece that failed; read when @pending is 0
 * @next: what was sent: sectors of data, else children
 * @starved: in the node's list of the same name
 * @io: the io
 */
struct vdisk_multi {
	atomic_t pending;
	blk_status_t status;
	sector_t next;
	struct list_head starved;
	struct vdisk_io *io;
};

static struct vdisk_multi *vdisk_multi(struct vdisk_node *n, struct vdisk_io *io)
{
	return (void *)((char *)io + n->multi_offset);
}

/**
 * vdisk_multi_size - per-bio state the engine needs to multiply at a node
 * @n: the node
 *
 * Return: bytes, a multiple of 8; 0 if bios are never multiplied there.
 */
unsigned int vdisk_multi_size(const struct vdisk_node *n)
{
	if (!n->ops->route || (n->nr_children < 2 && !n->ops->splits))
		return 0;
	return ALIGN(sizeof(struct vdisk_multi), 8);
}

/* Data is cut anywhere; these ops are given to each child as one range. */
static bool vdisk_is_range(const struct bio *bio)
{
	switch (bio_op(bio)) {
	case REQ_OP_DISCARD:
	case REQ_OP_SECURE_ERASE:
	case REQ_OP_WRITE_ZEROES:
		return true;
	default:
		return false;
	}
}

static bool vdisk_is_data(const struct bio *bio)
{
	return bio_op(bio) == REQ_OP_READ || bio_op(bio) == REQ_OP_WRITE;
}

static bool vdisk_is_flush(const struct bio *bio)
{
	return (bio->bi_opf & REQ_PREFLUSH) && !bio->bi_iter.bi_size;
}

static void vdisk_count_bio(struct vdisk_node *leaf, const struct bio *bio)
{
	unsigned int kind = VDISK_WRITE;

	if (bio_op(bio) == REQ_OP_READ)
		kind = VDISK_READ;
	else if (vdisk_is_flush(bio))
		kind = VDISK_FLUSH;
	else if (bio_op(bio) != REQ_OP_WRITE)
		kind = VDISK_DISCARD;
	this_cpu_inc(leaf->count->ios[kind]);
	this_cpu_add(leaf->count->sectors[kind], bio_sectors(bio));
}

/* Not errors of the device: a feature it lacks, or "later, please". */
static void vdisk_count_error(struct vdisk_node *leaf, blk_status_t status)
{
	if (status != BLK_STS_NOTSUPP && status != BLK_STS_AGAIN &&
	    status != BLK_STS_DM_REQUEUE)
		this_cpu_inc(leaf->count->errors);
}

/* The part of a range that lies in one child; false if none does. */
static bool vdisk_range(struct vdisk_node *n, unsigned int child,
			struct vdisk_run *run)
{
	sector_t nr = run->nr;

	if (n->ops->range)
		return n->ops->range(n, child, run);
	n->ops->route(n, run);
	run->nr = nr;
	return true;
}

/*
 * The one trim. Integrity metadata is dm core's only when it cuts by itself;
 * an atomic write is one piece or nothing.
 */
static bool vdisk_trim(struct bio *bio, sector_t nr)
{
	if (likely(nr == bio_sectors(bio)))
		return true;
	if (bio->bi_opf & REQ_ATOMIC)
		return false;
	dm_accept_partial_bio(bio, nr);
	if (bio_integrity(bio))
		bio_integrity_trim(bio);
	return true;
}

static int vdisk_answer(struct bio *bio, blk_status_t status)
{
	bio->bi_status = status;
	bio_endio(bio);
	return DM_MAPIO_SUBMITTED;
}

static void vdisk_set_leaf(struct vdisk_node *leaf, struct bio *bio,
			   sector_t sector)
{
	vdisk_count_bio(leaf, bio);
	bio_set_dev(bio, vdisk_block_bdev(leaf));
	bio->bi_iter.bi_sector = sector + vdisk_block_start(leaf);
}

/* A copy of a range op for each leaf: this one takes its leaf's part. */
static int vdisk_map_range(struct vdisk_stack *s, struct vdisk_node *leaf,
			   struct bio *bio, struct vdisk_run *run)
{
	struct vdisk_node *way[VDISK_MAX_DEPTH];
	struct vdisk_node *n;
	unsigned int depth;

	for (n = leaf; n; n = n->parent)
		way[n->depth] = n;
	for (depth = 0; depth < leaf->depth; depth++)
		if (!vdisk_range(way[depth], way[depth + 1]->index, run))
			return vdisk_answer(bio, BLK_STS_OK);

	bio->bi_iter.bi_size = to_bytes(run->nr);
	vdisk_set_leaf(leaf, bio, run->sector);
	return DM_MAPIO_REMAPPED;
}

static int vdisk_map_remap(struct vdisk_stack *s, struct bio *bio,
			   struct vdisk_run *run)
{
	struct vdisk_node **at = dm_per_bio_data(bio, sizeof(*at));
	struct vdisk_node *n = s->nodes[0];

	if (likely(vdisk_is_data(bio)) && likely(run->nr)) {
		while (n->ops->route)
			n = n->ops->route(n, run);
		*at = n;
		if (unlikely(!vdisk_trim(bio, run->nr)))
			return vdisk_answer(bio, BLK_STS_INVAL);
		vdisk_set_leaf(n, bio, run->sector);
		return DM_MAPIO_REMAPPED;
	}
	if (vdisk_is_flush(bio)) {
		*at = s->flushes[dm_bio_get_target_bio_nr(bio)];
		vdisk_set_leaf(*at, bio, 0);
		return DM_MAPIO_REMAPPED;
	}
	if (vdisk_is_range(bio)) {
		*at = s->leaves[dm_bio_get_target_bio_nr(bio)];
		return vdisk_map_range(s, *at, bio, run);
	}
	*at = n;
	return vdisk_answer(bio, BLK_STS_NOTSUPP);
}

/* How much of the bio the whole way can serve as one piece. */
static sector_t vdisk_span(struct vdisk_node *n, struct vdisk_run run)
{
	while (n->ops->route)
		n = n->ops->route(n, &run);
	return run.nr;
}

static void vdisk_multiply(struct vdisk_io *io, struct vdisk_node *n);

static bool vdisk_must_multiply(struct vdisk_node *n, const struct bio *bio,
				const struct vdisk_run *run)
{
	if (!n->pool)
		return false;
	if (vdisk_is_data(bio) && bio->bi_iter.bi_size)
		return run->nr < bio_sectors(bio);
	/* A node with a map() sends these on as it sees fit. */
	if (n->ops->map || n->nr_children < 2)
		return false;
	return vdisk_is_flush(bio) || run->nr < bio_sectors(bio);
}

/*
 * Walk down from @n until the bio is taken or ready for its device. With
 * @given, that is where @n sends the bio, and its route() is not asked again.
 * Returns DM_MAPIO_REMAPPED if the bio is to be submitted.
 */
static int vdisk_down(struct vdisk_io *io, struct vdisk_node *n,
		      struct vdisk_node *given, struct vdisk_run run)
{
	struct bio *bio = io->bio;

	for (;;) {
		struct vdisk_node *child = given;
		enum vdisk_map r = VDISK_DOWN;

		if (!child && n->ops->route) {
			run.sector = bio->bi_iter.bi_sector;
			run.nr = bio_sectors(bio);
			child = n->ops->route(n, &run);
			if (vdisk_must_multiply(n, bio, &run)) {
				vdisk_multiply(io, n);
				return DM_MAPIO_SUBMITTED;
			}
		}
		given = NULL;
		io->at = n;
		if (n->ops->map)
			r = n->ops->map(n, io);
		switch (r) {
		case VDISK_DOWN:
			bio->bi_iter.bi_sector = run.sector;
			n = child;
			break;
		case VDISK_REMAPPED:
			vdisk_count_bio(n, bio);
			return DM_MAPIO_REMAPPED;
		case VDISK_ENDED:
			vdisk_count_bio(n, bio);
			bio_endio(bio);
			return DM_MAPIO_SUBMITTED;
		case VDISK_TAKEN:
			return DM_MAPIO_SUBMITTED;
		}
	}
}

/* As vdisk_down(), outside of dm core's map call. */
static void vdisk_send(struct vdisk_io *io, struct vdisk_node *n,
		       struct vdisk_node *given, struct vdisk_run run)
{
	struct vdisk_io *base;

	if (vdisk_down(io, n, given, run) != DM_MAPIO_REMAPPED)
		return;
	if (!io->stack->ti->accounts_remapped_io) {
		submit_bio_noacct(io->bio);
		return;
	}
	for (base = io; base->pool; base = base->owner)
		;
	dm_submit_bio_remap(base->bio, io->bio);
}

/*
 * On the way up: false if a node kept the io. What @status says is what the
 * next node, and in the end the guest, sees.
 */
static bool vdisk_up(struct vdisk_io *io, blk_status_t *status)
{
	struct vdisk_node *n;

	while ((n = io->at) != io->stop) {
		io->at = n->parent;
		if (unlikely(*status) && n->count)
			vdisk_count_error(n, *status);
		if (n->ops->end && n->ops->end(n, io, status) == VDISK_KEPT)
			return false;
	}
	return true;
}

/**
 * vdisk_map - dm core's map
 * @ti: the target
 * @bio: dm's clone
 *
 * Context: Process context; sleeps only where a leaf in memory allocates, and
 * not for REQ_NOWAIT.
 * Return: DM_MAPIO_REMAPPED or DM_MAPIO_SUBMITTED.
 */
int vdisk_map(struct dm_target *ti, struct bio *bio)
{
	struct vdisk_stack *s = ti->private;
	struct vdisk_run run = {
		.sector = dm_target_offset(ti, bio->bi_iter.bi_sector),
		.nr = bio_sectors(bio),
	};
	struct vdisk_io *io;

	if (likely(s->remaps))
		return vdisk_map_remap(s, bio, &run);

	io = dm_per_bio_data(bio, s->io_size);
	io->at = NULL;
	io->stop = NULL;
	io->stack = s;
	io->bio = bio;
	io->pool = NULL;
	bio->bi_iter.bi_sector = run.sector;
	if (vdisk_is_data(bio) && run.nr) {
		if (!vdisk_trim(bio, vdisk_span(s->nodes[0], run)))
			return vdisk_answer(bio, BLK_STS_INVAL);
	} else if (vdisk_is_flush(bio)) {
		bio->bi_iter.bi_sector = 0;	/* dm core's is not the target's */
	} else if (!vdisk_is_range(bio)) {
		return vdisk_answer(bio, BLK_STS_NOTSUPP);
	}
	/*
	 * A worker must not pay for the submitter. Where dm core associates
	 * the bio with the original's cgroup it does so at its submission.
	 */
	if (s->wq && !ti->accounts_remapped_io)
		bio_associate_blkg(bio);
	return vdisk_down(io, s->nodes[0], NULL, run);
}

/**
 * vdisk_end_io - dm core's end_io
 * @ti: the target
 * @bio: dm's clone
 * @status: of the bio
 *
 * Called again by the bio_endio() of vdisk_end(), and then goes on where the
 * node that kept the io stands.
 *
 * Context: Any context.
 * Return: DM_ENDIO_DONE, or DM_ENDIO_INCOMPLETE if a node kept the io.
 */
int vdisk_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *status)
{
	struct vdisk_stack *s = ti->private;

	if (likely(s->remaps)) {
		if (unlikely(*status)) {
			struct vdisk_node **at = dm_per_bio_data(bio, sizeof(*at));

			if ((*at)->count)
				vdisk_count_error(*at, *status);
		}
		return DM_ENDIO_DONE;
	}
	return vdisk_up(dm_per_bio_data(bio, s->io_size), status) ?
	       DM_ENDIO_DONE : DM_ENDIO_INCOMPLETE;
}

static void vdisk_work(struct work_struct *work)
{
	struct vdisk_io *io = container_of(work, struct vdisk_io, work);

	io->fn(io);
}

/**
 * vdisk_defer - go on with an io in process context
 * @io: the io, owned by the caller
 * @fn: runs on the stack's worker; owns the io
 *
 * The bio may wait from here on, and nobody polls for it.
 *
 * Context: Any context.
 */
void vdisk_defer(struct vdisk_io *io, void (*fn)(struct vdisk_io *io))
{
	struct vdisk_stack *s = io->stack;

	io->bio->bi_opf &= ~REQ_NOWAIT;
	bio_clear_polled(io->bio);
	io->fn = fn;
	INIT_WORK(&io->work, vdisk_work);
	queue_work(s->wq, &io->work);
}

/**
 * vdisk_go_on - send an io that a node had taken down to its child
 * @io: the io
 * @n: the node
 *
 * Context: Process context, may sleep.
 */
void vdisk_go_on(struct vdisk_io *io, struct vdisk_node *n)
{
	struct vdisk_run run = {
		.sector = io->bio->bi_iter.bi_sector,
		.nr = bio_sectors(io->bio),
	};
	struct vdisk_node *child = n->ops->route(n, &run);

	/* A piece of @n itself is as small as it gets: see vdisk_next_piece(). */
	if (io->pool != n && vdisk_must_multiply(n, io->bio, &run)) {
		vdisk_multiply(io, n);
		return;
	}
	io->bio->bi_iter.bi_sector = run.sector;
	vdisk_send(io, child, NULL, run);
}

/**
 * vdisk_end - end an io that a node had taken or kept
 * @io: the io
 * @n: the node; its parent is the next to see the io
 * @status: how it went
 *
 * Context: Any context.
 */
void vdisk_end(struct vdisk_io *io, struct vdisk_node *n, blk_status_t status)
{
	io->at = n->parent;
	io->bio->bi_status = status;
	bio_endio(io->bio);
}

static void vdisk_own_endio(struct bio *bio)
{
	struct vdisk_io *io = bio->bi_private;
	blk_status_t status = bio->bi_status;

	if (vdisk_up(io, &status))
		io->done(io, status);
}

/**
 * vdisk_io_alloc - take a bio of a node's own pool
 * @n: the node
 * @owner: the io it works for; its bio is cloned, data and all
 *
 * Context: Any context that may be asked with GFP_NOWAIT; never waits.
 * Return: an io to fill in and vdisk_io_submit(), or NULL: the pool is empty,
 * and some bio of it is on its way.
 */
struct vdisk_io *vdisk_io_alloc(struct vdisk_node *n, struct vdisk_io *owner)
{
	struct bio *src = owner->bio;
	struct vdisk_io *io;
	struct bio *bio;

	bio = bio_alloc_clone(src->bi_bdev, src, GFP_NOWAIT | __GFP_NOWARN,
			      n->pool);
	if (!bio)
		return NULL;
	io = (void *)((char *)bio - n->stack->io_size);
	io->stack = n->stack;
	io->bio = bio;
	io->owner = owner;
	io->pool = n;
	bio->bi_private = io;
	bio->bi_end_io = vdisk_own_endio;
	/* dm core polls its clone only. REQ_NOWAIT is the owner's to keep. */
	bio_clear_polled(bio);
	return io;
}

/* Send an own io down at @n; what happens from @stop upwards is not its own. */
static void vdisk_own_send(struct vdisk_io *io, struct vdisk_node *n,
			   struct vdisk_node *stop, struct vdisk_node *given,
			   struct vdisk_run run)
{
	io->stop = stop;
	io->at = n;
	vdisk_send(io, n, given, run);
}

/**
 * vdisk_io_submit - send an io of a node's own to one of its children
 * @io: from vdisk_io_alloc(), its bio filled in relative to the child
 * @child: where it goes
 * @done: called once, in any context; owns the io
 *
 * Context: Process context, may sleep.
 */
void vdisk_io_submit(struct vdisk_io *io, struct vdisk_node *child,
		     void (*done)(struct vdisk_io *io, blk_status_t status))
{
	io->done = done;
	vdisk_own_send(io, child, child->parent, NULL, (struct vdisk_run){});
}

static void vdisk_multiply_work(struct vdisk_io *io);

/**
 * vdisk_io_free - give an io back to its pool
 * @io: the io
 *
 * Context: Any context.
 */
void vdisk_io_free(struct vdisk_io *io)
{
	struct vdisk_node *n = io->pool;
	struct vdisk_multi *m;
	unsigned long flags;

	bio_put(io->bio);
	/* Pairs with vdisk_starve(): whoever parks looks at the pool again. */
	smp_mb();
	if (likely(list_empty(&n->starved)))
		return;
	spin_lock_irqsave(&n->lock, flags);
	m = list_first_entry_or_null(&n->starved, struct vdisk_multi, starved);
	if (m)
		list_del_init(&m->starved);
	spin_unlock_irqrestore(&n->lock, flags);
	if (m)
		vdisk_defer(m->io, vdisk_multiply_work);
}

static void vdisk_multi_put(struct vdisk_io *io, struct vdisk_node *n)
{
	struct vdisk_multi *m = vdisk_multi(n, io);

	if (atomic_dec_and_test(&m->pending))
		vdisk_end(io, n, m->status);
}

static void vdisk_piece_done(struct vdisk_io *piece, blk_status_t status)
{
	struct vdisk_io *io = piece->owner;
	struct vdisk_node *n = piece->pool;

	/* Of several errors any will do; ordered by the decrement of pending. */
	if (unlikely(status))
		WRITE_ONCE(vdisk_multi(n, io)->status, status);
	vdisk_io_free(piece);
	vdisk_multi_put(io, n);
}

/*
 * Send the next piece with @piece. False if there was none left. Pieces of
 * data enter at @n itself, which said how much it takes; copies of the other
 * ops enter at the children.
 */
static bool vdisk_next_piece(struct vdisk_io *io, struct vdisk_node *n,
			     struct vdisk_io *piece)
{
	struct vdisk_multi *m = vdisk_multi(n, io);
	struct bio *bio = piece->bio;
	struct vdisk_run run = {};

	piece->done = vdisk_piece_done;
	if (vdisk_is_data(bio)) {
		struct vdisk_node *child;

		if (m->next == bio_sectors(bio))
			return false;
		bio_advance(bio, to_bytes(m->next));
		run.sector = bio->bi_iter.bi_sector;
		run.nr = bio_sectors(bio);
		child = n->ops->route(n, &run);
		bio->bi_iter.bi_size = to_bytes(run.nr);
		m->next += run.nr;
		atomic_inc(&m->pending);
		vdisk_own_send(piece, n, n->parent, child, run);
		return true;
	}
	while (m->next < n->nr_children) {
		struct vdisk_node *child = n->children[m->next++];

		run.sector = bio->bi_iter.bi_sector;
		run.nr = bio_sectors(bio);
		if (!child->len ||
		    (!vdisk_is_flush(bio) && !vdisk_range(n, child->index, &run)))
			continue;
		if (!vdisk_is_flush(bio)) {
			bio->bi_iter.bi_sector = run.sector;
			bio->bi_iter.bi_size = to_bytes(run.nr);
		}
		atomic_inc(&m->pending);
		vdisk_own_send(piece, child, n, NULL, run);
		return true;
	}
	return false;
}

/*
 * The pool is empty. Park the io, then look once more: a bio that came back
 * in between found nobody parked. Returns a bio, or NULL if the io is parked
 * or already goes on elsewhere.
 */
static struct vdisk_io *vdisk_starve(struct vdisk_io *io, struct vdisk_node *n)
{
	struct vdisk_multi *m = vdisk_multi(n, io);
	struct vdisk_io *piece;
	unsigned long flags;
	bool mine;

	spin_lock_irqsave(&n->lock, flags);
	list_add_tail(&m->starved, &n->starved);
	spin_unlock_irqrestore(&n->lock, flags);
	smp_mb();	/* pairs with vdisk_io_free() */
	piece = vdisk_io_alloc(n, io);
	if (!piece)
		return NULL;
	spin_lock_irqsave(&n->lock, flags);
	mine = !list_empty(&m->starved);
	list_del_init(&m->starved);
	spin_unlock_irqrestore(&n->lock, flags);
	if (mine)
		return piece;
	vdisk_io_free(piece);
	return NULL;
}

static void vdisk_multiply_more(struct vdisk_io *io, struct vdisk_node *n)
{
	struct vdisk_io *piece;

	do {
		piece = vdisk_io_alloc(n, io);
		if (!piece)
			piece = vdisk_starve(io, n);
		if (!piece)
			return;
	} while (vdisk_next_piece(io, n, piece));
	vdisk_io_free(piece);
	vdisk_multi_put(io, n);
}

static void vdisk_multiply_work(struct vdisk_io *io)
{
	vdisk_multiply_more(io, io->at);
}

/* Send an io on from @n as several; owns it until the last of them is back. */
static void vdisk_multiply(struct vdisk_io *io, struct vdisk_node *n)
{
	struct vdisk_multi *m = vdisk_multi(n, io);

	atomic_set(&m->pending, 1);
	m->status = BLK_STS_OK;
	m->next = 0;
	m->io = io;
	INIT_LIST_HEAD(&m->starved);
	io->at = n;
	vdisk_multiply_more(io, n);
}

/**
 * vdisk_pool_init - give a node bios of its own
 * @n: the node; its stack's per-bio layout is final
 *
 * Context: Process context, may sleep.
 * Return: 0 or -errno.
 */
int vdisk_pool_init(struct vdisk_node *n)
{
	int r;

	n->pool = kzalloc(sizeof(*n->pool), GFP_KERNEL);
	if (!n->pool)
		return -ENOMEM;
	r = bioset_init(n->pool, VDISK_POOL_SIZE, n->stack->io_size, 0);
	if (r) {
		kfree(n->pool);
		n->pool = NULL;
	}
	return r;
}

/**
 * vdisk_pool_exit - undo vdisk_pool_init(), if it was
 * @n: the node; none of its bios is in flight
 *
 * Context: Process context.
 */
void vdisk_pool_exit(struct vdisk_node *n)
{
	if (!n->pool)
		return;
	bioset_exit(n->pool);
	kfree(n->pool);
	n->pool = NULL;
}
