// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every crash state of a store. A real overlay or cache lies over a disk in memory with
 * a volatile cache, which logs what it is given. All workloads of up to three
 * operations run, also with the next operation begun in the middle of a commit.
 * For each point of the log, every subset of what was written and not flushed
 * is looked at with the format's own code.
 *
 * dm core is not needed: the table is zeroes, where it finds no mapped device.
 *
 * What is durable is decided sector by sector of 512 bytes. What the disk then
 * holds in a sector depends on that sector of the store, on one of the presence
 * area, and on the superblocks, and on no others: so subsets of the writes to
 * those are all there is to try, for each sector of the disk. Sectors of a unit
 * are written by the same bios; the first stands for all of them.
 *
 * With a blob for a base, whose version is known when the table goes live, no
 * unit may be believed without the pin that says which one that was.
 *
 * With write_through there are two disks, each with a cache of its own: the base
 * is written as well. Then whatever is believed of the store has to be what the
 * base has.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "../../drivers/md/dm-vdisk/vdisk.h"
#include "../../drivers/md/dm-vdisk/vdisk-blob.h"
#include "../../drivers/md/dm-vdisk/vdisk-presence.h"

/* Two units, the last one of a leaf and the first one of the next */
#define UNITS		2
#define FIRST		(VDISK_LEAF_UNITS - 1)
#define DISK_UNITS	(2 * VDISK_LEAF_UNITS)
#define MAX_OPS		3
#define MAX_EVENTS	160
#define MAX_ATOMS	16

enum op {
	WRITE_A, WRITE_AB, WRITE_A_FUA, DISCARD_A, DISCARD_AB, ZEROES_B, FLUSH,
	NR_OPS
};

/* What the units are at first */
enum before { ALL_ABSENT, ALL_DATA, ALL_ZERO, NR_BEFORE };

/* What is kept of the store: superblocks, presence, a sector of each unit; of the base: that */
enum {
	SLOT_SB, SLOT_LEAF = 2, SLOT_DATA = 4, SLOT_BASE = SLOT_DATA + UNITS,
	NR_SLOTS = SLOT_BASE + UNITS
};

#define BASE_TAG(unit)	(0xba5eULL << 48 | (unit))
#define STALE_TAG(unit)	(0x57a1ULL << 48 | (unit))
#define OP_TAG(op, unit) (0xda7aULL << 48 | (op) << 8 | (unit))
#define HOLE_TAG	(0xdeadULL << 48)	/* what is in a hole is anything */

/* Of the blob */
static const u8 version[VDISK_STORE_PIN] = { 1, 2, 3, 4, 5, 6, 7, 8 };

struct sector {
	union {
		u8 raw[SECTOR_SIZE];
		u64 tag;
		struct vdisk_store_sb sb;
		struct vdisk_store_leaf leaf;
	};
	enum vdisk_store_leaf_kind kind;	/* of a leaf */
};

enum event_type { EV_WRITE, EV_FUA, EV_FLUSH, EV_SUBMIT, EV_ACK };

struct event {
	enum event_type type;
	unsigned int slot;	/* EV_WRITE */
	bool base;		/* EV_FLUSH: of that */
	unsigned int nr;	/* EV_FUA: so many before it; else the operation */
	struct sector sector;
};

struct guest_op {
	struct crash *c;
	enum op op;
	unsigned int nr;
	bool submitted;
	bool acked;
	struct completion done;
	struct bio_vec table[UNITS];
	struct page *page[UNITS];
};

/* What a unit was and may be: value 0 is from before all operations. */
struct history {
	unsigned int nr;
	int value[MAX_OPS + 1];	/* which operation */
	unsigned int acked;	/* the newest one */
	unsigned int flushed[MAX_OPS + 1];	/* that when the flush began */
	unsigned int durable;
};

struct crash {
	struct kunit *test;
	struct vdisk_stack *s;
	struct dm_target ti;
	void *table;
	unsigned int unit;	/* sectors */
	unsigned int block;	/* likewise, of the store */
	bool through;
	bool blob;
	struct vdisk_store_sb sb;
	struct sector at_first[NR_SLOTS];
	struct sector live[NR_SLOTS];
	bool logging;
	spinlock_t lock;	/* guards the log */
	unsigned int nr_events;
	struct event event[MAX_EVENTS];
	struct guest_op op[MAX_OPS + 1];
	unsigned int nr_ops;
	/* The operation that begins in the middle of another one's I/O */
	struct guest_op *inject;
	unsigned int inject_at;
	enum before before;
	struct history history[UNITS];
	const struct sector *state[NR_SLOTS];
	const struct sector *picked[NR_SLOTS];	/* one of the states */
	struct gendisk *disk;
	struct workqueue_struct *wq;
	unsigned long runs, states, holes, injected;
};

