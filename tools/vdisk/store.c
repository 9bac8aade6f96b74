// SPDX-License-Identifier: GPL-2.0-only
/*
 * A store that no disk uses: opening it, its superblocks, its presence area.
 *
 * A device is read and written past its page cache, which may be older than
 * what a disk has written to the device.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vdisk.h"

#define PIECE		(1 << 20)	/* is read at once */
#define ZERO_PIECE	(64ULL << 20)	/* is zeroed at once: some time until one sees progress */
#define LEAVES		(STORE_BLOCK / VDISK_STORE_SECTOR)

const char *const store_state_name[] = { "absent", "data", "zero", "damaged" };

static const __u8 zeroes[STORE_BLOCK] __attribute__((aligned(STORE_BLOCK)));
/* For direct I/O; the tool has one thread. */
static __u8 piece[PIECE] __attribute__((aligned(STORE_BLOCK)));
static __u8 bounce[STORE_BLOCK] __attribute__((aligned(STORE_BLOCK)));

static int cannot_open(const char *path, int error)
{
	if (error == EROFS)
		return vdisk_fail("%s: is read-only", path);
	if (error == EBUSY)
		return vdisk_fail("%s: in use: mounted, or below another device (see lsblk); stop that first", path);
	if (error == ENOENT)
		return vdisk_fail("%s: there is no such file; vdisk format makes one", path);
	return vdisk_fail("%s: cannot be opened: %s", path, vdisk_reason(error));
}

/**
 * store_open - open a store, or what shall become one
 * @store: is filled
 * @path: of a device or regular file
 * @flags: STORE_*
 *
 * Without STORE_SHARE nobody else may use it: another holder of the device, or
 * of a lock on the file.
 *
 * Return: an exit status, after saying what is wrong.
 */
