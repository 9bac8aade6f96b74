// SPDX-License-Identifier: GPL-2.0-only
/*
 * Presence in memory.
 *
 * Who looks takes no lock: a leaf is read under RCU, word by word, and whoever
 * changes one writes whole words. A unit that changes while a bio that looks
 * is under way is seen as it was before or after, and both are right: the bio
 * and the change were under way at the same time.
 *
 * A write that will change states holds its leaves from before it is sent: its
 * completion, in any context, then has neither to allocate nor to fail. A leaf
 * that is all in one state, and that nobody holds, shrinks to a value entry;
 * an entry is replaced in its place, so that needs no memory either.
 *
 * Of a store that keeps its presence, each change marks its entry dirty, before
 * anybody can see what it changes: who finds data is not told of the change, and
 * may want it to be durable. Who commits takes a copy of the leaf and clears the
 * mark in one step. An entry that
 * says what the store says, and that nobody holds, may be evicted at any time:
 * who finds one missing that was there a moment ago reads it again. What was
 * read before an eviction may be older than what was evicted: it is not taken.
 */
#include <linux/bitops.h>
#include <linux/bug.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "vdisk-presence.h"

/* The low one of each unit's two bits: a word of units that are all in state s is s times this. */
#define LOW_BITS	0x5555555555555555ULL

/**
 * struct vdisk_leaf - states of VDISK_LEAF_UNITS units
 * @bits: unit i in bits 2i and 2i + 1, counted through all words
 * @holders: writes and fills that will change it; guarded by the xarray's lock
 * @fills: how many of them are fills; likewise
 * @nr: units by state
 * @rcu: frees it
 */
struct vdisk_leaf {
	u64 bits[VDISK_STORE_WORDS];
	unsigned int holders;
	unsigned int fills;
	u16 nr[3];
	struct rcu_head rcu;
};

/* A run of units in one leaf. */
struct vdisk_part {
	unsigned long index;
	unsigned int first;
	unsigned int nr;
};

static struct vdisk_part vdisk_part(u64 unit, u64 nr)
{
	struct vdisk_part part;
	u32 first;

	part.index = div_u64_rem(unit, VDISK_LEAF_UNITS, &first);
	part.first = first;
	part.nr = min_t(u64, nr, VDISK_LEAF_UNITS - first);
	return part;
}

/* Of all units of an entry that is no leaf. */
static enum vdisk_presence_state vdisk_entry_state(const struct vdisk_presence *p,
						   const void *entry)
{
	if (entry)
		return xa_to_value(entry);
	return p->blank ? VDISK_ABSENT : VDISK_MISSING;
}

/* The caller holds the lock. */
static void vdisk_entry_dirty(struct vdisk_presence *p, unsigned long index)
{
	if (p->blank || xa_get_mark(&p->leaves, index, VDISK_LEAF_DIRTY))
		return;
	__xa_set_mark(&p->leaves, index, VDISK_LEAF_DIRTY);
	WRITE_ONCE(p->nr_dirty, p->nr_dirty + 1);
}

static bool vdisk_entry_is_leaf(const void *entry)
{
	return entry && !xa_is_value(entry);
}

static bool vdisk_entry_is_known(const void *entry)
{
	return entry && entry != xa_mk_value(VDISK_DAMAGED);
}

/* How many of the part's units are in the state of the first. */
static unsigned int vdisk_leaf_run(const struct vdisk_leaf *leaf,
				   struct vdisk_part part,
				   enum vdisk_presence_state *state)
{
	unsigned int i = part.first / VDISK_STORE_WORD_UNITS;
	unsigned int skip = part.first % VDISK_STORE_WORD_UNITS;
	u64 word = READ_ONCE(leaf->bits[i]) >> (2 * skip);
	unsigned int run = 0;

	*state = word & 3;
	for (;;) {
		/* Shifted in at the top are units of no matter. */
		u64 other = word ^ (*state * LOW_BITS);

		if (skip)
			other &= ~0ULL >> (2 * skip);
		if (other) {
			run += __ffs64(other) / 2;
			break;
		}
		run += VDISK_STORE_WORD_UNITS - skip;
		if (run >= part.nr)
			break;
		skip = 0;
		word = READ_ONCE(leaf->bits[++i]);
	}
	return min(run, part.nr);
}

