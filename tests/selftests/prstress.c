// SPDX-License-Identifier: GPL-2.0-only
/*
 * Three nexuses write and read all the time, while one thread makes reservation calls from any of them, at random.
 *
 * The thread knows what each nexus may do after each call, by a model of its own. An operation that began and ended with
 * no call in between has to end as the model says; one that met a call, as it says of before, of after, or of between.
 * Each thread writes blocks of its own and knows what has to be in them. In the end they are read from the disk below:
 * a write that was refused must not be there.
 *
 * A preempt-and-abort is a message. When it returns nothing of the victims may be on its way: the victims' blocks are
 * read from the disk below, twice, with some time in between.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/pr.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "must.h"

#define NEXUSES	3
#define WRITERS	2		/* threads per nexus */
#define BLOCKS	16		/* of each thread */
#define BLOCK	4096
#define CALLS	(1 << 20)

enum { READ = 1, WRITE = 2 };

static struct model {
	uint64_t key[NEXUSES];
	unsigned int type;
	int holder;
} model;

static struct worker {
	pthread_t thread;
	int nexus, index;
	unsigned int seed;
	uint64_t stamp[BLOCKS];
	unsigned long done, refused, judged;
} workers[NEXUSES * WRITERS];

static int fds[NEXUSES], below, control;
static const char *names[NEXUSES];
static uint8_t rights[CALLS + 1][NEXUSES];
static atomic_uint begun, ended;
static atomic_bool stop, wrong;

static void complain(struct worker *w, const char *what, int got, unsigned int from, unsigned int to)
{
	fprintf(stderr, "nexus %d: %s: %s, calls %u to %u, may %u to %u\n", w->nexus, what, strerror(got), from, to,
		rights[from][w->nexus], rights[to][w->nexus]);
	atomic_store(&wrong, true);
	atomic_store(&stop, true);
}

static off_t place(int worker, int block) { return ((off_t)worker * BLOCKS + block) * BLOCK; }

static void fill(uint64_t *buf, uint64_t stamp)
{
	for (unsigned int i = 0; i < BLOCK / 8; i++)
		buf[i] = stamp;
}

static bool holds(const uint64_t *buf, uint64_t stamp)
{
	for (unsigned int i = 0; i < BLOCK / 8; i++)
		if (buf[i] != stamp)
			return false;
	return true;
}

/* Was this the right end of an operation that began when @from was the last call to end, and ended when @to had begun? */
static bool fair(struct worker *w, unsigned int from, unsigned int to, int right, bool refused)
{
	for (unsigned int i = from; i <= to; i++) {
		/* The calls still to end are judged by those that did. */
		if (i > atomic_load(&ended))
			return true;
		if (!(rights[i][w->nexus] & right) == refused)
			return true;
	}
	return false;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t *buf, next = 1;

	if (posix_memalign((void **)&buf, BLOCK, BLOCK))
		die("memory");
	while (!atomic_load(&stop)) {
		int block = rand_r(&w->seed) % BLOCKS, right = rand_r(&w->seed) % 3 ? WRITE : READ, got;
		unsigned int from = atomic_load(&ended), to;
		uint64_t stamp = ((uint64_t)(w->index + 1) << 48) + next++;
		off_t at = place(w->index, block);
		ssize_t n;

		fill(buf, stamp);
		n = right == WRITE ? pwrite(fds[w->nexus], buf, BLOCK, at) : pread(fds[w->nexus], buf, BLOCK, at);
		got = n == BLOCK ? 0 : errno;
		to = atomic_load(&begun);
		if (n != BLOCK && errno != EBADE)
			complain(w, right == WRITE ? "write" : "read", got, from, to);
		else if (!fair(w, from, to, right, got))
			complain(w, right == WRITE ? "write" : "read", got, from, to);
		w->done++;
		w->refused += got != 0;
		w->judged += from == to;
		if (got)
			continue;
		if (right == WRITE)
			w->stamp[block] = stamp;
		else if (!holds(buf, w->stamp[block]))
			complain(w, "wrong data", 0, from, to);
	}
	free(buf);
	return NULL;
}

/* The model: SPC's words, for the calls that are made here. */

static bool all(unsigned int type) { return type >= 5; }
static bool holder(int n) { return model.type && model.key[n] && (all(model.type) || model.holder == n); }