/* Of the store, under the test */
static struct crash *disk;

static bool op_does(enum op op, unsigned int unit)
{
	switch (op) {
	case WRITE_A:
	case WRITE_A_FUA:
	case DISCARD_A:
		return unit == 0;
	case WRITE_AB:
	case DISCARD_AB:
		return true;
	case ZEROES_B:
		return unit == 1;
	default:
		return false;
	}
}

static bool op_zeroes(enum op op)
{
	return op == DISCARD_A || op == DISCARD_AB || op == ZEROES_B;
}

static bool op_flushes(enum op op)
{
	return op == FLUSH || op == WRITE_A_FUA;
}

/* Where a sector of the store, or of the base, is kept; -1: nowhere */
static int slot_of(const struct crash *c, bool base, sector_t sector)
{
	sector_t data = (sector_t)FIRST * c->unit;
	unsigned int i;

	if (!base)
		data += le64_to_cpu(c->sb.data_start);
	for (i = 0; i < UNITS; i++)
		if (sector == data + i * c->unit)
			return (base ? SLOT_BASE : SLOT_DATA) + i;
	if (base)
		return -1;
	if (!(sector % VDISK_STORE_SLOT_SECTORS) && sector < 16)
		return SLOT_SB + sector / VDISK_STORE_SLOT_SECTORS;
	if (sector == 16 || sector == 17)
		return SLOT_LEAF + sector - 16;
	return -1;
}

static struct event *log_event(struct crash *c, enum event_type type,
			       unsigned int nr)
{
	struct event *e = &c->event[min(c->nr_events, MAX_EVENTS - 1U)];

	lockdep_assert_held(&c->lock);
	c->nr_events++;
	e->type = type;
	e->nr = nr;
	return e;
}

static void note(struct crash *c, enum event_type type, unsigned int nr)
{
	unsigned long flags;

	spin_lock_irqsave(&c->lock, flags);
	if (c->logging)
		log_event(c, type, nr);
	spin_unlock_irqrestore(&c->lock, flags);
}

static void disk_sector(struct crash *c, bool base, struct bio *bio,
			sector_t sector, u8 *data, unsigned int *logged)
{
	int slot = slot_of(c, base, sector);
	struct sector *s = c->live + slot;
	struct event *e;

	if (bio_op(bio) == REQ_OP_READ) {
		memset(data, 0, SECTOR_SIZE);
		if (slot >= 0)
			memcpy(data, s->raw, SECTOR_SIZE);
		return;
	}
	if (slot < 0)
		return;
	if (data)
		memcpy(s->raw, data, SECTOR_SIZE);
	else
		s->tag = base ? 0 : HOLE_TAG;
	if (slot >= SLOT_LEAF && slot < SLOT_DATA)
		s->kind = vdisk_store_leaf_check(&c->sb, slot - SLOT_LEAF, &s->leaf);
	if (!c->logging)
		return;
	e = log_event(c, EV_WRITE, 0);
	e->slot = slot;
	e->sector = *s;
	++*logged;
}

static void guest_submit(struct guest_op *op);

static enum vdisk_map serve(struct vdisk_io *io, bool base)
{
	struct bio *bio = io->bio;
	sector_t sector = bio->bi_iter.bi_sector;
	struct guest_op *inject = NULL;
	struct crash *c = disk;
	unsigned int logged = 0;
	struct bvec_iter iter;
	unsigned long flags;
	struct bio_vec bv;

	spin_lock_irqsave(&c->lock, flags);
	if (c->inject && !c->inject_at--) {
		swap(inject, c->inject);
		inject->submitted = true;
	}
	spin_unlock_irqrestore(&c->lock, flags);
	if (inject) {
		c->injected++;
		guest_submit(inject);
	}

