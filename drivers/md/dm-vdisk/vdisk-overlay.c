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
 * A unit becomes data when its write has ended, so nobody reads from the store
 * what is not there yet. Overwriting data changes nothing and takes no lock.
 *
 * A discard makes units zero, and then punches them out of the store. No write
 * may be sent to a unit that is being punched, or what it wrote could be punched:
 *
 *	write				discard
 *	hold the leaves			list the punch
 *	look at the list of punches	make units zero; are leaves held?
 *
 * The leaves change under presence's lock, so one of the two sees the other: the
 * write then waits, or the punch is left out, which costs room and nothing else.
 * A write that met data before the discard came, and holds nothing, leaves the
 * unit zero: the two were under way at the same time.
 *
 * Without volatile the punch comes later, behind the commit that made the units'
 * zero durable. It is listed, and the leaf looked at, in the same order.
 *
 * If a commit fails, nothing can be made durable: writes and flushes fail from
 * then on, reads do not. A resume tries again; nothing is lost until then.
 *
 * Memory: what is dirty cannot be evicted, so first writes and discards wait for
 * commits while too much of it is. The rest of presence goes under pressure, also
 * between ready() and what follows: a leaf that is missing in route() sends the
 * read to a child that loads it and looks again; in a write or discard, which has
 * changed nothing then, likewise.
 */
#include <crypto/sha2.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "vdisk.h"
#include "vdisk-fill.h"
#include "vdisk-meta.h"
#include "vdisk-presence.h"
#include "vdisk-through.h"

#define DM_MSG_PREFIX "vdisk"

enum { OVERLAY_STORE, OVERLAY_BASE };

/* A discard of so many leaves is the longest: some ms. */
#define VDISK_ZERO_LEAVES	4096

/* What changed is committed so much later, if nobody flushes. */
#define VDISK_COMMIT_DELAY	(5 * HZ)

/* So many dirty leaves are committed at once, */
#define VDISK_COMMIT_LEAVES	16384
/* and there are no more than so many, of 1 KiB each, dirty or being written to. */
#define VDISK_BUSY_LEAVES	32768

/* Sectors of a fill, and of what is read ahead, unless the line says more. */
#define VDISK_FILL_DEFAULT	128
#define VDISK_AHEAD_DEFAULT	2048

/* Bytes of a unit, as the format has it: no more than a page */
#define VDISK_UNIT_MAX		4096U

/* The longest line of a store */
#define VDISK_STORE_LINE	SZ_64K

enum vdisk_hydrate_state {
	VDISK_HYDRATE_OFF,
	VDISK_HYDRATE_ON,
	VDISK_HYDRATE_DONE,
	VDISK_HYDRATE_FAILED,
};

static const char * const vdisk_hydrate_names[] = {
	"off", "on", "done", "failed"
};

/**
 * struct vdisk_layer - what goes from table to table
 * @presence: of the store
 * @store: digest of the store's line and objects; set when a table goes live
 * @live: it was set
 * @through: what it has is in the base as well; likewise
 * @known: @sb was read
 * @failed: a commit failed; of a cache: the store did
 * @hydrate: what became of the last message that asked for it
 * @rate: of the hydration
 * @sb: the store's superblock
 */
struct vdisk_layer {
	struct vdisk_presence presence;
	u8 store[SHA256_DIGEST_SIZE];
	bool live;
	bool through;
	bool known;
	bool failed;
	enum vdisk_hydrate_state hydrate;
	u64 rate;
	struct vdisk_store_sb sb;
};

/**
 * struct vdisk_overlay - the node
 * @n: back
 * @layer: what goes to the next table
 * @presence: in @layer
 * @cache: it is one
 * @through: of a cache with write_through; else NULL
 * @fills: of a cache, or with copy_on_read; else NULL
 * @hydrate: with @fills
 * @hole: a child that is not in the line and reads as zeroes
 * @missing: another one, for reads of a leaf that is not in memory
 * @kept: of a cache, another one: its store, for reads that know the way back
 * @shift: a unit is 1 << @shift sectors
 * @punches: the store takes discards
 * @data: where the disk begins in the store
 * @end: what is behind it reads as zeroes
 * @store: digest of the store
 * @meta: of the store; NULL if volatile
 * @claim: in vdisk_claims while the table is live
 * @wq: loads and commits, which wait for I/O of @n's own: not on the stack's,
 *	whose work that I/O may need
 * @commit: commits
 * @shrinker: of @presence
 * @stopping: a suspend waits; punches may be left for later
 * @lock: guards what follows; taken with interrupts off, presence's inside it
 * @punching: vdisk_punch.list, of fills that are stored as well
 * @waiting: writes that wait for one of them, vdisk_overlay_io.list
 * @flushes: ios that wait for a commit, vdisk_overlay_io.list
 * @throttled: writes and discards that wait for one, because too much is dirty
 * @proved: nothing is absent; the next commit makes that known
 */
struct vdisk_overlay {
	struct vdisk_node *n;
	struct vdisk_layer *layer;
	struct vdisk_presence *presence;
	bool cache;
	struct vdisk_through *through;
	struct vdisk_fills *fills;
	struct vdisk_hydrate *hydrate;
	struct vdisk_node *hole;
	struct vdisk_node *missing;
	struct vdisk_node *kept;
	unsigned int shift;
	bool punches;
	sector_t data;
	sector_t end;
	u8 store[SHA256_DIGEST_SIZE];
	struct vdisk_meta *meta;
	struct list_head claim;
	struct workqueue_struct *wq;
	struct delayed_work commit;
	struct shrinker *shrinker;
	bool stopping;
	spinlock_t lock;	/* guards what follows */
	struct list_head punching;
	struct list_head waiting;
	struct list_head flushes;
	struct list_head throttled;
	bool proved;
};

/**
 * struct vdisk_overlay_io - per bio
 * @list: in one of the lists
 * @io: the io
 * @punch: volatile: of a discard
 * @iter: a cache's read: of its bio, on its way down
 * @flags: likewise
 * @status: a cache's read: why the store could not be read
 * @kept: a cache's read: it goes to the store
 * @unit: first unit of a write that holds leaves
 * @nr: units; 0 if it holds nothing
 * @fua: a write is to be durable, and its units' states with it
 * @wait: for the bio of a punch, or for a fill
 */
struct vdisk_overlay_io {
	struct list_head list;
	struct vdisk_io *io;
	union {
		struct vdisk_punch punch;
		struct bvec_iter iter;
	};
	u64 unit;
	u64 nr;
	unsigned short flags;
	blk_status_t status;
	bool fua;
	bool kept;
	struct vdisk_wait wait;
};

