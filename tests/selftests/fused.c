// SPDX-License-Identifier: GPL-2.0-only
/*
 * A FUSE file system with one file, "img", whose bytes are in memory. What it is
 * asked to write and to sync it says on stdout, in the order of the answers, and
 * goes when it is unmounted. While the file FAILING exists, no sync succeeds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_WRITE	(128 << 10)
#define INO		2

static union {
	struct fuse_in_header in;
	char buf[MAX_WRITE + 4096];
} request;
static uint64_t bytes;
static char *data;
static int fd;

static void answer(int error, void *arg, size_t len)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + len,
		.error = error,
		.unique = request.in.unique,
	};
	struct iovec iov[] = { { &out, sizeof(out) }, { arg, len } };

	/* Who has asked may be gone. */
	if (writev(fd, iov, 2) < 0 && errno != ENOENT)
		perror("fused: answer");
}

static struct fuse_attr attr(uint64_t ino)
{
	struct fuse_attr a = { .ino = ino, .nlink = 1, .blksize = 4096 };

	a.mode = ino == INO ? S_IFREG | 0600 : S_IFDIR | 0700;
	a.size = ino == INO ? bytes : 0;
	return a;
}

static void serve(void *arg, const char *failing)
{
	struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION, .minor = 31,
		.max_readahead = MAX_WRITE, .max_write = MAX_WRITE,
		.flags = FUSE_ASYNC_READ | FUSE_ASYNC_DIO | FUSE_BIG_WRITES,
		.max_background = 16, .congestion_threshold = 12,
	};
	struct fuse_entry_out entry = { .nodeid = INO, .attr = attr(INO) };
	struct fuse_attr_out attr_out = { .attr = attr(request.in.nodeid) };
	struct fuse_open_out open_out = {};
	struct fuse_write_in *in = arg;
	struct fuse_read_in *read_in = arg;
	struct fuse_write_out written = {};

	switch (request.in.opcode) {
	case FUSE_INIT:
		answer(0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		if (strcmp(arg, "img"))
			answer(-ENOENT, NULL, 0);
		else
			answer(0, &entry, sizeof(entry));
		break;
	case FUSE_GETATTR:
		answer(0, &attr_out, sizeof(attr_out));
		break;
	case FUSE_OPEN:
		answer(0, &open_out, sizeof(open_out));
		break;
	case FUSE_READ:
		if (read_in->offset >= bytes)
			read_in->size = 0;
		else if (read_in->size > bytes - read_in->offset)
			read_in->size = bytes - read_in->offset;
		answer(0, data + read_in->offset, read_in->size);
		break;
	case FUSE_WRITE:
		if (in->offset + in->size > bytes) {
			answer(-ENOSPC, NULL, 0);
			break;
		}
		memcpy(data + in->offset, in + 1, in->size);
		written.size = in->size;
		printf("write\n");
		answer(0, &written, sizeof(written));
		break;
	case FUSE_FSYNC:
		printf("sync\n");
		answer(access(failing, F_OK) ? 0 : -EIO, NULL, 0);
		break;
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_DESTROY:
		answer(0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		answer(-ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	char options[100];

	if (argc != 4) {
		fputs("Usage: fused DIRECTORY BYTES FAILING\n", stderr);
		return 2;
	}
	bytes = strtoull(argv[2], NULL, 0);
	data = calloc(1, bytes);
	fd = open("/dev/fuse", O_RDWR);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (!data || fd < 0 || mount("fused", argv[1], "fuse", 0, options)) {
		perror(argv[1]);
		return 1;
	}
	setlinebuf(stdout);
	while (read(fd, request.buf, sizeof(request)) > 0 || errno == EINTR || errno == ENOENT)
		serve(&request.in + 1, argv[3]);
	return errno != ENODEV;
}
