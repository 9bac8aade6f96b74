// SPDX-License-Identifier: GPL-2.0-only
/*
 * overlay: a store over a base. What was written is read from the store, what
 * was discarded or zeroed reads as zeroes, everything else comes from the base,
 * which is never written. See vdisk-presence.h for the states of a unit.
 *
 * cache: the same but for whose data is in the store: it is the base's, kept
 * when it was read, see vdisk-fill.c. No writes are taken, so the base has
 * everything, and if the store fails in any way, reads go there. An overlay with
 * copy_on_read does both.
 *
 * cache with write_through takes writes, and sends them to the base first: that
 * has everything, too. See vdisk-through.c for what the store has then.
 *
 * Presence is kept on the store, and what is changed there is committed when
 * the guest flushes, and some seconds after it changed. With volatile it is in
 * memory only, and what the store has is lost with it. In both cases it goes
 * from table to table of a mapped device, as long as the store is the same.
 *
 * With merge the base of an overlay may be written, see vdisk-merge.c.
 *
 * If a commit fails, nothing can be made durable: writes and flushes fail from
 * then on, reads do not. A resume tries again; nothing is lost until then.
 *
 * Here is how the node comes and goes; vdisk-overlay-io.c has what bios do.
 */
#include <crypto/sha2.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "vdisk-overlay.h"

#define DM_MSG_PREFIX "vdisk"

/* Sectors of a fill, and of what is read ahead, unless the line says more. */
#define VDISK_FILL_DEFAULT	128
#define VDISK_AHEAD_DEFAULT	2048

/* Bytes of a unit, as the format has it: no more than a page */
#define VDISK_UNIT_MAX		4096U

/* The longest line of a store */
#define VDISK_STORE_LINE	SZ_64K

static const char * const vdisk_hydrate_names[] = {
	"off", "on", "done", "failed"
};

static void vdisk_layer_init_volatile(void *data)
{
	struct vdisk_layer *layer = data;

	vdisk_presence_init(&layer->presence, true);
}

static void vdisk_layer_init(void *data)
{
	struct vdisk_layer *layer = data;

	vdisk_presence_init(&layer->presence, false);
}

static void vdisk_layer_free(void *data)
{
	struct vdisk_layer *layer = data;

	vdisk_presence_free(&layer->presence);
}

/* Only route() knows it: it is no node of the line. */
static struct vdisk_node *vdisk_hole_create(struct vdisk_node *n,
					    const struct vdisk_ops *ops)
{
	struct vdisk_node *hole = kzalloc(sizeof(*hole), GFP_KERNEL);

	if (!hole)
		return NULL;
	hole->ops = ops;
	hole->route = ops->route;
	hole->stack = n->stack;
	hole->parent = n;
	hole->count = alloc_percpu(struct vdisk_count);
	if (hole->count)
		return hole;
	kfree(hole);
	return NULL;
}

static void vdisk_hole_destroy(struct vdisk_node *hole)
{
	if (!hole)
		return;
	free_percpu(hole->count);
	kfree(hole);
}

/*
 * Overlays and caches of live tables. One that keeps presence on its store must be
 * alone with that; it is known by its first leaf, for a copy of it has the same
 * uuid. And what one merges into must not be below another one.
 */
static LIST_HEAD(vdisk_claims);
static DEFINE_MUTEX(vdisk_claims_lock);	/* guards vdisk_claims */

static void vdisk_overlay_unclaim(struct vdisk_overlay *o)
{
	mutex_lock(&vdisk_claims_lock);
	list_del_init(&o->claim);
	mutex_unlock(&vdisk_claims_lock);
}

static unsigned long vdisk_overlay_count(struct shrinker *shrinker,
					 struct shrink_control *sc)
{
	struct vdisk_presence *p = vdisk_shrinker_data(shrinker);
	unsigned long nr = READ_ONCE(p->nr_entries), dirty = READ_ONCE(p->nr_dirty);

	return nr > dirty ? nr - dirty : 0;
}

static unsigned long vdisk_overlay_scan(struct shrinker *shrinker,
					struct shrink_control *sc)
{
	sc->nr_scanned = sc->nr_to_scan;
	return vdisk_presence_evict(vdisk_shrinker_data(shrinker), sc->nr_to_scan);
}

/* Of what a node keeps in memory, what its store has may go. */
static int vdisk_overlay_make_shrinker(struct vdisk_overlay *o)
{
	o->shrinker = vdisk_shrinker_create(o->presence, vdisk_overlay_count,
					    vdisk_overlay_scan);
	return o->shrinker ? 0 : -ENOMEM;
}

static void vdisk_overlay_free(struct vdisk_overlay *o)
{
	vdisk_overlay_unclaim(o);
	if (o->shrinker)
		vdisk_shrinker_destroy(o->shrinker);
	/* Who has handed over the last bio may not have returned yet. */
	if (o->wq)
		flush_workqueue(o->wq);
	cancel_delayed_work_sync(&o->commit);
	vdisk_hydrate_destroy(o->hydrate);
	vdisk_merge_destroy(o->merge);
	if (o->wq)
		destroy_workqueue(o->wq);
	if (o->fills)
		vdisk_fills_destroy(o->fills);
	vdisk_through_destroy(o->through);
	if (o->meta)
		vdisk_meta_destroy(o->meta);
	vdisk_hole_destroy(o->hole);
	vdisk_hole_destroy(o->missing);
	vdisk_hole_destroy(o->kept);
	if (o->n->object)
		vdisk_object_put(o->n->object);
	kfree(o);
}

