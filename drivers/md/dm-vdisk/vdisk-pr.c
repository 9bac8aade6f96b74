// SPDX-License-Identifier: GPL-2.0-only
/*
 * pr: persistent reservations for any disk.
 *
 * Mapped devices whose tables name one domain share its registrations and its
 * reservation; each is one I_T nexus of it. dm core hands reservation calls to
 * the face of the stack; messages do all of that too, and what calls cannot say.
 *
 * A nexus has one word that says what its bios may not do. It is read once for a
 * bio, without a lock; a command writes the words of all nexuses before it
 * returns. One bit of it is the epoch in which the bio is counted while it is
 * below: when its victims are shut out, preempt-and-abort turns their epochs over,
 * so that it can wait for all that was let in before, and for nothing else.
 *
 * With a second child, a command is written there before it takes effect.
 */
#include <linux/delay.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "vdisk.h"
#include "vdisk-pr.h"

#define DM_MSG_PREFIX "vdisk pr"

/* Callers of one nexus that may fail at once; of more, one loses its undo. */
#define VDISK_PR_UNDOS	8

/* dm core's undo is the next thing that its caller does, unless it is refused. */
#define VDISK_PR_UNDO_TIME	(10 * HZ)

/* A call to register a key that failed at @since; see vdisk_pr_undoes(). */
struct vdisk_pr_undo {
	const struct task_struct *task;
	u64 key;
	unsigned long since;
};

/**
 * struct vdisk_pr_count - a nexus' counters, per CPU
 * @ios: bios below, by epoch; only the sums over all CPUs mean something
 * @conflicts: bios refused
 */
struct vdisk_pr_count {
	unsigned long ios[2];
	u64 conflicts;
};

/**
 * struct vdisk_pr_nexus - an I_T nexus
 * @gate: what is refused; written under the domain's lock
 * @count: NULL if no table ever was this nexus
 * @domain: the domain
 * @name: of the nexus
 * @md: the mapped device that is it, if @tables
 * @tables: of that device
 * @pins: who looks at it without the lock
 * @live: the stack that is live
 * @stopping: nothing is live, or a suspend waits for who drains
 * @owed: what it had sent before it was preempted may be on its way
 * @preempted: times that it lost its registration to another
 * @released: times that a reservation went which it lived with
 * @untold: a dm event is due when a table goes live
 * @undo: calls that dm core is about to undo, at most one for each task
 * @next_undo: the one to give up if there is no room
 *
 * Lives while it is registered or a table is it.
 */
struct vdisk_pr_nexus {
	struct vdisk_gate gate;
	struct vdisk_pr_count __percpu *count;
	struct vdisk_pr_domain *domain;
	char name[VDISK_NAME_MAX + 1];
	const struct mapped_device *md;
	unsigned int tables;
	unsigned int pins;
	struct vdisk_stack *live;
	bool stopping;
	bool owed;
	u64 preempted;
	u64 released;
	bool untold;
	struct vdisk_pr_undo undo[VDISK_PR_UNDOS];
	unsigned int next_undo;
};

/**
 * struct vdisk_pr_domain - lives as a vdisk_object while a table names it
 * @name: its name
 * @object: that
 * @drain_lock: one drain at a time, as there are two epochs; taken before @lock
 * @command: one command at a time; guards I/O with the store, and what is for
 *	that: @slot, @first, @next and @now.sequence. It may be held for long:
 *	vdisk_pr_begin()
 * @lock: guards what follows and all in the nexuses but what map() touches;
 *	taken inside @command, without which @now.state does not change. Never
 *	held over I/O. resume takes it, so memory is allocated under both as if
 *	in the I/O path: vdisk_pr_lock()
 * @caller: the stack through which a command goes on
 * @joined: a table has said whether there is a store
 * @loaded: @state is what the store says
 * @store: its words, or NULL
 * @slot: for I/O with the store
 * @first: the slot to write first: if any does not hold @now, then this one
 * @now: state, sequence, and the nexuses' names
 * @next: what a command makes of it
 * @nexus: by the index of vdisk_pr_state
 */
struct vdisk_pr_domain {
	char name[VDISK_NAME_MAX + 1];
	struct vdisk_object *object;
	struct mutex drain_lock;	/* one at a time */
	struct mutex command;		/* one at a time; I/O with the store */
	struct mutex lock;		/* guards what follows */
	const struct vdisk_stack *caller;
	bool joined;
	bool loaded;
	char *store;
	struct vdisk_pr_slot *slot;
	unsigned int first;
	struct vdisk_pr_image now;
	struct vdisk_pr_image next;
	struct vdisk_pr_nexus *nexus[VDISK_PR_MAX];
};

static const char * const vdisk_pr_types[] = {
	[VDISK_PR_NONE] = "none",
	[PR_WRITE_EXCLUSIVE] = "write-exclusive",
	[PR_EXCLUSIVE_ACCESS] = "exclusive-access",
	[PR_WRITE_EXCLUSIVE_REG_ONLY] = "write-exclusive-reg-only",
	[PR_EXCLUSIVE_ACCESS_REG_ONLY] = "exclusive-access-reg-only",
	[PR_WRITE_EXCLUSIVE_ALL_REGS] = "write-exclusive-all-regs",
	[PR_EXCLUSIVE_ACCESS_ALL_REGS] = "exclusive-access-all-regs",
};

static unsigned int vdisk_pr_lock(struct vdisk_pr_domain *d)
{
	mutex_lock(&d->lock);
	return memalloc_noio_save();
}

static void vdisk_pr_unlock(struct vdisk_pr_domain *d, unsigned int noio)
{
	memalloc_noio_restore(noio);
	mutex_unlock(&d->lock);
}

/*
 * Take a mutex that is held for as long as some device likes, unless the caller
 * is killed (-EINTR) or its device is to be suspended (-EAGAIN): dm core would
 * wait for us with all I/O stopped.
 */
static int vdisk_pr_mutex(struct vdisk_pr_nexus *nx, struct mutex *mutex)
{
	while (!mutex_trylock(mutex)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (READ_ONCE(nx->stopping))
			return -EAGAIN;
		schedule_timeout_killable(1);
	}
	return 0;
}

static int vdisk_pr_begin(struct vdisk_pr_nexus *nx, unsigned int *noio)
{
	int r = vdisk_pr_mutex(nx, &nx->domain->command);

	if (!r)
		*noio = memalloc_noio_save();
	return r;
}

static void vdisk_pr_finish(struct vdisk_pr_domain *d, unsigned int noio)
{
	memalloc_noio_restore(noio);
	mutex_unlock(&d->command);
}

