// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes units of /etc/vdisktab when systemd starts or is told to reload: a
 * vdisk@NAME.service per line. See vdisktab(5), and systemd.generator(7) for
 * what it may do: files below its first argument, and no more.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vdisk.h"
#include "tab.h"

#define LETTERS		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS		"0123456789"
#define MAX_UNIT	255	/* bytes of a unit's name */

static const char *dir;
static int status;

/* To the kernel's log: there is no other yet. */
static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	char text[1200];
	va_list args;
	FILE *log;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "vdisk-generator: %s\n", text);
	log = fopen("/dev/kmsg", "we");
	if (log) {
		fprintf(log, "<3>vdisk-generator[%d]: %s\n", getpid(), text);
		fclose(log);
	}
	status = EXIT_FAILURE;
}

static void wrong_line(void *arg, unsigned int line, const char *text)
{
	say("%s:%u: %s; the disk is not made. vdisk tab checks the file", (const char *)arg, line, text);
}

/* What a unit's name cannot have becomes \xNN. */
static void escape_name(char *to, const char *name, const char *good)
{
	for (; *name; name++)
		to += strchr(good, *name) ? sprintf(to, "%c", *name) : sprintf(to, "\\x%02x", (unsigned char)*name);
	*to = 0;
}

/* The name of a disk stays readable: vdisk@vm-1, as vdisk-fetchd@debian-13. */
static char *disk_unit(const char *name)
{
	char escaped[4 * 120 + 1];

	escape_name(escaped, name, LETTERS DIGITS ":-_.@");
	return text_new("vdisk@%s.service", escaped);
}

/* As systemd-escape --path does it, for names of units that begin with @before and end in @behind. NULL: there is none. */
static char *device_unit(const char *before, const char *path, const char *behind)
{
	char *plain = malloc(strlen(path) + 1), *escaped = malloc(4 * strlen(path) + 1), *unit = NULL, *to = plain;

	if (!plain || !escaped)
		abort();
	while (*path) {
		size_t len = strcspn(path, "/");

		if (len && strncmp(path, ".", len)) {
			if (to != plain)
				*to++ = '/';
			to = mempcpy(to, path, len);
		}
		path += len + (path[len] == '/');
	}
	*to = 0;
	escape_name(escaped, plain, LETTERS DIGITS ":_./");
	for (char *c = escaped; *c; c++)
		*c = *c == '/' ? '-' : *c;
	if (!strncmp(plain, "dev/", 4) && !strstr(plain, "..") && strlen(before) + strlen(escaped) + strlen(behind) <= MAX_UNIT)
		unit = text_new("%s%s%s", before, escaped, behind);
	free(plain);
	free(escaped);
	return unit;
}

/* A word of ExecStart=: systemd reads quotes, backslashes and %. */
static void put_word(FILE *unit, const char *word)
{
	fputs(" \"", unit);
	for (; *word; word++) {
		if (strchr(LETTERS DIGITS " ()/._:+=@,-", *word))
			putc(*word, unit);
		else if (*word == '%')
			fputs("%%", unit);
		else
			fprintf(unit, "\\x%02x", (unsigned char)*word);
	}
	putc('"', unit);
}

/* A path of RequiresMountsFor=: systemd reads quotes, backslashes and %, but no \xNN. */
static void put_path(FILE *unit, const char *path)
{
	fputs("RequiresMountsFor=\"", unit);
	for (; *path; path++) {
		if (strchr("\"\\", *path))
			putc('\\', unit);
		if (*path == '%')
			putc('%', unit);
		putc(*path, unit);
	}
	fputs("\"\n", unit);
}

/* systemd.special(7): what makes a device is ordered before this, and what uses it behind it; so they end in that order, too. */
static void put_order(FILE *unit, const char *how, const char *path)
{
	char *target = device_unit("blockdev@", path, ".target");

	if (target)
		fprintf(unit, "%s=%s\n", how, target);
	free(target);
}

static void put_device(FILE *unit, const struct tab *tab, const char *path)
{
	const struct tab_disk *other = tab_find_device(tab, path);
	/* Another disk of the file: udev does not call it ready. */
	char *name = other ? disk_unit(other->name) : device_unit("", path, ".device");

	if (name)
		fprintf(unit, "Requires=%s\nAfter=%s\n", name, name);
	free(name);
	put_order(unit, "After", path);
}

