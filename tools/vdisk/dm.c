// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device-mapper: each function is one call of the kernel's, and says what went
 * wrong with the words that the kernel put into its log.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vdisk.h"
#include "dm.h"

#define DM_CONTROL	"/dev/" DM_DIR "/" DM_CONTROL_NODE

static int last_error;

static void no_log(int level, const char *file, int line, int dm_errno, const char *format, ...)
{
	(void)level, (void)file, (void)line, (void)format;
	if (dm_errno)
		last_error = dm_errno;
}

/* Errors are said by who calls, with what to do about them. */
void disk_log_off(void)
{
	dm_log_with_errno_init(no_log);
}

/* The kernel's log, from now on. */
static int log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

/*
 * What the log says of the device, without its prefix: the last line that
 * names it, "...: 254:0: vdisk: TEXT" or "device-mapper: vdisk: 254:0: TEXT".
 */
static char *log_find(int fd, const struct dm_info *info)
{
	char record[4096], where[32], *found = NULL, *text, *end;
	ssize_t len;

	snprintf(where, sizeof(where), " %u:%u: ", info->major, info->minor);
	while (fd >= 0 && ((len = read(fd, record, sizeof(record) - 1)) > 0 || (len < 0 && errno == EPIPE))) {
		if (len < 0)
			continue;
		record[len] = 0;
		record[strcspn(record, "\n")] = 0;
		text = strchr(record, ';');
		if (!text || !strstr(text, "device-mapper: ") || !(text = strstr(text, where)))
			continue;
		text += strlen(where);
		if (!strncmp(text, "vdisk: ", 7))
			text += 7;
		/* dm core's own, behind the reason */
		if (!strncmp(text, "preresume failed", 16) && found)
			continue;
		if ((end = strstr(text, " (-E")) && end[strlen(end) - 1] == ')')
			*end = 0;
		free(found);
		found = strdup(text);
	}
	if (fd >= 0)
		close(fd);
	return found;
}

static struct dm_task *task_new(int type, const char *name)
{
	struct dm_task *task = dm_task_create(type);

	last_error = 0;
	if (task && name && !dm_task_set_name(task, name)) {
		dm_task_destroy(task);
		vdisk_fail("%s: there is no such disk; vdisk list shows those there are", name);
		return NULL;
	}
	if (!task)
		vdisk_fail(geteuid() ? "device-mapper cannot be used: only root may" :
			   "device-mapper cannot be used: is the kernel's there (modprobe dm-mod)?");
	return task;
}

/* By its uuid, if it has one: the name may be another disk's by now. */
static struct dm_task *task_of(int type, const char *name, const char *uuid)
{
	struct dm_task *task = task_new(type, *uuid ? NULL : name);

	if (task && *uuid && !dm_task_set_uuid(task, uuid))
		abort();
	return task;
}

/* The lock is a file, which goes with it. */
static char lock_path[192];
static int lock = -1;

/* Device-mapper takes /dev/mapper/NAME for a name, too. */
static void lock_name(const char *name)
{
	struct dm_task *task = strchr(name, '/') ? dm_task_create(DM_DEVICE_INFO) : NULL;
	struct dm_info info = {};
	const char *real = strrchr(name, '/');

	real = real ? real + 1 : name;
	if (task && dm_task_set_name(task, name) && dm_task_run(task) && dm_task_get_info(task, &info) && info.exists)
		real = dm_task_get_name(task);
	snprintf(lock_path, sizeof(lock_path), "/run/vdisk-%.150s.lock", real);
	if (task)
		dm_task_destroy(task);
}

/**
 * disk_lock - keep other vdisks off a disk, or off a name that has none yet
 * @name: of the mapped device
 *
 * For all that changes it, from before its table is read to the end: of two
 * that load a table at the same time, one would lose its own and not see it.
 * dmsetup does not heed it. From now on signals are caught. One disk at a time.
 *
 * Return: an exit status, after saying what is wrong.
 */