	spin_lock_irqsave(&c->lock, flags);
	if (bio->bi_opf & REQ_PREFLUSH && c->logging)
		log_event(c, EV_FLUSH, 0)->base = base;
	if (op_is_discard(bio->bi_opf) || bio_op(bio) == REQ_OP_WRITE_ZEROES) {
		unsigned int i;

		c->holes++;
		for (i = 0; i < bio_sectors(bio); i++)
			disk_sector(c, base, bio, sector + i, NULL, &logged);
	} else {
		bio_for_each_segment(bv, bio, iter) {
			u8 *data = bvec_virt(&bv);
			unsigned int i;

			for (i = 0; i < bv.bv_len; i += SECTOR_SIZE)
				disk_sector(c, base, bio, sector++, data + i,
					    &logged);
		}
	}
	if (bio->bi_opf & REQ_FUA && c->logging)
		log_event(c, EV_FUA, logged);
	spin_unlock_irqrestore(&c->lock, flags);
	return VDISK_ENDED;
}

static enum vdisk_map disk_map(struct vdisk_node *n, struct vdisk_io *io)
{
	return serve(io, false);
}

/* What it holds in all sectors of a unit is what it holds in the first. */
static enum vdisk_map base_map(struct vdisk_node *n, struct vdisk_io *io)
{
	sector_t at = io->bio->bi_iter.bi_sector;
	struct crash *c = disk;
	struct bvec_iter iter;
	unsigned long flags;
	struct bio_vec bv;

	if (bio_op(io->bio) != REQ_OP_READ)
		return serve(io, true);
	spin_lock_irqsave(&c->lock, flags);
	bio_for_each_segment(bv, io->bio, iter) {
		unsigned int i;

		for (i = 0; i < bv.bv_len; i += SECTOR_SIZE, at++) {
			int slot = slot_of(c, true, at - at % c->unit);

			memset64(bvec_virt(&bv) + i,
				 slot < 0 ? 0 : c->live[slot].tag,
				 SECTOR_SIZE / 8);
		}
	}
	spin_unlock_irqrestore(&c->lock, flags);
	return VDISK_ENDED;
}

static sector_t disk_length(const struct vdisk_node *n)
{
	return 1 << 20;
}

static const struct vdisk_ops guest_ops = { .own_ios = true };

static const struct vdisk_ops disk_ops = {
	.length = disk_length, .map = disk_map,
};

static const struct vdisk_ops base_ops = {
	.length = disk_length, .map = base_map,
};

static void guest_done(struct vdisk_io *io, blk_status_t status)
{
	struct guest_op *op = io->priv;

	vdisk_io_free(io);
	if (status)
		KUNIT_FAIL(op->c->test, "operation %d: status %d", op->op,
			   (int)(__force u8)status);
	note(op->c, EV_ACK, op->nr);
	op->acked = true;
	complete(&op->done);
}

static void guest_send(struct guest_op *op, blk_opf_t opf, unsigned int first,
		       unsigned int nr)
{
	struct vdisk_node *overlay = op->c->s->nodes[1];
	unsigned int bytes = op->c->unit << SECTOR_SHIFT, i;
	struct vdisk_io *io;

	io = vdisk_io_new(overlay->parent, opf, op->table, UNITS);
	io->priv = op;
	io->bio->bi_iter.bi_sector = (sector_t)(FIRST + first) * op->c->unit;
	if (bio_op(io->bio) == REQ_OP_DISCARD ||
	    bio_op(io->bio) == REQ_OP_WRITE_ZEROES)
		io->bio->bi_iter.bi_size = nr * bytes;
	else
		for (i = 0; i < nr; i++)
			__bio_add_page(io->bio, op->page[first + i], bytes, 0);
	vdisk_io_submit(io, overlay, guest_done);
}

static void guest_submit(struct guest_op *op)
{
	unsigned int i;

	note(op->c, EV_SUBMIT, op->nr);
	op->submitted = true;
	for (i = 0; i < UNITS; i++)
		memset64(page_address(op->page[i]), OP_TAG((u64)op->nr, i),
			 PAGE_SIZE / 8);
	switch (op->op) {
	case WRITE_A:
		return guest_send(op, REQ_OP_WRITE, 0, 1);
	case WRITE_AB:
		return guest_send(op, REQ_OP_WRITE, 0, 2);
	case WRITE_A_FUA:
		return guest_send(op, REQ_OP_WRITE | REQ_FUA, 0, 1);
	case DISCARD_A:
		return guest_send(op, REQ_OP_DISCARD, 0, 1);
	case DISCARD_AB:
		return guest_send(op, REQ_OP_DISCARD, 0, 2);
	case ZEROES_B:
		return guest_send(op, REQ_OP_WRITE_ZEROES, 1, 1);
	default:
		return guest_send(op, REQ_OP_WRITE | REQ_PREFLUSH, 0, 0);
	}
}

