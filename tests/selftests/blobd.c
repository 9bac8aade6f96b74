// SPDX-License-Identifier: GPL-2.0-only
/*
 * A helper that serves a blob out of a file, well or badly, and a reader that
 * compares a disk with a file.
 *
 *	blobd [OPTION...] NAME FILE		serve
 *	blobd --check [OPTION...] DEVICE FILE	read and compare; with --all each byte once
 *
 * "attached" is printed when it is; with --peek what read() says, and no more. A wrong helper here always sends the right
 * bytes for the offset it states: so if any of them arrives somewhere else, the
 * reader sees it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "../../include/uapi/linux/vdisk.h"
#include "../bench/ring.h"

#define BATCH_MAX	256
#define GUARD		4096
#define CHUNK		32768	/* of --all */

static unsigned int threads = 1, batch = 16, delay_ms, unit, max_bytes, depth, files = 1;
static unsigned int piece, fail, give_up_after, forget;
static unsigned long ops = 1000;
static uint64_t seed = 1, size;
static bool check, uring, resume, more, push, fuzz, errors, cold, peek, all;
static int fd_given = -1;
static const char *identity, *blob;
static char *image;
static uint32_t *order;
static unsigned long nr_chunks;
static atomic_ulong next_chunk;
static atomic_ulong calls, refused, nr_errors;

static uint64_t mix(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ULL;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/* One operation at a time through a ring of its own: it waits in the kernel. */
static ssize_t ring_do(struct ring *r, int op, int fd, struct iovec *iov, unsigned int nr)
{
	struct io_uring_sqe *sqe = ring_sqe(r);
	struct io_uring_cqe *cqe;
	int res;

	sqe->opcode = op;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)iov;
	sqe->len = nr;
	sqe->off = -1;
	do
		ring_enter(r, 1);
	while (!(cqe = ring_cqe(r)));
	res = cqe->res;
	ring_seen(r);
	if (res >= 0)
		return res;
	errno = -res;
	return -1;
}

static struct vdisk_attach attach_fields(void)
{
	struct vdisk_attach at = {
		.size = sizeof(at), .version = VDISK_VERSION, .length = size, .unit = unit, .max_bytes = max_bytes,
		.depth = depth,
	};

	strncpy(at.name, blob, sizeof(at.name) - 1);
	return at;
}

static int attach(void)
{
	struct vdisk_attach at = attach_fields();
	int fd = fd_given >= 0 ? fd_given : open("/dev/vdisk", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("/dev/vdisk");
	if (resume) {
		if (ioctl(fd, VDISK_RESUME))
			die("VDISK_RESUME");
		return fd;
	}
	if (identity) {
		at.identity_len = strlen(identity);
		memcpy(at.identity, identity, at.identity_len);
	}
	while (ioctl(fd, VDISK_ATTACH, &at)) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (errno != ENOENT)
			die("VDISK_ATTACH");
		poll(&p, 1, -1);
	}
	return fd;
}

/* write() as far as it is taken; what is refused is counted. */
static void put(struct ring *r, int fd, struct iovec *iov, unsigned int nr)
{
	ssize_t res = uring ? ring_do(r, IORING_OP_WRITEV, fd, iov, nr) : writev(fd, iov, nr);

	atomic_fetch_add(&calls, 1);
	if (res < 0 && errno == ENODEV)
		exit(0);
	if (res < 0)
		atomic_fetch_add(&refused, 1);
}

static void sleep_ms(unsigned int ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L }, NULL);
}

/* If the test wants it so, nothing of it is mapped: the kernel has to fault. */
static char *bytes_at(uint64_t offset, unsigned int len)
{
	uint64_t start = offset & -4096ULL;

	if (cold)
		madvise(image + start, offset + len - start, MADV_DONTNEED);
	return image + offset;
}

