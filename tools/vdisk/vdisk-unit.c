// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unit tests: checksums, sizes, stacks and their lengths, and what check, map and repair make of stores
 * that were changed at every byte, hold hostile numbers, or chance. They need no
 * kernel module. Prints TAP.
 *
 *	vdisk-unit [SEED [ROUNDS]]
 *	vdisk-unit make FILE UNIT FLAGS [INCOMPAT]	only writes such a store, for tests of the tool
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vdisk.h"
#include "helper.h"
#include "openvmm.h"
#include "stack.h"

#define LEN	8192	/* sectors: 5 of the presence area with units of 512 */
#define LEAF	2	/* the one that is changed */

static unsigned int tests, failures;
static __u64 seed;
static char path[64];
static int memory;
static __u8 *image;
static size_t image_size;

static void ok(bool good, const char *what)
{
	failures += !good;
	printf("%sok %u - %s\n", good ? "" : "not ", ++tests, what);
	fflush(stdout);
}

static __u64 chance(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(2);
}

static struct vdisk_store_sb *slot(int i) { return (void *)(image + i * STORE_BLOCK); }
static struct vdisk_store_leaf *leaf(int i) { return (void *)(image + (16 + i) * VDISK_STORE_SECTOR); }

/* A store in memory, all of its presence written: unit n is in state n / 7 % 3. */
static void make_store(__u32 unit)
{
	struct vdisk_store_sb sb = { .epoch = cpu_to_le64(3), .sequence = cpu_to_le64(5), .uuid = "0123456789abcde" };
	__u64 units = LEN / (unit / VDISK_STORE_SECTOR);

	must(vdisk_store_lay_out(&sb, LEN, 4 * LEN, unit), "layout");
	vdisk_store_sb_seal(&sb);
	image_size = (le64_to_cpu(sb.data_start) + LEN) * VDISK_STORE_SECTOR;
	if (image)
		munmap(image, image_size);
	must(!ftruncate(memory, 0) && !ftruncate(memory, image_size), "ftruncate");
	image = mmap(NULL, image_size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	must(image != MAP_FAILED, "mmap");
	*slot(0) = sb;
	sb.sequence = cpu_to_le64(6);
	vdisk_store_sb_seal(&sb);
	*slot(1) = sb;
	for (__u64 i = 0; i * VDISK_STORE_LEAF_UNITS < units; i++) {
		struct vdisk_store_leaf *l = leaf(i);

		for (__u64 n = 0; n < VDISK_STORE_LEAF_UNITS && i * VDISK_STORE_LEAF_UNITS + n < units; n++)
			l->bits[n / 32] |= cpu_to_le64(((i * VDISK_STORE_LEAF_UNITS + n) / 7 % 3) << n % 32 * 2);
		vdisk_store_leaf_seal(&sb, i, l);
	}
}

static int count_runs(void *arg, __u64 unit, __u64 nr, enum store_state state)
{
	__u64 *units = arg;

	must(state < STORE_STATES && nr, "a run");
	units[state] += nr;
	units[STORE_STATES] |= unit != units[STORE_STATES + 1];
	units[STORE_STATES + 1] = unit + nr;
	return VDISK_OK;
}

/* As check does it, and map. Return: the exit status. */
static int look(struct store_report *report)
{
	__u64 units[STORE_STATES + 2] = {};
	struct store store;
	int status;

	*report = (struct store_report){ .quiet = true };
	status = store_open_good(&store, path, STORE_SHARE);
	if (status)
		return status;
	status = store_check(&store, report) ?: store_status(report);
	json_object_put(report->problems);
	if (status != VDISK_FAILED && store_area_end(&store) <= store.size) {
		must(!store_map(&store, count_runs, units), "map");
		/* Without a gap, to the end, and what check says. */
		must(!units[STORE_STATES] && units[STORE_STATES + 1] == store_len_units(&store) &&
		     !memcmp(units, report->units, sizeof(report->units)), "map and check");
	}
	store_close(&store);
	return status;
}

static void test_crc32c(void)
{
	__u8 buf[32], up[32], down[32];

	for (int i = 0; i < 32; i++) {
		up[i] = i;
		down[i] = 31 - i;
	}
	/* RFC 3720, B.4 */
	memset(buf, 0, sizeof(buf));
	ok(~vdisk_crc32c(~0U, buf, 32) == 0x8a9136aa, "crc32c of 32 zeroes");
	memset(buf, 0xff, sizeof(buf));
	ok(~vdisk_crc32c(~0U, buf, 32) == 0x62a8ab43, "crc32c of 32 ones");
	ok(~vdisk_crc32c(~0U, up, 32) == 0x46dd794e, "crc32c of 0 to 31");
	ok(~vdisk_crc32c(~0U, down, 32) == 0x113fdb5c, "crc32c of 31 to 0");
	ok(vdisk_crc32c(vdisk_crc32c(~0U, up, 5), up + 5, 27) == vdisk_crc32c(~0U, up, 32), "crc32c in two pieces");
}

static void test_sizes(void)
{
	static const struct { const char *text; bool good; __u64 sectors; } sizes[] = {
		{ "0", true, 0 }, { "1", true, 1 }, { "20971520", true, 20971520 }, { "10G", true, 20971520 },
		{ "1K", true, 2 }, { "1k", true, 2 }, { "3MiB", true, 6144 }, { "2T", true, 1ULL << 32 },
		{ "18446744073709551615", true, ~0ULL }, { "4194304P", true, 1ULL << 63 }, { "8388608P", false, 0 }, { "8191P", true, 8191ULL << 41 },
		{ "18446744073709551616", false, 0 }, { "9999999999999999P", false, 0 }, { "", false, 0 }, { "-1", false, 0 },
		{ "+1", false, 0 }, { " 1", false, 0 }, { "1.5G", false, 0 }, { "1GB", false, 0 }, { "1Gi", false, 0 },
		{ "G", false, 0 }, { "1 G", false, 0 }, { "0x10", false, 0 }, { "1s", false, 0 }, { "1GiBx", false, 0 },
	};
	char text[64];
	__u64 sectors;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		bool good = vdisk_parse_size(sizes[i].text, &sectors);

		snprintf(text, sizeof(text), "size '%s'", sizes[i].text);
		ok(good == sizes[i].good && (!good || sectors == sizes[i].sectors), text);
	}
	ok(!strcmp(vdisk_bytes(text, 10ULL << 30), "10 GiB") && !strcmp(vdisk_bytes(text, 1536), "1.5 KiB") &&
	   !strcmp(vdisk_bytes(text, 512), "512 bytes") && !strcmp(vdisk_bytes(text, ~0ULL), "16 EiB"), "sizes are printed");
}

