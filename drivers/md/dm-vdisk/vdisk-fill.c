// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fills: read from the base in whole blocks, keep it in the store.
 *
 *	miss	 join the block's fill, or begin one; wait for it
 *	begin	 read the presence that the block's units lie in, if need be
 *	read	 the block, from the base, into pages of the fill's own
 *	serve	 copy to the reads that wait, and end them
 *	store	 write to the store what is absent still; then it is data
 *
 * A block has one fill at a time that is not spoilt. A read that comes while it is stored is
 * served from its pages at once.
 *
 * Why pages of our own: those of a guest may change while we read into them,
 * and then would be stored as they are, and not as the base has it. A node
 * below may change them as well until the read has ended, as crypt does.
 *
 * Nothing but absent units is written to, and only absent units become data.
 * From before it looks which ones that are until all is written, a fill is
 * listed as a punch is, so that first writes to its units wait, and it holds
 * its leaves:
 *
 *	first write			fill
 *	hold the leaves			list it
 *	look at the list		does a write hold the leaves?
 *
 * One of the two sees the other: the write waits, or the fill is not stored,
 * which costs another read of the base later. A discard makes units zero, which
 * they stay, whatever the fill writes there; and it does not punch leaves that
 * are held. Units that became data or zero while the base was read are left
 * alone. What was written to the base meanwhile spoils the fill: see
 * vdisk-through.c.
 *
 * If the base fails, the reads go on to it one by one, as if there was no fill:
 * they fail where it is bad and nowhere else. But if it is a blob that nobody
 * supplies, they have waited for that long enough.
 *
 * Nor do reads wait for a fill whose I/O is idle: they pass it.
 *
 * Progress: a fill is one element of a mempool, with its pages and its bio.
 * Whoever finds none waits until one is given back. A fill waits for base and
 * store and for nothing above them; it needs no memory but for leaves, and
 * without that it is not stored.
 */
#include <linux/hash.h>
#include <linux/highmem.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/mempool.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "vdisk-fill.h"

#define VDISK_FILL_HASH_BITS	6

/* Sectors that all fills of a node may have pages for; but so many at least. */
#define VDISK_FILL_SECTORS	16384
#define VDISK_FILL_MIN		4

/* Of the pool: one would do for progress. */
#define VDISK_FILL_RESERVE	2

/**
 * struct vdisk_fills - those of a node
 * @n: the node; its first child is the store, its second the base
 * @ops: the node's
 * @presence: of the store
 * @wq: for @ops->load
 * @shift: a unit is 1 << @shift sectors
 * @block: sectors of a block; the last one may be shorter
 * @data: where the disk begins in the store
 * @max: fills at a time
 * @ahead: the most blocks to be read ahead
 * @pool: struct vdisk_fill
 * @done: fills that were read
 * @dropped: of them, those that were not stored
 * @idle: there are no fills
 * @lock: guards what follows, and in fills what says so; interrupts off
 * @busy: fills by block, vdisk_fill.hash
 * @nr: how many there are
 * @starved: reads that wait for a fill to be given back, vdisk_wait.list
 * @stopped: begin no fill that nobody waits for
 * @next: the block that a sequential reader would miss next
 * @window: how many blocks were read ahead at the last time
 * @mark: in this block a sequential reader makes us read ahead; also read
 *	without the lock
 */
struct vdisk_fills {
	struct vdisk_node *n;
	const struct vdisk_fill_ops *ops;
	struct vdisk_presence *presence;
	struct workqueue_struct *wq;
	unsigned int shift;
	sector_t block;
	sector_t data;
	unsigned int max;
	unsigned int ahead;
	mempool_t pool;
	atomic64_t done;
	atomic64_t dropped;
	wait_queue_head_t idle;
	spinlock_t lock;	/* guards what follows */
	struct hlist_head busy[1 << VDISK_FILL_HASH_BITS];
	unsigned int nr;
	struct list_head starved;
	bool stopped;
	u64 next;
	unsigned int window;
	u64 mark;
};

/**
 * struct vdisk_fill - a block that is being filled
 * @f: its node's
 * @hash: in @f->busy; guarded by @f->lock, as the next four are
 * @users: of the pages
 * @ready: the pages have the data
 * @spoilt: the base may have something else by now; also read without the lock
 * @waiting: reads, vdisk_wait.list
 * @block: its number
 * @sector: its first sector
 * @nr: what the base has of it
 * @punch: its units, those of @nr rounded up; in the node's list while stored
 * @at: the first unit that may still have to be stored
 * @status: of what the last bio did
 * @base: that was a read of the base
 * @read: and it must not give up early
 * @loads: it runs where it may wait for presence to be read
 * @outcome: BLK_STS_OK: the store has it now; BLK_STS_AGAIN: not this time;
 *	BLK_STS_TRANSPORT: the base is out of reach
 * @ended: called with @data and @outcome before the fill is given back, or NULL
 * @data: for that
 * @idle: REQ_BACKGROUND, if its I/O is to come behind all other, and else 0
 * @io: its only bio's
 * @table: that bio's
 * @pages: the block
 */
