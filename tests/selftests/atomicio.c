// SPDX-License-Identifier: GPL-2.0-only
/* Usage: atomicio DEVICE SECTOR SECTORS: an atomic write; prints "ok" or the name of the error. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef RWF_ATOMIC
#define RWF_ATOMIC	0x40
#endif

int main(int argc, char **argv)
{
	struct iovec iov;
	ssize_t n;
	int fd;

	if (argc != 4) {
		fputs("Usage: atomicio DEVICE SECTOR SECTORS\n", stderr);
		return 2;
	}
	iov.iov_len = strtoul(argv[3], NULL, 0) * 512;
	fd = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0 || posix_memalign(&iov.iov_base, 4096, iov.iov_len)) {
		perror("atomicio");
		return 1;
	}
	memset(iov.iov_base, 'a', iov.iov_len);
	n = pwritev2(fd, &iov, 1, strtoul(argv[2], NULL, 0) * 512, RWF_ATOMIC);
	puts(n < 0 ? strerrorname_np(errno) : n == (ssize_t)iov.iov_len ? "ok" : "short");
	return 0;
}