static struct vdisk_object *vdisk_layer_get(struct vdisk_node *n)
{
	if (n->val[OVERLAY_VOLATILE].set)
		return vdisk_object_get(n, NULL, sizeof(struct vdisk_layer),
					vdisk_layer_init_volatile,
					vdisk_layer_free);
	return vdisk_object_get_durable(n, sizeof(struct vdisk_layer),
					vdisk_layer_init, vdisk_layer_free);
}

/*
 * Can the base be written, as an option wants it? Not all that is read-only
 * refuses to be opened for writing, or to be written.
 */
static int vdisk_overlay_check_base(struct vdisk_node *n, const char *option)
{
	struct vdisk_stack *s = n->stack;
	unsigned int i;

	for (i = 0; i < s->nr_nodes; i++) {
		const struct vdisk_node *leaf = s->nodes[i];

		if (leaf->bdev && vdisk_is_below(leaf, n->children[OVERLAY_BASE]) &&
		    vdisk_is_written(leaf) && bdev_read_only(leaf->bdev))
			return vdisk_fail(n, -EROFS,
					  "%s: the base is read-only: %u:%u", option,
					  MAJOR(leaf->bdev->bd_dev),
					  MINOR(leaf->bdev->bd_dev));
	}
	return 0;
}

static int vdisk_through_check_use(struct vdisk_node *n)
{
	if (n->children[OVERLAY_BASE]->type == &vdisk_types[VDISK_TYPE_ZERO])
		return vdisk_fail(n, -EINVAL,
				  "write_through: a base that is zero keeps nothing of what is written");
	return vdisk_overlay_check_base(n, "write_through");
}

/* What only a cache's store has, its base has as well. */
static bool vdisk_merge_relies_on(const struct vdisk_node *below,
				  const struct vdisk_node *base)
{
	const struct vdisk_node *n;

	if (!vdisk_is_below(below, base) || vdisk_read_only(below))
		return false;
	for (n = below; n != base; n = n->parent)
		if (vdisk_is_store(n))
			return false;
	return true;
}

/*
 * The base is to keep what the store has. Nor could what is in memory be found
 * again when the base is in the overlay's place, for it may go by its path.
 */
static int vdisk_merge_check_use(struct vdisk_node *n)
{
	struct vdisk_stack *s = n->stack;
	unsigned int i;

	if (vdisk_read_only(n))
		return vdisk_fail(n, -EINVAL, "merge: as a base it is only read");
	if (!vdisk_is_written(n))
		return vdisk_fail(n, -EROFS, "merge: the device is read-only");
	for (i = 0; i < s->nr_nodes; i++) {
		const struct vdisk_node *below = s->nodes[i];

		if (vdisk_forgets(below) &&
		    vdisk_merge_relies_on(below, n->children[OVERLAY_BASE]))
			return vdisk_fail(n, -EINVAL,
					  "merge: %s in its base keeps nothing of what is written",
					  below->type->name);
	}
	return vdisk_overlay_check_base(n, "merge");
}

/* Who may write to it? */
static int vdisk_overlay_check_use(struct vdisk_node *n)
{
	struct dm_table *table = n->stack->ti->table;

	if (n->ops == &vdisk_cache_ops) {
		if (n->val[CACHE_THROUGH].set)
			return vdisk_through_check_use(n);
		if ((dm_table_get_mode(table) & VDISK_OPEN_WRITE) &&
		    !vdisk_read_only(n))
			return vdisk_fail(n, -EROFS,
					  "takes no writes: say write_through, make it the base of an overlay, or the device read-only");
		return 0;
	}
	if (!n->val[OVERLAY_COPY].set) {
		if (n->val[OVERLAY_FILL].set || n->val[OVERLAY_AHEAD].set)
			return vdisk_fail(n, -EINVAL,
					  "%s: needs copy_on_read",
					  n->val[OVERLAY_FILL].set ? "fill" :
					  "read_ahead");
	} else if (vdisk_read_only(n)) {
		return vdisk_fail(n, -EINVAL,
				  "copy_on_read: as a base it is only read; use a cache below it");
	}
	return n->val[OVERLAY_MERGE].set ? vdisk_merge_check_use(n) : 0;
}

static bool vdisk_overlay_make_fills(struct vdisk_overlay *o)
{
	const struct vdisk_val *val = o->n->val;

	o->fills = vdisk_fills_create(o->n, &vdisk_overlay_fill_ops, o->presence,
				      o->wq,
				      val[OVERLAY_FILL].set ?
				      val[OVERLAY_FILL].num : VDISK_FILL_DEFAULT,
				      val[OVERLAY_AHEAD].set ?
				      val[OVERLAY_AHEAD].num : VDISK_AHEAD_DEFAULT);
	if (o->fills)
		o->hydrate = vdisk_hydrate_create(o->n, o->fills,
						  &vdisk_overlay_fill_ops,
						  o->presence, o->wq);
	return o->hydrate;
}

static bool vdisk_overlay_make_through(struct vdisk_overlay *o)
{
	o->through = vdisk_through_create();
	o->n->io_size = sizeof(struct vdisk_through_io);
	/* What is written is looked at twice. */
	o->n->stable = true;
	return o->through;
}

