// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verified random I/O: every block of a device is known by what was last done
 * to it, and every read is compared. Threads share the device under range
 * locks, so the model is exact, and other processes may suspend, reload or
 * grow the device meanwhile.
 *
 * What a block holds is a function of its number, its generation and the seed,
 * so a wrong block also says which one it should have been.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAGIC		0x314f494456ULL
#define LOCK_BYTES	65536
#define MAX_IOV		4

enum { EXIT_WRONG = 1, EXIT_IO = 2, EXIT_USAGE = 3 };

/* What a block holds: 0 is zeroes, UNKNOWN anything, else a generation. */
#define UNKNOWN		(~0U)
#define MAYBE		(1U << 31)	/* or zeroes: it was discarded */

static unsigned int threads = 4, max_kib = 256, block;
static unsigned int discards, zeroouts, fsyncs, nowaits, dsyncs, reads = 45;
static uint64_t seed, ops = 2000, size, nr_blocks;
static unsigned int seconds;
static bool zeroed, discard_zeroes, discard_any, verify, scribble;
static const char *device, *dump, *check, *known;
static int fd;

static uint32_t *model;
static pthread_mutex_t *locks;
static atomic_uint generation = 1;
static atomic_ulong done, count[6], again;
static atomic_bool stop;
static struct timespec end;
enum { READ, WRITE, DISCARD, ZEROOUT, FSYNC, NOWAIT };

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static uint64_t next(uint64_t *state)
{
	return mix(*state += 0x9e3779b97f4a7c15ULL);
}

static void fill(uint64_t *p, uint64_t nr, uint32_t gen)
{
	uint64_t x = mix(seed ^ mix(nr ^ ((uint64_t)gen << 40)));
	unsigned int i;

	p[0] = nr;
	p[1] = ((uint64_t)gen << 32) | (uint32_t)seed;
	for (i = 2; i < block / 8; i++)
		p[i] = x += 0x9e3779b97f4a7c15ULL ^ ((uint64_t)i << 56);
}

static bool is_zero(const uint64_t *p)
{
	return !p[0] && !memcmp(p, p + 1, block - 8);
}

static bool is_right(const uint64_t *p, uint64_t nr)
{
	uint32_t gen = model[nr];
	uint64_t want[block / 8];

	if (gen == UNKNOWN)
		return true;
	if ((!gen || (gen & MAYBE)) && is_zero(p))
		return true;
	if (!(gen & ~MAYBE))
		return false;
	fill(want, nr, gen & ~MAYBE);
	return !memcmp(p, want, block);
}

static void die(const char *what, uint64_t nr, uint64_t nr_blocks_of_it)
{
	fprintf(stderr, "vdio: %s of sectors %llu + %llu: %s (seed %llu)\n", what,
		(unsigned long long)nr * (block / 512),
		(unsigned long long)nr_blocks_of_it * (block / 512),
		strerror(errno), (unsigned long long)seed);
	_exit(EXIT_IO);
}

static void wrong(const uint64_t *p, uint64_t nr, const char *when)
{
	uint64_t want[block / 8];
	unsigned int i;

	memset(want, 0, block);
	if (model[nr] & ~MAYBE)
		fill(want, nr, model[nr] & ~MAYBE);
	for (i = 0; i < block / 8 && p[i] == want[i]; i++)
		;
	fprintf(stderr, "vdio: wrong byte at %llu (sector %llu + %u bytes), %s\n"
		"vdio: expected generation %u%s; found", (unsigned long long)nr * block + i * 8,
		(unsigned long long)nr * (block / 512), i * 8, when, model[nr] & ~MAYBE,
		model[nr] & MAYBE ? " or zeroes" : "");
	if (is_zero(p))
		fprintf(stderr, " zeroes");
	else if ((uint32_t)p[1] == (uint32_t)seed)
		fprintf(stderr, " generation %u of sector %llu", (unsigned int)(p[1] >> 32),
			(unsigned long long)p[0] * (block / 512));
	else
		fprintf(stderr, " %016llx %016llx", (unsigned long long)p[0], (unsigned long long)p[1]);
	fprintf(stderr, " (seed %llu)\n", (unsigned long long)seed);
	_exit(EXIT_WRONG);
}

static void compare(const char *buf, uint64_t nr, uint64_t len, const char *when)
{
	uint64_t i;

	for (i = 0; i < len; i++)
		if (!is_right((const void *)(buf + i * block), nr + i))
			wrong((const void *)(buf + i * block), nr + i, when);
}