int disk_lock(const char *name)
{
	struct stat held, there;
	bool told = false;

	vdisk_catch();
	lock_name(name);
	for (;;) {
		lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (lock < 0)
			return vdisk_fail("%s: cannot be locked: %s: %s", name, lock_path, vdisk_reason(errno));
		if (flock(lock, LOCK_EX | LOCK_NB)) {
			if (!told)
				fprintf(stderr, "vdisk: %s: another vdisk changes it; waiting for that\n", name);
			told = true;
			if (flock(lock, LOCK_EX)) {
				close(lock);
				lock = -1;
				return vdisk_fail("%s: stopped; nothing was changed", name);
			}
		}
		/* Who had it may have taken the file away. */
		if (!fstat(lock, &held) && !stat(lock_path, &there) && held.st_ino == there.st_ino)
			return VDISK_OK;
		close(lock);
	}
}

void disk_unlock(void)
{
	if (lock < 0)
		return;
	unlink(lock_path);
	close(lock);
	lock = -1;
}

/**
 * disk_module_version - that of the module that is loaded
 * @version: is filled, "" for one that does not say it
 * @size: of it
 *
 * Return: is one loaded, or built into the kernel?
 */
bool disk_module_version(char *version, int size)
{
	FILE *file = fopen("/sys/module/dm_vdisk/version", "re");

	*version = 0;
	if (!file)
		return !access("/sys/module/dm_vdisk", F_OK);
	if (!fgets(version, size, file))
		*version = 0;
	version[strcspn(version, "\n")] = 0;
	fclose(file);
	return true;
}

/* Behind an error: is the module there, and the one that this tool was made for? */
static const char *module_hint(void)
{
	static char text[160];
	char version[32];

	if (!disk_module_version(version, sizeof(version)))
		return " (the module dm-vdisk is not loaded: modprobe dm-vdisk says why)";
	if (!strcmp(version, VDISK_VERSION))
		return "";
	snprintf(text, sizeof(text), " (the loaded module is version %s, this tool is %s: see vdisk --version)",
		 *version ? version : "unknown", VDISK_VERSION);
	return text;
}

static int task_error(struct dm_task *task)
{
	return dm_task_get_errno(task) ?: last_error ?: EIO;
}

static int get(struct disk *disk, const char *name, int ask, bool loaded)
{
	struct dm_task *task = task_new(ask, name);
	uint64_t start, length;
	char *type = NULL, *params = NULL;
	const char *uuid;
	void *next;
	int status = VDISK_OK, error = 0;

	memset(disk, 0, sizeof(*disk));
	if (!task)
		return VDISK_FAILED;
	dm_task_no_open_count(task);
	dm_task_no_flush(task);
	if (loaded)
		dm_task_query_inactive_table(task);
	if (!dm_task_run(task))
		error = task_error(task);
	else if (!dm_task_get_info(task, &disk->info) || !disk->info.exists)
		error = ENXIO;
	if (error) {
		if (error != ENXIO && error != ENODEV)
			status = vdisk_fail("%s: cannot be asked: %s", name, vdisk_reason(error));
		else
			status = vdisk_fail("%s: there is no such disk; vdisk list shows those there are", name);
		goto out;
	}
	snprintf(disk->name, sizeof(disk->name), "%s", dm_task_get_name(task) ?: name);
	uuid = dm_task_get_uuid(task);
	snprintf(disk->uuid, sizeof(disk->uuid), "%s", uuid ?: "");
	next = dm_get_next_target(task, NULL, &start, &length, &type, &params);
	if (type && !strcmp(type, "vdisk") && !next && !start) {
		disk->sectors = length;
		disk->params = strdup(params);
	} else if (type || strncmp(disk->uuid, DISK_UUID, strlen(DISK_UUID))) {
		status = vdisk_fail("%s: is no vdisk, or not only one; dmsetup knows what it is", name);
	}
out:
	dm_task_destroy(task);
	return status;
}

/**
 * disk_get - what there is of a disk
 * @disk: is filled; disk_put() it
 * @name: of the mapped device
 * @table: params are of the table, not the status
 *
 * Return: an exit status, after saying that there is none, or another one.
 */
int disk_get(struct disk *disk, const char *name, bool table)
{
	return get(disk, name, table ? DM_DEVICE_TABLE : DM_DEVICE_STATUS, false);
}

