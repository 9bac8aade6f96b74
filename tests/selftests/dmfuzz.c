// SPDX-License-Identifier: GPL-2.0-only
/*
 * Table lines, valid and mutated ones, for a device of its own.
 *
 * A valid line comes as a tree that fits its length from the root down, and is
 * written in two ways: as a user might, with options in any order, units and
 * escapes, and as TABLE has to print it. What TABLE printed is loaded again
 * and must print the same.
 *
 * A mutated line may load or not; if it does, the same holds for what TABLE
 * prints, and now and then it goes live.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/keyctl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES	(1 << 17)
#define MAX_DEPTH	16
#define MAX_NODES	256
#define MAX_CHILDREN	128
#define UNIT		8	/* sectors: any block size */

struct dev {
	char path[256];
	char number[32];
	uint64_t sectors;
};

static struct dev devs[16];
static unsigned int nr_devs, nr_names;	/* names are never used twice: tables share memory by them */
static uint64_t rnd, seed;
static char name[64];
static int fd;
static char user[LINE_MAX_BYTES + 64], canonical[LINE_MAX_BYTES + 64];
static char first[LINE_MAX_BYTES + 64], second[LINE_MAX_BYTES + 64];
static size_t user_len, canonical_len;
static char buf[2 * LINE_MAX_BYTES];

static uint64_t next(void)
{
	uint64_t x = rnd += 0x9e3779b97f4a7c15ULL;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static uint64_t below(uint64_t n) { return n ? next() % n : 0; }
static bool chance(unsigned int percent) { return below(100) < percent; }

static void fail(const char *what)
{
	fprintf(stderr, "dmfuzz: %s (seed %llu)\n", what, (unsigned long long)seed);
	exit(1);
}

/* One ioctl on the device; the answer stays in buf. */
static struct dm_ioctl *request(unsigned int flags)
{
	struct dm_ioctl *dmi = (void *)buf;

	memset(buf, 0, sizeof(*dmi) + sizeof(struct dm_target_spec));
	memcpy(dmi->version, (__u32[]){ 4, 0, 0 }, sizeof(dmi->version));
	/* The kernel copies all of it, there and back. */
	dmi->data_size = sizeof(*dmi);
	dmi->data_start = sizeof(*dmi);
	dmi->flags = flags;
	strcpy(dmi->name, name);
	return dmi;
}

static void must(unsigned long cmd, unsigned int flags, const char *what)
{
	request(flags);
	if (ioctl(fd, cmd, buf)) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		fail(what);
	}
}

static bool load(uint64_t sectors, const char *line)
{
	struct dm_ioctl *dmi = request(0);
	struct dm_target_spec *spec = (void *)(dmi + 1);

	dmi->target_count = 1;
	spec->length = sectors;
	strcpy(spec->target_type, "vdisk");
	strcpy((char *)(spec + 1), line);
	dmi->data_size = sizeof(*dmi) + sizeof(*spec) + (strlen(line) + 8) / 8 * 8;
	return !ioctl(fd, DM_TABLE_LOAD, dmi);
}

static void table(char *line)
{
	struct dm_ioctl *dmi = (void *)buf;
	size_t size = 4096;

	do {
		request(DM_STATUS_TABLE_FLAG | DM_QUERY_INACTIVE_TABLE_FLAG);
		dmi->data_size = size *= 2;
		if (ioctl(fd, DM_TABLE_STATUS, dmi))
			fail("no status");
	} while ((dmi->flags & DM_BUFFER_FULL_FLAG) && size < sizeof(buf));
	if (dmi->target_count != 1 || (dmi->flags & DM_BUFFER_FULL_FLAG))
		fail("no status");
	strcpy(line, buf + dmi->data_start + sizeof(struct dm_target_spec));
}

static void show(const char *what, const char *line)
{
	fprintf(stderr, "%s: ", what);
	for (; *line; line++)
		fprintf(stderr, isprint((unsigned char)*line) ? "%c" : "\\x%02x", (unsigned char)*line);
	fputc('\n', stderr);
}

