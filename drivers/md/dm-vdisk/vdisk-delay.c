// SPDX-License-Identifier: GPL-2.0-only
/*
 * delay: holds bios back, by class of operation, for a fixed time or one that
 * is drawn from a distribution.
 *
 * A bio that waits lies in a tree by its deadline, in its own per-bio state:
 * nothing is allocated. One timer per node is armed for the first of them; it
 * queues one work, which sends on all that are due. The order of arrival is
 * the order under the lock, where the clock is read: bios of the same latency
 * have rising deadlines, and of equal deadlines the first that came goes first.
 *
 * A suspend drains: what waits goes on at once, and what comes does not wait.
 */
#include <linux/blkdev.h>
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/rbtree.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "vdisk.h"

/* A class is what vdisk_kind() says, and the index of its word. */
#define DELAY_CLASSES	(DELAY_DISCARD + 1)
static_assert((int)DELAY_READ == (int)VDISK_READ &&
	      (int)DELAY_WRITE == (int)VDISK_WRITE &&
	      (int)DELAY_FLUSH == (int)VDISK_FLUSH &&
	      (int)DELAY_DISCARD == (int)VDISK_DISCARD);

/* Draws are 1/1000 %. */
#define DELAY_DRAWS	100000

/* Bios taken out of the tree under one hold of the lock */
#define DELAY_BATCH	32

/**
 * struct vdisk_delay - the node
 * @n: back
 * @work: sends on what is due; runs on @n->stack->unbound
 * @timer: armed for the first deadline of @waiting; queues @work
 * @delays: by class: some of its bios may have to wait; read without @lock
 * @lock: guards what follows; taken in process context only
 * @waiting: bios by deadline, struct vdisk_delay_io.node
 * @nr_held: taken by map() and not yet sent on
 * @random: state of vdisk_delay_draw()
 * @latency: by class
 * @draining: nobody waits
 */
struct vdisk_delay {
	struct vdisk_node *n;
	struct work_struct work;
	struct hrtimer timer;
	bool delays[DELAY_CLASSES];
	spinlock_t lock;	/* guards what follows */
	struct rb_root_cached waiting;
	unsigned int nr_held;
	u64 random;
	struct vdisk_latency latency[DELAY_CLASSES];
	bool draining;
};

/**
 * struct vdisk_delay_io - per bio
 * @node: in vdisk_delay.waiting
 * @due: not to be sent on before
 * @io: the io
 */
struct vdisk_delay_io {
	struct rb_node node;
	ktime_t due;
	struct vdisk_io *io;
};

/**
 * vdisk_delay_draw - the next random number
 * @state: begins as the seed
 *
 * A counter in steps of 2^64 divided by the golden ratio, mixed so that every
 * bit of it matters to every bit of the result (splitmix64).
 *
 * Return: 0 to 99999; none is likelier than another by more than 1 in 40000.
 */
u32 vdisk_delay_draw(u64 *state)
{
	u64 x = *state += 0x9e3779b97f4a7c15ULL;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	x ^= x >> 31;
	return ((x >> 32) * DELAY_DRAWS) >> 32;
}

/**
 * vdisk_delay_pick - the latency that a draw stands for
 * @lat: of which
 * @draw: from vdisk_delay_draw()
 *
 * Return: us; 0 if @lat has no steps.
 */
u32 vdisk_delay_pick(const struct vdisk_latency *lat, u32 draw)
{
	unsigned int i = lat->nr;

	while (i--)
		if (draw >= lat->step[i].at)
			return lat->step[i].us;
	return 0;
}

static struct vdisk_delay_io *vdisk_delay_io(struct rb_node *node)
{
	return rb_entry(node, struct vdisk_delay_io, node);
}

static bool vdisk_delay_less(struct rb_node *a, const struct rb_node *b)
{
	return vdisk_delay_io(a)->due < vdisk_delay_io((struct rb_node *)b)->due;
}

static enum hrtimer_restart vdisk_delay_timer(struct hrtimer *timer)
{
	struct vdisk_delay *d = container_of(timer, struct vdisk_delay, timer);

	queue_work(d->n->stack->unbound, &d->work);
	return HRTIMER_NORESTART;
}

