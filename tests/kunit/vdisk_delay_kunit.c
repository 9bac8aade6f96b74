// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of delay: what a latency says, which of its times a draw picks,
 * and that draws are spread as they should be.
 */
#include <kunit/test.h>
#include <linux/slab.h>

#include "../../drivers/md/dm-vdisk/vdisk.h"

/* A line "delay read:<word> ( zero )"; its error is in s->error. */
static struct vdisk_stack *parse(struct kunit *test, const char *word, int *r)
{
	struct vdisk_stack *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	char *option = kunit_kzalloc(test, strlen(word) + 8, GFP_KERNEL);
	char *argv[5] = { "delay", option, "(", "zero", ")" };

	KUNIT_ASSERT_NOT_NULL(test, s);
	KUNIT_ASSERT_NOT_NULL(test, option);
	sprintf(option, "read:%s", word);
	*r = vdisk_parse(s, ARRAY_SIZE(argv), argv);
	return s;
}

struct good {
	const char *word;
	const char *printed;
	struct vdisk_latency latency;
};

static const struct good goods[] = {
	{ "0", "0us", { 1, { { 0, 0 } } } },
	{ "0us", "0us", { 1, { { 0, 0 } } } },
	{ "0s", "0us", { 1, { { 0, 0 } } } },
	{ "1us", "1us", { 1, { { 1, 0 } } } },
	{ "0007ms", "7000us", { 1, { { 7000, 0 } } } },
	{ "3600s", "3600000000us", { 1, { { 3600000000U, 0 } } } },
	{ "200us/2ms@99/20ms@99.9", "200us/2000us@99/20000us@99.9",
	  { 3, { { 200, 0 }, { 2000, 99000 }, { 20000, 99900 } } } },
	{ "0/5us@0.001", "0us/5us@0.001", { 2, { { 0, 0 }, { 5, 1 } } } },
	{ "1us/1us@00.010", "1us/1us@0.01", { 2, { { 1, 0 }, { 1, 10 } } } },
	{ "1us/2us@99.999", "1us/2us@99.999",
	  { 2, { { 1, 0 }, { 2, 99999 } } } },
	{ "1us/2us@50.050/3us@50.5", "1us/2us@50.05/3us@50.5",
	  { 3, { { 1, 0 }, { 2, 50050 }, { 3, 50500 } } } },
	{ "1s/1s@1/1s@2/1s@3/1s@4/1s@5/1s@6/1s@7",
	  "1000000us/1000000us@1/1000000us@2/1000000us@3/1000000us@4/1000000us@5/1000000us@6/1000000us@7",
	  { 8, { { 1000000, 0 }, { 1000000, 1000 }, { 1000000, 2000 },
		 { 1000000, 3000 }, { 1000000, 4000 }, { 1000000, 5000 },
		 { 1000000, 6000 }, { 1000000, 7000 } } } },
};

