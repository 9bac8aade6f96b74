/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dm-vdisk: a stack of disk backends in one device-mapper target.
 *
 *      bio of the guest
 *         |  dm core clones it once
 *         v
 *   vdisk_map()        one walk from root to leaf, one trim        vdisk-io.c
 *         |
 *     [ root ]         combinators: route() says which child and
 *      /    \          how much in one piece; map()/end() act      vdisk-concat.c
 *  [node]  [node]      on the way down/up if they have to          vdisk-striped.c
 *     |       |
 *  [leaf]  [leaf]      block: sets bi_bdev. ram, zero: answer      vdisk-block.c
 *     |
 *     v  dm core submits the same clone
 *   device
 *
 * A stack that only remaps (every node routes or is a block leaf) does all of
 * this in one loop and owns nothing per bio but the leaf's address. Any other
 * stack keeps a struct vdisk_io per bio, and may multiply it; but where all nodes
 * on a bio's way let it pass(), that is one loop as well.
 *
 * Contexts: route() any, no sleep. pass() process context, no sleep. map() process
 * context, may sleep unless REQ_NOWAIT. end() any, hardirq included. Everything
 * else: process context.
 */
#ifndef VDISK_H
#define VDISK_H

#include <linux/bio.h>
#include <linux/device-mapper.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "vdisk-types.h"

#define VDISK_UNBOUNDED		(~(sector_t)0)	/* natural length of ram, zero */
#define VDISK_ERROR_MAX		256		/* bytes of a message to the user */
#define VDISK_PATH_MAX		256	/* bytes of a node's path */

struct vdisk_io;
struct vdisk_node;
struct vdisk_out;
struct vdisk_pool;

/* What map() says became of the bio. */
enum vdisk_map {
	VDISK_DOWN,	/* go on to the child that route() names */
	VDISK_REMAPPED,	/* leaf: bi_bdev and bi_sector are set, submit it */
	VDISK_ENDED,	/* leaf: done, bi_status says how */
	VDISK_TAKEN,	/* the node owns the io until vdisk_go_on() or vdisk_end() */
};

enum vdisk_end { VDISK_UP, VDISK_KEPT };	/* KEPT: owned until vdisk_end() */

/* A run of sectors on its way down, relative to the node that looks at it. */
struct vdisk_run {
	sector_t sector;
	sector_t nr;
	bool write;	/* set in stacks that do more than remap */
};

/**
 * struct vdisk_ops - what a node type does
 *
 * All are optional unless said otherwise; none owns the bio beyond its return
 * unless it says so by VDISK_TAKEN or VDISK_KEPT.
 *
 * @ctr: take what the node needs; its children are complete. Process context,
 *	may sleep. On failure the node has undone what it did, and said why by
 *	vdisk_fail().
 * @dtr: give back what ctr took; no bio is in flight.
 * @length: natural length in sectors, or VDISK_UNBOUNDED (required)
 * @give: the node got @n->len; give the children theirs. Combinators: required.
 * @limits: @lim is what the children's stack up to (a leaf: unlimited); change
 *	what this node changes.
 * @route: the child that serves the beginning of @run; moves @run->sector into
 *	it and cuts @run->nr to what it serves as one piece, never to 0.
 *	Combinators: required. Any context, must not sleep.
 * @range: like route for a whole range and one given child: false if nothing
 *	of it lies there. Needed with more than one child.
 * @ready: before route() is asked for data: false if it has to wait for what
 *	route() needs; the node owns the io until vdisk_again() or vdisk_end().
 *	Process context, must not sleep.
 * @pass: the child that serves all of @run, if the node has nothing to do with
 *	a bio that goes there, neither on its way down nor up, and moves
 *	@run->sector into it; else NULL, and the bio takes the other way. It is
 *	asked in the place of ready(), route(), map() and end(), never for FUA.
 *	Process context, must not sleep.
 * @map: act on a bio on its way down. Process context.
 * @end: act on a bio on its way up; may change *@status. Any context.
 * @abort: end the bios it holds back for which @which() is true with @status;
 *	it need not find those that are about to go on. Process context.
 * @presuspend: stop what runs by itself; bios still come.
 * @presuspend_undo: the suspend was given up.
 * @postsuspend: no bio is in flight and none will come.
 * @preresume: the table goes live; an error refuses the resume.
 * @preresume_undo: another node has refused it.
 * @resume: start what runs by itself.
 * @pools: the per-bio layout is final: make what needs its size. Process
 *	context; on failure dtr is called.
 * @size: current size in sectors of what a leaf lies on, for the size watch.
 * @status: add " key=value" pairs to the INFO line with vdisk_emit().
 * @message: a verb and its words; adds its answer with vdisk_emit().
 *	Must not wait under message_lock. Returns 0, 1 if it answered, or -errno
 *	after vdisk_fail().
 * @io_size: bytes of per-bio state, vdisk_state(); ctr may raise @n->io_size
 * @interleaves: neighbouring sectors lie in different children
 * @splits: a single-child node whose route() may cut data. It must not cut a
 *	run further that it has cut before.
 * @whole: sectors of data that @splits does not cut, wherever they begin
 * @own_ios: it calls vdisk_io_alloc()
 * @defers: some bio will need vdisk_defer(): give the stack a worker, and do not
 *	let anybody poll.
 * @charges: of the bios it defers on their way down it calls vdisk_charge() for
 *	each, before that
 * @works: it calls vdisk_defer(), but not for bios that go on: give the stack a
 *	worker
 * @unbound: it needs @stack->unbound
 * @files: it needs @stack->files, and not @stack->wq
 * @longer: it may be given more than its natural length
 * @reads_base: its second child is only ever read, but for write_through and merge
 * @writes_store: its @store is written, also if the node is only read
 * @store: which child that is
 * @remaps: bios pass it without the node keeping anything of its own.
 */
