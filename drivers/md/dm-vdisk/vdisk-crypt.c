// SPDX-License-Identifier: GPL-2.0-only
/*
 * crypt: aes-xts-plain64, the bytes of dm-crypt (drivers/md/dm-crypt.c).
 *
 * The bio itself goes through. A read is decrypted in place when it comes back.
 * A write is encrypted into a bounce, and the bio carries the bounce's vector
 * until it comes back.
 *
 * Where the cipher runs: at once, in the context of the caller; on the stack's
 * worker of this CPU, if that context must not; on any CPU, if the bio is large
 * or if there is a queue of them (vdisk_crypt_share()).
 *
 * Progress: a bounce is allocated whole or not at all, and nobody sleeps for
 * it. Each node has one in reserve, for a bio of the largest size. Who finds no
 * memory and the reserve in use is parked; each bounce that is given back lets
 * one go on. That is why two writers cannot wait for each other's pages, which
 * dm-crypt needs a mutex for.
 *
 * A key is looked up in the kernel's keyrings and given to the cipher as it
 * lies there: no copy is made. The cipher's own is wiped when it is freed.
 */
#include <crypto/algapi.h>
#include <crypto/skcipher.h>
#include <keys/encrypted-type.h>
#include <keys/trusted-type.h>
#include <keys/user-type.h>
#include <linux/cpumask.h>
#include <linux/key-type.h>
#include <linux/percpu_counter.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "vdisk.h"

/* The largest bio, and bounce, in pages; dm-crypt's default too. */
#define CRYPT_PAGES	32
#define CRYPT_SECTORS	((sector_t)CRYPT_PAGES << (PAGE_SHIFT - SECTOR_SHIFT))

/* A larger bio is worth the way to another CPU. */
#define CRYPT_INLINE	SZ_16K

/* Every so many bios that found no queue, one looks whether there is one. */
#define CRYPT_PROBE	256

/* So many bios are shared out once there was a queue, before one looks again. */
#define CRYPT_SHARE	64

/* What waits for each helper, at most */
#define CRYPT_ROOM	4

/* Of one page, what each CPU keeps of bounces that came back */
#define CRYPT_KEPT	32

/* Entries of a bounce's vector that need no allocation */
#define CRYPT_FEW	4

#define CRYPT_IV_SIZE	16

/**
 * struct vdisk_key - a cipher that has its key
 * @list: in vdisk_keys
 * @refs: nodes, of the tables of one mapped device
 * @md: the mapped device
 * @ref: what the line calls it
 * @tfm: the cipher
 * @valid: false once it is wiped
 */
struct vdisk_key {
	struct list_head list;
	unsigned int refs;
	const struct mapped_device *md;
	char *ref;
	struct crypto_skcipher *tfm;
	bool valid;
};

/* Guards the list, and refs and ref of what is in it. */
static DEFINE_MUTEX(vdisk_keys_lock);
static LIST_HEAD(vdisk_keys);

/* How many share the memory for bounces. */
static atomic_t vdisk_crypt_nodes;

/**
 * struct vdisk_crypt_cpu - what a CPU keeps, and what it hands over to others
 * @nr_kept: entries of @kept; only with interrupts off on this CPU
 * @kept: pages for bounces
 * @share: bios that are still to be shared out
 * @seen: bios that could have been handed over
 * @lock: guards what follows; taken in any context
 * @helpers: those that were woken and have not found @queue empty
 * @room: entries that @queue may have
 * @queued: entries that it has
 * @queue: bios for the helpers, struct vdisk_crypt_io.waiting
 */
struct vdisk_crypt_cpu {
	unsigned int nr_kept;
	struct page *kept[CRYPT_KEPT];
	unsigned int share;
	unsigned int seen;
	spinlock_t lock;	/* guards what follows */
	unsigned int helpers;
	unsigned int room;
	unsigned int queued;
	struct list_head queue;
};

/**
 * struct vdisk_crypt_helper - who helps a CPU with its bios
 * @list: in vdisk_crypt.idle
 * @work: its own: that of a bio's io may be another bio's before it ends
 * @c: of the node
 * @cpu: the CPU that it helps
 * @first: the bio that it was woken for
 */
struct vdisk_crypt_helper {
	struct list_head list;
	struct work_struct work;
	struct vdisk_crypt *c;
	struct vdisk_crypt_cpu *cpu;
	struct vdisk_crypt_io *first;
};

/**
 * struct vdisk_crypt - the node
 * @key: changes only while suspended, under stack->value_lock
 * @sector_size: bytes per unit of encryption
 * @iv_offset: sectors added to a bio's
 * @iv_shift: from sectors to what counts up in the IV
 * @req_size: of a request, the cipher's context included
 * @cpu: see there
 * @wq: helpers, and the ciphers of large bios
 * @helpers: as many as there are CPUs
 * @async: the cipher may answer later
 * @nr_pages: of all bounces, and kept for them
 * @max_pages: where @nr_pages times vdisk_crypt_nodes ends, and the reserve
 *	begins
 * @suspended: no bio is in flight and none will come
 * @lock: guards @reserved, @waiting and @idle
 * @reserved: the reserve is in use
 * @waiting: ios that found no bounce, by struct vdisk_crypt_io.waiting
 * @idle: of @helpers
 * @reserve: vector of the bounce in reserve
 */
struct vdisk_crypt {
	struct vdisk_key *key;
	unsigned int sector_size;
	sector_t iv_offset;
	unsigned int iv_shift;
	unsigned int req_size;
	bool async;
	struct vdisk_crypt_cpu __percpu *cpu;
	struct workqueue_struct *wq;
	struct vdisk_crypt_helper *helpers;
	struct percpu_counter nr_pages;
	s64 max_pages;
	bool suspended;
	spinlock_t lock;	/* guards @reserved, @waiting and @idle */
	bool reserved;
	struct list_head waiting;
	struct list_head idle;
	struct bio_vec reserve[CRYPT_PAGES];
};

