// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of commands, their options, --help.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "vdisk.h"
#include "dm.h"

static const struct vdisk_command *const commands[] = {
	&vdisk_create, &vdisk_remove, &vdisk_list, &vdisk_show, &vdisk_stat, &vdisk_grow, &vdisk_snapshot, &vdisk_hydrate,
	&vdisk_detach_base, &vdisk_merge, &vdisk_pr, &vdisk_key, &vdisk_check_line, &vdisk_length, &vdisk_tab,
	&vdisk_format, &vdisk_check, &vdisk_repair, &vdisk_dump, &vdisk_map, &vdisk_luks,
};

#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *to)
{
	fputs("Usage: vdisk COMMAND [OPTION...] OPERAND...\n\n"
	      "Makes disks of dm-vdisk, shows and changes them, and works on stores of overlays while no disk uses them.\n\n", to);
	for (size_t i = 0; i < NR_COMMANDS; i++)
		fprintf(to, "  %-11s %s\n", commands[i]->name, commands[i]->what);
	fputs("\nvdisk --version says which version this is, and which one the loaded module.\n"
	      "vdisk COMMAND --help has the options of one and an example; see also vdisk(8).\n", to);
}

static void print_option(const char *name, const char *arg, const char *help)
{
	char left[64];

	snprintf(left, sizeof(left), "--%s%s%s", name, arg ? " " : "", arg ?: "");
	for (const char *end; ; help = end + 1) {
		end = strchrnul(help, '\n');
		printf("  %-20s %.*s\n", left, (int)(end - help), help);
		if (!*end)
			return;
		left[0] = 0;
	}
}

static void command_help(const struct vdisk_command *command)
{
	printf("Usage: vdisk %s [OPTION...] %s\n\n%s\nOptions:\n", command->name, command->operands ?: "STORE", command->more);
	for (const struct vdisk_option *option = command->options; option->name; option++)
		print_option(option->name, option->arg, option->help);
	print_option("json", NULL, "for programs; what went wrong is then said as {\"error\": TEXT}, too");
	print_option("help", NULL, "this");
	printf("\nExit status:\n%s\nExample:\n  %s\n", command->status, command->example);
}