static void vdisk_pr_nexus_free(struct vdisk_pr_nexus *nx)
{
	if (!nx)
		return;
	free_percpu(nx->count);
	kfree(nx);
}

static struct vdisk_pr_nexus *vdisk_pr_nexus_alloc(struct vdisk_pr_domain *d,
						   const char *name)
{
	struct vdisk_pr_nexus *nx = kzalloc(sizeof(*nx), GFP_KERNEL);

	if (!nx)
		return NULL;
	nx->count = alloc_percpu(struct vdisk_pr_count);
	if (!nx->count) {
		kfree(nx);
		return NULL;
	}
	nx->domain = d;
	nx->stopping = true;
	strscpy(nx->name, name, sizeof(nx->name));
	return nx;
}

static void vdisk_pr_domain_init(void *data)
{
	struct vdisk_pr_domain *d = data;

	mutex_init(&d->lock);
	mutex_init(&d->command);
	mutex_init(&d->drain_lock);
}

static void vdisk_pr_domain_free(void *data)
{
	struct vdisk_pr_domain *d = data;
	unsigned int i;

	for (i = 0; i < VDISK_PR_MAX; i++)
		vdisk_pr_nexus_free(d->nexus[i]);
	kfree(d->slot);
	kfree(d->store);
}

/* The index of a nexus, or where to put it, or VDISK_PR_MAX. */
static unsigned int vdisk_pr_find(struct vdisk_pr_domain *d, const char *name)
{
	unsigned int i, room = VDISK_PR_MAX;

	lockdep_assert_held(&d->lock);
	for (i = VDISK_PR_MAX; i--;) {
		if (!d->nexus[i])
			room = i;
		else if (!strcmp(d->nexus[i]->name, name))
			return i;
	}
	return room;
}

static unsigned int vdisk_pr_index(const struct vdisk_pr_nexus *nx)
{
	unsigned int i;

	for (i = 0; nx->domain->nexus[i] != nx; i++)
		;
	return i;
}

static void vdisk_pr_add(struct vdisk_pr_domain *d, unsigned int i,
			 struct vdisk_pr_nexus *nx)
{
	d->nexus[i] = nx;
	d->now.nexus[i] = nx->name;
	nx->gate.word = ~vdisk_pr_allowed(&d->now.state, i) & ~VDISK_GATE_EPOCH;
}

/* Forget nexuses that nobody has any more. */
static void vdisk_pr_sweep(struct vdisk_pr_domain *d)
{
	unsigned int i;

	lockdep_assert_held(&d->lock);
	for (i = 0; i < VDISK_PR_MAX; i++) {
		struct vdisk_pr_nexus *nx = d->nexus[i];

		if (!nx || d->now.state.key[i] || nx->tables || nx->pins)
			continue;
		d->nexus[i] = NULL;
		d->now.nexus[i] = NULL;
		vdisk_pr_nexus_free(nx);
	}
}

/*
 * From here on the state counts, and @turn_over begin a new epoch. Who sees the
 * old word is counted in the old one: they are one.
 */
static void vdisk_pr_publish(struct vdisk_pr_domain *d,
			     const unsigned long *turn_over)
{
	unsigned int i;

	lockdep_assert_held(&d->lock);
	for (i = 0; i < VDISK_PR_MAX; i++) {
		struct vdisk_pr_nexus *nx = d->nexus[i];
		u64 epoch;

		if (!nx)
			continue;
		epoch = nx->gate.word & VDISK_GATE_EPOCH;
		if (turn_over && test_bit(i, turn_over))
			epoch ^= VDISK_GATE_EPOCH;
		WRITE_ONCE(nx->gate.word, epoch |
			   (~vdisk_pr_allowed(&d->now.state, i) & ~VDISK_GATE_EPOCH));
	}
}

/* A suspended table is told when it, or the next one, goes live. */
static void vdisk_pr_event(struct vdisk_pr_nexus *nx)
{
	lockdep_assert_held(&nx->domain->lock);
	nx->untold = !nx->live;
	if (nx->live)
		dm_table_event(nx->live->ti->table);
}

static void vdisk_pr_tell_all(struct vdisk_pr_domain *d,
			      const struct vdisk_pr_told *told)
{
	unsigned int i;

	for (i = 0; i < VDISK_PR_MAX; i++) {
		bool preempted = test_bit(i, told->preempted);
		bool released = test_bit(i, told->released);

		if (!preempted && !released)
			continue;
		d->nexus[i]->preempted += preempted;
		d->nexus[i]->released += released;
		vdisk_pr_event(d->nexus[i]);
	}
}

/*
 * Both slots, one after the other: each is durable before the next is touched,
 * and one that may be bad comes first.
 */
static int vdisk_pr_write(struct vdisk_node *n, struct vdisk_pr_domain *d,
			  const struct vdisk_pr_image *image)
{
	unsigned int bytes = vdisk_pr_encode(d->slot, image);
	unsigned int i;

	lockdep_assert_held(&d->command);
	for (i = 0; i < 2; i++) {
		unsigned int which = i ? !d->first : d->first;
		blk_status_t status;

		status = vdisk_io_sync(n->children[1], REQ_OP_WRITE | REQ_SYNC |
				       REQ_META | REQ_FUA,
				       which * VDISK_PR_SLOT_SECTORS, d->slot,
				       bytes);
		if (status) {
			d->first = which;
			/* No errno that says something else of a call */
			return status == BLK_STS_RESOURCE ? -ENOMEM : -EIO;
		}
	}
	return 0;
}

/*
 * Make d->next durable. If that fails it may yet be what a power loss leaves, so
 * the old state is written over it.
 */
static int vdisk_pr_commit(struct vdisk_node *n, struct vdisk_pr_domain *d)
{
	int r, undo;

	if (!d->store)
		return 0;
	d->next.sequence = ++d->now.sequence;
	r = vdisk_pr_write(n, d, &d->next);
	if (!r)
		return 0;
	d->now.sequence++;
	undo = vdisk_pr_write(n, d, &d->now);
	DMERR("%s: the store cannot be written (%d)%s",
	      dm_table_device_name(n->stack->ti->table), r,
	      undo ? ", a loss of power may find the call done or not" : "");
	return r;
}

/* Is a bio below that was let in before the epoch turned over? */
static bool vdisk_pr_busy(struct vdisk_pr_nexus *nx)
{
	unsigned int old = !(READ_ONCE(nx->gate.word) & VDISK_GATE_EPOCH);
	unsigned long sum = 0;
	int cpu;

	if (!nx->count)
		return false;
	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(nx->count, cpu)->ios[old]);
	return sum;
}

