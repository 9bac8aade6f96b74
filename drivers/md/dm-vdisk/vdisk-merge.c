// SPDX-License-Identifier: GPL-2.0-only
/*
 * Merge: what an overlay's store has is copied into its base, while the disk is
 * in use; then the base alone is the disk.
 *
 * The copy changes nothing of the disk: what is copied stays in the store, which
 * hides it in the base. So it may be given up, or cut off by a loss of power, at
 * any time, and begin again.
 *
 * A bit for each region says that disk and base may differ there. Whoever changes
 * the disk sets it behind the change; who copies clears it and looks then:
 *
 *	write, discard			copy
 *	the store, presence		clear the bit
 *	set the bit			look at presence, read the store
 *
 * One of the two sees the other, so a change is copied, by this copy or by one
 * that is still to come; of a write under way anything may be.
 *
 * The first pass copies all regions. From then on no more may be left than there
 * were at its end, and one less for every two that are copied: beyond that, writes
 * wait. So what is left falls, whatever is written, until it is so little that a
 * suspend can copy it, with no bio under way. That suspend is one that was
 * announced, by the message finish; behind it a table with the base in the
 * overlay's place goes live. The store says then that it was merged: one that is
 * not written to any more must not be opened over a base that is.
 *
 * Progress: who copies needs pages and ios that it has, and what the children need
 * for any bio; a leaf of presence that is to be read needs memory, and is tried
 * again.
 */
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "vdisk-overlay.h"

#define DM_MSG_PREFIX "vdisk"

/* Copied at a time */
#define VDISK_MERGE_PAGES	16

/* A region has at least so many sectors, and there are no more than so many. */
#define VDISK_MERGE_REGION	128
#define VDISK_MERGE_REGIONS	(64ULL << 20)

/* Sectors that may be left for the suspend, if that is more than one region */
#define VDISK_MERGE_LEFT	(64ULL << 11)

/* Sectors of one write of zeroes */
#define VDISK_MERGE_ZEROES	(512U << 11)

/* What changes after the first pass is copied so much later, with its neighbours. */
#define VDISK_MERGE_DELAY	(HZ / 10)

/* So many regions, and commits and loads have their turn. */
#define VDISK_MERGE_TURN	64

/**
 * struct vdisk_merge - of a node
 * @o: the node
 * @work: copies
 * @regions: a bit for each that disk and base may differ in
 * @nr: regions
 * @shift: a region is 1 << @shift sectors
 * @max_left: regions that a suspend copies
 * @left: regions that are to be copied
 * @limit: writes wait while more are left
 * @stopped: a suspend has stopped the copy, or it never began
 * @rate: sectors per second, or 0: as fast as it goes
 * @next: region to look at; @work's own, as is what follows
 * @copies: regions copied since the first pass
 * @copied: sectors of this region
 * @due: when the next copy may begin, as ktime_get_ns() has it
 * @due_rate: the rate that @due is about
 * @given_back: the last copy was
 * @zeroes: the base takes REQ_OP_WRITE_ZEROES
 * @pages: what is copied
 * @table: for its bios
 * @done: one has ended
 * @status: of that
 * @waiting: vdisk_overlay_io.list of those that wait; guarded by @o->lock, as is
 *	what follows
 * @state: what became of the last message; also read without the lock
 * @restart: begin at the beginning
 * @finish: the next suspend copies what is left
 */
struct vdisk_merge {
	struct vdisk_overlay *o;
	struct delayed_work work;
	unsigned long *regions;
	unsigned long nr;
	unsigned int shift;
	long max_left;
	atomic_long_t left;
	long limit;
	bool stopped;
	u64 rate;
	unsigned long next;
	unsigned long copies;
	sector_t copied;
	u64 due;
	u64 due_rate;
	bool given_back;
	bool zeroes;
	struct page *pages[VDISK_MERGE_PAGES];
	struct bio_vec table[VDISK_MERGE_PAGES];
	struct completion done;
	blk_status_t status;
	struct list_head waiting;	/* guarded by @o->lock, as what follows */
	enum vdisk_merge_state state;
	bool restart;
	bool finish;
};

static const char * const vdisk_merge_names[] = {
	"off", "on", "ready", "done", "failed"
};

