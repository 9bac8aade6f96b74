// SPDX-License-Identifier: GPL-2.0-only
/*
 * A helper that answers from memory, to measure what a miss costs.
 *
 *	blobmem one|batch|uring NAME FILE
 *
 * one: a request is read by one call and answered by another one; batch: so
 * are all that there are; uring: one call answers these and waits for more.
 * Its answers point straight into FILE, mapped and locked. "attached" is
 * printed when it is; when the name is gone, it ends.
 */
#include <fcntl.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "../../include/uapi/linux/vdisk.h"
#include "ring.h"

#define BATCH	128U

static char *image;
static int fd;
static struct vdisk_request requests[BATCH];
static struct vdisk_answer answers[BATCH];
static struct iovec iov[2 * BATCH];

static void attach(const char *name, uint64_t length)
{
	struct vdisk_attach at = {
		.size = sizeof(at), .version = VDISK_VERSION, .length = length,
	};

	snprintf(at.name, sizeof(at.name), "%s", name);
	fd = open("/dev/vdisk", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die("/dev/vdisk");
	if (ioctl(fd, VDISK_ATTACH, &at))
		die("VDISK_ATTACH");
}

/* res is what read() said: fills in iov, and returns how many of it. */
static unsigned int answer(ssize_t res)
{
	unsigned int i, nr = res / sizeof(*requests);

	if (res == -ENODEV)
		exit(0);
	if (res <= 0) {
		errno = -res;
		die("read");
	}
	for (i = 0; i < nr; i++) {
		const struct vdisk_request *req = &requests[i];

		answers[i] = (struct vdisk_answer){
			.size = sizeof(*answers), .id = req->id,
			.offset = req->offset, .len = req->len,
		};
		iov[2 * i] = (struct iovec){ &answers[i], sizeof(*answers) };
		iov[2 * i + 1] = (struct iovec){ image + req->offset, req->len };
	}
	return 2 * nr;
}

static void serve(unsigned int batch)
{
	for (;;) {
		ssize_t res = read(fd, requests, batch * sizeof(*requests));

		if (writev(fd, iov, answer(res < 0 ? -errno : res)) < 0 &&
		    errno != ENODEV)
			die("writev");
	}
}

static void serve_uring(void)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	unsigned int nr = 0;
	struct ring r;
	ssize_t res;

	ring_open(&r, 4, IORING_SETUP_SINGLE_ISSUER |
		  IORING_SETUP_DEFER_TASKRUN);
	ring_file(&r, fd);
	for (;;) {
		sqe = ring_sqe(&r);
		sqe->opcode = IORING_OP_READ;
		sqe->flags = IOSQE_FIXED_FILE;
		sqe->off = -1;
		sqe->addr = (uintptr_t)requests;
		sqe->len = sizeof(requests);
		ring_enter(&r, nr ? 2 : 1);
		/* The read's, and the answers' that were before it */
		for (res = -EIO; (cqe = ring_cqe(&r)); ring_seen(&r)) {
			if (!cqe->user_data)
				res = cqe->res;
			else if (cqe->res < 0 && cqe->res != -ENODEV)
				die("answer");
		}
		nr = answer(res);
		sqe = ring_sqe(&r);
		sqe->opcode = IORING_OP_WRITEV;
		sqe->flags = IOSQE_FIXED_FILE;
		sqe->off = -1;
		sqe->addr = (uintptr_t)iov;
		sqe->len = nr;
		sqe->user_data = 1;
	}
}

int main(int argc, char **argv)
{
	struct stat st;
	int file;

	if (argc != 4)
		return 2;
	file = open(argv[3], O_RDONLY);
	if (file < 0 || fstat(file, &st))
		die(argv[3]);
	image = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE,
		     file, 0);
	if (image == MAP_FAILED || mlockall(MCL_CURRENT))
		die("mmap");
	attach(argv[2], st.st_size);
	printf("attached\n");
	fflush(stdout);
	if (!strcmp(argv[1], "uring"))
		serve_uring();
	else
		serve(!strcmp(argv[1], "one") ? 1 : BATCH);
	return 0;
}