/* The user's words may have any white space between them, and escapes in them. */
static void put_user(const char *word)
{
	static const char *const space[] = { " ", "  ", "\t", " \n ", "\xa0", "\v" };

	if (user_len)
		user_len += sprintf(user + user_len, "%s", chance(90) ? " " : space[below(6)]);
	for (; *word; word++) {
		if (chance(2))
			user[user_len++] = '\\';
		user[user_len++] = *word;
	}
	user[user_len] = '\0';
}

static void put_canonical(const char *word)
{
	canonical_len += sprintf(canonical + canonical_len, "%s%s", canonical_len ? " " : "", word);
}

static void put(const char *word)
{
	put_user(word);
	put_canonical(word);
}

/* Options: canonical in this order, the user's shuffled. */
static struct { char user[256], canonical[256]; } options[8];
static unsigned int nr_options;

static void option(const char *key, uint64_t value)
{
	sprintf(options[nr_options].user, "%s:%s%llu", key, chance(5) ? "00" : "", (unsigned long long)value);
	sprintf(options[nr_options++].canonical, "%s:%llu", key, (unsigned long long)value);
}

static void option_word(const char *word)
{
	strcpy(options[nr_options].user, word);
	strcpy(options[nr_options++].canonical, word);
}

static void option_time(void)
{
	static const struct { const char *name; unsigned int us; } units[] = { { "us", 1 }, { "ms", 1000 }, { "s", 1000000 } };
	unsigned int unit = below(3), n = 1 + below(9);

	sprintf(options[nr_options].user, "period:%u%s", n, units[unit].name);
	sprintf(options[nr_options++].canonical, "period:%uus", n * units[unit].us);
}

static uint64_t some_time(char *word, uint64_t least)
{
	static const struct { const char *name; unsigned int us; } units[] = { { "us", 1 }, { "ms", 1000 }, { "s", 1000000 } };
	unsigned int unit = below(3);
	uint64_t most = 3600000000ULL / units[unit].us, n = (least + units[unit].us - 1) / units[unit].us;

	/* A unit that is too coarse for what is left */
	if (n > most)
		return some_time(word, least);
	n += below(chance(20) ? most - n + 1 : chance(50) ? 1 : most - n < 5 ? 1 : 5);
	sprintf(word, "%s%llu%s", chance(5) ? "00" : "", (unsigned long long)n, n || chance(50) ? units[unit].name : "");
	if (!n && !strcmp(word, "000"))
		strcpy(word, "0");
	return n * units[unit].us;
}

static void option_latency(const char *key)
{
	char *u = options[nr_options].user, *c = options[nr_options].canonical, word[32];
	unsigned int i, n = chance(50) ? 1 : 1 + below(8), at = 0;
	uint64_t us = 0;

	u += sprintf(u, "%s:", key);
	c += sprintf(c, "%s:", key);
	for (i = 0; i < n; i++) {
		us = some_time(word, us);
		u += sprintf(u, "%s%s", i ? "/" : "", word);
		c += sprintf(c, "%s%lluus", i ? "/" : "", (unsigned long long)us);
		if (!i)
			continue;
		/* Of 1/1000 %, and room for those that follow */
		at += 1 + below(chance(50) ? 10 : 99999 / n - 1);
		if (chance(30) && at / 1000 < 98)
			at = (at / 1000 + 1) * 1000;
		u += sprintf(u, "@%u", at / 1000);
		c += sprintf(c, "@%u", at / 1000);
		if (at % 1000 || chance(20))
			u += sprintf(u, ".%03u", at % 1000);
		if (at % 1000)
			c += sprintf(c, ".%03u", at % 1000);
		while (at % 1000 && c[-1] == '0')
			*--c = '\0';
	}
	nr_options++;
}

static void put_options(void)
{
	unsigned int i, j;
	char label[80];

	if (chance(20)) {
		sprintf(label, "label:%s%u", chance(50) ? "l" : "._-", nr_names++);
		option_word(label);
	}
	for (i = 0; i < nr_options; i++)
		put_canonical(options[i].canonical);
	while (nr_options) {
		j = below(nr_options--);
		put_user(options[j].user);
		options[j] = options[nr_options];
	}
}

