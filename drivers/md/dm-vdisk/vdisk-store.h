/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The format of a store: what an overlay keeps on the child that holds its data.
 * Documentation/admin-guide/device-mapper/dm-vdisk-format.rst says what each
 * field means.
 *
 * Nothing here or in vdisk-store.c needs the kernel: both also compile in
 * userspace, for the tools. All numbers on disk are little-endian.
 */
#ifndef VDISK_STORE_H
#define VDISK_STORE_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#endif

#define VDISK_STORE_MAGIC	"vdisk-st"	/* without its 0 */
#define VDISK_STORE_VERSION	1
#define VDISK_STORE_SECTOR	512
#define VDISK_STORE_SLOTS	2
#define VDISK_STORE_SLOT_SECTORS	8	/* from one slot to the next */
#define VDISK_STORE_DATA_ALIGN	2048		/* sectors */
#define VDISK_STORE_BASE_ID	128		/* bytes */
#define VDISK_STORE_LINEAGE	64		/* bytes */
#define VDISK_STORE_PINS	8		/* blobs of the base */
#define VDISK_STORE_PIN		8		/* bytes of a digest */

/* vdisk_store_sb.incompat */
#define VDISK_STORE_THROUGH	1ULL	/* of a cache with write_through: its base has all */
#define VDISK_STORE_PINNED	2ULL	/* pins count */

/* Features that this code knows. */
#define VDISK_STORE_INCOMPAT	(VDISK_STORE_THROUGH | VDISK_STORE_PINNED)
#define VDISK_STORE_RO_COMPAT	0ULL

/* vdisk_store_sb.flags */
#define VDISK_STORE_DIRTY	1U	/* with VDISK_STORE_THROUGH: base and store may differ */
#define VDISK_STORE_FULL	2U	/* without it: nothing of the base is absent */
#define VDISK_STORE_MERGED	4U	/* likewise: the base has all that it has */

/* Of which version a blob is: digests of its name and of its identity */
struct vdisk_store_pin {
	__u8 name[VDISK_STORE_PIN];
	__u8 identity[VDISK_STORE_PIN];
};

struct vdisk_store_sb {
	__u8 magic[8];
	__le32 crc;
	__le32 version;
	__le64 compat;
	__le64 ro_compat;
	__le64 incompat;
	__le64 sequence;
	__u8 uuid[16];
	__le32 unit;
	__le32 flags;
	__le64 epoch;
	__le64 len;
	__le64 max_len;
	__le64 presence_start;
	__le64 presence_nr;
	__le64 data_start;
	__le64 base_len;
	__u8 base_id[VDISK_STORE_BASE_ID];
	__u8 lineage[VDISK_STORE_LINEAGE];
	struct vdisk_store_pin pins[VDISK_STORE_PINS];
	__u8 reserved[64];
};

#define VDISK_STORE_WORDS	62
#define VDISK_STORE_WORD_UNITS	32
#define VDISK_STORE_LEAF_UNITS	(VDISK_STORE_WORDS * VDISK_STORE_WORD_UNITS)

/* A sector of the presence area */
struct vdisk_store_leaf {
	__le32 crc;
	__le32 reserved;
	__le64 epoch;
	__le64 bits[VDISK_STORE_WORDS];
};

/* What is in a sector of the presence area. */
enum vdisk_store_leaf_kind {
	VDISK_STORE_LEAF_BLANK,	/* all zero: all absent */
	VDISK_STORE_LEAF_OLD,	/* of an older epoch: all absent */
	VDISK_STORE_LEAF_GOOD,
	VDISK_STORE_LEAF_BAD,
};

const char *vdisk_store_sb_check(const struct vdisk_store_sb *sb);
unsigned int vdisk_store_sb_version(const struct vdisk_store_sb *sb);
const struct vdisk_store_sb *
vdisk_store_sb_choose(const struct vdisk_store_sb *a,
		      const struct vdisk_store_sb *b);
bool vdisk_store_is_through(const struct vdisk_store_sb *sb);
__u32 vdisk_store_flags(const struct vdisk_store_sb *sb);
void vdisk_store_sb_seal(struct vdisk_store_sb *sb);
bool vdisk_store_lay_out(struct vdisk_store_sb *sb, __u64 len, __u64 max_len,
			 __u32 unit);
enum vdisk_store_leaf_kind
vdisk_store_leaf_check(const struct vdisk_store_sb *sb, __u64 index,
		       const struct vdisk_store_leaf *leaf);
unsigned int vdisk_store_leaf_state(const struct vdisk_store_leaf *leaf,
				    unsigned int unit);
void vdisk_store_leaf_seal(const struct vdisk_store_sb *sb, __u64 index,
			   struct vdisk_store_leaf *leaf);

#endif /* VDISK_STORE_H */