static void lock_range(uint64_t nr, uint64_t len, bool take)
{
	uint64_t i, last = (nr + len - 1) * block / LOCK_BYTES;

	for (i = nr * block / LOCK_BYTES; i <= last; i++)
		if (take)
			pthread_mutex_lock(&locks[i]);
		else
			pthread_mutex_unlock(&locks[i]);
}

/* The same buffer in up to MAX_IOV pieces of whole blocks. */
static int slice(struct iovec *iov, char *buf, uint64_t len, uint64_t *rnd)
{
	int n = 0;

	while (len) {
		uint64_t part = n == MAX_IOV - 1 ? len : 1 + next(rnd) % len;

		iov[n++] = (struct iovec){ buf, part * block };
		buf += part * block;
		len -= part;
	}
	return n;
}

static void transfer(bool write, char *buf, uint64_t nr, uint64_t len, int flags, uint64_t *rnd)
{
	struct iovec iov[MAX_IOV];
	int n = slice(iov, buf, len, rnd);
	ssize_t r;

	for (;;) {
		r = write ? pwritev2(fd, iov, n, nr * block, flags) :
			    preadv2(fd, iov, n, nr * block, flags);
		if (r == (ssize_t)(len * block))
			return;
		if (r < 0 && errno == EINTR)
			continue;
		if (!(flags & RWF_NOWAIT) || (r < 0 && errno != EAGAIN))
			break;
		/* It would have had to wait, for some of it: all of it again. */
		atomic_fetch_add(&again, 1);
		flags &= ~RWF_NOWAIT;
	}
	if (r >= 0)
		errno = EIO;
	die(write ? "write" : "read", nr, len);
}

static void range_ioctl(unsigned long cmd, const char *what, uint64_t nr, uint64_t len)
{
	uint64_t range[2] = { nr * block, len * block };

	if (ioctl(fd, cmd, range))
		die(what, nr, len);
}

static bool finished(void)
{
	struct timespec now;

	if (atomic_load(&stop))
		return true;
	if (!seconds)
		return atomic_fetch_add(&done, 1) >= ops;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec >= end.tv_nsec);
}

static void one(char *buf, uint64_t *rnd)
{
	unsigned int dice = next(rnd) % 100, max = max_kib * 1024 / block;
	uint64_t nr, len, i;
	uint32_t gen;
	int flags = 0;

	/* Mostly small ones, as guests do. */
	len = 1 + next(rnd) % (next(rnd) % 4 ? (max + 7) / 8 : max);
	if (dice < discards + zeroouts)
		len *= 4;
	if (len > nr_blocks)
		len = nr_blocks;
	nr = next(rnd) % (nr_blocks - len + 1);
	/*
	 * Whole blocks also in memory: null_blk with blocks of 4096 writes beyond its
	 * pages if a block lies across two (seen on 6.12).
	 */
	buf += next(rnd) % (4096 / block ?: 1) * block;

	lock_range(nr, len, true);
	if (dice < discards) {
		for (i = 0; i < len; i++)
			if (discard_zeroes)
				model[nr + i] = 0;
			else if (discard_any)
				model[nr + i] = UNKNOWN;
			else if (model[nr + i] != UNKNOWN)
				model[nr + i] |= MAYBE;
		range_ioctl(BLKDISCARD, "discard", nr, len);
		atomic_fetch_add(&count[DISCARD], 1);
	} else if (dice < discards + zeroouts) {
		range_ioctl(BLKZEROOUT, "zeroout", nr, len);
		for (i = 0; i < len; i++)
			model[nr + i] = 0;
		atomic_fetch_add(&count[ZEROOUT], 1);
	} else if (dice < discards + zeroouts + fsyncs) {
		if (fsync(fd))
			die("fsync", 0, 0);
		atomic_fetch_add(&count[FSYNC], 1);
	} else {
		bool write = next(rnd) % 100 >= reads;

		if (next(rnd) % 100 < nowaits)
			flags |= RWF_NOWAIT;
		if (write && next(rnd) % 100 < dsyncs)
			flags |= RWF_DSYNC;
		if (flags & RWF_NOWAIT)
			atomic_fetch_add(&count[NOWAIT], 1);
		if (write) {
			gen = atomic_fetch_add(&generation, 1);
			for (i = 0; i < len; i++) {
				fill((void *)(buf + i * block), nr + i, gen);
				model[nr + i] = gen;
			}
		} else {
			memset(buf, 0x5a, len * block);
		}
		transfer(write, buf, nr, len, flags, rnd);
		if (!write)
			compare(buf, nr, len, "while it ran");
		atomic_fetch_add(&count[write ? WRITE : READ], 1);
	}
	lock_range(nr, len, false);
}

