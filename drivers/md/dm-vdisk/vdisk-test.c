// SPDX-License-Identifier: GPL-2.0-only
/*
 * test: one child, and every way in which a node may treat a bio. For the
 * tests of the engine; in test builds only.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "vdisk.h"

enum { TEST_PASS, TEST_WORK, TEST_TIMER, TEST_HOLD, TEST_READ, TEST_FAIL };

/**
 * struct vdisk_test - the node
 * @mode: what map() does
 * @piece: largest run, if not 0
 * @turn: route() shows @piece only every other time, as a node would whose
 *	state changes between the trim and the way down
 * @sink: where reads of its own go
 * @lock: guards the fields below
 * @held: bios of mode:hold, by vdisk_test_io.held
 * @nr_held: how many
 * @holding: new bios are held, until they are released
 * @requeue: a noflush suspend is under way
 */
struct vdisk_test {
	int mode;
	sector_t piece;
	atomic_t turn;
	struct bio_vec sink;
	spinlock_t lock;	/* guards what follows */
	struct list_head held;
	unsigned int nr_held;
	bool holding;
	bool requeue;
};

/**
 * struct vdisk_test_io - per bio
 * @n: the node
 * @io: the io
 * @timer: of mode:timer
 * @held: in the node's list of the same name
 * @wait: of mode:read, for a bio of its own
 * @status: of the child, while the completion waits for the worker
 */
struct vdisk_test_io {
	struct vdisk_node *n;
	struct vdisk_io *io;
	struct delayed_work timer;
	struct list_head held;
	struct vdisk_wait wait;
	blk_status_t status;
};

static int vdisk_test_ctr(struct vdisk_node *n)
{
	static const char * const modes[] = {
		[TEST_PASS] = "pass", [TEST_WORK] = "work",
		[TEST_TIMER] = "timer", [TEST_HOLD] = "hold",
		[TEST_READ] = "read", [TEST_FAIL] = "fail",
	};
	struct vdisk_test *t;
	struct page *page;

	t = kzalloc(sizeof(*t), GFP_KERNEL);
	if (!t)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	page = alloc_page(GFP_KERNEL);
	if (!page) {
		kfree(t);
		return vdisk_fail(n, -ENOMEM, "out of memory");
	}
	if (n->val[TEST_MODE].set)
		t->mode = match_string(modes, ARRAY_SIZE(modes),
				       n->val[TEST_MODE].str);
	t->piece = n->val[TEST_PIECE].num;
	t->holding = t->mode == TEST_HOLD;
	t->sink = (struct bio_vec){ .bv_page = page, .bv_len = PAGE_SIZE };
	spin_lock_init(&t->lock);
	INIT_LIST_HEAD(&t->held);
	n->priv = t;
	return 0;
}

static void vdisk_test_dtr(struct vdisk_node *n)
{
	struct vdisk_test *t = n->priv;

	__free_page(t->sink.bv_page);
	kfree(t);
}

static sector_t vdisk_test_length(const struct vdisk_node *n)
{
	return n->children[0]->ops->length(n->children[0]);
}

static int vdisk_test_give(struct vdisk_node *n)
{
	struct vdisk_test *t = n->priv;
	unsigned int block = n->lim.logical_block_size >> SECTOR_SHIFT;

	if (t->piece & (block - 1))
		return vdisk_fail(n, -EINVAL,
				  "piece: not a multiple of the block size, %u sectors",
				  block);
	n->children[0]->len = n->len;
	return 0;
}

static struct vdisk_node *vdisk_test_route(struct vdisk_node *n,
					   struct vdisk_run *run)
{
	struct vdisk_test *t = n->priv;

	if (t->piece && atomic_inc_return(&t->turn) & 1) {
		sector_t at = run->sector;

		run->nr = min(run->nr, t->piece - sector_div(at, t->piece));
	}
	return n->children[0];
}

static void vdisk_test_go_on(struct vdisk_io *io)
{
	vdisk_go_on(io, io->at);
}

