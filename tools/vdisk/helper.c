// SPDX-License-Identifier: GPL-2.0-only
/*
 * A URL for a blob: its length is asked of the origin, and vdisk-fetchd, its
 * helper, runs while the disk is there. Under systemd as an instance of
 * vdisk-fetchd@.service, whose configuration is in /run, a link to a file that
 * has the disk's name, too: what is secret in a URL comes to no disk, and a
 * restart of the host leaves nothing.
 * Without systemd as a process in the background, whose words go to a log there.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vdisk.h"
#include "helper.h"

#define PROGRAM		"vdisk-fetchd"
#define CONFIG_DIR	"/etc/vdisk/fetchd"	/* where the unit looks for what an administrator wrote, */
#define LINK_DIR	"/run/vdisk/fetchd"	/* and for what we did */
#define DEADLINE	"10s"	/* of the first question, which somebody waits for */

extern char **environ;

/* Without what may be secret: a user and password, and the query, in which a SAS token is. To be freed. */
char *url_shown(const char *url)
{
	const char *host = strstr(url, "://"), *at;

	host = host ? host + 3 : url;
	at = memchr(host, '@', strcspn(host, "/?#"));
	at = at ? at + 1 : host;
	return text_new("%.*s%.*s", (int)(host - url), url, (int)strcspn(at, "?#"), at);
}

/* As sd_booted() */
bool helper_has_unit(void)
{
	return !access("/run/systemd/system/", F_OK);
}

static char *unit_name(const char *blob)
{
	return text_new(PROGRAM "@%s.service", blob);
}

/* To be freed, as the next two. */
char *helper_config_path(const char *blob)
{
	return text_new(CONFIG_DIR "/%s.conf", blob);
}

static char *link_path(const char *blob)
{
	return text_new(LINK_DIR "/%s.conf", blob);
}

/* A colon is in no name of a blob, nor in that of a disk with one: so each file is of one disk. */
static char *run_path(const char *disk, const char *blob, const char *what)
{
	return text_new("/run/vdisk-%s:%s.%s", disk, blob, what);
}

/* Programs */

/* Starts one, with what it prints in @out, and complains of in @err; @own: in a session of its own. Return: its pid, or -1. */
static pid_t start(const char *const *argv, int out, int err, bool own)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t signals;
	pid_t pid;
	int error;

	/* Those that vdisk_catch() ignores, or will */
	sigemptyset(&signals);
	sigaddset(&signals, SIGPIPE);
	sigaddset(&signals, SIGXFSZ);
	if (posix_spawn_file_actions_init(&files) || posix_spawnattr_init(&attr) ||
	    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0) ||
	    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO) ||
	    posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO) ||
	    posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1) ||
	    (own && posix_spawn_file_actions_addchdir_np(&files, "/")) ||
	    posix_spawnattr_setsigdefault(&attr, &signals) ||
	    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | (own ? POSIX_SPAWN_SETSID : 0)))
		abort();
	error = posix_spawnp(&pid, argv[0], &files, &attr, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	errno = error;
	return error ? -1 : pid;
}

static int cannot_run(int error)
{
	return error == ENOENT ? vdisk_fail("blob: " PROGRAM ", which supplies blobs, cannot be run; is it installed?") :
				 vdisk_fail("blob: " PROGRAM " cannot be run: %s", vdisk_reason(error));
}

/* Return: its exit status, -1: it has none. Ctrl-C ends it, too. */
static int wait_end(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
		kill(pid, SIGTERM);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What is in a file, from its beginning, as a text of at most @room bytes. */
static void read_text(int fd, char *text, size_t room)
{
	ssize_t got = pread(fd, text, room - 1, 0);

	text[got > 0 ? got : 0] = 0;
}

/*
 * Runs a program to its end; gives what it printed, or if it failed, what it complained of. Return: its exit status, -1: it has
 * none; or -errno - 1: it cannot be run.
 */
static int run(const char *const *argv, char *text, size_t room)
{
	int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC), status;
	pid_t pid = out < 0 || err < 0 ? -1 : start(argv, out, err, false);

	status = pid > 0 ? wait_end(pid) : -errno - 1;
	if (room)
		read_text(status ? err : out, text, room);
	if (out >= 0)
		close(out);
	if (err >= 0)
		close(err);
	return status;
}

