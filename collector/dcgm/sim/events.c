/* events.c: the scenario lines that say what happens when, and the check of the whole. */
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* scenario_devices gives the devices of a new node their identity and constants. */
void scenario_devices(Node *n)
{
	uint64_t seed = n->scenario->seed;
	n->seed = derive(seed, n->name, "node", 0, -1);
	for (int i = 0; i < n->ngpu + n->ncpu; i++) {
		Device *d = &n->dev[i];
		d->node = n;
		d->model = n->model;
		d->cpu = i >= n->ngpu;
		d->index = d->cpu ? i - n->ngpu : i;
		d->seed = mix64(derive(seed, n->name, d->cpu ? "cpu" : "gpu", d->index, -1));
		d->phase_ms = (int)(d->seed % SLOT_MS);
		if (d->cpu) { /* a Grace socket: 120 W at rest, 160 W while its GPUs work, 300 W cap */
			d->idle_mw = 120000;
			d->full_mw = 160000;
			d->limit_mw = 300000;
			d->noise_mw = 2000;
			d->mig_idle_mw = 0;
			snprintf(d->serial, sizeof d->serial, "0x%016llX", (unsigned long long)mix64(d->seed));
			snprintf(d->uuid, sizeof d->uuid, "%s", d->serial); /* a socket has no other name */
		} else {
			d->idle_mw = n->model->idle_mw;
			d->full_mw = d->limit_mw = n->model->limit_mw;
			d->noise_mw = d->limit_mw / 50 < 20000 ? d->limit_mw / 50 : 20000;
			d->mig_idle_mw = n->model->mig_idle_mw;
			snprintf(d->serial, sizeof d->serial, "165%010llu", (unsigned long long)(mix64(d->seed) % 10000000000u));
			derive_uuid(d->uuid, "GPU-", seed, n->name, "gpu", d->index, -1);
		}
	}
}

static void add_load(Parser *p, Device *d, Load l)
{
	d->loads = grow(p, d->loads, d->nloads, &d->caploads, sizeof *d->loads);
	d->loads[d->nloads++] = l;
}

void load_line(Parser *p)
{
	char word[WORD_MAX], key[WORD_MAX];
	Load l = {.share = 1000};
	Device *d = take_device(p, &l.instance, false);
	l.start_ms = time_ms(p, "start of the load");
	skip_space(p);
	const char *at = p->at;
	l.end_ms = time_ms(p, "end of the load");
	if (l.end_ms <= l.start_ms)
		fail(p, at, "the load ends before it has begun");
	if (l.instance >= 0 && l.start_ms < d->inst[l.instance].from_ms)
		fail(p, p->line_at, "instance %d of GPU %d is made later than the load begins", l.instance, d->index);
	at = take_word(p, word, "kind of load");
	if (!strcmp(word, "idle"))
		l.kind = LOAD_IDLE;
	else if (!strcmp(word, "training"))
		l.kind = LOAD_TRAINING;
	else if (!strcmp(word, "inference"))
		l.kind = LOAD_INFERENCE;
	else if (!strncmp(word, "const:", 6)) {
		l.kind = LOAD_CONST;
		p->at = at + 6; /* the number stands inside the word */
		if (!word[6])
			fail(p, at, "const: needs a number, as in const:0.5");
		l.level = (int32_t)decimal(p, "utilisation from 0 to 1", 6, PPM);
	} else if (!strncmp(word, "series:", 7) || !strncmp(word, "loop:", 5)) {
		l.kind = *word == 's' ? LOAD_SERIES : LOAD_LOOP;
		const char *name = strchr(word, ':') + 1;
		l.series = find_series(p, name);
		if (!l.series)
			fail(p, at + (name - word), "unknown series \"%s\": declare it with a series line before", name);
	} else
		fail(p, at, "unknown kind of load \"%s\": use training, inference, idle, const:X, series:NAME or loop:NAME", word);
	while (more(p)) {
		at = take_key(p, key);
		if (strcmp(key, "share"))
			fail(p, at, "unknown key \"%s\" of a load: only share", key);
		l.share = (int32_t)value_int(p, 1, 1000);
	}
	l.seed = mix64(derive(p->s->seed, d->node->name, "load", d->index, l.instance) + (uint64_t)l.start_ms);
	add_load(p, d, l);

	Node *n = d->node;
	if (!n->ncpu)
		return;
	int per = n->ngpu / n->ncpu; /* the CPU of the module feels each of its GPUs in equal parts */
	int share = d->ninst ? l.share * d->inst[l.instance].slices / SLICES : l.share;
	l.share = share / per > 0 ? share / per : 1;
	l.instance = -1;
	add_load(p, &n->dev[n->ngpu + d->index / per], l);
}

