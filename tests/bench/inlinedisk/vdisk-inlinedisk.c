// SPDX-License-Identifier: GPL-2.0-only
/*
 * Disks in memory with inline encryption, /dev/vdinline<n>, and a way to send
 * them, or what lies on them, bios with an encryption context.
 *
 * The cipher is one that a test can read: each 64-bit word of the medium is the
 * data's, exclusive-or'd with the key's first word plus the number of the data
 * unit. So what is on the medium says whether the context came along, and with
 * which number each sector had arrived.
 *
 * units=SIZES[,SIZES...] makes a disk for each word: the sizes of data units
 * that it can do, one bit each, as modes_supported has them; with 0 the disk
 * has no profile at all.
 *
 * In /sys/kernel/debug/vdisk-inlinedisk:
 *
 *	run	"OP UNIT SECTOR NR DUN PATH" sends one bio; the write fails as
 *		the bio does.
 *		write	zeroes, so that the medium shows the cipher's part
 *		read	and must get zeroes, or it is EILSEQ
 *		native	sends nothing, and is EOPNOTSUPP if PATH cannot do it by
 *			itself: the kernel then would, on the processor
 *	seen	a line per disk: bios with a context, bios without, keys evicted
 */
#include <linux/bio.h>
#include <linux/blk-crypto-profile.h>
#include <linux/blk-crypto.h>
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/highmem.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/unaligned.h>
#include <linux/vmalloc.h>

#define INLINEDISK_MAX		4
#define INLINEDISK_BYTES	SZ_1M
#define INLINEDISK_MAX_PAGES	64
#define INLINEDISK_KEY		0x5a5a000000000000ULL
#define INLINEDISK_KEY_BYTES	64	/* as the mode has it */
#define INLINEDISK_MODE		BLK_ENCRYPTION_MODE_AES_256_XTS

#ifndef BLK_CRYPTO_CFG_ALLOW_HW
/*
 * Before 7.0 file systems alone make contexts, and they are no modules: nothing
 * of it is exported. So it is made by hand, and only for who has the cipher: the
 * kernel's own would free what it did not allocate.
 */
#define INLINEDISK_BY_HAND
#endif

static unsigned int units[INLINEDISK_MAX] = { 512 };
static unsigned int nr_units = 1;
module_param_array(units, uint, &nr_units, 0444);
MODULE_PARM_DESC(units, "sizes of data units, a word per disk");

/**
 * struct inlinedisk - one disk
 * @disk: it
 * @data: what is on it
 * @profile: what it can encrypt
 * @with: bios that came with a context
 * @without: bios that came without
 * @evicted: keys
 */
struct inlinedisk {
	struct gendisk *disk;
	u8 *data;
	struct blk_crypto_profile profile;
	atomic_t with;
	atomic_t without;
	atomic_t evicted;
};

static struct inlinedisk *disks;	/* lockdep wants a profile's memory allocated */
static struct dentry *inlinedisk_dir;
static int inlinedisk_major;

static const u8 *inlinedisk_bytes(const struct blk_crypto_key *key)
{
#ifdef INLINEDISK_BY_HAND
	return key->raw;
#else
	return key->bytes;
#endif
}

/* Sectors that lie @done bytes behind the beginning of the bio */
static void inlinedisk_cipher(u8 *data, unsigned int len,
			      const struct bio_crypt_ctx *ctx, unsigned int done)
{
	u64 *at = (u64 *)data;
	unsigned int i;

	for (i = 0; i < len; i += sizeof(*at))
		*at++ ^= get_unaligned((const u64 *)inlinedisk_bytes(ctx->bc_key)) +
			 ctx->bc_dun[0] +
			 ((done + i) >> ctx->bc_key->data_unit_size_bits);
}

static void inlinedisk_copy(struct inlinedisk *d, struct bio *bio)
{
	const struct bio_crypt_ctx *ctx = bio->bi_crypt_context;
	u8 *at = d->data + (bio->bi_iter.bi_sector << SECTOR_SHIFT);
	bool write = op_is_write(bio_op(bio));
	struct bvec_iter iter;
	struct bio_vec vec;
	unsigned int done = 0;

	bio_for_each_segment(vec, bio, iter) {
		u8 *data = bvec_kmap_local(&vec);

		if (write)
			memcpy(at + done, data, vec.bv_len);
		else
			memcpy(data, at + done, vec.bv_len);
		if (ctx)
			inlinedisk_cipher(write ? at + done : data, vec.bv_len,
					  ctx, done);
		kunmap_local(data);
		done += vec.bv_len;
	}
}

static void inlinedisk_submit_bio(struct bio *bio)
{
	struct inlinedisk *d = bio->bi_bdev->bd_disk->private_data;

	if (bio->bi_crypt_context)
		atomic_inc(&d->with);
	else
		atomic_inc(&d->without);
	if (bio_op(bio) != REQ_OP_READ && bio_op(bio) != REQ_OP_WRITE)
		bio->bi_status = BLK_STS_NOTSUPP;
	else
		inlinedisk_copy(d, bio);
	bio_endio(bio);
}