/* Was a bio let in before the epochs turned over? It may be a piece of one. */
static bool vdisk_pr_is_old(struct vdisk_io *io)
{
	struct vdisk_node *root = io->stack->nodes[0];
	struct vdisk_pr_nexus *nx = root->priv;

	io = vdisk_io_origin(io);
	/* What a node below does for itself is nobody's. */
	if (!io->owner)
		return false;
	return io->in != nx->gate.ios +
			 !!(READ_ONCE(nx->gate.word) & VDISK_GATE_EPOCH);
}

/* And may it not be sent any more? */
static bool vdisk_pr_is_refused(struct vdisk_io *io)
{
	struct vdisk_pr_nexus *nx = io->stack->nodes[0]->priv;

	return vdisk_pr_is_old(io) &&
	       READ_ONCE(nx->gate.word) &
	       BIT_ULL((__force unsigned int)bio_op(vdisk_io_origin(io)->bio));
}

/*
 * End what nodes hold back of a victim's bios, all (SPC has it so) or what may not
 * be sent any more. If it has come back, it may be what it has sent since. The
 * lock keeps its table live.
 */
static void vdisk_pr_abort(struct vdisk_pr_domain *d, unsigned int victim, bool all)
{
	unsigned int noio = vdisk_pr_lock(d), i;
	struct vdisk_stack *s = d->nexus[victim]->live;

	all &= !d->now.state.key[victim];

	for (i = 1; s && i < s->nr_nodes; i++) {
		struct vdisk_node *n = s->nodes[i];

		if (n->depth == 1 && n->index)
			break;	/* the store, for which no bio of the guest is */
		if (n->ops->abort)
			n->ops->abort(n, all ? vdisk_pr_is_old :
				      vdisk_pr_is_refused,
				      BLK_STS_RESV_CONFLICT);
	}
	vdisk_pr_unlock(d, noio);
}

/*
 * Wait until no bio is below that was let in before the epochs of these, which
 * are pinned, turned over. A grace period has passed since, for bios that were let
 * in and not yet counted: these counts only fall, so a sum of 0 is no accident of
 * adding up.
 */
static int vdisk_pr_wait(struct vdisk_pr_nexus *nx, const unsigned long *pinned,
			 bool all)
{
	struct vdisk_pr_domain *d = nx->domain;
	unsigned int i;

	lockdep_assert_held(&d->drain_lock);
	for (;;) {
		bool busy = false;

		for_each_set_bit(i, pinned, VDISK_PR_MAX) {
			if (!vdisk_pr_busy(d->nexus[i]))
				continue;
			busy = true;
			/* Again and again: it may be held a second time. */
			vdisk_pr_abort(d, i, all);
		}
		if (!busy)
			return 0;
		/* As in vdisk_pr_mutex() */
		if (fatal_signal_pending(current) || READ_ONCE(nx->stopping))
			return -EINTR;
		schedule_timeout_killable(1);
	}
}

static void vdisk_pr_pin(struct vdisk_pr_domain *d, unsigned int i,
			 unsigned long *pinned)
{
	lockdep_assert_held(&d->lock);
	__set_bit(i, pinned);
	d->nexus[i]->pins++;
}

/* Are these still to be drained, by whoever comes next? */
static void vdisk_pr_owe(struct vdisk_pr_domain *d, const unsigned long *pinned,
			 bool owed)
{
	unsigned int i;

	lockdep_assert_held(&d->lock);
	for_each_set_bit(i, pinned, VDISK_PR_MAX)
		d->nexus[i]->owed = owed;
}

static void vdisk_pr_unpin(struct vdisk_pr_domain *d, const unsigned long *pinned)
{
	unsigned int noio = vdisk_pr_lock(d), i;

	for_each_set_bit(i, pinned, VDISK_PR_MAX)
		d->nexus[i]->pins--;
	vdisk_pr_sweep(d);
	vdisk_pr_unlock(d, noio);
}

/*
 * Wait until all has ended that these, who are pinned, had sent before. What they
 * may do has changed already: that waits for nobody. One that was interrupted has
 * left an epoch that must be empty before it is turned over to.
 */
static int vdisk_pr_drain(struct vdisk_pr_nexus *nx, const unsigned long *victims,
			  bool all)
{
	struct vdisk_pr_domain *d = nx->domain;
	unsigned int noio;
	int r;

	if (bitmap_empty(victims, VDISK_PR_MAX))
		return 0;
	r = vdisk_pr_mutex(nx, &d->drain_lock);
	if (r)
		return r;
	r = vdisk_pr_wait(nx, victims, all);
	if (!r) {
		noio = vdisk_pr_lock(d);
		vdisk_pr_publish(d, victims);
		vdisk_pr_owe(d, victims, false);
		vdisk_pr_unlock(d, noio);
		synchronize_rcu();
		r = vdisk_pr_wait(nx, victims, all);
	}
	if (r) {
		noio = vdisk_pr_lock(d);
		vdisk_pr_owe(d, victims, true);
		vdisk_pr_unlock(d, noio);
	}
	mutex_unlock(&d->drain_lock);
	return r;
}

/* What a call makes of the state, into d->next. */
static int vdisk_pr_try(struct vdisk_node *n, struct vdisk_pr_call *call,
			struct vdisk_pr_told *told)
{
	struct vdisk_pr_nexus *nx = n->priv;
	struct vdisk_pr_domain *d = nx->domain;
	unsigned int noio = vdisk_pr_lock(d);
	int r = -EAGAIN;

	lockdep_assert_held(&d->command);
	/* dm core refuses what comes by ioctl to a suspended device, no message. */
	if (nx->live == n->stack) {
		d->caller = n->stack;
		call->nexus = vdisk_pr_index(nx);
		d->next = d->now;
		r = vdisk_pr_apply(&d->next.state, call, told);
	}
	vdisk_pr_unlock(d, noio);
	return r;
}

/* Do a call; who was preempted is in @victims, and pinned, if that is not NULL. */
static int __vdisk_pr_do(struct vdisk_node *n, struct vdisk_pr_call *call,
			 unsigned long *victims)
{
	struct vdisk_pr_nexus *nx = n->priv;
	struct vdisk_pr_domain *d = nx->domain;
	struct vdisk_pr_told told;
	unsigned int begun, noio, i;
	int r;

	r = vdisk_pr_begin(nx, &begun);
	if (r)
		return r;
	r = vdisk_pr_try(n, call, &told);
	if (!r && memcmp(&d->next.state, &d->now.state, sizeof(d->now.state)))
		r = vdisk_pr_commit(n, d);
	noio = vdisk_pr_lock(d);
	d->caller = NULL;
	if (!r) {
		d->now.state = d->next.state;
		vdisk_pr_owe(d, told.preempted, true);
		for_each_set_bit(i, told.preempted, VDISK_PR_MAX)
			if (victims)
				vdisk_pr_pin(d, i, victims);
		vdisk_pr_publish(d, NULL);
		vdisk_pr_tell_all(d, &told);
		vdisk_pr_sweep(d);
	}
	vdisk_pr_unlock(d, noio);
	vdisk_pr_finish(d, begun);
	return r;
}