struct vdisk_ops {
	int (*ctr)(struct vdisk_node *n);
	void (*dtr)(struct vdisk_node *n);
	sector_t (*length)(const struct vdisk_node *n);
	int (*give)(struct vdisk_node *n);
	void (*limits)(struct vdisk_node *n, struct queue_limits *lim);
	struct vdisk_node *(*route)(struct vdisk_node *n, struct vdisk_run *run);
	bool (*range)(struct vdisk_node *n, unsigned int child,
		      struct vdisk_run *run);
	bool (*ready)(struct vdisk_node *n, struct vdisk_io *io);
	struct vdisk_node *(*pass)(struct vdisk_node *n, struct vdisk_run *run);
	enum vdisk_map (*map)(struct vdisk_node *n, struct vdisk_io *io);
	enum vdisk_end (*end)(struct vdisk_node *n, struct vdisk_io *io,
			      blk_status_t *status);
	void (*abort)(struct vdisk_node *n, bool (*which)(struct vdisk_io *io),
		      blk_status_t status);
	void (*presuspend)(struct vdisk_node *n);
	void (*presuspend_undo)(struct vdisk_node *n);
	void (*postsuspend)(struct vdisk_node *n);
	int (*preresume)(struct vdisk_node *n);
	void (*preresume_undo)(struct vdisk_node *n);
	void (*resume)(struct vdisk_node *n);
	int (*pools)(struct vdisk_node *n);
	sector_t (*size)(const struct vdisk_node *n);
	void (*status)(struct vdisk_node *n, struct vdisk_out *out);
	int (*message)(struct vdisk_node *n, unsigned int argc, char **argv,
		       struct vdisk_out *out);
	unsigned int io_size;
	unsigned int whole;
	bool interleaves;
	bool splits;
	bool own_ios;
	bool defers;
	bool charges;
	bool works;
	bool unbound;
	bool files;
	bool longer;
	bool reads_base;
	bool writes_store;
	unsigned int store;
	bool remaps;
};

extern const struct vdisk_ops vdisk_block_ops, vdisk_nvme_ops, vdisk_file_ops,
	vdisk_vhd1_ops, vdisk_ram_ops, vdisk_zero_ops, vdisk_blob_ops,
	vdisk_striped_ops, vdisk_concat_ops, vdisk_crypt_ops, vdisk_delay_ops,
	vdisk_overlay_ops, vdisk_cache_ops, vdisk_pr_ops, vdisk_test_ops;

/* The value of one word or option. */
struct vdisk_val {
	bool set;
	u64 num;
	char *str;		/* owned */
};