static int systemctl(const char *verb, const char *unit)
{
	const char *const argv[] = { "systemctl", "--quiet", verb, unit, NULL };

	return run(argv, NULL, 0);
}

/* What vdisk-fetchd said last, without its name. */
static const char *last_line(char *text)
{
	size_t len = strlen(text);
	char *line;

	if (!len)
		return PROGRAM " said nothing";
	while (len && text[len - 1] == '\n')
		text[--len] = 0;
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	return strncmp(line, PROGRAM ": ", strlen(PROGRAM ": ")) ? line : line + strlen(PROGRAM ": ");
}

/* Words */

/* What the origin says: the sectors of a blob; 0, after saying why it cannot be told. */
static __u64 ask_sectors(const struct helper *h)
{
	const char *const argv[] = {
		PROGRAM, "--check", "--deadline", DEADLINE, h->url, h->vhd ? "--vhd1" : NULL, NULL
	};
	struct json_object *object, *sectors;
	char text[4096];
	int status = run(argv, text, sizeof(text));
	__u64 nr = 0;

	if (status < -1)
		return cannot_run(-status - 1), 0;
	object = status ? NULL : json_tokener_parse(text);
	if (object && json_object_object_get_ex(object, "sectors", &sectors))
		nr = json_object_get_uint64(sectors);
	json_object_put(object);
	if (!nr)
		vdisk_fail("blob: %.800s (" PROGRAM " --check tries it again)", last_line(text));
	return nr;
}

static int new_helper(struct helpers *h, const char *disk, const char *url)
{
	struct helper *new = &h->helper[h->nr];

	if (h->nr == MAX_HELPERS)
		return vdisk_fail("more than %d URLs: say blob NAME len:LENGTH, and run " PROGRAM " for each", MAX_HELPERS);
	for (const char *c = url; *c; c++)
		if (*c <= ' ' || *c > '~')
			return vdisk_fail("blob: a URL has no blanks and no letters but a to z: say %%20 for a blank");
	new->disk = disk;
	new->blob = h->nr ? text_new("%s-%u", disk, h->nr) : text_new("%s", disk);
	new->url = text_new("%s", url);
	new->shown = url_shown(url);
	h->nr++;
	if (!vdisk_is_name(new->blob))
		return vdisk_fail("'%s' is no name for a disk with a URL, for its blob is named so: at most 60 of A-Z a-z 0-9 . _ -",
				  disk);
	return VDISK_OK;
}

/* Who may supply it */
static int add_uid(struct words *out)
{
	struct passwd *user = getpwnam(PROGRAM);
	char *word;

	if (!user)
		return vdisk_fail("there is no user " PROGRAM ", and " PROGRAM "@.service runs as that; make it: useradd --system " PROGRAM);
	word = text_new("uid:%u", user->pw_uid);
	words_add(out, word);
	free(word);
	return VDISK_OK;
}

/* A blob's words, from its URL on, become those that the kernel takes. *@at is behind them then. */
static int take(struct helpers *h, const char *disk, const struct words *words, unsigned int *at, struct words *out)
{
	bool len = false, uid = false;
	struct helper *new;
	__u64 sectors;
	char *word;

	if (new_helper(h, disk, words->word[*at]))
		return VDISK_FAILED;
	new = &h->helper[h->nr - 1];
	if (!out->nr || strcmp(out->word[out->nr - 1], "blob"))
		words_add(out, "blob");
	words_add(out, new->blob);
	while (++*at < words->nr && strcmp(words->word[*at], "(") && strcmp(words->word[*at], ")")) {
		const char *option = words->word[*at];

		len |= !strncmp(option, "len:", 4);
		uid |= !strncmp(option, "uid:", 4);
		if (strcmp(option, "vhd1"))
			words_add(out, option);
		else
			new->vhd = true;
	}
	sectors = ask_sectors(new);
	if (!sectors)
		return VDISK_FAILED;
	if (!len) {
		word = text_new("len:%llu", sectors);
		words_add(out, word);
		free(word);
	}
	return uid || !helper_has_unit() ? VDISK_OK : add_uid(out);
}

