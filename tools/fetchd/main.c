// SPDX-License-Identifier: GPL-2.0-only
/*
 * Options, and what happens in which order: no blob is served, and nobody is
 * told that we are ready, before the origin has shown what it is. Only a
 * predecessor's requests wait for that with us.
 */
#include <getopt.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/prctl.h>
#include <syslog.h>

#include "fetchd.h"

#define AGAIN_MS	5000	/* until an origin that could not be used is checked again */

struct options opt = {
	.unit = 64 << 10, .max_request = 1 << 20, .memory = 32 << 20, .connections = 8, .redirects = 5,
	.deadline_ms = 300000, .stall_ms = 15000, .connect_ms = 10000,
};

enum kind { TEXT, URL, SIZE, TIME, NUMBER, FLAG, HEADER };

static const struct {
	const char *name, *arg, *help;
	enum kind kind;
	void *value;
	uint64_t min, max;
} table[] = {
	{ "name", "NAME", "the blob's, as the table has it", TEXT, &opt.name, 0, 0 },
	{ "vhd1", NULL, "the object is a fixed VHD: serve the disk in it", FLAG, &opt.vhd1, 0, 0 },
	{ "check", NULL, "check the origin, print what it is (JSON), and end", FLAG, &opt.check, 0, 0 },
	{ "once", NULL, "end when the last table with the blob is gone", FLAG, &opt.once, 0, 0 },
	{ "max-connections", "N", "ranges asked for at the same time (8)", NUMBER, &opt.connections, 1, 256 },
	{ "unit", "SIZE", "requests begin and end at multiples of it (64K)", SIZE, &opt.unit, 512, 16 << 20 },
	{ "max-request", "SIZE", "longest range (1M)", SIZE, &opt.max_request, 512, 16 << 20 },
	{ "memory", "SIZE", "of all buffers, locked (32M)", SIZE, &opt.memory, 4096, 64ULL << 30 },
	{ "rate", "SIZE", "bytes a second, at most (no limit)", SIZE, &opt.rate, 4096, 1ULL << 40 },
	{ "deadline", "TIME", "a request is tried again for so long; 0: for ever (5m)", TIME, &opt.deadline_ms, 0, 1ULL << 40 },
	{ "stall", "TIME", "below 1 KiB/s for so long: a try has failed (15s)", TIME, &opt.stall_ms, 1000, 3600000 },
	{ "connect-timeout", "TIME", "for a connection (10s)", TIME, &opt.connect_ms, 100, 3600000 },
	{ "max-redirs", "N", "redirects followed, never from https to http (5)", NUMBER, &opt.redirects, 0, 20 },
	{ "credentials", "FILE", "JSON or a SAS token; read again when refused", TEXT, &opt.creds_file, 0, 0 },
	{ "credentials-command", "COMMAND", "prints the same", TEXT, &opt.creds_command, 0, 0 },
	{ "aws-sigv4", "PROVIDER", "sign, for example aws:amz:eu-west-1:s3", TEXT, &opt.sigv4, 0, 0 },
	{ "azure", NULL, "state x-ms-version, as *.blob.core.windows.net gets it", FLAG, &opt.azure, 0, 0 },
	{ "header", "'NAME: VALUE'", "send it too; up to 16 of them", HEADER, NULL, 0, 0 },
	{ "cacert", "FILE", "of the authorities to trust (the system's)", TEXT, &opt.cacert, 0, 0 },
	{ "proxy", "URL", "(what the environment says)", URL, &opt.proxy, 0, 0 },
	{ "no-etag", NULL, "accept an origin without ETag and date", FLAG, &opt.no_etag, 0, 0 },
	{ "metrics", "FILE|unix:PATH", "numbers for Prometheus", TEXT, &opt.metrics, 0, 0 },
	{ "trace", "FILE", "write the order of first accesses", TEXT, &opt.trace, 0, 0 },
	{ "prefetch", "FILE", "fetch ahead in the order of a trace", TEXT, &opt.prefetch, 0, 0 },
	{ "help", NULL, "this", FLAG, NULL, 0, 0 },
	{ "version", NULL, "", FLAG, NULL, 0, 0 },
};

#define NR_OPTIONS (sizeof(table) / sizeof(table[0]))

static int help(void)
{
	puts("Usage: vdisk-fetchd --name NAME [OPTION...] URL\n\n"
	     "Supplies a blob of a dm-vdisk table from http://, https:// or file:///path.\n\nOptions:");
	for (size_t i = 0; i < NR_OPTIONS; i++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", table[i].name, table[i].arg ? " " : "", table[i].arg ?: "");
		printf("  %-30s %s\n", left, table[i].help);
	}
	puts("\nExit status:\n"
	     "  0  told to end; with --once, the last table is gone\n"
	     "  1  wrong use\n"
	     "  2  the origin cannot be used; it was said why\n"
	     "  3  the origin is not what the blob was begun with\n"
	     "  4  /dev/vdisk: not there, not allowed, or the table wants more than there is\n"
	     "\nExample:\n"
	     "  vdisk-fetchd --name debian-13 https://images.example/debian-13.raw &\n"
	     "  dmsetup create vm1 --readonly --table '0 4194304 vdisk blob debian-13 len:4194304'\n"
	     "\nSee also vdisk-fetchd(8).");
	return FETCHD_OK;
}

