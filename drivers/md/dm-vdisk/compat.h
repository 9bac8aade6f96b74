/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the supported kernels (6.1, 6.12, 7.3), by feature.
 * The rest of the module reads as if there were only the newest; a copy that
 * goes into a kernel tree drops this file.
 */
#ifndef VDISK_COMPAT_H
#define VDISK_COMPAT_H

#include <linux/blkdev.h>
#include <linux/crc32.h>
#include <linux/device-mapper.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/kernel.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/version.h>
#include <linux/workqueue.h>

#include <linux/pr.h>	/* wants blkdev.h */

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#include <linux/filelock.h>
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#include <linux/hex.h>
#endif

/* Whether write-zeroes also unmaps is a limit since 6.17: all of it, or none. */
static inline void vdisk_limits_check_unmap(struct queue_limits *lim)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
	if (lim->max_hw_wzeroes_unmap_sectors != lim->max_write_zeroes_sectors)
		lim->max_hw_wzeroes_unmap_sectors = 0;
#endif
}

/*
 * Features became part of struct queue_limits in 6.11. Before, they are flags
 * of the queue, dm core looks at each device's flags by itself, and an
 * integrity profile follows the table's devices, not what iterate_devices
 * shows: it cannot be passed.
 */
#ifdef BLK_FEAT_WRITE_CACHE

#define VDISK_PASSES_INTEGRITY	DM_TARGET_PASSES_INTEGRITY

static inline void vdisk_limits_init(struct queue_limits *lim)
{
	blk_set_stacking_limits(lim);
	lim->features |= BLK_FEAT_IO_STAT | BLK_FEAT_NOWAIT | BLK_FEAT_POLL;
}

static inline void vdisk_limits_stack_bdev(struct queue_limits *lim,
					   struct block_device *bdev,
					   sector_t start)
{
	struct request_queue *q = bdev_get_queue(bdev);

	mutex_lock(&q->limits_lock);
	blk_stack_limits(lim, &q->limits, get_start_sect(bdev) + start);
	mutex_unlock(&q->limits_lock);
	if (!bdev_max_discard_sectors(bdev))
		lim->max_hw_discard_sectors = 0;
	if (!bdev_max_secure_erase_sectors(bdev))
		lim->max_secure_erase_sectors = 0;
}

/* Nobody can poll for what a worker sends, or what is never sent. */
static inline void vdisk_limits_unpolled(struct queue_limits *lim)
{
	lim->features &= ~BLK_FEAT_POLL;
}

/* A node has a volatile cache of its own. */
static inline void vdisk_limits_cached(struct queue_limits *lim)
{
	lim->features |= BLK_FEAT_WRITE_CACHE | BLK_FEAT_FUA;
}

/* What is written must not change until it is. */
static inline void vdisk_limits_stable(struct queue_limits *lim)
{
	lim->features |= BLK_FEAT_STABLE_WRITES;
}

static inline void vdisk_face_cached(struct gendisk *face)
{
}

static inline void vdisk_face_stable(struct gendisk *face)
{
}

static inline struct gendisk *vdisk_alloc_disk(const struct queue_limits *lim)
{
	struct queue_limits copy = *lim;

	/* No node that is not a plain remap keeps these promises. */
	memset(&copy.integrity, 0, sizeof(copy.integrity));
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	copy.max_hw_zone_append_sectors = 0;
#endif
	copy.max_zone_append_sectors = 0;
	vdisk_limits_check_unmap(&copy);
	return blk_alloc_disk(&copy, NUMA_NO_NODE);
}

/* Here features are limits, and stacked with them. */
static inline void vdisk_face_inherit(struct gendisk *face,
				      struct block_device *bdev)
{
}

/* The limits dm-stripe sets; 7.3's lets a discard span all children. */
static inline void vdisk_limits_stripe(struct queue_limits *lim,
				       unsigned int chunk, unsigned int nr)
{
	unsigned int io_min, io_opt;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
	unsigned int max = lim->max_hw_discard_sectors;

	if (max >= chunk) {
		if (!check_mul_overflow(max, nr, &max))
			lim->max_hw_discard_sectors = rounddown(max, chunk * nr);
		else
			lim->max_hw_discard_sectors = UINT_MAX >> SECTOR_SHIFT;
	}
#endif
	lim->chunk_sectors = chunk;
	if (!check_shl_overflow(chunk, SECTOR_SHIFT, &io_min) &&
	    !check_mul_overflow(io_min, nr, &io_opt)) {
		lim->io_min = io_min;
		lim->io_opt = io_opt;
	}
}

#else /* !BLK_FEAT_WRITE_CACHE */

#define VDISK_PASSES_INTEGRITY	0

