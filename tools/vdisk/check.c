// SPDX-License-Identifier: GPL-2.0-only
/*
 * vdisk check, vdisk repair
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "vdisk.h"

/* Neighbouring sectors of the presence area with the same fault are one problem. */
struct check {
	struct store *store;
	struct store_report *report;
	struct store_runs runs;
	const char *fault;	/* of those from first up to next */
	__u64 first, next;
};

static __u64 unit_sectors(const struct store *store)
{
	return le32_to_cpu(store->sb->unit) / VDISK_STORE_SECTOR;
}

/* What is wrong; @nr sectors of the disk from @start on are concerned. */
static void __attribute__((format(printf, 5, 6)))
problem(struct store_report *report, bool damage, __u64 start, __u64 nr, const char *format, ...)
{
	struct json_object *object = json_object_new_object();
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (damage)
		report->damage++;
	else
		report->harmless++;
	json_object_object_add(object, "severity", vdisk_json(damage ? "damage" : "harmless"));
	json_object_object_add(object, "text", vdisk_json(text));
	if (nr) {
		vdisk_json_number(object, "start", start * 512);
		vdisk_json_number(object, "length", nr * 512);
	}
	json_object_array_add(report->problems, object);
	if (!report->quiet)
		printf("%s: %s\n", damage ? "damage" : "harmless", text);
}

static void check_slots(const struct store *store, struct store_report *report)
{
	const struct vdisk_store_sb *sb = store->sb, *other = &store->slot[sb == &store->slot[0]];
	static const __u8 none[sizeof(sb->pins) + sizeof(sb->reserved)];
	bool pinned = le64_to_cpu(sb->incompat) & VDISK_STORE_PINNED;

	for (int i = 0; i < VDISK_STORE_SLOTS; i++) {
		if (store->bad[i])
			problem(report, false, 0, 0, "superblock in slot %d: %s; the other one is good", i, store->bad[i]);
		if (store->rest[i])
			problem(report, false, 0, 0, "superblock in slot %d: what is behind it is not zero", i);
	}
	if (!store->bad[0] && !store->bad[1]) {
		if (memcmp(sb->uuid, other->uuid, sizeof(sb->uuid)))
			problem(report, true, 0, 0, "the superblocks are of two stores: their uuids differ");
		else if (sb->sequence == other->sequence && memcmp(sb, other, sizeof(*sb)))
			problem(report, true, 0, 0, "the superblocks differ, and none is newer");
	}
	if (memcmp(sb->reserved, none, sizeof(sb->reserved)) || (!pinned && memcmp(sb->pins, none, sizeof(sb->pins))))
		problem(report, false, 0, 0, "superblock: what is reserved is not zero");
	if (le32_to_cpu(sb->flags) & ~vdisk_store_flags(sb))
		problem(report, false, 0, 0, "superblock: unknown flags %#x", le32_to_cpu(sb->flags) & ~vdisk_store_flags(sb));
	if (le64_to_cpu(sb->ro_compat) & ~VDISK_STORE_RO_COMPAT)
		problem(report, false, 0, 0, "superblock: features of a newer version, %#llx: this one must not write here",
			le64_to_cpu(sb->ro_compat));
}

/* Runs of the disk, and of what is behind its end. */
static int count(void *arg, __u64 unit, __u64 nr, enum store_state state)
{
	struct check *check = arg;
	__u64 needed = store_base_units(check->store);
	__u64 len = store_len_units(check->store), here = unit >= len ? 0 : nr < len - unit ? nr : len - unit;

	check->report->units[state] += here;
	if (state == STORE_ABSENT)
		check->report->lacking += unit >= needed ? 0 : here < needed - unit ? here : needed - unit;
	if (state == STORE_DATA || state == STORE_ZERO)
		check->report->behind += nr - here;
	return VDISK_OK;
}

