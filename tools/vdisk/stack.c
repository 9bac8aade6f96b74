// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stacks: what a person writes becomes a line of a table, which the kernel's
 * own grammar checks; lengths. No I/O but to look at sizes.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vdisk.h"
#include "stack.h"

/* What the kernel's printf shows of bytes that are not printed: string_escape_mem() with ESCAPE_ANY_NP. */
static size_t escape(char *to, const char *from, int len)
{
	static const char special[] = "\nn\rr\tt\vv\ff\aa\033e";
	char *begin = to;

	for (; len > 0; len--, from++) {
		unsigned char c = *from;
		const char *at = special;

		if (vdisk_isprint(c)) {
			*to++ = c;
			continue;
		}
		while (*at && *at != *from)
			at += 2;
		if (*at)
			to += sprintf(to, "\\%c", at[1]);
		else
			to += sprintf(to, "\\%03o", c);
	}
	*to = 0;
	return to - begin;
}

struct text {
	char *buf;
	size_t size, len;
};

static void add(struct text *text, const char *from, size_t len)
{
	for (; len && text->len + 1 < text->size; len--)
		text->buf[text->len++] = *from++;
}

/* printf with the kernel's %*pE and %pV, and what else vdisk-grammar.c uses. */
int vscnprintf(char *buf, size_t size, const char *format, va_list args)
{
	struct text text = { buf, size, 0 };

	while (*format) {
		char spec[16], piece[1024];
		size_t len = strcspn(format, "%");
		int star = 0;

		add(&text, format, len);
		format += len;
		if (!*format)
			break;
		len = 1 + strspn(format + 1, "0123456789.*");
		if (memchr(format, '*', len))
			star = va_arg(args, int);
		len += strspn(format + len, "lz");
		if (len + 2 > sizeof(spec))
			abort();
		memcpy(spec, format, len + 1);
		spec[len + 1] = 0;
		format += len + 1;
		piece[0] = 0;
		switch (spec[len]) {
		case 'p':
			if (*format++ == 'E') {
				len = escape(piece, va_arg(args, const char *), min(star, (int)sizeof(piece) / 4 - 1));
			} else {
				struct va_format *inner = va_arg(args, struct va_format *);

				len = vscnprintf(piece, sizeof(piece), inner->fmt, *inner->va);
			}
			add(&text, piece, len);
			continue;
		case 's':
			if (len == 1) {
				const char *word = va_arg(args, const char *);

				add(&text, word, strlen(word));
				continue;
			}
			snprintf(piece, sizeof(piece), spec, va_arg(args, const char *));
			break;
		case 'u':
		case 'd':
		case 'c':
			if (strstr(spec, "ll"))
				snprintf(piece, sizeof(piece), spec, va_arg(args, u64));
			else if (strchr(spec, '*'))
				snprintf(piece, sizeof(piece), spec, star, va_arg(args, unsigned int));
			else
				snprintf(piece, sizeof(piece), spec, va_arg(args, unsigned int));
			break;
		default:
			abort(); /* not in vdisk-grammar.c */
		}
		add(&text, piece, strlen(piece));
	}
	if (size)
		buf[text.len] = 0;
	return text.len;
}

/* Types */

static int check_missing(struct vdisk_node *n, unsigned int arg)
{
	return n->val[arg].set ? 0 : vdisk_node_fail(n, -EINVAL, "%s: missing", n->type->args[arg].name);
}

/* A cache that takes writes? */
bool stack_is_through(const struct vdisk_node *n)
{
	return n->type == &vdisk_types[VDISK_TYPE_CACHE] && n->val[CACHE_THROUGH].set;
}

/* An overlay that may be merged? */
static bool is_merged(const struct vdisk_node *n)
{
	return n->type == &vdisk_types[VDISK_TYPE_OVERLAY] && n->val[OVERLAY_MERGE].set;
}

/* vdisk_read_only() */
static bool only_read(const struct vdisk_node *n)
{
	for (; n->parent; n = n->parent) {
		if (n->index && n->parent->ops->reads_base && !stack_is_through(n->parent) && !is_merged(n->parent))
			return true;
		if (!n->index && n->parent->ops == &vdisk_cache_ops)
			return false;
	}
	return false;
}

