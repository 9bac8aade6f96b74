// SPDX-License-Identifier: GPL-2.0-only
/*
 * The spellings of OpenVMM's --disk, as stacks. Layers and wrappers become
 * nodes; what else they ask for (a length, ro) goes into struct openvmm. Where
 * there is no such stack, the message says which one to write instead.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vdisk.h"
#include "openvmm.h"

#define CACHE_PATH	"OPENVMM_AUTO_CACHE_PATH"

static void __attribute__((format(printf, 2, 3))) add(struct words *out, const char *format, ...)
{
	va_list args;
	char *word;

	va_start(args, format);
	if (vasprintf(&word, format, args) < 0)
		abort();
	va_end(args);
	words_add(out, word);
	free(word);
}

static int disk(struct openvmm *o, struct words *out, char *text);

static int child(struct openvmm *o, struct words *out, char *text)
{
	int status;

	words_add(out, "(");
	status = disk(o, out, text);
	words_add(out, ")");
	return status;
}

static int base(struct openvmm *o, struct words *out, char *text)
{
	bool below = o->below;
	int status;

	o->below = true;
	status = child(o, out, text);
	o->below = below;
	return status;
}

/* Theirs counts bytes, where ours counts sectors. */
static int size(const char *text, __u64 *sectors)
{
	size_t digits = strspn(text, "0123456789");
	char *copy = NULL;
	bool good;

	if (digits && text[digits] && strchr("KMGT", text[digits]) && (!text[digits + 1] || !strcmp(text + digits + 1, "B")))
		copy = strndup(text, digits + 1);
	else if (digits && !text[digits])
		copy = strdup(text);
	good = copy && vdisk_parse_size(copy, sectors);
	if (good && !text[digits]) {
		good = *sectors % 512 == 0;
		*sectors /= 512;
	}
	free(copy);
	return good && *sectors ? VDISK_OK :
	       vdisk_fail("'%.100s' is no length: say bytes, a multiple of 512, or a number with K, M, G or T, as in 10G", text);
}

static bool ends(const char *text, const char *with)
{
	size_t len = strlen(text), end = strlen(with);

	return len > end && !strcasecmp(text + len - end, with);
}

/* A device or a file? What is not there is judged by its name. */
static bool is_device(struct openvmm *o, const char *path)
{
	unsigned int block;
	struct stat st;
	int fd;

	if (stat(path, &st))
		return !strncmp(path, "/dev/", 5);
	if (!S_ISBLK(st.st_mode))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 && !ioctl(fd, BLKSSZGET, &block) && block > o->block)
		o->block = block;
	if (fd >= 0)
		close(fd);
	return true;
}

/* PATH[;direct][;create=LEN] */
static int file(struct openvmm *o, struct words *out, char *text)
{
	char *path = strsep(&text, ";"), *option;

	if (!*path)
		return vdisk_fail("file: without a path");
	while ((option = strsep(&text, ";"))) {
		if (!strncmp(option, "create=", 7))
			return vdisk_fail("%.300s: an image is not made here, so that none is lost: leave out ;create=, and make it: "
					  "truncate -s %.100s %.300s", path, option + 7, path);
		/* It is anyway. */
		if (strcmp(option, "direct"))
			return vdisk_fail("%.300s: ';%.100s' is no option of a file; there are ;direct and ;create=LENGTH", path, option);
	}
	if (ends(path, ".vhdx"))
		return vdisk_fail("%.300s: VHDX is not read: qemu-img convert -O raw makes a raw image of it", path);
	if (ends(path, ".iso") && !o->below && !o->readonly)
		return vdisk_fail("%.300s: an ISO image is not written: say ,ro behind it, or memdiff: before it", path);
	add(out, ends(path, ".vhd") || ends(path, ".vmgs") ? "vhd1" : is_device(o, path) ? "block" : "file");
	add(out, "%s", path);
	return VDISK_OK;
}

static int mem(struct openvmm *o, struct words *out, char *text)
{
	add(out, "ram");
	return size(text, &o->len);
}

static int memdiff(struct openvmm *o, struct words *out, char *text)
{
	for (const char *word = "overlay\0volatile\0(\0ram\0)\0"; *word; word += strlen(word) + 1)
		add(out, "%s", word);
	return base(o, out, text);
}

