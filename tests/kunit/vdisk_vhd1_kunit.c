// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of vhd1: a footer as other programs write it, and hostile ones.
 */
#include <kunit/test.h>
#include <linux/random.h>
#include <linux/string.h>

#include "../../drivers/md/dm-vdisk/vdisk.h"

#define SIZE	(8ULL << 20)

/* What `qemu-img create -f vpc -o subformat=fixed,force_size x.vhd 8M` wrote. */
static const u8 qemu[] = {
	0x63, 0x6f, 0x6e, 0x65, 0x63, 0x74, 0x69, 0x78, 0x00, 0x00, 0x00, 0x02,
	0x00, 0x01, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0x32, 0x96, 0xa8, 0xd6, 0x71, 0x65, 0x6d, 0x32, 0x00, 0x05, 0x00, 0x03,
	0x57, 0x69, 0x32, 0x6b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0xff, 0xff, 0x10, 0xff,
	0x00, 0x00, 0x00, 0x02, 0xff, 0xff, 0xe3, 0xb8, 0xe9, 0x68, 0x7c, 0x84,
	0xee, 0x36, 0x47, 0x3e, 0x9b, 0xba, 0x68, 0x64, 0x82, 0x75, 0x8f, 0x1f,
	0x00,
};

static void store(u8 *at, u64 value, unsigned int bytes)
{
	while (bytes--) {
		at[bytes] = value;
		value >>= 8;
	}
}

static void sign(u8 *footer, unsigned int len)
{
	u32 sum = 0;
	unsigned int i;

	store(footer + 64, 0, 4);
	for (i = 0; i < len; i++)
		sum += footer[i];
	store(footer + 64, ~sum, 4);
}

/* A footer with the fields that OpenVMM writes, all others zero. */
static void make(u8 *footer, unsigned int len, u64 size)
{
	unsigned int i;

	memset(footer, 0, VDISK_VHD_FOOTER);
	memcpy(footer, "conectix", 8);
	store(footer + 8, 2, 4);
	store(footer + 12, 0x10000, 4);
	store(footer + 16, U64_MAX, 8);
	store(footer + 40, size, 8);
	store(footer + 48, size, 8);
	store(footer + 60, 2, 4);
	for (i = 0; i < 16; i++)
		footer[68 + i] = 0xa0 + i;
	sign(footer, len);
}

static void vhd1_qemu(struct kunit *test)
{
	u8 footer[VDISK_VHD_FOOTER] = {};
	struct vdisk_vhd vhd = {};

	memcpy(footer, qemu, sizeof(qemu));
	KUNIT_EXPECT_NULL(test, vdisk_vhd1_check(footer, 512, SIZE + 512, &vhd));
	KUNIT_EXPECT_EQ(test, vhd.bytes, SIZE);
	KUNIT_EXPECT_EQ(test, 0, memcmp(vhd.id, qemu + 68, 16));
}

static void vhd1_lengths(struct kunit *test)
{
	static const u64 sizes[] = {
		512, 1024, 4096, 4608, SIZE, SIZE + 512, 2040ULL << 30,
		U64_MAX / 2 / 512 * 512,
	};
	u8 footer[VDISK_VHD_FOOTER];
	struct vdisk_vhd vhd;
	unsigned int i, len;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		for (len = 511; len <= 512; len++) {
			memset(&vhd, 0, sizeof(vhd));
			make(footer, len, sizes[i]);
			KUNIT_EXPECT_NULL(test, vdisk_vhd1_check(footer, len,
								 sizes[i] + len, &vhd));
			KUNIT_EXPECT_EQ(test, vhd.bytes, sizes[i]);
			KUNIT_EXPECT_EQ(test, vhd.id[15], 0xaf);
		}
}

/* A field set to a value, the checksum right, and what is to be said. */
struct field {
	unsigned int at;
	unsigned int bytes;
	u64 value;
	const char *error;
};

#define DYNAMIC "a dynamic VHD; make it fixed by qemu-img convert -O vpc -o subformat=fixed"
#define DIFFERENCING "a differencing VHD; make it and its parents one fixed one"
#define FEATURES "footer: unknown features"
#define VERSION "footer: unknown version"
#define MORE "footer: size: more than the file has"
#define LESS "footer: size: less than the file has"
#define NO_SIZE "footer: size: not a number of sectors"
#define NO_ORIGINAL "footer: original size: not a number of sectors"
#define OFFSET "footer: data offset: not that of a fixed VHD"
#define GEOMETRY "footer: geometry: larger than the disk"

