// SPDX-License-Identifier: GPL-2.0-only
/*
 * block: a block device, or a part of it. nvme: the same, and the namespace
 * may be pinned by its identity, so that a renumbered device is refused.
 */
#include <linux/blkdev.h>
#include <linux/slab.h>

#include "vdisk.h"

/**
 * vdisk_block_dev - the device of a block or nvme leaf
 * @n: the leaf
 *
 * Return: the device, open as long as the node lives.
 */
struct dm_dev *vdisk_block_dev(const struct vdisk_node *n)
{
	return n->priv;
}

/* TABLE names the device by number: paths move, and fill the line. */
static int vdisk_block_set_name(struct vdisk_node *n, const struct dm_dev *dev)
{
	char *name = kstrdup(dev->name, GFP_KERNEL);

	if (!name)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	kfree(n->val[BLOCK_DEVICE].str);
	n->val[BLOCK_DEVICE].str = name;
	return 0;
}

static int vdisk_block_check(struct vdisk_node *n, struct block_device *bdev)
{
	unsigned int block = bdev_logical_block_size(bdev) >> SECTOR_SHIFT;

	if (bdev_is_zoned(bdev))
		return vdisk_fail(n, -EINVAL, "device: zoned devices cannot be used");
	return vdisk_check_place(n, "device", bdev_nr_sectors(bdev), block,
				 n->val[BLOCK_START].num, n->val[BLOCK_LEN].num);
}

/*
 * What is only read may be write-protected. Only then is it opened read-only:
 * one table must not open a device in two modes, for dm core then exchanges
 * the struct dm_dev under who has it (dm-table.c:upgrade_mode()).
 */
static int vdisk_block_open(struct vdisk_node *n, struct dm_dev **dev)
{
	struct dm_target *ti = n->stack->ti;
	const char *path = n->val[BLOCK_DEVICE].str;
	unsigned int i;
	int r;

	/*
	 * A store is written also in a read-only table. Then all are opened so,
	 * not just the store's.
	 */
	for (i = 0; i < n->stack->nr_nodes; i++)
		if (vdisk_is_store(n->stack->nodes[i]))
			break;
	r = dm_get_device(ti, path, i < n->stack->nr_nodes ?
			  dm_table_get_mode(ti->table) | VDISK_OPEN_WRITE :
			  dm_table_get_mode(ti->table), dev);
	if ((r == -EROFS || r == -EACCES) && !vdisk_is_written(n))
		r = dm_get_device(ti, path, dm_table_get_mode(ti->table) &
				  ~VDISK_OPEN_WRITE, dev);
	return r;
}

static int vdisk_block_ctr(struct vdisk_node *n)
{
	struct dm_target *ti = n->stack->ti;
	struct dm_dev *dev;
	int r;

	r = vdisk_block_open(n, &dev);
	if (r)
		return vdisk_fail(n, r, "device: cannot be opened (%pe)",
				  ERR_PTR(r));
	r = vdisk_block_check(n, dev->bdev);
	if (!r)
		r = vdisk_block_set_name(n, dev);
	if (r) {
		dm_put_device(ti, dev);
		return r;
	}
	n->priv = dev;
	n->bdev = dev->bdev;
	n->start = n->val[BLOCK_START].num;
	return 0;
}

static void vdisk_block_dtr(struct vdisk_node *n)
{
	dm_put_device(n->stack->ti, n->priv);
}

static sector_t vdisk_block_length(const struct vdisk_node *n)
{
	sector_t size = bdev_nr_sectors(n->bdev);

	if (n->val[BLOCK_LEN].set)
		return n->val[BLOCK_LEN].num;
	/* It may have shrunk since it was checked. */
	return size - min(size, n->start);
}

static sector_t vdisk_block_size(const struct vdisk_node *n)
{
	return bdev_nr_sectors(n->bdev);
}

static void vdisk_block_limits(struct vdisk_node *n, struct queue_limits *lim)
{
	vdisk_limits_stack_bdev(lim, n->bdev, n->start);
}

static enum vdisk_map vdisk_block_map(struct vdisk_node *n, struct vdisk_io *io)
{
	bio_set_dev(io->bio, n->bdev);
	io->bio->bi_iter.bi_sector += n->start;
	return VDISK_REMAPPED;
}

const struct vdisk_ops vdisk_block_ops = {
	.ctr = vdisk_block_ctr,
	.dtr = vdisk_block_dtr,
	.length = vdisk_block_length,
	.size = vdisk_block_size,
	.limits = vdisk_block_limits,
	.map = vdisk_block_map,
	.remaps = true,
};

/*
 * The kernel has one identity per namespace: the NGUID, or if there is none
 * the EUI-64 (drivers/nvme/host/core.c:nvme_ns_get_unique_id()). A UUID is
 * not among them.
 */
static int vdisk_nvme_check(struct vdisk_node *n)
{
	struct gendisk *disk = n->bdev->bd_disk;
	unsigned int arg = n->val[NVME_NGUID].set ? NVME_NGUID : NVME_EUI;
	const char *key = n->type->args[arg].name;
	u8 want[16], id[16];
	int len;

	if (strncmp(disk->disk_name, "nvme", 4))
		return vdisk_fail(n, -EINVAL, "device: %s is no NVMe namespace",
				  disk->disk_name);
	if (n->val[NVME_NGUID].set && n->val[NVME_EUI].set)
		return vdisk_fail(n, -EINVAL,
				  "eui: the kernel tells it only of a namespace without nguid");
	if (!n->val[arg].set)
		return 0;

	/* As that of 6.1 */
	if (!disk->fops->get_unique_id)
		return vdisk_fail(n, -EOPNOTSUPP,
				  "%s: this kernel's driver does not tell it", key);
	len = disk->fops->get_unique_id(disk, id, BLK_UID_EUI64);
	if (len != n->type->args[arg].max)
		return vdisk_fail(n, -ENODEV, "%s: the namespace has none", key);
	if (hex2bin(want, n->val[arg].str, len))
		return vdisk_fail(n, -EINVAL, "%s: not hex", key);
	if (memcmp(want, id, len))
		return vdisk_fail(n, -ENODEV, "%s: the namespace has %*phN",
				  key, len, id);
	return 0;
}

static int vdisk_nvme_ctr(struct vdisk_node *n)
{
	int r = vdisk_block_ctr(n);

	if (r)
		return r;
	r = vdisk_nvme_check(n);
	if (r)
		vdisk_block_dtr(n);
	return r;
}

const struct vdisk_ops vdisk_nvme_ops = {
	.ctr = vdisk_nvme_ctr,
	.dtr = vdisk_block_dtr,
	.length = vdisk_block_length,
	.size = vdisk_block_size,
	.limits = vdisk_block_limits,
	.map = vdisk_block_map,
	.remaps = true,
};
