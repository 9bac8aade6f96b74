// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tries every operation on disks under a reservation, and says which did not end as the type and the role demand.
 * What they demand is written here once more, for the table in the kernel to be compared with.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BLOCK	4096

/* By type: holder, registrant, stranger */
static const char *const demands[7][3] = {
	{ "rw", "rw", "rw" },
	{ "rw", "r-", "r-" },
	{ "rw", "--", "--" },
	{ "rw", "rw", "r-" },
	{ "rw", "rw", "--" },
	{ "rw", "??", "r-" },
	{ "rw", "??", "--" },
};

static const struct { const char *name; int right; } ops[] = {
	{ "read", 0 }, { "write", 1 }, { "discard", 1 }, { "write-zeroes", 1 }, { "flush", 1 },
};

static int attempt(int fd, int op, void *buf)
{
	unsigned long long range[2] = { 1 << 20, 1 << 16 };

	switch (op) {
	case 0: return pread(fd, buf, BLOCK, 0) == BLOCK ? 0 : errno;
	case 1: return pwrite(fd, buf, BLOCK, BLOCK) == BLOCK ? 0 : errno;
	case 2: return ioctl(fd, BLKDISCARD, range) ? errno : 0;
	case 3: return ioctl(fd, BLKZEROOUT, range) ? errno : 0;
	default: return fdatasync(fd) ? errno : 0;
	}
}

int main(int argc, char **argv)
{
	static const char roles[] = "hrs";
	unsigned int type = argc > 1 ? atoi(argv[1]) : 7, op;
	int i, bad = 0;
	void *buf;

	if (argc < 4 || argc % 2 || type > 6 || posix_memalign(&buf, BLOCK, BLOCK)) {
		fprintf(stderr, "Usage: prcheck TYPE {h|r|s DEVICE}...\n");
		return 2;
	}
	memset(buf, 0x5a, BLOCK);
	for (i = 2; i < argc; i += 2) {
		const char *role = strchr(roles, argv[i][0]);
		int fd = open(argv[i + 1], O_RDWR | O_DIRECT);

		if (!role || fd < 0) {
			fprintf(stderr, "%s: %s\n", argv[i + 1], strerror(errno));
			return 2;
		}
		for (op = 0; op < sizeof(ops) / sizeof(ops[0]); op++) {
			int want = demands[type][role - roles][ops[op].right] == '-' ? EBADE : 0;
			int got = attempt(fd, op, buf);

			if (got == want)
				continue;
			printf("%s (%s): %s: %s\n", argv[i + 1], argv[i], ops[op].name, got ? strerrorname_np(got) : "ok");
			bad = 1;
		}
		close(fd);
	}
	if (!bad)
		puts("ok");
	return bad;
}