/*
 * Each byte of an area after the other is changed in some ways (in one, behind
 * what a checksum covers); every one of them has to give this exit status.
 */
static unsigned int flip(__u8 *from, size_t bytes, int want, __u64 damaged)
{
	static const __u8 changes[] = { 1, 0x10, 0x80, 0xff };
	struct store_report report;
	unsigned int wrong = 0;

	for (size_t i = 0; i < bytes; i++) {
		for (size_t c = 0; c < (i < VDISK_STORE_SECTOR ? sizeof(changes) : 1); c++) {
			from[i] ^= changes[c];
			if (look(&report) != want || report.units[STORE_DAMAGED] != damaged) {
				if (!wrong++)
					printf("# byte %zu ^ %#x\n", i, changes[c]);
			}
			from[i] ^= changes[c];
		}
	}
	return wrong;
}

static void test_flips(__u32 unit)
{
	struct vdisk_store_leaf none = {}, all = {}, kept;
	struct store_report report;
	__u64 units;
	char text[64];

	make_store(unit);
	units = LEN / (unit / VDISK_STORE_SECTOR);
	ok(look(&report) == VDISK_OK && report.units[STORE_ABSENT] + report.units[STORE_DATA] + report.units[STORE_ZERO] == units,
	   "a store as it should be");
	for (int i = 0; i < VDISK_STORE_SLOTS; i++) {
		snprintf(text, sizeof(text), "unit %u: each byte of superblock slot %d", unit, i);
		ok(!flip(image + i * STORE_BLOCK, STORE_BLOCK, VDISK_HARMLESS, 0), text);
	}
	memset(slot(1), 0, sizeof(*slot(1)));
	ok(look(&report) == VDISK_HARMLESS, "one slot is blank");
	/* The one that is left: what had a magic is damage, what has none is no store. */
	ok(!flip(image, 8, VDISK_FAILED, 0) && !flip(image + 8, VDISK_STORE_SECTOR - 8, VDISK_DAMAGE, 0),
	   "each byte of the only superblock");

	make_store(unit);
	if (unit != 512)
		return;
	ok(!flip((void *)leaf(LEAF), VDISK_STORE_SECTOR, VDISK_DAMAGE, VDISK_STORE_LEAF_UNITS), "each byte of a presence sector");
	kept = *leaf(LEAF);
	*leaf(LEAF) = none;
	ok(look(&report) == VDISK_OK, "a blank one");
	ok(!flip((void *)leaf(LEAF), VDISK_STORE_SECTOR, VDISK_DAMAGE, VDISK_STORE_LEAF_UNITS), "each byte of a blank one");
	memset(all.bits, 0x55, sizeof(all.bits));
	vdisk_store_leaf_seal(slot(0), LEAF, &all);
	*leaf(LEAF) = all;
	ok(!flip((void *)leaf(LEAF), VDISK_STORE_SECTOR, VDISK_DAMAGE, VDISK_STORE_LEAF_UNITS), "each byte of a full one");
	*leaf(LEAF) = *leaf(LEAF - 1);
	ok(look(&report) == VDISK_DAMAGE, "another one in its place");
	kept.bits[5] |= cpu_to_le64(3ULL << 40);
	vdisk_store_leaf_seal(slot(0), LEAF, &kept);
	*leaf(LEAF) = kept;
	ok(look(&report) == VDISK_DAMAGE, "a unit that is data and zero");
	kept.bits[5] = 0;
	slot(0)->epoch = cpu_to_le64(2);
	vdisk_store_leaf_seal(slot(0), LEAF, &kept);
	*leaf(LEAF) = kept;
	make_store(unit);
	*leaf(LEAF) = kept;
	ok(look(&report) == VDISK_HARMLESS && report.old == 1, "one of an older epoch");
	slot(0)->epoch = cpu_to_le64(4);
	vdisk_store_leaf_seal(slot(0), LEAF, &kept);
	make_store(unit);
	*leaf(LEAF) = kept;
	ok(look(&report) == VDISK_DAMAGE && report.units[STORE_DAMAGED] == VDISK_STORE_LEAF_UNITS, "one of a newer epoch");
	make_store(unit);
	slot(1)->uuid[3] ^= 1;
	slot(1)->sequence = cpu_to_le64(4);
	vdisk_store_sb_seal(slot(1));
	ok(look(&report) == VDISK_DAMAGE && report.damage == 1, "superblocks of two stores");
	make_store(unit);
	slot(1)->flags = cpu_to_le32(VDISK_STORE_FULL);
	slot(1)->sequence = cpu_to_le64(6);
	vdisk_store_sb_seal(slot(1));
	ok(look(&report) == VDISK_DAMAGE && report.damage == 1, "full, but something is absent");
	slot(1)->base_len = cpu_to_le64(1);
	*leaf(0) = (struct vdisk_store_leaf){ .epoch = slot(1)->epoch, .bits = { cpu_to_le64(1) } };
	vdisk_store_leaf_seal(slot(1), 0, leaf(0));
	vdisk_store_sb_seal(slot(1));
	ok(look(&report) == VDISK_OK && !report.lacking && report.units[STORE_ABSENT], "full, for the base is shorter");
}

