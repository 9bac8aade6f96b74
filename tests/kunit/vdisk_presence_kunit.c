// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of presence, against a model of one byte per unit.
 */
#include <kunit/test.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "../../drivers/md/dm-vdisk/vdisk-presence.h"

#define UNITS	(5 * VDISK_LEAF_UNITS + 77)

struct fixture {
	struct vdisk_presence p;
	u8 model[UNITS];
};

static int presence_test_init(struct kunit *test)
{
	struct fixture *f = vzalloc(sizeof(*f));

	if (!f)
		return -ENOMEM;
	vdisk_presence_init(&f->p, true);
	test->priv = f;
	return 0;
}

static void presence_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;

	vdisk_presence_free(&f->p);
	vfree(f);
}

static void check_run(struct kunit *test, struct fixture *f, u32 unit, u32 nr)
{
	enum vdisk_presence_state state;
	u64 run = vdisk_presence_run(&f->p, unit, nr, &state);
	u32 want = 0;

	while (want < nr && f->model[unit + want] == f->model[unit])
		want++;
	if (run != want || state != f->model[unit])
		KUNIT_FAIL(test, "%u+%u: %llu in state %u, not %u in state %u",
			   unit, nr, run, state, want, f->model[unit]);
}

static void check_all(struct kunit *test, struct fixture *f)
{
	u64 nr[3] = {};
	u32 i;

	for (i = 0; i < UNITS; i++) {
		check_run(test, f, i, min_t(u32, UNITS - i, 1 + i % 97));
		nr[f->model[i]]++;
	}
	check_run(test, f, 0, UNITS);
	KUNIT_EXPECT_EQ(test, f->p.nr[VDISK_DATA], nr[VDISK_DATA]);
	KUNIT_EXPECT_EQ(test, f->p.nr[VDISK_ZERO], nr[VDISK_ZERO]);
}

static void write(struct kunit *test, struct fixture *f, u32 unit, u32 nr)
{
	KUNIT_ASSERT_EQ(test, vdisk_presence_hold(&f->p, unit, nr, GFP_KERNEL), 0);
	vdisk_presence_release(&f->p, unit, nr, true);
	memset(f->model + unit, VDISK_DATA, nr);
}

static void zero(struct kunit *test, struct fixture *f, u32 unit, u32 nr,
		 bool held)
{
	bool seen;

	KUNIT_ASSERT_EQ(test, vdisk_presence_zero(&f->p, unit, nr, GFP_KERNEL,
						  &seen), 0);
	KUNIT_EXPECT_EQ(test, seen, held);
	memset(f->model + unit, VDISK_ZERO, nr);
}

/* Random runs, most of them short, some over several leaves */
static void test_model(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, 0x7664);
	for (i = 0; i < 600; i++) {
		u32 most = i % 10 ? 70 : 3 * VDISK_LEAF_UNITS;
		u32 unit = prandom_u32_state(&rnd) % UNITS;
		u32 nr = 1 + prandom_u32_state(&rnd) % min(most, UNITS - unit);

		if (prandom_u32_state(&rnd) % 3)
			write(test, f, unit, nr);
		else
			zero(test, f, unit, nr, false);
		if (i % 60 == 0)
			check_all(test, f);
	}
	check_all(test, f);
}

/* What is all the same takes no leaf, whatever it was before. */
static void test_uniform(struct kunit *test)
{
	struct fixture *f = test->priv;

	check_all(test, f);
	KUNIT_EXPECT_EQ(test, f->p.nr_leaves, 0UL);
	write(test, f, VDISK_LEAF_UNITS, 2 * VDISK_LEAF_UNITS);
	KUNIT_EXPECT_EQ(test, f->p.nr_leaves, 0UL);
	check_all(test, f);
	zero(test, f, VDISK_LEAF_UNITS + 5, 1, false);
	KUNIT_EXPECT_EQ(test, f->p.nr_leaves, 1UL);
	check_all(test, f);
	zero(test, f, 0, 3 * VDISK_LEAF_UNITS, false);
	KUNIT_EXPECT_EQ(test, f->p.nr_leaves, 0UL);
	check_all(test, f);
	write(test, f, 3, 1);
	KUNIT_EXPECT_EQ(test, f->p.nr_leaves, 1UL);
	zero(test, f, 3, 1, false);
	KUNIT_EXPECT_EQ(test, f->p.nr_leaves, 0UL);
	check_all(test, f);
}

