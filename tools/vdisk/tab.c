// SPDX-License-Identifier: GPL-2.0-only
/*
 * /etc/vdisktab: the disks of this host, a line each: NAME OPTIONS STACK. Reads
 * it for vdisk tab and for the generator of systemd, so that both find the same
 * faults. A line with one does not count, and the others do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vdisk.h"
#include "openvmm.h"
#include "tab.h"

#define MAX_LINE	65536	/* one argument of a program is at most twice that */

static const struct {
	const char *name;
	size_t offset;
} flags[] = {
#define FLAG(name, member) { name, offsetof(struct tab_disk, member) }
	FLAG("noauto", noauto), FLAG("nofail", nofail), FLAG("_netdev", netdev), FLAG("create", create),
	FLAG("readonly", readonly), FLAG("scan", scan),
};

const struct tab_disk *tab_find(const struct tab *tab, const char *name)
{
	for (unsigned int i = 0; i < tab->nr; i++)
		if (!strcmp(tab->disk[i].name, name))
			return &tab->disk[i];
	return NULL;
}

/* The disk that is this device; NULL: it is some other. */
const struct tab_disk *tab_find_device(const struct tab *tab, const char *path)
{
	return strncmp(path, "/dev/mapper/", 12) ? NULL : tab_find(tab, path + 12);
}

static void disk_free(struct tab_disk *disk)
{
	free(disk->name);
	free(disk->options);
	free(disk->stack);
	free(disk->len);
	words_free(&disk->files);
	words_free(&disk->devices);
	words_free(&disk->blobs);
}

void tab_free(struct tab *tab)
{
	while (tab->nr)
		disk_free(&tab->disk[--tab->nr]);
	free(tab->disk);
	tab->disk = NULL;
}

static int parse_option(struct tab_disk *disk, const char *option)
{
	__u64 sectors;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (!strcmp(option, flags[i].name)) {
			*(bool *)((char *)disk + flags[i].offset) = true;
			return VDISK_OK;
		}
	}
	if (!strncmp(option, "len=", 4)) {
		if (disk->len)
			return vdisk_fail("len= is there twice");
		if (!vdisk_parse_size(option + 4, &sectors) || !sectors)
			return vdisk_fail("len=: '%.100s' is no size: say a number of sectors (of 512 bytes), or one like 512K, 100M, 10G",
					  option + 4);
		disk->len = strdup(option + 4);
		if (!disk->len)
			abort();
		return VDISK_OK;
	}
	/* Notes for other programs, as in fstab */
	if (!strncmp(option, "x-", 2))
		return VDISK_OK;
	return vdisk_fail("'%.100s' is no option; there are noauto, nofail, _netdev, create, readonly, scan, len=SIZE, and - for none",
			  option);
}

static int parse_options(struct tab_disk *disk, char *options)
{
	char *option, *rest = options;

	if (!strcmp(options, "-"))
		return VDISK_OK;
	while ((option = strsep(&rest, ",")))
		if (parse_option(disk, option))
			return VDISK_FAILED;
	return VDISK_OK;
}

static int need_absolute(const char *path)
{
	return *path == '/' ? VDISK_OK : vdisk_fail("%.500s: a path in this file begins with /", path);
}

/* Checks the stack as vdisk create does, but for what is not there yet while the host boots. */
static int parse_stack(struct tab_disk *disk)
{
	struct vdisk_stack *s = calloc(1, sizeof(*s));
	struct openvmm openvmm = { .name = disk->name, .later = true };
	struct words words = {};
	unsigned int url = 0;
	int status;

	if (!s)
		abort();
	words_split(&words, disk->stack, TYPED);
	status = words_openvmm(&words, &openvmm);
	if (!status && words_url(&words, &url))
		status = vdisk_fail("blob: its URL belongs into /etc/vdisk/fetchd/NAME.conf, see vdisk-fetchd(8); say blob NAME len:LENGTH here");
	words_hide_keys(&words, &disk->files);
	for (unsigned int i = 0; !status && i < disk->files.nr; i++)
		status = need_absolute(disk->files.word[i]);
	words_translate(&words, false);
	status = status ?: stack_parse(s, &words);
	for (unsigned int i = 0; !status && i < s->nr_nodes; i++) {
		const struct vdisk_node *n = s->nodes[i];

		if (n->type == &vdisk_types[VDISK_TYPE_BLOB])
			words_add(&disk->blobs, n->val[BLOB_NAME].str);
		else if (stack_path(n))
			words_add(n->type->args[0].kind == VDISK_DEVICE ? &disk->devices : &disk->files, stack_path(n));
	}
	/* Its helper is there late, and may need the network. */
	disk->netdev |= disk->blobs.nr > 0;
	if (!status)
		stack_free(s);
	free(s);
	words_free(&openvmm.create);
	words_free(&words);
	return status;
}

