// SPDX-License-Identifier: GPL-2.0-only
/*
 * vdisk grow, snapshot, hydrate, detach-base, merge, pr, key: what changes a disk that
 * is in use.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vdisk.h"
#include "dm.h"
#include "helper.h"
#include "keys.h"
#include "openvmm.h"
#include "show.h"
#include "stack.h"
#include "tab.h"

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
	disk_unlock();
}

/* Locked, until live_put(), whatever comes of it. @suspended: it may be. */
static int live_get(struct live *live, const char *name, bool suspended)
{
	memset(live, 0, sizeof(*live));
	disk_log_off();
	if (disk_lock(name) || disk_get(&live->disk, name, true))
		return VDISK_FAILED;
	if (!live->disk.params)
		return vdisk_fail("%s: has no table: a vdisk create was killed; vdisk remove it", name);
	if (live->disk.info.suspended && !suspended)
		return vdisk_fail("%s: is suspended, so someone else is changing it; dmsetup resume %s", name, name);
	live->stack = calloc(1, sizeof(*live->stack));
	if (!live->stack)
		abort();
	words_split(&live->words, live->disk.params, TABLE);
	if (keys_reach(live->disk.params) || stack_parse(live->stack, &live->words))
		return VDISK_FAILED;
	return stack_sizes(live->stack);
}

/* Other words for a part of a line */

/* Where the words of a node begin, and the first behind them. */
static void find_words(const struct words *words, int node, unsigned int *begin, unsigned int *end)
{
	int seen = -1, depth = 0;
	bool want_type = true;
	unsigned int i;

	for (i = 0; i < words->nr; i++) {
		if (want_type && ++seen == node)
			break;
		want_type = !strcmp(words->word[i], "(");
	}
	*begin = i;
	for (; i < words->nr; i++) {
		depth += !strcmp(words->word[i], "(");
		depth -= !strcmp(words->word[i], ")");
		if (depth < 0)
			break;
	}
	*end = i;
}

/* What changes a disk, as its line in vdisktab has to change. */
struct change {
	int node;			/* whose words are replaced, or stay between those of before and behind */
	const char *const *before;
	bool keep;
	const char *option;		/* with keep: one more, or */
	bool without;			/* one less */
	int instead;			/* if not 0: a node below, whose words take its place */
	const char *behind;
	__u64 len;			/* sectors, if it is another one; else 0 */
	bool natural;			/* that is what the stack has, if no len= says another one */
};

static const char *const no_words[] = { NULL };

static void add_words(struct words *words, const struct words *old, unsigned int begin, unsigned int end)
{
	for (unsigned int i = begin; i < end; i++)
		words_add(words, old->word[i]);
}

/* A node's own words, with the option or without it: options come before children. */
static unsigned int change_option(struct words *words, const struct words *old, unsigned int begin, unsigned int end,
				  const struct change *change)
{
	for (; begin < end && strcmp(old->word[begin], "("); begin++)
		if (strcmp(old->word[begin], change->option))
			words_add(words, old->word[begin]);
	if (!change->without)
		words_add(words, change->option);
	return begin;
}

static char *new_line(const struct words *old, const struct change *change, enum words_of of)
{
	unsigned int begin, end, from, to;
	struct words words = {};
	char *line;

	find_words(old, change->node, &begin, &end);
	add_words(&words, old, 0, begin);
	for (const char *const *word = change->before; *word; word++)
		words_add(&words, *word);
	if (change->option)
		begin = change_option(&words, old, begin, end, change);
	if (change->keep)
		add_words(&words, old, begin, end);
	if (change->instead) {
		find_words(old, change->instead, &from, &to);
		add_words(&words, old, from, to);
	}
	if (change->behind)
		words_add(&words, change->behind);
	add_words(&words, old, end, old->nr);
	line = words_join(&words, of);
	words_free(&words);
	return line;
}

static void ignore(void *arg, unsigned int line, const char *text) { (void)arg, (void)line, (void)text; }

/* Is it the tree that the disk had? */
static bool same_shape(const struct vdisk_stack *a, const struct vdisk_stack *b)
{
	if (a->nr_nodes != b->nr_nodes)
		return false;
	for (unsigned int i = 0; i < a->nr_nodes; i++)
		if (a->nodes[i]->type != b->nodes[i]->type || a->nodes[i]->nr_children != b->nodes[i]->nr_children)
			return false;
	return true;
}