static void guest_wait(struct guest_op *op)
{
	if (!wait_for_completion_timeout(&op->done, 20 * HZ))
		KUNIT_FAIL_AND_ABORT(op->c->test, "operation %d hangs", op->op);
}

/* The layer's first member is its presence. */
static struct vdisk_presence *presence_of(struct crash *c)
{
	return vdisk_object_data(c->s->nodes[1]->object);
}

/* A commit's holes are punched behind its answer. */
static void wait_for_holes(struct crash *c)
{
	unsigned int i;

	for (i = 0; i < 1000; i++) {
		if (!xa_marked(&presence_of(c)->leaves, VDISK_LEAF_PUNCH))
			return;
		usleep_range(20, 50);
	}
}

/* The table goes live. */
static void start(struct crash *c)
{
	static const char * const words[] = {
		"test", "(", "overlay", "(", "ram", ")", "(", "zero", ")", ")"
	};
	static const char * const through[] = {
		"test", "(", "cache", "write_through", "(", "ram", ")",
		"(", "ram", ")", ")"
	};
	static const char * const blob[] = {
		"test", "(", "overlay", "(", "ram", ")",
		"(", "blob", "crash", "len:1048576", ")", ")"
	};
	const struct vdisk_ops *ops[] = {
		&guest_ops, NULL, &disk_ops, c->blob ? NULL : &base_ops
	};
	struct vdisk_stack *s = kzalloc(sizeof(*s), GFP_KERNEL);
	struct kunit *test = c->test;
	struct vdisk_node *n;
	unsigned int i, end;

	KUNIT_ASSERT_NOT_NULL(test, s);
	c->s = s;
	KUNIT_ASSERT_EQ(test, c->through ?
			vdisk_parse(s, ARRAY_SIZE(through), (char **)through) :
			c->blob ?
			vdisk_parse(s, ARRAY_SIZE(blob), (char **)blob) :
			vdisk_parse(s, ARRAY_SIZE(words), (char **)words), 0);
	c->ti.table = c->table;
	s->ti = &c->ti;
	mutex_init(&s->message_lock);
	s->wq = c->wq;
	s->io_size = sizeof(struct vdisk_io);
	for (i = 0; i < s->nr_nodes; i++) {
		n = s->nodes[i];
		n->stack = s;
		if (ops[i]) {
			n->ops = ops[i];
			n->route = NULL;
		}
		blk_set_stacking_limits(&n->lim);
		n->lim.logical_block_size = (i == 2 ? c->block : c->unit) * SECTOR_SIZE;
		n->lim.max_hw_discard_sectors = UINT_MAX;
		n->len = (sector_t)DISK_UNITS * c->unit;
		n->io_size = n->ops->io_size;
		n->count = alloc_percpu(struct vdisk_count);
		KUNIT_ASSERT_NOT_NULL(test, n->count);
	}
	s->disk = c->disk;
	if (c->blob) {
		n = s->nodes[3];
		KUNIT_ASSERT_EQ_MSG(test, n->ops->ctr(n), 0, "%s", s->error);
		KUNIT_ASSERT_EQ(test, vdisk_blob_pin(n, version), 0);
	}
	KUNIT_ASSERT_EQ_MSG(test, s->nodes[1]->ops->ctr(s->nodes[1]), 0, "%s",
			    s->error);
	for (i = 0; i < s->nr_nodes; i++) {
		n = s->nodes[i];
		n->multi_offset = s->io_size;
		n->io_offset = s->io_size + vdisk_multi_size(n);
		end = n->io_offset + ALIGN(n->io_size, 8);
		s->io_size = end;
	}
	for (i = 0; i < s->nr_nodes; i++)
		KUNIT_ASSERT_EQ(test, vdisk_pools_create(s->nodes[i]), 0);
	n = s->nodes[1];
	KUNIT_ASSERT_EQ_MSG(test, n->ops->give(n), 0, "%s", s->error);
	/* What the blob is asked for comes from no helper. */
	s->nodes[3]->ops = &base_ops;
	s->nodes[3]->route = NULL;
	KUNIT_ASSERT_EQ_MSG(test, n->ops->preresume(n), 0, "%s", s->error);
	n->ops->resume(n);
}