static int vdisk_pr_do(struct vdisk_node *n, struct vdisk_pr_call *call)
{
	return __vdisk_pr_do(n, call, NULL);
}

/* -EINPROGRESS: the call is done, but the wait was interrupted. */
static int vdisk_pr_preempt_abort(struct vdisk_node *n,
				  struct vdisk_pr_call *call)
{
	DECLARE_BITMAP(victims, VDISK_PR_MAX) = {};
	struct vdisk_pr_nexus *nx = n->priv;
	int r;

	r = __vdisk_pr_do(n, call, victims);
	if (r)
		return r;
	r = vdisk_pr_drain(nx, victims, true) ? -EINPROGRESS : 0;
	vdisk_pr_unpin(nx->domain, victims);
	return r;
}

/*
 * Of all who were preempted, who are not registered, or may not write. What they
 * may send, as strangers may, and who has come back, is only waited for.
 */
static int vdisk_pr_drain_all(struct vdisk_node *n, struct vdisk_pr_call *call)
{
	DECLARE_BITMAP(victims, VDISK_PR_MAX) = {};
	struct vdisk_pr_nexus *nx = n->priv;
	struct vdisk_pr_domain *d = nx->domain;
	unsigned int noio = vdisk_pr_lock(d), i;
	int r;

	for (i = 0; i < VDISK_PR_MAX; i++)
		if (d->nexus[i] &&
		    (d->nexus[i]->owed || !d->now.state.key[i] ||
		     !(vdisk_pr_allowed(&d->now.state, i) &
		       BIT_ULL((__force unsigned int)REQ_OP_WRITE))))
			vdisk_pr_pin(d, i, victims);
	vdisk_pr_unlock(d, noio);
	r = vdisk_pr_drain(nx, victims, false) ? -EINPROGRESS : 0;
	vdisk_pr_unpin(d, victims);
	return r;
}

/* What dm core calls, with the face of a stack whose root is the node. */

static struct vdisk_node *vdisk_pr_of(struct block_device *face)
{
	struct vdisk_stack *s = face->bd_disk->private_data;

	return s->nodes[0];
}

/*
 * dm.c:dm_pr_register(): if registering a key failed, dm core unregisters that
 * key, because some paths may have got it. We are one path, and have it only if
 * we had it before: then a wrong old key would cost the registration. So the
 * call that comes next, from the same task, does nothing.
 */
static bool vdisk_pr_undoes(struct vdisk_pr_nexus *nx,
			    const struct vdisk_pr_call *call)
{
	unsigned int i;

	lockdep_assert_held(&nx->domain->lock);
	for (i = 0; i < VDISK_PR_UNDOS; i++) {
		struct vdisk_pr_undo *undo = &nx->undo[i];

		if (undo->task != current)
			continue;
		undo->task = NULL;
		return call->action == VDISK_PR_REGISTER && !call->new_key &&
		       call->key == undo->key &&
		       time_before(jiffies, undo->since + VDISK_PR_UNDO_TIME);
	}
	return false;
}

static void vdisk_pr_failed(struct vdisk_pr_nexus *nx, u64 key)
{
	struct vdisk_pr_undo *undo = NULL;
	unsigned int i;

	lockdep_assert_held(&nx->domain->lock);
	for (i = 0; i < VDISK_PR_UNDOS && !undo; i++)
		if (!nx->undo[i].task)
			undo = &nx->undo[i];
	if (!undo)
		undo = &nx->undo[nx->next_undo++ % VDISK_PR_UNDOS];
	undo->task = current;
	undo->key = key;
	undo->since = jiffies;
}

static int vdisk_pr_op_register(struct block_device *face, u64 old_key,
				u64 new_key, u32 flags)
{
	struct vdisk_pr_call call = {
		.action = flags & PR_FL_IGNORE_KEY ? VDISK_PR_REGISTER_IGNORE :
						     VDISK_PR_REGISTER,
		.key = old_key,
		.new_key = new_key,
	};
	struct vdisk_node *n = vdisk_pr_of(face);
	struct vdisk_pr_nexus *nx = n->priv;
	unsigned int noio;
	bool undoes;
	int r;

	if (flags & ~PR_FL_IGNORE_KEY)
		return -EOPNOTSUPP;
	noio = vdisk_pr_lock(nx->domain);
	undoes = vdisk_pr_undoes(nx, &call);
	vdisk_pr_unlock(nx->domain, noio);
	if (undoes)
		return 0;
	r = vdisk_pr_do(n, &call);
	if (!r || !new_key)
		return r;
	noio = vdisk_pr_lock(nx->domain);
	vdisk_pr_failed(nx, new_key);
	vdisk_pr_unlock(nx->domain, noio);
	return r;
}

static int vdisk_pr_op_reserve(struct block_device *face, u64 key,
			       enum pr_type type, u32 flags)
{
	struct vdisk_pr_call call = {
		.action = VDISK_PR_RESERVE, .key = key, .type = type,
	};

	if (flags)
		return -EOPNOTSUPP;
	return vdisk_pr_do(vdisk_pr_of(face), &call);
}

static int vdisk_pr_op_release(struct block_device *face, u64 key,
			       enum pr_type type)
{
	struct vdisk_pr_call call = {
		.action = VDISK_PR_RELEASE, .key = key, .type = type,
	};

	return vdisk_pr_do(vdisk_pr_of(face), &call);
}

/* A dm core that passes @abort on gets what it asks for; today's do not. */
static int vdisk_pr_op_preempt(struct block_device *face, u64 old_key,
			       u64 new_key, enum pr_type type, bool abort)
{
	struct vdisk_pr_call call = {
		.action = VDISK_PR_PREEMPT, .key = old_key, .new_key = new_key,
		.type = type,
	};

	if (abort)
		return vdisk_pr_preempt_abort(vdisk_pr_of(face), &call);
	return vdisk_pr_do(vdisk_pr_of(face), &call);
}

static int vdisk_pr_op_clear(struct block_device *face, u64 key)
{
	struct vdisk_pr_call call = { .action = VDISK_PR_CLEAR, .key = key };

	return vdisk_pr_do(vdisk_pr_of(face), &call);
}

