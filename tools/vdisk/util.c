// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sizes, texts, errors, progress.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vdisk.h"

char vdisk_error[1024];
bool vdisk_quiet;
bool vdisk_printed;
bool vdisk_changed;

volatile sig_atomic_t vdisk_stopped;

static void stop(int number)
{
	(void)number;
	vdisk_stopped = 1;
}

/* What is said while a disk is suspended, and said then; NULL: none is. */
static FILE *held;
static char *held_text;
static size_t held_size;

static void block_stops(int how)
{
	sigset_t stops;

	sigemptyset(&stops);
	sigaddset(&stops, SIGTSTP);
	sigaddset(&stops, SIGTTIN);
	sigaddset(&stops, SIGTTOU);
	sigprocmask(how, &stops, NULL);
}

/* A disk is suspended: until vdisk_release(), neither Ctrl-Z nor a terminal that takes no text stops us. */
void vdisk_hold(void)
{
	if (held)
		return;
	block_stops(SIG_BLOCK);
	held = open_memstream(&held_text, &held_size);
	if (!held)
		abort();
}

void vdisk_release(void)
{
	if (!held)
		return;
	fclose(held);
	held = NULL;
	fputs(held_text, stderr);
	free(held_text);
	block_stops(SIG_UNBLOCK);
}

static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

/* From now on Ctrl-C and the like only set vdisk_stopped, for who has something to undo. */
void vdisk_catch(void)
{
	struct sigaction action = { .sa_handler = stop };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaction(numbers[i], &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

/* They end the program again. */
void vdisk_catch_end(void)
{
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		signal(numbers[i], SIG_DFL);
}

/* The value of an option; NULL if it was not given. */
const char *vdisk_option(const struct vdisk_args *args, const char *name)
{
	for (int i = 0; args->command->options[i].name; i++)
		if (!strcmp(args->command->options[i].name, name))
			return args->value[i];
	abort(); /* none of this command */
}

/* Says what went wrong, and remembers it for --json. It has to say what to do about it, too. */
int vdisk_fail(const char *format, ...)
{
	char text[sizeof(vdisk_error)];	/* what was said before may be one of the arguments */
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memcpy(vdisk_error, text, sizeof(text));
	if (!vdisk_quiet)
		fprintf(held ?: stderr, "vdisk: %s\n", vdisk_error);
	return VDISK_FAILED;
}

/* printf into a new string */
char *text_new(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		abort();
	va_end(args);
	return text;
}

/* An error of the kernel's, and what to do about it. */
const char *vdisk_reason(int error)
{
	static const struct {
		int error;
		const char *advice;
	} advice[] = {
		{ EACCES, "only root may" }, { EPERM, "only root may" }, { ENOENT, "is the name right?" }, { ENOTDIR, "is the name right?" },
		{ ENOSPC, "make room there" }, { EDQUOT, "make room there" }, { EROFS, "mount it for writing" },
		{ EFBIG, "xfs has longer files than ext4, or use a device" }, { EMFILE, "see ulimit -n" }, { EINTR, "try again" },
		{ ENOMEM, "free some memory" }, { EBUSY, "stop who uses it" },
	};
	static char text[160];
	const char *what = "the kernel's log (dmesg) may say more";

	for (size_t i = 0; i < sizeof(advice) / sizeof(advice[0]); i++)
		if (advice[i].error == error)
			what = advice[i].advice;
	snprintf(text, sizeof(text), "%s; %s", strerror(error), what);
	return text;
}

/* Return: an exit status. */
int vdisk_check_name(const char *name)
{
	if (!*name || strlen(name) > 120 || name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789#+.:=@_-")] ||
	    !strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "control"))
		return vdisk_fail("'%.200s' is no name for a disk: at most 120 letters, digits and . _ - + : = @ #", name);
	return VDISK_OK;
}

/* A number of sectors, or of bytes with K, M, G, T, P (powers of 1024) and perhaps "iB" behind it. */
bool vdisk_parse_size(const char *text, __u64 *sectors)
{
	static const char units[] = "KMGTP";
	const char *unit;
	unsigned int shift;
	__u64 number;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno)
		return false;
	*sectors = number;
	if (!*end)
		return true;
	unit = strchr(units, toupper((unsigned char)*end));
	if (!unit || (end[1] && strcmp(end + 1, "iB") && strcmp(end + 1, "ib")))
		return false;
	shift = 10 * (unit - units) + 1;
	*sectors = number << shift;
	return *sectors >> shift == number;
}