/**
 * struct vdisk_through_io - per bio, with write_through
 * @st: a write's @kept: it is on its way to the store
 * @range: its units
 * @begun: @range is under way
 */
struct vdisk_through_io {
	struct vdisk_overlay_io st;
	struct vdisk_through_range range;
	bool begun;
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
 * Overlays of live tables that keep presence on their stores. A store must not
 * be in two of them; it is known by its first leaf, for a copy of it has the
 * same uuid.
 */
static LIST_HEAD(vdisk_claims);
static DEFINE_MUTEX(vdisk_claims_lock);	/* guards vdisk_claims */

static void vdisk_overlay_unclaim(struct vdisk_overlay *o)
{
	mutex_lock(&vdisk_claims_lock);
	list_del_init(&o->claim);
	mutex_unlock(&vdisk_claims_lock);
}

static void vdisk_overlay_commit_work(struct work_struct *work);
static const struct vdisk_ops vdisk_missing_ops;
static const struct vdisk_ops vdisk_kept_ops;

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

/* Not all that is read-only refuses to be opened for writing, or to be written. */
static int vdisk_through_check_base(struct vdisk_node *n)
{
	struct vdisk_stack *s = n->stack;
	unsigned int i;

	if (n->children[OVERLAY_BASE]->type == &vdisk_types[VDISK_TYPE_ZERO])
		return vdisk_fail(n, -EINVAL,
				  "write_through: a base that is zero keeps nothing of what is written");
	for (i = 0; i < s->nr_nodes; i++) {
		const struct vdisk_node *leaf = s->nodes[i];

		if (leaf->bdev && vdisk_is_below(leaf, n->children[OVERLAY_BASE]) &&
		    vdisk_is_written(leaf) && bdev_read_only(leaf->bdev))
			return vdisk_fail(n, -EROFS,
					  "write_through: the base is read-only: %u:%u",
					  MAJOR(leaf->bdev->bd_dev),
					  MINOR(leaf->bdev->bd_dev));
	}
	return 0;
}

/* Who may write to it? */
static int vdisk_overlay_check_use(struct vdisk_node *n)
{
	struct dm_table *table = n->stack->ti->table;

	if (n->ops == &vdisk_cache_ops) {
		if (n->val[CACHE_THROUGH].set)
			return vdisk_through_check_base(n);
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
	return 0;
}

static const struct vdisk_fill_ops vdisk_overlay_fill_ops;

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

		if (its->bdev == leaf->bdev && its->inode == leaf->inode &&
		    its->start == leaf->start && its->object == leaf->object &&
		    vdisk_overlay_is_rival(n->priv, other))
			return vdisk_fail(n, -EBUSY, "store: in use by %s",
					  dm_table_device_name(other->n->stack->ti->table));
	}
	return 0;
}

static int vdisk_overlay_claim(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;
	int r;

	/* It still has it if another node refused the last resume. */
	if (!list_empty(&o->claim))
		return 0;
	mutex_lock(&vdisk_claims_lock);
	r = vdisk_overlay_check_claims(n);
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
	if (le32_to_cpu(sb->unit) != n->lim.logical_block_size)
		return vdisk_fail(n, -EINVAL,
				  "store: formatted for blocks of %u bytes, the disk has %u",
				  le32_to_cpu(sb->unit), n->lim.logical_block_size);
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
	       o->layer->failed ? "had failed" : "was in use when its host went down");
	dm_table_event(table);
	return 0;
}

/*
 * Of an overlay: nothing can be made durable. Of a cache: its base serves alone,
 * until the next resume.
 */
static void vdisk_overlay_fail(struct vdisk_overlay *o, blk_status_t status)
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

/* A lack of memory, a suspend, or a preempt and abort, is not the store's fault. */
static bool vdisk_store_is_blamed(blk_status_t status)
{
	return status != BLK_STS_RESOURCE && status != BLK_STS_AGAIN &&
	       status != BLK_STS_DM_REQUEUE && status != BLK_STS_RESV_CONFLICT;
}

static bool vdisk_overlay_is_dirty(const struct vdisk_overlay *o)
{
	return le32_to_cpu(o->layer->sb.flags) & VDISK_STORE_DIRTY;
}

