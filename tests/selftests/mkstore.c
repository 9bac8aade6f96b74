// SPDX-License-Identifier: GPL-2.0-only
/*
 * Formats and checks a store for the tests of overlay, with the code of the
 * format itself.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "../../drivers/md/dm-vdisk/vdisk-store.h"
#include "../../tools/vdisk/vdisk-store-user.h"

#define SLOT	(VDISK_STORE_SLOT_SECTORS * VDISK_STORE_SECTOR)

static int fd;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void put(const void *data, size_t len, __u64 at)
{
	if (pwrite(fd, data, len, at) != (ssize_t)len)
		die("write");
}

static void get(void *data, size_t len, __u64 at)
{
	if (pread(fd, data, len, at) != (ssize_t)len)
		die("read");
}

static int format(int argc, char **argv)
{
	struct vdisk_store_sb sb = { .epoch = cpu_to_le64(1) };
	__u64 len = 0, max = 0, at;
	static char block[SLOT];
	__u32 unit = 512, version = 0;
	int i;

	for (i = 3; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--len"))
			len = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--max-len"))
			max = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--unit"))
			unit = strtoul(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--base-len"))
			sb.base_len = cpu_to_le64(strtoull(argv[i + 1], NULL, 0));
		else if (!strcmp(argv[i], "--flags"))
			sb.flags = cpu_to_le32(strtoul(argv[i + 1], NULL, 0));
		else if (!strcmp(argv[i], "--version"))
			version = strtoul(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--incompat"))
			sb.incompat = cpu_to_le64(strtoull(argv[i + 1], NULL, 0));
		else if (!strcmp(argv[i], "--lineage"))
			memcpy(sb.lineage, argv[i + 1], strnlen(argv[i + 1], sizeof(sb.lineage)));
		else
			return 2;
	}
	if (getentropy(sb.uuid, sizeof(sb.uuid)) || !vdisk_store_lay_out(&sb, len, max ? max : len, unit))
		return 2;
	put(block, SLOT, 0);
	put(block, SLOT, SLOT);
	for (at = 0; at < le64_to_cpu(sb.presence_nr); at += VDISK_STORE_SLOT_SECTORS)
		put(block, SLOT, (le64_to_cpu(sb.presence_start) + at) * VDISK_STORE_SECTOR);
	if (fsync(fd))
		die("fsync");
	for (i = 0; i < VDISK_STORE_SLOTS; i++) {
		sb.sequence = cpu_to_le64(i + 1);
		vdisk_store_sb_seal(&sb);
		if (version) {
			/* dm-vdisk-format.rst: of all but the four bytes of the checksum */
			sb.version = cpu_to_le32(version);
			sb.crc = cpu_to_le32(vdisk_crc32c(vdisk_crc32c(~0U, (__u8 *)&sb, 8), (__u8 *)&sb + 12, sizeof(sb) - 12));
		}
		memcpy(block, &sb, sizeof(sb));
		put(block, SLOT, i * SLOT);
	}
	return fsync(fd) ? 1 : 0;
}

static int check(void)
{
	struct vdisk_store_sb slot[VDISK_STORE_SLOTS];
	const struct vdisk_store_sb *sb;
	struct vdisk_store_leaf leaf;
	int damage = 0;
	__u64 i;

	for (i = 0; i < VDISK_STORE_SLOTS; i++) {
		get(&slot[i], sizeof(slot[i]), i * SLOT);
		if (vdisk_store_sb_check(&slot[i]))
			printf("superblock %llu: %s\n", (unsigned long long)i, vdisk_store_sb_check(&slot[i]));
	}
	sb = vdisk_store_sb_choose(&slot[0], &slot[1]);
	if (!sb)
		return 1;
	for (i = 0; i < le64_to_cpu(sb->presence_nr); i++) {
		get(&leaf, sizeof(leaf), (le64_to_cpu(sb->presence_start) + i) * VDISK_STORE_SECTOR);
		if (vdisk_store_leaf_check(sb, i, &leaf) == VDISK_STORE_LEAF_BAD) {
			printf("presence %llu is damaged\n", (unsigned long long)i);
			damage = 1;
		}
	}
	return damage;
}

int main(int argc, char **argv)
{
	if (argc < 3 || (strcmp(argv[1], "format") && strcmp(argv[1], "check"))) {
		fputs("Usage: mkstore format DEVICE --len SECTORS [--max-len SECTORS] [--unit BYTES] [--base-len SECTORS] "
		      "[--flags BITS] [--incompat BITS] [--version N] [--lineage WORD]\n"
		      "       mkstore check DEVICE\n", stderr);
		return 2;
	}
	fd = open(argv[2], O_RDWR);
	if (fd < 0)
		die(argv[2]);
	return strcmp(argv[1], "check") ? format(argc, argv) : check();
}