static int __maybe_unused vdisk_pr_op_read_keys(struct block_device *face,
						struct pr_keys *keys)
{
	struct vdisk_pr_nexus *nx = vdisk_pr_of(face)->priv;
	struct vdisk_pr_domain *d = nx->domain;
	unsigned int noio = vdisk_pr_lock(d);
	u32 room = keys->num_keys, nr = 0;
	unsigned int i;

	for (i = 0; i < VDISK_PR_MAX; i++) {
		if (!d->now.state.key[i])
			continue;
		if (nr < room)
			keys->keys[nr] = d->now.state.key[i];
		nr++;
	}
	keys->num_keys = nr;
	keys->generation = d->now.state.generation;
	vdisk_pr_unlock(d, noio);
	return 0;
}

/* spc4r17 6.13.3.2: key 0 if all registrants hold it */
static void vdisk_pr_held(const struct vdisk_pr_state *s,
			  struct pr_held_reservation *held)
{
	held->generation = s->generation;
	held->type = s->type;
	held->key = 0;
	if (s->type && !vdisk_pr_all_hold(s->type))
		held->key = s->key[s->holder];
}

static int __maybe_unused
vdisk_pr_op_read_reservation(struct block_device *face,
			     struct pr_held_reservation *held)
{
	struct vdisk_pr_nexus *nx = vdisk_pr_of(face)->priv;
	unsigned int noio = vdisk_pr_lock(nx->domain);

	vdisk_pr_held(&nx->domain->now.state, held);
	vdisk_pr_unlock(nx->domain, noio);
	return 0;
}

const struct pr_ops vdisk_pr_face_ops = {
	.pr_register = vdisk_pr_op_register,
	.pr_reserve = vdisk_pr_op_reserve,
	.pr_release = vdisk_pr_op_release,
	.pr_preempt = vdisk_pr_op_preempt,
	.pr_clear = vdisk_pr_op_clear,
	VDISK_PR_READ_OPS
};

/* Messages */

/* Decimal, or hex behind 0x; nothing else that kstrtox takes. */
static int vdisk_pr_read_key(struct vdisk_node *n, const char *word, u64 *key)
{
	bool hex = word[0] == '0' && word[1] == 'x';

	if (word[0] >= '0' && word[0] <= '9' &&
	    !kstrtou64(word, hex ? 16 : 10, key))
		return 0;
	return vdisk_fail(n, -EINVAL, "%*pE: no key; keys are 0x<hex> or decimal",
			  (int)strnlen(word, 32), word);
}

static int vdisk_pr_read_type(struct vdisk_node *n, const char *word, u32 *type)
{
	for (*type = PR_WRITE_EXCLUSIVE; *type < ARRAY_SIZE(vdisk_pr_types); ++*type)
		if (!strcmp(word, vdisk_pr_types[*type]))
			return 0;
	return vdisk_fail(n, -EINVAL,
			  "%*pE: no type; types are write-exclusive or exclusive-access, then nothing, -reg-only or -all-regs",
			  (int)strnlen(word, 32), word);
}

/*
 * Words of a message: k the key, n the new one or the victims', t the type. What
 * has no action changes no state.
 */
static const struct vdisk_pr_verb {
	const char *name;
	const char *words;
	int (*run)(struct vdisk_node *n, struct vdisk_pr_call *call);
	enum vdisk_pr_action action;
} vdisk_pr_verbs[] = {
	{ "register", "kn", vdisk_pr_do, VDISK_PR_REGISTER },
	{ "register-ignore", "n", vdisk_pr_do, VDISK_PR_REGISTER_IGNORE },
	{ "reserve", "kt", vdisk_pr_do, VDISK_PR_RESERVE },
	{ "release", "kt", vdisk_pr_do, VDISK_PR_RELEASE },
	{ "preempt", "knt", vdisk_pr_do, VDISK_PR_PREEMPT },
	{ "preempt-abort", "knt", vdisk_pr_preempt_abort, VDISK_PR_PREEMPT },
	{ "clear", "k", vdisk_pr_do, VDISK_PR_CLEAR },
	{ "drain", "", vdisk_pr_drain_all, VDISK_PR_ACTIONS },
};

/* Registering may ask that all is kept over a loss of power. */
static int vdisk_pr_aptpl(struct vdisk_node *n, const struct vdisk_pr_verb *verb,
			  unsigned int *argc, char **argv)
{
	struct vdisk_pr_nexus *nx = n->priv;

	if (verb->action != VDISK_PR_REGISTER &&
	    verb->action != VDISK_PR_REGISTER_IGNORE)
		return 0;
	if (!*argc || strcmp(argv[*argc - 1], "aptpl"))
		return 0;
	--*argc;
	if (nx->domain->store)
		return 0;
	return vdisk_fail(n, -EINVAL,
			  "aptpl: without a store nothing is kept over a loss of power");
}

static int vdisk_pr_command(struct vdisk_node *n,
			    const struct vdisk_pr_verb *verb, unsigned int argc,
			    char **argv)
{
	struct vdisk_pr_call call = { .action = verb->action };
	unsigned int i;
	int r;

	r = vdisk_pr_aptpl(n, verb, &argc, argv);
	if (r)
		return r;
	if (argc != strlen(verb->words))
		return vdisk_fail(n, -EINVAL, "%s: takes %zu words, not %u",
				  verb->name, strlen(verb->words), argc);
	for (i = 0; i < argc; i++) {
		if (verb->words[i] == 't')
			r = vdisk_pr_read_type(n, argv[i], &call.type);
		else
			r = vdisk_pr_read_key(n, argv[i], verb->words[i] == 'k' ?
					      &call.key : &call.new_key);
		if (r)
			return r;
	}

	/* It may wait, perhaps for what another message is to release. */
	mutex_unlock(&n->stack->message_lock);
	r = verb->run(n, &call);
	mutex_lock(&n->stack->message_lock);
	switch (r) {
	case 0:
		return 0;
	case PR_STS_RESERVATION_CONFLICT:
		return vdisk_fail(n, -EBADE, "%s: reservation conflict",
				  verb->name);
	case -EAGAIN:
		return vdisk_fail(n, r, "%s: the device is suspended",
				  verb->name);
	case -EINTR:
		return vdisk_fail(n, r, "%s: killed before it began", verb->name);
	case -EINPROGRESS:
		return vdisk_fail(n, r,
				  "%s: interrupted: access is as it was made, but what was sent before may still be on its way; drain waits for it",
				  verb->name);
	case -ENOMEM:
		return vdisk_fail(n, r, "%s: out of memory", verb->name);
	case -EINVAL:
		return vdisk_fail(n, r,
				  "%s: the reservation is of another type, or the victims' key is 0",
				  verb->name);
	default:
		return vdisk_fail(n, r, "%s: the store cannot be written",
				  verb->name);
	}
}

