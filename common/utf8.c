#include <string.h>

#include "utf8.h"

/* How many bytes a character that begins with c has; 0 if none does. */
static size_t
announced(unsigned char c)
{
	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c <= 0xdf)
		return 2;
	if (c >= 0xe0 && c <= 0xef)
		return 3;
	if (c >= 0xf0 && c <= 0xf4)
		return 4;
	return 0;
}

size_t
utf8_char(const char *s, size_t n)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t len = n > 0 ? announced(u[0]) : 0;

	if (len == 0 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	/* The second byte tells overlong forms, surrogates and too large ones. */
	if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ||
	    (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f))
		return 0;
	return len;
}

/* Is s [n] the beginning of a character, with the rest cut off? */
static int
is_cut(const char *s, size_t n)
{
	if (announced((unsigned char)s[0]) <= n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
	return 1;
}

bool
utf8_is_control(const char *s)
{
	const unsigned char *c = (const unsigned char *)s;

	return c[0] < 0x20 || c[0] == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0);
}

void
utf8_clean(char *text)
{
	size_t n = strlen(text), len;

	for (size_t i = 0; i < n; i += len) {
		if ((len = utf8_char(text + i, n - i)) == 0) {
			if (is_cut(text + i, n - i)) {
				text[i] = '\0';
				return;
			}
			text[i] = '?';
			len = 1;
		} else if (utf8_is_control(text + i)) {
			memset(text + i, ' ', len);
		}
	}
}
