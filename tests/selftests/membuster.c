// SPDX-License-Identifier: GPL-2.0-only
/*
 * membuster MIB PASSES: takes so much memory, and writes and checks every page
 * of it so many times: more than there is goes to the swap and comes back.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	size_t pages = argc == 3 ? strtoul(argv[1], NULL, 0) << 8 : 0, i, word;
	unsigned long passes = argc == 3 ? strtoul(argv[2], NULL, 0) : 0, pass;
	uint64_t *mem = mmap(NULL, pages << 12 ?: 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			     -1, 0);

	if (!pages || mem == MAP_FAILED) {
		fputs("Usage: membuster MIB PASSES\n", stderr);
		return 3;
	}
	for (pass = 0; pass < passes; pass++) {
		for (i = 0; i < pages; i++)
			for (word = 0; word < 512; word += 8)
				mem[i * 512 + word] = i * 0x9e3779b97f4a7c15ULL + word + pass;
		for (i = 0; i < pages; i++)
			for (word = 0; word < 512; word += 8)
				if (mem[i * 512 + word] != i * 0x9e3779b97f4a7c15ULL + word + pass) {
					fprintf(stderr, "membuster: page %zu, pass %lu: wrong\n", i, pass);
					return 1;
				}
	}
	return 0;
}