enum { VDISK_PR_KEYS, VDISK_PR_RESERVATION, VDISK_PR_FULL };

static const char * const vdisk_pr_reads[] = {
	[VDISK_PR_KEYS] = "read-keys",
	[VDISK_PR_RESERVATION] = "read-reservation",
	[VDISK_PR_FULL] = "read-full-status",
};

static int vdisk_pr_read(struct vdisk_node *n, int what, struct vdisk_out *out)
{
	struct vdisk_pr_nexus *nx = n->priv;
	struct vdisk_pr_domain *d = nx->domain;
	const struct vdisk_pr_state *s = &d->now.state;
	struct pr_held_reservation held;
	unsigned int noio, i;

	noio = vdisk_pr_lock(d);
	if (d->store && !d->loaded) {
		vdisk_pr_unlock(d, noio);
		return vdisk_fail(n, -ENODATA,
				  "the store was not read yet: no device of the domain has gone live");
	}
	vdisk_pr_held(s, &held);
	vdisk_emit(out, "generation=%u", held.generation);
	if (what != VDISK_PR_KEYS)
		vdisk_emit(out, " type=%s", vdisk_pr_types[held.type]);
	if (what == VDISK_PR_RESERVATION && held.type)
		vdisk_emit(out, " key=0x%llx", held.key);
	for (i = 0; i < VDISK_PR_MAX && what != VDISK_PR_RESERVATION; i++) {
		if (!s->key[i])
			continue;
		if (what == VDISK_PR_FULL)
			vdisk_emit(out, " nexus=%s", d->nexus[i]->name);
		vdisk_emit(out, " key=0x%llx", s->key[i]);
		if (what == VDISK_PR_FULL)
			vdisk_emit(out, " holder=%d live=%d",
				   vdisk_pr_holds(s, i), !!d->nexus[i]->live);
	}
	vdisk_pr_unlock(d, noio);
	return 1;
}

/* The answer lies where the words are: they are gone when it begins. */
static int vdisk_pr_message(struct vdisk_node *n, unsigned int argc,
			    char **argv, struct vdisk_out *out)
{
	unsigned int i;
	int what;

	for (i = 0; i < ARRAY_SIZE(vdisk_pr_verbs); i++)
		if (!strcmp(argv[0], vdisk_pr_verbs[i].name))
			return vdisk_pr_command(n, &vdisk_pr_verbs[i], argc - 1,
						argv + 1);
	what = match_string(vdisk_pr_reads, ARRAY_SIZE(vdisk_pr_reads), argv[0]);
	if (what >= 0 && argc == 1)
		return vdisk_pr_read(n, what, out);
	return vdisk_fail(n, -EINVAL,
			  "understands: register, register-ignore, reserve, release, preempt, preempt-abort, clear, drain, read-keys, read-reservation, read-full-status");
}

/* The node */

static int vdisk_pr_check_store(struct vdisk_node *n)
{
	struct vdisk_stack *s = n->stack;
	unsigned int i;

	for (i = 0; s->nodes[i] != n->children[1]; i++)
		;
	for (; i < s->nr_nodes; i++)
		if (vdisk_forgets(s->nodes[i]))
			return vdisk_fail(s->nodes[i], -EINVAL,
					  "keeps nothing over a loss of power, so it is no store");
	return 0;
}

/* The canonical words of the store: two tables name one store if they agree. */
static int vdisk_pr_store_words(struct vdisk_node *n, char **words)
{
	struct vdisk_out out = { .max = SZ_64K };
	int r;

	*words = NULL;
	if (n->nr_children < 2)
		return 0;
	r = vdisk_pr_check_store(n);
	if (r)
		return r;
	out.buf = kvzalloc(out.max, GFP_KERNEL);
	if (!out.buf)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	/* Another file may have the name now. */
	vdisk_print_node(n->children[1], &out, vdisk_emit_inode);
	*words = kstrdup(out.buf, GFP_KERNEL);
	kvfree(out.buf);
	return *words ? 0 : vdisk_fail(n, -ENOMEM, "out of memory");
}

/* The first table of a domain says what its store is, for all. */
static int vdisk_pr_join_store(struct vdisk_node *n, struct vdisk_pr_domain *d,
			       char **words, struct vdisk_pr_slot **slot)
{
	lockdep_assert_held(&d->lock);
	if (d->joined && !d->store && *words)
		return vdisk_fail(n, -EBUSY,
				  "the domain has no store, as its other disks say");
	if (d->joined && d->store && (!*words || strcmp(d->store, *words)))
		return vdisk_fail(n, -EBUSY,
				  "the domain's disks have another store, or other words for it");
	if (d->joined)
		return 0;
	d->joined = true;
	strscpy(d->name, n->val[PR_DOMAIN].str, sizeof(d->name));
	d->now.domain = d->name;
	swap(d->store, *words);
	swap(d->slot, *slot);
	return 0;
}

static int vdisk_pr_join_nexus(struct vdisk_node *n, struct vdisk_pr_domain *d,
			       struct vdisk_pr_nexus **new)
{
	const struct mapped_device *md = dm_table_get_md(n->stack->ti->table);
	const char *name = n->val[PR_NEXUS].str;
	unsigned int i = vdisk_pr_find(d, name);
	struct vdisk_pr_nexus *nx;

	if (i == VDISK_PR_MAX)
		return vdisk_fail(n, -ENOSPC,
				  "the domain has %u nexuses, and no room for more",
				  VDISK_PR_MAX);
	if (!d->nexus[i]) {
		vdisk_pr_add(d, i, *new);
		*new = NULL;
	}
	nx = d->nexus[i];
	if (nx->tables && nx->md != md)
		return vdisk_fail(n, -EBUSY, "nexus: another device is '%s'",
				  name);
	if (!nx->count)
		swap(nx->count, (*new)->count);
	nx->gate.ios = nx->count->ios;
	nx->md = md;
	nx->tables++;
	n->priv = nx;
	return 0;
}

static int vdisk_pr_join(struct vdisk_node *n, struct vdisk_pr_domain *d,
			 struct vdisk_object *obj)
{
	struct vdisk_pr_slot *slot = NULL;
	struct vdisk_pr_nexus *new;
	unsigned int noio;
	char *words;
	int r;

