// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every crash state of a store. `run` does all workloads of three operations on
 * an overlay whose store is under dm-log-writes, each on units of its own, and
 * marks in the log what was acknowledged. `check` takes the log and makes, for
 * each point where power could have been cut, every state that the store can
 * have: what was flushed, and of what was written since, any sectors and any
 * not. In each of them the format's own code says what the disk holds, which
 * has to be something that the operations allow.
 *
 * The log has a write without FUA behind the marks that came before the next
 * flush: so all writes between two flushes count as under way together, which
 * they never were. That makes more states than there are, and allows values of
 * operations that were not begun.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../drivers/md/dm-vdisk/vdisk-store.h"
#include "../../tools/vdisk/vdisk-store-user.h"
#include "must.h"

#define SECTOR		512U
#define LOG_MAGIC	0x6a736677736872ULL
enum { FLUSH = 1, FUA = 2, DISCARD = 4, MARK = 8 };

/*
 * A workload has two units side by side, and one in the next leaf. The first
 * ones of a leaf are left out: they are there from the beginning.
 */
enum op { WRITE_A, WRITE_A_FUA, WRITE_AB, WRITE_C, DISCARD_AB, READ_B, SYNC, NR_OPS };
#define OPS		3	/* of a workload; a SYNC comes behind them */
#define WORKLOADS	(NR_OPS * NR_OPS * NR_OPS)
#define UNITS		3
#define FIRST		4U
#define ALL_MAX		8	/* atoms of which all subsets are tried */
#define SAMPLE		32	/* states, if there are more atoms */

static unsigned int unit_sectors;

static enum op op_of(unsigned int workload, unsigned int i)
{
	static const unsigned int power[] = { 1, NR_OPS, NR_OPS * NR_OPS };

	return i < OPS ? workload / power[i] % NR_OPS : SYNC;
}

/* The first sector of a workload's unit */
static uint64_t place(unsigned int workload, unsigned int unit)
{
	uint64_t nr = FIRST + 2 * workload + (unit == 1) + (unit == 2 ? VDISK_STORE_LEAF_UNITS : 0);

	return nr * unit_sectors;
}

static bool writes(enum op op, unsigned int unit)
{
	switch (op) {
	case WRITE_A:
	case WRITE_A_FUA:
		return unit == 0;
	case WRITE_AB:
		return unit <= 1;
	case WRITE_C:
		return unit == 2;
	default:
		return false;
	}
}

/* What a sector holds, 64 times */
static uint64_t base_tag(uint64_t sector) { return 0xba5eULL << 48 | sector; }
static uint64_t stale_tag(uint64_t sector) { return 0x57a1ULL << 48 | sector; }
static uint64_t write_tag(unsigned int workload, unsigned int i, uint64_t sector)
{
	return 0xda7aULL << 48 | (uint64_t)(workload * (OPS + 1) + i) << 32 | sector;
}

static void fill(void *buf, uint64_t tag)
{
	uint64_t *word = buf;
	unsigned int i;

	for (i = 0; i < SECTOR / 8; i++)
		word[i] = tag;
}

/* Fill a disk with what it may not be mistaken for. */
static void paint(const char *path, uint64_t first, uint64_t nr, uint64_t (*tag)(uint64_t sector))
{
	int fd = open(path, O_WRONLY | O_DIRECT);
	char *buf = aligned(1 << 20);
	uint64_t i, n;

	must(fd >= 0, path);
	for (i = 0; i < nr; i += n) {
		uint64_t k;

		n = nr - i < 2048 ? nr - i : 2048;
		for (k = 0; k < n; k++)
			fill(buf + k * SECTOR, tag(i + k));
		must(pwrite(fd, buf, n * SECTOR, (first + i) * SECTOR) == (ssize_t)(n * SECTOR), path);
	}
	must(!fsync(fd), path);
	close(fd);
}

static int control;

