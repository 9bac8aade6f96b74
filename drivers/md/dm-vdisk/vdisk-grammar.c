// SPDX-License-Identifier: GPL-2.0-only
/*
 * The grammar of a table line: words become a tree, a tree becomes words.
 *
 *	child := "(" node ")"
 *	node  := type word* child*
 *	stack := node
 *
 * The parser walks up and down by parent pointers, so a hostile line costs
 * heap, never stack; the bounds of vdisk-types.h hold for both.
 *
 * It also compiles in userspace, for the tools.
 */
#ifdef __KERNEL__
#include <linux/ctype.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "vdisk.h"
#else
#include "vdisk-grammar-user.h"
#endif

static const struct vdisk_ops *const vdisk_all_ops[VDISK_NR_TYPES] = {
	[VDISK_TYPE_BLOCK] = &vdisk_block_ops,
	[VDISK_TYPE_NVME] = &vdisk_nvme_ops,
	[VDISK_TYPE_FILE] = &vdisk_file_ops,
	[VDISK_TYPE_VHD1] = &vdisk_vhd1_ops,
	[VDISK_TYPE_RAM] = &vdisk_ram_ops,
	[VDISK_TYPE_ZERO] = &vdisk_zero_ops,
	[VDISK_TYPE_BLOB] = &vdisk_blob_ops,
	[VDISK_TYPE_STRIPED] = &vdisk_striped_ops,
	[VDISK_TYPE_CONCAT] = &vdisk_concat_ops,
	[VDISK_TYPE_CRYPT] = &vdisk_crypt_ops,
	[VDISK_TYPE_DELAY] = &vdisk_delay_ops,
	[VDISK_TYPE_OVERLAY] = &vdisk_overlay_ops,
	[VDISK_TYPE_CACHE] = &vdisk_cache_ops,
	[VDISK_TYPE_PR] = &vdisk_pr_ops,
#ifdef CONFIG_DM_VDISK_TEST
	[VDISK_TYPE_TEST] = &vdisk_test_ops,
#endif
};

/* How much of a user's word a message repeats, for %*pE. */
static int vdisk_shown(const char *word)
{
	return min_t(size_t, strlen(word), 40);
}

/**
 * vdisk_emit - append to a bounded buffer
 * @out: the buffer; stays terminated, what does not fit is cut
 * @fmt: printf format
 *
 * Context: Any context.
 */
void vdisk_emit(struct vdisk_out *out, const char *fmt, ...)
{
	va_list args;

	if (out->len >= out->max)
		return;
	va_start(args, fmt);
	out->len += vscnprintf(out->buf + out->len, out->max - out->len, fmt,
			       args);
	va_end(args);
}

/**
 * vdisk_print_path - append a node's path, as in "striped/1/block"
 * @n: the node
 * @out: where to
 *
 * Context: Any context.
 */
void vdisk_print_path(const struct vdisk_node *n, struct vdisk_out *out)
{
	const struct vdisk_node *way[VDISK_MAX_DEPTH];
	unsigned int depth = 0;

	for (; n && depth < ARRAY_SIZE(way); n = n->parent)
		way[depth++] = n;
	while (depth--) {
		if (way[depth]->parent)
			vdisk_emit(out, "/%u/", way[depth]->index);
		vdisk_emit(out, "%s", way[depth]->type->name);
	}
}

/**
 * vdisk_fail - say what is wrong with a node
 * @n: the node; the message begins with its path
 * @err: negative errno
 * @fmt: what is wrong, beginning with the option where there is one
 *
 * Context: Process context.
 * Return: @err.
 */
int vdisk_fail(struct vdisk_node *n, int err, const char *fmt, ...)
{
	struct vdisk_out out = { n->stack->error, 0, VDISK_ERROR_MAX };
	struct va_format vaf;
	va_list args;

	vdisk_print_path(n, &out);
	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	vdisk_emit(&out, ": %pV", &vaf);
	va_end(args);
	return err;
}

/**
 * vdisk_ops_of - what a type does
 * @type: element of vdisk_types
 *
 * Return: its ops.
 */
const struct vdisk_ops *vdisk_ops_of(const struct vdisk_type *type)
{
	return vdisk_all_ops[type - vdisk_types];
}

