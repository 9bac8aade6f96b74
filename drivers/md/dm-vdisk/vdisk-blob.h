/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A blob: between the nodes that read it (vdisk-blob.c) and the files of the
 * helper that supplies it (vdisk-helper.c).
 */
#ifndef VDISK_BLOB_H
#define VDISK_BLOB_H

#include <linux/cred.h>
#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <uapi/linux/vdisk.h>

#include "vdisk.h"
#include "vdisk-store.h"

#define VDISK_BLOB_PRIOS	(VDISK_PRIO_IDLE + 1)
#define VDISK_BLOB_BUCKETS	20	/* of the latency histogram */
#define VDISK_BLOB_BUCKET_US	64	/* the first is less than this */

struct vdisk_blob_file;

/**
 * struct vdisk_blob_count - what happened to a blob
 * @requests: read by a helper
 * @served: bios that got their data
 * @failed: bios that got an error
 * @bytes: copied to bios
 * @again: requests handed out again
 * @pushes: taken
 * @dropped: of these, nobody waited for
 * @refused: records and calls of helpers that were wrong
 * @lost: times that the last helper was lost
 * @latency: bios served, by time: i less than VDISK_BLOB_BUCKET_US << i
 */
struct vdisk_blob_count {
	u64 requests;
	u64 served;
	u64 failed;
	u64 bytes;
	u64 again;
	u64 pushes;
	u64 dropped;
	u64 refused;
	u64 lost;
	u64 latency[VDISK_BLOB_BUCKETS];
};

/**
 * struct vdisk_blob - one name, for all nodes and files that have it
 *
 * A bio that waits is in one of three places: pending (in @pending and @fifo),
 * with a request (its ios), or with a thread that copies to it right now
 * (struct vdisk_blob_supply). What it waits for is the first sector that it
 * has not got: a request that is held covers it, or it is pending.
 *
 * @list: in vdisk_blobs, while a table names it
 * @refs: nodes and files
 * @nodes: by vdisk_blob_node.list
 * @pinned: helpers have to state what @pin is a digest of
 * @pin: first bytes of the SHA-256 of an identity
 * @name: its name
 * @len: sectors
 * @uid: who may attach
 * @watch: looks for helpers that are lost, and ends what shall not wait longer
 * @lock: guards what follows; process context only
 * @dead: no table names it any more
 * @supplied: bytes of it were given to bios
 * @event: tell the tables' event waiters
 * @pending: by first sector
 * @fifo: the same by priority and arrival
 * @held: requests that a file holds, by first sector; they do not overlap
 * @files: attached, by vdisk_blob_file.list
 * @nr_waiting: bios
 * @nr_held: requests
 * @nr_files: of @files
 * @serial: of the last id
 * @timeout: ns; of the table that went live last
 * @lost_since: when the last helper was lost, ktime_get_ns(); 0: there is one
 * @armed: when @watch will run, ktime_get_ns(); 0: it will not
 * @count: what happened
 */
struct vdisk_blob {
	struct list_head list;
	unsigned int refs;
	struct list_head nodes;
	bool pinned;
	u8 pin[VDISK_STORE_PIN];
	char name[VDISK_NAME_SIZE];
	sector_t len;
	kuid_t uid;
	struct delayed_work watch;
	spinlock_t lock;	/* guards what follows */
	bool dead;
	bool supplied;
	bool event;
	struct rb_root pending;
	struct list_head fifo[VDISK_BLOB_PRIOS];
	struct rb_root held;
	struct list_head files;
	unsigned int nr_waiting;
	unsigned int nr_held;
	unsigned int nr_files;
	u64 serial;
	u64 timeout;
	u64 lost_since;
	u64 armed;
	struct vdisk_blob_count count;
};

/**
 * struct vdisk_blob_request - what a file holds, under the blob's lock
 * @node: in vdisk_blob.held
 * @list: in the file's free or held
 * @file: whose it is
 * @id: 0: it is free
 * @sector: first that is not answered
 * @end: behind the last
 * @ios: who waits for a sector of it
 * @busy: a thread is answering it
 * @again: to be handed out again when that thread is done
 */
struct vdisk_blob_request {
	struct rb_node node;
	struct list_head list;
	struct vdisk_blob_file *file;
	u64 id;
	sector_t sector;
	sector_t end;
	struct list_head ios;
	bool busy;
	bool again;
};

/**
 * struct vdisk_blob_file - an open file that is attached
 * @blob: set by a release store when all else is, by VDISK_ATTACH
 * @seen: vdisk_blobs_made when an attach found no such name
 * @uid: who attached
 * @unit: sectors: requests are aligned to it
 * @max: sectors: longest request
 * @depth: elements of @requests
 * @requests: all, held or not
 * @wait: who waits in read() or poll()
 * @used: last time, get_jiffies_64(): cheaper than a clock
 * @list: in vdisk_blob.files; under the blob's lock as what follows
 * @free: requests
 * @held: requests
 * @lost: it was not used for too long
 * @complained: a wrong record of it is in the log
 */
struct vdisk_blob_file {
	struct vdisk_blob *blob;
	u64 seen;
	kuid_t uid;
	sector_t unit;
	sector_t max;
	unsigned int depth;
	struct vdisk_blob_request *requests;
	wait_queue_head_t wait;
	u64 used;
	struct list_head list;
	struct list_head free;
	struct list_head held;
	bool lost;
	bool complained;
};

/**
 * struct vdisk_blob_supply - a thread that gives data, or an error, to bios
 * @req: the request it answers, or NULL
 * @sector: first
 * @end: behind the last
 * @ios: those it serves; nobody else touches them
 * @status: of them
 */
struct vdisk_blob_supply {
	struct vdisk_blob_request *req;
	sector_t sector;
	sector_t end;
	struct list_head ios;
	blk_status_t status;
};

/* vdisk-blob.c */
extern struct mutex vdisk_blobs_lock;
extern wait_queue_head_t vdisk_blobs_wait;
extern u64 vdisk_blobs_made;

struct vdisk_blob *vdisk_blob_find(const char *name);
void vdisk_blob_put(struct vdisk_blob *blob);
int vdisk_blob_pin(struct vdisk_node *n, const u8 *pin);
void vdisk_blob_unpin(struct vdisk_node *n);
bool vdisk_blob_pinned(struct vdisk_node *n, u8 *pin);
int vdisk_blob_set_pin(struct vdisk_blob *blob, const u8 *pin);
void vdisk_blob_attach(struct vdisk_blob_file *file, struct vdisk_blob *blob);
void vdisk_blob_detach(struct vdisk_blob_file *file);
bool vdisk_blob_ready(struct vdisk_blob_file *file);
unsigned int vdisk_blob_take(struct vdisk_blob_file *file,
			     struct vdisk_request *out, unsigned int max);
int vdisk_blob_begin(struct vdisk_blob_file *file,
		     const struct vdisk_answer *a, struct vdisk_blob_supply *sup);
bool vdisk_blob_copy(struct vdisk_blob_supply *sup, const struct iov_iter *from);
void vdisk_blob_end(struct vdisk_blob *blob, struct vdisk_blob_supply *sup,
		    bool done);
void vdisk_blob_again(struct vdisk_blob_file *file, const u64 *id);
void vdisk_blob_used(struct vdisk_blob_file *file);
int vdisk_blob_refused(struct vdisk_blob_file *file, int err);
int vdisk_blob_init(void);
void vdisk_blob_exit(void);

/* vdisk-helper.c */
int vdisk_helper_init(void);
void vdisk_helper_exit(void);

#endif /* VDISK_BLOB_H */
