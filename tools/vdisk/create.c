// SPDX-License-Identifier: GPL-2.0-only
/*
 * vdisk create, remove, check-line, length
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "vdisk.h"
#include "dm.h"
#include "helper.h"
#include "keys.h"
#include "openvmm.h"
#include "show.h"
#include "stack.h"

#define ATTACH_S	60	/* a helper may take to ask its origin and attach */

/* The words of a stack: all of @args' from @first on, in one piece or in many. */
static void get_words(const struct vdisk_args *args, int first, struct words *words, enum words_of of)
{
	for (int i = first; i < args->nr; i++)
		words_split(words, args->word[i], of);
}

/* Everybody can read the arguments of a process: what is secret in a URL is overwritten. get_words() has made copies. */
static void hide_urls(const struct vdisk_args *args)
{
	for (int i = 0; i < args->nr; i++) {
		char *host = args->word[i];

		while ((host = strstr(host, "://"))) {
			size_t len = strcspn(host += 3, " \t\n");
			char *at = memrchr(host, '@', strcspn(host, "/?# \t\n")), *query = memchr(host, '?', len);

			if (at)
				memset(host, '*', at - host);
			if (query)
				memset(query + 1, '*', host + len - query - 1);
			host += len;
		}
	}
}

static int check_line(const struct vdisk_args *args)
{
	struct vdisk_stack *s = calloc(1, sizeof(*s));
	struct words words = {};
	char *line;
	int status;

	if (!s)
		abort();
	get_words(args, 0, &words, TABLE);
	status = stack_parse(s, &words);
	if (!status) {
		line = stack_line(s);
		if (args->json) {
			struct json_object *object = json_object_new_object();

			json_object_object_add(object, "stack", vdisk_json(line));
			vdisk_json_print(object);
		} else {
			puts(line);
		}
		free(line);
		stack_free(s);
	}
	words_free(&words);
	free(s);
	return status;
}

const struct vdisk_command vdisk_check_line = {
	.name = "check-line",
	.what = "check the words of a stack as the kernel does",
	.more =
"Checks STACK with the kernel's own tables and code, and prints it as dmsetup table would: the same words, and if one\n"
"of them is wrong, the same message. Nothing is opened: whether the devices and files are there, and fit, is not looked at.\n"
"Paths have to be absolute, and lengths in sectors, as the kernel wants them; vdisk create translates them.\n",
	.status =
"  0  it is right\n"
"  1  it is not\n",
	.example = "vdisk check-line 'striped chunk:256 ( block /dev/sda ) ( block /dev/sdb )'",
	.operands = "STACK...",
	.min = 1,
	.options = (const struct vdisk_option[]){ {} },
	.run = check_line,
};

static int length(const struct vdisk_args *args)
{
	struct vdisk_stack *s = calloc(1, sizeof(*s));
	struct openvmm openvmm = { .name = "disk" };
	struct helpers helpers = {};
	struct words words = {};
	__u64 sectors = 0;
	int status;

	if (!s)
		abort();
	get_words(args, 0, &words, TYPED);
	hide_urls(args);
	status = words_openvmm(&words, &openvmm) ?: helpers_take(&helpers, openvmm.name, &words);
	words_hide_keys(&words, NULL);
	words_translate(&words, true);
	status = status ?: stack_parse(s, &words);
	if (!status) {
		stack_create(s, false, &openvmm.create);
		status = stack_sizes(s);
		if (!status)
			sectors = openvmm.len ?: stack_length(s);
		if (!status && sectors == VDISK_UNBOUNDED)
			status = vdisk_fail("the stack has no length of its own, it is as long as it has to be: say one to vdisk create --len");
		stack_free(s);
	}
	if (!status && args->json) {
		struct json_object *object = json_object_new_object();

		vdisk_json_number(object, "sectors", sectors);
		vdisk_json_number(object, "bytes", sectors * 512);
		vdisk_json_print(object);
	} else if (!status) {
		printf("%llu\n", sectors);
	}
	words_free(&words);
	words_free(&openvmm.create);
	helpers_free(&helpers);
	free(s);
	return status;
}

