// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine: how a bio walks down a stack and up again.
 *
 * A stack that only remaps needs one loop (vdisk_map_data()) and keeps one
 * pointer per bio, the leaf, for the error counters.
 *
 * Any other stack keeps a struct vdisk_io. Who owns the bio:
 *
 *	vdisk_down()	the engine, until map() says TAKEN or the leaf has it
 *	TAKEN, KEPT	the node, until it calls vdisk_go_on() or vdisk_end()
 *	multiplied	its pieces; the last to end passes it on upwards
 *
 * Multiplying: a bio that a node cannot pass on in one piece is sent on as
 * several bios of a pool of the node's. Data is cut where route() says; a flush
 * goes to every child; a discard, secure erase or write-zeroes to every child
 * that has a part of it. Down, up and multiplying call each other once per
 * level of the stack at most: VDISK_MAX_DEPTH bounds the recursion.
 *
 * Progress: nobody sleeps for a pool. An io that finds one empty is parked and
 * goes on when a bio of that pool comes back. A node has one pool for pieces
 * and one for bios of its own. A piece may need a bio of its node's own, or of
 * pools below; a bio of a node's own only pools below. So there is no cycle,
 * and each pool's reserve guarantees progress.
 */
#include <linux/blk-cgroup.h>
#include <linux/blk-integrity.h>
#include <linux/completion.h>
#include <linux/indirect_call_wrapper.h>
#include <linux/mempool.h>
#include <linux/slab.h>

#include "vdisk.h"

/* Reserve of a pool: one bio would do for progress. */
#define VDISK_POOL_SIZE		16

/**
 * struct vdisk_pool - bios with the per-bio state of the whole stack
 * @ios: struct vdisk_io with its states, and the bio behind them
 * @lock: guards @waiting; taken with interrupts off, @ios' lock inside it
 * @waiting: who found the pool empty, by vdisk_wait.list
 */
struct vdisk_pool {
	mempool_t ios;
	spinlock_t lock;	/* guards @waiting */
	struct list_head waiting;
};

/**
 * struct vdisk_multi - an io that is being multiplied at a node
 * @pending: bios on their way, plus one while there may be more
 * @status: of a piece that failed; read when @pending is 0
 * @mapped: the node's map() has seen the io, and its end() will
 * @next: what was sent: sectors of data, else children
 * @wait: for a bio of the pool
 */
struct vdisk_multi {
	atomic_t pending;
	blk_status_t status;
	bool mapped;
	sector_t next;
	struct vdisk_wait wait;
};

/* Where the next bio of a multiplied io goes, and what it takes. */
struct vdisk_piece {
	struct vdisk_node *child;
	struct vdisk_run run;	/* in the child */
	sector_t skip;		/* data: sectors before it */
	sector_t next;		/* vdisk_multi.next behind it */
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
	if (!n->route || (n->nr_children < 2 && !n->ops->splits))
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

/**
 * vdisk_kind - what a bio counts as
 * @bio: data, a flush or a range
 *
 * Context: Any context.
 * Return: VDISK_READ, VDISK_WRITE, VDISK_FLUSH or VDISK_DISCARD.
 */
unsigned int vdisk_kind(const struct bio *bio)
{
	if (vdisk_is_flush(bio))
		return VDISK_FLUSH;
	return vdisk_is_data(bio) ? bio_data_dir(bio) : VDISK_DISCARD;
}

/**
 * vdisk_count_bio - count a bio that a leaf serves
 * @leaf: the leaf
 * @bio: as the leaf got it
 *
 * The engine does so for a leaf that ends or remaps a bio; one that takes it
 * does so itself.
 *
 * Context: Any context.
 */
void vdisk_count_bio(struct vdisk_node *leaf, const struct bio *bio)
{
	unsigned int kind = vdisk_kind(bio);

	this_cpu_inc(leaf->count->ios[kind]);
	this_cpu_add(leaf->count->sectors[kind], bio_sectors(bio));
}

/* One of these per level of a stack: worth to be spared a retpoline. */
static struct vdisk_node *vdisk_route(struct vdisk_node *n,
				      struct vdisk_run *run)
{
	return INDIRECT_CALL_2(n->route, vdisk_concat_route,
			       vdisk_striped_route, n, run);
}

/* Not errors of the device: read-ahead, a feature it lacks, "later, please". */
static void vdisk_count_error(struct vdisk_node *leaf, const struct bio *bio,
			      blk_status_t status)
{
	if (!(bio->bi_opf & REQ_RAHEAD) && status != BLK_STS_NOTSUPP &&
	    status != BLK_STS_AGAIN && status != BLK_STS_DM_REQUEUE)
		this_cpu_inc(leaf->count->errors);
}

/* The part of a range that lies in one child; false if none does. */
static bool vdisk_range(struct vdisk_node *n, unsigned int child,
			struct vdisk_run *run)
{
	sector_t nr = run->nr;

