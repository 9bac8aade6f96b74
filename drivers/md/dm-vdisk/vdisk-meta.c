// SPDX-License-Identifier: GPL-2.0-only
/*
 * Metadata of a store.
 *
 * All of this runs in process context and waits for its own bios, which come
 * from the node's pool and go through the store like any other; nobody who
 * holds a bio back may call it. Only the live table's node does.
 *
 * The order of a commit is that of dm-vdisk-format.rst, batch by batch: leaves
 * are copied, the store is flushed, the copies are written, and the store is
 * flushed again. A leaf that changes meanwhile is dirty again.
 */
#include <linux/completion.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <crypto/sha2.h>

#include "vdisk-blob.h"
#include "vdisk-meta.h"

#define DM_MSG_PREFIX "vdisk"

/* Bios that are waited for together. */
struct vdisk_batch {
	atomic_t pending;
	blk_status_t status;	/* of one that failed; read when @pending is 0 */
	struct completion done;
};

static void vdisk_batch_init(struct vdisk_batch *b)
{
	atomic_set(&b->pending, 1);
	b->status = BLK_STS_OK;
	init_completion(&b->done);
}

static void vdisk_batch_put(struct vdisk_batch *b)
{
	if (atomic_dec_and_test(&b->pending))
		complete(&b->done);
}

static blk_status_t vdisk_batch_wait(struct vdisk_batch *b)
{
	vdisk_batch_put(b);
	wait_for_completion_io(&b->done);
	return b->status;
}

static void vdisk_batch_done(struct vdisk_io *io, blk_status_t status)
{
	struct vdisk_batch *b = io->priv;

	if (status)
		WRITE_ONCE(b->status, status);
	vdisk_io_free(io);
	vdisk_batch_put(b);
}

static void vdisk_batch_submit(struct vdisk_batch *b, struct vdisk_io *io,
			       struct vdisk_node *child)
{
	io->priv = b;
	atomic_inc(&b->pending);
	vdisk_io_submit(io, child, vdisk_batch_done);
}

static void vdisk_batch_add(struct vdisk_batch *b, struct vdisk_meta *m,
			    struct vdisk_io *io, sector_t sector)
{
	io->bio->bi_iter.bi_sector = sector;
	vdisk_batch_submit(b, io, m->n->children[0]);
}

static blk_status_t vdisk_meta_flush_child(struct vdisk_meta *m,
					   struct vdisk_node *child)
{
	struct vdisk_batch b;

	vdisk_batch_init(&b);
	vdisk_batch_submit(&b, vdisk_io_new(m->n, REQ_OP_WRITE | REQ_PREFLUSH,
					    NULL, 0), child);
	return vdisk_batch_wait(&b);
}

/**
 * vdisk_meta_flush - make durable what the store was given
 * @m: of the store
 *
 * Context: Process context, may sleep.
 * Return: the status of the flush.
 */
blk_status_t vdisk_meta_flush(struct vdisk_meta *m)
{
	return vdisk_meta_flush_child(m, m->n->children[0]);
}

/**
 * vdisk_meta_flush_base - make durable what the base was given
 * @m: the metadata; the base is its node's second child
 *
 * Context: Process context, may sleep.
 * Return: the status of the flush.
 */
blk_status_t vdisk_meta_flush_base(struct vdisk_meta *m)
{
	return vdisk_meta_flush_child(m, m->n->children[1]);
}

/* One block of the store. */
static blk_status_t vdisk_meta_rw(struct vdisk_meta *m, blk_opf_t opf,
				  sector_t sector, struct page *page)
{
	struct vdisk_batch b;
	struct bio_vec vec;
	struct vdisk_io *io;

	vdisk_batch_init(&b);
	io = vdisk_io_new(m->n, opf | REQ_META | REQ_SYNC, &vec, 1);
	__bio_add_page(io->bio, page, m->block << SECTOR_SHIFT, 0);
	vdisk_batch_add(&b, m, io, sector);
	return vdisk_batch_wait(&b);
}