static void settle(void)
{
	bool any = model.key[0] || model.key[1] || model.key[2];

	if (model.type && (all(model.type) ? !any : !model.key[model.holder]))
		model.type = 0;
}

static uint8_t may(int n)
{
	bool member = model.key[n];

	switch (model.type) {
	case 1: return holder(n) ? READ | WRITE : READ;
	case 2: return holder(n) ? READ | WRITE : 0;
	case 3: case 5: return member ? READ | WRITE : READ;
	case 4: case 6: return member ? READ | WRITE : 0;
	default: return READ | WRITE;
	}
}

static int message(int nexus, const char *text)
{
	struct { struct dm_ioctl dmi; struct dm_target_msg msg; char text[256]; } m;

	memset(&m, 0, sizeof(m));
	memcpy(m.dmi.version, (__u32[]){ 4, 0, 0 }, sizeof(m.dmi.version));
	m.dmi.data_size = sizeof(m);
	m.dmi.data_start = offsetof(typeof(m), msg);
	strcpy(m.dmi.name, names[nexus]);
	strcpy((char *)&m.msg + offsetof(struct dm_target_msg, message), text);
	return ioctl(control, DM_TARGET_MSG, &m) ? -errno : 0;
}

/* Nothing of the victims comes any more. */
static void check_abort(unsigned int victims)
{
	static char first[NEXUSES * WRITERS * BLOCKS * BLOCK] __attribute__((aligned(BLOCK)));
	static char second[NEXUSES * WRITERS * BLOCKS * BLOCK] __attribute__((aligned(BLOCK)));
	struct timespec some = { .tv_nsec = 8000000 };

	if (pread(below, first, sizeof(first), 0) != sizeof(first))
		die("the disk below");
	nanosleep(&some, NULL);
	if (pread(below, second, sizeof(second), 0) != sizeof(second))
		die("the disk below");
	for (int i = 0; i < NEXUSES * WRITERS; i++)
		if ((victims & (1U << workers[i].nexus)) && !(may(workers[i].nexus) & WRITE) &&
		    memcmp(first + place(i, 0), second + place(i, 0), BLOCKS * BLOCK))
			complain(&workers[i], "written after preempt-abort", 0, atomic_load(&ended), atomic_load(&begun));
}

static const char *const type_names[] = {
	"none", "write-exclusive", "exclusive-access", "write-exclusive-reg-only", "exclusive-access-reg-only",
	"write-exclusive-all-regs", "exclusive-access-all-regs",
};

static unsigned int seed;
static unsigned long nr_aborts;

/* Returns the victims of a preempt-and-abort. */
static unsigned int call(void)
{
	int n = rand_r(&seed) % NEXUSES, v = rand_r(&seed) % NEXUSES, r = 0, i;
	unsigned int type = 1 + rand_r(&seed) % 6, victims = 0;
	uint64_t key = model.key[n], victim;
	bool abort, takes;
	char text[128];

	if (!key) {
		key = 0x100 + n;
		r = ioctl(fds[n], IOC_PR_REGISTER, &(struct pr_registration){ .new_key = key });
		model.key[n] = key;
		goto out;
	}
	switch (rand_r(&seed) % 8) {
	case 0:
		r = ioctl(fds[n], IOC_PR_REGISTER, &(struct pr_registration){ .old_key = key });
		model.key[n] = 0;
		settle();
		break;
	case 1: case 2: case 3:
		r = ioctl(fds[n], IOC_PR_RESERVE, &(struct pr_reservation){ .key = key, .type = type });
		if (model.type && !(holder(n) && model.type == type)) {
			r = r == 0x18 ? 0 : -1;
		} else if (!model.type) {
			model.type = type;
			model.holder = n;
		}
		break;
	case 4:
		if (holder(n)) {
			r = ioctl(fds[n], IOC_PR_RELEASE, &(struct pr_reservation){ .key = key, .type = model.type });
			model.type = 0;
		}
		break;
	case 5:
		if (rand_r(&seed) % 4)
			break;
		r = ioctl(fds[n], IOC_PR_CLEAR, &(struct pr_clear){ .key = key });
		memset(&model, 0, sizeof(model));
		break;
	default:
		victim = all(model.type) ? 0 : model.key[v];
		if (v == n || (!victim && !all(model.type)))
			break;
		abort = rand_r(&seed) % 2;
		takes = model.type && (!victim || model.key[model.holder] == victim);
		if (abort) {
			snprintf(text, sizeof(text), "pr preempt-abort 0x%llx 0x%llx %s", (unsigned long long)key,
				 (unsigned long long)victim, type_names[type]);
			r = message(n, text);
			nr_aborts++;
		} else {
			r = ioctl(fds[n], IOC_PR_PREEMPT,
				  &(struct pr_preempt){ .old_key = key, .new_key = victim, .type = type });
		}
		for (i = 0; i < NEXUSES; i++) {
			if (i == n || !model.key[i] || (victim && model.key[i] != victim))
				continue;
			model.key[i] = 0;
			victims |= abort << i;
		}
		if (takes) {
			model.type = type;
			model.holder = n;
		}
	}
out:
	if (r)
		fprintf(stderr, "a call ends with %d (%s)\n", r, strerror(errno)), atomic_store(&wrong, true);
	return victims;
}