	if (n->ops->range)
		return n->ops->range(n, child, run);
	n->route(n, run);
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
	bio_set_dev(bio, leaf->bdev);
	bio->bi_iter.bi_sector = sector + leaf->start;
}

/* A copy of a range op for each leaf: this one takes its leaf's part. */
static int vdisk_map_copy(struct vdisk_node *leaf, struct bio *bio,
			  struct vdisk_run *run)
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
	vdisk_count_bio(leaf, bio);
	vdisk_set_leaf(leaf, bio, run->sector);
	return DM_MAPIO_REMAPPED;
}

/* Data: the path that has to be short. */
static int vdisk_map_data(struct vdisk_stack *s, struct bio *bio,
			  struct vdisk_run *run)
{
	struct vdisk_node **at = dm_per_bio_data(bio, sizeof(*at));
	struct vdisk_node *n = s->nodes[0];
	unsigned int dir = bio_data_dir(bio);

	while (n->route)
		n = vdisk_route(n, run);
	*at = n;
	if (unlikely(!vdisk_trim(bio, run->nr)))
		return vdisk_answer(bio, BLK_STS_INVAL);
	this_cpu_inc(n->count->ios[dir]);
	this_cpu_add(n->count->sectors[dir], run->nr);
	vdisk_set_leaf(n, bio, run->sector);
	return DM_MAPIO_REMAPPED;
}

static noinline int vdisk_map_other(struct vdisk_stack *s, struct bio *bio,
				    struct vdisk_run *run)
{
	struct vdisk_node **at = dm_per_bio_data(bio, sizeof(*at));
	unsigned int copy = dm_bio_get_target_bio_nr(bio);

	*at = s->nodes[0];
	if (vdisk_is_flush(bio)) {
		*at = s->flushes[copy];
		vdisk_count_bio(*at, bio);
		vdisk_set_leaf(*at, bio, 0);
		return DM_MAPIO_REMAPPED;
	}
	if (!vdisk_is_range(bio))
		return vdisk_answer(bio, BLK_STS_NOTSUPP);
	if (s->copies) {
		*at = s->leaves[copy];
		return vdisk_map_copy(*at, bio, run);
	}
	while ((*at)->route)
		*at = vdisk_route(*at, run);
	vdisk_trim(bio, run->nr);	/* only an atomic write is refused */
	vdisk_count_bio(*at, bio);
	vdisk_set_leaf(*at, bio, run->sector);
	return DM_MAPIO_REMAPPED;
}

/**
 * vdisk_charge - a bio keeps the cgroup it came with
 * @bio: the bio
 *
 * A worker must not pay for the submitter. Where dm core submits the clone it
 * looks at the original once more.
 *
 * Context: The submitter's.
 */
void vdisk_charge(struct bio *bio)
{
#ifdef CONFIG_BLK_CGROUP
	if (!bio->bi_blkg)
		bio_associate_blkg(bio);
#endif
}

/*
 * How much of the bio the whole way can serve as one piece; but a block of the
 * root, which no node has larger, is never cut here: nodes below, whose blocks
 * may be smaller, multiply. So does a node that has to be ready before it is
 * asked where a read goes.
 */
static sector_t vdisk_span(struct vdisk_node *root, struct vdisk_run run)
{
	sector_t block = root->lim.logical_block_size >> SECTOR_SHIFT;
	struct vdisk_node *n = root;
	sector_t all = run.nr;

	while (n->route && (run.write || !n->ops->ready))
		n = vdisk_route(n, &run);
	if (run.nr == all)
		return all;
	return round_down(run.nr, block) ?: min(block, all);
}

