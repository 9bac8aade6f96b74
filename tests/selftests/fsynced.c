// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files that are written and fsynced, so that it can be said of what a power cut
 * leaves whether they are there. `run` writes, overwrites, punches and removes
 * files, in two processes at a time, and says of each operation when it begins
 * and when it is durable: by a mark in the logs of dm-log-writes, or on standard
 * output. `check` takes what was said before the cut, one mark a line, and looks
 * at the files: all that was durable is there, and nothing is there but that and
 * what had begun.
 *
 * A mark is i,<operation>,<kind>,<file>,<first block>,<blocks> or a,<operation>.
 * A file has whole blocks, and each is full of the file, its own number and the
 * operation that wrote it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

#define BLOCK		1024U
#define BLOCKS		16U	/* of a file at most */
#define LIVE		6U	/* files of a process at a time */
#define PROCESSES	2U
#define MAX_OPS		65536U

/* WRITE is of a file that is new, longer, or neither; DSYNC is durable by itself. */
enum kind { WRITE = 'w', DSYNC = 'd', PUNCH = 'p', REMOVE = 'r' };

static void fill(void *buf, unsigned int file, unsigned int block, unsigned int op)
{
	uint64_t *word = buf, tag = (uint64_t)file << 40 | (uint64_t)block << 32 | op;
	unsigned int i;

	for (i = 0; i < BLOCK / sizeof(tag); i++)
		word[i] = tag;
}

/* run */

static const char *logged;	/* names of devices, with commas between them; "-": standard output */
static int control;

static void mark_one(const char *name, size_t len, const char *text)
{
	struct {
		struct dm_ioctl dmi;
		struct dm_target_msg msg;
		char text[80];
	} m = { .dmi = { .version = { 4, 0, 0 }, .data_size = sizeof(m), .data_start = sizeof(m.dmi) } };

	snprintf(m.dmi.name, sizeof(m.dmi.name), "%.*s", (int)len, name);
	snprintf(m.text, sizeof(m.text), "mark %s", text);
	must(!ioctl(control, DM_TARGET_MSG, &m), "mark");
}

static void mark(const char *text)
{
	const char *name = logged;

	if (!strcmp(logged, "-")) {
		dprintf(1, "%s\n", text);
		return;
	}
	while (*name) {
		size_t len = strcspn(name, ",");

		mark_one(name, len, text);
		name += len + (name[len] == ',');
	}
}

static unsigned int *next_op;	/* shared by the processes */

static unsigned int begin(enum kind kind, unsigned int file, unsigned int first, unsigned int nr)
{
	unsigned int op = __atomic_add_fetch(next_op, 1, __ATOMIC_RELAXED);
	char text[64];

	snprintf(text, sizeof(text), "i,%u,%c,%u,%u,%u", op, kind, file, first, nr);
	mark(text);
	return op;
}

static void durable(unsigned int op)
{
	char text[64];

	snprintf(text, sizeof(text), "a,%u", op);
	mark(text);
}

struct file {
	unsigned int name, nr;	/* blocks */
};

static void write_file(struct file *f, enum kind kind, unsigned int first, unsigned int nr)
{
	static char buf[BLOCKS * BLOCK] __attribute__((aligned(4096)));
	int flags = kind == DSYNC ? O_DIRECT | O_DSYNC : 0, fd;
	unsigned int op = begin(kind, f->name, first, nr), i;
	char path[16];

	snprintf(path, sizeof(path), "%u", f->name);
	for (i = 0; i < nr; i++)
		fill(buf + i * BLOCK, f->name, first + i, op);
	fd = open(path, O_WRONLY | O_CREAT | flags, 0600);
	must(fd >= 0, path);
	must(pwrite(fd, buf, nr * BLOCK, first * BLOCK) == (ssize_t)(nr * BLOCK), "write");
	if (kind != DSYNC)
		must(!fsync(fd), "fsync");
	close(fd);
	durable(op);
	if (f->nr < first + nr)
		f->nr = first + nr;
}