static char *field(char **rest)
{
	char *begin = *rest + strspn(*rest, " \t"), *end = begin + strcspn(begin, " \t");

	*rest = end + (*end ? 1 : 0);
	*end = 0;
	return begin;
}

/* @text: of one line, without its end. It is changed. */
static int parse_line(struct tab *tab, struct tab_disk *disk, char *text, size_t len)
{
	const struct tab_disk *other;
	char *options;

	if (len > MAX_LINE)
		return vdisk_fail("longer than %d bytes", MAX_LINE);
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] < ' ' && text[i] != '\t')
			return vdisk_fail(text[i] == '\r' ? "ends as lines of DOS do; sed -i 's/\\r$//' %s mends it" :
							    "a control character is in it; retype the line in %s", tab->path);
	}
	disk->name = strdup(field(&text));
	options = field(&text);
	disk->options = strdup(options);
	disk->stack = strdup(text + strspn(text, " \t"));
	if (!disk->name || !disk->options || !disk->stack)
		abort();
	if (vdisk_check_name(disk->name))
		return VDISK_FAILED;
	other = tab_find(tab, disk->name);
	if (other)
		return vdisk_fail("%s: is in line %u already", disk->name, other->line);
	if (!*options || !*disk->stack)
		return vdisk_fail("%s: a line is NAME OPTIONS STACK; OPTIONS may be -", disk->name);
	return parse_options(disk, options) ?: parse_stack(disk);
}

/* One that lies on a disk that is made late, and is not made late itself: each would wait for the other. */
static struct tab_disk *find_early(const struct tab *tab)
{
	for (struct tab_disk *disk = tab->disk; disk < tab->disk + tab->nr; disk++) {
		for (unsigned int i = 0; !disk->netdev && i < disk->devices.nr; i++) {
			const struct tab_disk *other = tab_find_device(tab, disk->devices.word[i]);

			if (other && other->netdev)
				return disk;
		}
	}
	return NULL;
}

/**
 * tab_read - read a vdisktab
 * @tab: is filled with the lines that are right; tab_free() it
 * @path: of the file
 * @say: what is wrong with a line, and what is to be done; it goes on then
 * @arg: of @say
 *
 * Return: an exit status: the file cannot be read, or a line is wrong; or
 * -ENOENT: there is no file.
 */
int tab_read(struct tab *tab, const char *path, void (*say)(void *arg, unsigned int line, const char *text), void *arg)
{
	struct tab_disk *disk;
	unsigned int line = 0;
	size_t size = 0;
	char *text = NULL;
	ssize_t len;
	FILE *file;

	*tab = (struct tab){ .path = path };
	file = fopen(path, "re");
	if (!file && errno == ENOENT)
		return -ENOENT;
	if (!file)
		return vdisk_fail("%s: %s", path, strerror(errno));
	vdisk_quiet = true;
	while ((len = getline(&text, &size, file)) > 0) {
		struct tab_disk new = { .line = ++line };

		len -= text[len - 1] == '\n';
		text[len] = 0;
		if (!text[strspn(text, " \t")] && strlen(text) == (size_t)len)
			continue;
		if (text[strspn(text, " \t")] == '#')
			continue;
		if (parse_line(tab, &new, text, len)) {
			say(arg, line, vdisk_error);
			tab->wrong++;
			disk_free(&new);
			continue;
		}
		tab->disk = realloc(tab->disk, (tab->nr + 1) * sizeof(*tab->disk));
		if (!tab->disk)
			abort();
		tab->disk[tab->nr++] = new;
	}
	vdisk_quiet = false;
	free(text);
	while ((disk = find_early(tab)))
		disk->netdev = true;
	if (ferror(file))
		vdisk_fail("%s: %s", path, strerror(errno));
	len = ferror(file);
	fclose(file);
	return len || tab->wrong ? VDISK_FAILED : VDISK_OK;
}

