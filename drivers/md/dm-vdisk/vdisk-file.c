// SPDX-License-Identifier: GPL-2.0-only
/*
 * file: a file, or a part of it, read and written through its file system.
 * Nothing is known here of where it lies: every request asks the file system.
 * vhd1: the same, for the disk in a fixed VHD image.
 *
 * Data goes by asynchronous kiocbs, past the page cache unless `buffered`. A read
 * is tried at once in the submitter's context with IOCB_NOWAIT, and so is a write
 * if no other one is in flight; what would have to wait is done by a worker. A
 * submitter's context is a delicate place:
 *
 * - current->bio_list holds back what is submitted. Somewhere below, a file
 *   system waits for a bio that it submits (ext4 for its extent tree, in spite
 *   of IOCB_NOWAIT): the list is put aside meanwhile. What is on it belongs to
 *   levels above us, and nothing below waits for that.
 * - within a transaction of the file system above (current->journal_info), and
 *   for its metadata (REQ_META), which it may read or write under locks of a
 *   class that the file system below takes too: left to a worker.
 * - file systems on files on file systems: only while there is enough stack.
 * - frozen: nobody waits for that here, not even workers, see vdisk_file_park().
 * - the submitter's limits are not ours (RLIMIT_FSIZE), nor its cgroup if the bio
 *   is another one's, nor its place in reclaim.
 *
 * What does not fit the alignment of direct I/O, because blocks are smaller or
 * the memory lies badly, goes by a bounce page, see vdisk_file_bounce().
 */
#include <linux/blk-cgroup.h>
#include <linux/cred.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/magic.h>
#include <linux/mempool.h>
#include <linux/memcontrol.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/uio.h>

#include "vdisk.h"

#define DM_MSG_PREFIX "vdisk"

/* How often a frozen file system is looked at. */
#define VDISK_THAW_PERIOD	(HZ / 10)

/*
 * The least stack to go on with: half of it. A file system, the block layer and
 * a driver take some 4 KiB.
 */
#define VDISK_STACK_MIN		(THREAD_SIZE / 2)

/**
 * struct vdisk_file - the node
 * @n: back
 * @file: open
 * @user: of the hold that keeps others out
 * @nr: sectors from @n->start on
 * @align: of offset and length, for direct I/O; 1 if buffered
 * @read_align: the same for reads, which may be less: XFS where files share blocks
 * @mem_align: of memory
 * @block: the disk's block size
 * @direct: past the page cache
 * @nowait: the file system knows IOCB_NOWAIT
 * @dsync: and IOCB_DSYNC, see vdisk_file_dsyncs()
 * @write: opened for writing
 * @shared: as the line says
 * @punch: the file system makes holes
 * @vhd: vhd1: what the footer says
 * @last_error: of the last operation that failed, for the status
 * @inlined: bios tried in their submitter's context
 * @bounce: the page to bounce by
 * @ranges: of the file, if parts of its blocks may be written; or NULL
 * @flush_work: one fdatasync for all of @flushes
 * @thaw_work: tries @parked again
 * @lock: guards what follows; any context
 * @flushes: vdisk_file_io.list
 * @parked: vdisk_file_io.list; the file system was frozen
 * @requeue: a noflush suspend: who would be parked goes back to dm core
 * @writes: in flight or parked; in a cache line of its own
 */
struct vdisk_file {
	struct vdisk_node *n;
	struct file *file;
	struct vdisk_hold_user user;
	sector_t nr;
	unsigned int align;
	unsigned int read_align;
	unsigned int mem_align;
	unsigned int block;
	bool direct;
	bool nowait;
	bool dsync;
	bool write;
	bool shared;
	bool punch;
	struct vdisk_vhd vhd;
	int last_error;
	u64 __percpu *inlined;

	mempool_t bounce;
	struct vdisk_ranges *ranges;
	struct work_struct flush_work;
	struct delayed_work thaw_work;
	spinlock_t lock;	/* guards what follows */
	struct list_head flushes;
	struct list_head parked;
	bool requeue;

	atomic_t writes ____cacheline_aligned_in_smp;
};

/**
 * struct vdisk_file_io - per bio
 * @iocb: of the attempt under way
 * @refs: of the attempt: who submits, and the completion, which may be first
 * @ret: what the attempt came to
 * @done: bytes done by earlier ones
 * @nowait: it must not wait
 * @taken: @range is
 * @range: what it writes, if the node has ranges
 * @list: in vdisk_file.flushes or .parked
 * @io: the io
 */
struct vdisk_file_io {
	struct kiocb iocb;
	atomic_t refs;
	long ret;
	unsigned int done;
	bool nowait;
	bool taken;
	struct vdisk_range range;
	struct list_head list;
	struct vdisk_io *io;
};

static void vdisk_file_work(struct vdisk_io *io);

static bool vdisk_file_is_data(const struct bio *bio)
{
	return bio_op(bio) == REQ_OP_READ || bio_op(bio) == REQ_OP_WRITE;
}

static loff_t vdisk_file_pos(const struct vdisk_file *f, const struct bio *bio)
{
	return (loff_t)(f->n->start + bio->bi_iter.bi_sector) << SECTOR_SHIFT;
}

/* What the guest and dm core hear. All else is an I/O error. */
static blk_status_t vdisk_file_status_of(long ret)
{
	switch (ret) {
	case -EDQUOT:
	case -EFBIG:
		return BLK_STS_NOSPC;
	case -ESTALE:
	case -EREMCHG:	/* would be taken for "requeue" */
		return BLK_STS_TRANSPORT;
	case -EAGAIN:	/* would be taken for "ask again without NOWAIT" */
		return BLK_STS_IOERR;
	default:
		return errno_to_blk_status(ret);
	}
}

