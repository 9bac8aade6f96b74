// SPDX-License-Identifier: GPL-2.0-only
/*
 * vdisk format
 */
#define _GNU_SOURCE
#include <blkid/blkid.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "vdisk.h"

/* The longest disk that vdisk_store_lay_out() allows */
#define MAX_SECTORS	(0x7fffffffffffffffULL >> 10)

static int get_size(const struct vdisk_args *args, const char *name, __u64 *sectors)
{
	const char *text = vdisk_option(args, name);

	if (text && !vdisk_parse_size(text, sectors))
		return vdisk_fail("--%s: '%s' is no size: say a number of sectors (of 512 bytes), or one like 512K, 100M, 10G",
				  name, text);
	return VDISK_OK;
}

/* @visible: without spaces, as the line of a table wants it */
static int get_text(const struct vdisk_args *args, const char *name, __u8 *to, size_t max, bool visible)
{
	const char *text = vdisk_option(args, name);

	if (!text)
		return VDISK_OK;
	if (strlen(text) >= max)
		return vdisk_fail("--%s: is %zu bytes long, and the longest one has %zu", name, strlen(text), max - 1);
	for (const char *c = text; *c; c++)
		if (iscntrl((unsigned char)*c) || (visible && !isgraph((unsigned char)*c)))
			return vdisk_fail(visible ? "--%s: must be one word, of letters, digits and signs" :
						    "--%s: has a control character", name);
	memcpy(to, text, strlen(text));
	return VDISK_OK;
}

/* What the options say, as a superblock. */
static int get_options(const struct vdisk_args *args, struct vdisk_store_sb *sb)
{
	const char *unit_text = vdisk_option(args, "unit"), *uuid = vdisk_option(args, "uuid");
	__u64 len = 0, max_len = 0, base_len = 0, sectors;
	__u32 unit = 512;

	if (get_size(args, "len", &len) || get_size(args, "max-len", &max_len) || get_size(args, "base-len", &base_len))
		return VDISK_FAILED;
	if (!vdisk_option(args, "len"))
		return vdisk_fail("--len is missing: how long is the disk? Say --len 10G, or a number of sectors");
	if (unit_text && strcmp(unit_text, "512") && strcmp(unit_text, "4096"))
		return vdisk_fail("--unit: '%s': a unit is the block size of the disk, 512 or 4096", unit_text);
	if (unit_text && !strcmp(unit_text, "4096"))
		unit = 4096;
	sectors = unit / VDISK_STORE_SECTOR;

	if (!vdisk_option(args, "max-len"))
		max_len = len < MAX_SECTORS / 4 ? len * 4 : len < MAX_SECTORS ? MAX_SECTORS / sectors * sectors : len;
	if (!len)
		return vdisk_fail("--len: no disk is that short");
	if (len % sectors)
		return vdisk_fail("--len: %llu sectors are no multiple of the unit, %llu sectors: say %llu", len, sectors,
				  len / sectors * sectors + sectors);
	if (max_len > MAX_SECTORS || len > MAX_SECTORS)
		return vdisk_fail("--%s: the longest disk has %llu sectors", len > MAX_SECTORS ? "len" : "max-len",
				  MAX_SECTORS / sectors * sectors);
	if (max_len < len)
		return vdisk_fail("--max-len: %llu sectors are less than the disk has, %llu", max_len, len);
	if (max_len % sectors)
		return vdisk_fail("--max-len: %llu sectors are no multiple of the unit, %llu sectors: say %llu", max_len,
				  sectors, max_len / sectors * sectors + sectors);
	if (!vdisk_store_lay_out(sb, len, max_len, unit))
		return vdisk_fail("--len, --max-len: there is no such store");

	if (vdisk_option(args, "write-through"))
		sb->incompat = cpu_to_le64(VDISK_STORE_THROUGH);
	sb->base_len = cpu_to_le64(base_len);
	if (get_text(args, "base-id", sb->base_id, sizeof(sb->base_id), false) ||
	    get_text(args, "lineage", sb->lineage, sizeof(sb->lineage), true))
		return VDISK_FAILED;
	if (!uuid)
		uuid_generate_random(sb->uuid);
	else if (uuid_parse(uuid, sb->uuid) || uuid_is_null(sb->uuid))
		return vdisk_fail("--uuid: '%s' is none: it looks like 6fd2f2a8-0b3e-4d0f-9a55-1b7a4d9be0c1", uuid);
	sb->epoch = cpu_to_le64(1);
	sb->sequence = cpu_to_le64(1);
	vdisk_store_sb_seal(sb);
	return VDISK_OK;
}