int store_open(struct store *store, const char *path, int flags)
{
	bool write = flags & STORE_WRITE, share = flags & STORE_SHARE;
	struct flock lock = { .l_type = write ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET };
	int mode = (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	struct stat st;
	int error, fd, read_only;

	*store = (struct store){ .path = path, .fd = -1, .block = 1 };
	/* A look at what it is: opening a tape or a pipe may do something. */
	if (stat(path, &st)) {
		if (errno != ENOENT || !(flags & STORE_CREATE))
			return cannot_open(path, errno);
		fd = open(path, mode | O_CREAT | O_EXCL, 0600);
		if (fd < 0)
			return vdisk_fail("%s: cannot be made: %s", path, vdisk_reason(errno));
		store->created = true;
	} else if (S_ISBLK(st.st_mode)) {
		store->device = true;
		fd = open(path, mode | O_DIRECT | (share ? 0 : O_EXCL));
	} else if (S_ISREG(st.st_mode)) {
		fd = open(path, mode);
	} else {
		return vdisk_fail("%s: neither a block device nor a regular file", path);
	}
	if (fd < 0)
		return cannot_open(path, errno);
	store->fd = fd;
	if (fstat(fd, &st) || (store->device ? !S_ISBLK(st.st_mode) : !S_ISREG(st.st_mode))) {
		if (store->created)
			unlink(path);
		store_close(store);
		return vdisk_fail("%s: became something else just now; try again", path);
	}
	if (store->device) {
		/* Some kernels only tell when it is written. */
		if (write && (ioctl(fd, BLKROGET, &read_only) || read_only)) {
			store_close(store);
			return vdisk_fail("%s: is read-only (see blockdev --getro)", path);
		}
		if (ioctl(fd, BLKGETSIZE64, &store->size) || ioctl(fd, BLKSSZGET, &store->block)) {
			error = errno;
			store_close(store);
			return vdisk_fail("%s: its size cannot be read: %s", path, vdisk_reason(error));
		}
		if (store->block > STORE_BLOCK) {
			store_close(store);
			return vdisk_fail("%s: has blocks of %u bytes, and a store needs a device with 512 to %d", path,
					  store->block, STORE_BLOCK);
		}
		return VDISK_OK;
	}
	store->size = st.st_size;
	/* Not all file systems have locks. */
	if (!share && fcntl(fd, F_OFD_SETLK, &lock) && (errno == EAGAIN || errno == EACCES)) {
		store_close(store);
		return vdisk_fail("%s: in use by another process (see lslocks); stop that first", path);
	}
	return VDISK_OK;
}

void store_close(struct store *store)
{
	if (store->fd >= 0)
		close(store->fd);
	store->fd = -1;
}

/* Whole, or -1 with errno; behind the end there is nothing to be read. */
static int read_at(const struct store *store, void *data, size_t bytes, __u64 offset)
{
	while (bytes) {
		ssize_t got = pread(store->fd, data, bytes, offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			if (!got)
				errno = ENODATA;
			return -1;
		}
		data = (char *)data + got;
		bytes -= got;
		offset += got;
	}
	return 0;
}

int store_write(struct store *store, const void *data, size_t bytes, __u64 offset)
{
	while (bytes) {
		ssize_t put = pwrite(store->fd, data, bytes, offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return vdisk_fail("%s: cannot be written at byte %llu: %s", store->path, offset,
					  put ? vdisk_reason(errno) : "its end");
		data = (const char *)data + put;
		bytes -= put;
		offset += put;
	}
	return VDISK_OK;
}

int store_flush(struct store *store)
{
	if (fsync(store->fd))
		return vdisk_fail("%s: cannot be flushed, so what was written may be lost: %s", store->path, vdisk_reason(errno));
	return VDISK_OK;
}

/**
 * store_read_slots - read both superblocks and choose
 * @store: an open one
 *
 * What cannot be read is bad, what is too short is blank.
 *
 * Return: an exit status; that there is no good one is no failure.
 */
int store_read_slots(struct store *store)
{
	for (int i = 0; i < VDISK_STORE_SLOTS; i++) {
		memset(bounce, 0, sizeof(bounce));
		store->bad[i] = NULL;
		if (read_at(store, bounce, STORE_BLOCK, (__u64)i * STORE_BLOCK) && errno != ENODATA) {
			store->bad[i] = "cannot be read";
			memset(bounce, 0, sizeof(bounce));
		}
		memcpy(&store->slot[i], bounce, sizeof(store->slot[i]));
		store->rest[i] = memcmp(bounce + VDISK_STORE_SECTOR, zeroes, STORE_BLOCK - VDISK_STORE_SECTOR);
		store->blank[i] = !store->bad[i] && !memcmp(bounce, zeroes, VDISK_STORE_SECTOR);
		if (!store->bad[i])
			store->bad[i] = vdisk_store_sb_check(&store->slot[i]);
		/* "no store" is what it says of one that stands alone. */
		if (store->blank[i])
			store->bad[i] = "blank";
		else if (store->bad[i] && memcmp(store->slot[i].magic, VDISK_STORE_MAGIC, 8) &&
			 strcmp(store->bad[i], "cannot be read"))
			store->bad[i] = "no magic";
	}
	store->sb = vdisk_store_sb_choose(&store->slot[0], &store->slot[1]);
	/* The newer one cannot be used: this one is not true any more. */
	for (int i = 0; !store->sb && i < VDISK_STORE_SLOTS; i++)
		if (!store->bad[i])
			store->bad[i] = "older";
	return VDISK_OK;
}

/* Open what has a good superblock. */
int store_open_good(struct store *store, const char *path, int flags)
{
	int status = store_open(store, path, flags);

	if (status)
		return status;
	store_read_slots(store);
	if (store->sb)
		return VDISK_OK;
	store_close(store);
	if ((store->blank[0] || !strcmp(store->bad[0], "no magic")) &&
	    (store->blank[1] || !strcmp(store->bad[1], "no magic")))
		return vdisk_fail("%s: holds no store; vdisk format makes one", path);
	for (int i = 0; i < VDISK_STORE_SLOTS; i++)
		if (!strncmp(store->bad[i], "unknown ", 8))
			return vdisk_fail("%s: superblock in slot %d: %s: it was written by a newer version, use that one's vdisk",
					  path, i, store->bad[i]);
	vdisk_fail("%s: no good superblock (slot 0: %s, slot 1: %s); vdisk dump shows what is there, and without one there is only a backup",
		   path, store->bad[0], store->bad[1]);
	return VDISK_DAMAGE;
}

int store_write_slot(struct store *store, int slot, const struct vdisk_store_sb *sb)
{
	memset(bounce, 0, sizeof(bounce));
	memcpy(bounce, sb, sizeof(*sb));
	return store_write(store, bounce, STORE_BLOCK, (__u64)slot * STORE_BLOCK) ?: store_flush(store);
}

/**
 * store_write_sb - replace both superblocks
 * @store: has a good one
 * @sb: the new one, whose sequence and checksum are made here
 *
 * The one that counts stays until the other one is durable. Odd sequences
 * belong into slot 0, even ones into slot 1.
 *
 * Return: an exit status.
 */
int store_write_sb(struct store *store, struct vdisk_store_sb *sb)
{
	unsigned int counts = store->sb == &store->slot[1];
	__u64 sequence = le64_to_cpu(store->sb->sequence) + 1;
	int status;

	if (sequence % 2 != counts)
		sequence++;
	if (sequence + 1 <= le64_to_cpu(store->sb->sequence))
		return vdisk_fail("%s: its superblock cannot be written any more: there is no higher sequence than %llu; copy what you need out of it",
				  store->path, le64_to_cpu(store->sb->sequence));
	sb->sequence = cpu_to_le64(sequence);
	vdisk_store_sb_seal(sb);
	status = store_write_slot(store, !counts, sb);
	if (status)
		return status;
	sb->sequence = cpu_to_le64(sequence + 1);
	vdisk_store_sb_seal(sb);
	return store_write_slot(store, counts, sb) ?: store_read_slots(store);
}

static __u64 leaf_offset(const struct store *store, __u64 index)
{
	return (le64_to_cpu(store->sb->presence_start) + index) * VDISK_STORE_SECTOR;
}

int store_write_leaf(struct store *store, __u64 index, const struct vdisk_store_leaf *leaf)
{
	__u64 at = leaf_offset(store, index), block = at / STORE_BLOCK * STORE_BLOCK;

	if (store->block <= VDISK_STORE_SECTOR) {
		memcpy(bounce, leaf, sizeof(*leaf));
		return store_write(store, bounce, sizeof(*leaf), at);
	}
	/* Neighbours that cannot be read stay damaged. */
	if (read_at(store, bounce, STORE_BLOCK, block))
		memset(bounce, 0xff, sizeof(bounce));
	memcpy(bounce + (at - block), leaf, sizeof(*leaf));
	return store_write(store, bounce, STORE_BLOCK, block);
}

/**
 * store_zero - make a range read as zeroes, with progress
 * @store: an open one
 * @offset: of the range, a multiple of STORE_BLOCK
 * @bytes: its length, likewise
 *
 * By a hole in a file, by what the device has for it, or by writing zeroes.
 *
 * Return: an exit status.
 */
int store_zero(struct store *store, __u64 offset, __u64 bytes)
{
	struct vdisk_progress progress;
	bool write = false;
	int status = VDISK_OK;
	char text[VDISK_BYTES_TEXT];
	double spent;
	__u64 done, nr;

	vdisk_progress_start(&progress, "clearing the presence area");
	for (done = 0; done < bytes && !status; done += nr) {
		__u64 range[2] = { offset + done, bytes - done };

		if (vdisk_stopped) {
			nr = 0;
			status = vdisk_fail("%s: stopped; it is no store now", store->path);
		} else if (write) {
			nr = STORE_BLOCK;
			status = store_write(store, zeroes, nr, range[0]);
		} else if (store->device) {
			nr = range[1] = range[1] < ZERO_PIECE ? range[1] : ZERO_PIECE;
			if (ioctl(store->fd, BLKZEROOUT, range))
				status = vdisk_fail("%s: cannot be zeroed at byte %llu: %s", store->path, range[0],
						    vdisk_reason(errno));
		} else {
			nr = range[1];
			if (fallocate(store->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range[0], range[1])) {
				if (errno != EOPNOTSUPP)
					status = vdisk_fail("%s: no hole can be punched at byte %llu: %s", store->path,
							    range[0], vdisk_reason(errno));
				write = true;
				nr = 0;
			}
		}
		vdisk_progress(&progress, done + nr, bytes);
	}
	spent = vdisk_progress_end(&progress);
	if (!status && spent >= 2)
		fprintf(stderr, "vdisk: %s: cleared a presence area of %s in %.0f s\n", store->path,
			vdisk_bytes(text, bytes), spent);
	return status;
}

__u64 store_len_units(const struct store *store)
{
	return le64_to_cpu(store->sb->len) / (le32_to_cpu(store->sb->unit) / VDISK_STORE_SECTOR);
}

__u64 store_base_units(const struct store *store)
{
	__u64 base_len = le64_to_cpu(store->sb->base_len), len = le64_to_cpu(store->sb->len);
	__u64 sectors = le32_to_cpu(store->sb->unit) / VDISK_STORE_SECTOR;

	return ((base_len && base_len < len ? base_len : len) + sectors - 1) / sectors;
}

__u64 store_max_units(const struct store *store)
{
	return le64_to_cpu(store->sb->max_len) / (le32_to_cpu(store->sb->unit) / VDISK_STORE_SECTOR);
}

/* Where the presence area ends, in bytes. */
__u64 store_area_end(const struct store *store)
{
	return leaf_offset(store, le64_to_cpu(store->sb->presence_nr));
}

/* How many whole blocks of the presence area from @index on lie in a hole of the file: sectors, 0 if it cannot be told. */
static __u64 hole(const struct store *store, __u64 index, __u64 nr)
{
	__u64 at = leaf_offset(store, index), end = leaf_offset(store, index + nr);
	off_t data;

	if (store->device)
		return 0;
	data = lseek(store->fd, at, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return 0;
	/* Without data behind it, the rest of the file is one hole. */
	if (data < 0 || (__u64)data >= end)
		return end <= store->size ? nr : 0;
	return (data - at) / STORE_BLOCK * LEAVES;
}

/* One piece; @got is NULL if it cannot be read. */
static int walk_piece(const struct store *store, __u64 index, __u64 nr, const __u8 *got, store_leaf_fn fn, void *arg)
{
	__u64 blank = 0;
	int status;

	for (__u64 i = 0; i < nr; i++) {
		const struct vdisk_store_leaf *leaf = got ? (const void *)(got + i * VDISK_STORE_SECTOR) : NULL;
		enum vdisk_store_leaf_kind kind = leaf ? vdisk_store_leaf_check(store->sb, index + i, leaf) :
							 VDISK_STORE_LEAF_BAD;

		if (kind == VDISK_STORE_LEAF_BLANK) {
			blank++;
			continue;
		}
		status = blank ? fn(arg, index + i - blank, blank, NULL, VDISK_STORE_LEAF_BLANK) : 0;
		blank = 0;
		status = status ?: fn(arg, index + i, 1, leaf, kind);
		if (status)
			return status;
	}
	return blank ? fn(arg, index + nr - blank, blank, NULL, VDISK_STORE_LEAF_BLANK) : 0;
}

/**
 * store_walk - look at the first sectors of the presence area, one after the other
 * @store: has a good superblock
 * @nr: how many
 * @fn: gets them; what it returns, if not 0, ends the walk
 * @arg: for @fn
 *
 * Return: an exit status, or what @fn returned.
 */
int store_walk(struct store *store, __u64 nr, store_leaf_fn fn, void *arg)
{
	struct vdisk_progress progress;
	__u64 index = 0, step;
	int status = VDISK_OK;

	if (store_area_end(store) > store->size)
		return vdisk_fail("%s: is cut off: it has %llu bytes, and its presence area ends at %llu", store->path,
				  store->size, store_area_end(store));
	vdisk_progress_start(&progress, "reading the presence area");
	for (; index < nr && !status; index += step) {
		__u64 bytes;

		step = hole(store, index, nr - index);
		if (step) {
			status = fn(arg, index, step, NULL, VDISK_STORE_LEAF_BLANK);
			continue;
		}
		step = nr - index < PIECE / VDISK_STORE_SECTOR ? nr - index : PIECE / VDISK_STORE_SECTOR;
		bytes = (step + LEAVES - 1) / LEAVES * STORE_BLOCK;
		if (!read_at(store, piece, bytes, leaf_offset(store, index))) {
			status = walk_piece(store, index, step, piece, fn, arg);
		} else {
			/* Block by block, to lose no more than has to be. */
			bool good;

			step = step < LEAVES ? step : LEAVES;
			good = !read_at(store, piece, STORE_BLOCK, leaf_offset(store, index));
			status = walk_piece(store, index, step, good ? piece : NULL, fn, arg);
		}
		vdisk_progress(&progress, index + step, nr);
	}
	vdisk_progress_end(&progress);
	return status;
}

static int push(struct store_runs *runs, __u64 nr, enum store_state state)
{
	__u64 end = runs->at + runs->nr;
	int status = VDISK_OK;

	if (nr > runs->end - end)
		nr = runs->end - end;
	if (!nr)
		return status;
	if (runs->nr && state != runs->state) {
		status = runs->fn(runs->arg, runs->at, runs->nr, runs->state);
		runs->at = end;
		runs->nr = 0;
	}
	runs->state = state;
	runs->nr += nr;
	return status;
}

/* The next sector of the presence area, or the next @nr that are blank: see store_leaf_fn. */
int store_runs_leaf(struct store_runs *runs, __u64 nr, const struct vdisk_store_leaf *leaf,
		    enum vdisk_store_leaf_kind kind)
{
	int status = VDISK_OK;

	if (kind != VDISK_STORE_LEAF_GOOD)
		return push(runs, nr * VDISK_STORE_LEAF_UNITS, kind == VDISK_STORE_LEAF_BAD ? STORE_DAMAGED : STORE_ABSENT);
	for (int i = 0; i < VDISK_STORE_WORDS && !status; i++) {
		__u64 bits = le64_to_cpu(leaf->bits[i]);

		if (bits == (bits & 3) * 0x5555555555555555ULL) {
			status = push(runs, VDISK_STORE_WORD_UNITS, bits & 3);
			continue;
		}
		for (int unit = 0; unit < VDISK_STORE_WORD_UNITS && !status; unit++)
			status = push(runs, 1, bits >> 2 * unit & 3);
	}
	return status;
}

int store_runs_end(struct store_runs *runs)
{
	return runs->nr ? runs->fn(runs->arg, runs->at, runs->nr, runs->state) : VDISK_OK;
}

static int map_leaf(void *arg, __u64 index, __u64 nr, const struct vdisk_store_leaf *leaf,
		    enum vdisk_store_leaf_kind kind)
{
	(void)index;
	return store_runs_leaf(arg, nr, leaf, kind);
}

/**
 * store_map - the disk as runs of units in one state
 * @store: has a good superblock
 * @fn: gets them in order, without a gap; what it returns, if not 0, ends it
 * @arg: for @fn
 *
 * Return: an exit status, or what @fn returned.
 */
int store_map(struct store *store, int (*fn)(void *arg, __u64 unit, __u64 nr, enum store_state state), void *arg)
{
	struct store_runs runs = { .fn = fn, .arg = arg, .end = store_len_units(store) };
	__u64 leaves = (runs.end + VDISK_STORE_LEAF_UNITS - 1) / VDISK_STORE_LEAF_UNITS;

	return store_walk(store, leaves, map_leaf, &runs) ?: store_runs_end(&runs);
}
