// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of persistent reservations: every command in every state that
 * three nexuses and two keys can reach, against a model that was written from
 * the standard's sentences, apart from the code and its table.
 */
#include <kunit/test.h>
#include <linux/blk_types.h>
#include <linux/slab.h>

#include "../../drivers/md/dm-vdisk/vdisk-pr.h"

#define NEXUSES	3
#define KEYS	3	/* two, and none */
#define TYPES	7

static const u64 keys[KEYS] = { 0, 0x1111, 0xffffffffffffffffULL };

/* Indices of nexuses in the code's array: both ends of it. */
static const unsigned int place[NEXUSES] = { 0, 1, VDISK_PR_MAX - 1 };

/**
 * struct model - what an observer knows
 * @key: by nexus, index into keys
 * @type: of the reservation
 * @by: bit per nexus that holds it
 */
struct model {
	u8 key[NEXUSES];
	u8 type;
	u8 by;
};

/* What the model says of a command. */
struct says {
	int r;
	bool counts;	/* the generation grows */
	u8 preempted;
	u8 released;
};

static u8 registered(const struct model *m)
{
	u8 who = 0, i;

	for (i = 0; i < NEXUSES; i++)
		who |= (m->key[i] != 0) << i;
	return who;
}

static bool for_all(u8 type)
{
	return type == 5 || type == 6;
}

/* After registrations went: who holds it still, and is it still there? */
static void settle(struct model *m)
{
	if (!m->type)
		return;
	m->by = for_all(m->type) ? registered(m) : m->by & registered(m);
	if (!m->by)
		m->type = 0;
}

static struct says model_register(struct model *m, u8 who, u8 key, u8 new,
				  bool ignore)
{
	struct says say = {};
	bool had = m->type && !for_all(m->type) && m->by == BIT(who);
	u8 type = m->type;

	if (!ignore && key != m->key[who]) {
		say.r = 0x18;
		return say;
	}
	say.counts = m->key[who] || new;
	m->key[who] = new;
	settle(m);
	/* Registrants-only reservations: the others are told that it is gone. */
	if (had && !new && (type == 3 || type == 4))
		say.released = registered(m);
	return say;
}

static struct says model_reserve(struct model *m, u8 who, u8 key, u8 type)
{
	struct says say = {};

	if (!m->key[who] || m->key[who] != key)
		say.r = 0x18;
	else if (type < 1 || type > 6)
		say.r = -EINVAL;
	else if (m->type && !((m->by & BIT(who)) && m->type == type))
		say.r = 0x18;
	if (say.r || m->type)
		return say;
	m->type = type;
	m->by = BIT(who);
	settle(m);
	return say;
}

static struct says model_release(struct model *m, u8 who, u8 key, u8 type)
{
	struct says say = {};

	if (!m->key[who] || m->key[who] != key) {
		say.r = 0x18;
	} else if (type < 1 || type > 6) {
		say.r = -EINVAL;
	} else if (m->type && (m->by & BIT(who))) {
		if (m->type != type) {
			say.r = -EINVAL;
			return say;
		}
		if (type != 1 && type != 2)
			say.released = registered(m) & ~BIT(who);
		m->type = 0;
		m->by = 0;
	}
	return say;
}

static struct says model_preempt(struct model *m, u8 who, u8 key, u8 victim,
				 u8 type)
{
	struct says say = {};
	bool takes = false;
	u8 old = m->type, lost = 0, i;

	if (!m->key[who] || m->key[who] != key) {
		say.r = 0x18;
		return say;
	}
	for (i = 0; i < NEXUSES; i++)
		if (m->key[i] && (m->key[i] == victim || (!victim && for_all(m->type))))
			lost |= BIT(i);
	if (for_all(m->type)) {
		takes = !victim;
	} else {
		if (!victim) {
			say.r = -EINVAL;
			return say;
		}
		takes = m->type && (m->by & lost);
	}
	if (!lost) {
		say.r = 0x18;
		return say;
	}
	if (takes && (type < 1 || type > 6)) {
		say.r = -EINVAL;
		return say;
	}
	if (takes)
		lost &= ~BIT(who);
	for (i = 0; i < NEXUSES; i++)
		if (lost & BIT(i))
			m->key[i] = 0;
	say.counts = true;
	say.preempted = lost & ~BIT(who);
	if (takes) {
		m->type = type;
		m->by = BIT(who);
		if (type != old)
			say.released = registered(m) & ~BIT(who);
	}
	settle(m);
	return say;
}