/**
 * vdisk_is_name - is a word a name?
 * @word: the word
 *
 * Return: true if it is one of 1 to VDISK_NAME_MAX of A-Z a-z 0-9 . _ -
 */
bool vdisk_is_name(const char *word)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strspn(word, allowed);

	return len && !word[len] && len <= VDISK_NAME_MAX;
}

/* "259:0", as TABLE prints a device */
static bool vdisk_is_devt(const char *word)
{
	size_t major = strspn(word, "0123456789");
	size_t minor = strspn(word + major + (word[major] == ':'), "0123456789");

	return major && minor && word[major] == ':' && !word[major + 1 + minor];
}

/* Digits, then nothing or one of the time units; kstrtox allows more. */
static int vdisk_read_number(const char *word, bool time, u64 *num)
{
	size_t digits = strspn(word, "0123456789");
	const char *unit = word + digits;
	char buf[21];
	u64 scale = 1;

	if (!digits || digits >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, word, digits);
	buf[digits] = '\0';
	if (kstrtou64(buf, 10, num))
		return -ERANGE;

	if (!time)
		return *unit ? -EINVAL : 0;
	if (!strcmp(unit, "ms"))
		scale = 1000;
	else if (!strcmp(unit, "s"))
		scale = 1000000;
	else if (strcmp(unit, "us"))
		return -EINVAL;
	if (check_mul_overflow(*num, scale, num))
		return -ERANGE;
	return 0;
}

/* Keeps the digits in lower case and without dashes: the canonical form. */
static int vdisk_read_hex(const char *word, u64 bytes, char *str)
{
	size_t digits = 0;

	for (; *word; word++) {
		if (*word == '-')
			continue;
		if (hex_to_bin(*word) < 0 || digits == 2 * bytes)
			return -EINVAL;
		str[digits++] = tolower(*word);
	}
	str[digits] = '\0';
	return digits == 2 * bytes ? 0 : -EINVAL;
}

/**
 * vdisk_check_key - is it a reference to a key in the kernel's keyrings?
 * @n: the node, for the message
 * @name: what the message calls it
 * @word: the reference, :<bytes>:<type>:<description> as dm-crypt has it
 *
 * The message does not repeat the word: it could be a key.
 *
 * Return: 0, or -EINVAL after vdisk_fail().
 */
int vdisk_check_key(struct vdisk_node *n, const char *name, const char *word)
{
	static const char *const types[] = {
		"logon:", "user:", "encrypted:", "trusted:",
	};
	unsigned int i;

	if (*word != ':')
		return vdisk_fail(n, -EINVAL,
				  "%s: no reference :<bytes>:<type>:<description>; a key itself would show in table and log",
				  name);
	if (strncmp(word, ":32:", 4) && strncmp(word, ":64:", 4))
		return vdisk_fail(n, -EINVAL, "%s: xts(aes) takes 32 or 64 bytes",
				  name);
	word += 4;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		size_t len = strlen(types[i]);

		if (!strncmp(word, types[i], len))
			return word[len] ? 0 :
			       vdisk_fail(n, -EINVAL, "%s: no description", name);
	}
	return vdisk_fail(n, -EINVAL,
			  "%s: its type is not one of logon, user, encrypted, trusted",
			  name);
}

/* Above 0 and below 100, up to 3 digits behind the point; kept in 1/1000 %. */
static int vdisk_read_percentile(const char *word, u32 *at)
{
	static const u32 scale[] = { 1000, 100, 10, 1 };
	size_t whole = strspn(word, "0123456789");
	const char *point = word + whole;
	size_t digits = 0;
	u32 num = 0;

	if (*point == '.') {
		digits = strspn(point + 1, "0123456789");
		if (!digits || digits >= ARRAY_SIZE(scale) || point[1 + digits])
			return -EINVAL;
	} else if (*point) {
		return -EINVAL;
	}
	if (!whole || whole > 2)
		return -EINVAL;
	for (; *word; word++)
		if (*word != '.')
			num = num * 10 + *word - '0';
	*at = num * scale[digits];
	return *at ? 0 : -EINVAL;
}

