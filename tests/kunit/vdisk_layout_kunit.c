// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of striped and concat: where each sector lies, against models
 * that deal out sectors one by one.
 */
#include <kunit/test.h>
#include <linux/slab.h>

#include "../../drivers/md/dm-vdisk/vdisk.h"

/* Parses a line and builds its root, but none of its leaves. */
static struct vdisk_stack *build(struct kunit *test, char *text)
{
	struct vdisk_stack *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	char *argv[32];
	int argc = 0;

	KUNIT_ASSERT_NOT_NULL(test, s);
	while (text && argc < ARRAY_SIZE(argv))
		argv[argc++] = strsep(&text, " ");
	KUNIT_ASSERT_EQ_MSG(test, vdisk_parse(s, argc, argv), 0, "%s", s->error);
	KUNIT_ASSERT_EQ(test, s->nodes[0]->ops->ctr(s->nodes[0]), 0);
	s->nodes[0]->lim.logical_block_size = SECTOR_SIZE;
	return s;
}

static void drop(struct vdisk_stack *s)
{
	s->nodes[0]->ops->dtr(s->nodes[0]);
	vdisk_free_tree(s);
}

/**
 * struct model - where each sector of a small disk lies
 * @len: sectors of the disk
 * @child: by sector of the disk
 * @sector: in that child
 * @run: sectors from here to the end of the piece
 */
struct model {
	unsigned int len;
	u8 child[4096];
	u16 sector[4096];
	u16 run[4096];
};

static void check_routes(struct kunit *test, struct vdisk_node *n,
			 const struct model *m)
{
	unsigned int at, nr;

	for (at = 0; at < m->len; at++)
		for (nr = 1; at + nr <= m->len; nr += 1 + nr / 3) {
			struct vdisk_run run = { at, nr };
			struct vdisk_node *child = n->route(n, &run);

			if (child->index == m->child[at] &&
			    run.sector == m->sector[at] &&
			    run.nr == min_t(unsigned int, nr, m->run[at]))
				continue;
			KUNIT_FAIL(test, "%u+%u: child %u, %llu+%llu, not %u, %u+%u",
				   at, nr, child->index, run.sector, run.nr,
				   m->child[at], m->sector[at], m->run[at]);
			return;
		}
}

/* A range is exactly the sectors of the run that lie in the child. */
static void check_ranges(struct kunit *test, struct vdisk_node *n,
			 const struct model *m)
{
	unsigned int at, nr, child, i;

	for (at = 0; at < m->len; at += 1 + at / 7)
		for (nr = 1; at + nr <= m->len; nr += 1 + nr / 2)
			for (child = 0; child < n->nr_children; child++) {
				struct vdisk_run run = { at, nr };
				unsigned int want = 0, first = 0;
				bool some;

				for (i = at; i < at + nr; i++)
					if (m->child[i] == child && !want++)
						first = m->sector[i];
				some = n->ops->range(n, child, &run);
				if (some == !!want &&
				    (!some || (run.sector == first &&
					       run.nr == want)))
					continue;
				KUNIT_FAIL(test, "%u+%u in child %u: %d %llu+%llu, not %u+%u",
					   at, nr, child, some, run.sector,
					   run.nr, first, want);
				return;
			}
}

static void striped_is_dealt_out(struct kunit *test)
{
	static const unsigned int chunks[] = { 1, 3, 8, 24, 64 };
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	unsigned int nr, c;

	KUNIT_ASSERT_NOT_NULL(test, m);
	for (nr = 1; nr <= 5; nr++)
		for (c = 0; c < ARRAY_SIZE(chunks); c++) {
			unsigned int chunk = chunks[c], used[5] = {}, i;
			struct vdisk_stack *s;
			char line[128];
			size_t len;

			len = sprintf(line, "striped chunk:%u", chunk);
			for (i = 0; i < nr; i++)
				len += sprintf(line + len, " ( zero )");
			s = build(test, line);

			m->len = nr * chunk * max(2U, 150 / (nr * chunk));
			for (i = 0; i < m->len; i++) {
				unsigned int child = i / chunk % nr;

				m->child[i] = child;
				m->sector[i] = used[child]++;
				m->run[i] = chunk - i % chunk;
			}
			s->nodes[0]->len = m->len;
			KUNIT_ASSERT_EQ(test, s->nodes[0]->ops->give(s->nodes[0]), 0);
			for (i = 0; i < nr; i++)
				KUNIT_EXPECT_EQ(test, s->nodes[1 + i]->len, used[i]);
			check_routes(test, s->nodes[0], m);
			check_ranges(test, s->nodes[0], m);
			drop(s);
		}
}