static struct says model_clear(struct model *m, u8 who, u8 key)
{
	struct says say = {};

	if (!m->key[who] || m->key[who] != key) {
		say.r = 0x18;
		return say;
	}
	say.counts = true;
	say.preempted = registered(m) & ~BIT(who);
	memset(m, 0, sizeof(*m));
	return say;
}

/* The words of the types: who is kept from what. */
static bool model_may(const struct model *m, u8 who, bool write)
{
	bool holder = m->by & BIT(who), member = m->key[who];

	switch (m->type) {
	case 1: /* write exclusive: only the holder writes */
		return !write || holder;
	case 2: /* exclusive access: only the holder does anything */
		return holder;
	case 3: /* the same, for all who are registered */
	case 5:
		return !write || member;
	case 4:
	case 6:
		return member;
	}
	return true;
}

/* A command, in the model's words. */
struct ask {
	u8 who;
	u8 action;
	u8 key;
	u8 new;
	u8 type;
};

static struct says ask_model(struct model *m, const struct ask *a)
{
	switch (a->action) {
	case VDISK_PR_REGISTER:
		return model_register(m, a->who, a->key, a->new, false);
	case VDISK_PR_REGISTER_IGNORE:
		return model_register(m, a->who, a->key, a->new, true);
	case VDISK_PR_RESERVE:
		return model_reserve(m, a->who, a->key, a->type);
	case VDISK_PR_RELEASE:
		return model_release(m, a->who, a->key, a->type);
	case VDISK_PR_PREEMPT:
		return model_preempt(m, a->who, a->key, a->new, a->type);
	default:
		return model_clear(m, a->who, a->key);
	}
}

static void to_state(const struct model *m, struct vdisk_pr_state *s)
{
	u8 i;

	memset(s, 0, sizeof(*s));
	s->generation = 0xffffffff;
	s->type = m->type;
	for (i = 0; i < NEXUSES; i++) {
		s->key[place[i]] = keys[m->key[i]];
		if (m->type && !for_all(m->type) && (m->by & BIT(i)))
			s->holder = place[i];
	}
}

static u8 to_bits(const unsigned long *told)
{
	u8 who = 0, i;

	for (i = 0; i < NEXUSES; i++)
		who |= test_bit(place[i], told) << i;
	return who;
}

/* REQ_OP_WRITE, FLUSH, DISCARD, SECURE_ERASE, WRITE_ZEROES; READ is 0. */
static const unsigned int writes[] = { 1, 2, 3, 5, 9 };

static u64 model_allowed(const struct model *m, u8 who)
{
	u64 allowed = model_may(m, who, false);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(writes) && model_may(m, who, true); i++)
		allowed |= BIT_ULL(writes[i]);
	return allowed;
}

static bool same_access(const struct vdisk_pr_state *s, const struct model *m)
{
	struct model stranger = { .type = m->type };
	u8 who;

	for (who = 0; who < NEXUSES; who++)
		if (vdisk_pr_holds(s, place[who]) != !!(m->by & BIT(who)) ||
		    vdisk_pr_allowed(s, place[who]) != model_allowed(m, who))
			return false;
	return vdisk_pr_allowed(s, 7) == model_allowed(&stranger, 0);
}

/* One command in one state: they must agree on all that can be seen. */
static bool agree(struct kunit *test, struct model *m,
		  struct vdisk_pr_state *s, const struct ask *a)
{
	struct vdisk_pr_call c = { a->action, place[a->who], keys[a->key],
				   keys[a->new], a->type };
	struct vdisk_pr_state *want = s + 1;
	struct model before = *m;
	struct vdisk_pr_told told;
	struct says say;
	int r;

	to_state(m, s);
	say = ask_model(m, a);
	r = vdisk_pr_apply(s, &c, &told);
	if (r != say.r)
		goto wrong;
	if (r) {
		*m = before;
		return true;
	}
	to_state(m, want);
	want->generation += say.counts;
	if (!memcmp(want, s, sizeof(*s)) && same_access(s, m) &&
	    to_bits(told.preempted) == say.preempted &&
	    to_bits(told.released) == say.released &&
	    bitmap_weight(told.preempted, VDISK_PR_MAX) == hweight8(say.preempted) &&
	    bitmap_weight(told.released, VDISK_PR_MAX) == hweight8(say.released))
		return true;
wrong:
	kunit_info(test, "keys %u %u %u, type %u by %x\n", before.key[0],
		   before.key[1], before.key[2], before.type, before.by);
	kunit_info(test, "nexus %u: action %u key %u new %u type %u\n", a->who,
		   a->action, a->key, a->new, a->type);
	KUNIT_FAIL(test, "it is %d, should be %d", r, say.r);
	return false;
}

