// SPDX-License-Identifier: GPL-2.0-only
/*
 * crc32c as the kernel's function of that name: nothing is inverted, neither
 * before nor after.
 */
#include "vdisk-store-user.h"

__u32 vdisk_crc32c(__u32 crc, const void *data, size_t len)
{
	static __u32 table[256];
	const __u8 *byte = data;

	if (!table[1]) {
		for (int i = 0; i < 256; i++) {
			__u32 value = i;

			for (int bit = 0; bit < 8; bit++)
				value = value >> 1 ^ (value & 1 ? 0x82f63b78 : 0);
			table[i] = value;
		}
	}
	while (len--)
		crc = crc >> 8 ^ table[(crc ^ *byte++) & 255];
	return crc;
}