static void gen(uint64_t len, bool exact, unsigned int depth, unsigned int budget);

static void child(uint64_t len, bool exact, unsigned int depth, unsigned int budget)
{
	put("(");
	gen(len, exact, depth + 1, budget);
	put(")");
}

static void gen_leaf(uint64_t len, bool exact)
{
	struct dev *dev = &devs[below(nr_devs)];

	if (len > dev->sectors || (!exact && chance(40))) {
		char word[80];

		if (exact)
			fail("no leaf of that length");
		if (chance(30)) {
			put("zero");
		} else {
			put("ram");
			if (chance(20)) {
				sprintf(word, "name:n%llu-%u", (unsigned long long)seed, nr_names++);
				option_word(word);
			}
			if (chance(30))
				option("max", 8 + below(1 << 20));
		}
	} else {
		uint64_t start = below((dev->sectors - len) / UNIT + 1) * UNIT;

		put("block");
		put_user(chance(70) ? dev->path : dev->number);
		put_canonical(dev->number);
		if (start || chance(10))
			option("start", start);
		if (exact || chance(30))
			option("len", exact ? len : len + below((dev->sectors - start - len) / UNIT + 1) * UNIT);
	}
	put_options();
}

static void gen_test(uint64_t len, bool exact, unsigned int depth, unsigned int budget)
{
	static const char *const modes[] = { "pass", "work", "timer", "hold", "read", "fail" };
	char word[80];

	put("test");
	if (chance(60)) {
		sprintf(word, "mode:%s", modes[below(6)]);
		option_word(word);
	}
	if (chance(30))
		option_time();
	if (chance(30))
		option("piece", UNIT * (1 + below(100)));
	if (chance(30))
		option_word("up");
	put_options();
	child(len, exact, depth, budget - 1);
}

static void gen_delay(uint64_t len, bool exact, unsigned int depth, unsigned int budget)
{
	static const char *const classes[] = { "read", "write", "flush", "discard" };
	unsigned int i;

	put("delay");
	for (i = 0; i < 4; i++)
		if (chance(40))
			option_latency(classes[i]);
	if (chance(20))
		option("seed", chance(50) ? next() >> 8 : below(3)); /* 20 digits at most, with zeroes before it */
	put_options();
	child(len, exact, depth, budget - 1);
}

/* The key is in the keyring, see add_keys(). */
static void gen_crypt(uint64_t len, bool exact, unsigned int depth, unsigned int budget)
{
	char word[80];

	put("crypt");
	option_word("cipher:aes-xts-plain64");
	option_word(chance(50) ? "key::32:user:vdfuzz32" : "key::64:user:vdfuzz64");
	if (chance(30))
		option("iv_offset", UNIT * below(1 << 20));
	if (chance(50)) {
		sprintf(word, "sector_size:%u", 512 << below(4));
		option_word(word);
	}
	if (chance(30))
		option_word("iv_large_sectors");
	if (chance(30))
		option_word("allow_discards");
	put_options();
	child(len, exact, depth, budget - 1);
}

static void gen_overlay(uint64_t len, bool exact, unsigned int depth, unsigned int budget)
{
	put("overlay");
	option_word("volatile");
	put_options();
	child(len, false, depth, (budget - 1) / 2);
	child(len, exact, depth, (budget - 1) / 2);
}

static void gen_striped(uint64_t len, bool exact, unsigned int depth, unsigned int budget)
{
	uint64_t most = budget - 1 < 16 || chance(95) ? 16 : MAX_CHILDREN, n, i, chunk, per;

	if (most > budget - 1)
		most = budget - 1;
	for (n = 1 + below(most); len % (n * UNIT); n--)
		;
	per = len / n;
	/* A divisor of per that is a multiple of UNIT, and no larger than the limit */
	for (chunk = UNIT * (1 + below(per / UNIT < 64 ? per / UNIT : 64)); per % chunk; chunk -= UNIT)
		;
	put("striped");
	option("chunk", chunk);
	put_options();
	for (i = 0; i < n; i++)
		child(per, exact, depth, (budget - 1) / n);
}