/* vdisk_blob_is_store() */
static bool is_in_store(const struct vdisk_node *n)
{
	for (; n->parent; n = n->parent)
		if (n->index ? n->parent->ops == &vdisk_pr_ops : n->parent->ops->reads_base)
			return true;
	return false;
}

static sector_t leaf_length(const struct vdisk_node *n, unsigned int start_arg, unsigned int len_arg)
{
	u64 start = n->val[start_arg].num;

	if (n->val[len_arg].set)
		return n->val[len_arg].num;
	if (n->size == VDISK_UNBOUNDED)
		return n->size;
	return n->size > start ? n->size - start : 0;
}

static sector_t block_length(const struct vdisk_node *n) { return leaf_length(n, BLOCK_START, BLOCK_LEN); }
static sector_t file_length(const struct vdisk_node *n) { return leaf_length(n, FILE_START, FILE_LEN); }
static sector_t size_length(const struct vdisk_node *n) { return n->size; }
static sector_t blob_length(const struct vdisk_node *n) { return n->val[BLOB_LEN].num; }
static sector_t no_length(const struct vdisk_node *n) { return (void)n, VDISK_UNBOUNDED; }
static sector_t child_length(const struct vdisk_node *n) { return n->children[0]->ops->length(n->children[0]); }

static sector_t striped_length(const struct vdisk_node *n)
{
	u64 shortest = VDISK_UNBOUNDED, chunk = n->val[STRIPED_CHUNK].num;

	for (unsigned int i = 0; i < n->nr_children; i++)
		shortest = min(shortest, n->children[i]->ops->length(n->children[i]));
	if (shortest == VDISK_UNBOUNDED)
		return shortest;
	if (check_mul_overflow(shortest / chunk * chunk, (u64)n->nr_children, &shortest))
		return VDISK_UNBOUNDED;
	return shortest;
}

static sector_t concat_length(const struct vdisk_node *n)
{
	sector_t sum = 0;

	for (unsigned int i = 0; i < n->nr_children; i++)
		if (__builtin_add_overflow(sum, n->children[i]->ops->length(n->children[i]), &sum))
			return VDISK_UNBOUNDED;
	return sum;
}

static sector_t crypt_length(const struct vdisk_node *n)
{
	sector_t len = child_length(n), sectors = 1;

	if (n->val[CRYPT_SECTOR_SIZE].set)
		sectors = atoi(n->val[CRYPT_SECTOR_SIZE].str) / 512;
	return len == VDISK_UNBOUNDED ? len : len / sectors * sectors;
}

static sector_t overlay_length(const struct vdisk_node *n)
{
	const struct vdisk_node *base = n->children[1], *store = n->children[0];
	sector_t len = base->ops->length(base);

	if (len != VDISK_UNBOUNDED)
		return len;
	return n->size != VDISK_UNBOUNDED ? n->size : store->ops->length(store);
}

/* Of a disk that is written to */
static int blob_check(struct vdisk_node *n)
{
	int r = check_missing(n, BLOB_LEN);

	if (r || !is_in_store(n))
		return r;
	if (only_read(n))
		return vdisk_node_fail(n, -EINVAL, "is no store: who goes live would wait for a helper to read it");
	return vdisk_node_fail(n, -EROFS, "can only be read: put it below an overlay, or load a read-only table");
}

static int striped_check(struct vdisk_node *n) { return check_missing(n, STRIPED_CHUNK); }

static int nvme_check(struct vdisk_node *n)
{
	if (n->val[NVME_NGUID].set && n->val[NVME_EUI].set)
		return vdisk_node_fail(n, -EINVAL, "eui: the kernel tells it only of a namespace without nguid");
	return 0;
}

static int crypt_check(struct vdisk_node *n)
{
	unsigned int sectors = n->val[CRYPT_SECTOR_SIZE].set ? atoi(n->val[CRYPT_SECTOR_SIZE].str) / 512 : 1;
	int r = check_missing(n, CRYPT_CIPHER) ?: check_missing(n, CRYPT_KEY);

	if (!r && n->val[CRYPT_IV_OFFSET].num % sectors)
		r = vdisk_node_fail(n, -EINVAL, "iv_offset: not a multiple of sector_size, %u sectors", sectors);
	return r;
}

/* vdisk_forgets() */
static bool forgets(const struct vdisk_node *n)
{
	return n->ops == &vdisk_ram_ops || n->ops == &vdisk_zero_ops ||
	       (n->ops == &vdisk_overlay_ops && n->val[OVERLAY_VOLATILE].set);
}

