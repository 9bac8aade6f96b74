// SPDX-License-Identifier: GPL-2.0-only
/*
 * Holds: who has a file. There is one for each mapped device and inode, however
 * many nodes and tables of the device use the file: a reload finds its
 * predecessor's lock, instead of being kept out by it. The lines of one table
 * are no reload of each other, so there a hold keeps them apart by itself.
 *
 * A hold has open-file-description locks. They keep out other programs and other
 * mapped devices, and those keep out us. The bytes are QEMU's (its
 * block/file-posix.c): a read lock on 100 + n says "I do n", one on 200 + n "let
 * nobody else do n"; of interest are 0, reading, and 1, writing. Cloud-hypervisor
 * locks the whole file, for reading or for writing: byte 0 keeps it out where
 * these are not enough.
 */
#include <linux/blkdev.h>
#include <linux/errseq.h>
#include <linux/file.h>
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uuid.h>

#include "vdisk.h"

enum {
	BYTE_WRITES_ALONE = 0,
	BYTE_READS = 100,
	BYTE_WRITES = 101,
	BYTE_NO_WRITES = 201,
};

static const loff_t vdisk_hold_bytes[] = {
	BYTE_WRITES_ALONE, BYTE_READS, BYTE_WRITES, BYTE_NO_WRITES
};

/**
 * struct vdisk_hold - see above
 * @list: in vdisk_holds
 * @md: the mapped device
 * @file: as its first user has opened it; the locks are on it
 * @refs: users, and who is about to be one or no longer is
 * @told_lock: guards @told
 * @told: errors of writeback that a flush has told, of whichever table
 * @lock: guards @users and the locks on @file: a server may let us wait for these
 * @users: struct vdisk_hold_user
 */
struct vdisk_hold {
	struct list_head list;
	struct mapped_device *md;
	struct file *file;
	unsigned int refs;
	spinlock_t told_lock;	/* guards @told */
	errseq_t told;
	struct mutex lock;	/* guards @users and the locks on @file */
	struct list_head users;
};

/* Guards the list and refs. Taken by constructors and destructors only. */
static DEFINE_MUTEX(vdisk_holds_lock);
static LIST_HEAD(vdisk_holds);

static int vdisk_hold_lock(struct vdisk_hold *hold, int type, loff_t first,
			   loff_t last)
{
	struct file_lock fl;
	int r;

	vdisk_lock_init(&fl, hold->file, type);
	fl.fl_start = first;
	fl.fl_end = last;
	r = vfs_lock_file(hold->file, F_SETLK, &fl, NULL);
	locks_release_private(&fl);
	return r;
}

/*
 * 0 if nobody else has a lock on the byte. Who locks the whole file to read it
 * does not mean this byte.
 */
static int vdisk_hold_test(struct vdisk_hold *hold, loff_t byte)
{
	struct file_lock fl;
	int r;

	vdisk_lock_init(&fl, hold->file, F_WRLCK);
	fl.fl_start = byte;
	fl.fl_end = byte;
	r = vfs_test_lock(hold->file, &fl);
	if (!r && vdisk_lock_type(&fl) != F_UNLCK &&
	    !(byte == BYTE_WRITES && vdisk_lock_type(&fl) == F_RDLCK &&
	      !fl.fl_start && fl.fl_end == OFFSET_MAX))
		r = -EAGAIN;
	locks_release_private(&fl);
	return r;
}

static bool vdisk_hold_user_wants(const struct vdisk_hold_user *user, loff_t byte)
{
	switch (byte) {
	case BYTE_WRITES_ALONE:
		return user->write && !user->shared;
	case BYTE_READS:
		return true;
	case BYTE_WRITES:
		return user->write;
	default:
		return !user->shared;
	}
}

static bool vdisk_hold_wants(const struct vdisk_hold *hold, loff_t byte)
{
	const struct vdisk_hold_user *user;

	list_for_each_entry(user, &hold->users, list)
		if (vdisk_hold_user_wants(user, byte))
			return true;
	return false;
}

/* Who writes has the file alone in its table, unless all share it. */
static bool vdisk_hold_admits(const struct vdisk_hold *hold,
			      const struct vdisk_hold_user *user)
{
	const struct vdisk_hold_user *other;

	list_for_each_entry(other, &hold->users, list)
		if (other->table == user->table &&
		    (other->write || user->write) &&
		    !(other->shared && user->shared))
			return false;
	return true;
}