static const struct vdisk_command *find(const char *name)
{
	for (size_t i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

/* For the completion: a command, its first operand, its options. */
static void print_commands(void)
{
	for (size_t i = 0; i < NR_COMMANDS; i++) {
		const struct vdisk_command *command = commands[i];
		const char *operand = command->operands ?: "STORE";

		operand += *operand == '[';
		printf("%s %.*s", command->name, *operand ? (int)strspn(operand, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") : 1,
		       *operand ? operand : "-");
		for (const struct vdisk_option *option = command->options; option->name; option++)
			printf(" --%s", option->name);
		puts(" --json --help");
	}
}

/*
 * The tool and the module are of one version. After an upgrade the old module
 * stays until it is loaded anew.
 */
static int print_version(bool json)
{
	char version[32];
	bool loaded = disk_module_version(version, sizeof(version));
	const char *module = !loaded ? "not loaded" : *version ? version : "of unknown version";
	int status = VDISK_OK;

	if (loaded && strcmp(version, VDISK_VERSION))
		status = vdisk_fail("the loaded module dm-vdisk is %s%s, this tool is %s: install both of one version, remove all disks (vdisk list), and load it anew (modprobe -r dm-vdisk; modprobe dm-vdisk), or restart the host",
				    *version ? "version " : "", module, VDISK_VERSION);
	if (json) {
		struct json_object *object = json_object_new_object();

		json_object_object_add(object, "vdisk", vdisk_json(VDISK_VERSION));
		json_object_object_add(object, "module", *version ? vdisk_json(version) : NULL);
		json_object_object_add(object, "loaded", json_object_new_boolean(loaded));
		if (status)
			json_object_object_add(object, "error", vdisk_json(vdisk_error));
		vdisk_json_print(object);
	} else {
		printf("vdisk %s\nmodule dm-vdisk %s\n", VDISK_VERSION, module);
	}
	return status;
}

static int wrong_use(const struct vdisk_command *command, const char *what, const char *word)
{
	return vdisk_fail("%s: %s%s; see vdisk %s --help", command->name, what, word, command->name);
}

/* Return: an exit status, or -1: --help was asked for. */
static int parse(struct vdisk_args *args, int argc, char **argv)
{
	const struct vdisk_option *option = args->command->options;
	struct option longs[VDISK_MAX_OPTIONS + 3] = {};
	int nr, chosen, c;

	for (nr = 0; option[nr].name; nr++)
		longs[nr] = (struct option){ option[nr].name, option[nr].arg ? required_argument : no_argument, NULL, 0 };
	longs[nr] = (struct option){ "json", no_argument, NULL, 'j' };
	longs[nr + 1] = (struct option){ "help", no_argument, NULL, 'h' };
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", longs, &chosen)) != -1) {
		switch (c) {
		case 'j':
			args->json = true;
			break;
		case 'h':
			return -1;
		case 0:
			if (args->value[chosen])
				return wrong_use(args->command, "given twice: --", option[chosen].name);
			args->value[chosen] = optarg ?: "";
			break;
		case ':':
			return wrong_use(args->command, "without its value: ", argv[optind - 1]);
		default:
			return wrong_use(args->command, "no such option: ", argv[optind - 1]);
		}
	}
	args->word = argv + optind;
	args->nr = argc - optind;
	args->store = argv[optind];
	if (args->command->operands) {
		if (args->nr < args->command->min)
			return wrong_use(args->command, "something is missing, it takes ", args->command->operands);
		if (args->command->max && args->nr > (args->command->max < 0 ? 0 : args->command->max))
			return wrong_use(args->command, "too much: ", argv[argc - 1]);
		return VDISK_OK;
	}
	if (!args->nr)
		return wrong_use(args->command, "which store?", "");
	if (args->nr > 1)
		return wrong_use(args->command, "one store at a time, not also ", argv[optind + 1]);
	return VDISK_OK;
}

/* What went wrong is said in JSON, too, if nothing was printed yet. */
static int end(const struct vdisk_args *args, int status)
{
	bool done = !status && vdisk_changed;

	vdisk_release();
	if (args->json && *vdisk_error && !vdisk_printed) {
		struct json_object *object = json_object_new_object();

		json_object_object_add(object, "error", vdisk_json(vdisk_error));
		vdisk_json_print(object);
	}
	if (fflush(stdout) || ferror(stdout)) {
		vdisk_fail("%scannot write the output; is there room where it goes?", done ? "all is done, but " : "");
		/* Who takes it for a failure would do it twice. */
		status = done ? VDISK_OK : VDISK_FAILED;
	}
	return status;
}

int main(int argc, char **argv)
{
	struct vdisk_args args = {};
	int status;

	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
		args.json |= !strcmp(argv[i], "--json");

	if (argc < 2) {
		usage(stderr);
		return VDISK_FAILED;
	}
	if (!strcmp(argv[1], "--version"))
		return print_version(argc > 2 && !strcmp(argv[2], "--json"));
	if (!strcmp(argv[1], "--complete")) {
		print_commands();
		return VDISK_OK;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || (!strcmp(argv[1], "help") && argc == 2)) {
		usage(stdout);
		return VDISK_OK;
	}
	if (!strcmp(argv[1], "help")) {
		argv[1] = argv[2];
		argv[2] = "--help";
		argc = 3;
	}
	args.command = find(argv[1]);
	if (!args.command) {
		char names[256] = "";

		for (size_t i = 0; i < NR_COMMANDS; i++)
			snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i ? ", " : "", commands[i]->name);
		return end(&args, vdisk_fail("'%.200s' is no command; there are %s (see vdisk --help)", argv[1], names));
	}
	status = parse(&args, argc - 1, argv + 1);
	if (status < 0) {
		command_help(args.command);
		return VDISK_OK;
	}
	return end(&args, status ?: args.command->run(&args));
}