/* Refuse what holds something else. */
static int look_for_others(const struct store *store)
{
	const char *type = NULL;
	int fd = open(store->path, O_RDONLY | O_CLOEXEC), found = -1;
	blkid_probe probe = fd < 0 ? NULL : blkid_new_probe();

	if (probe && !blkid_probe_set_device(probe, fd, 0, 0)) {
		blkid_probe_enable_superblocks(probe, 1);
		blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE);
		blkid_probe_enable_partitions(probe, 1);
		found = blkid_do_safeprobe(probe);
		if (blkid_probe_lookup_value(probe, "TYPE", &type, NULL))
			blkid_probe_lookup_value(probe, "PTTYPE", &type, NULL);
	}
	/* 1: nothing; -2: more than one thing. Nothing is what there is in the empty, too. */
	if (!found || found == -2)
		vdisk_fail("%s: holds something already (%s); to lose it, say --force", store->path,
			   type ?: "more than one signature");
	else if (found < 0 && store->size)
		vdisk_fail("%s: cannot be searched for what it holds; to lose that, whatever it is, say --force", store->path);
	else
		found = 1;
	blkid_free_probe(probe);
	if (fd >= 0)
		close(fd);
	if (found != 1)
		return VDISK_FAILED;
	/* Nobody keeps random data in a file that was meant for a store. */
	if (!store->device && (!store->blank[0] || !store->blank[1] || store->rest[0] || store->rest[1]))
		return vdisk_fail("%s: is a file that holds something already; to lose it, say --force", store->path);
	return VDISK_OK;
}

static int refuse(struct store *store)
{
	for (int i = 0; i < VDISK_STORE_SLOTS; i++) {
		const struct vdisk_store_sb *sb = &store->slot[i];
		char uuid[UUID_STR_LEN], text[VDISK_BYTES_TEXT];

		if (memcmp(sb->magic, VDISK_STORE_MAGIC, sizeof(sb->magic)))
			continue;
		uuid_unparse(sb->uuid, uuid);
		return vdisk_fail("%s: holds a store already (uuid %s, %s%s); to lose it and all that is in it, say --force",
				  store->path, uuid, store->bad[i] ?: "a disk of ",
				  store->bad[i] ? "" : vdisk_bytes(text, le64_to_cpu(sb->len) * 512));
	}
	return look_for_others(store);
}

static int fit(struct store *store, const struct vdisk_store_sb *sb)
{
	__u64 need = (le64_to_cpu(sb->data_start) + le64_to_cpu(sb->len)) * VDISK_STORE_SECTOR;
	char have[VDISK_BYTES_TEXT], want[VDISK_BYTES_TEXT];

	if (store->device) {
		if (store->block > le32_to_cpu(sb->unit))
			return vdisk_fail("%s: has blocks of %u bytes, and so must have the disk: say --unit %u", store->path,
					  store->block, store->block <= 4096 ? 4096 : store->block);
		if (store->size < need)
			return vdisk_fail("%s: is too small: %llu sectors (%s) are needed for this --len and --max-len, and it has %llu (%s)",
					  store->path, need / 512, vdisk_bytes(want, need), store->size / 512,
					  vdisk_bytes(have, store->size));
		return VDISK_OK;
	}
	if (store->size < need && ftruncate(store->fd, need))
		return vdisk_fail("%s: cannot be made %llu bytes (%s) long: %s", store->path, need, vdisk_bytes(want, need),
				  vdisk_reason(errno));
	if (store->size < need)
		store->size = need;
	return VDISK_OK;
}