static bool is_below(const struct vdisk_node *n, const struct vdisk_node *top)
{
	while (n && n != top)
		n = n->parent;
	return n;
}

/* vdisk_meta_find_blobs() */
static int blobs_check(struct vdisk_node *n)
{
	const struct vdisk_stack *s = n->stack;
	unsigned int nr = 0;

	for (unsigned int i = 0; i < s->nr_nodes; i++)
		nr += s->nodes[i]->ops == &vdisk_blob_ops && is_below(s->nodes[i], n->children[1]);
	if (n->val[OVERLAY_VOLATILE].set || nr <= VDISK_STORE_PINS)
		return 0;
	return vdisk_node_fail(n, -EINVAL, "base: more than %u blobs: a store cannot tell their versions", VDISK_STORE_PINS);
}

/* vdisk_merge_relies_on() */
static bool relies_on(const struct vdisk_node *below, const struct vdisk_node *base)
{
	if (!is_below(below, base) || only_read(below))
		return false;
	for (const struct vdisk_node *n = below; n != base; n = n->parent)
		if (!n->index && n->parent->ops == &vdisk_cache_ops)
			return false;
	return true;
}

/* vdisk_merge_check_use(), as far as words tell */
static int merge_check(struct vdisk_node *n)
{
	const struct vdisk_stack *s = n->stack;

	if (only_read(n))
		return vdisk_node_fail(n, -EINVAL, "merge: as a base it is only read");
	for (unsigned int i = 0; i < s->nr_nodes; i++) {
		const struct vdisk_node *below = s->nodes[i];

		if (!forgets(below) || !relies_on(below, n->children[1]))
			continue;
		return vdisk_node_fail(n, -EINVAL, "merge: %s in its base keeps nothing of what is written", below->type->name);
	}
	return 0;
}

static int overlay_check(struct vdisk_node *n)
{
	if (!n->val[OVERLAY_COPY].set && (n->val[OVERLAY_FILL].set || n->val[OVERLAY_AHEAD].set))
		return vdisk_node_fail(n, -EINVAL, "%s: needs copy_on_read", n->val[OVERLAY_FILL].set ? "fill" : "read_ahead");
	if (n->val[OVERLAY_COPY].set && only_read(n))
		return vdisk_node_fail(n, -EINVAL, "copy_on_read: as a base it is only read; use a cache below it");
	return blobs_check(n) ?: (is_merged(n) ? merge_check(n) : 0);
}

/* vdisk_through_check_use(), as far as words tell */
static int cache_check(struct vdisk_node *n)
{
	if (stack_is_through(n) && n->children[1]->ops == &vdisk_zero_ops)
		return vdisk_node_fail(n, -EINVAL, "write_through: a base that is zero keeps nothing of what is written");
	return blobs_check(n);
}

static int pr_check(struct vdisk_node *n)
{
	int r = check_missing(n, PR_DOMAIN) ?: check_missing(n, PR_NEXUS);
	struct vdisk_stack *s = n->stack;
	unsigned int i = 0;

	if (!r && n->parent)
		r = vdisk_node_fail(n, -EINVAL, "can only be the root: no other node passes reservations on");
	if (r || n->nr_children < 2)
		return r;
	while (s->nodes[i] != n->children[1])
		i++;
	/* The nodes of the store are the last ones. */
	for (; i < s->nr_nodes; i++)
		if (forgets(s->nodes[i]))
			return vdisk_node_fail(s->nodes[i], -EINVAL, "keeps nothing over a loss of power, so it is no store");
	return 0;
}

