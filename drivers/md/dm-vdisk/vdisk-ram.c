// SPDX-License-Identifier: GPL-2.0-only
/*
 * ram: memory, taken page by page as it is written.
 *
 * Readers and writers of present pages take no lock, but a reference to the
 * page: a discard that meets them drops it from the disk at once, and the last
 * of them from memory. A write that races with a discard of its page may be
 * lost, as on any disk.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "vdisk.h"

/**
 * struct vdisk_ram - the memory; outlives tables as a vdisk_object
 * @pages: index is in units of PAGE_SIZE; its lock guards @nr
 * @nr: pages present
 * @max: most pages; of the table that went live last
 */
struct vdisk_ram {
	struct xarray pages;
	unsigned long nr;
	unsigned long max;
};

static struct vdisk_ram *vdisk_ram(const struct vdisk_node *n)
{
	return n->priv;
}

static void vdisk_ram_init(void *data)
{
	struct vdisk_ram *ram = data;

	xa_init(&ram->pages);
}

static void vdisk_ram_free(void *data)
{
	struct vdisk_ram *ram = data;
	struct page *page;
	unsigned long index;

	xa_for_each(&ram->pages, index, page) {
		put_page(page);
		cond_resched();
	}
	xa_destroy(&ram->pages);
}

static int vdisk_ram_ctr(struct vdisk_node *n)
{
	struct vdisk_object *obj;

	obj = vdisk_object_get(n, n->val[RAM_NAME].str, sizeof(struct vdisk_ram),
			       vdisk_ram_init, vdisk_ram_free);
	if (IS_ERR(obj))
		return vdisk_fail(n, PTR_ERR(obj), "out of memory");
	n->object = obj;
	n->priv = vdisk_object_data(obj);
	return 0;
}

static void vdisk_ram_dtr(struct vdisk_node *n)
{
	vdisk_object_put(n->object);
}

/* What is there already stays, even if it is more than the new limit. */
static int vdisk_ram_preresume(struct vdisk_node *n)
{
	unsigned long max = ULONG_MAX;

	if (n->val[RAM_MAX].set)
		max = n->val[RAM_MAX].num >> PAGE_SECTORS_SHIFT;
	WRITE_ONCE(vdisk_ram(n)->max, max);
	return 0;
}

static sector_t vdisk_ram_length(const struct vdisk_node *n)
{
	return VDISK_UNBOUNDED;
}

static void vdisk_ram_limits(struct vdisk_node *n, struct queue_limits *lim)
{
	vdisk_limits_unpolled(lim);
	vdisk_limits_discard(lim, UINT_MAX >> SECTOR_SHIFT, PAGE_SIZE);
	lim->max_write_zeroes_sectors = UINT_MAX >> SECTOR_SHIFT;
}

/* The page of a sector with a reference, or NULL. */
static struct page *vdisk_ram_get(struct vdisk_ram *ram, unsigned long index)
{
	struct page *page;

	rcu_read_lock();
	while ((page = xa_load(&ram->pages, index))) {
		if (!get_page_unless_zero(page))
			continue;
		/* It may have been freed and be somebody else's by now. */
		if (page == xa_load(&ram->pages, index))
			break;
		put_page(page);
	}
	rcu_read_unlock();
	return page;
}

/*
 * A page for a write to @index. Somebody else's is as good; which of the two
 * it is the caller sees when it looks again.
 */
static blk_status_t vdisk_ram_add(struct vdisk_ram *ram, unsigned long index,
				  bool nowait)
{
	gfp_t gfp = nowait ? GFP_NOWAIT | __GFP_NOWARN : GFP_NOIO;
	blk_status_t status = BLK_STS_OK;
	struct page *page, *old;

	page = alloc_page(gfp | __GFP_ZERO | __GFP_HIGHMEM);
	if (!page)
		return nowait ? BLK_STS_AGAIN : BLK_STS_RESOURCE;

	xa_lock(&ram->pages);
	/* The limit is exact unless the insertion has to wait for memory. */
	if (!xa_load(&ram->pages, index) && ram->nr >= READ_ONCE(ram->max)) {
		status = BLK_STS_NOSPC;
	} else {
		old = __xa_cmpxchg(&ram->pages, index, NULL, page, gfp);
		if (xa_is_err(old)) {
			status = nowait ? BLK_STS_AGAIN : BLK_STS_RESOURCE;
		} else if (!old) {
			WRITE_ONCE(ram->nr, ram->nr + 1);
			page = NULL;
		}
	}
	xa_unlock(&ram->pages);
	if (page)
		put_page(page);
	return status;
}

/* Copies what lies in one page; false if a write finds no page there. */
static bool vdisk_ram_copy(struct vdisk_ram *ram, sector_t sector,
			   struct bio_vec *bv, bool write)
{
	unsigned int offset = (sector & (PAGE_SECTORS - 1)) << SECTOR_SHIFT;
	struct page *page;
	void *mem;

