// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/vdisk: where helpers attach, read requests and write answers. The
 * interface is in include/uapi/linux/vdisk.h. Nothing a helper says is believed
 * before it was compared with what it was asked.
 */
#include <linux/cred.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/log2.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include <crypto/sha2.h>

#include "vdisk-blob.h"

/* Requests copied to the helper at a time */
#define VDISK_HELPER_BATCH	16

/* How often memory may be gone again after it was faulted in. */
#define VDISK_HELPER_TRIES	16

/* What a larger vdisk_answer of the future may have */
#define VDISK_HELPER_HEADER_MAX	512

#define VDISK_HELPER_DEPTH	128U
#define VDISK_HELPER_MAX_BYTES	SZ_1M

static_assert(sizeof(struct vdisk_attach) == 376);
static_assert(sizeof(struct vdisk_request) == 32);
static_assert(sizeof(struct vdisk_answer) == 40);

static struct vdisk_blob_file *vdisk_helper_file(struct file *filp)
{
	return filp->private_data;
}

/* The blob of a file, or NULL; what else is in the file is valid with it. */
static struct vdisk_blob *vdisk_helper_blob(struct vdisk_blob_file *file)
{
	/* Pairs with the release in vdisk_blob_attach(). */
	return smp_load_acquire(&file->blob);
}

static int vdisk_helper_open(struct inode *inode, struct file *filp)
{
	struct vdisk_blob_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);

	if (!file)
		return -ENOMEM;
	init_waitqueue_head(&file->wait);
	INIT_LIST_HEAD(&file->free);
	INIT_LIST_HEAD(&file->held);
	filp->private_data = file;
	filp->f_mode |= FMODE_NOWAIT;
	return stream_open(inode, filp);
}

static int vdisk_helper_release(struct inode *inode, struct file *filp)
{
	struct vdisk_blob_file *file = vdisk_helper_file(filp);

	if (file->blob)
		vdisk_blob_detach(file);
	kvfree(file->requests);
	kfree(file);
	return 0;
}

/* Fills in what the helper left to us; -errno if it cannot be so. */
static int vdisk_attach_check(struct vdisk_attach *at)
{
	size_t len = strnlen(at->name, sizeof(at->name));

	if (at->version != VDISK_VERSION)
		return -EPROTONOSUPPORT;
	if (at->flags || at->reserved || at->timeout_ms || at->features)
		return -EINVAL;
	if (!len || len == sizeof(at->name) ||
	    memchr_inv(at->name + len, 0, sizeof(at->name) - len))
		return -EINVAL;
	if (at->identity_len > VDISK_IDENTITY_MAX ||
	    memchr_inv(at->identity + at->identity_len, 0,
		       sizeof(at->identity) - at->identity_len))
		return -EINVAL;
	if (!at->unit)
		at->unit = VDISK_BLOCK;
	if (!is_power_of_2(at->unit) || at->unit < VDISK_BLOCK ||
	    at->unit > VDISK_MAX_BYTES)
		return -EINVAL;
	if (!at->max_bytes)
		at->max_bytes = max(at->unit, VDISK_HELPER_MAX_BYTES);
	if (at->max_bytes > VDISK_MAX_BYTES || at->max_bytes & (at->unit - 1))
		return -EINVAL;
	if (!at->depth)
		at->depth = VDISK_HELPER_DEPTH;
	return at->depth > VDISK_MAX_DEPTH_FILE ? -EINVAL : 0;
}

