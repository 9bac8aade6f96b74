// SPDX-License-Identifier: GPL-2.0-only
/*
 * striped: chunks dealt out to the children in turn, the layout of dm-stripe
 * (drivers/md/dm-stripe.c:stripe_map_sector()).
 */
#include <linux/log2.h>
#include <linux/slab.h>

#include "vdisk.h"

struct vdisk_striped {
	u32 nr;
	u32 chunk;
	int nr_shift;		/* -1 if not a power of two */
	int chunk_shift;
};

static int vdisk_shift(u32 value)
{
	return is_power_of_2(value) ? ilog2(value) : -1;
}

/* value / by; *rest is the remainder */
static sector_t vdisk_divide(sector_t value, u32 by, int shift, u32 *rest)
{
	if (shift >= 0) {
		*rest = value & (by - 1);
		return value >> shift;
	}
	*rest = sector_div(value, by);
	return value;
}

static int vdisk_striped_ctr(struct vdisk_node *n)
{
	struct vdisk_striped *st;

	if (!n->val[STRIPED_CHUNK].set)
		return vdisk_fail(n, -EINVAL, "chunk: missing");
	st = kzalloc(sizeof(*st), GFP_KERNEL);
	if (!st)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	st->nr = n->nr_children;
	st->chunk = n->val[STRIPED_CHUNK].num;
	st->nr_shift = vdisk_shift(st->nr);
	st->chunk_shift = vdisk_shift(st->chunk);
	n->priv = st;
	return 0;
}

static void vdisk_striped_dtr(struct vdisk_node *n)
{
	kfree(n->priv);
}

static sector_t vdisk_striped_length(const struct vdisk_node *n)
{
	const struct vdisk_striped *st = n->priv;
	sector_t len, shortest = VDISK_UNBOUNDED;
	unsigned int i;
	u32 rest;

	for (i = 0; i < n->nr_children; i++)
		shortest = min(shortest,
			       n->children[i]->ops->length(n->children[i]));
	if (shortest == VDISK_UNBOUNDED)
		return VDISK_UNBOUNDED;
	vdisk_divide(shortest, st->chunk, st->chunk_shift, &rest);
	if (check_mul_overflow(shortest - rest, (sector_t)st->nr, &len))
		return VDISK_UNBOUNDED;
	return len;
}

static int vdisk_striped_give(struct vdisk_node *n)
{
	unsigned int block = n->lim.logical_block_size >> SECTOR_SHIFT;
	struct vdisk_striped *st = n->priv;
	sector_t len;
	unsigned int i;
	u32 rest;

	if (st->chunk & (block - 1))
		return vdisk_fail(n, -EINVAL,
				  "chunk: not a multiple of the block size, %u sectors",
				  block);
	len = vdisk_divide(n->len, st->nr, st->nr_shift, &rest);
	if (!rest)
		vdisk_divide(len, st->chunk, st->chunk_shift, &rest);
	if (rest)
		return vdisk_fail(n, -EINVAL,
				  "length %llu: not a multiple of %u children x %u sectors of chunk",
				  n->len, st->nr, st->chunk);
	for (i = 0; i < n->nr_children; i++)
		n->children[i]->len = len;
	return 0;
}

static void vdisk_striped_limits(struct vdisk_node *n, struct queue_limits *lim)
{
	const struct vdisk_striped *st = n->priv;

	vdisk_limits_stripe(lim, st->chunk, st->nr);
}

/**
 * vdisk_striped_route - striped's route()
 * @n: the node
 * @run: what is looked for, and what was found
 *
 * Context: Any context.
 * Return: the child.
 */
struct vdisk_node *vdisk_striped_route(struct vdisk_node *n,
				       struct vdisk_run *run)
{
	const struct vdisk_striped *st = n->priv;
	u32 offset, child;
	sector_t chunk;

	chunk = vdisk_divide(run->sector, st->chunk, st->chunk_shift, &offset);
	chunk = vdisk_divide(chunk, st->nr, st->nr_shift, &child);
	run->sector = chunk * st->chunk + offset;
	run->nr = min(run->nr, (sector_t)(st->chunk - offset));
	return n->children[child];
}

/* The first sector of @child that lies at or behind @sector of the stripe. */
static sector_t vdisk_striped_first(const struct vdisk_striped *st, u32 child,
				    sector_t sector)
{
	u32 offset, at;
	sector_t chunk;

	chunk = vdisk_divide(sector, st->chunk, st->chunk_shift, &offset);
	chunk = vdisk_divide(chunk, st->nr, st->nr_shift, &at);
	if (at == child)
		return chunk * st->chunk + offset;
	return (chunk + (at > child)) * st->chunk;
}

static bool vdisk_striped_range(struct vdisk_node *n, unsigned int child,
				struct vdisk_run *run)
{
	const struct vdisk_striped *st = n->priv;
	sector_t begin = vdisk_striped_first(st, child, run->sector);
	sector_t end = vdisk_striped_first(st, child, run->sector + run->nr);

	if (begin == end)
		return false;
	run->sector = begin;
	run->nr = end - begin;
	return true;
}

const struct vdisk_ops vdisk_striped_ops = {
	.ctr = vdisk_striped_ctr,
	.dtr = vdisk_striped_dtr,
	.length = vdisk_striped_length,
	.give = vdisk_striped_give,
	.limits = vdisk_striped_limits,
	.route = vdisk_striped_route,
	.range = vdisk_striped_range,
	.interleaves = true,
	.remaps = true,
};
