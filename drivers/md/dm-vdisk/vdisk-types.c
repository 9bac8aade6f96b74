// SPDX-License-Identifier: GPL-2.0-only
/*
 * The words and options of every node type.
 */
#include "vdisk-types.h"

#define ARGS(a)		.args = (a), .nr_args = sizeof(a) / sizeof((a)[0])

/* The longest disk: dm-table.c:dm_table_add_target() allows no more bytes. */
#define MAX_SECTORS	(0x7fffffffffffffffULL >> 9)

#define BLOCK_ARGS							\
	[BLOCK_DEVICE] = { "device", VDISK_DEVICE, .positional = true,	\
		.help = "the device" },					\
	[BLOCK_START] = { "start", VDISK_SECTORS, .max = MAX_SECTORS,	\
		.help = "first sector used (default 0)" },		\
	[BLOCK_LEN] = { "len", VDISK_SECTORS, .min = 1, .max = MAX_SECTORS, \
		.help = "sectors used (default: to the end)" }

static const struct vdisk_arg block_args[] = { BLOCK_ARGS };

static const struct vdisk_arg nvme_args[] = {
	BLOCK_ARGS,
	[NVME_NGUID] = { "nguid", VDISK_HEX, .max = 16,
		.help = "refuse a namespace with another NGUID, or none" },
	[NVME_EUI] = { "eui", VDISK_HEX, .max = 8,
		.help = "refuse a namespace with another EUI-64, or none" },
};

/* vhd1 has these too, at the same indices. */
#define FILE_ARGS							\
	[FILE_PATH] = { "path", VDISK_PATH, .positional = true,		\
		.help = "the file" },					\
	[FILE_RO] = { "ro", VDISK_FLAG,					\
		.help = "do not write it; the table is read-only, too" },\
	[FILE_BUFFERED] = { "buffered", VDISK_FLAG,			\
		.help = "through the page cache, not past it" }

static const struct vdisk_arg file_args[] = {
	FILE_ARGS,
	[FILE_START] = { "start", VDISK_SECTORS, .max = MAX_SECTORS,
		.help = "first sector used (default 0)" },
	[FILE_LEN] = { "len", VDISK_SECTORS, .min = 1, .max = MAX_SECTORS,
		.help = "sectors used (default: to the end)" },
	[FILE_SHARED] = { "shared", VDISK_FLAG,
		.help = "others that share it too may have it as well" },
	[FILE_BLOCK] = { "block", VDISK_CHOICE,
		.help = "512" },
};

static const struct vdisk_arg vhd1_args[] = { FILE_ARGS };

static const struct vdisk_arg ram_args[] = {
	[RAM_NAME] = { "name", VDISK_NAME,
		.help = "outlives its tables and is found again by this name" },
	[RAM_MAX] = { "max", VDISK_SECTORS, .min = 8, .max = MAX_SECTORS,
		.help = "sectors of memory it may take (default: no limit)" },
};

static const struct vdisk_arg blob_args[] = {
	[BLOB_NAME] = { "name", VDISK_NAME, .positional = true,
		.help = "what its helper attaches to" },
	[BLOB_LEN] = { "len", VDISK_SECTORS, .min = 1, .max = MAX_SECTORS,
		.help = "sectors it has (required)" },
	[BLOB_UID] = { "uid", VDISK_NUMBER, .max = 0xfffffffeU,
		.help = "user who may supply it (default 0)" },
	[BLOB_ON_LOSS] = { "on_loss", VDISK_PATIENCE, .min = 1,
		.max = 3600000000ULL,
		.help = "how long reads wait without a helper (default wait)" },
	[BLOB_HELPER_TIMEOUT] = { "helper_timeout", VDISK_TIME, .min = 10000,
		.max = 3600000000ULL,
		.help = "a helper silent for so long is lost (default 30 s)" },
};

static const struct vdisk_arg striped_args[] = {
	[STRIPED_CHUNK] = { "chunk", VDISK_SECTORS, .min = 1,
		.max = 0x7fffffffU >> 9,
		.help = "sectors per chunk, a multiple of the block size (required)" },
};

static const struct vdisk_arg crypt_args[] = {
	[CRYPT_CIPHER] = { "cipher", VDISK_CHOICE,
		.help = "aes-xts-plain64" },
	[CRYPT_KEY] = { "key", VDISK_KEY,
		.help = "a key of 32 or 64 bytes (required)" },
	[CRYPT_IV_OFFSET] = { "iv_offset", VDISK_SECTORS, .max = MAX_SECTORS,
		.help = "added to the sector that the IV is made of (default 0)" },
	[CRYPT_SECTOR_SIZE] = { "sector_size", VDISK_CHOICE,
		.help = "512|1024|2048|4096" },
	[CRYPT_IV_LARGE] = { "iv_large_sectors", VDISK_FLAG,
		.help = "the IV counts in sector_size, not in 512 bytes" },
	[CRYPT_ALLOW_DISCARDS] = { "allow_discards", VDISK_FLAG,
		.help = "pass discards, which shows what is unused" },
};

#define LATENCY(n, what)						\
	{ (n), VDISK_LATENCY, .max = 3600000000ULL, .help = (what) }