/* What a VDISK_LATENCY says: step i holds from its percentile on. */
struct vdisk_step {
	u32 us;
	u32 at;			/* 1/1000 %; rises, the first is 0 */
};

struct vdisk_latency {
	unsigned int nr;
	struct vdisk_step step[VDISK_MAX_STEPS];
};

/* A leaf's counters; a combinator's are the sum of its children's. */
struct vdisk_count {
	u64 ios[4];		/* VDISK_READ.. */
	u64 sectors[4];
	u64 errors;
};

enum { VDISK_READ, VDISK_WRITE, VDISK_FLUSH, VDISK_DISCARD };

/**
 * struct vdisk_node - one backend of a stack
 * @route: @ops' own; with what follows it one cache line, all that a bio needs
 * @priv: the type's own
 * @children: in the order of the line; all after this node in stack->nodes
 * @bdev: block leaves: the device
 * @start: block and file leaves: where the leaf begins on it
 * @count: leaves only
 * @passes: a bio may come from here to its device by remapping and pass() alone
 * @type: its words and options
 * @ops: what it does
 * @stack: the stack it belongs to
 * @parent: NULL for the root
 * @nr_children: how many
 * @index: which child of its parent
 * @depth: nodes above it
 * @len: sectors given from above
 * @label: from the line, or NULL
 * @val: values of the type's args
 * @lim: limits of this node and all below, a snapshot of ctr time
 * @inode: file leaves: the file
 * @object: what of it outlives the table, or NULL
 * @seen_size: last answer of ops->size; size watch only
 * @built: ctr succeeded, dtr is due
 * @stable: what is written must not change meanwhile; its limits say so too
 * @caches: it has to be flushed, whatever is below it; its limits say so too
 * @io_size: of the node's state; its type's, unless ctr says more
 * @io_offset: of the node's state from the io
 * @multi_offset: of the engine's state for multiplying at this node
 * @pieces: bios that multiply others here, if it ever does so
 * @own: bios of the node's own, if it has some
 */
struct vdisk_node {
	struct vdisk_node *(*route)(struct vdisk_node *n, struct vdisk_run *run);
	void *priv;
	struct vdisk_node **children;
	struct block_device *bdev;
	sector_t start;
	struct vdisk_count __percpu *count;
	const struct vdisk_ops *ops;
	bool passes;

	const struct vdisk_type *type;
	struct vdisk_stack *stack;
	struct vdisk_node *parent;
	unsigned int nr_children;
	unsigned int index;
	unsigned int depth;
	sector_t len;
	struct inode *inode;
	struct vdisk_object *object;

	unsigned int io_size;
	unsigned int io_offset;
	unsigned int multi_offset;
	struct vdisk_pool *pieces;
	struct vdisk_pool *own;

	char *label;
	bool built;
	bool caches;
	bool stable;
	sector_t seen_size;
	struct queue_limits lim;
	struct vdisk_val val[VDISK_MAX_ARGS];
};

#define VDISK_GATE_EPOCH	BIT_ULL(63)

/**
 * struct vdisk_gate - whom a pr lets in
 * @word: a bit for each REQ_OP that it refuses, and VDISK_GATE_EPOCH
 * @ios: per CPU: bios that were let in and have not ended, by epoch
 *
 * The engine is the reader: it asks for each bio.
 */
struct vdisk_gate {
	u64 word;
	unsigned long __percpu *ios;
};

/**
 * struct vdisk_stack - the tree of one table line
 * @ti: the target
 * @disk: of the mapped device
 * @remaps: bios are only remapped: one loop, no struct vdisk_io
 * @direct: there is a @gate, and below it bios are only remapped
 * @passes: the root does, and some node by pass()
 * @copies: dm core sends a range op once for each leaf
 * @drop_volatile: the line allows to lose what the live table has in memory
 * @whole: data up to so many sectors passes in one piece, wherever it begins
 * @nr_nodes: how many @nodes
 * @nr_leaves: how many @leaves
 * @nr_flushes: how many @flushes
 * @leaves: the leaves a bio can reach, in the order of the line
 * @flushes: one leaf per distinct device, for flushes of a stack that remaps
 * @io_size: bytes of a struct vdisk_io with all states
 * @wq: runs vdisk_defer() on the same CPU; NULL unless a node defers, works or
 *	multiplies
 * @unbound: for what must be prompt and may take long, so not tied to a CPU,
 *	where other work would wait for it; NULL unless a node needs it
 * @files: for what enters a file system; NULL unless a node needs it
 * @gate: of the root, if that is a pr
 * @face: the private disk that stands for a stack that does not only remap
 * @watch: looks at the sizes of the leaves
 * @message_lock: one message at a time; guards @error once the stack is built
 * @value_lock: guards values of nodes that a message may change, for printing
 * @error: message to the user, written by vdisk_fail()
 * @nodes: all nodes, each before its children; [0] is the root
 */