/* To be freed. NULL: the line is about some other stack than @live. */
static char *new_tab_line(const struct tab_disk *disk, const struct live *live, const struct change *change)
{
	struct openvmm openvmm = { .name = disk->name, .later = true };
	struct words words = {}, parsed = {};
	char *stack, *line = NULL, *options = strdup(disk->options), *option, *rest = options, *kept;
	struct vdisk_stack *s = calloc(1, sizeof(*s));

	kept = calloc(1, strlen(disk->options) + 32);
	if (!options || !s || !kept)
		abort();
	words_split(&words, disk->stack, TYPED);
	words_openvmm(&words, &openvmm);
	for (unsigned int i = 0; i < words.nr; i++)
		words_add(&parsed, words.word[i]);
	words_hide_keys(&parsed, NULL);
	words_translate(&parsed, false);
	if (!stack_parse(s, &parsed)) {
		if (same_shape(s, live->stack)) {
			while ((option = strsep(&rest, ",")))
				if (strcmp(option, "-") && !(change->len && !strncmp(option, "len=", 4)))
					strcat(strcat(kept, *kept ? "," : ""), option);
			if (change->len)
				sprintf(kept + strlen(kept), "%slen=%llu", *kept ? "," : "", change->len);
			stack = new_line(&words, change, TYPED);
			if (asprintf(&line, "%s %s %s", disk->name, *kept ? kept : "-", stack) < 0)
				abort();
			free(stack);
		}
		stack_free(s);
	}
	free(s);
	free(kept);
	free(options);
	words_free(&openvmm.create);
	words_free(&words);
	words_free(&parsed);
	return line;
}

static struct json_object *json_about(const char *name)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "name", vdisk_json(name));
	return object;
}

/*
 * Says what was done, to people or programs; and, if vdisktab has the disk, what to write there: the
 * next boot would make the stack as it was, and write what is only read now.
 */