static const struct vdisk_arg delay_args[] = {
	[DELAY_READ] = LATENCY("read", "of reads"),
	[DELAY_WRITE] = LATENCY("write", "of writes"),
	[DELAY_FLUSH] = LATENCY("flush", "of empty flushes"),
	[DELAY_DISCARD] = LATENCY("discard",
		"of discards, secure erases and write zeroes"),
	[DELAY_SEED] = { "seed", VDISK_NUMBER, .max = ~0ULL,
		.help = "what the random numbers begin with (default 0)" },
};

#define OVERLAY_ARGS(lost)						\
	[OVERLAY_VOLATILE] = { "volatile", VDISK_FLAG, .help = (lost) }, \
	[OVERLAY_UNIT] = { "unit", VDISK_CHOICE,			\
		.help = "512|4096" },					\
	[OVERLAY_LINEAGE] = { "lineage", VDISK_NAME,			\
		.help = "refuse a store that was formatted with another word, or none" }, \
	[OVERLAY_FILL] = { "fill", VDISK_SECTORS, .min = 1, .max = 2048, \
		.help = "sectors read from the base at a time (default 128)" }, \
	[OVERLAY_AHEAD] = { "read_ahead", VDISK_SECTORS, .max = 1 << 20, \
		.help = "sectors read ahead of a sequential reader (default 2048)" }

static const struct vdisk_arg overlay_args[] = {
	OVERLAY_ARGS("what is written is lost with the disk"),
	[OVERLAY_COPY] = { "copy_on_read", VDISK_FLAG,
		.help = "keep in the store what is read from the base" },
	[OVERLAY_MERGE] = { "merge", VDISK_FLAG,
		.help = "the base may be written: by the message merge" },
};

static const struct vdisk_arg cache_args[] = {
	OVERLAY_ARGS("what is kept is lost with the disk"),
	[CACHE_THROUGH] = { "write_through", VDISK_FLAG,
		.help = "take writes, and send them to the base first" },
};

static const struct vdisk_arg pr_args[] = {
	[PR_DOMAIN] = { "domain", VDISK_NAME,
		.help = "disks that name it share reservations (required)" },
	[PR_NEXUS] = { "nexus", VDISK_NAME,
		.help = "who uses this disk, of those of the domain (required)" },
};

#ifdef CONFIG_DM_VDISK_TEST
static const struct vdisk_arg test_args[] = {
	[TEST_MODE] = { "mode", VDISK_CHOICE,
		.help = "pass|work|timer|hold|read|fail" },
	[TEST_PERIOD] = { "period", VDISK_TIME, .min = 1, .max = 10000000,
		.help = "how long mode:timer keeps a bio" },
	[TEST_PIECE] = { "piece", VDISK_SECTORS, .min = 1, .max = 1 << 20,
		.help = "split bios into pieces of this size after map()" },
	[TEST_UP] = { "up", VDISK_FLAG,
		.help = "defer completions to a worker" },
};
#endif

const struct vdisk_type vdisk_types[VDISK_NR_TYPES] = {
	[VDISK_TYPE_BLOCK] = { "block", ARGS(block_args),
		.help = "a block device" },
	[VDISK_TYPE_NVME] = { "nvme", ARGS(nvme_args),
		.help = "an NVMe namespace, pinned by its identity" },
	[VDISK_TYPE_FILE] = { "file", ARGS(file_args),
		.help = "a file" },
	[VDISK_TYPE_VHD1] = { "vhd1", ARGS(vhd1_args),
		.help = "the disk in a fixed VHD image" },
	[VDISK_TYPE_RAM] = { "ram", ARGS(ram_args),
		.help = "memory, taken as it is written" },
	[VDISK_TYPE_ZERO] = { "zero",
		.help = "reads zeroes, drops writes" },
	[VDISK_TYPE_BLOB] = { "blob", ARGS(blob_args),
		.help = "bytes that a process supplies on demand, only read" },
	[VDISK_TYPE_STRIPED] = { "striped", ARGS(striped_args),
		.min_children = 1, .max_children = VDISK_MAX_CHILDREN,
		.help = "chunks dealt out in turn, laid out as by dm-stripe" },
	[VDISK_TYPE_CONCAT] = { "concat",
		.min_children = 1, .max_children = VDISK_MAX_CHILDREN,
		.help = "one after the other" },
	[VDISK_TYPE_CRYPT] = { "crypt", ARGS(crypt_args),
		.min_children = 1, .max_children = 1,
		.help = "aes-xts-plain64, the bytes of dm-crypt" },
	[VDISK_TYPE_DELAY] = { "delay", ARGS(delay_args),
		.min_children = 1, .max_children = 1,
		.help = "latency, fixed or by percentiles" },
	[VDISK_TYPE_OVERLAY] = { "overlay", ARGS(overlay_args),
		.min_children = 2, .max_children = 2,
		.help = "a store, and below it a base that is only read" },
	[VDISK_TYPE_CACHE] = { "cache", ARGS(cache_args),
		.min_children = 2, .max_children = 2,
		.help = "a store that keeps what is read from the base below it" },
	[VDISK_TYPE_PR] = { "pr", ARGS(pr_args),
		.min_children = 1, .max_children = 2,
		.help = "persistent reservations; 2nd child: keeps them" },
#ifdef CONFIG_DM_VDISK_TEST
	[VDISK_TYPE_TEST] = { "test", ARGS(test_args),
		.min_children = 1, .max_children = 1,
		.help = "what the engine's tests need; in test builds only" },
#endif
};