/**
 * vdisk_meta_create - prepare for a store
 * @n: the node; the store is its first child, whose limits are composed
 * @p: its presence
 * @sb: where its superblock is kept
 *
 * Context: Process context, may sleep.
 * Return: the metadata, or NULL.
 */
struct vdisk_meta *vdisk_meta_create(struct vdisk_node *n,
				     struct vdisk_presence *p,
				     struct vdisk_store_sb *sb)
{
	struct vdisk_meta *m = kzalloc(sizeof(*m), GFP_KERNEL);
	unsigned int i;

	if (!m)
		return NULL;
	m->n = n;
	m->presence = p;
	m->sb = sb;
	m->block = n->children[0]->lim.logical_block_size >> SECTOR_SHIFT;
	for (i = 0; i < VDISK_META_PAGES; i++)
		m->pages[i] = alloc_page(GFP_KERNEL);
	m->old = alloc_page(GFP_KERNEL);
	for (i = 0; i < VDISK_META_PAGES && m->pages[i]; i++)
		;
	if (i < VDISK_META_PAGES || !m->old) {
		vdisk_meta_destroy(m);
		return NULL;
	}
	return m;
}

/**
 * vdisk_meta_destroy - undo vdisk_meta_create()
 * @m: the metadata
 */
void vdisk_meta_destroy(struct vdisk_meta *m)
{
	unsigned int i;

	for (i = 0; i < VDISK_META_PAGES; i++)
		if (m->pages[i])
			__free_page(m->pages[i]);
	if (m->old)
		__free_page(m->old);
	kfree(m);
}

static int vdisk_meta_no_sb(struct vdisk_meta *m,
			    const struct vdisk_store_sb *const *slot)
{
	unsigned int i;

	for (i = 0; i < VDISK_STORE_SLOTS; i++)
		if (vdisk_store_sb_version(slot[i]) > VDISK_STORE_VERSION)
			return vdisk_fail(m->n, -EINVAL,
					  "store: of version %u, this module knows %u",
					  vdisk_store_sb_version(slot[i]),
					  VDISK_STORE_VERSION);
	return vdisk_fail(m->n, -EINVAL, "store: superblocks: %s, %s",
			  vdisk_store_sb_check(slot[0]) ?: "older",
			  vdisk_store_sb_check(slot[1]) ?: "older");
}

/* The slot that is damaged, or -1 */
static int vdisk_meta_find_damage(const struct vdisk_store_sb *const *slot)
{
	int i;

	for (i = VDISK_STORE_SLOTS - 1; i >= 0; i--)
		if (!vdisk_store_sb_version(slot[i]))
			break;
	return i;
}

/**
 * vdisk_meta_read_sb - read the superblock
 * @m: the metadata; its superblock is set
 *
 * Context: Process context, may sleep; the table goes live.
 * Return: 0, or -errno after vdisk_fail().
 */
int vdisk_meta_read_sb(struct vdisk_meta *m)
{
	const struct vdisk_store_sb *slot[VDISK_STORE_SLOTS], *sb;
	unsigned int i;

	for (i = 0; i < VDISK_STORE_SLOTS; i++) {
		blk_status_t status;

		status = vdisk_meta_rw(m, REQ_OP_READ,
				       i * VDISK_STORE_SLOT_SECTORS, m->pages[i]);
		if (status)
			return vdisk_fail(m->n, blk_status_to_errno(status),
					  "store: superblock %u cannot be read (%pe)",
					  i, ERR_PTR(blk_status_to_errno(status)));
		slot[i] = page_address(m->pages[i]);
	}
	sb = vdisk_store_sb_choose(slot[0], slot[1]);
	if (!sb)
		return vdisk_meta_no_sb(m, slot);
	*m->sb = *sb;
	m->damaged = vdisk_meta_find_damage(slot);
	/*
	 * It may have been the newer one. Of a store whose base has all it then may
	 * have said that this store is not to be believed.
	 */
	if (vdisk_store_is_through(sb) && m->damaged >= 0)
		m->sb->flags |= cpu_to_le32(VDISK_STORE_DIRTY);
	return 0;
}