/* It ends, as by a removal. */
static void stop(struct crash *c)
{
	struct vdisk_stack *s = c->s;
	struct vdisk_node *n = s->nodes[1];
	unsigned int i;

	n->ops->presuspend(n);
	n->ops->postsuspend(n);
	/* As vdisk_stack_dtr() */
	flush_workqueue(s->wq);
	for (i = 0; i < s->nr_nodes; i++)
		vdisk_pools_destroy(s->nodes[i]);
	n->ops->dtr(n);
	if (c->blob)
		vdisk_blob_ops.dtr(s->nodes[3]);
	for (i = 0; i < s->nr_nodes; i++) {
		free_percpu(s->nodes[i]->count);
		s->nodes[i]->count = NULL;
	}
	vdisk_free_tree(s);
	kfree(s);
}

static u64 tag_of(const struct crash *c, unsigned int unit, unsigned int value)
{
	int op = c->history[unit].value[value];

	if (value)
		return op_zeroes(c->op[op].op) ? 0 : OP_TAG((u64)op, unit);
	switch (c->before) {
	case ALL_ABSENT:
		return BASE_TAG(unit);
	case ALL_DATA:
		return c->through ? BASE_TAG(unit) : STALE_TAG(unit);
	default:
		return 0;
	}
}

/* What the disk holds in this state; false if that is not known. */
static bool look(struct crash *c, unsigned int unit, u64 *tag)
{
	const struct sector *leaf = c->state[SLOT_LEAF + unit];
	const struct vdisk_store_sb *sb;

	sb = vdisk_store_sb_choose(&c->state[SLOT_SB]->sb,
				   &c->state[SLOT_SB + 1]->sb);
	if (!sb)
		return false;
	*tag = c->state[SLOT_BASE + unit]->tag;
	/* Whoever opens it does not believe it. */
	if (le32_to_cpu(sb->flags) & VDISK_STORE_DIRTY)
		return true;
	if (leaf->kind == VDISK_STORE_LEAF_BAD)
		return false;
	if (leaf->kind != VDISK_STORE_LEAF_GOOD)
		return true;
	/* Of which version is what it hides? */
	if (c->blob && memcmp(sb->pins[0].identity, version, sizeof(version)))
		return false;
	switch (vdisk_store_leaf_state(&leaf->leaf, unit ? 0 : FIRST)) {
	case VDISK_DATA:
		*tag = c->state[SLOT_DATA + unit]->tag;
		return true;
	case VDISK_ZERO:
		*tag = 0;
		return true;
	case VDISK_ABSENT:
		return true;
	default:
		return false;
	}
}

static void describe(struct crash *c, const char *what, unsigned int unit,
		     u64 tag)
{
	unsigned int i;

	KUNIT_FAIL(c->test, "unit %u: %s (%llx), operations %d %d %d, before %d, injected %d",
		   unit, what, tag, c->op[0].op, c->nr_ops > 1 ? c->op[1].op : -1,
		   c->nr_ops > 2 ? c->op[2].op : -1, c->before, c->inject_at);
	for (i = 0; i < c->nr_events; i++)
		kunit_info(c->test, "event %u: type %d slot %u nr %u tag %llx", i,
			   c->event[i].type, c->event[i].slot, c->event[i].nr,
			   c->event[i].sector.tag);
}

static bool check_state(struct crash *c, unsigned int unit)
{
	const struct history *h = &c->history[unit];
	unsigned int k;
	u64 tag;

	c->states++;
	if (!look(c, unit, &tag)) {
		describe(c, "damaged, or of an unknown version", unit, 0);
		return false;
	}
	if (c->through && tag != c->state[SLOT_BASE + unit]->tag) {
		describe(c, "not what the base has", unit, tag);
		return false;
	}
	if (c->states % 61 == 0)
		memcpy(c->picked, c->state, sizeof(c->picked));
	for (k = h->durable; k < h->nr; k++)
		if (tag == tag_of(c, unit, k))
			return true;
	describe(c, "must not be", unit, tag);
	return false;
}

/* All subsets of the writes before @end that are not @settled; @base has those. */
static bool check_point(struct crash *c, const struct sector **base,
			const bool *durable, const bool *settled,
			unsigned int end)
{
	unsigned int unit, atom[MAX_ATOMS], nr, i, subset, bit;

	for (unit = 0; unit < UNITS; unit++) {
		for (i = 0, nr = 0; i < end && nr < MAX_ATOMS; i++) {
			unsigned int slot = c->event[i].slot;

			if (c->event[i].type == EV_WRITE && !settled[i] &&
			    (slot < SLOT_LEAF || slot == SLOT_LEAF + unit ||
			     slot == SLOT_DATA + unit ||
			     slot == SLOT_BASE + unit))
				atom[nr++] = i;
		}
		KUNIT_ASSERT_LT(c->test, nr, (unsigned int)MAX_ATOMS);
		for (subset = 0; subset < 1 << nr; subset++) {
			memcpy(c->state, base, sizeof(c->state));
			for (bit = 0; bit < nr; bit++) {
				const struct event *e = &c->event[atom[bit]];

				if (subset >> bit & 1)
					c->state[e->slot] = &e->sector;
				else if (durable[atom[bit]])
					break;
			}
			if (bit == nr && !check_state(c, unit))
				return false;
		}
	}
	return true;
}

