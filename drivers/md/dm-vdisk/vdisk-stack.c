// SPDX-License-Identifier: GPL-2.0-only
/*
 * Building a stack: the order is parse, ctr of the nodes from the leaves up
 * (devices opened, limits stacked), lengths from the root down, per-bio
 * layout, pools, face. The destructor undoes it backwards and takes a
 * half-built stack.
 */
#include <linux/slab.h>

#include "vdisk.h"

#define DM_MSG_PREFIX "vdisk"

/* How often the sizes of the leaves are looked at; the kernel tells nobody. */
#define VDISK_WATCH_PERIOD	(5 * HZ)

static void vdisk_watch(struct work_struct *work)
{
	struct vdisk_stack *s = container_of(to_delayed_work(work),
					     struct vdisk_stack, watch);
	bool changed = false, any = false;
	unsigned int i;

	for (i = 0; i < s->nr_nodes; i++) {
		struct vdisk_node *n = s->nodes[i];
		sector_t size;

		if (!n->ops->size)
			continue;
		any = true;
		size = n->ops->size(n);
		if (size == n->seen_size)
			continue;
		DMINFO("%s: %s: size changed from %llu to %llu sectors",
		       dm_table_device_name(s->ti->table), n->type->name,
		       n->seen_size, size);
		n->seen_size = size;
		changed = true;
	}
	if (changed)
		dm_table_event(s->ti->table);
	if (any)
		schedule_delayed_work(&s->watch, VDISK_WATCH_PERIOD);
}

static struct vdisk_stack *vdisk_stack_alloc(struct dm_target *ti)
{
	struct vdisk_stack *s = kzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return NULL;
	s->ti = ti;
	s->disk = dm_disk(dm_table_get_md(ti->table));
	mutex_init(&s->message_lock);
	INIT_DEFERRABLE_WORK(&s->watch, vdisk_watch);
	return s;
}

/*
 * Limits of a node: its children's, stacked as dm core stacks devices, then
 * the node's own word. blk_stack_limits() takes the smaller non-zero value of
 * discards and secure erases; one child without them takes them from all.
 */
static void vdisk_node_limits(struct vdisk_node *n)
{
	bool discard = true, erase = true;
	unsigned int i;

	vdisk_limits_init(&n->lim);
	for (i = 0; i < n->nr_children; i++) {
		struct queue_limits *child = &n->children[i]->lim;

		blk_stack_limits(&n->lim, child, 0);
		discard &= child->max_hw_discard_sectors != 0;
		erase &= child->max_secure_erase_sectors != 0;
	}
	if (!discard)
		vdisk_limits_discard(&n->lim, 0, 0);
	if (!erase)
		n->lim.max_secure_erase_sectors = 0;
	if (n->ops->defers)
		vdisk_limits_unpolled(&n->lim);
	if (n->ops->limits)
		n->ops->limits(n, &n->lim);
}

/**
 * vdisk_stack_limits - compose the limits of all nodes anew
 * @s: the stack
 *
 * Context: Process context, may sleep; dm core's table load or swap.
 */
void vdisk_stack_limits(struct vdisk_stack *s)
{
	unsigned int i;

	for (i = s->nr_nodes; i--;)
		vdisk_node_limits(s->nodes[i]);
}

/* Is its second child only ever read? */
static bool vdisk_reads_base(const struct vdisk_node *n)
{
	return n->ops->reads_base &&
	       !(n->ops == &vdisk_cache_ops && n->val[CACHE_THROUGH].set) &&
	       !(n->ops == &vdisk_overlay_ops && n->val[OVERLAY_MERGE].set);
}

/**
 * vdisk_is_store - does its parent write it, whatever the parent is asked to do?
 * @n: the node
 *
 * Return: true if so.
 */
bool vdisk_is_store(const struct vdisk_node *n)
{
	return n->parent && n->parent->ops->writes_store &&
	       n->index == n->parent->ops->store;
}

/**
 * vdisk_read_only - is a node only ever read?
 * @n: the node; its ctr may be running
 *
 * Return: true if it lies in the base of some overlay or cache, and not in the
 * store of a cache further down, so that what it opens may be shared, and
 * write-protected.
 */
bool vdisk_read_only(const struct vdisk_node *n)
{
	for (; n->parent; n = n->parent) {
		if (n->index && vdisk_reads_base(n->parent))
			return true;
		if (vdisk_is_store(n))
			return false;
	}
	return false;
}

/**
 * vdisk_is_written - may a node be written to?
 * @n: the node; its ctr may be running
 *
 * A cache or a pr writes to its store, also if the table is read-only.
 *
 * Return: true if what it opens is to be opened for that.
 */