static void put_unit(FILE *unit, const struct tab *tab, const struct tab_disk *disk)
{
	char *node = text_new("/dev/mapper/%s", disk->name);

	fprintf(unit, "# Made by vdisk-generator out of line %u of vdisktab(5)\n\n[Unit]\nDescription=Disk %s\n"
		"Documentation=man:vdisktab(5)\nSourcePath=%s\n", disk->line, disk->name, tab->path);
	/* Files may be in the root, and what makes that writable is no mount unit. */
	fputs("DefaultDependencies=no\nIgnoreOnIsolate=yes\nConflicts=umount.target\nBefore=umount.target\n"
	      "After=systemd-modules-load.service systemd-udevd-kernel.socket systemd-remount-fs.service\n", unit);
	if (disk->netdev)
		fputs("After=remote-fs-pre.target\n", unit);
	if (!disk->nofail)
		fprintf(unit, "Before=vdisk.target %s.target\n", disk->netdev ? "remote-fs" : "local-fs");
	put_order(unit, "Wants", node);
	put_order(unit, "Before", node);
	free(node);
	for (unsigned int i = 0; i < disk->blobs.nr; i++)
		fprintf(unit, "Wants=vdisk-fetchd@%s.service\nAfter=vdisk-fetchd@%s.service\n", disk->blobs.word[i],
			disk->blobs.word[i]);
	for (unsigned int i = 0; i < disk->files.nr; i++)
		put_path(unit, disk->files.word[i]);
	for (unsigned int i = 0; i < disk->devices.nr; i++)
		put_device(unit, tab, disk->devices.word[i]);
	/* The colon: $ stands for itself. */
	fputs("\n[Service]\nType=oneshot\nRemainAfterExit=yes\nTimeoutStopSec=90\n", unit);
	fprintf(unit, "ExecStart=:%s/vdisk create%s%s%s%s%s --", SBINDIR, disk->create ? " --create" : "",
		disk->readonly ? " --readonly" : "", disk->scan ? " --scan" : "",
		disk->len ? " --len " : "", disk->len ?: "");
	put_word(unit, disk->name);
	put_word(unit, disk->stack);
	fprintf(unit, "\nExecStop=:%s/vdisk remove --", SBINDIR);
	put_word(unit, disk->name);
	putc('\n', unit);
}

/* DIR/@of.@how/@name, which makes systemd add it to @of. */
static void put_link(const char *of, const char *how, const char *name)
{
	char *below = text_new("%s/%s.%s", dir, of, how), *link = text_new("%s/%s", below, name), *to = text_new("../%s", name);

	if ((mkdir(below, 0755) && errno != EEXIST) || (symlink(to, link) && errno != EEXIST))
		say("%s: %s", link, strerror(errno));
	free(below);
	free(link);
	free(to);
}

static void put_disk(const struct tab *tab, const struct tab_disk *disk)
{
	char *name = disk_unit(disk->name), *path = text_new("%s/%s", dir, name), *device, *node;
	FILE *unit = NULL;
	bool bad;

	if (strlen(name) > MAX_UNIT) {
		say("%s:%u: %s: too long for the name of a unit, where # + = count four times; choose a shorter one", tab->path,
		    disk->line, disk->name);
		goto out;
	}
	unit = fopen(path, "wxe");
	if (!unit) {
		say("%s: %s", path, strerror(errno));
		goto out;
	}
	put_unit(unit, tab, disk);
	bad = ferror(unit);
	if (fclose(unit) || bad) {
		say("%s: cannot be written; is %s full?", path, dir);
		goto out;
	}
	if (!disk->noauto) {
		put_link("vdisk.target", disk->nofail ? "wants" : "requires", name);
		put_link("multi-user.target", "wants", "vdisk.target");
	}
	if (disk->scan) {
		/* Who mounts it, or swaps on it, starts it. */
		node = text_new("/dev/mapper/%s", disk->name);
		device = device_unit("", node, ".device");
		if (device)
			put_link(device, "requires", name);
		free(device);
		free(node);
	}
out:
	free(name);
	free(path);
}

int main(int argc, char **argv)
{
	const char *path = TAB_PATH;
	struct tab tab;
	int r;

	if (argc < 2 || argc > 4 || *argv[1] == '-') {
		fputs("Usage: vdisk-generator DIR [EARLY_DIR LATE_DIR]\n\n"
		      "systemd runs it; vdisk tab checks /etc/vdisktab. See vdisktab(5).\n", stderr);
		return EXIT_FAILURE;
	}
	dir = argv[1];
	umask(022);
	r = tab_read(&tab, path, wrong_line, (void *)path);
	if (r == -ENOENT)
		return EXIT_SUCCESS;
	if (r && !tab.wrong)
		say("%s", vdisk_error);
	for (unsigned int i = 0; i < tab.nr; i++)
		put_disk(&tab, &tab.disk[i]);
	tab_free(&tab);
	return status;
}