static void gen_concat(uint64_t len, bool exact, unsigned int depth, unsigned int budget)
{
	uint64_t most = budget - 1 < 12 || chance(95) ? 12 : MAX_CHILDREN, n, i, part;

	if (most > budget - 1)
		most = budget - 1;
	n = 1 + below(most);
	put("concat");
	put_options();
	for (i = 0; i < n - 1 && len > UNIT; i++) {
		part = UNIT * (1 + below(len / UNIT - 1));
		if (part > devs[0].sectors)
			part = devs[0].sectors;
		if (part >= len)
			break;
		child(part, true, depth, (budget - 1) / n);
		len -= part;
	}
	/* What is left must fit a device if it has to be exact. */
	while (exact && len > devs[0].sectors) {
		child(devs[0].sectors, true, depth, 1);
		len -= devs[0].sectors;
	}
	child(len, exact, depth, (budget - 1) / n);
}

/* The line may have nodes whose workqueue takes ten times as long to make as all the rest. */
static bool heavy;

/* A node that takes @len sectors, or has just as many if @exact. */
static void gen(uint64_t len, bool exact, unsigned int depth, unsigned int budget)
{
	if (depth + 1 == MAX_DEPTH || budget < 2 || chance(depth > 3 ? 50 : 15)) {
		gen_leaf(len, exact);
		return;
	}
	switch (below(heavy ? 7 : 4)) {
	case 0:
		gen_test(len, exact, depth, budget);
		break;
	case 1:
		gen_concat(len, exact, depth, budget);
		break;
	case 4:
		gen_delay(len, exact, depth, budget);
		break;
	case 5:
		gen_crypt(len, exact, depth, budget);
		break;
	case 6:
		gen_overlay(len, exact, depth, budget);
		break;
	default:
		gen_striped(len, exact, depth, budget);
	}
}

/* Only the root; a domain of its own, as a nexus is one device. Sometimes with a store, on the first device. */
static void gen_pr(uint64_t len, bool exact, unsigned int budget)
{
	char word[80];

	put("pr");
	sprintf(word, "domain:d%llu-%u", (unsigned long long)seed, nr_names++);
	option_word(word);
	sprintf(word, "nexus:%s", chance(50) ? "a" : "._-");
	option_word(word);
	put_options();
	child(len, exact, 0, budget - 2);
	if (chance(80))
		return;
	put("(");
	put("block");
	put_user(devs[0].path);
	put_canonical(devs[0].number);
	put_options();
	put(")");
}

static uint64_t generate(void)
{
	uint64_t n = 1 + below(chance(50) ? devs[0].sectors / UNIT : 64), len;

	heavy = chance(20);
	/* Lengths with many divisors make wide stripes. */
	len = n * UNIT;
	if (chance(50) && len * 60 <= devs[0].sectors)
		len *= 60;
	user_len = canonical_len = nr_options = 0;
	user[0] = canonical[0] = '\0';
	if (heavy && chance(20))
		gen_pr(len, len <= devs[0].sectors && chance(20), 24);
	else
		gen(len, len <= devs[0].sectors && chance(20), 0, chance(80) ? 24 : MAX_NODES - 30);
	return len;
}

/* TABLE's line loads, and prints the same. */
static void again(uint64_t sectors)
{
	table(first);
	if (!load(sectors, first)) {
		show("does not load again", first);
		fail("TABLE's line is refused");
	}
	table(second);
	if (strcmp(first, second)) {
		show("printed", first);
		show("then", second);
		fail("TABLE's line prints another");
	}
}

static void valid(void)
{
	uint64_t sectors = generate();

	if (!load(sectors, user)) {
		fprintf(stderr, "%llu sectors: %s\n", (unsigned long long)sectors, strerror(errno));
		show("refused", user);
		fail("a valid line is refused");
	}
	again(sectors);
	if (strcmp(first, canonical)) {
		show("loaded", user);
		show("expected", canonical);
		show("printed", first);
		fail("TABLE is not canonical");
	}
}