struct vdisk_fill {
	struct vdisk_fills *f;
	struct hlist_node hash;
	unsigned int users;
	bool ready;
	bool spoilt;
	struct list_head waiting;
	u64 block;
	sector_t sector;
	sector_t nr;
	struct vdisk_punch punch;
	u64 at;
	blk_status_t status;
	bool base;
	bool read;
	bool loads;
	blk_status_t outcome;
	void (*ended)(void *data, blk_status_t outcome);
	void *data;
	blk_opf_t idle;
	struct vdisk_io *io;
	struct bio_vec *table;
	struct page *pages[];
};

static struct vdisk_node *vdisk_fill_store(const struct vdisk_fills *f)
{
	return f->n->children[0];
}

static struct vdisk_node *vdisk_fill_base(const struct vdisk_fills *f)
{
	return f->n->children[1];
}

static unsigned int vdisk_fill_pages(const struct vdisk_fills *f)
{
	return DIV_ROUND_UP(to_bytes(f->block), PAGE_SIZE);
}

static void vdisk_fill_free(void *element, void *data)
{
	struct vdisk_fill *fill = element;
	unsigned int i, nr = vdisk_fill_pages(data);

	for (i = 0; i < nr && fill->pages[i]; i++)
		__free_page(fill->pages[i]);
	kfree(fill->table);
	kfree(fill->io);
	kfree(fill);
}

/* An element of the pool: all that a fill needs until it has ended. */
static void *vdisk_fill_alloc(gfp_t gfp, void *data)
{
	struct vdisk_fills *f = data;
	unsigned int i, nr = vdisk_fill_pages(f);
	struct vdisk_fill *fill;

	fill = kzalloc(struct_size(fill, pages, nr), gfp);
	if (!fill)
		return NULL;
	fill->f = f;
	fill->io = kzalloc(f->n->stack->io_size + sizeof(struct bio), gfp);
	fill->table = kmalloc_array(nr, sizeof(*fill->table), gfp);
	for (i = 0; i < nr && fill->io && fill->table; i++) {
		fill->pages[i] = alloc_page(gfp);
		if (!fill->pages[i])
			break;
	}
	if (i == nr)
		return fill;
	vdisk_fill_free(fill, f);
	return NULL;
}

/**
 * vdisk_fills_create - prepare for fills
 * @n: the node, whose limits are composed
 * @ops: its own
 * @p: the presence of its first child
 * @wq: for @ops->load
 * @block: sectors of a block, a multiple of the node's logical block
 * @ahead: sectors to be read ahead at most
 *
 * Context: Process context, may sleep.
 * Return: the fills, or NULL.
 */
struct vdisk_fills *vdisk_fills_create(struct vdisk_node *n,
				       const struct vdisk_fill_ops *ops,
				       struct vdisk_presence *p,
				       struct workqueue_struct *wq,
				       sector_t block, sector_t ahead)
{
	struct vdisk_fills *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return NULL;
	f->n = n;
	f->ops = ops;
	f->presence = p;
	f->wq = wq;
	f->block = block;
	f->max = max(VDISK_FILL_SECTORS / (unsigned int)block, VDISK_FILL_MIN);
	f->ahead = min((unsigned int)ahead / (unsigned int)block, f->max / 2);
	init_waitqueue_head(&f->idle);
	spin_lock_init(&f->lock);
	INIT_LIST_HEAD(&f->starved);
	WRITE_ONCE(f->stopped, true);
	f->next = ~0ULL;
	f->mark = ~0ULL;
	return f;
}

/**
 * vdisk_fills_pools - make the pool; the stack's per-bio layout is final
 * @f: the fills
 *
 * Context: Process context, may sleep.
 * Return: 0 or -ENOMEM; vdisk_fills_destroy() takes what there is.
 */
int vdisk_fills_pools(struct vdisk_fills *f)
{
	f->shift = ilog2(f->n->lim.logical_block_size) - SECTOR_SHIFT;
	return mempool_init(&f->pool, VDISK_FILL_RESERVE, vdisk_fill_alloc,
			    vdisk_fill_free, f);
}