/**
 * struct vdisk_crypt_io - per bio
 * @n: the node
 * @io: the io
 * @sector: of the next unit, in what the IV counts in before the shift
 * @src: vector of what is read, and where
 * @dst: vector of what is written, and where
 * @data: writes: the bio's own vector, while it carries @bounce
 * @bounce: writes: vector of the bounce, @few or the reserve's or allocated
 * @nr: entries of @bounce
 * @few: as a rule it needs no more
 * @waiting: in vdisk_crypt.waiting, or vdisk_crypt_cpu.queue
 * @sg: of one unit, source and destination
 * @iv: of one unit
 *
 * The cipher's request follows.
 */
struct vdisk_crypt_io {
	struct vdisk_node *n;
	struct vdisk_io *io;
	sector_t sector;
	struct {
		struct bio_vec *vec;
		struct bvec_iter iter;
	} src, dst;
	struct bio_vec *data;
	struct bio_vec *bounce;
	unsigned int nr;
	struct bio_vec few[CRYPT_FEW];
	struct list_head waiting;
	struct scatterlist sg[2];
	u8 iv[CRYPT_IV_SIZE];
};

static struct skcipher_request *vdisk_crypt_req(struct vdisk_crypt_io *st)
{
	return PTR_ALIGN((void *)(st + 1), CRYPTO_MINALIGN);
}

/*
 * Keys
 */

static int vdisk_key_give(struct vdisk_node *n, struct crypto_skcipher *tfm,
			  const u8 *bytes, size_t len, size_t size)
{
	int r;

	if (len != size)
		return vdisk_fail(n, -EINVAL, "key: it has %zu bytes, not %zu",
				  len, size);
	if (!crypto_memneq(bytes, bytes + size / 2, size / 2))
		return vdisk_fail(n, -EINVAL,
				  "key: its halves are equal, which makes XTS unsafe");
	r = crypto_skcipher_setkey(tfm, bytes, size);
	return r ? vdisk_fail(n, r, "key: the cipher refuses it (%pe)", ERR_PTR(r)) : 0;
}

static int vdisk_key_revoked(struct vdisk_node *n)
{
	return vdisk_fail(n, -EKEYREVOKED, "key: it is revoked");
}

/* user and logon keys */
static int vdisk_key_give_user(struct vdisk_node *n, const struct key *key,
			       struct crypto_skcipher *tfm, size_t size)
{
	const struct user_key_payload *p = user_key_payload_locked(key);

	return p ? vdisk_key_give(n, tfm, p->data, p->datalen, size) :
		   vdisk_key_revoked(n);
}

static int __maybe_unused vdisk_key_give_encrypted(struct vdisk_node *n,
						   const struct key *key,
						   struct crypto_skcipher *tfm,
						   size_t size)
{
	const struct encrypted_key_payload *p = key->payload.data[0];

	return p ? vdisk_key_give(n, tfm, p->decrypted_data, p->decrypted_datalen,
				  size) : vdisk_key_revoked(n);
}

static int __maybe_unused vdisk_key_give_trusted(struct vdisk_node *n,
						 const struct key *key,
						 struct crypto_skcipher *tfm,
						 size_t size)
{
	const struct trusted_key_payload *p = key->payload.data[0];

	return p ? vdisk_key_give(n, tfm, p->key, p->key_len, size) :
		   vdisk_key_revoked(n);
}

/* The types of keys that this kernel has. @give: with key->sem held */
static const struct vdisk_key_kind {
	struct key_type *type;
	int (*give)(struct vdisk_node *n, const struct key *key,
		    struct crypto_skcipher *tfm, size_t size);
} vdisk_key_kinds[] = {
	{ &key_type_logon, vdisk_key_give_user },
	{ &key_type_user, vdisk_key_give_user },
#if IS_ENABLED(CONFIG_ENCRYPTED_KEYS)
	{ &key_type_encrypted, vdisk_key_give_encrypted },
#endif
#if IS_ENABLED(CONFIG_TRUSTED_KEYS)
	{ &key_type_trusted, vdisk_key_give_trusted },
#endif
};

static const struct vdisk_key_kind *vdisk_key_kind(const char *name, size_t len)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vdisk_key_kinds); i++) {
		const struct vdisk_key_kind *kind = &vdisk_key_kinds[i];

		if (strlen(kind->type->name) == len &&
		    !memcmp(kind->type->name, name, len))
			return kind;
	}
	return NULL;
}

/* @ref is well-formed (vdisk-grammar.c): :<bytes>:<type>:<description> */
static int vdisk_key_look_up(struct vdisk_node *n, const char *ref,
			     struct crypto_skcipher *tfm)
{
	size_t size = strncmp(ref, ":32:", 4) ? 64 : 32;
	const char *type = strchr(ref + 1, ':') + 1;
	const char *description = strchr(type, ':') + 1;
	int type_len = description - 1 - type;
	const struct vdisk_key_kind *kind = vdisk_key_kind(type, type_len);
	struct key *key;
	int r;

	if (!kind)
		return vdisk_fail(n, -EOPNOTSUPP,
				  "key: this kernel has no keys of type %.*s",
				  type_len, type);
	key = request_key(kind->type, description, NULL);
	if (IS_ERR(key))
		return vdisk_fail(n, PTR_ERR(key), "key: %.*s key '%*pE': %s (%pe)",
				  type_len, type,
				  (int)min(strlen(description), (size_t)100),
				  description, PTR_ERR(key) == -ENOKEY ?
				  "not in the caller's keyrings" : "cannot be used",
				  key);
	down_read(&key->sem);
	r = kind->give(n, key, tfm, size);
	up_read(&key->sem);
	key_put(key);
	return r;
}

/*
 * A key may have left the keyrings since the live table found it there, as
 * cryptsetup's do. A reload of the same line still has it.
 */
static struct vdisk_key *vdisk_key_find(struct vdisk_node *n, const char *ref)
{
	const struct mapped_device *md = dm_table_get_md(n->stack->ti->table);
	struct vdisk_key *key;