static void punch_file(const struct file *f, unsigned int first, unsigned int nr)
{
	unsigned int op = begin(PUNCH, f->name, first, nr);
	char path[16];
	int fd;

	snprintf(path, sizeof(path), "%u", f->name);
	fd = open(path, O_WRONLY);
	must(fd >= 0, path);
	must(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first * BLOCK, nr * BLOCK), "punch");
	must(!fsync(fd), "fsync");
	close(fd);
	durable(op);
}

static void remove_file(struct file *f, int dir)
{
	unsigned int op = begin(REMOVE, f->name, 0, 0);
	char path[16];

	snprintf(path, sizeof(path), "%u", f->name);
	must(!unlink(path), path);
	must(!fsync(dir), "fsync");
	durable(op);
	f->nr = 0;
}

/* Nobody waits for that, and nobody looks for it. */
static void litter(unsigned int process)
{
	char path[16], buf[3 * BLOCK];
	int fd;

	snprintf(path, sizeof(path), "junk%u", process);
	if (random() % 2) {
		unlink(path);
		return;
	}
	memset(buf, 'j', sizeof(buf));
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	must(fd >= 0 && write(fd, buf, sizeof(buf)) == sizeof(buf), path);
	close(fd);
}

static void trim(int dir)
{
	struct fstrim_range range = { .len = UINT64_MAX };

	must(!ioctl(dir, FITRIM, &range), "trim");
}

static void one(struct file *f, unsigned int *name, int dir)
{
	unsigned int first, nr;

	if (!f->nr) {
		f->name = (*name)++;
		write_file(f, WRITE, 0, 1 + random() % 8);
		return;
	}
	first = random() % f->nr;
	nr = 1 + random() % (f->nr - first);
	switch (random() % 10) {
	case 0 ... 1:
		remove_file(f, dir);
		break;
	case 2 ... 3:
		punch_file(f, first, nr);
		break;
	case 4 ... 6:
		write_file(f, DSYNC, first, nr);
		break;
	case 7:
		write_file(f, WRITE, first, nr);
		break;
	default:
		if (f->nr < BLOCKS)
			write_file(f, WRITE, f->nr, 1 + random() % (BLOCKS - f->nr));
		else
			remove_file(f, dir);
	}
}

static void process(unsigned int p, unsigned int first, unsigned int ops, unsigned int seed)
{
	/* No two processes, nor two runs, have a name in common. */
	unsigned int name = (first + 1) * PROCESSES * 16 + p * ops, i;
	struct file files[LIVE] = {};
	int dir = open(".", O_RDONLY | O_DIRECTORY);

	must(dir >= 0, ".");
	srandom(seed * PROCESSES + p);
	for (i = 0; i < ops; i++) {
		if (random() % 3 == 0)
			litter(p);
		if ((!p && i == ops / 2) || random() % 12 == 0)
			trim(dir);
		one(&files[random() % LIVE], &name, dir);
	}
	exit(0);
}

static int run(char **argv)
{
	unsigned int first = atoi(argv[4]), ops = atoi(argv[5]), seed = atoi(argv[6]), p;
	int status, bad = 0;

	logged = argv[3];
	control = open("/dev/mapper/control", O_RDWR);
	must(control >= 0, "/dev/mapper/control");
	must(!chdir(argv[2]), argv[2]);
	next_op = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(next_op != MAP_FAILED, "memory");
	*next_op = first;
	for (p = 0; p < PROCESSES; p++) {
		pid_t pid = fork();

		must(pid >= 0, "fork");
		if (!pid)
			process(p, first, ops, seed);
	}
	for (p = 0; p < PROCESSES; p++) {
		must(wait(&status) > 0, "wait");
		bad |= status;
	}
	return bad ? 2 : 0;
}

/* check */

static struct op {
	enum kind kind;
	unsigned int op, file, first, nr;
	bool durable;
} ops[MAX_OPS];	/* those that had begun */
static unsigned int nr_ops, nr_durable, nr_files, nr_bad;

static void bad(unsigned int file, unsigned int block, const char *what, uint64_t found)
{
	if (nr_bad++ < 10)
		printf("file %u, block %u: %s %016llx\n", file, block, what, (unsigned long long)found);
}