/* Write a superblock that is newer than both, in the place of the older one. */
static blk_status_t vdisk_meta_write_slot(struct vdisk_meta *m,
					  struct vdisk_store_sb *new)
{
	u64 sequence = le64_to_cpu(m->sb->sequence) + 1;
	/* The first superblock, of sequence 1, is in slot 0. */
	sector_t slot = ((sequence - 1) % VDISK_STORE_SLOTS) *
			VDISK_STORE_SLOT_SECTORS;
	blk_status_t status;

	new->sequence = cpu_to_le64(sequence);
	vdisk_store_sb_seal(new);
	/* Not in @pages: leaves may wait there. */
	memset(page_address(m->old), 0, PAGE_SIZE);
	memcpy(page_address(m->old), new, sizeof(*new));
	status = vdisk_meta_rw(m, REQ_OP_WRITE | REQ_FUA, slot, m->old);
	if (!status)
		m->sb->sequence = new->sequence;
	return status;
}

/*
 * Write a superblock; then it counts, whichever slot is damaged: of one alone,
 * damage would bring back what is not true any more. Half of it is nothing: what
 * counted before is written again, to the slot that can be.
 */
static blk_status_t vdisk_meta_write_sb(struct vdisk_meta *m,
					struct vdisk_store_sb *new)
{
	blk_status_t status = vdisk_meta_write_slot(m, new);

	if (status)
		return status;
	status = vdisk_meta_write_slot(m, new);
	if (status) {
		le64_add_cpu(&m->sb->sequence, 1);
		vdisk_meta_write_slot(m, m->sb);
		return status;
	}
	*m->sb = *new;
	return status;
}

/* The same while a table goes live. */
static int vdisk_meta_change_sb(struct vdisk_meta *m, struct vdisk_store_sb *new)
{
	blk_status_t status = vdisk_meta_write_sb(m, new);

	if (status)
		return vdisk_fail(m->n, blk_status_to_errno(status),
				  "store: superblock cannot be written (%pe)",
				  ERR_PTR(blk_status_to_errno(status)));
	return 0;
}

/**
 * vdisk_meta_grow - make the disk longer
 * @m: the metadata
 * @len: sectors, not above the maximum
 *
 * Context: Process context, may sleep; the table goes live.
 * Return: 0, or -errno after vdisk_fail().
 */
int vdisk_meta_grow(struct vdisk_meta *m, sector_t len)
{
	struct vdisk_store_sb new = *m->sb;

	/* The base may have more than was asked of it. */
	if (le64_to_cpu(new.base_len) > le64_to_cpu(new.len))
		new.flags &= cpu_to_le32(~VDISK_STORE_FULL);
	new.len = cpu_to_le64(len);
	return vdisk_meta_change_sb(m, &new);
}

static void vdisk_meta_clear_pins(struct vdisk_store_sb *sb)
{
	sb->incompat &= cpu_to_le64(~VDISK_STORE_PINNED);
	memset(sb->pins, 0, sizeof(sb->pins));
}

/**
 * vdisk_meta_detach - a full store gets zeroes as its base
 * @m: the metadata
 *
 * Context: Process context, may sleep; the table goes live.
 * Return: 0, or -errno after vdisk_fail().
 */
int vdisk_meta_detach(struct vdisk_meta *m)
{
	struct vdisk_store_sb new = *m->sb;

	new.base_len = cpu_to_le64(VDISK_UNBOUNDED);
	new.flags &= cpu_to_le32(~VDISK_STORE_FULL);
	vdisk_meta_clear_pins(&new);
	return vdisk_meta_change_sb(m, &new);
}