	lockdep_assert_held(&vdisk_keys_lock);
	list_for_each_entry(key, &vdisk_keys, list)
		if (key->md == md && key->valid && !strcmp(key->ref, ref))
			return key;
	return NULL;
}

static void vdisk_key_free(struct vdisk_key *key)
{
	crypto_free_skcipher(key->tfm);
	kfree(key->ref);
	kfree(key);
}

static void vdisk_key_put(struct vdisk_key *key)
{
	mutex_lock(&vdisk_keys_lock);
	if (--key->refs) {
		mutex_unlock(&vdisk_keys_lock);
		return;
	}
	list_del(&key->list);
	mutex_unlock(&vdisk_keys_lock);
	vdisk_key_free(key);
}

static struct vdisk_key *vdisk_key_alloc(struct vdisk_node *n, const char *ref)
{
	struct vdisk_key *key = kzalloc(sizeof(*key), GFP_KERNEL);
	int r;

	if (!key)
		goto no_memory;
	key->ref = kstrdup(ref, GFP_KERNEL);
	if (!key->ref)
		goto no_memory;
	/*
	 * Asynchronous implementations are welcome: a request for synchronous
	 * ones only gets the slow one on x86 before 6.16, where the fast one
	 * counts as asynchronous.
	 */
	key->tfm = crypto_alloc_skcipher("xts(aes)", 0,
					 CRYPTO_ALG_ALLOCATES_MEMORY);
	if (IS_ERR(key->tfm)) {
		r = PTR_ERR(key->tfm);
		vdisk_fail(n, r, "cipher: xts(aes) cannot be had (%pe)", key->tfm);
		goto free;
	}
	key->refs = 1;
	key->md = dm_table_get_md(n->stack->ti->table);
	key->valid = true;
	return key;

no_memory:
	r = vdisk_fail(n, -ENOMEM, "out of memory");
free:
	if (key)
		kfree(key->ref);
	kfree(key);
	return ERR_PTR(r);
}

static bool vdisk_key_is_async(const struct vdisk_key *key)
{
	return crypto_skcipher_alg(key->tfm)->base.cra_flags & CRYPTO_ALG_ASYNC;
}

/* The key that @ref names. */
static struct vdisk_key *vdisk_key_get(struct vdisk_node *n, const char *ref)
{
	struct vdisk_key *live, *key = vdisk_key_alloc(n, ref);
	int r;

	if (IS_ERR(key))
		return key;
	r = vdisk_key_look_up(n, ref, key->tfm);

	mutex_lock(&vdisk_keys_lock);
	live = r == -ENOKEY ? vdisk_key_find(n, ref) : NULL;
	if (live)
		live->refs++;
	else if (!r)
		list_add(&key->list, &vdisk_keys);
	mutex_unlock(&vdisk_keys_lock);
	if (!live && !r)
		return key;
	vdisk_key_free(key);
	return live ?: ERR_PTR(r);
}

/*
 * The mapped device loses the key, and so does a table that is loaded for it
 * already, which may have found it by itself.
 */
static int vdisk_key_wipe(const struct vdisk_key *wiped)
{
	struct vdisk_key *key;
	u8 random[64];
	int r, err = 0;

	mutex_lock(&vdisk_keys_lock);
	list_for_each_entry(key, &vdisk_keys, list) {
		if (key->md != wiped->md || strcmp(key->ref, wiped->ref))
			continue;
		WRITE_ONCE(key->valid, false);
		get_random_bytes(random, sizeof(random));
		r = crypto_skcipher_setkey(key->tfm, random, sizeof(random));
		err = err ?: r;
	}
	mutex_unlock(&vdisk_keys_lock);
	return err;
}

/*
 * The cipher
 */

/**
 * vdisk_crypt_iv - the IV of a unit: plain64
 * @iv: set; 16 bytes
 * @sector: the unit's first
 * @shift: from sectors to what it counts in
 *
 * Context: Any context.
 */
void vdisk_crypt_iv(u8 *iv, sector_t sector, unsigned int shift)
{
	__le64 count = cpu_to_le64(sector >> shift);

	memcpy(iv, &count, sizeof(count));
	memset(iv + sizeof(count), 0, CRYPT_IV_SIZE - sizeof(count));
}

/*
 * From where it stands to the end. 0, -EINPROGRESS: vdisk_crypt_done() will be
 * called, or another error.
 */
static int vdisk_crypt_units(struct vdisk_crypt_io *st)
{
	const struct vdisk_crypt *c = st->n->priv;
	struct skcipher_request *req = vdisk_crypt_req(st);
	bool in_place = !st->data;
	unsigned int size = c->sector_size;
	struct bio_vec bv;
	int r = 0;

	while (!r && st->src.iter.bi_size) {
		bv = bvec_iter_bvec(st->src.vec, st->src.iter);
		/* The limits keep a unit in one page; a bio may ignore them. */
		if (unlikely(bv.bv_len < size))
			return -EIO;
		sg_set_page(&st->sg[0], bv.bv_page, size, bv.bv_offset);
		vdisk_crypt_iv(st->iv, st->sector, c->iv_shift);
		/* It may be done, and gone on, before the call returns. */
		st->sector += size >> SECTOR_SHIFT;
		bvec_iter_advance_single(st->src.vec, &st->src.iter, size);
		if (in_place) {
			r = crypto_skcipher_decrypt(req);
			continue;
		}
		bv = bvec_iter_bvec(st->dst.vec, st->dst.iter);
		sg_set_page(&st->sg[1], bv.bv_page, size, bv.bv_offset);
		bvec_iter_advance_single(st->dst.vec, &st->dst.iter, size);
		r = crypto_skcipher_encrypt(req);
	}
	/* In the implementation's backlog is as good as begun. */
	return r == -EBUSY ? -EINPROGRESS : r;
}

static void vdisk_crypt_unbounce(struct vdisk_crypt_io *st);