static unsigned int number(const struct model *m)
{
	return (((m->key[0] * KEYS + m->key[1]) * KEYS + m->key[2]) * TYPES + m->type) * 8 + m->by;
}

#define STATES	(KEYS * KEYS * KEYS * TYPES * 8)
#define ASKS	(NEXUSES * VDISK_PR_ACTIONS * KEYS * KEYS * (TYPES + 1))

static struct ask command(unsigned int i)
{
	struct ask a = { .type = i % (TYPES + 1) };

	i /= TYPES + 1;
	a.new = i % KEYS;
	i /= KEYS;
	a.key = i % KEYS;
	i /= KEYS;
	a.action = i % VDISK_PR_ACTIONS;
	a.who = i / VDISK_PR_ACTIONS;
	return a;
}

/*
 * Breadth first from an empty domain, until no command leads anywhere new: that
 * has every sequence of 5 commands in it, and all longer ones.
 */
static void every_command_in_every_state(struct kunit *test)
{
	struct model *queue = kunit_kcalloc(test, STATES, sizeof(*queue),
					    GFP_KERNEL);
	u8 *depth = kunit_kzalloc(test, STATES, GFP_KERNEL);
	struct vdisk_pr_state *s = kunit_kcalloc(test, 2, sizeof(*s), GFP_KERNEL);
	unsigned int head = 0, tail = 1, i;
	u8 deepest = 0;

	KUNIT_ASSERT_NOT_NULL(test, queue);
	KUNIT_ASSERT_NOT_NULL(test, depth);
	KUNIT_ASSERT_NOT_NULL(test, s);
	depth[0] = 1;
	for (; head < tail; head++) {
		u8 d = depth[number(&queue[head])];

		for (i = 0; i < ASKS; i++) {
			struct model m = queue[head];
			struct ask a = command(i);

			if (!agree(test, &m, s, &a))
				return;
			if (depth[number(&m)])
				continue;
			depth[number(&m)] = d + 1;
			deepest = d;
			queue[tail++] = m;
		}
	}
	kunit_info(test, "%u states, the farthest %u commands away, %u commands in each\n",
		   tail, deepest, ASKS);
	KUNIT_EXPECT_GE(test, deepest, 4);
	KUNIT_EXPECT_GE(test, tail, 200);
}

static int call(struct vdisk_pr_state *s, enum vdisk_pr_action action,
		unsigned int nexus, u64 key, u64 new, u32 type,
		struct vdisk_pr_told *told)
{
	struct vdisk_pr_call c = { action, nexus, key, new, type };

	return vdisk_pr_apply(s, &c, told);
}

/* What no state of the walk has: many registrants. */
static void many_registrants(struct kunit *test)
{
	struct vdisk_pr_state *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	struct vdisk_pr_told told;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, s);
	for (i = 0; i < VDISK_PR_MAX; i++)
		KUNIT_EXPECT_EQ(test, 0, call(s, VDISK_PR_REGISTER, i, 0,
					      1000 + i / 2, 0, &told));
	KUNIT_EXPECT_EQ(test, s->generation, VDISK_PR_MAX);
	KUNIT_EXPECT_EQ(test, 0, call(s, VDISK_PR_RESERVE, 255, 1127, 0,
				      PR_EXCLUSIVE_ACCESS_ALL_REGS, &told));
	for (i = 0; i < VDISK_PR_MAX; i++)
		KUNIT_EXPECT_TRUE(test, vdisk_pr_holds(s, i));
	KUNIT_EXPECT_EQ(test, 0, call(s, VDISK_PR_PREEMPT, 8, 1004, 1100, 0,
				      &told));
	KUNIT_EXPECT_EQ(test, bitmap_weight(told.preempted, VDISK_PR_MAX), 2);
	KUNIT_EXPECT_TRUE(test, test_bit(200, told.preempted) && test_bit(201, told.preempted));
	KUNIT_EXPECT_EQ(test, 0, call(s, VDISK_PR_PREEMPT, 8, 1004, 0,
				      PR_EXCLUSIVE_ACCESS, &told));
	KUNIT_EXPECT_EQ(test, bitmap_weight(told.preempted, VDISK_PR_MAX), VDISK_PR_MAX - 3);
	KUNIT_EXPECT_EQ(test, s->holder, 8);
	KUNIT_EXPECT_EQ(test, vdisk_pr_allowed(s, 9), 0);
}