static void vdisk_multiply(struct vdisk_io *io, struct vdisk_node *n,
			   bool mapped);

static bool vdisk_must_multiply(struct vdisk_node *n, const struct bio *bio,
				const struct vdisk_run *run)
{
	if (!n->pieces)
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

		if (!child && n->ops->ready && vdisk_is_data(bio)) {
			io->at = n;
			if (n->ops->defers)
				vdisk_charge(bio);
			if (!n->ops->ready(n, io))
				return DM_MAPIO_SUBMITTED;
		}
		if (!child && n->route) {
			run.sector = bio->bi_iter.bi_sector;
			run.nr = bio_sectors(bio);
			run.write = op_is_write(bio_op(bio));
			child = n->route(n, &run);
			if (vdisk_must_multiply(n, bio, &run)) {
				vdisk_multiply(io, n, false);
				return DM_MAPIO_SUBMITTED;
			}
		}
		given = NULL;
		io->at = n;
		if (n->ops->defers && !n->ops->charges)
			vdisk_charge(bio);
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
	if (vdisk_down(io, n, given, run) == DM_MAPIO_REMAPPED)
		submit_bio_noacct(io->bio);
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
			vdisk_count_error(n, io->bio, *status);
		if (n->ops->end && INDIRECT_CALL_1(n->ops->end, vdisk_pr_end,
						   n, io, status) == VDISK_KEPT)
			return false;
	}
	return true;
}

/* Does the root, a pr, let a bio in? Then it is counted until it ends. */
static __always_inline bool vdisk_enter(struct vdisk_stack *s,
					struct vdisk_io *io,
					const struct bio *bio)
{
	u64 word;

	/*
	 * Pairs with synchronize_rcu(): a word that is seen is counted. Of the
	 * read sections this one costs least.
	 */
	rcu_read_lock_sched();
	word = READ_ONCE(s->gate->word);
	if (unlikely(word & BIT_ULL((__force unsigned int)bio_op(bio)))) {
		rcu_read_unlock_sched();
		return false;
	}
	io->in = s->gate->ios + !!(word & VDISK_GATE_EPOCH);
	this_cpu_inc(*io->in);
	rcu_read_unlock_sched();
	return true;
}

static noinline int vdisk_map_io(struct vdisk_stack *s, struct bio *bio,
				 struct vdisk_run run)
{
	struct vdisk_io *io = dm_per_bio_data(bio, s->io_size);
	struct vdisk_node *n = s->nodes[0];

	io->at = NULL;
	io->stop = NULL;
	io->stack = s;
	io->bio = bio;
	io->pool = NULL;
	io->owner = io;
	bio->bi_iter.bi_sector = run.sector;
	run.write = op_is_write(bio_op(bio));
	if (vdisk_is_data(bio) && run.nr) {
		if (run.nr > s->whole &&
		    !vdisk_trim(bio, vdisk_span(s->nodes[0], run)))
			return vdisk_answer(bio, BLK_STS_INVAL);
	} else if (vdisk_is_flush(bio)) {
		bio->bi_iter.bi_sector = 0;	/* dm core's is not the target's */
	} else if (!vdisk_is_range(bio)) {
		return vdisk_answer(bio, BLK_STS_NOTSUPP);
	}
	/* The map() of a pr is for who is not let in. */
	if (s->gate && likely(vdisk_enter(s, io, bio)))
		n = n->children[0];
	return vdisk_down(io, n, NULL, run);
}

/*
 * As vdisk_map_data(), below a gate. What is to be cut or refused takes the long
 * way.
 */
static int vdisk_map_direct(struct vdisk_stack *s, struct bio *bio,
			    struct vdisk_run *run)
{
	struct vdisk_io *io = dm_per_bio_data(bio, s->io_size);
	struct vdisk_node *n = s->nodes[0]->children[0];
	unsigned int dir = bio_data_dir(bio);

