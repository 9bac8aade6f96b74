// SPDX-License-Identifier: GPL-2.0-only
/*
 * vdisk list, show, stat
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vdisk.h"
#include "dm.h"
#include "show.h"
#include "stack.h"

static bool is_counter(const char *word)
{
	size_t len = strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return len && word[len] == '=';
}

const char *seen_counter(const struct seen *n, const char *key)
{
	size_t len = strlen(key);

	for (int i = 0; i < n->nr_counters; i++)
		if (!strncmp(n->counter[i], key, len) && n->counter[i][len] == '=')
			return n->counter[i] + len + 1;
	return NULL;
}

__u64 seen_count(const struct seen *n, const char *key)
{
	return strtoull(seen_counter(n, key) ?: "0", NULL, 10);
}

static void add_word(struct seen *n, const char *word, int pos)
{
	const struct vdisk_type *type = stack_type(n->type);

	if (!(type && pos < (int)type->nr_args && type->args[pos].positional) && is_counter(word)) {
		if (n->nr_counters < MAX_COUNTERS)
			n->counter[n->nr_counters++] = word;
	} else if (!strncmp(word, "label:", 6)) {
		n->label = word + 6;
	} else if (n->nr_options < VDISK_MAX_ARGS) {
		n->option[n->nr_options++] = word;
	}
}

/* Return: false if it is none. */
static bool read_status(struct seen_disk *s, const char *params)
{
	char above[256];
	int at = -1, pos = 0;
	bool want_type = true;

	memset(s, 0, sizeof(*s));
	words_split(&s->words, params, TABLE);
	for (unsigned int i = 0; i < s->words.nr; i++) {
		const char *word = s->words.word[i];

		if (want_type) {
			struct seen *n = &s->node[s->nr];

			if (s->nr == VDISK_MAX_NODES)
				return false;
			n->type = word;
			n->parent = at;
			if (at >= 0) {
				n->depth = s->node[at].depth + 1;
				n->index = s->node[at].nr_children++;
				snprintf(above, sizeof(above), "%s", s->node[at].path);
				snprintf(n->path, sizeof(n->path), "%.200s/%d/%.40s", above, n->index, word);
			} else {
				snprintf(n->path, sizeof(n->path), "%.200s", word);
			}
			at = s->nr++;
			want_type = false;
			pos = 0;
		} else if (!strcmp(word, "(")) {
			want_type = true;
		} else if (!strcmp(word, ")")) {
			if (at < 0 || s->node[at].parent < 0)
				return false;
			at = s->node[at].parent;
			pos = VDISK_MAX_ARGS;
		} else {
			add_word(&s->node[at], word, pos++);
		}
	}
	return s->nr;
}

static int read_disk(struct seen_disk *s, const struct disk *disk, const char *name)
{
	if (disk->params && read_status(s, disk->params))
		return VDISK_OK;
	return vdisk_fail("%s: %s", name, disk->params ? "its status is not understood; is this vdisk as new as the module?" :
			  "has no table: a vdisk create was killed; vdisk remove it");
}

int seen_get(struct seen_disk *s, struct disk *disk, const char *name)
{
	s->words = (struct words){};
	return disk_get(disk, name, false) ?: read_disk(s, disk, name);
}

int seen_get_loaded(struct seen_disk *s, struct disk *disk, const char *name)
{
	s->words = (struct words){};
	return disk_get_loaded(disk, name) ?: read_disk(s, disk, name);
}

const struct seen *seen_child(const struct seen_disk *s, int parent, int index)
{
	for (int i = parent + 1; i < s->nr; i++)
		if (s->node[i].parent == parent && s->node[i].index == index)
			return &s->node[i];
	return NULL;
}

/* Of the sectors that were read through an overlay or cache, those that its store had. Return: false if none were. */
static bool hit_rate(const struct seen_disk *s, int i, double *rate)
{
	const struct seen *store = seen_child(s, i, 0), *base = seen_child(s, i, 1);
	double hits, all;

	if (!seen_counter(&s->node[i], "data") || !store || !base)
		return false;
	hits = seen_count(store, "read_sectors");
	all = hits + seen_count(base, "read_sectors");
	*rate = all ? hits / all : 0;
	return all;
}

