// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/vdisk, and the service manager, which keeps its file when we are
 * restarted.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <stdlib.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "fetchd.h"

#define INHERITED_MAX	8
#define ADOPTED_MS	100	/* helper_timeout: of a file that somebody else attached may be */

int device = -1;
uint64_t device_length, device_timeout_ms;
bool device_attached;

/*
 * What the manager kept for us: one file, or two if our predecessor was killed
 * while it replaced its own's. They are named vdisk-1, vdisk-2, and so on, as
 * the manager can remove a file by its name only.
 */
static struct {
	int fd;
	unsigned int number;
} inherited[INHERITED_MAX];
static unsigned int nr_inherited, number = 1;
static uint64_t last_use, watchdog_us;
static bool adopted;	/* the device is a predecessor's */

static void manager_forgets(unsigned int which)
{
	sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=vdisk-%u", which);
}

static void find_inherited(void)
{
	char **names = NULL;
	int nr = sd_listen_fds_with_names(1, &names);

	for (int i = 0; i < nr; i++) {
		unsigned int n;

		if (names && nr_inherited < INHERITED_MAX && sscanf(names[i], "vdisk-%u", &n) == 1) {
			inherited[nr_inherited].fd = SD_LISTEN_FDS_START + i;
			inherited[nr_inherited++].number = n;
			number = n >= number ? n + 1 : number;
		}
		free(names[i]);
	}
	free(names);
}

static int fresh_file(void)
{
	device = open("/dev/vdisk", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (device >= 0)
		return FETCHD_OK;
	say(LOG_ERR, "/dev/vdisk: %s%s", strerror(errno), errno == ENOENT ? " (is the module dm-vdisk loaded?)" : "");
	return FETCHD_DEVICE;
}

/*
 * What our predecessor had read is handed out again: whoever it was, it needs
 * not be waited for. Its file shows the kernel that somebody is there; until the
 * origin is known, an error is all that is answered with it.
 */
void device_adopt(void)
{
	sd_watchdog_enabled(0, &watchdog_us);
	find_inherited();
	for (unsigned int i = 0; i < nr_inherited; i++) {
		if (ioctl(inherited[i].fd, VDISK_RESUME))
			continue;
		device = inherited[i].fd;
		device_timeout_ms = ADOPTED_MS;
		adopted = true;
	}
	if (!adopted)
		return;
	device_attached = true;
	sd_notify(0, "READY=1");
	device_status();
}

/* We serve with a file of our own, as only VDISK_ATTACH compares name, length and identity. */
int device_open(void)
{
	if (adopted)
		ioctl(device, VDISK_RESUME);
	device_attached = false;
	adopted = false;
	return fresh_file();
}

/* The new file first, then the old ones go: the blob is never without one. */
static void keep(void)
{
	char text[64];

	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=vdisk-%u", number);
	sd_pid_notify_with_fds(0, 0, text, &device, 1);
	while (nr_inherited) {
		nr_inherited--;
		manager_forgets(inherited[nr_inherited].number);
		close(inherited[nr_inherited].fd);
	}
}

static const char *why_not(int error)
{
	switch (error) {
	case EPERM:
		return "not allowed: this user is not the uid: of the table";
	case EBUSY:
		return "a helper of another user serves it";
	case ERANGE:
		return "the table's len: is more than the origin has";
	case EMFILE:
		return "too many helpers serve it";
	case EPROTONOSUPPORT:
		return "the module is of another version";
	default:
		return strerror(error);
	}
}

/* Return: 0, also if nobody has named the blob yet. */
int device_attach(void)
{
	struct vdisk_attach at = {
		.size = sizeof(at), .version = VDISK_VERSION, .length = origin.length, .unit = opt.unit,
		.max_bytes = opt.max_request, .identity_len = strlen(origin.identity),
	};
	unsigned int nr;

	pool_first(&nr);
	at.depth = nr < VDISK_MAX_DEPTH_FILE ? nr : VDISK_MAX_DEPTH_FILE;
	memcpy(at.name, opt.name, strlen(opt.name));
	memcpy(at.identity, origin.identity, at.identity_len);
	if (!ioctl(device, VDISK_ATTACH, &at)) {
		device_attached = true;
		device_length = at.length;
		device_timeout_ms = at.timeout_ms;
		keep();
		say(LOG_INFO, "serves %s, %" PRIu64 " bytes%s%s", opt.name, device_length,
		    *origin.identity ? ", " : "", origin.identity);
		device_status();
		return FETCHD_OK;
	}
	if (errno == ENOENT)
		return FETCHD_OK;
	if (errno == ESTALE) {
		say(LOG_ERR, "%s: %s is %s now; the blob was begun with another version", opt.name, origin.shown,
		    origin.identity);
		return FETCHD_CHANGED;
	}
	say(LOG_ERR, "%s: %s", opt.name, why_not(errno));
	return FETCHD_DEVICE;
}

/* Another table may come, for another file. */
static void table_gone(void)
{
	if (!device_attached)
		return;
	device_attached = false;
	/* A predecessor's file goes when ours replaces it. */
	if (!adopted) {
		manager_forgets(number++);
		close(device);
	}
	adopted = false;
	device = -1;
}

/* While we have or could have requests, the kernel wants to see that we live. */
void device_used(void)
{
	uint64_t now = now_ms(), often = device_timeout_ms / 4 < 1000 ? device_timeout_ms / 4 : 1000;

	if (!device_attached || now - last_use < often)
		return;
	last_use = now;
	if (write(device, "", 0) < 0 && errno == ENODEV)
		table_gone();
}

/* Return: how many, or -1: there is no table any more. */
int device_read(struct vdisk_request *requests, unsigned int max)
{
	ssize_t got = read(device, requests, max * sizeof(*requests));

	if (got >= 0)
		return got / sizeof(*requests);
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	table_gone();
	return -1;
}

/* An answer, or, with @id 0, a push. Return: did somebody want it? */
bool device_answer(uint64_t id, uint64_t offset, uint32_t len, const char *data, int error)
{
	struct vdisk_answer head = { .size = sizeof(head), .id = id, .offset = offset, .len = len };
	struct iovec iov[] = { { &head, sizeof(head) }, { (void *)data, len } };

	if (!device_attached)
		return false;
	if (error == ENODATA || error == ENOLINK || error == ETIMEDOUT)
		head.status = error;
	else if (error)
		head.status = EIO;
	last_use = now_ms();
	if (writev(device, iov, error ? 1 : 2) > 0)
		return true;
	if (errno == ENODEV)
		table_gone();
	else if (errno == ENOENT)
		counters.late++;
	else
		say(LOG_ERR, "/dev/vdisk: refused an answer: %s", strerror(errno));
	return false;
}

void device_status(void)
{
	const char *what = adopted ? "waits for the origin of" :
			   device_attached ? "serves" : "waits for a table that names";

	sd_notifyf(0, "STATUS=%s %s: %" PRIu64 " MiB answered, %" PRIu64 " tries again%s%s", what, opt.name,
		   counters.answered_bytes >> 20, counters.retries, origin.changed ? "; the origin has changed: " : "",
		   origin.changed ? origin.shown : "");
}

/* As often as the manager wants to hear of us, twice. */
void watchdog(void)
{
	static uint64_t last;
	uint64_t now = now_ms();

	if (watchdog_us && now - last >= watchdog_us / 2000) {
		sd_notify(0, "WATCHDOG=1");
		last = now;
	}
}