	r = vdisk_pr_store_words(n, &words);
	if (r)
		return r;
	new = vdisk_pr_nexus_alloc(d, n->val[PR_NEXUS].str);
	if (words)
		slot = kmalloc(VDISK_PR_SLOT_BYTES, GFP_KERNEL);
	if (!new || (words && !slot)) {
		r = vdisk_fail(n, -ENOMEM, "out of memory");
	} else {
		noio = vdisk_pr_lock(d);
		d->object = obj;
		r = vdisk_pr_join_store(n, d, &words, &slot);
		if (!r)
			r = vdisk_pr_join_nexus(n, d, &new);
		vdisk_pr_unlock(d, noio);
	}
	vdisk_pr_nexus_free(new);
	kfree(slot);
	kfree(words);
	return r;
}

static int vdisk_pr_ctr(struct vdisk_node *n)
{
	struct vdisk_pr_domain *d;
	struct vdisk_object *obj;
	int r;

	if (!n->val[PR_DOMAIN].set)
		return vdisk_fail(n, -EINVAL, "domain: missing");
	if (!n->val[PR_NEXUS].set)
		return vdisk_fail(n, -EINVAL, "nexus: missing");
	if (n->parent)
		return vdisk_fail(n, -EINVAL,
				  "can only be the root: no other node passes reservations on");
	if (n->stack->ti->begin)
		return vdisk_fail(n, -EINVAL,
				  "can only be a whole disk: reservations are of a disk, not of a part");
	obj = vdisk_object_get(n, n->val[PR_DOMAIN].str, sizeof(*d),
			       vdisk_pr_domain_init, vdisk_pr_domain_free);
	if (IS_ERR(obj))
		return vdisk_fail(n, PTR_ERR(obj), "out of memory");
	d = vdisk_object_data(obj);
	r = vdisk_pr_join(n, d, obj);
	if (r)
		vdisk_object_put(obj);
	return r;
}

static void vdisk_pr_dtr(struct vdisk_node *n)
{
	struct vdisk_pr_nexus *nx = n->priv;
	struct vdisk_pr_domain *d = nx->domain;
	unsigned int noio;

	noio = vdisk_pr_lock(d);
	nx->tables--;
	vdisk_pr_sweep(d);
	vdisk_pr_unlock(d, noio);
	vdisk_object_put(d->object);
}

static sector_t vdisk_pr_length(const struct vdisk_node *n)
{
	return n->children[0]->ops->length(n->children[0]);
}

static int vdisk_pr_give(struct vdisk_node *n)
{
	struct vdisk_node *store = n->nr_children > 1 ? n->children[1] : NULL;

	n->children[0]->len = n->len;
	if (!store)
		return 0;
	store->len = VDISK_PR_STORE_SECTORS;
	if (store->lim.logical_block_size > VDISK_PR_BLOCK_MAX)
		return vdisk_fail(n, -EINVAL,
				  "store: blocks of %u bytes: at most %u",
				  store->lim.logical_block_size,
				  VDISK_PR_BLOCK_MAX);
	return 0;
}

/* The store is no part of the disk. */
static void vdisk_pr_limits(struct vdisk_node *n, struct queue_limits *lim)
{
	*lim = n->children[0]->lim;
}

static struct vdisk_node *vdisk_pr_route(struct vdisk_node *n,
					 struct vdisk_run *run)
{
	return n->children[0];
}

/**
 * vdisk_pr_gate - whom a pr lets in
 * @n: the pr
 *
 * Context: Any context.
 * Return: its gate.
 */
struct vdisk_gate *vdisk_pr_gate(const struct vdisk_node *n)
{
	struct vdisk_pr_nexus *nx = n->priv;

	return &nx->gate;
}

static void vdisk_pr_refuse(struct vdisk_io *io)
{
	vdisk_end(io, io->at, BLK_STS_RESV_CONFLICT);
}

/*
 * Not let in. It ends on the worker: of a bio that ended before its submission
 * returned, LIO (target_core_iblock.c) would not look at the status.
 */
static enum vdisk_map vdisk_pr_map(struct vdisk_node *n, struct vdisk_io *io)
{
	struct vdisk_pr_nexus *nx = n->priv;

	this_cpu_inc(nx->count->conflicts);
	vdisk_defer(io, vdisk_pr_refuse);
	return VDISK_TAKEN;
}

/**
 * vdisk_pr_end - end() of a pr
 * @n: the pr
 * @io: the io
 * @status: left alone
 *
 * Context: Any context.
 * Return: VDISK_UP.
 */
enum vdisk_end vdisk_pr_end(struct vdisk_node *n, struct vdisk_io *io,
			    blk_status_t *status)
{
	this_cpu_dec(*io->in);
	return VDISK_UP;
}

/* A slot into d->slot, and what it says into d->next, with names in the slot. */
static int vdisk_pr_read_slot(struct vdisk_node *n, struct vdisk_pr_domain *d,
			      unsigned int which)
{
	blk_status_t status;

	status = vdisk_io_sync(n->children[1], REQ_OP_READ | REQ_SYNC | REQ_META,
			       which * VDISK_PR_SLOT_SECTORS, d->slot,
			       VDISK_PR_SLOT_BYTES);
	if (status)
		return blk_status_to_errno(status);
	return vdisk_pr_decode(d->slot, &d->next);
}

/* What counts, into d->next; -ENODATA if nothing ever was written. */
static int vdisk_pr_read_store(struct vdisk_node *n, struct vdisk_pr_domain *d)
{
	u64 sequence[2] = {};
	int r[2], which;

	for (which = 0; which < 2; which++) {
		r[which] = vdisk_pr_read_slot(n, d, which);
		if (r[which] == -ENOMEM)
			return -ENOMEM;	/* which says nothing about the slot */
		sequence[which] = d->next.sequence;
	}
	which = vdisk_pr_choose(r, sequence);
	if (which < 0)
		return which;
	if (r[!which])
		DMWARN("%s: slot %u of the store is not good (%d), and is written again",
		       dm_table_device_name(n->stack->ti->table), !which,
		       r[!which]);
	d->first = !which;
	return vdisk_pr_read_slot(n, d, which);
}

/* d->next becomes the state; its nexuses are found, or made. */
static int vdisk_pr_take_over(struct vdisk_pr_domain *d)
{
	const struct vdisk_pr_state *from = &d->next.state;
	struct vdisk_pr_state *to = &d->now.state;
	unsigned int i, at;

	d->now.sequence = d->next.sequence;
	to->generation = from->generation;
	to->type = from->type;
	for (i = 0; i < VDISK_PR_MAX && d->next.nexus[i]; i++) {
		at = vdisk_pr_find(d, d->next.nexus[i]);
		if (at == VDISK_PR_MAX)
			return -ENOSPC;
		if (!d->nexus[at]) {
			struct vdisk_pr_nexus *nx = kzalloc(sizeof(*nx), GFP_KERNEL);

			if (!nx)
				return -ENOMEM;
			nx->domain = d;
			strscpy(nx->name, d->next.nexus[i], sizeof(nx->name));
			vdisk_pr_add(d, at, nx);
		}
		to->key[at] = from->key[i];
		if (to->type && !vdisk_pr_all_hold(to->type) && from->holder == i)
			to->holder = at;
	}
	return 0;
}

