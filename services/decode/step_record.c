/*
 * A file in the runtime directory, not a descriptor kept by the service manager:
 * it is memory too (tmpfs), outlives the process the same way, and is there in
 * containers and where nobody manages services; and one place is looked at, not
 * two.  The lock of the directory keeps a second worker away from it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "step_record.h"

#define STEP_MAX 9007199254740991	/* as decode.h has it */

static const char magic[8] = "1BSTEP1";

static struct step_record_file *noted;	/* by the handler */
static struct sigaction before[NSIG];

static void
on_fault(int signo, siginfo_t *info, void *context)
{
	(void)context;
	if (noted != NULL)
		atomic_store(&noted->fault, signo);
	/* An instruction at fault runs again, and then it goes as it always did;
	 * a signal that was sent has to be sent again. */
	sigaction(signo, &before[signo], NULL);
	if (info->si_code <= 0)
		raise(signo);
}

static void
note_faults(struct step_record_file *f)
{
	static const int fatal[] = {
		SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV,
	};
	struct sigaction sa = { .sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO };

	sigemptyset(&sa.sa_mask);
	noted = f;
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		sigaction(fatal[i], &sa, &before[fatal[i]]);
}

/* Exactly n printable characters, which a message can hold. */
static bool
is_word(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return s[n] == '\0';
}

static bool
is_record(const struct step_record_file *f)
{
	int32_t current = atomic_load(&f->current);
	const struct step_record_step *s = &f->steps[current == 1];

	if (memcmp(f->magic, magic, sizeof(magic)) != 0 ||
	    !is_word(f->boot, DECODE_BOOT_LEN) ||
	    atomic_load(&f->fault) < 0 || atomic_load(&f->fault) >= NSIG ||
	    (current != 0 && current != 1) || s->step < 0 ||
	    s->step > STEP_MAX || s->n < 0 || s->n > DECODE_REQUESTS_MAX)
		return false;
	for (int32_t i = 0; i < s->n; i++)
		if (!is_word(s->requests[i].id, DECODE_ID_LEN))
			return false;
	return true;
}

int
step_record_open(struct step_record *r, const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct step_record_file *f = MAP_FAILED;

	*r = (struct step_record){ 0 };
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, "%s: %s", path, strerror(errno));
	/* All of it now: where the disk is full, a hole that is written to later is
	 * a bus error. */
	errno = ftruncate(fd, (off_t)sizeof(*f)) != 0 ? errno :
	    posix_fallocate(fd, 0, (off_t)sizeof(*f));
	if (errno == 0)
		f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED,
		    fd, 0);
	if (f == MAP_FAILED) {
		err_set(e, ERR_SYSTEM, "%s: %s", path, strerror(errno));
		close(fd);
		return ERR_SYSTEM;
	}
	close(fd);
	if (is_record(f)) {
		if ((r->last = malloc(sizeof(*r->last))) == NULL) {
			munmap(f, sizeof(*f));
			return err_set(e, ERR_NO_MEMORY,
			    "no memory for a step record");
		}
		memcpy(r->last, f, sizeof(*f));
	}
	r->file = f;
	return 0;
}

void
step_record_begin(struct step_record *r, const char *boot)
{
	struct step_record_file *f = r->file;

	if (f == NULL)
		return;
	memset(f, 0, sizeof(*f));
	strncpy(f->boot, boot, sizeof(f->boot) - 1);
	memcpy(f->magic, magic, sizeof(magic));
	note_faults(f);
}

void
step_record_write(struct step_record *r, int64_t step, const struct plan *p)
{
	struct step_record_step *s;
	int32_t next;

	if (r->file == NULL)
		return;
	next = 1 - atomic_load(&r->file->current);
	s = &r->file->steps[next];
	s->step = step;
	s->n = s->prefill = 0;
	for (int i = 0; i < p->n_shares && s->n < DECODE_REQUESTS_MAX; i++) {
		const struct share *sh = &p->shares[i];
		struct step_record_request *q = &s->requests[s->n++];

		memcpy(q->id, sh->job->id, sizeof(q->id));
		q->seq = job_n_generated(sh->job);
		if (sh->n_samples == 0 || sh->n_rows > 1 + sh->n_drafts)
			s->prefill = 1;
	}
	atomic_store(&r->file->current, next);
}

void
step_record_clear(struct step_record *r)
{
	static const struct plan nothing;

	if (r->file == NULL)
		return;
	step_record_write(r, 0, &nothing);
	atomic_store(&r->file->clean, 1);
}

void
step_record_last(const struct step_record *r, struct decode_last_step_is *is)
{
	const struct step_record_file *f = r->last;
	const struct step_record_step *s;

	*is = (struct decode_last_step_is){ .boot = "", .phase = "",
	    .requests = json_object() };
	if (f == NULL)
		return;
	s = &f->steps[atomic_load(&f->current)];
	is->boot = f->boot;
	is->clean = atomic_load(&f->clean) != 0;
	is->fault = atomic_load(&f->fault);
	is->step = s->step;
	is->phase = s->n == 0 ? "" : s->prefill != 0 ? "prefill" : "decode";
	for (int32_t i = 0; i < s->n; i++)
		json_object_set_new(is->requests, s->requests[i].id,
		    json_integer(s->requests[i].seq));
}

void
step_record_close(struct step_record *r)
{
	if (r->file == NULL)
		return;
	if (noted == r->file)
		noted = NULL;
	munmap(r->file, sizeof(*r->file));
	free(r->last);
	*r = (struct step_record){ 0 };
}