bool vdisk_is_written(const struct vdisk_node *n)
{
	const struct dm_table *table = n->stack->ti->table;

	for (; n->parent; n = n->parent) {
		if (n->index && vdisk_reads_base(n->parent))
			return false;
		if (vdisk_is_store(n))
			return true;
	}
	return dm_table_get_mode((struct dm_table *)table) & VDISK_OPEN_WRITE;
}

/**
 * vdisk_emit_inode - add to a line what it does not tell apart
 * @n: the node: of a leaf in a file, another file may have the name some day
 * @out: where to
 *
 * Context: Any context.
 */
void vdisk_emit_inode(struct vdisk_node *n, struct vdisk_out *out)
{
	if (n->inode)
		/* i_ino: unsigned long in 6.12, u64 in 7.3. */
		vdisk_emit(out, " inode=%u:%llu:%u", n->inode->i_sb->s_dev,
			   (u64)n->inode->i_ino, n->inode->i_generation);
}

/**
 * vdisk_forgets - does a node not keep what is written over a loss of power?
 * @n: the node
 *
 * Context: Any context.
 * Return: true if so, and nothing would say so.
 */
bool vdisk_forgets(const struct vdisk_node *n)
{
	return n->ops == &vdisk_ram_ops || n->ops == &vdisk_zero_ops ||
	       (n->ops == &vdisk_overlay_ops && n->val[OVERLAY_VOLATILE].set);
}

/**
 * vdisk_is_below - is a node in the tree that another one is the root of?
 * @n: the node
 * @top: the other one
 *
 * Return: true if so; a node is below itself.
 */
bool vdisk_is_below(const struct vdisk_node *n, const struct vdisk_node *top)
{
	while (n && n != top)
		n = n->parent;
	return n;
}

static int vdisk_ctr_nodes(struct vdisk_stack *s)
{
	unsigned int i;
	int r;

	/* Children stand behind their parents: backwards is leaves first. */
	for (i = s->nr_nodes; i--;) {
		struct vdisk_node *n = s->nodes[i];

		if (!n->nr_children) {
			n->count = alloc_percpu(struct vdisk_count);
			if (!n->count)
				return vdisk_fail(n, -ENOMEM, "out of memory");
		}
		if (n->ops->ctr) {
			r = n->ops->ctr(n);
			if (r)
				return r;
		}
		n->built = true;
		vdisk_node_limits(n);
		if (n->ops->size)
			n->seen_size = n->ops->size(n);
	}
	return 0;
}

static int vdisk_give_lengths(struct vdisk_stack *s)
{
	unsigned int i;
	int r;

	s->nodes[0]->len = s->ti->len;
	for (i = 0; i < s->nr_nodes; i++) {
		struct vdisk_node *n = s->nodes[i];
		sector_t length = n->ops->length(n);
		unsigned int block = n->lim.logical_block_size >> SECTOR_SHIFT;

		if (n->len > length && !n->ops->longer)
			return vdisk_fail(n, -EINVAL,
					  "has %llu sectors, %llu are asked of it",
					  length, n->len);
		if (n->len & (block - 1))
			return vdisk_fail(n, -EINVAL,
					  "length %llu: not a multiple of the block size, %u sectors",
					  n->len, block);
		if (!n->ops->give)
			continue;
		r = n->ops->give(n);
		if (r)
			return r;
	}
	return 0;
}

/* A disk in use cannot change its block size upwards: what is on it breaks. */
static int vdisk_check_block_size(struct vdisk_stack *s)
{
	struct gendisk *disk = dm_disk(dm_table_get_md(s->ti->table));
	struct vdisk_node *root = s->nodes[0];
	unsigned int old = queue_logical_block_size(disk->queue);

	if (!get_capacity(disk) || root->lim.logical_block_size <= old)
		return 0;
	return vdisk_fail(root, -EINVAL,
			  "block size %u: the live disk has %u, and its users rely on that",
			  root->lim.logical_block_size, old);
}

/**
 * vdisk_check_place - check a leaf's start: and len:
 * @n: the leaf
 * @what: it is a part of, as messages call it
 * @size: of that, in sectors
 * @block: the leaf's block size, in sectors
 * @start: first sector
 * @len: sectors; 0 if the line has none
 *
 * Context: Process context.
 * Return: 0, or -EINVAL after vdisk_fail().
 */
