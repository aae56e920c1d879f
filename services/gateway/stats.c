#include "stats.h"

#include <stdio.h>
#include <string.h>

void
stats_init(struct stats *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
}

void
stats_count(struct stats *s, const char *method, const char *route, int status)
{
	struct stats_cell *c = s->cells;

	const struct stats_cell *last = s->cells + STATS_CELLS - 1;

	pthread_mutex_lock(&s->lock);
	while (c < last && c->route != NULL &&
	    (c->status != status || strcmp(c->route, route) != 0 ||
	    strcmp(c->method, method) != 0))
		c++;
	/* More than come from clients that mean well: in sum, not forgotten. */
	if (c == last) {
		method = route = "other";
		status = 0;
	}
	c->method = method;
	c->route = route;
	c->status = status;
	c->n++;
	pthread_mutex_unlock(&s->lock);
}

uint64_t
stats_requests(struct stats *s)
{
	uint64_t n = 0;

	pthread_mutex_lock(&s->lock);
	for (int i = 0; i < STATS_CELLS; i++)
		n += s->cells[i].n;
	pthread_mutex_unlock(&s->lock);
	return n;
}

void
stats_write(struct stats *s, struct metrics *m)
{
	static const char *const reasons[] = { "rate", "places", "queue" };
	char labels[128];

	pthread_mutex_lock(&s->lock);
	for (int i = 0; i < STATS_CELLS && s->cells[i].route != NULL; i++) {
		const struct stats_cell *c = &s->cells[i];

		snprintf(labels, sizeof(labels),
		    "method=\"%s\",route=\"%s\",status=\"%d\"", c->method,
		    c->route, c->status);
		metrics_counter(m, "onebit_gateway_requests_total",
		    "Requests answered.", labels, (double)c->n);
	}
	pthread_mutex_unlock(&s->lock);
	for (int i = 0; i < STATS_REASONS; i++) {
		snprintf(labels, sizeof(labels), "reason=\"%s\"", reasons[i]);
		metrics_counter(m, "onebit_gateway_limited_total",
		    "Requests that were told to come back later.", labels,
		    (double)s->limited[i]);
	}
	metrics_counter(m, "onebit_gateway_prompt_tokens_total",
	    "Prompt tokens of answered requests.", "", (double)s->n_prompt);
	metrics_counter(m, "onebit_gateway_generated_tokens_total",
	    "Tokens generated for answered requests.", "",
	    (double)s->n_generated);
	metrics_histogram(m, "onebit_gateway_first_token_seconds",
	    "From a request's arrival to its first token on the socket.", "",
	    &s->first_token);
	metrics_histogram(m, "onebit_gateway_overhead_seconds",
	    "From a decode event's publication to its bytes on the socket.",
	    "", &s->overhead);
	metrics_histogram(m, "onebit_gateway_answer_seconds",
	    "From a request's arrival to the end of its answer.", "",
	    &s->duration);
}