/**
 * vdisk_presence_run - how many units are in the same state
 * @p: the presence
 * @unit: the first
 * @nr: how many to look at, at least 1
 * @state: set to the state of the first
 *
 * Context: Any context.
 * Return: 1 to @nr.
 */
u64 vdisk_presence_run(struct vdisk_presence *p, u64 unit, u64 nr,
		       enum vdisk_presence_state *state)
{
	enum vdisk_presence_state here;
	u64 run = 0;

	rcu_read_lock();
	do {
		struct vdisk_part part = vdisk_part(unit + run, nr - run);
		XA_STATE(xas, &p->leaves, part.index);
		unsigned int len = part.nr;
		void *entry;

		/* xa_load(), which would enter RCU once more */
		do {
			entry = xas_load(&xas);
			if (xa_is_zero(entry))
				entry = NULL;
		} while (xas_retry(&xas, entry));
		if (vdisk_entry_is_leaf(entry))
			len = vdisk_leaf_run(entry, part, &here);
		else
			here = vdisk_entry_state(p, entry);
		if (!run)
			*state = here;
		else if (here != *state)
			break;
		run += len;
		if (len < part.nr)
			break;
	} while (run < nr);
	rcu_read_unlock();
	return run;
}

/* Put a part in a state, and mark its leaf dirty; the caller holds the lock. */
static void vdisk_leaf_set(struct vdisk_presence *p, struct vdisk_leaf *leaf,
			   struct vdisk_part part,
			   enum vdisk_presence_state state)
{
	unsigned int end = part.first + part.nr, at, next;
	unsigned int nr[3] = {};

	vdisk_entry_dirty(p, part.index);
	/* Pairs with who looks at the states, and at the mark then. */
	smp_wmb();
	for (at = part.first; at < end; at = next) {
		unsigned int i = at / VDISK_STORE_WORD_UNITS;
		u64 old = leaf->bits[i], mask = ~0ULL;

		next = min((i + 1) * VDISK_STORE_WORD_UNITS, end);
		mask <<= 2 * (at % VDISK_STORE_WORD_UNITS);
		if (next % VDISK_STORE_WORD_UNITS)
			mask &= ~(~0ULL << (2 * (next % VDISK_STORE_WORD_UNITS)));
		nr[VDISK_DATA] += hweight64(old & mask & LOW_BITS);
		nr[VDISK_ZERO] += hweight64(old & mask & ~LOW_BITS);
		WRITE_ONCE(leaf->bits[i], (old & ~mask) |
			   ((state * LOW_BITS) & mask));
	}
	nr[VDISK_ABSENT] = part.nr - nr[VDISK_DATA] - nr[VDISK_ZERO];
	for (at = 0; at < ARRAY_SIZE(nr); at++) {
		leaf->nr[at] -= nr[at];
		p->nr[at] -= nr[at];
	}
	leaf->nr[state] += part.nr;
	p->nr[state] += part.nr;
}

/* In place of an entry that is there: that cannot fail. */
static void vdisk_entry_replace(struct vdisk_presence *p, unsigned long index,
				void *entry)
{
	WARN_ON_ONCE(xa_is_err(__xa_store(&p->leaves, index, entry, 0)));
}

/* A leaf that says no more than a value entry would becomes one. */
static void vdisk_leaf_shrink(struct vdisk_presence *p, unsigned long index,
			      struct vdisk_leaf *leaf)
{
	unsigned int state;

	if (leaf->holders)
		return;
	for (state = VDISK_DATA; state <= VDISK_ZERO; state++)
		if (leaf->nr[state] == VDISK_LEAF_UNITS)
			break;
	if (state > VDISK_ZERO)
		return;
	vdisk_entry_replace(p, index, xa_mk_value(state));
	p->nr_leaves--;
	kfree_rcu(leaf, rcu);
}

/* A leaf to take the place of an entry that is none. */
static struct vdisk_leaf *vdisk_leaf_alloc(gfp_t gfp)
{
	return kzalloc(sizeof(struct vdisk_leaf), gfp | __GFP_NOWARN);
}

