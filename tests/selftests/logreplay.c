// SPDX-License-Identifier: GPL-2.0-only
/*
 * Replays what dm-log-writes wrote down (drivers/md/dm-log-writes.c has the
 * format), so that a device becomes what a power cut at some point could have
 * left.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MAGIC	0x6a736677736872ULL
enum { FLUSH = 1, FUA = 2, DISCARD = 4, MARK = 8 };

struct super {
	uint64_t magic, version, nr_entries;
	uint32_t sector_size;
} __attribute__((packed));

struct entry {
	uint64_t sector, nr_sectors, flags, data_len;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void read_at(int fd, void *buf, size_t len, uint64_t at)
{
	if (pread(fd, buf, len, at) != (ssize_t)len)
		die("log: read");
}

static void replay(int log, int to, const struct entry *e, uint64_t at, uint32_t sector_size)
{
	uint64_t len = e->nr_sectors * sector_size, range[2] = { e->sector * sector_size, len };
	char *buf;

	if (!len)
		return;
	if (e->flags & DISCARD) {
		/* As good as anything, and what a memory does. */
		if (ioctl(to, BLKZEROOUT, range))
			die("zeroout");
		return;
	}
	buf = malloc(len);
	if (!buf)
		die("memory");
	read_at(log, buf, len, at);
	if (pwrite(to, buf, len, range[0]) != (ssize_t)len)
		die("write");
	free(buf);
}

int main(int argc, char **argv)
{
	uint64_t from, next, until = UINT64_MAX, i, at;
	const char *mark = NULL;
	struct super super;
	bool flush = false, done;
	int log, to;

	if (argc != 5 || !strchr("@#+", argv[4][0])) {
		fputs("Usage: logreplay LOG DEVICE FROM @MARK|#ENTRIES|+\n"
		      "Writes entries of the log, FROM (0 is the first) up to a mark or a number, or behind the next one that\n"
		      "flushes or has FUA, to the device. Prints the number of the next entry, and how many of those written flush;\n"
		      "and on further lines the marks that it came by. With +, also those up to the flush that follows: power may be\n"
		      "cut as late as before that.\n", stderr);
		return 2;
	}
	from = next = strtoull(argv[3], NULL, 0);
	if (argv[4][0] == '@')
		mark = argv[4] + 1;
	else if (argv[4][0] == '+')
		flush = true;
	else
		until = strtoull(argv[4] + 1, NULL, 0);
	log = open(argv[1], O_RDONLY);
	to = open(argv[2], O_WRONLY);
	if (log < 0 || to < 0)
		die("open");
	read_at(log, &super, sizeof(super), 0);
	if (le64toh(super.magic) != MAGIC || le64toh(super.version) != 1) {
		fputs("logreplay: no log\n", stderr);
		return 1;
	}

	at = super.sector_size = le32toh(super.sector_size);
	uint64_t flushes = 0;
	size_t marks_len;
	char *marks;
	FILE *names = open_memstream(&marks, &marks_len);
	bool found = false;
	if (!names)
		die("memory");
	for (i = 0; i < le64toh(super.nr_entries) && i < until && !found; i++) {
		char name[256] = "";
		struct entry e;

		read_at(log, &e, sizeof(e), at);
		e = (struct entry){ le64toh(e.sector), le64toh(e.nr_sectors), le64toh(e.flags), le64toh(e.data_len) };
		if (e.flags & MARK)
			read_at(log, name, e.data_len < 255 ? e.data_len : 255, at + sizeof(e));
		at += super.sector_size;
		done = flush && flushes;
		if (done && e.flags & (FLUSH | FUA))
			break;
		if (i >= from && !done) {
			replay(log, to, &e, at, super.sector_size);
			flushes += (e.flags & (FLUSH | FUA)) != 0;
			next = i + 1;
		}
		/* With +, those up to the flush were told of the one before. */
		if (i >= from && e.flags & MARK && (!flush || done || !from))
			fprintf(names, "%s\n", name);
		if (!(e.flags & DISCARD))
			at += e.nr_sectors * super.sector_size;
		found = mark && (e.flags & MARK) && !strcmp(name, mark);
	}
	fclose(names);
	if (mark && !found) {
		fprintf(stderr, "logreplay: no mark '%s' in %llu entries\n", mark, (unsigned long long)i);
		return 1;
	}
	printf("%llu %llu\n%s", (unsigned long long)next, (unsigned long long)flushes, marks);
	return fsync(to) ? 1 : 0;
}
