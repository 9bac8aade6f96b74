// SPDX-License-Identifier: GPL-2.0-only
/*
 * vdisk luks: what of a LUKS container a crypt node needs. libcryptsetup reads
 * the container and the passphrase opens it; the key goes into the keyring and
 * nowhere else.
 */
#include <errno.h>
#include <keyutils.h>
#include <libcryptsetup.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "vdisk.h"
#include "stack.h"

#define PASSPHRASE_MAX	512	/* that is typed in, as cryptsetup has it */

struct passphrase {
	char *text;		/* of crypt_safe_alloc(): locked, wiped when freed */
	size_t len;
};

/* Without an echo, to the end of the line. */
static int ask(const char *device, struct passphrase *pass)
{
	struct termios before, quiet;
	bool line = true;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before))
		return vdisk_fail("%s: nobody to ask for the passphrase; give --key-file FILE (- is the standard input)", device);
	fprintf(stderr, "Passphrase of %s: ", device);
	/* Ctrl-C must not leave the terminal like that. */
	vdisk_catch();
	quiet = before;
	quiet.c_lflag &= ~ECHO;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	while (line && pass->len < PASSPHRASE_MAX) {
		line = read(STDIN_FILENO, pass->text + pass->len, 1) == 1 && pass->text[pass->len] != '\n';
		pass->len += line;
	}
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	fputc('\n', stderr);
	vdisk_catch_end();
	return vdisk_stopped ? vdisk_fail("%s: stopped", device) : VDISK_OK;
}

/* The whole file, as cryptsetup takes it: a newline at its end is part of it. */
static int read_file(struct crypt_device *cd, const char *path, struct passphrase *pass)
{
	int r = crypt_keyfile_device_read(cd, strcmp(path, "-") ? path : "/dev/stdin", &pass->text, &pass->len, 0,
					  0, 0);

	return r < 0 ? vdisk_fail("%s: the passphrase cannot be read: %s", path, strerror(-r)) : VDISK_OK;
}

static int get_passphrase(struct crypt_device *cd, const struct vdisk_args *args, struct passphrase *pass)
{
	const char *path = vdisk_option(args, "key-file");

	if (path)
		return read_file(cd, path, pass);
	pass->text = crypt_safe_alloc(PASSPHRASE_MAX);
	if (!pass->text)
		return vdisk_fail("out of memory");
	return ask(args->store, pass);
}

/* What crypt can do, and nothing half done. */
static int check_container(struct crypt_device *cd, const char *device)
{
	const char *cipher = crypt_get_cipher(cd), *mode = crypt_get_cipher_mode(cd);
	struct crypt_params_integrity integrity = {};
	uint32_t unmet = 0;

	if (strcmp(cipher, "aes") || strcmp(mode, "xts-plain64"))
		return vdisk_fail("%s: is encrypted with %s-%s; crypt knows aes-xts-plain64 only: use cryptsetup open", device,
				  cipher, mode);
	if (!crypt_get_integrity_info(cd, &integrity) && integrity.integrity)
		return vdisk_fail("%s: has integrity (%s), which crypt does not know: use cryptsetup open", device,
				  integrity.integrity);
	/* LUKS1 has none of these; one that is being reencrypted does not load. */
	if (!strcmp(crypt_get_type(cd), CRYPT_LUKS2) &&
	    (crypt_persistent_flags_get(cd, CRYPT_FLAGS_REQUIREMENTS, &unmet) || unmet))
		return vdisk_fail("%s: is being reencrypted, or needs what crypt does not know; finish that first (cryptsetup luksDump tells)",
				  device);
	return VDISK_OK;
}

/* Into the keyring of the user, under a name that says whose it is. */
static int load_key(struct crypt_device *cd, const struct vdisk_args *args, const char *name)
{
	size_t size = crypt_get_volume_key_size(cd);
	struct passphrase pass = {};
	char *key = crypt_safe_alloc(size);
	int status = VDISK_FAILED, r;

	if (!key)
		return vdisk_fail("out of memory");
	if (get_passphrase(cd, args, &pass))
		goto out;
	r = crypt_volume_key_get(cd, CRYPT_ANY_SLOT, key, &size, pass.text, pass.len);
	if (r < 0)
		vdisk_fail(r == -EPERM ? "%s: no key slot opens with this passphrase" : "%s: the key cannot be had (%s)",
			   args->store, strerror(-r));
	else if (add_key("logon", name, key, size, KEY_SPEC_USER_KEYRING) < 0)
		vdisk_fail("%s: the key cannot be put into the keyring: %s", args->store, strerror(errno));
	else
		status = VDISK_OK;
out:
	crypt_safe_free(pass.text);
	crypt_safe_free(key);
	return status;
}

