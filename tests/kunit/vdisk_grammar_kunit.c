// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the grammar: what a line becomes, what is refused and how,
 * and that neither a generated nor a mangled line does harm.
 */
#include <kunit/test.h>
#include <linux/prandom.h>
#include <linux/slab.h>

#include "../../drivers/md/dm-vdisk/vdisk.h"

#define LINE_MAX_BYTES	16384
#define LINE_MAX_WORDS	2048

struct line {
	char *buf;		/* the words, each terminated */
	char *argv[LINE_MAX_WORDS];
	unsigned int argc;
};

/* Splits at blanks, with a backslash as dm_split_args() has it. */
static void line_split(struct line *l, const char *text)
{
	char *out = l->buf;

	l->argc = 0;
	while (*text && l->argc < LINE_MAX_WORDS) {
		while (*text == ' ')
			text++;
		if (!*text)
			break;
		l->argv[l->argc++] = out;
		while (*text && *text != ' ') {
			if (*text == '\\' && text[1])
				text++;
			*out++ = *text++;
		}
		*out++ = '\0';
	}
}

static struct line *line_alloc(struct kunit *test)
{
	struct line *l = kunit_kzalloc(test, sizeof(*l), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, l);
	l->buf = kunit_kzalloc(test, LINE_MAX_BYTES, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, l->buf);
	return l;
}

static struct vdisk_stack *parse(struct kunit *test, struct line *l, int *r)
{
	struct vdisk_stack *s = kzalloc(sizeof(*s), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, s);
	*r = vdisk_parse(s, l->argc, l->argv);
	return s;
}

static void drop(struct vdisk_stack *s)
{
	vdisk_free_tree(s);
	kfree(s);
}

struct canon {
	const char *line;
	const char *printed;	/* NULL: as it was given */
};

static const struct canon canons[] = {
	{ "zero" },
	{ "ram" },
	{ "ram name:a max:8" },
	{ "ram max:8 name:a", "ram name:a max:8" },
	{ "block /dev/sda" },
	{ "block 8:0 len:16 start:8", "block 8:0 start:8 len:16" },
	{ "block /dev/a\\ b\\\\c" },
	{ "block /dev/\xc3\\\xa0" },
	{ "nvme /dev/nvme0n1 nguid:00112233445566778899AABBCCDDEEFF",
	  "nvme /dev/nvme0n1 nguid:00112233445566778899aabbccddeeff" },
	{ "nvme /dev/nvme0n1 eui:0011-2233-4455-6677",
	  "nvme /dev/nvme0n1 eui:0011223344556677" },
	{ "striped chunk:0008 label:top ( zero label:z ) ( ram label:r.1_2-3 )",
	  "striped chunk:8 label:top ( zero label:z ) ( ram label:r.1_2-3 )" },
	{ "concat ( striped chunk:8 ( ram ) ( zero ) ) ( concat ( zero ) ) ( ram )" },
	{ "concat drop_volatile ( ram )", "concat ( ram )" },
	{ "test period:3ms mode:timer up ( zero )",
	  "test mode:timer period:3000us up ( zero )" },
	{ "test period:1s ( zero )", "test period:1000000us ( zero )" },
	{ "block 259:18446744073709551615" },
	{ "delay ( zero )" },
	{ "delay seed:007 discard:0 write:2ms/3ms@50 label:d read:40us ( zero )",
	  "delay read:40us write:2000us/3000us@50 discard:0us seed:7 label:d ( zero )" },
};

