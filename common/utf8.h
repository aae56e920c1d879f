#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Length in bytes of the UTF-8 character at s [n] (RFC 3629: no surrogates, no
 * overlong forms, at most U+10FFFF), or 0 if there is no whole one.
 */
size_t utf8_char(const char *s, size_t n);

/* Is the whole character at s a control character, U+0080 to U+009F too, which
 * terminals obey? */
bool utf8_is_control(const char *s);

/*
 * Make text fit for one line of a log or an error sentence, in place: control
 * characters become blanks, bytes that are not UTF-8 become '?', a character
 * that was cut at the end goes.
 */
void utf8_clean(char *text);

#endif
