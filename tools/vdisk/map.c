// SPDX-License-Identifier: GPL-2.0-only
/*
 * vdisk map
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vdisk.h"

#define COLUMNS		128
#define ROWS		48
#define CELLS		(COLUMNS * ROWS)
#define CELL		8	/* pixels */
#define TOP		56

struct map {
	const struct store *store;
	bool json;
	const char *comma;
	__u64 cell_units;
	__u64 cells[CELLS][STORE_STATES];	/* units */
	__u64 units[STORE_STATES];
};

static __u64 unit_bytes(const struct map *map)
{
	return le32_to_cpu(map->store->sb->unit);
}

/* As qemu-img map does it: absent is what a layer below has. */
static void print_json(struct map *map, __u64 start, __u64 length, enum store_state state)
{
	struct json_object *object = json_object_new_object();
	bool local = state == STORE_DATA || state == STORE_ZERO;

	vdisk_json_number(object, "start", start);
	vdisk_json_number(object, "length", length);
	json_object_object_add(object, "depth", json_object_new_int(state == STORE_ABSENT));
	json_object_object_add(object, "present", json_object_new_boolean(local));
	json_object_object_add(object, "zero", json_object_new_boolean(state == STORE_ZERO));
	json_object_object_add(object, "data", json_object_new_boolean(state == STORE_DATA));
	json_object_object_add(object, "state", vdisk_json(store_state_name[state]));
	if (state == STORE_DATA)
		vdisk_json_number(object, "offset", le64_to_cpu(map->store->sb->data_start) * 512 + start);
	printf("%s%s", map->comma, json_object_to_json_string(object));
	map->comma = ",\n";
	json_object_put(object);
}

static int print(void *arg, __u64 unit, __u64 nr, enum store_state state)
{
	struct map *map = arg;
	__u64 start = unit * unit_bytes(map), length = nr * unit_bytes(map);
	char text[VDISK_BYTES_TEXT];

	map->units[state] += nr;
	if (map->json)
		print_json(map, start, length, state);
	else
		printf("%20llu %20llu  %-8s %12s\n", start / 512, length / 512, store_state_name[state],
		       vdisk_bytes(text, length));
	return VDISK_OK;
}

static int draw(void *arg, __u64 unit, __u64 nr, enum store_state state)
{
	struct map *map = arg;

	map->units[state] += nr;
	while (nr) {
		__u64 left = map->cell_units - unit % map->cell_units, here = nr < left ? nr : left;

		map->cells[unit / map->cell_units][state] += here;
		unit += here;
		nr -= here;
	}
	return VDISK_OK;
}

static const char *const colour[] = {
	[STORE_ABSENT] = "#e6e6e6", [STORE_DATA] = "#1f6fb4", [STORE_ZERO] = "#f2c14e", [STORE_DAMAGED] = "#d62828",
};

/* Between the colours of what is in the cell; damage is not to be overlooked. */
static unsigned int mix(const __u64 *units)
{
	double share, all = 0, sum[3] = {};

	if (units[STORE_DAMAGED])
		return strtoul(colour[STORE_DAMAGED] + 1, NULL, 16);
	for (int i = 0; i < STORE_STATES; i++)
		all += units[i];
	for (int i = 0; i < STORE_STATES; i++) {
		unsigned long rgb = strtoul(colour[i] + 1, NULL, 16);

		share = units[i] / all;
		/* A little of something is seen, too. */
		if (i != STORE_ABSENT && share > 0 && share < 0.2 && units[STORE_ABSENT])
			share = 0.2;
		else if (i == STORE_ABSENT && share > 0.8 && share < 1)
			share = 0.8;
		for (int c = 0; c < 3; c++)
			sum[c] += share * (rgb >> 8 * (2 - c) & 255);
	}
	for (int c = 0; c < 3; c++)
		sum[c] = sum[c] > 255 ? 255 : sum[c];
	return (unsigned int)sum[0] << 16 | (unsigned int)sum[1] << 8 | (unsigned int)sum[2];
}

static void xml(FILE *file, const char *path)
{
	char *text = vdisk_text(path, strlen(path));

	for (const char *c = text; *c; c++) {
		if (strchr("<>&\"'", *c))
			fprintf(file, "&#%d;", *c);
		else
			fputc(*c, file);
	}
	free(text);
}

static void cell_title(FILE *file, const struct map *map, const __u64 *units, __u64 first, __u64 nr)
{
	char text[VDISK_BYTES_TEXT];

	fprintf(file, "<title>sector %llu, %llu sectors:", first * unit_bytes(map) / 512, nr * unit_bytes(map) / 512);
	for (int i = 0; i < STORE_STATES; i++)
		if (units[i])
			fprintf(file, " %s %s", store_state_name[i], vdisk_bytes(text, units[i] * unit_bytes(map)));
	fprintf(file, "</title>");
}

