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

static const struct vdisk_arg ram_args[] = {
	[RAM_NAME] = { "name", VDISK_NAME,
		.help = "outlives its tables and is found again by this name" },
	[RAM_MAX] = { "max", VDISK_SECTORS, .min = 8, .max = MAX_SECTORS,
		.help = "sectors of memory it may take (default: no limit)" },
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
	[VDISK_TYPE_RAM] = { "ram", ARGS(ram_args),
		.help = "memory, taken as it is written" },
	[VDISK_TYPE_ZERO] = { "zero",
		.help = "reads zeroes, drops writes" },
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
#ifdef CONFIG_DM_VDISK_TEST
	[VDISK_TYPE_TEST] = { "test", ARGS(test_args),
		.min_children = 1, .max_children = 1,
		.help = "what the engine's tests need; in test builds only" },
#endif
};