static void mark(const char *logged, unsigned int workload, unsigned int i)
{
	struct {
		struct dm_ioctl dmi;
		struct dm_target_msg msg;
		char text[64];
	} m = { .dmi = { .version = { 4, 0, 0 }, .data_size = sizeof(m), .data_start = sizeof(m.dmi) } };

	snprintf(m.dmi.name, sizeof(m.dmi.name), "%s", logged);
	snprintf(m.text, sizeof(m.text), "mark %u.%u", workload, i);
	must(!ioctl(control, DM_TARGET_MSG, &m), "mark");
}

static void do_op(int fd, unsigned int workload, unsigned int i, char *buf)
{
	uint64_t at = place(workload, 0), nr = unit_sectors, k, range[2];
	enum op op = op_of(workload, i);

	if (op == WRITE_C)
		at = place(workload, 2);
	if (op == WRITE_AB || op == DISCARD_AB)
		nr *= 2;
	if (op == READ_B)
		at = place(workload, 1);
	range[0] = at * SECTOR;
	range[1] = nr * SECTOR;
	for (k = 0; k < nr; k++)
		fill(buf + k * SECTOR, write_tag(workload, i, at + k));
	switch (op) {
	case SYNC:
		must(!fdatasync(fd), "flush");
		break;
	case DISCARD_AB:
		must(!ioctl(fd, BLKDISCARD, range), "discard");
		break;
	case READ_B:
		must(pread(fd, buf, range[1], range[0]) == (ssize_t)range[1], "read");
		break;
	default:
		must(pwritev2(fd, &(struct iovec){ buf, range[1] }, 1, range[0],
			      op == WRITE_A_FUA ? RWF_DSYNC : 0) == (ssize_t)range[1], "write");
	}
}

static int run(const char *device, const char *logged)
{
	int fd = open(device, O_RDWR | O_DIRECT);
	char *buf = aligned(2 * 4096);
	unsigned int w, i;

	control = open("/dev/mapper/control", O_RDWR);
	must(fd >= 0, device);
	must(control >= 0, "/dev/mapper/control");
	for (w = 0; w < WORKLOADS; w++) {
		for (i = 0; i <= OPS; i++) {
			do_op(fd, w, i, buf);
			mark(logged, w, i);
		}
	}
	return 0;
}

/* What a unit was, is, and may be: after[0] is from before the workload. */
struct history {
	unsigned int nr;
	struct value {
		unsigned int op;
		bool zero, acked;
	} value[OPS + 1];
	unsigned int durable;	/* no older value may be seen */
};

static struct history histories[WORKLOADS][UNITS];

static void plan(void)
{
	unsigned int w, u, i;

	for (w = 0; w < WORKLOADS; w++) {
		for (u = 0; u < UNITS; u++) {
			struct history *h = &histories[w][u];

			h->nr = 1;
			for (i = 0; i < OPS; i++) {
				bool zero = op_of(w, i) == DISCARD_AB && u <= 1;

				if (zero || writes(op_of(w, i), u))
					h->value[h->nr++] = (struct value){ .op = i, .zero = zero };
			}
		}
	}
}

/* An operation was acknowledged. */
static void acknowledge(unsigned int w, unsigned int i)
{
	enum op op = op_of(w, i);
	unsigned int u, k;

	for (u = 0; u < UNITS; u++) {
		struct history *h = &histories[w][u];

		for (k = 1; k < h->nr; k++) {
			if (h->value[k].op == i)
				h->value[k].acked = true;
			if (h->value[k].acked && (op == SYNC || (op == WRITE_A_FUA && h->value[k].op == i)))
				h->durable = k;
		}
	}
}

static uint64_t tag_of(unsigned int w, const struct history *h, unsigned int k, uint64_t sector)
{
	if (!k)
		return base_tag(sector);
	return h->value[k].zero ? 0 : write_tag(w, h->value[k].op, sector);
}

static unsigned char *disk;
static uint64_t disk_sectors, nr_states, nr_points, nr_sampled, nr_bad;
static const struct vdisk_store_sb *sb;

static void bad(const char *what, unsigned int w, uint64_t sector, uint64_t found)
{
	if (nr_bad++ < 10)
		printf("workload %u (%d %d %d), sector %llu: %s %016llx\n", w, op_of(w, 0), op_of(w, 1), op_of(w, 2),
		       (unsigned long long)sector, what, (unsigned long long)found);
}