/* One step of a latency; @part ends with it, and is cut in two. */
static int vdisk_read_step(struct vdisk_node *n, const struct vdisk_arg *a,
			   char *part, struct vdisk_latency *lat)
{
	struct vdisk_step *step = &lat->step[lat->nr];
	char *at = strchr(part, '@');
	u64 us = 0;
	int r = 0;

	if (at)
		*at++ = '\0';
	if (strcmp(part, "0"))
		r = vdisk_read_number(part, true, &us);
	if (r == -EINVAL)
		return vdisk_fail(n, r, "%s: '%*pE' is not a time (us, ms or s)",
				  a->name, vdisk_shown(part), part);
	if (r || us < a->min || us > a->max)
		return vdisk_fail(n, -ERANGE, "%s: not in %llu..%llu us",
				  a->name, a->min, a->max);
	step->us = us;
	step->at = 0;
	if (!lat->nr != !at)
		return vdisk_fail(n, -EINVAL, at ?
				  "%s: the first time has no percentile" :
				  "%s: every time but the first needs a percentile",
				  a->name);
	if (at && vdisk_read_percentile(at, &step->at))
		return vdisk_fail(n, -EINVAL,
				  "%s: '%*pE' is not a percentile (above 0, below 100, up to 3 digits behind the point)",
				  a->name, vdisk_shown(at), at);
	if (lat->nr && step->at <= step[-1].at)
		return vdisk_fail(n, -EINVAL, "%s: percentiles do not rise",
				  a->name);
	if (lat->nr && step->us < step[-1].us)
		return vdisk_fail(n, -EINVAL, "%s: times fall", a->name);
	lat->nr++;
	return 0;
}

/**
 * vdisk_read_latency - what a VDISK_LATENCY says
 * @n: the node
 * @arg: which of its values
 * @word: as in the table line
 * @lat: set
 *
 * Context: Process context.
 * Return: 0, or -errno after vdisk_fail().
 */
int vdisk_read_latency(struct vdisk_node *n, unsigned int arg,
		       const char *word, struct vdisk_latency *lat)
{
	const struct vdisk_arg *a = &n->type->args[arg];
	char part[48];
	size_t len;
	int r;

	lat->nr = 0;
	for (;; word += len + 1) {
		len = strcspn(word, "/");
		if (lat->nr == VDISK_MAX_STEPS)
			return vdisk_fail(n, -EINVAL, "%s: more than %u times",
					  a->name, VDISK_MAX_STEPS);
		/* Longer than any step: what is cut off makes it no better. */
		strscpy(part, word, min(len + 1, sizeof(part)));
		r = vdisk_read_step(n, a, part, lat);
		if (r || !word[len])
			return r;
	}
}

/* The canonical form, for val->str. */
static char *vdisk_latency_str(const struct vdisk_latency *lat, gfp_t gfp)
{
	char buf[VDISK_MAX_STEPS * sizeof("/3600000000us@99.999")];
	struct vdisk_out out = { buf, 0, sizeof(buf) };
	unsigned int i;

	for (i = 0; i < lat->nr; i++) {
		u32 at = lat->step[i].at, part = at % 1000, digits = 3;

		vdisk_emit(&out, "%s%uus", i ? "/" : "", lat->step[i].us);
		if (i)
			vdisk_emit(&out, "@%u", at / 1000);
		for (; part && !(part % 10); part /= 10)
			digits--;
		if (part)
			vdisk_emit(&out, ".%0*u", digits, part);
	}
	return kstrdup(buf, gfp);
}

/**
 * vdisk_set_latency - change a value of a node that is in use
 * @n: the node
 * @arg: which of its values, a VDISK_LATENCY
 * @word: as in the table line
 * @lat: set to what it says
 *
 * Context: Process context, under message_lock; does no I/O to get memory.
 * Return: 0, or -errno after vdisk_fail().
 */
int vdisk_set_latency(struct vdisk_node *n, unsigned int arg, const char *word,
		      struct vdisk_latency *lat)
{
	struct vdisk_val *val = &n->val[arg];
	char *str;
	int r;

	r = vdisk_read_latency(n, arg, word, lat);
	if (r)
		return r;
	str = vdisk_latency_str(lat, GFP_NOIO);
	if (!str)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	spin_lock(&n->stack->value_lock);
	swap(val->str, str);
	val->set = true;
	spin_unlock(&n->stack->value_lock);
	kfree(str);
	return 0;
}

