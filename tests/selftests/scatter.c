// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writes single blocks all over a disk, each into a leaf of presence of its own as
 * long as there are some, from several threads.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define THREADS	4
#define LEAF	1984	/* units, see dm-vdisk-format.rst */
#define PRIME	15485863ULL

static unsigned int block;
static uint64_t nr, leaves;
static int fd;

static void die(const char *what)
{
	fprintf(stderr, "scatter: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* The prime and the number of leaves have no common divisor: no leaf comes twice before all have come. */
static uint64_t place(uint64_t i)
{
	return i * PRIME % leaves * LEAF + i % LEAF;
}

static void *run(void *arg)
{
	uint64_t i;
	void *buf;

	if (posix_memalign(&buf, 4096, block))
		die("memory");
	memset(buf, 's', block);
	for (i = (uintptr_t)arg; i < nr; i += THREADS)
		if (pwrite(fd, buf, block, place(i) * block) != (ssize_t)block)
			die("write");
	free(buf);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread[THREADS];
	uint64_t bytes;
	uintptr_t i;

	if (argc != 3) {
		fputs("Usage: scatter DEVICE WRITES\n", stderr);
		return 2;
	}
	nr = strtoull(argv[2], NULL, 0);
	fd = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0 || ioctl(fd, BLKSSZGET, &block) || ioctl(fd, BLKGETSIZE64, &bytes))
		die(argv[1]);
	leaves = bytes / block / LEAF;
	errno = EINVAL;
	if (!leaves || leaves % PRIME == 0)
		die("its length");
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&thread[i], NULL, run, (void *)i))
			die("thread");
	for (i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	return 0;
}