/* Cells of a row that are alike are one rectangle. */
static void svg_row(FILE *file, const struct map *map, int row, int cells)
{
	__u64 len = store_len_units(map->store);

	for (int from = 0, to; from < cells; from = to) {
		const __u64 (*cell)[STORE_STATES] = &map->cells[row * COLUMNS + from];
		__u64 units[STORE_STATES] = {}, first = (row * COLUMNS + from) * map->cell_units, nr;

		for (to = from; to < cells && (to == from || !memcmp(cell[0], cell[to - from], sizeof(cell[0]))); to++)
			for (int i = 0; i < STORE_STATES; i++)
				units[i] += cell[to - from][i];
		nr = (to - from) * map->cell_units;
		nr = nr < len - first ? nr : len - first;
		fprintf(file, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#%06x\">", 8 + from * CELL,
			TOP + row * CELL, (to - from) * CELL, CELL - 1, mix(cell[0]));
		cell_title(file, map, units, first, nr);
		fprintf(file, "</rect>\n");
	}
}

static void svg(FILE *file, const struct map *map)
{
	__u64 len = store_len_units(map->store), cells = (len + map->cell_units - 1) / map->cell_units;
	int rows = (cells + COLUMNS - 1) / COLUMNS;
	char text[VDISK_BYTES_TEXT];

	fprintf(file, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n",
		COLUMNS * CELL + 16, TOP + rows * CELL + 8);
	fprintf(file, "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<text x=\"8\" y=\"20\" font-size=\"14\">");
	xml(file, map->store->path);
	fprintf(file, ": %s, ", vdisk_bytes(text, len * unit_bytes(map)));
	fprintf(file, "%s per square</text>\n", vdisk_bytes(text, map->cell_units * unit_bytes(map)));
	for (int i = 0; i < STORE_STATES; i++)
		fprintf(file, "<rect x=\"%d\" y=\"32\" width=\"12\" height=\"12\" fill=\"%s\"/><text x=\"%d\" y=\"42\">%s %s</text>\n",
			8 + i * 200, colour[i], 26 + i * 200, store_state_name[i],
			vdisk_bytes(text, map->units[i] * unit_bytes(map)));
	for (int row = 0; row < rows; row++)
		svg_row(file, map, row, row + 1 < rows ? COLUMNS : cells - (__u64)row * COLUMNS);
	fprintf(file, "</svg>\n");
}

static int picture(struct store *store, struct map *map, const char *path)
{
	FILE *file;
	int status;

	map->cell_units = (store_len_units(store) + CELLS - 1) / CELLS;
	status = store_map(store, draw, map);
	if (status)
		return status;
	/* A moment, for no half of a picture */
	vdisk_catch();
	file = strcmp(path, "-") ? fopen(path, "w") : stdout;
	if (!file)
		return vdisk_fail("--svg: %s: cannot be written: %s", path, strerror(errno));
	svg(file, map);
	if (file == stdout ? fflush(file) : fclose(file))
		return vdisk_fail("--svg: %s: cannot be written: %s", path, strerror(errno));
	return VDISK_OK;
}

static int map(const struct vdisk_args *args)
{
	const char *path = vdisk_option(args, "svg");
	static struct map map;
	struct store store;
	int status;

	if (path && args->json)
		return vdisk_fail("--svg, --json: say one of them");
	status = store_open_good(&store, args->store, vdisk_option(args, "force-share") ? STORE_SHARE : 0);
	if (status)
		return status == VDISK_DAMAGE ? VDISK_FAILED : status;
	map.store = &store;
	map.json = args->json;
	map.comma = "";
	if (store_area_end(&store) > store.size) {
		status = vdisk_fail("%s: is cut off: it has %llu bytes, and its presence area ends at %llu", store.path, store.size,
				    store_area_end(&store));
	} else if (path) {
		status = picture(&store, &map, path);
	} else {
		vdisk_printed = args->json;
		if (args->json)
			printf("[");
		else
			printf("%20s %20s  %-8s %12s\n", "SECTOR", "SECTORS", "STATE", "LENGTH");
		status = store_map(&store, print, &map);
		if (args->json)
			printf("]\n");
	}
	store_close(&store);
	if (!status && map.units[STORE_DAMAGED])
		status = VDISK_DAMAGE;
	return status;
}

const struct vdisk_command vdisk_map = {
	.name = "map",
	.what = "print which ranges of the disk are in a store",
	.more =
"Prints the disk as ranges, each of them\n"
"  data     in the store\n"
"  zero     reads as zeroes, nothing is stored\n"
"  absent   still in the base\n"
"  damaged  neither can be said (see vdisk repair)\n"
"in sectors of 512 bytes; with --json in bytes, and as qemu-img map --output=json does it.\n",
	.status =
"  0  done\n"
"  1  it could not be read, or is no store\n"
"  2  done, and there are damaged ranges\n",
	.example = "vdisk map /var/lib/vm1.store --svg vm1.svg",
	.options = (const struct vdisk_option[]){
		{ "svg", "FILE", "a picture instead, to FILE (-: standard output)" },
		{ "force-share", NULL, "even if it is in use: it then changes meanwhile" },
		{}
	},
	.run = map,
};