static void vdisk_crypt_failed(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_crypt_io *st = vdisk_state(n, io);

	if (st->data)
		vdisk_crypt_unbounce(st);
	vdisk_end(io, n, BLK_STS_IOERR);
}

/* With the answer of vdisk_crypt_units(), in process context. */
static void vdisk_crypt_finish(struct vdisk_io *io, int r)
{
	struct vdisk_crypt_io *st;

	if (r == -EINPROGRESS)
		return;
	st = vdisk_state(io->at, io);
	if (r)
		vdisk_crypt_failed(io);
	else if (st->data)
		vdisk_go_on(io, io->at);
	else
		vdisk_end(io, io->at, BLK_STS_OK);
}

/* On a worker: from where it stands to the end. */
static void vdisk_crypt_work(struct vdisk_io *io)
{
	vdisk_crypt_finish(io, vdisk_crypt_units(vdisk_state(io->at, io)));
}

/* One unit of an asynchronous implementation; any context. */
static void vdisk_crypt_done(VDISK_CRYPTO_DATA data, int error)
{
	struct vdisk_crypt_io *st = vdisk_crypto_data(data);

	if (error == -EINPROGRESS)	/* out of the backlog */
		return;
	vdisk_defer(st->io, error ? vdisk_crypt_failed : vdisk_crypt_work);
}

static void vdisk_crypt_prepare(struct vdisk_crypt *c, struct vdisk_crypt_io *st)
{
	struct skcipher_request *req = vdisk_crypt_req(st);

	sg_init_table(&st->sg[0], 1);
	if (st->data)
		sg_init_table(&st->sg[1], 1);
	skcipher_request_set_tfm(req, c->key->tfm);
	skcipher_request_set_callback(req, CRYPTO_TFM_REQ_MAY_BACKLOG,
				      vdisk_crypt_done, st);
	skcipher_request_set_crypt(req, &st->sg[0],
				   &st->sg[st->data ? 1 : 0],
				   c->sector_size, st->iv);
}

/*
 * Sharing out. Handing a bio to another CPU costs more than a small bio's
 * cipher, unless more of them come meanwhile, and nobody tells. So one in
 * CRYPT_PROBE is handed over. If the next comes to this CPU before that is done,
 * there is a queue, and the next CRYPT_SHARE are shared out: one wakes a helper,
 * one stays here, the next ones wait for the helper while there is room, and
 * what comes then stays here. A helper goes on as long as it finds bios, so a
 * CPU is woken once for many. A single reader or writer goes on without a queue.
 */

/* The next one for this helper; if there is none, it is none any more. */
static struct vdisk_crypt_io *vdisk_crypt_next(struct vdisk_crypt_cpu *cpu)
{
	struct vdisk_crypt_io *st;
	unsigned long flags;

	spin_lock_irqsave(&cpu->lock, flags);
	st = list_first_entry_or_null(&cpu->queue, struct vdisk_crypt_io, waiting);
	if (st) {
		list_del(&st->waiting);
		cpu->queued--;
	} else {
		cpu->helpers--;
	}
	spin_unlock_irqrestore(&cpu->lock, flags);
	return st;
}

static struct vdisk_crypt_helper *vdisk_crypt_idle(struct vdisk_crypt *c)
{
	struct vdisk_crypt_helper *helper;
	unsigned long flags;

	spin_lock_irqsave(&c->lock, flags);
	helper = list_first_entry_or_null(&c->idle, struct vdisk_crypt_helper,
					  list);
	if (helper)
		list_del(&helper->list);
	spin_unlock_irqrestore(&c->lock, flags);
	return helper;
}

static void vdisk_crypt_rest(struct vdisk_crypt_helper *helper)
{
	struct vdisk_crypt *c = helper->c;
	unsigned long flags;

	spin_lock_irqsave(&c->lock, flags);
	list_add(&helper->list, &c->idle);
	spin_unlock_irqrestore(&c->lock, flags);
}

/* Counted in @cpu->helpers */
static void vdisk_crypt_wake(struct vdisk_crypt_helper *helper,
			     struct vdisk_crypt_cpu *cpu,
			     struct vdisk_crypt_io *st)
{
	vdisk_may_wait(st->io);
	helper->cpu = cpu;
	helper->first = st;
	queue_work(helper->c->wq, &helper->work);
}

/*
 * It leaves before its last bio goes on, or who sends the next one would take
 * that for a queue.
 */
static void vdisk_crypt_help(struct work_struct *work)
{
	struct vdisk_crypt_helper *other, *helper =
		container_of(work, struct vdisk_crypt_helper, work);
	struct vdisk_crypt_io *next, *st = helper->first;
	struct vdisk_crypt_cpu *cpu = helper->cpu;
	struct vdisk_crypt *c = helper->c;
	struct vdisk_io *io;
	int r;

	/*
	 * Where it was woken is no help. The scheduler puts it there if who woke
	 * it is bound to that CPU, but not if it is a worker like this.
	 */
	other = cpu == raw_cpu_ptr(c->cpu) ? vdisk_crypt_idle(c) : NULL;
	if (other) {
		next = vdisk_crypt_next(cpu);
		if (next)
			vdisk_crypt_wake(other, cpu, next);
		else
			vdisk_crypt_rest(other);
		vdisk_crypt_work(st->io);
		st = NULL;
	}
	for (; st; st = next) {
		io = st->io;
		r = vdisk_crypt_units(st);
		next = vdisk_crypt_next(cpu);
		vdisk_crypt_finish(io, r);
		cond_resched();
	}
	/* The node is there as long as its works run. */
	vdisk_crypt_rest(helper);
}

/* A write may leave its submitter; a read has come back from there. */
static void vdisk_crypt_leaves(struct vdisk_crypt_io *st)
{
	if (st->data)
		vdisk_charge(st->io->bio);
}