/* The store of a new layer, as theirs: what is there is not used for a new one. */
static int store(struct openvmm *o, struct words *out, const char *path, bool create)
{
	if (!*path)
		return vdisk_fail("sql, sqldiff: without the path of the store");
	if (create && o->later)
		return vdisk_fail("%.300s: ;create refuses a store that is there, as it is when the host boots again: leave it out, and "
				  "put create among the options, with len=SIZE for sql", path);
	if (create && !access(path, F_OK))
		return vdisk_fail("%.300s: is there already; leave out ;create to use it", path);
	if (create)
		words_add(&o->create, path);
	add(out, "overlay");
	add(out, "(");
	add(out, "file");
	add(out, "%s", path);
	add(out, ")");
	return VDISK_OK;
}

/* PATH[;create=LEN]; a store of vdisk's own format takes the place of the database. */
static int sql(struct openvmm *o, struct words *out, char *text)
{
	char *path = strsep(&text, ";");

	if (text && strncmp(text, "create=", 7))
		return vdisk_fail("sql: ';%.100s' is no option; there is ;create=LENGTH", text);
	if (text && size(text + 7, &o->len))
		return VDISK_FAILED;
	if (store(o, out, path, text))
		return VDISK_FAILED;
	add(out, "(");
	add(out, "zero");
	add(out, ")");
	return VDISK_OK;
}

/* PATH[;create]:DISK */
static int sqldiff(struct openvmm *o, struct words *out, char *text)
{
	char *path = strsep(&text, ":"), *option = strchr(path, ';');

	if (!text || !*text)
		return vdisk_fail("sqldiff: is sqldiff:PATH[;create]:DISK, and DISK is missing");
	if (option)
		*option++ = 0;
	if (option && strcmp(option, "create"))
		return vdisk_fail("sqldiff: ';%.100s' is no option; there is ;create", option);
	return store(o, out, path, option) ?: base(o, out, text);
}

/* [KEY]:DISK */
static int autocache(struct openvmm *o, struct words *out, char *text)
{
	const char *dir = getenv(CACHE_PATH), *key = strsep(&text, ":");

	if (!text || !*text)
		return vdisk_fail("autocache: is autocache:KEY:DISK, and DISK is missing");
	if (!*key)
		return vdisk_fail("autocache: without a key: what identity DISK has is not known here, so say one, as in "
				  "autocache:debian-13:DISK");
	if (strchr(key, '/') || *key == '.')
		return vdisk_fail("autocache: the key '%.100s' is no name of a file", key);
	if (!dir || !*dir)
		return vdisk_fail("autocache: set the directory for caches: export " CACHE_PATH "=/var/cache/vdisk");
	if (!o->below && !o->readonly)
		return vdisk_fail("autocache: takes no writes: say memdiff: before it, or ,ro behind all");
	add(out, "cache");
	add(out, "(");
	add(out, "file");
	add(out, "%s/%s.vdisk", dir, key);
	words_add(&o->create, out->word[out->nr - 1]);
	add(out, ")");
	return base(o, out, text);
}

/* flat|vhd1:URL */
static int blob(struct openvmm *o, struct words *out, char *text)
{
	const char *kind = strsep(&text, ":");
	bool vhd = !strcmp(kind, "vhd1");

	if ((!vhd && strcmp(kind, "flat")) || !text || !*text)
		return vdisk_fail("blob: is blob:flat:URL or blob:vhd1:URL");
	if (!o->below && !o->readonly)
		return vdisk_fail("blob: takes no writes: say memdiff: before it, or ,ro behind all");
	add(out, "blob");
	add(out, "%s", text);
	if (vhd)
		add(out, "vhd1");
	return VDISK_OK;
}

/* xts-aes-256:KEY_FILE:DISK; the unit of encryption is the block of the disk, and the tweak its number */
static int crypt_disk(struct openvmm *o, struct words *out, char *text)
{
	const char *cipher = strsep(&text, ":"), *key = strsep(&text, ":");
	struct words below = {};
	struct stat st;
	int status;

	if (strcmp(cipher, "xts-aes-256"))
		return vdisk_fail("crypt: '%.100s' is no cipher; there is xts-aes-256", cipher);
	if (!key || !*key || !text || !*text)
		return vdisk_fail("crypt: is crypt:xts-aes-256:KEY_FILE:DISK");
	if (!o->later && !stat(key, &st) && st.st_size != 64)
		return vdisk_fail("crypt: %.300s: a key of xts-aes-256 has 64 bytes, and the file %lld", key, (long long)st.st_size);
	status = child(o, &below, text);
	add(out, "crypt");
	add(out, "cipher:aes-xts-plain64");
	add(out, KEYFILE "%s", key);
	if (o->block > 512) {
		add(out, "sector_size:%u", o->block);
		add(out, "iv_large_sectors");
	}
	add(out, "allow_discards");
	for (unsigned int i = 0; i < below.nr; i++)
		words_add(out, below.word[i]);
	words_free(&below);
	return status;
}