static bool vdisk_is_choice(const char *word, const char *choices)
{
	size_t len = strlen(word);

	for (; len; choices++) {
		if (!strncmp(choices, word, len) &&
		    (choices[len] == '|' || !choices[len]))
			return true;
		choices = strchr(choices, '|');
		if (!choices)
			break;
	}
	return false;
}

static int vdisk_read_patience(struct vdisk_node *n, const struct vdisk_arg *a,
			       const char *word, u64 *num)
{
	int r;

	if (!strcmp(word, "wait") || !strcmp(word, "fail")) {
		*num = *word == 'w' ? U64_MAX : 0;
		return 0;
	}
	r = vdisk_read_number(word, true, num);
	if (r == -EINVAL)
		return vdisk_fail(n, r,
				  "%s: '%*pE' is not wait, fail or a time (us, ms or s)",
				  a->name, vdisk_shown(word), word);
	if (r || *num < a->min || *num > a->max)
		return vdisk_fail(n, -ERANGE, "%s: not in %llu..%llu us",
				  a->name, a->min, a->max);
	return 0;
}

static int vdisk_read_value(struct vdisk_node *n, unsigned int arg,
			    const char *word)
{
	const struct vdisk_arg *a = &n->type->args[arg];
	struct vdisk_val *val = &n->val[arg];
	struct vdisk_latency lat;
	int r;

	if (val->set)
		return vdisk_fail(n, -EINVAL, "%s: given twice", a->name);
	val->set = true;

	switch (a->kind) {
	case VDISK_FLAG:
		return 0;
	case VDISK_SECTORS:
	case VDISK_TIME:
	case VDISK_NUMBER:
		r = vdisk_read_number(word, a->kind == VDISK_TIME, &val->num);
		if (r == -EINVAL)
			return vdisk_fail(n, r, "%s: '%*pE' is not %s", a->name,
					  vdisk_shown(word), word,
					  a->kind == VDISK_NUMBER ? "a number" :
					  a->kind == VDISK_TIME ?
					  "a time (us, ms or s)" :
					  "a number of sectors");
		if (r || val->num < a->min || val->num > a->max)
			return vdisk_fail(n, -ERANGE, "%s: not in %llu..%llu%s",
					  a->name, a->min, a->max,
					  a->kind == VDISK_TIME ? " us" : "");
		return 0;
	case VDISK_PATIENCE:
		return vdisk_read_patience(n, a, word, &val->num);
	case VDISK_DEVICE:
		if (*word != '/' && !vdisk_is_devt(word))
			return vdisk_fail(n, -EINVAL,
					  "%s: '%*pE' is no absolute path and no major:minor",
					  a->name, vdisk_shown(word), word);
		break;
	case VDISK_PATH:
		if (*word != '/')
			return vdisk_fail(n, -EINVAL,
					  "%s: '%*pE' is no absolute path",
					  a->name, vdisk_shown(word), word);
		break;
	case VDISK_NAME:
		if (!vdisk_is_name(word))
			return vdisk_fail(n, -EINVAL,
					  "%s: '%*pE' is not 1 to %u of A-Z a-z 0-9 . _ -",
					  a->name, vdisk_shown(word), word, VDISK_NAME_MAX);
		break;
	case VDISK_CHOICE:
		if (!vdisk_is_choice(word, a->help))
			return vdisk_fail(n, -EINVAL, "%s: '%*pE' is not one of %s",
					  a->name, vdisk_shown(word), word, a->help);
		break;
	case VDISK_KEY:
		r = vdisk_check_key(n, a->name, word);
		if (r)
			return r;
		break;
	case VDISK_LATENCY:
		r = vdisk_read_latency(n, arg, word, &lat);
		if (r)
			return r;
		val->str = vdisk_latency_str(&lat, GFP_KERNEL);
		return val->str ? 0 : vdisk_fail(n, -ENOMEM, "out of memory");
	case VDISK_HEX:
		val->str = kzalloc(2 * a->max + 1, GFP_KERNEL);
		if (!val->str)
			return vdisk_fail(n, -ENOMEM, "out of memory");
		if (vdisk_read_hex(word, a->max, val->str))
			return vdisk_fail(n, -EINVAL, "%s: not %llu hex digits",
					  a->name, 2 * a->max);
		return 0;
	}

	val->str = kstrdup(word, GFP_KERNEL);
	if (!val->str)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	return 0;
}