/**
 * helpers_take - each URL of a stack becomes a blob
 * @h: is filled, with who is to supply them; helpers_free() it
 * @disk: its name
 * @words: the stack's, which are changed
 *
 * Return: an exit status, after saying what is wrong with a URL, or its origin.
 */
int helpers_take(struct helpers *h, const char *disk, struct words *words)
{
	unsigned int at = 0, done = 0;
	struct words out = {};
	int status = VDISK_OK;

	while (!status && words_url(words, &at)) {
		for (; done < at; done++)
			words_add(&out, words->word[done]);
		status = take(h, disk, words, &done, &out);
		at = done;
	}
	for (; done < words->nr; done++)
		words_add(&out, words->word[done]);
	words_free(words);
	*words = out;
	return status;
}

void helpers_free(struct helpers *h)
{
	while (h->nr--) {
		free(h->helper[h->nr].blob);
		free(h->helper[h->nr].url);
		free(h->helper[h->nr].shown);
	}
}

/* Start and stop */

/* What the unit reads: systemd knows quotes, and a backslash before what is special between them. To be freed. */
char *helper_config(const struct helper *h, const char *url, const char *more)
{
	char *quoted = malloc(2 * strlen(url) + 1), *to = quoted, *text;

	if (!quoted)
		abort();
	for (; *url; url++) {
		if (strchr("\"\\$`", *url))
			*to++ = '\\';
		*to++ = *url;
	}
	*to = 0;
	text = text_new("URL=\"%s\"\nOPTIONS=\"--once%s%s\"\n", quoted, h->vhd ? " --vhd1" : "", more);
	free(quoted);
	return text;
}

static int write_config(const struct helper *h, const char *path)
{
	char *text = helper_config(h, h->url, "");
	int fd, status = VDISK_OK;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		status = vdisk_fail("%s: cannot be written: %s", path, vdisk_reason(errno));
	if (fd >= 0)
		close(fd);
	free(text);
	return status;
}

/* Is the unit's configuration that of this disk's blob? */
static bool is_linked(const char *disk, const char *blob)
{
	char *path = link_path(blob), *run = run_path(disk, blob, "conf"), to[512];
	ssize_t len = readlink(path, to, sizeof(to) - 1);
	bool is;

	to[len > 0 ? len : 0] = 0;
	is = !strcmp(to, run);
	free(path);
	free(run);
	return is;
}

static void stop_unit(const char *disk, const char *blob)
{
	char *path = link_path(blob), *unit = unit_name(blob);

	if (is_linked(disk, blob)) {
		systemctl("stop", unit);
		systemctl("reset-failed", unit);
		unlink(path);
	}
	free(path);
	free(unit);
}

static int link_config(const struct helper *h, const char *to)
{
	static const char taken[] = "is there already: choose another name for the disk, or say blob NAME len:LENGTH";
	char *config = helper_config_path(h->blob), *path = link_path(h->blob);
	int status = VDISK_OK;

	mkdir("/run/vdisk", 0755);
	mkdir(LINK_DIR, 0755);
	/* Left by a disk that vdisk remove did not remove? */
	stop_unit(h->disk, h->blob);
	if (!access(config, F_OK))
		status = vdisk_fail("%s: %s", config, taken);
	else if (symlink(to, path))
		status = vdisk_fail("%s: %s", path, errno == EEXIST ? taken : vdisk_reason(errno));
	free(config);
	free(path);
	return status;
}

static int start_unit(struct helper *h)
{
	char *config = run_path(h->disk, h->blob, "conf"), *unit = unit_name(h->blob);
	int status = write_config(h, config) ?: link_config(h, config);

	/* Whatever may run already is not of this URL. */
	if (!status && systemctl("restart", unit))
		status = vdisk_fail("%s: does not start; journalctl -u %s says why", unit, unit);
	free(config);
	free(unit);
	return status;
}

