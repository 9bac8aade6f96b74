/* SPDX-License-Identifier: GPL-2.0-only */
/* What vdisk-store.c needs of the kernel, in userspace. */
#ifndef VDISK_STORE_USER_H
#define VDISK_STORE_USER_H

#include <assert.h>
#include <endian.h>
#include <linux/types.h>
#include <stddef.h>
#include <string.h>

#define cpu_to_le32(x)	htole32(x)
#define cpu_to_le64(x)	htole64(x)
#define le32_to_cpu(x)	le32toh(x)
#define le64_to_cpu(x)	((__u64)le64toh(x))

__u32 vdisk_crc32c(__u32 crc, const void *data, size_t len);

#endif /* VDISK_STORE_USER_H */