/**
 * vdisk_fills_destroy - undo vdisk_fills_create()
 * @f: no fill is left
 */
void vdisk_fills_destroy(struct vdisk_fills *f)
{
	mempool_exit(&f->pool);
	kfree(f);
}

/* Sectors that the base has. */
static sector_t vdisk_fill_end(const struct vdisk_fills *f)
{
	return vdisk_fill_base(f)->len;
}

/* How many units the state of the first one holds for; that is set. */
static u64 vdisk_fill_run(const struct vdisk_fills *f, const struct bio *bio,
			  u64 *nr, enum vdisk_presence_state *state)
{
	u64 unit = bio->bi_iter.bi_sector >> f->shift;

	*nr = ((bio_end_sector(bio) - 1) >> f->shift) + 1 - unit;
	return vdisk_presence_run(f->presence, unit, *nr, state);
}

/**
 * vdisk_fill_cut - how much of a run of absent sectors is in one block
 * @f: the fills
 * @sector: the first
 * @nr: how many
 *
 * Context: Any context.
 * Return: 1 to @nr.
 */
sector_t vdisk_fill_cut(struct vdisk_fills *f, sector_t sector, sector_t nr)
{
	u32 skip;

	div_u64_rem(sector, f->block, &skip);
	return min(nr, f->block - skip);
}

/* One of those that found no fill, off the list; or NULL. */
static struct vdisk_wait *vdisk_fill_next(struct vdisk_fills *f)
{
	struct vdisk_wait *wait = NULL;

	lockdep_assert_held(&f->lock);
	if (f->nr < f->max)
		wait = list_first_entry_or_null(&f->starved, struct vdisk_wait,
						list);
	if (wait)
		list_del(&wait->list);
	return wait;
}

/* It looks again. */
static void vdisk_fill_wake(struct vdisk_fills *f)
{
	struct vdisk_wait *wait;
	unsigned long flags;

	spin_lock_irqsave(&f->lock, flags);
	wait = vdisk_fill_next(f);
	spin_unlock_irqrestore(&f->lock, flags);
	if (wait)
		vdisk_defer(wait->io, wait->fn);
}

static struct hlist_head *vdisk_fill_bucket(struct vdisk_fills *f, u64 block)
{
	return &f->busy[hash_64(block, VDISK_FILL_HASH_BITS)];
}

static struct vdisk_fill *vdisk_fill_find(struct vdisk_fills *f, u64 block)
{
	struct vdisk_fill *fill;

	lockdep_assert_held(&f->lock);
	hlist_for_each_entry(fill, vdisk_fill_bucket(f, block), hash)
		if (fill->block == block && !fill->spoilt)
			return fill;
	return NULL;
}

static void vdisk_fill_put(struct vdisk_fill *fill)
{
	struct vdisk_fills *f = fill->f;
	struct vdisk_wait *wait;
	unsigned long flags;

	spin_lock_irqsave(&f->lock, flags);
	if (--fill->users) {
		spin_unlock_irqrestore(&f->lock, flags);
		return;
	}
	hlist_del_init(&fill->hash);
	spin_unlock_irqrestore(&f->lock, flags);
	if (fill->ended)
		fill->ended(fill->data, fill->outcome);
	mempool_free(fill, &f->pool);
	spin_lock_irqsave(&f->lock, flags);
	f->nr--;
	if (!f->nr)
		wake_up(&f->idle);
	wait = vdisk_fill_next(f);
	/* Of the last fill: @f may be gone as soon as that is let go. */
	spin_unlock_irqrestore(&f->lock, flags);
	if (wait)
		vdisk_defer(wait->io, wait->fn);
}

/* The caller holds the lock, and there is none for the block. */
static struct vdisk_fill *vdisk_fill_new(struct vdisk_fills *f, u64 block)
{
	struct vdisk_fill *fill;

	lockdep_assert_held(&f->lock);
	if (f->nr >= f->max)
		return NULL;
	fill = mempool_alloc(&f->pool, GFP_NOWAIT | __GFP_NOWARN);
	if (!fill)
		return NULL;
	f->nr++;
	fill->users = 1;
	fill->ready = false;
	WRITE_ONCE(fill->spoilt, false);
	fill->outcome = BLK_STS_AGAIN;
	fill->ended = NULL;
	fill->idle = 0;
	fill->block = block;
	fill->sector = block * f->block;
	fill->nr = min(f->block, vdisk_fill_end(f) - fill->sector);
	fill->punch.unit = fill->sector >> f->shift;
	fill->punch.nr = ((fill->sector + fill->nr - 1) >> f->shift) + 1 -
			 fill->punch.unit;
	INIT_LIST_HEAD(&fill->waiting);
	hlist_add_head(&fill->hash, vdisk_fill_bucket(f, block));
	return fill;
}