static void read_marks(void)
{
	unsigned int op, file, first, nr, i;
	char line[128], kind;

	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "i,%u,%c,%u,%u,%u", &op, &kind, &file, &first, &nr) == 5) {
			if (nr_ops == MAX_OPS) {
				errno = ENOSPC;
				die("marks");
			}
			ops[nr_ops++] = (struct op){ .kind = kind, .op = op, .file = file, .first = first, .nr = nr };
		} else if (sscanf(line, "a,%u", &op) == 1) {
			for (i = nr_ops; i-- && ops[i].op != op;)
				;
			must(i < nr_ops, "mark of what had not begun");
			ops[i].durable = true;
			nr_durable++;
		}
	}
}

/*
 * Operations of a file come one after another, and so do their marks. So of
 * those that are about a block, the last durable one counts, or a later one.
 */
static bool may_have(unsigned int file, unsigned int block, unsigned int size, uint64_t tag)
{
	bool zero = true;	/* before all of them, behind the end */
	unsigned int i, may = 0;

	for (i = 0; i < nr_ops; i++) {
		const struct op *o = &ops[i];
		bool now;

		if (o->file != file || block < o->first || block >= o->first + o->nr)
			continue;
		now = o->kind == PUNCH ? !tag : tag == ((uint64_t)file << 40 | (uint64_t)block << 32 | o->op);
		if (o->durable)
			may = 0, zero = false;
		may |= now;
	}
	/* A write that was under way may have made the file longer, and no more than that. */
	return may || (zero && !tag && block >= size);
}

static void check_file(unsigned int file)
{
	unsigned int i, block, least = 0, most = 0;
	bool known = false, going = false, gone = false;
	uint64_t words[BLOCK / 8];
	char path[16];
	struct stat st;
	int fd;

	for (i = 0; i < nr_ops; i++) {
		const struct op *o = &ops[i];
		unsigned int end = o->first + o->nr;

		if (o->file != file)
			continue;
		if (o->kind == REMOVE) {
			going = true;
			gone |= o->durable;
		} else if (o->kind != PUNCH) {
			known |= o->durable;
			most = end > most ? end : most;
			least = o->durable && end > least ? end : least;
		}
	}
	snprintf(path, sizeof(path), "%u", file);
	fd = open(path, O_RDONLY);
	if (fd < 0) {
		if (errno != ENOENT || (known && !going))
			bad(file, 0, "cannot be opened, error", errno);
		return;
	}
	nr_files += known;
	if (gone)
		bad(file, 0, "was removed", 0);
	if (going)
		goto out;	/* A part of it may be gone. */
	must(!fstat(fd, &st), "stat");
	if (st.st_size % BLOCK || st.st_size < least * BLOCK || st.st_size > most * BLOCK)
		bad(file, 0, "has the length", st.st_size);
	for (block = 0; block < st.st_size / BLOCK; block++) {
		if (pread(fd, words, BLOCK, block * BLOCK) != BLOCK) {
			bad(file, block, "cannot be read, error", errno);
			continue;
		}
		for (i = 1; i < BLOCK / 8; i++)
			if (words[i] != words[0])
				break;
		if (i < BLOCK / 8)
			bad(file, block, "is of two pieces", words[i]);
		else if (!may_have(file, block, least, words[0]))
			bad(file, block, "has", words[0]);
	}
out:
	close(fd);
}

static int check(const char *dir)
{
	unsigned int i, k;

	must(!chdir(dir), dir);
	read_marks();
	for (i = 0; i < nr_ops; i++) {
		for (k = 0; ops[k].file != ops[i].file; k++)
			;
		if (k == i)
			check_file(ops[i].file);
	}
	printf("%u durable operations, %u files\n", nr_durable, nr_files);
	return nr_bad != 0;
}

int main(int argc, char **argv)
{
	if (argc == 7 && !strcmp(argv[1], "run"))
		return run(argv);
	if (argc == 3 && !strcmp(argv[1], "check"))
		return check(argv[2]);
	fputs("Usage: fsynced run DIR LOGGED[,LOGGED]|- FIRST_OPERATION OPERATIONS_EACH SEED\n"
	      "       fsynced check DIR <MARKS\n", stderr);
	return 2;
}
