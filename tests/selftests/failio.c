// SPDX-License-Identifier: GPL-2.0-only
/*
 * Usage: failio DEVICE slab|page STEP
 *
 * Writes, reads, zeroes, discards and flushes, again and again, with one
 * allocation failing each time: the first one after BUDGET bytes (page: pages)
 * of allocations that the injector lets pass, BUDGET growing by STEP until none
 * fails any more. Who allocates is the injector's filter, set before; in which
 * context does not matter.
 *
 * An operation may fail for want of memory and for nothing else; what did not
 * fail has to read back; and without injection all has to work right after.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PIECE	65536
#define PLACES	16	/* pieces of the device that are used */
#define MOST	20000	/* rounds: more would be a device that never gets through */

enum op { WRITE, READ, ZERO, DISCARD, FLUSH, NR_OPS };

static const char * const names[] = {
	"write", "read", "zeroout", "discard", "flush"
};

static const char *injector;
static unsigned char *data, *back;
static int fd;

static void set(const char *file, long value)
{
	char path[128], text[32];
	int f, len;

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", injector, file);
	len = snprintf(text, sizeof(text), "%ld", value);
	f = open(path, O_WRONLY);
	if (f < 0 || write(f, text, len) != len) {
		perror(path);
		exit(3);
	}
	close(f);
}

static long get(const char *file)
{
	char path[128], text[32] = "";
	int f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", injector, file);
	f = open(path, O_RDONLY);
	if (f < 0 || read(f, text, sizeof(text) - 1) < 0) {
		perror(path);
		exit(3);
	}
	close(f);
	return strtol(text, NULL, 10);
}

/* Returns 0 or an errno. */
static int run(enum op op, uint64_t at, unsigned char byte)
{
	uint64_t range[2] = { at, PIECE };
	ssize_t n;

	switch (op) {
	case WRITE:
		memset(data, byte, PIECE);
		n = pwrite(fd, data, PIECE, at);
		return n < 0 ? errno : n == PIECE ? 0 : EIO;
	case READ:
		n = pread(fd, back, PIECE, at);
		return n < 0 ? errno : n == PIECE ? 0 : EIO;
	case ZERO:
		return ioctl(fd, BLKZEROOUT, range) ? errno : 0;
	case DISCARD:
		return ioctl(fd, BLKDISCARD, range) ? errno : 0;
	default:
		return fsync(fd) ? errno : 0;
	}
}

static bool all(unsigned char byte)
{
	return back[0] == byte && !memcmp(back, back + 1, PIECE - 1);
}

/*
 * All operations, on their places; true if nothing went wrong that may not. With
 * @injected an operation may fail for want of memory.
 */
static bool round_of(unsigned int nr, bool injected, unsigned int *errors)
{
	unsigned char byte = 1 + nr % 255;
	uint64_t at = (uint64_t)(nr % PLACES) * PIECE;
	enum op order[] = { WRITE, READ, ZERO, READ, WRITE, FLUSH, DISCARD, WRITE, READ };
	bool known = false;
	unsigned char now = 0;
	unsigned int i;

	for (i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		enum op op = order[i];
		int err = run(op, at, byte);

		if (op == DISCARD && err == EOPNOTSUPP)
			continue;
		if (err) {
			if (!injected || (err != ENOMEM && err != EAGAIN)) {
				printf("round %u: %s: %s\n", nr, names[op], strerror(err));
				return false;
			}
			++*errors;
		}
		switch (op) {
		case WRITE:
		case ZERO:
			known = !err;
			now = op == WRITE ? byte : 0;
			break;
		case DISCARD:
			known = false;
			break;
		case READ:
			if (!err && known && !all(now)) {
				printf("round %u: wrong data\n", nr);
				return false;
			}
			break;
		default:
			break;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	unsigned int errors = 0, seen, rounds, failed = 0;
	long step, budget = 0;
	bool hit;

	if (argc != 4 || (step = strtol(argv[3], NULL, 10)) <= 0) {
		fprintf(stderr, "usage: failio DEVICE slab|page STEP\n");
		return 3;
	}
	injector = strcmp(argv[2], "slab") ? "fail_page_alloc" : "failslab";
	fd = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0 || posix_memalign((void **)&data, 4096, PIECE) ||
	    posix_memalign((void **)&back, 4096, PIECE)) {
		perror(argv[1]);
		return 3;
	}
	for (rounds = 0; rounds < MOST; rounds++, budget += step) {
		bool good;

		set("space", budget);
		set("times", 1);
		set("probability", 100);
		seen = errors;
		good = round_of(rounds, true, &errors);
		set("probability", 0);
		hit = !get("times");
		if (!good || !round_of(rounds, false, &seen))
			return 1;
		if (!hit)
			break;
		failed++;
	}
	set("space", 0);
	printf("%u allocations of %s failed, %u operations with them\n", failed, argv[2], errors);
	return rounds == MOST;
}