static void vdisk_fill_submit(struct vdisk_fill *fill, struct vdisk_node *child,
			      sector_t sector,
			      void (*done)(struct vdisk_io *io,
					   blk_status_t status))
{
	fill->io->bio->bi_iter.bi_sector = sector;
	fill->io->priv = fill;
	vdisk_io_submit(fill->io, child, done);
}

/* A bio for sectors of the block. */
static void vdisk_fill_prepare(struct vdisk_fill *fill, blk_opf_t opf,
			       sector_t skip, sector_t nr)
{
	unsigned int at = to_bytes(skip), end = to_bytes(skip + nr), part;

	vdisk_io_prepare(fill->f->n, fill->io, opf, fill->table,
			 vdisk_fill_pages(fill->f));
	for (; at < end; at += part) {
		part = min_t(unsigned int, end - at,
			     PAGE_SIZE - offset_in_page(at));
		__bio_add_page(fill->io->bio, fill->pages[at >> PAGE_SHIFT],
			       part, offset_in_page(at));
	}
}

/* To hydration BLK_STS_TRANSPORT says that the base is out of reach. */
static blk_status_t vdisk_fill_store_outcome(blk_status_t status)
{
	return status == BLK_STS_TRANSPORT ? BLK_STS_IOERR : status;
}

static void vdisk_fill_stored(struct vdisk_fill *fill)
{
	struct vdisk_fills *f = fill->f;
	struct vdisk_punch *punch = &fill->punch;

	vdisk_presence_release_fill(f->presence, punch->unit, punch->nr,
				    !fill->status);
	f->ops->unlist(f->n, punch);
	if (!fill->status) {
		fill->outcome = BLK_STS_OK;
		f->ops->filled(f->n);
	} else {
		atomic64_inc(&f->dropped);
		fill->outcome = vdisk_fill_store_outcome(fill->status);
		if (fill->status != BLK_STS_DM_REQUEUE)
			f->ops->failed(f->n, fill->status);
	}
	vdisk_fill_put(fill);
}

static void vdisk_fill_store_more(struct vdisk_io *io);

static void vdisk_fill_written(struct vdisk_io *io, blk_status_t status)
{
	struct vdisk_fill *fill = io->priv;

	fill->status = status;
	bio_uninit(io->bio);
	vdisk_defer(io, vdisk_fill_store_more);
}

/* Write the next run of units that are absent. */
static void vdisk_fill_store_more(struct vdisk_io *io)
{
	struct vdisk_fill *fill = io->priv;
	struct vdisk_fills *f = fill->f;
	u64 end = fill->punch.unit + fill->punch.nr, run = 0;
	enum vdisk_presence_state state = VDISK_DATA;
	sector_t sector;

	for (; fill->at < end; fill->at += run) {
		run = vdisk_presence_run(f->presence, fill->at, end - fill->at,
					 &state);
		if (state == VDISK_ABSENT)
			break;
	}
	if (fill->status || fill->at == end) {
		vdisk_fill_stored(fill);
		return;
	}
	sector = fill->at << f->shift;
	fill->at += run;
	vdisk_fill_prepare(fill, REQ_OP_WRITE | fill->idle, sector - fill->sector,
			   run << f->shift);
	vdisk_fill_submit(fill, vdisk_fill_store(f), sector + f->data,
			  vdisk_fill_written);
}

/* If that is not possible right now, the next reader will have it read again. */
static void vdisk_fill_keep(struct vdisk_fill *fill)
{
	struct vdisk_fills *f = fill->f;
	struct vdisk_punch *punch = &fill->punch;
	unsigned long index;

	/* Spoilt is set before what does so is no longer under way. */
	if (!f->ops->list(f->n, punch, punch->unit, punch->nr) ||
	    READ_ONCE(fill->spoilt) || f->ops->full(f->n) ||
	    vdisk_presence_look(f->presence, punch->unit, punch->nr, &index) !=
	    VDISK_LOOK_READY ||
	    vdisk_presence_hold_fill(f->presence, punch->unit, punch->nr,
				     GFP_NOWAIT)) {
		f->ops->unlist(f->n, punch);
		atomic64_inc(&f->dropped);
		vdisk_fill_put(fill);
		return;
	}
	fill->at = punch->unit;
	vdisk_fill_store_more(fill->io);
}