/* May this process serve the blob? */
static int vdisk_attach_allowed(struct vdisk_blob *blob,
				const struct vdisk_attach *at)
{
	struct vdisk_blob_file *file;
	unsigned int nr = 0;
	int r = 0;

	lockdep_assert_held(&vdisk_blobs_lock);
	if (!uid_eq(current_fsuid(), blob->uid) && !capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (at->length >> SECTOR_SHIFT < blob->len)
		return -ERANGE;
	spin_lock(&blob->lock);
	list_for_each_entry(file, &blob->files, list) {
		/* One that is lost keeps nobody out. */
		if (!file->lost && !uid_eq(file->uid, current_fsuid()))
			r = -EBUSY;
		nr++;
	}
	spin_unlock(&blob->lock);
	return r ?: nr < VDISK_MAX_FILES ? 0 : -EMFILE;
}

/* Who states what another one did, or is the first, may go on. */
static int vdisk_attach_pin(struct vdisk_blob *blob,
			    const struct vdisk_attach *at)
{
	u8 digest[SHA256_DIGEST_SIZE];

	if (!at->identity_len)
		return blob->pinned ? -ESTALE : 0;
	sha256(at->identity, at->identity_len, digest);
	return vdisk_blob_set_pin(blob, digest);
}

/* The file is complete, but nobody sees what is in it yet. */
static int vdisk_attach_to(struct vdisk_blob_file *file,
			   struct vdisk_blob_request *requests,
			   struct vdisk_blob *blob, struct vdisk_attach *at)
{
	unsigned int i;
	int r;

	lockdep_assert_held(&vdisk_blobs_lock);
	if (file->blob)
		return -EBUSY;
	r = vdisk_attach_allowed(blob, at);
	if (r)
		return r;
	/* Last of all: nothing behind it fails. */
	r = vdisk_attach_pin(blob, at);
	if (r)
		return r;
	file->uid = current_fsuid();
	file->unit = at->unit >> SECTOR_SHIFT;
	file->max = at->max_bytes >> SECTOR_SHIFT;
	file->depth = at->depth;
	file->requests = requests;
	for (i = 0; i < at->depth; i++) {
		requests[i].file = file;
		INIT_LIST_HEAD(&requests[i].ios);
		list_add_tail(&requests[i].list, &file->free);
	}
	at->length = blob->len << SECTOR_SHIFT;
	at->timeout_ms = div_u64(READ_ONCE(blob->timeout), NSEC_PER_MSEC);
	vdisk_blob_attach(file, blob);
	return 0;
}

static long vdisk_helper_attach(struct vdisk_blob_file *file,
				struct vdisk_attach __user *user)
{
	struct vdisk_blob_request *requests;
	struct vdisk_attach at;
	struct vdisk_blob *blob;
	u32 size;
	int r;

	if (get_user(size, &user->size))
		return -EFAULT;
	if (size < sizeof(at))
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	r = copy_struct_from_user(&at, sizeof(at), user, size);
	if (r)
		return r;
	r = vdisk_attach_check(&at);
	if (r)
		return r;
	requests = kvcalloc(at.depth, sizeof(*requests), GFP_KERNEL_ACCOUNT);
	if (!requests)
		return -ENOMEM;

	mutex_lock(&vdisk_blobs_lock);
	WRITE_ONCE(file->seen, vdisk_blobs_made);
	blob = vdisk_blob_find(at.name);
	r = blob ? vdisk_attach_to(file, requests, blob, &at) : -ENOENT;
	mutex_unlock(&vdisk_blobs_lock);
	if (r) {
		if (blob)
			vdisk_blob_put(blob);
		kvfree(requests);
		return r;
	}
	return copy_to_user(user, &at, sizeof(at)) ? -EFAULT : 0;
}

static long vdisk_helper_ioctl(struct file *filp, unsigned int cmd,
			       unsigned long arg)
{
	struct vdisk_blob_file *file = vdisk_helper_file(filp);
	struct vdisk_blob *blob;

	switch (cmd) {
	case VDISK_ATTACH:
		return vdisk_helper_attach(file, (void __user *)arg);
	case VDISK_RESUME:
		blob = vdisk_helper_blob(file);
		if (!blob)
			return -ENOTCONN;
		vdisk_blob_used(file);
		if (READ_ONCE(blob->dead))
			return -ENODEV;
		vdisk_blob_again(file, NULL);
		return 0;
	default:
		return -ENOTTY;
	}
}

/* Copy out what was taken; who is not copied is handed out again. */
static ssize_t vdisk_helper_deliver(struct vdisk_blob_file *file,
				    const struct vdisk_request *requests,
				    unsigned int nr, struct iov_iter *to)
{
	unsigned int i, copied;

	copied = copy_to_iter(requests, nr * sizeof(*requests), to) /
		 sizeof(*requests);
	for (i = nr; i-- > copied;)
		vdisk_blob_again(file, &requests[i].id);
	return copied ? (ssize_t)(copied * sizeof(*requests)) : -EFAULT;
}

/*
 * One look before it sleeps: the caller takes what there is, and comes again. A
 * wake-up that came with a signal may have been for others, too, so what there is
 * then goes before the signal.
 */
static int vdisk_helper_wait(struct vdisk_blob_file *file)
{
	DEFINE_WAIT(wait);
	bool interrupted = false;

	prepare_to_wait_exclusive(&file->wait, &wait, TASK_INTERRUPTIBLE);
	if (!vdisk_blob_ready(file)) {
		interrupted = signal_pending(current);
		if (!interrupted)
			schedule();
	}
	finish_wait(&file->wait, &wait);
	return interrupted && !vdisk_blob_ready(file) ? -ERESTARTSYS : 0;
}

static ssize_t vdisk_helper_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct vdisk_blob_file *file = vdisk_helper_file(iocb->ki_filp);
	bool nowait = (iocb->ki_filp->f_flags & O_NONBLOCK) ||
		      (iocb->ki_flags & IOCB_NOWAIT);
	struct vdisk_request requests[VDISK_HELPER_BATCH];
	struct vdisk_blob *blob = vdisk_helper_blob(file);
	ssize_t done = 0, r;
	size_t room, nr;

	if (!blob)
		return -ENOTCONN;
	if (iov_iter_count(to) < sizeof(*requests))
		return -EINVAL;
	do {
		vdisk_blob_used(file);
		if (READ_ONCE(blob->dead))
			return done ?: -ENODEV;
		room = min_t(size_t, iov_iter_count(to) / sizeof(*requests),
			     ARRAY_SIZE(requests));
		nr = vdisk_blob_take(file, requests, room);
		if (!nr) {
			if (done || nowait)
				return done ?: -EAGAIN;
			r = vdisk_helper_wait(file);
			if (r)
				return r;
			continue;
		}
		r = vdisk_helper_deliver(file, requests, nr, to);
		if (r < 0)
			return done ?: r;
		done += r;
		if (r < room * sizeof(*requests))
			return done;
	} while (iov_iter_count(to) >= sizeof(*requests));
	return done;
}

