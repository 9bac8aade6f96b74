// SPDX-License-Identifier: GPL-2.0-only
/*
 * blob: bytes that a process, the helper, supplies on demand. Only read.
 *
 * Nothing is allocated for a bio: it waits in its own per-bio state, and what
 * a helper holds lies in a table that its attach made. Misses are put together
 * when the helper reads them, not when they come: what has piled up by then and
 * touches is one request.
 *
 *	     map()         vdisk_blob_take()         vdisk_blob_begin()
 *	bio -------> pending --------------> a request's --------------> supplied
 *	                ^     read()              ^        write()          |
 *	                +-------------------------+-------------------------+
 *	                 handed out again            memory was not there, or
 *	                                             the request was a part of it
 *
 * The data is copied straight from the helper's memory to the bio's pages, by
 * the thread that writes it and without a lock, since nobody else looks at what
 * is being supplied. It does not fault there: if the memory is not in, the bios
 * go back to where they were, and it is faulted in while nothing depends on it.
 * So a helper whose memory never comes holds nothing but its requests, which
 * can be taken from it. Pinning instead would cost more than copying for what is
 * small, and would let a helper change the guest's data afterwards.
 */
#include <linux/blkdev.h>
#include <linux/highmem.h>
#include <linux/ioprio.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uio.h>

#include "vdisk-blob.h"

#define DM_MSG_PREFIX "vdisk blob"

#define VDISK_BLOB_TIMEOUT_US	30000000ULL
#define VDISK_BLOB_FOREVER	U64_MAX

/* What says that there is something to read; who polls may ask for either. */
#define VDISK_BLOB_IN		(EPOLLIN | EPOLLRDNORM)

/* Read-ahead that is so old is as urgent as any read: somebody may wait by now. */
#define VDISK_BLOB_OLD_NS	NSEC_PER_SEC

/**
 * struct vdisk_blob_node - the node
 * @n: back
 * @blob: what it reads
 * @list: in vdisk_blob.nodes
 * @patience: ns to wait for a lost helper, or VDISK_BLOB_FOREVER
 * @fails: messages "fail" so far; under the blob's lock as what follows
 * @requeues: in a noflush suspend: dm core keeps the bios
 * @suspended: hydration does not wait
 * @pins: a store above knows of which version it is; under vdisk_blobs_lock
 */
struct vdisk_blob_node {
	struct vdisk_node *n;
	struct vdisk_blob *blob;
	struct list_head list;
	u64 patience;
	u32 fails;
	bool requeues;
	bool suspended;
	bool pins;
};

/**
 * struct vdisk_blob_io - per bio
 * @node: in vdisk_blob.pending, or empty
 * @list: in fifo, a request's ios, a supply's, or of those about to end
 * @b: its node
 * @io: the io
 * @iter: what it has not got
 * @before: the same, before the record that is being copied
 * @since: ktime_get_ns() when it came
 * @pended: the same, when it last became one that helpers can read
 * @fails: vdisk_blob_node.fails when it came
 * @prio: VDISK_PRIO_*
 * @status: set when it is about to end
 */
struct vdisk_blob_io {
	struct rb_node node;
	struct list_head list;
	struct vdisk_blob_node *b;
	struct vdisk_io *io;
	struct bvec_iter iter;
	struct bvec_iter before;
	u64 since;
	u64 pended;
	u32 fails;
	u8 prio;
	blk_status_t status;
};

/* Guards the names, refs, nodes and pins of blobs; outside their locks. */
DEFINE_MUTEX(vdisk_blobs_lock);
static LIST_HEAD(vdisk_blobs);
/* Helpers that found no such name wait for this many to have been made. */
u64 vdisk_blobs_made;
DECLARE_WAIT_QUEUE_HEAD(vdisk_blobs_wait);
static struct workqueue_struct *vdisk_blob_wq;

static struct vdisk_blob_io *vdisk_blob_pending(struct rb_node *node)
{
	return rb_entry_safe(node, struct vdisk_blob_io, node);
}

static struct vdisk_blob_request *vdisk_blob_held(struct rb_node *node)
{
	return rb_entry_safe(node, struct vdisk_blob_request, node);
}

static sector_t vdisk_blob_io_end(const struct vdisk_blob_io *st)
{
	return st->iter.bi_sector + (st->iter.bi_size >> SECTOR_SHIFT);
}

static bool vdisk_blob_io_less(struct rb_node *a, const struct rb_node *b)
{
	return vdisk_blob_pending(a)->iter.bi_sector <
	       vdisk_blob_pending((struct rb_node *)b)->iter.bi_sector;
}

static bool vdisk_blob_request_less(struct rb_node *a, const struct rb_node *b)
{
	return vdisk_blob_held(a)->sector <
	       vdisk_blob_held((struct rb_node *)b)->sector;
}

/* The request that is held, the last one that begins at or before @sector. */
static struct vdisk_blob_request *__vdisk_blob_before(struct vdisk_blob *blob,
						      sector_t sector)
{
	struct rb_node *node = blob->held.rb_node, *found = NULL;

	while (node) {
		if (vdisk_blob_held(node)->sector <= sector) {
			found = node;
			node = node->rb_right;
		} else {
			node = node->rb_left;
		}
	}
	return vdisk_blob_held(found);
}