static bool vdisk_merge_is_on(const struct vdisk_merge *m)
{
	enum vdisk_merge_state state = READ_ONCE(m->state);

	return state == VDISK_MERGE_ON || state == VDISK_MERGE_READY;
}

static bool vdisk_merge_is_behind(const struct vdisk_merge *m)
{
	return vdisk_merge_is_on(m) && !READ_ONCE(m->stopped) &&
	       atomic_long_read(&m->left) > READ_ONCE(m->limit);
}

/* Is more left than a suspend copies? */
static bool vdisk_merge_is_far(const struct vdisk_merge *m)
{
	return atomic_long_read(&m->left) > 2 * m->max_left;
}

static void vdisk_merge_set(struct vdisk_merge *m, unsigned long region)
{
	if (!test_and_set_bit(region, m->regions))
		atomic_long_inc(&m->left);
}

/* From one state to another, with an event, unless a message was faster. */
static bool vdisk_merge_turn(struct vdisk_merge *m, enum vdisk_merge_state from,
			     enum vdisk_merge_state to)
{
	bool turns;

	spin_lock_irq(&m->o->lock);
	turns = m->state == from && !m->restart;
	if (turns)
		WRITE_ONCE(m->state, to);
	if (turns && to != VDISK_MERGE_READY) {
		m->finish = false;
		m->o->layer->merging = false;
	}
	spin_unlock_irq(&m->o->lock);
	if (turns)
		dm_table_event(m->o->n->stack->ti->table);
	return turns;
}

static void vdisk_merge_failed(struct vdisk_merge *m, blk_status_t status)
{
	if (!vdisk_merge_turn(m, VDISK_MERGE_ON, VDISK_MERGE_FAILED) &&
	    !vdisk_merge_turn(m, VDISK_MERGE_READY, VDISK_MERGE_FAILED))
		return;
	DMERR("%s: merge: failed (%pe): the disk is as it was",
	      dm_table_device_name(m->o->n->stack->ti->table),
	      ERR_PTR(blk_status_to_errno(status)));
}

/* Those that waited look again. */
static void vdisk_merge_release(struct vdisk_merge *m)
{
	struct vdisk_overlay_io *st, *next;
	LIST_HEAD(waiting);

	spin_lock_irq(&m->o->lock);
	list_splice_init(&m->waiting, &waiting);
	spin_unlock_irq(&m->o->lock);
	list_for_each_entry_safe(st, next, &waiting, list)
		vdisk_overlay_retry(m->o, st);
}

static void vdisk_merge_io_done(struct vdisk_io *io, blk_status_t status)
{
	struct vdisk_merge *m = io->priv;

	m->status = status;
	vdisk_io_free(io);
	complete(&m->done);
}

static bool vdisk_merge_is_ours(struct vdisk_io *io)
{
	io = vdisk_io_origin(io);
	return !io->owner && io->done == vdisk_merge_io_done;
}

static blk_status_t vdisk_merge_wait(struct vdisk_merge *m, struct vdisk_io *io,
				     unsigned int child)
{
	reinit_completion(&m->done);
	io->priv = m;
	vdisk_io_submit(io, m->o->n->children[child], vdisk_merge_io_done);
	wait_for_completion_io(&m->done);
	return m->status;
}

/* Read a piece from the store, or write one to the base: @pages, or zeroes */
static blk_status_t vdisk_merge_piece(struct vdisk_merge *m, unsigned int child,
				      bool zero, sector_t sector, unsigned int nr)
{
	unsigned int bytes = nr << SECTOR_SHIFT, i;
	struct vdisk_io *io;

	io = vdisk_io_new(m->o->n,
			  child == OVERLAY_STORE ? REQ_OP_READ : REQ_OP_WRITE,
			  m->table, VDISK_MERGE_PAGES);
	for (i = 0; bytes; i++) {
		unsigned int len = min_t(unsigned int, bytes, PAGE_SIZE);

		__bio_add_page(io->bio, zero ? ZERO_PAGE(0) : m->pages[i], len, 0);
		bytes -= len;
	}
	io->bio->bi_iter.bi_sector = sector;
	return vdisk_merge_wait(m, io, child);
}

