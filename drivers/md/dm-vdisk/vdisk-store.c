// SPDX-License-Identifier: GPL-2.0-only
/*
 * The format of a store: making and checking its sectors, no I/O.
 */
#include "vdisk-store.h"

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/string.h>

#include "compat.h"
#else
#include "vdisk-store-user.h"
#endif

/* The longest disk, in sectors: dm core allows no more bytes. */
#define MAX_SECTORS	(0x7fffffffffffffffULL >> 9)

static_assert(sizeof(struct vdisk_store_sb) == VDISK_STORE_SECTOR);
static_assert(sizeof(struct vdisk_store_leaf) == VDISK_STORE_SECTOR);
static_assert(offsetof(struct vdisk_store_sb, crc) == 8);
static_assert(offsetof(struct vdisk_store_sb, version) == 12);
static_assert(offsetof(struct vdisk_store_sb, compat) == 16);
static_assert(offsetof(struct vdisk_store_sb, ro_compat) == 24);
static_assert(offsetof(struct vdisk_store_sb, incompat) == 32);
static_assert(offsetof(struct vdisk_store_sb, sequence) == 40);
static_assert(offsetof(struct vdisk_store_sb, uuid) == 48);
static_assert(offsetof(struct vdisk_store_sb, unit) == 64);
static_assert(offsetof(struct vdisk_store_sb, flags) == 68);
static_assert(offsetof(struct vdisk_store_sb, epoch) == 72);
static_assert(offsetof(struct vdisk_store_sb, len) == 80);
static_assert(offsetof(struct vdisk_store_sb, max_len) == 88);
static_assert(offsetof(struct vdisk_store_sb, presence_start) == 96);
static_assert(offsetof(struct vdisk_store_sb, presence_nr) == 104);
static_assert(offsetof(struct vdisk_store_sb, data_start) == 112);
static_assert(offsetof(struct vdisk_store_sb, base_len) == 120);
static_assert(offsetof(struct vdisk_store_sb, base_id) == 128);
static_assert(offsetof(struct vdisk_store_sb, lineage) == 256);
static_assert(offsetof(struct vdisk_store_sb, pins) == 320);
static_assert(offsetof(struct vdisk_store_sb, reserved) == 448);
static_assert(offsetof(struct vdisk_store_leaf, epoch) == 8);
static_assert(offsetof(struct vdisk_store_leaf, bits) == 16);

static __u64 round_up_to(__u64 value, __u64 to)
{
	return (value + to - 1) / to * to;
}

static __u32 sb_crc(const struct vdisk_store_sb *sb)
{
	const __u8 *raw = (const void *)sb;
	__u32 crc = vdisk_crc32c(~0U, raw, 8);

	return vdisk_crc32c(crc, raw + 12, VDISK_STORE_SECTOR - 12);
}

static __u32 leaf_crc(const struct vdisk_store_sb *sb, __u64 index,
		      const struct vdisk_store_leaf *leaf)
{
	__le64 at = cpu_to_le64(index);
	__u32 crc = vdisk_crc32c(~0U, sb->uuid, sizeof(sb->uuid));

	crc = vdisk_crc32c(crc, &at, sizeof(at));
	return vdisk_crc32c(crc, (const __u8 *)leaf + 4, VDISK_STORE_SECTOR - 4);
}

/**
 * vdisk_store_lay_out - say where the areas of a store lie
 * @sb: gets its lengths, unit, and places
 * @len: sectors of the disk
 * @max_len: sectors that it may have later
 * @unit: bytes per unit
 *
 * Return: false if there is no such store.
 */
bool vdisk_store_lay_out(struct vdisk_store_sb *sb, __u64 len, __u64 max_len,
			 __u32 unit)
{
	__u32 sectors = unit / VDISK_STORE_SECTOR;
	__u64 start = VDISK_STORE_SLOTS * VDISK_STORE_SLOT_SECTORS;
	__u64 nr;

	if ((unit != 512 && unit != 4096) || !len || max_len < len ||
	    max_len > MAX_SECTORS / 2 || len % sectors || max_len % sectors)
		return false;
	nr = round_up_to(max_len / sectors, VDISK_STORE_LEAF_UNITS) /
	     VDISK_STORE_LEAF_UNITS;
	nr = round_up_to(nr, VDISK_STORE_SLOT_SECTORS);
	sb->unit = cpu_to_le32(unit);
	sb->len = cpu_to_le64(len);
	sb->max_len = cpu_to_le64(max_len);
	sb->presence_start = cpu_to_le64(start);
	sb->presence_nr = cpu_to_le64(nr);
	sb->data_start = cpu_to_le64(round_up_to(start + nr,
						 VDISK_STORE_DATA_ALIGN));
	return true;
}

/**
 * vdisk_store_sb_check - is that a superblock?
 * @sb: a slot as it was read
 *
 * Return: NULL if it is one that this code can use, else what is wrong.
 */
const char *vdisk_store_sb_check(const struct vdisk_store_sb *sb)
{
	struct vdisk_store_sb want = {};

	if (memcmp(sb->magic, VDISK_STORE_MAGIC, sizeof(sb->magic)))
		return "no store: format it first";
	if (le32_to_cpu(sb->crc) != sb_crc(sb))
		return "bad checksum";
	if (le32_to_cpu(sb->version) != VDISK_STORE_VERSION)
		return "unknown version";
	if (le64_to_cpu(sb->incompat) & ~VDISK_STORE_INCOMPAT)
		return "unknown incompatible features";
	if (!vdisk_store_lay_out(&want, le64_to_cpu(sb->len),
				 le64_to_cpu(sb->max_len),
				 le32_to_cpu(sb->unit)))
		return "impossible lengths or unit";
	if (sb->presence_start != want.presence_start ||
	    sb->presence_nr != want.presence_nr ||
	    sb->data_start != want.data_start)
		return "areas that are not where they have to be";
	if (!sb->epoch || !sb->sequence)
		return "no epoch or sequence";
	return NULL;
}

