/* mishap.c: the scenario lines that say what goes wrong. */
#include "parse.h"

#include <stdlib.h>
#include <string.h>

static void *longer(Parser *p, void *list, int n, size_t size)
{
	void *q = realloc(list, (size_t)(n + 1) * size);
	if (!q)
		fail(p, p->at, "out of memory");
	return q;
}

/* take_span reads FROM TO; "ever" may stand for TO where that is allowed. */
static Span take_span(Parser *p, bool ever)
{
	Span s = {.from_us = time_us(p, "beginning")};
	skip_space(p);
	const char *at = p->at;
	if (ever && p->end - at >= 4 && !memcmp(at, "ever", 4)) {
		char word[WORD_MAX];
		take_word(p, word, "end");
		if (strcmp(word, "ever"))
			fail(p, at, "end: \"%s\" is not a time", word);
		s.to_us = NEVER;
		return s;
	}
	s.to_us = time_us(p, "end");
	if (s.to_us <= s.from_us)
		fail(p, at, "the end does not lie after the beginning");
	return s;
}

static uint16_t take_field(Parser *p)
{
	skip_space(p);
	const char *at = p->at;
	uint16_t field = (uint16_t)number(p, "field", 1, 65535);
	if (!field_by_id(field))
		fail(p, at, "field %d is unknown", field);
	return field;
}

static Fault take_fault(Parser *p, Device **d)
{
	Fault f = {0};
	*d = take_device(p, NULL, true);
	f.field = take_field(p);
	Span s = take_span(p, false);
	f.from_us = s.from_us;
	f.to_us = s.to_us;
	return f;
}

static void add_fault(Parser *p, Device *d, Fault f)
{
	d->faults = longer(p, d->faults, d->nfaults, sizeof f);
	d->faults[d->nfaults++] = f;
}

void fault_line(Parser *p)
{
	bool stuck = *p->statement == 's';
	Device *d;
	Fault f = take_fault(p, &d);
	f.kind = stuck ? FAULT_STUCK : FAULT_BLANK;
	add_fault(p, d, f);
}

void blank_line(Parser *p)
{
	static const struct {
		const char *word;
		FaultKind kind;
		int why;
	} kinds[] = {
		{"null", FAULT_BLANK, BLANK}, {"not_found", FAULT_BLANK, BLANK_NOT_FOUND}, {"not_supported", FAULT_BLANK, BLANK_NOT_SUPPORTED},
		{"not_permitted", FAULT_BLANK, BLANK_NOT_PERMISSIONED}, {"filler", FAULT_FILLER, 0}, {"stale", FAULT_STALE, 0},
	};
	char word[WORD_MAX];
	Device *d;
	Fault f = take_fault(p, &d);
	const char *at = take_word(p, word, "kind of blank");
	size_t i = 0, n = sizeof kinds / sizeof kinds[0];
	while (i < n && strcmp(word, kinds[i].word))
		i++;
	if (i == n)
		fail(p, at, "unknown kind of blank \"%s\": use null, not_found, not_supported, not_permitted, filler or stale", word);
	f.kind = kinds[i].kind;
	f.why = kinds[i].why;
	d->stale = d->stale || f.kind == FAULT_STALE;
	add_fault(p, d, f);
}

void forbid_line(Parser *p)
{
	char word[WORD_MAX];
	Node *n = take_node(p);
	skip_space(p);
	if (p->end - p->at < 9 || memcmp(p->at, "profiling", 9)) {
		do
			n->forbid[field_slot(take_field(p))] = true;
		while (more(p));
		return;
	}
	const char *at = take_word(p, word, "field");
	if (strcmp(word, "profiling"))
		fail(p, at, "field: \"%s\" is not a whole number", word);
	n->profiling = ST_NO_PERMISSION;
	if (!more(p))
		return;
	at = take_word(p, word, "root");
	if (strcmp(word, "root"))
		fail(p, at, "only root can stand behind profiling");
	n->profiling = ST_REQUIRES_ROOT;
}

/* delay_line reads hang and slow. */
void delay_line(Parser *p)
{
	bool slow = *p->statement == 's';
	char word[WORD_MAX];
	Delay x = {0};
	Node *n = take_node(p);
	const char *at = take_word(p, word, "name of a call");
	x.call = call_named(word);
	if (x.call < 0)
		fail(p, at, "no call \"%s\" reaches a node", word);
	if (slow)
		x.us = number(p, "how much longer", 1, INT64_C(3600000000));
	Span s = take_span(p, true);
	x.from_us = s.from_us;
	x.to_us = s.to_us;
	n->delays = longer(p, n->delays, n->ndelays, sizeof x);
	n->delays[n->ndelays++] = x;
}