static void end_fault(struct check *check)
{
	__u64 sectors = unit_sectors(check->store), len = le64_to_cpu(check->store->sb->len);
	__u64 start = check->first * VDISK_STORE_LEAF_UNITS * sectors, end = check->next * VDISK_STORE_LEAF_UNITS * sectors;
	char which[96];

	if (!check->fault)
		return;
	if (check->next - check->first == 1)
		snprintf(which, sizeof(which), "presence sector %llu is", check->first);
	else
		snprintf(which, sizeof(which), "presence sectors %llu to %llu are", check->first, check->next - 1);
	end = end < len ? end : len;
	if (start < len)
		problem(check->report, true, start, end - start, "%s %s: sectors %llu to %llu of the disk cannot be read or written",
			which, check->fault, start, end - 1);
	else
		problem(check->report, true, 0, 0, "%s %s: what is behind the end of the disk is concerned", which, check->fault);
	check->fault = NULL;
}

/* Why a sector is damaged: the epoch may be all there is. */
static const char *fault_of(const struct store *store, __u64 index, const struct vdisk_store_leaf *leaf)
{
	struct vdisk_store_sb sb = *store->sb;

	if (!leaf)
		return "unreadable";
	sb.epoch = leaf->epoch;
	if (vdisk_store_leaf_check(&sb, index, leaf) == VDISK_STORE_LEAF_GOOD)
		return "of a newer epoch than the superblock";
	return "bad";
}

static int check_leaf(void *arg, __u64 index, __u64 nr, const struct vdisk_store_leaf *leaf,
		      enum vdisk_store_leaf_kind kind)
{
	struct check *check = arg;
	bool used = index * VDISK_STORE_LEAF_UNITS < store_max_units(check->store);
	const char *fault;

	if (kind == VDISK_STORE_LEAF_OLD)
		check->report->old++;
	if (kind == VDISK_STORE_LEAF_BAD && !used)
		check->report->unused++;
	if (kind == VDISK_STORE_LEAF_BAD && used) {
		fault = fault_of(check->store, index, leaf);
		check->report->bad++;
		if (fault != check->fault || index != check->next) {
			end_fault(check);
			check->fault = fault;
			check->first = index;
		}
		check->next = index + 1;
	}
	return store_runs_leaf(&check->runs, nr, leaf, kind);
}

static void check_counts(const struct store *store, struct store_report *report)
{
	const struct vdisk_store_sb *sb = store->sb;
	__u64 end = (le64_to_cpu(sb->data_start) + le64_to_cpu(sb->len)) * VDISK_STORE_SECTOR;

	if (store->size < end)
		problem(report, true, 0, 0, "the store is cut off: it has %llu bytes, and its data ends at %llu", store->size, end);
	if (report->old)
		problem(report, false, 0, 0, "%llu presence sectors are of an older epoch: what they are about is absent",
			report->old);
	if (report->unused)
		problem(report, false, 0, 0, "%llu presence sectors in which no unit can be are bad", report->unused);
	if (le32_to_cpu(sb->flags) & VDISK_STORE_FULL && report->lacking)
		problem(report, true, 0, 0, "the superblock says that nothing of the base is absent, but %llu units are",
			report->lacking);
}

/**
 * store_check - look at all of a store but its data
 * @store: has a good superblock
 * @report: empty but for quiet; its problems are the caller's to free
 *
 * Return: an exit status: VDISK_OK, or VDISK_FAILED if it could not look.
 */
int store_check(struct store *store, struct store_report *report)
{
	struct check check = {
		.store = store, .report = report,
		.runs = { .fn = count, .arg = &check, .end = store_max_units(store) },
	};
	int status;

	report->problems = json_object_new_array();
	check_slots(store, report);
	if (store_area_end(store) > store->size) {
		problem(report, true, 0, le64_to_cpu(store->sb->len),
			"the store is cut off: it has %llu bytes, and its presence area ends at %llu", store->size,
			store_area_end(store));
		report->units[STORE_DAMAGED] = store_len_units(store);
		return VDISK_OK;
	}
	status = store_walk(store, le64_to_cpu(store->sb->presence_nr), check_leaf, &check) ?: store_runs_end(&check.runs);
	end_fault(&check);
	check_counts(store, report);
	return status;
}

