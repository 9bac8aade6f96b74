/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Persistent reservations: the state of a domain, what the commands make of
 * it, and how it lies in a store. No bio, no lock and no device here.
 */
#ifndef VDISK_PR_H
#define VDISK_PR_H

#include <linux/bitmap.h>
#include <linux/types.h>

#include "compat.h"
#include "vdisk-types.h"

#define VDISK_PR_MAX		256	/* nexuses of a domain */
#define VDISK_PR_NONE		0	/* no reservation; other types: enum pr_type */

enum vdisk_pr_role {
	VDISK_PR_STRANGER,	/* not registered */
	VDISK_PR_REGISTRANT,	/* registered, does not hold the reservation */
	VDISK_PR_HOLDER,
	VDISK_PR_ROLES
};

enum vdisk_pr_action {
	VDISK_PR_REGISTER,
	VDISK_PR_REGISTER_IGNORE,
	VDISK_PR_RESERVE,
	VDISK_PR_RELEASE,
	VDISK_PR_PREEMPT,
	VDISK_PR_CLEAR,
	VDISK_PR_ACTIONS
};

/**
 * struct vdisk_pr_state - registrations and reservation of a domain
 * @generation: PRGENERATION
 * @type: VDISK_PR_NONE or enum pr_type
 * @holder: the nexus that holds it; not for the types that all registrants hold
 * @key: by nexus; 0: not registered
 */
struct vdisk_pr_state {
	u32 generation;
	u8 type;
	u16 holder;
	u64 key[VDISK_PR_MAX];
};

/**
 * struct vdisk_pr_call - a command
 * @action: which
 * @nexus: from whom
 * @key: the reservation key, by which the nexus proves to be registered
 * @new_key: registering: the key to have from now on, 0 for none; preempting:
 *	the key of the victims
 * @type: of the reservation, for those that name it
 */
struct vdisk_pr_call {
	enum vdisk_pr_action action;
	unsigned int nexus;
	u64 key;
	u64 new_key;
	u32 type;
};

/**
 * struct vdisk_pr_told - who is to be told, what SCSI says by unit attentions
 * @preempted: lost the registration, or by clear the reservation, to another
 * @released: the reservation that they lived with is gone, or of another type
 */
struct vdisk_pr_told {
	DECLARE_BITMAP(preempted, VDISK_PR_MAX);
	DECLARE_BITMAP(released, VDISK_PR_MAX);
};

/*
 * A store: two slots of equal contents, dm-vdisk-format.rst. Little-endian.
 */
#define VDISK_PR_SLOT_BYTES	32768
#define VDISK_PR_BLOCK_MAX	4096	/* what is written is a multiple of it */
#define VDISK_PR_SLOT_SECTORS	(VDISK_PR_SLOT_BYTES >> SECTOR_SHIFT)
#define VDISK_PR_STORE_SECTORS	(2 * VDISK_PR_SLOT_SECTORS)
#define VDISK_PR_MAGIC		0x5250206b73696476ULL	/* "vdisk PR" */
#define VDISK_PR_VERSION	1
#define VDISK_PR_NOBODY		0xffff			/* holder */

struct vdisk_pr_entry {
	__le64 key;
	char nexus[VDISK_NAME_MAX + 1];
};

struct vdisk_pr_slot {
	__le64 magic;
	__le32 version;
	__le32 crc;
	__le32 compat;
	__le32 ro_compat;
	__le32 incompat;
	__le32 nr;
	__le64 sequence;
	__le32 generation;
	__le16 holder;
	__u8 type;
	__u8 pad[17];
	char domain[VDISK_NAME_MAX + 1];
	struct vdisk_pr_entry entry[];
};

/**
 * struct vdisk_pr_image - what a slot says
 * @sequence: of the write
 * @domain: whose it is
 * @state: nexuses by the same index as @nexus
 * @nexus: names of those that are registered
 */
struct vdisk_pr_image {
	u64 sequence;
	const char *domain;
	struct vdisk_pr_state state;
	const char *nexus[VDISK_PR_MAX];
};

/* vdisk-pr-state.c */
int vdisk_pr_apply(struct vdisk_pr_state *s, const struct vdisk_pr_call *call,
		   struct vdisk_pr_told *told);
bool vdisk_pr_holds(const struct vdisk_pr_state *s, unsigned int nexus);
u64 vdisk_pr_allowed(const struct vdisk_pr_state *s, unsigned int nexus);
bool vdisk_pr_all_hold(u8 type);

/* vdisk-pr-format.c */
unsigned int vdisk_pr_encode(struct vdisk_pr_slot *slot,
			     const struct vdisk_pr_image *image);
int vdisk_pr_decode(const struct vdisk_pr_slot *slot,
		    struct vdisk_pr_image *image);
int vdisk_pr_choose(const int *r, const u64 *sequence);

#endif /* VDISK_PR_H */