/*
 * The format. Golden bytes were put together by hand from dm-vdisk-format.rst,
 * and the crc by another program.
 */
static const u8 golden[] = {
	'v', 'd', 'i', 's', 'k', ' ', 'P', 'R', 1, 0, 0, 0, 0x48, 0xdd, 0x26, 0xe7,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0,
	8, 7, 6, 5, 4, 3, 2, 1, 0xdd, 0xcc, 0xbb, 0xaa, 1, 0, 3, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	'd', 'o', 'm', [128] = 0x11, [136] = 'a',
	[200] = 0xff, 0xee, [208] = 'b', '.', 'b', [271] = 0,
};

struct format {
	struct vdisk_pr_image image;
	struct vdisk_pr_image read;
	u8 slot[VDISK_PR_SLOT_BYTES] __aligned(8);
};

static struct format *golden_format(struct kunit *test)
{
	struct format *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, f);
	f->image.sequence = 0x0102030405060708ULL;
	f->image.domain = "dom";
	f->image.state.generation = 0xaabbccdd;
	f->image.state.type = PR_WRITE_EXCLUSIVE_REG_ONLY;
	f->image.state.holder = 200;
	f->image.state.key[3] = 0x11;
	f->image.nexus[3] = "a";
	f->image.nexus[4] = "not registered";
	f->image.state.key[200] = 0xeeff;
	f->image.nexus[200] = "b.b";
	return f;
}

static struct vdisk_pr_slot *slot_of(struct format *f)
{
	return (struct vdisk_pr_slot *)f->slot;
}

static void slot_has_golden_bytes(struct kunit *test)
{
	struct format *f = golden_format(test);

	memset(f->slot, 0x5a, sizeof(f->slot));
	KUNIT_EXPECT_EQ(test, vdisk_pr_encode(slot_of(f), &f->image), 4096);
	KUNIT_EXPECT_EQ(test, memcmp(f->slot, golden, sizeof(golden)), 0);
	KUNIT_EXPECT_NULL(test, memchr_inv(f->slot + sizeof(golden), 0,
					   sizeof(f->slot) - sizeof(golden)));
	KUNIT_ASSERT_EQ(test, vdisk_pr_decode(slot_of(f), &f->read), 0);
	KUNIT_EXPECT_EQ(test, f->read.sequence, f->image.sequence);
	KUNIT_EXPECT_STREQ(test, f->read.domain, "dom");
	KUNIT_EXPECT_EQ(test, f->read.state.generation, 0xaabbccdd);
	KUNIT_EXPECT_EQ(test, f->read.state.type, 3);
	KUNIT_EXPECT_EQ(test, f->read.state.holder, 1);
	KUNIT_EXPECT_EQ(test, f->read.state.key[0], 0x11);
	KUNIT_EXPECT_EQ(test, f->read.state.key[1], 0xeeff);
	KUNIT_EXPECT_EQ(test, f->read.state.key[2], 0);
	KUNIT_EXPECT_STREQ(test, f->read.nexus[0], "a");
	KUNIT_EXPECT_STREQ(test, f->read.nexus[1], "b.b");
	KUNIT_EXPECT_NULL(test, f->read.nexus[2]);
}

/* Any bit that is read makes the slot bad, and none outside does. */
static void slot_with_any_bit_flipped(struct kunit *test)
{
	struct format *f = golden_format(test);
	unsigned int bit, good = 0;

	vdisk_pr_encode(slot_of(f), &f->image);
	for (bit = 0; bit < 8 * sizeof(golden); bit++) {
		f->slot[bit / 8] ^= BIT(bit % 8);
		good += vdisk_pr_decode(slot_of(f), &f->read) != -EBADMSG;
		f->slot[bit / 8] ^= BIT(bit % 8);
	}
	KUNIT_EXPECT_EQ(test, good, 0);
	f->slot[sizeof(golden)] = 1;
	KUNIT_EXPECT_EQ(test, vdisk_pr_decode(slot_of(f), &f->read), 0);
	memset(f->slot, 0, sizeof(f->slot));
	KUNIT_EXPECT_EQ(test, vdisk_pr_decode(slot_of(f), &f->read), -ENODATA);
	f->slot[sizeof(f->slot) - 1] = 1;
	KUNIT_EXPECT_EQ(test, vdisk_pr_decode(slot_of(f), &f->read), -EBADMSG);
}

