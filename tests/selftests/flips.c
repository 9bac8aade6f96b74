// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damages stores, byte by byte. A disk has many slices, each a store of its own.
 * `copy` gives all of them the data of the first one, as far as it is looked at.
 * `set` writes the same metadata to them, but for one byte of each. `look` reads
 * a device that is made of an overlay over each of them, one behind another, and
 * says what it gives that is neither right nor an error that it should give.
 *
 * A byte is given by its offset in the store, and the bits that are flipped. In
 * the two superblocks it changes nothing that is read. In a sector of presence
 * the units of that sector fail, and all others are right; with --base, which is
 * for a cache with write_through, they are right as well.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "../../drivers/md/dm-vdisk/vdisk-store.h"
#include "must.h"

#define SECTOR		512U
#define META		12288U	/* of superblocks and presence */
#define PRESENCE	8192U
#define DATA		1048576U
#define LEAVES		((META - PRESENCE) / SECTOR)
#define LEAF		((uint64_t)VDISK_STORE_LEAF_UNITS * SECTOR)
#define DISK		(LEAVES * LEAF)
#define HEAD		(48 * SECTOR)	/* of a leaf is read, */
#define TAIL		(8 * SECTOR)	/* and of its end */

/* All of a file, or that much of it */
static void *contents(const char *path, size_t len)
{
	int fd = open(path, O_RDONLY);
	char *buf = aligned(len);

	must(fd >= 0 && read(fd, buf, len) == (ssize_t)len, path);
	close(fd);
	return buf;
}

static bool next_flip(unsigned int *at, unsigned int *bits)
{
	return scanf("%u:%u", at, bits) == 2;
}

static int set(const char *disk, uint64_t slice, const char *good)
{
	int fd = open(disk, O_WRONLY | O_DIRECT);
	unsigned int at, bits, i;
	uint8_t *meta = contents(good, META);

	must(fd >= 0, disk);
	for (i = 0; next_flip(&at, &bits); i++) {
		meta[at] ^= bits;
		must(pwrite(fd, meta, META, i * slice) == META, disk);
		meta[at] ^= bits;
	}
	return fsync(fd) ? 2 : 0;
}

static int copy(const char *disk, uint64_t slice, unsigned int nr)
{
	int fd = open(disk, O_RDWR | O_DIRECT);
	uint8_t *head = aligned(HEAD), *tail = aligned(TAIL);
	unsigned int leaf, i;

	must(fd >= 0, disk);
	for (leaf = 0; leaf < LEAVES; leaf++) {
		off_t at = DATA + leaf * LEAF, end = at + LEAF - TAIL;

		must(pread(fd, head, HEAD, at) == HEAD && pread(fd, tail, TAIL, end) == TAIL, disk);
		for (i = 1; i < nr; i++)
			must(pwrite(fd, head, HEAD, i * slice + at) == HEAD &&
			     pwrite(fd, tail, TAIL, i * slice + end) == TAIL, disk);
	}
	return fsync(fd) ? 2 : 0;
}

static unsigned int nr_bad;

static void bad(unsigned int at, unsigned int bits, unsigned int leaf, const char *what, const char *how)
{
	if (nr_bad++ < 10)
		printf("byte %u, bits %x, leaf %u: %s%s\n", at, bits, leaf, what, how);
}

/* One part of a leaf: right, or an error. */
static void look_part(int fd, unsigned int i, unsigned int at, unsigned int bits, uint64_t from, unsigned int len,
		      const uint8_t *right, uint8_t *buf, bool damaged)
{
	ssize_t n = pread(fd, buf, len, i * DISK + from);
	unsigned int leaf = from / LEAF;

	if (damaged && n < 0 && errno == ENODATA)
		return;
	if (n < 0)
		bad(at, bits, leaf, "a read fails: ", strerror(errno));
	else if (n != (ssize_t)len || memcmp(buf, right + from, len))
		bad(at, bits, leaf, "a read gives something else", "");
	else if (damaged)
		bad(at, bits, leaf, "a read does not fail", "");
}

static int look(const char *device, const char *right_path, bool base)
{
	int fd = open(device, O_RDWR | O_DIRECT);
	uint8_t *right = contents(right_path, DISK), *buf = aligned(HEAD);
	unsigned int at, bits, i, leaf;

	must(fd >= 0, device);
	for (i = 0; next_flip(&at, &bits); i++) {
		for (leaf = 0; leaf < LEAVES; leaf++) {
			bool damaged = !base && at >= PRESENCE + leaf * SECTOR && at < PRESENCE + (leaf + 1) * SECTOR;
			uint64_t from = leaf * LEAF;

			look_part(fd, i, at, bits, from, HEAD, right, buf, damaged);
			look_part(fd, i, at, bits, from + LEAF - TAIL, TAIL, right, buf, damaged);
			/* A write could not tell what else is there. */
			if (damaged && (pwrite(fd, buf, SECTOR, i * DISK + from) >= 0 || errno != ENODATA))
				bad(at, bits, leaf, "a write does not fail as it should", "");
		}
	}
	printf("%u flips\n", i);
	return nr_bad != 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "set"))
		return set(argv[2], strtoull(argv[3], NULL, 0) * SECTOR, argv[4]);
	if (argc == 5 && !strcmp(argv[1], "copy"))
		return copy(argv[2], strtoull(argv[3], NULL, 0) * SECTOR, atoi(argv[4]));
	if ((argc == 4 || (argc == 5 && !strcmp(argv[4], "--base"))) && !strcmp(argv[1], "look"))
		return look(argv[2], argv[3], argc == 5);
	fputs("Usage: flips copy DISK SECTORS_OF_A_SLICE SLICES\n"
	      "       flips set DISK SECTORS_OF_A_SLICE METADATA <FLIPS\n"
	      "       flips look DEVICE CONTENTS [--base] <FLIPS\n"
	      "FLIPS is OFFSET:BITS, one a line.\n", stderr);
	return 2;
}
