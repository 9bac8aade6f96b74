/* SPDX-License-Identifier: GPL-2.0-only */
/* Stacks: from what a person writes to a line of a table. See stack.c. */
#ifndef VDISK_TOOL_STACK_H
#define VDISK_TOOL_STACK_H

#include "vdisk-grammar-user.h"

struct words {
	char **word;
	unsigned int nr;
};

/* Who wrote a line: a person, who parts words at ASCII blanks, or the kernel, to which the byte 0xa0 is a blank, too. */
enum words_of { TYPED, TABLE };

void words_add(struct words *words, const char *word);
void words_split(struct words *words, const char *text, enum words_of of);
char *words_join(const struct words *words, enum words_of of);
void words_translate(struct words *words, bool relative);
#define KEYFILE	"keyfile:"	/* of a crypt, which the kernel does not know */
char **words_keyfile(struct words *words, unsigned int *at);
void words_hide_keys(struct words *words, struct words *paths);
const char *words_url(const struct words *words, unsigned int *at);
void words_free(struct words *words);

const struct vdisk_type *stack_type(const char *word);
int stack_parse(struct vdisk_stack *s, const struct words *words);
void stack_free(struct vdisk_stack *s);
char *stack_line(struct vdisk_stack *s);
void stack_create(struct vdisk_stack *s, bool all, const struct words *paths);
int stack_sizes(struct vdisk_stack *s);
unsigned int stack_block(const struct vdisk_node *n);
__u64 stack_length(const struct vdisk_stack *s);
int stack_give(struct vdisk_stack *s, __u64 len);
const char *stack_path(const struct vdisk_node *n);
bool stack_is_store(const struct vdisk_node *n);
bool stack_is_through(const struct vdisk_node *n);

#endif /* VDISK_TOOL_STACK_H */