/* What no kernel of ours writes, with a crc that fits. */
static const struct {
	const char *name;
	unsigned int at;
	u8 byte;
	int r;
} foreign[] = {
	{ "version", 8, 2, -EOPNOTSUPP },
	{ "compatible feature", 16, 1, 0 },
	{ "feature for writing", 20, 1, -EOPNOTSUPP },
	{ "feature for reading", 27, 0x80, -EOPNOTSUPP },
	{ "more entries", 28, 3, -EBADMSG },
	{ "many entries", 29, 2, -EBADMSG },
	{ "no type", 46, 0, -EBADMSG },
	{ "type that all hold", 46, 5, -EBADMSG },
	{ "unknown type", 46, 7, -EBADMSG },
	{ "holder beyond", 44, 2, -EBADMSG },
	{ "padding", 63, 1, -EBADMSG },
	{ "no domain", 64, 0, -EBADMSG },
	{ "domain's padding", 127, 1, -EBADMSG },
	{ "line end in the domain", 64, '\n', -EBADMSG },
	{ "no key", 128, 0, -EBADMSG },
	{ "no name", 136, 0, -EBADMSG },
	{ "name's padding", 199, 1, -EBADMSG },
	{ "blank in the name", 136, ' ', -EBADMSG },
};

static void slot_of_others(struct kunit *test)
{
	struct format *f = golden_format(test);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(foreign); i++) {
		__le32 nr;
		u32 crc;

		vdisk_pr_encode(slot_of(f), &f->image);
		f->slot[foreign[i].at] = foreign[i].byte;
		memcpy(&nr, f->slot + 28, sizeof(nr));
		if (le32_to_cpu(nr) > VDISK_PR_MAX)
			nr = 0;
		slot_of(f)->crc = 0;
		crc = ~vdisk_crc32c(~0U, f->slot, 128 + 72 * le32_to_cpu(nr));
		slot_of(f)->crc = cpu_to_le32(crc);
		KUNIT_EXPECT_EQ_MSG(test, vdisk_pr_decode(slot_of(f), &f->read),
				    foreign[i].r, "%s", foreign[i].name);
	}
	/* One name twice */
	f->image.nexus[200] = "a";
	vdisk_pr_encode(slot_of(f), &f->image);
	KUNIT_EXPECT_EQ(test, vdisk_pr_decode(slot_of(f), &f->read), -EBADMSG);
}

static void full_slot(struct kunit *test)
{
	struct format *f = golden_format(test);
	char (*names)[8] = kunit_kcalloc(test, VDISK_PR_MAX, 8, GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, names);
	for (i = 0; i < VDISK_PR_MAX; i++) {
		sprintf(names[i], "n%u", i);
		f->image.nexus[i] = names[i];
		f->image.state.key[i] = i + 1;
	}
	KUNIT_EXPECT_EQ(test, vdisk_pr_encode(slot_of(f), &f->image), 20480);
	KUNIT_ASSERT_EQ(test, vdisk_pr_decode(slot_of(f), &f->read), 0);
	KUNIT_EXPECT_EQ(test, memcmp(&f->read.state, &f->image.state,
				     sizeof(f->read.state)), 0);
	KUNIT_EXPECT_STREQ(test, f->read.nexus[255], "n255");
}

/* What activation would take: into f->read. */
static int choose(struct kunit *test, u8 *slots[2], struct format *f)
{
	u64 sequence[2];
	int r[2], i;

	for (i = 0; i < 2; i++) {
		r[i] = vdisk_pr_decode((struct vdisk_pr_slot *)slots[i], &f->read);
		sequence[i] = f->read.sequence;
	}
	i = vdisk_pr_choose(r, sequence);
	if (i >= 0)
		vdisk_pr_decode((struct vdisk_pr_slot *)slots[i], &f->read);
	return i;
}