static int vdisk_pr_load_store(struct vdisk_node *n, struct vdisk_pr_domain *d,
			       const char **why)
{
	blk_status_t status;
	unsigned int noio;
	int r;

	/* A slot may be what a host wrote that went down before it was durable. */
	status = vdisk_io_sync(n->children[1], REQ_OP_WRITE | REQ_PREFLUSH, 0,
			       NULL, 0);
	*why = "the store cannot be flushed";
	if (status)
		return blk_status_to_errno(status);
	r = vdisk_pr_read_store(n, d);
	*why = "out of memory";
	if (!r && strcmp(d->next.domain, d->name)) {
		*why = "the store is another domain's";
		return -EINVAL;
	}
	if (!r) {
		noio = vdisk_pr_lock(d);
		r = vdisk_pr_take_over(d);
		vdisk_pr_unlock(d, noio);
		if (r == -ENOSPC)
			*why = "the store is full, and a table is one nexus more";
		return r;
	}
	if (r == -ENODATA)
		return 0;
	if (r == -ENOMEM)
		return r;
	*why = r == -EOPNOTSUPP ? "the store is of a newer format" :
	       "no slot of the store is good; a new store is all zeroes";
	return r;
}

/* The first table that goes live reads the store, and makes both slots good. */
static int vdisk_pr_load(struct vdisk_node *n, struct vdisk_pr_domain *d)
{
	unsigned int noio;
	const char *why;
	int r;

	lockdep_assert_held(&d->command);
	r = vdisk_pr_load_store(n, d, &why);
	if (!r) {
		d->now.sequence++;
		r = vdisk_pr_write(n, d, &d->now);
		if (!r)
			return 0;
		why = "the store cannot be written";
	}
	DMERR("%s: %s (%d)", dm_table_device_name(n->stack->ti->table), why, r);
	noio = vdisk_pr_lock(d);
	memset(&d->now.state, 0, sizeof(d->now.state));
	vdisk_pr_sweep(d);
	vdisk_pr_unlock(d, noio);
	return r;
}

static int vdisk_pr_preresume(struct vdisk_node *n)
{
	struct vdisk_pr_nexus *nx = n->priv;
	struct vdisk_pr_domain *d = nx->domain;
	unsigned int begun, noio;
	int r;

	/* Neither is ever undone. */
	if (!d->store || READ_ONCE(d->loaded))
		return 0;
	r = mutex_lock_killable(&d->command);
	if (r)
		return r;
	begun = memalloc_noio_save();
	if (!d->loaded) {
		r = vdisk_pr_load(n, d);
		noio = vdisk_pr_lock(d);
		WRITE_ONCE(d->loaded, !r);
		vdisk_pr_publish(d, NULL);
		vdisk_pr_unlock(d, noio);
	}
	vdisk_pr_finish(d, begun);
	return r;
}

static void vdisk_pr_presuspend(struct vdisk_node *n)
{
	struct vdisk_pr_nexus *nx = n->priv;

	WRITE_ONCE(nx->stopping, true);
}

static void vdisk_pr_presuspend_undo(struct vdisk_node *n)
{
	struct vdisk_pr_nexus *nx = n->priv;

	WRITE_ONCE(nx->stopping, false);
}

static void vdisk_pr_resume(struct vdisk_node *n)
{
	struct vdisk_pr_nexus *nx = n->priv;
	unsigned int noio = vdisk_pr_lock(nx->domain);

	WRITE_ONCE(nx->stopping, false);
	nx->live = n->stack;
	if (nx->untold)
		vdisk_pr_event(nx);
	vdisk_pr_unlock(nx->domain, noio);
}

/*
 * No call comes through this table any more. dm core has waited for one that runs,
 * but not if the device is removed (dm.c:__dm_destroy()).
 */
static void vdisk_pr_postsuspend(struct vdisk_node *n)
{
	struct vdisk_pr_nexus *nx = n->priv;
	struct vdisk_pr_domain *d = nx->domain;
	unsigned int noio;
	bool calls;

	for (;;) {
		noio = vdisk_pr_lock(d);
		nx->live = NULL;
		calls = d->caller == n->stack;
		vdisk_pr_unlock(d, noio);
		if (!calls)
			return;
		schedule_timeout_uninterruptible(1);
	}
}

static void vdisk_pr_status(struct vdisk_node *n, struct vdisk_out *out)
{
	struct vdisk_pr_nexus *nx = n->priv;
	struct vdisk_pr_domain *d = nx->domain;
	const struct vdisk_pr_state *s = &d->now.state;
	unsigned int noio, i, at, registered = 0;
	u64 conflicts = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		conflicts += per_cpu_ptr(nx->count, cpu)->conflicts;
	noio = vdisk_pr_lock(d);
	at = vdisk_pr_index(nx);
	for (i = 0; i < VDISK_PR_MAX; i++)
		registered += s->key[i] != 0;
	vdisk_emit(out, " generation=%u registered=%u type=%s key=0x%llx holder=%d",
		   s->generation, registered, vdisk_pr_types[s->type],
		   s->key[at], vdisk_pr_holds(s, at));
	vdisk_emit(out, " conflicts=%llu preempted=%llu released=%llu",
		   conflicts, nx->preempted, nx->released);
	vdisk_pr_unlock(d, noio);
}

const struct vdisk_ops vdisk_pr_ops = {
	.ctr = vdisk_pr_ctr,
	.dtr = vdisk_pr_dtr,
	.length = vdisk_pr_length,
	.give = vdisk_pr_give,
	.limits = vdisk_pr_limits,
	.route = vdisk_pr_route,
	.map = vdisk_pr_map,
	.end = vdisk_pr_end,
	.presuspend = vdisk_pr_presuspend,
	.presuspend_undo = vdisk_pr_presuspend_undo,
	.preresume = vdisk_pr_preresume,
	.resume = vdisk_pr_resume,
	.postsuspend = vdisk_pr_postsuspend,
	.status = vdisk_pr_status,
	.message = vdisk_pr_message,
	.works = true,
	.writes_store = true,
	.store = 1,
};
