#ifndef TESTS_SLOW_H
#define TESTS_SLOW_H

/*
 * Is this a build with a sanitizer, several times slower?  Then a test may
 * repeat less, as long as it goes through the same code.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLOW = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { SLOW = 1 };
#else
enum { SLOW = 0 };
#endif
#else
enum { SLOW = 0 };
#endif

#endif