static void answer(struct ring *ring, int fd, struct vdisk_request *req, unsigned int nr)
{
	static __thread struct vdisk_answer head[BATCH_MAX];
	static __thread struct iovec iov[2 * BATCH_MAX];
	unsigned int i, used = 0;

	if (push) {
		uint64_t at = req[0].offset + req[0].len;

		head[0] = (struct vdisk_answer){ .size = sizeof(head[0]), .offset = at < size ? at : 0, .len = 512 };
		iov[0] = (struct iovec){ &head[0], sizeof(head[0]) };
		iov[1] = (struct iovec){ bytes_at(head[0].offset, 512), 512 };
		put(ring, fd, iov, 2);
	}
	for (i = 0; i < nr; i++) {
		uint64_t offset = req[i].offset, end = offset + req[i].len;

		if (more && end + 8192 <= size)
			end += 8192;
		while (offset < end) {
			unsigned int len = piece && end - offset > piece ? piece : end - offset;

			head[i] = (struct vdisk_answer){
				.size = sizeof(head[i]), .id = req[i].id, .offset = offset, .len = len, .status = fail,
			};
			iov[used++] = (struct iovec){ &head[i], sizeof(head[i]) };
			if (!fail)
				iov[used++] = (struct iovec){ bytes_at(offset, len), len };
			offset += len;
			if (offset < end || cold) {
				put(ring, fd, iov, used);
				used = 0;
			}
		}
	}
	if (used)
		put(ring, fd, iov, used);
}

static void *serve(void *arg)
{
	int fd = (intptr_t)arg >> 16;
	struct vdisk_request req[BATCH_MAX];
	struct ring ring;

	if (uring)
		ring_open(&ring, 4, 0);
	for (;;) {
		struct iovec iov = { req, batch * sizeof(*req) };
		ssize_t res = uring ? ring_do(&ring, IORING_OP_READV, fd, &iov, 1) : readv(fd, &iov, 1);

		atomic_fetch_add(&calls, 1);
		if (res < 0 && errno == EINTR)
			continue;
		if (res < 0 && errno == ENODEV)
			exit(0);
		if (res <= 0 || res % sizeof(*req))
			die("read");
		if (give_up_after && atomic_load(&calls) >= give_up_after)
			for (;;)
				pause();
		if (atomic_load(&calls) <= forget)
			continue;
		if (delay_ms)
			sleep_ms(delay_ms);
		answer(&ring, fd, req, res / sizeof(*req));
	}
}

static bool is_zero(const void *bytes, size_t len)
{
	const char *byte = bytes;

	while (len && !*byte) {
		byte++;
		len--;
	}
	return !len;
}

/* As the header says it, of what may be refused for its fields alone. */
static bool attach_is_good(const struct vdisk_attach *at, size_t room)
{
	uint32_t block = at->unit ?: VDISK_BLOCK, most = at->max_bytes ?: block > 1 << 20 ? block : 1 << 20;
	size_t len = strnlen(at->name, sizeof(at->name));

	return at->size >= sizeof(*at) && at->size <= room && is_zero(at + 1, at->size - sizeof(*at)) &&
	       at->version == VDISK_VERSION && !at->flags && !at->timeout_ms && !at->reserved && !at->features &&
	       !(block & (block - 1)) && block >= VDISK_BLOCK && block <= VDISK_MAX_BYTES && !(most % block) &&
	       most <= VDISK_MAX_BYTES && at->depth <= VDISK_MAX_DEPTH_FILE && len && len < sizeof(at->name) &&
	       is_zero(at->name + len, sizeof(at->name) - len) && at->identity_len <= VDISK_IDENTITY_MAX &&
	       is_zero(at->identity + at->identity_len, sizeof(at->identity) - at->identity_len);
}