/* What had to wait for another one's range asks again. */
static void vdisk_file_go(struct vdisk_range *range)
{
	struct vdisk_file_io *st = container_of(range, struct vdisk_file_io,
						range);

	st->taken = false;
	vdisk_defer_to(st->io, st->io->stack->files, vdisk_file_work);
}

/*
 * Others are kept from what the bio writes, from here until it ends or is parked.
 * False if it has to wait: then it is no longer the caller's.
 */
static bool vdisk_file_take(struct vdisk_file *f, struct vdisk_file_io *st)
{
	loff_t pos = vdisk_file_pos(f, st->io->bio);
	loff_t end = pos + st->io->bio->bi_iter.bi_size;

	if (!f->ranges || st->taken)
		return true;
	st->range.first = round_down(pos, f->align);
	st->range.last = round_up(end, f->align) - 1;
	st->range.part = (pos | end) & (f->align - 1);
	st->range.go = vdisk_file_go;
	/* Before, since it may be gone if it has to wait: see vdisk_file_go() */
	st->taken = true;
	return vdisk_range_take(f->ranges, &st->range);
}

static void vdisk_file_give(struct vdisk_file *f, struct vdisk_file_io *st)
{
	if (!st->taken)
		return;
	st->taken = false;
	vdisk_range_give(f->ranges, &st->range);
}

static void vdisk_file_end_as(struct vdisk_file *f, struct vdisk_io *io,
			      blk_status_t status)
{
	vdisk_file_give(f, vdisk_state(f->n, io));
	if (vdisk_kind(io->bio) == VDISK_WRITE)
		atomic_dec(&f->writes);
	vdisk_end(io, f->n, status);
}

static void vdisk_file_end(struct vdisk_file *f, struct vdisk_io *io, long ret)
{
	static const char *const what[] = {
		[VDISK_READ] = "read", [VDISK_WRITE] = "write",
		[VDISK_FLUSH] = "flush", [VDISK_DISCARD] = "discard",
	};

	if (unlikely(ret && ret != -EOPNOTSUPP)) {
		WRITE_ONCE(f->last_error, ret);
		DMERR_LIMIT("%s: %s: %s at sector %llu: %pe",
			    dm_table_device_name(f->n->stack->ti->table),
			    f->n->type->name, what[vdisk_kind(io->bio)],
			    io->bio->bi_iter.bi_sector, ERR_PTR(ret));
	}
	vdisk_file_end_as(f, io, ret ? vdisk_file_status_of(ret) : BLK_STS_OK);
}

/* On a worker: FUA, where IOCB_DSYNC does not do. */
static void vdisk_file_sync(struct vdisk_io *io)
{
	struct vdisk_file *f = io->at->priv;
	loff_t pos = vdisk_file_pos(f, io->bio);
	loff_t last = pos + io->bio->bi_iter.bi_size - 1;
	unsigned int noio = memalloc_noio_save();

	vdisk_file_end(f, io, vfs_fsync_range(f->file, pos, last, 1));
	memalloc_noio_restore(noio);
}

/*
 * The file system is frozen. Nobody sleeps until that ends: it may take for
 * ever, and a noflush suspend wants its bios back.
 */
static void vdisk_file_park(struct vdisk_file *f, struct vdisk_file_io *st)
{
	struct vdisk_io *io = st->io;
	unsigned long flags;
	bool requeue;

	vdisk_may_wait(io);
	vdisk_file_give(f, st);
	spin_lock_irqsave(&f->lock, flags);
	/* If a noflush suspend was interrupted, dm core would make it an error. */
	requeue = f->requeue && (dm_noflush_suspending(f->n->stack->ti) ||
				 dm_suspended(f->n->stack->ti));
	if (!requeue) {
		list_add_tail(&st->list, &f->parked);
		/* Under the lock: it may end as soon as that is let go, and @f with it. */
		queue_delayed_work(f->n->stack->files, &f->thaw_work,
				   VDISK_THAW_PERIOD);
	}
	spin_unlock_irqrestore(&f->lock, flags);
	if (requeue)
		vdisk_file_end_as(f, io, BLK_STS_DM_REQUEUE);
}

/* All that are parked try again, and may be parked again. */
static void vdisk_file_thaw(struct work_struct *work)
{
	struct vdisk_file *f = container_of(to_delayed_work(work),
					    struct vdisk_file, thaw_work);
	struct vdisk_file_io *st, *next;
	LIST_HEAD(parked);

	spin_lock_irq(&f->lock);
	list_splice_init(&f->parked, &parked);
	spin_unlock_irq(&f->lock);
	list_for_each_entry_safe(st, next, &parked, list)
		vdisk_defer_to(st->io, f->n->stack->files, vdisk_file_work);
}

static void vdisk_file_abort(struct vdisk_node *n,
			     bool (*which)(struct vdisk_io *io),
			     blk_status_t status)
{
	struct vdisk_file *f = n->priv;
	struct vdisk_file_io *st, *next;
	LIST_HEAD(aborted);

	spin_lock_irq(&f->lock);
	list_for_each_entry_safe(st, next, &f->parked, list)
		if (which(st->io))
			list_move_tail(&st->list, &aborted);
	spin_unlock_irq(&f->lock);
	list_for_each_entry_safe(st, next, &aborted, list)
		vdisk_file_end_as(f, st->io, status);
}