/* What there was. A file that was made just now has nothing, and is all zeroes. */
static int clear(struct store *store, const struct vdisk_store_sb *sb)
{
	static const struct vdisk_store_sb none;
	__u64 area = le64_to_cpu(sb->presence_start) * VDISK_STORE_SECTOR;
	__u64 data = le64_to_cpu(sb->data_start) * VDISK_STORE_SECTOR;

	if (store->created)
		return VDISK_OK;
	return store_write_slot(store, 0, &none) ?:
	       store_write_slot(store, 1, &none) ?:
	       store_zero(store, area, data - area) ?:
	       store_flush(store);
}

/*
 * At no time is there a good superblock over presence that is not its own: the
 * old ones go first, the new ones come last, and each step is durable before
 * the next one.
 */
static int write_all(struct store *store, const struct vdisk_store_sb *sb)
{
	struct vdisk_store_sb second = *sb;

	second.sequence = cpu_to_le64(2);
	vdisk_store_sb_seal(&second);
	return clear(store, sb) ?:
	       store_write_slot(store, 0, sb) ?:
	       store_write_slot(store, 1, &second);
}

static void say(const struct vdisk_args *args, const struct vdisk_store_sb *sb)
{
	__u64 len = le64_to_cpu(sb->len), max_len = le64_to_cpu(sb->max_len), start = le64_to_cpu(sb->data_start);
	char uuid[UUID_STR_LEN], text[3][VDISK_BYTES_TEXT];

	vdisk_changed = true;
	uuid_unparse(sb->uuid, uuid);
	if (args->json) {
		struct json_object *object = json_object_new_object();

		json_object_object_add(object, "store", vdisk_json(args->store));
		json_object_object_add(object, "uuid", vdisk_json(uuid));
		vdisk_json_number(object, "unit", le32_to_cpu(sb->unit));
		vdisk_json_number(object, "len", len);
		vdisk_json_number(object, "max_len", max_len);
		vdisk_json_number(object, "data_start", start);
		json_object_object_add(object, "write_through", json_object_new_boolean(vdisk_store_is_through(sb)));
		vdisk_json_print(object);
		return;
	}
	printf("%s: a store for a disk of %llu sectors (%s) in blocks of %u bytes, which may grow to %llu (%s)\n", args->store,
	       len, vdisk_bytes(text[0], len * 512), le32_to_cpu(sb->unit), max_len, vdisk_bytes(text[1], max_len * 512));
	printf("uuid %s, data begins at sector %llu (%s)\n", uuid, start, vdisk_bytes(text[2], start * 512));
	if (vdisk_store_is_through(sb))
		printf("It is for a cache with write_through only: what it holds may be dropped at any time.\n");
}

static int format(const struct vdisk_args *args)
{
	struct vdisk_store_sb sb = {};
	struct store store;
	int status = get_options(args, &sb);

	if (status)
		return status;
	vdisk_catch();
	status = store_open(&store, args->store, STORE_WRITE | STORE_CREATE);
	if (status)
		return status;
	store_read_slots(&store);
	if (!vdisk_option(args, "force"))
		status = refuse(&store);
	status = status ?: fit(&store, &sb) ?: write_all(&store, &sb);
	if (status && store.created)
		unlink(store.path);
	store_close(&store);
	if (!status)
		say(args, &sb);
	return status;
}

/**
 * store_make - make a file a store
 * @path: there is no such file
 * @len: of the disk, in sectors
 * @unit: its block size
 * @base_len: of the base, in sectors; 0: not recorded
 * @lineage: word for the base, or NULL
 * @through: it is for a cache with write_through
 * @made: for store_unmake()
 *
 * What fails leaves no file.
 *
 * Return: an exit status, after saying what is wrong.
 */
int store_make(const char *path, __u64 len, __u32 unit, __u64 base_len, const char *lineage, bool through,
	       struct stat *made)
{
	__u64 sectors = unit / VDISK_STORE_SECTOR;
	__u64 max_len = len < MAX_SECTORS / 4 ? len * 4 : MAX_SECTORS / sectors * sectors;
	struct vdisk_store_sb sb = {};
	struct store store;
	int status;

