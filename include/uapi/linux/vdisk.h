/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/vdisk: a process, the helper, supplies the bytes of a blob, which is a
 * leaf of a dm-vdisk stack that is only read.
 *
 *	fd = open("/dev/vdisk", O_RDWR | O_CLOEXEC)
 *	ioctl(fd, VDISK_ATTACH, &attach)	once per open file
 *	loop:
 *		n = read(fd, requests, sizeof(requests))
 *		get the bytes
 *		write(fd, answers)		or writev(): header, data, ...
 *
 * read() waits unless O_NONBLOCK (EAGAIN). poll(): POLLIN if read() has
 * something to say. The file works with epoll and with io_uring's read, readv,
 * write, writev and poll, fixed buffers included. Any number of threads may use
 * one file, and several files may be attached to one blob (of one uid).
 *
 * All integers are the machine's. All reserved fields must be 0, and so must
 * what a newer, larger structure has behind the fields the kernel knows: E2BIG
 * if not. Offsets and lengths are in bytes and multiples of VDISK_BLOCK.
 */
#ifndef _UAPI_LINUX_VDISK_H
#define _UAPI_LINUX_VDISK_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VDISK_VERSION		1	/* of what this file says */
#define VDISK_BLOCK		512U	/* bytes */
#define VDISK_NAME_SIZE		64	/* a name is [A-Za-z0-9._-]{1,63} */
#define VDISK_IDENTITY_MAX	255	/* bytes */
#define VDISK_MAX_BYTES		(16U << 20)	/* of one request */
#define VDISK_MAX_DEPTH_FILE	4096U	/* requests that one file holds */
#define VDISK_MAX_FILES		64	/* files that serve one blob */

/**
 * struct vdisk_attach - VDISK_ATTACH: this file serves a blob from now on
 * @size: in: sizeof(struct vdisk_attach)
 * @version: in: VDISK_VERSION
 * @flags: in: 0
 * @length: in: bytes the helper has, at least the table's len:. Out: bytes of
 *	the blob, that is len: in bytes; nothing beyond is ever asked for.
 * @unit: in: requests begin and end at multiples of this many bytes, but for
 *	the end of the blob and where a neighbour is asked for already. A
 *	power of two, VDISK_BLOCK to VDISK_MAX_BYTES; 0 means VDISK_BLOCK.
 *	Small for a helper that answers at once; what is read from a store far
 *	away costs the same for 64 KiB as for 4 KiB.
 * @max_bytes: in: longest request it wants, a multiple of @unit, at most
 *	VDISK_MAX_BYTES; 0: 1 MiB, or @unit if that is more. Out: what holds.
 * @depth: in: requests that this file holds at a time, at most
 *	VDISK_MAX_DEPTH_FILE; 0: 128. Out: what holds.
 * @timeout_ms: out: helper_timeout: of the table; 0 in. See below.
 * @identity_len: in: bytes of @identity that count, at most
 *	VDISK_IDENTITY_MAX; 0: it states none
 * @reserved: 0
 * @features: out: VDISK_FEATURE_*; 0 in
 * @name: in: which blob; the rest of the field is 0
 * @identity: in: what the bytes are, for example an ETag. The first attach that
 *	states one pins it as long as a table names the blob, unless all files are
 *	closed before any byte was taken; and in each store that keeps or hides
 *	bytes of it until that forgets them. The rest is 0.
 *
 * Allowed if the caller's file system uid is the table's uid:, or it has
 * CAP_SYS_ADMIN in the initial user namespace.
 *
 * Errors:
 *	EBUSY		this file is attached already, or other files with
 *			another uid, not lost, are attached to the blob
 *	EINVAL		a field is not as said above
 *	E2BIG		unknown fields are not 0
 *	EPROTONOSUPPORT	@version
 *	ENOENT		no table names the blob. poll() on the file then gives
 *			POLLIN when a blob has appeared, any blob: try again.
 *	EPERM		not allowed
 *	ERANGE		@length is less than the table's len:
 *	EMFILE		VDISK_MAX_FILES serve the blob already
 *	ESTALE		an identity is pinned, and @identity is another one, or none;
 *			or there is none, but files are attached that stated none
 *	ENOMEM
 *	EFAULT		if @size could be read, the file may be attached now
 */
struct vdisk_attach {
	__u32 size;
	__u32 version;
	__u64 flags;
	__u64 length;
	__u32 unit;
	__u32 max_bytes;
	__u32 depth;
	__u32 timeout_ms;
	__u32 identity_len;
	__u32 reserved;
	__u64 features;
	char name[VDISK_NAME_SIZE];
	__u8 identity[VDISK_IDENTITY_MAX + 1];
};