void power_line(Parser *p)
{
	bool boot = *p->statement == 'b';
	Node *n = take_node(p);
	skip_space(p);
	const char *at = p->at;
	int64_t t = time_ms(p, "time");
	if (t * 1000 < p->s->start_us)
		fail(p, at, "the time lies before the start of the scenario");
	if (n->npowers && n->powers[n->npowers - 1].t_ms >= t)
		fail(p, at, "boot and end lines of a node must follow in time");
	if (!boot && n->npowers && !n->powers[n->npowers - 1].boot)
		fail(p, p->line_at, "node %s has ended already", n->name);
	Power *q = realloc(n->powers, (size_t)(n->npowers + 2) * sizeof *q);
	if (!q)
		fail(p, at, "out of memory");
	n->powers = q;
	if (!n->npowers && !boot) /* up from the start */
		n->powers[n->npowers++] = (Power){p->s->start_us / 1000, true};
	n->powers[n->npowers++] = (Power){t, boot};
}

void add_time(Parser *p, int64_t **list, int *n, int64_t t)
{
	int64_t *q = realloc(*list, (size_t)(*n + 1) * sizeof *q);
	if (!q)
		fail(p, p->at, "out of memory");
	*list = q;
	q[(*n)++] = t;
}

void reset_line(Parser *p)
{
	Device *d = take_device(p, NULL, false);
	add_time(p, &d->resets_ms, &d->nresets, time_ms(p, "time of the reset"));
}

void lost_line(Parser *p)
{
	Device *d = take_device(p, NULL, false);
	add_time(p, &d->losts_ms, &d->nlosts, time_ms(p, "time of the loss"));
}

void restart_line(Parser *p)
{
	Node *n = take_node(p);
	skip_space(p);
	const char *at = p->at;
	int64_t t = time_ms(p, "time of the restart");
	if (t * 1000 < p->s->start_us)
		fail(p, at, "the time lies before the start of the scenario");
	add_time(p, &n->restarts_ms, &n->nrestarts, t);
}

void mark_line(Parser *p)
{
	add_time(p, &p->s->marks_ms, &p->s->nmarks, time_ms(p, "time of the mark"));
}

void add_event(Parser *p, Events *to, Event x)
{
	Event *q = realloc(to->list, (size_t)(to->n + 1) * sizeof *q);
	if (!q)
		fail(p, p->at, "out of memory");
	to->list = q;
	q[to->n++] = x;
}

void xid_line(Parser *p)
{
	Device *d = take_device(p, NULL, false);
	Event x = {.field = 230, .t_us = time_us(p, "time")};
	x.code = number(p, "XID", 1, 100000);
	add_event(p, &d->xids, x);
}