static void *run(void *arg)
{
	uint64_t rnd = mix(seed + (uintptr_t)arg);
	char *buf;

	if (posix_memalign((void **)&buf, 4096, max_kib * 1024 + 4096))
		abort();
	while (!finished())
		one(buf, &rnd);
	free(buf);
	return NULL;
}

static void verify_all(const char *when)
{
	uint64_t nr, len, rnd = 1, step = 1024 * 1024 / block;
	char *buf;

	if (posix_memalign((void **)&buf, 4096, step * block))
		abort();
	for (nr = 0; nr < nr_blocks; nr += len) {
		len = nr_blocks - nr < step ? nr_blocks - nr : step;
		memset(buf, 0x5a, len * block);
		transfer(false, buf, nr, len, 0, &rnd);
		compare(buf, nr, len, when);
	}
	free(buf);
}

/* Reads into memory that changes meanwhile, and that nobody looks at. */
static volatile char *junk;

static void *scribbler(void *arg)
{
	uint64_t i;

	(void)arg;
	while (!atomic_load(&stop))
		for (i = 0; i < 65536; i += 64)
			junk[i] = i;
	return NULL;
}

static void *junk_reader(void *arg)
{
	uint64_t rnd = mix(seed ^ 99), len = 65536 / block;

	(void)arg;
	while (!atomic_load(&stop))
		if (pread(fd, (void *)junk, len * block, next(&rnd) % (nr_blocks - len) * block) < 0)
			die("read", 0, 0);
	return NULL;
}

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "vdio: %s: %s\n", what, strerror(errno));
	exit(EXIT_USAGE);
}

static void save_model(void)
{
	uint64_t head[4] = { MAGIC, seed, block, nr_blocks };
	FILE *f = fopen(dump, "w");

	must(f && fwrite(head, sizeof(head), 1, f) && fwrite(model, 4, nr_blocks, f) == nr_blocks &&
	     !fclose(f), dump);
}

static void read_model(const char *name)
{
	FILE *f = fopen(name, "r");
	uint64_t head[4], i;

	must(f && fread(head, sizeof(head), 1, f) == 1 && head[0] == MAGIC, name);
	seed = head[1];
	must(head[2] % block == 0 && head[3] * head[2] <= nr_blocks * block, "the model does not fit the device");
	block = head[2];
	nr_blocks = head[3];
	must(fread(model, 4, nr_blocks, f) == nr_blocks, name);
	fclose(f);
	for (i = 0; i < nr_blocks; i++)
		if (model[i] != UNKNOWN && (model[i] & ~MAYBE) >= generation)
			generation = (model[i] & ~MAYBE) + 1;
}

static void on_signal(int sig)
{
	(void)sig;
	atomic_store(&stop, true);
}

static void usage(int status)
{
	fputs("Usage: vdio [OPTION...] DEVICE\n"
	      "  -t THREADS  (4)              -m KIB      largest transfer (256)\n"
	      "  -n OPS      in all (2000)    -s SECONDS  instead; SIGTERM ends it, too\n"
	      "  -S SEED                      -r PERCENT  reads among reads and writes (45)\n"
	      "  -d PERCENT  discards         -z PERCENT  write zeroes\n"
	      "  -f PERCENT  fsync            -w PERCENT  RWF_NOWAIT\n"
	      "  -u PERCENT  RWF_DSYNC among writes\n"
	      "  --size BYTES        use no more of the device\n"
	      "  --zeroed            the device reads as zeroes at first\n"
	      "  --discard-zeroes    what is discarded reads as zeroes\n"
	      "  --discard-any       what is discarded reads as anything\n"
	      "  --verify            read everything at the end\n"
	      "  --dump-model FILE   write down what the device holds\n"
	      "  --known FILE        what the device holds at first\n"
	      "  --scribble          other reads, into memory that changes meanwhile\n"
	      "  --check-file FILE   only compare DEVICE, which may be a file, with such a file\n"
	      "Exit status: 1 wrong byte, 2 I/O error, 3 it could not run.\n", stderr);
	exit(status);
}