/* True if it is not the caller's any more. */
static bool vdisk_crypt_share(struct vdisk_crypt *c, struct vdisk_crypt_io *st)
{
	struct vdisk_crypt_cpu *cpu = raw_cpu_ptr(c->cpu);
	unsigned int others = num_online_cpus() - 1;
	struct vdisk_crypt_helper *helper = NULL;
	unsigned long flags;
	bool queued = false;

	if (!others)
		return false;
	if (READ_ONCE(cpu->helpers))
		cpu->share = CRYPT_SHARE;
	else if (cpu->share)
		cpu->share--;
	else if (++cpu->seen % CRYPT_PROBE)
		return false;
	vdisk_crypt_leaves(st);
	spin_lock_irqsave(&cpu->lock, flags);
	if (!cpu->helpers || (cpu->room && cpu->queued == cpu->room &&
			      cpu->helpers < others))
		helper = vdisk_crypt_idle(c);
	if (helper) {
		cpu->room = 0;
		cpu->helpers++;
	} else if (cpu->helpers && cpu->queued < cpu->room) {
		queued = true;
		vdisk_may_wait(st->io);
		list_add_tail(&st->waiting, &cpu->queue);
		cpu->queued++;
	} else {
		cpu->room = cpu->helpers * CRYPT_ROOM;
	}
	spin_unlock_irqrestore(&cpu->lock, flags);
	if (helper)
		vdisk_crypt_wake(helper, cpu, st);
	return helper || queued;
}

/*
 * 0 or an error: it was done at once. -EINPROGRESS: the io is not the caller's
 * any more, a worker goes on with it.
 */
static int vdisk_crypt_run(struct vdisk_crypt_io *st, unsigned int bytes)
{
	struct vdisk_crypt *c = st->n->priv;
	bool large = bytes > CRYPT_INLINE;

	vdisk_crypt_prepare(c, st);
	st->io->at = st->n;
	if (c->async || large)
		vdisk_crypt_leaves(st);
	if (!large && vdisk_crypt_share(c, st))
		return -EINPROGRESS;
	if (large && num_online_cpus() > 1)
		vdisk_defer_to(st->io, c->wq, vdisk_crypt_work);
	else if (in_hardirq() || irqs_disabled() || (large && in_interrupt()))
		vdisk_defer(st->io, vdisk_crypt_work);
	else
		return vdisk_crypt_units(st);
	return -EINPROGRESS;
}

/*
 * Bounces
 */

static bool vdisk_bounce_is_full(struct vdisk_crypt *c, unsigned int share)
{
	return percpu_counter_read_positive(&c->nr_pages) *
	       atomic_read(&vdisk_crypt_nodes) * share >= c->max_pages;
}

/* A page that this CPU has kept, or NULL */
static struct page *vdisk_bounce_take(struct vdisk_crypt *c)
{
	struct vdisk_crypt_cpu *cpu;
	struct page *page = NULL;
	unsigned long flags;

	local_irq_save(flags);
	cpu = this_cpu_ptr(c->cpu);
	if (cpu->nr_kept)
		page = cpu->kept[--cpu->nr_kept];
	local_irq_restore(flags);
	return page;
}

/* Not if there are many already: another CPU may need them more. */
static bool vdisk_bounce_keep(struct vdisk_crypt *c, struct page *page)
{
	struct vdisk_crypt_cpu *cpu;
	unsigned long flags;
	bool keep;

	if (unlikely(vdisk_bounce_is_full(c, 2)))
		return false;
	local_irq_save(flags);
	cpu = this_cpu_ptr(c->cpu);
	keep = cpu->nr_kept < CRYPT_KEPT;
	if (keep)
		cpu->kept[cpu->nr_kept++] = page;
	local_irq_restore(flags);
	return keep;
}

static void vdisk_bounce_free(struct vdisk_crypt *c, struct vdisk_crypt_io *st)
{
	unsigned int i, pages = 0;

	if (st->nr == 1 && st->bounce[0].bv_len <= PAGE_SIZE &&
	    vdisk_bounce_keep(c, st->bounce[0].bv_page))
		return;
	for (i = 0; i < st->nr; i++) {
		unsigned int order = get_order(st->bounce[i].bv_len);

		pages += 1 << order;
		__free_pages(st->bounce[i].bv_page, order);
	}
	percpu_counter_sub(&c->nr_pages, pages);
	if (st->bounce != st->few)
		kfree(st->bounce);
}

/* Few large pieces rather than many pages; false with nothing allocated. */
static bool vdisk_bounce_alloc(struct vdisk_crypt *c, struct vdisk_crypt_io *st,
			       unsigned int bytes)
{
	gfp_t gfp = GFP_NOWAIT | __GFP_NOWARN | __GFP_NOMEMALLOC;
	unsigned int order = get_order(bytes);

	st->bounce = st->few;
	st->nr = 0;
	if (!order) {
		struct page *page = vdisk_bounce_take(c);

		if (page) {
			bvec_set_page(&st->bounce[st->nr++], page, bytes, 0);
			return true;
		}
	}
	if (unlikely(vdisk_bounce_is_full(c, 1)))
		return false;
	while (bytes) {
		unsigned int size;
		struct page *page;

		while (order && bytes <= PAGE_SIZE << (order - 1))
			order--;
		page = alloc_pages(gfp | (order ? __GFP_COMP | __GFP_NORETRY : 0),
				   order);
		if (!page && order) {
			order--;
			continue;
		}
		if (page && st->nr == CRYPT_FEW) {
			struct bio_vec *vec = kmalloc_array(CRYPT_PAGES, sizeof(*vec),
							    gfp);

			if (!vec) {
				__free_pages(page, order);
				page = NULL;
			} else {
				memcpy(vec, st->few, sizeof(st->few));
				st->bounce = vec;
			}
		}
		if (!page) {
			vdisk_bounce_free(c, st);
			return false;
		}
		percpu_counter_add(&c->nr_pages, 1 << order);
		size = min_t(unsigned int, bytes, PAGE_SIZE << order);
		bvec_set_page(&st->bounce[st->nr++], page, size, 0);
		bytes -= size;
	}
	return true;
}