/* What has to be written to the store before it is used. */
static int vdisk_overlay_prepare(struct vdisk_overlay *o)
{
	const struct vdisk_layer *layer = o->layer;
	int r = 0;

	if (o->through &&
	    (layer->failed || (!layer->known && vdisk_overlay_is_dirty(o))))
		r = vdisk_overlay_begin_anew(o);
	if (r || vdisk_overlay_is_fixed(o))
		return r;
	if (vdisk_overlay_detaches(o))
		r = vdisk_meta_detach(o->meta);
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
	if (r)
		return r;
	r = vdisk_overlay_prepare(o);
	if (r && !vdisk_cache_needs_no_store(o))
		return r;
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
	int r = 0;

	if (o->meta) {
		mutex_lock(&n->stack->message_lock);
		r = vdisk_overlay_claim(n);
		if (!r)
			r = vdisk_overlay_open(n);
		if (r)
			DMERR("%s: %s", dm_table_device_name(n->stack->ti->table),
			      n->stack->error);
		mutex_unlock(&n->stack->message_lock);
		if (r) {
			vdisk_overlay_unclaim(o);
			return r;
		}
	} else {
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

static void vdisk_overlay_presuspend(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;

	WRITE_ONCE(o->stopping, true);
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
	if (!o->meta || list_empty(&o->claim))
		return;
	if (o->presence->nr_dirty ||
	    (o->through && vdisk_through_is_open(o->through))) {
		mod_delayed_work(o->wq, &o->commit, 0);
		flush_delayed_work(&o->commit);
	}
	cancel_delayed_work_sync(&o->commit);
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
	if (!o->fills)
		return;
	vdisk_fills_start(o->fills, o->data);
	if (o->layer->hydrate == VDISK_HYDRATE_ON)
		vdisk_hydrate_start(o->hydrate, o->layer->rate);
}

/* A cache whose store has failed is its base. */
static bool vdisk_cache_is_off(const struct vdisk_overlay *o)
{
	return o->cache && READ_ONCE(o->layer->failed);
}

static struct vdisk_node *vdisk_overlay_route(struct vdisk_node *n,
					      struct vdisk_run *run)
{
	struct vdisk_node *base = n->children[OVERLAY_BASE];
	struct vdisk_overlay *o = n->priv;
	enum vdisk_presence_state state;
	u64 unit, nr;

	if (run->write || !run->nr) {
		if (o->through)
			return base;
		run->sector += o->data;
		return n->children[OVERLAY_STORE];
	}

	if (run->sector >= o->end)
		return o->hole;
	if (vdisk_cache_is_off(o)) {
		state = VDISK_ABSENT;
		goto base;
	}
	run->nr = min(run->nr, o->end - run->sector);
	unit = run->sector >> o->shift;
	nr = ((run->sector + run->nr - 1) >> o->shift) + 1 - unit;
	nr = vdisk_presence_run(o->presence, unit, nr, &state);
	run->nr = min(run->nr, (sector_t)((unit + nr) << o->shift) - run->sector);
	if (state == VDISK_DATA && o->cache)
		return o->kept;
	if (state == VDISK_DATA) {
		run->sector += o->data;
		return n->children[OVERLAY_STORE];
	}
	if (state == VDISK_MISSING) {
		/* A piece must not need another when it looks again. */
		run->nr = min(run->nr, ((unit + 1) << o->shift) - run->sector);
		if (run->sector < base->len)
			run->nr = min(run->nr, base->len - run->sector);
		return o->missing;
	}
base:
	if (state == VDISK_ZERO || run->sector >= base->len)
		return o->hole;
	run->nr = min(run->nr, base->len - run->sector);
	if (o->fills)
		run->nr = vdisk_fill_cut(o->fills, run->sector, run->nr);
	return base;
}

static u64 vdisk_overlay_unit(const struct vdisk_overlay *o,
			      const struct vdisk_io *io)
{
	return io->bio->bi_iter.bi_sector >> o->shift;
}

/* None of what is behind the end. */
static u64 vdisk_overlay_units(const struct vdisk_overlay *o,
			       const struct vdisk_io *io)
{
	sector_t end = min(bio_end_sector(io->bio), o->end);

	if (end <= io->bio->bi_iter.bi_sector)
		return 0;
	return ((end - 1) >> o->shift) + 1 - vdisk_overlay_unit(o, io);
}

/* Read the leaves of units; some may be damaged, or become so. */
static blk_status_t vdisk_overlay_load(struct vdisk_overlay *o, u64 unit, u64 nr)
{
	unsigned long index;

	for (;;) {
		blk_status_t status;

		switch (vdisk_presence_look(o->presence, unit, nr, &index)) {
		case VDISK_LOOK_READY:
			return BLK_STS_OK;
		case VDISK_LOOK_DAMAGED:
			return BLK_STS_MEDIUM;
		case VDISK_LOOK_MISSING:
			break;
		}
		/* Of a device it says something else than of a leaf. */
		status = vdisk_meta_load(o->meta, index);
		if (status)
			return status == BLK_STS_MEDIUM ? BLK_STS_IOERR : status;
	}
}

static void vdisk_overlay_load_io(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_overlay *o = n->priv;
	blk_status_t status;

	status = vdisk_overlay_load(o, vdisk_overlay_unit(o, io),
				    vdisk_overlay_units(o, io));
	/* Without memory to know what the store has, the base serves as well. */
	if (status && o->cache && status != BLK_STS_MEDIUM &&
	    status != BLK_STS_DM_REQUEUE) {
		vdisk_overlay_fail(o, status);
		status = BLK_STS_OK;
	}
	if (status && (!o->cache || status == BLK_STS_DM_REQUEUE))
		vdisk_end(io, n, status);
	else
		vdisk_again(io, n);
}

/* It was there when ready() looked. */
static enum vdisk_map vdisk_missing_map(struct vdisk_node *missing,
					struct vdisk_io *io)
{
	struct vdisk_overlay *o = missing->parent->priv;

	io->at = o->n;
	vdisk_defer_to(io, o->wq, vdisk_overlay_load_io);
	return VDISK_TAKEN;
}

static const struct vdisk_ops vdisk_missing_ops = {
	.map = vdisk_missing_map,
};

static struct vdisk_node *vdisk_kept_route(struct vdisk_node *kept,
					   struct vdisk_run *run)
{
	struct vdisk_overlay *o = kept->parent->priv;

	run->sector += o->data;
	return o->n->children[OVERLAY_STORE];
}

/* On its way up the io meets the cache next. */
static enum vdisk_map vdisk_kept_map(struct vdisk_node *kept, struct vdisk_io *io)
{
	struct vdisk_overlay_io *st = vdisk_state(kept->parent, io);

	st->kept = true;
	return VDISK_DOWN;
}

static const struct vdisk_ops vdisk_kept_ops = {
	.route = vdisk_kept_route,
	.map = vdisk_kept_map,
};

static bool vdisk_overlay_ready(struct vdisk_node *n, struct vdisk_io *io)
{
	struct vdisk_overlay *o = n->priv;
	unsigned long index;

	if (!o->meta || !bio_sectors(io->bio) || vdisk_cache_is_off(o))
		return true;
	switch (vdisk_presence_look(o->presence, vdisk_overlay_unit(o, io),
				    vdisk_overlay_units(o, io), &index)) {
	case VDISK_LOOK_READY:
		return true;
	case VDISK_LOOK_DAMAGED:
		if (o->cache)
			return true;
		vdisk_end(io, n, BLK_STS_MEDIUM);
		return false;
	case VDISK_LOOK_MISSING:
		vdisk_defer_to(io, o->wq, vdisk_overlay_load_io);
		return false;
	}
	return true;
}

/* A write that waits holds nothing. */
static void vdisk_overlay_let_go(struct vdisk_overlay *o,
				 struct vdisk_overlay_io *st)
{
	struct vdisk_through_io *ts = container_of(st, struct vdisk_through_io, st);
	bool write = bio_op(st->io->bio) == REQ_OP_WRITE;

	if (!o->through) {
		vdisk_presence_release(o->presence, st->unit, st->nr, false);
		return;
	}
	ts->begun = false;
	vdisk_through_cancel(o->through, &ts->range);
	if (write)
		vdisk_presence_release_fill(o->presence, st->unit, st->nr, false);
}

/* The write waits if one of its units is being punched, and holds nothing. */
static bool vdisk_overlay_park(struct vdisk_overlay *o,
			       struct vdisk_overlay_io *st)
{
	struct vdisk_punch *punch;
	unsigned long flags;
	bool parked = false;

	if (likely(list_empty_careful(&o->punching)))
		return false;
	spin_lock_irqsave(&o->lock, flags);
	list_for_each_entry(punch, &o->punching, list) {
		if (st->unit >= punch->unit + punch->nr ||
		    punch->unit >= st->unit + st->nr)
			continue;
		vdisk_overlay_let_go(o, st);
		list_add_tail(&st->list, &o->waiting);
		parked = true;
		break;
	}
	spin_unlock_irqrestore(&o->lock, flags);
	return parked;
}

static void vdisk_overlay_write_later(struct vdisk_io *io);
static void vdisk_overlay_discard(struct vdisk_io *io);

static bool vdisk_overlay_is_full(const struct vdisk_overlay *o)
{
	return READ_ONCE(o->presence->nr_dirty) + READ_ONCE(o->presence->nr_held) >=
	       VDISK_BUSY_LEAVES;
}

/* The io waits for a commit; it holds nothing. */
static void vdisk_overlay_await(struct vdisk_overlay *o,
				struct vdisk_overlay_io *st,
				struct vdisk_io *io)
{
	unsigned long flags;

	vdisk_may_wait(io);
	st->io = io;
	spin_lock_irqsave(&o->lock, flags);
	list_add_tail(&st->list, &o->throttled);
	/* Under the lock: it may end as soon as that is let go, and @o with it. */
	mod_delayed_work(o->wq, &o->commit, 0);
	spin_unlock_irqrestore(&o->lock, flags);
}

/* True if it does, because too much is dirty. */
static bool vdisk_overlay_throttle(struct vdisk_overlay *o,
				   struct vdisk_overlay_io *st,
				   struct vdisk_io *io)
{
	if (likely(!o->meta || !vdisk_overlay_is_full(o)))
		return false;
	vdisk_overlay_await(o, st, io);
	return true;
}

/* What has waited looks again. */
static void vdisk_overlay_retry(struct vdisk_overlay *o,
				struct vdisk_overlay_io *st)
{
	if (bio_op(st->io->bio) == REQ_OP_WRITE)
		vdisk_defer(st->io, vdisk_overlay_write_later);
	else
		vdisk_defer_to(st->io, o->wq, vdisk_overlay_discard);
}

/*
 * A commit has ended: those who waited look again; or they end, because nothing
 * would be another: a noflush suspend gives them back, or writes may not begin.
 */
static void vdisk_overlay_unthrottle(struct vdisk_overlay *o, blk_status_t status)
{
	struct vdisk_overlay_io *st, *next;
	LIST_HEAD(throttled);

	spin_lock_irq(&o->lock);
	list_splice_init(&o->throttled, &throttled);
	spin_unlock_irq(&o->lock);
	list_for_each_entry_safe(st, next, &throttled, list) {
		if (status)
			vdisk_end(st->io, o->n, status);
		else
			vdisk_overlay_retry(o, st);
	}
}

/*
 * FUA of data whose states are durable is the store's; else the write waits for
 * a commit, which flushes. Nothing of a volatile disk is to be durable.
 */
static void vdisk_overlay_take_fua(struct vdisk_overlay *o,
				   struct vdisk_overlay_io *st,
				   struct vdisk_io *io, bool data)
{
	if (!(io->bio->bi_opf & REQ_FUA))
		return;
	/* Data that is not durable yet is dirty: see vdisk_leaf_set(). */
	smp_rmb();
	if (o->meta && data &&
	    !vdisk_presence_is_dirty(o->presence, st->unit, st->nr))
		return;
	io->bio->bi_opf &= ~REQ_FUA;
	st->fua = o->meta;
}

static enum vdisk_map vdisk_overlay_write(struct vdisk_node *n,
					  struct vdisk_io *io)
{
	bool nowait = io->bio->bi_opf & REQ_NOWAIT;
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;
	enum vdisk_presence_state state;
	bool data;
	int r;

	if (READ_ONCE(o->layer->failed)) {
		vdisk_end(io, n, BLK_STS_IOERR);
		return VDISK_TAKEN;
	}
	st->io = io;
	st->unit = vdisk_overlay_unit(o, io);
	st->nr = vdisk_overlay_units(o, io);
	data = vdisk_presence_run(o->presence, st->unit, st->nr, &state) == st->nr &&
	       state == VDISK_DATA;
	vdisk_overlay_take_fua(o, st, io, data);
	if (data) {
		st->nr = 0;
		return VDISK_DOWN;
	}
	if (vdisk_overlay_throttle(o, st, io))
		return VDISK_TAKEN;
	r = vdisk_presence_hold(o->presence, st->unit, st->nr,
				nowait ? GFP_NOWAIT : GFP_NOIO);
	if (r) {
		/* It comes to map() again. */
		if (r == -EAGAIN && st->fua)
			io->bio->bi_opf |= REQ_FUA;
		if (r == -EAGAIN)
			vdisk_defer_to(io, o->wq, vdisk_overlay_load_io);
		else if (nowait)
			vdisk_defer(io, vdisk_overlay_write_later);
		else
			vdisk_end(io, n, BLK_STS_RESOURCE);
		return VDISK_TAKEN;
	}
	return vdisk_overlay_park(o, st) ? VDISK_TAKEN : VDISK_DOWN;
}

/*
 * From now on it is under way, unless it has to wait: until the store is known to
 * be dirty. It has to be so even if it has failed and the base is all that is
 * written, for somebody will believe it again.
 */
static bool vdisk_through_enter(struct vdisk_overlay *o,
				struct vdisk_through_io *ts,
				struct vdisk_io *io, u64 unit, u64 nr)
{
	ts->begun = vdisk_through_begin(o->through, &ts->range, unit, nr);
	if (ts->begun)
		return true;
	if (bio_op(io->bio) == REQ_OP_WRITE && ts->st.nr)
		vdisk_presence_release_fill(o->presence, unit, nr, false);
	vdisk_overlay_await(o, &ts->st, io);
	return false;
}

static enum vdisk_map vdisk_through_write(struct vdisk_node *n,
					  struct vdisk_io *io)
{
	u64 unit = vdisk_overlay_unit(n->priv, io), nr;
	bool nowait = io->bio->bi_opf & REQ_NOWAIT;
	struct vdisk_through_io *ts = vdisk_state(n, io);
	struct vdisk_overlay_io *st = &ts->st;
	struct vdisk_overlay *o = n->priv;
	int r;

	nr = vdisk_overlay_units(o, io);
	st->io = io;
	st->kept = false;
	st->nr = 0;
	if (READ_ONCE(o->layer->failed))
		goto base;
	if (vdisk_overlay_throttle(o, st, io))
		return VDISK_TAKEN;
	r = vdisk_presence_hold_fill(o->presence, unit, nr,
				     nowait ? GFP_NOWAIT : GFP_NOIO);
	if (r == -ENOMEM && !nowait) {
		vdisk_overlay_fail(o, BLK_STS_RESOURCE);
		goto base;
	}
	if (r) {
		if (r == -EAGAIN)
			vdisk_defer_to(io, o->wq, vdisk_overlay_load_io);
		else
			vdisk_defer(io, vdisk_overlay_write_later);
		return VDISK_TAKEN;
	}
	st->unit = unit;
	st->nr = nr;
	st->iter = io->bio->bi_iter;
	st->flags = io->bio->bi_flags;
	if (!vdisk_through_enter(o, ts, io, unit, nr) || vdisk_overlay_park(o, st))
		return VDISK_TAKEN;
	return VDISK_DOWN;

base:
	return vdisk_through_enter(o, ts, io, unit, nr) ? VDISK_DOWN : VDISK_TAKEN;
}

static void vdisk_overlay_write_later(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;

	struct vdisk_overlay *o = n->priv;

	if ((o->through ? vdisk_through_write(n, io) :
			  vdisk_overlay_write(n, io)) == VDISK_DOWN)
		vdisk_go_on(io, n);
}

static void vdisk_overlay_list_punch(struct vdisk_overlay *o,
				     struct vdisk_punch *punch, u64 unit, u64 nr)
{
	unsigned long flags;

	punch->unit = unit;
	punch->nr = nr;
	spin_lock_irqsave(&o->lock, flags);
	list_add(&punch->list, &o->punching);
	spin_unlock_irqrestore(&o->lock, flags);
}

/* Writes that waited look again. */
static void vdisk_overlay_unlist_punch(struct vdisk_overlay *o,
				       struct vdisk_punch *punch)
{
	struct vdisk_overlay_io *st, *next;
	unsigned long flags;
	LIST_HEAD(waiting);

	spin_lock_irqsave(&o->lock, flags);
	list_del(&punch->list);
	list_splice_init(&o->waiting, &waiting);
	spin_unlock_irqrestore(&o->lock, flags);
	list_for_each_entry_safe(st, next, &waiting, list)
		vdisk_overlay_retry(o, st);
}

static void vdisk_overlay_discarded(struct vdisk_node *n, struct vdisk_io *io,
				    blk_status_t status)
{
	struct vdisk_overlay_io *st = vdisk_state(n, io);

	vdisk_overlay_unlist_punch(n->priv, &st->punch);
	vdisk_end(io, n, status);
}

/* A punch that failed costs room in the store, and nothing else. */
static void vdisk_overlay_punched(struct vdisk_io *punch, blk_status_t status)
{
	struct vdisk_io *io = punch->owner;

	vdisk_io_free(punch);
	vdisk_overlay_discarded(io->at, io, BLK_STS_OK);
}

static void vdisk_overlay_punch(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_io *punch;

	punch = vdisk_io_alloc(n, io, &st->wait, vdisk_overlay_punch);
	if (!punch)
		return;
	punch->bio->bi_opf = REQ_OP_DISCARD;
	vdisk_io_submit(punch, n->children[OVERLAY_STORE],
			vdisk_overlay_punched);
}

static void vdisk_overlay_discard_volatile(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;
	u64 unit = vdisk_overlay_unit(o, io), nr = vdisk_overlay_units(o, io);
	bool held;
	int r;

	vdisk_overlay_list_punch(o, &st->punch, unit, nr);
	r = vdisk_presence_zero(o->presence, unit, nr, GFP_NOIO, &held);
	if (!r && o->punches && !held)
		vdisk_overlay_punch(io);
	else
		vdisk_overlay_discarded(n, io, errno_to_blk_status(r));
}

/* Commit soon, so that a cut loses no more than that, and holes are punched. */
static void vdisk_overlay_changed(struct vdisk_overlay *o)
{
	if (READ_ONCE(o->presence->nr_dirty) > VDISK_COMMIT_LEAVES)
		mod_delayed_work(o->wq, &o->commit, 0);
	else
		queue_delayed_work(o->wq, &o->commit, VDISK_COMMIT_DELAY);
}

/* Leaves that are discarded as a whole need not be read. */
static blk_status_t vdisk_overlay_clear(struct vdisk_overlay *o, u64 unit, u64 nr)
{
	u64 end = unit + nr;
	blk_status_t status = BLK_STS_OK;
	bool held;
	int r;

	do {
		if (o->meta && unit % VDISK_LEAF_UNITS)
			status = vdisk_overlay_load(o, unit, 1);
		if (o->meta && !status && end % VDISK_LEAF_UNITS)
			status = vdisk_overlay_load(o, end - 1, 1);
		if (status)
			return status;
		r = o->through ?
		    vdisk_presence_drop(o->presence, unit, nr, GFP_NOIO) :
		    vdisk_presence_zero(o->presence, unit, nr, GFP_NOIO, &held);
	} while (r == -EAGAIN);
	return errno_to_blk_status(r);
}

static void vdisk_through_finish(struct vdisk_overlay *o,
				 struct vdisk_through_io *ts, bool kept);

/* The units are absent before the base is told. */
static void vdisk_through_discard(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_through_io *ts = vdisk_state(n, io);
	struct vdisk_overlay_io *st = &ts->st;
	struct vdisk_overlay *o = n->priv;
	bool off = READ_ONCE(o->layer->failed);
	blk_status_t status = BLK_STS_OK;

	st->io = io;
	st->kept = false;
	st->unit = vdisk_overlay_unit(o, io);
	st->nr = vdisk_overlay_units(o, io);
	if ((!off && vdisk_overlay_throttle(o, st, io)) ||
	    !vdisk_through_enter(o, ts, io, st->unit, st->nr) ||
	    (!off && vdisk_overlay_park(o, st)))
		return;
	if (!off)
		status = vdisk_overlay_clear(o, st->unit, st->nr);
	if (status == BLK_STS_DM_REQUEUE) {
		vdisk_through_finish(o, ts, false);
		vdisk_end(io, n, status);
		return;
	}
	/* If it cannot be known what the store has, it is not used any more. */
	if (status)
		vdisk_overlay_fail(o, status);
	vdisk_go_to(io, n->children[OVERLAY_BASE], 0);
}

static void vdisk_overlay_discard(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_overlay *o = n->priv;
	blk_status_t status = BLK_STS_IOERR;

	if (o->through) {
		vdisk_through_discard(io);
		return;
	}
	if (!READ_ONCE(o->layer->failed)) {
		if (vdisk_overlay_throttle(o, vdisk_state(n, io), io))
			return;
		status = vdisk_overlay_clear(o, vdisk_overlay_unit(o, io),
					     vdisk_overlay_units(o, io));
	}
	vdisk_overlay_changed(o);
	vdisk_end(io, n, status);
}

/* The io waits for a commit that begins after this. */
static void vdisk_overlay_flush(struct vdisk_overlay *o,
				struct vdisk_overlay_io *st)
{
	unsigned long flags;

	spin_lock_irqsave(&o->lock, flags);
	list_add_tail(&st->list, &o->flushes);
	/* Under the lock, as in vdisk_overlay_throttle() */
	mod_delayed_work(o->wq, &o->commit, 0);
	spin_unlock_irqrestore(&o->lock, flags);
}

static void vdisk_overlay_punch_all(struct vdisk_overlay *o)
{
	struct xarray *leaves = &o->presence->leaves;
	struct vdisk_punch punch;
	unsigned long index;
	void *entry;

	xa_for_each_marked(leaves, index, entry, VDISK_LEAF_PUNCH) {
		/* Who flushes does not wait for that, nor who suspends. */
		if (!list_empty_careful(&o->flushes) ||
		    !list_empty_careful(&o->throttled) || READ_ONCE(o->stopping))
			break;
		vdisk_overlay_list_punch(o, &punch, (u64)index * VDISK_LEAF_UNITS,
					 VDISK_LEAF_UNITS);
		vdisk_meta_punch(o->meta, index);
		vdisk_overlay_unlist_punch(o, &punch);
	}
}

static void vdisk_overlay_hydrate_ends(struct vdisk_overlay *o,
				       enum vdisk_hydrate_state state)
{
	WRITE_ONCE(o->layer->hydrate, state);
	dm_table_event(o->n->stack->ti->table);
}

/* All that is in memory was committed, and @proved was set before that began. */
static blk_status_t vdisk_overlay_record_full(struct vdisk_overlay *o)
{
	const struct vdisk_node *base = o->n->children[OVERLAY_BASE];
	blk_status_t status;

	WRITE_ONCE(o->proved, false);
	status = vdisk_meta_full(o->meta, base->ops->length(base));
	if (!status)
		vdisk_overlay_hydrate_ends(o, VDISK_HYDRATE_DONE);
	return status;
}

/*
 * With write_through: make clean what is at rest. While it is not known to be dirty
 * on the store, no writes begin.
 */
static blk_status_t vdisk_through_commit(struct vdisk_overlay *o)
{
	bool clean = vdisk_through_close(o->through, READ_ONCE(o->stopping));
	blk_status_t status;

	/*
	 * Once the store has failed, writes go to the base alone. One that did so
	 * before the close is known here: @failed was set before it began.
	 */
	if (clean &&
	    (READ_ONCE(o->layer->failed) || vdisk_meta_flush_base(o->meta))) {
		vdisk_through_open(o->through);
		clean = false;
	}
	status = vdisk_meta_commit(o->meta);
	if (clean && !status)
		return vdisk_meta_dirty(o->meta, false);
	if (clean)
		vdisk_through_open(o->through);
	return status;
}

/* Those who wait for that may begin as soon as the store says that it is dirty. */
static blk_status_t vdisk_through_mark(struct vdisk_overlay *o)
{
	blk_status_t status;

	if (vdisk_through_is_open(o->through) || list_empty_careful(&o->throttled))
		return BLK_STS_OK;
	status = vdisk_meta_dirty(o->meta, true);
	if (!status)
		vdisk_through_open(o->through);
	else if (status != BLK_STS_DM_REQUEUE)
		vdisk_overlay_fail(o, status);
	return status;
}

/* Never runs twice at a time. */
static void vdisk_overlay_commit_work(struct work_struct *work)
{
	struct vdisk_overlay *o = container_of(to_delayed_work(work),
					       struct vdisk_overlay, commit);
	struct vdisk_overlay_io *st, *next;
	blk_status_t status = BLK_STS_IOERR, held = BLK_STS_OK;
	bool proved = READ_ONCE(o->proved);
	LIST_HEAD(flushes);

	spin_lock_irq(&o->lock);
	list_splice_init(&o->flushes, &flushes);
	spin_unlock_irq(&o->lock);

	if (!READ_ONCE(o->layer->failed)) {
		status = o->through ? vdisk_through_commit(o) :
				      vdisk_meta_commit(o->meta);
		if (!status && proved)
			status = vdisk_overlay_record_full(o);
		/* Given back by a noflush suspend: the next resume commits. */
		if (status && status != BLK_STS_DM_REQUEUE)
			vdisk_overlay_fail(o, status);
	}
	if (status == BLK_STS_DM_REQUEUE)
		held = status;
	else if (o->through)
		held = vdisk_through_mark(o);

	list_for_each_entry_safe(st, next, &flushes, list)
		vdisk_end(st->io, o->n, status);
	vdisk_overlay_unthrottle(o, held);
	if (!status && o->through && vdisk_through_is_open(o->through))
		queue_delayed_work(o->wq, &o->commit, VDISK_COMMIT_DELAY);
	if (status || !o->punches)
		return;
	vdisk_overlay_punch_all(o);
	if (xa_marked(&o->presence->leaves, VDISK_LEAF_PUNCH))
		queue_delayed_work(o->wq, &o->commit, VDISK_COMMIT_DELAY);
}

static void vdisk_overlay_map_flush(struct vdisk_node *n, struct vdisk_io *io)
{
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;

	/* Durable is what outlives us; a volatile disk does not. */
	if (!o->meta) {
		vdisk_end(io, n, BLK_STS_OK);
		return;
	}
	vdisk_may_wait(io);
	st->io = io;
	vdisk_overlay_flush(o, st);
}

static blk_status_t vdisk_overlay_fill_load(struct vdisk_node *n, u64 unit,
					    u64 nr)
{
	return vdisk_overlay_load(n->priv, unit, nr);
}

static bool vdisk_overlay_fill_list(struct vdisk_node *n,
				    struct vdisk_punch *punch, u64 unit, u64 nr)
{
	struct vdisk_overlay *o = n->priv;

	vdisk_overlay_list_punch(o, punch, unit, nr);
	return !o->through || !vdisk_through_is_busy(o->through, unit, nr);
}

static void vdisk_overlay_fill_unlist(struct vdisk_node *n,
				      struct vdisk_punch *punch)
{
	vdisk_overlay_unlist_punch(n->priv, punch);
}

static bool vdisk_overlay_fill_full(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;

	return o->meta && vdisk_overlay_is_full(o);
}

static void vdisk_overlay_filled(struct vdisk_node *n)
{
	struct vdisk_overlay *o = n->priv;

	if (o->meta)
		vdisk_overlay_changed(o);
}

/* Without room for what was only read, an overlay can live. */
static void vdisk_overlay_fill_failed(struct vdisk_node *n, blk_status_t status)
{
	struct vdisk_overlay *o = n->priv;

	if (o->cache && vdisk_store_is_blamed(status))
		vdisk_overlay_fail(o, status);
}

/* A table may be shorter than the disk whose store it opens: not all is walked. */
static bool vdisk_overlay_is_whole(const struct vdisk_overlay *o)
{
	const struct vdisk_node *base = o->n->children[OVERLAY_BASE];

	return !o->meta || o->n->len >= min_t(sector_t, base->ops->length(base),
					      le64_to_cpu(o->layer->sb.len));
}

/* It is done when a cut cannot undo it. */
static void vdisk_overlay_hydrated(struct vdisk_node *n, bool all)
{
	struct vdisk_overlay *o = n->priv;

	if (!all || !vdisk_overlay_is_whole(o)) {
		vdisk_overlay_hydrate_ends(o, VDISK_HYDRATE_FAILED);
	} else if (!o->meta || o->through) {
		vdisk_overlay_hydrate_ends(o, VDISK_HYDRATE_DONE);
	} else {
		WRITE_ONCE(o->proved, true);
		mod_delayed_work(o->wq, &o->commit, 0);
	}
}

static const struct vdisk_fill_ops vdisk_overlay_fill_ops = {
	.load = vdisk_overlay_fill_load,
	.list = vdisk_overlay_fill_list,
	.unlist = vdisk_overlay_fill_unlist,
	.full = vdisk_overlay_fill_full,
	.filled = vdisk_overlay_filled,
	.failed = vdisk_overlay_fill_failed,
	.hydrated = vdisk_overlay_hydrated,
};

/* Is it all in the store? */
static bool vdisk_overlay_has(const struct vdisk_overlay *o,
			      const struct vdisk_io *io)
{
	u64 nr = vdisk_overlay_units(o, io);
	enum vdisk_presence_state state;

	return vdisk_presence_run(o->presence, vdisk_overlay_unit(o, io), nr,
				  &state) == nr && state == VDISK_DATA;
}

/*
 * A read had to wait, and need not any more. It goes on as one piece, as it was
 * cut: to the store, if that has all of it by now, else to the base. What the
 * store has got since then it need not see.
 */
static void vdisk_overlay_read_later(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;

	if (vdisk_fill_again(o->fills, io, &st->wait))
		return;
	if (vdisk_cache_is_off(o) || !vdisk_overlay_has(o, io))
		vdisk_go_to(io, n->children[OVERLAY_BASE], 0);
	else if (o->cache)
		vdisk_go_to(io, o->kept, 0);
	else
		vdisk_go_to(io, n->children[OVERLAY_STORE], o->data);
}

static enum vdisk_map vdisk_overlay_read(struct vdisk_node *n,
					 struct vdisk_io *io)
{
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;

	st->nr = 0;
	st->fua = false;
	st->kept = false;
	if (!o->fills)
		return VDISK_DOWN;
	/* A store that has failed meanwhile may be where route() sends it. */
	st->iter = io->bio->bi_iter;
	st->flags = io->bio->bi_flags;
	if (vdisk_cache_is_off(o))
		return VDISK_DOWN;
	if (vdisk_fill_read(o->fills, io, &st->wait, vdisk_overlay_read_later))
		return VDISK_TAKEN;
	vdisk_fill_look(o->fills, io->bio->bi_iter.bi_sector);
	return VDISK_DOWN;
}

/* The store could not be read; the base has it as well. */
static void vdisk_cache_read_base(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_overlay_io *st = vdisk_state(n, io);

	/* Of read-ahead, nobody has tried hard. */
	if (vdisk_store_is_blamed(st->status) &&
	    !(io->bio->bi_opf & (REQ_RAHEAD | REQ_FAILFAST_MASK)))
		vdisk_overlay_fail(n->priv, st->status);
	vdisk_go_to(io, n->children[OVERLAY_BASE], 0);
}

static bool vdisk_cache_keep(struct vdisk_node *n, struct vdisk_io *io,
			     blk_status_t status)
{
	struct vdisk_overlay_io *st = vdisk_state(n, io);

	if (!st->kept || !status || status == BLK_STS_AGAIN ||
	    status == BLK_STS_DM_REQUEUE || status == BLK_STS_RESV_CONFLICT)
		return false;
	st->kept = false;
	st->status = status;
	vdisk_rewind(io, n, st->iter, st->flags);
	vdisk_defer(io, vdisk_cache_read_base);
	return true;
}

/* Not the store's if it has failed: then only the base is written. */
static void vdisk_through_finish(struct vdisk_overlay *o,
				 struct vdisk_through_io *ts, bool kept)
{
	bool held = bio_op(ts->st.io->bio) == REQ_OP_WRITE && ts->st.nr;
	u64 nr = ts->range.last - ts->range.first + 1;

	ts->begun = false;
	vdisk_fills_spoil(o->fills, ts->range.first << o->shift, nr << o->shift);
	vdisk_through_end(o->through, &ts->range, held ? o->presence : NULL, kept);
	if (o->meta)
		vdisk_overlay_changed(o);
}

/* The base has taken it. */
static void vdisk_through_store(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_overlay *o = n->priv;

	/* It needs not be durable there. */
	io->bio->bi_opf &= ~REQ_FUA;
	vdisk_go_to(io, n->children[OVERLAY_STORE], o->data);
}

/* What fails the store does not fail the guest. */
static void vdisk_through_failed(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_through_io *ts = vdisk_state(n, io);

	if (vdisk_store_is_blamed(ts->st.status))
		vdisk_overlay_fail(n->priv, ts->st.status);
	vdisk_through_finish(n->priv, ts, false);
	vdisk_end(io, n, BLK_STS_OK);
}

static enum vdisk_end vdisk_through_done(struct vdisk_node *n,
					 struct vdisk_io *io,
					 blk_status_t *status)
{
	struct vdisk_through_io *ts = vdisk_state(n, io);
	struct vdisk_overlay_io *st = &ts->st;
	struct vdisk_overlay *o = n->priv;
	bool kept = st->kept && !*status;

	if (!ts->begun)
		return VDISK_UP;
	if (!st->kept && bio_op(io->bio) == REQ_OP_WRITE && st->nr && !*status &&
	    !vdisk_through_is_spoilt(&ts->range)) {
		st->kept = true;
		vdisk_rewind(io, n, st->iter, st->flags);
		vdisk_defer(io, vdisk_through_store);
		return VDISK_KEPT;
	}
	if (st->kept && *status && *status != BLK_STS_DM_REQUEUE) {
		io->at = n;
		st->status = *status;
		vdisk_defer(io, vdisk_through_failed);
		return VDISK_KEPT;
	}
	/* A suspend has given back what was meant for the store: the base has it. */
	if (st->kept)
		*status = BLK_STS_OK;
	vdisk_through_finish(o, ts, kept);
	return VDISK_UP;
}

static enum vdisk_map vdisk_through_map(struct vdisk_node *n,
					struct vdisk_io *io)
{
	struct vdisk_through_io *ts = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;

	ts->begun = false;
	switch (bio_op(io->bio)) {
	case REQ_OP_WRITE:
		/* What is to be durable is so in the base. */
		return bio_sectors(io->bio) ? vdisk_through_write(n, io) : VDISK_DOWN;
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
		vdisk_defer_to(io, o->wq, vdisk_overlay_discard);
		return VDISK_TAKEN;
	default:
		vdisk_end(io, n, BLK_STS_NOTSUPP);
		return VDISK_TAKEN;
	}
}

static enum vdisk_map vdisk_cache_map(struct vdisk_node *n, struct vdisk_io *io)
{
	if (bio_op(io->bio) == REQ_OP_READ)
		return vdisk_overlay_read(n, io);
	if (((struct vdisk_overlay *)n->priv)->through)
		return vdisk_through_map(n, io);
	/* It has nothing of the guest's to be flushed, and refuses to get some. */
	vdisk_end(io, n, bio_op(io->bio) == REQ_OP_WRITE && !bio_sectors(io->bio) ?
		  BLK_STS_OK : BLK_STS_IOERR);
	return VDISK_TAKEN;
}

static enum vdisk_end vdisk_cache_end(struct vdisk_node *n, struct vdisk_io *io,
				      blk_status_t *status)
{
	if (bio_op(io->bio) == REQ_OP_READ)
		return vdisk_cache_keep(n, io, *status) ? VDISK_KEPT : VDISK_UP;
	if (((struct vdisk_overlay *)n->priv)->through)
		return vdisk_through_done(n, io, status);
	return VDISK_UP;
}

static void vdisk_overlay_abort(struct vdisk_node *n,
				bool (*which)(struct vdisk_io *io),
				blk_status_t status)
{
	struct vdisk_overlay *o = n->priv;

	if (o->fills)
		vdisk_fills_abort(o->fills, which, status);
}

static enum vdisk_map vdisk_overlay_map(struct vdisk_node *n,
					struct vdisk_io *io)
{
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;

	switch (bio_op(io->bio)) {
	case REQ_OP_READ:
		return vdisk_overlay_read(n, io);
	case REQ_OP_WRITE:
		st->fua = false;
		if (bio_sectors(io->bio))
			return vdisk_overlay_write(n, io);
		vdisk_overlay_map_flush(n, io);
		return VDISK_TAKEN;
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
		if (o->meta)
			vdisk_defer_to(io, o->wq, vdisk_overlay_discard);
		else if (io->bio->bi_opf & REQ_NOWAIT)
			vdisk_defer(io, vdisk_overlay_discard_volatile);
		else
			vdisk_overlay_discard_volatile(io);
		return VDISK_TAKEN;
	default:
		vdisk_end(io, n, BLK_STS_NOTSUPP);
		return VDISK_TAKEN;
	}
}

static enum vdisk_end vdisk_overlay_end(struct vdisk_node *n,
					struct vdisk_io *io,
					blk_status_t *status)
{
	struct vdisk_overlay_io *st = vdisk_state(n, io);
	struct vdisk_overlay *o = n->priv;

	if (st->nr) {
		vdisk_presence_release(o->presence, st->unit, st->nr, !*status);
		if (o->meta)
			vdisk_overlay_changed(o);
	}
	if (!st->fua || *status)
		return VDISK_UP;
	vdisk_overlay_flush(o, st);
	return VDISK_KEPT;
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
	if (!o->fills)
		return;
	vdisk_fills_status(o->fills, out);
	vdisk_emit(out, " hydrate=%s hydrated=%llu",
		   vdisk_hydrate_names[READ_ONCE(o->layer->hydrate)],
		   vdisk_hydrate_at(o->hydrate));
}

/* hydrate start [<sectors per second>] | hydrate stop */
static int vdisk_overlay_message(struct vdisk_node *n, unsigned int argc,
				 char **argv, struct vdisk_out *out)
{
	struct vdisk_overlay *o = n->priv;
	u64 rate = 0;

	if (argc < 2 || strcmp(argv[0], "hydrate"))
		return vdisk_fail(n, -EINVAL,
				  "understands: hydrate start [<sectors per second>], hydrate stop");
	if (!o->fills)
		return vdisk_fail(n, -EINVAL, "hydrate: needs copy_on_read");
	if (argc == 2 && !strcmp(argv[1], "stop")) {
		vdisk_hydrate_stop(o->hydrate);
		if (o->layer->hydrate == VDISK_HYDRATE_ON)
			WRITE_ONCE(o->layer->hydrate, VDISK_HYDRATE_OFF);
		return 0;
	}
	if (argc > 3 || strcmp(argv[1], "start"))
		return vdisk_fail(n, -EINVAL,
				  "hydrate: start [<sectors per second>], or stop");
	if (argc == 3 && (kstrtou64(argv[2], 10, &rate) || !rate))
		return vdisk_fail(n, -EINVAL,
				  "hydrate: '%s' is no number of sectors per second",
				  argv[2]);
	if (!vdisk_overlay_is_whole(o))
		return vdisk_fail(n, -EINVAL,
				  "hydrate: the store is of a disk of %llu sectors, this one has %llu",
				  le64_to_cpu(o->layer->sb.len), n->len);
	if (READ_ONCE(o->layer->failed))
		return vdisk_fail(n, -EIO, "hydrate: the store has failed; resume first");
	o->layer->rate = rate;
	WRITE_ONCE(o->layer->hydrate, VDISK_HYDRATE_ON);
	vdisk_hydrate_start(o->hydrate, rate);
	return 0;
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
