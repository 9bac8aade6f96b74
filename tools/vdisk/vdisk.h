/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tool: what its parts share.
 *
 * Commands:
 *	vdisk.c		their table, --help, options
 *	format.c, check.c (and repair), dump.c, map.c: for stores
 *	create.c, show.c (and list, stat), change.c: for disks
 *	tab.c		/etc/vdisktab, for the generator of systemd, too
 *	luks.c		what a LUKS container needs of a crypt node
 *
 * libvdisk.a, which they, the generator and the unit tests are over:
 *	stack.c		stacks, their lengths, and what people write for them
 *	openvmm.c	what OpenVMM's --disk takes, as a stack
 *	vdisk-types.c, vdisk-grammar.c: their words, the kernel's own files
 *	dm.c		device-mapper, by libdevmapper
 *	keys.c		the kernel's keyrings
 *	helper.c	blobs of URLs, and who supplies them
 *	store.c		a store's I/O, offline
 *	vdisk-store.c	its format, the kernel's own file
 *	util.c		options, sizes, texts, errors, progress
 */
#ifndef VDISK_TOOL_H
#define VDISK_TOOL_H

#include <json-c/json.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include "../../drivers/md/dm-vdisk/vdisk-store.h"
#include "vdisk-store-user.h"

/* Exit statuses, those of qemu-img check */
enum {
	VDISK_OK,
	VDISK_FAILED,	/* wrong use, or it could not be done */
	VDISK_DAMAGE,	/* done, and there is damage; or it could not be, nor undone */
	VDISK_HARMLESS,	/* done, and what is wrong does no harm */
};

struct vdisk_option {
	const char *name;
	const char *arg;	/* NULL: a flag */
	const char *help;
};

#define VDISK_MAX_OPTIONS 12

struct vdisk_args;

struct vdisk_command {
	const char *name;
	const char *what;	/* in one line */
	const char *more;	/* the rest of what --help says: paragraphs, each ending in a newline */
	const char *status;	/* what its exit statuses mean */
	const char *example;
	const struct vdisk_option *options;	/* besides --json and --help; ends with one without a name */
	const char *operands;	/* NULL: a store */
	int min, max;		/* of them; max 0: any number, -1: none */
	int (*run)(const struct vdisk_args *args);
};

struct vdisk_args {
	const struct vdisk_command *command;
	const char *store;	/* the first operand */
	char **word;		/* all of them */
	int nr;
	const char *value[VDISK_MAX_OPTIONS];	/* of options[]; a flag's is "" */
	bool json;
};

/* format.c, check.c, dump.c, map.c, luks.c */
extern const struct vdisk_command vdisk_format, vdisk_check, vdisk_repair, vdisk_dump, vdisk_map, vdisk_luks;
/* create.c */
extern const struct vdisk_command vdisk_create, vdisk_remove, vdisk_check_line, vdisk_length;
/* show.c */
extern const struct vdisk_command vdisk_list, vdisk_show, vdisk_stat;
/* tab.c */
extern const struct vdisk_command vdisk_tab;
/* change.c */
extern const struct vdisk_command vdisk_grow, vdisk_snapshot, vdisk_hydrate, vdisk_detach_base, vdisk_merge;
extern const struct vdisk_command vdisk_pr, vdisk_key;

/* format.c */
int store_make(const char *path, __u64 len, __u32 unit, __u64 base_len, const char *lineage, bool through,
	       struct stat *made);
void store_unmake(const char *path, const struct stat *made);

