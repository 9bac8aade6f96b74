// SPDX-License-Identifier: GPL-2.0-only
/*
 * A generator of bios, for measuring block devices without a system call per
 * bio, and several of them against each other.
 *
 * One file, /sys/kernel/debug/vdisk-biogen/run. Writing words to it measures:
 *
 *	dev=PATH	once per device
 *	cipher=BYTES	in the place of a device: xts(aes) with a key of 64
 *			bytes in units of so many, over the pages that would be
 *			read or written, one bio after the other
 *	op=read|write	(read)
 *	bs=BYTES	of one bio (4096)
 *	depth=N		bios in flight (1)
 *	random=0|1	offsets (1)
 *	flush=0|1	a flush behind each write; both count (0)
 *	slice_ms=N	how long a device is measured at a time (100)
 *	count=N		bios of a slice, instead of a time
 *	rounds=N	slices of each device (1)
 *	cpu=N		where bios are submitted (0)
 *
 * A round measures every device once, odd rounds in the opposite order: what
 * changes slowly in the machine hits all devices alike, and what changes
 * steadily hits both orders alike.
 *
 * Reading gives a line per round: "ios ns" for each device, in the order of
 * the words.
 *
 * The thread is the writer's own, as whoever submits bios is somebody's as a
 * rule: the scheduler takes a wakeup by a kernel thread that is bound to a CPU
 * for the last that it does, and puts the woken one on the same CPU.
 *
 * Bios, their pages and slots are allocated before the first slice and used
 * again and again, so that each allocation while it runs is the device's.
 * Whoever submits many bios plugs, so the generator does with depth > 1.
 */
#include <crypto/skcipher.h>
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/llist.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define BIOGEN_MAX_DEVS		16
#define BIOGEN_MAX_BS		SZ_1M
#define BIOGEN_MAX_DEPTH	1024
#define BIOGEN_MAX_INPUT	4096

/* Submissions between two looks at the clock, which is not free for a small one. */
#define BIOGEN_CLOCK		32
#define BIOGEN_CLOCK_LARGE	2

struct biogen_result {
	u64 ios;
	u64 ns;
};

struct biogen_dev {
	struct file *file;
	struct block_device *bdev;
	u64 blocks;		/* of bs bytes */
	u64 next;		/* block, unless random */
	struct skcipher_request *req;	/* of a cipher, which has no file */
	unsigned int unit;	/* bytes, of a cipher */
};

/**
 * struct biogen_slot - one of the bios in flight
 * @free: in biogen.free while it is not in flight
 * @run: what it is for
 * @bio: submitted again and again
 * @vec: @bio's only segment
 * @page: @bio's data
 * @written: what it does next is to flush
 */
struct biogen_slot {
	struct llist_node free;
	struct biogen *run;
	struct bio bio;
	struct bio_vec vec;
	struct page *page;
	bool written;
};

/**
 * struct biogen - one measuring, from the words to the results
 * @nr_devs: how many of @devs
 * @write: else read
 * @bs: bytes of a bio
 * @depth: bios in flight
 * @random: else sequential
 * @flush: each write
 * @slice_ms: length of a slice
 * @count: bios of a slice; 0: by time
 * @rounds: slices of each device
 * @cpu: of the thread
 * @devs: the devices
 * @slots: @depth of them
 * @seed: of the offsets; the same in every measuring
 * @status: first error of any bio
 * @free: slots that came back; filled from any context
 * @wait: the thread, when all slots are in flight
 * @results: of round r, device d: [r * nr_devs + d]
 */
struct biogen {
	unsigned int nr_devs;
	bool write;
	u64 bs;
	u64 depth;
	u64 random;
	u64 flush;
	u64 slice_ms;
	u64 count;
	u64 rounds;
	u64 cpu;
	struct biogen_dev devs[BIOGEN_MAX_DEVS];
	struct biogen_slot *slots;
	u64 seed;
	blk_status_t status;
	struct llist_head free;
	wait_queue_head_t wait;
	struct biogen_result *results;
};