/**
 * vdisk_meta_empty - a store of a base that is the truth is believed no longer
 * @m: the metadata; its presence has to be forgotten
 *
 * Context: Process context, may sleep; the table goes live.
 * Return: 0, or -errno after vdisk_fail().
 */
int vdisk_meta_empty(struct vdisk_meta *m)
{
	struct vdisk_store_sb new = *m->sb;

	new.epoch = cpu_to_le64(le64_to_cpu(new.epoch) + 1);
	vdisk_meta_clear_pins(&new);
	new.flags &= cpu_to_le32(~VDISK_STORE_DIRTY);
	return vdisk_meta_change_sb(m, &new);
}

/**
 * vdisk_meta_dirty - base and store may differ from now on, or do not any more
 * @m: the metadata; if this fails, its superblock does not say that they may
 * @dirty: whether they may
 *
 * Context: Process context, may sleep; no commit is under way.
 * Return: the status of the write.
 */
blk_status_t vdisk_meta_dirty(struct vdisk_meta *m, bool dirty)
{
	struct vdisk_store_sb new = *m->sb;
	blk_status_t status;

	new.flags &= cpu_to_le32(~VDISK_STORE_DIRTY);
	if (dirty)
		new.flags |= cpu_to_le32(VDISK_STORE_DIRTY);
	/* To one slot: if that is damaged, who opens the store takes it for dirty. */
	status = vdisk_meta_write_slot(m, &new);
	/* What was not written may be on the store nevertheless: it may be clean. */
	if (status)
		m->sb->flags &= cpu_to_le32(~VDISK_STORE_DIRTY);
	else
		*m->sb = new;
	return status;
}

/**
 * vdisk_meta_full - the store has all that its base has, and that is durable
 * @m: the metadata
 * @base_len: sectors of the base
 *
 * Context: Process context, may sleep; no commit is under way.
 * Return: the status of the write.
 */
blk_status_t vdisk_meta_full(struct vdisk_meta *m, sector_t base_len)
{
	struct vdisk_store_sb new = *m->sb;

	new.base_len = cpu_to_le64(base_len);
	new.flags |= cpu_to_le32(VDISK_STORE_FULL);
	return vdisk_meta_write_sb(m, &new);
}

/**
 * vdisk_meta_merged - its base has all that the store has, or will not for long
 * @m: the metadata
 * @merged: it has, and that is durable: nobody is to open the store once more
 *
 * Context: Process context, may sleep; no commit is under way.
 * Return: the status of the write.
 */
blk_status_t vdisk_meta_merged(struct vdisk_meta *m, bool merged)
{
	struct vdisk_store_sb new = *m->sb;

	new.flags &= cpu_to_le32(~VDISK_STORE_MERGED);
	if (merged)
		new.flags |= cpu_to_le32(VDISK_STORE_MERGED);
	return vdisk_meta_write_sb(m, &new);
}

/**
 * vdisk_meta_find_blobs - find those whose bytes the store may have or hide
 * @m: the metadata; the base is its node's second child
 *
 * Context: Process context, while the table is loaded.
 * Return: 0, or -errno after vdisk_fail().
 */
int vdisk_meta_find_blobs(struct vdisk_meta *m)
{
	struct vdisk_stack *s = m->n->stack;
	unsigned int i;

	m->nr_blobs = 0;
	for (i = 0; i < s->nr_nodes; i++) {
		struct vdisk_node *n = s->nodes[i];

		if (n->ops != &vdisk_blob_ops ||
		    !vdisk_is_below(n, m->n->children[1]))
			continue;
		if (m->nr_blobs == VDISK_STORE_PINS)
			return vdisk_fail(m->n, -EINVAL,
					  "base: more than %u blobs: a store cannot tell their versions",
					  VDISK_STORE_PINS);
		m->blobs[m->nr_blobs++] = n;
	}
	return 0;
}

static bool vdisk_meta_has_pin(const u8 *digest)
{
	return memchr_inv(digest, 0, VDISK_STORE_PIN);
}

