// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measures each of many operations on a block device: one after the other, or
 * all at once. Time begins before an operation is submitted and ends after its
 * completion was seen, so a latency is never shown shorter than it was.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "must.h"

#define BATCH	256

enum { READ, WRITE, FLUSH, DISCARD, ZEROES, SLEEP };

static unsigned long n = 1, failed, inversions;
static unsigned int size = 512;
static uint64_t bytes, *latency;
static int op, fd, error;
static void *buf;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static uint64_t offset(unsigned long i) { return i * size % (bytes / size * size); }

static void note(unsigned long i, uint64_t start, int err)
{
	latency[i] = now() - start;
	if (err) {
		failed++;
		error = err;
	}
}

static bool sync_op(unsigned long i)
{
	uint64_t range[2] = { offset(i), size };

	switch (op) {
	case READ: return pread(fd, buf, size, range[0]) == (ssize_t)size;
	case WRITE: return pwrite(fd, buf, size, range[0]) == (ssize_t)size;
	case FLUSH: return !fsync(fd);
	case DISCARD: return !ioctl(fd, BLKDISCARD, range);
	case ZEROES: return !ioctl(fd, BLKZEROOUT, range);
	default: return !nanosleep(&(struct timespec){ .tv_nsec = size * 1000L }, NULL);
	}
}

static void one_by_one(void)
{
	unsigned long i;

	for (i = 0; i < n; i++) {
		uint64_t start = now();

		note(i, start, sync_op(i) ? 0 : errno);
	}
}

static void reap(aio_context_t ctx, const uint64_t *start, unsigned long left, long min)
{
	struct io_event events[BATCH];
	static unsigned long last;
	long i, got;

	while (left) {
		got = syscall(SYS_io_getevents, ctx, min, BATCH, events, NULL);
		if (got < 0)
			die("io_getevents");
		for (i = 0; i < got; i++) {
			unsigned long nr = events[i].data;

			if (nr < last)
				inversions++;
			last = nr;
			note(nr, start[nr], events[i].res == (long)size ? 0 : events[i].res < 0 ? -events[i].res : EIO);
		}
		left -= got;
	}
}

static void all_at_once(void)
{
	struct iocb *iocbs = calloc(n, sizeof(*iocbs)), *batch[BATCH];
	uint64_t *start = calloc(n, sizeof(*start));
	unsigned long i, j, nr;
	aio_context_t ctx = 0;
	long done;

	if (!iocbs || !start || syscall(SYS_io_setup, n, &ctx))
		die("io_setup");
	for (i = 0; i < n; i += done) {
		nr = n - i < BATCH ? n - i : BATCH;
		for (j = 0; j < nr; j++) {
			iocbs[i + j] = (struct iocb){
				.aio_data = i + j, .aio_fildes = fd, .aio_buf = (uintptr_t)buf, .aio_nbytes = size,
				.aio_offset = offset(i + j),
				.aio_lio_opcode = op == WRITE ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
			};
			batch[j] = &iocbs[i + j];
			start[i + j] = now();
		}
		done = syscall(SYS_io_submit, ctx, nr, batch);
		if (done <= 0)
			die("io_submit");
	}
	printf("submitted\n");
	fflush(stdout);
	reap(ctx, start, n, 1);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int main(int argc, char **argv)
{
	static const char *const ops[] = { "read", "write", "flush", "discard", "zeroes", "sleep" };
	const char *list = NULL;
	bool all = false;
	unsigned long i;
	FILE *f;
	int c;

	while ((c = getopt(argc, argv, "n:b:o:a")) != -1) {
		switch (c) {
		case 'n': n = strtoul(optarg, NULL, 0); break;
		case 'b': size = strtoul(optarg, NULL, 0); break;
		case 'o': list = optarg; break;
		case 'a': all = true; break;
		default: optind = argc;
		}
	}
	for (op = READ; optind + 2 == argc && op <= SLEEP && strcmp(argv[optind], ops[op]); op++)
		;
	if (optind + 2 != argc || op > SLEEP || !n || !size || (all && op > WRITE)) {
		fputs("Usage: delayio [-n COUNT] [-b BYTES] [-a] [-o FILE] read|write|flush|discard|zeroes|sleep DEVICE\n"
		      "  -a  all at once (read, write); says \"submitted\" when they are\n"
		      "  -o  the latencies, in ns, in the order of submission\n"
	      "sleep does nothing for BYTES us, to see what the machine makes of that.\n"
		      "Prints us, failures, and how often a later one was completed before an earlier one. Exit status: 1 if some fail.\n",
		      stderr);
		return 3;
	}
	fd = open(argv[optind + 1], O_RDWR | O_DIRECT);
	latency = calloc(n, sizeof(*latency));
	if (fd < 0 || !latency || ioctl(fd, BLKGETSIZE64, &bytes) || posix_memalign(&buf, 4096, size))
		die(argv[optind + 1]);
	memset(buf, 0x5a, size);
	prctl(PR_SET_TIMERSLACK, 1);
	if (all)
		all_at_once();
	else
		one_by_one();
	if (list) {
		f = fopen(list, "w");
		for (i = 0; f && i < n; i++)
			fprintf(f, "%llu\n", (unsigned long long)latency[i]);
		if (!f || fclose(f))
			die(list);
	}
	qsort(latency, n, sizeof(*latency), compare);
	printf("min=%llu median=%llu max=%llu failed=%lu inversions=%lu error=%s\n", (unsigned long long)latency[0] / 1000,
	       (unsigned long long)latency[n / 2] / 1000, (unsigned long long)latency[n - 1] / 1000, failed, inversions,
	       error ? strerrorname_np(error) : "none");
	return failed != 0;
}