static int vdisk_overlay_ctr(struct vdisk_node *n)
{
	struct vdisk_overlay *o;
	struct vdisk_object *obj;
	int r;

	r = vdisk_overlay_check_use(n);
	if (r)
		return r;
	o = kzalloc(sizeof(*o), GFP_KERNEL);
	if (!o)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	o->n = n;
	o->cache = n->ops == &vdisk_cache_ops;
	o->end = VDISK_UNBOUNDED;
	INIT_DELAYED_WORK(&o->commit, vdisk_overlay_commit_work);
	spin_lock_init(&o->lock);
	INIT_LIST_HEAD(&o->punching);
	INIT_LIST_HEAD(&o->waiting);
	INIT_LIST_HEAD(&o->flushes);
	INIT_LIST_HEAD(&o->throttled);
	INIT_LIST_HEAD(&o->claim);
	o->hole = vdisk_hole_create(n, &vdisk_zero_ops);
	o->missing = vdisk_hole_create(n, &vdisk_missing_ops);
	if (o->cache)
		o->kept = vdisk_hole_create(n, &vdisk_kept_ops);
	if (!o->hole || !o->missing || (o->cache && !o->kept))
		goto no_memory;
	obj = vdisk_layer_get(n);
	if (IS_ERR(obj))
		goto no_memory;
	n->object = obj;
	n->priv = o;
	o->layer = vdisk_object_data(obj);
	o->presence = &o->layer->presence;
	o->wq = alloc_workqueue("vdisk-commit/%s",
				WQ_MEM_RECLAIM | WQ_UNBOUND, 0,
				dm_table_device_name(n->stack->ti->table));
	if (!o->wq)
		goto no_memory;
	if ((o->cache || n->val[OVERLAY_COPY].set) &&
	    !vdisk_overlay_make_fills(o))
		goto no_memory;
	if (o->cache && n->val[CACHE_THROUGH].set &&
	    !vdisk_overlay_make_through(o))
		goto no_memory;
	if (!o->cache && n->val[OVERLAY_MERGE].set) {
		o->merge = vdisk_merge_create(o);
		if (!o->merge)
			goto no_memory;
	}
	if (n->val[OVERLAY_VOLATILE].set)
		return 0;
	o->meta = vdisk_meta_create(n, o->presence, &o->layer->sb);
	n->caches = !o->cache;
	if (o->meta && !vdisk_overlay_make_shrinker(o))
		return 0;

no_memory:
	vdisk_overlay_free(o);
	n->object = NULL;
	return vdisk_fail(n, -ENOMEM, "out of memory");
}

static void vdisk_overlay_dtr(struct vdisk_node *n)
{
	vdisk_overlay_free(n->priv);
}

static int vdisk_overlay_pools(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;

	return o->fills ? vdisk_fills_pools(o->fills) : 0;
}

static sector_t vdisk_overlay_length(const struct vdisk_node *n)
{
	struct vdisk_node *store = n->children[OVERLAY_STORE];
	struct vdisk_node *base = n->children[OVERLAY_BASE];
	sector_t len = base->ops->length(base);

	return len == VDISK_UNBOUNDED ? store->ops->length(store) : len;
}

/* What a line does not tell apart: another file may have the name now. */
static void vdisk_emit_object(struct vdisk_node *n, struct vdisk_out *out)
{
	vdisk_emit_inode(n, out);
	if (n->object)
		vdisk_emit(out, " object=%llu", vdisk_object_serial(n->object));
}

/* Presence is about this very store, and about units of this size. */
static int vdisk_overlay_identify(struct vdisk_node *n)
{
	struct vdisk_out line = { .max = VDISK_STORE_LINE };
	struct vdisk_overlay *o = n->priv;
	struct vdisk_layer *layer = o->layer;

	if (layer->live && layer->through != !!o->through)
		return vdisk_fail(n, -EBUSY,
				  "its presence in the live table is of a node %s write_through; this one needs a label of its own",
				  layer->through ? "with" : "without");
	line.buf = kvzalloc(line.max, GFP_KERNEL);
	if (!line.buf)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	vdisk_emit(&line, "%u ", o->shift);
	vdisk_print_node(n->children[OVERLAY_STORE], &line, vdisk_emit_object);
	sha256(line.buf, line.len, o->store);
	kvfree(line.buf);
	if (!layer->live || !memcmp(layer->store, o->store, sizeof(layer->store)))
		return 0;
	return vdisk_fail(n, -EBUSY,
			  "its presence in the live table belongs to another store, or to another block size; a new overlay needs a label of its own");
}

static const struct vdisk_node *vdisk_store_leaf(const struct vdisk_overlay *o)
{
	const struct vdisk_node *n = o->n->children[OVERLAY_STORE];

	while (n->nr_children)
		n = n->children[0];
	return n;
}

/*
 * Of the tables of one mapped device only one is live: another one's claim is
 * its predecessor's, which is on its way out, or that of a table which failed to
 * become live.
 */
static bool vdisk_overlay_is_rival(const struct vdisk_overlay *o,
				   const struct vdisk_overlay *other)
{
	struct dm_table *table = o->n->stack->ti->table;
	struct dm_table *its = other->n->stack->ti->table;

	return its == table || dm_table_get_md(its) != dm_table_get_md(table);
}

static int vdisk_overlay_check_claims(struct vdisk_node *n)
{
	const struct vdisk_node *leaf = vdisk_store_leaf(n->priv);
	struct vdisk_overlay *other;

	lockdep_assert_held(&vdisk_claims_lock);
	list_for_each_entry(other, &vdisk_claims, claim) {
		const struct vdisk_node *its = vdisk_store_leaf(other);

		if (!other->meta)
			continue;
		if (its->bdev == leaf->bdev && its->inode == leaf->inode &&
		    its->start == leaf->start && its->object == leaf->object &&
		    vdisk_overlay_is_rival(n->priv, other))
			return vdisk_fail(n, -EBUSY, "store: in use by %s",
					  dm_table_device_name(other->n->stack->ti->table));
	}
	return 0;
}