/* From here until vdisk_file_done() the file system is not frozen. */
static bool vdisk_file_start_write(struct vdisk_file *f)
{
	if (!file_start_write_trylock(f->file))
		return false;
	/* Another task may end it. */
	__sb_writers_release(file_inode(f->file)->i_sb, SB_FREEZE_WRITE);
	return true;
}

static void vdisk_file_done(struct vdisk_file *f, struct vdisk_file_io *st)
{
	struct vdisk_io *io = st->io;
	unsigned int size = io->bio->bi_iter.bi_size;
	bool write = bio_op(io->bio) == REQ_OP_WRITE;
	long ret = st->ret;

	if (write)
		kiocb_end_write(&st->iocb);
	if (ret > 0)
		st->done += ret;
	if (st->done == size) {
		if (write && !f->dsync && (io->bio->bi_opf & REQ_FUA))
			vdisk_defer_to(io, f->n->stack->files, vdisk_file_sync);
		else
			vdisk_file_end(f, io, 0);
		return;
	}
	/*
	 * Short: the rest of it. No error of an inline attempt is final: it may come
	 * from having had to wait, or from the submitter, who is being killed
	 * (mm/filemap.c:filemap_get_pages()) or out of memory. EOPNOTSUPP is of a
	 * disk below that does not know REQ_NOWAIT (submit_bio_noacct()).
	 */
	if (st->nowait && ret == -EOPNOTSUPP)
		WRITE_ONCE(f->nowait, false);
	if (ret > 0 || st->nowait) {
		vdisk_defer_to(io, f->n->stack->files, vdisk_file_work);
		return;
	}
	/* Nothing more to read: the file has become shorter. */
	vdisk_file_end(f, io, ret ?: -EIO);
}

static void vdisk_file_put(struct vdisk_file_io *st)
{
	if (atomic_dec_and_test(&st->refs))
		vdisk_file_done(st->io->at->priv, st);
}

/* Any context, before or after the attempt's function has returned. */
static void vdisk_file_complete(struct kiocb *iocb, long ret)
{
	struct vdisk_file_io *st = container_of(iocb, struct vdisk_file_io, iocb);

	st->ret = ret;
	vdisk_file_put(st);
}

/*
 * The data that is still to be moved, as the file system wants to have it; false
 * if it does not fit what direct I/O demands.
 */
static bool vdisk_file_iter(struct vdisk_file *f, struct vdisk_file_io *st,
			    struct iov_iter *to)
{
	struct bio *bio = st->io->bio;
	struct bvec_iter iter = bio->bi_iter, at;
	unsigned int align = bio_op(bio) == REQ_OP_WRITE ? f->align :
							   f->read_align;
	unsigned int offsets = 0, lengths = 0, nr = 0;
	struct bio_vec bv;

	if (st->done)
		bio_advance_iter(bio, &iter, st->done);
	__bio_for_each_bvec(bv, bio, at, iter) {
		offsets |= bv.bv_offset;
		lengths |= bv.bv_len;
		nr++;
	}
	iov_iter_bvec(to, bio_data_dir(bio),
		      __bvec_iter_bvec(bio->bi_io_vec, iter), nr, iter.bi_size);
	to->iov_offset = vdisk_iter_done(iter);
	st->iocb = (struct kiocb) {
		.ki_filp = f->file,
		.ki_pos = vdisk_file_pos(f, bio) + st->done,
		.ki_complete = vdisk_file_complete,
		.ki_ioprio = bio->bi_ioprio,
	};
	if (bio_op(bio) == REQ_OP_WRITE)
		st->iocb.ki_flags |= IOCB_WRITE;
	if (f->dsync && (bio->bi_opf & REQ_FUA))
		st->iocb.ki_flags |= IOCB_DSYNC;
	if (f->direct)
		st->iocb.ki_flags |= IOCB_DIRECT;
	/* A block must not lie in two pieces of memory. */
	return !((st->iocb.ki_pos | lengths) & (align - 1)) &&
	       !(offsets & (f->mem_align - 1));
}

static void vdisk_file_attempt(struct vdisk_file *f, struct vdisk_file_io *st,
			       struct iov_iter *iter)
{
	ssize_t ret;

	atomic_set(&st->refs, 2);
	if (st->iocb.ki_flags & IOCB_WRITE) {
		/* Reserved space and quota: what the opener may, we may. */
		const struct cred *old = override_creds(f->file->f_cred);

		ret = f->file->f_op->write_iter(&st->iocb, iter);
		revert_creds(old);
	} else {
		ret = f->file->f_op->read_iter(&st->iocb, iter);
	}
	if (ret != -EIOCBQUEUED)
		vdisk_file_complete(&st->iocb, ret);
}

/* Is the bio the submitter's, as far as cgroups are concerned? */
static bool vdisk_file_own_cgroup(struct bio *bio)
{
#ifdef CONFIG_BLK_CGROUP
	struct cgroup_subsys_state *css = bio_blkcg_css(bio);
	bool own;

	if (!css || ((current->flags & PF_KTHREAD) && css == blkcg_root_css))
		return true;
	if (current->flags & PF_KTHREAD)
		return false;
	rcu_read_lock();
	own = task_css(current, io_cgrp_id) == css;
	rcu_read_unlock();
	return own;
#else
	return true;
#endif
}

