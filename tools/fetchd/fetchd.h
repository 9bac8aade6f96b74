/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vdisk-fetchd: supplies a blob of dm-vdisk from an origin: a web server, an
 * object store or a file.
 *
 *	main.c		options, and what happens in which order
 *	serve.c		the loop: requests of /dev/vdisk become fetches, fetches answers
 *	fetch.c		one fetch over HTTP: asked, checked, tried again
 *	origin.c	the origin: checked at start, how it is asked; file://
 *	creds.c		credentials, out of a file or of a command
 *	device.c	/dev/vdisk and the service manager
 *	trace.c		--trace and --prefetch
 *	metrics.c	numbers, in the text form of Prometheus
 *	parse.c		texts, without any state
 *
 * One thread, one loop (curl_multi_poll()), one pool of buffers. What a fetch
 * brings is given to the kernel when all of it was there and was right.
 */
#ifndef FETCHD_H
#define FETCHD_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../../include/uapi/linux/vdisk.h"

/* Exit statuses */
#define FETCHD_OK	0	/* told to end, or, with --once, the last table is gone */
#define FETCHD_USE	1	/* wrong use */
#define FETCHD_ORIGIN	2	/* the origin cannot be used */
#define FETCHD_CHANGED	3	/* the origin is not what this blob was before */
#define FETCHD_DEVICE	4	/* /dev/vdisk: not there, not allowed, too short */

#define FETCHD_MAX_HEADERS	16
#define FETCHD_MAX_CLIENTS	4	/* of the metrics socket */
#define FETCHD_MAX_FDS		(4 + FETCHD_MAX_CLIENTS)
#define FETCHD_TEXT		256

struct options {
	const char *name, *cacert, *proxy, *sigv4, *creds_file, *creds_command;
	const char *metrics, *trace, *prefetch;
	const char *header[FETCHD_MAX_HEADERS];
	char *url;
	uint64_t unit, max_request, memory, connections, redirects, rate;
	uint64_t deadline_ms, stall_ms, connect_ms;
	bool vhd1, azure, no_etag, once, check;
};

extern struct options opt;

/* Where the bytes are, and what they are known by. */
struct origin {
	bool is_file, changed;
	char *path;		/* of a file */
	int fd;			/* of that; -1: it is not open yet */
	uint64_t total;		/* bytes of the object, 0: not known yet */
	uint64_t length;	/* bytes of the disk in it */
	char etag[FETCHD_TEXT];	/* as in If-Match; "" if it has no strong one */
	char modified[64];	/* of what has no strong ETag */
	char identity[VDISK_IDENTITY_MAX + 1];
	char shown[FETCHD_TEXT];	/* the URL without what is secret in it */
	char *user, *password;	/* of the URL; not in opt.url */
};

extern struct origin origin;

/* What an answer of a server said, up to now. */
struct response {
	int status;
	bool has_range, encoded, checked;
	uint64_t first, last, total, retry_after_ms, ignored;
	char etag[FETCHD_TEXT], modified[64];
};

enum fetch_state {
	FETCH_FREE,
	FETCH_WAITING,		/* until it is due */
	FETCH_RUNNING,
	FETCH_KEPT,		/* prefetched: nobody asked yet */
};

/* One buffer, and what is going on with it. */
struct fetch {
	enum fetch_state state;
	uint64_t id;		/* of the request, 0: prefetch, or our own */
	uint64_t offset, deadline, due, began;
	uint32_t len, got, base, used;	/* base: got, when this try began */
	unsigned int priority, tries, hops;
	bool probe, no_match, wants_creds;
	int error;		/* what the kernel is told if this was the last try */
	char why[3 * FETCHD_TEXT];
	struct response response;
	struct curl_slist *headers;
	CURL *easy;
	char *data;
};

/* Counters, for the metrics */
struct counters {
	uint64_t requests, request_bytes, answered_bytes, failed, late;
	uint64_t tries, fetched_bytes, retries, wrong, changed, reloads;
	uint64_t prefetched_bytes, prefetch_hit_bytes;
};

extern struct counters counters;

/* parse.c */
bool parse_size(const char *text, uint64_t *bytes);
bool parse_time(const char *text, uint64_t *ms);
bool parse_number(const char **text, uint64_t *number);
bool parse_content_range(const char *text, uint64_t *first, uint64_t *last, uint64_t *total);
bool parse_status_line(const char *line, int *status);
bool parse_trace_line(const char *line, uint64_t *offset, uint64_t *len);
const char *parse_header(const char *line, const char *name);
bool copy_text(char *to, size_t room, const char *from);
bool etag_is_strong(const char *etag);
bool name_is_good(const char *name);
bool same_place(const char *one, const char *other);
void hide_url(char *url);
uint64_t retry_ms(unsigned int tries, uint64_t random);
const char *vhd1_footer(const unsigned char *footer, uint64_t total, uint64_t *length);
uint64_t bucket_wait_ms(uint64_t rate, uint64_t debt);

/* serve.c */
extern CURLM *multi;
uint64_t now_ms(void);
void say(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
int pool_make(void);
struct fetch *pool_get(void);
struct fetch *pool_first(unsigned int *nr);
void fetch_done(struct fetch *f, bool good);
int serve(void);
void wait_early(uint64_t ms);
int read_origin(uint64_t offset, uint32_t len, char *to, bool probe);

/* fetch.c */
uint64_t chance(void);
void fetch_begin(struct fetch *f);
void fetch_finished(struct fetch *f, CURLcode result);
void fetch_failed(struct fetch *f, int error, bool again);
bool response_check(const struct response *r, const struct origin *o, uint64_t offset, uint32_t len, bool any_etag,
		    bool probe, char *why, size_t room, bool *changed);

/* origin.c */
int origin_open(void);
int origin_check(void);
char *origin_url(void);
int origin_read_file(struct fetch *f);

/* creds.c */
struct creds {
	char *user, *bearer, *query, *token;
};

extern struct creds creds;
bool creds_wanted(void);
bool creds_busy(void);
int creds_start(bool asked);
int creds_fd(void);
void creds_step(bool readable);
bool creds_take(const char *text, size_t len, struct creds *into, const char **why);
void creds_drop(struct creds *c);

/* device.c */
extern int device;
extern uint64_t device_length, device_timeout_ms;
extern bool device_attached;
void device_adopt(void);
int device_open(void);
int device_attach(void);
void device_used(void);
int device_read(struct vdisk_request *requests, unsigned int max);
bool device_answer(uint64_t id, uint64_t offset, uint32_t len, const char *data, int error);
void device_status(void);
void watchdog(void);

/* trace.c */
void trace_open(void);
void trace_request(const struct vdisk_request *request);
void trace_flush(void);
bool prefetch_next(struct vdisk_request *req);

/* metrics.c */
void metrics_open(void);
void metrics_step(const struct curl_waitfd *fds, unsigned int nr);
unsigned int metrics_fds(struct curl_waitfd *fds);
void metrics_close(void);

#endif