static void striped_refuses_lengths(struct kunit *test)
{
	char line[] = "striped chunk:24 ( zero ) ( zero ) ( zero )";
	struct vdisk_stack *s = build(test, line);
	struct vdisk_node *n = s->nodes[0];
	unsigned int len;

	for (len = 1; len < 400; len++) {
		n->len = len;
		KUNIT_EXPECT_EQ(test, n->ops->give(n), len % 72 ? -EINVAL : 0);
	}
	n->len = 100;
	n->ops->give(n);
	KUNIT_EXPECT_STREQ(test, s->error,
			   "striped: length 100: not a multiple of 3 children x 24 sectors of chunk");
	n->lim.logical_block_size = 32768;
	n->ops->give(n);
	KUNIT_EXPECT_STREQ(test, s->error,
			   "striped: chunk: not a multiple of the block size, 64 sectors");
	drop(s);
}

/* A leaf that is as long as its max: says, for the lengths of concat. */
static sector_t fake_length(const struct vdisk_node *n)
{
	return n->val[RAM_MAX].num;
}

static const struct vdisk_ops fake_ops = { .length = fake_length };

static void concat_is_one_after_the_other(struct kunit *test)
{
	static const unsigned int lens[] = { 8, 1000, 24, 16 };
	char line[] = "concat ( ram max:8 ) ( ram max:1000 ) ( ram max:24 ) ( ram max:16 )";
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct vdisk_stack *s = build(test, line);
	struct vdisk_node *n = s->nodes[0];
	unsigned int i, at, given;

	KUNIT_ASSERT_NOT_NULL(test, m);
	for (i = 1; i < s->nr_nodes; i++)
		s->nodes[i]->ops = &fake_ops;
	KUNIT_EXPECT_EQ(test, n->ops->length(n), 1048);

	/* Shorter than the sum: the rest is unused, whole children too. */
	for (given = 1048; given; given -= min(given, 131U)) {
		m->len = given;
		for (i = 0, at = 0; i < given; i++, at++) {
			m->child[i] = i ? m->child[i - 1] : 0;
			if (at == lens[m->child[i]]) {
				m->child[i]++;
				at = 0;
			}
			m->sector[i] = at;
			m->run[i] = min(lens[m->child[i]] - at, given - i);
		}
		n->len = given;
		KUNIT_ASSERT_EQ(test, n->ops->give(n), 0);
		check_routes(test, n, m);
		check_ranges(test, n, m);
	}
	drop(s);
}

static void concat_refuses_unbounded(struct kunit *test)
{
	char line[] = "concat ( zero ) ( zero )";
	struct vdisk_stack *s = build(test, line);
	struct vdisk_node *n = s->nodes[0];

	KUNIT_EXPECT_EQ(test, n->ops->length(n), VDISK_UNBOUNDED);
	n->len = 64;
	KUNIT_EXPECT_EQ(test, n->ops->give(n), -EINVAL);
	KUNIT_EXPECT_STREQ(test, s->error,
			   "concat/0/zero: has no length of its own, so it can only be the last");
	drop(s);
}

static struct kunit_case vdisk_layout_cases[] = {
	KUNIT_CASE(striped_is_dealt_out),
	KUNIT_CASE(striped_refuses_lengths),
	KUNIT_CASE(concat_is_one_after_the_other),
	KUNIT_CASE(concat_refuses_unbounded),
	{}
};

static struct kunit_suite vdisk_layout_suite = {
	.name = "vdisk_layout",
	.test_cases = vdisk_layout_cases,
};

kunit_test_suite(vdisk_layout_suite);