static void vdisk_leaf_insert(struct vdisk_presence *p, unsigned long index,
			      struct vdisk_leaf *leaf,
			      enum vdisk_presence_state state)
{
	unsigned int i;

	for (i = 0; i < VDISK_STORE_WORDS; i++)
		leaf->bits[i] = state * LOW_BITS;
	leaf->nr[state] = VDISK_LEAF_UNITS;
	vdisk_entry_replace(p, index, leaf);
	p->nr_leaves++;
}

/*
 * Make sure that there is a leaf, and hold it, as a fill or as a write. The entry
 * is reserved and the leaf allocated without the lock.
 */
static int vdisk_leaf_hold(struct vdisk_presence *p, unsigned long index,
			   bool fill, gfp_t gfp)
{
	enum vdisk_presence_state state = VDISK_ABSENT;
	struct vdisk_leaf *new = NULL, *leaf;
	unsigned long flags;
	void *entry;

	for (;;) {
		xa_lock_irqsave(&p->leaves, flags);
		entry = xa_load(&p->leaves, index);
		leaf = new;
		if (vdisk_entry_is_leaf(entry))
			leaf = entry;
		else
			state = vdisk_entry_state(p, entry);
		if (leaf && state <= VDISK_ZERO) {
			if (leaf == new) {
				vdisk_leaf_insert(p, index, new, state);
				new = NULL;
			}
			if (!leaf->holders++)
				WRITE_ONCE(p->nr_held, p->nr_held + 1);
			leaf->fills += fill;
		}
		xa_unlock_irqrestore(&p->leaves, flags);
		if (leaf || state > VDISK_ZERO)
			break;
		if (xa_reserve_irq(&p->leaves, index, gfp | __GFP_NOWARN))
			return -ENOMEM;
		new = vdisk_leaf_alloc(gfp);
		if (!new)
			return -ENOMEM;
	}
	kfree(new);
	return state > VDISK_ZERO ? -EAGAIN : 0;
}

static void vdisk_leaves_release(struct vdisk_presence *p, u64 unit, u64 nr,
				 bool fill, bool written)
{
	unsigned long flags;
	u64 done = 0;

	while (done < nr) {
		struct vdisk_part part = vdisk_part(unit + done, nr - done);
		struct vdisk_leaf *leaf;

		xa_lock_irqsave(&p->leaves, flags);
		leaf = xa_load(&p->leaves, part.index);
		if (written)
			vdisk_leaf_set(p, leaf, part, VDISK_DATA);
		leaf->fills -= fill;
		if (!--leaf->holders)
			WRITE_ONCE(p->nr_held, p->nr_held - 1);
		vdisk_leaf_shrink(p, part.index, leaf);
		xa_unlock_irqrestore(&p->leaves, flags);
		done += part.nr;
	}
}

static int vdisk_leaves_hold(struct vdisk_presence *p, u64 unit, u64 nr,
			     bool fill, gfp_t gfp)
{
	u64 done = 0;

	while (done < nr) {
		struct vdisk_part part = vdisk_part(unit + done, nr - done);
		int r = vdisk_leaf_hold(p, part.index, fill, gfp);

		if (r) {
			vdisk_leaves_release(p, unit, done, fill, false);
			return r;
		}
		done += part.nr;
	}
	return 0;
}

/**
 * vdisk_presence_hold - prepare a write that will make units data
 * @p: the presence
 * @unit: the first
 * @nr: how many
 * @gfp: for the leaves
 *
 * Context: Process context; may sleep if @gfp says so.
 * Return: 0, or with nothing held: -ENOMEM, or -EAGAIN if a leaf is missing or
 * damaged, see vdisk_presence_look().
 */
int vdisk_presence_hold(struct vdisk_presence *p, u64 unit, u64 nr, gfp_t gfp)
{
	return vdisk_leaves_hold(p, unit, nr, false, gfp);
}

/**
 * vdisk_presence_release - undo vdisk_presence_hold()
 * @p: the presence
 * @unit: the first
 * @nr: how many; the same leaves as were held
 * @written: the store has them now: they are data
 *
 * Context: Any context.
 */