struct vdisk_stack {
	struct dm_target *ti;
	struct gendisk *disk;
	bool remaps;
	bool direct;
	bool passes;
	bool copies;
	bool drop_volatile;
	sector_t whole;
	unsigned int nr_nodes;
	unsigned int nr_leaves;
	unsigned int nr_flushes;
	struct vdisk_node **leaves;
	struct vdisk_node **flushes;
	unsigned int io_size;
	struct workqueue_struct *wq;
	struct workqueue_struct *unbound;
	struct workqueue_struct *files;
	struct vdisk_gate *gate;
	struct dm_dev *face;
	struct delayed_work watch;
	struct mutex message_lock;	/* guards @error once built */
	spinlock_t value_lock;		/* guards values that messages change */
	char error[VDISK_ERROR_MAX];
	struct vdisk_node *nodes[VDISK_MAX_NODES];
};

/**
 * struct vdisk_io - a bio's way through a stack that does not only remap
 * @at: lowest node that has it; completion unwinds from here. NULL: done.
 * @stop: completion unwinds up to, not into, this node (NULL: to the top)
 * @stack: the stack it runs through
 * @bio: dm's clone, or a bio of some node's pool
 * @pool: where it is from; NULL for dm's clone
 * @done: own bios: called last, any context; frees it with vdisk_io_free()
 * @owner: the io it works for: itself if it is dm's clone, NULL if for none
 * @in: dm's clone: where the gate counts it
 * @priv: own bios that work for none: their maker's
 * @fn: what the worker runs
 * @work: the worker's
 *
 * Nodes' states follow; dm's per-bio data and every pool's front pad have the
 * same layout.
 */
struct vdisk_io {
	struct vdisk_node *at;
	struct vdisk_node *stop;
	struct vdisk_stack *stack;
	struct bio *bio;
	struct vdisk_pool *pool;
	struct vdisk_io *owner;
	unsigned long __percpu *in;
	void *priv;
	void (*done)(struct vdisk_io *io, blk_status_t status);
	void (*fn)(struct vdisk_io *io);
	struct work_struct work;
};

/* Who all the work is for: an io that has itself as owner, or none. */
static inline struct vdisk_io *vdisk_io_origin(struct vdisk_io *io)
{
	while (io->owner && io->owner != io)
		io = io->owner;
	return io;
}

/* An io that waits for a bio of a pool, and goes on by @fn. */
struct vdisk_wait {
	struct list_head list;
	struct vdisk_io *io;
	void (*fn)(struct vdisk_io *io);
};

static inline void *vdisk_state(const struct vdisk_node *n, struct vdisk_io *io)
{
	return (char *)io + n->io_offset;
}

/* vdisk-grammar.c: a line becomes a tree and a line again */
struct vdisk_out {
	char *buf;
	size_t len;
	size_t max;
};

int vdisk_parse(struct vdisk_stack *s, unsigned int argc, char **argv);
void vdisk_free_tree(struct vdisk_stack *s);
void vdisk_print(struct vdisk_stack *s, struct vdisk_out *out,
		 void (*extra)(struct vdisk_node *n, struct vdisk_out *out));
void vdisk_print_node(struct vdisk_node *root, struct vdisk_out *out,
		      void (*extra)(struct vdisk_node *n, struct vdisk_out *out));
void vdisk_print_path(const struct vdisk_node *n, struct vdisk_out *out);
struct vdisk_node *vdisk_find(struct vdisk_stack *s, const char *word);
int vdisk_check_key(struct vdisk_node *n, const char *name, const char *word);
int vdisk_read_latency(struct vdisk_node *n, unsigned int arg,
		       const char *word, struct vdisk_latency *lat);