static bool check_disk(void)
{
	uint64_t *buf;
	bool good = true;

	if (posix_memalign((void **)&buf, BLOCK, BLOCK))
		die("memory");
	for (int i = 0; i < NEXUSES * WRITERS; i++)
		for (int block = 0; block < BLOCKS; block++) {
			if (pread(below, buf, BLOCK, place(i, block)) != BLOCK)
				die("the disk below");
			if (holds(buf, workers[i].stamp[block]))
				continue;
			fprintf(stderr, "nexus %d: block %d has %llx, should have %llx\n", workers[i].nexus, block,
				(unsigned long long)buf[0], (unsigned long long)workers[i].stamp[block]);
			good = false;
		}
	return good;
}

int main(int argc, char **argv)
{
	unsigned long done = 0, refused = 0, judged = 0, nr = 0;
	time_t end;
	int i;

	if (argc != 7) {
		fputs("Usage: prstress SECONDS SEED DISK_BELOW NAME NAME NAME\n"
		      "The disk below is all zeroes, and the names are those of mapped devices.\n", stderr);
		return 2;
	}
	seed = strtoul(argv[2], NULL, 0) ?: (unsigned int)time(NULL);
	printf("seed %u\n", seed);
	control = open("/dev/mapper/control", O_RDWR);
	below = open(argv[3], O_RDONLY | O_DIRECT);
	if (control < 0 || below < 0)
		die(argv[3]);
	for (i = 0; i < NEXUSES; i++) {
		char path[256];

		names[i] = argv[4 + i];
		snprintf(path, sizeof(path), "/dev/mapper/%s", names[i]);
		fds[i] = open(path, O_RDWR | O_DIRECT);
		if (fds[i] < 0)
			die(path);
		rights[0][i] = READ | WRITE;
	}
	for (i = 0; i < NEXUSES * WRITERS; i++) {
		workers[i].index = i;
		workers[i].nexus = i / WRITERS;
		workers[i].seed = seed + i;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			die("thread");
	}
	end = time(NULL) + strtol(argv[1], NULL, 0);
	while (!atomic_load(&stop) && !atomic_load(&wrong) && time(NULL) < end && nr < CALLS) {
		struct timespec pause = { .tv_nsec = rand_r(&seed) % 20 ? rand_r(&seed) % 1000000 : 20000000 };
		unsigned int victims;

		atomic_store(&begun, ++nr);
		victims = call();
		for (i = 0; i < NEXUSES; i++)
			rights[nr][i] = may(i);
		atomic_store(&ended, nr);
		if (victims)
			check_abort(victims);
		nanosleep(&pause, NULL);
	}
	atomic_store(&stop, true);
	for (i = 0; i < NEXUSES * WRITERS; i++) {
		pthread_join(workers[i].thread, NULL);
		done += workers[i].done;
		refused += workers[i].refused;
		judged += workers[i].judged;
	}
	printf("%lu calls, %lu of them abort; %lu operations, %lu refused, %lu met no call\n", nr, nr_aborts, done, refused,
	       judged);
	return !check_disk() || atomic_load(&wrong);
}
