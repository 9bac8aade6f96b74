// SPDX-License-Identifier: GPL-2.0-only
/* Calls a reservation ioctl, or SG_IO, on a device, and prints "ok" or the name of the error. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/pr.h>
#include <scsi/sg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static int test_unit_ready(int fd)
{
	unsigned char command[6] = {};
	struct sg_io_hdr hdr = {
		.interface_id = 'S', .dxfer_direction = SG_DXFER_NONE,
		.cmd_len = sizeof(command), .cmdp = command, .timeout = 5000,
	};

	return ioctl(fd, SG_IO, &hdr);
}

int main(int argc, char **argv)
{
	unsigned long long n[3] = {};
	const char *what = argc > 2 ? argv[2] : "";
	int fd, i, r;

	for (i = 3; i < argc && i < 6; i++)
		n[i - 3] = strtoull(argv[i], NULL, 0);
	fd = argc > 2 ? open(argv[1], O_RDWR) : -1;
	if (fd < 0) {
		fprintf(stderr, "Usage: prioctl DEVICE sgio | register OLD NEW | reserve KEY TYPE | release KEY TYPE |\n"
			"  preempt OLD NEW TYPE | preempt-abort OLD NEW TYPE | clear KEY\n");
		return 2;
	}
	if (!strcmp(what, "sgio"))
		r = test_unit_ready(fd);
	else if (!strcmp(what, "register"))
		r = ioctl(fd, IOC_PR_REGISTER, &(struct pr_registration){ .old_key = n[0], .new_key = n[1] });
	else if (!strcmp(what, "reserve"))
		r = ioctl(fd, IOC_PR_RESERVE, &(struct pr_reservation){ .key = n[0], .type = n[1] });
	else if (!strcmp(what, "release"))
		r = ioctl(fd, IOC_PR_RELEASE, &(struct pr_reservation){ .key = n[0], .type = n[1] });
	else if (!strcmp(what, "preempt"))
		r = ioctl(fd, IOC_PR_PREEMPT, &(struct pr_preempt){ .old_key = n[0], .new_key = n[1], .type = n[2] });
	else if (!strcmp(what, "preempt-abort"))
		r = ioctl(fd, IOC_PR_PREEMPT_ABORT, &(struct pr_preempt){ .old_key = n[0], .new_key = n[1], .type = n[2] });
	else if (!strcmp(what, "clear"))
		r = ioctl(fd, IOC_PR_CLEAR, &(struct pr_clear){ .key = n[0] });
	else
		return 2;
	if (r > 0)
		printf("status %d\n", r);
	else
		puts(r ? strerrorname_np(errno) : "ok");
	return r != 0;
}