const struct vdisk_ops vdisk_block_ops = { .length = block_length };
const struct vdisk_ops vdisk_nvme_ops = { .length = block_length, .ctr = nvme_check };
const struct vdisk_ops vdisk_file_ops = { .length = file_length };
const struct vdisk_ops vdisk_vhd1_ops = { .length = size_length };
const struct vdisk_ops vdisk_ram_ops = { .length = no_length };
const struct vdisk_ops vdisk_zero_ops = { .length = no_length };
const struct vdisk_ops vdisk_blob_ops = { .length = blob_length, .ctr = blob_check };
const struct vdisk_ops vdisk_striped_ops = { .length = striped_length, .ctr = striped_check };
const struct vdisk_ops vdisk_concat_ops = { .length = concat_length };
const struct vdisk_ops vdisk_crypt_ops = { .length = crypt_length, .ctr = crypt_check };
const struct vdisk_ops vdisk_delay_ops = { .length = child_length };
const struct vdisk_ops vdisk_overlay_ops = { .length = overlay_length, .ctr = overlay_check, .longer = true, .reads_base = true };
const struct vdisk_ops vdisk_cache_ops = { .length = overlay_length, .ctr = cache_check, .longer = true, .reads_base = true };
const struct vdisk_ops vdisk_pr_ops = { .length = child_length, .ctr = pr_check };

/* Words */

void words_free(struct words *words)
{
	while (words->nr)
		free(words->word[--words->nr]);
	free(words->word);
	words->word = NULL;
}

void words_add(struct words *words, const char *word)
{
	words->word = realloc(words->word, (words->nr + 1) * sizeof(*words->word));
	if (!words->word || !(words->word[words->nr++] = strdup(word)))
		abort();
}

static bool is_blank(unsigned char c, enum words_of of)
{
	/* In UTF-8 that is the end of many a letter. */
	return vdisk_isspace(c) && (of == TABLE || c < 0x80);
}

/* As dm_split_args(): at blanks, and a backslash takes the next byte as it is. */
void words_split(struct words *words, const char *text, enum words_of of)
{
	char *word = malloc(strlen(text) + 1);

	if (!word)
		abort();
	while (*text) {
		size_t len = 0;

		while (is_blank(*text, of))
			text++;
		if (!*text)
			break;
		for (; *text && !is_blank(*text, of); text++) {
			if (*text == '\\' && text[1])
				text++;
			word[len++] = *text;
		}
		word[len] = 0;
		words_add(words, word);
	}
	free(word);
}

/* Words as one line, with a backslash where one is needed. To be freed. */
char *words_join(const struct words *words, enum words_of of)
{
	size_t size = 1, len = 0;
	char *line;

	for (unsigned int i = 0; i < words->nr; i++)
		size += 2 * strlen(words->word[i]) + 1;
	line = malloc(size);
	if (!line)
		abort();
	for (unsigned int i = 0; i < words->nr; i++) {
		if (i)
			line[len++] = ' ';
		for (const char *c = words->word[i]; *c; c++) {
			if (is_blank(*c, of) || *c == '\\')
				line[len++] = '\\';
			line[len++] = *c;
		}
	}
	line[len] = 0;
	return line;
}

/* The type that a word names, or NULL. */
const struct vdisk_type *stack_type(const char *word)
{
	for (int i = 0; i < VDISK_NR_TYPES; i++)
		if (!strcmp(vdisk_types[i].name, word))
			return &vdisk_types[i];
	return NULL;
}

/* The option of a type that a word begins with; *value is behind the colon. */
static const struct vdisk_arg *find_arg(const struct vdisk_type *type, unsigned int pos, const char *word, const char **value)
{
	*value = word;
	if (pos < type->nr_args && type->args[pos].positional)
		return &type->args[pos];
	for (unsigned int i = 0; i < type->nr_args; i++) {
		size_t len = strlen(type->args[i].name);

		if (type->args[i].positional || strncmp(word, type->args[i].name, len) || word[len] != ':')
			continue;
		*value = word + len + 1;
		return &type->args[i];
	}
	return NULL;
}

/* NULL: who are in no directory have no relative paths. */
static char *absolute(const char *path)
{
	char *cwd = getcwd(NULL, 0), *result = NULL;

	if (cwd && asprintf(&result, "%s/%s", strcmp(cwd, "/") ? cwd : "", strncmp(path, "./", 2) ? path : path + 2) < 0)
		abort();
	free(cwd);
	return result;
}

static bool is_devno(const char *word)
{
	size_t major = strspn(word, "0123456789");

	return major && word[major] == ':' && word[major + 1] && !word[major + 1 + strspn(word + major + 1, "0123456789")];
}

/*
 * What people write becomes what the kernel takes: 10G a number of sectors, and,
 * where there may be any, a relative path an absolute one. What is not understood stays, for the grammar
 * to say what is wrong with it.
 */