int vdisk_check_place(struct vdisk_node *n, const char *what, sector_t size,
		      unsigned int block, sector_t start, sector_t len)
{
	if (start & (block - 1))
		return vdisk_fail(n, -EINVAL,
				  "start: not a multiple of the block size, %u sectors",
				  block);
	if (len & (block - 1))
		return vdisk_fail(n, -EINVAL,
				  "len: not a multiple of the block size, %u sectors",
				  block);
	if (start >= size)
		return vdisk_fail(n, -EINVAL,
				  "start: the %s has %llu sectors", what, size);
	if (len > size - start)
		return vdisk_fail(n, -EINVAL,
				  "len: the %s has %llu sectors, %llu from start on",
				  what, size, size - start);
	return 0;
}

/*
 * dm core sees the leaves of a stack that only remaps, and would refuse to
 * resume one that begins in the middle of a block of the disk
 * (dm-table.c:device_area_is_invalid()).
 */
static int vdisk_check_starts(struct vdisk_stack *s)
{
	unsigned int block = s->nodes[0]->lim.logical_block_size >> SECTOR_SHIFT;
	unsigned int i;

	for (i = 0; i < s->nr_leaves; i++) {
		struct vdisk_node *n = s->leaves[i];

		if (n->start & (block - 1))
			return vdisk_fail(n, -EINVAL,
					  "start: not a multiple of the disk's block size, %u sectors",
					  block);
	}
	return 0;
}

static int vdisk_find_leaves(struct vdisk_stack *s)
{
	unsigned int i, j;

	s->leaves = kcalloc(s->nr_nodes, sizeof(*s->leaves), GFP_KERNEL);
	s->flushes = kcalloc(s->nr_nodes, sizeof(*s->flushes), GFP_KERNEL);
	if (!s->leaves || !s->flushes)
		return vdisk_fail(s->nodes[0], -ENOMEM, "out of memory");

	for (i = 0; i < s->nr_nodes; i++) {
		struct vdisk_node *n = s->nodes[i];

		if (n->nr_children || !n->len)
			continue;
		s->leaves[s->nr_leaves++] = n;
		if (!s->remaps)
			continue;
		for (j = 0; j < s->nr_flushes; j++)
			if (s->flushes[j]->bdev == n->bdev)
				break;
		if (j == s->nr_flushes)
			s->flushes[s->nr_flushes++] = n;
	}
	return 0;
}

static void vdisk_find_gate(struct vdisk_stack *s)
{
	struct vdisk_node *root = s->nodes[0];
	unsigned int i;

	if (root->ops != &vdisk_pr_ops)
		return;
	s->gate = vdisk_pr_gate(root);
	s->direct = true;
	for (i = 1; i < s->nr_nodes; i++)
		s->direct &= !vdisk_is_below(s->nodes[i], root->children[0]) ||
			     s->nodes[i]->ops->remaps;
}

/* Children come behind their parents. */
static void vdisk_find_passes(struct vdisk_stack *s)
{
	unsigned int i, j;

	for (i = s->nr_nodes; i--;) {
		struct vdisk_node *n = s->nodes[i];
		unsigned int nr = 0;

		for (j = 0; j < n->nr_children; j++)
			nr += n->children[j]->passes;
		n->passes = n->ops->pass ? nr :
					   n->ops->remaps && nr == n->nr_children;
	}
	s->passes = s->nodes[0]->passes && !s->remaps;
}

/* Of the node alone; see vdisk_stack.whole. */
static sector_t vdisk_whole(const struct vdisk_node *n)
{
	if (n->nr_children > 1)
		return 0;
	return n->ops->splits ? n->ops->whole : VDISK_UNBOUNDED;
}

/*
 * Per-bio state: a node's lies behind its parent's, so siblings share space.
 * A node that can multiply a bio has the engine's state there as well.
 */
static void vdisk_lay_out(struct vdisk_stack *s)
{
	unsigned int i;

	s->io_size = sizeof(struct vdisk_io);
	s->whole = VDISK_UNBOUNDED;
	for (i = 0; i < s->nr_nodes; i++) {
		struct vdisk_node *n = s->nodes[i];
		unsigned int end;

		s->whole = min(s->whole, vdisk_whole(n));
		n->multi_offset = n->parent ? n->parent->io_offset +
			ALIGN(n->parent->io_size, 8) :
			sizeof(struct vdisk_io);
		n->io_offset = n->multi_offset + vdisk_multi_size(n);
		end = n->io_offset + ALIGN(n->io_size, 8);
		s->io_size = max(s->io_size, end);
	}
}