static void say(const struct vdisk_args *args, const char *what, struct json_object *object, const struct live *live,
		const struct change *change)
{
	char kept[sizeof(vdisk_error)], *line = NULL;
	struct json_object *json;
	const struct tab_disk *disk = NULL;
	struct tab tab = {};

	vdisk_changed = true;
	memcpy(kept, vdisk_error, sizeof(kept));
	if (change && tab_read(&tab, TAB_PATH, ignore, NULL) != -ENOENT)
		disk = tab_find(&tab, live->disk.name);
	vdisk_quiet = true;
	if (disk)
		line = new_tab_line(disk, live, change);
	vdisk_quiet = false;
	if (line && change->natural && !disk->len)
		disk = NULL;
	memcpy(vdisk_error, kept, sizeof(kept));
	if (disk)
		fprintf(stderr, "vdisk: %s: %s:%u still has the disk as it was; made so when the host boots, it damages what it is now. %s%s\n",
			args->word[0], tab.path, disk->line, line ? "Put there:\n" : "It is no line of this stack: mend it", line ?: "");
	if (!args->json) {
		printf("%s: %s\n", args->word[0], what);
		json_object_put(object);
	} else {
		if (disk) {
			json = json_object_new_object();
			vdisk_json_number(json, "line", disk->line);
			json_object_object_add(json, "text", line ? vdisk_json(line) : NULL);
			json_object_object_add(object, "vdisktab", json);
		}
		vdisk_json_print(object);
	}
	free(line);
	tab_free(&tab);
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
	if (!status && sectors > live.disk.sectors)
		status = make_files_longer(longer, &nr, live.stack->nodes[0], sectors) ?: stack_give(live.stack, sectors) ?:
			 disk_replace(name, &live.disk, sectors, live.disk.params);
	while (status == VDISK_FAILED && nr--)
		if (truncate(longer[nr].path, longer[nr].old))
			fprintf(stderr, "vdisk: %s: stays longer than it was: %s\n", longer[nr].path, strerror(errno));
	if (!status) {
		const struct change change = {
			.before = no_words, .keep = true, .len = sectors,
			.natural = !stack_sizes(live.stack) && stack_length(live.stack) == sectors,
		};

		struct json_object *object = json_about(name);

		vdisk_json_number(object, "sectors", sectors);
		vdisk_json_number(object, "bytes", sectors * 512);
		snprintf(text, sizeof(text), "%llu sectors (%s)", sectors, vdisk_bytes(bytes, sectors * 512));
		say(args, text, object, &live, &change);
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
"  1  refused, or it failed; the disk is as it was\n"
"  2  neither the new table could go live, nor the old one come back: the disk is suspended, and all that both need is there\n",
	.example = "vdisk grow vm1 +10G",
	.operands = "NAME SIZE",
	.min = 2,
	.max = 2,
	.options = (const struct vdisk_option[]){ {} },
	.run = grow,
};

/* snapshot */

static unsigned int disk_block(const struct disk *disk)
{
	char path[96];
	unsigned int size = 512;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/logical_block_size", disk->info.major, disk->info.minor);
	file = fopen(path, "re");
	if (file && fscanf(file, "%u", &size) != 1)
		size = 512;
	if (file)
		fclose(file);
	return size;
}

/* The kernel finds what goes from table to table by labels, so a new node needs a new one. */
static void new_label(struct vdisk_stack *s, char *label, size_t size)
{
	bool used = true;

	for (unsigned int i = 1; used; i++) {
		snprintf(label, size, "label:snapshot%u", i);
		used = false;
		for (unsigned int j = 0; j < s->nr_nodes; j++)
			used |= s->nodes[j]->label && !strcmp(s->nodes[j]->label, label + 6);
	}
}

static int snapshot(const struct vdisk_args *args)
{
	const char *name = args->word[0];
	char label[32];
	struct words store = {};
	char *line = NULL;
	struct live live;
	struct stat file;
	bool made = false;
	int status;
	const char *before[] = { "overlay", label, "(", "file", NULL, ")", "(", NULL };
	struct change change = { .before = before, .keep = true, .behind = ")" };

	words_add(&store, "file");
	words_add(&store, args->word[1]);
	words_translate(&store, true);
	before[4] = store.word[1];
	status = live_get(&live, name, false);
	if (!status && live.disk.info.read_only)
		status = vdisk_fail("%s: is read-only, so it needs no snapshot", name);
	if (!status && !access(store.word[1], F_OK))
		status = vdisk_fail("%s: is there already; a snapshot makes a new store, so say another name, or remove it", store.word[1]);
	if (!status) {
		new_label(live.stack, label, sizeof(label));
		/* Reservations stay on top. */
		change.node = live.stack->nodes[0]->type == &vdisk_types[VDISK_TYPE_PR];
		line = new_line(&live.words, &change, TABLE);
		/* What is below has no length of its own that stays: it grows with the disk. */
		status = store_make(store.word[1], live.disk.sectors, disk_block(&live.disk), 0, NULL, false, &file);
		made = !status;
		status = status ?: disk_replace(name, &live.disk, live.disk.sectors, line);
	}
	if (status == VDISK_FAILED && made)
		store_unmake(store.word[1], &file);
	if (!status) {
		struct json_object *object = json_about(name);

		json_object_object_add(object, "store", vdisk_json(store.word[1]));
		say(args, store.word[1], object, &live, &change);
	}
	free(line);
	words_free(&store);
	live_put(&live);
	return status;
}

const struct vdisk_command vdisk_snapshot = {
	.name = "snapshot",
	.what = "put a new store on top of a disk, while it is used",
	.more =
"Makes STORE, a file, and loads the stack again with an overlay on top of it: from now on all that is written goes to\n"
"STORE, and what was there stays as it is below. I/O stops for an instant, and file systems in use are frozen for it. The disk\n"
"of the snapshot is the stack as it was before: create it with --readonly once this disk is gone.\n"
"If /etc/vdisktab has the disk, it says what to write there now: the stack as it was must not be written any more.\n",
	.status =
"  0  done\n"
"  1  refused, or it failed; the disk is as it was, and there is no STORE\n"
"  2  neither the new table could go live, nor the old one come back: the disk is suspended, and STORE stays\n",
	.example = "vdisk snapshot vm1 /var/lib/vm1.monday",
	.operands = "NAME STORE",
	.min = 2,
	.max = 2,
	.options = (const struct vdisk_option[]){ {} },
	.run = snapshot,
};

/* hydrate, merge: what takes long, and goes on without us */

/* How far it is */
struct course {
	const char *key;	/* of its state, among a node's counters: hydrate, merge */
	char state[32];
	char target[VDISK_NAME_MAX + 1];	/* of messages */
	__u64 done, all;	/* sectors of the base */
	int node;
};

/* The node that does it, or the one of --node; -1 after saying that there is none. */
static int find_node(const struct vdisk_args *args, const struct seen_disk *s, const char *key)
{
	bool merge = !strcmp(key, "merge");
	const char *node = vdisk_option(args, "node");
	int found = -1;

	for (int i = 0; i < s->nr; i++) {
		const struct seen *n = &s->node[i];

		if (!seen_counter(n, key) || (node && strcmp(node, n->label ?: "") && strcmp(node, n->type)))
			continue;
		if (found >= 0) {
			vdisk_fail("%s: has several nodes that %s; say which: --node LABEL (vdisk show %s has them)",
				   args->word[0], merge ? "may be merged" : "keep what they read", args->word[0]);
			return -1;
		}
		found = i;
	}
	if (found < 0)
		vdisk_fail("%s: has no %s%s, so there is nothing to %s", args->word[0],
			   node ? merge ? "such node that is merged: " : "such node that keeps what it reads: " :
			   merge ? "overlay that is merged" : "cache, and no overlay with copy_on_read", node ?: "", key);
	return found;
}

static void nap(void)
{
	nanosleep(&(struct timespec){ 0, 500000000 }, NULL);
}

static int get_course(const struct vdisk_args *args, struct course *c)
{
	struct seen_disk *s = calloc(1, sizeof(*s));
	const struct seen *node, *base;
	struct disk disk;
	int status;

	if (!s)
		abort();
	status = seen_get(s, &disk, args->word[0]);
	if (!status) {
		c->node = find_node(args, s, c->key);
		status = c->node < 0 ? VDISK_FAILED : VDISK_OK;
	}
	if (!status) {
		node = &s->node[c->node];
		base = seen_child(s, c->node, 1);
		snprintf(c->state, sizeof(c->state), "%s", seen_counter(node, c->key));
		snprintf(c->target, sizeof(c->target), "%s", node->label ?: node->type);
		c->all = base ? seen_count(base, "len") : 0;
		if (!strcmp(c->key, "merge"))
			c->done = c->all - min(c->all, seen_count(node, "unmerged"));
		else
			c->done = !strcmp(c->state, "done") ? c->all : seen_count(node, "hydrated");
	}
	disk_put(&disk);
	words_free(&s->words);
	free(s);
	return status;
}

static int say_course(const struct vdisk_args *args, const struct course *c)
{
	struct json_object *object;
	char text[2][VDISK_BYTES_TEXT];
	bool merge = !strcmp(c->key, "merge");

	if (args->json) {
		object = json_object_new_object();
		json_object_object_add(object, "name", vdisk_json(args->word[0]));
		json_object_object_add(object, "node", vdisk_json(c->target));
		json_object_object_add(object, "state", vdisk_json(c->state));
		vdisk_json_number(object, merge ? "merged" : "hydrated", c->done);
		vdisk_json_number(object, "of", c->all);
		vdisk_json_print(object);
	} else {
		printf("%s: %s: %s, %s of %s\n", args->word[0], c->target, c->state, vdisk_bytes(text[0], c->done * 512),
		       vdisk_bytes(text[1], c->all * 512));
	}
	if (strcmp(c->state, "failed"))
		return VDISK_OK;
	vdisk_fail(merge ? "%s: something of the store cannot be read, or the base not be written; the disk is as it was, and the kernel's log (dmesg) says what" :
			   "%s: something of the base cannot be read, or not be kept; the kernel's log (dmesg) says what", args->word[0]);
	return VDISK_DAMAGE;
}

/*
 * Of a start that waits: only what is done is a success, so that what may only be done then, like the removal of a store, can
 * stand behind && in a shell.
 */
static int say_end(const struct vdisk_args *args, const struct course *c)
{
	int status = say_course(args, c);

	if (status || vdisk_option(args, "no-wait") || !strcmp(c->state, "done"))
		return status;
	if (!vdisk_stopped)
		fprintf(stderr, "vdisk: %s: %s was stopped; vdisk %s %s start goes on\n", args->word[0], c->key, c->key, args->word[0]);
	return VDISK_FAILED;
}

#define SAMPLES	10

/* What was done then. The first seconds after a start say little: the kernel passes over what is there already. */
struct sample {
	double at;
	__u64 done;
};

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Until it has ended; Ctrl-C ends only the looking on. */
static int follow(const struct vdisk_args *args, struct course *c)
{
	struct sample last[SAMPLES];
	unsigned int nr = 0;
	char text[VDISK_BYTES_TEXT];
	bool shown = false, tty = isatty(STDERR_FILENO);
	int status = VDISK_OK;

	while (!status && !strcmp(c->state, "on") && !vdisk_stopped) {
		const struct sample *oldest;
		double rate, now = seconds();

		last[nr++ % SAMPLES] = (struct sample){ now, c->done };
		nap();
		status = get_course(args, c);
		oldest = &last[nr < SAMPLES ? 0 : nr % SAMPLES];
		rate = c->done > oldest->done ? (c->done - oldest->done) / (seconds() - oldest->at) : 0;
		if (!tty || !rate || !c->all)
			continue;
		fprintf(stderr, "\r%s [%-20.*s] %3.0f %%, %s/s, %.0f s left \033[K", c->key, (int)(20.0 * c->done / c->all),
			"####################", 100.0 * c->done / c->all, vdisk_bytes(text, rate * 512), (c->all - c->done) / rate);
		shown = true;
	}
	if (shown)
		fputs("\r\033[K", stderr);
	if (!status && vdisk_stopped && !strcmp(c->state, "on"))
		fprintf(stderr, "vdisk: it goes on; vdisk %s %s status tells how far it is, stop stops it\n", c->key, args->word[0]);
	return status;
}

static int hydrate(const struct vdisk_args *args)
{
	const char *name = args->word[0], *verb = args->word[1], *rate = vdisk_option(args, "rate"), *priority = vdisk_option(args, "priority");
	struct course c = { .key = "hydrate" };
	char text[192], limit[32] = "";
	__u64 sectors = 0;
	int status;

	disk_log_off();
	if (strcmp(verb, "start") && strcmp(verb, "stop") && strcmp(verb, "status"))
		return vdisk_fail("hydrate: '%s': say start, stop or status", verb);
	if (rate && (!vdisk_parse_size(rate, &sectors) || !sectors))
		return vdisk_fail("--rate: '%s' is no size: say what a second may take, like 32M", rate);
	if (priority && strcmp(priority, "idle") && strcmp(priority, "normal"))
		return vdisk_fail("--priority: '%s': say idle or normal", priority);
	status = get_course(args, &c);
	if (!status && !strcmp(verb, "start")) {
		vdisk_catch();
		if (rate)
			snprintf(limit, sizeof(limit), " %llu", sectors);
		snprintf(text, sizeof(text), "%s hydrate start%s%s%s", c.target, limit,
			 priority ? " " : "", priority ?: "");
		status = disk_message(name, text, NULL) ?: get_course(args, &c);
		if (!status && !vdisk_option(args, "no-wait"))
			status = follow(args, &c);
		return status ?: say_end(args, &c);
	}
	if (!status && !strcmp(verb, "stop")) {
		snprintf(text, sizeof(text), "%s hydrate stop", c.target);
		status = disk_message(name, text, NULL) ?: get_course(args, &c);
	}
	return status ?: say_course(args, &c);
}

const struct vdisk_command vdisk_hydrate = {
	.name = "hydrate",
	.what = "fetch all of a base into its cache",
	.more =
"start has the kernel read all that is absent from the store of a cache, or of an overlay with copy_on_read, and keep it,\n"
"beside the guest's own I/O; it then waits for the end. Ctrl-C ends only the waiting. stop stops it; start goes on.\n",
	.status =
"  0  done; start: nothing is absent any more, or it goes on, as with --no-wait\n"
"  1  wrong use, or there is nothing to hydrate; start: it was stopped, or Ctrl-C ended the waiting\n"
"  2  it has failed: something cannot be read, or not be kept\n",
	.example = "vdisk hydrate vm1 start --rate 32M",
	.operands = "NAME start|stop|status",
	.min = 2,
	.max = 2,
	.options = (const struct vdisk_option[]){
		{ "rate", "SIZE", "read no more in a second" },
		{ "priority", "idle|normal", "start: behind the guest's own I/O, or like it (default idle)" },
		{ "no-wait", NULL, "start: do not wait for the end" },
		{ "node", "LABEL", "which node, if there are several" },
		{}
	},
	.run = hydrate,
};

/*
 * With zero below it the node is as long as its store, not as its base was. What lies above and has written down how long its
 * base is would refuse the new table, when the store has said already that it has no base.
 */
static int check_above(const char *name, const struct vdisk_node *n)
{
	for (; n->parent; n = n->parent)
		if (n->index && n->parent->ops->reads_base && n->parent->base_len)
			return vdisk_fail("%s: the store of the %s above is of a base of %llu sectors, and without its own base this one would have others; detach it in a disk of its own",
					  name, n->parent->type->name, (unsigned long long)n->parent->base_len);
	return VDISK_OK;
}

static int base_of(const struct vdisk_stack *s, int node)
{
	int base = node + 1;

	while (s->nodes[base] != s->nodes[node]->children[1])
		base++;
	return base;
}

static int detach_base(const struct vdisk_args *args)
{
	static const char *const zero[] = { "zero", NULL };
	const char *name = args->word[0];
	struct course c = { .key = "hydrate" };
	struct live live;
	char *line;
	int status;

	status = live_get(&live, name, false) ?: get_course(args, &c);
	if (!status && live.stack->nodes[c.node]->children[1]->type == &vdisk_types[VDISK_TYPE_ZERO])
		status = vdisk_fail("%s: the base is detached already", name);
	if (!status && strcmp(c.state, "done"))
		status = vdisk_fail("%s: the base is still needed (hydration: %s, %llu of %llu sectors); vdisk hydrate %s start",
				    name, c.state, c.done, c.all, name);
	status = status ?: check_above(name, live.stack->nodes[c.node]);
	if (!status) {
		struct change change = { .before = zero };

		change.node = base_of(live.stack, c.node);
		line = new_line(&live.words, &change, TABLE);
		status = disk_replace(name, &live.disk, live.disk.sectors, line);
		if (!status) {
			struct json_object *object = json_about(name);

			keys_drop_all(live.disk.name, live.disk.params, line);
			helpers_drop_all(live.disk.name, line);

			json_object_object_add(object, "stack", vdisk_json(line));
			say(args, line, object, &live, &change);
		}
		free(line);
	}
	live_put(&live);
	return status;
}

const struct vdisk_command vdisk_detach_base = {
	.name = "detach-base",
	.what = "replace a base that is not needed any more by zero",
	.more =
"Loads the stack again with zero for the base of the node that was hydrated. The base may then be removed; the store says\n"
"itself that it has none, and from now on the disk is created with zero in its place.\n",
	.status =
"  0  done\n"
"  1  the base is still needed, or the table was refused; the disk is as it was\n"
"  2  neither the new table could go live, nor the old one come back: the disk is suspended\n",
	.example = "vdisk detach-base vm1",
	.operands = "NAME",
	.min = 1,
	.max = 1,
	.options = (const struct vdisk_option[]){
		{ "node", "LABEL", "which node, if there are several" },
		{}
	},
	.run = detach_base,
};

/* merge */

/* The overlay that is not below another one, or the one of --node; -1 after saying that there is none. */
static int find_overlay(const struct vdisk_args *args, const struct vdisk_stack *s)
{
	const char *node = vdisk_option(args, "node");
	int found = -1;

	for (unsigned int i = 0; i < s->nr_nodes; i++) {
		const struct vdisk_node *n = s->nodes[i], *up = n;

		if (n->type != &vdisk_types[VDISK_TYPE_OVERLAY] ||
		    (node && strcmp(node, n->label ?: "") && strcmp(node, n->type->name)))
			continue;
		while (up->parent && !(up->index && up->parent->ops->reads_base && !stack_is_through(up->parent)))
			up = up->parent;
		if (up->parent)
			continue;
		if (found >= 0) {
			vdisk_fail("%s: has several overlays; say which: --node LABEL (vdisk show %s has them)",
				   args->word[0], args->word[0]);
			return -1;
		}
		found = i;
	}
	if (found < 0)
		vdisk_fail("%s: has no %s%s that is written to, so there is nothing to merge", args->word[0],
			   node ? "such overlay: " : "overlay", node ?: "");
	return found;
}

/* Messages name a node by its label, or by a type that no other has. */
static int check_target(const struct vdisk_args *args, const struct vdisk_stack *s, int node)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < s->nr_nodes; i++)
		nr += s->nodes[i]->type == s->nodes[node]->type;
	if (nr == 1 || s->nodes[node]->label)
		return VDISK_OK;
	return vdisk_fail("%s: has several overlays, and this one has no label, so the kernel cannot be told about it; make the disk with label: on it",
			  args->word[0]);
}