static void test_repair(void)
{
	struct store_report report;
	struct vdisk_store_sb sb;
	struct store store;
	__u64 before[STORE_STATES], nr;

	make_store(512);
	look(&report);
	memcpy(before, report.units, sizeof(before));
	for (int state = STORE_ABSENT; state <= STORE_DATA; state++) {
		make_store(512);
		memset(slot(1), 0xff, 40);
		leaf(LEAF)->crc ^= 1;
		leaf(4)->bits[0] ^= 1;	/* the last one, part of whose units there are */
		must(!store_open_good(&store, path, STORE_WRITE), "open");
		ok(!store_repair_leaves(&store, state, &nr) && nr == 2, "damaged sectors are rewritten");
		sb = *store.sb;
		ok(!store_write_sb(&store, &sb), "superblocks are rewritten");
		store_close(&store);
		ok(look(&report) == VDISK_OK && !report.behind && slot(1)->sequence == cpu_to_le64(6) &&
		   slot(0)->sequence == cpu_to_le64(7), "all is well then");
		ok(report.units[state] > before[state] && report.units[!state] < before[!state] &&
		   report.units[STORE_ZERO] < before[STORE_ZERO], "with the units as they were taken for");
	}
}

/* Every number of the superblock at its extremes: whatever is said, it says something. */
static void test_hostile(void)
{
	static const struct { size_t offset, size; } fields[] = {
#define FIELD(name) { offsetof(struct vdisk_store_sb, name), sizeof(((struct vdisk_store_sb *)0)->name) }
		FIELD(compat), FIELD(ro_compat), FIELD(incompat), FIELD(sequence), FIELD(unit), FIELD(flags), FIELD(epoch),
		FIELD(len), FIELD(max_len), FIELD(presence_start), FIELD(presence_nr), FIELD(data_start), FIELD(base_len),
	};
	static const __u64 numbers[] = {
		0, 1, 2, 7, 8, 511, 512, 513, 4096, 1 << 20, 0x7fffffff, 0x80000000, 0xffffffff, 1ULL << 32, 1ULL << 53,
		(1ULL << 53) + 1, (1ULL << 54) - 1, 0x7fffffffffffffff, 1ULL << 63, ~0ULL - 7, ~0ULL - 1, ~0ULL,
	};
	size_t nr = sizeof(numbers) / sizeof(numbers[0]);
	struct store_report report;
	unsigned int seen[4] = {};

	for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
		for (size_t n = 0; n < nr; n++) {
			make_store(n % 2 ? 512 : 4096);
			memcpy((__u8 *)slot(0) + fields[f].offset, &numbers[n], fields[f].size);
			vdisk_store_sb_seal(slot(0));
			*slot(1) = *slot(0);
			seen[look(&report)]++;
		}
	}
	/* Lengths whose areas are where they have to be */
	for (size_t a = 0; a < nr; a++) {
		for (size_t b = 0; b < nr; b++) {
			make_store(512);
			if (!vdisk_store_lay_out(slot(0), numbers[a], numbers[b], (a + b) % 2 ? 512 : 4096))
				continue;
			vdisk_store_sb_seal(slot(0));
			*slot(1) = *slot(0);
			seen[look(&report)]++;
		}
	}
	printf("# clean %u, no store %u, damage %u, harmless %u\n", seen[0], seen[1], seen[2], seen[3]);
	ok(seen[VDISK_OK] && seen[VDISK_DAMAGE] && seen[VDISK_HARMLESS], "hostile superblocks");
	make_store(512);
	must(!ftruncate(memory, 9000), "ftruncate");
	ok(look(&report) == VDISK_DAMAGE && report.units[STORE_DAMAGED] == LEN, "a store that ends in its presence area");
	must(!ftruncate(memory, 600), "ftruncate");
	ok(look(&report) == VDISK_DAMAGE, "one that ends behind its superblock");
	must(!ftruncate(memory, 0), "ftruncate");
	ok(look(&report) == VDISK_FAILED, "an empty one");
}