static const struct field fields[] = {
	{ 0, 8, 0, "footer: missing" },
	{ 7, 1, 'X', "footer: missing" },
	{ 8, 4, 0, FEATURES },
	{ 8, 4, 1, FEATURES },
	{ 8, 4, 3, NULL },
	{ 8, 4, 6, FEATURES },
	{ 8, 4, 0x80000002, FEATURES },
	{ 12, 4, 0, VERSION },
	{ 12, 4, 0x10001, VERSION },
	{ 12, 4, 0x20000, VERSION },
	{ 16, 8, 0, OFFSET },
	{ 16, 8, 512, OFFSET },
	{ 16, 8, U64_MAX - 1, OFFSET },
	{ 16, 8, U32_MAX, OFFSET },
	{ 24, 16, 0, NULL },
	{ 40, 8, 0, NO_ORIGINAL },
	{ 40, 8, 513, NO_ORIGINAL },
	{ 40, 8, SIZE / 2, NULL },
	{ 48, 8, 0, NO_SIZE },
	{ 48, 8, SIZE - 1, NO_SIZE },
	{ 48, 8, U64_MAX, NO_SIZE },
	{ 48, 8, SIZE + 512, MORE },
	{ 48, 8, U64_MAX - 511, MORE },
	{ 48, 8, 1ULL << 63, MORE },
	{ 48, 8, SIZE - 512, LESS },
	{ 48, 8, 512, LESS },
	{ 56, 4, 0xffff10ff, NULL },
	{ 56, 4, 0xffff11ff, GEOMETRY },
	{ 56, 4, 0x01000441, GEOMETRY },
	{ 56, 4, 0x003d0444, GEOMETRY },
	{ 56, 4, 0x003c0444, NULL },
	{ 56, 4, 0x003c0400, GEOMETRY },
	{ 56, 4, 0x00000444, GEOMETRY },
	{ 60, 4, 0, "footer: unknown disk type" },
	{ 60, 4, 1, "footer: unknown disk type" },
	{ 60, 4, 3, DYNAMIC },
	{ 60, 4, 4, DIFFERENCING },
	{ 60, 4, 0x02000000, "footer: unknown disk type" },
	{ 84, 1, 1, "footer: the disk of a machine in saved state" },
	{ 84, 1, 0xff, "footer: the disk of a machine in saved state" },
};

static void vhd1_field(struct kunit *test)
{
	const struct field *f = test->param_value;
	u8 footer[VDISK_VHD_FOOTER];
	struct vdisk_vhd vhd = { .bytes = 1 };
	unsigned int len;

	for (len = 511; len <= 512; len++) {
		const char *error;

		make(footer, len, SIZE);
		store(footer + f->at, f->value, f->bytes);
		sign(footer, len);
		error = vdisk_vhd1_check(footer, len, SIZE + len, &vhd);
		if (f->error) {
			KUNIT_EXPECT_STREQ(test, error ?: "accepted", f->error);
			KUNIT_EXPECT_EQ(test, vhd.bytes, 1);
		} else {
			KUNIT_EXPECT_NULL(test, error);
			vhd.bytes = 1;
		}
	}
}

static void field_desc(const struct field *f, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "bytes %u + %u: %#llx", f->at,
		 f->bytes, f->value);
}

KUNIT_ARRAY_PARAM(field, fields, field_desc);

/* Every bit of a good footer matters, if only to the checksum. */
static void vhd1_flipped(struct kunit *test)
{
	u8 footer[VDISK_VHD_FOOTER];
	struct vdisk_vhd vhd = {};
	unsigned int bit;

	make(footer, 512, SIZE);
	for (bit = 0; bit < 8 * VDISK_VHD_FOOTER; bit++) {
		footer[bit / 8] ^= 1 << (bit % 8);
		if (!vdisk_vhd1_check(footer, 512, SIZE + 512, &vhd))
			KUNIT_FAIL(test, "bit %u flipped is accepted", bit);
		footer[bit / 8] ^= 1 << (bit % 8);
	}
	KUNIT_EXPECT_EQ(test, vhd.bytes, 0);
}

/* Files of any length, and whatever the fields say: never beyond the file. */
static void vhd1_random(struct kunit *test)
{
	u8 footer[VDISK_VHD_FOOTER];
	unsigned int i, accepted = 0;

	for (i = 0; i < 100000; i++) {
		struct vdisk_vhd vhd = {};
		u64 len = get_random_u64() >> (get_random_u32() % 64);
		u64 size = len > 512 ? (len - 512) / 512 * 512 : 0;

		if (get_random_u32() % 2)
			len = size + 512;
		make(footer, 512, size);
		if (get_random_u32() % 2)
			footer[8 + get_random_u32() % 76] = get_random_u32();
		sign(footer, 512);
		if (vdisk_vhd1_check(footer, 512, len, &vhd))
			continue;
		accepted++;
		if (!vhd.bytes || vhd.bytes % 512 || vhd.bytes != len - 512)
			KUNIT_FAIL(test, "%llu bytes of %llu", vhd.bytes, len);
	}
	KUNIT_EXPECT_GT(test, accepted, 1000);
	make(footer, 512, 0);
	for (i = 0; i < 1024; i++) {
		struct vdisk_vhd vhd = {};

		if (!vdisk_vhd1_check(footer, 512, i, &vhd))
			KUNIT_FAIL(test, "a file of %u bytes", i);
	}
}

static struct kunit_case vhd1_cases[] = {
	KUNIT_CASE(vhd1_qemu),
	KUNIT_CASE(vhd1_lengths),
	KUNIT_CASE_PARAM(vhd1_field, field_gen_params),
	KUNIT_CASE(vhd1_flipped),
	KUNIT_CASE(vhd1_random),
	{}
};

static struct kunit_suite vhd1_suite = {
	.name = "vdisk_vhd1",
	.test_cases = vhd1_cases,
};

kunit_test_suite(vhd1_suite);