/* features: none so far */

#define VDISK_IOC		0xE7
/* Its number says nothing of the structure's size: that may grow. */
#define VDISK_ATTACH		_IOC(_IOC_READ | _IOC_WRITE, VDISK_IOC, 1, 0)

/*
 * VDISK_RESUME - hand out again what this file holds
 *
 * Requests belong to the open file that read them, not to a process. They are
 * handed out again, with new ids and to whoever reads next:
 *
 *	- when the file is closed for the last time
 *	- by this ioctl, which a helper that got the file from its predecessor
 *	  (a service manager's fd store) calls first
 *	- when the helper was lost, see below
 *
 * Returns 0, or ENOTCONN if the file is not attached (then VDISK_ATTACH is what
 * to do), or ENODEV as read(). An answer with an old id gets ENOENT.
 *
 * A file that holds a request, or while a request waits to be read, has to be
 * used more often than every helper_timeout:, by a system call on it: read(),
 * write(), of 0 bytes too, poll() or this ioctl. epoll_wait() and what io_uring
 * has waiting are no use of the file. A file that is not is lost: what it holds is
 * handed out again. If no other file is attached, the table's on_loss: applies
 * to what waits. The next use of the file ends that.
 */
#define VDISK_RESUME		_IO(VDISK_IOC, 2)

/* Who waits for a request. Requests are read in this order. */
#define VDISK_PRIO_READ		0	/* somebody */
#define VDISK_PRIO_AHEAD	1	/* nobody yet: read-ahead */
#define VDISK_PRIO_IDLE		2	/* nobody: hydration */

/**
 * struct vdisk_request - what read() returns, as many as fit
 * @id: for the answer; never 0 and never used again
 * @offset: first byte
 * @len: bytes, at most vdisk_attach.max_bytes
 * @priority: VDISK_PRIO_*, of the most urgent who waits for a part of it
 * @reserved: 0
 *
 * read() returns whole records, at least one; it needs room for one (EINVAL).
 * Misses that touch are one request, as long as it has not been read.
 *
 * Errors: EAGAIN, EINTR, EFAULT (what was not copied is handed out again),
 * ENOTCONN (not attached), ENODEV (the last table that named the blob is gone;
 * poll() says POLLERR | POLLHUP; close the file).
 */
struct vdisk_request {
	__u64 id;
	__u64 offset;
	__u32 len;
	__u32 priority;
	__u64 reserved;
};

/**
 * struct vdisk_answer - what write() takes: this, then @len bytes of data
 * @size: sizeof(struct vdisk_answer); the data begins behind so many bytes
 * @flags: 0
 * @id: of the request, or 0 for a push: bytes that nobody asked for
 * @offset: of the first byte. With an id, the request's, or where the last
 *	answer to it ended: a request may be answered in pieces, in order.
 * @len: bytes, not 0. With an id, more than is left of the request is a push of
 *	the rest. At most VDISK_MAX_BYTES and not beyond the end of the blob.
 * @status: 0, or why these bytes cannot be had, and no data follows: EIO,
 *	ENODATA (a medium error), ENOLINK (no way to the origin), ETIMEDOUT. With
 *	an id only, and @len then is at most what is left of the request.
 * @reserved: 0
 *
 * One write() may have many records; data needs no alignment. The records are
 * taken one by one, each as a whole or not at all; write() returns the bytes of
 * those before the first bad one, or its error if it is the first:
 *
 *	ENOENT		no request of this file has that @id: it never had, it was
 *			answered, or it was handed out again
 *	EBUSY		another thread is answering it right now
 *	ERANGE		@offset or @len are not the request's, or the blob's
 *	EINVAL		any other field, or the record is cut short
 *	E2BIG		unknown fields are not 0
 *	EFAULT		the memory with it is not there; the request is still held
 *	EINTR		killed
 *	ENOTCONN, ENODEV as read()
 *
 * write() never waits for anything but the caller's own memory. A push goes to
 * those who wait for these bytes and whose request nobody has read yet; what
 * nobody waits for is dropped, without an error.
 */
struct vdisk_answer {
	__u32 size;
	__u32 flags;
	__u64 id;
	__u64 offset;
	__u32 len;
	__u32 status;
	__u64 reserved;
};

#endif /* _UAPI_LINUX_VDISK_H */