static blk_status_t vdisk_merge_data(struct vdisk_merge *m, sector_t sector,
				     unsigned int nr)
{
	return vdisk_merge_piece(m, OVERLAY_STORE, false, sector + m->o->data, nr) ?:
	       vdisk_merge_piece(m, OVERLAY_BASE, false, sector, nr);
}

static blk_status_t vdisk_merge_zeroes(struct vdisk_merge *m, sector_t sector,
				       unsigned int nr)
{
	blk_status_t status;
	struct vdisk_io *io;

	if (m->zeroes) {
		io = vdisk_io_new(m->o->n, REQ_OP_WRITE_ZEROES, NULL, 0);
		io->bio->bi_iter.bi_sector = sector;
		io->bio->bi_iter.bi_size = nr << SECTOR_SHIFT;
		status = vdisk_merge_wait(m, io, OVERLAY_BASE);
		/* Some disks say so only when they are asked. */
		if (status != BLK_STS_NOTSUPP && status != BLK_STS_TARGET)
			return status;
		m->zeroes = false;
	}
	return vdisk_merge_piece(m, OVERLAY_BASE, true, sector,
				 min_t(unsigned int, nr,
				       VDISK_MERGE_PAGES * PAGE_SECTORS));
}

/* Copy the beginning of a part of a region; *@sector is where to go on. */
static blk_status_t vdisk_merge_run(struct vdisk_merge *m, sector_t *sector,
				    sector_t end)
{
	struct vdisk_overlay *o = m->o;
	u64 unit = *sector >> o->shift, nr = ((end - 1) >> o->shift) + 1 - unit;
	unsigned int most = VDISK_MERGE_PAGES * PAGE_SECTORS;
	enum vdisk_presence_state state;
	blk_status_t status;
	sector_t len;

	status = vdisk_overlay_load(o, unit, nr);
	if (status)
		return status;
	nr = vdisk_presence_run(o->presence, unit, nr, &state);
	len = min(end, (sector_t)(unit + nr) << o->shift) - *sector;
	if (state == VDISK_ZERO && m->zeroes)
		most = VDISK_MERGE_ZEROES;
	switch (state) {
	case VDISK_ABSENT:
		break;
	case VDISK_DATA:
		len = min_t(sector_t, len, most);
		status = vdisk_merge_data(m, *sector, len);
		m->copied += len;
		break;
	case VDISK_ZERO:
		len = min_t(sector_t, len, most);
		status = vdisk_merge_zeroes(m, *sector, len);
		/* It writes less if it cannot do without writing. */
		if (!m->zeroes)
			len = min_t(sector_t, len, VDISK_MERGE_PAGES * PAGE_SECTORS);
		m->copied += len;
		break;
	case VDISK_DAMAGED:
		return BLK_STS_MEDIUM;
	case VDISK_MISSING:
		/* Evicted just now: once more. */
		return BLK_STS_OK;
	}
	if (!status)
		*sector += len;
	return status;
}

/* Copy a region; if that fails, it is still to be copied. */
static blk_status_t vdisk_merge_region(struct vdisk_merge *m, unsigned long region)
{
	sector_t sector = (sector_t)region << m->shift, end;
	blk_status_t status = BLK_STS_OK;

	end = min(sector + (1ULL << m->shift), m->o->n->len);
	if (test_and_clear_bit(region, m->regions))
		atomic_long_dec(&m->left);
	while (sector < end && !status)
		status = vdisk_merge_run(m, &sector, end);
	if (status)
		vdisk_merge_set(m, region);
	return status;
}

/* Want of memory, or a suspend; another try is worth while. */
static bool vdisk_merge_is_passing(blk_status_t status)
{
	return status == BLK_STS_RESOURCE || status == BLK_STS_AGAIN ||
	       status == BLK_STS_DM_REQUEUE;
}

/* All of the disk is to be copied. */
static void vdisk_merge_begin(struct vdisk_merge *m)
{
	unsigned long region;

	WRITE_ONCE(m->limit, LONG_MAX);
	for (region = 0; region < m->nr; region++) {
		vdisk_merge_set(m, region);
		cond_resched();
	}
	m->next = 0;
	m->due = 0;
}

