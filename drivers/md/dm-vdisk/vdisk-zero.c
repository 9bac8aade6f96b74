// SPDX-License-Identifier: GPL-2.0-only
/*
 * zero: reads zeroes, drops writes.
 */
#include "vdisk.h"

static sector_t vdisk_zero_length(const struct vdisk_node *n)
{
	return VDISK_UNBOUNDED;
}

static void vdisk_zero_limits(struct vdisk_node *n, struct queue_limits *lim)
{
	vdisk_limits_unpolled(lim);
	vdisk_limits_discard(lim, UINT_MAX >> SECTOR_SHIFT, SECTOR_SIZE);
	lim->max_write_zeroes_sectors = UINT_MAX >> SECTOR_SHIFT;
}

static enum vdisk_map vdisk_zero_map(struct vdisk_node *n, struct vdisk_io *io)
{
	if (bio_op(io->bio) == REQ_OP_READ)
		zero_fill_bio(io->bio);
	io->bio->bi_status = BLK_STS_OK;
	return VDISK_ENDED;
}

const struct vdisk_ops vdisk_zero_ops = {
	.length = vdisk_zero_length,
	.limits = vdisk_zero_limits,
	.map = vdisk_zero_map,
};