/* The pin that has the blob's name; the first one that has none gets it. */
static struct vdisk_store_pin *vdisk_meta_find_pin(struct vdisk_store_sb *sb,
						   const struct vdisk_node *blob)
{
	const char *name = blob->val[BLOB_NAME].str;
	struct vdisk_store_pin *pin;
	u8 digest[SHA256_DIGEST_SIZE];

	sha256(name, strlen(name), digest);
	for (pin = sb->pins; pin < sb->pins + VDISK_STORE_PINS; pin++) {
		if (!vdisk_meta_has_pin(pin->name))
			memcpy(pin->name, digest, sizeof(pin->name));
		if (!memcmp(pin->name, digest, sizeof(pin->name)))
			return pin;
	}
	return NULL;
}

/**
 * vdisk_meta_pin_blobs - hold the blobs to the versions that the store knows
 * @m: the metadata, with its superblock
 *
 * Context: Process context, may sleep; the table goes live.
 * Return: 0, or -errno after vdisk_fail().
 */
int vdisk_meta_pin_blobs(struct vdisk_meta *m)
{
	struct vdisk_store_sb sb = *m->sb;
	struct vdisk_store_pin *pin;
	unsigned int i;
	int r = 0;

	for (i = 0; i < m->nr_blobs && !r; i++) {
		pin = vdisk_meta_find_pin(&sb, m->blobs[i]);
		if (!pin)
			r = vdisk_fail(m->n, -EINVAL,
				       "store: knows the versions of %u other blobs: there is no room for '%s'",
				       VDISK_STORE_PINS,
				       m->blobs[i]->val[BLOB_NAME].str);
		else if (vdisk_meta_has_pin(pin->identity) &&
			 vdisk_blob_pin(m->blobs[i], pin->identity))
			r = vdisk_fail(m->n, -ESTALE,
				       "store: has another version of blob '%s' than its helper or another store; see vdisk repair --unpin",
				       m->blobs[i]->val[BLOB_NAME].str);
	}
	if (r)
		vdisk_meta_unpin_blobs(m);
	return r;
}

/**
 * vdisk_meta_unpin_blobs - undo vdisk_meta_pin_blobs(), as far as nothing was read
 * @m: the metadata
 *
 * Context: Process context, may sleep.
 */
void vdisk_meta_unpin_blobs(struct vdisk_meta *m)
{
	unsigned int i;

	for (i = 0; i < m->nr_blobs; i++)
		vdisk_blob_unpin(m->blobs[i]);
}

/*
 * Which versions the leaves are about that were collected: known before they are
 * believed. A helper that has pinned one since may not have supplied for them.
 */
static blk_status_t vdisk_meta_pin(struct vdisk_meta *m)
{
	struct vdisk_store_sb new = *m->sb;
	struct vdisk_store_pin *pin;
	bool changed = false;
	unsigned int i;
	u8 digest[VDISK_STORE_PIN];

	for (i = 0; i < m->nr_blobs; i++) {
		if (!vdisk_blob_pinned(m->blobs[i], digest))
			continue;
		pin = vdisk_meta_find_pin(&new, m->blobs[i]);
		/* There was room for it when the table went live. */
		if (WARN_ON_ONCE(!pin))
			return BLK_STS_IOERR;
		changed |= !vdisk_meta_has_pin(pin->identity);
		memcpy(pin->identity, digest, sizeof(digest));
	}
	if (!changed)
		return BLK_STS_OK;
	new.incompat |= cpu_to_le64(VDISK_STORE_PINNED);
	return vdisk_meta_write_sb(m, &new);
}

/* As far as it is in memory: what is written anew is. */
static bool vdisk_meta_has_something(const struct vdisk_meta *m)
{
	return READ_ONCE(m->presence->nr[VDISK_DATA]) ||
	       READ_ONCE(m->presence->nr[VDISK_ZERO]);
}