static void vdisk_fill_copy(const struct vdisk_fill *fill, struct bio *bio)
{
	unsigned int at = to_bytes(bio->bi_iter.bi_sector - fill->sector);
	struct bvec_iter iter;
	struct bio_vec vec;

	bio_for_each_segment(vec, bio, iter) {
		struct bio_vec part = vec;
		unsigned int left;

		for (left = vec.bv_len; left; left -= part.bv_len) {
			part.bv_len = min_t(unsigned int, left,
					    PAGE_SIZE - offset_in_page(at));
			memcpy_to_bvec(&part,
				       page_address(fill->pages[at >> PAGE_SHIFT]) +
				       offset_in_page(at));
			at += part.bv_len;
			part.bv_offset += part.bv_len;
		}
	}
}

/* No helper: for a part of the block as little as for all of it. */
static bool vdisk_fill_has_no_helper(const struct vdisk_fill *fill)
{
	return fill->base && vdisk_fill_base(fill->f)->ops == &vdisk_blob_ops &&
	       (fill->status == BLK_STS_TRANSPORT ||
		fill->status == BLK_STS_TIMEOUT);
}

/* The block cannot be read as a whole. */
static void vdisk_fill_refuse(struct vdisk_fill *fill, struct vdisk_io *io)
{
	struct vdisk_node *n = fill->f->n;

	if (fill->status == BLK_STS_DM_REQUEUE || vdisk_fill_has_no_helper(fill) ||
	    (fill->read && bio_sectors(io->bio) == fill->nr))
		vdisk_end(io, n, fill->status);
	else
		vdisk_go_to(io, vdisk_fill_base(fill->f), 0);
}

/* The rest of a unit in which the base ends is zero; a unit is in one page. */
static void vdisk_fill_pad(struct vdisk_fill *fill)
{
	unsigned int at = to_bytes(fill->nr);
	unsigned int end = to_bytes(fill->punch.nr << fill->f->shift);

	if (at < end)
		memset(page_address(fill->pages[at >> PAGE_SHIFT]) +
		       offset_in_page(at), 0, end - at);
}

static void vdisk_fill_serve(struct vdisk_io *own)
{
	struct vdisk_fill *fill = own->priv;
	struct vdisk_wait *wait, *next;
	struct vdisk_fills *f = fill->f;
	blk_status_t status = fill->status;
	LIST_HEAD(waiting);

	if (!status)
		vdisk_fill_pad(fill);
	spin_lock_irq(&f->lock);
	list_splice_init(&fill->waiting, &waiting);
	fill->ready = !status;
	if (status)
		hlist_del_init(&fill->hash);
	spin_unlock_irq(&f->lock);

	list_for_each_entry_safe(wait, next, &waiting, list) {
		struct vdisk_io *io = wait->io;

		if (status) {
			vdisk_fill_refuse(fill, io);
			continue;
		}
		vdisk_fill_copy(fill, io->bio);
		vdisk_end(io, f->n, BLK_STS_OK);
	}
	if (status) {
		fill->outcome = fill->base ? status :
					     vdisk_fill_store_outcome(status);
		vdisk_fill_put(fill);
		return;
	}
	atomic64_inc(&f->done);
	vdisk_fill_keep(fill);
}

static void vdisk_fill_read_done(struct vdisk_io *io, blk_status_t status)
{
	struct vdisk_fill *fill = io->priv;

	fill->status = status;
	bio_uninit(io->bio);
	vdisk_defer(io, vdisk_fill_serve);
}

/* Whoever waits pays. */
static void vdisk_fill_charge(struct vdisk_fill *fill)
{
	struct vdisk_wait *wait;

	spin_lock_irq(&fill->f->lock);
	wait = list_first_entry_or_null(&fill->waiting, struct vdisk_wait,
					list);
	if (wait)
		bio_clone_blkg_association(fill->io->bio, wait->io->bio);
	spin_unlock_irq(&fill->f->lock);
}

