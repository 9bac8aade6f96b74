/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The words and options of every node type: one table per type, shared by the
 * parser, the TABLE line, the documentation test and userspace.
 *
 * Nothing here or in vdisk-types.c needs the kernel: both also compile in
 * userspace.
 */
#ifndef VDISK_TYPES_H
#define VDISK_TYPES_H

#include <linux/types.h>
#ifndef __KERNEL__
#include <stdbool.h>
#endif

#define VDISK_NAME_MAX		63	/* bytes of a name or label */
#define VDISK_WORD_MAX		4095	/* bytes of any word of a line */
#define VDISK_MAX_DEPTH		16	/* nodes on a way from root to leaf */
#define VDISK_MAX_NODES		256	/* nodes of a stack */
#define VDISK_MAX_CHILDREN	128	/* children of a node */
#define VDISK_MAX_ARGS		8	/* words and options of a type */
#define VDISK_MAX_STEPS		8	/* times of a latency */

/* What an argument's value may be, and how it is written. */
enum vdisk_kind {
	VDISK_DEVICE,	/* absolute path, or major:minor */
	VDISK_PATH,	/* absolute path */
	VDISK_NAME,	/* [A-Za-z0-9._-]{1,VDISK_NAME_MAX} */
	VDISK_SECTORS,	/* decimal count of 512-byte sectors, min..max */
	VDISK_TIME,	/* decimal with us, ms or s; kept in us, min..max */
	VDISK_HEX,	/* hex digits, dashes ignored; exactly max bytes */
	VDISK_CHOICE,	/* one of help's words, parted by '|' */
	VDISK_FLAG,	/* bare word */
	VDISK_KEY,	/* :<bytes>:<type>:<description> of a key in a keyring */
	VDISK_NUMBER,	/* decimal, min..max */
	VDISK_LATENCY,	/* <time>[/<time>@<percentile>...], each time min..max us */
	VDISK_PATIENCE,	/* wait, fail or a time; kept in us, wait as ~0, fail as 0 */
};

/**
 * struct vdisk_arg - one word or option of a node type
 * @name: the key; for a positional word, what messages call it
 * @kind: what its value may be
 * @positional: stands right behind the type, without its name
 * @min: smallest value, in the kind's unit
 * @max: largest value, in the kind's unit (VDISK_HEX: bytes)
 * @help: one line for the documentation (VDISK_CHOICE: the choices)
 */
struct vdisk_arg {
	const char *name;
	enum vdisk_kind kind;
	bool positional;
	__u64 min;
	__u64 max;
	const char *help;
};

/**
 * struct vdisk_type - a node type as far as the grammar is concerned
 * @name: the word that begins a node
 * @args: positional words first, then options in the order TABLE prints them
 * @nr_args: how many
 * @min_children: fewest children
 * @max_children: most children
 * @help: one line for the documentation
 */
struct vdisk_type {
	const char *name;
	const struct vdisk_arg *args;
	unsigned int nr_args;
	unsigned int min_children;
	unsigned int max_children;
	const char *help;
};

enum vdisk_type_id {
	VDISK_TYPE_BLOCK,
	VDISK_TYPE_NVME,
	VDISK_TYPE_FILE,
	VDISK_TYPE_VHD1,
	VDISK_TYPE_RAM,
	VDISK_TYPE_ZERO,
	VDISK_TYPE_BLOB,
	VDISK_TYPE_STRIPED,
	VDISK_TYPE_CONCAT,
	VDISK_TYPE_CRYPT,
	VDISK_TYPE_DELAY,
	VDISK_TYPE_OVERLAY,
	VDISK_TYPE_CACHE,
	VDISK_TYPE_PR,
#ifdef CONFIG_DM_VDISK_TEST
	VDISK_TYPE_TEST,
#endif
	VDISK_NR_TYPES
};

/* Indices into a node's values, in the order of its type's table. */
enum { BLOCK_DEVICE, BLOCK_START, BLOCK_LEN, NVME_NGUID, NVME_EUI };
enum {
	FILE_PATH, FILE_RO, FILE_BUFFERED, FILE_START, FILE_LEN, FILE_SHARED,
	FILE_BLOCK
};

enum { RAM_NAME, RAM_MAX };
enum { BLOB_NAME, BLOB_LEN, BLOB_UID, BLOB_ON_LOSS, BLOB_HELPER_TIMEOUT };
enum { STRIPED_CHUNK };
enum {
	CRYPT_CIPHER, CRYPT_KEY, CRYPT_IV_OFFSET, CRYPT_SECTOR_SIZE,
	CRYPT_IV_LARGE, CRYPT_ALLOW_DISCARDS
};

enum { DELAY_READ, DELAY_WRITE, DELAY_FLUSH, DELAY_DISCARD, DELAY_SEED };
enum {
	OVERLAY_VOLATILE, OVERLAY_UNIT, OVERLAY_LINEAGE,	/* and of a cache */
	OVERLAY_FILL, OVERLAY_AHEAD,
	OVERLAY_COPY, CACHE_THROUGH = OVERLAY_COPY,
	OVERLAY_MERGE
};

enum { PR_DOMAIN, PR_NEXUS };
enum { TEST_MODE, TEST_PERIOD, TEST_PIECE, TEST_UP };

extern const struct vdisk_type vdisk_types[VDISK_NR_TYPES];

bool vdisk_is_name(const char *word);	/* vdisk-grammar.c */

#endif /* VDISK_TYPES_H */