/* False if the io was parked. @again: it was before, and stays the first. */
static bool vdisk_bounce_get(struct vdisk_crypt *c, struct vdisk_crypt_io *st,
			     unsigned int bytes, bool again)
{
	unsigned long flags;
	bool parked;

	if (likely(vdisk_bounce_alloc(c, st, bytes)))
		return true;
	st->bounce = NULL;
	vdisk_charge(st->io->bio);
	spin_lock_irqsave(&c->lock, flags);
	parked = c->reserved;
	if (parked && again)
		list_add(&st->waiting, &c->waiting);
	else if (parked)
		list_add_tail(&st->waiting, &c->waiting);
	c->reserved = true;
	spin_unlock_irqrestore(&c->lock, flags);
	if (parked)
		return false;
	st->bounce = c->reserve;
	st->nr = 0;
	return true;
}

static void vdisk_crypt_write_again(struct vdisk_io *io);

static void vdisk_bounce_put(struct vdisk_crypt *c, struct vdisk_crypt_io *st)
{
	struct vdisk_crypt_io *next;
	unsigned long flags;
	bool reserve = st->bounce == c->reserve;

	if (!reserve)
		vdisk_bounce_free(c, st);
	/*
	 * Who waits has found the reserve in use: either it still is, and its
	 * user comes here too, or its user sees who waits. The reserve goes from
	 * hand to hand, or a newcomer could take it each time.
	 */
	if (!reserve && list_empty_careful(&c->waiting))
		return;
	spin_lock_irqsave(&c->lock, flags);
	next = list_first_entry_or_null(&c->waiting, struct vdisk_crypt_io,
					waiting);
	if (next)
		list_del(&next->waiting);
	if (reserve && next) {
		next->bounce = c->reserve;
		next->nr = 0;
	} else if (reserve) {
		c->reserved = false;
	}
	spin_unlock_irqrestore(&c->lock, flags);
	if (next)
		vdisk_defer(next->io, vdisk_crypt_write_again);
}

/*
 * Bios
 */

/* The bio has its own data again, and the bounce goes. */
static void vdisk_crypt_unbounce(struct vdisk_crypt_io *st)
{
	st->io->bio->bi_io_vec = st->data;
	st->data = NULL;
	vdisk_bounce_put(st->n->priv, st);
}

/* As vdisk_crypt_run(); the bio carries the bounce from here on. */
static int vdisk_crypt_write(struct vdisk_crypt *c, struct vdisk_crypt_io *st)
{
	struct bio *bio = st->io->bio;
	unsigned int bytes = bio->bi_iter.bi_size;

	st->data = bio->bi_io_vec;
	st->src.vec = bio->bi_io_vec;
	st->src.iter = bio->bi_iter;
	bio->bi_io_vec = st->bounce;
	bio->bi_iter = (struct bvec_iter){
		.bi_sector = bio->bi_iter.bi_sector,
		.bi_size = bytes,
	};
	st->dst.vec = st->bounce;
	st->dst.iter = bio->bi_iter;
	return vdisk_crypt_run(st, bytes);
}

/* On the stack's worker: it was parked for want of a bounce. */
static void vdisk_crypt_write_again(struct vdisk_io *io)
{
	struct vdisk_node *n = io->at;
	struct vdisk_crypt_io *st = vdisk_state(n, io);
	struct vdisk_crypt *c = n->priv;
	int r;

	if (!st->bounce && !vdisk_bounce_get(c, st, io->bio->bi_iter.bi_size, true))
		return;
	r = vdisk_crypt_write(c, st);
	if (r == -EINPROGRESS)
		return;
	if (r)
		vdisk_crypt_failed(io);
	else
		vdisk_go_on(io, n);
}

/*
 * What is not offered may still come: the block layer looked at the limits of
 * the table before.
 */
static bool vdisk_crypt_passes(const struct vdisk_node *n, const struct bio *bio)
{
	switch (bio_op(bio)) {
	case REQ_OP_WRITE_ZEROES:
	case REQ_OP_SECURE_ERASE:
		return false;
	case REQ_OP_DISCARD:
		return n->val[CRYPT_ALLOW_DISCARDS].set;
	default:
		return true;
	}
}

static enum vdisk_map vdisk_crypt_map(struct vdisk_node *n, struct vdisk_io *io)
{
	struct vdisk_crypt_io *st = vdisk_state(n, io);
	struct vdisk_crypt *c = n->priv;
	struct bio *bio = io->bio;
	int r;

	st->data = NULL;
	st->src.iter.bi_size = 0;
	if (!bio_has_data(bio)) {
		if (vdisk_crypt_passes(n, bio))
			return VDISK_DOWN;
		vdisk_end(io, n, BLK_STS_NOTSUPP);
		return VDISK_TAKEN;
	}
	if (unlikely(!READ_ONCE(c->key->valid)) ||
	    unlikely((bio->bi_iter.bi_size | to_bytes(bio->bi_iter.bi_sector)) &
		     (c->sector_size - 1))) {
		vdisk_end(io, n, BLK_STS_IOERR);
		return VDISK_TAKEN;
	}
	st->n = n;
	st->io = io;
	st->sector = bio->bi_iter.bi_sector + c->iv_offset;
	if (!op_is_write(bio_op(bio))) {
		st->src.vec = bio->bi_io_vec;
		st->src.iter = bio->bi_iter;
		return VDISK_DOWN;
	}
	if (!vdisk_bounce_get(c, st, bio->bi_iter.bi_size, false))
		return VDISK_TAKEN;
	r = vdisk_crypt_write(c, st);
	if (likely(!r))
		return VDISK_DOWN;
	if (r != -EINPROGRESS)
		vdisk_crypt_failed(io);
	return VDISK_TAKEN;
}