const struct vdisk_command vdisk_length = {
	.name = "length",
	.what = "print the length of a stack in sectors",
	.more =
"Looks at the devices, files and stores that STACK names, and prints how many sectors of 512 bytes the disk has.\n",
	.status =
"  0  done\n"
"  1  STACK is wrong, something of it is not there, or it has no length of its own\n",
	.example = "vdisk length 'overlay volatile ( ram ) ( file debian.img )'",
	.operands = "STACK...",
	.min = 1,
	.options = (const struct vdisk_option[]){ {} },
	.run = length,
};

/* create */

struct key {
	char *path, *description;
};

struct made {
	const char *name;
	struct openvmm openvmm;
	bool readonly;
	struct words words;
	struct vdisk_stack *stack;
	char *line, *text;	/* of these words, for the kernel and for people */
	__u64 sectors;
	struct key key[MAX_KEYS];
	int nr_keys;
	struct helpers helpers;
	/* What has to be undone: so many were done. */
	bool device, live;
	char uuid[128];		/* of it */
	int nr_loaded;
	unsigned int nr_started, nr_stores;
	const struct vdisk_node *store[VDISK_MAX_NODES];
	struct stat file[VDISK_MAX_NODES];	/* of it */
};

/* keyfile:PATH of a crypt becomes key:, and the key is loaded when all else is known to be good. */
static int take_keys(struct made *made)
{
	unsigned int at = 0;
	char **word;

	while ((word = words_keyfile(&made->words, &at))) {
		struct key *key = &made->key[made->nr_keys];
		int bytes;

		if (made->nr_keys == MAX_KEYS)
			return vdisk_fail("more than %d key files: load keys with keyctl, and say key:", MAX_KEYS);
		bytes = keys_size(*word + strlen(KEYFILE));
		if (bytes < 0)
			return VDISK_FAILED;
		key->path = strdup(*word + strlen(KEYFILE));
		if (!key->path || (made->nr_keys ? asprintf(&key->description, "vdisk:%s:%d", made->name, made->nr_keys) :
						   asprintf(&key->description, "vdisk:%s", made->name)) < 0)
			abort();
		made->nr_keys++;
		free(*word);
		if (asprintf(word, "key::%d:logon:%s", bytes, key->description) < 0)
			abort();
	}
	return VDISK_OK;
}

/* Stores that are to be made. */
static int find_stores(struct made *made)
{
	struct vdisk_stack *s = made->stack;

	for (unsigned int i = 0; i < s->nr_nodes; i++) {
		struct vdisk_node *n = s->nodes[i];

		if (!stack_is_store(n) || n->size != VDISK_UNBOUNDED)
			continue;
		if (!n->may_miss || n->type != &vdisk_types[VDISK_TYPE_FILE])
			return vdisk_fail("%s: there is no such %s; vdisk format makes a store", stack_path(n), n->type->args[0].name);
		if (n->val[FILE_START].set || n->val[FILE_LEN].set)
			return vdisk_fail("%s: a store with start: or len: is not made by --create; use vdisk format", stack_path(n));
		for (unsigned int j = 0; j < made->nr_stores; j++)
			if (!strcmp(stack_path(made->store[j]), stack_path(n)))
				return vdisk_fail("%s: twice in this stack; a store is of one node", stack_path(n));
		made->store[made->nr_stores++] = n;
	}
	return VDISK_OK;
}

static __u64 store_base(const struct vdisk_node *n)
{
	const struct vdisk_node *base = n->parent->children[1];
	__u64 len = base->ops->length(base);

	return len == VDISK_UNBOUNDED ? 0 : len;
}

static int make_store(const struct vdisk_node *n, struct stat *file)
{
	return store_make(stack_path(n), n->parent->len, stack_block(n->parent), store_base(n), n->parent->val[OVERLAY_LINEAGE].str,
			  stack_is_through(n->parent), file);
}