	while (n->route)
		n = vdisk_route(n, run);
	if (unlikely(run->nr < bio_sectors(bio) || !vdisk_enter(s, io, bio))) {
		run->sector = dm_target_offset(s->ti, bio->bi_iter.bi_sector);
		run->nr = bio_sectors(bio);
		return vdisk_map_io(s, bio, *run);
	}
	io->at = n;
	this_cpu_inc(n->count->ios[dir]);
	this_cpu_add(n->count->sectors[dir], run->nr);
	vdisk_set_leaf(n, bio, run->sector);
	return DM_MAPIO_REMAPPED;
}

/*
 * As vdisk_map_data(), through nodes that let a bio pass. On its way up nobody
 * above the leaf wants to know.
 */
static int vdisk_map_pass(struct vdisk_stack *s, struct bio *bio,
			  struct vdisk_run run)
{
	struct vdisk_io *io = dm_per_bio_data(bio, s->io_size);
	struct vdisk_node *n = s->nodes[0];
	unsigned int dir = bio_data_dir(bio);
	struct vdisk_run way = run;

	way.write = dir == WRITE;
	for (;;) {
		if (n->ops->pass) {
			n = INDIRECT_CALL_1(n->ops->pass, vdisk_overlay_pass,
					    n, &way);
			if (!n || !n->passes)
				return vdisk_map_io(s, bio, run);
		} else if (n->route) {
			n = vdisk_route(n, &way);
		} else {
			break;
		}
	}
	if (unlikely(way.nr < run.nr))
		return vdisk_map_io(s, bio, run);
	io->at = n;
	io->stop = n->parent;
	io->bio = bio;
	this_cpu_inc(n->count->ios[dir]);
	this_cpu_add(n->count->sectors[dir], run.nr);
	vdisk_set_leaf(n, bio, way.sector);
	return DM_MAPIO_REMAPPED;
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

	if (unlikely(!s->remaps)) {
		if (s->direct && vdisk_is_data(bio) && run.nr)
			return vdisk_map_direct(s, bio, &run);
		if (s->passes && vdisk_is_data(bio) && run.nr &&
		    !(bio->bi_opf & REQ_FUA))
			return vdisk_map_pass(s, bio, run);
		return vdisk_map_io(s, bio, run);
	}
	if (unlikely(!vdisk_is_data(bio) || !run.nr))
		return vdisk_map_other(s, bio, &run);
	return vdisk_map_data(s, bio, &run);
}

/* The way up from a leaf, or from a node that multiplied, to the gate. */
static void vdisk_end_direct(struct vdisk_stack *s, struct bio *bio,
			     blk_status_t status)
{
	struct vdisk_io *io = dm_per_bio_data(bio, s->io_size);
	struct vdisk_node *n = io->at;

	if (unlikely(!n))
		return;	/* it was refused */
	if (unlikely(status) && n->count)
		vdisk_count_error(n, bio, status);
	this_cpu_dec(*io->in);
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
				vdisk_count_error(*at, bio, *status);
		}
		return DM_ENDIO_DONE;
	}
	if (s->direct) {
		vdisk_end_direct(s, bio, *status);
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
 * vdisk_may_wait - an io is not sent on at once
 * @io: the io, owned by the caller
 *
 * Nobody waits for what happens to the bio from here on, so it may sleep, and
 * nobody can poll for it.
 *
 * Context: Any context.
 */
void vdisk_may_wait(struct vdisk_io *io)
{
	io->bio->bi_opf &= ~REQ_NOWAIT;
	bio_clear_polled(io->bio);
}

/**
 * vdisk_defer_to - go on with an io in process context, on a given workqueue
 * @io: the io, owned by the caller
 * @wq: the workqueue
 * @fn: runs there; owns the io
 *
 * The bio may wait from here on, see vdisk_may_wait().
 *
 * Context: Any context.
 */
void vdisk_defer_to(struct vdisk_io *io, struct workqueue_struct *wq,
		    void (*fn)(struct vdisk_io *io))
{
	vdisk_may_wait(io);
	io->fn = fn;
	INIT_WORK(&io->work, vdisk_work);
	queue_work(wq, &io->work);
}

/**
 * vdisk_defer - go on with an io in process context
 * @io: the io, owned by the caller
 * @fn: runs on the stack's worker; owns the io
 *
 * As vdisk_defer_to().
 *
 * Context: Any context.
 */
void vdisk_defer(struct vdisk_io *io, void (*fn)(struct vdisk_io *io))
{
	vdisk_defer_to(io, io->stack->wq, fn);
}

/**
 * vdisk_again - send an io that a node's ready() had taken down at that node
 * @io: the io
 * @n: the node
 *
 * Context: Process context, may sleep.
 */
void vdisk_again(struct vdisk_io *io, struct vdisk_node *n)
{
	vdisk_send(io, n, NULL, (struct vdisk_run){});
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
		.write = op_is_write(bio_op(io->bio)),
	};
	struct vdisk_node *child = n->route(n, &run);

	io->at = n;
	/* A piece of @n is as small as it gets, and must not need another. */
	if ((!io->pool || io->pool != n->pieces) &&
	    vdisk_must_multiply(n, io->bio, &run)) {
		vdisk_multiply(io, n, true);
		return;
	}
	io->bio->bi_iter.bi_sector = run.sector;
	vdisk_send(io, child, NULL, run);
}