int store_status(const struct store_report *report)
{
	return report->damage ? VDISK_DAMAGE : report->harmless ? VDISK_HARMLESS : VDISK_OK;
}

static const char *result_name(int status)
{
	return status == VDISK_DAMAGE ? "damage" : status == VDISK_HARMLESS ? "harmless" : "clean";
}

/* The counts, and the verdict. */
static void say(const struct vdisk_args *args, const struct store *store, const struct store_report *report)
{
	static const enum store_state order[] = { STORE_DATA, STORE_ZERO, STORE_ABSENT, STORE_DAMAGED };
	__u32 unit = le32_to_cpu(store->sb->unit);
	char uuid[UUID_STR_LEN], text[VDISK_BYTES_TEXT];
	int status = store_status(report);

	uuid_unparse(store->sb->uuid, uuid);
	if (args->json) {
		struct json_object *object = json_object_new_object(), *units = json_object_new_object();

		json_object_object_add(object, "store", vdisk_json(store->path));
		json_object_object_add(object, "result", vdisk_json(result_name(status)));
		json_object_object_add(object, "uuid", vdisk_json(uuid));
		vdisk_json_number(object, "unit", unit);
		vdisk_json_number(object, "len", le64_to_cpu(store->sb->len));
		json_object_object_add(object, "write_through", json_object_new_boolean(vdisk_store_is_through(store->sb)));
		json_object_object_add(object, "dirty",
				       json_object_new_boolean(le32_to_cpu(store->sb->flags) & VDISK_STORE_DIRTY));
		json_object_object_add(object, "merged",
				       json_object_new_boolean(le32_to_cpu(store->sb->flags) & VDISK_STORE_MERGED));
		for (int i = 0; i < STORE_STATES; i++)
			vdisk_json_number(units, store_state_name[i], report->units[i]);
		json_object_object_add(object, "units", units);
		vdisk_json_number(object, "units_behind_end", report->behind);
		json_object_object_add(object, "problems", json_object_get(report->problems));
		vdisk_json_print(object);
		return;
	}
	printf("%s: uuid %s, %llu units of %u bytes:\n", store->path, uuid, store_len_units(store), unit);
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		printf("  %-8s %20llu  %s\n", store_state_name[order[i]], report->units[order[i]],
		       vdisk_bytes(text, report->units[order[i]] * unit));
	if (report->behind)
		printf("  and %llu behind the end of the disk, which was longer once\n", report->behind);
	if (vdisk_store_is_through(store->sb))
		printf("It is of a cache with write_through: the base has all that was written%s.\n",
		       le32_to_cpu(store->sb->flags) & VDISK_STORE_DIRTY ?
		       ". It was in use when its host went down, or is\nnow: the next disk that uses it drops what is in it" : "");
	if (le32_to_cpu(store->sb->flags) & VDISK_STORE_MERGED)
		printf("It was merged into its base, which is the disk now; it is not needed any more.\n");
	if (!status)
		printf("No errors were found.\n");
	else if (status == VDISK_HARMLESS)
		printf("What is wrong does no harm; vdisk repair mends the superblocks.\n");
	else
		printf("It is damaged: %u problem%s. Make a copy of it, then see vdisk repair --help.\n", report->damage,
		       report->damage == 1 ? "" : "s");
}

static int check(const struct vdisk_args *args)
{
	struct store_report report = { .quiet = args->json };
	struct store store;
	int status = store_open_good(&store, args->store, vdisk_option(args, "force-share") ? STORE_SHARE : 0);

	if (status)
		return status;
	status = store_check(&store, &report);
	if (!status) {
		say(args, &store, &report);
		status = store_status(&report);
	}
	json_object_put(report.problems);
	store_close(&store);
	return status;
}

struct repair {
	struct store *store;
	enum store_state state;
	__u64 rewritten;
};