/* The status of a table that is loaded, and not live yet. */
int disk_get_loaded(struct disk *disk, const char *name)
{
	return get(disk, name, DM_DEVICE_STATUS, true);
}

void disk_put(struct disk *disk)
{
	free(disk->params);
	disk->params = NULL;
}

bool disk_scans(const struct disk *disk)
{
	/* What dmsetup made is as dmsetup makes it. */
	return !strncmp(disk->uuid, DISK_UUID_SCAN, strlen(DISK_UUID_SCAN)) ||
	       strncmp(disk->uuid, DISK_UUID, strlen(DISK_UUID));
}

/* All mapped devices, valid until the task is destroyed. NULL: it failed. */
struct dm_names *disk_names(struct dm_task **task)
{
	*task = task_new(DM_DEVICE_LIST, NULL);
	if (!*task)
		return NULL;
	if (dm_task_run(*task))
		return dm_task_get_names(*task);
	vdisk_fail("the mapped devices cannot be listed: %s",
		   geteuid() ? "only root may" : vdisk_reason(task_error(*task)));
	dm_task_destroy(*task);
	return NULL;
}

/* What the kernel's log says of the device. To be freed; NULL: nothing. */
static char *why(const char *name, int log)
{
	struct dm_task *task = dm_task_create(DM_DEVICE_INFO);
	struct dm_info info = {};
	char *said = NULL;

	if (task && dm_task_set_name(task, name) && dm_task_run(task) && dm_task_get_info(task, &info) && info.exists)
		said = log_find(log, &info);
	else if (log >= 0)
		close(log);
	if (task)
		dm_task_destroy(task);
	return said;
}

static int fail(const char *name, const char *what, int error, int log)
{
	char *said = why(name, log);

	if (said)
		vdisk_fail("%s: %s: %s%s", name, what, said, module_hint());
	else if (error == EINVAL)
		vdisk_fail("%s: %s: %s; is the module loaded (modprobe dm-vdisk)? The kernel's log (dmesg) may say more", name,
			   what, strerror(error));
	else
		vdisk_fail("%s: %s: %s", name, what, vdisk_reason(error));
	free(said);
	last_error = error;
	return VDISK_FAILED;
}

/* With udev: to be waited for, and needed. A disk that is used must go on, also if udev cannot be waited for. */
enum sync { NO_SYNC, SYNC, MAY_SYNC };

/* Runs a task that changes the device, with udev and the kernel's log. */
static int run(struct dm_task *task, const char *name, const char *what, enum sync sync, uint16_t flags)
{
	uint32_t cookie = 0;
	int log = log_open(), error = 0;

	if (sync && !dm_task_set_cookie(task, &cookie, flags) && sync == SYNC)
		error = task_error(task);
	if (!error && !dm_task_run(task))
		error = task_error(task);
	if (sync)
		dm_udev_wait(cookie);
	dm_task_destroy(task);
	if (error)
		return fail(name, what, error, log);
	if (log >= 0)
		close(log);
	return VDISK_OK;
}

/**
 * disk_make - make a mapped device without a table, which has the name then
 * @name: of the device
 * @uuid: of the device
 *
 * Return: an exit status, after saying what is wrong.
 */
int disk_make(const char *name, const char *uuid)
{
	struct dm_task *task = task_new(DM_DEVICE_CREATE, name);
	int error = 0;

	if (!task)
		return VDISK_FAILED;
	if (!dm_task_set_uuid(task, uuid) || !dm_task_set_add_node(task, DM_ADD_NODE_ON_RESUME) || !dm_task_run(task))
		error = task_error(task);
	dm_task_destroy(task);
	if (!error)
		return VDISK_OK;
	if (error == EBUSY || error == EEXIST)
		return vdisk_fail("%s: there is a mapped device of that name already; choose another, or remove it (vdisk remove %s)",
				  name, name);
	return vdisk_fail("%s: cannot be made: %s", name, geteuid() ? "only root may" : vdisk_reason(error));
}