static const struct block_device_operations inlinedisk_fops = {
	.owner = THIS_MODULE,
	.submit_bio = inlinedisk_submit_bio,
};

static int inlinedisk_evict(struct blk_crypto_profile *profile,
			    const struct blk_crypto_key *key, unsigned int slot)
{
	atomic_inc(&container_of(profile, struct inlinedisk, profile)->evicted);
	return 0;
}

static void inlinedisk_end_io(struct bio *bio)
{
	complete(bio->bi_private);
}

static int inlinedisk_wait(struct bio *bio)
{
	DECLARE_COMPLETION_ONSTACK(done);

	bio->bi_private = &done;
	bio->bi_end_io = inlinedisk_end_io;
#ifdef INLINEDISK_BY_HAND
	submit_bio(bio);
#else
	blk_crypto_submit_bio(bio);
#endif
	wait_for_completion_io(&done);
	return blk_status_to_errno(bio->bi_status);
}

static int inlinedisk_io(struct block_device *bdev, blk_opf_t opf,
			 const struct blk_crypto_key *key, sector_t sector,
			 unsigned int nr, u64 dun)
{
	struct bio_crypt_ctx ctx = { .bc_key = key, .bc_dun = { dun } };
	struct page *pages[INLINEDISK_MAX_PAGES];
	unsigned int bytes = nr << SECTOR_SHIFT;
	unsigned int i, n = DIV_ROUND_UP(bytes, PAGE_SIZE);
	struct bio *bio;
	int r = -ENOMEM;

	if (!n || n > INLINEDISK_MAX_PAGES)
		return -EINVAL;
	bio = bio_alloc(bdev, n, opf, GFP_KERNEL);
	bio->bi_iter.bi_sector = sector;
	for (i = 0; i < n; i++) {
		pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!pages[i])
			goto out;
		__bio_add_page(bio, pages[i],
			       min_t(unsigned int, PAGE_SIZE,
				     bytes - i * PAGE_SIZE), 0);
	}
#ifdef INLINEDISK_BY_HAND
	bio->bi_crypt_context = &ctx;
	r = inlinedisk_wait(bio);
	bio->bi_crypt_context = NULL;
#else
	bio_crypt_set_ctx(bio, key, ctx.bc_dun, GFP_KERNEL);
	r = inlinedisk_wait(bio);
#endif
	for (i = 0; !r && i < n; i++)
		if (memchr_inv(page_address(pages[i]), 0, PAGE_SIZE))
			r = -EILSEQ;
	i = n;
out:
	while (i--)
		__free_page(pages[i]);
	bio_put(bio);
	return r;
}

/* As block/blk-crypto.c:blk_crypto_config_supported_natively(), not exported */
static bool inlinedisk_is_native(struct block_device *bdev, unsigned int unit)
{
	struct blk_crypto_profile *profile = bdev_get_queue(bdev)->crypto_profile;

	return profile && profile->modes_supported[INLINEDISK_MODE] & unit &&
	       profile->max_dun_bytes_supported >= sizeof(u64);
}

static int inlinedisk_start(struct block_device *bdev,
			    struct blk_crypto_key *key, unsigned int unit)
{
	u64 bytes[INLINEDISK_KEY_BYTES / sizeof(u64)] = {
		INLINEDISK_KEY, 1, 2, 3, 4, 5, 6, 7
	};
#ifdef INLINEDISK_BY_HAND
	if (!inlinedisk_is_native(bdev, unit))
		return -EOPNOTSUPP;
	*key = (struct blk_crypto_key){
		.crypto_cfg = {
			.crypto_mode = INLINEDISK_MODE,
			.data_unit_size = unit,
			.dun_bytes = sizeof(u64),
		},
		.data_unit_size_bits = ilog2(unit),
		.size = sizeof(bytes),
	};
	memcpy(key->raw, bytes, sizeof(bytes));
	return 0;
#else
	int r;

	r = blk_crypto_init_key(key, (u8 *)bytes, sizeof(bytes),
				BLK_CRYPTO_KEY_TYPE_RAW, INLINEDISK_MODE,
				sizeof(u64), unit, BLK_CRYPTO_CFG_ALLOW_HW);
	return r ? r : blk_crypto_start_using_key(bdev, key);
#endif
}

static int inlinedisk_run(struct block_device *bdev, const char *op,
			  unsigned int unit, sector_t sector, unsigned int nr,
			  u64 dun)
{
	struct blk_crypto_key key;
	int r;

	if (!strcmp(op, "native"))
		return inlinedisk_is_native(bdev, unit) ? 0 : -EOPNOTSUPP;
	if (strcmp(op, "read") && strcmp(op, "write"))
		return -EINVAL;
	r = inlinedisk_start(bdev, &key, unit);
	if (r)
		return r;
	r = inlinedisk_io(bdev, *op == 'r' ? REQ_OP_READ : REQ_OP_WRITE, &key,
			  sector, nr, dun);
	blk_crypto_evict_key(bdev, &key);
	return r;
}