static const struct {
	const char *name;
	size_t offset;
	u64 min;
	u64 max;
} biogen_numbers[] = {
	{ "bs", offsetof(struct biogen, bs), 512, BIOGEN_MAX_BS },
	{ "depth", offsetof(struct biogen, depth), 1, BIOGEN_MAX_DEPTH },
	{ "random", offsetof(struct biogen, random), 0, 1 },
	{ "flush", offsetof(struct biogen, flush), 0, 1 },
	{ "slice_ms", offsetof(struct biogen, slice_ms), 1, 10000 },
	{ "count", offsetof(struct biogen, count), 0, 1 << 30 },
	{ "rounds", offsetof(struct biogen, rounds), 1, 10000 },
	{ "cpu", offsetof(struct biogen, cpu), 0, UINT_MAX },
};

/* One measuring at a time; guards biogen_last too. */
static DEFINE_MUTEX(biogen_mutex);
static struct biogen *biogen_last;
static struct dentry *biogen_dir;

/* xorshift64*: the low bits of plain xorshift are poor. */
static u64 biogen_random(struct biogen *g)
{
	g->seed ^= g->seed >> 12;
	g->seed ^= g->seed << 25;
	g->seed ^= g->seed >> 27;
	return g->seed * 2685821657736338717ULL;
}

static sector_t biogen_sector(struct biogen *g, struct biogen_dev *dev)
{
	u64 block;

	if (g->random) {
		block = mul_u64_u64_shr(biogen_random(g), dev->blocks, 64);
	} else {
		block = dev->next++;
		if (dev->next == dev->blocks)
			dev->next = 0;
	}
	return block * (g->bs >> SECTOR_SHIFT);
}

static void biogen_end_io(struct bio *bio)
{
	struct biogen_slot *slot = bio->bi_private;
	struct biogen *g = slot->run;

	if (unlikely(bio->bi_status))
		WRITE_ONCE(g->status, bio->bi_status);
	/* The run may end once the list has the slot; biogen_release() waits. */
	rcu_read_lock();
	/*
	 * The list takes the slot before the queue is looked at; the thread
	 * queues itself before it looks at the list. llist_add() is a full
	 * barrier, and so is set_current_state() in wait_event().
	 */
	if (llist_add(&slot->free, &g->free) && waitqueue_active(&g->wait))
		wake_up(&g->wait);
	rcu_read_unlock();
}

static void biogen_submit(struct biogen *g, struct biogen_dev *dev,
			  struct biogen_slot *slot)
{
	struct bio *bio = &slot->bio;

	if (slot->written) {
		bio_reset(bio, dev->bdev, REQ_OP_WRITE | REQ_PREFLUSH);
	} else {
		bio_reset(bio, dev->bdev, g->write ?
			  REQ_OP_WRITE | REQ_SYNC | REQ_IDLE : REQ_OP_READ);
		bio->bi_iter.bi_sector = biogen_sector(g, dev);
		__bio_add_page(bio, slot->page, g->bs, 0);
	}
	slot->written = g->flush && !slot->written;
	bio->bi_private = slot;
	bio->bi_end_io = biogen_end_io;
	submit_bio(bio);
}

/* All slots that came back, at least one. */
static struct llist_node *biogen_take(struct biogen *g)
{
	wait_event(g->wait, !llist_empty(&g->free));
	return llist_del_all(&g->free);
}

static void biogen_drain(struct biogen *g)
{
	struct llist_node *all = NULL;
	u64 nr = 0;

	while (nr < g->depth) {
		struct llist_node *node, *next;

		for (node = biogen_take(g); node; node = next, nr++) {
			next = node->next;
			node->next = all;
			all = node;
		}
	}
	while (all) {
		struct llist_node *node = all;

		all = node->next;
		llist_add(node, &g->free);
	}
}

static u64 biogen_clock(const struct biogen *g)
{
	return g->bs > SZ_16K ? BIOGEN_CLOCK_LARGE : BIOGEN_CLOCK;
}

static bool biogen_over(struct biogen *g, u64 ios, u64 *look, u64 end)
{
	if (ios < *look && (!g->count || ios < g->count))
		return false;
	*look = ios + biogen_clock(g);
	cond_resched();
	if (signal_pending(current) || READ_ONCE(g->status))
		return true;
	return g->count ? ios >= g->count : ktime_get_ns() >= end;
}

