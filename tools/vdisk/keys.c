// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keys: from a file into root's user keyring, as logon keys, which no program
 * can read again. The file's bytes are the key, 32 or 64 of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <keyutils.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vdisk.h"
#include "keys.h"
#include "stack.h"

#define KEY_TYPE	"logon"

/* Return: the bytes of the key in a file, or -1, after saying what is wrong. */
int keys_size(const char *path)
{
	struct stat st;

	if (stat(path, &st)) {
		vdisk_fail("%s: the key cannot be read: %s", path, vdisk_reason(errno));
		return -1;
	}
	if (!S_ISREG(st.st_mode) || (st.st_size != 32 && st.st_size != 64)) {
		vdisk_fail("%s: is no key: that is a file of 32 or 64 bytes (head -c 64 /dev/urandom makes one), and it has %lld",
			   path, (long long)st.st_size);
		return -1;
	}
	return st.st_size;
}

/**
 * keys_reach - have the keys of a table found
 * @line: of the table
 *
 * The kernel looks for a key in the keyrings of who loads the table; a session may have none with root's in it.
 *
 * Return: an exit status.
 */
int keys_reach(const char *line)
{
	if (!strstr(line, "key::") || keyctl_link(KEY_SPEC_USER_KEYRING, KEY_SPEC_PROCESS_KEYRING) >= 0)
		return VDISK_OK;
	return vdisk_fail("the user's keyring cannot be reached, which has the keys: %s", vdisk_reason(errno));
}

bool keys_exist(const char *description)
{
	return keyctl_search(KEY_SPEC_USER_KEYRING, KEY_TYPE, description, 0) >= 0;
}

/* Return: an exit status. */
int keys_load(const char *path, const char *description)
{
	unsigned char key[65];
	int fd = open(path, O_RDONLY | O_CLOEXEC), status = VDISK_OK;
	ssize_t len = fd < 0 ? -1 : read(fd, key, sizeof(key));
	int error = errno;

	if (fd >= 0)
		close(fd);
	if (len != 32 && len != 64)
		status = len < 0 ? vdisk_fail("%s: the key cannot be read: %s", path, vdisk_reason(error)) :
				   vdisk_fail("%s: is no key: that is a file of 32 or 64 bytes", path);
	else if (keys_exist(description))
		status = vdisk_fail("key '%s' is there already, perhaps left by a disk; remove it: keyctl purge -s " KEY_TYPE " %s",
				    description, description);
	else if (add_key(KEY_TYPE, description, key, len, KEY_SPEC_USER_KEYRING) < 0)
		status = vdisk_fail("key '%s' cannot be put into the keyring: %s", description,
				    errno == EDQUOT ? "too many; see /proc/sys/kernel/keys/root_maxkeys" : vdisk_reason(errno));
	explicit_bzero(key, sizeof(key));
	return status;
}

void keys_drop(const char *description)
{
	long key = keyctl_search(KEY_SPEC_USER_KEYRING, KEY_TYPE, description, 0);

	if (key >= 0)
		keyctl_unlink(key, KEY_SPEC_USER_KEYRING);
}

/* What create calls the keys of a disk, as far as it makes them. */
static void drop_by_name(const char *name)
{
	char description[160];

	snprintf(description, sizeof(description), "vdisk:%s", name);
	keys_drop(description);
	for (int i = 1; i < MAX_KEYS; i++) {
		snprintf(description, sizeof(description), "vdisk:%s:%d", name, i);
		keys_drop(description);
	}
}

/**
 * keys_drop_all - drop the keys that create had loaded for a disk
 * @name: of the disk; the descriptions of its keys begin with vdisk:NAME
 * @params: its table; NULL: it never had one, for create was killed
 * @kept: not those that this line names as well; or NULL
 */
void keys_drop_all(const char *name, const char *params, const char *kept)
{
	struct words words = {}, left = {};
	char begin[160];
	size_t len;

	if (!params)
		drop_by_name(name);
	snprintf(begin, sizeof(begin), ":logon:vdisk:%s", name);
	len = strlen(begin);
	words_split(&words, params ?: "", TABLE);
	words_split(&left, kept ?: "", TABLE);
	for (unsigned int i = 0; i < words.nr; i++) {
		const char *at = strncmp(words.word[i], "key:", 4) ? NULL : strstr(words.word[i], begin);
		bool keep = false;

		if (!at || (at[len] && (at[len] != ':' || at[len + 1 + strspn(at + len + 1, "0123456789")])))
			continue;
		for (unsigned int j = 0; j < left.nr; j++)
			keep |= !strcmp(left.word[j], words.word[i]);
		if (!keep)
			keys_drop(at + strlen(":logon:"));
	}
	words_free(&words);
	words_free(&left);
}