static void vdisk_fill_begin(struct vdisk_io *io)
{
	struct vdisk_fill *fill = io->priv;
	struct vdisk_fills *f = fill->f;
	u64 unit = fill->punch.unit, nr = fill->punch.nr;
	enum vdisk_presence_state state;
	blk_opf_t opf = REQ_OP_READ;
	bool wanted, known = true;
	unsigned long index;
	u64 run;

	/* A leaf that its readers need is there; this may be its neighbour. */
	fill->status = BLK_STS_OK;
	fill->base = false;
	fill->read = false;
	if (vdisk_presence_look(f->presence, unit, nr, &index) != VDISK_LOOK_READY) {
		if (!fill->loads) {
			fill->loads = true;
			vdisk_defer_to(io, f->wq, vdisk_fill_begin);
			return;
		}
		fill->status = f->ops->load(f->n, unit, nr);
	}
	spin_lock_irq(&f->lock);
	wanted = !list_empty(&fill->waiting);
	if (!wanted) {
		for (run = 0; nr; unit += run, nr -= run) {
			run = vdisk_presence_run(f->presence, unit, nr, &state);
			wanted |= state == VDISK_ABSENT;
			known &= state <= VDISK_ZERO;
		}
		wanted &= !fill->status;
		if (fill->status || (!wanted && known))
			fill->outcome = vdisk_fill_store_outcome(fill->status);
		opf |= fill->ended ? fill->idle : REQ_RAHEAD;
		/* Who comes now begins another one. */
		if (!wanted)
			hlist_del_init(&fill->hash);
	}
	spin_unlock_irq(&f->lock);
	if (!wanted) {
		vdisk_fill_put(fill);
		return;
	}
	if (fill->status) {
		vdisk_fill_serve(io);
		return;
	}
	fill->base = true;
	fill->read = opf == REQ_OP_READ;
	vdisk_fill_prepare(fill, opf, 0, fill->nr);
	vdisk_fill_charge(fill);
	vdisk_fill_submit(fill, vdisk_fill_base(f), fill->sector,
			  vdisk_fill_read_done);
}

static void vdisk_fill_start(struct vdisk_fill *fill)
{
	struct vdisk_fills *f = fill->f;

	/* Prepared, for vdisk_defer() to look at. */
	vdisk_io_prepare(f->n, fill->io, REQ_OP_READ, NULL, 0);
	bio_uninit(fill->io->bio);
	fill->io->priv = fill;
	fill->loads = false;
	vdisk_defer(fill->io, vdisk_fill_begin);
}

/* Begin fills of blocks that nobody has asked for, as many as there is room for. */
static void vdisk_fill_ahead(struct vdisk_fills *f, u64 block, unsigned int nr)
{
	u64 end = DIV64_U64_ROUND_UP(vdisk_fill_end(f), f->block);
	struct vdisk_fill *fill;

	for (; nr && block < end; nr--, block++) {
		spin_lock_irq(&f->lock);
		fill = f->stopped || vdisk_fill_find(f, block) ? NULL :
		       vdisk_fill_new(f, block);
		spin_unlock_irq(&f->lock);
		if (fill)
			vdisk_fill_start(fill);
	}
}

/*
 * A block is missed, or read that was marked. If that is what a sequential
 * reader would do, go ahead of it, twice as far as the last time, and mark
 * where: when it comes there, we go on.
 */
static void vdisk_fill_follow(struct vdisk_fills *f, u64 block)
{
	unsigned int window = 0;
	u64 from = block + 1;

	spin_lock_irq(&f->lock);
	if (block == f->mark || block == f->next) {
		if (block == f->mark)
			from = f->next;
		window = min(max(2 * f->window, 1U), f->ahead);
	}
	f->window = window;
	f->next = from + window;
	WRITE_ONCE(f->mark, window ? from : ~0ULL);
	spin_unlock_irq(&f->lock);
	vdisk_fill_ahead(f, from, window);
}

/**
 * vdisk_fill_look - a read may be of a sequential reader
 * @f: the fills
 * @sector: where it begins
 *
 * Context: Process context.
 */
void vdisk_fill_look(struct vdisk_fills *f, sector_t sector)
{
	u64 mark = READ_ONCE(f->mark);

	if (mark != ~0ULL && sector - mark * f->block < f->block)
		vdisk_fill_follow(f, mark);
}

/**
 * vdisk_fill_absent - begin a fill that nobody waits for
 * @f: the fills
 * @sector: in the block
 * @idle: its I/O comes behind all other
 * @ended: called when it has ended, in any context; BLK_STS_OK: the store has the
 *	block; BLK_STS_AGAIN: it could not be kept this time; BLK_STS_TRANSPORT:
 *	the base is out of reach; else: why it never can
 * @data: for that
 *
 * Context: Process context.
 * Return: 0; or, and @ended is not called: -EALREADY: somebody else's is under
 * way; -EBUSY: all fills are in use; -ESHUTDOWN: the fills are stopped.
 */