void vdisk_presence_release(struct vdisk_presence *p, u64 unit, u64 nr,
			    bool written)
{
	vdisk_leaves_release(p, unit, nr, false, written);
}

/* What is absent becomes data; the caller holds the lock. */
static void vdisk_leaf_fill(struct vdisk_presence *p, struct vdisk_leaf *leaf,
			    struct vdisk_part part)
{
	enum vdisk_presence_state state;

	while (part.nr) {
		struct vdisk_part run = part;

		run.nr = vdisk_leaf_run(leaf, part, &state);
		if (state == VDISK_ABSENT)
			vdisk_leaf_set(p, leaf, run, VDISK_DATA);
		part.first += run.nr;
		part.nr -= run.nr;
	}
}

static bool vdisk_leaves_fill_only(struct vdisk_presence *p, u64 unit, u64 nr)
{
	unsigned long flags;
	bool alone = true;
	u64 done = 0;

	xa_lock_irqsave(&p->leaves, flags);
	while (done < nr) {
		struct vdisk_part part = vdisk_part(unit + done, nr - done);
		struct vdisk_leaf *leaf = xa_load(&p->leaves, part.index);

		alone &= leaf->holders == leaf->fills;
		done += part.nr;
	}
	xa_unlock_irqrestore(&p->leaves, flags);
	return alone;
}

/**
 * vdisk_presence_hold_fill - prepare to write to the store what is absent
 * @p: the presence
 * @unit: the first
 * @nr: how many
 * @gfp: for the leaves
 *
 * Context: Process context; may sleep if @gfp says so.
 * Return: 0, or with nothing held: -ENOMEM, -EAGAIN as vdisk_presence_hold(), or
 * -EBUSY if a write is under way that holds a leaf of theirs.
 */
int vdisk_presence_hold_fill(struct vdisk_presence *p, u64 unit, u64 nr,
			     gfp_t gfp)
{
	int r = vdisk_leaves_hold(p, unit, nr, true, gfp);

	if (r || vdisk_leaves_fill_only(p, unit, nr))
		return r;
	vdisk_presence_release_fill(p, unit, nr, false);
	return -EBUSY;
}

/**
 * vdisk_presence_release_fill - undo vdisk_presence_hold_fill()
 * @p: the presence
 * @unit: the first
 * @nr: how many
 * @filled: the store has what the base has: what is absent of them becomes data
 *
 * Context: Any context.
 */
void vdisk_presence_release_fill(struct vdisk_presence *p, u64 unit, u64 nr,
				 bool filled)
{
	unsigned long flags;
	u64 done = 0;

	while (filled && done < nr) {
		struct vdisk_part part = vdisk_part(unit + done, nr - done);

		xa_lock_irqsave(&p->leaves, flags);
		vdisk_leaf_fill(p, xa_load(&p->leaves, part.index), part);
		xa_unlock_irqrestore(&p->leaves, flags);
		done += part.nr;
	}
	vdisk_leaves_release(p, unit, nr, true, false);
}

/**
 * vdisk_presence_release_through - undo vdisk_presence_hold_fill() of a write
 * @p: the presence
 * @unit: the first
 * @nr: how many
 * @kept: the store has what the base has: they are data; else they are absent
 *
 * Context: Any context.
 */
void vdisk_presence_release_through(struct vdisk_presence *p, u64 unit, u64 nr,
				    bool kept)
{
	unsigned long flags;
	u64 done = 0;

	while (!kept && done < nr) {
		struct vdisk_part part = vdisk_part(unit + done, nr - done);
		enum vdisk_presence_state state;
		struct vdisk_leaf *leaf;

		xa_lock_irqsave(&p->leaves, flags);
		leaf = xa_load(&p->leaves, part.index);
		if (vdisk_leaf_run(leaf, part, &state) < part.nr ||
		    state != VDISK_ABSENT)
			vdisk_leaf_set(p, leaf, part, VDISK_ABSENT);
		xa_unlock_irqrestore(&p->leaves, flags);
		done += part.nr;
	}
	vdisk_presence_release_fill(p, unit, nr, kept);
}