/* May it go on? Begin anew, if a message says so. */
static bool vdisk_merge_goes_on(struct vdisk_merge *m)
{
	bool restart, on;

	spin_lock_irq(&m->o->lock);
	on = vdisk_merge_is_on(m) && !m->stopped;
	restart = on && m->restart;
	if (restart)
		m->restart = false;
	spin_unlock_irq(&m->o->lock);
	if (restart)
		vdisk_merge_begin(m);
	return on;
}

/* The next that is to be copied; @nr: none is. */
static unsigned long vdisk_merge_find(struct vdisk_merge *m)
{
	unsigned long region = find_next_bit(m->regions, m->nr, m->next);

	if (region >= m->nr) {
		/* The end of a pass: of the first one, or of any other. */
		if (READ_ONCE(m->limit) == LONG_MAX)
			WRITE_ONCE(m->limit, max(m->max_left,
						 atomic_long_read(&m->left)));
		region = find_first_bit(m->regions, m->nr);
	}
	m->next = region < m->nr ? region + 1 : 0;
	return region;
}

static void vdisk_merge_copied(struct vdisk_merge *m)
{
	long limit = READ_ONCE(m->limit);

	if (limit != LONG_MAX && limit > m->max_left && m->copies++ & 1)
		WRITE_ONCE(m->limit, limit - 1);
	if (READ_ONCE(m->limit) == m->max_left &&
	    atomic_long_read(&m->left) <= m->max_left)
		vdisk_merge_turn(m, VDISK_MERGE_ON, VDISK_MERGE_READY);
}

/* Nothing is left, unless something has changed since. */
static void vdisk_merge_rests(struct vdisk_merge *m)
{
	WRITE_ONCE(m->limit, m->max_left);
	vdisk_merge_copied(m);
	/* Pairs with vdisk_merge_changed(). */
	smp_mb();
	if (find_first_bit(m->regions, m->nr) < m->nr)
		queue_delayed_work(m->o->wq, &m->work, VDISK_MERGE_DELAY);
}

/* How long to wait before the next copy, in ns; nobody is to wait for a rate. */
static u64 vdisk_merge_pause(struct vdisk_merge *m)
{
	u64 rate = READ_ONCE(m->rate), now = ktime_get_ns();

	if (!rate || rate != m->due_rate || READ_ONCE(m->finish) ||
	    !list_empty_careful(&m->waiting))
		m->due = 0;
	m->due_rate = rate;
	return m->due > now ? m->due - now : 0;
}

static void vdisk_merge_pay(struct vdisk_merge *m)
{
	if (m->due_rate && m->copied)
		m->due = max(m->due, ktime_get_ns()) +
			 div64_u64(m->copied * NSEC_PER_SEC, m->due_rate);
}

static void vdisk_merge_work(struct work_struct *work)
{
	struct vdisk_merge *m = container_of(to_delayed_work(work),
					     struct vdisk_merge, work);
	blk_status_t status = BLK_STS_OK;
	unsigned int turn = 0;

	while (!status && vdisk_merge_goes_on(m)) {
		u64 pause = vdisk_merge_pause(m);
		unsigned long region;

		if (pause || turn++ == VDISK_MERGE_TURN) {
			queue_delayed_work(m->o->wq, &m->work,
					   pause ? nsecs_to_jiffies(pause) + 1 : 0);
			break;
		}
		region = vdisk_merge_find(m);
		if (region >= m->nr) {
			vdisk_merge_rests(m);
			break;
		}
		m->copied = 0;
		status = vdisk_merge_region(m, region);
		vdisk_merge_pay(m);
		if (!status)
			vdisk_merge_copied(m);
		if (!vdisk_merge_is_behind(m) && !list_empty_careful(&m->waiting))
			vdisk_merge_release(m);
		cond_resched();
	}
	/* Given back by a suspend, it goes on at the next resume. */
	m->given_back = status == BLK_STS_DM_REQUEUE;
	if (status && !vdisk_merge_is_passing(status))
		vdisk_merge_failed(m, status);
	else if (status && !m->given_back)
		queue_delayed_work(m->o->wq, &m->work, VDISK_MERGE_DELAY);
	if (!vdisk_merge_is_behind(m))
		vdisk_merge_release(m);
}

/**
 * vdisk_merge_create - prepare for a merge
 * @o: the node, with the option merge
 *
 * Context: Process context, may sleep.
 * Return: what the other functions want, or NULL.
 */