/**
 * vdisk_go_to - send an io that a node had taken to a given child, as one piece
 * @io: the io
 * @child: where it goes
 * @offset: from the node's sectors to the child's
 *
 * Context: Process context, may sleep.
 */
void vdisk_go_to(struct vdisk_io *io, struct vdisk_node *child, sector_t offset)
{
	io->bio->bi_iter.bi_sector += offset;
	vdisk_send(io, child, NULL, (struct vdisk_run){});
}

/**
 * vdisk_rewind - an io that has come up, and that its node keeps, is to go down again
 * @io: the io
 * @n: the node
 * @iter: of its bio, when it was at the node on its way down
 * @flags: of its bio, at the same time
 *
 * As drivers/md/dm-bio-record.h: a bio that was split below has nothing left of
 * what its completion counts by, and would end with the first part of the next
 * split. One that was merged into a request is still followed by the next one of
 * that, which the next request would take for its own.
 *
 * Context: Any context.
 */
void vdisk_rewind(struct vdisk_io *io, struct vdisk_node *n,
		  struct bvec_iter iter, unsigned short flags)
{
	io->at = n;
	io->bio->bi_iter = iter;
	io->bio->bi_flags = flags;
	io->bio->bi_status = BLK_STS_OK;
	io->bio->bi_next = NULL;
	atomic_set(&io->bio->__bi_remaining, 1);
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
	if (unlikely(status) && n->count)
		vdisk_count_error(n, io->bio, status);
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

static struct vdisk_io *vdisk_pool_take(struct vdisk_pool *pool)
{
	return mempool_alloc(&pool->ios, GFP_NOWAIT | __GFP_NOWARN);
}

/*
 * An element, or NULL: then @wait is parked, and whoever waits may already go
 * on elsewhere. Looking once more and parking are one step under the lock,
 * as are giving back and waking, in that order: no wakeup is lost.
 */
static struct vdisk_io *vdisk_pool_get(struct vdisk_pool *pool,
				       struct vdisk_wait *wait)
{
	struct vdisk_io *io = vdisk_pool_take(pool);
	unsigned long flags;

	if (likely(io))
		return io;
	spin_lock_irqsave(&pool->lock, flags);
	io = vdisk_pool_take(pool);
	if (!io)
		list_add_tail(&wait->list, &pool->waiting);
	spin_unlock_irqrestore(&pool->lock, flags);
	return io;
}

static void vdisk_pool_put(struct vdisk_pool *pool, struct vdisk_io *io)
{
	struct vdisk_wait *wait;
	unsigned long flags;

	mempool_free(io, &pool->ios);
	spin_lock_irqsave(&pool->lock, flags);
	wait = list_first_entry_or_null(&pool->waiting, struct vdisk_wait, list);
	if (wait)
		list_del(&wait->list);
	spin_unlock_irqrestore(&pool->lock, flags);
	if (wait)
		vdisk_defer(wait->io, wait->fn);
}

/* Make @io, of @pool, an io that works for @owner, with a clone of its bio. */
static void vdisk_io_init(struct vdisk_io *io, struct vdisk_pool *pool,
			  struct vdisk_io *owner)
{
	struct vdisk_stack *s = owner->stack;
	struct bio *bio = (void *)((char *)io + s->io_size);
	struct bio *src = owner->bio;