static bool vdisk_file_may_inline(struct vdisk_file *f, struct bio *bio)
{
	unsigned long here = (unsigned long)&here;

	if (!READ_ONCE(f->nowait) || (bio->bi_opf & REQ_META) || current->journal_info ||
	    (current->flags & PF_MEMALLOC))
		return false;
	if (here - (unsigned long)end_of_stack(current) < VDISK_STACK_MIN)
		return false;
	/* A worker for reclaim must not get into one of the file system's that is not. */
	if (bio_op(bio) == REQ_OP_WRITE &&
	    (!f->direct || rlimit(RLIMIT_FSIZE) != RLIM_INFINITY ||
	     (current->flags & PF_WQ_WORKER)))
		return false;
	return vdisk_file_own_cgroup(bio);
}

/* Try it where we are; false if it has to be a worker's. */
static bool vdisk_file_inline(struct vdisk_file *f, struct vdisk_file_io *st)
{
	struct bio_list *bio_list = current->bio_list;
	struct bio *bio = st->io->bio;
	struct iov_iter iter;
	unsigned int noio;

	if (!vdisk_file_may_inline(f, bio) || !vdisk_file_iter(f, st, &iter))
		return false;
	if (bio_op(bio) == REQ_OP_WRITE) {
		if (!vdisk_file_take(f, st))
			return true;
		if (!vdisk_file_start_write(f))
			return false;
	}

	st->nowait = true;
	/*
	 * Of the page cache, what is there: read-ahead would sleep on the mapping's
	 * invalidate_lock, and who submits may be one that holds such a lock.
	 */
	st->iocb.ki_flags |= IOCB_NOWAIT;
	if (bio_op(bio) == REQ_OP_READ)
		st->iocb.ki_flags |= IOCB_NOIO;
	bio_clear_polled(bio);
	this_cpu_inc(*f->inlined);
	noio = memalloc_noio_save();
	current->bio_list = NULL;
	vdisk_file_attempt(f, st, &iter);
	current->bio_list = bio_list;
	memalloc_noio_restore(noio);
	/* What it came to may have to be seen to outside of that. */
	vdisk_file_put(st);
	return true;
}

/*
 * Move some bytes of one page, synchronously, from its beginning: memory may have
 * to be aligned to more than the file. Behind the last whole block of the file,
 * direct I/O would make it longer: there the page cache has to do.
 */
static int vdisk_file_page(struct vdisk_file *f, struct page *page, bool write,
			   loff_t pos, unsigned int len, int flags)
{
	struct bio_vec bv = { .bv_page = page, .bv_len = len };
	struct kiocb iocb = {
		.ki_filp = f->file, .ki_pos = pos, .ki_flags = flags,
	};
	struct iov_iter iter;
	ssize_t ret;

	iov_iter_bvec(&iter, write ? WRITE : READ, &bv, 1, bv.bv_len);
	if (write) {
		const struct cred *old = override_creds(f->file->f_cred);

		iocb.ki_flags |= IOCB_WRITE;
		ret = f->file->f_op->write_iter(&iocb, &iter);
		revert_creds(old);
	} else {
		ret = f->file->f_op->read_iter(&iocb, &iter);
	}
	return ret < 0 ? ret : ret == len ? 0 : -EIO;
}

/* The part of a bio that lies in the page of the file at @pos. */
static int vdisk_file_bounce_page(struct vdisk_file *f, struct bio *bio,
				  struct bvec_iter *iter, struct page *page,
				  loff_t pos, unsigned int from, unsigned int to)
{
	bool write = bio_op(bio) == REQ_OP_WRITE;
	unsigned int a = round_down(from, f->align), b = round_up(to, f->align);
	int dsync = f->dsync && (bio->bi_opf & REQ_FUA) ? IOCB_DSYNC : 0;
	int flags = IOCB_DIRECT, r = 0;

	if (pos + b > i_size_read(file_inode(f->file))) {
		flags = 0;
		a = from;
		b = to;
	}
	if (!write || a != from || b != to)
		r = vdisk_file_page(f, page, false, pos + a, b - a, flags);
	while (!r && from < to) {
		struct bio_vec bv = bio_iter_iovec(bio, *iter);

		bv.bv_len = min(bv.bv_len, to - from);
		if (write)
			memcpy_from_bvec(page_address(page) + from - a, &bv);
		else
			memcpy_to_bvec(&bv, page_address(page) + from - a);
		from += bv.bv_len;
		bio_advance_iter_single(bio, iter, bv.bv_len);
	}
	if (!r && write)
		r = vdisk_file_page(f, page, true, pos + a, b - a,
				    flags | dsync);
	return r;
}

/*
 * By the bounce page, and where a write covers only a part of a block, by
 * reading the block first: others are kept out of it, see vdisk_file_take().
 * Returns what is left of the bio, or an error.
 */
static ssize_t vdisk_file_bounce(struct vdisk_file *f, struct vdisk_file_io *st)
{
	struct bio *bio = st->io->bio;
	struct bvec_iter iter = bio->bi_iter;
	loff_t at = vdisk_file_pos(f, bio) + st->done;
	loff_t end = vdisk_file_pos(f, bio) + bio->bi_iter.bi_size;
	struct page *page = mempool_alloc(&f->bounce, GFP_NOIO);
	int r = 0;

	if (st->done)
		bio_advance_iter(bio, &iter, st->done);
	while (!r && at < end) {
		loff_t pos = round_down(at, PAGE_SIZE);
		loff_t next = min_t(loff_t, end, pos + PAGE_SIZE);

		r = vdisk_file_bounce_page(f, bio, &iter, page, pos, at - pos,
					   next - pos);
		at = next;
	}
	mempool_free(page, &f->bounce);
	return r < 0 ? r : (ssize_t)(bio->bi_iter.bi_size - st->done);
}