static void options(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "size", 1, NULL, 1 }, { "zeroed", 0, NULL, 2 }, { "discard-zeroes", 0, NULL, 3 },
		{ "discard-any", 0, NULL, 7 }, { "verify", 0, NULL, 4 }, { "dump-model", 1, NULL, 5 }, { "check-file", 1, NULL, 6 },
		{ "known", 1, NULL, 8 }, { "scribble", 0, NULL, 9 },
		{ "help", 0, NULL, 'h' }, {}
	};
	int c;

	while ((c = getopt_long(argc, argv, "t:n:s:m:S:d:z:f:w:u:r:h", longs, NULL)) != -1) {
		unsigned long long n = optarg ? strtoull(optarg, NULL, 0) : 0;

		switch (c) {
		case 't': threads = n; break;
		case 'n': ops = n; break;
		case 's': seconds = n; break;
		case 'm': max_kib = n; break;
		case 'S': seed = n; break;
		case 'd': discards = n; break;
		case 'z': zeroouts = n; break;
		case 'f': fsyncs = n; break;
		case 'w': nowaits = n; break;
		case 'u': dsyncs = n; break;
		case 'r': reads = n; break;
		case 1: size = n; break;
		case 2: zeroed = true; break;
		case 3: discard_zeroes = true; break;
		case 7: discard_any = true; break;
		case 4: verify = true; break;
		case 5: dump = optarg; break;
		case 6: check = optarg; break;
		case 8: known = optarg; break;
		case 9: scribble = true; break;
		case 'h': usage(0); break;
		default: usage(EXIT_USAGE);
		}
	}
	if (optind + 1 != argc || !threads || threads > 64 || discards + zeroouts + fsyncs > 100)
		usage(EXIT_USAGE);
	device = argv[optind];
}

static void prepare(void)
{
	struct stat st;
	uint64_t bytes, i;

	if (!seed)
		must(getentropy(&seed, 4) == 0, "getentropy");
	must(!stat(device, &st), device);
	/* A file is read as any program does. */
	fd = open(device, (check ? O_RDONLY : O_RDWR) | (S_ISBLK(st.st_mode) ? O_DIRECT : 0) | O_CLOEXEC);
	must(fd >= 0, device);
	if (S_ISBLK(st.st_mode)) {
		must(!ioctl(fd, BLKSSZGET, &block) && !ioctl(fd, BLKGETSIZE64, &bytes), device);
	} else {
		block = 512;
		bytes = st.st_size;
	}
	if (size && size < bytes)
		bytes = size;
	must(bytes >= block && max_kib * 1024 >= block, "too small");
	nr_blocks = bytes / block;
	model = malloc(nr_blocks * sizeof(*model));
	locks = calloc(bytes / LOCK_BYTES + 1, sizeof(*locks));
	must(model && locks, "memory");
	memset(model, zeroed ? 0 : 0xff, nr_blocks * sizeof(*model));
	for (i = 0; i <= bytes / LOCK_BYTES; i++)
		pthread_mutex_init(&locks[i], NULL);
}

int main(int argc, char **argv)
{
	pthread_t thread[64], other[2];
	uintptr_t i;

	options(argc, argv);
	prepare();
	if (check) {
		read_model(check);
		verify_all("compared with the file");
		return 0;
	}
	if (known)
		read_model(known);
	printf("vdio: %s, %u threads, blocks of %u, seed %llu\n", device, threads, block,
	       (unsigned long long)seed);
	fflush(stdout);
	signal(SIGTERM, on_signal);
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += seconds;
	if (scribble) {
		must(!posix_memalign((void **)&junk, 4096, 65536), "memory");
		must(!pthread_create(&other[0], NULL, scribbler, NULL) &&
		     !pthread_create(&other[1], NULL, junk_reader, NULL), "thread");
	}
	for (i = 0; i < threads; i++)
		must(!pthread_create(&thread[i], NULL, run, (void *)i), "thread");
	for (i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	atomic_store(&stop, true);
	for (i = 0; i < 2 && scribble; i++)
		pthread_join(other[i], NULL);
	if (verify)
		verify_all("at the end");
	if (dump)
		save_model();
	printf("vdio: reads=%lu writes=%lu discards=%lu zeroouts=%lu fsyncs=%lu nowaits=%lu again=%lu\n",
	       count[READ], count[WRITE], count[DISCARD], count[ZEROOUT], count[FSYNC], count[NOWAIT], again);
	return 0;
}
