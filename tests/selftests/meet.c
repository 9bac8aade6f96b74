// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two writers that meet in the same 4096 bytes: one writes sector 0 over and
 * over, the other all of them, or makes them zero, or writes sector 1. What they
 * both write may be of either; the rest has to be what the other one has
 * written last. Usage: meet DEVICE DEVICE block|zero|sector ROUNDS
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SECTOR	512
#define BLOCK	4096

static atomic_bool stop;

static int open_device(const char *path)
{
	int fd = open(path, O_RDWR | O_DIRECT);

	if (fd < 0) {
		perror(path);
		exit(2);
	}
	return fd;
}

static void check(const char *what, bool good)
{
	if (good)
		return;
	perror(what);
	exit(2);
}

static void *meet(void *arg)
{
	int fd = open_device(arg);
	unsigned char *data = aligned_alloc(BLOCK, BLOCK);

	memset(data, 0xff, BLOCK);
	while (!stop)
		check("sector 0", pwrite(fd, data, SECTOR, 0) == SECTOR);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned char *data = aligned_alloc(BLOCK, BLOCK);
	unsigned char *seen = aligned_alloc(BLOCK, BLOCK);
	unsigned int round, i, first = SECTOR, last = BLOCK;
	pthread_t thread;
	int fd;

	if (argc != 5) {
		fputs("Usage: meet DEVICE DEVICE block|zero|sector ROUNDS\n", stderr);
		return 3;
	}
	fd = open_device(argv[2]);
	if (!strcmp(argv[3], "sector"))
		last = 2 * SECTOR;
	pthread_create(&thread, NULL, meet, argv[1]);
	for (round = 1; round <= (unsigned int)atoi(argv[4]); round++) {
		uint64_t range[] = { 0, BLOCK };
		unsigned char value = round % 200 + 1;

		memset(data, value, BLOCK);
		if (last == BLOCK)
			check("block", pwrite(fd, data, BLOCK, 0) == BLOCK);
		else
			check("sector 1", pwrite(fd, data + SECTOR, SECTOR, SECTOR) == SECTOR);
		if (!strcmp(argv[3], "zero")) {
			value = 0;
			check("zero", !ioctl(fd, BLKZEROOUT, range));
		}
		check("read", pread(fd, seen, BLOCK, 0) == BLOCK);
		for (i = first; i < last; i++) {
			if (seen[i] == value)
				continue;
			printf("round %u: byte %u is %u, not %u\n", round, i, seen[i], value);
			return 1;
		}
	}
	stop = true;
	pthread_join(thread, NULL);
	return 0;
}