static void vdisk_file_rw(struct vdisk_file *f, struct vdisk_file_io *st)
{
	struct bio *bio = st->io->bio;
	bool write = bio_op(bio) == REQ_OP_WRITE;
	struct iov_iter iter;
	bool fits;

	if (write && !vdisk_file_take(f, st))
		return;
	fits = vdisk_file_iter(f, st, &iter);
	if (write && !vdisk_file_start_write(f)) {
		vdisk_file_park(f, st);
		return;
	}
	st->nowait = false;
	if (fits) {
		vdisk_file_attempt(f, st, &iter);
		vdisk_file_put(st);
		return;
	}
	st->ret = vdisk_file_bounce(f, st);
	vdisk_file_done(f, st);
}

/* As vfs_fallocate(), which would wait for a thaw: the caller sees to that. */
static int vdisk_file_fallocate(struct vdisk_file *f, int mode, loff_t pos,
				loff_t len)
{
	struct inode *inode = file_inode(f->file);

	if (IS_APPEND(inode) || IS_IMMUTABLE(inode))
		return -EPERM;
	if (IS_SWAPFILE(inode))
		return -ETXTBSY;
	return f->file->f_op->fallocate(f->file, mode | FALLOC_FL_KEEP_SIZE, pos,
					len);
}

/*
 * Discards make a hole. So does write zeroes, unless the space is to stay: then
 * not every file system can, and the block layer writes the zeroes.
 */
static void vdisk_file_range(struct vdisk_file *f, struct vdisk_file_io *st)
{
	struct bio *bio = st->io->bio;
	loff_t pos = vdisk_file_pos(f, bio), len = bio->bi_iter.bi_size;
	int mode = FALLOC_FL_PUNCH_HOLE;
	const struct cred *old;
	int r;

	if (bio_op(bio) == REQ_OP_WRITE_ZEROES && (bio->bi_opf & REQ_NOUNMAP))
		mode = FALLOC_FL_ZERO_RANGE;
	if (!vdisk_file_take(f, st))
		return;
	if (!file_start_write_trylock(f->file)) {
		vdisk_file_park(f, st);
		return;
	}
	old = override_creds(f->file->f_cred);
	r = vdisk_file_fallocate(f, mode, pos, len);
	if (!r && (bio->bi_opf & REQ_FUA))
		r = vfs_fsync_range(f->file, pos, pos + len - 1, 1);
	revert_creds(old);
	file_end_write(f->file);
	vdisk_file_end(f, st->io, r);
}

/*
 * The submitter pays for what is done in its name, but not with memory for swap:
 * a group that has to make room would first need room.
 */
static struct mem_cgroup *vdisk_file_charge(struct bio *bio,
					    struct cgroup_subsys_state **memcg)
{
#if IS_ENABLED(CONFIG_BLK_CGROUP) && IS_ENABLED(CONFIG_MEMCG)
	struct cgroup_subsys_state *css = bio_blkcg_css(bio);

	*memcg = NULL;
	if (!css || css == blkcg_root_css)
		return NULL;
	kthread_associate_blkcg(css);
	*memcg = cgroup_get_e_css(css->cgroup, &memory_cgrp_subsys);
	return set_active_memcg(bio->bi_opf & REQ_SWAP ? NULL :
				mem_cgroup_from_css(*memcg));
#else
	*memcg = NULL;
	return NULL;
#endif
}

static void vdisk_file_uncharge(struct mem_cgroup *old,
				struct cgroup_subsys_state *memcg)
{
#if IS_ENABLED(CONFIG_BLK_CGROUP) && IS_ENABLED(CONFIG_MEMCG)
	if (!memcg)
		return;
	kthread_associate_blkcg(NULL);
	set_active_memcg(old);
	css_put(memcg);
#endif
}

/* On a worker: may wait for anything but reclaim, which may wait for us. */
static void vdisk_file_work(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_file_io *st = vdisk_state(n, io);
	struct vdisk_file *f = n->priv;
	unsigned long flags = current->flags;
	struct cgroup_subsys_state *memcg;
	struct mem_cgroup *old;

	/*
	 * Not throttled by the dirty pages of who waits for us. No PF_MEMALLOC for
	 * swap: file systems take it for reclaim's own writeback and refuse to write
	 * (fs/iomap/buffered-io.c:iomap_writepages()).
	 */
	current->flags |= PF_LOCAL_THROTTLE | PF_MEMALLOC_NOIO;
	old = vdisk_file_charge(io->bio, &memcg);
	if (vdisk_file_is_data(io->bio))
		vdisk_file_rw(f, st);
	else
		vdisk_file_range(f, st);
	vdisk_file_uncharge(old, memcg);
	current_restore_flags(flags, PF_LOCAL_THROTTLE | PF_MEMALLOC_NOIO);
}

/*
 * One fdatasync for all flushes that are there when it begins; those that come
 * meanwhile have the next one, since what they are about may be later.
 */
static void vdisk_file_flush(struct work_struct *work)
{
	struct vdisk_file *f = container_of(work, struct vdisk_file, flush_work);
	unsigned int noio = memalloc_noio_save();
	struct vdisk_file_io *st, *next;
	LIST_HEAD(flushes);
	int r, lost;

	spin_lock_irq(&f->lock);
	list_splice_init(&f->flushes, &flushes);
	spin_unlock_irq(&f->lock);
	if (!list_empty(&flushes)) {
		loff_t start = (loff_t)f->n->start << SECTOR_SHIFT;
		loff_t len = (loff_t)f->n->len << SECTOR_SHIFT;

		r = vfs_fsync_range(f->file, start, start + len - 1, 1);
		/*
		 * Once, whether or not it is the same: a write with FUA may have
		 * heard of it first, but it was not only its own.
		 */
		lost = vdisk_hold_told(f->user.hold);
		list_for_each_entry_safe(st, next, &flushes, list)
			vdisk_file_end(f, st->io, r ?: lost);
	}
	memalloc_noio_restore(noio);
}