static int vdisk_read_label(struct vdisk_node *n, const char *word)
{
	unsigned int i;

	if (n->label)
		return vdisk_fail(n, -EINVAL, "label: given twice");
	if (!vdisk_is_name(word))
		return vdisk_fail(n, -EINVAL,
				  "label: '%*pE' is not 1 to %u of A-Z a-z 0-9 . _ -",
				  vdisk_shown(word), word, VDISK_NAME_MAX);
	for (i = 0; i < VDISK_NR_TYPES; i++)
		if (!strcmp(vdisk_types[i].name, word))
			return vdisk_fail(n, -EINVAL,
					  "label: '%s' is a node type", word);
	for (i = 0; i < n->stack->nr_nodes; i++)
		if (n->stack->nodes[i]->label &&
		    !strcmp(n->stack->nodes[i]->label, word))
			return vdisk_fail(n, -EINVAL,
					  "label: '%s' is used by another node",
					  word);
	n->label = kstrdup(word, GFP_KERNEL);
	if (!n->label)
		return vdisk_fail(n, -ENOMEM, "out of memory");
	return 0;
}

/* One word behind the type, no parenthesis. */
static int vdisk_read_word(struct vdisk_node *n, unsigned int pos,
			   const char *word)
{
	const struct vdisk_arg *a = n->type->args;
	const char *colon = strchr(word, ':');
	unsigned int i;

	if (pos < n->type->nr_args && a[pos].positional)
		return vdisk_read_value(n, pos, word);

	if (!strncmp(word, "label:", 6))
		return vdisk_read_label(n, word + 6);
	if (!n->parent && !strcmp(word, "drop_volatile")) {
		if (n->stack->drop_volatile)
			return vdisk_fail(n, -EINVAL, "drop_volatile: given twice");
		n->stack->drop_volatile = true;
		return 0;
	}
	for (i = 0; i < n->type->nr_args; i++) {
		size_t len = strlen(a[i].name);

		if (a[i].positional || strncmp(word, a[i].name, len))
			continue;
		if (a[i].kind == VDISK_FLAG && !word[len])
			return vdisk_read_value(n, i, NULL);
		if (a[i].kind != VDISK_FLAG && word[len] == ':')
			return vdisk_read_value(n, i, word + len + 1);
	}
	return vdisk_fail(n, -EINVAL, "'%*pE': unknown %s", vdisk_shown(word), word,
			  colon ? "option" : "word");
}

static int vdisk_check_children(struct vdisk_node *n)
{
	const struct vdisk_type *t = n->type;
	unsigned int i;

	for (i = 0; i < t->nr_args; i++)
		if (t->args[i].positional && !n->val[i].set)
			return vdisk_fail(n, -EINVAL, "%s: missing",
					  t->args[i].name);
	if (n->nr_children >= t->min_children)
		return 0;
	return vdisk_fail(n, -EINVAL, "needs %u %s, has %u", t->min_children,
			  t->min_children == 1 ? "child" : "children",
			  n->nr_children);
}

static const struct vdisk_type *vdisk_find_type(const char *word)
{
	unsigned int i;

	for (i = 0; i < VDISK_NR_TYPES; i++)
		if (!strcmp(vdisk_types[i].name, word))
			return &vdisk_types[i];
	return NULL;
}