static int wrong_use(const char *what, const char *word)
{
	say(LOG_ERR, "%s%s; see vdisk-fetchd --help", what, word);
	return FETCHD_USE;
}

/* Everybody can read the arguments of a process: what is secret in them is overwritten. */
static char *take_url(char *arg)
{
	char *copy = strdup(arg);

	hide_url(arg);
	return copy;
}

static bool set_header(char *text)
{
	char *colon = strchr(text, ':');

	if (!colon || colon == text || text[strcspn(text, "\r\n")])
		return false;
	for (unsigned int i = 0; i < FETCHD_MAX_HEADERS; i++) {
		if (opt.header[i])
			continue;
		opt.header[i] = strdup(text);
		memset(colon + 1, '*', strlen(colon + 1));
		return opt.header[i];
	}
	return false;
}

static bool set(unsigned int i, char *arg)
{
	const char *text = arg;
	uint64_t number;
	bool good;

	switch (table[i].kind) {
	case TEXT:
		*(const char **)table[i].value = text;
		return *text;
	case URL:
		*(const char **)table[i].value = take_url(arg);
		return *text && *(const char **)table[i].value;
	case FLAG:
		*(bool *)table[i].value = true;
		return true;
	case HEADER:
		return set_header(arg);
	case SIZE:
		good = parse_size(text, &number);
		break;
	case TIME:
		good = parse_time(text, &number);
		break;
	default:
		good = parse_number(&text, &number) && !*text;
	}
	if (!good || number < table[i].min || number > table[i].max)
		return false;
	*(uint64_t *)table[i].value = number;
	return true;
}

/* Return: an exit status, or -1: go on. */
static int parse(int argc, char **argv)
{
	struct option longs[NR_OPTIONS + 1] = {};
	int c, chosen;

	for (size_t i = 0; i < NR_OPTIONS; i++)
		longs[i] = (struct option){ table[i].name, table[i].arg ? required_argument : no_argument, NULL, 0 };
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", longs, &chosen)) != -1) {
		if (c == 'h' || (!c && !strcmp(table[chosen].name, "help")))
			return help();
		if (!c && !strcmp(table[chosen].name, "version")) {
			puts("vdisk-fetchd " FETCHD_VERSION);
			return FETCHD_OK;
		}
		if (c == ':')
			return wrong_use("without its value: ", argv[optind - 1]);
		if (c)
			return wrong_use("no such option: ", argv[optind - 1]);
		if (!set(chosen, optarg))
			return wrong_use("not a value for this option: --", table[chosen].name);
	}
	if (optind + 1 != argc)
		return wrong_use("one URL is needed", "");
	if (!opt.name && opt.check)
		opt.name = "-";
	if (!opt.name || !name_is_good(opt.name))
		return wrong_use("--name is needed: up to 63 of A-Z a-z 0-9 . _ -", "");
	if (opt.unit & (opt.unit - 1))
		return wrong_use("--unit has to be a power of two", "");
	if (opt.max_request % opt.unit)
		return wrong_use("--max-request has to be a multiple of --unit", "");
	if (opt.memory / opt.max_request < 2)
		return wrong_use("--memory has to be at least twice --max-request", "");
	if (opt.creds_file && opt.creds_command)
		return wrong_use("--credentials or --credentials-command, not both", "");
	if (opt.sigv4 && !creds_wanted())
		return wrong_use("--aws-sigv4 needs --credentials or --credentials-command", "");
	opt.url = take_url(argv[optind]);
	if (!opt.url)
		return wrong_use("no memory", "");
	return -1;
}

static int print_check(void)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "url", json_object_new_string(origin.shown));
	json_object_object_add(object, "bytes", json_object_new_uint64(origin.total));
	json_object_object_add(object, "disk_bytes", json_object_new_uint64(origin.length));
	json_object_object_add(object, "sectors", json_object_new_uint64(origin.length / 512));
	json_object_object_add(object, "identity", json_object_new_string(origin.identity));
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
	return fflush(stdout) ? FETCHD_USE : FETCHD_OK;
}

static int read_creds(void)
{
	uint64_t before = counters.reloads;
	int status;

	if (!creds_wanted())
		return FETCHD_OK;
	status = creds_start(true);
	while (!status && creds_busy())
		wait_early(100);
	return status ?: counters.reloads > before ? FETCHD_OK : FETCHD_ORIGIN;
}

/* If reads wait, an origin that cannot be used is one that went away while it was served: it may come back. */
static int find_origin(void)
{
	int status;

	while ((status = read_creds() ?: origin_check()) == FETCHD_ORIGIN && device_attached)
		wait_early(AGAIN_MS);
	return status;
}

int main(int argc, char **argv)
{
	int status = parse(argc, argv);

	if (status >= 0)
		return status;
	/* Writing back memory may depend on us. Without the privilege: as good as it gets. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return FETCHD_USE;
	status = pool_make() ?: origin_open();
	if (status)
		return status;
	if (!opt.check)
		device_adopt();
	status = find_origin();
	if (status)
		return status;
	if (opt.check)
		return print_check();
	trace_open();
	metrics_open();
	status = device_open() ?: serve();
	trace_flush();
	metrics_close();
	return status;
}