static void begin(struct crash *c, unsigned int nr)
{
	unsigned int unit;

	for (unit = 0; unit < UNITS; unit++) {
		struct history *h = &c->history[unit];

		h->flushed[nr] = h->acked;
		if (op_does(c->op[nr].op, unit))
			h->value[h->nr++] = nr;
	}
}

static void acknowledge(struct crash *c, unsigned int nr)
{
	unsigned int unit, k;

	for (unit = 0; unit < UNITS; unit++) {
		struct history *h = &c->history[unit];

		for (k = 1; k < h->nr; k++)
			if (h->value[k] == nr)
				h->acked = max(h->acked, k);
		if (c->op[nr].op == FLUSH)
			h->durable = max(h->durable, h->flushed[nr]);
		if (c->op[nr].op == WRITE_A_FUA && !unit)
			h->durable = max(h->durable, h->acked);
	}
}

/* Replay the log. True if all that it can leave is right. */
static bool check_log(struct crash *c)
{
	const struct sector *base[NR_SLOTS];
	bool durable[MAX_EVENTS] = {}, settled[MAX_EVENTS] = {}, ok = true;
	unsigned int i, k;

	KUNIT_ASSERT_LT(c->test, c->nr_events, (unsigned int)MAX_EVENTS);
	memset(c->history, 0, sizeof(c->history));
	for (i = 0; i < UNITS; i++)
		c->history[i].nr = 1;
	for (i = 0; i < NR_SLOTS; i++)
		base[i] = &c->at_first[i];
	for (i = 0; ok && i < c->nr_events; i++) {
		const struct event *e = &c->event[i];

		switch (e->type) {
		case EV_WRITE:
			continue;
		case EV_FUA:
			ok = check_point(c, base, durable, settled, i);
			for (k = i - e->nr; k < i; k++)
				durable[k] = true;
			break;
		case EV_FLUSH:
			ok = check_point(c, base, durable, settled, i);
			for (k = 0; k < i; k++) {
				unsigned int slot = c->event[k].slot;
				bool of_base = slot >= SLOT_BASE;

				if (c->event[k].type != EV_WRITE || settled[k] ||
				    of_base != e->base)
					continue;
				base[slot] = &c->event[k].sector;
				settled[k] = true;
			}
			break;
		case EV_SUBMIT:
			begin(c, e->nr);
			continue;
		case EV_ACK:
			acknowledge(c, e->nr);
			ok = check_point(c, base, durable, settled, i);
			break;
		}
	}
	return ok && check_point(c, base, durable, settled, c->nr_events);
}

/* A store as a format, or an earlier session, left it; the disk grows later. */
static void make_store(struct crash *c)
{
	unsigned int unit;

	memset(c->at_first, 0, sizeof(c->at_first));
	memset(&c->sb, 0, sizeof(c->sb));
	c->sb.epoch = cpu_to_le64(1);
	if (c->through)
		c->sb.incompat = cpu_to_le64(VDISK_STORE_THROUGH);
	vdisk_store_lay_out(&c->sb, (DISK_UNITS - 8) * c->unit,
			    DISK_UNITS * c->unit, c->unit << SECTOR_SHIFT);
	for (unit = 0; unit < UNITS; unit++) {
		struct sector *s = &c->at_first[SLOT_LEAF + unit];

		c->sb.sequence = cpu_to_le64(unit + 1);
		vdisk_store_sb_seal(&c->sb);
		c->at_first[SLOT_SB + unit].sb = c->sb;
		c->at_first[SLOT_BASE + unit].tag = BASE_TAG(unit);
		c->at_first[SLOT_DATA + unit].tag = STALE_TAG(unit);
		if (c->through && c->before == ALL_DATA)
			c->at_first[SLOT_DATA + unit].tag = BASE_TAG(unit);
		if (c->before != ALL_ABSENT) {
			u64 bits = c->before == ALL_DATA ? VDISK_DATA : VDISK_ZERO;

			s->leaf.bits[unit ? 0 : VDISK_STORE_WORDS - 1] =
				cpu_to_le64(bits << (unit ? 0 : 62));
			vdisk_store_leaf_seal(&c->sb, unit, &s->leaf);
		}
		s->kind = vdisk_store_leaf_check(&c->sb, unit, &s->leaf);
	}
	memcpy(c->live, c->at_first, sizeof(c->live));
}

