// SPDX-License-Identifier: GPL-2.0-only
/*
 * concat: children one after the other.
 */
#include <linux/slab.h>

#include "vdisk.h"

struct vdisk_concat {
	unsigned int nr;
	/* First sector behind each child. */
	sector_t end[];
};

static int vdisk_concat_ctr(struct vdisk_node *n)
{
	struct vdisk_concat *c;

	c = kzalloc(struct_size(c, end, n->nr_children), GFP_KERNEL);
	if (!c)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	c->nr = n->nr_children;
	n->priv = c;
	return 0;
}

static void vdisk_concat_dtr(struct vdisk_node *n)
{
	kfree(n->priv);
}

static sector_t vdisk_concat_length(const struct vdisk_node *n)
{
	sector_t sum = 0;
	unsigned int i;

	for (i = 0; i < n->nr_children; i++) {
		sector_t len = n->children[i]->ops->length(n->children[i]);

		if (check_add_overflow(sum, len, &sum))
			return VDISK_UNBOUNDED;
	}
	return sum;
}

static int vdisk_concat_give(struct vdisk_node *n)
{
	unsigned int block = n->lim.logical_block_size >> SECTOR_SHIFT;
	struct vdisk_concat *c = n->priv;
	sector_t begin = 0;
	unsigned int i;

	for (i = 0; i < c->nr; i++) {
		struct vdisk_node *child = n->children[i];
		sector_t len = child->ops->length(child);
		bool last = i + 1 == c->nr;

		if (len == VDISK_UNBOUNDED && !last)
			return vdisk_fail(child, -EINVAL,
					  "has no length of its own, so it can only be the last");
		if ((len & (block - 1)) && !last)
			return vdisk_fail(child, -EINVAL,
					  "length %llu: not a multiple of the block size, %u sectors",
					  len, block);
		child->len = last ? n->len - begin : min(len, n->len - begin);
		begin += child->len;
		c->end[i] = begin;
	}
	return 0;
}

/* The child that holds a sector; children without sectors are never found. */
static unsigned int vdisk_concat_find(const struct vdisk_concat *c,
				      sector_t sector)
{
	unsigned int low = 0, high = c->nr - 1;

	while (low < high) {
		unsigned int mid = (low + high) / 2;

		if (sector < c->end[mid])
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/**
 * vdisk_concat_route - concat's route()
 * @n: the node
 * @run: what is looked for, and what was found
 *
 * Context: Any context.
 * Return: the child.
 */
struct vdisk_node *vdisk_concat_route(struct vdisk_node *n, struct vdisk_run *run)
{
	const struct vdisk_concat *c = n->priv;
	unsigned int i = 0;

	if (run->sector >= c->end[0])
		i = vdisk_concat_find(c, run->sector);
	run->nr = min(run->nr, c->end[i] - run->sector);
	if (i)
		run->sector -= c->end[i - 1];
	return n->children[i];
}

static bool vdisk_concat_range(struct vdisk_node *n, unsigned int child,
			       struct vdisk_run *run)
{
	const struct vdisk_concat *c = n->priv;
	sector_t first = child ? c->end[child - 1] : 0;
	sector_t begin = max(run->sector, first);
	sector_t end = min(run->sector + run->nr, c->end[child]);

	if (begin >= end)
		return false;
	run->sector = begin - first;
	run->nr = end - begin;
	return true;
}

const struct vdisk_ops vdisk_concat_ops = {
	.ctr = vdisk_concat_ctr,
	.dtr = vdisk_concat_dtr,
	.length = vdisk_concat_length,
	.give = vdisk_concat_give,
	.route = vdisk_concat_route,
	.range = vdisk_concat_range,
	.remaps = true,
};