static enum vdisk_end vdisk_crypt_end(struct vdisk_node *n, struct vdisk_io *io,
				      blk_status_t *status)
{
	struct vdisk_crypt_io *st = vdisk_state(n, io);
	int r;

	if (st->data) {
		vdisk_crypt_unbounce(st);
		return VDISK_UP;
	}
	if (!st->src.iter.bi_size || *status)
		return VDISK_UP;
	st->dst = st->src;
	r = vdisk_crypt_run(st, st->src.iter.bi_size);
	if (r == -EINPROGRESS)
		return VDISK_KEPT;
	if (r)
		*status = BLK_STS_IOERR;
	io->at = n->parent;
	return VDISK_UP;
}

/*
 * The node
 */

static void vdisk_crypt_free(struct vdisk_crypt *c)
{
	unsigned int i;
	int cpu;

	/* First: who has sent on the last bio may not have returned yet. */
	if (c->wq)
		destroy_workqueue(c->wq);
	kfree(c->helpers);
	for (i = 0; i < CRYPT_PAGES; i++)
		if (c->reserve[i].bv_page)
			__free_page(c->reserve[i].bv_page);
	percpu_counter_destroy(&c->nr_pages);
	atomic_dec(&vdisk_crypt_nodes);
	for_each_possible_cpu(cpu) {
		struct vdisk_crypt_cpu *this;

		if (!c->cpu)
			break;
		this = per_cpu_ptr(c->cpu, cpu);
		while (this->nr_kept)
			__free_page(this->kept[--this->nr_kept]);
	}
	free_percpu(c->cpu);
	kfree(c);
}

/* What the node needs to encrypt; the key is apart. */
static struct vdisk_crypt *vdisk_crypt_alloc(struct vdisk_node *n)
{
	struct vdisk_crypt *c = kzalloc(sizeof(*c), GFP_KERNEL);
	unsigned int i;
	int cpu;

	if (!c)
		return NULL;
	atomic_inc(&vdisk_crypt_nodes);
	/* Until the first resume. */
	c->suspended = true;
	spin_lock_init(&c->lock);
	INIT_LIST_HEAD(&c->waiting);
	INIT_LIST_HEAD(&c->idle);
	c->cpu = alloc_percpu(struct vdisk_crypt_cpu);
	/*
	 * Of the usual priority: a worker that runs in the place of the bio's
	 * submitter keeps it from submitting what another worker could do. Each
	 * node's own, since encrypting may wait for what lies below.
	 */
	c->wq = alloc_workqueue("vdisk-crypt/%s", WQ_MEM_RECLAIM | WQ_UNBOUND,
				num_possible_cpus(),
				dm_table_device_name(n->stack->ti->table));
	c->helpers = kcalloc(num_possible_cpus(), sizeof(*c->helpers), GFP_KERNEL);
	if (percpu_counter_init(&c->nr_pages, 0, GFP_KERNEL) || !c->cpu ||
	    !c->wq || !c->helpers)
		goto bad;
	for (i = 0; i < num_possible_cpus(); i++) {
		INIT_WORK(&c->helpers[i].work, vdisk_crypt_help);
		c->helpers[i].c = c;
		list_add(&c->helpers[i].list, &c->idle);
	}
	for_each_possible_cpu(cpu) {
		struct vdisk_crypt_cpu *this = per_cpu_ptr(c->cpu, cpu);

		spin_lock_init(&this->lock);
		INIT_LIST_HEAD(&this->queue);
	}
	for (i = 0; i < CRYPT_PAGES; i++) {
		struct page *page = alloc_page(GFP_KERNEL);

		if (!page)
			goto bad;
		bvec_set_page(&c->reserve[i], page, PAGE_SIZE, 0);
	}
	/* For all nodes together, as dm-crypt's 2 % are. */
	c->max_pages = totalram_pages() / 64;
	return c;

bad:
	vdisk_crypt_free(c);
	return NULL;
}

static int vdisk_crypt_ctr(struct vdisk_node *n)
{
	struct vdisk_crypt *c;
	int r;

	if (!n->val[CRYPT_CIPHER].set)
		return vdisk_fail(n, -EINVAL, "cipher: missing");
	if (!n->val[CRYPT_KEY].set)
		return vdisk_fail(n, -EINVAL, "key: missing");
	c = vdisk_crypt_alloc(n);
	if (!c)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	c->sector_size = SECTOR_SIZE;
	if (n->val[CRYPT_SECTOR_SIZE].set &&
	    kstrtouint(n->val[CRYPT_SECTOR_SIZE].str, 10, &c->sector_size)) {
		r = vdisk_fail(n, -EINVAL, "sector_size: no number");
		goto free;
	}
	c->iv_offset = n->val[CRYPT_IV_OFFSET].num;
	if (c->iv_offset & ((c->sector_size >> SECTOR_SHIFT) - 1)) {
		r = vdisk_fail(n, -EINVAL,
			       "iv_offset: not a multiple of sector_size, %u sectors",
			       c->sector_size >> SECTOR_SHIFT);
		goto free;
	}
	if (n->val[CRYPT_IV_LARGE].set)
		c->iv_shift = ilog2(c->sector_size) - SECTOR_SHIFT;
	c->key = vdisk_key_get(n, n->val[CRYPT_KEY].str);
	if (IS_ERR(c->key)) {
		r = PTR_ERR(c->key);
		goto free;
	}
	c->req_size = sizeof(struct skcipher_request) +
		      crypto_skcipher_reqsize(c->key->tfm);
	c->async = vdisk_key_is_async(c->key);
	n->io_size = sizeof(struct vdisk_crypt_io) + CRYPTO_MINALIGN + c->req_size;
	n->priv = c;
	return 0;

free:
	vdisk_crypt_free(c);
	return r;
}

static void vdisk_crypt_dtr(struct vdisk_node *n)
{
	struct vdisk_crypt *c = n->priv;

	WARN_ON_ONCE(c->reserved || !list_empty(&c->waiting));
	vdisk_key_put(c->key);
	vdisk_crypt_free(c);
}

