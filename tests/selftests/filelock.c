// SPDX-License-Identifier: GPL-2.0-only
/*
 * Takes a lock as VMMs do, of an open file description, and keeps it until it is
 * killed. Without SECONDS it only says whether it could.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct flock lock = { .l_whence = SEEK_SET };
	int fd;

	if (argc < 5) {
		fputs("Usage: filelock read|write START LEN FILE [SECONDS]\n", stderr);
		return 3;
	}
	lock.l_type = strcmp(argv[1], "write") ? F_RDLCK : F_WRLCK;
	lock.l_start = atol(argv[2]);
	lock.l_len = atol(argv[3]);
	fd = open(argv[4], lock.l_type == F_WRLCK ? O_RDWR : O_RDONLY);
	if (fd < 0 || fcntl(fd, F_OFD_SETLK, &lock)) {
		perror(argv[4]);
		return 1;
	}
	puts("locked");
	fflush(stdout);
	if (argc > 5)
		sleep(atoi(argv[5]));
	return 0;
}