/* Some bytes and some numbers at random, with good checksums and without. Damaged or not, repair leaves it undamaged. */
static void test_chance(unsigned int rounds)
{
	unsigned int seen[4] = {}, wrong = 0;
	struct store_report report;
	struct store store;
	__u64 nr;

	for (unsigned int i = 0; i < rounds; i++) {
		int status;

		make_store(chance() % 2 ? 512 : 4096);
		for (unsigned int n = chance() % 6; n; n--)
			image[chance() % (chance() % 2 ? 512 : 16 * 1024)] ^= chance();
		if (chance() % 2)
			vdisk_store_sb_seal(slot(0));
		if (chance() % 4 == 0)
			*slot(1) = *slot(0);
		for (unsigned int n = chance() % 3; n; n--) {
			int at = chance() % 8;

			leaf(at)->bits[chance() % VDISK_STORE_WORDS] = chance();
			if (chance() % 2)
				vdisk_store_leaf_seal(slot(chance() % 2), at, leaf(at));
		}
		status = look(&report);
		seen[status]++;
		if (store_open_good(&store, path, STORE_WRITE))
			continue;
		if (store_area_end(&store) <= store.size) {
			must(!store_repair_leaves(&store, chance() % 2, &nr), "repair");
			look(&report);
			wrong += report.units[STORE_DAMAGED] || report.bad || report.unused;
		}
		store_close(&store);
	}
	printf("# clean %u, no store %u, damage %u, harmless %u\n", seen[0], seen[1], seen[2], seen[3]);
	ok(!wrong && seen[VDISK_OK] && seen[VDISK_FAILED] && seen[VDISK_DAMAGE] && seen[VDISK_HARMLESS], "chance");
}

