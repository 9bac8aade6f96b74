// SPDX-License-Identifier: GPL-2.0-only
/*
 * An xts(aes) that everybody gets, as its priority is the highest. Either
 *
 *	xts-null-vdisk	copies, and encrypts nothing: what is left of a
 *			benchmark is the machinery around the cipher; or, with
 *			async=1,
 *	xts-async-vdisk	is the kernel's own synchronous one, but every request
 *			comes back later: from a workqueue or, with irq=1, from
 *			a hard interrupt. With busy=N, each N-th request finds
 *			the queue full: -EBUSY if it may wait for a place there,
 *			else -ENOSPC.
 *
 * The kernel tests what registers, and the first one cannot pass: set
 * /sys/module/cryptomgr/parameters/notests before loading it. The second one
 * does pass, and should be tested.
 */
#include <crypto/internal/skcipher.h>
#include <crypto/xts.h>
#include <linux/atomic.h>
#include <linux/bottom_half.h>
#include <linux/highmem.h>
#include <linux/irq_work.h>
#include <linux/llist.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/workqueue.h>

/* Real, but asynchronous */
static bool async;
module_param(async, bool, 0444);

/* Asynchronous completions come in a hard interrupt */
static bool irq;
module_param(irq, bool, 0644);

/* Each so many requests, the queue is full (0: never) */
static uint busy;
module_param(busy, uint, 0644);

/* Of the algorithm */
static int priority = 10000;
module_param(priority, int, 0444);

static int nullxts_setkey(struct crypto_skcipher *tfm, const u8 *key,
			  unsigned int len)
{
	return len == 32 || len == 64 ? 0 : -EINVAL;
}

static int nullxts_walk(struct skcipher_request *req)
{
	struct skcipher_walk walk;
	int r;

	r = skcipher_walk_virt(&walk, req, false);
	while (walk.nbytes) {
		if (walk.src.virt.addr != walk.dst.virt.addr)
			memcpy(walk.dst.virt.addr, walk.src.virt.addr,
			       walk.nbytes);
		r = skcipher_walk_done(&walk, 0);
	}
	return r;
}

static int nullxts_crypt(struct skcipher_request *req)
{
	struct scatterlist *src = req->src, *dst = req->dst;

	/* Walking costs more than all the rest. */
	if (src->length < req->cryptlen || dst->length < req->cryptlen ||
	    PageHighMem(sg_page(src)) || PageHighMem(sg_page(dst)))
		return nullxts_walk(req);
	if (sg_virt(src) != sg_virt(dst))
		memcpy(sg_virt(dst), sg_virt(src), req->cryptlen);
	return 0;
}

static struct skcipher_alg nullxts_alg = {
	.base.cra_name = "xts(aes)",
	.base.cra_driver_name = "xts-null-vdisk",
	.base.cra_blocksize = XTS_BLOCK_SIZE,
	.base.cra_module = THIS_MODULE,
	.min_keysize = 32,
	.max_keysize = 64,
	.ivsize = XTS_BLOCK_SIZE,
	.setkey = nullxts_setkey,
	.encrypt = nullxts_crypt,
	.decrypt = nullxts_crypt,
};

/**
 * struct asyncxts_request - a request on its way
 * @req: the caller's
 * @work: does it
 * @done: in asyncxts_done
 * @status: how it ended
 * @encrypt: else decrypt
 * @waited: it was told -EBUSY, and waits to be told that it got a place
 * @sub: the request to the real cipher
 */
struct asyncxts_request {
	struct skcipher_request *req;
	struct work_struct work;
	struct llist_node done;
	int status;
	bool encrypt;
	bool waited;
	struct skcipher_request sub;	/* the last: a context follows it */
};

/* struct crypto_skcipher *: the real cipher */
#define asyncxts_child(tfm)	(*(struct crypto_skcipher **)crypto_skcipher_ctx(tfm))

static struct workqueue_struct *asyncxts_wq;
static atomic_t asyncxts_requests;
static LLIST_HEAD(asyncxts_done);	/* for asyncxts_irq() */

static int asyncxts_setkey(struct crypto_skcipher *tfm, const u8 *key,
			   unsigned int len)
{
	struct crypto_skcipher *child = asyncxts_child(tfm);

	crypto_skcipher_clear_flags(child, CRYPTO_TFM_REQ_MASK);
	crypto_skcipher_set_flags(child, crypto_skcipher_get_flags(tfm) &
				  CRYPTO_TFM_REQ_MASK);
	return crypto_skcipher_setkey(child, key, len);
}