/* What part_set() could not do without memory: reserve the entry and try again. */
static bool vdisk_entry_set(struct vdisk_presence *p, struct vdisk_part part,
			    const void *old, enum vdisk_presence_state state)
{
	if (xa_is_err(__xa_store(&p->leaves, part.index, xa_mk_value(state), 0)))
		return false;
	if (old)
		p->nr[xa_to_value(old)] -= part.nr;
	else if (!p->blank)
		WRITE_ONCE(p->nr_entries, p->nr_entries + 1);
	p->nr[state] += part.nr;
	return true;
}

/*
 * Put the part of a leaf that the caller holds, or a whole leaf, in a state. @held
 * is set if somebody else holds it as well. False: the entry has to be reserved.
 */
static bool vdisk_part_set(struct vdisk_presence *p, struct vdisk_part part,
			   enum vdisk_presence_state state, unsigned int mine,
			   bool *held)
{
	unsigned long flags;
	bool done = true;
	void *entry;

	xa_lock_irqsave(&p->leaves, flags);
	entry = xa_load(&p->leaves, part.index);
	if (vdisk_entry_is_leaf(entry)) {
		struct vdisk_leaf *leaf = entry;

		vdisk_leaf_set(p, leaf, part, state);
		*held |= leaf->holders > mine;
		vdisk_leaf_shrink(p, part.index, leaf);
	} else {
		done = vdisk_entry_set(p, part, entry, state);
		/* Here it comes last: nobody relies on zeroes that he did not ask for. */
		if (done)
			vdisk_entry_dirty(p, part.index);
	}
	if (done && !p->blank && state == VDISK_ZERO)
		__xa_set_mark(&p->leaves, part.index, VDISK_LEAF_PUNCH);
	xa_unlock_irqrestore(&p->leaves, flags);
	return done;
}

static int vdisk_presence_set(struct vdisk_presence *p, u64 unit, u64 nr,
			      enum vdisk_presence_state state, gfp_t gfp,
			      bool *held)
{
	bool fill = state == VDISK_ABSENT;
	u64 done = 0;

	*held = false;
	while (done < nr) {
		struct vdisk_part part = vdisk_part(unit + done, nr - done);

		/* Only a leaf can be set in part: it has to stay one. */
		if (part.nr == VDISK_LEAF_UNITS) {
			while (!vdisk_part_set(p, part, state, 0, held))
				if (xa_reserve_irq(&p->leaves, part.index,
						   gfp | __GFP_NOWARN))
					return -ENOMEM;
		} else {
			int r = vdisk_leaf_hold(p, part.index, fill, gfp);

			if (r)
				return r;
			vdisk_part_set(p, part, state, 1, held);
			vdisk_leaves_release(p, unit + done, part.nr, fill, false);
		}
		done += part.nr;
	}
	return 0;
}

/**
 * vdisk_presence_zero - make units read as zeroes
 * @p: the presence
 * @unit: the first
 * @nr: how many
 * @gfp: for leaves that are not zeroed as a whole
 * @held: set if a write was under way in one of the leaves
 *
 * Context: Process context; may sleep if @gfp says so.
 * Return: 0; or -ENOMEM, or -EAGAIN as vdisk_presence_hold(): the units before
 * some one are zero, the rest as before.
 */
int vdisk_presence_zero(struct vdisk_presence *p, u64 unit, u64 nr, gfp_t gfp,
			bool *held)
{
	return vdisk_presence_set(p, unit, nr, VDISK_ZERO, gfp, held);
}

/**
 * vdisk_presence_drop - the store does not have units any more; the base has them
 * @p: the presence
 * @unit: the first
 * @nr: how many
 * @gfp: for leaves that are not dropped as a whole
 *
 * Context: Process context; may sleep if @gfp says so.
 * Return: as vdisk_presence_zero().
 */
int vdisk_presence_drop(struct vdisk_presence *p, u64 unit, u64 nr, gfp_t gfp)
{
	bool held;

	return vdisk_presence_set(p, unit, nr, VDISK_ABSENT, gfp, &held);
}