/* Do two leaves lie on the same part of a device, or file? */
static bool vdisk_leaves_overlap(const struct vdisk_node *a,
				 const struct vdisk_node *b)
{
	sector_t a_start = a->start, b_start = b->start;

	if (a->inode != b->inode || !a->bdev != !b->bdev || (!a->inode && !a->bdev))
		return false;
	if (a->bdev) {
		if (a->bdev->bd_disk != b->bdev->bd_disk)
			return false;
		a_start += get_start_sect(a->bdev);
		b_start += get_start_sect(b->bdev);
	}
	return a_start < b_start + b->len && b_start < a_start + a->len;
}

/* Would a merge of one write what another one has below its base? */
static bool vdisk_overlay_writes_base(const struct vdisk_overlay *o,
				      const struct vdisk_node *other)
{
	const struct vdisk_node *base = o->n->children[OVERLAY_BASE];
	const struct vdisk_node *its = other->children[OVERLAY_BASE];
	unsigned int i, k;

	if (!o->merge)
		return false;
	for (i = 0; i < o->n->stack->nr_nodes; i++) {
		const struct vdisk_node *leaf = o->n->stack->nodes[i];

		if (!vdisk_is_below(leaf, base) || vdisk_read_only(leaf))
			continue;
		for (k = 0; k < other->stack->nr_nodes; k++)
			if (vdisk_is_below(other->stack->nodes[k], its) &&
			    vdisk_leaves_overlap(leaf, other->stack->nodes[k]))
				return true;
	}
	return false;
}

/* A merge would change what others read. Layers of one stack have one base. */
static int vdisk_overlay_check_bases(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv, *other;

	lockdep_assert_held(&vdisk_claims_lock);
	list_for_each_entry(other, &vdisk_claims, claim) {
		const char *name = dm_table_device_name(other->n->stack->ti->table);

		if (!vdisk_overlay_is_rival(o, other) ||
		    vdisk_is_below(n, other->n->children[OVERLAY_BASE]) ||
		    vdisk_is_below(other->n, n->children[OVERLAY_BASE]))
			continue;
		if (vdisk_overlay_writes_base(o, other->n))
			return vdisk_fail(n, -EBUSY,
					  "merge: the base is that of %s as well",
					  name);
		if (vdisk_overlay_writes_base(other, n))
			return vdisk_fail(n, -EBUSY, "base: %s merges into it", name);
	}
	return 0;
}

static int vdisk_overlay_claim(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;
	int r = 0;

	/* It still has it if another node refused the last resume. */
	if (!list_empty(&o->claim))
		return 0;
	mutex_lock(&vdisk_claims_lock);
	if (o->meta)
		r = vdisk_overlay_check_claims(n);
	if (!r)
		r = vdisk_overlay_check_bases(n);
	if (!r)
		list_add(&o->claim, &vdisk_claims);
	mutex_unlock(&vdisk_claims_lock);
	return r;
}

/* All of it, in blocks; a store without a length may have any. */
static sector_t vdisk_overlay_store_len(const struct vdisk_node *store)
{
	return round_down(min(store->ops->length(store), (sector_t)1 << 54),
			  store->lim.logical_block_size >> SECTOR_SHIFT);
}

static int vdisk_overlay_give(struct vdisk_node *n)
{
	struct vdisk_node *store = n->children[OVERLAY_STORE];
	struct vdisk_node *base = n->children[OVERLAY_BASE];
	unsigned int block = n->lim.logical_block_size >> SECTOR_SHIFT;
	struct vdisk_overlay *o = n->priv;

	if (o->through && base->ops->length(base) < n->len)
		return vdisk_fail(n, -EINVAL,
				  "write_through: the base has %llu sectors, %llu are asked of it",
				  base->ops->length(base), n->len);
	if (o->merge && base->ops->length(base) < n->len)
		return vdisk_fail(n, -EINVAL,
				  "merge: the base has %llu sectors, the disk %llu",
				  base->ops->length(base), n->len);
	if (o->merge && vdisk_merge_give(o->merge))
		return vdisk_fail(n, -ENOMEM, "out of memory");
	if (n->lim.logical_block_size > VDISK_UNIT_MAX)
		return vdisk_fail(n, -EINVAL,
				  "blocks of %u bytes: at most %u", n->lim.logical_block_size,
				  VDISK_UNIT_MAX);
	if (n->val[OVERLAY_FILL].num & (block - 1))
		return vdisk_fail(n, -EINVAL,
				  "fill: not a multiple of the block size, %u sectors",
				  block);
	o->shift = ilog2(n->lim.logical_block_size) - SECTOR_SHIFT;
	o->punches = store->lim.max_hw_discard_sectors;
	/* Where the disk lies in the store is known when its superblock is. */
	store->len = o->meta ? vdisk_overlay_store_len(store) : n->len;
	base->len = n->len;
	if (!base->ops->longer)
		base->len = min(n->len, base->ops->length(base));
	if (o->meta) {
		int r;

		mutex_lock(&vdisk_claims_lock);
		r = vdisk_overlay_check_claims(n);
		mutex_unlock(&vdisk_claims_lock);
		if (!r)
			r = vdisk_meta_find_blobs(o->meta);
		if (r)
			return r;
	}
	return vdisk_overlay_identify(n);
}