static int make_file(const char *file, __u32 unit, __u32 flags, __u64 incompat)
{
	FILE *f = fopen(file, "w");

	make_store(unit);
	slot(0)->flags = cpu_to_le32(flags);
	slot(0)->incompat = cpu_to_le64(incompat);
	vdisk_store_sb_seal(slot(0));
	*slot(1) = *slot(0);
	must(f && fwrite(image, image_size, 1, f) == 1 && !fclose(f), file);
	return 0;
}

/* What a person writes, the canonical line or the message, and the natural length. */
static void test_stacks(void)
{
	static const struct {
		const char *text, *line;
		__u64 length;
	} stacks[] = {
		{ "blob a len:10M", "blob a len:20480", 20480 },
		{ "delay read:1ms ( blob a len:7 )", "delay read:1000us ( blob a len:7 )", 7 },
		{ "striped chunk:4K ( blob a len:17 ) ( blob b len:25 )", "striped chunk:8 ( blob a len:17 ) ( blob b len:25 )", 32 },
		{ "concat ( blob a len:17 ) ( blob b len:25 )", "concat ( blob a len:17 ) ( blob b len:25 )", 42 },
		{ "concat ( blob a len:17 ) ( ram )", "concat ( blob a len:17 ) ( ram )", VDISK_UNBOUNDED },
		{ "overlay volatile ( ram max:1M ) ( blob a len:5 )", "overlay volatile ( ram max:2048 ) ( blob a len:5 )", 5 },
		{ "cache write_through ( ram ) ( blob a len:5 )", "cache write_through ( ram ) ( blob a len:5 )", 5 },
		{ "overlay volatile ( blob b len:9 ) ( zero )",
		  "overlay/0/blob: can only be read: put it below an overlay, or load a read-only table", 0 },
		{ "cache write_through ( ram ) ( zero )", "cache: write_through: a base that is zero keeps nothing of what is written", 0 },
		{ "pr domain:d nexus:n ( ram ) ( delay ( ram ) )",
		  "pr/1/delay/0/ram: keeps nothing over a loss of power, so it is no store", 0 },
		{ "pr domain:d nexus:n ( ram ) ( blob a len:8 )",
		  "pr/1/blob: can only be read: put it below an overlay, or load a read-only table", 0 },
		{ "crypt sector_size:4096 key::64:logon:a cipher:aes-xts-plain64 ( blob a len:15 )",
		  "crypt cipher:aes-xts-plain64 key::64:logon:a sector_size:4096 ( blob a len:15 )", 8 },
		{ "pr nexus:n domain:d ( blob a len:3 )", "pr domain:d nexus:n ( blob a len:3 )", 3 },
		{ "file /a\\ b\\\\c", "file /a\\ b\\\\c", VDISK_UNBOUNDED },
		{ "block 8:0 len:1M", "block 8:0 len:2048", 2048 },
		{ "striped ( ram )", "striped: chunk: missing", 0 },
		{ "ram max:10X", "ram: max: '10X' is not a number of sectors", 0 },
		{ "zero a\001\033\x80\xe9", "zero: 'a\\001\\e\\200\xe9': unknown word", 0 },
		{ "concat ( zero", "concat/0/zero: ')' missing behind it", 0 },
		{ "delay read:1us/2us@99.99 ( zero )", "delay read:1us/2us@99.99 ( zero )", VDISK_UNBOUNDED },
		{ "", "empty: a stack is a node type and its words", 0 },
	};

	for (size_t i = 0; i < sizeof(stacks) / sizeof(stacks[0]); i++) {
		struct vdisk_stack s;
		struct words words = {};
		char *line;

		words_split(&words, stacks[i].text, TABLE);
		words_translate(&words, true);
		if (stack_parse(&s, &words)) {
			ok(!strcmp(vdisk_error, stacks[i].line), stacks[i].line);
		} else {
			line = stack_line(&s);
			ok(!strcmp(line, stacks[i].line) && stack_length(&s) == stacks[i].length, stacks[i].line);
			free(line);
			stack_free(&s);
		}
		words_free(&words);
	}
}