/*
 * Lock what the users need and nothing else. What is kept is locked before the
 * rest is let go, so nobody gets in between. Only then is looked at what others
 * have: of two that come at once, at least one sees the other.
 */
static int vdisk_hold_apply(struct vdisk_hold *hold)
{
	unsigned int i;
	int r = 0;

	lockdep_assert_held(&hold->lock);
	for (i = 0; !r && i < ARRAY_SIZE(vdisk_hold_bytes); i++) {
		loff_t byte = vdisk_hold_bytes[i];

		if (vdisk_hold_wants(hold, byte))
			r = vdisk_hold_lock(hold, byte == BYTE_WRITES_ALONE ?
					    F_WRLCK : F_RDLCK, byte, byte);
	}
	for (i = 0; !r && i < ARRAY_SIZE(vdisk_hold_bytes); i++)
		if (!vdisk_hold_wants(hold, vdisk_hold_bytes[i]))
			r = vdisk_hold_lock(hold, F_UNLCK, vdisk_hold_bytes[i],
					    vdisk_hold_bytes[i]);
	if (!r && vdisk_hold_wants(hold, BYTE_NO_WRITES))
		r = vdisk_hold_test(hold, BYTE_WRITES);
	if (!r && vdisk_hold_wants(hold, BYTE_WRITES))
		r = vdisk_hold_test(hold, BYTE_NO_WRITES);
	return r;
}

/*
 * btrfs has any number of disks, and lists them in sysfs; it is looked up there,
 * wherever that is mounted. One of them gives it its name.
 */
static bool vdisk_hold_lists(const struct super_block *sb, const char *disk_name)
{
	char uuid[UUID_STRING_LEN + 1];
	const char * const names[] = {
		sb->s_type->name, uuid, "devices", disk_name,
	};
	struct kernfs_node *kn = fs_kobj->sd, *next;
	unsigned int i;

	snprintf(uuid, sizeof(uuid), "%pU", &sb->s_uuid);
	kernfs_get(kn);
	for (i = 0; kn && i < ARRAY_SIZE(names); i++) {
		next = kernfs_find_and_get(kn, names[i]);
		kernfs_put(kn);
		kn = next;
	}
	kernfs_put(kn);
	return kn;
}

/* A file of overlayfs is one of another file system, where its data lies. */
static const struct super_block *vdisk_hold_sb(const struct file *file)
{
	return d_real_inode(file->f_path.dentry)->i_sb;
}

static bool vdisk_hold_lies_on(const struct super_block *sb,
			       const struct gendisk *disk)
{
	const void *holder = disk->part0->bd_holder;

	/*
	 * Its journal, log or realtime disk, too. XFS of 6.1 has its own data for
	 * the holder of these.
	 */
	if (holder && (holder == sb || holder == sb->s_fs_info))
		return true;
	if (sb->s_bdev)
		return sb->s_bdev->bd_disk == disk;
	return !strcmp(sb->s_id, disk->disk_name) ||
	       vdisk_hold_lists(sb, disk->disk_name);
}

/* Does a file system lie on a disk, directly or by files of other disks? */
static bool vdisk_hold_leads_to(const struct super_block *sb,
				const struct gendisk *disk, unsigned int depth)
{
	struct vdisk_hold *hold;

	lockdep_assert_held(&vdisk_holds_lock);
	if (vdisk_hold_lies_on(sb, disk) || depth == VDISK_MAX_DEPTH)
		return true;
	list_for_each_entry(hold, &vdisk_holds, list)
		if (vdisk_hold_lies_on(sb, dm_disk(hold->md)) &&
		    vdisk_hold_leads_to(vdisk_hold_sb(hold->file), disk,
					depth + 1))
			return true;
	return false;
}

/* The hold of a mapped device on a file, with a reference; a new one if need be. */
static struct vdisk_hold *vdisk_hold_find(struct mapped_device *md,
					  struct file *file)
{
	struct vdisk_hold *hold;

	lockdep_assert_held(&vdisk_holds_lock);
	list_for_each_entry(hold, &vdisk_holds, list)
		if (hold->md == md &&
		    file_inode(hold->file) == file_inode(file)) {
			hold->refs++;
			return hold;
		}
	hold = kzalloc(sizeof(*hold), GFP_KERNEL);
	if (!hold)
		return NULL;
	hold->md = md;
	hold->file = get_file(file);
	hold->refs = 1;
	spin_lock_init(&hold->told_lock);
	hold->told = file->f_wb_err;
	mutex_init(&hold->lock);
	INIT_LIST_HEAD(&hold->users);
	list_add_tail(&hold->list, &vdisk_holds);
	return hold;
}