static __u64 absent(const struct seen *n)
{
	__u64 len = seen_count(n, "len"), have = seen_count(n, "data") + seen_count(n, "zero");

	return len > have ? len - have : 0;
}

/* An error is a negative one. */
static bool is_number(const char *text)
{
	text += *text == '-';
	return *text && !text[strspn(text, "0123456789")];
}

static void json_counter(struct json_object *object, const char *counter)
{
	const char *value = strchr(counter, '=') + 1;
	char key[64];

	snprintf(key, sizeof(key), "%.*s", (int)(value - 1 - counter), counter);
	if (is_number(value) && *value == '-')
		json_object_object_add(object, key, json_object_new_int64(strtoll(value, NULL, 10)));
	else if (is_number(value))
		vdisk_json_number(object, key, strtoull(value, NULL, 10));
	else
		json_object_object_add(object, key, vdisk_json(value));
}

static struct json_object *json_node(const struct seen_disk *s, int i)
{
	struct json_object *object = json_object_new_object(), *counters = json_object_new_object(), *list;
	const struct seen *n = &s->node[i];
	double rate;

	json_object_object_add(object, "type", vdisk_json(n->type));
	json_object_object_add(object, "path", vdisk_json(n->path));
	if (n->label)
		json_object_object_add(object, "label", vdisk_json(n->label));
	list = json_object_new_array();
	for (int j = 0; j < n->nr_options; j++)
		json_object_array_add(list, vdisk_json(n->option[j]));
	json_object_object_add(object, "words", list);
	for (int j = 0; j < n->nr_counters; j++)
		json_counter(counters, n->counter[j]);
	json_object_object_add(object, "counters", counters);
	if (seen_counter(n, "data"))
		vdisk_json_number(object, "absent", absent(n));
	if (hit_rate(s, i, &rate))
		json_object_object_add(object, "hit_rate", json_object_new_double(rate));
	list = json_object_new_array();
	for (int j = i + 1; j < s->nr; j++)
		if (s->node[j].parent == i)
			json_object_array_add(list, json_node(s, j));
	json_object_object_add(object, "children", list);
	return object;
}

static struct json_object *json_disk(const char *name, const struct disk *disk)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "name", vdisk_json(name));
	json_object_object_add(object, "uuid", vdisk_json(disk->uuid));
	vdisk_json_number(object, "sectors", disk->sectors);
	json_object_object_add(object, "open", json_object_new_int(disk->info.open_count));
	json_object_object_add(object, "read_only", json_object_new_boolean(disk->info.read_only));
	json_object_object_add(object, "suspended", json_object_new_boolean(disk->info.suspended));
	return object;
}

static void show_io(const struct seen *n)
{
	char text[2][VDISK_BYTES_TEXT];

	printf("  read %s, written %s", vdisk_bytes(text[0], seen_count(n, "read_sectors") * 512),
	       vdisk_bytes(text[1], seen_count(n, "written_sectors") * 512));
	if (seen_count(n, "errors"))
		printf(", %llu ERRORS", seen_count(n, "errors"));
	if (seen_counter(n, "error") && strcmp(seen_counter(n, "error"), "0"))
		printf(", ERROR %s", strerror(-atoi(seen_counter(n, "error"))));
}

static void show_node(const struct seen_disk *s, int i)
{
	const struct seen *n = &s->node[i];
	char text[3][VDISK_BYTES_TEXT];
	const char *state = seen_counter(n, "store"), *hydrate = seen_counter(n, "hydrate"), *merge = seen_counter(n, "merge");
	double rate;

	printf("%*s%s", n->depth * 2, "", n->type);
	for (int j = 0; j < n->nr_options; j++) {
		char *word = vdisk_text(n->option[j], strlen(n->option[j]));

		printf(" %s", word);
		free(word);
	}
	if (n->label)
		printf(" label:%s", n->label);
	printf("  %s", vdisk_bytes(text[0], seen_count(n, "len") * 512));
	if (seen_counter(n, "data"))
		printf("  local %s, zero %s, absent %s", vdisk_bytes(text[0], seen_count(n, "data") * 512),
		       vdisk_bytes(text[1], seen_count(n, "zero") * 512), vdisk_bytes(text[2], absent(n) * 512));
	if (hit_rate(s, i, &rate))
		printf("  hit rate %.1f %%", rate * 100);
	if (hydrate && strcmp(hydrate, "off"))
		printf("  hydration %s, %s", hydrate, vdisk_bytes(text[0], seen_count(n, "hydrated") * 512));
	if (merge && strcmp(merge, "off"))
		printf("  merge %s, %s left", merge, vdisk_bytes(text[0], seen_count(n, "unmerged") * 512));
	if (state && strcmp(state, "ok"))
		printf("  STORE %s", state);
	show_io(n);
	putchar('\n');
}