/* What its children can do is theirs; here all comes down to presence. */
static void vdisk_overlay_limits(struct vdisk_node *n, struct queue_limits *lim)
{
	unsigned int sectors = VDISK_ZERO_LEAVES * VDISK_LEAF_UNITS;

	/* Of 512 it is by itself, unless a child's is larger. */
	if (n->val[OVERLAY_UNIT].set &&
	    !strcmp(n->val[OVERLAY_UNIT].str, "4096")) {
		lim->logical_block_size = max(lim->logical_block_size, 4096U);
		lim->physical_block_size = max(lim->physical_block_size, 4096U);
	}
	lim->max_secure_erase_sectors = 0;
	if (n->ops == &vdisk_cache_ops && n->val[CACHE_THROUGH].set) {
		const struct queue_limits *base = &n->children[OVERLAY_BASE]->lim;

		vdisk_limits_stable(lim);
		if (base->max_hw_discard_sectors)
			vdisk_limits_discard(lim, min(base->max_hw_discard_sectors, sectors),
					     max(base->discard_granularity,
						 lim->logical_block_size));
		else
			vdisk_limits_discard(lim, 0, 0);
		lim->max_write_zeroes_sectors = min(base->max_write_zeroes_sectors,
						    sectors);
		return;
	}
	if (n->ops == &vdisk_cache_ops) {
		vdisk_limits_discard(lim, 0, 0);
		lim->max_write_zeroes_sectors = 0;
		return;
	}
	/* Without its flushes our own states would never be durable. */
	if (!n->val[OVERLAY_VOLATILE].set)
		vdisk_limits_cached(lim);
	vdisk_limits_discard(lim, sectors, lim->logical_block_size);
	lim->max_write_zeroes_sectors = sectors;
}

/* As a base it is as long as it was, and nothing is written; but for a cache. */
static bool vdisk_overlay_is_fixed(const struct vdisk_overlay *o)
{
	return !o->cache && vdisk_read_only(o->n);
}

/* A store that has all of its base needs none: zeroes take its place. */
static bool vdisk_overlay_detaches(const struct vdisk_overlay *o)
{
	return le32_to_cpu(o->layer->sb.flags) & VDISK_STORE_FULL &&
	       o->n->children[OVERLAY_BASE]->ops == &vdisk_zero_ops;
}

/* Is it in the base of an overlay that may be merged? */
static bool vdisk_overlay_is_merged_into(const struct vdisk_node *n)
{
	for (; n->parent; n = n->parent)
		if (n->index == OVERLAY_BASE && n->parent->ops == &vdisk_overlay_ops &&
		    n->parent->val[OVERLAY_MERGE].set)
			return true;
	return false;
}

/* Is it this disk's store, and of this base? */
static int vdisk_overlay_check_store(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;
	const struct vdisk_store_sb *sb = &o->layer->sb;
	const char *lineage = n->val[OVERLAY_LINEAGE].str ?: "";
	struct vdisk_node *store = n->children[OVERLAY_STORE];
	struct vdisk_node *base = n->children[OVERLAY_BASE];
	sector_t base_len = base->ops->length(base);
	u64 recorded = le64_to_cpu(sb->base_len);
	sector_t len;

	if (le64_to_cpu(sb->ro_compat) & ~VDISK_STORE_RO_COMPAT)
		return vdisk_fail(n, -EINVAL, "store: unknown read-only features %llx",
				  le64_to_cpu(sb->ro_compat));
	if (vdisk_store_is_through(sb) && !o->through)
		return vdisk_fail(n, -EINVAL,
				  "store: of a cache with write_through, whose base has the data; this is none");
	if (o->through && !vdisk_store_is_through(sb))
		return vdisk_fail(n, -EINVAL,
				  "store: of an overlay, or of a cache without write_through: it may have what the base has not; format another one with --write-through");
	if (le32_to_cpu(sb->flags) & ~vdisk_store_flags(sb))
		return vdisk_fail(n, -EINVAL, "store: unknown flags %x",
				  le32_to_cpu(sb->flags) & ~vdisk_store_flags(sb));
	if ((le32_to_cpu(sb->flags) & VDISK_STORE_MERGED && !o->layer->merged) ||
	    (o->layer->merged && vdisk_overlay_is_fixed(o)))
		return vdisk_fail(n, -EBUSY,
				  "store: was merged into its base, which is the disk now");
	if (le32_to_cpu(sb->unit) != n->lim.logical_block_size)
		return vdisk_fail(n, -EINVAL,
				  "store: formatted for blocks of %u bytes, the disk has %u",
				  le32_to_cpu(sb->unit), n->lim.logical_block_size);
	if (le64_to_cpu(sb->len) < n->len && vdisk_overlay_is_merged_into(n))
		return vdisk_fail(n, -EINVAL,
				  "store: of a disk of %llu sectors, behind which the one above reads zeroes; merge it before it has %llu",
				  le64_to_cpu(sb->len), n->len);
	if (le64_to_cpu(sb->max_len) < n->len && !vdisk_overlay_is_fixed(o))
		return vdisk_fail(n, -EINVAL,
				  "store: formatted for at most %llu sectors, %llu are asked of it",
				  le64_to_cpu(sb->max_len), n->len);
	len = n->len;
	if (vdisk_overlay_is_fixed(o))
		len = min_t(sector_t, len, le64_to_cpu(sb->len));
	if (le64_to_cpu(sb->data_start) + len > store->len)
		return vdisk_fail(n, -EINVAL,
				  "store: has %llu sectors, needs %llu",
				  store->len, le64_to_cpu(sb->data_start) + len);
	if (recorded && recorded != base_len && !vdisk_overlay_detaches(o))
		return vdisk_fail(n, -EINVAL,
				  recorded == VDISK_UNBOUNDED ?
				  "store: has no base any more: it is zero" :
				  "store: is of a base of %llu sectors, this one has %llu",
				  recorded, base_len);
	if (strncmp(sb->lineage, lineage, sizeof(sb->lineage)))
		return vdisk_fail(n, -EINVAL,
				  "lineage: the store is of '%*pE', not of '%s'",
				  (int)strnlen(sb->lineage, sizeof(sb->lineage)),
				  sb->lineage, lineage);
	return 0;
}

