// SPDX-License-Identifier: GPL-2.0-only
/*
 * Persistent reservations: what the commands do, and who may do what.
 *
 * By SPC-4, cited as of its revision 17 (spc4r17), and SBC-3. The chapter on
 * reservations of the NVMe Base Specification says the same of all that is here.
 */
#include <linux/bits.h>
#include <linux/blk_types.h>
#include <linux/errno.h>
#include <linux/string.h>

#include "vdisk-pr.h"

/*
 * Operations by what the standards call them. SBC-3, commands in the presence of
 * persistent reservations: WRITE, UNMAP, WRITE SAME and SYNCHRONIZE CACHE have
 * equal rows. NVMe: Write, Dataset Management, Write Zeroes and Flush are the
 * write command group. A flush of dm core's is an empty REQ_OP_WRITE.
 */
#define OP(op)	BIT_ULL((__force unsigned int)(op))
#define READS	OP(REQ_OP_READ)
#define WRITES	(OP(REQ_OP_WRITE) | OP(REQ_OP_FLUSH) | OP(REQ_OP_DISCARD) | \
		 OP(REQ_OP_SECURE_ERASE) | OP(REQ_OP_WRITE_ZEROES))

/*
 * Type x role x operation: what is allowed. spc4r17 tables 45 and 46; NVMe
 * "Command Behavior in the Presence of a Reservation". What is not listed here
 * is refused.
 */
static const u64 vdisk_pr_access[][VDISK_PR_ROLES] = {
	[VDISK_PR_NONE] = {
		[VDISK_PR_STRANGER]	= READS | WRITES,
		[VDISK_PR_REGISTRANT]	= READS | WRITES,
		[VDISK_PR_HOLDER]	= READS | WRITES,
	},
	[PR_WRITE_EXCLUSIVE] = {
		[VDISK_PR_STRANGER]	= READS,
		[VDISK_PR_REGISTRANT]	= READS,
		[VDISK_PR_HOLDER]	= READS | WRITES,
	},
	[PR_EXCLUSIVE_ACCESS] = {
		[VDISK_PR_HOLDER]	= READS | WRITES,
	},
	[PR_WRITE_EXCLUSIVE_REG_ONLY] = {
		[VDISK_PR_STRANGER]	= READS,
		[VDISK_PR_REGISTRANT]	= READS | WRITES,
		[VDISK_PR_HOLDER]	= READS | WRITES,
	},
	[PR_EXCLUSIVE_ACCESS_REG_ONLY] = {
		[VDISK_PR_REGISTRANT]	= READS | WRITES,
		[VDISK_PR_HOLDER]	= READS | WRITES,
	},
	/* Every registrant is a holder. */
	[PR_WRITE_EXCLUSIVE_ALL_REGS] = {
		[VDISK_PR_STRANGER]	= READS,
		[VDISK_PR_HOLDER]	= READS | WRITES,
	},
	[PR_EXCLUSIVE_ACCESS_ALL_REGS] = {
		[VDISK_PR_HOLDER]	= READS | WRITES,
	},
};

/**
 * vdisk_pr_all_hold - is it a type of reservation that all registrants hold?
 * @type: the type
 *
 * Return: true if so.
 */
bool vdisk_pr_all_hold(u8 type)
{
	return type == PR_WRITE_EXCLUSIVE_ALL_REGS ||
	       type == PR_EXCLUSIVE_ACCESS_ALL_REGS;
}

/* Registrants, other than the holder, may write: they rely on the reservation. */
static bool vdisk_pr_shared(u8 type)
{
	return vdisk_pr_all_hold(type) ||
	       type == PR_WRITE_EXCLUSIVE_REG_ONLY ||
	       type == PR_EXCLUSIVE_ACCESS_REG_ONLY;
}

/**
 * vdisk_pr_holds - does a nexus hold the reservation?
 * @s: the state
 * @nexus: the nexus
 *
 * Return: true if it does.
 */