static enum vdisk_map vdisk_file_map(struct vdisk_node *n, struct vdisk_io *io)
{
	struct vdisk_file_io *st = vdisk_state(n, io);
	unsigned int kind = vdisk_kind(io->bio);
	struct vdisk_file *f = n->priv;
	struct bio *bio = io->bio;
	unsigned long flags;

	if (kind != VDISK_READ && kind != VDISK_FLUSH && !f->write) {
		bio->bi_status = BLK_STS_IOERR;
		return VDISK_ENDED;
	}
	if (kind == VDISK_DISCARD &&
	    (!f->punch || bio_op(bio) == REQ_OP_SECURE_ERASE)) {
		bio->bi_status = BLK_STS_NOTSUPP;
		return VDISK_ENDED;
	}
	vdisk_count_bio(n, bio);
	st->io = io;
	st->done = 0;
	st->taken = false;

	switch (kind) {
	case VDISK_FLUSH:
		vdisk_may_wait(io);
		spin_lock_irqsave(&f->lock, flags);
		list_add_tail(&st->list, &f->flushes);
		/* Under the lock, as in vdisk_file_park() */
		queue_work(n->stack->files, &f->flush_work);
		spin_unlock_irqrestore(&f->lock, flags);
		return VDISK_TAKEN;
	case VDISK_READ:
		if (vdisk_file_inline(f, st))
			return VDISK_TAKEN;
		break;
	case VDISK_WRITE:
		if (atomic_inc_return(&f->writes) == 1 && vdisk_file_inline(f, st))
			return VDISK_TAKEN;
		break;
	}
	vdisk_defer_to(io, n->stack->files, vdisk_file_work);
	return VDISK_TAKEN;
}

/* What direct I/O demands. Where the file system does not tell, its device. */
static int vdisk_file_alignment(struct vdisk_node *n, struct vdisk_file *f)
{
	struct super_block *sb = file_inode(f->file)->i_sb;
	struct kstat stat;
	int r;

	f->align = 1;
	f->read_align = 1;
	f->mem_align = 1;
	if (!f->direct)
		return 0;
	r = vfs_getattr(&f->file->f_path, &stat, VDISK_STATX_ALIGN,
			AT_STATX_SYNC_AS_STAT);
	if (r)
		return vdisk_fail(n, r, "path: does not tell its alignment (%pe)",
				  ERR_PTR(r));
	if (stat.result_mask & STATX_DIOALIGN) {
		f->read_align = vdisk_stat_read_align(&stat);
		f->align = f->write ? stat.dio_offset_align : f->read_align;
		f->mem_align = stat.dio_mem_align;
	} else {
		f->align = sb->s_bdev ? bdev_logical_block_size(sb->s_bdev) : 4096;
		f->read_align = f->align;
		f->mem_align = f->align;
	}
	if (!(f->file->f_mode & FMODE_CAN_ODIRECT) || !f->align || !f->mem_align)
		return vdisk_fail(n, -EINVAL,
				  "path: the file system has no direct I/O; say buffered");
	if (max(f->align, f->mem_align) > PAGE_SIZE)
		return vdisk_fail(n, -EINVAL,
				  "path: direct I/O takes no less than %u bytes; say buffered",
				  max(f->align, f->mem_align));
	return 0;
}

/* TABLE says where the path has led. */
static int vdisk_file_set_path(struct vdisk_node *n, struct file *file)
{
	char *buf = kmalloc(PATH_MAX, GFP_KERNEL);
	char *path = buf ? file_path(file, buf, PATH_MAX) : ERR_PTR(-ENOMEM);

	if (!IS_ERR(path))
		path = kstrdup(path, GFP_KERNEL) ?: ERR_PTR(-ENOMEM);
	kfree(buf);
	if (path == ERR_PTR(-ENOMEM))
		return vdisk_fail(n, -ENOMEM, "out of memory");
	if (IS_ERR(path))
		return vdisk_fail(n, PTR_ERR(path), "path: has no name (%pe)", path);
	kfree(n->val[FILE_PATH].str);
	n->val[FILE_PATH].str = path;
	return 0;
}

/*
 * Nobody tells whether holes can be made. Where no file has data, one changes
 * nothing but the times of the file (ctime, mtime).
 */
static bool vdisk_file_can_punch(struct vdisk_file *f)
{
	struct inode *inode = file_inode(f->file);
	loff_t block = i_blocksize(inode);
	loff_t pos = round_down(inode->i_sb->s_maxbytes - 2 * block, block);
	int r = 0;

	if (!f->write || !f->file->f_op->fallocate)
		return false;
	if (pos >= i_size_read(inode) && file_start_write_trylock(f->file)) {
		r = vdisk_file_fallocate(f, FALLOC_FL_PUNCH_HOLE, pos, block);
		file_end_write(f->file);
	}
	return r != -EOPNOTSUPP;
}

/*
 * Is what was written with IOCB_DSYNC durable when it has ended? Those with no
 * disk of their own may sync only what ends at once, not what is still queued, or
 * leave it to a server, as FUSE does on a disk too.
 */