/* The table with or without the option: the base is one to be written only while it has to be. */
static int merge_option(const struct vdisk_args *args, bool without)
{
	struct change change = { .before = no_words, .keep = true, .option = "merge", .without = without };
	struct live live;
	int status = live_get(&live, args->word[0], false);
	char *line;

	if (!status) {
		change.node = find_overlay(args, live.stack);
		status = change.node < 0 ? VDISK_FAILED : check_target(args, live.stack, change.node);
	}
	if (!status && live.stack->nodes[change.node]->val[OVERLAY_MERGE].set == without) {
		line = new_line(&live.words, &change, TABLE);
		status = disk_replace(args->word[0], &live.disk, live.disk.sectors, line);
		free(line);
	}
	live_put(&live);
	return status;
}

/* Sectors that are soon copied */
#define MERGE_LEFT	(64ULL << 11)

/* More was left than a suspend copies: a freeze, or a discard, came before it. */
#define MERGE_AGAIN	(-1)

/*
 * The base takes the overlay's place. What is left is copied when the disk is suspended for that. Only behind that the new table
 * is loaded: whoever resumes the disk after we were killed has the old one go on, or the new one with all that it needs.
 */
static int merge_finish(const struct vdisk_args *args, struct course *c, const struct live *live, const char *line)
{
	const char *name = args->word[0], *uuid = live->disk.uuid;
	bool read_only = live->disk.info.read_only;
	char text[VDISK_NAME_MAX + 16];

	snprintf(text, sizeof(text), "%s merge finish", c->target);
	if (disk_message(name, text, NULL) || disk_suspend(name, uuid))
		return VDISK_FAILED;
	if (get_course(args, c))
		return disk_go_on(&live->disk) ?: VDISK_FAILED;
	if (!strcmp(c->state, "ready"))
		return disk_go_on(&live->disk) ?: MERGE_AGAIN;
	if (strcmp(c->state, "done")) {
		vdisk_fail("%s: what was left could not be copied: see the kernel's log (dmesg)", name);
		disk_go_on(&live->disk);
		return VDISK_DAMAGE;
	}
	if (disk_load(name, uuid, live->disk.sectors, line, read_only))
		return disk_go_on(&live->disk) ?: VDISK_FAILED;
	/* Whatever comes, the base has all now. */
	if (disk_resume(name, uuid, disk_scans(&live->disk)))
		return vdisk_fail("%s: all is in its base now, but that did not go live, and the disk is suspended; dmsetup resume %s tries again",
				  name, name);
	return VDISK_OK;
}