static const char *const words[] = {
	"crypt", "cipher:", "cipher:aes-xts-plain64", "key:", "key::64:user:vdfuzz64", "sector_size:4096",
	"(", ")", " ( ", " ) ", "striped", "concat", "test", "ram", "zero", "block", "nvme", "chunk:", "chunk:0",
	"chunk:18446744073709551615", "start:9223372036854775807", "len:18014398509481983", "max:18014398509481983",
	"piece:1", "piece:1048576", "label:", "label:a", "name:x", "mode:hold", "period:10000000us", "up", "\\", "\\\\", "\xa0",
	"\n", "\t", " ", "%s%n%pV", "0", "99999999999999999999", "-1", "/dev/null", "/dev", "/proc/self/mem", "254:0", "7:0",
	"drop_volatile", ":", "eui:0011223344556677", "nguid:", "\xff", "\x01",
	"pr", "domain:d", "nexus:a", "pr domain:d nexus:a (", "overlay", "volatile",
	"delay", "read:", "write:0", "flush:1us/2us@50", "/2ms@99", "@", "@99.999", "/", "seed:1",
};

static void splice(char *line, size_t at, size_t remove, const char *add, size_t add_len)
{
	size_t len = strlen(line);

	if (remove > len - at)
		remove = len - at;
	if (len - remove + add_len >= LINE_MAX_BYTES)
		return;
	memmove(line + at + add_len, line + at + remove, len - at - remove + 1);
	memcpy(line + at, add, add_len);
}

static void repeat(const char *before, unsigned int n, const char *middle, const char *after, unsigned int m)
{
	user_len = 0;
	while (n-- && user_len < LINE_MAX_BYTES - 256)
		user_len += sprintf(user + user_len, "%s", before);
	user_len += sprintf(user + user_len, "%s", middle);
	while (m-- && user_len < LINE_MAX_BYTES - 256)
		user_len += sprintf(user + user_len, "%s", after);
}

/* Lines that are large in some direction */
static void monster(void)
{
	unsigned int n = 1 << below(13);

	switch (below(6)) {
	case 0: repeat("concat ( ", n, "zero", " )", chance(80) ? n : below(n)); break;
	case 1: repeat("striped chunk:1 ( ", n, "ram", " )", n); break;
	case 2: repeat("", 0, "concat", " ( zero )", n); break;
	case 3: repeat("", 0, "zero label:", "x", n * 8); break;
	case 4: repeat("", 0, "striped", " chunk:8", n); break;
	default: repeat("", 0, "concat", " ( concat ( zero ) ( zero ) )", n); break;
	}
}

static uint64_t mutate(void)
{
	uint64_t sectors = generate();
	unsigned int n = 1 + below(chance(70) ? 2 : 12);

	if (chance(2))
		monster();
	while (n--) {
		size_t len = strlen(user), at = below(len + 1);
		const char *word = words[below(sizeof(words) / sizeof(words[0]))];
		char byte[2] = { 1 + below(255), 0 };

		switch (below(8)) {
		case 0: splice(user, at, 1, byte, 1); break;
		case 1: splice(user, at, 0, byte, 1); break;
		case 2: splice(user, at, 1 + below(chance(50) ? 3 : 40), "", 0); break;
		case 3: splice(user, at, 0, word, strlen(word)); break;
		case 4: splice(user, at, strlen(word), word, strlen(word)); break;
		case 5: { /* a piece of the line, elsewhere */
			char part[4096];
			size_t from = below(len), size = below(len - from) % sizeof(part);

			memcpy(part, user + from, size);
			splice(user, at, 0, part, size);
			break;
		}
		case 6: { /* a digit */
			size_t i = strcspn(user + at, "0123456789") + at;

			if (user[i])
				user[i] = '0' + below(10);
			break;
		}
		default:
			sectors = chance(50) ? sectors + below(16) : chance(50) ? below(1ULL << 54) : 1 + below(4096);
		}
	}
	return sectors ? sectors : 1;
}