struct vdisk_merge *vdisk_merge_create(struct vdisk_overlay *o)
{
	struct vdisk_merge *m = kzalloc(sizeof(*m), GFP_KERNEL);
	unsigned int i;

	if (!m)
		return NULL;
	m->o = o;
	m->stopped = true;
	INIT_DELAYED_WORK(&m->work, vdisk_merge_work);
	INIT_LIST_HEAD(&m->waiting);
	init_completion(&m->done);
	for (i = 0; i < VDISK_MERGE_PAGES; i++) {
		m->pages[i] = alloc_page(GFP_KERNEL);
		if (!m->pages[i]) {
			vdisk_merge_destroy(m);
			return NULL;
		}
	}
	return m;
}

/**
 * vdisk_merge_give - the node's length is known
 * @m: the merge
 *
 * Context: Process context, may sleep.
 * Return: 0 or -ENOMEM.
 */
int vdisk_merge_give(struct vdisk_merge *m)
{
	sector_t len = m->o->n->len;

	m->shift = ilog2(VDISK_MERGE_REGION);
	while (len >> m->shift >= VDISK_MERGE_REGIONS)
		m->shift++;
	m->nr = (len >> m->shift) + 1;
	m->max_left = max(VDISK_MERGE_LEFT >> m->shift, 1ULL);
	m->zeroes = m->o->n->children[OVERLAY_BASE]->lim.max_write_zeroes_sectors;
	m->regions = kvcalloc(BITS_TO_LONGS(m->nr), sizeof(long), GFP_KERNEL);
	return m->regions ? 0 : -ENOMEM;
}

/**
 * vdisk_merge_destroy - undo vdisk_merge_create() and vdisk_merge_give()
 * @m: the merge; no bio is left; or NULL
 *
 * Context: Process context, may sleep.
 */
void vdisk_merge_destroy(struct vdisk_merge *m)
{
	unsigned int i;

	if (!m)
		return;
	cancel_delayed_work_sync(&m->work);
	for (i = 0; i < VDISK_MERGE_PAGES && m->pages[i]; i++)
		__free_page(m->pages[i]);
	kvfree(m->regions);
	kfree(m);
}

/**
 * vdisk_merge_changed - the disk has changed: store or presence
 * @m: the merge
 * @sector: the first
 * @nr: how many, at least 1
 *
 * Context: Any context.
 */
void vdisk_merge_changed(struct vdisk_merge *m, sector_t sector, sector_t nr)
{
	unsigned long region = sector >> m->shift;
	unsigned long last = (sector + nr - 1) >> m->shift;

	/* Who clears a bit that is seen here as set looks behind that. */
	smp_mb();
	/* Who starts it copies all. */
	if (!vdisk_merge_is_on(m))
		return;
	for (; region <= last && region < m->nr; region++)
		if (!test_bit(region, m->regions))
			vdisk_merge_set(m, region);
	/* Pairs with vdisk_merge_rests(). */
	smp_mb();
	if (READ_ONCE(m->state) == VDISK_MERGE_READY && !READ_ONCE(m->stopped))
		queue_delayed_work(m->o->wq, &m->work, VDISK_MERGE_DELAY);
}

/**
 * vdisk_merge_throttle - should a write or discard wait?
 * @m: the merge
 * @st: its own; it holds nothing
 * @io: the write or discard
 *
 * Context: Process context.
 * Return: true if it does, because too much is left to be copied.
 */
bool vdisk_merge_throttle(struct vdisk_merge *m, struct vdisk_overlay_io *st,
			  struct vdisk_io *io)
{
	unsigned long flags;
	bool waits;

	if (likely(!vdisk_merge_is_behind(m)))
		return false;
	spin_lock_irqsave(&m->o->lock, flags);
	waits = vdisk_merge_is_behind(m);
	if (waits) {
		vdisk_may_wait(io);
		st->io = io;
		list_add_tail(&st->list, &m->waiting);
		/* It looks at the list at its end, whatever it finds. */
		mod_delayed_work(m->o->wq, &m->work, 0);
	}
	spin_unlock_irqrestore(&m->o->lock, flags);
	return waits;
}

