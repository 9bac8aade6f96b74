// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loads a vdisk table line as it is: dmsetup would end it at a newline, and
 * double its backslashes. With NTH, that allocation of the load fails (where
 * the kernel can inject it); exit status 3 if there were not as many.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* How many allocations are left until one fails */
static int fail_nth(const char *set)
{
	char left[16] = "";
	int fd = open("/proc/self/fail-nth", O_RDWR);

	if (fd < 0 || (set ? write(fd, set, strlen(set)) : read(fd, left, sizeof(left) - 1)) < 0) {
		perror("dmraw: fail-nth");
		exit(2);
	}
	close(fd);
	return atoi(left);
}

int main(int argc, char **argv)
{
	static char buf[1 << 20];
	struct dm_ioctl *dmi = (void *)buf;
	struct dm_target_spec *spec = (void *)(dmi + 1);
	int fd = open("/dev/mapper/control", O_RDWR);
	int r, error;

	if ((argc != 5 && argc != 6) || strcmp(argv[1], "load") || strlen(argv[4]) > sizeof(buf) - 4096) {
		fprintf(stderr, "Usage: dmraw load DEVICE SECTORS STACK [NTH]\n");
		return 2;
	}
	memcpy(dmi->version, (__u32[]){ 4, 0, 0 }, sizeof(dmi->version));
	dmi->data_size = sizeof(buf);
	dmi->data_start = sizeof(*dmi);
	dmi->target_count = 1;
	strncpy(dmi->name, argv[2], sizeof(dmi->name) - 1);
	spec->length = strtoull(argv[3], NULL, 0);
	strcpy(spec->target_type, "vdisk");
	strcpy((char *)(spec + 1), argv[4]);
	if (argc == 6)
		fail_nth(argv[5]);
	r = fd < 0 ? -1 : ioctl(fd, DM_TABLE_LOAD, dmi);
	error = errno;
	if (argc == 6 && fail_nth(NULL))
		return 3;
	if (!r)
		return 0;
	fprintf(stderr, "dmraw: %s\n", strerror(error));
	return 1;
}