/* For the first that waits; it may be armed for it already. */
static void vdisk_delay_arm(struct vdisk_delay *d, ktime_t due)
{
	lockdep_assert_held(&d->lock);
	hrtimer_start(&d->timer, due, HRTIMER_MODE_ABS_HARD);
}

/* Take out some that are due, in order; arm the timer if no more are. */
static unsigned int vdisk_delay_take(struct vdisk_delay *d,
				     struct vdisk_io **ios)
{
	struct rb_node *first;
	unsigned int nr = 0;
	ktime_t now;

	spin_lock(&d->lock);
	now = d->draining ? KTIME_MAX : ktime_get();
	while ((first = rb_first_cached(&d->waiting))) {
		struct vdisk_delay_io *st = vdisk_delay_io(first);

		if (nr == DELAY_BATCH)
			break;
		if (st->due > now) {
			vdisk_delay_arm(d, st->due);
			break;
		}
		rb_erase_cached(first, &d->waiting);
		ios[nr++] = st->io;
	}
	d->nr_held -= nr;
	spin_unlock(&d->lock);
	return nr;
}

/* Never runs twice at a time, so the order of the tree is kept. */
static void vdisk_delay_work(struct work_struct *work)
{
	struct vdisk_delay *d = container_of(work, struct vdisk_delay, work);
	struct vdisk_io *ios[DELAY_BATCH];
	struct blk_plug plug;
	unsigned int i, nr;

	while ((nr = vdisk_delay_take(d, ios))) {
		blk_start_plug(&plug);
		for (i = 0; i < nr; i++)
			vdisk_go_on(ios[i], d->n);
		blk_finish_plug(&plug);
		cond_resched();
	}
}

static enum vdisk_map vdisk_delay_map(struct vdisk_node *n, struct vdisk_io *io)
{
	struct vdisk_delay_io *st = vdisk_state(n, io);
	unsigned int class = vdisk_kind(io->bio);
	struct vdisk_delay *d = n->priv;
	u32 us;

	if (!READ_ONCE(d->delays[class]))
		return VDISK_DOWN;
	spin_lock(&d->lock);
	if (d->draining) {
		spin_unlock(&d->lock);
		return VDISK_DOWN;
	}
	/* One draw per bio, even of a fixed latency: the next get the same. */
	us = vdisk_delay_pick(&d->latency[class], vdisk_delay_draw(&d->random));
	if (!us) {
		spin_unlock(&d->lock);
		return VDISK_DOWN;
	}
	vdisk_may_wait(io);
	st->io = io;
	st->due = ktime_add_us(ktime_get(), us);
	d->nr_held++;
	if (rb_add_cached(&st->node, &d->waiting, vdisk_delay_less))
		vdisk_delay_arm(d, st->due);
	spin_unlock(&d->lock);
	return VDISK_TAKEN;
}

/* Those about to go on are taken out of the tree already. */
static void vdisk_delay_abort(struct vdisk_node *n,
			      bool (*which)(struct vdisk_io *io),
			      blk_status_t status)
{
	struct vdisk_delay *d = n->priv;
	struct rb_root aborted = RB_ROOT;
	struct rb_node *node, *next;

	spin_lock(&d->lock);
	for (node = rb_first_cached(&d->waiting); node; node = next) {
		next = rb_next(node);
		if (!which(vdisk_delay_io(node)->io))
			continue;
		rb_erase_cached(node, &d->waiting);
		rb_add(node, &aborted, vdisk_delay_less);
		d->nr_held--;
	}
	spin_unlock(&d->lock);
	/* The io is gone when it has ended, and its node in the tree with it. */
	while ((node = rb_first(&aborted))) {
		rb_erase(node, &aborted);
		vdisk_end(vdisk_delay_io(node)->io, n, status);
	}
}

/* A class whose bios never wait costs no lock. Times do not fall. */
static bool vdisk_delay_waits(const struct vdisk_latency *lat)
{
	return lat->nr && lat->step[lat->nr - 1].us;
}