/* Headers of the future are longer: what we do not know must not be used. */
static int vdisk_helper_check_tail(struct iov_iter *from, size_t bytes)
{
	u8 tail[32];

	while (bytes) {
		size_t part = min(bytes, sizeof(tail));

		if (!copy_from_iter_full(tail, part, from))
			return -EFAULT;
		if (memchr_inv(tail, 0, part))
			return -E2BIG;
		bytes -= part;
	}
	return 0;
}

static bool vdisk_helper_may_fail_by(u32 status)
{
	return status == EIO || status == ENODATA || status == ENOLINK ||
	       status == ETIMEDOUT;
}

/* Is the header well-formed, and within the blob? Behind it comes the data. */
static int vdisk_helper_header(struct vdisk_blob *blob, struct iov_iter *from,
			       struct vdisk_answer *a)
{
	u64 bytes = (u64)blob->len << SECTOR_SHIFT;
	int r;

	if (iov_iter_count(from) < sizeof(*a))
		return -EINVAL;
	if (!copy_from_iter_full(a, sizeof(*a), from))
		return -EFAULT;
	if (a->size < sizeof(*a) || a->size > VDISK_HELPER_HEADER_MAX ||
	    a->size - sizeof(*a) > iov_iter_count(from))
		return -EINVAL;
	r = vdisk_helper_check_tail(from, a->size - sizeof(*a));
	if (r)
		return r;
	if (a->flags || a->reserved || !a->len || a->len % VDISK_BLOCK ||
	    a->offset % VDISK_BLOCK || a->len > VDISK_MAX_BYTES)
		return -EINVAL;
	if (a->offset > bytes || a->len > bytes - a->offset)
		return -ERANGE;
	if (a->status)
		return a->id && vdisk_helper_may_fail_by(a->status) ? 0 : -EINVAL;
	return a->len > iov_iter_count(from) ? -EINVAL : 0;
}