/* vdisk tab */

struct report {
	const char *path;
	struct json_object *errors;
};

static void say_error(void *arg, unsigned int line, const char *text)
{
	struct report *report = arg;
	struct json_object *object;
	char copy[sizeof(vdisk_error)];

	snprintf(copy, sizeof(copy), "%s", text);
	vdisk_quiet = false;
	vdisk_fail("%s:%u: %.900s", report->path, line, copy);
	vdisk_quiet = true;
	object = json_object_new_object();
	vdisk_json_number(object, "line", line);
	json_object_object_add(object, "error", vdisk_json(copy));
	json_object_array_add(report->errors, object);
}

static struct json_object *json_texts(const struct words *words)
{
	struct json_object *array = json_object_new_array();

	for (unsigned int i = 0; i < words->nr; i++)
		json_object_array_add(array, vdisk_json(words->word[i]));
	return array;
}

static struct json_object *json_disk(const struct tab_disk *disk)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "name", vdisk_json(disk->name));
	vdisk_json_number(object, "line", disk->line);
	json_object_object_add(object, "stack", vdisk_json(disk->stack));
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		json_object_object_add(object, flags[i].name + (*flags[i].name == '_'),
				       json_object_new_boolean(*(const bool *)((const char *)disk + flags[i].offset)));
	if (disk->len)
		json_object_object_add(object, "len", vdisk_json(disk->len));
	json_object_object_add(object, "files", json_texts(&disk->files));
	json_object_object_add(object, "devices", json_texts(&disk->devices));
	json_object_object_add(object, "blobs", json_texts(&disk->blobs));
	return object;
}

static void print_disk(const struct tab_disk *disk)
{
	char *text = vdisk_text(disk->stack, strlen(disk->stack));

	printf("%s:", disk->name);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (*(const bool *)((const char *)disk + flags[i].offset))
			printf(" %s", flags[i].name);
	if (disk->len)
		printf(" len=%s", disk->len);
	printf(" %s\n", text);
	free(text);
}

static int tab(const struct vdisk_args *args)
{
	struct report report = { .path = args->nr ? args->word[0] : TAB_PATH, .errors = json_object_new_array() };
	struct json_object *object, *disks;
	struct tab read;
	int status;

	status = tab_read(&read, report.path, say_error, &report);
	if (status == -ENOENT)
		status = vdisk_fail("%s: is not there; vdisktab(5) says what to write into it", report.path);
	if (args->json && (!status || read.wrong)) {
		object = json_object_new_object();
		disks = json_object_new_array();
		for (unsigned int i = 0; i < read.nr; i++)
			json_object_array_add(disks, json_disk(&read.disk[i]));
		json_object_object_add(object, "disks", disks);
		json_object_object_add(object, "errors", json_object_get(report.errors));
		vdisk_json_print(object);
	}
	for (unsigned int i = 0; !args->json && i < read.nr; i++)
		print_disk(&read.disk[i]);
	json_object_put(report.errors);
	tab_free(&read);
	return status;
}

const struct vdisk_command vdisk_tab = {
	.name = "tab",
	.what = "check /etc/vdisktab, the disks that are made when the host boots",
	.more =
"Reads FILE, or else /etc/vdisktab, see vdisktab(5), and prints the disks of its lines. What is wrong with a line is said\n"
"with its number; when the host boots it is left out, and the others are made. Whether the devices and files are there is\n"
"not looked at. After a change: systemctl daemon-reload.\n",
	.status =
"  0  all lines are right\n"
"  1  one is not, or the file cannot be read\n",
	.example = "vdisk tab && systemctl daemon-reload && systemctl start vdisk.target",
	.operands = "[FILE]",
	.max = 1,
	.options = (const struct vdisk_option[]){ {} },
	.run = tab,
};
