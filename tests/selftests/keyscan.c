// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looks for a key in the machine's memory, through /proc/kcore. It never holds
 * the key itself but a masked copy, so it does not find what it brought along.
 *
 *	keyscan make BYTES TYPE DESCRIPTION FILE
 *		a random key in the user's keyring, its masked copy in FILE;
 *		prints the key's serial number
 *	keyscan search FILE
 *		prints "N bytes searched, N copies": places that hold 16 bytes
 *		of the key, each 16 of them counting by themselves
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MASK	0x9d3c61f0b5a7482eULL
#define PIECE	(1 << 20)
#define MAX_KEY	64

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(2);
}

static int make(size_t bytes, const char *type, const char *description, const char *file)
{
	uint64_t *key = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long serial;
	FILE *f;
	size_t i;

	must(key != MAP_FAILED && !mlock(key, 4096) && bytes && bytes <= MAX_KEY, "memory");
	must(getrandom(key, bytes, 0) == (ssize_t)bytes, "getrandom");
	serial = syscall(SYS_add_key, type, description, key, bytes, KEY_SPEC_USER_KEYRING);
	for (i = 0; i < MAX_KEY / 8; i++)
		key[i] ^= MASK;
	must(serial > 0, "add_key");
	f = fopen(file, "w");
	must(f && fwrite(key, bytes, 1, f) == 1 && !fclose(f), file);
	printf("%ld\n", serial);
	return 0;
}

/* How often memory of @size bytes has 16 bytes of the key, which lie at words. */
static unsigned long count(const char *mem, size_t size, const uint64_t (*masked)[2], int nr)
{
	unsigned long found = 0;
	uint64_t word[2];
	size_t at;
	int i;

	for (at = 0; at + 16 <= size; at += 4) {
		memcpy(word, mem + at, 8);
		word[0] ^= MASK;
		for (i = 0; i < nr; i++) {
			if (word[0] != masked[i][0])
				continue;
			memcpy(word + 1, mem + at + 8, 8);
			found += (word[1] ^ MASK) == masked[i][1];
		}
	}
	return found;
}

static int search(const char *file)
{
	uint64_t masked[MAX_KEY / 16][2];
	unsigned long found = 0, bytes = 0;
	int fd = open("/proc/kcore", O_RDONLY), i, nr;
	FILE *f = fopen(file, "r");
	Elf64_Ehdr head;
	Elf64_Phdr *part;
	char *buf = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(f != NULL, file);
	nr = fread(masked, 16, MAX_KEY / 16, f);
	must(nr > 0 && buf != MAP_FAILED && fd >= 0, "kcore");
	must(pread(fd, &head, sizeof(head), 0) == sizeof(head), "kcore");
	part = calloc(head.e_phnum, sizeof(*part));
	must(part && pread(fd, part, head.e_phnum * sizeof(*part), head.e_phoff) ==
	     (ssize_t)(head.e_phnum * sizeof(*part)), "kcore");
	for (i = 0; i < head.e_phnum; i++) {
		uint64_t at;

		/* Memory; what else is there is mapped a second time. */
		if (part[i].p_type != PT_LOAD || part[i].p_paddr == (uint64_t)-1)
			continue;
		for (at = 0; at < part[i].p_filesz; at += 4096 * 255) {
			size_t size = part[i].p_filesz - at < PIECE ? part[i].p_filesz - at : PIECE;
			ssize_t got = pread(fd, buf, size, part[i].p_offset + at);

			if (got <= 0)
				continue;
			bytes += got;
			found += count(buf, got, masked, nr);
		}
	}
	explicit_bzero(buf, PIECE);
	printf("%lu bytes searched, %lu copies\n", bytes, found);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "make"))
		return make(strtoul(argv[2], NULL, 0), argv[3], argv[4], argv[5]);
	if (argc == 3 && !strcmp(argv[1], "search"))
		return search(argv[2]);
	fputs("Usage: keyscan make BYTES TYPE DESCRIPTION FILE | keyscan search FILE\n", stderr);
	return 3;
}