static int by_time(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static int by_start(const void *a, const void *b)
{
	const Load *x = a, *y = b;
	if (x->start_ms != y->start_ms)
		return x->start_ms < y->start_ms ? -1 : 1;
	if (x->end_ms != y->end_ms)
		return x->end_ms < y->end_ms ? -1 : 1;
	return (x->seed > y->seed) - (x->seed < y->seed);
}

static int by_from(const void *a, const void *b)
{
	const Fault *x = a, *y = b;
	return (x->from_us > y->from_us) - (x->from_us < y->from_us);
}

static int by_event(const void *a, const void *b)
{
	const Event *x = a, *y = b;
	if (x->t_us != y->t_us)
		return x->t_us < y->t_us ? -1 : 1;
	return (x->code > y->code) - (x->code < y->code);
}

static void sort(void *list, int n, size_t size, int (*cmp)(const void *, const void *))
{
	if (n > 1)
		qsort(list, (size_t)n, size, cmp);
}

static void finish_device(Parser *p, Device *d)
{
	sort(d->loads, d->nloads, sizeof *d->loads, by_start);
	sort(d->resets_ms, d->nresets, sizeof *d->resets_ms, by_time);
	sort(d->losts_ms, d->nlosts, sizeof *d->losts_ms, by_time);
	sort(d->faults, d->nfaults, sizeof *d->faults, by_from);
	sort(d->plugs_ms, d->nplugs, sizeof *d->plugs_ms, by_time);
	sort(d->xids.list, d->xids.n, sizeof *d->xids.list, by_event);
	d->active = calloc((size_t)d->nloads + 1, sizeof *d->active);
	d->edges_ms = calloc((size_t)(d->nloads * 2 + d->ninst + 1), sizeof *d->edges_ms);
	if (!d->active || !d->edges_ms)
		fail(p, p->at, "out of memory");
	for (int i = 0; i < d->nloads; i++) {
		d->edges_ms[d->nedges++] = d->loads[i].start_ms;
		d->edges_ms[d->nedges++] = d->loads[i].end_ms;
	}
	for (int i = 0; i < d->ninst; i++)
		if (d->inst[i].from_ms > 0 && d->inst[i].from_ms != d->inst[i - 1].from_ms)
			d->edges_ms[d->nedges++] = d->inst[i].from_ms;
	sort(d->edges_ms, d->nedges, sizeof *d->edges_ms, by_time);
}

void scenario_finish(Parser *p)
{
	Scenario *s = p->s;
	sort(s->marks_ms, s->nmarks, sizeof *s->marks_ms, by_time);
	for (int i = 0; i < s->nnode; i++) {
		Node *n = s->node[i];
		if (!n->npowers) { /* no line: up from the start */
			n->powers = calloc(1, sizeof *n->powers);
			if (!n->powers)
				fail(p, p->at, "out of memory");
			n->powers[n->npowers++] = (Power){s->start_us / 1000, true};
		}
		sort(n->restarts_ms, n->nrestarts, sizeof *n->restarts_ms, by_time);
		for (int k = 0; k < n->ngpu + n->ncpu; k++)
			finish_device(p, &n->dev[k]);
		for (int k = 0; k < n->nsw; k++)
			sort(n->sw[k].events.list, n->sw[k].events.n, sizeof(Event), by_event);
		sort(n->events.list, n->events.n, sizeof(Event), by_event);
		mishaps_finish(n);
		engine_start(n);
	}
}

void scenario_free(Scenario *s)
{
	for (int i = 0; i < s->nnode; i++) {
		Node *n = s->node[i];
		engine_clear(n);
		for (int k = 0; k < n->ngpu + n->ncpu; k++) {
			Device *d = &n->dev[k];
			free(d->loads);
			free(d->resets_ms);
			free(d->losts_ms);
			free(d->faults);
			free(d->plugs_ms);
			free(d->xids.list);
			free(d->active);
			free(d->edges_ms);
			free(d->truth);
		}
		mishaps_free(n);
		pthread_cond_destroy(&n->moved);
		pthread_mutex_destroy(&n->mu);
		free(n->ent);
		free(n->powers);
		free(n->restarts_ms);
		free(n->dev);
		free(n);
	}
	for (int i = 0; i < s->nmodel; i++)
		free(s->model[i]);
	for (int i = 0; i < s->nseries; i++) {
		free(s->series[i]->name);
		free(s->series[i]->u);
		free(s->series[i]);
	}
	free(s->node);
	free(s->by_name);
	free(s->model);
	free(s->series);
	free(s->marks_ms);
	free(s);
}
