// SPDX-License-Identifier: GPL-2.0-only
/*
 * The loop. A request of the kernel is read when there is a buffer and a
 * connection for it, not before: in the kernel it may still be merged, and a
 * more urgent one may come first.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <signal.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "fetchd.h"

#define BATCH		16
#define TURN_MS		500	/* a turn of the loop takes at most */
#define KEPT_MS		60000	/* what was prefetched is kept for, if others want the buffer */
#define START_MS	30000	/* an origin may take to answer at start */
#define OLD_MS		10000	/* a fetch is then as urgent as any */

CURLM *multi;

static struct fetch *pool;
static unsigned int pool_nr;
static struct fetch own;	/* of read_origin() */
static int own_done;		/* 1: good, -1: failed */
static int signals = -1;
static bool serving, stop;
static uint64_t debt, debt_at;	/* of --rate: bytes, as of when */

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

void say(int level, const char *format, ...)
{
	char text[2048], prefix[8] = "";
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (getenv("JOURNAL_STREAM"))
		snprintf(prefix, sizeof(prefix), "<%d>", level);
	fprintf(stderr, "%svdisk-fetchd: %s\n", prefix, text);
}

/* The buffers, in memory that stays: what we serve may be what memory is reclaimed to. */
int pool_make(void)
{
	sigset_t mask;
	char *memory;

	pool_nr = opt.memory / opt.max_request;
	memory = mmap(NULL, pool_nr * opt.max_request, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pool = calloc(pool_nr, sizeof(*pool));
	multi = curl_multi_init();
	if (memory == MAP_FAILED || !pool || !multi) {
		say(LOG_ERR, "no memory");
		return FETCHD_USE;
	}
	if (mlock(memory, pool_nr * opt.max_request) || mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		say(LOG_WARNING, "cannot lock memory (%s): raise LimitMEMLOCK=, ulimit -l", strerror(errno));
	for (unsigned int i = 0; i < pool_nr; i++)
		pool[i].data = memory + i * opt.max_request;
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)opt.connections);
	curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)opt.connections + 1);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return signals < 0 ? FETCHD_USE : FETCHD_OK;
}

struct fetch *pool_first(unsigned int *nr)
{
	*nr = pool_nr;
	return pool;
}

static unsigned int count(enum fetch_state state)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < pool_nr; i++)
		nr += pool[i].state == state;
	return nr;
}

static struct fetch *oldest_kept(void)
{
	struct fetch *oldest = NULL;

	for (struct fetch *f = pool; f < pool + pool_nr; f++)
		if (f->state == FETCH_KEPT && (!oldest || f->began < oldest->began))
			oldest = f;
	return oldest;
}

/* A buffer; what was prefetched gives way. */
struct fetch *pool_get(void)
{
	for (struct fetch *f = pool; f < pool + pool_nr; f++)
		if (f->state == FETCH_FREE)
			return f;
	return oldest_kept();
}

static void prepare(struct fetch *f, const struct vdisk_request *req, uint64_t deadline_ms)
{
	f->id = req->id;
	f->offset = req->offset;
	f->len = req->len;
	f->priority = req->priority;
	f->got = f->used = f->tries = 0;
	f->no_match = f->probe = false;
	f->why[0] = 0;
	f->deadline = deadline_ms ? now_ms() + deadline_ms : 0;
}

/* At the rate of --rate, a fetch is paid for after it has begun. */
static void begin(struct fetch *f)
{
	debt += f->len - f->got;
	fetch_begin(f);
}

static uint64_t debt_now(void)
{
	uint64_t now = now_ms(), paid = (unsigned __int128)opt.rate * (now - debt_at) / 1000;

	if (!opt.rate || paid >= debt)
		debt = 0;
	else
		debt -= paid;
	debt_at = now;
	return debt;
}