static bool vdisk_file_dsyncs(struct vdisk_file *f)
{
	struct super_block *sb = file_inode(f->file)->i_sb;

	return sb->s_bdev && sb->s_magic != FUSE_SUPER_MAGIC;
}

/*
 * May something below look at the data twice, to sum it up or to mirror it? A
 * file system that lies on no single device is not asked.
 */
static bool vdisk_file_is_stable(struct vdisk_file *f)
{
	struct inode *inode = file_inode(f->file);

	return f->write && f->direct &&
	       (!inode->i_sb->s_bdev || mapping_stable_writes(inode->i_mapping) ||
		(inode->i_sb->s_iflags & SB_I_STABLE_WRITES) ||
		bdev_stable_writes(inode->i_sb->s_bdev));
}

static int vdisk_file_open_path(struct vdisk_node *n, struct vdisk_file *f)
{
	/* O_NONBLOCK: it might be a FIFO. */
	int flags = O_LARGEFILE | O_NOATIME | O_NONBLOCK;
	int r;

	flags |= f->write ? O_RDWR : O_RDONLY;
	f->file = filp_open(n->val[FILE_PATH].str, flags, 0);
	if (IS_ERR(f->file))
		return vdisk_fail(n, PTR_ERR(f->file),
				  "path: cannot be opened (%pe)", f->file);
	if (!S_ISREG(file_inode(f->file)->i_mode) || !f->file->f_op->read_iter ||
	    (f->write && !f->file->f_op->write_iter))
		r = vdisk_fail(n, -EINVAL, "path: no regular file");
	else if (IS_SWAPFILE(file_inode(f->file)))
		r = vdisk_fail(n, -ETXTBSY, "path: a swap file that is in use");
	else
		return 0;
	fput(f->file);
	return r;
}

static void vdisk_file_free(struct vdisk_file *f)
{
	mempool_exit(&f->bounce);
	free_percpu(f->inlined);
	kfree(f);
}

static struct vdisk_file *vdisk_file_alloc(struct vdisk_node *n)
{
	struct vdisk_file *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return NULL;
	f->n = n;
	spin_lock_init(&f->lock);
	INIT_LIST_HEAD(&f->flushes);
	INIT_LIST_HEAD(&f->parked);
	INIT_WORK(&f->flush_work, vdisk_file_flush);
	INIT_DELAYED_WORK(&f->thaw_work, vdisk_file_thaw);
	f->inlined = alloc_percpu(u64);
	if (f->inlined && !mempool_init_page_pool(&f->bounce, 1, 0))
		return f;
	free_percpu(f->inlined);
	kfree(f);
	return NULL;
}

/* Open and take the file; on failure nothing is left. */
static int vdisk_file_open(struct vdisk_node *n, struct vdisk_file *f)
{
	int r;

	f->write = vdisk_is_written(n);
	if (f->write && n->val[FILE_RO].set)
		return vdisk_fail(n, -EROFS, "ro: but it would be written to");
	r = vdisk_file_open_path(n, f);
	if (r)
		return r;
	f->nowait = f->file->f_mode & FMODE_NOWAIT;
	f->dsync = vdisk_file_dsyncs(f);
	f->user.write = f->write;
	f->user.shared = f->shared;
	r = vdisk_file_alignment(n, f) ?: vdisk_file_set_path(n, f->file) ?:
	    vdisk_hold_get(n, f->file, &f->user);
	if (r) {
		fput(f->file);
		return r;
	}
	f->punch = vdisk_file_can_punch(f);
	n->priv = f;
	n->inode = file_inode(f->file);
	n->caches = f->write;
	n->stable = vdisk_file_is_stable(f);
	return 0;
}

static void vdisk_file_dtr(struct vdisk_node *n)
{
	struct vdisk_file *f = n->priv;

	if (f->ranges)
		vdisk_ranges_put(f->ranges);
	vdisk_hold_put(&f->user);
	fput(f->file);
	vdisk_file_free(f);
}

/* start: and len: against the file as it is */
static int vdisk_file_place(struct vdisk_node *n, struct vdisk_file *f)
{
	loff_t bytes = i_size_read(n->inode);
	unsigned int block = f->block >> SECTOR_SHIFT;
	sector_t size = bytes >> SECTOR_SHIFT;
	sector_t start = n->val[FILE_START].num;
	sector_t len = n->val[FILE_LEN].num;
	int r;

	r = vdisk_check_place(n, "file", size, block, start, len);
	if (r)
		return r;
	if (!len && (bytes & (f->block - 1)))
		return vdisk_fail(n, -EINVAL,
				  "len: missing; the %lld bytes of the file are no multiple of the block size, %u bytes",
				  bytes, f->block);
	n->start = start;
	f->nr = len ?: size - start;
	return 0;
}

/*
 * Where parts of blocks are written, by this node or by another one that shares
 * the file.
 */
static int vdisk_file_keep_ranges(struct vdisk_node *n, struct vdisk_file *f)
{
	if (!f->write || (f->align <= f->block && !f->shared))
		return 0;
	f->ranges = vdisk_ranges_get(n->inode);
	return f->ranges ? 0 : vdisk_fail(n, -ENOMEM, "out of memory");
}

static int vdisk_file_ctr(struct vdisk_node *n)
{
	struct vdisk_file *f = vdisk_file_alloc(n);
	int r;

	if (!f)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	f->direct = !n->val[FILE_BUFFERED].set;
	f->shared = n->val[FILE_SHARED].set;
	r = vdisk_file_open(n, f);
	if (r) {
		vdisk_file_free(f);
		return r;
	}
	f->block = SECTOR_SIZE;
	if (!n->val[FILE_BLOCK].set)
		f->block = max(f->read_align, f->block);
	r = vdisk_file_place(n, f) ?: vdisk_file_keep_ranges(n, f);
	if (r)
		vdisk_file_dtr(n);
	return r;
}

