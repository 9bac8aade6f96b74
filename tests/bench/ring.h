/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * io_uring by its system calls: as little as servers of blobs and ublk need, the
 * same for each of them, in benchmarks and tests. One thread uses a ring.
 */
#ifndef RING_H
#define RING_H

#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of Debian 12 */
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER	0x1000
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN	0x2000
#endif

struct ring {
	int fd;
	unsigned int *sq_tail, *sq_mask, *sq_array;
	unsigned int *cq_head, *cq_tail, *cq_mask;
	char *sqes;
	struct io_uring_cqe *cqes;
	size_t sqe_size;
	unsigned int new;	/* filled in since ring_enter() */
};

static inline void die(const char *what)
{
	perror(what);
	exit(2);
}

static inline void *ring_map(int fd, size_t len, off_t offset)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_POPULATE, fd, offset);

	if (at == MAP_FAILED)
		die("io_uring: mmap");
	return at;
}

static inline void ring_open(struct ring *r, unsigned int entries,
			     unsigned int flags)
{
	struct io_uring_params p = { .flags = flags };
	char *sq, *cq;

	memset(r, 0, sizeof(*r));
	r->fd = syscall(SYS_io_uring_setup, entries, &p);
	if (r->fd < 0)
		die("io_uring_setup");
	r->sqe_size = sizeof(struct io_uring_sqe);
	if (flags & IORING_SETUP_SQE128)
		r->sqe_size *= 2;
	sq = ring_map(r->fd, p.sq_off.array + p.sq_entries * sizeof(__u32),
		      IORING_OFF_SQ_RING);
	cq = ring_map(r->fd, p.cq_off.cqes + p.cq_entries * sizeof(*r->cqes),
		      IORING_OFF_CQ_RING);
	r->sqes = ring_map(r->fd, p.sq_entries * r->sqe_size, IORING_OFF_SQES);
	r->sq_tail = (void *)(sq + p.sq_off.tail);
	r->sq_mask = (void *)(sq + p.sq_off.ring_mask);
	r->sq_array = (void *)(sq + p.sq_off.array);
	r->cq_head = (void *)(cq + p.cq_off.head);
	r->cq_tail = (void *)(cq + p.cq_off.tail);
	r->cq_mask = (void *)(cq + p.cq_off.ring_mask);
	r->cqes = (void *)(cq + p.cq_off.cqes);
}

/* Its only file is called 0 by what has IOSQE_FIXED_FILE. */
static inline void ring_file(struct ring *r, int fd)
{
	if (syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_FILES, &fd, 1))
		die("IORING_REGISTER_FILES");
}

/* The next one to fill in, all zeroes. */
static inline struct io_uring_sqe *ring_sqe(struct ring *r)
{
	unsigned int tail = *r->sq_tail + r->new++;
	unsigned int slot = tail & *r->sq_mask;
	char *sqe = r->sqes + slot * r->sqe_size;

	r->sq_array[slot] = slot;
	return memset(sqe, 0, r->sqe_size);
}

/* Submit what is filled in, and wait for so many completions. */
static inline void ring_enter(struct ring *r, unsigned int wait)
{
	unsigned int submit = r->new;

	__atomic_store_n(r->sq_tail, *r->sq_tail + submit, __ATOMIC_RELEASE);
	r->new = 0;
	while (syscall(SYS_io_uring_enter, r->fd, submit, wait,
		       IORING_ENTER_GETEVENTS, NULL, 0) < 0) {
		if (errno != EINTR)
			die("io_uring_enter");
		submit = 0;
	}
}

/* The next completion, or NULL; it is there until ring_seen(). */
static inline struct io_uring_cqe *ring_cqe(struct ring *r)
{
	unsigned int head = *r->cq_head;

	if (head == __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE))
		return NULL;
	return &r->cqes[head & *r->cq_mask];
}

static inline void ring_seen(struct ring *r)
{
	__atomic_store_n(r->cq_head, *r->cq_head + 1, __ATOMIC_RELEASE);
}

#endif /* RING_H */
