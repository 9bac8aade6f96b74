// SPDX-License-Identifier: GPL-2.0-only
/* Calls a reservation ioctl, or SG_IO, on a device, and prints "ok" or the name of the error. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/pr.h>
#include <scsi/sg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Not in every header yet */
struct keys {
	__u32 generation, nr;
	__u64 ptr;
};

struct held {
	__u64 key;
	__u32 generation, type;
};

static int read_keys(int fd, unsigned int room)
{
	__u64 keys[64];
	struct keys k = { .nr = room, .ptr = (uintptr_t)keys };
	unsigned int i;

	if (ioctl(fd, _IOWR('p', 206, struct keys), &k))
		return -1;
	printf("generation %u of %u:", k.generation, k.nr);
	for (i = 0; i < k.nr && i < room; i++)
		printf(" 0x%llx", keys[i]);
	putchar(' ');
	return 0;
}

static int read_reservation(int fd)
{
	struct held h;

	if (ioctl(fd, _IOR('p', 207, struct held), &h))
		return -1;
	printf("generation %u type %u key 0x%llx ", h.generation, h.type, h.key);
	return 0;
}

static int test_unit_ready(int fd)
{
	unsigned char command[6] = {};
	struct sg_io_hdr hdr = {
		.interface_id = 'S', .dxfer_direction = SG_DXFER_NONE,
		.cmd_len = sizeof(command), .cmdp = command, .timeout = 5000,
	};

	return ioctl(fd, SG_IO, &hdr);
}

/* A wrong OLD, for as long as that is what the device says. */
static int register_often(int fd, unsigned long long old, unsigned long long new, unsigned long long times)
{
	int r = 1;

	while (times-- && r > 0)
		r = ioctl(fd, IOC_PR_REGISTER, &(struct pr_registration){ .old_key = old, .new_key = new });
	return r;
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
		fprintf(stderr, "Usage: prioctl DEVICE sgio | register OLD NEW | register-ignore NEW | register-often OLD NEW TIMES |\n"
			"  reserve KEY TYPE | release KEY TYPE | preempt OLD NEW TYPE | preempt-abort OLD NEW TYPE | clear KEY |\n"
			"  read-keys ROOM | read-reservation\n");
		return 2;
	}
	if (!strcmp(what, "sgio"))
		r = test_unit_ready(fd);
	else if (!strcmp(what, "register"))
		r = ioctl(fd, IOC_PR_REGISTER, &(struct pr_registration){ .old_key = n[0], .new_key = n[1] });
	else if (!strcmp(what, "register-ignore"))
		r = ioctl(fd, IOC_PR_REGISTER, &(struct pr_registration){ .new_key = n[0], .flags = PR_FL_IGNORE_KEY });
	else if (!strcmp(what, "register-often"))
		r = register_often(fd, n[0], n[1], n[2]);
	else if (!strcmp(what, "read-keys"))
		r = read_keys(fd, n[0] < 64 ? n[0] : 64);
	else if (!strcmp(what, "read-reservation"))
		r = read_reservation(fd);
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