/* The file ends with the footer; its length says how long that is. */
static int vdisk_vhd1_read(struct vdisk_node *n, struct vdisk_file *f)
{
	u64 bytes = i_size_read(n->inode);
	unsigned int len = bytes % SECTOR_SIZE ?: VDISK_VHD_FOOTER;
	u8 footer[VDISK_VHD_FOOTER] = {};
	const char *error;
	loff_t pos;
	ssize_t r;

	if (len < VDISK_VHD_FOOTER - 1 || bytes < len)
		return vdisk_fail(n, -EINVAL,
				  "path: of %llu bytes, which no VHD has", bytes);
	pos = bytes - len;
	r = kernel_read(f->file, footer, len, &pos);
	if (r != len)
		return vdisk_fail(n, r < 0 ? r : -EIO,
				  "footer: cannot be read (%pe)",
				  ERR_PTR(r < 0 ? r : -EIO));
	error = vdisk_vhd1_check(footer, len, bytes, &f->vhd);
	if (error)
		return vdisk_fail(n, -EINVAL, "%s", error);
	f->nr = f->vhd.bytes >> SECTOR_SHIFT;
	return 0;
}

/* A VHD's sectors have 512 bytes, whatever the disk has that it lies on. */
static int vdisk_vhd1_ctr(struct vdisk_node *n)
{
	struct vdisk_file *f = vdisk_file_alloc(n);
	int r;

	if (!f)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	f->direct = !n->val[FILE_BUFFERED].set;
	f->block = SECTOR_SIZE;
	r = vdisk_file_open(n, f);
	if (r) {
		vdisk_file_free(f);
		return r;
	}
	r = vdisk_vhd1_read(n, f) ?: vdisk_file_keep_ranges(n, f);
	if (r)
		vdisk_file_dtr(n);
	return r;
}

static sector_t vdisk_file_length(const struct vdisk_node *n)
{
	const struct vdisk_file *f = n->priv;

	return f->nr;
}

static sector_t vdisk_file_size(const struct vdisk_node *n)
{
	return i_size_read(n->inode) >> SECTOR_SHIFT;
}

static void vdisk_file_limits(struct vdisk_node *n, struct queue_limits *lim)
{
	const struct vdisk_file *f = n->priv;
	unsigned int max = f->punch ? UINT_MAX >> SECTOR_SHIFT : 0;

	lim->logical_block_size = f->block;
	lim->physical_block_size = max_t(unsigned int, f->block,
					 i_blocksize(n->inode));
	lim->io_min = lim->physical_block_size;
	if (f->write)
		vdisk_limits_cached(lim);
	if (n->stable)
		vdisk_limits_stable(lim);
	vdisk_limits_discard(lim, max, max ? lim->physical_block_size : 0);
	lim->max_write_zeroes_sectors = max;
}

/* A noflush suspend gets back what is parked and what would be. */
static void vdisk_file_presuspend(struct vdisk_node *n)
{
	struct vdisk_file *f = n->priv;

	if (!dm_noflush_suspending(n->stack->ti))
		return;
	spin_lock_irq(&f->lock);
	f->requeue = true;
	spin_unlock_irq(&f->lock);
	mod_delayed_work(n->stack->files, &f->thaw_work, 0);
}

static void vdisk_file_resume(struct vdisk_node *n)
{
	struct vdisk_file *f = n->priv;

	spin_lock_irq(&f->lock);
	f->requeue = false;
	spin_unlock_irq(&f->lock);
}

static void vdisk_file_postsuspend(struct vdisk_node *n)
{
	struct vdisk_file *f = n->priv;

	cancel_delayed_work_sync(&f->thaw_work);
}

static void vdisk_file_status(struct vdisk_node *n, struct vdisk_out *out)
{
	struct vdisk_file *f = n->priv;
	u64 inlined = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		inlined += *per_cpu_ptr(f->inlined, cpu);
	vdisk_emit(out, " inline=%llu error=%d", inlined,
		   READ_ONCE(f->last_error));
	if (f->vhd.bytes)
		vdisk_emit(out, " id=%*phN", (int)sizeof(f->vhd.id), f->vhd.id);
	if (d_unlinked(f->file->f_path.dentry))
		vdisk_emit(out, " deleted");
}

#define VDISK_FILE_OPS						\
	.dtr = vdisk_file_dtr,					\
	.length = vdisk_file_length,				\
	.size = vdisk_file_size,				\
	.limits = vdisk_file_limits,				\
	.map = vdisk_file_map,					\
	.abort = vdisk_file_abort,				\
	.presuspend = vdisk_file_presuspend,			\
	.presuspend_undo = vdisk_file_resume,			\
	.postsuspend = vdisk_file_postsuspend,			\
	.resume = vdisk_file_resume,				\
	.status = vdisk_file_status,				\
	.io_size = sizeof(struct vdisk_file_io),		\
	.defers = true,						\
	.files = true

const struct vdisk_ops vdisk_file_ops = {
	.ctr = vdisk_file_ctr,
	VDISK_FILE_OPS,
};

const struct vdisk_ops vdisk_vhd1_ops = {
	.ctr = vdisk_vhd1_ctr,
	VDISK_FILE_OPS,
};
