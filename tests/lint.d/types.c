// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints the tables of Documentation/admin-guide/device-mapper/dm-vdisk.rst, or
 * with --man those of vdisk(4), out of the module's own: tests/lint compares.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../../drivers/md/dm-vdisk/vdisk-types.c"

#define COLUMNS	4
#define CELL	96

static char cells[64][COLUMNS][CELL];
static int nr_rows;

static void row(const char *a, const char *b, const char *c, const char *d)
{
	const char *text[COLUMNS] = { a, b, c, d };
	int i;

	for (i = 0; i < COLUMNS; i++)
		snprintf(cells[nr_rows][i], CELL, "%s", text[i]);
	nr_rows++;
}

static void line(const int *width, int columns)
{
	int i;

	for (i = 0; i < columns; i++)
		printf("%s%.*s", i ? " " : "", width[i],
		       "================================================================================================");
	printf("\n");
}

static void print_table(int columns)
{
	int width[COLUMNS] = {};
	int i, r;

	for (r = 0; r < nr_rows; r++)
		for (i = 0; i < columns; i++)
			if ((int)strlen(cells[r][i]) > width[i])
				width[i] = strlen(cells[r][i]);
	line(width, columns);
	for (r = 0; r < nr_rows; r++) {
		for (i = 0; i < columns - 1; i++)
			printf("%-*s ", width[i], cells[r][i]);
		printf("%s\n", cells[r][i]);
		if (!r)
			line(width, columns);
	}
	line(width, columns);
	nr_rows = 0;
}

static void node_row(const struct vdisk_type *t)
{
	char name[CELL], children[CELL];

	snprintf(name, CELL, "``%s``", t->name);
	snprintf(children, CELL, "%u..%u", t->min_children, t->max_children);
	if (t->min_children == t->max_children)
		snprintf(children, CELL, "%u", t->max_children);
	row(name, t->max_children ? children : "none", t->help, "");
}

/* What the value may be. Return: what it means, unless that is all there is to say. */
static const char *arg_value(const struct vdisk_arg *a, char *value)
{
	*value = 0;
	switch (a->kind) {
	case VDISK_DEVICE:
		snprintf(value, CELL, "absolute path, or major:minor");
		break;
	case VDISK_PATH:
		snprintf(value, CELL, "absolute path");
		break;
	case VDISK_NAME:
		snprintf(value, CELL, "name");
		break;
	case VDISK_SECTORS:
		snprintf(value, CELL, "%llu..%llu sectors",
			 (unsigned long long)a->min, (unsigned long long)a->max);
		break;
	case VDISK_TIME:
		snprintf(value, CELL, "%llu..%llu us",
			 (unsigned long long)a->min, (unsigned long long)a->max);
		break;
	case VDISK_PATIENCE:
		snprintf(value, CELL, "``wait``, ``fail``, or %llu..%llu us",
			 (unsigned long long)a->min, (unsigned long long)a->max);
		break;
	case VDISK_NUMBER:
		snprintf(value, CELL, "%llu..%llu",
			 (unsigned long long)a->min, (unsigned long long)a->max);
		break;
	case VDISK_LATENCY:
		snprintf(value, CELL, "latency, %llu..%llu us",
			 (unsigned long long)a->min, (unsigned long long)a->max);
		break;
	case VDISK_HEX:
		snprintf(value, CELL, "%llu hex digits",
			 2 * (unsigned long long)a->max);
		break;
	case VDISK_CHOICE:
		snprintf(value, CELL, "%s", a->help);
		return "";
	case VDISK_KEY:
		snprintf(value, CELL, ":<bytes>:<type>:<description>");
		break;
	case VDISK_FLAG:
		snprintf(value, CELL, "none");
		break;
	}
	return a->help;
}

static void arg_row(const struct vdisk_type *t, const struct vdisk_arg *a)
{
	char name[CELL], arg[CELL], value[CELL];
	const char *help = arg_value(a, value);

	snprintf(name, CELL, "``%s``", t->name);
	snprintf(arg, CELL, a->positional ? "``<%s>``" :
		 a->kind == VDISK_FLAG ? "``%s``" : "``%s:``", a->name);
	row(name, arg, value, help);
}

/* For groff, without the marks of rst. */
static void man_text(const char *text)
{
	for (; *text; text++) {
		if (*text == '-' || *text == '\\')
			printf(*text == '-' ? "\\-" : "\\e");
		else if (*text != '`')
			putchar(*text);
	}
}

static void man_arg(const struct vdisk_arg *a)
{
	char value[CELL];
	const char *help = arg_value(a, value);

	if (a->kind == VDISK_FLAG) {
		printf(".TP\n.B ");
		man_text(a->name);
	} else {
		printf(a->positional ? ".TP\n.IR " : ".TP\n.BR ");
		man_text(a->name);
		printf(a->positional ? " \" (" : ": \" ");
		man_text(value);
		printf(a->positional ? ")\"" : "\"");
	}
	printf("\n");
	man_text(*help ? help : strchr(value, '|') ? "one of these" : "no other");
	printf("\n");
}

static void man_node(const struct vdisk_type *t)
{
	unsigned int i;

	printf(".SS ");
	man_text(t->name);
	printf("\n");
	man_text(t->help);
	if (t->min_children != t->max_children)
		printf("; %u to %u children\n", t->min_children, t->max_children);
	else
		printf(t->max_children == 1 ? "; 1 child\n" : t->max_children ? "; %u children\n" : "\n", t->max_children);
	for (i = 0; i < t->nr_args; i++)
		man_arg(&t->args[i]);
}

static const struct {
	const char *what;
	unsigned int value;
} bounds[] = {
	{ "nodes on a way from the root to a leaf", VDISK_MAX_DEPTH },
	{ "nodes of a stack", VDISK_MAX_NODES },
	{ "children of a node", VDISK_MAX_CHILDREN },
	{ "bytes of a word of the line", VDISK_WORD_MAX },
	{ "bytes of a name or label", VDISK_NAME_MAX },
	{ "times of a latency", VDISK_MAX_STEPS },
};

#define NR_BOUNDS	(sizeof(bounds) / sizeof(bounds[0]))

static int print_man(void)
{
	unsigned int i;

	printf(".SH NODES\n");
	for (i = 0; i < VDISK_NR_TYPES; i++)
		man_node(&vdisk_types[i]);
	printf(".SH BOUNDS\nAt most\n");
	for (i = 0; i < NR_BOUNDS; i++)
		printf("%u %s%s\n", bounds[i].value, bounds[i].what, i + 1 < NR_BOUNDS ? "," : ".");
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int i, j;
	char number[CELL];

	if (argc > 1 && !strcmp(argv[1], "--man"))
		return print_man();

	row("Node", "Children", "What it is", "");
	for (i = 0; i < VDISK_NR_TYPES; i++)
		node_row(&vdisk_types[i]);
	print_table(3);

	printf("\n");
	row("Node", "Word", "Value", "Meaning");
	for (i = 0; i < VDISK_NR_TYPES; i++)
		for (j = 0; j < vdisk_types[i].nr_args; j++)
			arg_row(&vdisk_types[i], &vdisk_types[i].args[j]);
	print_table(4);

	printf("\n");
	row("Bound", "At most", "", "");
	for (i = 0; i < NR_BOUNDS; i++) {
		snprintf(number, CELL, "%u", bounds[i].value);
		row(bounds[i].what, number, "", "");
	}
	print_table(2);
	return 0;
}