static sector_t vdisk_meta_sector(const struct vdisk_meta *m,
				  unsigned long index)
{
	return le64_to_cpu(m->sb->presence_start) + index;
}

/**
 * vdisk_meta_load - read the leaves of a block of the presence area
 * @m: the metadata
 * @index: of one of them
 *
 * Context: Process context, may sleep; several may load at a time.
 * Return: BLK_STS_OK, also if what was read is damaged, or may be old: look again.
 */
blk_status_t vdisk_meta_load(struct vdisk_meta *m, unsigned long index)
{
	unsigned long evictions = READ_ONCE(m->presence->evictions);
	const struct vdisk_store_leaf *leaf;
	blk_status_t status;
	struct page *page;
	unsigned int i;
	int r = 0;

	page = alloc_page(GFP_NOIO);
	if (!page)
		return BLK_STS_RESOURCE;
	index = rounddown(index, m->block);
	leaf = page_address(page);
	status = vdisk_meta_rw(m, REQ_OP_READ, vdisk_meta_sector(m, index), page);
	for (i = 0; !status && !r && i < m->block; i++, index++, leaf++) {
		enum vdisk_store_leaf_kind kind;

		kind = vdisk_store_leaf_check(m->sb, index, leaf);
		if (kind == VDISK_STORE_LEAF_BAD) {
			DMERR("%s: store: presence of blocks %lu to %lu is damaged",
			      dm_table_device_name(m->n->stack->ti->table),
			      index * VDISK_LEAF_UNITS,
			      (index + 1) * VDISK_LEAF_UNITS - 1);
			dm_table_event(m->n->stack->ti->table);
		}
		/* The base has all. */
		if (kind == VDISK_STORE_LEAF_BAD && vdisk_store_is_through(m->sb))
			kind = VDISK_STORE_LEAF_OLD;
		r = vdisk_presence_insert(m->presence, index, kind, leaf->bits,
					  evictions);
		if (r == -ENOMEM)
			status = BLK_STS_RESOURCE;
	}
	__free_page(page);
	return status;
}

static struct vdisk_store_leaf *vdisk_meta_copy(struct vdisk_meta *m,
						unsigned int i)
{
	unsigned int per = PAGE_SIZE / VDISK_STORE_SECTOR;

	return (struct vdisk_store_leaf *)page_address(m->pages[i / per]) + i % per;
}

/*
 * Copy a block of leaves, the first of which is @index, behind those that are
 * there. Neighbours of a dirty one may be missing or damaged: they stay what
 * they are on the store, where nobody else writes.
 */
static blk_status_t vdisk_meta_collect_block(struct vdisk_meta *m,
					     unsigned long index)
{
	const struct vdisk_store_leaf *old = NULL;
	blk_status_t status;
	unsigned int i;

	for (i = 0; i < m->block; i++, m->nr++) {
		struct vdisk_store_leaf *copy = vdisk_meta_copy(m, m->nr);

		m->index[m->nr] = index + i;
		if (vdisk_presence_snapshot(m->presence, index + i, copy)) {
			vdisk_store_leaf_seal(m->sb, index + i, copy);
			continue;
		}
		if (!old) {
			status = vdisk_meta_rw(m, REQ_OP_READ,
					       vdisk_meta_sector(m, index), m->old);
			if (status)
				return status;
			old = page_address(m->old);
		}
		*copy = old[i];
	}
	return BLK_STS_OK;
}

/* Copy dirty leaves from @from on: whole blocks of the store. */
static blk_status_t vdisk_meta_collect(struct vdisk_meta *m,
				       unsigned long *from)
{
	blk_status_t status = BLK_STS_OK;

	m->nr = 0;
	while (!status && m->nr + m->block <= VDISK_META_LEAVES) {
		unsigned long index = *from;

		if (!xa_find(&m->presence->leaves, &index, ULONG_MAX,
			     VDISK_LEAF_DIRTY))
			break;
		index = rounddown(index, m->block);
		status = vdisk_meta_collect_block(m, index);
		*from = index + m->block;
	}
	return status;
}