static void vdisk_test_timer(struct work_struct *work)
{
	struct vdisk_test_io *st = container_of(to_delayed_work(work),
						struct vdisk_test_io, timer);

	vdisk_defer(st->io, vdisk_test_go_on);
}

/* Reads something before the bio goes on, as a fill or a page load would. */
static void vdisk_test_read_done(struct vdisk_io *own, blk_status_t status)
{
	struct vdisk_io *io = own->owner;
	struct vdisk_node *n = io->at;

	vdisk_io_free(own);
	if (status)
		vdisk_end(io, n, status);
	else
		vdisk_defer(io, vdisk_test_go_on);
}

static enum vdisk_map vdisk_test_read(struct vdisk_node *n, struct vdisk_io *io);

static void vdisk_test_read_again(struct vdisk_io *io)
{
	vdisk_test_read(io->at, io);
}

static enum vdisk_map vdisk_test_read(struct vdisk_node *n, struct vdisk_io *io)
{
	struct vdisk_test_io *st = vdisk_state(n, io);
	struct vdisk_test *t = n->priv;
	struct vdisk_io *own;
	struct bio *bio;

	if (!io->bio->bi_iter.bi_size)
		return VDISK_DOWN;
	own = vdisk_io_alloc(n, io, &st->wait, vdisk_test_read_again);
	if (!own)
		return VDISK_TAKEN;
	bio = own->bio;
	bio->bi_opf = REQ_OP_READ;
	bio->bi_io_vec = &t->sink;
	bio->bi_iter = (struct bvec_iter){
		.bi_sector = io->bio->bi_iter.bi_sector,
		.bi_size = min_t(unsigned int, io->bio->bi_iter.bi_size,
				 PAGE_SIZE),
	};
	vdisk_io_submit(own, n->children[0], vdisk_test_read_done);
	return VDISK_TAKEN;
}

static enum vdisk_map vdisk_test_hold(struct vdisk_node *n, struct vdisk_io *io)
{
	struct vdisk_test_io *st = vdisk_state(n, io);
	struct vdisk_test *t = n->priv;
	unsigned long flags;
	bool requeue;

	spin_lock_irqsave(&t->lock, flags);
	if (!t->holding) {
		spin_unlock_irqrestore(&t->lock, flags);
		return VDISK_DOWN;
	}
	requeue = t->requeue;
	if (!requeue) {
		list_add_tail(&st->held, &t->held);
		t->nr_held++;
	}
	spin_unlock_irqrestore(&t->lock, flags);
	if (requeue)
		vdisk_end(io, n, BLK_STS_DM_REQUEUE);
	return VDISK_TAKEN;
}

/* Let all held bios go on, or give them back to dm core. */
static void vdisk_test_release(struct vdisk_node *n, bool requeue)
{
	struct vdisk_test_io *st, *next;
	struct vdisk_test *t = n->priv;
	LIST_HEAD(held);

	spin_lock_irq(&t->lock);
	list_splice_init(&t->held, &held);
	t->nr_held = 0;
	t->requeue = requeue;
	t->holding &= requeue;
	spin_unlock_irq(&t->lock);

	list_for_each_entry_safe(st, next, &held, held) {
		if (requeue)
			vdisk_end(st->io, n, BLK_STS_DM_REQUEUE);
		else
			vdisk_defer(st->io, vdisk_test_go_on);
	}
}

static void vdisk_test_abort(struct vdisk_node *n,
			     bool (*which)(struct vdisk_io *io),
			     blk_status_t status)
{
	struct vdisk_test_io *st, *next;
	struct vdisk_test *t = n->priv;
	LIST_HEAD(aborted);

	spin_lock_irq(&t->lock);
	list_for_each_entry_safe(st, next, &t->held, held) {
		if (!which(st->io))
			continue;
		list_move_tail(&st->held, &aborted);
		t->nr_held--;
	}
	spin_unlock_irq(&t->lock);
	list_for_each_entry_safe(st, next, &aborted, held)
		vdisk_end(st->io, n, status);
}