int vdisk_fill_absent(struct vdisk_fills *f, sector_t sector, bool idle,
		      void (*ended)(void *data, blk_status_t outcome), void *data)
{
	u64 block = div64_u64(sector, f->block);
	struct vdisk_fill *fill = NULL;
	int r = 0;

	spin_lock_irq(&f->lock);
	if (f->stopped)
		r = -ESHUTDOWN;
	else if (vdisk_fill_find(f, block))
		r = -EALREADY;
	else
		fill = vdisk_fill_new(f, block);
	if (fill) {
		fill->ended = ended;
		fill->data = data;
		fill->idle = idle ? REQ_BACKGROUND : 0;
	}
	spin_unlock_irq(&f->lock);
	if (!fill)
		return r ?: -EBUSY;
	vdisk_fill_start(fill);
	return 0;
}

enum vdisk_fill_answer {
	VDISK_FILL_NO,		/* nothing of it is absent any more */
	VDISK_FILL_TAKEN,
	VDISK_FILL_STARVED,	/* taken, and will look again */
};

static void vdisk_fill_pass(struct vdisk_io *io)
{
	vdisk_go_to(io, io->at->children[1], 0);
}

static enum vdisk_fill_answer __vdisk_fill_read(struct vdisk_fills *f,
						struct vdisk_io *io,
						struct vdisk_wait *wait)
{
	u64 block = div64_u64(io->bio->bi_iter.bi_sector, f->block), nr;
	enum vdisk_fill_answer answer = VDISK_FILL_TAKEN;
	struct vdisk_fill *fill, *new = NULL;
	enum vdisk_presence_state state;
	bool passes = false;

	if (vdisk_fill_run(f, io->bio, &nr, &state) < nr ||
	    state != VDISK_ABSENT || bio_end_sector(io->bio) > vdisk_fill_end(f))
		return VDISK_FILL_NO;
	/* It was data when it was routed, and not cut: it goes on to the store. */
	if (vdisk_fill_cut(f, io->bio->bi_iter.bi_sector, bio_sectors(io->bio)) <
	    bio_sectors(io->bio))
		return VDISK_FILL_NO;
	vdisk_may_wait(io);
	wait->io = io;
	spin_lock_irq(&f->lock);
	fill = vdisk_fill_find(f, block);
	if (!fill) {
		new = vdisk_fill_new(f, block);
		fill = new;
	}
	if (!fill) {
		list_add_tail(&wait->list, &f->starved);
		answer = VDISK_FILL_STARVED;
	} else if (fill->ready) {
		fill->users++;
	} else if (fill->idle) {
		/* It may have to wait for everybody else: do not wait with it. */
		passes = true;
		fill = NULL;
	} else {
		list_add_tail(&wait->list, &fill->waiting);
		fill = NULL;
	}
	spin_unlock_irq(&f->lock);
	if (passes) {
		vdisk_defer(io, vdisk_fill_pass);
		vdisk_fill_follow(f, block);
	} else if (new) {
		vdisk_fill_start(new);
		vdisk_fill_follow(f, block);
	} else if (fill) {
		vdisk_fill_copy(fill, io->bio);
		vdisk_fill_put(fill);
		vdisk_end(io, f->n, BLK_STS_OK);
	}
	return answer;
}

/**
 * vdisk_fill_read - a read that route() sends to the base, or that is not cut
 * @f: the fills
 * @io: the io, at the node
 * @wait: in its state
 * @fn: runs on the stack's worker if there is no fill to be had at first; calls
 *	vdisk_fill_again()
 *
 * Context: Process context; does not sleep.
 * Return: true if the io is taken.
 */
bool vdisk_fill_read(struct vdisk_fills *f, struct vdisk_io *io,
		     struct vdisk_wait *wait, void (*fn)(struct vdisk_io *io))
{
	wait->io = io;
	wait->fn = fn;
	return __vdisk_fill_read(f, io, wait) != VDISK_FILL_NO;
}

/**
 * vdisk_fill_again - look again for a fill
 * @f: the fills
 * @io: the io, which owned its node's wait
 * @wait: as before
 *
 * Context: Process context, the stack's worker.
 * Return: true if the io is taken, again or for good.
 */
bool vdisk_fill_again(struct vdisk_fills *f, struct vdisk_io *io,
		      struct vdisk_wait *wait)
{
	enum vdisk_fill_answer answer = __vdisk_fill_read(f, io, wait);

	/* It has not used its turn, or there is room for more. */
	if (answer != VDISK_FILL_STARVED)
		vdisk_fill_wake(f);
	return answer != VDISK_FILL_NO;
}

/**
 * vdisk_fills_start - the table goes live
 * @f: the fills
 * @data: where the disk begins in the store
 *
 * Context: Process context.
 */
void vdisk_fills_start(struct vdisk_fills *f, sector_t data)
{
	f->data = data;
	spin_lock_irq(&f->lock);
	WRITE_ONCE(f->stopped, false);
	spin_unlock_irq(&f->lock);
}