/* A file of its own, with a field or two that are anything. */
static void fuzz_attach(uint64_t *state)
{
	struct { struct vdisk_attach at; char tail[4096 - sizeof(struct vdisk_attach)]; } in = { .at = attach_fields() }, out;
	int fd = open("/dev/vdisk", O_RDWR | O_CLOEXEC);
	struct vdisk_attach *at = &in.at;
	bool good, done;

	if (fd < 0)
		die("/dev/vdisk");
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t x = mix(state);

		switch (x >> 32 & 15) {
		case 0: at->size ^= 1U << (x & 31); break;
		case 1: at->size += x & 63; in.tail[x >> 8 & 63] = x >> 16 & 1; break;
		case 2: at->version = x & 3; break;
		case 3: at->flags = 1ULL << (x & 63); break;
		case 4: at->length = x & 1 ? mix(state) : mix(state) % (2 * size); break;
		case 5: at->unit = x & 32 ? x : 1U << (x & 31); break;
		case 6: at->max_bytes = x & 32 ? x : VDISK_BLOCK * (x & 0xffff); break;
		case 7: at->depth = x & 0x1fff; break;
		case 8: at->timeout_ms = x & 1; break;
		case 9: at->reserved = x & 1; break;
		case 10: at->features = x & 1; break;
		case 11: at->name[x >> 8 & 63] = x; break;
		case 12: at->identity_len = x & 0x1ff; break;
		case 13: at->identity[x >> 8 & 255] = x; break;
		}
	}
	out = in;
	good = attach_is_good(at, sizeof(in));
	done = !ioctl(fd, VDISK_ATTACH, &out);
	if (done != good && (done || errno == EINVAL || errno == E2BIG || errno == EPROTONOSUPPORT)) {
		fprintf(stderr, "blobd: VDISK_ATTACH: %s\n", done ? "taken" : strerror(errno));
		exit(4);
	}
	atomic_fetch_add(&calls, 1);
	atomic_fetch_add(&refused, !done);
	close(fd);
}

/* Anything that a helper could do, at random; now and then what it should. */
static void fuzz_record(int fd, uint64_t *state, struct vdisk_request *req, unsigned int *nr)
{
	struct { struct vdisk_answer a; char tail[64]; } h = {};
	struct iovec iov[3];
	uint64_t x = mix(state);
	unsigned int which = *nr ? mix(state) % *nr : 0;
	size_t data;

	h.a.size = sizeof(h.a);
	if (*nr && x % 4) {
		h.a.id = req[which].id;
		h.a.offset = req[which].offset;
		h.a.len = req[which].len;
	} else {
		h.a.offset = mix(state) % (size / 512) * 512;
		h.a.len = (1 + mix(state) % 64) * 512;
	}
	data = h.a.len;
	switch (x >> 8 & 31) {
	case 0: h.a.id ^= 1ULL << (mix(state) & 63); break;
	case 1: h.a.offset ^= 1ULL << (mix(state) & 63); break;
	case 2: h.a.len ^= 1U << (mix(state) & 31); break;
	case 3: h.a.size ^= 1U << (mix(state) & 31); break;
	case 4: h.a.flags = mix(state); break;
	case 5: h.a.status = mix(state) % 200; data = 0; break;
	case 6: h.a.reserved = mix(state); break;
	case 7: data = mix(state) % (data + 1); break;
	case 8: h.a.len = 512 * (1 + mix(state) % (h.a.len / 512)); data = h.a.len; break;
	case 9: h.a.len += 512 * (mix(state) % 128); data = h.a.len; break;
	case 10: h.a.id = mix(state); break;
	case 11: h.a.status = EIO; data = 0; break;
	case 12: h.a.size += mix(state) % 64; h.tail[mix(state) % 64] = mix(state) & 1; break;
	case 13: ioctl(fd, VDISK_RESUME); return;
	case 14: ioctl(fd, mix(state), mix(state)); return;
	case 15: h.a.offset = -h.a.len; break;
	case 16: fuzz_attach(state); return;
	}
	iov[0] = (struct iovec){ &h, h.a.size < sizeof(h) ? h.a.size : sizeof(h.a) };
	/* The bytes of the offset it states, or memory that is not there */
	if (h.a.offset < size && data <= size - h.a.offset)
		iov[1] = (struct iovec){ image + h.a.offset, data };
	else
		iov[1] = (struct iovec){ (void *)8, data };
	if ((x >> 16 & 31) == 0)
		iov[1].iov_base = (void *)(uintptr_t)mix(state);
	iov[2] = iov[0];
	put(NULL, fd, iov, (x >> 24 & 15) ? 2 : 3);
	if ((x >> 32 & 3) == 0 && *nr)
		req[which] = req[--*nr];
}