/* Everything that can be known before something is done. */
static int prepare(const struct vdisk_args *args, struct made *made)
{
	const char *len = vdisk_option(args, "len");
	char id[UUID_STR_LEN];
	__u64 natural;
	uuid_t uuid;

	uuid_generate_random(uuid);
	uuid_unparse(uuid, id);
	snprintf(made->uuid, sizeof(made->uuid), "%s%s", vdisk_option(args, "scan") ? DISK_UUID_SCAN : DISK_UUID, id);
	made->name = made->openvmm.name = args->word[0];
	get_words(args, 1, &made->words, TYPED);
	hide_urls(args);
	if (vdisk_check_name(made->name) || words_openvmm(&made->words, &made->openvmm) ||
	    helpers_take(&made->helpers, made->name, &made->words))
		return VDISK_FAILED;
	words_translate(&made->words, true);
	if (take_keys(made))
		return VDISK_FAILED;
	made->readonly = vdisk_option(args, "readonly") || made->openvmm.readonly;
	made->stack = calloc(1, sizeof(*made->stack));
	if (!made->stack)
		abort();
	if (stack_parse(made->stack, &made->words))
		return VDISK_FAILED;
	stack_create(made->stack, vdisk_option(args, "create"), &made->openvmm.create);
	if (stack_sizes(made->stack) || find_stores(made))
		return VDISK_FAILED;
	natural = stack_length(made->stack);
	if (len && (!vdisk_parse_size(len, &made->sectors) || !made->sectors))
		return vdisk_fail("--len: '%s' is no size: say a number of sectors (of 512 bytes), or one like 512K, 100M, 10G", len);
	if (!len && made->openvmm.len)
		natural = made->openvmm.len;
	if (!len && natural == VDISK_UNBOUNDED)
		return vdisk_fail("the stack has no length of its own: say how long the disk is, as in --len 10G");
	if (!len)
		made->sectors = natural;
	if (!made->sectors)
		return vdisk_fail("the disk would have no sectors: what it lies on is empty");
	made->line = words_join(&made->words, TABLE);
	made->text = words_join(&made->words, TYPED);
	return stack_give(made->stack, made->sectors);
}

static void undo(struct made *made)
{
	char why[sizeof(vdisk_error)];

	memcpy(why, vdisk_error, sizeof(why));
	/* Somebody was quick to use it: what it lies on is no longer ours alone. */
	if (made->device && disk_remove(made->name, made->uuid) && made->live && disk_is(made->name, made->uuid)) {
		vdisk_fail("%s: was stopped too late: it is in use already, so it stays, with all it lies on; vdisk remove %s removes it",
			   made->name, made->name);
		return;
	}
	/* At once: a disk that finds them uses them. */
	while (made->nr_stores) {
		made->nr_stores--;
		store_unmake(stack_path(made->store[made->nr_stores]), &made->file[made->nr_stores]);
	}
	while (made->nr_started)
		helper_stop(&made->helpers.helper[--made->nr_started]);
	while (made->nr_loaded)
		keys_drop(made->key[--made->nr_loaded].description);
	memcpy(vdisk_error, why, sizeof(why));
}

static int stopped(void)
{
	return vdisk_stopped ? vdisk_fail("stopped; what was begun is undone") : VDISK_OK;
}

/* Has one attached to the table that is loaded? */
static int see_attached(const struct made *made, const struct helper *h, bool *attached)
{
	struct seen_disk *s = calloc(1, sizeof(*s));
	struct disk disk = {};
	int status;

	if (!s)
		abort();
	status = seen_get_loaded(s, &disk, made->name);
	for (int i = 0; !status && i < s->nr; i++)
		*attached |= !strcmp(s->node[i].type, "blob") && !strcmp(s->node[i].option[0], h->blob) &&
			     seen_count(&s->node[i], "helpers");
	words_free(&s->words);
	disk_put(&disk);
	free(s);
	return status;
}

/* Before the disk goes live: no read of it waits for who never comes. */
static int wait_attached(const struct made *made, struct helper *h)
{
	const struct timespec pause = { .tv_nsec = 20000000 }, settle = { .tv_nsec = 200000000 };
	bool attached = false;
	int status;

	for (int i = 0; i < ATTACH_S * 50; i++) {
		bool was = attached;

		status = see_attached(made, h, &attached);
		/* If that is not ours, ours is refused, and has ended a moment later. */
		if (!status && (i % 10 == 9 || was))
			status = helper_check(h);
		status = status ?: stopped();
		if (status || was)
			return status;
		if (attached)
			nanosleep(&settle, NULL);
		nanosleep(&pause, NULL);
	}
	return vdisk_fail("blob: %s: its helper does not attach; is the origin slow, or the host?", h->shown);
}

static int start_helpers(struct made *made)
{
	int status = VDISK_OK;

	while (!status && made->nr_started < made->helpers.nr) {
		bool served = false;

		/* Names of blobs are everybody's; this one may be in use by a disk that has another name now. */
		status = see_attached(made, &made->helpers.helper[made->nr_started], &served);
		if (!status && served)
			status = vdisk_fail("blob %s is another disk's, and has its helper: choose another name for the disk",
					    made->helpers.helper[made->nr_started].blob);
		status = status ?: stopped() ?: helper_start(&made->helpers.helper[made->nr_started]);
		made->nr_started += !status;
	}
	for (unsigned int i = 0; !status && i < made->nr_started; i++)
		status = wait_attached(made, &made->helpers.helper[i]);
	return status;
}