	/* Fails for inline crypto and integrity only, which a face has not. */
	WARN_ON_ONCE(bio_init_clone(src->bi_bdev, bio, src, GFP_NOWAIT));
	io->stack = s;
	io->bio = bio;
	io->owner = owner;
	io->pool = pool;
	bio->bi_private = io;
	bio->bi_end_io = vdisk_own_endio;
	/* dm core polls its clone only. REQ_NOWAIT is the owner's to keep. */
	bio_clear_polled(bio);
}

/**
 * vdisk_io_alloc - take a bio of a node's own
 * @n: the node; its type has own_ios
 * @owner: the io it works for; its bio is cloned, data and all
 * @wait: for the case that there is none: in the owner's state
 * @fn: what the worker then runs with the owner; it tries again
 *
 * Context: Any context; never waits.
 * Return: an io to fill in and vdisk_io_submit(), or NULL: the owner is parked
 * and must not be touched any more.
 */
struct vdisk_io *vdisk_io_alloc(struct vdisk_node *n, struct vdisk_io *owner,
				struct vdisk_wait *wait,
				void (*fn)(struct vdisk_io *owner))
{
	struct vdisk_io *io;

	wait->io = owner;
	wait->fn = fn;
	io = vdisk_pool_get(n->own, wait);
	if (io)
		vdisk_io_init(io, n->own, owner);
	return io;
}

/**
 * vdisk_io_prepare - make of a node's memory an io that works for no io
 * @n: the node
 * @io: io_size bytes of the stack and a struct bio; for as often as it has
 *	ended, and its bio is uninitialised again by bio_uninit()
 * @opf: what it does
 * @table: where its pages are kept, until it is done; may be NULL
 * @nr: how many fit there
 *
 * Fill it in and vdisk_io_submit() it; no vdisk_io_free().
 *
 * Context: Process context.
 */
void vdisk_io_prepare(struct vdisk_node *n, struct vdisk_io *io, blk_opf_t opf,
		      struct bio_vec *table, unsigned short nr)
{
	struct vdisk_stack *s = n->stack;

	io->stack = s;
	io->bio = (void *)((char *)io + s->io_size);
	io->pool = NULL;
	io->owner = NULL;
	io->priv = NULL;
	bio_init(io->bio, s->disk->part0, table, nr, opf);
	io->bio->bi_private = io;
	io->bio->bi_end_io = vdisk_own_endio;
}

/**
 * vdisk_io_new - take a bio of a node's own that works for no io
 * @n: the node; its type has own_ios
 * @opf: what it does
 * @table: where its pages are kept, until it is done; may be NULL
 * @nr: how many fit there
 *
 * Context: Process context, no bio held back by the caller; waits for the pool.
 * Return: an io to fill in and vdisk_io_submit().
 */
struct vdisk_io *vdisk_io_new(struct vdisk_node *n, blk_opf_t opf,
			      struct bio_vec *table, unsigned short nr)
{
	struct vdisk_io *io = mempool_alloc(&n->own->ios, GFP_NOIO);