/* A sector of the presence area about units that are all in one state, as far as the disk goes. */
static void make_leaf(const struct store *store, __u64 index, enum store_state state, struct vdisk_store_leaf *leaf)
{
	__u64 len = store_len_units(store), first = index * VDISK_STORE_LEAF_UNITS;

	memset(leaf, 0, sizeof(*leaf));
	if (state == STORE_ABSENT)
		return;
	for (unsigned int i = 0; i < VDISK_STORE_LEAF_UNITS && first + i < len; i++)
		leaf->bits[i / VDISK_STORE_WORD_UNITS] |=
			cpu_to_le64((__u64)state << 2 * (i % VDISK_STORE_WORD_UNITS));
	vdisk_store_leaf_seal(store->sb, index, leaf);
}

static int repair_leaf(void *arg, __u64 index, __u64 nr, const struct vdisk_store_leaf *old,
		       enum vdisk_store_leaf_kind kind)
{
	struct repair *repair = arg;
	struct vdisk_store_leaf leaf;

	(void)nr;
	(void)old;
	if (vdisk_stopped)
		return vdisk_fail("%s: stopped; what was repaired stays so: say it again, and it goes on", repair->store->path);
	if (kind != VDISK_STORE_LEAF_BAD)
		return VDISK_OK;
	make_leaf(repair->store, index, repair->state, &leaf);
	repair->rewritten++;
	return store_write_leaf(repair->store, index, &leaf);
}

/**
 * store_repair_leaves - rewrite the damaged sectors of the presence area
 * @store: open for writing, has a good superblock
 * @state: that their units get
 * @rewritten: how many there were
 *
 * Return: an exit status.
 */
int store_repair_leaves(struct store *store, enum store_state state, __u64 *rewritten)
{
	struct repair repair = { .store = store, .state = state };
	int status = store_walk(store, le64_to_cpu(store->sb->presence_nr), repair_leaf, &repair);

	*rewritten = repair.rewritten;
	return status ?: store_flush(store);
}

/* Both slots good, alike, and no claim that nothing is absent where something is. */
static int repair_sb(struct store *store, const struct store_report *report, bool absent)
{
	struct vdisk_store_sb sb = *store->sb;
	bool full = le32_to_cpu(sb.flags) & VDISK_STORE_FULL && (report->lacking || (absent && report->bad));
	bool wrong = full || store->rest[0] || store->rest[1] || store->bad[0] || store->bad[1];
	int status;

	if (!wrong)
		return VDISK_OK;
	if (full)
		sb.flags &= cpu_to_le32(~VDISK_STORE_FULL);
	/* The bad one may have been newer, and have said that. */
	if (vdisk_store_is_through(&sb) && (store->bad[0] || store->bad[1]))
		sb.flags |= cpu_to_le32(VDISK_STORE_DIRTY);
	status = store_write_sb(store, &sb);
	if (!status)
		fprintf(stderr, "vdisk: %s: both superblocks written again%s\n", store->path,
			full ? ", without the claim that nothing is absent" : "");
	return status;
}

/* Which sectors have to be rewritten is known: do it, or say why not. */
static int repair_presence(struct store *store, const struct store_report *report, const char *as)
{
	bool data = as && !strcmp(as, "data");
	__u64 rewritten;
	int status;

	/* The base has all that was written. */
	if (report->bad && vdisk_store_is_through(store->sb)) {
		if (data)
			return vdisk_fail("%s: is of a cache with write_through, whose base has the data: say --damaged-as absent",
					  store->path);
		as = "absent";
	}
	if (report->bad && !as) {
		fprintf(stderr,
			"vdisk: %s: nothing says what was in the damaged presence sectors, so they stay as they are. Say how to take\n"
			"the sectors of the disk above, with --damaged-as:\n"
			"  absent  they read as the base: what was written to them since is not seen any more\n"
			"  data    they read as what lies in the store: where nothing was written, that is zeroes or anything else\n",
			store->path);
		return VDISK_OK;
	}
	/* Those in which no unit can be become blank. */
	if (!report->bad && !report->unused)
		return VDISK_OK;
	status = store_repair_leaves(store, data ? STORE_DATA : STORE_ABSENT, &rewritten);
	if (!status)
		fprintf(stderr, "vdisk: %s: %llu presence sectors written again%s\n", store->path, rewritten,
			!report->bad ? "" : data ? ": the sectors of the disk above read as what lies in the store, check what is in them" :
				 ": the sectors of the disk above read as the base, what was written to them is not seen any more");
	return status;
}