static int prwrap(struct openvmm *o, struct words *out, char *text)
{
	add(out, "pr");
	add(out, "domain:%s", o->name);
	add(out, "nexus:%s", o->name);
	return child(o, out, text);
}

/* MS:DISK, reads and writes */
static int delay(struct openvmm *o, struct words *out, char *text)
{
	const char *ms = strsep(&text, ":");

	if (!*ms || ms[strspn(ms, "0123456789")] || !text || !*text)
		return vdisk_fail("delay: is delay:MILLISECONDS:DISK");
	add(out, "delay");
	add(out, "read:%sms", ms);
	add(out, "write:%sms", ms);
	return child(o, out, text);
}

static const struct {
	const char *name;
	int (*translate)(struct openvmm *o, struct words *out, char *text);
} kinds[] = {
	{ "file", file }, { "mem", mem }, { "memdiff", memdiff }, { "sql", sql }, { "sqldiff", sqldiff },
	{ "autocache", autocache }, { "blob", blob }, { "crypt", crypt_disk }, { "prwrap", prwrap }, { "delay", delay },
};

static int disk(struct openvmm *o, struct words *out, char *text)
{
	size_t len = strcspn(text, ":/");

	if (!*text)
		return vdisk_fail("a disk is missing at the end; see DISKS OF OPENVMM in vdisk(8)");
	if (text[len] != ':')
		return file(o, out, text);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strlen(kinds[i].name) == len && !strncmp(kinds[i].name, text, len))
			return kinds[i].translate(o, out, text + len + 1);
	return vdisk_fail("'%.*s' is no kind of disk: there are file, mem, memdiff, sql, sqldiff, autocache, blob, crypt, prwrap and "
			  "delay; a path with a colon begins with ./ or /", (int)len, text);
}

static int option(struct openvmm *o, const char *word)
{
	static const char *const vmm[] = { "vtl2", "uh", "uh-nvme", "relay", "on", "nsid", "lun", "pcie_port" };
	size_t len = strcspn(word, "=");

	if (!strcmp(word, "ro")) {
		o->readonly = true;
		return VDISK_OK;
	}
	if (!strcmp(word, "dvd"))
		return vdisk_fail("'dvd' is about how the guest sees the disk: say ro here, as it is then, and dvd to the VMM, as in --disk file:/dev/mapper/%s,dvd",
				  o->name);
	for (size_t i = 0; i < sizeof(vmm) / sizeof(vmm[0]); i++)
		if (strlen(vmm[i]) == len && !strncmp(vmm[i], word, len))
			return vdisk_fail("'%.100s' is about how the guest sees the disk: leave it out here, and say it to the VMM, as in "
					  "--disk file:/dev/mapper/%s,%.100s", word, o->name, word);
	return vdisk_fail("'%.100s' is no option of a disk: there is ro (a path cannot have a comma here; write the stack, as in 'file a,b')",
			  word);
}

/**
 * words_openvmm - translate what OpenVMM's --disk takes into a stack
 * @words: a stack's. It is changed if it is one word that is none.
 * @o: name and later are set; is filled
 *
 * Return: an exit status, after saying what cannot be translated, and why.
 */
int words_openvmm(struct words *words, struct openvmm *o)
{
	char *text, *rest, *word, *options;
	struct words out = {};
	unsigned int url = 0;
	int status = VDISK_OK;

	if (words->nr != 1 || stack_type(words->word[0]) || !strpbrk(words->word[0], ":/.") || words_url(words, &url))
		return VDISK_OK;
	text = strdup(words->word[0]);
	if (!text)
		abort();
	rest = text;
	word = strsep(&rest, ",");
	while (!status && (options = strsep(&rest, ",")))
		status = option(o, options);
	status = status ?: disk(o, &out, word);
	free(text);
	if (status) {
		words_free(&out);
		return status;
	}
	words_free(words);
	*words = out;
	return VDISK_OK;
}