static void translate_word(const struct vdisk_type *type, unsigned int pos, char **word, bool relative)
{
	const char *value;
	const struct vdisk_arg *arg = find_arg(type, pos, *word, &value);
	char *new = NULL;
	__u64 sectors;

	if (!arg)
		return;
	if (arg->kind == VDISK_SECTORS && vdisk_parse_size(value, &sectors)) {
		if (asprintf(&new, "%s%s%llu", arg->positional ? "" : arg->name, arg->positional ? "" : ":", sectors) < 0)
			abort();
	} else if (relative && (arg->kind == VDISK_PATH || (arg->kind == VDISK_DEVICE && !is_devno(value))) &&
		   *value && *value != '/') {
		new = absolute(value);
	}
	if (!new)
		return;
	free(*word);
	*word = new;
}

void words_translate(struct words *words, bool relative)
{
	const struct vdisk_type *type = NULL;
	bool want_type = true;
	unsigned int pos = 0;

	for (unsigned int i = 0; i < words->nr; i++) {
		char **word = &words->word[i];

		if (!strcmp(*word, "(")) {
			want_type = true;
		} else if (!strcmp(*word, ")")) {
			type = NULL;
		} else if (want_type) {
			type = stack_type(*word);
			want_type = false;
			pos = 0;
		} else if (type) {
			translate_word(type, pos++, word, relative);
		}
	}
}

/* The next keyfile: of a crypt, from the word *@at on, which is then the one behind it; NULL: there is none. */
char **words_keyfile(struct words *words, unsigned int *at)
{
	bool want_type = true, crypt = false;

	for (unsigned int i = 0; i < words->nr; i++) {
		const char *word = words->word[i];

		if (!strcmp(word, "(") || !strcmp(word, ")")) {
			want_type = *word == '(';
			crypt = false;
		} else if (want_type) {
			crypt = !strcmp(word, "crypt");
			want_type = false;
		} else if (crypt && i >= *at && !strncmp(word, KEYFILE, strlen(KEYFILE))) {
			*at = i + 1;
			return &words->word[i];
		}
	}
	return NULL;
}

/* Where no key is loaded: each keyfile: becomes a key that may be there; @paths gets its path, if it is not NULL. */
void words_hide_keys(struct words *words, struct words *paths)
{
	unsigned int at = 0;
	char **word;

	while ((word = words_keyfile(words, &at))) {
		if (paths)
			words_add(paths, *word + strlen(KEYFILE));
		free(*word);
		*word = strdup("key::64:logon:vdisk");
		if (!*word)
			abort();
	}
}

static bool is_url(const char *word)
{
	size_t scheme = strspn(word, "abcdefghijklmnopqrstuvwxyz");

	return scheme && !strncmp(word + scheme, "://", 3);
}

/* The next URL, in the place of a blob's name or of a type, from the word *@at on, which is then its own; NULL: there is none. */
const char *words_url(const struct words *words, unsigned int *at)
{
	for (; *at < words->nr; ++*at) {
		char *const *word = &words->word[*at];
		unsigned int type = *at && !strcmp(word[-1], "blob");

		if ((*at == type || !strcmp(word[-1 - (int)type], "(")) && is_url(*word))
			return *word;
	}
	return NULL;
}

/* Stacks */

void stack_free(struct vdisk_stack *s) { vdisk_free_tree(s); }

/**
 * stack_parse - check words as the kernel does, before it opens anything
 * @s: is filled; stack_free() it
 * @words: the line's
 *
 * Return: an exit status, after saying what is wrong, as the kernel would.
 */
int stack_parse(struct vdisk_stack *s, const struct words *words)
{
	int r;

	memset(s, 0, sizeof(*s));
	r = vdisk_parse(s, words->nr, words->word);
	/* The kernel builds nodes from the last one on. */
	for (unsigned int i = r ? 0 : s->nr_nodes; i--;) {
		s->nodes[i]->size = VDISK_UNBOUNDED;
		if (!r && s->nodes[i]->ops->ctr)
			r = s->nodes[i]->ops->ctr(s->nodes[i]);
	}
	if (!r)
		return VDISK_OK;
	vdisk_fail("%s", s->error);
	stack_free(s);
	return VDISK_FAILED;
}

/* The canonical line. To be freed. */
char *stack_line(struct vdisk_stack *s)
{
	struct vdisk_out out = { .max = 1 << 20 };

	out.buf = calloc(1, out.max);
	if (!out.buf)
		abort();
	vdisk_print(s, &out, NULL);
	return out.buf;
}