/**
 * vdisk_presence_forget - all of it is not in memory any more, as at first
 * @p: the presence; nobody holds anything
 *
 * Context: Process context, may sleep.
 */
void vdisk_presence_forget(struct vdisk_presence *p)
{
	unsigned long index;
	void *entry;

	xa_for_each(&p->leaves, index, entry) {
		xa_lock_irq(&p->leaves);
		/* It may have been evicted just now. */
		entry = xa_load(&p->leaves, index);
		if (vdisk_entry_is_leaf(entry))
			kfree_rcu((struct vdisk_leaf *)entry, rcu);
		__xa_erase(&p->leaves, index);
		xa_unlock_irq(&p->leaves);
		cond_resched();
	}
	xa_lock_irq(&p->leaves);
	WRITE_ONCE(p->nr_leaves, 0);
	WRITE_ONCE(p->nr_entries, 0);
	WRITE_ONCE(p->nr_dirty, 0);
	WRITE_ONCE(p->evictions, p->evictions + 1);
	memset(p->nr, 0, sizeof(p->nr));
	xa_unlock_irq(&p->leaves);
}

/**
 * vdisk_presence_look - can the state of units be told?
 * @p: the presence
 * @unit: the first
 * @nr: how many
 * @index: set to that of the first leaf that is missing
 *
 * Context: Any context.
 * Return: the worst of all leaves; a missing one is worse than a damaged one.
 */
enum vdisk_presence_look vdisk_presence_look(struct vdisk_presence *p, u64 unit,
					     u64 nr, unsigned long *index)
{
	enum vdisk_presence_look look = VDISK_LOOK_READY;
	u64 done = 0;

	while (done < nr) {
		struct vdisk_part part = vdisk_part(unit + done, nr - done);
		void *entry = xa_load(&p->leaves, part.index);

		if (!entry && !p->blank) {
			*index = part.index;
			return VDISK_LOOK_MISSING;
		}
		if (entry == xa_mk_value(VDISK_DAMAGED))
			look = VDISK_LOOK_DAMAGED;
		done += part.nr;
	}
	return look;
}

/**
 * vdisk_presence_is_dirty - may a state not be on the store yet?
 * @p: the presence
 * @unit: the first
 * @nr: how many
 *
 * Context: Any context.
 * Return: true if some leaf of theirs is dirty, or on its way.
 */
bool vdisk_presence_is_dirty(struct vdisk_presence *p, u64 unit, u64 nr)
{
	unsigned long flags;
	bool dirty = false;
	u64 done = 0;

	/* One mark takes the place of the other, and back if the commit fails. */
	xa_lock_irqsave(&p->leaves, flags);
	while (done < nr && !dirty) {
		struct vdisk_part part = vdisk_part(unit + done, nr - done);

		dirty = xa_get_mark(&p->leaves, part.index, VDISK_LEAF_DIRTY) ||
			xa_get_mark(&p->leaves, part.index, VDISK_LEAF_BUSY);
		done += part.nr;
	}
	xa_unlock_irqrestore(&p->leaves, flags);
	return dirty;
}

static struct vdisk_leaf *vdisk_leaf_from_disk(const __le64 *bits)
{
	struct vdisk_leaf *leaf = vdisk_leaf_alloc(GFP_NOIO);
	unsigned int i;

	if (!leaf)
		return NULL;
	for (i = 0; i < VDISK_STORE_WORDS; i++) {
		u64 word = le64_to_cpu(bits[i]);

		leaf->bits[i] = word;
		leaf->nr[VDISK_DATA] += hweight64(word & LOW_BITS);
		leaf->nr[VDISK_ZERO] += hweight64(word & ~LOW_BITS);
	}
	leaf->nr[VDISK_ABSENT] = VDISK_LEAF_UNITS - leaf->nr[VDISK_DATA] -
				 leaf->nr[VDISK_ZERO];
	return leaf;
}

/**
 * vdisk_presence_insert - a leaf was read
 * @p: the presence
 * @index: of the leaf
 * @kind: what vdisk_store_leaf_check() says of it
 * @bits: its states
 * @evictions: @p->evictions before it was read
 *
 * One that is there already is newer, and stays.
 *
 * Context: Process context, may sleep.
 * Return: 0, -ENOMEM, or -EAGAIN: it may be old and has to be read again.
 */