static void *fuzz_serve(void *arg)
{
	int fd = (intptr_t)arg >> 16;
	struct vdisk_request req[BATCH_MAX] = {};
	unsigned long i;
	unsigned int nr = 0;

	for (i = 0; i < ops; i++) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		/* Each draws the same again, whatever the others found to read. */
		uint64_t state = seed + ((uint64_t)arg << 48) + (i << 32), x = mix(&state);
		ssize_t res;

		if (nr < BATCH_MAX / 2 && poll(&p, 1, 0) == 1) {
			/* Badly sized, and to nowhere, too */
			res = read(fd, x % 16 ? (void *)&req[nr] : (void *)8, x % 3 ? 32 * (1 + x % 64) : x % 200);
			if (res > 0)
				nr += res / sizeof(*req);
		}
		fuzz_record(fd, &state, req, &nr);
	}
	return NULL;
}

/* @buf has GUARD bytes more on both sides. */
static void compare(int fd, char *buf, uint64_t at, unsigned int len)
{
	unsigned long j;
	ssize_t res;

	memset(buf - GUARD, 0xa5, GUARD);
	memset(buf + len, 0xa5, GUARD);
	memset(buf, 0x5a, len);
	res = pread(fd, buf, len, at);
	for (j = 0; j < GUARD; j++)
		if (buf[j - GUARD] != (char)0xa5 || buf[len + j] != (char)0xa5)
			goto wrong;
	if (res < 0 && errors) {
		atomic_fetch_add(&nr_errors, 1);
		return;
	}
	if (res != (ssize_t)len) {
		fprintf(stderr, "blobd: read of %u at %llu: %zd %s\n", len, (unsigned long long)at, res,
			res < 0 ? strerror(errno) : "");
		exit(3);
	}
	if (!memcmp(buf, image + at, len))
		return;
wrong:
	fprintf(stderr, "blobd: wrong bytes: %u at %llu\n", len, (unsigned long long)at);
	exit(1);
}