/* The file or device of a leaf; NULL if it has none. */
const char *stack_path(const struct vdisk_node *n)
{
	switch (n->type - vdisk_types) {
	case VDISK_TYPE_BLOCK:
	case VDISK_TYPE_NVME:
	case VDISK_TYPE_FILE:
	case VDISK_TYPE_VHD1:
		return n->val[0].str;
	}
	return NULL;
}

/* Is it the store of an overlay or cache, kept where vdisk format can make it? */
bool stack_is_store(const struct vdisk_node *n)
{
	const struct vdisk_node *parent = n->parent;

	return parent && parent->ops->reads_base && !n->index && !parent->val[OVERLAY_VOLATILE].set && stack_path(n) &&
	       n->type != &vdisk_types[VDISK_TYPE_VHD1];
}

static int vhd_size(int fd, const char *path, __u64 bytes, sector_t *sectors)
{
	__u8 footer[512];
	__u64 size;

	if (bytes < sizeof(footer) || pread(fd, footer, sizeof(footer), bytes - sizeof(footer)) != sizeof(footer) ||
	    memcmp(footer, "conectix", 8))
		return vdisk_fail("%s: is no fixed VHD: there is no footer at its end; a raw image is a 'file'", path);
	memcpy(&size, footer + 48, sizeof(size));
	*sectors = be64toh(size) / 512;
	return VDISK_OK;
}

static bool is_device(const struct vdisk_node *n)
{
	return n->type->nr_args && n->type->args[0].kind == VDISK_DEVICE;
}

/* To look at what a leaf lies on. /dev/block is udev's, which need not be there; so devices are asked for their names. */
static int leaf_open(const struct vdisk_node *n, int flags)
{
	char path[512], line[300], name[256];
	FILE *file;

	if (!is_device(n) || !is_devno(stack_path(n)))
		return open(stack_path(n), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
	snprintf(path, sizeof(path), "/sys/dev/block/%.50s/uevent", stack_path(n));
	file = fopen(path, "re");
	*path = 0;
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "DEVNAME=%255s", name) == 1)
			snprintf(path, sizeof(path), "/dev/%s", name);
	if (file)
		fclose(file);
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags);
}

static int leaf_size(struct vdisk_node *n)
{
	const char *path = stack_path(n);
	bool device = is_device(n);
	struct stat st;
	__u64 bytes;
	int fd, status = VDISK_OK;

	fd = leaf_open(n, 0);
	if (fd < 0 && errno == ENOENT && n->may_miss)
		return VDISK_OK;
	if (fd < 0)
		return errno == ENOENT && stack_is_store(n) ?
		       vdisk_fail("%s: %s; --create makes what is missing", path, strerror(errno)) :
		       vdisk_fail("%s: %s", path, vdisk_reason(errno));
	if (fstat(fd, &st))
		status = vdisk_fail("%s: %s", path, vdisk_reason(errno));
	else if (device && !S_ISBLK(st.st_mode))
		status = vdisk_fail("%s: is no block device%s", path, S_ISREG(st.st_mode) ? "; say 'file' instead of 'block'" : "");
	else if (!device && !S_ISREG(st.st_mode))
		status = vdisk_fail("%s: is no regular file%s", path, S_ISBLK(st.st_mode) ? "; say 'block' instead of 'file'" : "");
	else if (!device && n->type == &vdisk_types[VDISK_TYPE_VHD1])
		status = vhd_size(fd, path, st.st_size, &n->size);
	else if (!device)
		n->size = st.st_size / 512;
	else if (ioctl(fd, BLKGETSIZE64, &bytes))
		status = vdisk_fail("%s: its size cannot be read: %s", path, vdisk_reason(errno));
	else
		n->size = bytes / 512;
	close(fd);
	return status;
}