/**
 * vdisk_merge_abort - end those that wait
 * @m: the merge
 * @which: those
 * @status: how they end
 *
 * Context: Process context.
 */
void vdisk_merge_abort(struct vdisk_merge *m, bool (*which)(struct vdisk_io *io),
		       blk_status_t status)
{
	struct vdisk_overlay_io *st, *next;
	LIST_HEAD(aborted);

	spin_lock_irq(&m->o->lock);
	list_for_each_entry_safe(st, next, &m->waiting, list)
		if (which(st->io))
			list_move_tail(&st->list, &aborted);
	spin_unlock_irq(&m->o->lock);
	list_for_each_entry_safe(st, next, &aborted, list)
		vdisk_end(st->io, m->o->n, status);
}

/**
 * vdisk_merge_presuspend - a suspend begins
 * @m: the merge
 *
 * If it is to finish, the copy goes on, so that what a freeze writes is not left
 * behind the limit. Any other has nobody wait; so does one that must not wait.
 *
 * Context: Process context.
 */
void vdisk_merge_presuspend(struct vdisk_merge *m)
{
	spin_lock_irq(&m->o->lock);
	if (dm_noflush_suspending(m->o->n->stack->ti) || vdisk_merge_is_far(m))
		m->finish = false;
	if (!m->finish)
		WRITE_ONCE(m->stopped, true);
	spin_unlock_irq(&m->o->lock);
	vdisk_merge_release(m);
}

/* Nobody knows when a child answers: what it holds back of the copy is ended. */
static void vdisk_merge_drain(struct vdisk_merge *m)
{
	struct vdisk_node *top = m->o->n;
	struct vdisk_stack *s = top->stack;
	unsigned int i;

	cancel_delayed_work(&m->work);
	while (work_busy(&m->work.work) & WORK_BUSY_RUNNING) {
		for (i = 0; i < s->nr_nodes; i++) {
			struct vdisk_node *n = s->nodes[i];

			if (n != top && n->ops->abort && vdisk_is_below(n, top))
				n->ops->abort(n, vdisk_merge_is_ours,
					      BLK_STS_DM_REQUEUE);
		}
		schedule_timeout_uninterruptible(1);
	}
	cancel_delayed_work_sync(&m->work);
}

static blk_status_t vdisk_merge_rest(struct vdisk_merge *m)
{
	struct vdisk_overlay *o = m->o;
	blk_status_t status = BLK_STS_OK;
	unsigned long region;

	while (!status) {
		region = vdisk_merge_find(m);
		if (region >= m->nr)
			break;
		status = vdisk_merge_region(m, region);
	}
	if (!status)
		status = vdisk_merge_wait(m, vdisk_io_new(o->n, REQ_OP_WRITE | REQ_PREFLUSH,
							  NULL, 0), OVERLAY_BASE);
	if (status || !o->meta)
		return status;
	/* If it cannot be written, it may be there nevertheless. */
	o->layer->merged = true;
	return vdisk_meta_merged(o->meta, true);
}

/**
 * vdisk_merge_postsuspend - copy what is left, if that was asked for
 * @m: the merge
 *
 * If more is left than was allowed, or memory was short, it stays ready.
 *
 * Context: Process context; no bio is left, and no commit.
 */
void vdisk_merge_postsuspend(struct vdisk_merge *m)
{
	blk_status_t status;
	bool finish;

	/* Who is to finish waits for the copy that is under way, and for the rest. */
	WRITE_ONCE(m->stopped, true);
	if (m->finish)
		cancel_delayed_work_sync(&m->work);
	else
		vdisk_merge_drain(m);
	spin_lock_irq(&m->o->lock);
	/* What was held back once would be held back again. */
	finish = m->finish && m->state == VDISK_MERGE_READY &&
		 !vdisk_merge_is_far(m) && !m->given_back;
	m->finish = false;
	spin_unlock_irq(&m->o->lock);
	if (!finish)
		return;
	status = vdisk_merge_rest(m);
	if (vdisk_merge_is_passing(status))
		return;
	if (status)
		vdisk_merge_failed(m, status);
	else
		vdisk_merge_turn(m, VDISK_MERGE_READY, VDISK_MERGE_DONE);
}

