// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-vdisk: what dm core calls.
 */
#include <crypto/sha2.h>
#include <linux/atomic.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "vdisk.h"
#include "vdisk-blob.h"

#define DM_MSG_PREFIX "vdisk"

/*
 * ti->error is printed by dm core after the constructor has returned, and
 * nobody frees it: a message lives in a slot of its own until as many other
 * loads have failed. Should that happen in between, the text printed is that
 * of another failure; it is always terminated.
 */
#define VDISK_ERROR_SLOTS	32
static char vdisk_errors[VDISK_ERROR_SLOTS][VDISK_ERROR_MAX];
static atomic_t vdisk_error_next;

static int vdisk_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	char error[VDISK_ERROR_MAX];
	unsigned int slot;
	int r;

	r = vdisk_stack_ctr(ti, argc, argv, error);
	if (!r)
		return 0;
	slot = atomic_inc_return(&vdisk_error_next) % VDISK_ERROR_SLOTS;
	strscpy(vdisk_errors[slot], error, VDISK_ERROR_MAX);
	ti->error = vdisk_errors[slot];
	return r;
}

static void vdisk_dtr(struct dm_target *ti)
{
	vdisk_stack_dtr(ti->private);
}

static void vdisk_presuspend(struct dm_target *ti)
{
	vdisk_stack_presuspend(ti->private);
}

static void vdisk_presuspend_undo(struct dm_target *ti)
{
	vdisk_stack_presuspend_undo(ti->private);
}

static void vdisk_postsuspend(struct dm_target *ti)
{
	vdisk_stack_postsuspend(ti->private);
}

static int vdisk_preresume(struct dm_target *ti)
{
	return vdisk_stack_preresume(ti->private);
}

static void vdisk_resume(struct dm_target *ti)
{
	vdisk_stack_resume(ti->private);
}

static void vdisk_emit_count(struct vdisk_node *n, struct vdisk_out *out)
{
	struct vdisk_count c;

	vdisk_count_sum(n, &c);
	vdisk_emit(out, " len=%llu", n->len);
	if (n->ops->size)
		vdisk_emit(out, " size=%llu", n->ops->size(n));
	vdisk_emit(out, " reads=%llu read_sectors=%llu",
		   c.ios[VDISK_READ], c.sectors[VDISK_READ]);
	vdisk_emit(out, " writes=%llu written_sectors=%llu",
		   c.ios[VDISK_WRITE], c.sectors[VDISK_WRITE]);
	vdisk_emit(out, " discards=%llu discarded_sectors=%llu",
		   c.ios[VDISK_DISCARD], c.sectors[VDISK_DISCARD]);
	vdisk_emit(out, " flushes=%llu errors=%llu", c.ios[VDISK_FLUSH], c.errors);
	if (n->ops->status)
		n->ops->status(n, out);
}

/* A value of dm-ima's ends at its separators. */
static void vdisk_emit_ima(struct vdisk_out *out, const char *line)
{
	for (; *line; line++)
		vdisk_emit(out, strchr(",;=\\", *line) ? "\\%c" : "%c", *line);
}

/*
 * The event that dm-ima measures holds at most 2048 bytes of a target
 * (drivers/md/dm-ima.h); of a line longer than half of it, the digest stands.
 */
#define VDISK_IMA_MAX	1024
#define VDISK_LINE_MAX	SZ_64K

static void vdisk_status_ima(struct vdisk_stack *s, struct vdisk_out *out)
{
	struct vdisk_out line = { .max = VDISK_LINE_MAX };
	u8 digest[SHA256_DIGEST_SIZE];

	line.buf = kvzalloc(line.max, GFP_NOIO);
	if (!line.buf) {
		vdisk_emit(out, ",error=no_memory;");
		return;
	}
	vdisk_print(s, &line, NULL);
	if (line.len <= VDISK_IMA_MAX) {
		vdisk_emit(out, ",stack=");
		vdisk_emit_ima(out, line.buf);
	} else {
		sha256(line.buf, line.len, digest);
		vdisk_emit(out, ",stack_sha256=%*phN", SHA256_DIGEST_SIZE, digest);
	}
	vdisk_emit(out, ";");
	kvfree(line.buf);
}

static void vdisk_status(struct dm_target *ti, status_type_t type,
			 unsigned int flags, char *result, unsigned int maxlen)
{
	struct vdisk_out out = { result, 0, maxlen };
	unsigned int sz = 0;

	result[0] = '\0';
	switch (type) {
	case STATUSTYPE_INFO:
		vdisk_print(ti->private, &out, vdisk_emit_count);
		break;
	case STATUSTYPE_TABLE:
		vdisk_print(ti->private, &out, NULL);
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		out.len = sz;
		vdisk_status_ima(ti->private, &out);
		break;
	}
}