int vdisk_presence_insert(struct vdisk_presence *p, unsigned long index,
			  enum vdisk_store_leaf_kind kind, const __le64 *bits,
			  unsigned long evictions)
{
	struct vdisk_leaf *leaf = NULL;
	unsigned int state;
	void *entry;
	int r = 0;

	if (kind == VDISK_STORE_LEAF_GOOD) {
		leaf = vdisk_leaf_from_disk(bits);
		if (!leaf)
			return -ENOMEM;
		entry = leaf;
		for (state = VDISK_ABSENT; state <= VDISK_ZERO; state++)
			if (leaf->nr[state] == VDISK_LEAF_UNITS)
				entry = xa_mk_value(state);
	} else {
		entry = xa_mk_value(kind == VDISK_STORE_LEAF_BAD ?
				    VDISK_DAMAGED : VDISK_ABSENT);
	}
	if (xa_reserve_irq(&p->leaves, index, GFP_NOIO | __GFP_NOWARN)) {
		kfree(leaf);
		return -ENOMEM;
	}
	xa_lock_irq(&p->leaves);
	if (p->evictions != evictions) {
		r = -EAGAIN;
	} else if (!xa_load(&p->leaves, index)) {
		vdisk_entry_replace(p, index, entry);
		WRITE_ONCE(p->nr_entries, p->nr_entries + 1);
		if (leaf) {
			p->nr[VDISK_DATA] += leaf->nr[VDISK_DATA];
			p->nr[VDISK_ZERO] += leaf->nr[VDISK_ZERO];
		}
		if (entry == leaf) {
			p->nr_leaves++;
			leaf = NULL;
		}
	}
	xa_unlock_irq(&p->leaves);
	kfree(leaf);
	return r;
}

static void vdisk_entry_copy(const void *entry, struct vdisk_store_leaf *copy)
{
	const struct vdisk_leaf *leaf = entry;
	unsigned int i;

	for (i = 0; i < VDISK_STORE_WORDS; i++)
		copy->bits[i] = cpu_to_le64(vdisk_entry_is_leaf(entry) ?
					    leaf->bits[i] :
					    xa_to_value(entry) * LOW_BITS);
}

/**
 * vdisk_presence_snapshot - take a leaf to be written; it is clean from now on,
 *	and busy until vdisk_presence_settle()
 * @p: the presence
 * @index: of the leaf
 * @copy: gets the bits
 *
 * Context: Process context.
 * Return: false if the leaf is missing or damaged: nobody has changed it.
 */
bool vdisk_presence_snapshot(struct vdisk_presence *p, unsigned long index,
			     struct vdisk_store_leaf *copy)
{
	void *entry;

	xa_lock_irq(&p->leaves);
	entry = xa_load(&p->leaves, index);
	if (vdisk_entry_is_known(entry)) {
		vdisk_entry_copy(entry, copy);
		__xa_set_mark(&p->leaves, index, VDISK_LEAF_BUSY);
	}
	if (xa_get_mark(&p->leaves, index, VDISK_LEAF_DIRTY)) {
		__xa_clear_mark(&p->leaves, index, VDISK_LEAF_DIRTY);
		WRITE_ONCE(p->nr_dirty, p->nr_dirty - 1);
	}
	xa_unlock_irq(&p->leaves);
	return vdisk_entry_is_known(entry);
}

/**
 * vdisk_presence_settle - what was taken to be written is durable, or is not
 * @p: the presence
 * @index: of the leaf; it may be missing
 * @written: it is; else it is dirty again
 *
 * Context: Process context.
 */
void vdisk_presence_settle(struct vdisk_presence *p, unsigned long index,
			   bool written)
{
	xa_lock_irq(&p->leaves);
	__xa_clear_mark(&p->leaves, index, VDISK_LEAF_BUSY);
	if (!written && vdisk_entry_is_known(xa_load(&p->leaves, index)))
		vdisk_entry_dirty(p, index);
	xa_unlock_irq(&p->leaves);
}