static void *reader(void *arg)
{
	char *buf, *space = mmap(NULL, (2 << 20) + 2 * GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t state = seed + (uintptr_t)arg * 1000003;
	int fd = (intptr_t)arg >> 16;
	unsigned long i;

	buf = space + GUARD;
	while (all && (i = atomic_fetch_add(&next_chunk, 1)) < nr_chunks) {
		uint64_t at = (uint64_t)order[i] * CHUNK;

		compare(fd, buf, at, size - at < CHUNK ? size - at : CHUNK);
	}
	for (i = 0; !all && i < ops; i++) {
		uint64_t x = mix(&state), at = mix(&state) % (size / 512) * 512;
		unsigned int len = 512 * (1 + (x & 7 ? x >> 8 & 15 : x >> 8 & 2047));

		compare(fd, buf, at, len > size - at ? size - at : len);
	}
	return NULL;
}

/* Each chunk once, in an order that is drawn at random */
static void draw_order(void)
{
	uint64_t state = seed;
	unsigned long i;

	nr_chunks = (size + CHUNK - 1) / CHUNK;
	order = calloc(nr_chunks, sizeof(*order));
	if (!order)
		die("memory");
	for (i = 0; i < nr_chunks; i++) {
		unsigned long other = mix(&state) % (i + 1);

		order[i] = order[other];
		order[other] = i;
	}
}

static void start(void *(*fn)(void *), int *fds)
{
	pthread_t id[64];
	unsigned int i;

	for (i = 0; i < threads; i++)
		if (pthread_create(&id[i], NULL, fn, (void *)(intptr_t)(fds[check ? 0 : i % files] << 16 | (int)i)))
			die("pthread_create");
	for (i = 0; i < threads; i++)
		pthread_join(id[i], NULL);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "check", 0, NULL, 'C' }, { "threads", 1, NULL, 't' }, { "batch", 1, NULL, 'b' },
		{ "delay", 1, NULL, 'l' }, { "unit", 1, NULL, 'u' }, { "max", 1, NULL, 'm' }, { "depth", 1, NULL, 'd' },
		{ "files", 1, NULL, 'f' }, { "piece", 1, NULL, 'p' }, { "fail", 1, NULL, 'F' }, { "ops", 1, NULL, 'n' },
		{ "seed", 1, NULL, 's' }, { "uring", 0, NULL, 'U' }, { "resume", 0, NULL, 'R' }, { "more", 0, NULL, 'M' },
		{ "push", 0, NULL, 'P' }, { "fuzz", 0, NULL, 'Z' }, { "errors", 0, NULL, 'E' }, { "fd", 1, NULL, 'D' },
		{ "identity", 1, NULL, 'i' }, { "uid", 1, NULL, 'I' }, { "stop-after", 1, NULL, 'S' },
		{ "forget", 1, NULL, 'G' }, { "cold", 0, NULL, 'c' }, { "peek", 0, NULL, 'K' }, { "length", 1, NULL, 'L' },
		{ "all", 0, NULL, 'A' }, {}
	};
	struct stat st;
	int fds[64], fd, c;
	unsigned int i;

	uint64_t length = 0;

	while ((c = getopt_long(argc, argv, "t:b:n:", options, NULL)) != -1) {
		switch (c) {
		case 'C': check = true; break;
		case 't': threads = atoi(optarg); break;
		case 'b': batch = atoi(optarg); break;
		case 'l': delay_ms = atoi(optarg); break;
		case 'u': unit = atoi(optarg); break;
		case 'm': max_bytes = atoi(optarg); break;
		case 'd': depth = atoi(optarg); break;
		case 'f': files = atoi(optarg); break;
		case 'p': piece = atoi(optarg); break;
		case 'F': fail = atoi(optarg); break;
		case 'n': ops = strtoul(optarg, NULL, 0); break;
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'U': uring = true; break;
		case 'R': resume = true; break;
		case 'M': more = true; break;
		case 'P': push = true; break;
		case 'Z': fuzz = true; break;
		case 'E': errors = true; break;
		case 'D': fd_given = atoi(optarg); break;
		case 'i': identity = optarg; break;
		case 'I':
			if (setresuid(atoi(optarg), atoi(optarg), atoi(optarg)))
				die("setresuid");
			break;
		case 'S': give_up_after = atoi(optarg); break;
		case 'G': forget = atoi(optarg); break;
		case 'c': cold = true; break;
		case 'K': peek = true; break;
		case 'A': all = true; break;
		case 'L': length = strtoull(optarg, NULL, 0); break;
		default: return 2;
		}
	}
	if (argc - optind != 2 || threads > 64 || files > 64 || batch > BATCH_MAX)
		return 2;
	fd = open(argv[optind + 1], O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		die(argv[optind + 1]);
	size = st.st_size;
	image = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (image == MAP_FAILED)
		die("mmap");
	if (length)
		size = length;
	if (check) {
		fds[0] = open(argv[optind], O_RDONLY | O_DIRECT);
		if (fds[0] < 0)
			die(argv[optind]);
		if (all)
			draw_order();
		start(reader, fds);
		printf("errors=%lu\n", atomic_load(&nr_errors));
		return 0;
	}
	blob = argv[optind];
	for (i = 0; i < files; i++)
		fds[i] = attach();
	if (peek) {
		struct vdisk_request req[BATCH_MAX];
		ssize_t res = read(fds[0], req, sizeof(req));

		for (i = 0; res > 0 && i < res / sizeof(*req); i++)
			printf("%s%u %llu %u", i ? ";" : "", req[i].priority, (unsigned long long)req[i].offset,
			       req[i].len);
		printf("\n");
		return 0;
	}
	printf("attached\n");
	fflush(stdout);
	start(fuzz ? fuzz_serve : serve, fds);
	printf("calls=%lu refused=%lu\n", atomic_load(&calls), atomic_load(&refused));
	return 0;
}