/* What is in memory only was copied, so it may be lost. */
static char *merge_line(const struct live *live, const struct change *change)
{
	struct change drop = { .before = no_words, .keep = true, .option = "drop_volatile" };
	char *line = new_line(&live->words, change, TABLE), *dropping;
	struct words words = {};

	if (!live->stack->nodes[change->node]->val[OVERLAY_VOLATILE].set)
		return line;
	words_split(&words, line, TABLE);
	dropping = new_line(&words, &drop, TABLE);
	words_free(&words);
	free(line);
	return dropping;
}

static int merge_end(const struct vdisk_args *args, struct course *c)
{
	struct change change = { .before = no_words };
	const struct vdisk_node *n = NULL;
	struct live live;
	int status = live_get(&live, args->word[0], false);
	char *line = NULL;

	if (!status) {
		change.node = find_overlay(args, live.stack);
		status = change.node < 0 ? VDISK_FAILED : VDISK_OK;
	}
	if (!status) {
		n = live.stack->nodes[change.node];
		if (!n->val[OVERLAY_MERGE].set || strcmp(n->label ?: n->type->name, c->target))
			status = vdisk_fail("%s: has another table than a moment ago; vdisk show %s", args->word[0], args->word[0]);
	}
	if (!status) {
		change.instead = base_of(live.stack, change.node);
		line = merge_line(&live, &change);
		status = merge_finish(args, c, &live, line);
	}
	if (!status) {
		struct json_object *object = json_about(args->word[0]);

		keys_drop_all(live.disk.name, live.disk.params, line);
		helpers_drop_all(live.disk.name, line);
		json_object_object_add(object, "state", vdisk_json("done"));
		json_object_object_add(object, "stack", vdisk_json(line));
		say(args, "is its base now; the store is not needed any more", object, &live, &change);
	}
	free(line);
	live_put(&live);
	return status;
}