	vdisk_io_prepare(n, io, opf, table, nr);
	io->pool = n->own;
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
 * @done: called once, in any context; owns the io, and gives it back by
 *	vdisk_io_free() before it lets go of the owner
 *
 * Context: Process context, may sleep.
 */
void vdisk_io_submit(struct vdisk_io *io, struct vdisk_node *child,
		     void (*done)(struct vdisk_io *io, blk_status_t status))
{
	io->done = done;
	vdisk_own_send(io, child, child->parent, NULL, (struct vdisk_run){});
}

/**
 * vdisk_io_free - give an io back to its pool
 * @io: the io
 *
 * Context: Any context.
 */
void vdisk_io_free(struct vdisk_io *io)
{
	bio_uninit(io->bio);
	vdisk_pool_put(io->pool, io);
}

/* An io that a caller waits for; struct vdisk_io and its bio follow. */
struct vdisk_sync {
	struct completion done;
	blk_status_t status;
};

static void vdisk_sync_done(struct vdisk_io *io, blk_status_t status)
{
	struct vdisk_sync *sync = (struct vdisk_sync *)io - 1;

	sync->status = status;
	complete(&sync->done);
}

/**
 * vdisk_io_sync - read or write through a child, and wait for it
 * @child: where it goes
 * @opf: REQ_OP_READ or REQ_OP_WRITE, and flags
 * @sector: in the child
 * @data: from kmalloc()
 * @bytes: of it, a multiple of the child's block; 0: a flush, by REQ_PREFLUSH
 *
 * For what a node keeps about itself, not for bios of the guest: it allocates.
 *
 * Context: Process context, between preresume and postsuspend; sleeps.
 * Return: the status.
 */
blk_status_t vdisk_io_sync(struct vdisk_node *child, blk_opf_t opf,
			   sector_t sector, void *data, unsigned int bytes)
{
	struct vdisk_stack *s = child->stack;
	struct vdisk_sync *sync;
	struct vdisk_io *io;
	blk_status_t status;
	struct bio_vec vec;

	sync = kzalloc(sizeof(*sync) + s->io_size + sizeof(struct bio), GFP_NOIO);
	if (!sync)
		return BLK_STS_RESOURCE;
	init_completion(&sync->done);
	io = (struct vdisk_io *)(sync + 1);
	io->stack = s;
	io->bio = (struct bio *)((char *)io + s->io_size);
	bio_init(io->bio, s->disk->part0, &vec, 1, opf);
	if (bytes)
		__bio_add_page(io->bio, virt_to_page(data), bytes,
			       offset_in_page(data));
	io->bio->bi_iter.bi_sector = sector;
	io->bio->bi_private = io;
	io->bio->bi_end_io = vdisk_own_endio;
	vdisk_io_submit(io, child, vdisk_sync_done);
	wait_for_completion_io(&sync->done);
	status = sync->status;
	bio_uninit(io->bio);
	kfree(sync);
	return status;
}

static void vdisk_multi_put(struct vdisk_io *io, struct vdisk_node *n)
{
	struct vdisk_multi *m = vdisk_multi(n, io);

	if (!atomic_dec_and_test(&m->pending))
		return;
	io->at = m->mapped ? n : n->parent;
	io->bio->bi_status = m->status;
	bio_endio(io->bio);
}

static void vdisk_piece_done(struct vdisk_io *piece, blk_status_t status)
{
	struct vdisk_io *io = piece->owner;
	struct vdisk_node *n = io->at;
	struct vdisk_multi *m = vdisk_multi(n, io);

	/*
	 * Of several errors any will do, but dm core wants to hear of a
	 * requeue. Ordered before the reader by the decrement of pending.
	 */
	if (unlikely(status) && READ_ONCE(m->status) != BLK_STS_DM_REQUEUE)
		WRITE_ONCE(m->status, status);
	/* dm.c:clone_endio() asks this device whether it has the feature. */
	if (unlikely(status == BLK_STS_TARGET))
		io->bio->bi_bdev = piece->bio->bi_bdev;
	vdisk_io_free(piece);
	vdisk_multi_put(io, n);
}

/* What to send next, if anything is left. */
static bool vdisk_next_piece(struct vdisk_io *io, struct vdisk_node *n,
			     struct vdisk_piece *p)
{
	struct vdisk_multi *m = vdisk_multi(n, io);
	struct bio *bio = io->bio;