/* Not one for each request: it is looked at after the request has ended. */
static void asyncxts_irq(struct irq_work *irq_work)
{
	struct asyncxts_request *r, *next;

	llist_for_each_entry_safe(r, next, llist_del_all(&asyncxts_done), done)
		skcipher_request_complete(r->req, r->status);
}

static DEFINE_IRQ_WORK(asyncxts_irq_work, asyncxts_irq);

static void asyncxts_work(struct work_struct *work)
{
	struct asyncxts_request *r = container_of(work, struct asyncxts_request,
						  work);
	struct skcipher_request *req = r->req;
	struct crypto_skcipher *child;

	if (r->waited) {
		local_bh_disable();
		skcipher_request_complete(req, -EINPROGRESS);
		local_bh_enable();
	}
	child = asyncxts_child(crypto_skcipher_reqtfm(req));
	skcipher_request_set_tfm(&r->sub, child);
	skcipher_request_set_callback(&r->sub, 0, NULL, NULL);
	skcipher_request_set_crypt(&r->sub, req->src, req->dst, req->cryptlen,
				   req->iv);
	r->status = r->encrypt ? crypto_skcipher_encrypt(&r->sub) :
				 crypto_skcipher_decrypt(&r->sub);
	if (READ_ONCE(irq)) {
		llist_add(&r->done, &asyncxts_done);
		irq_work_queue(&asyncxts_irq_work);
		return;
	}
	local_bh_disable();
	skcipher_request_complete(req, r->status);
	local_bh_enable();
}

static int asyncxts_queue(struct skcipher_request *req, bool encrypt)
{
	struct asyncxts_request *r = skcipher_request_ctx(req);
	unsigned int nth = READ_ONCE(busy);
	int ret = -EINPROGRESS;

	if (nth && !((unsigned int)atomic_inc_return(&asyncxts_requests) % nth)) {
		if (!(req->base.flags & CRYPTO_TFM_REQ_MAY_BACKLOG))
			return -ENOSPC;
		ret = -EBUSY;
	}
	r->req = req;
	r->encrypt = encrypt;
	r->waited = ret == -EBUSY;
	INIT_WORK(&r->work, asyncxts_work);
	queue_work(asyncxts_wq, &r->work);
	return ret;
}

static int asyncxts_encrypt(struct skcipher_request *req)
{
	return asyncxts_queue(req, true);
}

static int asyncxts_decrypt(struct skcipher_request *req)
{
	return asyncxts_queue(req, false);
}

static int asyncxts_init_tfm(struct crypto_skcipher *tfm)
{
	struct crypto_skcipher *child;

	/* Not asynchronous, so not this one. */
	child = crypto_alloc_skcipher("xts(aes)", 0, CRYPTO_ALG_ASYNC);
	if (IS_ERR(child))
		return PTR_ERR(child);
	asyncxts_child(tfm) = child;
	crypto_skcipher_set_reqsize(tfm, sizeof(struct asyncxts_request) +
				    crypto_skcipher_reqsize(child));
	return 0;
}

static void asyncxts_exit_tfm(struct crypto_skcipher *tfm)
{
	crypto_free_skcipher(asyncxts_child(tfm));
}

static struct skcipher_alg asyncxts_alg = {
	.base.cra_name = "xts(aes)",
	.base.cra_driver_name = "xts-async-vdisk",
	.base.cra_flags = CRYPTO_ALG_ASYNC,
	.base.cra_blocksize = XTS_BLOCK_SIZE,
	.base.cra_ctxsize = sizeof(struct crypto_skcipher *),
	.base.cra_module = THIS_MODULE,
	.min_keysize = 32,
	.max_keysize = 64,
	.ivsize = XTS_BLOCK_SIZE,
	.setkey = asyncxts_setkey,
	.encrypt = asyncxts_encrypt,
	.decrypt = asyncxts_decrypt,
	.init = asyncxts_init_tfm,
	.exit = asyncxts_exit_tfm,
};

static struct skcipher_alg *registered;

static int __init nullxts_init(void)
{
	int r;

	registered = async ? &asyncxts_alg : &nullxts_alg;
	registered->base.cra_priority = priority;
	asyncxts_wq = alloc_workqueue("vdisk-asyncxts",
				      WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!asyncxts_wq)
		return -ENOMEM;
	r = crypto_register_skcipher(registered);
	if (r)
		destroy_workqueue(asyncxts_wq);
	return r;
}

static void __exit nullxts_exit(void)
{
	crypto_unregister_skcipher(registered);
	irq_work_sync(&asyncxts_irq_work);
	destroy_workqueue(asyncxts_wq);
}

module_init(nullxts_init);
module_exit(nullxts_exit);

MODULE_DESCRIPTION("An xts(aes) that costs nothing, or is asynchronous");
MODULE_LICENSE("GPL");