bool vdisk_pr_holds(const struct vdisk_pr_state *s, unsigned int nexus)
{
	if (!s->type || !s->key[nexus])
		return false;
	return vdisk_pr_all_hold(s->type) || s->holder == nexus;
}

/**
 * vdisk_pr_allowed - what a nexus may do
 * @s: the state
 * @nexus: the nexus
 *
 * Return: a bit for each REQ_OP that is allowed.
 */
u64 vdisk_pr_allowed(const struct vdisk_pr_state *s, unsigned int nexus)
{
	enum vdisk_pr_role role = VDISK_PR_STRANGER;

	if (vdisk_pr_holds(s, nexus))
		role = VDISK_PR_HOLDER;
	else if (s->key[nexus])
		role = VDISK_PR_REGISTRANT;
	return vdisk_pr_access[s->type][role];
}

static bool vdisk_pr_any_registered(const struct vdisk_pr_state *s)
{
	return memchr_inv(s->key, 0, sizeof(s->key));
}

/* Tell all who are registered, but not @nexus. */
static void vdisk_pr_tell(const struct vdisk_pr_state *s, unsigned int nexus,
			  unsigned long *told)
{
	unsigned int i;

	for (i = 0; i < VDISK_PR_MAX; i++)
		if (s->key[i] && i != nexus)
			__set_bit(i, told);
}

static void vdisk_pr_reserve(struct vdisk_pr_state *s, unsigned int nexus,
			     u8 type)
{
	s->type = type;
	s->holder = type && !vdisk_pr_all_hold(type) ? nexus : 0;
}

/* spc4r17 5.7.11.3; a reservation that all hold goes with the last of them. */
static void vdisk_pr_unregister(struct vdisk_pr_state *s, unsigned int nexus,
				struct vdisk_pr_told *told)
{
	bool held = vdisk_pr_holds(s, nexus);

	s->key[nexus] = 0;
	if (!held || (vdisk_pr_all_hold(s->type) && vdisk_pr_any_registered(s)))
		return;
	if (vdisk_pr_shared(s->type))
		vdisk_pr_tell(s, nexus, told->released);
	vdisk_pr_reserve(s, 0, VDISK_PR_NONE);
}

/* spc4r17 5.7.7, table 47. Nothing to do is no change, so no new generation. */
static int vdisk_pr_do_register(struct vdisk_pr_state *s,
				const struct vdisk_pr_call *call,
				struct vdisk_pr_told *told)
{
	u64 *key = &s->key[call->nexus];

	if (call->action == VDISK_PR_REGISTER && call->key != *key)
		return PR_STS_RESERVATION_CONFLICT;
	if (!*key && !call->new_key)
		return 0;
	if (call->new_key)
		*key = call->new_key;
	else
		vdisk_pr_unregister(s, call->nexus, told);
	s->generation++;
	return 0;
}

static bool vdisk_pr_is_type(u32 type)
{
	return type >= PR_WRITE_EXCLUSIVE && type <= PR_EXCLUSIVE_ACCESS_ALL_REGS;
}

/* spc4r17 5.7.9 */
static int vdisk_pr_do_reserve(struct vdisk_pr_state *s,
			       const struct vdisk_pr_call *call)
{
	if (!vdisk_pr_is_type(call->type))
		return -EINVAL;
	if (s->type && (!vdisk_pr_holds(s, call->nexus) || s->type != call->type))
		return PR_STS_RESERVATION_CONFLICT;
	if (!s->type)
		vdisk_pr_reserve(s, call->nexus, call->type);
	return 0;
}

/* spc4r17 5.7.11.2 */
static int vdisk_pr_do_release(struct vdisk_pr_state *s,
			       const struct vdisk_pr_call *call,
			       struct vdisk_pr_told *told)
{
	if (!vdisk_pr_is_type(call->type))
		return -EINVAL;
	if (!vdisk_pr_holds(s, call->nexus))
		return 0;
	if (s->type != call->type)
		return -EINVAL;
	if (vdisk_pr_shared(s->type))
		vdisk_pr_tell(s, call->nexus, told->released);
	vdisk_pr_reserve(s, 0, VDISK_PR_NONE);
	return 0;
}