static void failed(struct fetch *f)
{
	static uint64_t said;
	uint64_t now = now_ms();

	if (f->error == ESTALE)
		origin.changed = true;
	if (!said || now - said > 10000 || f->error == ESTALE) {
		/* Of a changed origin each time that it is another text, or long after. */
		static char last[sizeof(f->why)];

		if (strcmp(last, f->why) || now - said > 10000)
			say(LOG_ERR, "%s %s; %u bytes at %" PRIu64 " cannot be had", origin.shown, f->why, f->len, f->offset);
		memcpy(last, f->why, sizeof(last));
		said = now;
	}
	if (f->id) {
		counters.failed++;
		device_answer(f->id, f->offset, f->len, NULL, f->error);
	}
	f->state = FETCH_FREE;
}

/* The end of a fetch, after the last try. */
void fetch_done(struct fetch *f, bool good)
{
	if (f == &own) {
		own_done = good ? 1 : -1;
		return;
	}
	if (!good) {
		failed(f);
		return;
	}
	if (origin.changed)
		say(LOG_NOTICE, "%s is what it was again", origin.shown);
	origin.changed = false;
	if (f->id) {
		if (device_answer(f->id, f->offset, f->len, f->data, 0))
			counters.answered_bytes += f->len;
		f->state = FETCH_FREE;
		return;
	}
	/* Who waits for it already gets it now; who comes later, from here. */
	counters.prefetched_bytes += f->len;
	device_answer(0, f->offset, f->len, f->data, 0);
	f->state = FETCH_KEPT;
}

/* As much of a request as was prefetched. Return: is anything left of it? */
static bool answer_kept(struct vdisk_request *req)
{
	for (struct fetch *f = pool; f < pool + pool_nr && req->len; f++) {
		uint32_t from = req->offset - f->offset, len = f->len - from;

		if (f->state != FETCH_KEPT || req->offset < f->offset || req->offset - f->offset >= f->len)
			continue;
		if (len > req->len)
			len = req->len;
		if (!device_answer(req->id, req->offset, len, f->data + from, 0))
			return false;
		counters.answered_bytes += len;
		counters.prefetch_hit_bytes += len;
		req->offset += len;
		req->len -= len;
		f->used += len;
		/* Above us it is kept, or will be asked for again: once is enough. */
		if (f->used >= f->len)
			f->state = FETCH_FREE;
		f = pool - 1;
	}
	return req->len;
}

/* A prefetch that is on its way becomes the request's, as if that had begun it now. */
static bool adopt(const struct vdisk_request *req)
{
	for (struct fetch *f = pool; f < pool + pool_nr; f++) {
		if ((f->state != FETCH_RUNNING && f->state != FETCH_WAITING) || f->id || f->offset != req->offset ||
		    f->len != req->len)
			continue;
		f->id = req->id;
		f->priority = req->priority;
		f->deadline = opt.deadline_ms ? now_ms() + opt.deadline_ms : 0;
		f->due = 0;
		f->tries = 0;
		counters.prefetch_hit_bytes += f->len;
		return true;
	}
	return false;
}

static void request(struct vdisk_request *req)
{
	struct fetch *f;

	counters.requests++;
	counters.request_bytes += req->len;
	trace_request(req);
	if (adopt(req) || !answer_kept(req))
		return;
	f = pool_get();
	prepare(f, req, opt.deadline_ms);
	if (serving) {
		begin(f);
		return;
	}
	f->state = FETCH_WAITING;
	f->due = f->deadline ?: UINT64_MAX;
}

/* How many requests we have room for. */
static unsigned int room(void)
{
	unsigned int running = count(FETCH_RUNNING), buffers = count(FETCH_FREE) + count(FETCH_KEPT);
	unsigned int nr = running < opt.connections ? opt.connections - running : 0;

	if (debt_now())
		return 0;
	if (nr > buffers)
		nr = buffers;
	/* With a rate, the next one has to wait for this one. */
	if (opt.rate && nr)
		nr = 1;
	return nr < BATCH ? nr : BATCH;
}