/* Neighbours go in one bio. */
static blk_status_t vdisk_meta_write(struct vdisk_meta *m)
{
	unsigned int i, used = 0;
	struct vdisk_io *io = NULL;
	struct vdisk_batch b;

	vdisk_batch_init(&b);
	for (i = 0; i < m->nr; i++) {
		struct vdisk_store_leaf *copy = vdisk_meta_copy(m, i);

		if (!io)
			io = vdisk_io_new(m->n, REQ_OP_WRITE | REQ_META | REQ_SYNC,
					  m->table + used, m->nr - used);
		/* Cannot fail: the table has room for a page per leaf. */
		WARN_ON_ONCE(!bio_add_page(io->bio, virt_to_page(copy),
					   sizeof(*copy), offset_in_page(copy)));
		if (i + 1 < m->nr && m->index[i + 1] == m->index[i] + 1)
			continue;
		used += io->bio->bi_vcnt;
		vdisk_batch_add(&b, m, io, vdisk_meta_sector(m, m->index[i]) + 1 -
				bio_sectors(io->bio));
		io = NULL;
	}
	return vdisk_batch_wait(&b);
}

/**
 * vdisk_meta_commit - make durable what has changed so far, and all data
 * @m: the metadata; nobody else commits
 *
 * Context: Process context, may sleep.
 * Return: the status of what failed; then nothing is lost, but dirty again.
 */
blk_status_t vdisk_meta_commit(struct vdisk_meta *m)
{
	unsigned long from = 0;
	blk_status_t status;
	unsigned int i;

	do {
		status = vdisk_meta_collect(m, &from);
		if (!status && (m->nr || vdisk_meta_has_something(m)))
			status = vdisk_meta_pin(m);
		if (!status)
			status = vdisk_meta_flush(m);
		if (!status && m->nr)
			status = vdisk_meta_write(m);
		if (!status && m->nr)
			status = vdisk_meta_flush(m);
		for (i = 0; i < m->nr; i++)
			vdisk_presence_settle(m->presence, m->index[i], !status);
	} while (!status && m->nr + m->block > VDISK_META_LEAVES);
	return status;
}

/**
 * vdisk_meta_punch - give back the room of a leaf's zero units
 * @m: the metadata; nobody else commits
 * @index: of a leaf marked VDISK_LEAF_PUNCH; writes to its units are held off
 *
 * The mark stays if that is not possible now. A punch that fails costs room, and
 * nothing else.
 *
 * Context: Process context, may sleep.
 */
void vdisk_meta_punch(struct vdisk_meta *m, unsigned long index)
{
	sector_t unit = le32_to_cpu(m->sb->unit) >> SECTOR_SHIFT;
	sector_t base = (sector_t)index * VDISK_LEAF_UNITS;
	sector_t len = div_u64(le64_to_cpu(m->sb->len), unit);
	unsigned int i, next, end;
	struct vdisk_batch b;
	struct vdisk_io *io;

	if (!vdisk_presence_take_holes(m->presence, index, &m->holes))
		return;
	end = min_t(sector_t, VDISK_LEAF_UNITS, len - min(len, base));
	vdisk_batch_init(&b);
	for (i = 0; i < end; i = next) {
		unsigned int state = vdisk_store_leaf_state(&m->holes, i);

		for (next = i + 1; next < end; next++)
			if (vdisk_store_leaf_state(&m->holes, next) != state)
				break;
		if (state != VDISK_ZERO)
			continue;
		io = vdisk_io_new(m->n, REQ_OP_DISCARD, NULL, 0);
		io->bio->bi_iter.bi_size = to_bytes((next - i) * unit);
		vdisk_batch_add(&b, m, io, le64_to_cpu(m->sb->data_start) +
				(base + i) * unit);
	}
	vdisk_batch_wait(&b);
}
