// SPDX-License-Identifier: GPL-2.0-only
/*
 * vdisk dump
 */
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "vdisk.h"

enum kind { TEXT, NUMBER, HEX, UUID, FLAGS, FEATURES, PINS };

static const struct field {
	const char *name;
	size_t offset, size;
	enum kind kind;
} fields[] = {
#define FIELD(name, kind) { #name, offsetof(struct vdisk_store_sb, name), sizeof(((struct vdisk_store_sb *)0)->name), kind }
	FIELD(magic, TEXT),
	FIELD(crc, HEX),
	FIELD(version, NUMBER),
	FIELD(compat, HEX),
	FIELD(ro_compat, HEX),
	FIELD(incompat, FEATURES),
	FIELD(sequence, NUMBER),
	FIELD(uuid, UUID),
	FIELD(unit, NUMBER),
	FIELD(flags, FLAGS),
	FIELD(epoch, NUMBER),
	FIELD(len, NUMBER),
	FIELD(max_len, NUMBER),
	FIELD(presence_start, NUMBER),
	FIELD(presence_nr, NUMBER),
	FIELD(data_start, NUMBER),
	FIELD(base_len, NUMBER),
	FIELD(base_id, TEXT),
	FIELD(lineage, TEXT),
	FIELD(pins, PINS),
#undef FIELD
};

static __u64 number(const struct field *field, const __u8 *raw)
{
	__le32 small;
	__le64 large;

	if (field->size == sizeof(small)) {
		memcpy(&small, raw, sizeof(small));
		return le32_to_cpu(small);
	}
	memcpy(&large, raw, sizeof(large));
	return le64_to_cpu(large);
}

static void flags_text(char *text, size_t size, __u32 flags)
{
	snprintf(text, size, "%#x%s%s%s", flags, flags & VDISK_STORE_DIRTY ? " dirty" : "",
		 flags & VDISK_STORE_FULL ? " full" : "", flags & VDISK_STORE_MERGED ? " merged" : "");
}

/* Those that are not free: digests of a name and of an identity, in hex */
static struct json_object *pins_json(const struct vdisk_store_pin *pins)
{
	static const struct vdisk_store_pin none;
	struct json_object *array = json_object_new_array();

	for (int i = 0; i < VDISK_STORE_PINS; i++) {
		char text[2 * sizeof(none) + 2];
		char *at = text;

		if (!memcmp(&pins[i], &none, sizeof(none)))
			continue;
		for (int k = 0; k < VDISK_STORE_PIN; k++)
			at += sprintf(at, "%02x", pins[i].name[k]);
		*at++ = ':';
		for (int k = 0; k < VDISK_STORE_PIN; k++)
			at += sprintf(at, "%02x", pins[i].identity[k]);
		json_object_array_add(array, json_object_new_string(text));
	}
	return array;
}

static void pins_text(const struct vdisk_store_pin *pins)
{
	struct json_object *array = pins_json(pins);

	for (size_t i = 0; i < json_object_array_length(array); i++)
		printf("%s%s", i ? " " : "", json_object_get_string(json_object_array_get_idx(array, i)));
	putchar('\n');
	json_object_put(array);
}

static struct json_object *slot_json(const struct store *store, int slot)
{
	struct json_object *object = json_object_new_object(), *all = json_object_new_object();

	json_object_object_add(object, "slot", json_object_new_int(slot));
	json_object_object_add(object, "counts", json_object_new_boolean(store->sb == &store->slot[slot]));
	json_object_object_add(object, "problem", store->bad[slot] ? vdisk_json(store->bad[slot]) : NULL);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct field *field = &fields[i];
		const __u8 *raw = (const __u8 *)&store->slot[slot] + field->offset;
		char uuid[UUID_STR_LEN];

		switch (field->kind) {
		case TEXT:
			vdisk_json_text(all, field->name, raw, field->size);
			break;
		case UUID:
			uuid_unparse(raw, uuid);
			json_object_object_add(all, field->name, vdisk_json(uuid));
			break;
		case PINS:
			json_object_object_add(all, field->name, pins_json(store->slot[slot].pins));
			break;
		default:
			vdisk_json_number(all, field->name, number(field, raw));
		}
	}
	json_object_object_add(object, "fields", all);
	return object;
}

static void slot_text(const struct store *store, int slot)
{
	printf("superblock in slot %d: %s%s\n", slot, store->bad[slot] ?: "good",
	       store->sb == &store->slot[slot] ? ", counts" : "");
	if (store->blank[slot])
		return;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct field *field = &fields[i];
		const __u8 *raw = (const __u8 *)&store->slot[slot] + field->offset;
		char uuid[UUID_STR_LEN], flags[64], *text;

		printf("  %-15s ", field->name);
		switch (field->kind) {
		case TEXT:
			text = vdisk_text(raw, field->size);
			puts(text);
			free(text);
			break;
		case UUID:
			uuid_unparse(raw, uuid);
			puts(uuid);
			break;
		case HEX:
			printf("%#llx\n", number(field, raw));
			break;
		case FEATURES:
			printf("%#llx%s%s\n", number(field, raw),
			       number(field, raw) & VDISK_STORE_THROUGH ? " write-through" : "",
			       number(field, raw) & VDISK_STORE_PINNED ? " pinned" : "");
			break;
		case PINS:
			pins_text(store->slot[slot].pins);
			break;
		case FLAGS:
			flags_text(flags, sizeof(flags), number(field, raw));
			puts(flags);
			break;
		case NUMBER:
			printf("%llu\n", number(field, raw));
		}
	}
}

