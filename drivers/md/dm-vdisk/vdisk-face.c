// SPDX-License-Identifier: GPL-2.0-only
/*
 * The face: a private disk, never added, that dm core is shown instead of the
 * leaves of a stack that does not only remap.
 *
 * dm core takes a target's limits and capabilities from the devices that
 * iterate_devices shows, and some of it (write zeroes, crypto profile,
 * integrity, reservations) a target cannot take back afterwards. The face
 * carries what the nodes composed and nothing else. It also is why such a
 * table gets new limits on reload: dm_swap_table() keeps the old ones for a
 * table that shows no device. Limits are a snapshot of ctr time.
 *
 * dm core only reads the face's queue; no bio is ever sent to it. If the root is
 * a "pr", dm core calls its reservation operations by the face, too.
 */
#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "vdisk.h"

static void vdisk_face_submit_bio(struct bio *bio)
{
	WARN_ON_ONCE(1);
	bio_io_error(bio);
}

static const struct block_device_operations vdisk_face_fops = {
	.owner = THIS_MODULE,
	.submit_bio = vdisk_face_submit_bio,
};

static const struct block_device_operations vdisk_face_pr_fops = {
	.owner = THIS_MODULE,
	.submit_bio = vdisk_face_submit_bio,
	.pr_ops = &vdisk_pr_face_ops,
};

/**
 * vdisk_face_create - make the face of a stack
 * @s: the stack; its nodes' limits are composed
 *
 * Context: Process context, may sleep.
 * Return: 0, or -errno after vdisk_fail().
 */
int vdisk_face_create(struct vdisk_stack *s)
{
	struct vdisk_node *root = s->nodes[0];
	struct gendisk *disk;
	struct dm_dev *face;
	unsigned int i;

	face = kzalloc(sizeof(*face), GFP_KERNEL);
	if (!face)
		return vdisk_fail(root, -ENOMEM, "out of memory");
	disk = vdisk_alloc_disk(&root->lim);
	if (IS_ERR(disk)) {
		kfree(face);
		return vdisk_fail(root, PTR_ERR(disk),
				  "the composed limits of the disk are refused");
	}
	for (i = 0; i < s->nr_leaves; i++)
		if (s->leaves[i]->ops->remaps)
			vdisk_face_inherit(disk,
					   s->leaves[i]->bdev);
	for (i = 0; i < s->nr_nodes; i++) {
		if (s->nodes[i]->caches)
			vdisk_face_cached(disk);
		if (s->nodes[i]->stable)
			vdisk_face_stable(disk);
	}
	snprintf(disk->disk_name, sizeof(disk->disk_name), "vdisk-face");
	disk->fops = root->ops == &vdisk_pr_ops ? &vdisk_face_pr_fops :
						 &vdisk_face_fops;
	disk->private_data = s;
	disk->flags |= GENHD_FL_NO_PART;
	set_capacity(disk, s->ti->len);

	face->bdev = disk->part0;
	face->mode = dm_table_get_mode(s->ti->table);
	strscpy(face->name, "face", sizeof(face->name));
	s->face = face;
	return 0;
}

/**
 * vdisk_face_destroy - undo vdisk_face_create()
 * @s: the stack
 *
 * Context: Process context, may sleep.
 */
void vdisk_face_destroy(struct vdisk_stack *s)
{
	put_disk(s->face->bdev->bd_disk);
	kfree(s->face);
	s->face = NULL;
}