static sector_t vdisk_crypt_length(const struct vdisk_node *n)
{
	const struct vdisk_crypt *c = n->priv;
	sector_t len = n->children[0]->ops->length(n->children[0]);

	return len == VDISK_UNBOUNDED ? len :
	       round_down(len, c->sector_size >> SECTOR_SHIFT);
}

static int vdisk_crypt_give(struct vdisk_node *n)
{
	n->children[0]->len = n->len;
	return 0;
}

static void vdisk_crypt_limits(struct vdisk_node *n, struct queue_limits *lim)
{
	const struct vdisk_crypt *c = n->priv;

	lim->logical_block_size = max(lim->logical_block_size, c->sector_size);
	lim->physical_block_size = max(lim->physical_block_size, c->sector_size);
	lim->io_min = max(lim->io_min, c->sector_size);
	/* So a unit lies in one piece of memory. More than a page is no alignment. */
	lim->dma_alignment = max(lim->dma_alignment,
				 min_t(unsigned int, lim->logical_block_size,
				       PAGE_SIZE) - 1);
	/*
	 * Zeroes below are not zeroes above: without write-zeroes the block layer
	 * writes them as data.
	 */
	lim->max_write_zeroes_sectors = 0;
	vdisk_limits_check_unmap(lim);
	lim->max_secure_erase_sectors = 0;
	if (!n->val[CRYPT_ALLOW_DISCARDS].set)
		vdisk_limits_discard(lim, 0, 0);
	else if (lim->max_hw_discard_sectors)
		lim->discard_granularity = max(lim->discard_granularity,
					       c->sector_size);
}

static struct vdisk_node *vdisk_crypt_route(struct vdisk_node *n,
					    struct vdisk_run *run)
{
	run->nr = min(run->nr, CRYPT_SECTORS);
	return n->children[0];
}

static void vdisk_crypt_postsuspend(struct vdisk_node *n)
{
	struct vdisk_crypt *c = n->priv;

	c->suspended = true;
}

static int vdisk_crypt_preresume(struct vdisk_node *n)
{
	struct vdisk_crypt *c = n->priv;
	int r = 0;

	/*
	 * Wait for a message that changes the key. Bios come when this has ended:
	 * nodes above read their stores.
	 */
	mutex_lock(&n->stack->message_lock);
	if (c->key->valid)
		c->suspended = false;
	else
		r = vdisk_fail(n, -EAGAIN,
			       "key: it is wiped; send the message 'key set :<bytes>:<type>:<description>' first");
	mutex_unlock(&n->stack->message_lock);
	return r;
}

static int vdisk_crypt_set(struct vdisk_node *n, const char *ref)
{
	struct vdisk_val *val = &n->val[CRYPT_KEY];
	struct vdisk_crypt *c = n->priv;
	struct vdisk_key *key;
	char *str;
	int r;

	r = vdisk_check_key(n, "key", ref);
	if (r)
		return r;
	if (strncmp(ref, val->str, strlen(":64:")))
		return vdisk_fail(n, -EINVAL, "key: its size cannot change, %.2s bytes",
				  val->str + 1);
	str = kstrdup(ref, GFP_NOIO);
	if (!str)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	key = vdisk_key_get(n, ref);
	if (IS_ERR(key)) {
		kfree(str);
		return PTR_ERR(key);
	}
	if (sizeof(struct skcipher_request) +
	    crypto_skcipher_reqsize(key->tfm) > c->req_size) {
		vdisk_key_put(key);
		kfree(str);
		return vdisk_fail(n, -EBUSY,
				  "key: the kernel now has another xts(aes), which needs more memory per bio; reload the table");
	}
	spin_lock(&n->stack->value_lock);
	swap(val->str, str);
	swap(c->key, key);
	c->async = vdisk_key_is_async(c->key);
	spin_unlock(&n->stack->value_lock);
	kfree(str);
	vdisk_key_put(key);
	return 0;
}

/* The verbs of dm-crypt, under its condition. */
static int vdisk_crypt_message(struct vdisk_node *n, unsigned int argc,
			       char **argv, struct vdisk_out *out)
{
	struct vdisk_crypt *c = n->priv;
	bool set = argc == 3 && !strcmp(argv[1], "set");
	bool wipe = argc == 2 && !strcmp(argv[1], "wipe");
	unsigned int noio;
	int r;

	if (strcmp(argv[0], "key") || (!set && !wipe))
		return vdisk_fail(n, -EINVAL,
				  "understands: key set :<bytes>:<type>:<description>, key wipe");
	if (!c->suspended)
		return vdisk_fail(n, -EBUSY,
				  "key: not while the device is in use; suspend it first");
	/* Reclaim may wait for this very device. */
	noio = memalloc_noio_save();
	if (set)
		r = vdisk_crypt_set(n, argv[2]);
	else
		r = vdisk_key_wipe(c->key);
	memalloc_noio_restore(noio);
	return r;
}

static void vdisk_crypt_status(struct vdisk_node *n, struct vdisk_out *out)
{
	struct vdisk_crypt *c = n->priv;

	spin_lock(&n->stack->value_lock);
	vdisk_emit(out, " key=%s cipher=%s", c->key->valid ? "set" : "wiped",
		   crypto_skcipher_alg(c->key->tfm)->base.cra_driver_name);
	spin_unlock(&n->stack->value_lock);
}

const struct vdisk_ops vdisk_crypt_ops = {
	.ctr = vdisk_crypt_ctr,
	.dtr = vdisk_crypt_dtr,
	.length = vdisk_crypt_length,
	.give = vdisk_crypt_give,
	.limits = vdisk_crypt_limits,
	.route = vdisk_crypt_route,
	.map = vdisk_crypt_map,
	.end = vdisk_crypt_end,
	.postsuspend = vdisk_crypt_postsuspend,
	.preresume = vdisk_crypt_preresume,
	.preresume_undo = vdisk_crypt_postsuspend,
	.status = vdisk_crypt_status,
	.message = vdisk_crypt_message,
	.splits = true,
	.whole = CRYPT_SECTORS,
	.defers = true,
	.charges = true,
};
