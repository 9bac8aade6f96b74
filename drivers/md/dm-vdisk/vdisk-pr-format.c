// SPDX-License-Identifier: GPL-2.0-only
/*
 * Persistent reservations: how the state of a domain lies in a store. Bytes
 * only, no I/O. The format is described in dm-vdisk-format.rst.
 */
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/stddef.h>
#include <linux/string.h>

#include "vdisk-pr.h"

static_assert(sizeof(struct vdisk_pr_entry) == 72);
static_assert(offsetof(struct vdisk_pr_slot, crc) == 12);
static_assert(offsetof(struct vdisk_pr_slot, sequence) == 32);
static_assert(offsetof(struct vdisk_pr_slot, holder) == 44);
static_assert(offsetof(struct vdisk_pr_slot, domain) == 64);
static_assert(offsetof(struct vdisk_pr_slot, entry) == 128);
static_assert(128 + VDISK_PR_MAX * 72 <= VDISK_PR_SLOT_BYTES);

static u32 vdisk_pr_crc(const struct vdisk_pr_slot *slot, unsigned int nr)
{
	static const __le32 none;
	const u8 *at = (const u8 *)slot;
	u32 crc = ~0U;

	crc = vdisk_crc32c(crc, at, offsetof(struct vdisk_pr_slot, crc));
	crc = vdisk_crc32c(crc, &none, sizeof(none));
	at += offsetofend(struct vdisk_pr_slot, crc);
	return ~vdisk_crc32c(crc, at, struct_size(slot, entry, nr) -
				      offsetofend(struct vdisk_pr_slot, crc));
}

/**
 * vdisk_pr_encode - write a slot
 * @slot: VDISK_PR_SLOT_BYTES
 * @image: what it shall say
 *
 * Context: Any context.
 * Return: bytes to write; the rest of the slot is not looked at.
 */
unsigned int vdisk_pr_encode(struct vdisk_pr_slot *slot,
			     const struct vdisk_pr_image *image)
{
	const struct vdisk_pr_state *s = &image->state;
	u16 holder = VDISK_PR_NOBODY;
	unsigned int i, nr = 0;

	memset(slot, 0, VDISK_PR_SLOT_BYTES);
	for (i = 0; i < VDISK_PR_MAX; i++) {
		if (!s->key[i])
			continue;
		if (s->type && !vdisk_pr_all_hold(s->type) && s->holder == i)
			holder = nr;
		slot->entry[nr].key = cpu_to_le64(s->key[i]);
		strscpy(slot->entry[nr].nexus, image->nexus[i],
			sizeof(slot->entry[nr].nexus));
		nr++;
	}
	slot->magic = cpu_to_le64(VDISK_PR_MAGIC);
	slot->version = cpu_to_le32(VDISK_PR_VERSION);
	slot->nr = cpu_to_le32(nr);
	slot->sequence = cpu_to_le64(image->sequence);
	slot->generation = cpu_to_le32(s->generation);
	slot->holder = cpu_to_le16(holder);
	slot->type = s->type;
	strscpy(slot->domain, image->domain, sizeof(slot->domain));
	slot->crc = cpu_to_le32(vdisk_pr_crc(slot, nr));
	return round_up(struct_size(slot, entry, nr), VDISK_PR_BLOCK_MAX);
}

/* One that a line could have, padded with zeroes: it is printed in answers. */
static bool vdisk_pr_name_ok(const char *name)
{
	size_t len = strnlen(name, VDISK_NAME_MAX + 1);

	return len <= VDISK_NAME_MAX &&
	       !memchr_inv(name + len, 0, VDISK_NAME_MAX + 1 - len) &&
	       vdisk_is_name(name);
}

static bool vdisk_pr_entry_ok(const struct vdisk_pr_slot *slot, unsigned int i)
{
	unsigned int j;

	if (!slot->entry[i].key || !vdisk_pr_name_ok(slot->entry[i].nexus))
		return false;
	for (j = 0; j < i; j++)
		if (!strcmp(slot->entry[i].nexus, slot->entry[j].nexus))
			return false;
	return true;
}

static bool vdisk_pr_holder_ok(const struct vdisk_pr_slot *slot, unsigned int nr)
{
	u16 holder = le16_to_cpu(slot->holder);

	if (slot->type > PR_EXCLUSIVE_ACCESS_ALL_REGS || (slot->type && !nr))
		return false;
	if (!slot->type || vdisk_pr_all_hold(slot->type))
		return holder == VDISK_PR_NOBODY;
	return holder < nr;
}

/**
 * vdisk_pr_decode - read a slot
 * @slot: VDISK_PR_SLOT_BYTES
 * @image: set on success; its names are in the slot
 *
 * Context: Any context.
 * Return: 0, -ENODATA if all of it is 0, -EOPNOTSUPP if it is of a newer format,
 * or -EBADMSG.
 */
int vdisk_pr_decode(const struct vdisk_pr_slot *slot,
		    struct vdisk_pr_image *image)
{
	unsigned int i, nr = le32_to_cpu(slot->nr);
	struct vdisk_pr_state *s = &image->state;

	if (!memchr_inv(slot, 0, VDISK_PR_SLOT_BYTES))
		return -ENODATA;
	if (slot->magic != cpu_to_le64(VDISK_PR_MAGIC) || nr > VDISK_PR_MAX ||
	    le32_to_cpu(slot->crc) != vdisk_pr_crc(slot, nr))
		return -EBADMSG;
	if (slot->version != cpu_to_le32(VDISK_PR_VERSION) || slot->ro_compat ||
	    slot->incompat)
		return -EOPNOTSUPP;
	if (memchr_inv(slot->pad, 0, sizeof(slot->pad)) ||
	    !vdisk_pr_name_ok(slot->domain) || !vdisk_pr_holder_ok(slot, nr))
		return -EBADMSG;

	memset(image, 0, sizeof(*image));
	for (i = 0; i < nr; i++) {
		if (!vdisk_pr_entry_ok(slot, i))
			return -EBADMSG;
		s->key[i] = le64_to_cpu(slot->entry[i].key);
		image->nexus[i] = slot->entry[i].nexus;
	}
	s->generation = le32_to_cpu(slot->generation);
	s->type = slot->type;
	if (slot->holder != cpu_to_le16(VDISK_PR_NOBODY))
		s->holder = le16_to_cpu(slot->holder);
	image->sequence = le64_to_cpu(slot->sequence);
	image->domain = slot->domain;
	return 0;
}

/**
 * vdisk_pr_choose - which slot to believe
 * @r: of vdisk_pr_decode(), of both slots
 * @sequence: of those that are good
 *
 * A change is written to one slot and then to the other, and is acknowledged
 * behind that. So of two good slots the newer counts, and a bad one beside a good one
 * holds nothing that was acknowledged and is not in the other.
 *
 * Context: Any context.
 * Return: the slot, -ENODATA for a new store, -EOPNOTSUPP or -EBADMSG.
 */
int vdisk_pr_choose(const int *r, const u64 *sequence)
{
	if (r[0] == -EOPNOTSUPP || r[1] == -EOPNOTSUPP)
		return -EOPNOTSUPP;
	if (!r[0] && !r[1])
		return sequence[1] > sequence[0];
	if (!r[0] || !r[1])
		return r[0] ? 1 : 0;
	return r[0] == -ENODATA && r[1] == -ENODATA ? -ENODATA : -EBADMSG;
}