/* What a store says the disk has, if one can tell. Of a device, not what its page cache says, which no disk writes through. */
static void store_size(struct vdisk_node *n)
{
	static struct {
		struct vdisk_store_sb sb;
		__u8 rest[STORE_BLOCK - sizeof(struct vdisk_store_sb)];
	} slot[VDISK_STORE_SLOTS] __attribute__((aligned(STORE_BLOCK)));
	struct vdisk_node *leaf = n->children[0];
	const struct vdisk_store_sb *best = NULL;
	__u64 start = leaf->val[is_device(leaf) ? (int)BLOCK_START : (int)FILE_START].num;
	int fd;

	if (!stack_is_store(leaf))
		return;
	fd = leaf_open(leaf, is_device(leaf) ? O_DIRECT : 0);
	if (fd < 0)
		return;
	for (int i = 0; i < VDISK_STORE_SLOTS; i++) {
		const struct vdisk_store_sb *sb = &slot[i].sb;

		if (pread(fd, &slot[i], sizeof(slot[i]), (start + i * VDISK_STORE_SLOT_SECTORS) * 512) >= (ssize_t)sizeof(*sb) &&
		    !vdisk_store_sb_check(sb) && (!best || le64_to_cpu(sb->sequence) > le64_to_cpu(best->sequence)))
			best = sb;
	}
	if (best) {
		n->size = le64_to_cpu(best->len);
		n->data_start = le64_to_cpu(best->data_start);
		n->base_len = le64_to_cpu(best->base_len);
	}
	close(fd);
}

/* Stores that may be missing, for they are made then: @all, or those of these @paths. */
void stack_create(struct vdisk_stack *s, bool all, const struct words *paths)
{
	for (unsigned int i = 0; i < s->nr_nodes; i++) {
		struct vdisk_node *n = s->nodes[i];

		n->may_miss = all && stack_is_store(n);
		for (unsigned int j = 0; j < paths->nr && stack_is_store(n); j++) {
			char *path = *paths->word[j] == '/' ? strdup(paths->word[j]) : absolute(paths->word[j]);

			n->may_miss |= path && !strcmp(path, stack_path(n));
			free(path);
		}
	}
}

/**
 * stack_sizes - look at the sizes of what the stack lies on
 * @s: the stack
 *
 * Return: an exit status, after saying what is wrong.
 */
int stack_sizes(struct vdisk_stack *s)
{
	for (unsigned int i = s->nr_nodes; i--;) {
		struct vdisk_node *n = s->nodes[i];

		if (stack_path(n) && leaf_size(n))
			return VDISK_FAILED;
		if (n->ops->reads_base && !n->val[OVERLAY_VOLATILE].set)
			store_size(n);
	}
	return VDISK_OK;
}

/* Since 6.14: reads may have a smaller alignment than writes. Older headers do not have it. */
#define DIO_READ_ALIGN		0x20000
#define DIO_READ_ALIGN_AT	0xb4

/* The logical block of the device that something lies on; without one, that of vdisk_file_alignment(). */
static unsigned int device_block(unsigned int major, unsigned int minor)
{
	static const char *const of[] = { "", "../" };	/* a partition's is its disk's */
	unsigned int block = 4096;
	char path[96];

	for (int i = 0; i < 2; i++) {
		FILE *file;
		int got;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/logical_block_size", major, minor, of[i]);
		file = fopen(path, "re");
		if (!file)
			continue;
		got = fscanf(file, "%u", &block);
		fclose(file);
		if (got == 1)
			break;
	}
	return block;
}

/* What direct I/O demands of a file. Of one that is missing: of a file in that directory, which has no name and goes again. */
static unsigned int file_block(const char *path)
{
	struct statx st = {};
	unsigned int read_align;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char *dir = strdup(path), *slash = dir ? strrchr(dir, '/') : NULL;

	if (!slash)
		abort();
	slash[1] = 0;
	if (fd < 0)
		fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = open(dir, O_PATH | O_CLOEXEC);
	free(dir);
	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_DIOALIGN | DIO_READ_ALIGN, &st)) {
		if (fd >= 0)
			close(fd);
		return 512;
	}
	close(fd);
	if (!(st.stx_mask & STATX_DIOALIGN))
		return device_block(st.stx_dev_major, st.stx_dev_minor);
	memcpy(&read_align, (char *)&st + DIO_READ_ALIGN_AT, sizeof(read_align));
	return read_align ?: st.stx_dio_offset_align;
}