static void canon_desc(const struct canon *c, char *desc)
{
	strscpy(desc, c->line, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(canon, canons, canon_desc);

static void print_is_canonical(struct kunit *test)
{
	const struct canon *c = test->param_value;
	const char *want = c->printed ?: c->line;
	char *buf = kunit_kzalloc(test, LINE_MAX_BYTES, GFP_KERNEL);
	struct vdisk_out out = { buf, 0, LINE_MAX_BYTES };
	struct line *l = line_alloc(test);
	struct vdisk_stack *s;
	int r;

	KUNIT_ASSERT_NOT_NULL(test, buf);
	line_split(l, c->line);
	s = parse(test, l, &r);
	KUNIT_EXPECT_EQ_MSG(test, r, 0, "%s", s->error);
	vdisk_print(s, &out, NULL);
	KUNIT_EXPECT_STREQ(test, buf, want);
	drop(s);
}

#define ALL_TYPES "block nvme file vhd1 ram zero blob striped concat crypt delay overlay cache pr test"

struct refusal {
	const char *line;
	const char *error;
};

static const struct refusal refusals[] = {
	{ "", "empty: a stack is a node type and its words" },
	{ "rom",
	  "'rom' is no node type; there are " ALL_TYPES },
	{ "(",
	  "'(' is no node type; there are " ALL_TYPES },
	{ "block", "block: device: missing" },
	{ "block sda", "block: device: 'sda' is no absolute path and no major:minor" },
	{ "file", "file: path: missing" },
	{ "file img", "file: path: 'img' is no absolute path" },
	{ "file /img block:4096", "file: block: '4096' is not one of 512" },
	{ "vhd1 /img shared", "vhd1: 'shared': unknown word" },
	{ "block 8:", "block: device: '8:' is no absolute path and no major:minor" },
	{ "block 8:0x", "block: device: '8:0x' is no absolute path and no major:minor" },
	{ "block 8:0 start:8x", "block: start: '8x' is not a number of sectors" },
	{ "block 8:0 start:-1", "block: start: '-1' is not a number of sectors" },
	{ "block 8:0 start:+1", "block: start: '+1' is not a number of sectors" },
	{ "block 8:0 start:", "block: start: '' is not a number of sectors" },
	{ "block 8:0 len:0", "block: len: not in 1..18014398509481983" },
	{ "block 8:0 start:18446744073709551615",
	  "block: start: not in 0..18014398509481983" },
	{ "block 8:0 start:18446744073709551616",
	  "block: start: not in 0..18014398509481983" },
	{ "block 8:0 start:1 start:1", "block: start: given twice" },
	{ "block 8:0 begin:1", "block: 'begin:1': unknown option" },
	{ "block 8:0 ro", "block: 'ro': unknown word" },
	{ "block 8:0 device:8:0", "block: 'device:8:0': unknown option" },
	{ "block 8:0 ( zero )", "block: takes no children" },
	{ "nvme 8:0 eui:00", "nvme: eui: not 16 hex digits" },
	{ "nvme 8:0 eui:00112233445566778", "nvme: eui: not 16 hex digits" },
	{ "nvme 8:0 eui:001122334455667g", "nvme: eui: not 16 hex digits" },
	{ "ram max:7", "ram: max: not in 8..18014398509481983" },
	{ "ram name:", "ram: name: '' is not 1 to 63 of A-Z a-z 0-9 . _ -" },
	{ "ram name:a/b", "ram: name: 'a/b' is not 1 to 63 of A-Z a-z 0-9 . _ -" },
	{ "ram name:a\\ b", "ram: name: 'a b' is not 1 to 63 of A-Z a-z 0-9 . _ -" },
	{ "zero label:@x", "zero: label: '@x' is not 1 to 63 of A-Z a-z 0-9 . _ -" },
	{ "zero label:ram", "zero: label: 'ram' is a node type" },
	{ "zero label:a label:b", "zero: label: given twice" },
	{ "striped chunk:8 ( zero label:a ) ( ram label:a )",
	  "striped/1/ram: label: 'a' is used by another node" },
	{ "striped chunk:8", "striped: needs 1 child, has 0" },
	{ "striped chunk:0 ( zero )", "striped: chunk: not in 1..4194303" },
	{ "striped chunk:8 ( zero", "striped/0/zero: ')' missing behind it" },
	{ "striped chunk:8 (", "striped: '(' without a node behind it" },
	{ "striped chunk:8 ( )",
	  "')' is no node type; there are " ALL_TYPES },
	{ "striped chunk:8 ( zero ) )", "striped: ')' without its '('" },
	{ "striped ( zero ) chunk:8",
	  "striped: 'chunk:8' behind a child: words and options come first" },
	{ "concat ( zero drop_volatile )", "concat/0/zero: 'drop_volatile': unknown word" },
	{ "concat ( concat ( striped chunk:x ( zero ) ) )",
	  "concat/0/concat/0/striped: chunk: 'x' is not a number of sectors" },
	{ "test ( zero ) ( zero )", "test: takes no more than 1 child" },
	{ "test mode:pas ( zero )",
	  "test: mode: 'pas' is not one of pass|work|timer|hold|read|fail" },
	{ "test mode: ( zero )", "test: mode: '' is not one of pass|work|timer|hold|read|fail" },
	{ "test period:3 ( zero )", "test: period: '3' is not a time (us, ms or s)" },
	{ "test period:3m ( zero )", "test: period: '3m' is not a time (us, ms or s)" },
	{ "test period:11s ( zero )", "test: period: not in 1..10000000 us" },
	{ "test period:18446744073709551615s ( zero )", "test: period: not in 1..10000000 us" },
	{ "test up:1 ( zero )", "test: 'up:1': unknown option" },
	{ "delay read:5 ( zero )", "delay: read: '5' is not a time (us, ms or s)" },
	{ "delay write:1s write:2s ( zero )", "delay: write: given twice" },
	{ "delay seed:x ( zero )", "delay: seed: 'x' is not a number" },
	{ "delay seed:18446744073709551616 ( zero )",
	  "delay: seed: not in 0..18446744073709551615" },
	{ "delay read:1s", "delay: needs 1 child, has 0" },
	{ "delay ( zero ) ( zero )", "delay: takes no more than 1 child" },
	{ "block a\nb", "block: device: 'a\\nb' is no absolute path and no major:minor" },
};

static void refusal_desc(const struct refusal *c, char *desc)
{
	strscpy(desc, c->line, KUNIT_PARAM_DESC_SIZE);
	strreplace(desc, '\n', '~');
}

KUNIT_ARRAY_PARAM(refusal, refusals, refusal_desc);

static void parse_refuses(struct kunit *test)
{
	const struct refusal *c = test->param_value;
	struct line *l = line_alloc(test);
	struct vdisk_stack *s;
	int r;

	line_split(l, c->line);
	s = parse(test, l, &r);
	KUNIT_EXPECT_LT(test, r, 0);
	KUNIT_EXPECT_STREQ(test, s->error, c->error);
	drop(s);
}

/* The bounds themselves: the last line allowed, and the first refused. */
static void parse_nested(struct kunit *test, unsigned int depth, int want,
			 const char *error)
{
	char *text = kunit_kzalloc(test, LINE_MAX_BYTES, GFP_KERNEL);
	struct line *l = line_alloc(test);
	struct vdisk_stack *s;
	unsigned int i;
	int r;

	KUNIT_ASSERT_NOT_NULL(test, text);
	for (i = 1; i < depth; i++)
		strcat(text, "concat ( ");
	strcat(text, "zero");
	for (i = 1; i < depth; i++)
		strcat(text, " )");
	line_split(l, text);
	s = parse(test, l, &r);
	KUNIT_EXPECT_EQ(test, r, want);
	if (want)
		KUNIT_EXPECT_PTR_NE(test, strstr(s->error, error), NULL);
	drop(s);
}

static void parse_many(struct kunit *test, unsigned int groups,
		       unsigned int children, int want, const char *error)
{
	char *text = kunit_kzalloc(test, LINE_MAX_BYTES, GFP_KERNEL);
	struct line *l = line_alloc(test);
	struct vdisk_stack *s;
	unsigned int i, j;
	size_t len;
	int r;

	KUNIT_ASSERT_NOT_NULL(test, text);
	len = sprintf(text, "concat");
	for (i = 0; i < groups; i++) {
		len += sprintf(text + len, " ( concat");
		for (j = 0; j < children; j++)
			len += sprintf(text + len, " ( zero )");
		len += sprintf(text + len, " )");
	}
	line_split(l, text);
	s = parse(test, l, &r);
	KUNIT_EXPECT_EQ(test, r, want);
	if (want)
		KUNIT_EXPECT_STREQ(test, s->error, error);
	drop(s);
}

static void parse_bounds(struct kunit *test)
{
	struct vdisk_stack *s;
	struct line *l = line_alloc(test);
	int r;

	parse_nested(test, VDISK_MAX_DEPTH, 0, NULL);
	parse_nested(test, VDISK_MAX_DEPTH + 1, -EINVAL, "nested deeper than 16");
	parse_many(test, 1, VDISK_MAX_CHILDREN, 0, NULL);
	parse_many(test, 1, VDISK_MAX_CHILDREN + 1, -EINVAL,
		   "concat/0/concat: takes no more than 128 children");
	parse_many(test, 3, 84, 0, NULL);	/* 1 + 3 x 85 = 256 nodes */
	parse_many(test, 4, 84, -EINVAL, "concat: more than 256 nodes");

	memset(l->buf, 'z', VDISK_WORD_MAX + 1);
	l->argv[0] = l->buf;
	l->argc = 1;
	s = parse(test, l, &r);
	KUNIT_EXPECT_STREQ(test, s->error, "word 1 is longer than 4095 bytes");
	drop(s);
}

/* Random valid lines: printed, parsed and printed again they are the same. */
static u32 below(struct rnd_state *rnd, u32 n)
{
	return prandom_u32_state(rnd) % n;
}

static size_t grow(struct rnd_state *rnd, char *text, unsigned int depth,
		   unsigned int *nodes)
{
	static const char * const leaves[] = {
		"zero", "ram", "ram max:%u", "ram name:n%u", "block /dev/a\\ %u",
		"block 8:%u start:8", "block /d\\\\\\\t%u len:88",
		"nvme /dev/n%u eui:0123456789abcdef",
	};
	unsigned int i, children;
	size_t len;

	if (depth + 1 >= VDISK_MAX_DEPTH || *nodes > 200 || !below(rnd, 3)) {
		(*nodes)++;
		return sprintf(text, leaves[below(rnd, ARRAY_SIZE(leaves))],
			       8 + below(rnd, 1000));
	}
	len = below(rnd, 2) ? sprintf(text, "concat") :
	      sprintf(text, "striped chunk:%u", 1 + below(rnd, 4000));
	if (!below(rnd, 4))
		len += sprintf(text + len, " label:l%u", *nodes);
	(*nodes)++;
	children = 1 + below(rnd, 4);
	for (i = 0; i < children; i++) {
		len += sprintf(text + len, " ( ");
		len += grow(rnd, text + len, depth + 1, nodes);
		len += sprintf(text + len, " )");
	}
	return len;
}

static void print_round_trips(struct kunit *test)
{
	char *text = kunit_kzalloc(test, LINE_MAX_BYTES, GFP_KERNEL);
	char *again = kunit_kzalloc(test, LINE_MAX_BYTES, GFP_KERNEL);
	struct line *l = line_alloc(test);
	struct rnd_state rnd;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, text);
	KUNIT_ASSERT_NOT_NULL(test, again);
	prandom_seed_state(&rnd, 20260101);
	for (i = 0; i < 300; i++) {
		struct vdisk_out out = { again, 0, LINE_MAX_BYTES };
		unsigned int nodes = 0;
		struct vdisk_stack *s;
		int r;

		grow(&rnd, text, 0, &nodes);
		line_split(l, text);
		s = parse(test, l, &r);
		KUNIT_ASSERT_EQ_MSG(test, r, 0, "%s: %s", text, s->error);
		vdisk_print(s, &out, NULL);
		drop(s);
		KUNIT_ASSERT_STREQ(test, again, text);
	}
}

/* Mangled lines: refused or not, KASAN and the leak check have the say. */
static void parse_survives_mangling(struct kunit *test)
{
	static const char * const words[] = {
		"(", ")", "concat", "striped", "block", "zero", "chunk:8",
		"label:x", "", ":", "chunk:", "18446744073709551616", "test",
	};
	char *text = kunit_kzalloc(test, LINE_MAX_BYTES, GFP_KERNEL);
	struct line *l = line_alloc(test);
	unsigned int i, accepted = 0;
	struct rnd_state rnd;

	KUNIT_ASSERT_NOT_NULL(test, text);
	prandom_seed_state(&rnd, 4711);
	for (i = 0; i < 2000; i++) {
		unsigned int nodes = 190, edits = 1 + below(&rnd, 4);
		struct vdisk_stack *s;
		size_t len;
		int r;

		len = grow(&rnd, text, VDISK_MAX_DEPTH - 5, &nodes);
		while (below(&rnd, 2) && len)
			text[below(&rnd, len)] = prandom_u32_state(&rnd);
		line_split(l, text);
		while (l->argc && edits--)
			switch (below(&rnd, 3)) {
			case 0:
				l->argv[below(&rnd, l->argc)] =
					(char *)words[below(&rnd, ARRAY_SIZE(words))];
				break;
			case 1:
				l->argc -= below(&rnd, l->argc);
				break;
			case 2:
				swap(l->argv[below(&rnd, l->argc)],
				     l->argv[below(&rnd, l->argc)]);
			}
		s = parse(test, l, &r);
		accepted += !r;
		if (r)
			KUNIT_EXPECT_GT(test, strlen(s->error), 0);
		drop(s);
	}
	/* Some of both, or this tests nothing. */
	KUNIT_EXPECT_GT(test, accepted, 20);
	KUNIT_EXPECT_LT(test, accepted, 1980);
}

static void find_by_label_or_type(struct kunit *test)
{
	struct line *l = line_alloc(test);
	struct vdisk_stack *s;
	int r;

	line_split(l, "striped chunk:8 ( ram label:a ) ( concat ( ram ) ( zero ) )");
	s = parse(test, l, &r);
	KUNIT_ASSERT_EQ(test, r, 0);
	KUNIT_EXPECT_PTR_EQ(test, vdisk_find(s, "a"), s->nodes[1]);
	KUNIT_EXPECT_PTR_EQ(test, vdisk_find(s, "zero"), s->nodes[4]);
	KUNIT_EXPECT_PTR_EQ(test, vdisk_find(s, "striped"), s->nodes[0]);
	KUNIT_EXPECT_NULL(test, vdisk_find(s, "ram"));
	KUNIT_EXPECT_STREQ(test, s->error,
			   "2 nodes are 'ram', say a label; there are striped a concat ram zero");
	KUNIT_EXPECT_NULL(test, vdisk_find(s, "b"));
	KUNIT_EXPECT_STREQ(test, s->error,
			   "no node has label or type 'b'; there are striped a concat ram zero");
	drop(s);
}

static struct kunit_case vdisk_grammar_cases[] = {
	KUNIT_CASE_PARAM(print_is_canonical, canon_gen_params),
	KUNIT_CASE_PARAM(parse_refuses, refusal_gen_params),
	KUNIT_CASE(parse_bounds),
	KUNIT_CASE(print_round_trips),
	KUNIT_CASE(parse_survives_mangling),
	KUNIT_CASE(find_by_label_or_type),
	{}
};

static struct kunit_suite vdisk_grammar_suite = {
	.name = "vdisk_grammar",
	.test_cases = vdisk_grammar_cases,
};

kunit_test_suite(vdisk_grammar_suite);