/* Why the store is not to be believed */
static const char *vdisk_overlay_doubt(const struct vdisk_overlay *o)
{
	static const char * const damaged[VDISK_STORE_SLOTS] = {
		"superblock 0 is damaged", "superblock 1 is damaged",
	};

	if (o->layer->failed)
		return "had failed";
	if (o->meta->damaged >= 0)
		return damaged[o->meta->damaged];
	return "was in use when its host went down";
}

/*
 * With write_through: the store is not to be believed. The base is, so it takes
 * no more than to begin anew.
 */
static int vdisk_overlay_begin_anew(struct vdisk_overlay *o)
{
	struct dm_table *table = o->n->stack->ti->table;
	int r;

	/* What is read from the base from now on may be kept, so it has to last. */
	if (o->meta) {
		r = blk_status_to_errno(vdisk_meta_flush_base(o->meta));
		if (r)
			return vdisk_fail(o->n, r, "base: the flush failed");
		r = vdisk_meta_empty(o->meta);
		if (r)
			return r;
	}
	vdisk_presence_forget(o->presence);
	DMWARN("%s: cache: store: %s: emptied", dm_table_device_name(table),
	       vdisk_overlay_doubt(o));
	dm_table_event(table);
	return 0;
}

/**
 * vdisk_overlay_fail - the store has failed
 * @o: the node: of an overlay, nothing can be made durable; of a cache, the base
 *	serves alone; until the next resume
 * @status: why
 *
 * Context: Process context.
 */
void vdisk_overlay_fail(struct vdisk_overlay *o, blk_status_t status)
{
	struct dm_table *table = o->n->stack->ti->table;
	bool failed;

	spin_lock_irq(&o->lock);
	failed = o->layer->failed;
	WRITE_ONCE(o->layer->failed, true);
	spin_unlock_irq(&o->lock);
	/* Nothing that is filled from now on would be kept. */
	if (o->hydrate && o->layer->hydrate == VDISK_HYDRATE_ON) {
		vdisk_hydrate_stop(o->hydrate);
		WRITE_ONCE(o->layer->hydrate, VDISK_HYDRATE_FAILED);
	}
	if (failed)
		return;
	DMERR("%s: store: %s (%pe): %s until the next resume",
	      dm_table_device_name(table), o->cache ? "failed" : "commit failed",
	      ERR_PTR(blk_status_to_errno(status)),
	      o->cache ? "all is read from the base" : "no more writes");
	dm_table_event(table);
}

static bool vdisk_overlay_is_dirty(const struct vdisk_overlay *o)
{
	return le32_to_cpu(o->layer->sb.flags) & VDISK_STORE_DIRTY;
}

/* With write_through: its store may have what is not true any more. */
static bool vdisk_overlay_is_in_doubt(const struct vdisk_overlay *o)
{
	return o->through && (o->layer->failed || (!o->layer->known &&
						   vdisk_overlay_is_dirty(o)));
}

/* It was merged, and the disk goes on to be in the store nevertheless. */
static int vdisk_overlay_go_on(struct vdisk_overlay *o)
{
	int r = blk_status_to_errno(vdisk_meta_merged(o->meta, false));

	if (r)
		return vdisk_fail(o->n, r,
				  "store: says that it was merged, which cannot be undone (%pe)",
				  ERR_PTR(r));
	o->layer->merged = false;
	return 0;
}

/* What has to be written to the store before it is used. */
static int vdisk_overlay_prepare(struct vdisk_overlay *o)
{
	const struct vdisk_layer *layer = o->layer;
	int r = 0;

	if (vdisk_overlay_is_in_doubt(o))
		r = vdisk_overlay_begin_anew(o);
	if (r || vdisk_overlay_is_fixed(o))
		return r;
	if (vdisk_overlay_detaches(o))
		r = vdisk_meta_detach(o->meta);
	if (!r && layer->merged)
		r = vdisk_overlay_go_on(o);
	if (!r && le64_to_cpu(layer->sb.len) < o->n->len)
		r = vdisk_meta_grow(o->meta, o->n->len);
	return r;
}

/*
 * The base has all. But what was in use goes on, what begins is refused; and with
 * write_through the store has to say already that it is not to be believed.
 */
static bool vdisk_cache_needs_no_store(const struct vdisk_overlay *o)
{
	return o->cache && o->layer->known &&
	       (!o->through || vdisk_overlay_is_dirty(o));
}

/*
 * What is read from the store is taken to be durable; but it may be what a host
 * wrote that went down before it flushed, while the device did not.
 */
static int vdisk_overlay_read_store(struct vdisk_overlay *o)
{
	int r = vdisk_meta_read_sb(o->meta);

	if (r || vdisk_overlay_is_fixed(o))
		return r;
	r = blk_status_to_errno(vdisk_meta_flush(o->meta));
	return r ? vdisk_fail(o->n, r, "store: the flush failed") : 0;
}