static inline void vdisk_limits_init(struct queue_limits *lim)
{
	blk_set_stacking_limits(lim);
}

static inline void vdisk_limits_stack_bdev(struct queue_limits *lim,
					   struct block_device *bdev,
					   sector_t start)
{
	blk_stack_limits(lim, &bdev_get_queue(bdev)->limits,
			 get_start_sect(bdev) + start);
	if (!bdev_max_discard_sectors(bdev)) {
		lim->max_discard_sectors = 0;
		lim->max_hw_discard_sectors = 0;
	}
	if (!bdev_max_secure_erase_sectors(bdev))
		lim->max_secure_erase_sectors = 0;
}

static inline void vdisk_limits_unpolled(struct queue_limits *lim)
{
}

static inline void vdisk_limits_cached(struct queue_limits *lim)
{
}

static inline void vdisk_limits_stable(struct queue_limits *lim)
{
}

static inline void vdisk_face_cached(struct gendisk *face)
{
	blk_queue_write_cache(face->queue, true, true);
}

static inline void vdisk_face_stable(struct gendisk *face)
{
	blk_queue_flag_set(QUEUE_FLAG_STABLE_WRITES, face->queue);
}

static inline struct gendisk *vdisk_alloc_disk(const struct queue_limits *lim)
{
	struct gendisk *disk = blk_alloc_disk(NUMA_NO_NODE);

	if (!disk)
		return ERR_PTR(-ENOMEM);
	disk->queue->limits = *lim;
	blk_queue_flag_set(QUEUE_FLAG_NONROT, disk->queue);
	blk_queue_flag_set(QUEUE_FLAG_NOWAIT, disk->queue);
	return disk;
}

/* dm core asks the face for flags: the devices' have to be on it. */
static inline void vdisk_face_inherit(struct gendisk *face,
				      struct block_device *bdev)
{
	if (!bdev_nonrot(bdev))
		blk_queue_flag_clear(QUEUE_FLAG_NONROT, face->queue);
	if (!bdev_nowait(bdev))
		blk_queue_flag_clear(QUEUE_FLAG_NOWAIT, face->queue);
	if (bdev_stable_writes(bdev))
		blk_queue_flag_set(QUEUE_FLAG_STABLE_WRITES, face->queue);
	if (bdev_write_cache(bdev))
		blk_queue_write_cache(face->queue, true,
				      bdev_fua(face->part0) || bdev_fua(bdev));
}

static inline void vdisk_limits_stripe(struct queue_limits *lim,
				       unsigned int chunk, unsigned int nr)
{
	blk_limits_io_min(lim, chunk << SECTOR_SHIFT);
	blk_limits_io_opt(lim, (chunk << SECTOR_SHIFT) * nr);
}

#endif /* BLK_FEAT_WRITE_CACHE */

/* Modes have a type of their own since 6.5. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#define VDISK_OPEN_WRITE	BLK_OPEN_WRITE
#else
#define VDISK_OPEN_WRITE	FMODE_WRITE
#endif

/* Bytes of the first vector that are done: renamed in 7.x. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
#define vdisk_iter_done(iter)	((iter).bi_offset)
#else
#define vdisk_iter_done(iter)	((iter).bi_bvec_done)
#endif

/* Direct reads may need less than writes: told since 6.15. */
#ifdef STATX_DIO_READ_ALIGN
#define VDISK_STATX_ALIGN	(STATX_DIOALIGN | STATX_DIO_READ_ALIGN)

static inline u32 vdisk_stat_read_align(const struct kstat *stat)
{
	return stat->dio_read_offset_align ?: stat->dio_offset_align;
}
#else
#define VDISK_STATX_ALIGN	STATX_DIOALIGN

static inline u32 vdisk_stat_read_align(const struct kstat *stat)
{
	return stat->dio_offset_align;
}
#endif

/*
 * What locks and leases have in common is a struct of its own since 6.9. The
 * owner is the file, as F_OFD_SETLK has it: NFS and the last fput() look for that.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#define vdisk_lock_type(fl)	((fl)->c.flc_type)

static inline void vdisk_lock_init(struct file_lock *fl, struct file *file,
				   int type)
{
	locks_init_lock(fl);
	fl->c.flc_file = file;
	fl->c.flc_owner = file;
	fl->c.flc_flags = FL_POSIX | FL_OFDLCK;
	fl->c.flc_type = type;
}
#else
#define vdisk_lock_type(fl)	((fl)->fl_type)

static inline void vdisk_lock_init(struct file_lock *fl, struct file *file,
				   int type)
{
	locks_init_lock(fl);
	fl->fl_file = file;
	fl->fl_owner = file;
	fl->fl_flags = FL_POSIX | FL_OFDLCK;
	fl->fl_type = type;
}
#endif

/* A limit on discards is two fields; newer kernels compute the second. */
static inline void vdisk_limits_discard(struct queue_limits *lim,
					unsigned int sectors,
					unsigned int granularity)
{
	lim->max_hw_discard_sectors = sectors;
	lim->max_discard_sectors = sectors;
	lim->discard_granularity = granularity;
}

