// SPDX-License-Identifier: GPL-2.0-only
/*
 * vdisk grow, key: what changes a disk that is in use
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vdisk.h"
#include "dm.h"
#include "keys.h"
#include "stack.h"

#define MAX_LONGER	16

/* A live table, as words and as a tree. */
struct live {
	struct disk disk;
	struct words words;
	struct vdisk_stack *stack;
};

static void live_put(struct live *live)
{
	disk_put(&live->disk);
	words_free(&live->words);
	if (live->stack)
		stack_free(live->stack);
	free(live->stack);
}

/* live_put() it, whatever comes of it. @suspended: it may be. */
static int live_get(struct live *live, const char *name, bool suspended)
{
	memset(live, 0, sizeof(*live));
	disk_log_off();
	if (disk_get(&live->disk, name, true))
		return VDISK_FAILED;
	if (!live->disk.params)
		return vdisk_fail("%s: has no table: a vdisk create was killed; vdisk remove it", name);
	if (live->disk.info.suspended && !suspended)
		return vdisk_fail("%s: is suspended, so someone else is changing it; dmsetup resume %s", name, name);
	live->stack = calloc(1, sizeof(*live->stack));
	if (!live->stack)
		abort();
	words_split(&live->words, live->disk.params);
	keys_reach();
	if (stack_parse(live->stack, &live->words))
		return VDISK_FAILED;
	return stack_sizes(live->stack, false);
}

static void say(const struct vdisk_args *args, const char *key, const char *what)
{
	struct json_object *object;

	if (!args->json) {
		printf("%s: %s\n", args->word[0], what);
		return;
	}
	object = json_object_new_object();
	json_object_object_add(object, "name", json_object_new_string(args->word[0]));
	json_object_object_add(object, key, json_object_new_string(what));
	vdisk_json_print(object);
}

/* grow */

struct longer {
	const char *path;
	__u64 old;	/* bytes */
};

static int make_longer(struct longer *longer, int *nr, struct vdisk_node *leaf, __u64 sectors)
{
	const char *path = stack_path(leaf);
	struct stat st;

	if (leaf->type != &vdisk_types[VDISK_TYPE_FILE] || leaf->val[FILE_LEN].set || leaf->val[FILE_RO].set)
		return VDISK_OK;
	sectors += leaf->val[FILE_START].num;
	if (stat(path, &st))
		return vdisk_fail("%s: %s", path, strerror(errno));
	if ((__u64)st.st_size >= sectors * 512 || *nr == MAX_LONGER)
		return VDISK_OK;
	if (truncate(path, sectors * 512))
		return vdisk_fail("%s: cannot be made %llu sectors long: %s", path, sectors, strerror(errno));
	longer[(*nr)++] = (struct longer){ path, st.st_size };
	leaf->size = sectors;
	return VDISK_OK;
}

/* The files that have to grow with the disk: that of a store, or the one that is the end of the disk. */
static int make_files_longer(struct longer *longer, int *nr, struct vdisk_node *n, __u64 sectors)
{
	for (;;) {
		switch (n->type - vdisk_types) {
		case VDISK_TYPE_OVERLAY:
			if (!n->data_start)
				return VDISK_OK;
			return make_longer(longer, nr, n->children[0], n->data_start + sectors);
		case VDISK_TYPE_FILE:
			return make_longer(longer, nr, n, sectors);
		case VDISK_TYPE_CONCAT:
			for (unsigned int i = 0; i + 1 < n->nr_children; i++)
				sectors -= min(sectors, n->children[i]->ops->length(n->children[i]));
			n = n->children[n->nr_children - 1];
			break;
		case VDISK_TYPE_CRYPT:
		case VDISK_TYPE_DELAY:
		case VDISK_TYPE_PR:
			n = n->children[0];
			break;
		default:
			return VDISK_OK;
		}
	}
}

static int get_new_size(const struct live *live, const char *name, const char *text, __u64 *sectors)
{
	bool more = *text == '+';

	if (!vdisk_parse_size(text + more, sectors))
		return vdisk_fail("'%s' is no size: say a number of sectors (of 512 bytes), or one like 20G; +5G is that much more", text);
	if (more && __builtin_add_overflow(*sectors, live->disk.sectors, sectors))
		return vdisk_fail("'%s' is too much", text);
	if (*sectors < live->disk.sectors)
		return vdisk_fail("%s: has %llu sectors, and a disk in use is not made shorter, to %llu; what is at its end would be lost",
				  name, live->disk.sectors, *sectors);
	return VDISK_OK;
}

static int grow(const struct vdisk_args *args)
{
	struct longer longer[MAX_LONGER];
	const char *name = args->word[0];
	char text[VDISK_BYTES_TEXT + 64], bytes[VDISK_BYTES_TEXT];
	struct live live;
	__u64 sectors = 0;
	int nr = 0, status;

	status = live_get(&live, name, false) ?: get_new_size(&live, name, args->word[1], &sectors);
	if (!status && sectors > live.disk.sectors) {
		vdisk_catch();
		status = make_files_longer(longer, &nr, live.stack->nodes[0], sectors) ?: stack_give(live.stack, sectors) ?:
			 disk_replace(name, &live.disk, sectors, live.disk.params);
	}
	while (status && nr--)
		if (truncate(longer[nr].path, longer[nr].old))
			fprintf(stderr, "vdisk: %s: stays longer than it was: %s\n", longer[nr].path, strerror(errno));
	if (!status) {
		snprintf(text, sizeof(text), "%llu sectors (%s)", sectors, vdisk_bytes(bytes, sectors * 512));
		say(args, "size", text);
	}
	live_put(&live);
	return status;
}