/* dmsetup message <dev> <sector> <label|type> <verb> [<word>...] */
static int vdisk_message(struct dm_target *ti, unsigned int argc, char **argv,
			 char *result, unsigned int maxlen)
{
	struct vdisk_out out = { result, 0, maxlen };
	struct vdisk_stack *s = ti->private;
	struct vdisk_node *n;
	int r = -EINVAL;

	result[0] = '\0';
	mutex_lock(&s->message_lock);
	strscpy(s->error, "refused", sizeof(s->error));
	n = vdisk_find(s, argv[0]);
	if (!n)
		goto fail;
	if (argc < 2 || !n->ops->message) {
		vdisk_fail(n, -EINVAL, n->ops->message ?
			   "say what it should do" : "understands no message");
		goto fail;
	}
	r = n->ops->message(n, argc - 1, argv + 1, &out);
fail:
	if (r < 0)
		DMERR("%s: %s", dm_table_device_name(ti->table), s->error);
	mutex_unlock(&s->message_lock);
	return r;
}

/*
 * A stack that only remaps shows its leaves, any other its face. The area of
 * a face is the whole of it.
 */
static int vdisk_iterate_devices(struct dm_target *ti,
				 iterate_devices_callout_fn fn, void *data)
{
	struct vdisk_stack *s = ti->private;
	unsigned int i;
	int r = 0;

	if (!s->remaps)
		return fn(ti, s->face, 0, ti->len, data);
	for (i = 0; !r && i < s->nr_leaves; i++)
		r = fn(ti, vdisk_block_dev(s->leaves[i]),
		       s->leaves[i]->start, s->leaves[i]->len, data);
	return r;
}

/*
 * dm core has stacked the leaves flat; what the combinators say about sizes
 * and boundaries is in the composed limits.
 */
static void vdisk_io_hints(struct dm_target *ti, struct queue_limits *lim)
{
	struct vdisk_stack *s = ti->private;
	const struct queue_limits *composed = &s->nodes[0]->lim;

	if (!s->remaps)
		return;
	vdisk_stack_limits(s);
	lim->chunk_sectors = composed->chunk_sectors;
	lim->io_min = composed->io_min;
	lim->io_opt = composed->io_opt;
	lim->max_hw_discard_sectors = composed->max_hw_discard_sectors;
}

/*
 * An ioctl reaches a device only if the disk is that device: dm-linear's
 * rule, and for stacks of more than one leaf, or of nodes that do more than
 * remap, none does. dm core asks here too for whom to clear reservations; the
 * face of a "pr" has them, and no ioctl.
 */
static int vdisk_prepare_ioctl(struct dm_target *ti,
			       VDISK_PREPARE_IOCTL_ARGS(struct block_device **bdev))
{
	struct vdisk_stack *s = ti->private;

	if (s->nodes[0]->ops == &vdisk_pr_ops) {
		*bdev = s->face->bdev;
		return 0;
	}
	if (!s->remaps || s->nr_leaves != 1)
		return -ENOTTY;
	*bdev = s->leaves[0]->bdev;
	return s->leaves[0]->start ||
	       ti->len != bdev_nr_sectors(*bdev);
}

static struct target_type vdisk_target = {
	.name = "vdisk",
	.version = { 0, 1, 0 },
	.features = DM_TARGET_NOWAIT | DM_TARGET_PASSES_CRYPTO |
		    DM_TARGET_ATOMIC_WRITES | VDISK_PASSES_INTEGRITY,
	.module = THIS_MODULE,
	.ctr = vdisk_ctr,
	.dtr = vdisk_dtr,
	.map = vdisk_map,
	.end_io = vdisk_end_io,
	.presuspend = vdisk_presuspend,
	.presuspend_undo = vdisk_presuspend_undo,
	.postsuspend = vdisk_postsuspend,
	.preresume = vdisk_preresume,
	.resume = vdisk_resume,
	.status = vdisk_status,
	.message = vdisk_message,
	.iterate_devices = vdisk_iterate_devices,
	.io_hints = vdisk_io_hints,
	.prepare_ioctl = vdisk_prepare_ioctl,
};

static int __init vdisk_init(void)
{
	int r = vdisk_blob_init();

	if (r)
		return r;
	r = dm_register_target(&vdisk_target);
	if (r)
		vdisk_blob_exit();
	return r;
}

static void __exit vdisk_exit(void)
{
	dm_unregister_target(&vdisk_target);
	vdisk_blob_exit();
	vdisk_object_exit();
}

module_init(vdisk_init);
module_exit(vdisk_exit);

MODULE_DESCRIPTION(DM_NAME " target: a stack of disk backends");
MODULE_AUTHOR("The vdisk developers");
MODULE_VERSION("0.1.0");
MODULE_LICENSE("GPL");