static bool resume(void)
{
	request(0);
	return !ioctl(fd, DM_DEV_SUSPEND, buf);
}

static void create(void) { must(DM_DEV_CREATE, 0, "create"); }
static void destroy(void) { must(DM_DEV_REMOVE, 0, "remove"); }

static void open_dev(const char *path)
{
	struct dev *dev = &devs[nr_devs++];
	unsigned long long bytes;
	struct stat st;
	int f = open(path, O_RDONLY);

	if (f < 0 || fstat(f, &st) || ioctl(f, _IOR(0x12, 114, size_t), &bytes))
		fail(path);
	close(f);
	strncpy(dev->path, path, sizeof(dev->path) - 1);
	sprintf(dev->number, "%u:%u", major(st.st_rdev), minor(st.st_rdev));
	dev->sectors = bytes >> 9;
}

/* Keys for gen_crypt(); those with equal halves are refused. */
static void add_keys(void)
{
	char key[64];

	if (getentropy(key, sizeof(key)))
		fail("no key");
	if (syscall(SYS_add_key, "user", "vdfuzz32", key, 32, KEY_SPEC_PROCESS_KEYRING) < 0 ||
	    syscall(SYS_add_key, "user", "vdfuzz64", key, 64, KEY_SPEC_PROCESS_KEYRING) < 0)
		fail("add_key");
}

/* Is that in the line? Any of its letters may be escaped. */
static bool mentions(const char *word)
{
	const char *at, *from, *left;

	for (from = user; *from; from++) {
		for (at = from, left = word; *left; at++)
			if (*at == *left)
				left++;
			else if (*at != '\\')
				break;
		if (!*left)
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	unsigned long nr_valid, nr_mutated, seconds, i, loaded = 0, live = 0;
	time_t start = time(NULL);

	if (argc < 6) {
		fputs("Usage: dmfuzz VALID MUTATED SECONDS SEED DEVICE...\n"
		      "Loads so many valid and mutated lines, or as many as the time allows (0: no limit), over devices of one size.\n"
		      "SEED 0 takes a new one.\n", stderr);
		return 2;
	}
	nr_valid = strtoul(argv[1], NULL, 0);
	nr_mutated = strtoul(argv[2], NULL, 0);
	seconds = strtoul(argv[3], NULL, 0);
	seed = strtoull(argv[4], NULL, 0);
	if (!seed)
		if (getentropy(&seed, 4))
			fail("no seed");
	rnd = seed;
	for (i = 5; i < (unsigned long)argc && nr_devs < 16; i++)
		open_dev(argv[i]);
	fd = open("/dev/mapper/control", O_RDWR);
	if (fd < 0)
		fail("/dev/mapper/control");
	sprintf(name, "vdfuzz%d", getpid());
	printf("dmfuzz: seed %llu\n", (unsigned long long)seed);
	fflush(stdout);

	add_keys();
	create();
	for (i = 0; i < nr_valid && (!seconds || time(NULL) - start < (time_t)seconds / 2); i++)
		valid();
	printf("dmfuzz: %lu valid lines\n", i);
	for (i = 0; i < nr_mutated && (!seconds || time(NULL) - start < (time_t)seconds); i++) {
		uint64_t sectors = mutate();

		if (!load(sectors, user))
			continue;
		loaded++;
		again(sectors);
		if (below(16))
			continue;
		/* Live and gone, inactive table and all */
		live++;
		/*
		 * Whether there is a store is known when it is read; here it is on a device that keeps nothing, and reads
		 * as chance has it. Of pr that is EBADMSG.
		 */
		if (!resume() && !mentions("overlay") && (!mentions("nexus:") || errno != EBADMSG)) {
			fprintf(stderr, "resume of %llu sectors, %s: %s\n", (unsigned long long)sectors, user,
				strerror(errno));
			fail("resume");
		}
		destroy();
		create();
	}
	destroy();
	printf("dmfuzz: %lu mutated lines, %lu of them load, %lu went live\n", i, loaded, live);
	return 0;
}