/* A bio's work, without a bio. */
static int biogen_cipher(struct biogen *g, struct biogen_dev *dev)
{
	struct skcipher_request *req = dev->req;
	DECLARE_CRYPTO_WAIT(wait);
	struct scatterlist sg;
	unsigned int at;
	__le64 iv[2] = {};
	int r;

	skcipher_request_set_callback(req, CRYPTO_TFM_REQ_MAY_BACKLOG,
				      crypto_req_done, &wait);
	for (at = 0; at < g->bs; at += dev->unit) {
		sg_init_table(&sg, 1);
		sg_set_page(&sg, g->slots[0].page, dev->unit, at);
		iv[0] = cpu_to_le64(dev->next++);
		iv[1] = 0;
		skcipher_request_set_crypt(req, &sg, &sg, dev->unit, iv);
		r = crypto_wait_req(g->write ? crypto_skcipher_encrypt(req) :
				    crypto_skcipher_decrypt(req), &wait);
		if (r)
			return r;
	}
	return 0;
}

static void biogen_cipher_slice(struct biogen *g, struct biogen_dev *dev,
				struct biogen_result *result)
{
	u64 start = ktime_get_ns(), end = start + g->slice_ms * NSEC_PER_MSEC;
	u64 ios = 0, look = biogen_clock(g);

	do {
		if (biogen_cipher(g, dev))
			WRITE_ONCE(g->status, BLK_STS_IOERR);
		ios++;
	} while (!biogen_over(g, ios, &look, end));
	result->ios = ios;
	result->ns = ktime_get_ns() - start;
}

/* From all slots free to all slots free. */
static void biogen_slice(struct biogen *g, struct biogen_dev *dev,
			 struct biogen_result *result)
{
	u64 start = ktime_get_ns(), end = start + g->slice_ms * NSEC_PER_MSEC;
	u64 ios = 0, look = biogen_clock(g);
	struct biogen_slot *slot;
	struct blk_plug plug;

	do {
		struct llist_node *node = biogen_take(g), *next;

		if (g->depth > 1)
			blk_start_plug(&plug);
		for (; node; node = next, ios++) {
			next = node->next;
			slot = llist_entry(node, struct biogen_slot, free);
			biogen_submit(g, dev, slot);
		}
		if (g->depth > 1)
			blk_finish_plug(&plug);
	} while (!biogen_over(g, ios, &look, end));
	biogen_drain(g);

	result->ios = ios;
	result->ns = ktime_get_ns() - start;
}

static int biogen_rounds(struct biogen *g)
{
	unsigned int round, i;

	for (round = 0; round < g->rounds; round++) {
		for (i = 0; i < g->nr_devs; i++) {
			unsigned int d = round & 1 ? g->nr_devs - 1 - i : i;
			struct biogen_result *result;

			result = &g->results[round * g->nr_devs + d];
			if (g->devs[d].req)
				biogen_cipher_slice(g, &g->devs[d], result);
			else
				biogen_slice(g, &g->devs[d], result);
			if (signal_pending(current))
				return -EINTR;
			if (READ_ONCE(g->status))
				return blk_status_to_errno(g->status);
		}
	}
	return 0;
}

/* On its CPU; where the thread may run otherwise is restored. */
static int biogen_measure(struct biogen *g)
{
	cpumask_var_t cpus;
	int r;

	if (!alloc_cpumask_var(&cpus, GFP_KERNEL))
		return -ENOMEM;
	cpumask_copy(cpus, current->cpus_ptr);
	r = set_cpus_allowed_ptr(current, cpumask_of(g->cpu));
	if (!r) {
		r = biogen_rounds(g);
		set_cpus_allowed_ptr(current, cpus);
	}
	free_cpumask_var(cpus);
	return r;
}

/* Leaves the results. */
static void biogen_release(struct biogen *g)
{
	unsigned int i;

	synchronize_rcu();	/* biogen_end_io() */
	for (i = 0; g->slots && i < g->depth; i++) {
		if (!g->slots[i].page)
			break;
		bio_uninit(&g->slots[i].bio);
		__free_pages(g->slots[i].page, get_order(g->bs));
	}
	kvfree(g->slots);
	for (i = 0; i < g->nr_devs; i++) {
		struct skcipher_request *req = g->devs[i].req;
		struct crypto_skcipher *tfm;

		if (!req) {
			fput(g->devs[i].file);
			continue;
		}
		tfm = crypto_skcipher_reqtfm(req);
		skcipher_request_free(req);
		crypto_free_skcipher(tfm);
	}
}