static int make(const struct vdisk_args *args, struct made *made)
{
	bool scan = vdisk_option(args, "scan");
	unsigned int stores = made->nr_stores;
	int status;

	made->nr_stores = 0;
	/* The name first: whoever has it may make the rest. */
	status = disk_lock(made->name) ?: disk_make(made->name, made->uuid);
	made->device = !status;
	while (!status && made->nr_stores < stores) {
		status = stopped() ?: make_store(made->store[made->nr_stores], &made->file[made->nr_stores]);
		made->nr_stores += !status;
	}
	while (!status && made->nr_loaded < made->nr_keys) {
		const struct key *key = &made->key[made->nr_loaded];

		status = stopped() ?: keys_load(key->path, key->description);
		made->nr_loaded += !status;
	}
	status = status ?: stopped() ?: keys_reach(made->line) ?:
		 disk_load(made->name, made->uuid, made->sectors, made->line, made->readonly) ?:
		 start_helpers(made) ?: stopped() ?: disk_resume(made->name, made->uuid, scan);
	made->live = !status;
	status = status ?: disk_check_node(made->name) ?: stopped();
	if (status)
		undo(made);
	return status;
}

/* As a word of a shell */
static void quote(FILE *out, const char *text)
{
	putc('\'', out);
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", out);
		else
			putc(*text, out);
	}
	putc('\'', out);
}

/* What supplies a blob; it ends with the disk. What it has to keep to itself is not shown. */
static void put_process(FILE *out, const struct helper *h)
{
	fputs("vdisk-fetchd --name ", out);
	quote(out, h->blob);
	fprintf(out, " --once%s ", h->vhd ? " --vhd1" : "");
	quote(out, h->shown);
	fputs(strcmp(h->shown, h->url) ? " --credentials FILE &" : " &", out);
}

static void put_unit(FILE *out, const struct helper *h)
{
	char *config = helper_config(h, h->shown, strcmp(h->shown, h->url) ? " --credentials FILE" : "");
	char *path = helper_config_path(h->blob);

	config[strlen(config) - 1] = 0;
	fputs("printf '%s\\n' ", out);
	quote(out, config);
	fputs(" | install -D -m 600 /dev/stdin ", out);
	quote(out, path);
	fprintf(out, " && systemctl start vdisk-fetchd@%s.service", h->blob);
	free(config);
	free(path);
}

static void put_format(FILE *out, const struct vdisk_node *n)
{
	const char *lineage = n->parent->val[OVERLAY_LINEAGE].str;

	fputs("vdisk format ", out);
	quote(out, stack_path(n));
	fprintf(out, " --len %llu --unit %u", n->parent->len, stack_block(n->parent));
	if (store_base(n))
		fprintf(out, " --base-len %llu", store_base(n));
	if (lineage)
		fprintf(out, " --lineage %s", lineage);
	if (stack_is_through(n->parent))
		fputs(" --write-through", out);
}

static void put_key(FILE *out, const struct key *key)
{
	fputs("keyctl padd logon ", out);
	quote(out, key->description);
	fputs(" @u < ", out);
	quote(out, key->path);
}

/* With the uuid that keeps the host's hands off it. */
static void put_dmsetup(FILE *out, const struct made *made)
{
	char *table;

	if (asprintf(&table, "0 %llu vdisk %s", made->sectors, made->line) < 0)
		abort();
	fprintf(out, "dmsetup create --uuid %s%s --table ", made->uuid, made->readonly ? " --readonly" : "");
	quote(out, table);
	fputs(" -- ", out);
	quote(out, made->name);
	free(table);
}

static FILE *command_begin(char **text, size_t *size)
{
	FILE *out = open_memstream(text, size);

	if (!out)
		abort();
	return out;
}

static void command_end(struct words *commands, FILE *out, char **text)
{
	if (fclose(out))
		abort();
	words_add(commands, *text);
	free(*text);
}

