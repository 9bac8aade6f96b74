// SPDX-License-Identifier: GPL-2.0-only
/*
 * Usage: failcall N ERROR REPORT COMMAND...
 *
 * Runs a program, the N-th system call of which is not made, and fails with this
 * error (a number) instead. Those of the loader do not count, nor do those that
 * cannot fail, nor those of its children. REPORT gets the number of the call, or
 * stays empty: there were fewer; if N is 0, it gets how many there were. The exit
 * status is the program's. ERROR may be a command of the shell: it runs when that
 * call is about to be made, which then does not fail.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(125);
}

static bool may_fail(long nr)
{
	static const long cannot[] = {
		SYS_close, SYS_munmap, SYS_exit, SYS_exit_group, SYS_umask, SYS_wait4, SYS_futex, SYS_nanosleep, SYS_clock_nanosleep,
		SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_getpid, SYS_getppid, SYS_gettid, SYS_getuid, SYS_geteuid,
	};

	for (size_t i = 0; i < sizeof(cannot) / sizeof(cannot[0]); i++)
		if (cannot[i] == nr)
			return false;
	return true;
}

/* The loader's code, as long as nothing else is there. */
static void find_loader(pid_t pid, unsigned long *begin, unsigned long *end)
{
	char path[64], line[512];
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	if (!maps)
		die(path);
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, " r-xp ") && strstr(line, "/ld-linux") && sscanf(line, "%lx-%lx", begin, end) == 2)
			break;
	fclose(maps);
}

/* It goes on up to the beginning or the end of the next call. Return: false if it has ended. */
static bool next_call(pid_t pid, int *status)
{
	int sig = 0;

	do {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, sig) || waitpid(pid, status, 0) != pid)
			die("ptrace");
		sig = WIFSTOPPED(*status) ? WSTOPSIG(*status) : 0;
	} while (WIFSTOPPED(*status) && sig != (SIGTRAP | 0x80));
	return WIFSTOPPED(*status);
}

static void get_regs(pid_t pid, struct user_regs_struct *regs)
{
	if (ptrace(PTRACE_GETREGS, pid, NULL, regs))
		die("ptrace");
}

static void set_regs(pid_t pid, struct user_regs_struct *regs)
{
	if (ptrace(PTRACE_SETREGS, pid, NULL, regs))
		die("ptrace");
}

int main(int argc, char **argv)
{
	unsigned long at, count = 0, begin = 0, end = 0;
	struct user_regs_struct regs;
	int status, error;
	FILE *report;
	pid_t pid;

	if (argc < 5)
		return 125;
	at = strtoul(argv[1], NULL, 0);
	error = atoi(argv[2]);	/* 0: a command */
	report = fopen(argv[3], "we");
	if (!report)
		die(argv[3]);
	pid = fork();
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execvp(argv[4], argv + 4);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL))
		die(argv[4]);
	find_loader(pid, &begin, &end);
	while (next_call(pid, &status)) {
		bool hit;
		long nr;

		get_regs(pid, &regs);
		nr = regs.orig_rax;
		hit = (regs.rip < begin || regs.rip >= end) && may_fail(nr) && ++count == at;
		if (hit)
			fprintf(report, "%ld\n", nr);
		if (hit && !error && system(argv[2]) < 0)
			die(argv[2]);
		if (hit && error) {
			regs.orig_rax = -1;
			set_regs(pid, &regs);
		}
		if (!next_call(pid, &status))
			break;
		if (hit && error) {
			get_regs(pid, &regs);
			/* brk() has no errors: it says where the end is. */
			regs.rax = nr == SYS_brk ? 0 : -error;
			set_regs(pid, &regs);
		}
	}
	if (!at)
		fprintf(report, "%lu\n", count);
	fclose(report);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