/*
 * A call is written, first to one slot and then to the other, and power is lost
 * behind every sector. The state has many of them.
 */
static void power_lost_at_every_sector(struct kunit *test)
{
	struct format *f = golden_format(test);
	u8 *slots[2], *old = kunit_kzalloc(test, VDISK_PR_SLOT_BYTES, GFP_KERNEL);
	char (*names)[8] = kunit_kcalloc(test, VDISK_PR_MAX, 8, GFP_KERNEL);
	unsigned int i, first, cut, bytes, sectors;

	slots[0] = kunit_kzalloc(test, VDISK_PR_SLOT_BYTES, GFP_KERNEL);
	slots[1] = kunit_kzalloc(test, VDISK_PR_SLOT_BYTES, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, old && names && slots[0] && slots[1]);
	for (i = 0; i < 100; i++) {
		sprintf(names[i], "n%u", i);
		f->image.nexus[i] = names[i];
		f->image.state.key[i] = i + 1;
	}
	vdisk_pr_encode((struct vdisk_pr_slot *)old, &f->image);
	for (i = 0; i < 100; i++)
		f->image.state.key[i] = 1000 + i;
	f->image.sequence++;
	bytes = vdisk_pr_encode(slot_of(f), &f->image);
	sectors = bytes / SECTOR_SIZE;

	for (first = 0; first < 2; first++)
		for (cut = 0; cut <= 2 * sectors; cut++) {
			unsigned int in_first = min(cut, sectors);
			bool is_new;

			for (i = 0; i < 2; i++)
				memcpy(slots[i], old, VDISK_PR_SLOT_BYTES);
			memcpy(slots[first], f->slot, in_first * SECTOR_SIZE);
			memcpy(slots[!first], f->slot, (cut - in_first) * SECTOR_SIZE);
			KUNIT_ASSERT_GE(test, choose(test, slots, f), 0);
			is_new = f->read.state.key[0] == 1000;
			KUNIT_EXPECT_EQ(test, f->read.state.key[99], is_new ? 1099 : 100);
			if (cut >= sectors)
				KUNIT_EXPECT_TRUE(test, is_new);
			if (!cut)
				KUNIT_EXPECT_FALSE(test, is_new);
		}
}

static void choice_of_slots(struct kunit *test)
{
	static const struct {
		int r[2];
		u64 sequence[2];
		int chosen;
	} c[] = {
		{ { 0, 0 }, { 5, 5 }, 0 },
		{ { 0, 0 }, { 6, 5 }, 0 },
		{ { 0, 0 }, { 5, 6 }, 1 },
		{ { 0, -EBADMSG }, { 5, 6 }, 0 },
		{ { -EBADMSG, 0 }, { 6, 5 }, 1 },
		{ { -EIO, 0 }, { 6, 5 }, 1 },
		{ { 0, -ENODATA }, { 1, 0 }, 0 },
		{ { -ENODATA, 0 }, { 0, 1 }, 1 },
		{ { -ENODATA, -ENODATA }, { 0, 0 }, -ENODATA },
		{ { -ENODATA, -EBADMSG }, { 0, 0 }, -EBADMSG },
		{ { -EBADMSG, -ENODATA }, { 0, 0 }, -EBADMSG },
		{ { -EBADMSG, -EBADMSG }, { 0, 0 }, -EBADMSG },
		{ { -EIO, -ENODATA }, { 0, 0 }, -EBADMSG },
		{ { 0, -EOPNOTSUPP }, { 0, 0 }, -EOPNOTSUPP },
		{ { -EOPNOTSUPP, -ENODATA }, { 0, 0 }, -EOPNOTSUPP },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(c); i++)
		KUNIT_EXPECT_EQ_MSG(test, vdisk_pr_choose(c[i].r, c[i].sequence),
				    c[i].chosen, "case %u", i);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(slot_has_golden_bytes),
	KUNIT_CASE(slot_with_any_bit_flipped),
	KUNIT_CASE(slot_of_others),
	KUNIT_CASE(full_slot),
	KUNIT_CASE(power_lost_at_every_sector),
	KUNIT_CASE(choice_of_slots),
	KUNIT_CASE(every_command_in_every_state),
	KUNIT_CASE(many_registrants),
	{}
};

static struct kunit_suite suite = {
	.name = "vdisk_pr",
	.test_cases = cases,
};

kunit_test_suite(suite);