/* The injected operation must not race with data of the one that it meets. */
static bool may_inject(const struct crash *c, unsigned int i)
{
	unsigned int unit;

	if (i + 1 >= c->nr_ops || (!c->through && !op_flushes(c->op[i].op)))
		return false;
	for (unit = 0; unit < UNITS; unit++)
		if (op_does(c->op[i].op, unit) && op_does(c->op[i + 1].op, unit))
			return false;
	return true;
}

/* What a real overlay reads in a state is what the format's code says. */
static void boot(struct crash *c)
{
	struct guest_op *op = &c->op[MAX_OPS];
	unsigned int i, unit;

	memcpy(c->state, c->picked, sizeof(c->state));
	for (i = 0; i < NR_SLOTS; i++)
		c->live[i] = *c->state[i];
	c->logging = false;
	start(c);
	for (unit = 0; unit < UNITS; unit++) {
		u64 want, found;

		KUNIT_EXPECT_TRUE(c->test, look(c, unit, &want));
		reinit_completion(&op->done);
		guest_send(op, REQ_OP_READ, unit, 1);
		guest_wait(op);
		found = want ? *(u64 *)page_address(op->page[unit]) :
			memchr_inv(page_address(op->page[unit]), 0,
				   c->unit << SECTOR_SHIFT) ? 1 : 0;
		KUNIT_EXPECT_EQ(c->test, found, want);
	}
	stop(c);
}

static bool run(struct crash *c, int inject_op, unsigned int inject_at)
{
	unsigned long flags;
	unsigned int i;
	bool ok;

	make_store(c);
	c->nr_events = 0;
	c->picked[0] = NULL;
	c->logging = true;
	start(c);
	for (i = 0; i < c->nr_ops; i++) {
		c->op[i].submitted = false;
		reinit_completion(&c->op[i].done);
	}
	for (i = 0; i < c->nr_ops; i++) {
		if (i == inject_op) {
			c->inject_at = inject_at;
			c->inject = &c->op[i + 1];
		}
		if (!c->op[i].submitted)
			guest_submit(&c->op[i]);
		guest_wait(&c->op[i]);
		spin_lock_irqsave(&c->lock, flags);
		c->inject = NULL;
		spin_unlock_irqrestore(&c->lock, flags);
		if (op_flushes(c->op[i].op))
			wait_for_holes(c);
	}
	/* That commits as well, and promises nothing. */
	stop(c);
	c->runs++;
	ok = check_log(c);
	if (ok && c->runs % 8 == 0 && c->picked[0])
		boot(c);
	return ok;
}

/* With nothing injected, and with the next operation at each I/O of a commit. */
static bool run_all(struct crash *c)
{
	unsigned long seen;
	unsigned int i, at;

	if (!run(c, -1, 0))
		return false;
	for (i = 0; i + 1 < c->nr_ops; i++) {
		if (!may_inject(c, i))
			continue;
		for (at = 0, seen = -1UL; seen != c->injected; at++) {
			seen = c->injected;
			if (!run(c, i, at))
				return false;
		}
	}
	return true;
}

/* Those of fewer operations are what these begin with. */
static void all_workloads(struct kunit *test, unsigned int unit,
			  unsigned int block)
{
	struct crash *c = test->priv;
	struct queue_limits lim;
	unsigned int w, i, end;

	c->unit = unit;
	c->block = block;
	blk_set_stacking_limits(&lim);
	lim.logical_block_size = unit * SECTOR_SIZE;
	c->disk = vdisk_alloc_disk(&lim);
	KUNIT_ASSERT_FALSE(test, IS_ERR(c->disk));
	for (i = 0, end = NR_BEFORE; i < c->nr_ops; i++)
		end *= NR_OPS;
	for (w = 0; w < end; w++) {
		unsigned int rest = w / NR_BEFORE;

		c->before = w % NR_BEFORE;
		/* Nothing is ever zero in the store. */
		if (c->through && c->before == ALL_ZERO)
			continue;
		/* What was there before would have its pin. */
		if (c->blob && c->before != ALL_ABSENT)
			continue;
		for (i = 0; i < c->nr_ops; i++) {
			c->op[i].op = rest % NR_OPS;
			rest /= NR_OPS;
		}
		if (!run_all(c))
			return;
	}
	kunit_info(test, "%lu runs, %lu with an operation in a commit, %lu holes, %lu states",
		   c->runs, c->injected, c->holes, c->states);
	KUNIT_EXPECT_GT(test, c->injected, 0UL);
	KUNIT_EXPECT_GT(test, c->holes, 0UL);
}