/* One record; @from is behind it if it was accepted. */
static int vdisk_helper_record(struct vdisk_blob_file *file,
			       struct iov_iter *from)
{
	unsigned int tries = VDISK_HELPER_TRIES;
	struct vdisk_blob_supply sup;
	struct vdisk_answer a;
	bool done;
	int r;

	r = vdisk_helper_header(file->blob, from, &a);
	if (r)
		return r;
	for (;;) {
		r = vdisk_blob_begin(file, &a, &sup);
		if (r)
			return r;
		done = a.status || vdisk_blob_copy(&sup, from);
		vdisk_blob_end(file->blob, &sup, done);
		if (done)
			break;
		if (!--tries || fault_in_iov_iter_readable(from, a.len))
			return -EFAULT;
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	if (!a.status)
		iov_iter_advance(from, a.len);
	return 0;
}

static ssize_t vdisk_helper_write(struct kiocb *iocb, struct iov_iter *from)
{
	struct vdisk_blob_file *file = vdisk_helper_file(iocb->ki_filp);
	size_t all = iov_iter_count(from), left;
	struct vdisk_blob *blob = vdisk_helper_blob(file);
	int r = 0;

	if (!blob)
		return -ENOTCONN;
	vdisk_blob_used(file);
	if (!all)
		return 0;
	do {
		vdisk_blob_used(file);
		left = iov_iter_count(from);
		r = fatal_signal_pending(current) ? -EINTR :
		    vdisk_helper_record(file, from);
		cond_resched();
	} while (!r && iov_iter_count(from));
	if (!r)
		return all;
	if (r != -EINTR && r != -ENODEV)
		vdisk_blob_refused(file, r);
	return (ssize_t)(all - left) ?: r;
}

static __poll_t vdisk_helper_poll(struct file *filp, poll_table *wait)
{
	struct vdisk_blob_file *file = vdisk_helper_file(filp);
	struct vdisk_blob *blob = vdisk_helper_blob(file);

	poll_wait(filp, &file->wait, wait);
	if (!blob) {
		poll_wait(filp, &vdisk_blobs_wait, wait);
		return READ_ONCE(file->seen) != READ_ONCE(vdisk_blobs_made) ?
		       EPOLLIN | EPOLLRDNORM : 0;
	}
	vdisk_blob_used(file);
	if (READ_ONCE(blob->dead))
		return EPOLLERR | EPOLLHUP;
	return EPOLLOUT | EPOLLWRNORM |
	       (vdisk_blob_ready(file) ? EPOLLIN | EPOLLRDNORM : 0);
}

static const struct file_operations vdisk_helper_fops = {
	.owner = THIS_MODULE,
	.open = vdisk_helper_open,
	.release = vdisk_helper_release,
	.read_iter = vdisk_helper_read,
	.write_iter = vdisk_helper_write,
	.poll = vdisk_helper_poll,
	.unlocked_ioctl = vdisk_helper_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* Anybody may open it: who may do what is decided by VDISK_ATTACH. */
static struct miscdevice vdisk_helper_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vdisk",
	.fops = &vdisk_helper_fops,
	.mode = 0666,
};

/**
 * vdisk_helper_init - make /dev/vdisk
 *
 * Context: Module init.
 * Return: 0 or -errno.
 */
int vdisk_helper_init(void)
{
	return misc_register(&vdisk_helper_misc);
}

/**
 * vdisk_helper_exit - remove /dev/vdisk
 *
 * Context: Module exit: no file is open.
 */
void vdisk_helper_exit(void)
{
	misc_deregister(&vdisk_helper_misc);
}