int vdisk_set_latency(struct vdisk_node *n, unsigned int arg, const char *word,
		      struct vdisk_latency *lat);
const struct vdisk_ops *vdisk_ops_of(const struct vdisk_type *type);
__printf(2, 3) void vdisk_emit(struct vdisk_out *out, const char *fmt, ...);
__printf(3, 4) int vdisk_fail(struct vdisk_node *n, int err, const char *fmt, ...);

/* vdisk-stack.c: builds the tree's nodes, lengths and limits, and undoes it */
int vdisk_stack_ctr(struct dm_target *ti, unsigned int argc, char **argv,
		    char *error);
int vdisk_check_place(struct vdisk_node *n, const char *what, sector_t size,
		      unsigned int block, sector_t start, sector_t len);
void vdisk_stack_dtr(struct vdisk_stack *s);
void vdisk_stack_limits(struct vdisk_stack *s);
bool vdisk_is_store(const struct vdisk_node *n);
bool vdisk_read_only(const struct vdisk_node *n);
bool vdisk_is_written(const struct vdisk_node *n);
void vdisk_emit_inode(struct vdisk_node *n, struct vdisk_out *out);
bool vdisk_forgets(const struct vdisk_node *n);
bool vdisk_is_below(const struct vdisk_node *n, const struct vdisk_node *top);
void vdisk_stack_presuspend(struct vdisk_stack *s);
void vdisk_stack_presuspend_undo(struct vdisk_stack *s);
void vdisk_stack_postsuspend(struct vdisk_stack *s);
int vdisk_stack_preresume(struct vdisk_stack *s);
void vdisk_stack_resume(struct vdisk_stack *s);
void vdisk_count_sum(struct vdisk_node *n, struct vdisk_count *sum);

/* vdisk-io.c: the engine */
int vdisk_map(struct dm_target *ti, struct bio *bio);
int vdisk_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *status);
unsigned int vdisk_kind(const struct bio *bio);
void vdisk_count_bio(struct vdisk_node *leaf, const struct bio *bio);
void vdisk_charge(struct bio *bio);
void vdisk_may_wait(struct vdisk_io *io);
void vdisk_defer(struct vdisk_io *io, void (*fn)(struct vdisk_io *io));
void vdisk_defer_to(struct vdisk_io *io, struct workqueue_struct *wq,
		    void (*fn)(struct vdisk_io *io));
void vdisk_again(struct vdisk_io *io, struct vdisk_node *n);
void vdisk_go_on(struct vdisk_io *io, struct vdisk_node *n);
void vdisk_go_to(struct vdisk_io *io, struct vdisk_node *child, sector_t offset);
void vdisk_rewind(struct vdisk_io *io, struct vdisk_node *n,
		  struct bvec_iter iter, unsigned short flags);
void vdisk_end(struct vdisk_io *io, struct vdisk_node *n, blk_status_t status);
struct vdisk_io *vdisk_io_alloc(struct vdisk_node *n, struct vdisk_io *owner,
				struct vdisk_wait *wait,
				void (*fn)(struct vdisk_io *owner));
void vdisk_io_prepare(struct vdisk_node *n, struct vdisk_io *io, blk_opf_t opf,
		      struct bio_vec *table, unsigned short nr);
struct vdisk_io *vdisk_io_new(struct vdisk_node *n, blk_opf_t opf,
			      struct bio_vec *table, unsigned short nr);
void vdisk_io_submit(struct vdisk_io *io, struct vdisk_node *child,
		     void (*done)(struct vdisk_io *io, blk_status_t status));
void vdisk_io_free(struct vdisk_io *io);
blk_status_t vdisk_io_sync(struct vdisk_node *child, blk_opf_t opf,
			   sector_t sector, void *data, unsigned int bytes);
unsigned int vdisk_multi_size(const struct vdisk_node *n);
int vdisk_pools_create(struct vdisk_node *n);
void vdisk_pools_destroy(struct vdisk_node *n);

/* vdisk-face.c: what dm core sees of a stack that does not only remap */
int vdisk_face_create(struct vdisk_stack *s);
void vdisk_face_destroy(struct vdisk_stack *s);