static int vdisk_new_node(struct vdisk_stack *s, struct vdisk_node *parent,
			  const char *word, struct vdisk_node **result)
{
	const struct vdisk_type *type = vdisk_find_type(word);
	struct vdisk_node **children;
	struct vdisk_node *n;

	if (!type) {
		struct vdisk_out out = { s->error, 0, VDISK_ERROR_MAX };
		unsigned int i;

		vdisk_emit(&out, "'%*pE' is no node type; there are", vdisk_shown(word), word);
		for (i = 0; i < VDISK_NR_TYPES; i++)
			vdisk_emit(&out, " %s", vdisk_types[i].name);
		return -EINVAL;
	}
	if (parent && parent->nr_children == parent->type->max_children)
		return vdisk_fail(parent, -EINVAL, "takes no more than %u %s",
				  parent->type->max_children,
				  parent->type->max_children == 1 ?
				  "child" : "children");
	if (parent && parent->depth + 1 == VDISK_MAX_DEPTH)
		return vdisk_fail(parent, -EINVAL, "nested deeper than %u",
				  VDISK_MAX_DEPTH);
	if (s->nr_nodes == VDISK_MAX_NODES)
		return vdisk_fail(s->nodes[0], -EINVAL, "more than %u nodes",
				  VDISK_MAX_NODES);

	n = kzalloc(sizeof(*n), GFP_KERNEL);
	if (!n)
		return -ENOMEM;
	n->type = type;
	n->ops = vdisk_ops_of(type);
	n->route = n->ops->route;
	n->io_size = n->ops->io_size;
	n->stack = s;
	n->parent = parent;
	s->nodes[s->nr_nodes++] = n;

	if (parent) {
		children = krealloc(parent->children,
				    (parent->nr_children + 1) * sizeof(n),
				    GFP_KERNEL);
		if (!children)
			return -ENOMEM;
		parent->children = children;
		n->index = parent->nr_children;
		n->depth = parent->depth + 1;
		parent->children[parent->nr_children++] = n;
	}
	*result = n;
	return 0;
}

/**
 * vdisk_parse - build the tree of a table line
 * @s: empty stack; filled as far as it got, vdisk_free_tree() frees it
 * @argc: number of words
 * @argv: the words, as dm core split them
 *
 * Context: Process context, may sleep.
 * Return: 0, or -errno with s->error set.
 */
int vdisk_parse(struct vdisk_stack *s, unsigned int argc, char **argv)
{
	bool want_type = true, after_child = false;
	struct vdisk_node *n = NULL;
	unsigned int i, pos = 0;
	int r;

	spin_lock_init(&s->value_lock);
	snprintf(s->error, sizeof(s->error), "out of memory");
	for (i = 0; i < argc; i++) {
		const char *word = argv[i];

		if (strlen(word) > VDISK_WORD_MAX) {
			snprintf(s->error, sizeof(s->error),
				 "word %u is longer than %u bytes", i + 1,
				 VDISK_WORD_MAX);
			return -EINVAL;
		}
		if (want_type) {
			r = vdisk_new_node(s, n, word, &n);
			if (r)
				return r;
			want_type = false;
			after_child = false;
			pos = 0;
		} else if (!strcmp(word, "(")) {
			if (!n->type->max_children)
				return vdisk_fail(n, -EINVAL, "takes no children");
			want_type = true;
		} else if (!strcmp(word, ")")) {
			r = vdisk_check_children(n);
			if (r)
				return r;
			if (!n->parent)
				return vdisk_fail(n, -EINVAL,
						  "')' without its '('");
			n = n->parent;
			after_child = true;
		} else if (after_child) {
			return vdisk_fail(n, -EINVAL,
					  "'%*pE' behind a child: words and options come first",
					  vdisk_shown(word), word);
		} else {
			r = vdisk_read_word(n, pos++, word);
			if (r)
				return r;
		}
	}
	if (!n) {
		snprintf(s->error, sizeof(s->error), "empty: a stack is a node type and its words");
		return -EINVAL;
	}
	if (want_type)
		return vdisk_fail(n, -EINVAL, "'(' without a node behind it");
	if (n->parent)
		return vdisk_fail(n, -EINVAL, "')' missing behind it");
	return vdisk_check_children(n);
}

/**
 * vdisk_free_tree - free what vdisk_parse() built
 * @s: the stack
 *
 * Context: Process context.
 */
void vdisk_free_tree(struct vdisk_stack *s)
{
	unsigned int i, arg;

	for (i = 0; i < s->nr_nodes; i++) {
		struct vdisk_node *n = s->nodes[i];

		for (arg = 0; arg < n->type->nr_args; arg++)
			kfree(n->val[arg].str);
		kfree(n->children);
		kfree(n->label);
		kfree(n);
	}
	s->nr_nodes = 0;
}

/*
 * dm_split_args() ends a word at isspace(), which is true for 0xA0 too, the
 * second byte of many UTF-8 characters.
 */
static void vdisk_emit_word(struct vdisk_out *out, const char *word)
{
	for (; *word; word++)
		vdisk_emit(out, isspace(*word) || *word == '\\' ? "\\%c" : "%c",
			   *word);
}