/* A held leaf stays, is seen by who zeroes, and a failed write changes nothing. */
static void test_held(struct kunit *test)
{
	u32 first = VDISK_LEAF_UNITS - 3;
	struct fixture *f = test->priv;

	KUNIT_ASSERT_EQ(test, vdisk_presence_hold(&f->p, first, 6, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, f->p.nr_leaves, 2UL);
	check_all(test, f);
	zero(test, f, 0, 1, true);
	zero(test, f, 2 * VDISK_LEAF_UNITS - 1, 1, true);
	zero(test, f, 2 * VDISK_LEAF_UNITS, 1, false);
	zero(test, f, 0, 2 * VDISK_LEAF_UNITS, true);
	KUNIT_EXPECT_EQ(test, f->p.nr_leaves, 3UL);
	check_all(test, f);
	vdisk_presence_release(&f->p, first, 6, false);
	KUNIT_EXPECT_EQ(test, f->p.nr_leaves, 1UL);
	check_all(test, f);

	KUNIT_ASSERT_EQ(test, vdisk_presence_hold(&f->p, first, 6, GFP_KERNEL), 0);
	KUNIT_ASSERT_EQ(test, vdisk_presence_hold(&f->p, first, 1, GFP_KERNEL), 0);
	vdisk_presence_release(&f->p, first, 6, true);
	memset(f->model + first, VDISK_DATA, 6);
	check_all(test, f);
	zero(test, f, first + 3, 3, false);
	zero(test, f, first, 3, true);
	vdisk_presence_release(&f->p, first, 1, false);
	check_all(test, f);
	KUNIT_EXPECT_EQ(test, f->p.nr_leaves, 1UL);
}

/* Fills may share a leaf, but not with a write; they change what is absent. */
static void test_fills(struct kunit *test)
{
	struct fixture *f = test->priv;

	write(test, f, 4, 2);
	KUNIT_ASSERT_EQ(test, vdisk_presence_hold_fill(&f->p, 0, 8, GFP_KERNEL), 0);
	KUNIT_ASSERT_EQ(test, vdisk_presence_hold_fill(&f->p, 8, 8, GFP_KERNEL), 0);
	zero(test, f, 1, 1, true);
	vdisk_presence_release_fill(&f->p, 0, 8, true);
	f->model[0] = VDISK_DATA;
	memset(f->model + 2, VDISK_DATA, 6);
	check_all(test, f);
	KUNIT_ASSERT_EQ(test, vdisk_presence_hold(&f->p, 20, 1, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, vdisk_presence_hold_fill(&f->p, 16, 2, GFP_KERNEL),
			-EBUSY);
	vdisk_presence_release(&f->p, 20, 1, false);
	KUNIT_ASSERT_EQ(test, vdisk_presence_hold_fill(&f->p, 16, 2, GFP_KERNEL), 0);
	vdisk_presence_release_fill(&f->p, 16, 2, false);
	vdisk_presence_release_fill(&f->p, 8, 8, false);
	check_all(test, f);
	zero(test, f, 0, VDISK_LEAF_UNITS, false);
	KUNIT_EXPECT_EQ(test, f->p.nr_leaves, 0UL);
}

/* What one presence writes, another one reads, and only what changed is dirty. */
static void test_disk(struct kunit *test)
{
	struct vdisk_store_sb sb = { .uuid = "a store", .epoch = cpu_to_le64(2) };
	struct fixture *f = test->priv, *g = vzalloc(sizeof(*g));
	struct vdisk_store_leaf leaf = {};
	unsigned long index, missing;

	KUNIT_ASSERT_NOT_NULL(test, g);
	f->p.blank = false;
	KUNIT_EXPECT_EQ(test, (int)vdisk_presence_look(&f->p, 7, 1, &missing),
			(int)VDISK_LOOK_MISSING);
	KUNIT_EXPECT_EQ(test, missing, 0UL);
	for (index = 0; index < 6; index++)
		KUNIT_EXPECT_EQ(test, vdisk_presence_insert(&f->p, index,
							    VDISK_STORE_LEAF_BLANK,
							    NULL, 0), 0);
	KUNIT_EXPECT_EQ(test, f->p.nr_leaves, 0UL);
	write(test, f, 100, 3);
	write(test, f, VDISK_LEAF_UNITS - 1, 2);
	zero(test, f, 2 * VDISK_LEAF_UNITS, VDISK_LEAF_UNITS, false);
	zero(test, f, 4 * VDISK_LEAF_UNITS + 5, 40, false);
	check_all(test, f);
	KUNIT_EXPECT_EQ(test, f->p.nr_dirty, 4UL);
	KUNIT_EXPECT_TRUE(test, vdisk_presence_is_dirty(&f->p, 0, 1));
	KUNIT_EXPECT_FALSE(test, vdisk_presence_is_dirty(&f->p, 3 * VDISK_LEAF_UNITS,
							 VDISK_LEAF_UNITS));

	vdisk_presence_init(&g->p, false);
	memcpy(g->model, f->model, sizeof(g->model));
	for (index = 0; index < 6; index++) {
		enum vdisk_store_leaf_kind kind;

		KUNIT_EXPECT_TRUE(test, vdisk_presence_snapshot(&f->p, index, &leaf));
		vdisk_store_leaf_seal(&sb, index, &leaf);
		kind = vdisk_store_leaf_check(&sb, index, &leaf);
		KUNIT_EXPECT_EQ(test, (int)kind, (int)VDISK_STORE_LEAF_GOOD);
		KUNIT_EXPECT_EQ(test, vdisk_presence_insert(&g->p, index, kind,
							    leaf.bits, 0), 0);
	}
	KUNIT_EXPECT_EQ(test, f->p.nr_dirty, 0UL);
	KUNIT_EXPECT_EQ(test, g->p.nr_dirty, 0UL);
	KUNIT_EXPECT_EQ(test, g->p.nr_leaves, 3UL);
	check_all(test, g);
	/* What is there is newer than what is read. */
	write(test, g, 5, 1);
	KUNIT_EXPECT_EQ(test, vdisk_presence_insert(&g->p, 0, VDISK_STORE_LEAF_BLANK,
						    NULL, 0), 0);
	check_all(test, g);
	vdisk_presence_settle(&f->p, 3, false);
	KUNIT_EXPECT_EQ(test, f->p.nr_dirty, 1UL);
	vdisk_presence_free(&g->p);
	vfree(g);
}

/* Holes are taken from clean leaves that nobody writes to. */
static void test_holes(struct kunit *test)
{
	struct vdisk_store_leaf leaf;
	struct vdisk_presence p = {};
	bool held;

	vdisk_presence_init(&p, false);
	vdisk_presence_insert(&p, 0, VDISK_STORE_LEAF_BLANK, NULL, 0);
	KUNIT_ASSERT_EQ(test, vdisk_presence_zero(&p, 10, 5, GFP_KERNEL, &held), 0);
	KUNIT_EXPECT_FALSE(test, vdisk_presence_take_holes(&p, 0, &leaf));
	vdisk_presence_snapshot(&p, 0, &leaf);
	KUNIT_ASSERT_EQ(test, vdisk_presence_hold(&p, 11, 1, GFP_KERNEL), 0);
	KUNIT_EXPECT_FALSE(test, vdisk_presence_take_holes(&p, 0, &leaf));
	vdisk_presence_release(&p, 11, 1, true);
	vdisk_presence_snapshot(&p, 0, &leaf);
	KUNIT_EXPECT_TRUE(test, vdisk_presence_take_holes(&p, 0, &leaf));
	KUNIT_EXPECT_EQ(test, le64_to_cpu(leaf.bits[0]), 0x2a600000ULL);
	KUNIT_EXPECT_FALSE(test, xa_marked(&p.leaves, VDISK_LEAF_PUNCH));
	vdisk_presence_free(&p);
}

/* Damage is found, wherever it is, and stays what it is. */
static void test_damage(struct kunit *test)
{
	static struct vdisk_store_sb sb = { .uuid = "a store" };
	static struct vdisk_store_leaf leaf, bad;
	struct vdisk_presence p = {};
	unsigned long missing;
	unsigned int i;

	memset(&leaf, 0, sizeof(leaf));
	sb.epoch = cpu_to_le64(2);
	KUNIT_EXPECT_EQ(test, (int)vdisk_store_leaf_check(&sb, 3, &leaf),
			(int)VDISK_STORE_LEAF_BLANK);
	leaf.bits[7] = cpu_to_le64(0x9);
	vdisk_store_leaf_seal(&sb, 3, &leaf);
	for (i = 0; i < sizeof(leaf) * 8; i++) {
		bad = leaf;
		((u8 *)&bad)[i / 8] ^= 1 << i % 8;
		if (vdisk_store_leaf_check(&sb, 3, &bad) != VDISK_STORE_LEAF_BAD)
			KUNIT_FAIL(test, "bit %u flipped: not found", i);
	}
	KUNIT_EXPECT_EQ(test, (int)vdisk_store_leaf_check(&sb, 4, &leaf),
			(int)VDISK_STORE_LEAF_BAD);
	sb.uuid[0] ^= 1;
	KUNIT_EXPECT_EQ(test, (int)vdisk_store_leaf_check(&sb, 3, &leaf),
			(int)VDISK_STORE_LEAF_BAD);
	sb.uuid[0] ^= 1;
	sb.epoch = cpu_to_le64(3);
	KUNIT_EXPECT_EQ(test, (int)vdisk_store_leaf_check(&sb, 3, &leaf),
			(int)VDISK_STORE_LEAF_OLD);
	sb.epoch = cpu_to_le64(1);
	KUNIT_EXPECT_EQ(test, (int)vdisk_store_leaf_check(&sb, 3, &leaf),
			(int)VDISK_STORE_LEAF_BAD);

	vdisk_presence_init(&p, false);
	vdisk_presence_insert(&p, 0, VDISK_STORE_LEAF_BAD, NULL, 0);
	KUNIT_EXPECT_EQ(test, (int)vdisk_presence_look(&p, 5, 1, &missing),
			(int)VDISK_LOOK_DAMAGED);
	/* Nobody makes it known in part, evicts it, or writes it. */
	KUNIT_EXPECT_EQ(test, vdisk_presence_hold(&p, 3, 1, GFP_KERNEL), -EAGAIN);
	KUNIT_EXPECT_EQ(test, vdisk_presence_evict(&p, 9), 0UL);
	KUNIT_EXPECT_FALSE(test, vdisk_presence_snapshot(&p, 0, &leaf));
	vdisk_presence_settle(&p, 0, false);
	KUNIT_EXPECT_EQ(test, p.nr_dirty, 0UL);
	vdisk_presence_free(&p);
}

/* Only what the store has as well, and nobody holds, goes. */
static void test_evict(struct kunit *test)
{
	struct vdisk_store_leaf leaf, kept = {};
	struct vdisk_presence p = {};
	enum vdisk_presence_state state;
	unsigned long index;
	bool held;

	vdisk_presence_init(&p, false);
	kept.bits[0] = cpu_to_le64(1);
	for (index = 0; index < 6; index++)
		vdisk_presence_insert(&p, index, index % 2 ? VDISK_STORE_LEAF_BLANK :
				      VDISK_STORE_LEAF_GOOD, kept.bits, 0);
	KUNIT_EXPECT_EQ(test, p.nr_entries, 6UL);
	KUNIT_EXPECT_EQ(test, p.nr[VDISK_DATA], 3ULL);
	KUNIT_EXPECT_EQ(test, vdisk_presence_hold(&p, 0, 1, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, vdisk_presence_zero(&p, 2 * VDISK_LEAF_UNITS,
						  VDISK_LEAF_UNITS, GFP_KERNEL,
						  &held), 0);
	KUNIT_EXPECT_TRUE(test, vdisk_presence_snapshot(&p, 3, &leaf));
	/* 0 is held, 2 is dirty, 3 is on its way */
	KUNIT_EXPECT_EQ(test, vdisk_presence_evict(&p, 2), 1UL);
	KUNIT_EXPECT_EQ(test, vdisk_presence_evict(&p, 9), 2UL);
	KUNIT_EXPECT_EQ(test, p.nr_entries, 3UL);
	KUNIT_EXPECT_EQ(test, p.nr_leaves, 1UL);
	KUNIT_EXPECT_EQ(test, p.nr[VDISK_DATA], 1ULL);
	KUNIT_EXPECT_EQ(test, vdisk_presence_run(&p, VDISK_LEAF_UNITS, 9, &state), 9ULL);
	KUNIT_EXPECT_EQ(test, (int)state, (int)VDISK_MISSING);
	KUNIT_EXPECT_EQ(test, vdisk_presence_hold(&p, VDISK_LEAF_UNITS - 1, 2, GFP_KERNEL),
			-EAGAIN);
	KUNIT_EXPECT_EQ(test, vdisk_presence_zero(&p, VDISK_LEAF_UNITS + 1, 2, GFP_KERNEL,
						  &held), -EAGAIN);
	KUNIT_EXPECT_EQ(test, p.nr_held, 1UL);
	KUNIT_EXPECT_FALSE(test, vdisk_presence_snapshot(&p, 1, &leaf));
	/* What was read before that may be old. */
	KUNIT_EXPECT_EQ(test, vdisk_presence_insert(&p, 1, VDISK_STORE_LEAF_BLANK, NULL,
						    0), -EAGAIN);
	KUNIT_EXPECT_EQ(test, vdisk_presence_run(&p, VDISK_LEAF_UNITS, 9, &state), 9ULL);
	KUNIT_EXPECT_EQ(test, (int)state, (int)VDISK_MISSING);
	KUNIT_EXPECT_EQ(test, vdisk_presence_insert(&p, 1, VDISK_STORE_LEAF_BLANK, NULL,
						    p.evictions), 0);
	/* A whole leaf need not be there. */
	KUNIT_EXPECT_EQ(test, vdisk_presence_zero(&p, 5 * VDISK_LEAF_UNITS,
						  VDISK_LEAF_UNITS, GFP_KERNEL,
						  &held), 0);
	KUNIT_EXPECT_EQ(test, p.nr_entries, 5UL);
	KUNIT_EXPECT_EQ(test, p.nr[VDISK_ZERO], 2ULL * VDISK_LEAF_UNITS);
	vdisk_presence_release(&p, 0, 1, false);
	vdisk_presence_settle(&p, 3, true);
	KUNIT_EXPECT_EQ(test, vdisk_presence_evict(&p, 99), 3UL);
	KUNIT_EXPECT_EQ(test, p.nr_held + p.nr_leaves + p.nr[VDISK_DATA], 0ULL);
	vdisk_presence_free(&p);
}

/* Of two superblocks the newer one counts, and if it cannot be used, none. */
static void test_superblocks(struct kunit *test)
{
	static struct vdisk_store_sb a, b;
	unsigned int i;

	memset(&a, 0, sizeof(a));
	a.epoch = cpu_to_le64(1);
	a.sequence = cpu_to_le64(7);
	KUNIT_ASSERT_TRUE(test, vdisk_store_lay_out(&a, 100, 5000, 512));
	b = a;
	b.sequence = cpu_to_le64(8);
	vdisk_store_sb_seal(&a);
	vdisk_store_sb_seal(&b);
	KUNIT_EXPECT_PTR_EQ(test, vdisk_store_sb_choose(&a, &b), (const struct vdisk_store_sb *)&b);
	KUNIT_EXPECT_PTR_EQ(test, vdisk_store_sb_choose(&b, &a), (const struct vdisk_store_sb *)&b);
	for (i = 0; i < sizeof(b) * 8; i++) {
		((u8 *)&b)[i / 8] ^= 1 << i % 8;
		if (!vdisk_store_sb_check(&b))
			KUNIT_FAIL(test, "bit %u flipped: not found", i);
		if (vdisk_store_sb_choose(&a, &b) != &a || vdisk_store_sb_choose(&b, &a) != &a)
			KUNIT_FAIL(test, "bit %u flipped: not the other one", i);
		((u8 *)&b)[i / 8] ^= 1 << i % 8;
	}
	b.incompat = cpu_to_le64(VDISK_STORE_INCOMPAT + 1);
	vdisk_store_sb_seal(&b);
	KUNIT_EXPECT_NULL(test, vdisk_store_sb_choose(&a, &b));
	KUNIT_EXPECT_NULL(test, vdisk_store_sb_choose(&b, &a));
	b.sequence = cpu_to_le64(6);
	vdisk_store_sb_seal(&b);
	KUNIT_EXPECT_PTR_EQ(test, vdisk_store_sb_choose(&a, &b), (const struct vdisk_store_sb *)&a);
	memset(&a, 0, sizeof(a));
	KUNIT_EXPECT_NULL(test, vdisk_store_sb_choose(&a, &b));
}

/* The last unit that a disk can have */
static void test_far(struct kunit *test)
{
	struct fixture *f = test->priv;
	u64 last = (0x7fffffffffffffffULL >> 9) - 1;
	enum vdisk_presence_state state;

	KUNIT_EXPECT_EQ(test, vdisk_presence_run(&f->p, last, 1, &state), 1ULL);
	KUNIT_EXPECT_EQ(test, state, VDISK_ABSENT);
	KUNIT_ASSERT_EQ(test, vdisk_presence_hold(&f->p, last, 1, GFP_KERNEL), 0);
	vdisk_presence_release(&f->p, last, 1, true);
	KUNIT_EXPECT_EQ(test, vdisk_presence_run(&f->p, last - 9, 10, &state), 9ULL);
	KUNIT_EXPECT_EQ(test, state, VDISK_ABSENT);
	KUNIT_EXPECT_EQ(test, vdisk_presence_run(&f->p, last, 1, &state), 1ULL);
	KUNIT_EXPECT_EQ(test, state, VDISK_DATA);
}

/* All but one: a leaf that is data as a whole is none any more. */
#define RACE_UNITS	(VDISK_LEAF_UNITS - 1)

/* Two threads in turn: in each round units become data, and then absent and clean. */
struct racer {
	struct fixture *f;
	unsigned int turn;	/* 2 * i + 1: make them data; + 1: and absent */
	unsigned int done;	/* rounds */
};

static void racer_wait(void)
{
	if (num_online_cpus() > 1)
		cpu_relax();
	else
		usleep_range(10, 20);
}

static void racer_clean(struct fixture *f)
{
	struct vdisk_store_leaf copy;

	vdisk_presence_snapshot(&f->p, 0, &copy);
	vdisk_presence_settle(&f->p, 0, true);
}

static int racer_thread(void *data)
{
	struct racer *r = data;
	struct fixture *f = r->f;
	unsigned int turn = 1;

	while (!kthread_should_stop()) {
		if (READ_ONCE(r->turn) != turn) {
			racer_wait();
			continue;
		}
		if (turn % 2) {
			if (!vdisk_presence_hold_fill(&f->p, 0, RACE_UNITS, GFP_KERNEL))
				vdisk_presence_release_fill(&f->p, 0, RACE_UNITS, true);
		} else {
			racer_clean(f);
			vdisk_presence_drop(&f->p, 0, RACE_UNITS, GFP_KERNEL);
			racer_clean(f);
			WRITE_ONCE(r->done, turn / 2);
		}
		turn++;
	}
	return 0;
}

/*
 * Who sees data, and sends a write or a flush because of it, must find the leaf
 * dirty. On two processors it was not yet, and a flush was acknowledged that had
 * made nothing durable.
 */
static void test_dirty_before_data(struct kunit *test)
{
	enum vdisk_presence_state state = VDISK_ABSENT;
	/* One processor shows nothing, and takes its time for each turn. */
	unsigned int nr = num_online_cpus() > 1 ? 512 : 64;
	unsigned long end = jiffies + 200 * HZ;
	struct fixture *f = test->priv;
	struct racer r = { .f = f };
	unsigned int i, late = 0;
	unsigned long index;
	struct task_struct *thread;

	f->p.blank = false;
	KUNIT_ASSERT_EQ(test, vdisk_presence_insert(&f->p, 0, VDISK_STORE_LEAF_BLANK,
						    NULL, 0), 0);
	thread = kthread_run(racer_thread, &r, "vdisk-racer");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	for (i = 0; i < nr && time_before(jiffies, end); i++) {
		WRITE_ONCE(r.turn, 2 * i + 1);
		while (vdisk_presence_run(&f->p, 0, 1, &state) &&
		       state != VDISK_DATA && time_before(jiffies, end))
			racer_wait();
		/* Pairs with vdisk_leaf_set(). As a commit looks: without the lock. */
		smp_rmb();
		index = 0;
		late += !xa_find(&f->p.leaves, &index, ULONG_MAX,
				 VDISK_LEAF_DIRTY);
		WRITE_ONCE(r.turn, 2 * i + 2);
		while (READ_ONCE(r.done) <= i && time_before(jiffies, end))
			racer_wait();
	}
	kthread_stop(thread);
	KUNIT_EXPECT_EQ(test, r.done, nr);
	KUNIT_EXPECT_EQ(test, late, 0U);
}

static struct kunit_case presence_test_cases[] = {
	KUNIT_CASE(test_model),
	KUNIT_CASE(test_uniform),
	KUNIT_CASE(test_held),
	KUNIT_CASE(test_fills),
	KUNIT_CASE(test_disk),
	KUNIT_CASE(test_holes),
	KUNIT_CASE(test_damage),
	KUNIT_CASE(test_evict),
	KUNIT_CASE(test_superblocks),
	KUNIT_CASE(test_far),
	KUNIT_CASE(test_dirty_before_data),
	{}
};

static struct kunit_suite presence_test_suite = {
	.name = "vdisk_presence",
	.init = presence_test_init,
	.exit = presence_test_exit,
	.test_cases = presence_test_cases,
};

kunit_test_suite(presence_test_suite);

MODULE_LICENSE("GPL");