static void biogen_free(struct biogen *g)
{
	if (!g)
		return;
	kvfree(g->results);
	kfree(g);
}

static int biogen_alloc_slots(struct biogen *g)
{
	unsigned int i;

	g->slots = kvcalloc(g->depth, sizeof(*g->slots), GFP_KERNEL);
	if (!g->slots)
		return -ENOMEM;
	for (i = 0; i < g->depth; i++) {
		struct biogen_slot *slot = &g->slots[i];

		/* One segment: how many there are is not what is measured. */
		slot->page = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_COMP,
					 get_order(g->bs));
		if (!slot->page)
			return -ENOMEM;
		slot->run = g;
		bio_init(&slot->bio, NULL, &slot->vec, 1, REQ_OP_READ);
		llist_add(&slot->free, &g->free);
	}
	return 0;
}

/*
 * As user space would: the functions that open a block device by its path are
 * others in every kernel.
 */
static int biogen_open(struct biogen *g, const char *path)
{
	struct biogen_dev *dev = &g->devs[g->nr_devs];
	struct inode *inode;

	if (g->nr_devs == BIOGEN_MAX_DEVS)
		return -E2BIG;
	dev->file = filp_open(path, O_RDWR | O_LARGEFILE, 0);
	if (IS_ERR(dev->file))
		return PTR_ERR(dev->file);
	inode = dev->file->f_mapping->host;
	if (!S_ISBLK(inode->i_mode)) {
		fput(dev->file);
		return -ENOTBLK;
	}
	dev->bdev = I_BDEV(inode);
	g->nr_devs++;
	return 0;
}

static int biogen_open_cipher(struct biogen *g, const char *bytes)
{
	struct biogen_dev *dev = &g->devs[g->nr_devs];
	struct crypto_skcipher *tfm;
	u8 key[64];
	int r;

	if (g->nr_devs == BIOGEN_MAX_DEVS)
		return -E2BIG;
	r = kstrtouint(bytes, 10, &dev->unit);
	if (r)
		return r;
	if (dev->unit < 512 || dev->unit > PAGE_SIZE || !is_power_of_2(dev->unit))
		return -ERANGE;
	/* As dm-crypt does; on x86 before 6.16 only slow ones are synchronous. */
	tfm = crypto_alloc_skcipher("xts(aes)", 0, CRYPTO_ALG_ALLOCATES_MEMORY);
	if (IS_ERR(tfm))
		return PTR_ERR(tfm);
	get_random_bytes(key, sizeof(key));
	r = crypto_skcipher_setkey(tfm, key, sizeof(key));
	if (r)
		goto bad;
	r = -ENOMEM;
	dev->req = skcipher_request_alloc(tfm, GFP_KERNEL);
	if (!dev->req)
		goto bad;
	g->nr_devs++;
	return 0;

bad:
	crypto_free_skcipher(tfm);
	return r;
}

static int biogen_number(struct biogen *g, const char *name, const char *val)
{
	unsigned int i;
	u64 num;
	int r;

	for (i = 0; i < ARRAY_SIZE(biogen_numbers); i++) {
		if (strcmp(name, biogen_numbers[i].name))
			continue;
		r = kstrtou64(val, 10, &num);
		if (r)
			return r;
		if (num < biogen_numbers[i].min || num > biogen_numbers[i].max)
			return -ERANGE;
		*(u64 *)((char *)g + biogen_numbers[i].offset) = num;
		return 0;
	}
	return -EINVAL;
}

static int biogen_parse(struct biogen *g, char *words)
{
	int r = 0;

	words = skip_spaces(words);
	while (*words && !r) {
		char *name, *val;

		words = next_arg(words, &name, &val);
		if (!val) {
			r = -EINVAL;
		} else if (!strcmp(name, "dev")) {
			r = biogen_open(g, val);
		} else if (!strcmp(name, "cipher")) {
			r = biogen_open_cipher(g, val);
		} else if (!strcmp(name, "op")) {
			g->write = !strcmp(val, "write");
			if (!g->write && strcmp(val, "read"))
				r = -EINVAL;
		} else {
			r = biogen_number(g, name, val);
		}
	}
	return r;
}

