/*
 * What a worker left behind when it died, what that says about each request
 * (suspect.h), and where one goes whose worker stays away.
 */
#include <string.h>

#include "clock.h"
#include "log.h"
#include "upstream_state.h"

/* One that has no records, or cannot be understood, is not asked again. */
static void
take_last_step(struct upstream *u, const struct decode_last_step_is *is)
{
	struct upstream_last *last = &u->last;

	json_decref(last->requests);
	*last = (struct upstream_last){ .clean = is->clean,
		.fault = is->fault != 0,
		.requests = json_incref(is->requests) };
	strncpy(last->boot, is->boot, sizeof(last->boot) - 1);
	if (u->before[0] != '\0' && !(last->clean &&
	    strcmp(last->boot, u->before) == 0)) {
		breaker_crash(&u->breaker, clock_ms());
		u->counters.crashes++;
	}
}

void
upstream_ask_last_step(struct upstream *u, const char *boot)
{
	struct decode_last_step_is is = { .boot = "", .phase = "" };
	json_t *reply = NULL;
	struct err e;
	int r;

	r = upstream_call(u, DECODE_TYPE_last_step, json_object(),
	    DECODE_TYPE_last_step_is, &reply, UPSTREAM_CALL_MS, &e);
	if (r == ERR_UNAVAILABLE || r == ERR_TIMEOUT)
		return;
	if (r == 0)
		r = field_decode(decode_last_step_is_fields(), sizeof(is),
		    reply, &is, &e);
	if (r != 0)
		is = (struct decode_last_step_is){ .boot = "", .phase = "" };
	pthread_mutex_lock(&u->lock);
	if (strcmp(u->boot, boot) == 0 && strcmp(u->last_of, boot) != 0) {
		take_last_step(u, &is);
		memcpy(u->last_of, u->boot, sizeof(u->last_of));
		upstream_wake_all(u);
	}
	pthread_mutex_unlock(&u->lock);
	if (is.boot[0] != '\0' && !is.clean)
		log_warn("upstream %s: boot=%s ended by signal=%lld in step=%lld "
		    "phase=%s requests=%zu", u->config->name, is.boot,
		    (long long)is.fault, (long long)is.step, is.phase,
		    json_object_size(is.requests));
	json_decref(reply);
}

int64_t
upstream_count(const struct upstream *u, const char *boot)
{
	int64_t n = 0;

	for (int i = 0; i < UPSTREAM_BUCKETS; i++)
		for (const struct upstream_request *q = u->table[i]; q != NULL;
		    q = q->next)
			n += q->accepted && !q->pieces.finished &&
			    strcmp(q->boot, boot) == 0;
	return n;
}

static void
judge(struct upstream_request *q, const struct suspect_crash *c)
{
	struct upstream *u = q->u;

	q->judged = true;
	switch (suspect_judge(&q->suspect, c, q->pieces.next)) {
	case SUSPECT_FREE:
	case SUSPECT_CHARGED:
		break;
	case SUSPECT_CONVICTED:
		u->counters.convicted++;
		if (u->config->poison != NULL)
			poison_add(u->config->poison, q->generate, clock_ms());
		err_set(&q->failed, ERR_CRASHED, "this request ended the "
		    "worker each time it ran, and is not run again");
		break;
	case SUSPECT_TOO_OFTEN:
		u->counters.lost++;
		err_set(&q->failed, ERR_LOST, "the worker went away too often "
		    "during this request");
		q->failed.retry_after_ms = UPSTREAM_LOST_MS;
		break;
	}
}

bool
upstream_judged(struct upstream_request *q)
{
	struct upstream *u = q->u;
	struct suspect_crash c = { 0 };

	if (q->judged || q->boot[0] == '\0' || strcmp(q->boot, u->boot) == 0)
		return true;
	if (strcmp(u->last_of, u->boot) != 0)
		return false;
	if (strcmp(q->boot, u->last.boot) == 0) {
		const json_t *seq = json_object_get(u->last.requests, q->id);

		c = (struct suspect_crash){ .clean = u->last.clean,
			.fault = u->last.fault, .in_step = seq != NULL,
			.alone = json_object_size(u->last.requests) == 1,
			.seq = json_integer_value(seq) };
	} else {
		/* No record of that life: all that it had were at work. */
		c.in_step = q->accepted;
		c.alone = u->n_before == 1 && strcmp(q->boot, u->before) == 0;
		c.seq = q->pieces.next;
	}
	judge(q, &c);
	return true;
}

/*
 * To a replica.  Its own worker may still be there, only not heard: by now the
 * lease has ended there, and of what it says nothing is taken any more.  How it
 * ended is not known, so this is a charge.
 */
void
resume_move(struct upstream_request *q)
{
	struct upstream *from = q->u, *to;
	struct suspect_crash c = { 0 };

	to = from->config->replica(from->config->arg, from, q->fingerprint);
	if (to == NULL) {
		pthread_mutex_lock(&from->lock);
		q->retry_ms = clock_ms() + UPSTREAM_SILENT_MS;
		pthread_mutex_unlock(&from->lock);
		return;
	}
	pthread_mutex_lock(&from->lock);
	c.in_step = q->accepted && !q->judged;
	c.alone = upstream_count(from, q->boot) == 1;
	c.seq = q->pieces.next;
	judge(q, &c);
	upstream_table_remove(q);
	pieces_restart(&q->pieces);
	q->told = 0;
	q->boot[0] = '\0';
	q->accepted = false;
	q->away = true;
	from->counters.moved++;
	pthread_mutex_unlock(&from->lock);
	q->u = to;
	pthread_mutex_lock(&to->lock);
	upstream_table_add(q);
	pthread_mutex_unlock(&to->lock);
	log_info("moved id=%s from=%s to=%s", q->id, from->config->name,
	    to->config->name);
}