	p->run.write = op_is_write(bio_op(bio));
	if (vdisk_is_data(bio) && bio->bi_iter.bi_size) {
		p->skip = m->next;
		p->run.sector = bio->bi_iter.bi_sector + p->skip;
		p->run.nr = bio_sectors(bio) - p->skip;
		if (!p->run.nr)
			return false;
		p->child = n->route(n, &p->run);
		/* Behind a node's end: it would be the next one for ever. */
		if (WARN_ON_ONCE(!p->run.nr)) {
			WRITE_ONCE(m->status, BLK_STS_IOERR);
			return false;
		}
		p->next = p->skip + p->run.nr;
		return true;
	}
	for (p->next = m->next; p->next < n->nr_children;) {
		p->child = n->children[p->next++];
		p->run.sector = bio->bi_iter.bi_sector;
		p->run.nr = bio_sectors(bio);
		if (p->child->len &&
		    (vdisk_is_flush(bio) ||
		     vdisk_range(n, p->child->index, &p->run)))
			return true;
	}
	return false;
}

/*
 * A piece of data that the node's map() has not seen enters at the node, with
 * its way down given; any other enters at the child.
 */
static void vdisk_send_piece(struct vdisk_io *io, struct vdisk_node *n,
			     struct vdisk_io *piece, const struct vdisk_piece *p)
{
	struct vdisk_multi *m = vdisk_multi(n, io);
	struct bio *bio = piece->bio;
	bool data = vdisk_is_data(bio) && bio->bi_iter.bi_size;

	m->next = p->next;
	atomic_inc(&m->pending);
	piece->done = vdisk_piece_done;
	if (data)
		bio_advance(bio, to_bytes(p->skip));
	bio->bi_iter.bi_size = to_bytes(p->run.nr);
	if (data && !m->mapped) {
		vdisk_own_send(piece, n, n->parent, p->child, p->run);
		return;
	}
	bio->bi_iter.bi_sector = p->run.sector;
	vdisk_own_send(piece, p->child, n, NULL, p->run);
}

static void vdisk_multiply_more(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_multi *m = vdisk_multi(n, io);
	struct vdisk_piece p = {};

	while (vdisk_next_piece(io, n, &p)) {
		struct vdisk_io *piece = vdisk_pool_get(n->pieces, &m->wait);

		if (!piece)
			return;
		vdisk_io_init(piece, n->pieces, io);
		vdisk_send_piece(io, n, piece, &p);
	}
	vdisk_multi_put(io, n);
}

/*
 * Send an io on from @n as several; it is theirs until the last of them is
 * back. Nobody else changes io->at until then.
 */
static void vdisk_multiply(struct vdisk_io *io, struct vdisk_node *n,
			   bool mapped)
{
	struct vdisk_multi *m = vdisk_multi(n, io);

	atomic_set(&m->pending, 1);
	m->status = BLK_STS_OK;
	m->mapped = mapped;
	m->next = 0;
	m->wait.io = io;
	m->wait.fn = vdisk_multiply_more;
	io->at = n;
	vdisk_charge(io->bio);
	vdisk_multiply_more(io);
}

static struct vdisk_pool *vdisk_pool_create(struct vdisk_stack *s)
{
	struct vdisk_pool *pool = kzalloc(sizeof(*pool), GFP_KERNEL);

	if (!pool)
		return NULL;
	spin_lock_init(&pool->lock);
	INIT_LIST_HEAD(&pool->waiting);
	if (!mempool_init_kmalloc_pool(&pool->ios, VDISK_POOL_SIZE,
				       s->io_size + sizeof(struct bio)))
		return pool;
	kfree(pool);
	return NULL;
}

static void vdisk_pool_destroy(struct vdisk_pool *pool)
{
	if (!pool)
		return;
	mempool_exit(&pool->ios);
	kfree(pool);
}

/**
 * vdisk_pools_create - give a node the pools it needs
 * @n: the node; its stack's per-bio layout is final
 *
 * Context: Process context, may sleep.
 * Return: 0 or -ENOMEM; vdisk_pools_destroy() takes what there is.
 */
int vdisk_pools_create(struct vdisk_node *n)
{
	if (vdisk_multi_size(n)) {
		n->pieces = vdisk_pool_create(n->stack);
		if (!n->pieces)
			return -ENOMEM;
	}
	if (n->ops->own_ios) {
		n->own = vdisk_pool_create(n->stack);
		if (!n->own)
			return -ENOMEM;
	}
	return n->ops->pools ? n->ops->pools(n) : 0;
}

/**
 * vdisk_pools_destroy - undo vdisk_pools_create(), as far as it got
 * @n: the node; none of its bios is in flight
 *
 * Context: Process context.
 */
void vdisk_pools_destroy(struct vdisk_node *n)
{
	vdisk_pool_destroy(n->pieces);
	vdisk_pool_destroy(n->own);
}