static int vdisk_make_pools(struct vdisk_stack *s)
{
	const char *name = dm_table_device_name(s->ti->table);
	bool defers = false, unbound = false, files = false;
	unsigned int i;
	int r;

	for (i = 0; i < s->nr_nodes; i++) {
		struct vdisk_node *n = s->nodes[i];

		unbound |= n->ops->unbound;
		files |= n->ops->files;
		defers |= (n->ops->defers && !n->ops->files) || n->ops->works ||
			  n->ops->own_ios || vdisk_multi_size(n);
		r = vdisk_pools_create(n);
		if (r)
			return vdisk_fail(n, r, "out of memory");
	}
	/* A stack's own: their rescuers must not wait for another stack's. */
	if (defers)
		s->wq = alloc_workqueue("vdisk/%s", WQ_MEM_RECLAIM | WQ_PERCPU, 0,
					name);
	if (unbound)
		s->unbound = alloc_workqueue("vdisk-unbound/%s",
					     WQ_MEM_RECLAIM | WQ_UNBOUND |
					     WQ_HIGHPRI, 0, name);
	/*
	 * Not WQ_MEM_RECLAIM: file systems wait for queues that are not, and such
	 * a worker must not (kernel/workqueue.c:check_flush_dependency()).
	 */
	if (files)
		s->files = alloc_workqueue("vdisk-file/%s", WQ_UNBOUND, 0, name);
	if ((defers && !s->wq) || (unbound && !s->unbound) ||
	    (files && !s->files))
		return vdisk_fail(s->nodes[0], -ENOMEM, "out of memory");
	return 0;
}

/* What dm core may send and how often. */
static void vdisk_set_target(struct vdisk_stack *s)
{
	struct vdisk_node *root = s->nodes[0];
	struct dm_target *ti = s->ti;
	unsigned int copies = s->copies ? s->nr_leaves : 1;
	unsigned int i;

	ti->private = s;
	/*
	 * Pages that are swapped out stay in memory until we let go of them. So
	 * where bios wait, reclaim must not queue all it has: it waits as well.
	 */
	for (i = 0; i < s->nr_nodes; i++)
		ti->limit_swap_bios |= s->nodes[i]->ops->defers;
	ti->num_flush_bios = s->remaps ? s->nr_flushes : 1;
	ti->num_discard_bios = copies;
	ti->num_secure_erase_bios = copies;
	ti->num_write_zeroes_bios = copies;
	ti->per_io_data_size = s->remaps ? sizeof(struct vdisk_node *) :
					   s->io_size;
	/* dm core cuts at chunks cheaper than we can by partial acceptance. */
	if (root->ops == &vdisk_striped_ops)
		ti->max_io_len = root->val[STRIPED_CHUNK].num;
}

/**
 * vdisk_stack_ctr - build a stack
 * @ti: the target; gets ->private and what dm core needs to know
 * @argc: number of words
 * @argv: the table line's words
 * @error: VDISK_ERROR_MAX bytes, set on failure
 *
 * Context: Process context, may sleep; dm core's table load.
 * Return: 0 or -errno.
 */
int vdisk_stack_ctr(struct dm_target *ti, unsigned int argc, char **argv,
		    char *error)
{
	struct vdisk_stack *s = vdisk_stack_alloc(ti);
	unsigned int i;
	int r;

	if (!s) {
		snprintf(error, VDISK_ERROR_MAX, "out of memory");
		return -ENOMEM;
	}
	r = vdisk_parse(s, argc, argv);
	if (r)
		goto bad;
	r = vdisk_ctr_nodes(s);
	if (r)
		goto bad;
	r = vdisk_give_lengths(s);
	if (r)
		goto bad;
	r = vdisk_check_block_size(s);
	if (r)
		goto bad;
	r = vdisk_object_check_drop(s);
	if (r)
		goto bad;

	s->remaps = true;
	for (i = 0; i < s->nr_nodes; i++) {
		s->remaps &= s->nodes[i]->ops->remaps;
		s->copies |= s->nodes[i]->ops->interleaves &&
			     s->nodes[i]->nr_children > 1;
	}
	s->copies &= s->remaps;
	vdisk_find_gate(s);
	vdisk_find_passes(s);
	r = vdisk_find_leaves(s);
	if (r)
		goto bad;
	if (s->remaps) {
		r = vdisk_check_starts(s);
		if (r)
			goto bad;
	} else {
		vdisk_lay_out(s);
		r = vdisk_make_pools(s);
		if (r)
			goto bad;
		r = vdisk_face_create(s);
		if (r)
			goto bad;
	}
	vdisk_set_target(s);
	return 0;

bad:
	strscpy(error, s->error, VDISK_ERROR_MAX);
	vdisk_stack_dtr(s);
	return r;
}