/* It ends when the last table that names the blob is gone. */
static int start_process(struct helper *h)
{
	const char *const argv[] = {
		PROGRAM, "--name", h->blob, "--once", h->url, h->vhd ? "--vhd1" : NULL, NULL
	};
	char *path = run_path(h->disk, h->blob, "log");
	int log, status = VDISK_OK;

	unlink(path);
	log = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	if (log < 0)
		status = vdisk_fail("%s: cannot be made: %s", path, vdisk_reason(errno));
	else
		h->pid = start(argv, log, log, true);
	if (!status && h->pid < 0)
		status = cannot_run(errno);
	if (log >= 0)
		close(log);
	free(path);
	return status;
}

/**
 * helper_start - start a helper; the table that names its blob is loaded
 * @h: the helper; helper_stop() it. What fails leaves nothing.
 *
 * Return: an exit status, after saying what is wrong.
 */
int helper_start(struct helper *h)
{
	int status = helper_has_unit() ? start_unit(h) : start_process(h);

	if (status)
		helper_stop(h);
	return status;
}

/* Does it still run? Return: an exit status, after saying why it does not. */
int helper_check(struct helper *h)
{
	char *unit, *path, text[4096] = "";
	int fd, status = VDISK_OK;

	if (!h->pid) {
		unit = unit_name(h->blob);
		if (systemctl("is-active", unit))
			status = vdisk_fail("%s: has ended; journalctl -u %s says why", unit, unit);
		free(unit);
		return status;
	}
	if (!waitpid(h->pid, NULL, WNOHANG))
		return VDISK_OK;
	h->pid = 0;
	path = run_path(h->disk, h->blob, "log");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		read_text(fd, text, sizeof(text));
		close(fd);
	}
	free(path);
	return vdisk_fail("blob: its helper has ended: %.800s (" PROGRAM " --check may say more)", last_line(text));
}

static void stop(const char *disk, const char *blob)
{
	char *config = run_path(disk, blob, "conf"), *log = run_path(disk, blob, "log");

	stop_unit(disk, blob);
	unlink(config);
	unlink(log);
	free(config);
	free(log);
}

void helper_stop(struct helper *h)
{
	if (h->pid > 0) {
		kill(h->pid, SIGTERM);
		wait_end(h->pid);
	}
	h->pid = 0;
	stop(h->disk, h->blob);
}

/* The name of the blob that begins at a word, or NULL. */
static const char *blob_at(const struct words *words, unsigned int i)
{
	return i + 1 < words->nr && !strcmp(words->word[i], "blob") && (!i || !strcmp(words->word[i - 1], "(")) ?
	       words->word[i + 1] : NULL;
}

/**
 * helpers_drop_all - stop the helpers that create had started for a disk
 * @disk: its name
 * @kept: not those of the blobs that this line names; or NULL
 *
 * They are known by their files: a create that was killed has left no table. A
 * process of ours ends by itself, with the table.
 */
void helpers_drop_all(const char *disk, const char *kept)
{
	char *begin = text_new("vdisk-%s:", disk);
	size_t len = strlen(begin);
	DIR *dir = opendir("/run");
	struct words left = {};
	struct dirent *entry;

	words_split(&left, kept ?: "", TABLE);
	while (dir && (entry = readdir(dir))) {
		char *blob = entry->d_name + len, *end = strrchr(entry->d_name, '.');
		bool keep = strncmp(entry->d_name, begin, len) || !end || end < blob ||
			    (strcmp(end, ".conf") && strcmp(end, ".log"));

		if (!keep)
			*end = 0;
		for (unsigned int i = 0; !keep && i < left.nr; i++)
			keep = blob_at(&left, i) && !strcmp(blob_at(&left, i), blob);
		if (!keep)
			stop(disk, blob);
	}
	if (dir)
		closedir(dir);
	words_free(&left);
	free(begin);
}