static void take(void)
{
	struct vdisk_request req[BATCH];
	unsigned int want;

	while (device_attached && (want = room())) {
		int got = device_read(req, want);

		for (int i = 0; i < got; i++)
			request(&req[i]);
		if (got < (int)want)
			return;
	}
}

/* With what is to spare: half of the connections, and buffers that nobody needs. */
static void prefetch(void)
{
	unsigned int reserve = opt.connections < pool_nr / 2 ? opt.connections : pool_nr / 2;
	unsigned int most = opt.connections > 1 ? opt.connections / 2 : 1;

	while (device_attached && count(FETCH_RUNNING) < most && !debt_now() && !count(FETCH_WAITING)) {
		struct vdisk_request req = { .priority = VDISK_PRIO_IDLE };
		struct fetch *f = oldest_kept();

		if (count(FETCH_FREE) <= reserve) {
			if (!f || now_ms() - f->began < KEPT_MS)
				return;
			f->state = FETCH_FREE;
			continue;
		}
		if (!prefetch_next(&req))
			return;
		f = pool_get();
		prepare(f, &req, opt.deadline_ms);
		begin(f);
	}
}

/* For nothing but its time? */
static bool waits(const struct fetch *f)
{
	return f->state == FETCH_WAITING && !(f->wants_creds && creds_busy());
}

static void again(struct fetch *f)
{
	if (!waits(f) || f->due > now_ms())
		return;
	if (f != &own && !serving) {
		snprintf(f->why, sizeof(f->why), "%s", *own.why ? own.why : "does not answer");
		fetch_failed(f, ETIMEDOUT, false);
	} else if (count(FETCH_RUNNING) < opt.connections) {
		begin(f);
	}
}

/* The kernel says how urgent a request is once; who has joined it since it does not say. */
static unsigned int urgency(const struct fetch *f)
{
	return now_ms() - f->began >= OLD_MS ? VDISK_PRIO_READ : f->priority;
}

/* Those that are due, the most urgent first */
static void again_all(unsigned int from, unsigned int to)
{
	for (unsigned int priority = from; priority <= to; priority++)
		for (unsigned int i = 0; i < pool_nr; i++)
			if (waits(&pool[i]) && urgency(&pool[i]) == priority)
				again(&pool[i]);
}

static uint64_t sooner(uint64_t ms, const struct fetch *f)
{
	uint64_t now = now_ms(), left = f->due > now ? f->due - now : 1;

	return waits(f) && left < ms ? left : ms;
}

static uint64_t how_long(uint64_t ms)
{
	uint64_t pay = bucket_wait_ms(opt.rate, debt_now()) + 1;
	bool full = count(FETCH_RUNNING) >= opt.connections;

	/* If all connections are in use, the end of one is what is waited for. */
	for (unsigned int i = 0; i < pool_nr && !full; i++)
		ms = sooner(ms, &pool[i]);
	if (debt && pay < ms)
		ms = pay;
	if (device_attached && device_timeout_ms / 4 < ms)
		ms = device_timeout_ms / 4;
	return sooner(ms, &own);
}

static void take_signals(void)
{
	struct signalfd_siginfo info;

	while (read(signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP && creds_wanted())
			creds_start(true);
		else if (info.ssi_signo != SIGHUP)
			stop = true;
	}
}

static void transfers(void)
{
	int running, left;
	CURLMsg *message;

	curl_multi_perform(multi, &running);
	while ((message = curl_multi_info_read(multi, &left))) {
		CURLcode result = message->data.result;
		CURL *easy = message->easy_handle;
		char *f;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &f);
		curl_multi_remove_handle(multi, easy);
		fetch_finished((struct fetch *)f, result);
	}
	again(&own);
}