/* The first pending io that waits for @sector or one behind it. */
static struct vdisk_blob_io *__vdisk_blob_from(struct vdisk_blob *blob,
					       sector_t sector)
{
	struct rb_node *node = blob->pending.rb_node, *found = NULL;

	while (node) {
		if (vdisk_blob_pending(node)->iter.bi_sector >= sector) {
			found = node;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return vdisk_blob_pending(found);
}

/* @watch has to run at @when, ktime_get_ns(), or before. */
static void __vdisk_blob_arm(struct vdisk_blob *blob, u64 when)
{
	u64 now;

	lockdep_assert_held(&blob->lock);
	if (when == VDISK_BLOB_FOREVER || (blob->armed && blob->armed <= when))
		return;
	now = ktime_get_ns();
	blob->armed = when;
	mod_delayed_work(vdisk_blob_wq, &blob->watch,
			 when > now ? nsecs_to_jiffies64(when - now) + 1 : 0);
}

/* When the io has waited long enough for a helper that is lost. */
static u64 __vdisk_blob_deadline(struct vdisk_blob *blob,
				 const struct vdisk_blob_io *st)
{
	u64 since = max(blob->lost_since, st->since), when;

	if (check_add_overflow(since, st->b->patience, &when))
		return VDISK_BLOB_FOREVER;
	return when;
}

static void __vdisk_blob_wake(struct vdisk_blob *blob)
{
	struct vdisk_blob_file *file;

	lockdep_assert_held(&blob->lock);
	list_for_each_entry(file, &blob->files, list)
		/*
		 * Who queues himself asks vdisk_blob_ready() afterwards, which
		 * takes the lock: he sees what is pending by now, or is seen.
		 */
		if (!list_empty(&file->free) && waitqueue_active(&file->wait))
			wake_up_interruptible_poll(&file->wait, VDISK_BLOB_IN);
}

/* Nobody waits for it but who makes it: a node of the stack, not the guest. */
static bool vdisk_blob_hydrates(const struct vdisk_blob_io *st)
{
	return !vdisk_io_origin(st->io)->owner &&
	       (st->io->bio->bi_opf & REQ_BACKGROUND);
}

/* Why the io shall not wait at all. */
static blk_status_t __vdisk_blob_refuses(struct vdisk_blob *blob,
					 const struct vdisk_blob_io *st)
{
	const struct vdisk_blob_node *b = st->b;

	/* If the suspend was interrupted, dm core would make it an error. */
	if (b->requeues && dm_noflush_suspending(b->n->stack->ti))
		return BLK_STS_DM_REQUEUE;
	if (b->suspended && vdisk_blob_hydrates(st))
		return BLK_STS_AGAIN;
	if (b->fails != st->fails || (blob->lost_since && !b->patience))
		return BLK_STS_TRANSPORT;
	return BLK_STS_OK;
}

/* The io is about to end. */
static void __vdisk_blob_account(struct vdisk_blob *blob,
				 struct vdisk_blob_io *st, blk_status_t status)
{
	u64 us;

	st->status = status;
	blob->nr_waiting--;
	if (status) {
		if (status != BLK_STS_DM_REQUEUE && status != BLK_STS_AGAIN)
			blob->count.failed++;
		return;
	}
	us = div_u64(ktime_get_ns() - st->since, NSEC_PER_USEC);
	blob->count.served++;
	blob->count.latency[min_t(unsigned int,
				  fls64(us / VDISK_BLOB_BUCKET_US),
				  VDISK_BLOB_BUCKETS - 1)]++;
}

/* The io ends when the caller has let go of the lock, by vdisk_blob_finish(). */
static void __vdisk_blob_finish(struct vdisk_blob *blob, struct vdisk_blob_io *st,
				blk_status_t status, struct list_head *ended)
{
	__vdisk_blob_account(blob, st, status);
	list_add_tail(&st->list, ended);
}

static void vdisk_blob_finish(struct list_head *ended)
{
	struct vdisk_blob_io *st, *next;

	list_for_each_entry_safe(st, next, ended, list)
		vdisk_end(st->io, st->b->n, st->status);
}

/*
 * The io waits for its first sector: with the request that covers it, else
 * pending. One that was there before goes before those that came since.
 */
static void __vdisk_blob_wait(struct vdisk_blob *blob, struct vdisk_blob_io *st,
			      bool first, struct list_head *ended)
{
	sector_t sector = st->iter.bi_sector;
	struct vdisk_blob_request *req;
	struct list_head *fifo;
	blk_status_t status;

	lockdep_assert_held(&blob->lock);
	status = __vdisk_blob_refuses(blob, st);
	if (status) {
		__vdisk_blob_finish(blob, st, status, ended);
		return;
	}
	/* It has just come, or back. */
	st->pended = first ? ktime_get_ns() : st->since;
	__vdisk_blob_arm(blob, blob->lost_since ?
			 __vdisk_blob_deadline(blob, st) :
			 st->pended + blob->timeout);
	req = __vdisk_blob_before(blob, sector);
	if (req && sector < req->end) {
		list_add_tail(&st->list, &req->ios);
		return;
	}
	rb_add(&st->node, &blob->pending, vdisk_blob_io_less);
	fifo = &blob->fifo[st->prio];
	if (first)
		list_add(&st->list, fifo);
	else
		list_add_tail(&st->list, fifo);
	__vdisk_blob_wake(blob);
}

/* Take the io out of wherever it waits. */
static void __vdisk_blob_unwait(struct vdisk_blob *blob, struct vdisk_blob_io *st)
{
	lockdep_assert_held(&blob->lock);
	list_del(&st->list);
	if (RB_EMPTY_NODE(&st->node))
		return;
	rb_erase(&st->node, &blob->pending);
	RB_CLEAR_NODE(&st->node);
}

static void __vdisk_blob_wait_all(struct vdisk_blob *blob, struct list_head *ios,
				  struct list_head *ended)
{
	struct vdisk_blob_io *st, *next;

	list_for_each_entry_safe_reverse(st, next, ios, list) {
		list_del(&st->list);
		__vdisk_blob_wait(blob, st, true, ended);
	}
}

/* The request is no more; who still waits with it waits anew. */
static void __vdisk_blob_drop(struct vdisk_blob *blob,
			      struct vdisk_blob_request *req,
			      struct list_head *ended)
{
	struct vdisk_blob_file *file = req->file;
	bool full = list_empty(&file->free);

	lockdep_assert_held(&blob->lock);
	rb_erase(&req->node, &blob->held);
	blob->nr_held--;
	req->id = 0;
	list_move(&req->list, &file->free);
	if (!list_empty(&req->ios))
		__vdisk_blob_wait_all(blob, &req->ios, ended);
	if (full && !RB_EMPTY_ROOT(&blob->pending))
		wake_up_interruptible_poll(&file->wait, VDISK_BLOB_IN);
}

/* One that is being answered is handed out again if the answer fails. */
static void __vdisk_blob_again(struct vdisk_blob *blob,
			       struct vdisk_blob_request *req,
			       struct list_head *ended)
{
	if (req->busy) {
		req->again = true;
		return;
	}
	blob->count.again++;
	__vdisk_blob_drop(blob, req, ended);
}

static void __vdisk_blob_again_all(struct vdisk_blob *blob,
				   struct vdisk_blob_file *file,
				   struct list_head *ended)
{
	struct vdisk_blob_request *req, *next;

	list_for_each_entry_safe_reverse(req, next, &file->held, list)
		__vdisk_blob_again(blob, req, ended);
}

/* Is there a helper? If that has changed, the tables' watchers are told. */
static void __vdisk_blob_check_lost(struct vdisk_blob *blob)
{
	u64 now = ktime_get_ns();
	struct vdisk_blob_file *file;

	lockdep_assert_held(&blob->lock);
	list_for_each_entry(file, &blob->files, list)
		if (!file->lost) {
			if (!blob->lost_since)
				return;
			blob->lost_since = 0;
			goto changed;
		}
	if (blob->lost_since)
		return;
	blob->lost_since = now;
	blob->count.lost++;
changed:
	blob->event = true;
	__vdisk_blob_arm(blob, now);
}

/*
 * End all bios that wait for which @which() is true. Those that are being
 * supplied are not seen: they have their data in a moment, or wait anew, and
 * then __vdisk_blob_refuses() sees them.
 */
static void __vdisk_blob_end_some(struct vdisk_blob *blob,
				  bool (*which)(struct vdisk_blob *blob,
						struct vdisk_blob_io *st,
						void *arg),
				  void *arg, blk_status_t status,
				  struct list_head *ended)
{
	struct vdisk_blob_io *st, *next;
	unsigned int prio;
	struct rb_node *node;

	lockdep_assert_held(&blob->lock);
	for (prio = 0; prio < VDISK_BLOB_PRIOS; prio++)
		list_for_each_entry_safe(st, next, &blob->fifo[prio], list)
			if (which(blob, st, arg)) {
				__vdisk_blob_unwait(blob, st);
				__vdisk_blob_finish(blob, st, status, ended);
			}
	for (node = rb_first(&blob->held); node; node = rb_next(node))
		list_for_each_entry_safe(st, next, &vdisk_blob_held(node)->ios,
					 list)
			if (which(blob, st, arg)) {
				__vdisk_blob_unwait(blob, st);
				__vdisk_blob_finish(blob, st, status, ended);
			}
}

static bool vdisk_blob_is_due(struct vdisk_blob *blob, struct vdisk_blob_io *st,
			      void *arg)
{
	u64 when = __vdisk_blob_deadline(blob, st);
	u64 *next = arg;

	if (when <= ktime_get_ns())
		return true;
	*next = min(*next, when);
	return false;
}

/* Has the first of those that nobody has read been there since before @when? */
static bool __vdisk_blob_waits_since(struct vdisk_blob *blob, u64 when)
{
	unsigned int prio;

	for (prio = 0; prio < VDISK_BLOB_PRIOS; prio++) {
		struct vdisk_blob_io *st;

		st = list_first_entry_or_null(&blob->fifo[prio],
					      struct vdisk_blob_io, list);
		if (st && st->pended < when)
			return true;
	}
	return false;
}

/* For how long a helper has not used its file, in ns: at least. */
static u64 vdisk_blob_unused(const struct vdisk_blob_file *file)
{
	u64 used = READ_ONCE(file->used), now = get_jiffies_64();

	return now > used ? jiffies64_to_nsecs(now - used - 1) : 0;
}

static void vdisk_blob_watch(struct work_struct *work)
{
	struct vdisk_blob *blob = container_of(to_delayed_work(work),
					       struct vdisk_blob, watch);
	u64 now = ktime_get_ns(), next = VDISK_BLOB_FOREVER;
	struct vdisk_blob_node *b;
	struct vdisk_blob_file *file;
	LIST_HEAD(ended);
	bool event;

	spin_lock(&blob->lock);
	blob->armed = 0;
	list_for_each_entry(file, &blob->files, list) {
		u64 unused = vdisk_blob_unused(file);

		if (file->lost)
			continue;
		if (unused >= blob->timeout &&
		    (!list_empty(&file->held) ||
		     __vdisk_blob_waits_since(blob, now - blob->timeout))) {
			file->lost = true;
			__vdisk_blob_again_all(blob, file, &ended);
			/* If it sleeps in read() it is not, and says so. */
			wake_up_interruptible_poll(&file->wait, VDISK_BLOB_IN);
		} else if (blob->nr_waiting || blob->nr_held) {
			/* Not used, but nobody waited for it to be, so far. */
			next = min(next, max(now + blob->timeout - unused,
					     now + blob->timeout / 8));
		}
	}
	__vdisk_blob_check_lost(blob);
	if (blob->lost_since)
		__vdisk_blob_end_some(blob, vdisk_blob_is_due, &next,
				      BLK_STS_TRANSPORT, &ended);
	__vdisk_blob_arm(blob, next);
	event = blob->event;
	blob->event = false;
	spin_unlock(&blob->lock);

	vdisk_blob_finish(&ended);
	if (!event)
		return;
	mutex_lock(&vdisk_blobs_lock);
	list_for_each_entry(b, &blob->nodes, list)
		dm_table_event(b->n->stack->ti->table);
	mutex_unlock(&vdisk_blobs_lock);
}

/**
 * vdisk_blob_find - find a blob that a table names
 * @name: its name
 *
 * Context: Process context, under vdisk_blobs_lock.
 * Return: the blob, with a reference, or NULL.
 */
struct vdisk_blob *vdisk_blob_find(const char *name)
{
	struct vdisk_blob *blob;

	lockdep_assert_held(&vdisk_blobs_lock);
	list_for_each_entry(blob, &vdisk_blobs, list)
		if (!strcmp(blob->name, name)) {
			blob->refs++;
			return blob;
		}
	return NULL;
}

/**
 * vdisk_blob_set_pin - all bytes of a blob are of one version from now on
 * @blob: the blob
 * @pin: VDISK_STORE_PIN bytes of the digest of its identity
 *
 * Context: Process context, under vdisk_blobs_lock.
 * Return: 0, or -ESTALE if it is another one already, or may be.
 */
int vdisk_blob_set_pin(struct vdisk_blob *blob, const u8 *pin)
{
	lockdep_assert_held(&vdisk_blobs_lock);
	if (blob->pinned)
		return memcmp(blob->pin, pin, sizeof(blob->pin)) ? -ESTALE : 0;
	/* Those have not said what they have. */
	if (READ_ONCE(blob->nr_files))
		return -ESTALE;
	memcpy(blob->pin, pin, sizeof(blob->pin));
	blob->pinned = true;
	return 0;
}

/* A pin that no byte, helper or store depends on was a mistake that is over. */
static void vdisk_blob_loosen(struct vdisk_blob *blob)
{
	struct vdisk_blob_node *b;
	bool used;

	lockdep_assert_held(&vdisk_blobs_lock);
	spin_lock(&blob->lock);
	used = blob->nr_files || blob->supplied;
	spin_unlock(&blob->lock);
	list_for_each_entry(b, &blob->nodes, list)
		used |= b->pins;
	if (!used)
		blob->pinned = false;
}

/**
 * vdisk_blob_pin - the same, by a store that has parts of it
 * @n: a node of the blob
 * @pin: as the store has it
 *
 * Context: Process context, may sleep.
 * Return: 0, or -ESTALE.
 */
int vdisk_blob_pin(struct vdisk_node *n, const u8 *pin)
{
	struct vdisk_blob_node *b = n->priv;
	int r;

	mutex_lock(&vdisk_blobs_lock);
	r = vdisk_blob_set_pin(b->blob, pin);
	if (!r)
		b->pins = true;
	mutex_unlock(&vdisk_blobs_lock);
	return r;
}

/**
 * vdisk_blob_unpin - the table that the store is of does not go live
 * @n: the node
 *
 * Context: Process context, may sleep.
 */
void vdisk_blob_unpin(struct vdisk_node *n)
{
	struct vdisk_blob_node *b = n->priv;

	mutex_lock(&vdisk_blobs_lock);
	b->pins = false;
	vdisk_blob_loosen(b->blob);
	mutex_unlock(&vdisk_blobs_lock);
}

/**
 * vdisk_blob_pinned - of which version are a blob's bytes, for a store to keep?
 * @n: a node of the blob
 * @pin: set, if that is known
 *
 * Context: Process context; a commit, so nothing is allocated under the lock.
 * Return: whether it is.
 */
bool vdisk_blob_pinned(struct vdisk_node *n, u8 *pin)
{
	struct vdisk_blob_node *b = n->priv;
	bool pinned;

	mutex_lock(&vdisk_blobs_lock);
	pinned = b->blob->pinned;
	if (pinned) {
		memcpy(pin, b->blob->pin, sizeof(b->blob->pin));
		b->pins = true;
	}
	mutex_unlock(&vdisk_blobs_lock);
	return pinned;
}

/**
 * vdisk_blob_put - give back a reference
 * @blob: the blob; may be freed
 *
 * Context: Process context, may sleep; not under vdisk_blobs_lock.
 */
void vdisk_blob_put(struct vdisk_blob *blob)
{
	bool last;

	mutex_lock(&vdisk_blobs_lock);
	last = !--blob->refs;
	mutex_unlock(&vdisk_blobs_lock);
	if (!last)
		return;
	cancel_delayed_work_sync(&blob->watch);
	kfree(blob);
}

/**
 * vdisk_blob_attach - a file serves a blob from now on
 * @file: the file, complete but for @blob; takes over the reference
 * @blob: the blob
 *
 * Context: Process context.
 */
void vdisk_blob_attach(struct vdisk_blob_file *file, struct vdisk_blob *blob)
{
	file->used = get_jiffies_64();
	spin_lock(&blob->lock);
	list_add_tail(&file->list, &blob->files);
	blob->nr_files++;
	__vdisk_blob_check_lost(blob);
	spin_unlock(&blob->lock);
	/* Pairs with the acquire of who uses the file from another thread. */
	smp_store_release(&file->blob, blob);
	/* Who polls it since before has seen nothing to read. */
	wake_up_interruptible_poll(&file->wait, VDISK_BLOB_IN | EPOLLOUT |
				   EPOLLWRNORM);
}

/**
 * vdisk_blob_detach - a file is closed: what it holds is handed out again
 * @file: the file; nobody uses it any more
 *
 * Context: Process context, may sleep.
 */
void vdisk_blob_detach(struct vdisk_blob_file *file)
{
	struct vdisk_blob *blob = file->blob;
	LIST_HEAD(ended);

	mutex_lock(&vdisk_blobs_lock);
	spin_lock(&blob->lock);
	__vdisk_blob_again_all(blob, file, &ended);
	list_del(&file->list);
	blob->nr_files--;
	__vdisk_blob_check_lost(blob);
	spin_unlock(&blob->lock);
	vdisk_blob_loosen(blob);
	mutex_unlock(&vdisk_blobs_lock);
	vdisk_blob_finish(&ended);
	vdisk_blob_put(blob);
}

/* The file works: it may have been declared lost just before. */
static void __vdisk_blob_found(struct vdisk_blob_file *file)
{
	lockdep_assert_held(&file->blob->lock);
	if (likely(!file->lost))
		return;
	file->lost = false;
	__vdisk_blob_check_lost(file->blob);
}

/**
 * vdisk_blob_used - a helper has shown that it is there
 * @file: its file, attached
 *
 * Context: Process context.
 */
void vdisk_blob_used(struct vdisk_blob_file *file)
{
	struct vdisk_blob *blob = file->blob;

	WRITE_ONCE(file->used, get_jiffies_64());
	if (likely(!READ_ONCE(file->lost)))
		return;
	spin_lock(&blob->lock);
	__vdisk_blob_found(file);
	spin_unlock(&blob->lock);
}

/**
 * vdisk_blob_refused - count something wrong from a helper
 * @file: its file, attached
 * @err: what it is told
 *
 * Context: Process context.
 * Return: @err.
 */
int vdisk_blob_refused(struct vdisk_blob_file *file, int err)
{
	struct vdisk_blob *blob = file->blob;
	bool first;

	spin_lock(&blob->lock);
	blob->count.refused++;
	first = !file->complained;
	file->complained = true;
	spin_unlock(&blob->lock);
	if (first)
		DMWARN_LIMIT("%s: a helper was refused: error %d; more are only counted",
			     blob->name, err);
	return err;
}

/**
 * vdisk_blob_ready - has read() something to say or to do?
 * @file: the file, attached
 *
 * Context: Process context.
 * Return: true if so.
 */
bool vdisk_blob_ready(struct vdisk_blob_file *file)
{
	struct vdisk_blob *blob = file->blob;
	bool ready;

	spin_lock(&blob->lock);
	ready = blob->dead || file->lost ||
		(!RB_EMPTY_ROOT(&blob->pending) && !list_empty(&file->free));
	spin_unlock(&blob->lock);
	return ready;
}

/* The most urgent of those pending that came first. */
static struct vdisk_blob_io *__vdisk_blob_first(struct vdisk_blob *blob)
{
	struct vdisk_blob_io *st;
	unsigned int prio;

	st = list_first_entry_or_null(&blob->fifo[VDISK_PRIO_AHEAD],
				      struct vdisk_blob_io, list);
	if (st && ktime_get_ns() - st->since >= VDISK_BLOB_OLD_NS)
		return st;
	st = NULL;
	for (prio = 0; !st && prio < VDISK_BLOB_PRIOS; prio++)
		st = list_first_entry_or_null(&blob->fifo[prio],
					      struct vdisk_blob_io, list);
	return st;
}

/*
 * What @file is to ask for so that @st gets its first sector: with it what is
 * pending on both sides, touches and is not less urgent, rounded to units,
 * between what is held. Returns the first that is pending there.
 */
static struct vdisk_blob_io *__vdisk_blob_range(struct vdisk_blob_file *file,
						struct vdisk_blob_io *st,
						sector_t *start, sector_t *end)
{
	struct vdisk_blob *blob = file->blob;
	struct vdisk_blob_request *before;
	struct vdisk_blob_io *first = st, *other;
	sector_t low = 0, high = blob->len;
	struct rb_node *after;

	before = __vdisk_blob_before(blob, st->iter.bi_sector);
	if (before)
		low = before->end;
	after = before ? rb_next(&before->node) : rb_first(&blob->held);
	if (after)
		high = vdisk_blob_held(after)->sector;

	*start = st->iter.bi_sector;
	*end = vdisk_blob_io_end(st);
	while ((other = vdisk_blob_pending(rb_prev(&first->node))) &&
	       other->prio <= st->prio && other->iter.bi_sector >= low &&
	       vdisk_blob_io_end(other) >= *start &&
	       *end - other->iter.bi_sector <= file->max) {
		*start = other->iter.bi_sector;
		first = other;
	}
	*start = max(round_down(*start, file->unit), low);
	for (; other && other->iter.bi_sector >= *start;
	     other = vdisk_blob_pending(rb_prev(&other->node)))
		first = other;
	other = st;
	while ((other = vdisk_blob_pending(rb_next(&other->node))) &&
	       other->prio <= st->prio &&
	       other->iter.bi_sector <= *end && *end - *start < file->max)
		*end = max(*end, vdisk_blob_io_end(other));
	*end = min3(round_up(*end, file->unit), *start + file->max, high);
	return first;
}

static void __vdisk_blob_take(struct vdisk_blob_file *file,
			      struct vdisk_blob_io *st, struct vdisk_request *out)
{
	struct vdisk_blob *blob = file->blob;
	struct vdisk_blob_request *req;
	struct vdisk_blob_io *next;
	unsigned int prio = st->prio;

	lockdep_assert_held(&blob->lock);
	req = list_first_entry(&file->free, struct vdisk_blob_request, list);
	st = __vdisk_blob_range(file, st, &req->sector, &req->end);
	req->id = ++blob->serial * VDISK_MAX_DEPTH_FILE + (req - file->requests);
	req->busy = false;
	req->again = false;
	list_move_tail(&req->list, &file->held);
	rb_add(&req->node, &blob->held, vdisk_blob_request_less);
	blob->nr_held++;
	blob->count.requests++;

	for (; st && st->iter.bi_sector < req->end; st = next) {
		next = vdisk_blob_pending(rb_next(&st->node));
		__vdisk_blob_unwait(blob, st);
		list_add_tail(&st->list, &req->ios);
	}
	*out = (struct vdisk_request) {
		.id = req->id,
		.offset = req->sector << SECTOR_SHIFT,
		.len = (req->end - req->sector) << SECTOR_SHIFT,
		.priority = prio,
	};
}

/**
 * vdisk_blob_take - give a helper requests
 * @file: its file, attached; holds them from now on
 * @out: where to
 * @max: how many fit there
 *
 * Context: Process context.
 * Return: how many there were.
 */
unsigned int vdisk_blob_take(struct vdisk_blob_file *file,
			     struct vdisk_request *out, unsigned int max)
{
	struct vdisk_blob *blob = file->blob;
	struct vdisk_blob_io *st;
	unsigned int nr = 0;

	spin_lock(&blob->lock);
	__vdisk_blob_found(file);
	while (nr < max && !list_empty(&file->free) &&
	       (st = __vdisk_blob_first(blob)))
		__vdisk_blob_take(file, st, &out[nr++]);
	/* Who was woken for these may be one of many. */
	if (nr && !RB_EMPTY_ROOT(&blob->pending))
		__vdisk_blob_wake(blob);
	spin_unlock(&blob->lock);
	return nr;
}

/* The request of this file with that id, or NULL. */
static struct vdisk_blob_request *__vdisk_blob_lookup(struct vdisk_blob_file *file,
						      u64 id)
{
	u32 index = id % VDISK_MAX_DEPTH_FILE;

	lockdep_assert_held(&file->blob->lock);
	if (!id || index >= file->depth || file->requests[index].id != id)
		return NULL;
	return &file->requests[index];
}

/**
 * vdisk_blob_again - hand out again what a file holds
 * @file: the file, attached
 * @id: of which request, or NULL for all
 *
 * Context: Process context.
 */
void vdisk_blob_again(struct vdisk_blob_file *file, const u64 *id)
{
	struct vdisk_blob *blob = file->blob;
	struct vdisk_blob_request *req;
	LIST_HEAD(ended);

	spin_lock(&blob->lock);
	if (!id) {
		__vdisk_blob_again_all(blob, file, &ended);
	} else {
		req = __vdisk_blob_lookup(file, *id);
		if (req)
			__vdisk_blob_again(blob, req, &ended);
	}
	spin_unlock(&blob->lock);
	vdisk_blob_finish(&ended);
}

/**
 * vdisk_blob_begin - a helper gives data or an error: who gets it?
 * @file: its file, attached
 * @a: the record, well-formed and within the blob
 * @sup: set; the caller calls vdisk_blob_copy() unless it is an error, and
 *	vdisk_blob_end(), and does not sleep for userspace in between
 *
 * Context: Process context.
 * Return: 0, or -errno if the record is not acceptable.
 */
int vdisk_blob_begin(struct vdisk_blob_file *file, const struct vdisk_answer *a,
		     struct vdisk_blob_supply *sup)
{
	struct vdisk_blob *blob = file->blob;
	struct vdisk_blob_request *req = NULL;
	struct vdisk_blob_io *st, *next;
	int r = 0;

	sup->sector = a->offset >> SECTOR_SHIFT;
	sup->end = sup->sector + (a->len >> SECTOR_SHIFT);
	sup->status = errno_to_blk_status(-(int)a->status);
	INIT_LIST_HEAD(&sup->ios);

	spin_lock(&blob->lock);
	if (blob->dead) {
		r = -ENODEV;
		goto unlock;
	}
	if (a->id) {
		req = __vdisk_blob_lookup(file, a->id);
		if (!req)
			r = -ENOENT;
		else if (req->busy)
			r = -EBUSY;
		else if (sup->sector != req->sector ||
			 (a->status && sup->end > req->end))
			r = -ERANGE;
		if (r)
			goto unlock;
		req->busy = true;
		if (sup->end >= req->end)
			list_splice_tail_init(&req->ios, &sup->ios);
		list_for_each_entry_safe(st, next, &req->ios, list)
			if (st->iter.bi_sector < sup->end)
				list_move_tail(&st->list, &sup->ios);
	}
	for (st = a->status ? NULL : __vdisk_blob_from(blob, sup->sector);
	     st && st->iter.bi_sector < sup->end; st = next) {
		next = vdisk_blob_pending(rb_next(&st->node));
		__vdisk_blob_unwait(blob, st);
		list_add_tail(&st->list, &sup->ios);
	}
	sup->req = req;
unlock:
	spin_unlock(&blob->lock);
	return r;
}

/* Copy to one bio what it needs of the data; false if that was not there. */
static bool vdisk_blob_copy_io(struct vdisk_blob_supply *sup,
			       struct vdisk_blob_io *st,
			       const struct iov_iter *from)
{
	struct iov_iter data = *from;

	st->before = st->iter;
	iov_iter_advance(&data, (st->iter.bi_sector - sup->sector) << SECTOR_SHIFT);
	while (st->iter.bi_size && st->iter.bi_sector < sup->end) {
		struct bio_vec bv = bio_iter_iovec(st->io->bio, st->iter);
		u64 left = (sup->end - st->iter.bi_sector) << SECTOR_SHIFT;
		size_t copied;

		bv.bv_len = min_t(u64, bv.bv_len, left);
		/* Not copy_from_iter(): the page may be a slab's, as dm-bufio's are. */
		pagefault_disable();
		copied = copy_page_from_iter(bv.bv_page, bv.bv_offset, bv.bv_len,
					     &data);
		pagefault_enable();
		flush_dcache_page(bv.bv_page);
		/* The iter counts sectors: none of this segment. */
		if (copied < bv.bv_len)
			return false;
		bio_advance_iter_single(st->io->bio, &st->iter, copied);
	}
	return true;
}

/**
 * vdisk_blob_copy - copy the data to the bios that wait for it
 * @sup: from vdisk_blob_begin()
 * @from: the data
 *
 * Context: Process context; does not fault.
 * Return: false if a part of the data was not in memory: then nobody has got any.
 */
bool vdisk_blob_copy(struct vdisk_blob_supply *sup, const struct iov_iter *from)
{
	struct vdisk_blob_io *st;

	list_for_each_entry(st, &sup->ios, list) {
		if (!vdisk_blob_copy_io(sup, st, from))
			goto undo;
		cond_resched();
	}
	return true;

undo:
	st->iter = st->before;
	list_for_each_entry_continue_reverse(st, &sup->ios, list)
		st->iter = st->before;
	return false;
}

/**
 * vdisk_blob_end - end what vdisk_blob_begin() began
 * @blob: the blob
 * @sup: the bios in it end, or wait for the rest
 * @done: the record is accepted; else all is as before
 *
 * Context: Process context.
 */
void vdisk_blob_end(struct vdisk_blob *blob, struct vdisk_blob_supply *sup,
		    bool done)
{
	struct vdisk_blob_request *req = sup->req;
	struct vdisk_blob_io *st, *next;
	LIST_HEAD(missed);
	LIST_HEAD(waits);
	LIST_HEAD(ended);

	spin_lock(&blob->lock);
	if (done && !req) {
		blob->count.pushes++;
		blob->count.dropped += list_empty(&sup->ios);
	}
	blob->supplied |= done && !sup->status && !list_empty(&sup->ios);
	list_for_each_entry_safe(st, next, &sup->ios, list) {
		blk_status_t status = done ? sup->status : BLK_STS_OK;

		if (!status && st->iter.bi_size) {
			list_move_tail(&st->list, &waits);
			continue;
		}
		blob->count.bytes += status ? 0 : st->io->bio->bi_iter.bi_size;
		__vdisk_blob_account(blob, st, status);
	}
	list_splice_init(&sup->ios, &ended);
	if (req) {
		req->busy = false;
		if (done)
			req->sector = min(sup->end, req->end);
		/* They came during the copy, for what it had passed already. */
		list_for_each_entry_safe(st, next, &req->ios, list)
			if (st->iter.bi_sector < req->sector)
				list_move_tail(&st->list, &missed);
		if (req->sector == req->end)
			__vdisk_blob_drop(blob, req, &ended);
		else if (req->again)
			__vdisk_blob_again(blob, req, &ended);
	}
	list_splice(&waits, &missed);
	if (!list_empty(&missed))
		__vdisk_blob_wait_all(blob, &missed, &ended);
	spin_unlock(&blob->lock);
	vdisk_blob_finish(&ended);
}

static unsigned int vdisk_blob_prio(const struct bio *bio)
{
	if ((bio->bi_opf & REQ_BACKGROUND) ||
	    IOPRIO_PRIO_CLASS(bio->bi_ioprio) == IOPRIO_CLASS_IDLE)
		return VDISK_PRIO_IDLE;
	return bio->bi_opf & REQ_RAHEAD ? VDISK_PRIO_AHEAD : VDISK_PRIO_READ;
}

static enum vdisk_map vdisk_blob_map(struct vdisk_node *n, struct vdisk_io *io)
{
	struct vdisk_blob_io *st = vdisk_state(n, io);
	struct vdisk_blob_node *b = n->priv;
	struct vdisk_blob *blob = b->blob;
	struct bio *bio = io->bio;
	LIST_HEAD(ended);

	bio->bi_status = BLK_STS_OK;
	if (bio_op(bio) != REQ_OP_READ) {
		/* Nothing was written, so a flush has nothing to do. */
		if (vdisk_kind(bio) != VDISK_FLUSH)
			bio->bi_status = BLK_STS_NOTSUPP;
		return VDISK_ENDED;
	}
	if (!bio->bi_iter.bi_size)
		return VDISK_ENDED;

	vdisk_may_wait(io);
	RB_CLEAR_NODE(&st->node);
	st->b = b;
	st->io = io;
	st->iter = bio->bi_iter;
	st->since = ktime_get_ns();
	st->prio = vdisk_blob_prio(bio);
	this_cpu_inc(n->count->ios[VDISK_READ]);
	this_cpu_add(n->count->sectors[VDISK_READ], bio_sectors(bio));
	spin_lock(&blob->lock);
	st->fails = b->fails;
	blob->nr_waiting++;
	__vdisk_blob_wait(blob, st, false, &ended);
	spin_unlock(&blob->lock);
	vdisk_blob_finish(&ended);
	return VDISK_TAKEN;
}

static bool vdisk_blob_is_of(struct vdisk_blob *blob, struct vdisk_blob_io *st,
			     void *arg)
{
	return st->b == arg;
}

static bool vdisk_blob_is_hydration(struct vdisk_blob *blob,
				    struct vdisk_blob_io *st, void *arg)
{
	return st->b == arg && vdisk_blob_hydrates(st);
}

struct vdisk_blob_which {
	struct vdisk_blob_node *b;
	bool (*which)(struct vdisk_io *io);
};

static bool vdisk_blob_is_which(struct vdisk_blob *blob, struct vdisk_blob_io *st,
				void *arg)
{
	const struct vdisk_blob_which *w = arg;

	/* It knows ios of its own stack only; others may read this blob, too. */
	return st->b == w->b && w->which(st->io);
}

static void vdisk_blob_abort(struct vdisk_node *n,
			     bool (*which)(struct vdisk_io *io),
			     blk_status_t status)
{
	struct vdisk_blob_node *b = n->priv;
	struct vdisk_blob_which w = { b, which };
	LIST_HEAD(ended);

	spin_lock(&b->blob->lock);
	__vdisk_blob_end_some(b->blob, vdisk_blob_is_which, &w, status, &ended);
	spin_unlock(&b->blob->lock);
	vdisk_blob_finish(&ended);
}

/*
 * In a noflush suspend dm core keeps what waits for the next table. Any other
 * waits for the helper, but not for what nobody waits for: who hydrates must be
 * able to stop.
 */
static void vdisk_blob_presuspend(struct vdisk_node *n)
{
	struct vdisk_blob_node *b = n->priv;
	struct vdisk_blob *blob = b->blob;
	LIST_HEAD(ended);

	spin_lock(&blob->lock);
	b->suspended = true;
	b->requeues = dm_noflush_suspending(n->stack->ti);
	__vdisk_blob_end_some(blob, vdisk_blob_is_hydration, b, BLK_STS_AGAIN,
			      &ended);
	if (b->requeues)
		__vdisk_blob_end_some(blob, vdisk_blob_is_of, b,
				      BLK_STS_DM_REQUEUE, &ended);
	spin_unlock(&blob->lock);
	vdisk_blob_finish(&ended);
}

static void vdisk_blob_resume(struct vdisk_node *n)
{
	struct vdisk_blob_node *b = n->priv;

	spin_lock(&b->blob->lock);
	b->suspended = false;
	b->requeues = false;
	spin_unlock(&b->blob->lock);
}

static u64 vdisk_blob_timeout(const struct vdisk_node *n)
{
	u64 us = VDISK_BLOB_TIMEOUT_US;

	if (n->val[BLOB_HELPER_TIMEOUT].set)
		us = n->val[BLOB_HELPER_TIMEOUT].num;
	return us * NSEC_PER_USEC;
}

static int vdisk_blob_preresume(struct vdisk_node *n)
{
	struct vdisk_blob_node *b = n->priv;

	spin_lock(&b->blob->lock);
	WRITE_ONCE(b->blob->timeout, vdisk_blob_timeout(n));
	spin_unlock(&b->blob->lock);
	return 0;
}

static struct vdisk_blob *vdisk_blob_alloc(const struct vdisk_node *n)
{
	struct vdisk_blob *blob = kzalloc(sizeof(*blob), GFP_KERNEL);
	unsigned int prio;

	if (!blob)
		return NULL;
	blob->refs = 1;
	INIT_LIST_HEAD(&blob->nodes);
	strscpy(blob->name, n->val[BLOB_NAME].str, sizeof(blob->name));
	blob->len = n->val[BLOB_LEN].num;
	blob->uid = make_kuid(&init_user_ns, n->val[BLOB_UID].num);
	INIT_DELAYED_WORK(&blob->watch, vdisk_blob_watch);
	spin_lock_init(&blob->lock);
	blob->pending = RB_ROOT;
	for (prio = 0; prio < VDISK_BLOB_PRIOS; prio++)
		INIT_LIST_HEAD(&blob->fifo[prio]);
	blob->held = RB_ROOT;
	INIT_LIST_HEAD(&blob->files);
	/* A helper may be told before the table goes live. */
	blob->timeout = vdisk_blob_timeout(n);
	blob->lost_since = ktime_get_ns();
	return blob;
}

/*
 * What a helper was told, or allowed, when it attached holds as long as the
 * name: tables have to agree.
 */
static int vdisk_blob_agrees(struct vdisk_node *n, const struct vdisk_blob *blob)
{
	if (blob->len != n->val[BLOB_LEN].num)
		return vdisk_fail(n, -EBUSY,
				  "len: another table has this blob with %llu sectors",
				  blob->len);
	if (from_kuid(&init_user_ns, blob->uid) != n->val[BLOB_UID].num)
		return vdisk_fail(n, -EBUSY,
				  "uid: another table has this blob with %u",
				  from_kuid(&init_user_ns, blob->uid));
	return 0;
}

static int vdisk_blob_join(struct vdisk_blob_node *b)
{
	struct vdisk_blob *blob, *new = vdisk_blob_alloc(b->n);
	int r = 0;

	if (!new)
		return vdisk_fail(b->n, -ENOMEM, "out of memory");
	mutex_lock(&vdisk_blobs_lock);
	blob = vdisk_blob_find(new->name);
	if (!blob) {
		blob = new;
		new = NULL;
		list_add_tail(&blob->list, &vdisk_blobs);
		vdisk_blobs_made++;
	}
	r = vdisk_blob_agrees(b->n, blob);
	if (r)
		blob->refs--;	/* not the last: the other table has one */
	else
		list_add_tail(&b->list, &blob->nodes);
	b->blob = blob;
	mutex_unlock(&vdisk_blobs_lock);
	wake_up_interruptible_poll(&vdisk_blobs_wait, VDISK_BLOB_IN);
	kfree(new);
	return r;
}

/* Also an overlay that is a base has a store, which is not written then. */
static bool vdisk_blob_is_store(const struct vdisk_node *n)
{
	for (; n->parent; n = n->parent)
		if (!n->index && n->parent->ops->reads_base)
			return true;
		else if (n->index && n->parent->ops == &vdisk_pr_ops)
			return true;
	return false;
}

static int vdisk_blob_ctr(struct vdisk_node *n)
{
	struct vdisk_blob_node *b;
	int r;

	if (!n->val[BLOB_LEN].set)
		return vdisk_fail(n, -EINVAL, "len: missing");
	if (!vdisk_read_only(n) &&
	    (dm_table_get_mode(n->stack->ti->table) & VDISK_OPEN_WRITE))
		return vdisk_fail(n, -EROFS,
				  "can only be read: put it below an overlay, or load a read-only table");
	if (vdisk_blob_is_store(n))
		return vdisk_fail(n, -EINVAL,
				  "is no store: who goes live would wait for a helper to read it");
	b = kzalloc(sizeof(*b), GFP_KERNEL);
	if (!b)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	b->n = n;
	b->patience = VDISK_BLOB_FOREVER;
	if (n->val[BLOB_ON_LOSS].set && n->val[BLOB_ON_LOSS].num != U64_MAX)
		b->patience = n->val[BLOB_ON_LOSS].num * NSEC_PER_USEC;
	r = vdisk_blob_join(b);
	if (r) {
		kfree(b);
		return r;
	}
	n->priv = b;
	return 0;
}

/* With the last table goes the name. Helpers are told, and find nothing left. */
static void vdisk_blob_dtr(struct vdisk_node *n)
{
	struct vdisk_blob_node *b = n->priv;
	struct vdisk_blob *blob = b->blob;
	struct vdisk_blob_file *file;

	mutex_lock(&vdisk_blobs_lock);
	list_del(&b->list);
	vdisk_blob_loosen(blob);
	if (list_empty(&blob->nodes)) {
		list_del(&blob->list);
		spin_lock(&blob->lock);
		WRITE_ONCE(blob->dead, true);
		list_for_each_entry(file, &blob->files, list)
			wake_up_interruptible_all(&file->wait);
		spin_unlock(&blob->lock);
	}
	mutex_unlock(&vdisk_blobs_lock);
	vdisk_blob_put(blob);
	kfree(b);
}

static sector_t vdisk_blob_length(const struct vdisk_node *n)
{
	return n->val[BLOB_LEN].num;
}

static void vdisk_blob_limits(struct vdisk_node *n, struct queue_limits *lim)
{
	vdisk_limits_unpolled(lim);
	vdisk_limits_discard(lim, 0, 0);
	lim->max_secure_erase_sectors = 0;
	lim->max_write_zeroes_sectors = 0;
}

static void vdisk_blob_status(struct vdisk_node *n, struct vdisk_out *out)
{
	struct vdisk_blob_node *b = n->priv;
	struct vdisk_blob *blob = b->blob;
	struct vdisk_blob_count c;
	unsigned int i;

	spin_lock(&blob->lock);
	c = blob->count;
	vdisk_emit(out, " helpers=%u lost=%u waiting=%u held=%u", blob->nr_files,
		   blob->lost_since != 0, blob->nr_waiting, blob->nr_held);
	spin_unlock(&blob->lock);
	vdisk_emit(out, " requests=%llu served=%llu failed=%llu bytes=%llu again=%llu",
		   c.requests, c.served, c.failed, c.bytes, c.again);
	vdisk_emit(out, " pushes=%llu dropped=%llu refused=%llu losses=%llu latency=",
		   c.pushes, c.dropped, c.refused, c.lost);
	for (i = 0; i < VDISK_BLOB_BUCKETS; i++)
		vdisk_emit(out, "%s%llu", i ? "," : "", c.latency[i]);
}

/* fail: what waits now ends with an error */
static int vdisk_blob_message(struct vdisk_node *n, unsigned int argc,
			      char **argv, struct vdisk_out *out)
{
	struct vdisk_blob_node *b = n->priv;
	struct vdisk_blob *blob = b->blob;
	LIST_HEAD(ended);

	if (argc != 1 || strcmp(argv[0], "fail"))
		return vdisk_fail(n, -EINVAL, "understands: fail");
	spin_lock(&blob->lock);
	b->fails++;
	__vdisk_blob_end_some(blob, vdisk_blob_is_of, b, BLK_STS_TRANSPORT,
			      &ended);
	spin_unlock(&blob->lock);
	vdisk_blob_finish(&ended);
	return 0;
}

const struct vdisk_ops vdisk_blob_ops = {
	.ctr = vdisk_blob_ctr,
	.dtr = vdisk_blob_dtr,
	.length = vdisk_blob_length,
	.limits = vdisk_blob_limits,
	.map = vdisk_blob_map,
	.abort = vdisk_blob_abort,
	.presuspend = vdisk_blob_presuspend,
	.presuspend_undo = vdisk_blob_resume,
	.preresume = vdisk_blob_preresume,
	.resume = vdisk_blob_resume,
	.status = vdisk_blob_status,
	.message = vdisk_blob_message,
	.io_size = sizeof(struct vdisk_blob_io),
};

/**
 * vdisk_blob_init - what all blobs share
 *
 * Context: Module init.
 * Return: 0 or -errno.
 */
int vdisk_blob_init(void)
{
	int r;

	/* It ends bios, so memory reclaim may wait for it. */
	vdisk_blob_wq = alloc_workqueue("vdisk_blob", WQ_MEM_RECLAIM | WQ_UNBOUND,
					0);
	if (!vdisk_blob_wq)
		return -ENOMEM;
	r = vdisk_helper_init();
	if (r)
		destroy_workqueue(vdisk_blob_wq);
	return r;
}

/**
 * vdisk_blob_exit - undo vdisk_blob_init()
 *
 * Context: Module exit: no table and no file is left.
 */
void vdisk_blob_exit(void)
{
	vdisk_helper_exit();
	destroy_workqueue(vdisk_blob_wq);
}