static int biogen_check(struct biogen *g)
{
	unsigned int i;

	if (!g->nr_devs || g->cpu >= nr_cpu_ids || !cpu_online(g->cpu))
		return -EINVAL;
	for (i = 0; i < g->nr_devs; i++) {
		struct biogen_dev *dev = &g->devs[i];

		if (dev->req) {
			if (g->bs % dev->unit)
				return -EINVAL;
			continue;
		}
		if (g->bs % bdev_logical_block_size(dev->bdev))
			return -EINVAL;
		dev->blocks = div64_u64(bdev_nr_bytes(dev->bdev), g->bs);
		if (!dev->blocks)
			return -ENOSPC;
	}
	return 0;
}

static struct biogen *biogen_create(char *words)
{
	struct biogen *g = kzalloc(sizeof(*g), GFP_KERNEL);
	int r;

	if (!g)
		return ERR_PTR(-ENOMEM);
	g->bs = 4096;
	g->depth = 1;
	g->random = 1;
	g->slice_ms = 100;
	g->rounds = 1;
	g->seed = 88172645463325252ULL;
	init_llist_head(&g->free);
	init_waitqueue_head(&g->wait);

	r = biogen_parse(g, words);
	if (!r)
		r = biogen_check(g);
	if (!r)
		r = biogen_alloc_slots(g);
	if (!r) {
		g->results = kvcalloc(g->rounds * g->nr_devs,
				      sizeof(*g->results), GFP_KERNEL);
		if (!g->results)
			r = -ENOMEM;
	}
	if (r) {
		biogen_release(g);
		biogen_free(g);
		return ERR_PTR(r);
	}
	return g;
}

static ssize_t biogen_write(struct file *file, const char __user *buf,
			    size_t len, loff_t *pos)
{
	struct biogen *g;
	char *words;
	int r;

	if (len > BIOGEN_MAX_INPUT)
		return -E2BIG;
	words = memdup_user_nul(buf, len);
	if (IS_ERR(words))
		return PTR_ERR(words);

	r = mutex_lock_interruptible(&biogen_mutex);
	if (r)
		goto out_words;
	biogen_free(biogen_last);
	biogen_last = NULL;
	g = biogen_create(strim(words));
	if (IS_ERR(g)) {
		r = PTR_ERR(g);
		goto out_unlock;
	}
	r = biogen_measure(g);
	biogen_release(g);
	if (r)
		biogen_free(g);
	else
		biogen_last = g;
out_unlock:
	mutex_unlock(&biogen_mutex);
out_words:
	kfree(words);
	return r ? r : len;
}

static int biogen_show(struct seq_file *seq, void *unused)
{
	const struct biogen_result *result;
	struct biogen *g;
	u64 round;
	unsigned int d;
	int r;

	r = mutex_lock_interruptible(&biogen_mutex);
	if (r)
		return r;
	g = biogen_last;
	for (round = 0; g && round < g->rounds; round++) {
		for (d = 0; d < g->nr_devs; d++) {
			result = &g->results[round * g->nr_devs + d];
			seq_printf(seq, "%s%llu %llu", d ? " " : "",
				   result->ios, result->ns);
		}
		seq_putc(seq, '\n');
	}
	mutex_unlock(&biogen_mutex);
	return 0;
}

static int biogen_file_open(struct inode *inode, struct file *file)
{
	return single_open(file, biogen_show, NULL);
}

static const struct file_operations biogen_fops = {
	.owner = THIS_MODULE,
	.open = biogen_file_open,
	.read = seq_read,
	.write = biogen_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static int __init biogen_init(void)
{
	biogen_dir = debugfs_create_dir("vdisk-biogen", NULL);
	debugfs_create_file("run", 0600, biogen_dir, NULL, &biogen_fops);
	return 0;
}

static void __exit biogen_exit(void)
{
	debugfs_remove(biogen_dir);
	biogen_free(biogen_last);
}

module_init(biogen_init);
module_exit(biogen_exit);

MODULE_DESCRIPTION("Generator of bios for measuring block devices");
MODULE_LICENSE("GPL");
