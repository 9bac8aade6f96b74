// SPDX-License-Identifier: GPL-2.0-only
/*
 * As much of a service manager as a helper's restart needs:
 *
 *	fdstore [--gap MS] COMMAND...
 *
 * Starts it, keeps the files that it sends, and starts it again with them when
 * it was killed, MS later. It prints what it is told, a line each, and
 * "started PID FILES". It ends with the command's exit status.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

#define FILES_MAX	8

static struct { int fd; char name[64]; } store[FILES_MAX];
static int nr_files;

static pid_t start(char **argv, const char *address)
{
	char names[FILES_MAX * 65] = "", number[16];
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		for (int i = 0; i < nr_files; i++) {
			if (dup2(store[i].fd, 3 + i) < 0)
				die("dup2");
			sprintf(names + strlen(names), "%s%s", i ? ":" : "", store[i].name);
		}
		setenv("NOTIFY_SOCKET", address, 1);
		if (nr_files) {
			sprintf(number, "%d", getpid());
			setenv("LISTEN_PID", number, 1);
			sprintf(number, "%d", nr_files);
			setenv("LISTEN_FDS", number, 1);
			setenv("LISTEN_FDNAMES", names, 1);
		}
		execvp(argv[0], argv);
		die(argv[0]);
	}
	printf("started %d %d\n", pid, nr_files);
	fflush(stdout);
	return pid;
}

static void keep(int fd, const char *name)
{
	if (nr_files == FILES_MAX || !*name) {
		close(fd);
		return;
	}
	/* Well above those of the command, which dup2() would overwrite. */
	store[nr_files].fd = fcntl(fd, F_DUPFD_CLOEXEC, 100);
	close(fd);
	snprintf(store[nr_files++].name, sizeof(store[0].name), "%s", name);
}

static void forget(const char *name)
{
	for (int i = 0; i < nr_files; i++) {
		if (strcmp(store[i].name, name))
			continue;
		close(store[i].fd);
		store[i--] = store[--nr_files];
	}
}

static void take(int sock)
{
	char text[4096], control[CMSG_SPACE(FILES_MAX * sizeof(int))], name[64] = "", *line, *next;
	struct iovec iov = { text, sizeof(text) - 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t len = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = len < 0 ? NULL : CMSG_FIRSTHDR(&msg);
	bool remove = false;

	if (len < 0)
		return;
	text[len] = 0;
	for (line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
		printf("%s\n", line);
		sscanf(line, "FDNAME=%63s", name);
		remove |= !strcmp(line, "FDSTOREREMOVE=1");
	}
	fflush(stdout);
	if (remove)
		forget(name);
	for (; c; c = CMSG_NXTHDR(&msg, c))
		for (size_t i = 0; c->cmsg_type == SCM_RIGHTS && i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
			keep(((int *)CMSG_DATA(c))[i], name);
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), gap = 0, status;
	pid_t pid;

	if (argc > 3 && !strcmp(argv[1], "--gap")) {
		gap = atoi(argv[2]);
		argv += 2;
		argc -= 2;
	}
	if (argc < 2)
		return 2;
	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/fdstore.%d", getpid());
	if (sock < 0 || bind(sock, (struct sockaddr *)&address, sizeof(address)))
		die("socket");
	pid = start(argv + 1, address.sun_path);
	for (;;) {
		struct pollfd p = { .fd = sock, .events = POLLIN };

		while (poll(&p, 1, 20) == 1)
			take(sock);
		if (waitpid(pid, &status, WNOHANG) != pid)
			continue;
		while (poll(&p, 1, 0) == 1)
			take(sock);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			break;
		usleep(gap * 1000);
		pid = start(argv + 1, address.sun_path);
	}
	unlink(address.sun_path);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}