static ssize_t inlinedisk_write(struct file *file, const char __user *buf,
				size_t len, loff_t *pos)
{
	unsigned int unit, nr;
	struct file *bdev;
	u64 sector, dun;
	char path[128];
	char line[256];
	char op[16];
	int r;

	if (len >= sizeof(line))
		return -E2BIG;
	if (copy_from_user(line, buf, len))
		return -EFAULT;
	line[len] = '\0';
	if (sscanf(line, "%15s %u %llu %u %llu %127s", op, &unit, &sector, &nr,
		   &dun, path) != 6)
		return -EINVAL;
	bdev = bdev_file_open_by_path(path, BLK_OPEN_READ | BLK_OPEN_WRITE,
				      NULL, NULL);
	if (IS_ERR(bdev))
		return PTR_ERR(bdev);
	r = inlinedisk_run(file_bdev(bdev), op, unit, sector, nr, dun);
	fput(bdev);
	return r ? r : len;
}

static const struct file_operations inlinedisk_run_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = inlinedisk_write,
};

static int inlinedisk_seen_show(struct seq_file *seq, void *unused)
{
	unsigned int i;

	for (i = 0; i < nr_units; i++)
		seq_printf(seq, "%d %d %d\n", atomic_read(&disks[i].with),
			   atomic_read(&disks[i].without),
			   atomic_read(&disks[i].evicted));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(inlinedisk_seen);

static void inlinedisk_destroy(struct inlinedisk *d)
{
	if (d->disk) {
		del_gendisk(d->disk);
		put_disk(d->disk);
		blk_crypto_profile_destroy(&d->profile);
	}
	vfree(d->data);
}

static int inlinedisk_create(struct inlinedisk *d, unsigned int i)
{
	struct queue_limits lim = { .features = BLK_FEAT_SYNCHRONOUS };
	struct gendisk *disk;
	int r;

	d->data = vzalloc(INLINEDISK_BYTES);
	if (!d->data)
		return -ENOMEM;
	disk = blk_alloc_disk(&lim, NUMA_NO_NODE);
	if (IS_ERR(disk))
		return PTR_ERR(disk);
	r = blk_crypto_profile_init(&d->profile, 0);
	if (r)
		goto out_disk;
	d->profile.ll_ops.keyslot_evict = inlinedisk_evict;
	d->profile.max_dun_bytes_supported = sizeof(u64);
	d->profile.modes_supported[INLINEDISK_MODE] = units[i];
#ifndef INLINEDISK_BY_HAND
	d->profile.key_types_supported = BLK_CRYPTO_KEY_TYPE_RAW;
#endif
	if (units[i])
		blk_crypto_register(&d->profile, disk->queue);
	disk->major = inlinedisk_major;
	disk->first_minor = i;
	disk->minors = 1;
	disk->flags |= GENHD_FL_NO_PART;
	disk->fops = &inlinedisk_fops;
	disk->private_data = d;
	snprintf(disk->disk_name, sizeof(disk->disk_name), "vdinline%u", i);
	set_capacity(disk, INLINEDISK_BYTES >> SECTOR_SHIFT);
	r = add_disk(disk);
	if (r)
		goto out_profile;
	d->disk = disk;
	return 0;

out_profile:
	blk_crypto_profile_destroy(&d->profile);
out_disk:
	put_disk(disk);
	return r;
}

static void inlinedisk_exit(void)
{
	unsigned int i;

	debugfs_remove(inlinedisk_dir);
	for (i = 0; i < nr_units; i++)
		inlinedisk_destroy(&disks[i]);
	kfree(disks);
	unregister_blkdev(inlinedisk_major, "vdinline");
}

static int __init inlinedisk_init(void)
{
	unsigned int i;
	int r;

	disks = kcalloc(INLINEDISK_MAX, sizeof(*disks), GFP_KERNEL);
	if (!disks)
		return -ENOMEM;
	inlinedisk_major = register_blkdev(0, "vdinline");
	if (inlinedisk_major < 0) {
		kfree(disks);
		return inlinedisk_major;
	}
	for (i = 0; i < nr_units; i++) {
		r = inlinedisk_create(&disks[i], i);
		if (r) {
			inlinedisk_exit();
			return r;
		}
	}
	inlinedisk_dir = debugfs_create_dir("vdisk-inlinedisk", NULL);
	debugfs_create_file("run", 0200, inlinedisk_dir, NULL,
			    &inlinedisk_run_fops);
	debugfs_create_file("seen", 0400, inlinedisk_dir, NULL,
			    &inlinedisk_seen_fops);
	return 0;
}

module_init(inlinedisk_init);
module_exit(inlinedisk_exit);

MODULE_DESCRIPTION("Disks in memory with inline encryption");
MODULE_LICENSE("GPL");