/* prepare_ioctl may answer by itself since 6.16. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
#define VDISK_PREPARE_IOCTL_ARGS(bdev)	bdev, unsigned int cmd, unsigned long arg, bool *forward
#else
#define VDISK_PREPARE_IOCTL_ARGS(bdev)	bdev
#endif

#ifndef DM_TARGET_ATOMIC_WRITES		/* 6.15 */
#define DM_TARGET_ATOMIC_WRITES	0
#endif

#ifndef REQ_ATOMIC			/* 6.11 */
#define REQ_ATOMIC		((__force blk_opf_t)0)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
#define BLK_STS_INVAL		BLK_STS_NOTSUPP
#endif

/* Results of reservation calls got names, and BLK_STS_NEXUS its own, in 6.4. */
#ifndef BLK_STS_RESV_CONFLICT
#define BLK_STS_RESV_CONFLICT		BLK_STS_NEXUS
#define PR_STS_RESERVATION_CONFLICT	0x18
#define VDISK_PR_READ_OPS

struct pr_keys {
	u32 generation;
	u32 num_keys;
	u64 keys[];
};

struct pr_held_reservation {
	u64 key;
	u32 generation;
	enum pr_type type;
};
#else
#define VDISK_PR_READ_OPS						\
	.pr_read_keys = vdisk_pr_op_read_keys,				\
	.pr_read_reservation = vdisk_pr_op_read_reservation,
#endif

/* CRC32 has crc32c() since 6.14; before, that is a module of its own. */
static inline u32 vdisk_crc32c(u32 crc, const void *data, size_t bytes)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
	return crc32c(crc, data, bytes);
#else
	return __crc32c_le(crc, data, bytes);
#endif
}

/* What a cipher's completion is given: the request before 6.3, then its data. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#define VDISK_CRYPTO_DATA		void *
#define vdisk_crypto_data(data)		(data)
#else
#define VDISK_CRYPTO_DATA		struct crypto_async_request *
#define vdisk_crypto_data(req)		((req)->data)
#endif

/* One call since 6.13 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*function)(struct hrtimer *),
				 clockid_t clock_id, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock_id, mode);
	timer->function = function;
}
#endif

/* Shrinkers are allocated, and have data of their own, since 6.7. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
static inline void *vdisk_shrinker_data(struct shrinker *shrinker)
{
	return shrinker->private_data;
}

static inline struct shrinker *
vdisk_shrinker_create(void *data,
		      unsigned long (*count)(struct shrinker *shrinker,
					     struct shrink_control *sc),
		      unsigned long (*scan)(struct shrinker *shrinker,
					    struct shrink_control *sc))
{
	struct shrinker *shrinker = shrinker_alloc(0, "vdisk");

	if (!shrinker)
		return NULL;
	shrinker->private_data = data;
	shrinker->count_objects = count;
	shrinker->scan_objects = scan;
	shrinker_register(shrinker);
	return shrinker;
}

static inline void vdisk_shrinker_destroy(struct shrinker *shrinker)
{
	shrinker_free(shrinker);
}
#else
struct vdisk_shrinker {
	struct shrinker shrinker;
	void *data;
};

static inline void *vdisk_shrinker_data(struct shrinker *shrinker)
{
	return container_of(shrinker, struct vdisk_shrinker, shrinker)->data;
}

static inline struct shrinker *
vdisk_shrinker_create(void *data,
		      unsigned long (*count)(struct shrinker *shrinker,
					     struct shrink_control *sc),
		      unsigned long (*scan)(struct shrinker *shrinker,
					    struct shrink_control *sc))
{
	struct vdisk_shrinker *s = kzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return NULL;
	s->data = data;
	s->shrinker.count_objects = count;
	s->shrinker.scan_objects = scan;
	s->shrinker.seeks = DEFAULT_SEEKS;
	if (!register_shrinker(&s->shrinker, "vdisk"))
		return &s->shrinker;
	kfree(s);
	return NULL;
}

static inline void vdisk_shrinker_destroy(struct shrinker *shrinker)
{
	unregister_shrinker(shrinker);
	kfree(container_of(shrinker, struct vdisk_shrinker, shrinker));
}
#endif

/* "Bound to a CPU" is the default until 6.17, and has to be said from there. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
#define WQ_PERCPU		0
#endif

#endif /* VDISK_COMPAT_H */