/* Most states have the leaves of the last one. */
static enum vdisk_store_leaf_kind leaf_kind(uint64_t index, const struct vdisk_store_leaf *leaf)
{
	static struct { struct vdisk_store_leaf leaf; enum vdisk_store_leaf_kind kind; } last[2];

	if (memcmp(&last[index].leaf, leaf, sizeof(*leaf))) {
		last[index].leaf = *leaf;
		last[index].kind = vdisk_store_leaf_check(sb, index, leaf);
	}
	return last[index].kind;
}

/* What the disk would give for a sector; true if it gives something. */
static bool look(uint64_t sector, uint64_t *tag)
{
	uint64_t unit = sector / unit_sectors, index = unit / VDISK_STORE_LEAF_UNITS;
	const struct vdisk_store_leaf *leaf;
	const uint64_t *data;
	unsigned int i;

	leaf = (void *)(disk + (le64_to_cpu(sb->presence_start) + index) * SECTOR);
	switch (leaf_kind(index, leaf)) {
	case VDISK_STORE_LEAF_BAD:
		return false;
	case VDISK_STORE_LEAF_BLANK:
	case VDISK_STORE_LEAF_OLD:
		*tag = base_tag(sector);
		return true;
	case VDISK_STORE_LEAF_GOOD:
		break;
	}
	switch (vdisk_store_leaf_state(leaf, unit % VDISK_STORE_LEAF_UNITS)) {
	case 0:
		*tag = base_tag(sector);
		return true;
	case 2:
		*tag = 0;
		return true;
	}
	data = (void *)(disk + (le64_to_cpu(sb->data_start) + sector) * SECTOR);
	for (i = 1; i < SECTOR / 8; i++)
		if (data[i] != data[0])
			return false;
	*tag = *data;
	return true;
}

static void check_unit(unsigned int w, unsigned int u)
{
	const struct history *h = &histories[w][u];
	unsigned int i, k, first = 0;

	for (i = 0; i < unit_sectors; i++) {
		uint64_t sector = place(w, u) + i, tag;

		if (!look(sector, &tag)) {
			bad("damaged", w, sector, 0);
			return;
		}
		for (k = h->durable; k < h->nr; k++)
			if (tag == tag_of(w, h, k, sector))
				break;
		if (k == h->nr) {
			bad("must not be", w, sector, tag);
			return;
		}
		/* The first write to a unit, and the only one: whole or not at all. */
		if (!i)
			first = k;
		else if (h->nr == 2 && op_of(w, 0) != READ_B && op_of(w, 1) != READ_B && k != first)
			bad("mixed", w, sector, tag);
	}
}

static void check_state(unsigned int w)
{
	unsigned int u, from = w ? w - 1 : 0, to = w + 1 < WORKLOADS ? w + 1 : w;
	static unsigned char last[VDISK_STORE_SLOTS * VDISK_STORE_SLOT_SECTORS * SECTOR];

	nr_states++;
	if (!sb || memcmp(last, disk, sizeof(last))) {
		memcpy(last, disk, sizeof(last));
		sb = vdisk_store_sb_choose((void *)disk, (void *)(disk + VDISK_STORE_SLOT_SECTORS * SECTOR));
	}
	if (!sb) {
		bad("no superblock", w, 0, 0);
		return;
	}
	for (w = from; w <= to; w++)
		for (u = 0; u < UNITS; u++)
			check_unit(w, u);
}

struct entry {
	uint64_t sector, nr, flags;
	const unsigned char *data;
	unsigned int workload, op;	/* of a mark */
};

/* What may have become durable by itself: a sector, or all of a discard */
struct atom {
	const struct entry *e;
	uint64_t sector, nr;
	const unsigned char *data;
	unsigned char *old;
	bool done;
	bool far;	/* a hole that the workloads looked at have nothing to do with */
};

static struct entry *entries;
static uint64_t nr_entries;