/* One turn: waits for anything to happen, and does what follows from it. */
static void loop_once(uint64_t wait_ms)
{
	struct curl_waitfd fds[FETCHD_MAX_FDS] = { { .fd = signals, .events = CURL_WAIT_POLLIN } };
	unsigned int nr = 1, metrics, creds_at = 0;

	if (creds_fd() >= 0) {
		creds_at = nr;
		fds[nr++] = (struct curl_waitfd){ .fd = creds_fd(), .events = CURL_WAIT_POLLIN };
	}
	if (device >= 0 && (!device_attached || room()))
		fds[nr++] = (struct curl_waitfd){ .fd = device, .events = CURL_WAIT_POLLIN };
	metrics = metrics_fds(fds + nr);
	curl_multi_poll(multi, fds, nr + metrics, how_long(wait_ms), NULL);
	take_signals();
	creds_step(creds_at && fds[creds_at].revents);
	metrics_step(fds + nr, metrics);
	transfers();
	watchdog();
}

/* Nobody waits for these any more. */
static void forget(void)
{
	for (struct fetch *f = pool; f < pool + pool_nr; f++) {
		if (f->state == FETCH_RUNNING)
			curl_multi_remove_handle(multi, f->easy);
		f->state = FETCH_FREE;
	}
}

/* A turn before anybody is served: a predecessor's requests wait, for --deadline. */
static void turn_early(uint64_t ms)
{
	take();
	again_all(VDISK_PRIO_READ, VDISK_PRIO_IDLE);
	device_used();
	if (!device_attached)
		forget();
	loop_once(ms);
	if (stop)
		exit(FETCHD_OK);
}

void wait_early(uint64_t ms)
{
	uint64_t until = now_ms() + ms;

	for (uint64_t now = now_ms(); now < until; now = now_ms())
		turn_early(until - now);
}

/* Before anybody is served: one small range. Return: 0, or an exit status; then it was said why. */
int read_origin(uint64_t offset, uint32_t len, char *to, bool probe)
{
	uint64_t wait = opt.deadline_ms && opt.deadline_ms < START_MS ? opt.deadline_ms : START_MS;

	prepare(&own, &(struct vdisk_request){ .offset = offset, .len = len }, wait);
	own.data = to;
	own.probe = probe;
	own_done = 0;
	fetch_begin(&own);
	while (!own_done)
		turn_early(TURN_MS);
	own.state = FETCH_FREE;
	if (own_done < 0) {
		say(LOG_ERR, "%s %s", origin.shown, own.why);
		return FETCHD_ORIGIN;
	}
	if (probe) {
		origin.total = own.response.total;
		origin.etag[0] = 0;
		origin.modified[0] = 0;
		if (etag_is_strong(own.response.etag))
			memcpy(origin.etag, own.response.etag, sizeof(origin.etag));
		else
			memcpy(origin.modified, own.response.modified, sizeof(origin.modified));
	}
	return FETCHD_OK;
}

int serve(void)
{
	uint64_t told = 0;
	int status;

	/* What a predecessor's file gave us comes again, with ours. */
	forget();
	serving = true;
	sd_notify(0, "READY=1");
	device_status();
	while (!stop) {
		bool was = device_attached;

		if (device < 0) {
			status = device_open();
			if (status)
				return status;
			device_status();
		}
		if (!device_attached) {
			status = device_attach();
			if (status)
				return status;
			if (!was && device_attached)
				debt_now();
		}
		/* What the kernel has may be more urgent than the rest. */
		again_all(VDISK_PRIO_READ, VDISK_PRIO_READ);
		take();
		again_all(VDISK_PRIO_AHEAD, VDISK_PRIO_IDLE);
		prefetch();
		device_used();
		if (device >= 0)
			loop_once(TURN_MS);
		if (device < 0) {
			say(LOG_INFO, "no table names %s any more", opt.name);
			forget();
			if (opt.once)
				return FETCHD_OK;
		}
		if (now_ms() - told > 1000) {
			told = now_ms();
			trace_flush();
			device_status();
		}
	}
	return FETCHD_OK;
}