/**
 * vdisk_fills_stop - begin no more fills that no bio needs
 * @f: the fills
 *
 * Context: Process context.
 */
void vdisk_fills_stop(struct vdisk_fills *f)
{
	spin_lock_irq(&f->lock);
	WRITE_ONCE(f->stopped, true);
	f->next = ~0ULL;
	WRITE_ONCE(f->mark, ~0ULL);
	spin_unlock_irq(&f->lock);
}

/**
 * vdisk_fills_stopped - is the table about to go, or gone?
 * @f: the fills
 *
 * Context: Any context.
 * Return: false between vdisk_fills_start() and vdisk_fills_stop().
 */
bool vdisk_fills_stopped(const struct vdisk_fills *f)
{
	return READ_ONCE(f->stopped);
}

static bool vdisk_fill_is_ours(struct vdisk_io *io)
{
	io = vdisk_io_origin(io);
	return !io->owner && io->done == vdisk_fill_read_done;
}

/**
 * vdisk_fills_drain - wait for the last fill
 * @f: the fills, stopped; no bio waits for one
 *
 * Nobody knows when a base answers, so what is held back there is ended.
 *
 * Context: Process context, postsuspend.
 */
void vdisk_fills_drain(struct vdisk_fills *f)
{
	struct vdisk_node *base = vdisk_fill_base(f);
	struct vdisk_stack *s = base->stack;
	unsigned int i;

	do {
		for (i = 0; i < s->nr_nodes; i++) {
			struct vdisk_node *n = s->nodes[i];

			if (n->ops->abort && vdisk_is_below(n, base))
				n->ops->abort(n, vdisk_fill_is_ours,
					      BLK_STS_DM_REQUEUE);
		}
	} while (!wait_event_timeout(f->idle, !READ_ONCE(f->nr), 1));
	/* Who woke us has let go of it. */
	spin_lock_irq(&f->lock);
	spin_unlock_irq(&f->lock);
}

static void vdisk_fill_collect(struct list_head *from, struct list_head *to,
			       bool (*which)(struct vdisk_io *io))
{
	struct vdisk_wait *wait, *next;

	list_for_each_entry_safe(wait, next, from, list)
		if (which(wait->io))
			list_move_tail(&wait->list, to);
}

/**
 * vdisk_fills_abort - end reads that wait for fills
 * @f: the fills
 * @which: those
 * @status: how they end
 *
 * Context: Process context.
 */
void vdisk_fills_abort(struct vdisk_fills *f,
		       bool (*which)(struct vdisk_io *io), blk_status_t status)
{
	struct vdisk_wait *wait, *next;
	struct vdisk_fill *fill;
	LIST_HEAD(aborted);
	unsigned int i;

	spin_lock_irq(&f->lock);
	vdisk_fill_collect(&f->starved, &aborted, which);
	for (i = 0; i < ARRAY_SIZE(f->busy); i++)
		hlist_for_each_entry(fill, &f->busy[i], hash)
			vdisk_fill_collect(&fill->waiting, &aborted, which);
	spin_unlock_irq(&f->lock);
	list_for_each_entry_safe(wait, next, &aborted, list)
		vdisk_end(wait->io, f->n, status);
}

/**
 * vdisk_fills_spoil - the base has something else now
 * @f: the fills
 * @sector: the first that was written
 * @nr: how many
 *
 * What is being read is not stored, unless it is already; a read that comes from
 * now on has the base read again.
 *
 * Context: Any context.
 */
void vdisk_fills_spoil(struct vdisk_fills *f, sector_t sector, sector_t nr)
{
	struct vdisk_fill *fill;
	unsigned long flags;
	unsigned int i;

	spin_lock_irqsave(&f->lock, flags);
	for (i = 0; f->nr && i < ARRAY_SIZE(f->busy); i++)
		hlist_for_each_entry(fill, &f->busy[i], hash)
			if (fill->sector < sector + nr &&
			    sector < fill->sector + fill->nr)
				WRITE_ONCE(fill->spoilt, true);
	spin_unlock_irqrestore(&f->lock, flags);
}

/**
 * vdisk_fills_status - add what they did to the INFO line
 * @f: the fills
 * @out: the line
 */
void vdisk_fills_status(struct vdisk_fills *f, struct vdisk_out *out)
{
	vdisk_emit(out, " fills=%llu dropped=%llu filling=%u",
		   (u64)atomic64_read(&f->done),
		   (u64)atomic64_read(&f->dropped), READ_ONCE(f->nr));
}