static int show_once(const struct vdisk_args *args)
{
	struct seen_disk *s = malloc(sizeof(*s));
	struct disk disk;
	char text[VDISK_BYTES_TEXT];
	int status;

	if (!s)
		abort();
	status = seen_get(s, &disk, args->word[0]);
	if (!status && args->json) {
		struct json_object *object = json_disk(args->word[0], &disk);

		json_object_object_add(object, "stack", json_node(s, 0));
		vdisk_json_print(object);
	} else if (!status) {
		printf("%s: %s, open %d times%s%s\n", args->word[0], vdisk_bytes(text, disk.sectors * 512), disk.info.open_count,
		       disk.info.read_only ? ", read-only" : "", disk.info.suspended ? ", SUSPENDED" : "");
		for (int i = 0; i < s->nr; i++)
			show_node(s, i);
	}
	disk_put(&disk);
	words_free(&s->words);
	free(s);
	return status;
}

static int show(const struct vdisk_args *args)
{
	bool watch = vdisk_option(args, "watch");
	int status;

	disk_log_off();
	if (watch)
		vdisk_catch();
	do {
		if (watch && isatty(STDOUT_FILENO))
			fputs("\033[H\033[J", stdout);
		status = show_once(args);
		fflush(stdout);
		if (watch && !status && !vdisk_stopped)
			nanosleep(&(struct timespec){ 2, 0 }, NULL);
	} while (watch && !status && !vdisk_stopped && !ferror(stdout));
	return status;
}

const struct vdisk_command vdisk_show = {
	.name = "show",
	.what = "show the tree of a disk, with sizes and counters",
	.more =
"Prints the stack of NAME, a line per node: its length; of an overlay or cache, how much of the disk is in its store (local),\n"
"was discarded or zeroed there (zero), or is not there (absent), as far as that was read from the store; the hit rate: the\n"
"share of what was read, by whomever, that came from the store; what was read and written; errors.\n"
"Counters begin at 0 with each table.\n",
	.status =
"  0  done\n"
"  1  there is no such disk, or it is no vdisk\n",
	.example = "vdisk show vm1 --watch",
	.operands = "NAME",
	.min = 1,
	.max = 1,
	.options = (const struct vdisk_option[]){
		{ "watch", NULL, "again every 2 seconds, until Ctrl-C" },
		{}
	},
	.run = show,
};

/* Calls fn for each vdisk. */
static int each_disk(void (*fn)(void *arg, const char *name, const struct disk *disk), void *arg)
{
	struct dm_task *task;
	struct dm_names *names = disk_names(&task);

	if (!names)
		return VDISK_FAILED;
	for (; names->dev; names = (void *)((char *)names + names->next)) {
		struct dm_task *target = dm_task_create(DM_DEVICE_STATUS);
		char *type = NULL, *params = NULL;
		struct disk disk = {};
		uint64_t start, sectors = 0;

		/* Others are passed over, also those that go meanwhile. */
		if (target && dm_task_set_name(target, names->name) && dm_task_no_flush(target) && dm_task_run(target) &&
		    dm_task_get_info(target, &disk.info) && disk.info.exists) {
			snprintf(disk.uuid, sizeof(disk.uuid), "%s", dm_task_get_uuid(target) ?: "");
			dm_get_next_target(target, NULL, &start, &sectors, &type, &params);
			if (type ? !strcmp(type, "vdisk") : !strncmp(disk.uuid, DISK_UUID, strlen(DISK_UUID))) {
				disk.sectors = sectors;
				disk.params = params;
				fn(arg, names->name, &disk);
			}
		}
		if (target)
			dm_task_destroy(target);
		if (!names->next)
			break;
	}
	dm_task_destroy(task);
	return VDISK_OK;
}