/* The first that goes live reads what the store has; the next ones know. */
static int vdisk_overlay_open(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;
	struct vdisk_layer *layer = o->layer;
	int r;

	if (!layer->known) {
		r = vdisk_overlay_read_store(o);
		if (r)
			return r;
	}
	r = vdisk_overlay_check_store(n);
	/* What is not believed is of no version. */
	if (!r && !vdisk_overlay_is_in_doubt(o))
		r = vdisk_meta_pin_blobs(o->meta);
	if (r)
		return r;
	r = vdisk_overlay_prepare(o);
	if (r && !vdisk_cache_needs_no_store(o)) {
		vdisk_meta_unpin_blobs(o->meta);
		return r;
	}
	if (r) {
		DMERR("%s: %s", dm_table_device_name(n->stack->ti->table),
		      n->stack->error);
		vdisk_overlay_fail(o, errno_to_blk_status(r));
	} else {
		WRITE_ONCE(layer->failed, false);
	}
	if (vdisk_overlay_is_fixed(o))
		o->end = le64_to_cpu(layer->sb.len);
	layer->known = true;
	if (le32_to_cpu(layer->sb.flags) & VDISK_STORE_FULL)
		layer->hydrate = VDISK_HYDRATE_DONE;
	else if (layer->hydrate == VDISK_HYDRATE_DONE)
		layer->hydrate = VDISK_HYDRATE_OFF;
	o->data = le64_to_cpu(layer->sb.data_start);
	return 0;
}

static int vdisk_overlay_preresume(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;
	int r;

	mutex_lock(&n->stack->message_lock);
	r = vdisk_overlay_claim(n);
	if (!r && o->meta)
		r = vdisk_overlay_open(n);
	if (r)
		DMERR("%s: %s", dm_table_device_name(n->stack->ti->table),
		      n->stack->error);
	mutex_unlock(&n->stack->message_lock);
	if (r) {
		vdisk_overlay_unclaim(o);
		return r;
	}
	if (!o->meta) {
		if (o->through && o->layer->failed)
			vdisk_overlay_begin_anew(o);
		WRITE_ONCE(o->layer->failed, false);
	}
	/* Nobody else knows of what is in memory only. */
	if (o->through && (!o->meta || vdisk_overlay_is_dirty(o)))
		vdisk_through_open(o->through);
	else if (o->through)
		vdisk_through_close(o->through, true);
	memcpy(o->layer->store, o->store, sizeof(o->layer->store));
	o->layer->through = o->through;
	o->layer->live = true;
	return 0;
}

static void vdisk_overlay_preresume_undo(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;

	if (o->meta)
		vdisk_meta_unpin_blobs(o->meta);
}

static void vdisk_overlay_presuspend(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;

	WRITE_ONCE(o->stopping, true);
	if (o->merge)
		vdisk_merge_presuspend(o->merge);
	if (!o->fills)
		return;
	vdisk_hydrate_stop(o->hydrate);
	vdisk_fills_stop(o->fills);
}

/* No bio is left, so none waits for it. */
static void vdisk_overlay_postsuspend(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;

	if (o->fills) {
		vdisk_fills_drain(o->fills);
		vdisk_hydrate_drain(o->hydrate);
	}
	if (list_empty(&o->claim))
		return;
	if (o->meta && (o->presence->nr_dirty ||
			(o->through && vdisk_through_is_open(o->through)))) {
		mod_delayed_work(o->wq, &o->commit, 0);
		flush_delayed_work(&o->commit);
	}
	cancel_delayed_work_sync(&o->commit);
	if (o->merge)
		vdisk_merge_postsuspend(o->merge);
	vdisk_overlay_unclaim(o);
}

/* What could not be committed or punched before. */
static void vdisk_overlay_resume(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;

	WRITE_ONCE(o->stopping, false);
	if (o->meta && (o->presence->nr_dirty ||
			(o->through && vdisk_through_is_open(o->through)) ||
			xa_marked(&o->presence->leaves, VDISK_LEAF_PUNCH)))
		mod_delayed_work(o->wq, &o->commit, 0);
	if (o->merge)
		vdisk_merge_resume(o->merge);
	else
		o->layer->merging = false;
	if (!o->fills)
		return;
	vdisk_fills_start(o->fills, o->data);
	if (o->layer->hydrate == VDISK_HYDRATE_ON)
		vdisk_hydrate_start(o->hydrate, o->layer->rate, !o->layer->urgent);
}

/**
 * vdisk_overlay_is_whole - is all walked that the store may have?
 * @o: the node
 *
 * Context: Process context, of a table that is live.
 * Return: false if the table is shorter than the disk whose store it has opened.
 */
bool vdisk_overlay_is_whole(const struct vdisk_overlay *o)
{
	const struct vdisk_node *base = o->n->children[OVERLAY_BASE];

	return !o->meta || o->n->len >= min_t(sector_t, base->ops->length(base),
					      le64_to_cpu(o->layer->sb.len));
}

