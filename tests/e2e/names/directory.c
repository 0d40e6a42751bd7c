/* A source of accounts for nsswitch.conf, as libnss-extrausers or a directory's is: it answers with
 * the lines of /var/lib/directory/passwd, and while there is /run/directory-hangs it does not answer
 * at all. */

#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum nss_status find(const char *name, uid_t uid, struct passwd *result, char *buffer,
                            size_t length, int *error) {
	struct passwd *found;
	FILE *lines;

	while (access("/run/directory-hangs", F_OK) == 0)
		sleep(1);
	lines = fopen("/var/lib/directory/passwd", "re");
	if (lines == NULL) {
		*error = errno;
		return NSS_STATUS_UNAVAIL;
	}
	while ((*error = fgetpwent_r(lines, result, buffer, length, &found)) == 0)
		if (name ? strcmp(result->pw_name, name) == 0 : result->pw_uid == uid)
			break;
	fclose(lines);
	if (*error == ERANGE)
		return NSS_STATUS_TRYAGAIN;
	return *error == 0 ? NSS_STATUS_SUCCESS : NSS_STATUS_NOTFOUND;
}

enum nss_status _nss_directory_getpwnam_r(const char *name, struct passwd *result, char *buffer,
                                          size_t length, int *error) {
	return find(name, 0, result, buffer, length, error);
}

enum nss_status _nss_directory_getpwuid_r(uid_t uid, struct passwd *result, char *buffer,
                                          size_t length, int *error) {
	return find(NULL, uid, result, buffer, length, error);
}
