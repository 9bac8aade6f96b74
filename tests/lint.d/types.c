// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints the tables of Documentation/admin-guide/device-mapper/dm-vdisk.rst
 * out of the module's own: tests/lint compares the two.
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

static void arg_row(const struct vdisk_type *t, const struct vdisk_arg *a)
{
	char name[CELL], arg[CELL], value[CELL] = "";
	const char *help = a->help;

	snprintf(name, CELL, "``%s``", t->name);
	snprintf(arg, CELL, a->positional ? "``<%s>``" :
		 a->kind == VDISK_FLAG ? "``%s``" : "``%s:``", a->name);
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
		help = "";
		break;
	case VDISK_KEY:
		snprintf(value, CELL, ":<bytes>:<type>:<description>");
		break;
	case VDISK_FLAG:
		snprintf(value, CELL, "none");
		break;
	}
	row(name, arg, value, help);
}

static void bound_row(const char *what, unsigned int value)
{
	char number[CELL];

	snprintf(number, CELL, "%u", value);
	row(what, number, "", "");
}

int main(void)
{
	unsigned int i, j;

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
	bound_row("nodes on a way from the root to a leaf", VDISK_MAX_DEPTH);
	bound_row("nodes of a stack", VDISK_MAX_NODES);
	bound_row("children of a node", VDISK_MAX_CHILDREN);
	bound_row("bytes of a word of the line", VDISK_WORD_MAX);
	bound_row("bytes of a name or label", VDISK_NAME_MAX);
	bound_row("times of a latency", VDISK_MAX_STEPS);
	print_table(2);
	return 0;
}