static void vdisk_merge_begins(struct vdisk_merge *m, u64 rate)
{
	struct vdisk_layer *layer = m->o->layer;

	lockdep_assert_held(&m->o->lock);
	WRITE_ONCE(m->rate, rate);
	layer->merge_rate = rate;
	layer->merging = true;
	m->finish = false;
	if (!vdisk_merge_is_on(m)) {
		m->restart = true;
		WRITE_ONCE(m->limit, LONG_MAX);
		WRITE_ONCE(m->state, VDISK_MERGE_ON);
	}
	if (!m->stopped)
		mod_delayed_work(m->o->wq, &m->work, 0);
}

/**
 * vdisk_merge_resume - go on; a new table, from the beginning
 * @m: the merge
 *
 * Context: Process context. Also when a suspend was given up.
 */
void vdisk_merge_resume(struct vdisk_merge *m)
{
	struct vdisk_layer *layer = m->o->layer;

	spin_lock_irq(&m->o->lock);
	m->finish = false;
	WRITE_ONCE(m->stopped, false);
	/* The table that it was done for did not come. */
	if (m->state == VDISK_MERGE_DONE) {
		layer->merging = true;
		WRITE_ONCE(m->state, VDISK_MERGE_READY);
	}
	if (layer->merging)
		vdisk_merge_begins(m, layer->merge_rate);
	spin_unlock_irq(&m->o->lock);
}

/**
 * vdisk_merge_status - struct vdisk_ops' status
 * @m: the merge
 * @out: gets it
 *
 * Context: Process context.
 */
void vdisk_merge_status(const struct vdisk_merge *m, struct vdisk_out *out)
{
	sector_t len = m->o->n->len, left;

	left = (sector_t)max(atomic_long_read(&m->left), 0L) << m->shift;
	if (!vdisk_merge_is_on(m) && READ_ONCE(m->state) != VDISK_MERGE_DONE)
		left = len;
	/* It is about to be all. */
	if (READ_ONCE(m->restart))
		left = len;
	vdisk_emit(out, " merge=%s unmerged=%llu",
		   vdisk_merge_names[READ_ONCE(m->state)], min(left, len));
}

/**
 * vdisk_merge_message - start [<sectors per second>], stop, finish
 * @m: the merge
 * @argc: words
 * @argv: the words
 *
 * Context: Process context, one at a time.
 * Return: 0 or -errno after vdisk_fail().
 */
int vdisk_merge_message(struct vdisk_merge *m, unsigned int argc, char **argv)
{
	struct vdisk_node *n = m->o->n;
	enum vdisk_merge_state state;
	u64 rate = 0;
	bool far;

	if ((argc == 1 || argc == 2) && !strcmp(argv[0], "start")) {
		if (argc == 2 && (kstrtou64(argv[1], 10, &rate) || !rate))
			return vdisk_fail(n, -EINVAL,
					  "merge: '%s' is no number of sectors per second",
					  argv[1]);
		spin_lock_irq(&m->o->lock);
		vdisk_merge_begins(m, rate);
		spin_unlock_irq(&m->o->lock);
		return 0;
	}
	if (argc == 1 && !strcmp(argv[0], "stop")) {
		spin_lock_irq(&m->o->lock);
		m->o->layer->merging = false;
		m->finish = false;
		m->restart = false;
		WRITE_ONCE(m->state, VDISK_MERGE_OFF);
		spin_unlock_irq(&m->o->lock);
		vdisk_merge_release(m);
		return 0;
	}
	if (argc != 1 || strcmp(argv[0], "finish"))
		return vdisk_fail(n, -EINVAL,
				  "merge: start [<sectors per second>], stop, or finish");
	spin_lock_irq(&m->o->lock);
	state = m->state;
	far = vdisk_merge_is_far(m);
	m->finish = state == VDISK_MERGE_READY && !far;
	spin_unlock_irq(&m->o->lock);
	if (state != VDISK_MERGE_READY)
		return vdisk_fail(n, -EBUSY, "merge: is %s, not ready",
				  vdisk_merge_names[state]);
	if (far)
		return vdisk_fail(n, -EBUSY,
				  "merge: more is left than a suspend copies; try again");
	/* What its rate has put off is copied now. */
	if (!READ_ONCE(m->stopped))
		mod_delayed_work(m->o->wq, &m->work, 0);
	return 0;
}