/* What other commands would do the same. */
static void explain(const struct made *made, struct words *commands)
{
	char *text;
	size_t size;
	FILE *out;

	for (unsigned int i = 0; i < made->nr_stores; i++) {
		out = command_begin(&text, &size);
		put_format(out, made->store[i]);
		command_end(commands, out, &text);
	}
	for (int i = 0; i < made->nr_keys; i++) {
		out = command_begin(&text, &size);
		put_key(out, &made->key[i]);
		command_end(commands, out, &text);
	}
	out = command_begin(&text, &size);
	put_dmsetup(out, made);
	command_end(commands, out, &text);
	for (unsigned int i = 0; i < made->helpers.nr; i++) {
		out = command_begin(&text, &size);
		if (helper_has_unit())
			put_unit(out, &made->helpers.helper[i]);
		else
			put_process(out, &made->helpers.helper[i]);
		command_end(commands, out, &text);
	}
}

static void say_helper(const struct helper *h)
{
	printf("blob %s: %s, supplied by ", h->blob, h->shown);
	if (h->pid)
		printf("vdisk-fetchd, process %d\n", h->pid);
	else
		printf("vdisk-fetchd@%s.service\n", h->blob);
}

static struct json_object *json_helper(const struct helper *h)
{
	struct json_object *object = json_object_new_object();
	char unit[128];

	json_object_object_add(object, "blob", vdisk_json(h->blob));
	json_object_object_add(object, "url", vdisk_json(h->shown));
	snprintf(unit, sizeof(unit), "vdisk-fetchd@%s.service", h->blob);
	json_object_object_add(object, "unit", helper_has_unit() ? vdisk_json(unit) : NULL);
	json_object_object_add(object, "pid", h->pid ? json_object_new_int(h->pid) : NULL);
	return object;
}

static void say_created(const struct vdisk_args *args, const struct made *made, bool dry)
{
	struct json_object *object, *stores, *list;
	char text[VDISK_BYTES_TEXT], device[160];
	struct words commands = {};

	if (dry)
		explain(made, &commands);
	if (!args->json && dry) {
		/* What follows is typed into a shell: no path may end the comment. */
		char *shown = vdisk_text(made->text, strlen(made->text));

		printf("# %s\n", shown);
		free(shown);
		if (strpbrk(made->line, "#\\"))
			puts("# dmsetup cannot pass # or a backslash: only vdisk makes this disk");
		for (unsigned int i = 0; i < commands.nr; i++)
			puts(commands.word[i]);
		words_free(&commands);
		return;
	}
	if (!args->json) {
		printf("/dev/mapper/%s: %llu sectors (%s)\n", made->name, made->sectors,
		       vdisk_bytes(text, made->sectors * 512));
		for (unsigned int i = 0; i < made->helpers.nr; i++)
			say_helper(&made->helpers.helper[i]);
		return;
	}
	object = json_object_new_object();
	stores = json_object_new_array();
	for (unsigned int i = 0; i < made->nr_stores; i++)
		json_object_array_add(stores, vdisk_json(stack_path(made->store[i])));
	json_object_object_add(object, "name", vdisk_json(made->name));
	snprintf(device, sizeof(device), "/dev/mapper/%s", made->name);
	json_object_object_add(object, "device", vdisk_json(device));
	vdisk_json_number(object, "sectors", made->sectors);
	json_object_object_add(object, "stack", vdisk_json(made->text));
	json_object_object_add(object, "readonly", json_object_new_boolean(made->readonly));
	json_object_object_add(object, "stores", stores);
	list = json_object_new_array();
	for (unsigned int i = 0; i < made->helpers.nr; i++)
		json_object_array_add(list, json_helper(&made->helpers.helper[i]));
	json_object_object_add(object, "helpers", list);
	json_object_object_add(object, "created", json_object_new_boolean(!dry));
	if (dry) {
		list = json_object_new_array();
		for (unsigned int i = 0; i < commands.nr; i++)
			json_object_array_add(list, vdisk_json(commands.word[i]));
		json_object_object_add(object, "commands", list);
		words_free(&commands);
	}
	vdisk_json_print(object);
}