static void print(struct crypt_device *cd, const struct vdisk_args *args, const char *name)
{
	unsigned int sector = crypt_get_sector_size(cd);
	int bytes = crypt_get_volume_key_size(cd);
	char *path = realpath(args->store, NULL), *stack;
	struct words words = {};
	char key[256], word[320];
	struct stat st;

	snprintf(key, sizeof(key), ":%d:logon:%s", bytes, name);
	words_add(&words, "crypt");
	words_add(&words, "cipher:aes-xts-plain64");
	snprintf(word, sizeof(word), "key:%s", key);
	words_add(&words, word);
	snprintf(word, sizeof(word), "iv_offset:%llu", (unsigned long long)crypt_get_iv_offset(cd));
	words_add(&words, word);
	snprintf(word, sizeof(word), "sector_size:%u", sector);
	words_add(&words, word);
	words_add(&words, "(");
	words_add(&words, !stat(args->store, &st) && S_ISREG(st.st_mode) ? "file" : "block");
	words_add(&words, path ?: args->store);
	snprintf(word, sizeof(word), "start:%llu", (unsigned long long)crypt_get_data_offset(cd));
	words_add(&words, word);
	words_add(&words, ")");
	stack = words_join(&words, TYPED);
	words_free(&words);
	free(path);
	if (args->json) {
		struct json_object *object = json_object_new_object();

		json_object_object_add(object, "stack", vdisk_json(stack));
		json_object_object_add(object, "key", vdisk_json(key));
		vdisk_json_number(object, "start", crypt_get_data_offset(cd));
		vdisk_json_number(object, "iv_offset", crypt_get_iv_offset(cd));
		vdisk_json_number(object, "sector_size", sector);
		vdisk_json_print(object);
	} else {
		puts(stack);
	}
	free(stack);
}

/* It would say as much in its own words, before we do in ours. */
static void quiet(int level, const char *text, void *data)
{
	(void)level, (void)text, (void)data;
}

static int run(const struct vdisk_args *args)
{
	struct crypt_device *cd = NULL;
	int status, r;
	char name[128];

	crypt_set_log_callback(NULL, quiet, NULL);
	r = crypt_init(&cd, args->store);
	if (r < 0)
		return vdisk_fail("%s: %s", args->store, strerror(-r));
	r = crypt_load(cd, CRYPT_LUKS, NULL);
	if (r < 0) {
		status = vdisk_fail("%s: no LUKS container (cryptsetup luksDump may tell more)", args->store);
		goto out;
	}
	snprintf(name, sizeof(name), "vdisk:luks-%s", crypt_get_uuid(cd));
	status = check_container(cd, args->store);
	if (!status && !vdisk_option(args, "no-key"))
		status = load_key(cd, args, name);
	if (!status)
		print(cd, args, name);
out:
	crypt_free(cd);
	return status;
}

const struct vdisk_command vdisk_luks = {
	.name = "luks",
	.operands = "DEVICE",
	.what = "print the stack that opens a LUKS container, and load its key",
	.more = "Asks for the passphrase, puts the volume key into the keyring of the user (@u) as logon key vdisk:luks-UUID,\n"
		"and prints the stack that opens the payload. The key is used when a table is loaded; unlink it afterwards:\n"
		"keyctl purge logon vdisk:luks-UUID. To make a disk of it: vdisk create vm1 \"$(vdisk luks /dev/nvme0n1p3)\"\n",
	.status = "  0  done\n  1  it could not be done\n",
	.example = "vdisk luks --key-file pass /dev/nvme0n1p3",
	.options = (const struct vdisk_option[]) {
		{ "key-file", "FILE", "the passphrase, instead of asking; - is the standard input" },
		{ "no-key", NULL, "only print: the key is there already" },
		{},
	},
	.run = run,
};