/**
 * vdisk_stack_dtr - undo vdisk_stack_ctr(), as far as it got
 * @s: the stack; no bio of it is in flight
 *
 * Context: Process context, may sleep.
 */
void vdisk_stack_dtr(struct vdisk_stack *s)
{
	unsigned int i;

	if (s->face)
		vdisk_face_destroy(s);
	if (s->files)
		destroy_workqueue(s->files);
	if (s->unbound)
		destroy_workqueue(s->unbound);
	if (s->wq)
		destroy_workqueue(s->wq);
	for (i = 0; i < s->nr_nodes; i++) {
		struct vdisk_node *n = s->nodes[i];

		vdisk_pools_destroy(n);
		if (n->built && n->ops->dtr)
			n->ops->dtr(n);
		free_percpu(n->count);
	}
	kfree(s->leaves);
	kfree(s->flushes);
	vdisk_free_tree(s);
	kfree(s);
}

/**
 * vdisk_stack_presuspend - stop what runs by itself; bios still come
 * @s: the stack
 *
 * Context: Process context, under dm's suspend lock, as for those below.
 */
void vdisk_stack_presuspend(struct vdisk_stack *s)
{
	unsigned int i;

	cancel_delayed_work_sync(&s->watch);
	for (i = 0; i < s->nr_nodes; i++)
		if (s->nodes[i]->ops->presuspend)
			s->nodes[i]->ops->presuspend(s->nodes[i]);
}

/**
 * vdisk_stack_presuspend_undo - dm gave up a suspend
 * @s: the stack
 */
void vdisk_stack_presuspend_undo(struct vdisk_stack *s)
{
	unsigned int i;

	for (i = s->nr_nodes; i--;)
		if (s->nodes[i]->ops->presuspend_undo)
			s->nodes[i]->ops->presuspend_undo(s->nodes[i]);
	schedule_delayed_work(&s->watch, VDISK_WATCH_PERIOD);
}

/**
 * vdisk_stack_postsuspend - no bio is left; parents before children
 * @s: the stack
 */
void vdisk_stack_postsuspend(struct vdisk_stack *s)
{
	unsigned int i;

	for (i = 0; i < s->nr_nodes; i++)
		if (s->nodes[i]->ops->postsuspend)
			s->nodes[i]->ops->postsuspend(s->nodes[i]);
}

/**
 * vdisk_stack_preresume - the table goes live; children before parents
 * @s: the stack
 *
 * Return: 0, or -errno to refuse.
 */
int vdisk_stack_preresume(struct vdisk_stack *s)
{
	unsigned int i;
	int r;

	for (i = s->nr_nodes; i--;) {
		if (!s->nodes[i]->ops->preresume)
			continue;
		r = s->nodes[i]->ops->preresume(s->nodes[i]);
		if (r)
			goto undo;
	}
	return 0;

undo:
	while (++i < s->nr_nodes)
		if (s->nodes[i]->ops->preresume_undo)
			s->nodes[i]->ops->preresume_undo(s->nodes[i]);
	return r;
}

/**
 * vdisk_stack_resume - start what runs by itself; children before parents
 * @s: the stack
 */
void vdisk_stack_resume(struct vdisk_stack *s)
{
	unsigned int i;

	vdisk_object_live(s);
	for (i = s->nr_nodes; i--;)
		if (s->nodes[i]->ops->resume)
			s->nodes[i]->ops->resume(s->nodes[i]);
	schedule_delayed_work(&s->watch, VDISK_WATCH_PERIOD);
}

/**
 * vdisk_count_sum - add up the counters of a node
 * @n: the node; a combinator has those of all leaves below it
 * @sum: set
 *
 * Context: Any context; a bio in flight may or may not be seen.
 */
void vdisk_count_sum(struct vdisk_node *n, struct vdisk_count *sum)
{
	struct vdisk_stack *s = n->stack;
	unsigned int i, kind;
	int cpu;

	memset(sum, 0, sizeof(*sum));
	for (i = 0; i < s->nr_nodes && s->nodes[i] != n; i++)
		;
	do {
		if (!s->nodes[i]->count)
			continue;
		for_each_possible_cpu(cpu) {
			struct vdisk_count *c = per_cpu_ptr(s->nodes[i]->count, cpu);

			for (kind = 0; kind < ARRAY_SIZE(sum->ios); kind++) {
				sum->ios[kind] += c->ios[kind];
				sum->sectors[kind] += c->sectors[kind];
			}
			sum->errors += c->errors;
		}
	} while (++i < s->nr_nodes && s->nodes[i]->depth > n->depth);
}