static enum vdisk_map vdisk_test_map(struct vdisk_node *n, struct vdisk_io *io)
{
	struct vdisk_test_io *st = vdisk_state(n, io);
	struct vdisk_test *t = n->priv;

	st->n = n;
	st->io = io;
	switch (t->mode) {
	case TEST_WORK:
		vdisk_defer(io, vdisk_test_go_on);
		return VDISK_TAKEN;
	case TEST_TIMER:
		INIT_DELAYED_WORK(&st->timer, vdisk_test_timer);
		queue_delayed_work(n->stack->wq, &st->timer,
				   usecs_to_jiffies(n->val[TEST_PERIOD].num));
		return VDISK_TAKEN;
	case TEST_HOLD:
		return vdisk_test_hold(n, io);
	case TEST_READ:
		return vdisk_test_read(n, io);
	case TEST_FAIL:
		/* The medium does, so what is not of it does not. */
		if (vdisk_kind(io->bio) == VDISK_FLUSH)
			return VDISK_DOWN;
		vdisk_end(io, n, BLK_STS_MEDIUM);
		return VDISK_TAKEN;
	default:
		return VDISK_DOWN;
	}
}

static void vdisk_test_up(struct vdisk_io *io)
{
	struct vdisk_test_io *st = vdisk_state(io->at, io);

	vdisk_end(io, st->n, st->status);
}

static enum vdisk_end vdisk_test_end(struct vdisk_node *n, struct vdisk_io *io,
				     blk_status_t *status)
{
	struct vdisk_test_io *st = vdisk_state(n, io);

	if (!n->val[TEST_UP].set)
		return VDISK_UP;
	st->status = *status;
	io->at = n;
	vdisk_defer(io, vdisk_test_up);
	return VDISK_KEPT;
}

static void vdisk_test_presuspend(struct vdisk_node *n)
{
	if (dm_noflush_suspending(n->stack->ti))
		vdisk_test_release(n, true);
}

static void vdisk_test_resume(struct vdisk_node *n)
{
	struct vdisk_test *t = n->priv;

	spin_lock_irq(&t->lock);
	t->requeue = false;
	spin_unlock_irq(&t->lock);
}

static void vdisk_test_status(struct vdisk_node *n, struct vdisk_out *out)
{
	struct vdisk_test *t = n->priv;

	vdisk_emit(out, " held=%u", READ_ONCE(t->nr_held));
}

static int vdisk_test_message(struct vdisk_node *n, unsigned int argc,
			      char **argv, struct vdisk_out *out)
{
	struct vdisk_test *t = n->priv;

	if (argc == 1 && !strcmp(argv[0], "release")) {
		vdisk_test_release(n, false);
		return 0;
	}
	if (argc == 1 && !strcmp(argv[0], "hold")) {
		spin_lock_irq(&t->lock);
		t->holding = t->mode == TEST_HOLD;
		spin_unlock_irq(&t->lock);
		return 0;
	}
	if (argc == 1 && !strcmp(argv[0], "held")) {
		vdisk_emit(out, "%u", READ_ONCE(t->nr_held));
		return 1;
	}
	return vdisk_fail(n, -EINVAL, "understands: release, hold, held");
}

const struct vdisk_ops vdisk_test_ops = {
	.ctr = vdisk_test_ctr,
	.dtr = vdisk_test_dtr,
	.length = vdisk_test_length,
	.give = vdisk_test_give,
	.route = vdisk_test_route,
	.map = vdisk_test_map,
	.abort = vdisk_test_abort,
	.end = vdisk_test_end,
	.presuspend = vdisk_test_presuspend,
	.presuspend_undo = vdisk_test_resume,
	.resume = vdisk_test_resume,
	.status = vdisk_test_status,
	.message = vdisk_test_message,
	.io_size = sizeof(struct vdisk_test_io),
	.splits = true,
	.own_ios = true,
	.defers = true,
};