static void vdisk_emit_value(struct vdisk_out *out, const struct vdisk_arg *a,
			     const struct vdisk_val *val)
{
	vdisk_emit(out, " ");
	if (!a->positional)
		vdisk_emit(out, a->kind == VDISK_FLAG ? "%s" : "%s:", a->name);
	switch (a->kind) {
	case VDISK_FLAG:
		break;
	case VDISK_SECTORS:
	case VDISK_NUMBER:
		vdisk_emit(out, "%llu", val->num);
		break;
	case VDISK_TIME:
		vdisk_emit(out, "%lluus", val->num);
		break;
	case VDISK_PATIENCE:
		if (!val->num || val->num == U64_MAX)
			vdisk_emit(out, val->num ? "wait" : "fail");
		else
			vdisk_emit(out, "%lluus", val->num);
		break;
	default:
		vdisk_emit_word(out, val->str);
	}
}

/**
 * vdisk_print_node - print a node and all below it, as in a table line
 * @root: the node
 * @out: where to
 * @extra: adds more words behind a node's options, or NULL
 *
 * Context: Process context.
 */
void vdisk_print_node(struct vdisk_node *root, struct vdisk_out *out,
		      void (*extra)(struct vdisk_node *n, struct vdisk_out *out))
{
	struct vdisk_stack *s = root->stack;
	unsigned int i, arg, end;

	for (i = 0; s->nodes[i] != root; i++)
		;
	for (end = i + 1; end < s->nr_nodes; end++)
		if (s->nodes[end]->depth <= root->depth)
			break;
	for (; i < end; i++) {
		struct vdisk_node *n = s->nodes[i];
		/* Levels left behind it: the first has no parenthesis. */
		unsigned int up = i + 1 < end ?
				  n->depth + 1 - s->nodes[i + 1]->depth :
				  n->depth - root->depth;

		vdisk_emit(out, n != root ? " ( %s" : "%s", n->type->name);
		spin_lock(&s->value_lock);
		for (arg = 0; arg < n->type->nr_args; arg++)
			if (n->val[arg].set)
				vdisk_emit_value(out, &n->type->args[arg],
						 &n->val[arg]);
		spin_unlock(&s->value_lock);
		if (n->label)
			vdisk_emit(out, " label:%s", n->label);
		if (extra)
			extra(n, out);
		while (up--)
			vdisk_emit(out, " )");
	}
}

/**
 * vdisk_print - print a stack as a table line
 * @s: the stack
 * @out: where to
 * @extra: adds more words behind a node's options, or NULL
 *
 * Without @extra this is the canonical line: loading it gives the same stack,
 * and printing that gives the same line.
 *
 * Context: Process context.
 */
void vdisk_print(struct vdisk_stack *s, struct vdisk_out *out,
		 void (*extra)(struct vdisk_node *n, struct vdisk_out *out))
{
	vdisk_print_node(s->nodes[0], out, extra);
}

/**
 * vdisk_find - find the node a message is for
 * @s: the stack
 * @word: a label, or a type that only one node has
 *
 * Context: Process context.
 * Return: the node, or NULL with s->error listing the choices.
 */
struct vdisk_node *vdisk_find(struct vdisk_stack *s, const char *word)
{
	struct vdisk_out out = { s->error, 0, VDISK_ERROR_MAX };
	struct vdisk_node *found = NULL;
	unsigned int i, nr = 0;

	for (i = 0; i < s->nr_nodes; i++) {
		struct vdisk_node *n = s->nodes[i];

		if (n->label && !strcmp(n->label, word))
			return n;
		if (!strcmp(n->type->name, word)) {
			found = n;
			nr++;
		}
	}
	if (nr == 1)
		return found;

	if (nr)
		vdisk_emit(&out, "%u nodes are '%s', say a label; there are", nr, word);
	else
		vdisk_emit(&out, "no node has label or type '%*pE'; there are",
			   vdisk_shown(word), word);
	for (i = 0; i < s->nr_nodes; i++) {
		const struct vdisk_node *n = s->nodes[i];

		vdisk_emit(&out, " %s", n->label ?: n->type->name);
	}
	return NULL;
}