	if (!len || len % sectors || !vdisk_store_lay_out(&sb, len, max_len, unit))
		return vdisk_fail("%s: no store can be made for a disk of %llu sectors in blocks of %u bytes; say another --len",
				  path, len, unit);
	if (through)
		sb.incompat = cpu_to_le64(VDISK_STORE_THROUGH);
	sb.base_len = cpu_to_le64(base_len);
	if (lineage)
		strncpy((char *)sb.lineage, lineage, sizeof(sb.lineage) - 1);
	uuid_generate_random(sb.uuid);
	sb.epoch = cpu_to_le64(1);
	sb.sequence = cpu_to_le64(1);
	vdisk_store_sb_seal(&sb);
	status = store_open(&store, path, STORE_WRITE | STORE_CREATE);
	if (status)
		return status;
	if (!store.created)
		status = vdisk_fail("%s: was made by someone else just now; look what it is, and try again", path);
	status = status ?: fit(&store, &sb) ?: write_all(&store, &sb);
	if (!status && fstat(store.fd, made))
		status = vdisk_fail("%s: %s", path, vdisk_reason(errno));
	if (status && store.created)
		unlink(path);
	store_close(&store);
	return status;
}

#define UNMAKE_TRIES	50

/**
 * store_unmake - remove a store that store_make() made
 * @path: of it
 * @made: what store_make() said of it
 *
 * It stays if another disk has found it there, and uses it. What went wrong
 * before is still what is said last.
 */
void store_unmake(const char *path, const struct stat *made)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	char before[sizeof(vdisk_error)];
	bool quiet = vdisk_quiet;
	struct store store;
	struct stat st;
	int status;

	memcpy(before, vdisk_error, sizeof(before));
	vdisk_quiet = true;
	for (int i = 0; (status = store_open(&store, path, STORE_WRITE)) && !access(path, F_OK) && i < UNMAKE_TRIES; i++)
		nanosleep(&pause, NULL);
	vdisk_quiet = quiet;
	if (!status && !fstat(store.fd, &st) && st.st_dev == made->st_dev && st.st_ino == made->st_ino)
		unlink(path);
	if (!status)
		store_close(&store);
	else if (!access(path, F_OK))
		vdisk_fail("%.900s; it was made just now, and stays", vdisk_error);
	memcpy(vdisk_error, before, sizeof(before));
}

const struct vdisk_command vdisk_format = {
	.name = "format",
	.what = "make an empty store",
	.more =
"Makes STORE, a block device or a file, the store of an overlay or cache: it then holds nothing, and the disk reads as its base\n"
"does. A file is made if there is none, and made longer if need be; what is not written stays a hole.\n"
"A SIZE is a number of sectors of 512 bytes, or of bytes with K, M, G, T or P behind it: 20971520 and 10G are the same.\n",
	.status =
"  0  done\n"
"  1  refused, or it failed; a failure may leave what is no store, and then it has to be formatted again\n",
	.example = "vdisk format /var/lib/vm1.store --len 10G --lineage debian-13",
	.options = (const struct vdisk_option[]){
		{ "len", "SIZE", "of the disk; has to be said" },
		{ "max-len", "SIZE", "to which the disk may grow later (4 times --len); with units of 512 bytes\n1/2000 of it is taken from a device, of a file nothing yet" },
		{ "unit", "BYTES", "the block size of the disk, 512 or 4096 (512)" },
		{ "base-len", "SIZE", "of the base, which is then checked when the store is used" },
		{ "write-through", NULL, "for a cache with write_through: its base has all that is written, and the store only copies" },
		{ "lineage", "WORD", "your own word for the base, likewise: at most 63 bytes" },
		{ "base-id", "TEXT", "a note of what the base is, which dump shows and nobody checks: at most 127 bytes" },
		{ "uuid", "UUID", "of the store (a random one)" },
		{ "force", NULL, "even if STORE holds a store, a file system or the like, which is then lost" },
		{}
	},
	.run = format,
};