/* The block size of a node: the largest of those below it, as the kernel makes it. */
unsigned int stack_block(const struct vdisk_node *n)
{
	unsigned int size = 512, block = 0;
	int fd;

	switch (n->type - vdisk_types) {
	case VDISK_TYPE_BLOCK:
	case VDISK_TYPE_NVME:
		fd = leaf_open(n, 0);
		if (fd >= 0 && ioctl(fd, BLKSSZGET, &block))
			block = 0;
		if (fd >= 0)
			close(fd);
		break;
	case VDISK_TYPE_FILE:
		if (!n->val[FILE_BUFFERED].set && !n->val[FILE_BLOCK].set)
			block = file_block(stack_path(n));
		break;
	case VDISK_TYPE_CRYPT:
		if (n->val[CRYPT_SECTOR_SIZE].set)
			block = atoi(n->val[CRYPT_SECTOR_SIZE].str);
		break;
	case VDISK_TYPE_OVERLAY:
	case VDISK_TYPE_CACHE:
		if (n->val[OVERLAY_UNIT].set)
			block = atoi(n->val[OVERLAY_UNIT].str);
		break;
	}
	size = max(size, block);
	for (unsigned int i = 0; i < n->nr_children; i++) {
		block = stack_block(n->children[i]);
		size = max(size, block);
	}
	return size;
}

/* The natural length: sectors, or VDISK_UNBOUNDED. A disk that was made longer than its base stays so: its store remembers. */
__u64 stack_length(const struct vdisk_stack *s)
{
	const struct vdisk_node *n = s->nodes[0];
	__u64 len = n->ops->length(n);

	for (; n->ops->reads_base; n = n->children[1])
		if (n->ops == &vdisk_overlay_ops && n->size != VDISK_UNBOUNDED)
			len = max(len, n->size);
	return len;
}

static int give_node(struct vdisk_node *n)
{
	sector_t natural = n->ops->length(n), begin = 0, chunk;

	if (n->len > natural && !n->ops->longer)
		return vdisk_node_fail(n, -EINVAL, "has %llu sectors, %llu are asked of it", natural, n->len);
	switch (n->type - vdisk_types) {
	case VDISK_TYPE_STRIPED:
		chunk = n->val[STRIPED_CHUNK].num;
		if (n->len % (n->nr_children * chunk))
			return vdisk_node_fail(n, -EINVAL, "length %llu: not a multiple of %u children x %u sectors of chunk",
					       n->len, n->nr_children, (unsigned int)chunk);
		for (unsigned int i = 0; i < n->nr_children; i++)
			n->children[i]->len = n->len / n->nr_children;
		break;
	case VDISK_TYPE_CONCAT:
		for (unsigned int i = 0; i < n->nr_children; i++) {
			struct vdisk_node *child = n->children[i];
			bool last = i + 1 == n->nr_children;
			sector_t len = child->ops->length(child), left = n->len - begin;

			if (len == VDISK_UNBOUNDED && !last)
				return vdisk_node_fail(child, -EINVAL, "has no length of its own, so it can only be the last");
			child->len = last ? left : min(len, left);
			begin += child->len;
		}
		break;
	case VDISK_TYPE_OVERLAY:
	case VDISK_TYPE_CACHE:
		natural = n->children[1]->ops->length(n->children[1]);
		if (stack_is_through(n) && natural < n->len)
			return vdisk_node_fail(n, -EINVAL, "write_through: the base has %llu sectors, %llu are asked of it",
					       natural, n->len);
		if (is_merged(n) && natural < n->len)
			return vdisk_node_fail(n, -EINVAL, "merge: the base has %llu sectors, the disk %llu", natural, n->len);
		n->children[1]->len = min(n->len, natural);
		n->children[0]->len = 0; /* its superblock says where the disk lies in it */
		if (n->val[OVERLAY_VOLATILE].set)
			n->children[0]->len = n->len;
		break;
	case VDISK_TYPE_PR:
	case VDISK_TYPE_CRYPT:
	case VDISK_TYPE_DELAY:
		n->children[0]->len = n->len;
		break;
	}
	return 0;
}

/**
 * stack_give - give each node its length
 * @s: the stack
 * @len: the root's
 *
 * Return: an exit status, after saying what is wrong, as the kernel would.
 */
int stack_give(struct vdisk_stack *s, __u64 len)
{
	s->nodes[0]->len = len;
	for (unsigned int i = 0; i < s->nr_nodes; i++)
		if (give_node(s->nodes[i]))
			return vdisk_fail("%s", s->error);
	return VDISK_OK;
}