/* The last byte of a letter in UTF-8 is a blank to the kernel, and to nobody else. */
static void test_letters(void)
{
	struct words typed = {}, table = {}, again = {};
	char *line;

	words_split(&typed, "file /voil\xc3\xa0 ro", TYPED);
	words_split(&table, "file /voil\xc3\xa0 ro", TABLE);
	ok(typed.nr == 3 && !strcmp(typed.word[1], "/voil\xc3\xa0") && table.nr == 3 && !strcmp(table.word[1], "/voil\xc3"),
	   "byte 0xa0: typed and of a table");
	line = words_join(&typed, TABLE);
	words_split(&again, line, TABLE);
	ok(!strcmp(line, "file /voil\xc3\\\xa0 ro") && !strcmp(again.word[1], typed.word[1]), "and for the kernel");
	free(line);
	words_free(&again);
	line = words_join(&typed, TYPED);
	ok(!strcmp(line, "file /voil\xc3\xa0 ro"), "and for people");
	free(line);
	words_free(&typed);
	words_free(&table);
}

static void test_give(void)
{
	static const struct {
		const char *text, *message;
		__u64 len;
	} stacks[] = {
		{ "blob a len:8", "blob: has 8 sectors, 9 are asked of it", 9 },
		{ "striped chunk:8 ( blob a len:32 ) ( blob b len:32 )",
		  "striped: length 40: not a multiple of 2 children x 8 sectors of chunk", 40 },
		{ "concat ( ram ) ( ram )", "concat/0/ram: has no length of its own, so it can only be the last", 8 },
		{ "overlay volatile ( ram ) ( blob a len:8 )", "", 16 },
		{ "concat ( blob a len:8 ) ( ram )", "", 99 },
	};

	for (size_t i = 0; i < sizeof(stacks) / sizeof(stacks[0]); i++) {
		struct vdisk_stack s;
		struct words words = {};

		words_split(&words, stacks[i].text, TABLE);
		*vdisk_error = 0;
		if (!stack_parse(&s, &words)) {
			stack_give(&s, stacks[i].len);
			stack_free(&s);
		}
		ok(!strcmp(vdisk_error, stacks[i].message), stacks[i].text);
		words_free(&words);
	}
}

