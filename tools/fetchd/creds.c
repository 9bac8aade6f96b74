// SPDX-License-Identifier: GPL-2.0-only
/*
 * Credentials: read at start, when the origin lets us in no more, and on SIGHUP.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "fetchd.h"

#define CREDS_MAX	65536
#define CREDS_MS	30000	/* for the command */

extern char **environ;

struct creds creds;

static struct {
	pid_t pid;
	int fd;
	uint64_t until, next;
	unsigned int same;	/* times in a row that they were no others */
	size_t len;
	char text[CREDS_MAX + 1];
} run = { .fd = -1 };

void creds_drop(struct creds *c)
{
	free(c->user);
	free(c->bearer);
	free(c->query);
	free(c->token);
	*c = (struct creds){};
}

static const char *member(struct json_object *object, const char *const *names)
{
	struct json_object *value;

	for (; *names; names++)
		if (json_object_object_get_ex(object, *names, &value) && json_object_is_type(value, json_type_string))
			return json_object_get_string(value);
	return NULL;
}

/* A line of its own in a request would be somebody else's header. */
static char *copy(const char *text)
{
	return text && *text && !text[strcspn(text, "\r\n")] ? strdup(text) : NULL;
}

/*
 * JSON as AWS's credential_process, Azure's and Google's tools print it, or a
 * query string such as a SAS token.
 */
bool creds_take(const char *text, size_t len, struct creds *into, const char **why)
{
	static const char *const key[] = { "AccessKeyId", "user", NULL }, *const secret[] = { "SecretAccessKey", "password", NULL };
	static const char *const session[] = { "SessionToken", NULL }, *const query[] = { "query", "sas", NULL };
	static const char *const bearer[] = { "access_token", "accessToken", NULL };
	struct json_tokener *tokener;
	struct json_object *object;
	const char *user, *password;

	*into = (struct creds){};
	while (len && strchr(" \t\r\n", text[len - 1]))
		len--;
	if (!len) {
		*why = "nothing in it";
		return false;
	}
	if (*text != '{') {
		if (memchr(text, '\n', len) || memchr(text, ' ', len) || memchr(text, 0, len)) {
			*why = "neither JSON nor a query string";
			return false;
		}
		while (len && (*text == '?' || *text == '&')) {
			text++;
			len--;
		}
		into->query = strndup(text, len);
		return true;
	}
	tokener = json_tokener_new();
	object = tokener ? json_tokener_parse_ex(tokener, text, len) : NULL;
	json_tokener_free(tokener);
	if (!object) {
		*why = "not JSON";
		return false;
	}
	user = member(object, key);
	password = member(object, secret);
	if (user && password && !user[strcspn(user, ":\r\n")] && asprintf(&into->user, "%s:%s", user, password) < 0)
		into->user = NULL;
	into->bearer = copy(member(object, bearer));
	into->query = copy(member(object, query));
	into->token = copy(member(object, session));
	json_object_put(object);
	if (into->user || into->bearer || into->query)
		return true;
	creds_drop(into);
	*why = "none of AccessKeyId with SecretAccessKey, user with password, access_token, query in it";
	return false;
}

bool creds_wanted(void)
{
	return opt.creds_file || opt.creds_command;
}

bool creds_busy(void)
{
	return run.pid;
}

int creds_fd(void)
{
	return run.fd;
}

static bool differ(const char *a, const char *b)
{
	return strcmp(a ?: "", b ?: "");
}

/* Those who wait for others need not wait longer, if they are others. */
static int taken(bool good, const char *why)
{
	struct creds fresh;
	struct fetch *f;
	unsigned int nr;
	bool others;

	/* A second at first */
	run.next = now_ms() + retry_ms(4 + run.same++, chance());
	if (good)
		good = creds_take(run.text, run.len, &fresh, &why);
	memset(run.text, 0, sizeof(run.text));
	if (!good) {
		say(LOG_ERR, "credentials of %s: %s", opt.creds_file ?: opt.creds_command, why);
		return FETCHD_ORIGIN;
	}
	counters.reloads++;
	others = differ(fresh.user, creds.user) || differ(fresh.bearer, creds.bearer) ||
		 differ(fresh.query, creds.query) || differ(fresh.token, creds.token);
	creds_drop(&creds);
	creds = fresh;
	if (!others)
		return FETCHD_OK;
	run.same = 0;
	f = pool_first(&nr);
	for (; nr--; f++)
		if (f->state == FETCH_WAITING && f->wants_creds)
			f->due = 0;
	return FETCHD_OK;
}

static int read_file(void)
{
	int fd = open(opt.creds_file, O_RDONLY | O_CLOEXEC);
	ssize_t got = -1;

	run.len = 0;
	if (fd >= 0)
		got = read(fd, run.text, CREDS_MAX);
	if (got < 0) {
		int error = errno;

		if (fd >= 0)
			close(fd);
		return taken(false, strerror(error));
	}
	close(fd);
	run.len = got;
	return taken(got < CREDS_MAX, "too long");
}

static int run_command(void)
{
	char *argv[] = { "sh", "-c", (char *)opt.creds_command, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	int pipe_fd[2], error;

	if (pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK))
		return taken(false, strerror(errno));
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pipe_fd[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	error = posix_spawn(&run.pid, "/bin/sh", &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	close(pipe_fd[1]);
	if (error) {
		close(pipe_fd[0]);
		run.pid = 0;
		return taken(false, strerror(error));
	}
	run.fd = pipe_fd[0];
	run.len = 0;
	run.until = now_ms() + CREDS_MS;
	return FETCHD_OK;
}

/*
 * Reads them; of a command they come later. If that was not @asked for, they
 * were refused: then they are read less and less often until there are others.
 */
int creds_start(bool asked)
{
	if (creds_busy() || (!asked && now_ms() < run.next))
		return FETCHD_OK;
	return opt.creds_file ? read_file() : run_command();
}

static void command_ended(int status)
{
	run.pid = 0;
	if (run.fd >= 0)
		close(run.fd);
	run.fd = -1;
	taken(!status && run.len < CREDS_MAX, status ? "the command failed" : "too long");
}

/* Called in each turn of the loop. @readable: the command said something. */
void creds_step(bool readable)
{
	ssize_t got;
	int status;

	if (!run.pid)
		return;
	while (readable && run.fd >= 0) {
		got = read(run.fd, run.text + run.len, CREDS_MAX - run.len);
		if (got > 0) {
			run.len += got;
			continue;
		}
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		close(run.fd);
		run.fd = -1;
	}
	if (now_ms() > run.until)
		kill(-run.pid, SIGKILL);
	if ((run.fd < 0 || now_ms() > run.until) && waitpid(run.pid, &status, WNOHANG) == run.pid)
		command_ended(status);
}