/* util.c */
const char *vdisk_option(const struct vdisk_args *args, const char *name);
extern char vdisk_error[1024];
extern bool vdisk_quiet;	/* what goes wrong is only remembered there */
extern volatile sig_atomic_t vdisk_stopped;	/* by a signal */
void vdisk_catch(void);
void vdisk_catch_end(void);
void vdisk_hold(void);
void vdisk_release(void);
extern bool vdisk_printed;	/* JSON, so that it is too late for an error in it */
extern bool vdisk_changed;	/* something, which what is printed is only about */
int vdisk_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *text_new(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *vdisk_reason(int error);
int vdisk_check_name(const char *name);
bool vdisk_parse_size(const char *text, __u64 *sectors);
const char *vdisk_bytes(char *text, __u64 bytes);
char *vdisk_text(const void *bytes, size_t max);
struct json_object *vdisk_json(const char *text);
void vdisk_json_text(struct json_object *object, const char *key, const void *bytes, size_t max);
void vdisk_json_number(struct json_object *object, const char *key, __u64 value);
void vdisk_json_print(struct json_object *object);

#define VDISK_BYTES_TEXT 32

struct vdisk_progress {
	const char *what;
	double start, shown;
};

void vdisk_progress_start(struct vdisk_progress *progress, const char *what);
void vdisk_progress(struct vdisk_progress *progress, __u64 done, __u64 all);
double vdisk_progress_end(struct vdisk_progress *progress);

/* store.c */

#define STORE_BLOCK	4096	/* all I/O is in multiples of this, at multiples of it */
#define STORE_SHARE	1	/* even if it is in use; only to read */
#define STORE_WRITE	2
#define STORE_CREATE	4	/* the file, if there is none */

struct store {
	const char *path;
	int fd;
	bool device;		/* else a regular file */
	bool created;
	unsigned int block;	/* of the device, in bytes; 1: a file */
	__u64 size;		/* bytes */
	struct vdisk_store_sb slot[VDISK_STORE_SLOTS];
	const char *bad[VDISK_STORE_SLOTS];	/* what is wrong with it; NULL: nothing */
	bool blank[VDISK_STORE_SLOTS];		/* all zero */
	bool rest[VDISK_STORE_SLOTS];		/* there is something behind it */
	const struct vdisk_store_sb *sb;	/* the one that counts; NULL: there is none */
};

int store_open(struct store *store, const char *path, int flags);
int store_read_slots(struct store *store);
int store_open_good(struct store *store, const char *path, int flags);
void store_close(struct store *store);
int store_flush(struct store *store);
int store_write(struct store *store, const void *data, size_t bytes, __u64 offset);
int store_write_slot(struct store *store, int slot, const struct vdisk_store_sb *sb);
int store_write_sb(struct store *store, struct vdisk_store_sb *sb);
int store_write_leaf(struct store *store, __u64 index, const struct vdisk_store_leaf *leaf);
int store_zero(struct store *store, __u64 offset, __u64 bytes);

__u64 store_len_units(const struct store *store);
__u64 store_base_units(const struct store *store);	/* of the disk's, those in its base; all if its length is not known */
__u64 store_max_units(const struct store *store);
__u64 store_area_end(const struct store *store);

/*
 * Sectors of the presence area, beginning with @index: one, or several that
 * are blank. One without @leaf that is bad could not be read.
 */
typedef int (*store_leaf_fn)(void *arg, __u64 index, __u64 nr, const struct vdisk_store_leaf *leaf,
			     enum vdisk_store_leaf_kind kind);
int store_walk(struct store *store, __u64 nr, store_leaf_fn fn, void *arg);

enum store_state { STORE_ABSENT, STORE_DATA, STORE_ZERO, STORE_DAMAGED, STORE_STATES };
extern const char *const store_state_name[STORE_STATES];

/* Neighbours in the same state, joined. */
struct store_runs {
	int (*fn)(void *arg, __u64 unit, __u64 nr, enum store_state state);
	void *arg;
	__u64 end;		/* units; those behind it are left out */
	__u64 at, nr;		/* the run that grows: units */
	enum store_state state;
};

int store_runs_leaf(struct store_runs *runs, __u64 nr, const struct vdisk_store_leaf *leaf,
		    enum vdisk_store_leaf_kind kind);
int store_runs_end(struct store_runs *runs);
int store_map(struct store *store, int (*fn)(void *arg, __u64 unit, __u64 nr, enum store_state state), void *arg);

/* check.c */
struct store_report {
	bool quiet;			/* no text */
	struct json_object *problems;
	unsigned int harmless, damage;
	__u64 units[STORE_STATES];	/* of the disk */
	__u64 behind;			/* data or zero, behind its end */
	__u64 lacking;			/* absent, and in the base */
	__u64 bad, unused, old;		/* sectors of the presence area: damaged, damaged where no unit can be, of an older epoch */
};

int store_check(struct store *store, struct store_report *report);
int store_repair_leaves(struct store *store, enum store_state state, __u64 *rewritten);
int store_status(const struct store_report *report);

#endif /* VDISK_TOOL_H */
