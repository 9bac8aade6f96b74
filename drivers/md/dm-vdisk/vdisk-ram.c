// SPDX-License-Identifier: GPL-2.0-only
/*
 * ram: memory, taken page by page as it is written.
 *
 * Readers and writers of present pages take no lock: they find and copy under
 * rcu_read_lock(), and a discarded page is freed a grace period later. A write
 * that races with a discard of its page may be lost, as on any disk.
 */
#include <linux/highmem.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "vdisk.h"

/**
 * struct vdisk_ram - the memory; outlives tables as a vdisk_object
 * @pages: index is in units of PAGE_SIZE
 * @nr: pages present, or about to be
 * @max: most pages; set when the first table takes it
 */
struct vdisk_ram {
	struct xarray pages;
	atomic_long_t nr;
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

	/* Discarded pages are their grace period's to free. */
	xa_for_each(&ram->pages, index, page) {
		__free_page(page);
		cond_resched();
	}
	xa_destroy(&ram->pages);
}

static int vdisk_ram_ctr(struct vdisk_node *n)
{
	unsigned long max = ULONG_MAX;
	struct vdisk_object *obj;
	struct vdisk_ram *ram;

	if (n->val[RAM_MAX].set)
		max = n->val[RAM_MAX].num >> PAGE_SECTORS_SHIFT;
	if (!max)
		return vdisk_fail(n, -EINVAL, "max: less than a page, %u sectors",
				  PAGE_SECTORS);
	obj = vdisk_object_get(n, n->val[RAM_NAME].str, sizeof(*ram),
			       vdisk_ram_init, vdisk_ram_free);
	if (IS_ERR(obj))
		return vdisk_fail(n, PTR_ERR(obj), "out of memory");
	ram = vdisk_object_data(obj);

	/* Tables of one device may change it; those of a named one must agree. */
	if (n->val[RAM_NAME].set && cmpxchg(&ram->max, 0, max) &&
	    READ_ONCE(ram->max) != max) {
		vdisk_fail(n, -EBUSY, "max: '%s' was made with %lu pages, not %lu",
			   n->val[RAM_NAME].str, ram->max, max);
		vdisk_object_put(obj);
		return -EBUSY;
	}
	n->object = obj;
	n->priv = ram;
	return 0;
}

static void vdisk_ram_dtr(struct vdisk_node *n)
{
	vdisk_object_put(n->object);
}

static void vdisk_ram_resume(struct vdisk_node *n)
{
	unsigned long max = ULONG_MAX;

	if (n->val[RAM_MAX].set)
		max = n->val[RAM_MAX].num >> PAGE_SECTORS_SHIFT;
	WRITE_ONCE(vdisk_ram(n)->max, max);
}

static sector_t vdisk_ram_length(const struct vdisk_node *n)
{
	return VDISK_UNBOUNDED;
}

static void vdisk_ram_limits(struct vdisk_node *n, struct queue_limits *lim)
{
	vdisk_limits_memory(lim);
	vdisk_limits_discard(lim, UINT_MAX >> SECTOR_SHIFT, PAGE_SIZE);
	lim->max_write_zeroes_sectors = UINT_MAX >> SECTOR_SHIFT;
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
	struct page *page;
	int r;

	if (atomic_long_inc_return(&ram->nr) > READ_ONCE(ram->max)) {
		atomic_long_dec(&ram->nr);
		return BLK_STS_NOSPC;
	}
	page = alloc_page(gfp | __GFP_ZERO | __GFP_HIGHMEM);
	r = page ? xa_insert(&ram->pages, index, page, gfp) : -ENOMEM;
	if (!r)
		return BLK_STS_OK;

	if (r != -EBUSY)
		status = nowait ? BLK_STS_AGAIN : BLK_STS_RESOURCE;
	if (page)
		__free_page(page);
	atomic_long_dec(&ram->nr);
	return status;
}

/* Copies what lies in one page; false if a write finds no page there. */
static bool vdisk_ram_copy(struct vdisk_ram *ram, sector_t sector,
			   struct bio_vec *bv, bool write)
{
	unsigned int offset = (sector & (PAGE_SECTORS - 1)) << SECTOR_SHIFT;
	struct page *page;
	void *mem;

	rcu_read_lock();
	page = xa_load(&ram->pages, sector >> PAGE_SECTORS_SHIFT);
	if (page) {
		mem = kmap_local_page(page);
		if (write)
			memcpy_from_bvec(mem + offset, bv);
		else
			memcpy_to_bvec(bv, mem + offset);
		kunmap_local(mem);
	} else if (!write) {
		memzero_bvec(bv);
	}
	rcu_read_unlock();
	return page || !write;
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

static void vdisk_ram_free_page(struct rcu_head *head)
{
	__free_page(container_of(head, struct page, rcu_head));
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
			page = xa_erase(&ram->pages, index);
			if (!page)
				continue;
			atomic_long_dec(&ram->nr);
			call_rcu(&page->rcu_head, vdisk_ram_free_page);
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
			rcu_read_lock();
			page = xa_load(&ram->pages, index);
			if (page)
				memzero_page(page, offset << SECTOR_SHIFT,
					     len << SECTOR_SHIFT);
			rcu_read_unlock();
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
		   atomic_long_read(&vdisk_ram(n)->nr) << PAGE_SECTORS_SHIFT);
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
	.resume = vdisk_ram_resume,
	.length = vdisk_ram_length,
	.limits = vdisk_ram_limits,
	.map = vdisk_ram_map,
	.status = vdisk_ram_status,
	.message = vdisk_ram_message,
};