/* As people say it. @text has room for VDISK_BYTES_TEXT. */
const char *vdisk_bytes(char *text, __u64 bytes)
{
	static const char *const unit[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = bytes / 1024.0;
	int i = 0;

	if (bytes < 1024) {
		snprintf(text, VDISK_BYTES_TEXT, "%llu bytes", bytes);
		return text;
	}
	for (; value >= 1024 && i < 5; i++)
		value /= 1024;
	snprintf(text, VDISK_BYTES_TEXT, value == (__u64)value ? "%.0f %s" : "%.1f %s", value, unit[i]);
	return text;
}

/*
 * A text out of a store, which may hold anything: at most @max bytes, those
 * that a terminal might take for a command written as \xNN. To be freed.
 */
char *vdisk_text(const void *bytes, size_t max)
{
	const unsigned char *from = bytes;
	char *text = calloc(max * 4 + 1, 1), *to = text;

	if (!text)
		abort();
	for (size_t i = 0; i < max && from[i]; i++)
		to += sprintf(to, from[i] < ' ' || from[i] > '~' || from[i] == '\\' ? "\\x%02x" : "%c", from[i]);
	return text;
}

/* How many bytes the letter of UTF-8 has that begins here; 0: there is none, or one that a terminal may take for a command. */
static size_t letter(const unsigned char *text)
{
	size_t more = *text >= 0xc2 && *text <= 0xdf ? 1 : *text >= 0xe0 && *text <= 0xef ? 2 : *text >= 0xf0 && *text <= 0xf4 ? 3 : 0;

	if (*text < 0x80)
		return *text != 0x7f;
	for (size_t i = 1; i <= more; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	/* Controls; spelled longer than need be; halves of UTF-16; behind the last one */
	if ((*text == 0xc2 || *text == 0xe0) && text[1] < 0xa0)
		return 0;
	if ((*text == 0xed && text[1] > 0x9f) || (*text == 0xf0 && text[1] < 0x90) || (*text == 0xf4 && text[1] > 0x8f))
		return 0;
	return more ? more + 1 : 0;
}

/* A text as JSON has it: UTF-8. What is none, and may be in any path, is written as \xNN. */
struct json_object *vdisk_json(const char *text)
{
	const unsigned char *from = (const unsigned char *)text;
	char *utf8 = malloc(4 * strlen(text) + 1), *to = utf8;
	struct json_object *json;

	if (!utf8)
		abort();
	while (*from) {
		size_t len = letter(from);

		if (len)
			to = mempcpy(to, from, len);
		else
			to += sprintf(to, "\\x%02x", *from);
		from += len ?: 1;
	}
	*to = 0;
	json = json_object_new_string(utf8);
	free(utf8);
	return json;
}

/* Of a field of at most @max bytes */
void vdisk_json_text(struct json_object *object, const char *key, const void *bytes, size_t max)
{
	char *text = strndup(bytes, max);

	if (!text)
		abort();
	json_object_object_add(object, key, vdisk_json(text));
	free(text);
}

void vdisk_json_number(struct json_object *object, const char *key, __u64 value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

void vdisk_json_print(struct json_object *object)
{
	vdisk_printed = true;
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

void vdisk_progress_start(struct vdisk_progress *progress, const char *what)
{
	progress->what = what;
	progress->start = now();
	progress->shown = 0;
}

/* On a terminal, after a second, and then 4 times a second. */
void vdisk_progress(struct vdisk_progress *progress, __u64 done, __u64 all)
{
	double t = now(), spent = t - progress->start;

	if (spent < 1 || t - progress->shown < 0.25 || !done || done == all || !isatty(STDERR_FILENO))
		return;
	progress->shown = t;
	fprintf(stderr, "\r%s: %3.0f %%, %.0f s left \033[K", progress->what, 100.0 * done / all,
		spent * (all - done) / done);
}

/* Return: the seconds it took. */
double vdisk_progress_end(struct vdisk_progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	return now() - progress->start;
}
