/* SPDX-License-Identifier: GPL-2.0-only */
/* What vdisk-grammar.c needs of the kernel, in userspace. */
#ifndef VDISK_GRAMMAR_USER_H
#define VDISK_GRAMMAR_USER_H

#include <errno.h>
#include <linux/types.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../drivers/md/dm-vdisk/vdisk-types.h"

typedef __u32 u32;
typedef __u64 u64;
typedef __u64 sector_t;
typedef int gfp_t;

#define GFP_KERNEL	0
#define GFP_NOIO	0
#define U64_MAX		(~0ULL)
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define min_t(type, a, b)	((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define min(a, b)		((a) < (b) ? (a) : (b))
#define max(a, b)		((a) > (b) ? (a) : (b))
#define swap(a, b)		do { __typeof__(a) swap_ = (a); (a) = (b); (b) = swap_; } while (0)
#define check_mul_overflow(a, b, to)	__builtin_mul_overflow(a, b, to)

#define kzalloc(size, gfp)		((void)(gfp), calloc(1, size))
#define krealloc(old, size, gfp)	((void)(gfp), realloc(old, size))
#define kstrdup(text, gfp)		((void)(gfp), strdup(text))
#define kfree(old)			free(old)

/* There is one thread. */
#define spin_lock_init(lock)	((void)(lock))
#define spin_lock(lock)		((void)(lock))
#define spin_unlock(lock)	((void)(lock))

/* The kernel's know Latin-1, whatever the locale is. */
static inline bool vdisk_isspace(unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r') || c == 0xa0; }
static inline bool vdisk_isprint(unsigned char c) { return (c >= ' ' && c <= '~') || c >= 0xa0; }

#undef isspace
#undef tolower
#define isspace(c)	vdisk_isspace(c)
#define tolower(c)	((c) >= 'A' && (c) <= 'Z' ? (c) + 'a' - 'A' : (c))

static inline int hex_to_bin(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, tolower(c)) : NULL;

	return at ? at - digits : -1;
}

/* @text: only digits */
static inline int kstrtou64(const char *text, unsigned int base, u64 *to)
{
	errno = 0;
	*to = strtoull(text, NULL, base);
	return -errno;
}

static inline void strscpy(char *to, const char *from, size_t size) { snprintf(to, size, "%s", from); }

/* Knows %*pE and %pV, too. */
int vscnprintf(char *buf, size_t size, const char *format, va_list args);

struct va_format {
	const char *fmt;
	va_list *va;
};

#define VDISK_UNBOUNDED		(~(sector_t)0)
#define VDISK_ERROR_MAX		256

struct vdisk_node;

/* What the tool has to know of a type besides its words. */
struct vdisk_ops {
	void *route;		/* only the kernel's have these two */
	unsigned int io_size;
	int (*ctr)(struct vdisk_node *n);		/* what the kernel's refuses for its words alone, in the same words */
	sector_t (*length)(const struct vdisk_node *n);
	bool longer;
	bool reads_base;
};

extern const struct vdisk_ops vdisk_block_ops, vdisk_nvme_ops, vdisk_file_ops,
	vdisk_vhd1_ops, vdisk_ram_ops, vdisk_zero_ops, vdisk_blob_ops,
	vdisk_striped_ops, vdisk_concat_ops, vdisk_crypt_ops, vdisk_delay_ops,
	vdisk_overlay_ops, vdisk_cache_ops, vdisk_pr_ops;

struct vdisk_val {
	bool set;
	u64 num;
	char *str;
};

struct vdisk_step {
	u32 us;
	u32 at;
};

struct vdisk_latency {
	unsigned int nr;
	struct vdisk_step step[VDISK_MAX_STEPS];
};

struct vdisk_stack;

struct vdisk_node {
	void *route;
	unsigned int io_size;
	struct vdisk_node **children;
	const struct vdisk_type *type;
	const struct vdisk_ops *ops;
	struct vdisk_stack *stack;
	struct vdisk_node *parent;
	unsigned int nr_children;
	unsigned int index;
	unsigned int depth;
	char *label;
	bool may_miss;		/* the store that it is */
	sector_t size;		/* of what a leaf lies on; of an overlay: that of its store. VDISK_UNBOUNDED: not known */
	sector_t len;
	sector_t data_start;	/* of an overlay's store, 0: not known */
	__u64 base_len;		/* likewise: of its base, if it says so, else 0 */
	struct vdisk_val val[VDISK_MAX_ARGS];
};

struct vdisk_stack {
	bool drop_volatile;
	unsigned int nr_nodes;
	int value_lock;
	char error[VDISK_ERROR_MAX];
	struct vdisk_node *nodes[VDISK_MAX_NODES];
};

struct vdisk_out {
	char *buf;
	size_t len;
	size_t max;
};

/* The tool has a vdisk_fail() of its own. */
#ifndef VDISK_TOOL_H
#define vdisk_fail	vdisk_node_fail
#endif

void vdisk_emit(struct vdisk_out *out, const char *fmt, ...);
void vdisk_print_path(const struct vdisk_node *n, struct vdisk_out *out);
int vdisk_node_fail(struct vdisk_node *n, int err, const char *fmt, ...);
const struct vdisk_ops *vdisk_ops_of(const struct vdisk_type *type);
int vdisk_check_key(struct vdisk_node *n, const char *name, const char *word);
int vdisk_read_latency(struct vdisk_node *n, unsigned int arg, const char *word, struct vdisk_latency *lat);
int vdisk_set_latency(struct vdisk_node *n, unsigned int arg, const char *word, struct vdisk_latency *lat);
int vdisk_parse(struct vdisk_stack *s, unsigned int argc, char **argv);
void vdisk_free_tree(struct vdisk_stack *s);
void vdisk_print_node(struct vdisk_node *root, struct vdisk_out *out,
		      void (*extra)(struct vdisk_node *n, struct vdisk_out *out));
void vdisk_print(struct vdisk_stack *s, struct vdisk_out *out,
		 void (*extra)(struct vdisk_node *n, struct vdisk_out *out));
struct vdisk_node *vdisk_find(struct vdisk_stack *s, const char *word);

#endif /* VDISK_GRAMMAR_USER_H */