static int create(const struct vdisk_args *args)
{
	bool dry = vdisk_option(args, "dry-run") || vdisk_option(args, "explain");
	struct made made = {};
	int status;

	disk_log_off();
	status = prepare(args, &made);
	if (!status && !dry)
		status = make(args, &made);
	if (!status)
		say_created(args, &made, dry);
	/* Who could not be told would not know of it. */
	if (!status && !dry && (fflush(stdout) || ferror(stdout))) {
		__fpurge(stdout);
		undo(&made);
	}
	disk_unlock();
	for (int i = 0; i < made.nr_keys; i++) {
		free(made.key[i].path);
		free(made.key[i].description);
	}
	if (made.stack)
		stack_free(made.stack);
	free(made.stack);
	words_free(&made.openvmm.create);
	helpers_free(&made.helpers);
	free(made.line);
	free(made.text);
	words_free(&made.words);
	return status;
}

const struct vdisk_command vdisk_create = {
	.name = "create",
	.what = "make a disk of a stack",
	.more =
"Makes /dev/mapper/NAME of STACK, which is what a table line of dm-vdisk has, see dm-vdisk.rst: a type, its words, and its\n"
"children in parentheses. Lengths may have K, M, G, T or P behind them, paths may be relative, and the length of the disk is\n"
"found. A crypt may have keyfile:PATH for key:, a file of 32 or 64 bytes; its key is kept in root's user keyring as\n"
"vdisk:NAME until the disk is removed. A URL (http, https, file) may be in the place of a blob's name, or of its type: then\n"
"vdisk-fetchd, which supplies it, is started, and ends when the disk is removed. What goes wrong, or is stopped by Ctrl-C, is\n"
"undone: nothing stays.\n"
"STACK may also be what OpenVMM's --disk takes, as memdiff:file:debian.img; --explain shows the stack that it becomes.\n"
"The host keeps its hands off what is in the disk: nothing looks for file systems, volume groups or the like in it.\n",
	.status =
"  0  done\n"
"  1  refused, or it failed; nothing stays\n",
	.example = "vdisk create vm1 --create 'overlay ( file vm1.store ) ( file debian.img )'",
	.operands = "NAME STACK...",
	.min = 2,
	.options = (const struct vdisk_option[]){
		{ "len", "SIZE", "of the disk, if it is not to be as long as it can, or has no length of its own" },
		{ "create", NULL, "make the files of stores that are not there" },
		{ "readonly", NULL, "the disk takes no writes" },
		{ "scan", NULL, "let the host look into the disk, as into any other" },
		{ "dry-run", NULL, "only print what would be done" },
		{ "explain", NULL, "the same" },
		{}
	},
	.run = create,
};

static int remove_disk(const char *name)
{
	struct disk disk = {};
	int status = vdisk_stopped ? vdisk_fail("%s: stopped; it stays", name) : VDISK_OK;

	status = status ?: disk_lock(name) ?: disk_get(&disk, name, true) ?: disk_remove(name, disk.uuid);
	if (!status) {
		helpers_drop_all(disk.name, NULL);
		keys_drop_all(disk.name, disk.params, NULL);
	}
	disk_put(&disk);
	disk_unlock();
	return status;
}

static int remove_disks(const struct vdisk_args *args)
{
	struct json_object *object = json_object_new_object(), *removed = json_object_new_array(), *errors = json_object_new_array();
	int status = VDISK_OK;

	disk_log_off();
	for (int i = 0; i < args->nr; i++) {
		const char *name = args->word[i];
		struct json_object *error;

		if (!remove_disk(name)) {
			json_object_array_add(removed, vdisk_json(name));
			vdisk_changed = true;
			continue;
		}
		status = VDISK_FAILED;
		error = json_object_new_object();
		json_object_object_add(error, "name", vdisk_json(name));
		json_object_object_add(error, "error", vdisk_json(vdisk_error));
		json_object_array_add(errors, error);
	}
	json_object_object_add(object, "removed", removed);
	json_object_object_add(object, "errors", errors);
	if (args->json)
		vdisk_json_print(object);
	else
		json_object_put(object);
	return status;
}

const struct vdisk_command vdisk_remove = {
	.name = "remove",
	.what = "remove disks",
	.more =
"Removes each disk that is called NAME, and what vdisk create loaded and started for it: keys, helpers. Its stores stay: what\n"
"is in them is there again when the same stack is created. What was in memory (ram, volatile) is lost, but for a ram with a\n"
"name.\n",
	.status =
"  0  done\n"
"  1  one of them could not be removed, is not there, or is no vdisk\n",
	.example = "vdisk remove vm1",
	.operands = "NAME...",
	.min = 1,
	.options = (const struct vdisk_option[]){ {} },
	.run = remove_disks,
};