	page = vdisk_ram_get(ram, sector >> PAGE_SECTORS_SHIFT);
	if (!page) {
		if (!write)
			memzero_bvec(bv);
		return !write;
	}
	mem = kmap_local_page(page);
	if (write)
		memcpy_from_bvec(mem + offset, bv);
	else
		memcpy_to_bvec(bv, mem + offset);
	kunmap_local(mem);
	put_page(page);
	return true;
}

static blk_status_t vdisk_ram_rw(struct vdisk_ram *ram, struct bio *bio)
{
	bool nowait = bio->bi_opf & REQ_NOWAIT;
	bool write = op_is_write(bio_op(bio));
	struct bvec_iter iter = bio->bi_iter;
	blk_status_t status;

	while (iter.bi_size) {
		struct bio_vec bv = bio_iter_iovec(bio, iter);
		unsigned int room = PAGE_SIZE -
			((iter.bi_sector & (PAGE_SECTORS - 1)) << SECTOR_SHIFT);

		bv.bv_len = min(bv.bv_len, room);
		while (!vdisk_ram_copy(ram, iter.bi_sector, &bv, write)) {
			status = vdisk_ram_add(ram,
					       iter.bi_sector >> PAGE_SECTORS_SHIFT,
					       nowait);
			if (status)
				return status;
		}
		bio_advance_iter_single(bio, &iter, bv.bv_len);
	}
	return BLK_STS_OK;
}

/* Whole pages go; what is left at the edges is zeroed if it has to be. */
static void vdisk_ram_discard(struct vdisk_ram *ram, sector_t sector,
			      sector_t nr, bool zero)
{
	unsigned long first = DIV_ROUND_UP_ULL(sector, PAGE_SECTORS);
	unsigned long end = (sector + nr) >> PAGE_SECTORS_SHIFT;
	unsigned long index;
	struct page *page;

	if (first < end)
		xa_for_each_range(&ram->pages, index, page, first, end - 1) {
			xa_lock(&ram->pages);
			page = __xa_erase(&ram->pages, index);
			if (page)
				WRITE_ONCE(ram->nr, ram->nr - 1);
			xa_unlock(&ram->pages);
			if (page)
				put_page(page);
			cond_resched();
		}
	if (!zero)
		return;

	while (nr) {
		unsigned int offset = sector & (PAGE_SECTORS - 1);
		sector_t len = min_t(sector_t, nr, PAGE_SECTORS - offset);

		index = sector >> PAGE_SECTORS_SHIFT;
		if (index >= first && index < end) {
			len = ((sector_t)end << PAGE_SECTORS_SHIFT) - sector;
		} else {
			page = vdisk_ram_get(ram, index);
			if (page) {
				memzero_page(page, offset << SECTOR_SHIFT,
					     len << SECTOR_SHIFT);
				put_page(page);
			}
		}
		sector += len;
		nr -= len;
	}
}

static enum vdisk_map vdisk_ram_map(struct vdisk_node *n, struct vdisk_io *io)
{
	struct bio *bio = io->bio;
	struct vdisk_ram *ram = vdisk_ram(n);

	bio->bi_status = BLK_STS_OK;
	switch (bio_op(bio)) {
	case REQ_OP_READ:
	case REQ_OP_WRITE:
		bio->bi_status = vdisk_ram_rw(ram, bio);
		break;
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
		/* As long as the range has pages: not for who cannot wait. */
		if (bio->bi_opf & REQ_NOWAIT) {
			bio->bi_status = BLK_STS_AGAIN;
			break;
		}
		vdisk_ram_discard(ram, bio->bi_iter.bi_sector, bio_sectors(bio),
				  bio_op(bio) == REQ_OP_WRITE_ZEROES);
		break;
	default:
		bio->bi_status = BLK_STS_NOTSUPP;
	}
	return VDISK_ENDED;
}

static void vdisk_ram_status(struct vdisk_node *n, struct vdisk_out *out)
{
	vdisk_emit(out, " used=%lu",
		   READ_ONCE(vdisk_ram(n)->nr) << PAGE_SECTORS_SHIFT);
}

/* forget: a named one goes with its last table after all */
static int vdisk_ram_message(struct vdisk_node *n, unsigned int argc,
			     char **argv, struct vdisk_out *out)
{
	if (argc != 1 || strcmp(argv[0], "forget"))
		return vdisk_fail(n, -EINVAL, "understands: forget");
	if (!n->val[RAM_NAME].set)
		return vdisk_fail(n, -EINVAL, "forget: it has no name to forget");
	vdisk_object_forget(n->object);
	return 0;
}

const struct vdisk_ops vdisk_ram_ops = {
	.ctr = vdisk_ram_ctr,
	.dtr = vdisk_ram_dtr,
	.preresume = vdisk_ram_preresume,
	.length = vdisk_ram_length,
	.limits = vdisk_ram_limits,
	.map = vdisk_ram_map,
	.status = vdisk_ram_status,
	.message = vdisk_ram_message,
};