/* Without a table there is no type. */
static void list_json(void *arg, const char *name, const struct disk *disk)
{
	struct json_object *object = json_disk(name, disk);

	json_object_object_add(object, "type", disk->params ?
			       json_object_new_string_len(disk->params, strcspn(disk->params, " ")) : NULL);
	json_object_array_add(arg, object);
}

static void list_text(void *arg, const char *name, const struct disk *disk)
{
	char text[VDISK_BYTES_TEXT];

	(void)arg;
	printf("%-24s %10s  %s%s%.*s\n", name, vdisk_bytes(text, disk->sectors * 512),
	       disk->info.suspended ? "SUSPENDED " : disk->info.open_count ? "open " : "",
	       disk->info.read_only ? "read-only " : "",
	       disk->params ? (int)strcspn(disk->params, " ") : 12, disk->params ?: "(no table)");
}

static int list(const struct vdisk_args *args)
{
	struct json_object *array = args->json ? json_object_new_array() : NULL;
	int status;

	disk_log_off();
	status = each_disk(args->json ? list_json : list_text, array);
	if (!status && args->json)
		vdisk_json_print(array);
	else if (array)
		json_object_put(array);
	return status;
}

const struct vdisk_command vdisk_list = {
	.name = "list",
	.what = "list the disks",
	.more =
"Prints each disk with its length, whether it is open, suspended or read-only, and the type of its stack's root.\n",
	.status =
"  0  done, also if there is none\n"
"  1  it failed\n",
	.example = "vdisk list --json",
	.operands = "",
	.max = -1,
	.options = (const struct vdisk_option[]){ {} },
	.run = list,
};

/* stat: Prometheus wants all samples of a metric together. */

static const char *const totals[] = {
	"reads", "read_sectors", "writes", "written_sectors", "discards", "discarded_sectors", "flushes", "errors", "inline",
	"fills", "dropped", "requests", "served", "failed", "bytes", "again", "pushes", "refused", "losses", "conflicts",
	"preempted", "released",
};

struct sample {
	char *metric, *labels;
	double value;
	size_t order;
};

struct samples {
	struct sample *sample;
	size_t nr;
	struct json_object *disks;
};

/* A label's value, as the text format wants it. To be freed. */
static char *label_value(const char *text)
{
	char *value = malloc(2 * strlen(text) + 1), *to = value;

	if (!value)
		abort();
	for (; *text; text++) {
		if (*text == '\\' || *text == '"' || *text == '\n')
			*to++ = '\\';
		*to++ = *text == '\n' ? 'n' : *text;
	}
	*to = 0;
	return value;
}

static void add_sample(struct samples *samples, const char *metric, const char *labels, double value)
{
	struct sample *sample;

	samples->sample = realloc(samples->sample, (samples->nr + 1) * sizeof(*sample));
	if (!samples->sample)
		abort();
	sample = &samples->sample[samples->nr];
	*sample = (struct sample){ strdup(metric), strdup(labels), value, samples->nr };
	if (!sample->metric || !sample->labels)
		abort();
	samples->nr++;
}

static bool is_total(const char *key)
{
	for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++)
		if (!strcmp(totals[i], key))
			return true;
	return false;
}

static void sample_node(struct samples *samples, const char *disk, const struct seen_disk *s, int i)
{
	const struct seen *n = &s->node[i];
	char *name = label_value(disk), *label = label_value(n->label ?: ""), *labels, metric[96], key[64];

	if (asprintf(&labels, "disk=\"%s\",node=\"%s\",type=\"%s\",label=\"%s\"", name, n->path, n->type, label) < 0)
		abort();
	for (int j = 0; j < n->nr_counters; j++) {
		const char *value = strchr(n->counter[j], '=') + 1;

		snprintf(key, sizeof(key), "%.*s", (int)(value - 1 - n->counter[j]), n->counter[j]);
		if (!is_number(value))
			continue;
		snprintf(metric, sizeof(metric), "vdisk_node_%s%s", key, is_total(key) ? "_total" : "");
		add_sample(samples, metric, labels, strtod(value, NULL));
	}
	if (seen_counter(n, "data") && seen_count(n, "len"))
		add_sample(samples, "vdisk_node_local_ratio", labels,
			   1 - (double)absent(n) / seen_count(n, "len"));
	if (seen_counter(n, "store"))
		add_sample(samples, "vdisk_node_store_failed", labels, !strcmp(seen_counter(n, "store"), "failed"));
	free(labels);
	free(label);
	free(name);
}