static int merge(const struct vdisk_args *args)
{
	const char *name = args->word[0], *verb = args->nr > 1 ? args->word[1] : "start", *rate = vdisk_option(args, "rate");
	struct course c = { .key = "merge" };
	char text[192], limit[32] = "";
	__u64 sectors = 0;
	int status;

	disk_log_off();
	if (strcmp(verb, "start") && strcmp(verb, "stop") && strcmp(verb, "status"))
		return vdisk_fail("merge: '%s': say start, stop or status", verb);
	if (rate && (!vdisk_parse_size(rate, &sectors) || !sectors))
		return vdisk_fail("--rate: '%s' is no size: say what a second may take, like 32M", rate);
	if (!strcmp(verb, "status"))
		return get_course(args, &c) ?: say_course(args, &c);
	if (!strcmp(verb, "stop")) {
		status = get_course(args, &c);
		snprintf(text, sizeof(text), "%s merge stop", c.target);
		status = status ?: disk_message(name, text, NULL) ?: get_course(args, &c) ?: merge_option(args, true);
		return status ?: say_course(args, &c);
	}
	vdisk_catch();
	status = merge_option(args, false) ?: get_course(args, &c);
	if (status)
		return status;
	if (rate)
		snprintf(limit, sizeof(limit), " %llu", sectors);
	snprintf(text, sizeof(text), "%s merge start%s", c.target, limit);
	status = disk_message(name, text, NULL);
	if (status) {
		char kept[sizeof(vdisk_error)];

		/* One that goes on is not ours to end. */
		memcpy(kept, vdisk_error, sizeof(kept));
		if (!strcmp(c.state, "off"))
			merge_option(args, true);
		memcpy(vdisk_error, kept, sizeof(kept));
		return status;
	}
	status = get_course(args, &c);
	while (!status && !vdisk_option(args, "no-wait")) {
		status = follow(args, &c);
		/* A discard may have left more. */
		while (!status && !vdisk_stopped && !strcmp(c.state, "ready") && c.all - c.done > MERGE_LEFT) {
			nap();
			status = get_course(args, &c);
		}
		if (status || vdisk_stopped || strcmp(c.state, "ready"))
			break;
		status = merge_end(args, &c);
		if (status != MERGE_AGAIN)
			return status;
		nap();
		status = get_course(args, &c);
	}
	return status ?: say_end(args, &c);
}