static void good_desc(const struct good *c, char *desc)
{
	strscpy(desc, c->word, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(good, goods, good_desc);

static void latency_is_read(struct kunit *test)
{
	const struct good *c = test->param_value;
	struct vdisk_latency lat;
	struct vdisk_stack *s;
	unsigned int i;
	int r;

	s = parse(test, c->word, &r);
	KUNIT_EXPECT_EQ_MSG(test, r, 0, "%s", s->error);
	if (!r) {
		const char *printed = s->nodes[0]->val[DELAY_READ].str;

		KUNIT_EXPECT_STREQ(test, printed, c->printed);
		KUNIT_EXPECT_EQ(test, vdisk_read_latency(s->nodes[0], DELAY_READ,
							 printed, &lat), 0);
		KUNIT_EXPECT_EQ(test, lat.nr, c->latency.nr);
		for (i = 0; i < c->latency.nr; i++) {
			KUNIT_EXPECT_EQ(test, lat.step[i].us,
					c->latency.step[i].us);
			KUNIT_EXPECT_EQ(test, lat.step[i].at,
					c->latency.step[i].at);
		}
	}
	vdisk_free_tree(s);
}

struct bad {
	const char *word;
	const char *error;	/* behind "delay: read: " */
};

#define NO_TIME		" is not a time (us, ms or s)"
#define NO_PERCENTILE	" is not a percentile (above 0, below 100, up to 3 digits behind the point)"

static const struct bad bads[] = {
	{ "", "''" NO_TIME },
	{ "5", "'5'" NO_TIME },
	{ "00", "'00'" NO_TIME },
	{ "-1us", "'-1us'" NO_TIME },
	{ "1.5ms", "'1.5ms'" NO_TIME },
	{ "1m", "'1m'" NO_TIME },
	{ "1us/", "''" NO_TIME },
	{ "/1us", "''" NO_TIME },
	{ "1us//2us@1", "''" NO_TIME },
	{ "1us/@50", "''" NO_TIME },
	{ "1us,2us@50", "'1us,2us'" NO_TIME },
	{ "3601s", "not in 0..3600000000 us" },
	{ "3600000001us", "not in 0..3600000000 us" },
	{ "18446744073709551615s", "not in 0..3600000000 us" },
	{ "1us/4294967297us@50", "not in 0..3600000000 us" },
	{ "1us@50", "the first time has no percentile" },
	{ "1us/2us", "every time but the first needs a percentile" },
	{ "1us/2us@", "''" NO_PERCENTILE },
	{ "1us/2us@0", "'0'" NO_PERCENTILE },
	{ "1us/2us@0.000", "'0.000'" NO_PERCENTILE },
	{ "1us/2us@100", "'100'" NO_PERCENTILE },
	{ "1us/2us@99.9999", "'99.9999'" NO_PERCENTILE },
	{ "1us/2us@99.", "'99.'" NO_PERCENTILE },
	{ "1us/2us@.5", "'.5'" NO_PERCENTILE },
	{ "1us/2us@5.5.5", "'5.5.5'" NO_PERCENTILE },
	{ "1us/2us@-5", "'-5'" NO_PERCENTILE },
	{ "1us/2us@5%", "'5%'" NO_PERCENTILE },
	{ "1us/2us@5@6", "'5@6'" NO_PERCENTILE },
	{ "1us/2us@0x5", "'0x5'" NO_PERCENTILE },
	{ "1us/2us@50/3us@50", "percentiles do not rise" },
	{ "1us/2us@50/3us@49.999", "percentiles do not rise" },
	{ "2us/1us@50", "times fall" },
	{ "1us/0@50", "times fall" },
	{ "1s/1s@1/1s@2/1s@3/1s@4/1s@5/1s@6/1s@7/1s@8", "more than 8 times" },
	{ "000000000000000000000000000000000000000000000001us",
	  "'0000000000000000000000000000000000000000'" NO_TIME },
};

static void bad_desc(const struct bad *c, char *desc)
{
	strscpy(desc, c->word, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(bad, bads, bad_desc);

static void latency_is_refused(struct kunit *test)
{
	static const char prefix[] = "delay: read: ";
	const struct bad *c = test->param_value;
	struct vdisk_stack *s;
	int r;

	s = parse(test, c->word, &r);
	KUNIT_EXPECT_LT(test, r, 0);
	KUNIT_EXPECT_EQ(test, strncmp(s->error, prefix, strlen(prefix)), 0);
	KUNIT_EXPECT_STREQ(test, s->error + strlen(prefix), c->error);
	vdisk_free_tree(s);
}

/* A value changes while the stack is printed; a bad word changes nothing. */
static void latency_is_set(struct kunit *test)
{
	char buf[128];
	struct vdisk_out out = { buf, 0, sizeof(buf) };
	struct vdisk_latency lat;
	struct vdisk_stack *s;
	int r;

	s = parse(test, "1us", &r);
	KUNIT_ASSERT_EQ(test, r, 0);
	r = vdisk_set_latency(s->nodes[0], DELAY_FLUSH, "1ms/2ms@50", &lat);
	KUNIT_EXPECT_EQ(test, r, 0);
	KUNIT_EXPECT_EQ(test, lat.nr, 2);
	r = vdisk_set_latency(s->nodes[0], DELAY_READ, "2s", &lat);
	KUNIT_EXPECT_EQ(test, r, 0);
	r = vdisk_set_latency(s->nodes[0], DELAY_READ, "2s/1s@9", &lat);
	KUNIT_EXPECT_EQ(test, r, -EINVAL);
	vdisk_print(s, &out, NULL);
	KUNIT_EXPECT_STREQ(test, buf,
			   "delay read:2000000us flush:1000us/2000us@50 ( zero )");
	vdisk_free_tree(s);
}

static void pick_at_boundaries(struct kunit *test)
{
	static const struct vdisk_latency lat = {
		4, { { 10, 0 }, { 20, 1 }, { 30, 50000 }, { 40, 99999 } }
	};
	static const struct vdisk_latency one = { 1, { { 7, 0 } } };
	static const struct vdisk_latency none = { 0 };
	static const struct { u32 draw, us; } want[] = {
		{ 0, 10 }, { 1, 20 }, { 2, 20 }, { 49999, 20 }, { 50000, 30 },
		{ 50001, 30 }, { 99998, 30 }, { 99999, 40 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(want); i++)
		KUNIT_EXPECT_EQ(test, vdisk_delay_pick(&lat, want[i].draw),
				want[i].us);
	KUNIT_EXPECT_EQ(test, vdisk_delay_pick(&one, 0), 7);
	KUNIT_EXPECT_EQ(test, vdisk_delay_pick(&one, 99999), 7);
	KUNIT_EXPECT_EQ(test, vdisk_delay_pick(&none, 0), 0);
	KUNIT_EXPECT_EQ(test, vdisk_delay_pick(&none, 99999), 0);
}

/* Within 5 standard deviations of what is expected, for each seed. */
static void draws_are_spread(struct kunit *test)
{
	static const struct vdisk_latency lat = {
		4, { { 0, 0 }, { 1, 50000 }, { 2, 99000 }, { 3, 99900 } }
	};
	static const unsigned int want[] = { 50000, 49000, 900, 100 };
	static const unsigned int sigma[] = { 158, 158, 30, 10 };
	static const u64 seeds[] = { 0, 1, 2, 12345, ~0ULL };
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(seeds); i++) {
		unsigned int got[4] = {};
		u64 state = seeds[i];

		for (j = 0; j < 100000; j++) {
			u32 draw = vdisk_delay_draw(&state);

			KUNIT_ASSERT_LT(test, draw, 100000);
			got[vdisk_delay_pick(&lat, draw)]++;
		}
		for (j = 0; j < ARRAY_SIZE(got); j++) {
			KUNIT_EXPECT_GE_MSG(test, got[j], want[j] - 5 * sigma[j],
					    "seed %llu", seeds[i]);
			KUNIT_EXPECT_LE_MSG(test, got[j], want[j] + 5 * sigma[j],
					    "seed %llu", seeds[i]);
		}
	}
}

/* The published first numbers of splitmix64 for the seed 1234567. */
static void draws_are_splitmix64(struct kunit *test)
{
	static const u64 numbers[] = {
		6457827717110365317ULL, 3203168211198807973ULL,
		9817491932198370423ULL, 4593380528125082431ULL,
		16408922859458223821ULL,
	};
	u64 state = 1234567;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		KUNIT_EXPECT_EQ(test, vdisk_delay_draw(&state),
				(numbers[i] >> 32) * 100000 >> 32);
}

static struct kunit_case vdisk_delay_cases[] = {
	KUNIT_CASE_PARAM(latency_is_read, good_gen_params),
	KUNIT_CASE_PARAM(latency_is_refused, bad_gen_params),
	KUNIT_CASE(latency_is_set),
	KUNIT_CASE(pick_at_boundaries),
	KUNIT_CASE(draws_are_spread),
	KUNIT_CASE(draws_are_splitmix64),
	{}
};

static struct kunit_suite vdisk_delay_suite = {
	.name = "vdisk_delay",
	.test_cases = vdisk_delay_cases,
};

kunit_test_suite(vdisk_delay_suite);