/* What OpenVMM's --disk takes: the stack, length, create and ro; or why there is none. */
static void test_openvmm(void)
{
	static const struct {
		const char *text, *line;
		__u64 len;
		bool create, readonly;
	} disks[] = {
		{ "file:/a", "file /a", 0, false, false },
		{ "/a", "file /a", 0, false, false },
		{ "/a:b", "file /a:b", 0, false, false },
		{ "./a", "file ./a", 0, false, false },
		{ "a.img", "file a.img", 0, false, false },
		{ "file:/a;direct", "file /a", 0, false, false },
		{ "/dev/none", "block /dev/none", 0, false, false },
		{ "file:/a,ro", "file /a", 0, false, true },
		{ "/a.vhd", "vhd1 /a.vhd", 0, false, false },
		{ "/a.VHD", "vhd1 /a.VHD", 0, false, false },
		{ "/a.vmgs", "vhd1 /a.vmgs", 0, false, false },
		{ "/a.iso,ro", "file /a.iso", 0, false, true },
		{ "memdiff:/a.iso", "overlay volatile ( ram ) ( file /a.iso )", 0, false, false },
		{ "mem:1G", "ram", 2097152, false, false },
		{ "mem:1GB", "ram", 2097152, false, false },
		{ "mem:1024", "ram", 2, false, false },
		{ "memdiff:file:/a", "overlay volatile ( ram ) ( file /a )", 0, false, false },
		{ "memdiff:memdiff:/a", "overlay volatile ( ram ) ( overlay volatile ( ram ) ( file /a ) )", 0, false, false },
		{ "sql:/s;create=10M", "overlay ( file /s ) ( zero )", 20480, true, false },
		{ "sql:/s", "overlay ( file /s ) ( zero )", 0, false, false },
		{ "sqldiff:/s;create:file:/a", "overlay ( file /s ) ( file /a )", 0, true, false },
		{ "sqldiff:/s:/a", "overlay ( file /s ) ( file /a )", 0, false, false },
		{ "memdiff:autocache:k:/a", "overlay volatile ( ram ) ( cache ( file /c/k.vdisk ) ( file /a ) )", 0, true, false },
		{ "autocache:k:/a,ro", "cache ( file /c/k.vdisk ) ( file /a )", 0, true, true },
		{ "crypt:xts-aes-256:/k:/a", "crypt cipher:aes-xts-plain64 keyfile:/k allow_discards ( file /a )", 0, false, false },
		{ "memdiff:blob:flat:http://h/x", "overlay volatile ( ram ) ( blob http://h/x )", 0, false, false },
		{ "blob:vhd1:http://h/x,ro", "blob http://h/x vhd1", 0, false, true },
		{ "prwrap:/a", "pr domain:n nexus:n ( file /a )", 0, false, false },
		{ "delay:5:/a", "delay read:5ms write:5ms ( file /a )", 0, false, false },
		/* A stack stays what it is. */
		{ "zero", "zero", 0, false, false },
		{ "foo", "foo", 0, false, false },
		{ "file /a", "file /a", 0, false, false },
		{ "http://h/x,ro", "http://h/x,ro", 0, false, false },

		{ "file:", "file: without a path", 0, false, false },
		{ "file:/a;frob", "/a: ';frob' is no option of a file; there are ;direct and ;create=LENGTH", 0, false, false },
		{ "file:/a;create=1G", "/a: an image is not made here, so that none is lost: leave out ;create=, and make it: "
		  "truncate -s 1G /a", 0, false, false },
		{ "/a.vhdx", "/a.vhdx: VHDX is not read: qemu-img convert -O raw makes a raw image of it", 0, false, false },
		{ "/a.iso", "/a.iso: an ISO image is not written: say ,ro behind it, or memdiff: before it", 0, false, false },
		{ "mem:", "'' is no length: say bytes, a multiple of 512, or a number with K, M, G or T, as in 10G", 0, false, false },
		{ "mem:0", "'0' is no length: say bytes, a multiple of 512, or a number with K, M, G or T, as in 10G", 0, false, false },
		{ "mem:1000", "'1000' is no length: say bytes, a multiple of 512, or a number with K, M, G or T, as in 10G", 0, false, false },
		{ "mem:1X", "'1X' is no length: say bytes, a multiple of 512, or a number with K, M, G or T, as in 10G", 0, false, false },
		{ "mem:99999999999T", "'99999999999T' is no length: say bytes, a multiple of 512, or a number with K, M, G or T, as in 10G",
		  0, false, false },
		{ "memdiff:", "a disk is missing at the end; see DISKS OF OPENVMM in vdisk(8)", 0, false, false },
		{ "sql:/;create=1M", "/: is there already; leave out ;create to use it", 0, false, false },
		{ "sql:/s;direct", "sql: ';direct' is no option; there is ;create=LENGTH", 0, false, false },
		{ "sql:", "sql, sqldiff: without the path of the store", 0, false, false },
		{ "sqldiff:/s", "sqldiff: is sqldiff:PATH[;create]:DISK, and DISK is missing", 0, false, false },
		{ "sqldiff:/s;frob:/a", "sqldiff: ';frob' is no option; there is ;create", 0, false, false },
		{ "autocache:k:/a", "autocache: takes no writes: say memdiff: before it, or ,ro behind all", 0, false, false },
		{ "memdiff:autocache::/a", "autocache: without a key: what identity DISK has is not known here, so say one, as in "
		  "autocache:debian-13:DISK", 0, false, false },
		{ "memdiff:autocache:../k:/a", "autocache: the key '../k' is no name of a file", 0, false, false },
		{ "memdiff:autocache:..:/a", "autocache: the key '..' is no name of a file", 0, false, false },
		{ "autocache:/a", "autocache: is autocache:KEY:DISK, and DISK is missing", 0, false, false },
		{ "blob:raw:http://h/x", "blob: is blob:flat:URL or blob:vhd1:URL", 0, false, false },
		{ "blob:flat:http://h/x", "blob: takes no writes: say memdiff: before it, or ,ro behind all", 0, false, false },
		{ "crypt:aes:/k:/a", "crypt: 'aes' is no cipher; there is xts-aes-256", 0, false, false },
		{ "crypt:xts-aes-256:/k", "crypt: is crypt:xts-aes-256:KEY_FILE:DISK", 0, false, false },
		{ "crypt:xts-aes-256:/proc/self/mem:/a", "crypt: /proc/self/mem: a key of xts-aes-256 has 64 bytes, and the file 0",
		  0, false, false },
		{ "delay:x:/a", "delay: is delay:MILLISECONDS:DISK", 0, false, false },
		{ "delay:5", "delay: is delay:MILLISECONDS:DISK", 0, false, false },
		{ "foo:/a", "'foo' is no kind of disk: there are file, mem, memdiff, sql, sqldiff, autocache, blob, crypt, prwrap and "
		  "delay; a path with a colon begins with ./ or /", 0, false, false },
		{ "/a,lun=3", "'lun=3' is about how the guest sees the disk: leave it out here, and say it to the VMM, as in "
		  "--disk file:/dev/mapper/n,lun=3", 0, false, false },
		{ "/a,frob", "'frob' is no option of a disk: there is ro (a path cannot have a comma here; write the stack, as in "
		  "'file a,b')", 0, false, false },
	};

	/* What is shown of an URL */
	static const char *const urls[][2] = {
		{ "https://h/a?sig=x", "https://h/a" }, { "https://u:p@h:1/a@b", "https://h:1/a@b" }, { "file:///a#b", "file:///a" },
		{ "/a", "/a" }, { "https://h?a@b", "https://h" },
	};

	setenv("OPENVMM_AUTO_CACHE_PATH", "/c", 1);
	for (size_t i = 0; i < sizeof(disks) / sizeof(disks[0]); i++) {
		struct openvmm o = { .name = "n" };
		struct words words = {};
		char *line;

		words_split(&words, disks[i].text, TYPED);
		*vdisk_error = 0;
		if (words_openvmm(&words, &o)) {
			ok(!strcmp(vdisk_error, disks[i].line), disks[i].text);
		} else {
			line = words_join(&words, TYPED);
			ok(!strcmp(line, disks[i].line) && o.len == disks[i].len && (o.create.nr > 0) == disks[i].create &&
			   o.readonly == disks[i].readonly, disks[i].text);
			free(line);
		}
		words_free(&o.create);
		words_free(&words);
	}
	unsetenv("OPENVMM_AUTO_CACHE_PATH");
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		char *shown = url_shown(urls[i][0]);

		ok(!strcmp(shown, urls[i][1]), urls[i][0]);
		free(shown);
	}
}

int main(int argc, char **argv)
{
	memory = memfd_create("store", 0);
	must(memory >= 0, "memfd");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
	if ((argc == 5 || argc == 6) && !strcmp(argv[1], "make"))
		return make_file(argv[2], strtoul(argv[3], NULL, 0), strtoul(argv[4], NULL, 0),
				 argc > 5 ? strtoul(argv[5], NULL, 0) : 0);
	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	seed = seed ?: 20240229;
	printf("# seed %llu\n", seed);
	/* What is refused is said there. */
	must(freopen("/dev/null", "w", stderr), "/dev/null");

	test_crc32c();
	test_sizes();
	test_stacks();
	test_letters();
	test_give();
	test_openvmm();
	test_flips(512);
	test_flips(4096);
	test_repair();
	test_hostile();
	test_chance(argc > 2 ? strtoul(argv[2], NULL, 0) : 1000);
	printf("1..%u\n", tests);
	return failures > 0;
}