/* Presence, one sector of its area after the other. */
struct presence {
	const struct store *store;
	bool json;
	__u64 first;			/* unit of the sector */
	struct json_object *runs;
	const char *comma;
};

static const char *const kind_name[] = {
	[VDISK_STORE_LEAF_BLANK] = "blank", [VDISK_STORE_LEAF_OLD] = "old", [VDISK_STORE_LEAF_GOOD] = "good",
	[VDISK_STORE_LEAF_BAD] = "bad",
};

static int run(void *arg, __u64 unit, __u64 nr, enum store_state state)
{
	struct presence *presence = arg;
	__u64 sectors = le32_to_cpu(presence->store->sb->unit) / VDISK_STORE_SECTOR;
	struct json_object *object;

	unit += presence->first;
	if (!presence->json) {
		printf("  %-8s sector %llu, %llu sectors\n", store_state_name[state], unit * sectors, nr * sectors);
		return VDISK_OK;
	}
	object = json_object_new_object();
	vdisk_json_number(object, "start", unit * sectors * 512);
	vdisk_json_number(object, "length", nr * sectors * 512);
	json_object_object_add(object, "state", vdisk_json(store_state_name[state]));
	json_object_array_add(presence->runs, object);
	return VDISK_OK;
}

static int presence_leaf(void *arg, __u64 index, __u64 nr, const struct vdisk_store_leaf *leaf,
			 enum vdisk_store_leaf_kind kind)
{
	struct presence *presence = arg;
	struct store_runs runs = { .fn = run, .arg = presence, .end = VDISK_STORE_LEAF_UNITS };
	struct json_object *object = NULL;

	if (kind == VDISK_STORE_LEAF_BLANK)
		return VDISK_OK;
	presence->first = index * VDISK_STORE_LEAF_UNITS;
	if (presence->json) {
		object = json_object_new_object();
		presence->runs = json_object_new_array();
		vdisk_json_number(object, "index", index);
		json_object_object_add(object, "state", vdisk_json(kind_name[kind]));
		vdisk_json_number(object, "epoch", leaf ? le64_to_cpu(leaf->epoch) : 0);
		vdisk_json_number(object, "crc", leaf ? le32_to_cpu(leaf->crc) : 0);
		json_object_object_add(object, "runs", presence->runs);
	} else {
		printf("presence sector %llu: %s", index, leaf ? kind_name[kind] : "cannot be read");
		if (leaf)
			printf(", epoch %llu, crc %#x", le64_to_cpu(leaf->epoch), le32_to_cpu(leaf->crc));
		printf("\n");
	}
	store_runs_leaf(&runs, nr, leaf, kind);
	store_runs_end(&runs);
	if (presence->json) {
		printf("%s\n    %s", presence->comma, json_object_to_json_string(object));
		presence->comma = ",";
		json_object_put(object);
	}
	return VDISK_OK;
}

static int dump_presence(struct store *store, bool json)
{
	struct presence presence = { .store = store, .json = json, .comma = "" };

	if (!store->sb)
		return vdisk_fail("%s: without a good superblock nobody knows where the presence area is", store->path);
	return store_walk(store, le64_to_cpu(store->sb->presence_nr), presence_leaf, &presence);
}

static int dump(const struct vdisk_args *args)
{
	bool presence = vdisk_option(args, "presence");
	struct json_object *name, *slots;
	struct store store;
	int status = store_open(&store, args->store, vdisk_option(args, "force-share") ? STORE_SHARE : 0);

	if (status)
		return status;
	store_read_slots(&store);
	if (!store.sb && (store.blank[0] || !strcmp(store.bad[0], "no magic")) &&
	    (store.blank[1] || !strcmp(store.bad[1], "no magic"))) {
		store_close(&store);
		return vdisk_fail("%s: holds no store; vdisk format makes one", args->store);
	}
	/* The presence of a large store is printed as it is read. */
	if (args->json) {
		vdisk_printed = true;
		name = vdisk_json(args->store);
		slots = json_object_new_array();
		for (int i = 0; i < VDISK_STORE_SLOTS; i++)
			json_object_array_add(slots, slot_json(&store, i));
		printf("{\n  \"store\": %s,\n  \"superblocks\": %s", json_object_to_json_string(name),
		       json_object_to_json_string(slots));
		json_object_put(name);
		json_object_put(slots);
		if (presence) {
			printf(",\n  \"presence\": [");
			status = dump_presence(&store, true);
			printf("\n  ]");
		}
		printf("\n}\n");
	} else {
		for (int i = 0; i < VDISK_STORE_SLOTS; i++)
			slot_text(&store, i);
		if (presence)
			status = dump_presence(&store, false);
	}
	store_close(&store);
	return status;
}

const struct vdisk_command vdisk_dump = {
	.name = "dump",
	.what = "print what is written in a store, field by field",
	.more =
"Prints both superblocks, good or bad, and with --presence each sector of the presence area that is not blank, with the\n"
"ranges of the disk that it is about. Lengths are in sectors of 512 bytes, in JSON start and length are in bytes.\n",
	.status =
"  0  done\n"
"  1  it could not be read, or is no store\n",
	.example = "vdisk dump --presence /var/lib/vm1.store",
	.options = (const struct vdisk_option[]){
		{ "presence", NULL, "the presence area, too" },
		{ "force-share", NULL, "even if it is in use: it then changes meanwhile" },
		{}
	},
	.run = dump,
};