/**
 * vdisk_presence_take_holes - which units of a leaf can be punched?
 * @p: the presence
 * @index: of a leaf marked VDISK_LEAF_PUNCH; with true, it no longer is
 * @copy: gets the bits; those that are zero can be punched, if no write is sent
 *	to them
 *
 * Context: Process context.
 * Return: false if none can be: a write is under way, or they are not durable.
 */
bool vdisk_presence_take_holes(struct vdisk_presence *p, unsigned long index,
			       struct vdisk_store_leaf *copy)
{
	bool can = false;
	void *entry;

	xa_lock_irq(&p->leaves);
	entry = xa_load(&p->leaves, index);
	if (!xa_get_mark(&p->leaves, index, VDISK_LEAF_DIRTY)) {
		can = !vdisk_entry_is_leaf(entry) ||
		      !((struct vdisk_leaf *)entry)->holders;
	}
	if (can) {
		__xa_clear_mark(&p->leaves, index, VDISK_LEAF_PUNCH);
		vdisk_entry_copy(entry, copy);
	}
	xa_unlock_irq(&p->leaves);
	return can;
}

/* Drop an entry that the store has as well, and that nobody holds. */
static bool vdisk_entry_evict(struct vdisk_presence *p, unsigned long index)
{
	enum vdisk_presence_state state;
	struct vdisk_leaf *leaf;
	void *entry;

	entry = xa_load(&p->leaves, index);
	if (!vdisk_entry_is_known(entry) ||
	    xa_get_mark(&p->leaves, index, VDISK_LEAF_DIRTY) ||
	    xa_get_mark(&p->leaves, index, VDISK_LEAF_BUSY) ||
	    xa_get_mark(&p->leaves, index, VDISK_LEAF_PUNCH))
		return false;
	if (vdisk_entry_is_leaf(entry)) {
		leaf = entry;
		if (leaf->holders)
			return false;
		for (state = VDISK_ABSENT; state <= VDISK_ZERO; state++)
			p->nr[state] -= leaf->nr[state];
		WRITE_ONCE(p->nr_leaves, p->nr_leaves - 1);
		kfree_rcu(leaf, rcu);
	} else {
		p->nr[xa_to_value(entry)] -= VDISK_LEAF_UNITS;
	}
	__xa_erase(&p->leaves, index);
	WRITE_ONCE(p->nr_entries, p->nr_entries - 1);
	WRITE_ONCE(p->evictions, p->evictions + 1);
	return true;
}

/**
 * vdisk_presence_evict - free memory of what can be read again
 * @p: the presence, not a blank one
 * @nr: entries to look at; the next call goes on behind them
 *
 * Context: Process context, reclaim included; does not sleep.
 * Return: entries dropped.
 */
unsigned long vdisk_presence_evict(struct vdisk_presence *p, unsigned long nr)
{
	unsigned long index = READ_ONCE(p->hand), done = 0;
	bool wrapped = !index;

	while (nr) {
		if (!xa_find(&p->leaves, &index, ULONG_MAX, XA_PRESENT)) {
			if (wrapped)
				break;
			wrapped = true;
			index = 0;
			continue;
		}
		xa_lock_irq(&p->leaves);
		done += vdisk_entry_evict(p, index);
		xa_unlock_irq(&p->leaves);
		index++;
		nr--;
	}
	WRITE_ONCE(p->hand, index);
	return done;
}

/**
 * vdisk_presence_init - begin with nothing
 * @p: zeroed memory
 * @blank: all is absent; else all has to be read
 */
void vdisk_presence_init(struct vdisk_presence *p, bool blank)
{
	xa_init_flags(&p->leaves, XA_FLAGS_LOCK_IRQ);
	p->blank = blank;
}

/**
 * vdisk_presence_free - undo vdisk_presence_init()
 * @p: nobody uses it
 *
 * Context: Process context, may sleep.
 */
void vdisk_presence_free(struct vdisk_presence *p)
{
	unsigned long index;
	void *entry;

	xa_for_each(&p->leaves, index, entry) {
		if (vdisk_entry_is_leaf(entry))
			kfree(entry);
		cond_resched();
	}
	xa_destroy(&p->leaves);
}
