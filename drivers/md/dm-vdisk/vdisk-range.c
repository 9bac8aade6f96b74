// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges of a file that are being written, for nodes that write parts of its
 * blocks: they read a block, change it and write it back, and what others write
 * to it meanwhile would be lost. So no such part is under way at the same time as
 * anything else in its blocks, by whichever node of whichever mapped device.
 *
 * Nobody sleeps for a range. Who cannot have it is put on the list of one that is
 * in its way, and asks again when that is given back.
 */
#include <linux/interval_tree_generic.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "vdisk.h"

/**
 * struct vdisk_ranges - of one file
 * @list: in vdisk_ranges_list
 * @inode: the file; its users have it open
 * @users: nodes, guarded by vdisk_ranges_lock
 * @lock: guards @tree and the lists of those in it; any context
 * @tree: struct vdisk_range
 */
struct vdisk_ranges {
	struct list_head list;
	struct inode *inode;
	unsigned int users;
	spinlock_t lock;	/* guards what follows */
	struct rb_root_cached tree;
};

/* Guards the list, and who uses them. Constructors and destructors only. */
static DEFINE_MUTEX(vdisk_ranges_lock);
static LIST_HEAD(vdisk_ranges_list);

#define VDISK_RANGE_FIRST(range)	((range)->first)
#define VDISK_RANGE_LAST(range)		((range)->last)

INTERVAL_TREE_DEFINE(struct vdisk_range, rb, loff_t, subtree_last,
		     VDISK_RANGE_FIRST, VDISK_RANGE_LAST, static inline,
		     vdisk_range_tree)

/**
 * vdisk_ranges_get - become one of those who write a file
 * @inode: the file, open
 *
 * Context: Process context, may sleep.
 * Return: its ranges, for vdisk_ranges_put(), or NULL for want of memory.
 */
struct vdisk_ranges *vdisk_ranges_get(struct inode *inode)
{
	struct vdisk_ranges *ranges;

	mutex_lock(&vdisk_ranges_lock);
	list_for_each_entry(ranges, &vdisk_ranges_list, list)
		if (ranges->inode == inode)
			goto found;
	ranges = kzalloc(sizeof(*ranges), GFP_KERNEL);
	if (!ranges)
		goto out;
	ranges->inode = inode;
	spin_lock_init(&ranges->lock);
	ranges->tree = RB_ROOT_CACHED;
	list_add_tail(&ranges->list, &vdisk_ranges_list);
found:
	ranges->users++;
out:
	mutex_unlock(&vdisk_ranges_lock);
	return ranges;
}

/**
 * vdisk_ranges_put - undo vdisk_ranges_get()
 * @ranges: may be freed
 *
 * Context: Process context, may sleep.
 */
void vdisk_ranges_put(struct vdisk_ranges *ranges)
{
	mutex_lock(&vdisk_ranges_lock);
	if (!--ranges->users) {
		list_del(&ranges->list);
		kfree(ranges);
	}
	mutex_unlock(&vdisk_ranges_lock);
}

/**
 * vdisk_range_take - keep others out of a range, unless it has to wait
 * @ranges: of the file
 * @range: @first, @last, @part and @go are set
 *
 * Context: Any context.
 * Return: true, and vdisk_range_give() is due; false if @range is in use, and
 *	its go() will be called, from any context, before or after this returns.
 */
bool vdisk_range_take(struct vdisk_ranges *ranges, struct vdisk_range *range)
{
	struct vdisk_range *other;
	unsigned long flags;

	spin_lock_irqsave(&ranges->lock, flags);
	other = vdisk_range_tree_iter_first(&ranges->tree, range->first,
					    range->last);
	/* Whole blocks are as much of anyone's as of the others who write them. */
	while (other && !range->part && !other->part)
		other = vdisk_range_tree_iter_next(other, range->first,
						   range->last);
	if (other) {
		list_add_tail(&range->list, &other->waiting);
	} else {
		INIT_LIST_HEAD(&range->waiting);
		vdisk_range_tree_insert(range, &ranges->tree);
	}
	spin_unlock_irqrestore(&ranges->lock, flags);
	return !other;
}

/**
 * vdisk_range_give - undo vdisk_range_take()
 * @ranges: of the file
 * @range: the range
 *
 * Context: Any context.
 */
void vdisk_range_give(struct vdisk_ranges *ranges, struct vdisk_range *range)
{
	struct vdisk_range *waiting, *next;
	unsigned long flags;

	spin_lock_irqsave(&ranges->lock, flags);
	vdisk_range_tree_remove(range, &ranges->tree);
	spin_unlock_irqrestore(&ranges->lock, flags);
	/* It is not in the tree any more, so nobody else looks at its list. */
	list_for_each_entry_safe(waiting, next, &range->waiting, list)
		waiting->go(waiting);
}