static int load(const char *name, const char *uuid, __u64 sectors, const char *params, bool read_only)
{
	size_t len = strlen(params) + 1, size = sizeof(struct dm_ioctl) + sizeof(struct dm_target_spec) + (len + 7) / 8 * 8;
	struct dm_ioctl *io = calloc(1, size);
	struct dm_target_spec *target;
	int fd, error = 0;

	if (!io)
		abort();
	target = (void *)(io + 1);
	io->version[0] = DM_VERSION_MAJOR;
	io->data_size = size;
	io->data_start = sizeof(*io);
	io->target_count = 1;
	io->flags = read_only ? DM_READONLY_FLAG : 0;
	if (*uuid)
		snprintf(io->uuid, sizeof(io->uuid), "%s", uuid);
	else
		snprintf(io->name, sizeof(io->name), "%s", name);
	target->length = sectors;
	target->next = size - sizeof(*io);
	strcpy(target->target_type, "vdisk");
	memcpy(target + 1, params, len);
	fd = open(DM_CONTROL, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, DM_TABLE_LOAD, io))
		error = errno;
	if (fd >= 0)
		close(fd);
	free(io);
	return error;
}

/**
 * disk_load - load a table, which is not live before disk_resume()
 * @name: of the device
 * @uuid: likewise; "": it has none
 * @sectors: of the disk
 * @params: the stack
 * @read_only: it takes no writes
 *
 * By the ioctl: libdevmapper doubles each backslash, and so it cannot pass a
 * word with a blank.
 *
 * Return: an exit status, after saying what is wrong.
 */
int disk_load(const char *name, const char *uuid, __u64 sectors, const char *params, bool read_only)
{
	int log = log_open(), error = load(name, uuid, sectors, params, read_only);

	if (error)
		return fail(name, "the table is refused", error, log);
	if (log >= 0)
		close(log);
	return VDISK_OK;
}

/* Drops a table that was loaded and is not live. */
int disk_clear(const char *name, const char *uuid)
{
	struct dm_task *task = task_of(DM_DEVICE_CLEAR, name, uuid);

	return task ? run(task, name, "cannot drop the new table", NO_SYNC, 0) : VDISK_FAILED;
}

int disk_suspend(const char *name, const char *uuid)
{
	struct dm_task *task = task_of(DM_DEVICE_SUSPEND, name, uuid);
	int status;

	if (!task)
		return VDISK_FAILED;
	vdisk_hold();
	status = run(task, name, "cannot be suspended", NO_SYNC, 0);
	if (status)
		vdisk_release();
	return status;
}

/* Has the name still got this uuid? */
bool disk_is(const char *name, const char *uuid)
{
	struct dm_task *task = dm_task_create(DM_DEVICE_INFO);
	struct dm_info info = {};
	bool still = task && dm_task_set_name(task, name) && dm_task_run(task) && dm_task_get_info(task, &info) && info.exists &&
		     !strcmp(dm_task_get_uuid(task) ?: "", uuid);

	if (task)
		dm_task_destroy(task);
	return still;
}

/* Resume and remove go by the name: by a uuid libdevmapper would leave /dev/mapper as it is. */
static struct dm_task *task_still(int type, const char *name, const char *uuid)
{
	if (disk_is(name, uuid))
		return task_new(type, name);
	vdisk_fail("%s: was removed by someone else just now; see vdisk list", name);
	return NULL;
}

/* @scan: udev's other rules may look into it */
int disk_resume(const char *name, const char *uuid, bool scan)
{
	struct dm_task *task = task_still(DM_DEVICE_RESUME, name, uuid);
	uint16_t flags = scan ? 0 : DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG | DM_UDEV_DISABLE_DISK_RULES_FLAG |
				    DM_UDEV_DISABLE_OTHER_RULES_FLAG;
	int status;

	if (!task)
		return VDISK_FAILED;
	dm_task_set_add_node(task, DM_ADD_NODE_ON_RESUME);
	status = run(task, name, "cannot go live", MAY_SYNC, flags);
	if (!status)
		vdisk_release();
	return status;
}

/*
 * What was suspended goes on, with the table that it has. What went wrong before is still what is said last. Return: VDISK_DAMAGE:
 * it stays suspended.
 */