void driver_line(Parser *p)
{
	char word[WORD_MAX];
	Node *n = take_node(p);
	skip_space(p);
	const char *at = p->at;
	Driver x = {.t_ms = time_ms(p, "time of the driver")};
	int64_t last = n->ndrivers ? n->drivers[n->ndrivers - 1].t_ms * 1000 : p->s->start_us;
	if (x.t_ms * 1000 < last + DETACHED_US)
		fail(p, at, "the GPUs are away for 2 s before: leave as much after the start and after the driver before");
	take_name(p, word, "version of the driver", 63);
	memcpy(x.version, word, strlen(word) + 1);
	n->drivers = longer(p, n->drivers, n->ndrivers, sizeof x);
	n->drivers[n->ndrivers++] = x;
	add_event(p, &n->events, (Event){.field = 6, .t_us = x.t_ms * 1000 - DETACHED_US, .code = 1});
	add_event(p, &n->events, (Event){.field = 6, .t_us = x.t_ms * 1000, .code = 2});
}

void clockback_line(Parser *p)
{
	Node *n = take_node(p);
	skip_space(p);
	const char *at = p->at;
	Step x = {.t_us = time_us(p, "time")};
	if (n->nsteps && n->steps[n->nsteps - 1].t_us >= x.t_us)
		fail(p, at, "clockback lines of a node must follow in time");
	x.by_us = number(p, "step", 1, INT64_C(86400000000));
	n->steps = longer(p, n->steps, n->nsteps, sizeof x);
	n->steps[n->nsteps++] = x;
}

/* skew_line reads skew and shuffle. */
void skew_line(Parser *p)
{
	bool skew = p->statement[1] == 'k';
	Node *n = take_node(p);
	if (skew)
		n->skew = true;
	else
		n->shuffle = true;
}

void switches_line(Parser *p)
{
	Node *n = take_node(p);
	if (n->nsw)
		fail(p, p->line_at, "node %s has switches already", n->name);
	int count = (int)number(p, "number of switches", 1, 12);
	n->sw = calloc((size_t)count, sizeof *n->sw);
	if (!n->sw)
		fail(p, p->at, "out of memory");
	n->nsw = count;
	for (int i = 0; i < count; i++)
		n->sw[i].seed = mix64(derive(p->s->seed, n->name, "switch", i, -1));
}

void sxid_line(Parser *p)
{
	char word[WORD_MAX];
	Node *n = take_node(p);
	skip_space(p);
	const char *at = p->at;
	int64_t i = number(p, "index of the switch", 0, INT32_MAX);
	if (i >= n->nsw)
		fail(p, at, "node %s has %d switches, counted from 0", n->name, n->nsw);
	Event x = {.t_us = time_us(p, "time")};
	x.code = number(p, "SXID", 1, 1000000);
	at = take_word(p, word, "fatal or nonfatal");
	if (strcmp(word, "fatal") && strcmp(word, "nonfatal"))
		fail(p, at, "an SXID is fatal or nonfatal, not \"%s\"", word);
	x.field = *word == 'f' ? 856 : 857;
	add_event(p, &n->sw[i].events, x);
}

void fatal_line(Parser *p)
{
	Device *d = take_device(p, NULL, false);
	Node *n = d->node;
	Event x = {.field = 230, .t_us = time_us(p, "time")};
	x.code = number(p, "XID", 1, 100000);
	add_event(p, &d->xids, x);
	n->fatals = longer(p, n->fatals, n->nfatals, sizeof *n->fatals);
	n->fatals[n->nfatals++] = (Span){x.t_us, NEVER};
}

void plug_line(Parser *p)
{
	Device *d = take_device(p, NULL, false);
	skip_space(p);
	const char *at = p->at;
	int64_t t = time_ms(p, "time");
	bool lost = false;
	for (int i = 0; i < d->nlosts; i++)
		lost = lost || d->losts_ms[i] < t;
	if (!lost)
		fail(p, at, "GPU %d of node %s is not lost before: give it a lost line", d->index, d->node->name);
	add_time(p, &d->plugs_ms, &d->nplugs, t);
	add_event(p, &d->node->events, (Event){.field = 6, .t_us = t * 1000 - 1000, .code = 1});
	add_event(p, &d->node->events, (Event){.field = 6, .t_us = t * 1000, .code = 2});
}

/* mishaps_finish finds when the engine begins to call the driver again after a fatal XID. */
void mishaps_finish(Node *n)
{
	for (int i = 0; i < n->nfatals; i++) {
		Span *s = &n->fatals[i];
		for (int k = 0; k < n->nrestarts; k++)
			if (n->restarts_ms[k] * 1000 > s->from_us && n->restarts_ms[k] * 1000 < s->to_us)
				s->to_us = n->restarts_ms[k] * 1000;
		for (int k = 0; k < n->npowers; k++)
			if (n->powers[k].boot && n->powers[k].t_ms * 1000 > s->from_us && n->powers[k].t_ms * 1000 < s->to_us)
				s->to_us = n->powers[k].t_ms * 1000;
	}
}

void mishaps_free(Node *n)
{
	for (int i = 0; i < n->nsw; i++)
		free(n->sw[i].events.list);
	free(n->events.list);
	free(n->sw);
	free(n->delays);
	free(n->drivers);
	free(n->steps);
	free(n->fatals);
}