static void vdisk_overlay_status(struct vdisk_node *n, struct vdisk_out *out)
{
	struct vdisk_overlay *o = n->priv;
	struct vdisk_presence *p = o->presence;

	vdisk_emit(out, " data=%llu zero=%llu leaves=%lu",
		   READ_ONCE(p->nr[VDISK_DATA]) << o->shift,
		   READ_ONCE(p->nr[VDISK_ZERO]) << o->shift,
		   READ_ONCE(p->nr_leaves));
	if (o->meta)
		vdisk_emit(out, " dirty=%lu", READ_ONCE(p->nr_dirty));
	if (o->meta || o->cache)
		vdisk_emit(out, " store=%s",
			   READ_ONCE(o->layer->failed) ? "failed" : "ok");
	if (o->meta && o->through)
		vdisk_emit(out, " through=%s epoch=%llu",
			   vdisk_through_is_open(o->through) ? "dirty" : "clean",
			   le64_to_cpu(o->layer->sb.epoch));
	if (o->merge)
		vdisk_merge_status(o->merge, out);
	if (!o->fills)
		return;
	vdisk_fills_status(o->fills, out);
	vdisk_emit(out, " hydrate=%s hydrated=%llu priority=%s",
		   vdisk_hydrate_names[READ_ONCE(o->layer->hydrate)],
		   vdisk_hydrate_at(o->hydrate),
		   READ_ONCE(o->layer->urgent) ? "normal" : "idle");
}

/* hydrate start [<sectors per second>] [idle|normal] */
static int vdisk_overlay_hydrate(struct vdisk_node *n, unsigned int argc,
				 char **argv)
{
	struct vdisk_overlay *o = n->priv;
	bool urgent = false;
	u64 rate = 0;

	if (argc && (!strcmp(argv[argc - 1], "idle") ||
		     !strcmp(argv[argc - 1], "normal")))
		urgent = !strcmp(argv[--argc], "normal");
	if (argc > 1)
		return vdisk_fail(n, -EINVAL,
				  "hydrate: start [<sectors per second>] [idle|normal], or stop");
	if (argc && (kstrtou64(argv[0], 10, &rate) || !rate))
		return vdisk_fail(n, -EINVAL,
				  "hydrate: '%s' is no number of sectors per second",
				  argv[0]);
	if (!vdisk_overlay_is_whole(o))
		return vdisk_fail(n, -EINVAL,
				  "hydrate: the store is of a disk of %llu sectors, this one has %llu",
				  le64_to_cpu(o->layer->sb.len), n->len);
	if (READ_ONCE(o->layer->failed))
		return vdisk_fail(n, -EIO, "hydrate: the store has failed; resume first");
	o->layer->rate = rate;
	WRITE_ONCE(o->layer->urgent, urgent);
	WRITE_ONCE(o->layer->hydrate, VDISK_HYDRATE_ON);
	vdisk_hydrate_start(o->hydrate, rate, !urgent);
	return 0;
}

/* hydrate start ... | hydrate stop | merge ... */
static int vdisk_overlay_message(struct vdisk_node *n, unsigned int argc,
				 char **argv, struct vdisk_out *out)
{
	struct vdisk_overlay *o = n->priv;

	if (argc >= 2 && !strcmp(argv[0], "merge") && !o->cache)
		return o->merge ? vdisk_merge_message(o->merge, argc - 1, argv + 1) :
				  vdisk_fail(n, -EINVAL,
					     "merge: needs the option merge");
	if (argc < 2 || strcmp(argv[0], "hydrate"))
		return vdisk_fail(n, -EINVAL,
				  "understands: hydrate start|stop%s",
				  o->cache ? "" : ", merge start|stop|finish");
	if (!o->fills)
		return vdisk_fail(n, -EINVAL, "hydrate: needs copy_on_read");
	if (argc == 2 && !strcmp(argv[1], "stop")) {
		vdisk_hydrate_stop(o->hydrate);
		if (o->layer->hydrate == VDISK_HYDRATE_ON)
			WRITE_ONCE(o->layer->hydrate, VDISK_HYDRATE_OFF);
		return 0;
	}
	if (strcmp(argv[1], "start"))
		return vdisk_fail(n, -EINVAL,
				  "hydrate: start [<sectors per second>] [idle|normal], or stop");
	return vdisk_overlay_hydrate(n, argc - 2, argv + 2);
}

#define VDISK_OVERLAY_OPS					\
	.ctr = vdisk_overlay_ctr,				\
	.dtr = vdisk_overlay_dtr,				\
	.length = vdisk_overlay_length,				\
	.give = vdisk_overlay_give,				\
	.pools = vdisk_overlay_pools,				\
	.limits = vdisk_overlay_limits,				\
	.presuspend = vdisk_overlay_presuspend,			\
	.presuspend_undo = vdisk_overlay_resume,		\
	.preresume = vdisk_overlay_preresume,			\
	.preresume_undo = vdisk_overlay_preresume_undo,		\
	.resume = vdisk_overlay_resume,				\
	.postsuspend = vdisk_overlay_postsuspend,		\
	.route = vdisk_overlay_route,				\
	.ready = vdisk_overlay_ready,				\
	.abort = vdisk_overlay_abort,				\
	.status = vdisk_overlay_status,				\
	.message = vdisk_overlay_message,			\
	.io_size = sizeof(struct vdisk_overlay_io),		\
	.own_ios = true,					\
	.defers = true,						\
	.longer = true,						\
	.reads_base = true

const struct vdisk_ops vdisk_overlay_ops = {
	.pass = vdisk_overlay_pass,
	.map = vdisk_overlay_map,
	.end = vdisk_overlay_end,
	VDISK_OVERLAY_OPS,
};

const struct vdisk_ops vdisk_cache_ops = {
	.map = vdisk_cache_map,
	.end = vdisk_cache_end,
	.writes_store = true,
	VDISK_OVERLAY_OPS,
};