static void read_log(const char *path)
{
	struct { uint64_t magic, version, nr_entries; uint32_t sector_size; } super;
	int fd = open(path, O_RDONLY);
	uint64_t at, i;

	must(fd >= 0 && pread(fd, &super, sizeof(super), 0) == sizeof(super), path);
	errno = EINVAL;
	must(super.magic == LOG_MAGIC && super.version == 1, path);
	nr_entries = super.nr_entries;
	entries = calloc(nr_entries + 1, sizeof(*entries));
	must(entries, "memory");
	at = super.sector_size;
	for (i = 0; i < nr_entries; i++) {
		struct { uint64_t sector, nr, flags, data_len; char text[64]; } raw;
		struct entry *e = &entries[i];
		uint64_t bytes;

		must(pread(fd, &raw, sizeof(raw), at) == sizeof(raw), path);
		at += super.sector_size;
		*e = (struct entry){
			.sector = raw.sector * (super.sector_size / SECTOR),
			.nr = raw.nr * (super.sector_size / SECTOR),
			.flags = raw.flags,
		};
		if (e->flags & MARK) {
			raw.text[sizeof(raw.text) - 1] = 0;
			/* One is its own, at the end. */
			if (sscanf(raw.text, "%u.%u", &e->workload, &e->op) != 2)
				e->flags = 0;
			continue;
		}
		must(e->sector + e->nr <= disk_sectors, "an entry beyond the store");
		bytes = e->nr * SECTOR;
		if ((e->flags & DISCARD) || !bytes)
			continue;
		e->data = malloc(bytes);
		must(e->data && pread(fd, (void *)e->data, bytes, at) == (ssize_t)bytes, path);
		at += bytes;
	}
	close(fd);
}

static void apply(struct atom *a)
{
	unsigned char *to = disk + a->sector * SECTOR;

	memcpy(a->old, to, a->nr * SECTOR);
	if (a->data)
		memcpy(to, a->data, a->nr * SECTOR);
	else
		memset(to, 0, a->nr * SECTOR);
	a->done = true;
}

static void undo(struct atom *a)
{
	if (a->done)
		memcpy(disk + a->sector * SECTOR, a->old, a->nr * SECTOR);
	a->done = false;
}

/* The states at one point: writes with FUA before @cut are durable, and the others may be. */
static void check_point(struct atom *atoms, unsigned int nr, const struct entry *cut, unsigned int w)
{
	unsigned int optional = 0, i, bit;
	uint64_t state, states;

	nr_points++;
	for (i = 0; i < nr; i++)
		optional += !atoms[i].far && !((atoms[i].e->flags & FUA) && atoms[i].e < cut);
	states = optional <= ALL_MAX ? 1ULL << optional : SAMPLE;
	nr_sampled += optional > ALL_MAX;
	for (state = 0; state < states; state++) {
		uint64_t which = state;

		if (optional > ALL_MAX)
			which = (uint64_t)random() << 31 ^ random();
		for (i = 0, bit = 0; i < nr; i++) {
			bool durable = (atoms[i].e->flags & FUA) && atoms[i].e < cut;

			if (atoms[i].far)
				continue;
			if (durable || (which >> (bit++ % 62) & 1))
				apply(&atoms[i]);
		}
		check_state(w);
		while (i--)
			undo(&atoms[i]);
	}
}

/* The units of the workloads around @w are near. */
static bool is_far(const struct entry *e, unsigned int w)
{
	uint64_t data = le64_to_cpu(sb->data_start), reach = 2 * 3 * unit_sectors;
	unsigned int u;

	for (u = 0; u < UNITS; u++) {
		uint64_t at = data + place(w, u);

		if (e->sector < at + reach && at < e->sector + e->nr + reach)
			return false;
	}
	return e->flags & DISCARD;
}

static unsigned int collect(struct atom *atoms, const struct entry *from, const struct entry *to, unsigned int w)
{
	const struct entry *e;
	unsigned int nr = 0;
	uint64_t i, step;

	for (e = from; e < to; e++) {
		if ((e->flags & MARK) || !e->nr)
			continue;
		step = e->flags & DISCARD ? e->nr : 1;
		for (i = 0; i < e->nr; i += step) {
			if (atoms)
				atoms[nr] = (struct atom){
					.e = e, .sector = e->sector + i, .nr = step,
					.data = e->data ? e->data + i * SECTOR : NULL,
					.old = malloc(step * SECTOR),
					.far = sb && is_far(e, w),
				};
			nr++;
		}
	}
	return nr;
}