/* Only who asks for it knows that the bytes are the same. */
static int repair_pins(struct store *store)
{
	struct vdisk_store_sb sb = *store->sb;
	int status;

	if (!(le64_to_cpu(sb.incompat) & VDISK_STORE_PINNED))
		return VDISK_OK;
	sb.incompat &= cpu_to_le64(~VDISK_STORE_PINNED);
	memset(sb.pins, 0, sizeof(sb.pins));
	status = store_write_sb(store, &sb);
	if (!status)
		fprintf(stderr, "vdisk: %s: of which versions of blobs it is, is forgotten\n", store->path);
	return status;
}

static int repair(const struct vdisk_args *args)
{
	struct store_report report = { .quiet = args->json }, after = { .quiet = args->json };
	const char *as = vdisk_option(args, "damaged-as");
	struct store store;
	int status;

	if (as && strcmp(as, "absent") && strcmp(as, "data"))
		return vdisk_fail("--damaged-as: '%s': say absent or data", as);
	status = store_open_good(&store, args->store, STORE_WRITE);
	if (status)
		return status;
	if (le64_to_cpu(store.sb->ro_compat) & ~VDISK_STORE_RO_COMPAT) {
		store_close(&store);
		return vdisk_fail("%s: was written by a newer version; use the vdisk tool of that version", args->store);
	}
	status = store_check(&store, &report);
	if (!status && store_area_end(&store) > store.size)
		status = vdisk_fail("%s: is cut off; make it as long as it was, then try again", args->store);
	/* Not between two superblocks, nor between what was written and its flush */
	vdisk_catch();
	status = status ?: repair_sb(&store, &report, as && !strcmp(as, "absent")) ?: repair_presence(&store, &report, as);
	if (!status && vdisk_option(args, "unpin"))
		status = repair_pins(&store);
	vdisk_catch_end();
	json_object_put(report.problems);
	if (!status) {
		if (!args->json && store_status(&report))
			printf("\nIts state now:\n");
		status = store_check(&store, &after);
		if (!status) {
			say(args, &store, &after);
			status = after.damage ? VDISK_DAMAGE : VDISK_OK;
		}
		json_object_put(after.problems);
	}
	store_close(&store);
	return status;
}

const struct vdisk_command vdisk_check = {
	.name = "check",
	.what = "look for damage in a store",
	.more =
"Checks both superblocks and every sector of the presence area, and counts what is in the store, what reads as zeroes,\n"
"and what is absent, that is, still in the base. It changes nothing. The data itself has no checksums.\n",
	.status =
"  0  no errors\n"
"  1  it could not be checked, or is no store\n"
"  2  there is damage\n"
"  3  what is wrong does no harm: a superblock that a power cut tore, presence of an older epoch\n",
	.example = "vdisk check /var/lib/vm1.store",
	.options = (const struct vdisk_option[]){
		{ "force-share", NULL, "even if it is in use: what changes meanwhile may look like damage" },
		{}
	},
	.run = check,
};

const struct vdisk_command vdisk_repair = {
	.name = "repair",
	.what = "mend a damaged store",
	.more =
"Restores a bad superblock from the good one. A damaged sector of the presence area says no longer which of its units\n"
"are in the store, and no one else knows: they are listed, and stay unreadable until you say what to take them for.\n"
"Make a copy of the store first.\n",
	.status =
"  0  no damage is left\n"
"  1  it could not be repaired, or is no store\n"
"  2  damage is left\n",
	.example = "vdisk repair /var/lib/vm1.store --damaged-as absent",
	.options = (const struct vdisk_option[]){
		{ "damaged-as", "STATE", "take the units of damaged sectors for absent (they read as the base) or\n"
					 "data (they read as what lies in the store)" },
		{ "unpin", NULL, "forget of which versions of blobs the store is: the next one is taken for the same. If its\n"
				 "bytes are others, the disk is damaged" },
		{}
	},
	.run = repair,
};
