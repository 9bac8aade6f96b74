/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Metadata of a store: reading and writing what vdisk-store.h describes.
 */
#ifndef VDISK_META_H
#define VDISK_META_H

#include "vdisk.h"
#include "vdisk-presence.h"

#define VDISK_META_LEAVES	128	/* leaves written at a time */
/* for them; on large pages, more than they need: one for each superblock */
#define VDISK_META_PAGES						\
	(VDISK_META_LEAVES * VDISK_STORE_SECTOR > VDISK_STORE_SLOTS * PAGE_SIZE ? \
	 VDISK_META_LEAVES * VDISK_STORE_SECTOR / PAGE_SIZE : VDISK_STORE_SLOTS)

/**
 * struct vdisk_meta - metadata of a live store
 * @n: the node that has the store as its first child
 * @presence: what is kept
 * @sb: the superblock that counts
 * @damaged: the slot that was damaged when they were read, or -1
 * @block: sectors per block of the store
 * @blobs: of the base, in the order of the line
 * @nr_blobs: how many
 * @pages: leaves to be written, or superblocks as they were read
 * @old: a block as it is on the store, or a superblock to be written
 * @index: of those leaves
 * @nr: how many
 * @table: for their bios
 * @holes: copy of a leaf that is punched
 */
struct vdisk_meta {
	struct vdisk_node *n;
	struct vdisk_presence *presence;
	struct vdisk_store_sb *sb;
	int damaged;
	unsigned int block;
	struct vdisk_node *blobs[VDISK_STORE_PINS];
	unsigned int nr_blobs;
	struct page *pages[VDISK_META_PAGES];
	struct page *old;
	unsigned long index[VDISK_META_LEAVES];
	unsigned int nr;
	struct bio_vec table[VDISK_META_LEAVES];
	struct vdisk_store_leaf holes;
};

struct vdisk_meta *vdisk_meta_create(struct vdisk_node *n,
				     struct vdisk_presence *p,
				     struct vdisk_store_sb *sb);
void vdisk_meta_destroy(struct vdisk_meta *m);
int vdisk_meta_find_blobs(struct vdisk_meta *m);
int vdisk_meta_pin_blobs(struct vdisk_meta *m);
void vdisk_meta_unpin_blobs(struct vdisk_meta *m);
int vdisk_meta_read_sb(struct vdisk_meta *m);
int vdisk_meta_grow(struct vdisk_meta *m, sector_t len);
int vdisk_meta_detach(struct vdisk_meta *m);
int vdisk_meta_empty(struct vdisk_meta *m);
blk_status_t vdisk_meta_dirty(struct vdisk_meta *m, bool dirty);
blk_status_t vdisk_meta_flush(struct vdisk_meta *m);
blk_status_t vdisk_meta_flush_base(struct vdisk_meta *m);
blk_status_t vdisk_meta_full(struct vdisk_meta *m, sector_t base_len);
blk_status_t vdisk_meta_merged(struct vdisk_meta *m, bool merged);
blk_status_t vdisk_meta_load(struct vdisk_meta *m, unsigned long index);
blk_status_t vdisk_meta_commit(struct vdisk_meta *m);
void vdisk_meta_punch(struct vdisk_meta *m, unsigned long index);

#endif /* VDISK_META_H */