static int vdisk_delay_ctr(struct vdisk_node *n)
{
	struct vdisk_delay *d = kzalloc(sizeof(*d), GFP_KERNEL);
	unsigned int class;
	int r;

	if (!d)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	for (class = 0; class < DELAY_CLASSES; class++) {
		if (!n->val[class].set)
			continue;
		r = vdisk_read_latency(n, class, n->val[class].str,
				       &d->latency[class]);
		if (r) {
			kfree(d);
			return r;
		}
		d->delays[class] = vdisk_delay_waits(&d->latency[class]);
	}
	d->n = n;
	d->random = n->val[DELAY_SEED].num;
	d->waiting = RB_ROOT_CACHED;
	spin_lock_init(&d->lock);
	INIT_WORK(&d->work, vdisk_delay_work);
	hrtimer_setup(&d->timer, vdisk_delay_timer, CLOCK_MONOTONIC,
		      HRTIMER_MODE_ABS_HARD);
	n->priv = d;
	return 0;
}

/* Timer and work rest: postsuspend() came after the last bio. */
static void vdisk_delay_dtr(struct vdisk_node *n)
{
	kfree(n->priv);
}

static sector_t vdisk_delay_length(const struct vdisk_node *n)
{
	return n->children[0]->ops->length(n->children[0]);
}

static int vdisk_delay_give(struct vdisk_node *n)
{
	n->children[0]->len = n->len;
	return 0;
}

static struct vdisk_node *vdisk_delay_route(struct vdisk_node *n,
					    struct vdisk_run *run)
{
	return n->children[0];
}

static void vdisk_delay_presuspend(struct vdisk_node *n)
{
	struct vdisk_delay *d = n->priv;

	spin_lock(&d->lock);
	d->draining = true;
	spin_unlock(&d->lock);
	queue_work(n->stack->unbound, &d->work);
}

static void vdisk_delay_resume(struct vdisk_node *n)
{
	struct vdisk_delay *d = n->priv;

	spin_lock(&d->lock);
	d->draining = false;
	spin_unlock(&d->lock);
}

/* Draining, the work leaves nothing that would arm the timer again. */
static void vdisk_delay_postsuspend(struct vdisk_node *n)
{
	struct vdisk_delay *d = n->priv;

	hrtimer_cancel(&d->timer);
	flush_work(&d->work);
}

static void vdisk_delay_status(struct vdisk_node *n, struct vdisk_out *out)
{
	struct vdisk_delay *d = n->priv;

	vdisk_emit(out, " held=%u", READ_ONCE(d->nr_held));
}

/* set <class>:<latency>; bios that wait keep their deadlines. */
static int vdisk_delay_message(struct vdisk_node *n, unsigned int argc,
			       char **argv, struct vdisk_out *out)
{
	struct vdisk_delay *d = n->priv;
	struct vdisk_latency lat;
	unsigned int class;
	int r;

	if (argc != 2 || strcmp(argv[0], "set"))
		return vdisk_fail(n, -EINVAL, "understands: set <class>:<latency>");
	for (class = 0; class < DELAY_CLASSES; class++) {
		const char *name = n->type->args[class].name;
		size_t len = strlen(name);

		if (strncmp(argv[1], name, len) || argv[1][len] != ':')
			continue;
		r = vdisk_set_latency(n, class, argv[1] + len + 1, &lat);
		if (r)
			return r;
		spin_lock(&d->lock);
		d->latency[class] = lat;
		WRITE_ONCE(d->delays[class], vdisk_delay_waits(&lat));
		spin_unlock(&d->lock);
		return 0;
	}
	return vdisk_fail(n, -EINVAL, "set: the classes are read, write, flush, discard");
}

const struct vdisk_ops vdisk_delay_ops = {
	.ctr = vdisk_delay_ctr,
	.dtr = vdisk_delay_dtr,
	.length = vdisk_delay_length,
	.give = vdisk_delay_give,
	.route = vdisk_delay_route,
	.map = vdisk_delay_map,
	.abort = vdisk_delay_abort,
	.presuspend = vdisk_delay_presuspend,
	.presuspend_undo = vdisk_delay_resume,
	.postsuspend = vdisk_delay_postsuspend,
	.resume = vdisk_delay_resume,
	.status = vdisk_delay_status,
	.message = vdisk_delay_message,
	.io_size = sizeof(struct vdisk_delay_io),
	.defers = true,
	.unbound = true,
};
