// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes what a disk may have after a loss of power out of the log of dm-log-writes: the beginning, and then, for each
 * write, the disk with half of its sectors, and with all of them. Prints the number of writes.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC	0x6a736677736872ULL

struct super { uint64_t magic, version, nr_entries; uint32_t sectorsize; };
struct entry { uint64_t sector, nr_sectors, flags, data_len; };

static unsigned char disk[65536];

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void save(const char *path, unsigned int i)
{
	char name[4096];
	int fd;

	snprintf(name, sizeof(name), "%s.%u", path, i);
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, disk, sizeof(disk)) != sizeof(disk) || close(fd))
		die(name);
}

int main(int argc, char **argv)
{
	unsigned char block[4096], data[65536];
	struct super super;
	struct entry entry;
	uint64_t i, writes = 0;
	off_t at;
	int fd;

	fd = argc == 4 ? open(argv[2], O_RDONLY) : -1;
	if (fd < 0 || read(fd, disk, sizeof(disk)) != sizeof(disk)) {
		fprintf(stderr, "Usage: logwrites LOG BEGINNING OUTPUT\n");
		return 2;
	}
	close(fd);
	save(argv[3], 0);
	fd = open(argv[1], O_RDONLY);
	if (fd < 0 || pread(fd, block, sizeof(block), 0) != sizeof(block))
		die(argv[1]);
	memcpy(&super, block, sizeof(super));
	if (super.magic != MAGIC || super.sectorsize > sizeof(block))
		die("no log");
	at = super.sectorsize;
	for (i = 0; i < super.nr_entries; i++) {
		uint64_t bytes, to;

		if (pread(fd, block, super.sectorsize, at) != (ssize_t)super.sectorsize)
			die("log");
		at += super.sectorsize;
		memcpy(&entry, block, sizeof(entry));
		/* In sectors of the log's device, as is the number below */
		bytes = entry.nr_sectors * super.sectorsize;
		to = entry.sector * super.sectorsize;
		if (!bytes || (entry.flags & 12))	/* marks and discards have no data */
			continue;
		if (to + bytes > sizeof(disk) || pread(fd, data, bytes, at) != (ssize_t)bytes)
			die("entry");
		at += bytes;
		memcpy(disk + to, data, bytes / 2);
		save(argv[3], ++writes * 2 - 1);
		memcpy(disk + to, data, bytes);
		save(argv[3], writes * 2);
	}
	printf("%llu\n", (unsigned long long)writes);
	return 0;
}