const struct vdisk_command vdisk_merge = {
	.name = "merge",
	.what = "write what a store has into its base, while the disk is used",
	.more =
"Has the kernel copy all that the store of an overlay has into the base below it, beside the guest's own I/O, and waits for\n"
"that; then I/O stops for an instant, and the base takes the overlay's place. The store says that it was merged, and may\n"
"be removed. Until then nothing has changed for the disk, whatever happens: Ctrl-C ends only the waiting, start goes on, and\n"
"stop gives it up. No other disk may use the base: it would change below it. This is refused where it can be seen.\n",
	.status =
"  0  done; start: the store may be removed, but with --no-wait, where it goes on\n"
"  1  refused, or wrong use; start: it was stopped, or Ctrl-C ended the waiting; the disk is as it was, unless it says that\n"
"     all is in its base\n"
"  2  something cannot be read, or not be written; the disk is as it was, unless it says that it is suspended\n",
	.example = "vdisk merge vm1",
	.operands = "NAME [start|stop|status]",
	.min = 1,
	.max = 2,
	.options = (const struct vdisk_option[]){
		{ "rate", "SIZE", "copy no more in a second" },
		{ "no-wait", NULL, "start: do not wait; another start ends it" },
		{ "node", "LABEL", "which overlay, if there are several" },
		{}
	},
	.run = merge,
};