/* Units and blocks of 512 */
static void test_512(struct kunit *test)
{
	all_workloads(test, 1, 1);
}

/* Both leaves are in one block. */
static void test_4096(struct kunit *test)
{
	all_workloads(test, 8, 8);
}

/* Units of more than a block */
static void test_4096_over_512(struct kunit *test)
{
	all_workloads(test, 8, 1);
}

static void test_through_512(struct kunit *test)
{
	((struct crash *)test->priv)->through = true;
	all_workloads(test, 1, 1);
}

static void test_through_4096(struct kunit *test)
{
	((struct crash *)test->priv)->through = true;
	all_workloads(test, 8, 8);
}

static void test_blob_512(struct kunit *test)
{
	((struct crash *)test->priv)->blob = true;
	all_workloads(test, 1, 1);
}

static void test_blob_4096(struct kunit *test)
{
	((struct crash *)test->priv)->blob = true;
	all_workloads(test, 8, 8);
}

static int crash_test_init(struct kunit *test)
{
	struct crash *c = vzalloc(sizeof(*c));
	unsigned int i, k;

	if (!c)
		return -ENOMEM;
	test->priv = c;
	disk = c;
	c->test = test;
	c->nr_ops = MAX_OPS - 1;
	spin_lock_init(&c->lock);
	c->wq = alloc_workqueue("vdisk-test", WQ_PERCPU, 0);
	if (!c->wq)
		return -ENOMEM;
	/* More than a table or a mapped device has */
	c->table = kzalloc(SZ_64K, GFP_KERNEL);
	if (!c->table)
		return -ENOMEM;
	for (i = 0; i <= MAX_OPS; i++) {
		struct guest_op *op = &c->op[i];

		op->c = c;
		op->nr = i;
		init_completion(&op->done);
		for (k = 0; k < UNITS; k++) {
			op->page[k] = alloc_page(GFP_KERNEL);
			if (!op->page[k])
				return -ENOMEM;
		}
	}
	return 0;
}

static int crash_all_init(struct kunit *test)
{
	int r = crash_test_init(test);

	if (!r)
		((struct crash *)test->priv)->nr_ops = MAX_OPS;
	return r;
}

static void crash_test_exit(struct kunit *test)
{
	struct crash *c = test->priv;
	unsigned int i, k;

	if (!c)
		return;
	for (i = 0; i <= MAX_OPS; i++)
		for (k = 0; k < UNITS; k++)
			if (c->op[i].page[k])
				__free_page(c->op[i].page[k]);
	if (!IS_ERR_OR_NULL(c->disk))
		put_disk(c->disk);
	if (c->wq)
		destroy_workqueue(c->wq);
	kfree(c->table);
	vfree(c);
}

static struct kunit_case crash_cases[] = {
	KUNIT_CASE(test_512),
	KUNIT_CASE(test_4096),
	KUNIT_CASE(test_4096_over_512),
	KUNIT_CASE(test_through_512),
	KUNIT_CASE(test_through_4096),
	KUNIT_CASE(test_blob_512),
	KUNIT_CASE(test_blob_4096),
	{}
};

static struct kunit_suite crash_suite = {
	.name = "vdisk_crash",
	.init = crash_test_init,
	.exit = crash_test_exit,
	.test_cases = crash_cases,
};

/* One operation more takes minutes: `tests/run --all` has these. */
static struct kunit_case crash_all_cases[] = {
	KUNIT_CASE_SLOW(test_512),
	KUNIT_CASE_SLOW(test_4096),
	KUNIT_CASE_SLOW(test_4096_over_512),
	KUNIT_CASE_SLOW(test_through_512),
	KUNIT_CASE_SLOW(test_through_4096),
	KUNIT_CASE_SLOW(test_blob_512),
	KUNIT_CASE_SLOW(test_blob_4096),
	{}
};

static struct kunit_suite crash_all_suite = {
	.name = "vdisk_crash_all",
	.init = crash_all_init,
	.exit = crash_test_exit,
	.test_cases = crash_all_cases,
};

kunit_test_suites(&crash_suite, &crash_all_suite);