/*
 * Remove the registrations with a key, or with key 0 all; but not that of
 * @spared. False if there is none.
 */
static bool vdisk_pr_remove(struct vdisk_pr_state *s, u64 key,
			    unsigned int spared, unsigned int caller,
			    struct vdisk_pr_told *told)
{
	bool any = false;
	unsigned int i;

	for (i = 0; i < VDISK_PR_MAX; i++) {
		if (i == spared || !s->key[i] || (key && s->key[i] != key))
			continue;
		any = true;
		if (i != caller)
			__set_bit(i, told->preempted);
		vdisk_pr_unregister(s, i, told);
	}
	return any;
}

/*
 * spc4r17 5.7.11.4. The reservation goes to the caller if the victims' key is
 * the holder's, or 0 where all hold it (5.7.11.4.3). Else only registrations go,
 * the caller's not spared, and the type is not looked at (5.7.11.4.4).
 */
static int vdisk_pr_do_preempt(struct vdisk_pr_state *s,
			       const struct vdisk_pr_call *call,
			       struct vdisk_pr_told *told)
{
	bool all = vdisk_pr_all_hold(s->type);
	u8 old = s->type;

	if (!call->new_key && !all)
		return -EINVAL;
	if (all ? !call->new_key :
		  s->type && s->key[s->holder] == call->new_key) {
		if (!vdisk_pr_is_type(call->type))
			return -EINVAL;
		vdisk_pr_reserve(s, 0, VDISK_PR_NONE);
		vdisk_pr_remove(s, call->new_key, call->nexus, call->nexus, told);
		vdisk_pr_reserve(s, call->nexus, call->type);
		if (old != call->type)
			vdisk_pr_tell(s, call->nexus, told->released);
	} else if (!vdisk_pr_remove(s, call->new_key, VDISK_PR_MAX, call->nexus,
				    told)) {
		return PR_STS_RESERVATION_CONFLICT;
	}
	s->generation++;
	return 0;
}

/* spc4r17 5.7.11.6 */
static int vdisk_pr_do_clear(struct vdisk_pr_state *s,
			     const struct vdisk_pr_call *call,
			     struct vdisk_pr_told *told)
{
	vdisk_pr_tell(s, call->nexus, told->preempted);
	vdisk_pr_reserve(s, 0, VDISK_PR_NONE);
	memset(s->key, 0, sizeof(s->key));
	s->generation++;
	return 0;
}

/**
 * vdisk_pr_apply - do a command
 * @s: the state; undefined if the command fails
 * @call: the command
 * @told: set
 *
 * Context: Any context.
 * Return: 0, PR_STS_RESERVATION_CONFLICT, or -EINVAL for what SCSI answers with
 * an illegal request.
 */
int vdisk_pr_apply(struct vdisk_pr_state *s, const struct vdisk_pr_call *call,
		   struct vdisk_pr_told *told)
{
	u64 key = s->key[call->nexus];

	memset(told, 0, sizeof(*told));
	if (call->action == VDISK_PR_REGISTER ||
	    call->action == VDISK_PR_REGISTER_IGNORE)
		return vdisk_pr_do_register(s, call, told);

	if (!key || call->key != key)
		return PR_STS_RESERVATION_CONFLICT;
	switch (call->action) {
	case VDISK_PR_RESERVE:
		return vdisk_pr_do_reserve(s, call);
	case VDISK_PR_RELEASE:
		return vdisk_pr_do_release(s, call, told);
	case VDISK_PR_PREEMPT:
		return vdisk_pr_do_preempt(s, call, told);
	case VDISK_PR_CLEAR:
		return vdisk_pr_do_clear(s, call, told);
	default:
		return -EINVAL;
	}
}