static void sample_disk(void *arg, const char *name, const struct disk *disk)
{
	struct samples *samples = arg;
	struct seen_disk *s = malloc(sizeof(*s));
	char *value = label_value(name), *labels;
	struct json_object *object;

	if (!s || asprintf(&labels, "disk=\"%s\"", value) < 0)
		abort();
	add_sample(samples, "vdisk_sectors", labels, disk->sectors);
	add_sample(samples, "vdisk_open", labels, disk->info.open_count);
	add_sample(samples, "vdisk_suspended", labels, disk->info.suspended);
	s->words = (struct words){};
	object = json_disk(name, disk);
	if (disk->params && read_status(s, disk->params)) {
		for (int i = 0; i < s->nr; i++)
			sample_node(samples, name, s, i);
		json_object_object_add(object, "stack", json_node(s, 0));
	} else {
		json_object_object_add(object, "stack", NULL);
	}
	json_object_array_add(samples->disks, object);
	words_free(&s->words);
	free(s);
	free(labels);
	free(value);
}

static int compare(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	return strcmp(x->metric, y->metric) ?: (x->order > y->order) - (x->order < y->order);
}

static bool ends_in_total(const char *metric)
{
	size_t len = strlen(metric);

	return len > 6 && !strcmp(metric + len - 6, "_total");
}

static int stat_disks(const struct vdisk_args *args)
{
	struct samples samples = { .disks = json_object_new_array() };
	struct disk disk;
	int status = VDISK_OK;

	disk_log_off();
	if (!args->nr)
		status = each_disk(sample_disk, &samples);
	for (int i = 0; i < args->nr && !status; i++) {
		bool again = false;

		/* A series may be there once. */
		for (int j = 0; j < i; j++)
			again |= !strcmp(args->word[j], args->word[i]);
		if (again)
			continue;
		status = disk_get(&disk, args->word[i], false);
		if (!status)
			sample_disk(&samples, args->word[i], &disk);
		disk_put(&disk);
	}
	qsort(samples.sample, samples.nr, sizeof(*samples.sample), compare);
	for (size_t i = 0; i < samples.nr; i++) {
		struct sample *sample = &samples.sample[i];

		if (!status && !args->json) {
			if (!i || strcmp(sample->metric, sample[-1].metric))
				printf("# TYPE %s %s\n", sample->metric, ends_in_total(sample->metric) ? "counter" : "gauge");
			printf("%s{%s} %.17g\n", sample->metric, sample->labels, sample->value);
		}
	}
	for (size_t i = 0; i < samples.nr; i++) {
		free(samples.sample[i].metric);
		free(samples.sample[i].labels);
	}
	free(samples.sample);
	if (!status && args->json)
		vdisk_json_print(samples.disks);
	else
		json_object_put(samples.disks);
	return status;
}

const struct vdisk_command vdisk_stat = {
	.name = "stat",
	.what = "print all counters for Prometheus",
	.more =
"Prints the counters of each node of each disk, or of those that are called NAME, in the text form of Prometheus, for a\n"
"node_exporter's textfile collector. Counters begin at 0 with each table. vdisk_node_local_ratio is the share of a disk\n"
"that an overlay or cache has in its store.\n",
	.status =
"  0  done\n"
"  1  it failed, or there is no such disk\n",
	.example = "vdisk stat --prometheus >vdisk.new && mv vdisk.new /var/lib/prometheus/node-exporter/vdisk.prom",
	.operands = "[NAME...]",
	.options = (const struct vdisk_option[]){
		{ "prometheus", NULL, "as it is without --json" },
		{}
	},
	.run = stat_disks,
};