const struct vdisk_command vdisk_grow = {
	.name = "grow",
	.what = "make a disk longer, while it is used",
	.more =
"Loads the same stack again, with the new SIZE; +SIZE is that much more. A file that is the store of the disk, or its end,\n"
"is made longer; make devices longer before. I/O stops for an instant. If the new table is refused, nothing is changed.\n",
	.status =
"  0  done\n"
"  1  refused, or it failed; the disk is as it was\n",
	.example = "vdisk grow vm1 +10G",
	.operands = "NAME SIZE",
	.min = 2,
	.max = 2,
	.options = (const struct vdisk_option[]){ {} },
	.run = grow,
};

/* key */

/* A description that no key has: what a table names stays what it is, until the new one is in use. */
static int new_key(const char *name, const char *path, char *description, size_t size)
{
	snprintf(description, size, "vdisk:%s", name);
	for (int i = 1; keys_exist(description) && i < 1000; i++)
		snprintf(description, size, "vdisk:%s:%d", name, i);
	return keys_load(path, description);
}

/* The description of a node's key, if vdisk loaded it, or NULL. */
static const char *own_key(const struct live *live, const char *node, const char *name)
{
	char begin[160];

	snprintf(begin, sizeof(begin), "logon:vdisk:%s", name);
	for (unsigned int i = 0; i < live->stack->nr_nodes; i++) {
		const struct vdisk_node *n = live->stack->nodes[i];
		const char *at;

		if (n->type != &vdisk_types[VDISK_TYPE_CRYPT] || (strcmp(node, "crypt") && strcmp(node, n->label ?: "")))
			continue;
		at = n->val[CRYPT_KEY].str + 4;
		if (strncmp(at, begin, strlen(begin)) || (at[strlen(begin)] && at[strlen(begin)] != ':'))
			return NULL;
		return at + strlen("logon:");
	}
	return NULL;
}

static int key_set(const struct vdisk_args *args, const char *node)
{
	const char *name = args->word[0], *path = args->word[2], *old;
	char text[512], description[192];
	int bytes = keys_size(path), status;
	bool suspended, loaded;
	struct live live;

	if (bytes < 0)
		return VDISK_FAILED;
	status = live_get(&live, name, true);
	suspended = live.disk.info.suspended;	/* as after a wipe */
	vdisk_catch();
	status = status ?: new_key(name, path, description, sizeof(description));
	loaded = !status;
	if (!status && !suspended)
		status = disk_suspend(name);
	snprintf(text, sizeof(text), "%s key set :%d:logon:%s", node, bytes, description);
	if (!status) {
		status = disk_message(name, text, NULL);
		if ((!status || !suspended) && disk_resume(name, disk_scans(&live.disk)))
			status = VDISK_FAILED;
		old = status ? NULL : own_key(&live, node, name);
		if (old && strcmp(old, description))
			keys_drop(old);
	}
	if (status && loaded)
		keys_drop(description);
	if (!status)
		say(args, "key", "set");
	live_put(&live);
	return status;
}

static int key_wipe(const struct vdisk_args *args, const char *node)
{
	const char *name = args->word[0];
	char text[128];
	struct disk disk;
	int status;

	disk_log_off();
	status = disk_get(&disk, name, true);
	if (!status && !disk.info.suspended)
		status = disk_suspend(name);
	snprintf(text, sizeof(text), "%s key wipe", node);
	if (!status) {
		status = disk_message(name, text, NULL);
		if (status && !disk.info.suspended)
			disk_resume(name, disk_scans(&disk));
	}
	if (!status)
		say(args, "key", "wiped; the disk is suspended until vdisk key set");
	disk_put(&disk);
	return status;
}

static int key(const struct vdisk_args *args)
{
	const char *node = vdisk_option(args, "node") ?: "crypt", *verb = args->word[1];

	if (!strcmp(verb, "wipe") && args->nr == 2)
		return key_wipe(args, node);
	if (!strcmp(verb, "set") && args->nr == 3)
		return key_set(args, node);
	return vdisk_fail("key: say wipe, or set FILE");
}

const struct vdisk_command vdisk_key = {
	.name = "key",
	.what = "wipe or set the key of a crypt",
	.more =
"wipe suspends the disk and overwrites its key in memory; all I/O waits. set loads the key in FILE, 32 or 64 bytes, as long as\n"
"the one before, and resumes the disk. Set the same key after a wipe; another one is for data that was encrypted with it.\n"
"The key that vdisk create loaded stays in root's keyring over a wipe: keyctl purge logon vdisk:NAME.\n",
	.status =
"  0  done\n"
"  1  refused, or it failed\n",
	.example = "vdisk key vm1 wipe",
	.operands = "NAME wipe|set [FILE]",
	.min = 2,
	.max = 3,
	.options = (const struct vdisk_option[]){
		{ "node", "LABEL", "which crypt, if there are several" },
		{}
	},
	.run = key,
};