/* What was written there is there, whether or not this code can use it. */
static bool sb_intact(const struct vdisk_store_sb *sb)
{
	return !memcmp(sb->magic, VDISK_STORE_MAGIC, sizeof(sb->magic)) &&
	       le32_to_cpu(sb->crc) == sb_crc(sb);
}

/**
 * vdisk_store_sb_version - the version that a superblock says it is of
 * @sb: a slot as it was read
 *
 * Return: the version, or 0 if it is no superblock.
 */
unsigned int vdisk_store_sb_version(const struct vdisk_store_sb *sb)
{
	return sb_intact(sb) ? le32_to_cpu(sb->version) : 0;
}

/**
 * vdisk_store_sb_choose - the superblock that counts
 * @a: slot 0
 * @b: slot 1
 *
 * A slot that was torn does not count. One that is newer, but that this code
 * cannot use, does: the older one is not true any more.
 *
 * Return: the newer one of those that are intact; NULL if there is none, or if
 * it does not check out.
 */
const struct vdisk_store_sb *
vdisk_store_sb_choose(const struct vdisk_store_sb *a,
		      const struct vdisk_store_sb *b)
{
	const struct vdisk_store_sb *newer = a;

	if (!sb_intact(a) || (sb_intact(b) && le64_to_cpu(b->sequence) >
					      le64_to_cpu(a->sequence)))
		newer = b;
	return vdisk_store_sb_check(newer) ? NULL : newer;
}

/**
 * vdisk_store_is_through - which kind of store is it?
 * @sb: a good superblock
 *
 * Return: true if it is of a cache with write_through, whose base has all that
 * was ever written; false if what it has may be nowhere else.
 */
bool vdisk_store_is_through(const struct vdisk_store_sb *sb)
{
	return le64_to_cpu(sb->incompat) & VDISK_STORE_THROUGH;
}

/**
 * vdisk_store_flags - the flags that a store of its kind may have
 * @sb: a good superblock
 *
 * Return: those that this code knows.
 */
__u32 vdisk_store_flags(const struct vdisk_store_sb *sb)
{
	return vdisk_store_is_through(sb) ? VDISK_STORE_DIRTY :
					    VDISK_STORE_FULL | VDISK_STORE_MERGED;
}

/**
 * vdisk_store_sb_seal - make a superblock ready to be written
 * @sb: complete but for magic, version and checksum
 */
void vdisk_store_sb_seal(struct vdisk_store_sb *sb)
{
	memcpy(sb->magic, VDISK_STORE_MAGIC, sizeof(sb->magic));
	sb->version = cpu_to_le32(VDISK_STORE_VERSION);
	sb->crc = cpu_to_le32(sb_crc(sb));
}

/**
 * vdisk_store_leaf_check - what is in a sector of the presence area
 * @sb: the superblock
 * @index: of the sector in the area
 * @leaf: as it was read
 *
 * Return: what it is.
 */
enum vdisk_store_leaf_kind
vdisk_store_leaf_check(const struct vdisk_store_sb *sb, __u64 index,
		       const struct vdisk_store_leaf *leaf)
{
	static const struct vdisk_store_leaf blank;
	unsigned int i;

	if (!memcmp(leaf, &blank, sizeof(blank)))
		return VDISK_STORE_LEAF_BLANK;
	if (le32_to_cpu(leaf->crc) != leaf_crc(sb, index, leaf) ||
	    leaf->reserved || !leaf->epoch ||
	    le64_to_cpu(leaf->epoch) > le64_to_cpu(sb->epoch))
		return VDISK_STORE_LEAF_BAD;
	for (i = 0; i < VDISK_STORE_WORDS; i++) {
		__u64 bits = le64_to_cpu(leaf->bits[i]);

		/* No unit is both data and zero. */
		if (bits & (bits >> 1) & 0x5555555555555555ULL)
			return VDISK_STORE_LEAF_BAD;
	}
	if (leaf->epoch != sb->epoch)
		return VDISK_STORE_LEAF_OLD;
	return VDISK_STORE_LEAF_GOOD;
}

/**
 * vdisk_store_leaf_state - what a sector of the presence area says of a unit
 * @leaf: a good one
 * @unit: which of its units
 *
 * Return: an enum vdisk_presence_state.
 */
unsigned int vdisk_store_leaf_state(const struct vdisk_store_leaf *leaf,
				    unsigned int unit)
{
	return (le64_to_cpu(leaf->bits[unit / VDISK_STORE_WORD_UNITS]) >>
		(2 * (unit % VDISK_STORE_WORD_UNITS))) & 3;
}

/**
 * vdisk_store_leaf_seal - make a sector of the presence area ready to be written
 * @sb: the superblock
 * @index: of the sector in the area
 * @leaf: its bits are set
 */
void vdisk_store_leaf_seal(const struct vdisk_store_sb *sb, __u64 index,
			   struct vdisk_store_leaf *leaf)
{
	leaf->reserved = 0;
	leaf->epoch = sb->epoch;
	leaf->crc = cpu_to_le32(leaf_crc(sb, index, leaf));
}