/* pr, key: messages */

static int pr(const struct vdisk_args *args)
{
	char text[1024] = "pr", *answer = NULL;
	struct words words = {};
	struct disk disk;
	int status;

	disk_log_off();
	status = disk_get(&disk, args->word[0], true);
	disk_put(&disk);
	for (int i = 1; i < args->nr && !status; i++) {
		if (strlen(text) + strlen(args->word[i]) + 2 > sizeof(text) || strpbrk(args->word[i], " \t\n\\"))
			return vdisk_fail("pr: '%.40s' is no word of it; see vdisk pr --help", args->word[i]);
		strcat(strcat(text, " "), args->word[i]);
	}
	status = status ?: disk_message(args->word[0], text, &answer);
	if (!status && args->json) {
		struct json_object *object = json_object_new_object(), *list = json_object_new_array();

		words_split(&words, answer ?: "", TABLE);
		json_object_object_add(object, "name", vdisk_json(args->word[0]));
		for (unsigned int i = 0; i < words.nr; i++)
			json_object_array_add(list, vdisk_json(words.word[i]));
		json_object_object_add(object, "answer", list);
		vdisk_json_print(object);
		words_free(&words);
	} else if (!status && answer && *answer) {
		puts(answer);
	}
	free(answer);
	return status;
}

const struct vdisk_command vdisk_pr = {
	.name = "pr",
	.what = "persistent reservations of a disk",
	.more =
"Reads or changes the reservations of NAME, whose stack has a pr on top, for the nexus that it is:\n"
"  read-keys, read-reservation, read-full-status\n"
"  register KEY NEW [aptpl], register-ignore NEW [aptpl], clear KEY\n"
"  reserve KEY TYPE, release KEY TYPE\n"
"  preempt KEY VICTIMS TYPE, preempt-abort KEY VICTIMS TYPE, drain\n"
"A key is decimal, or hex behind 0x. A TYPE is one of write-exclusive, exclusive-access, write-exclusive-reg-only,\n"
"exclusive-access-reg-only, write-exclusive-all-regs, exclusive-access-all-regs.\n",
	.status =
"  0  done\n"
"  1  wrong use, or it failed\n"
"  2  reservation conflict\n",
	.example = "vdisk pr vm1 register-ignore 0xa",
	.operands = "NAME VERB [WORD...]",
	.min = 2,
	.options = (const struct vdisk_option[]){ {} },
	.run = pr,
};

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

static void say_key(const struct vdisk_args *args, const char *what, const char *more, bool suspended)
{
	struct json_object *object = json_about(args->word[0]);
	char text[64];

	json_object_object_add(object, "key", vdisk_json(what));
	json_object_object_add(object, "suspended", json_object_new_boolean(suspended));
	snprintf(text, sizeof(text), "%s%s", what, more);
	say(args, text, object, NULL, NULL);
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
	status = status ?: new_key(live.disk.name, path, description, sizeof(description));
	loaded = !status;
	if (!status && !suspended)
		status = disk_suspend(name, live.disk.uuid);
	snprintf(text, sizeof(text), "%s key set :%d:logon:%s", node, bytes, description);
	if (!status) {
		status = disk_message(name, text, NULL);
		/* From then on the table names the new one, whatever becomes of the rest. */
		loaded &= !!status;
		old = status ? NULL : own_key(&live, node, live.disk.name);
		if (old && strcmp(old, description))
			keys_drop(old);
		if ((!status || !suspended) && disk_go_on(&live.disk))
			status = VDISK_FAILED;
	}
	if (status && loaded)
		keys_drop(description);
	if (!status)
		say_key(args, "set", "", false);
	live_put(&live);
	return status;
}

static int key_wipe(const struct vdisk_args *args, const char *node)
{
	const char *name = args->word[0];
	char text[128];
	struct disk disk = {};
	int status;

	disk_log_off();
	status = disk_lock(name) ?: disk_get(&disk, name, true);
	if (!status && !disk.info.suspended)
		status = disk_suspend(name, disk.uuid);
	snprintf(text, sizeof(text), "%s key wipe", node);
	if (!status) {
		status = disk_message(name, text, NULL);
		if (status && !disk.info.suspended)
			disk_go_on(&disk);
	}
	if (!status)
		say_key(args, "wiped", "; the disk is suspended until vdisk key set", true);
	disk_put(&disk);
	disk_unlock();
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
