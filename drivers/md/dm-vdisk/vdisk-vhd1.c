// SPDX-License-Identifier: GPL-2.0-only
/*
 * The footer of a fixed VHD image: the last 512 bytes of the file, big-endian;
 * images of Virtual PC before 2004 have 511. The disk lies in front of it, from
 * the beginning of the file. The nodes are in vdisk-file.c.
 */
#include <linux/string.h>

#include "vdisk.h"

enum {
	VHD_COOKIE = 0,
	VHD_FEATURES = 8,
	VHD_VERSION = 12,
	VHD_DATA_OFFSET = 16,
	VHD_ORIGINAL_SIZE = 40,
	VHD_CURRENT_SIZE = 48,
	VHD_CYLINDERS = 56,
	VHD_HEADS = 58,
	VHD_SECTORS = 59,
	VHD_TYPE = 60,
	VHD_CHECKSUM = 64,
	VHD_ID = 68,
	VHD_SAVED_STATE = 84,
};

/* 2 is reserved and always set, 1 says that the disk may be thrown away. */
#define VHD_FEATURES_SET	2
#define VHD_FEATURES_KNOWN	3

/* The largest geometry stands for "see the size". */
#define VHD_MAX_CYLINDERS	65535
#define VHD_MAX_HEADS		16
#define VHD_MAX_SECTORS		255

/* Whose other fields mean something else, so before all other checks. */
static const char *vdisk_vhd1_check_type(u32 type)
{
	switch (type) {
	case 2:
		return NULL;
	case 3:
		return "a dynamic VHD; make it fixed by qemu-img convert -O vpc -o subformat=fixed";
	case 4:
		return "a differencing VHD; make it and its parents one fixed one";
	default:
		return "footer: unknown disk type";
	}
}

/* None, the largest, or one that lies within the disk */
static bool vdisk_vhd1_geometry_ok(const u8 *footer, u64 bytes)
{
	unsigned int c = get_unaligned_be16(footer + VHD_CYLINDERS);
	unsigned int h = footer[VHD_HEADS], s = footer[VHD_SECTORS];

	if (c == VHD_MAX_CYLINDERS && h == VHD_MAX_HEADS && s == VHD_MAX_SECTORS)
		return true;
	if (!c && !h && !s)
		return true;
	return c && h && s && (u64)c * h * s <= bytes >> SECTOR_SHIFT;
}

static u32 vdisk_vhd1_checksum(const u8 *footer, unsigned int len)
{
	u32 sum = 0;
	unsigned int i;

	for (i = 0; i < len; i++)
		if (i < VHD_CHECKSUM || i >= VHD_CHECKSUM + 4)
			sum += footer[i];
	return ~sum;
}

/**
 * vdisk_vhd1_check - check a footer
 * @footer: the end of the file
 * @len: bytes of @footer, 512 or 511
 * @file_len: bytes of the file, with the footer
 * @vhd: set if all is well
 *
 * Context: Any context.
 * Return: NULL, or what is wrong.
 */
const char *vdisk_vhd1_check(const u8 *footer, unsigned int len, u64 file_len,
			     struct vdisk_vhd *vhd)
{
	u64 bytes = get_unaligned_be64(footer + VHD_CURRENT_SIZE);
	u64 original = get_unaligned_be64(footer + VHD_ORIGINAL_SIZE);
	u32 features = get_unaligned_be32(footer + VHD_FEATURES);
	const char *error;

	if (memcmp(footer + VHD_COOKIE, "conectix", 8))
		return "footer: missing";
	if (get_unaligned_be32(footer + VHD_CHECKSUM) !=
	    vdisk_vhd1_checksum(footer, len))
		return "footer: wrong checksum";
	if (get_unaligned_be32(footer + VHD_VERSION) != 0x00010000)
		return "footer: unknown version";
	error = vdisk_vhd1_check_type(get_unaligned_be32(footer + VHD_TYPE));
	if (error)
		return error;
	if (!(features & VHD_FEATURES_SET) || (features & ~VHD_FEATURES_KNOWN))
		return "footer: unknown features";
	if (get_unaligned_be64(footer + VHD_DATA_OFFSET) != U64_MAX)
		return "footer: data offset: not that of a fixed VHD";
	if (footer[VHD_SAVED_STATE])
		return "footer: the disk of a machine in saved state";
	if (!bytes || bytes % SECTOR_SIZE)
		return "footer: size: not a number of sectors";
	if (!original || original % SECTOR_SIZE)
		return "footer: original size: not a number of sectors";
	if (file_len < len || bytes > file_len - len)
		return "footer: size: more than the file has";
	if (bytes < file_len - len)
		return "footer: size: less than the file has";
	if (!vdisk_vhd1_geometry_ok(footer, bytes))
		return "footer: geometry: larger than the disk";

	vhd->bytes = bytes;
	memcpy(vhd->id, footer + VHD_ID, sizeof(vhd->id));
	return NULL;
}