/* vdisk-object.c: what outlives one table */
struct vdisk_object;
struct vdisk_object *vdisk_object_get(struct vdisk_node *n, const char *name,
				      size_t size, void (*init)(void *data),
				      void (*free)(void *data));
struct vdisk_object *vdisk_object_get_durable(struct vdisk_node *n, size_t size,
					      void (*init)(void *data),
					      void (*free)(void *data));
void vdisk_object_put(struct vdisk_object *obj);
void *vdisk_object_data(struct vdisk_object *obj);
u64 vdisk_object_serial(const struct vdisk_object *obj);
void vdisk_object_forget(struct vdisk_object *obj);
int vdisk_object_check_drop(struct vdisk_stack *s);
void vdisk_object_live(struct vdisk_stack *s);
void vdisk_object_exit(void);

/* vdisk-hold.c: who has a file, and keeps others from it */
struct vdisk_hold;

/**
 * struct vdisk_hold_user - a node that has a file
 * @list: in vdisk_hold.users
 * @hold: of the file
 * @table: the node's
 * @write: it writes
 * @shared: others that share it too may have it as well
 */
struct vdisk_hold_user {
	struct list_head list;
	struct vdisk_hold *hold;
	const struct dm_table *table;
	bool write;
	bool shared;
};

int vdisk_hold_get(struct vdisk_node *n, struct file *file,
		   struct vdisk_hold_user *user);
int vdisk_hold_told(struct vdisk_hold *hold);
void vdisk_hold_put(struct vdisk_hold_user *user);

/* vdisk-range.c: who writes what of a file whose blocks are written in parts */
struct vdisk_ranges;

/**
 * struct vdisk_range - bytes of a file that are being written
 * @rb: the tree's
 * @first: byte, rounded to blocks
 * @last: byte, rounded to blocks
 * @subtree_last: the tree's
 * @part: not all of the first or the last block is written
 * @waiting: vdisk_range.list of those who ask again when it is given back
 * @list: in another one's @waiting
 * @go: asks again; any context
 */
struct vdisk_range {
	struct rb_node rb;
	loff_t first;
	loff_t last;
	loff_t subtree_last;
	bool part;
	struct list_head waiting;
	struct list_head list;
	void (*go)(struct vdisk_range *range);
};

struct vdisk_ranges *vdisk_ranges_get(struct inode *inode);
void vdisk_ranges_put(struct vdisk_ranges *ranges);
bool vdisk_range_take(struct vdisk_ranges *ranges, struct vdisk_range *range);
void vdisk_range_give(struct vdisk_ranges *ranges, struct vdisk_range *range);

/* vdisk-vhd1.c: what its tests look at */
#define VDISK_VHD_FOOTER	512

struct vdisk_vhd {
	u64 bytes;		/* of the disk, from the beginning of the file */
	u8 id[16];
};

const char *vdisk_vhd1_check(const u8 *footer, unsigned int footer_len,
			     u64 file_len, struct vdisk_vhd *vhd);

/* vdisk-pr.c: called by dm core with the face of a stack whose root is a pr */
extern const struct pr_ops vdisk_pr_face_ops;

/* vdisk-pr.c: of use to the engine */
struct vdisk_gate *vdisk_pr_gate(const struct vdisk_node *n);
enum vdisk_end vdisk_pr_end(struct vdisk_node *n, struct vdisk_io *io,
			    blk_status_t *status);

/* vdisk-crypt.c, vdisk-delay.c: what their tests look at */
void vdisk_crypt_iv(u8 *iv, sector_t sector, unsigned int shift);
u32 vdisk_delay_draw(u64 *state);
u32 vdisk_delay_pick(const struct vdisk_latency *lat, u32 draw);

/* vdisk-block.c, vdisk-concat.c, vdisk-striped.c: of use to the engine */
struct dm_dev *vdisk_block_dev(const struct vdisk_node *n);
struct vdisk_node *vdisk_concat_route(struct vdisk_node *n, struct vdisk_run *run);
struct vdisk_node *vdisk_overlay_pass(struct vdisk_node *n, struct vdisk_run *run);
struct vdisk_node *vdisk_striped_route(struct vdisk_node *n,
				       struct vdisk_run *run);

#endif /* VDISK_H */