int disk_go_on(const struct disk *disk)
{
	char text[sizeof(vdisk_error)];

	memcpy(text, vdisk_error, sizeof(text));
	if (disk_resume(disk->name, disk->uuid, disk_scans(disk))) {
		vdisk_fail("%.300s%s%.300s; the disk stays suspended: dmsetup resume %s tries again", text, *text ? "; and " : "",
			   vdisk_error, disk->name);
		return VDISK_DAMAGE;
	}
	memcpy(vdisk_error, text, sizeof(text));
	return VDISK_OK;
}

/* What makes nodes says of none that it could not be made. */
int disk_check_node(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dm_dir(), name);
	return access(path, F_OK) ? vdisk_fail("%s: cannot be made; can something be written to /dev?", path) : VDISK_OK;
}

int disk_remove(const char *name, const char *uuid)
{
	struct dm_task *task = task_still(DM_DEVICE_REMOVE, name, uuid);
	int status;

	if (!task)
		return VDISK_FAILED;
	dm_task_retry_remove(task);
	status = run(task, name, "cannot be removed", SYNC, 0);
	if (status && last_error == EBUSY)
		vdisk_fail("%s: is in use; stop who uses it first (fuser -v /dev/mapper/%s, lsblk /dev/mapper/%s)", name, name, name);
	return status;
}

/**
 * disk_message - send a message
 * @name: of the device
 * @text: what dmsetup message would send
 * @answer: to be freed, NULL if there is none; NULL if none is wanted
 *
 * Return: an exit status, after saying what is wrong; VDISK_DAMAGE: a
 * reservation conflict.
 */
int disk_message(const char *name, const char *text, char **answer)
{
	struct dm_task *task = task_new(DM_DEVICE_TARGET_MSG, name);
	int log = log_open(), error = 0;
	const char *got;
	char *said;

	if (!task)
		return VDISK_FAILED;
	if (!dm_task_set_sector(task, 0) || !dm_task_set_message(task, text) || !dm_task_run(task)) {
		error = task_error(task);
		said = why(name, log);
		vdisk_fail("%s: %s", name, said ?: strerror(error));
		free(said);
	} else {
		got = dm_task_get_message_response(task);
		if (answer)
			*answer = got ? strdup(got) : NULL;
		if (log >= 0)
			close(log);
	}
	dm_task_destroy(task);
	return !error ? VDISK_OK : error == EBADE ? VDISK_DAMAGE : VDISK_FAILED;
}

/**
 * disk_replace - another table for a disk in use
 * @name: of the device
 * @old: what it has now: the table
 * @sectors: of the new table
 * @params: likewise
 *
 * If the new one is refused, the old one is live again. disk_lock() it before
 * @old is read.
 *
 * Return: an exit status, after saying what is wrong. VDISK_DAMAGE: it is
 * suspended, and may have the new table, so all that is in that has to stay.
 */
int disk_replace(const char *name, const struct disk *old, __u64 sectors, const char *params)
{
	char text[sizeof(vdisk_error)];

	if (disk_load(name, old->uuid, sectors, params, old->info.read_only))
		return VDISK_FAILED;
	if (disk_suspend(name, old->uuid)) {
		memcpy(text, vdisk_error, sizeof(text));
		disk_clear(name, old->uuid);
		memcpy(vdisk_error, text, sizeof(text));
		return VDISK_FAILED;
	}
	if (!disk_resume(name, old->uuid, disk_scans(old)))
		return VDISK_OK;
	memcpy(text, vdisk_error, sizeof(text));
	if (disk_load(name, old->uuid, old->sectors, old->params, old->info.read_only) ||
	    disk_resume(name, old->uuid, disk_scans(old))) {
		if (!disk_is(name, old->uuid))
			return VDISK_FAILED;
		vdisk_fail("%.400s; and its old table cannot be brought back (%.300s): it is suspended; dmsetup resume %s tries again",
			   text, vdisk_error, name);
		return VDISK_DAMAGE;
	}
	memcpy(vdisk_error, text, sizeof(text));
	return VDISK_FAILED;
}