/*
 * The log has a write with FUA before those that were there when it came. A newer one of the same sector has the
 * higher tag.
 */
static void order(struct atom *atoms, unsigned int nr)
{
	unsigned int i, j;

	for (i = 0; i < nr; i++) {
		const uint64_t *newer = (const void *)atoms[i].data;

		for (j = i + 1; newer && (atoms[i].e->flags & FUA) && j < nr; j++) {
			const uint64_t *older = (const void *)atoms[j].data;

			if (older && atoms[j].sector == atoms[i].sector && *older >> 48 == *newer >> 48 && *older < *newer) {
				struct atom atom = atoms[j];

				memmove(&atoms[i + 1], &atoms[i], (j - i) * sizeof(atom));
				atoms[i++] = atom;
			}
		}
	}
}

/* All points between two flushes */
static unsigned int check_group(const struct entry *from, const struct entry *to, unsigned int w)
{
	unsigned int nr = collect(NULL, from, to, w), i;
	struct atom *atoms = calloc(nr + 1, sizeof(*atoms));
	const struct entry *e;

	must(atoms, "memory");
	collect(atoms, from, to, w);
	order(atoms, nr);
	check_point(atoms, nr, from, w);
	for (e = from; e < to; e++) {
		if (e->flags & MARK) {
			w = e->workload;
			acknowledge(w, e->op);
		}
		if (e->flags & (MARK | FUA))
			check_point(atoms, nr, e + 1, w);
	}
	for (i = 0; i < nr; i++) {
		apply(&atoms[i]);
		free(atoms[i].old);
	}
	free(atoms);
	return w;
}

static int check(const char *before, const char *log, const char *result)
{
	int fd = open(before, O_RDONLY);
	unsigned int w = 0;
	uint64_t from, to;
	FILE *out;
	off_t size;

	must(fd >= 0, before);
	size = lseek(fd, 0, SEEK_END);
	disk_sectors = size / SECTOR;
	disk = aligned(size);
	must(pread(fd, disk, size, 0) == size, before);
	close(fd);
	read_log(log);
	plan();
	for (from = 0; from < nr_entries; from = to) {
		for (to = from + 1; to < nr_entries && !(entries[to].flags & FLUSH); to++)
			;
		w = check_group(entries + from, entries + to, w);
	}
	out = fopen(result, "w");
	must(out, result);
	fprintf(out, "%u %llu %llu at %llu points of a log of %llu entries, %llu bad\n", w + 1, (unsigned long long)nr_states,
		(unsigned long long)nr_sampled, (unsigned long long)nr_points, (unsigned long long)nr_entries,
		(unsigned long long)nr_bad);
	must(!fclose(out), result);
	return nr_bad != 0;
}

int main(int argc, char **argv)
{
	unit_sectors = argc > 2 ? atoi(argv[2]) / SECTOR : 0;
	if (argc == 6 && !strcmp(argv[1], "paint") && unit_sectors) {
		paint(argv[4], strtoull(argv[5], NULL, 0), (uint64_t)2 * VDISK_STORE_LEAF_UNITS * unit_sectors,
		      !strcmp(argv[3], "base") ? base_tag : stale_tag);
		return 0;
	}
	if (argc == 5 && !strcmp(argv[1], "run") && unit_sectors)
		return run(argv[3], argv[4]);
	if (argc == 6 && !strcmp(argv[1], "check") && unit_sectors)
		return check(argv[3], argv[4], argv[5]);
	fputs("Usage: crashcut paint UNIT base|stale DEVICE FIRST_SECTOR\n"
	      "       crashcut run UNIT DEVICE NAME_OF_LOG_WRITES\n"
	      "       crashcut check UNIT STORE_BEFORE LOG RESULT\n"
	      "  RESULT gets the numbers of workloads, of states, and of points with too many states to try them all\n", stderr);
	return 2;
}