static void vdisk_hold_forget(struct vdisk_hold *hold)
{
	bool last;

	mutex_lock(&vdisk_holds_lock);
	last = !--hold->refs;
	if (last)
		list_del(&hold->list);
	mutex_unlock(&vdisk_holds_lock);
	if (!last)
		return;
	/* What a server did not let go goes with the file, which owns the locks. */
	fput(hold->file);
	kfree(hold);
}

static void vdisk_hold_leave(struct vdisk_hold *hold, struct vdisk_hold_user *user)
{
	lockdep_assert_held(&hold->lock);
	list_del(&user->list);
	/* If that fails for want of memory, more stays locked than has to. */
	if (!list_empty(&hold->users))
		vdisk_hold_apply(hold);
	/* No lock may outlive its file. Of the whole file it takes no memory. */
	else
		vdisk_hold_lock(hold, F_UNLCK, 0, OFFSET_MAX);
}

static int vdisk_hold_join(struct vdisk_hold *hold, struct vdisk_node *n,
			   struct vdisk_hold_user *user)
{
	int r;

	lockdep_assert_held(&hold->lock);
	if (!vdisk_hold_admits(hold, user))
		return vdisk_fail(n, -EBUSY, "path: twice in this table");
	list_add_tail(&user->list, &hold->users);
	r = vdisk_hold_apply(hold);
	if (!r)
		return 0;
	vdisk_hold_leave(hold, user);
	if (r == -EAGAIN || r == -EACCES)
		return vdisk_fail(n, -EBUSY,
				  "path: in use by another disk or program");
	return vdisk_fail(n, r, "path: cannot be locked (%pe)", ERR_PTR(r));
}

/**
 * vdisk_hold_get - take a file for a node, unless others have it
 * @n: the node
 * @file: the file, just opened
 * @user: @write and @shared are set; for vdisk_hold_put()
 *
 * Context: Process context, may sleep.
 * Return: 0, or -errno after vdisk_fail().
 */
int vdisk_hold_get(struct vdisk_node *n, struct file *file,
		   struct vdisk_hold_user *user)
{
	struct mapped_device *md = dm_table_get_md(n->stack->ti->table);
	struct vdisk_hold *hold;
	int r;

	mutex_lock(&vdisk_holds_lock);
	if (vdisk_hold_leads_to(vdisk_hold_sb(file), dm_disk(md), 0)) {
		mutex_unlock(&vdisk_holds_lock);
		return vdisk_fail(n, -ELOOP,
				  "path: on a file system on this very disk");
	}
	hold = vdisk_hold_find(md, file);
	mutex_unlock(&vdisk_holds_lock);
	if (!hold)
		return vdisk_fail(n, -ENOMEM, "out of memory");

	user->table = n->stack->ti->table;
	user->hold = hold;
	mutex_lock(&hold->lock);
	r = vdisk_hold_join(hold, n, user);
	mutex_unlock(&hold->lock);
	if (r)
		vdisk_hold_forget(hold);
	return r;
}

/**
 * vdisk_hold_told - has writeback lost anything that nobody was told?
 * @hold: of the file
 *
 * A table's own file would not know what its predecessor's has told already, nor
 * what others have heard of before it was opened.
 *
 * Context: Process context.
 * Return: 0 or -errno, once for each time.
 */
int vdisk_hold_told(struct vdisk_hold *hold)
{
	int r;

	spin_lock(&hold->told_lock);
	r = errseq_check_and_advance(&hold->file->f_mapping->wb_err,
				     &hold->told);
	spin_unlock(&hold->told_lock);
	return r;
}

/**
 * vdisk_hold_put - undo vdisk_hold_get()
 * @user: as there
 *
 * Context: Process context, may sleep.
 */
void vdisk_hold_put(struct vdisk_hold_user *user)
{
	struct vdisk_hold *hold = user->hold;

	mutex_lock(&hold->lock);
	vdisk_hold_leave(hold, user);
	mutex_unlock(&hold->lock);
	vdisk_hold_forget(hold);
}
