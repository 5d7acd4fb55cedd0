/* engine.c: the host engine of one node: its virtual clock, and the samples that its watches take.
 *
 * A field is sampled when it is first watched and then once per interval. Samples at the same instant share one snapshot
 * of the device (Sampler), and field values are computed from snapshots only when somebody reads them. Sampling follows
 * from the watch times alone, so the steps in which the clock is advanced change nothing. Callers hold node->mu. */
#include "wlsim.h"

#include <stdlib.h>
#include <string.h>

enum { RING_MAX = 1 << 20 };

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* engine_start lists the entities of a node: itself, GPUs, instances, CPUs. */
void engine_start(Node *n)
{
	int count = 1 + n->ngpu + n->ncpu;
	for (int i = 0; i < n->ngpu; i++)
		count += 2 * n->dev[i].ninst;
	n->ent = must(calloc((size_t)count, sizeof *n->ent));
	n->ent[n->nent++] = (Entity){.group = EG_NONE, .inst = -1};
	for (int i = 0; i < n->ngpu; i++)
		n->ent[n->nent++] = (Entity){.group = EG_GPU, .id = (uint32_t)i, .dev = &n->dev[i], .inst = -1};
	for (int i = 0; i < n->ncpu; i++)
		n->ent[n->nent++] = (Entity){.group = EG_CPU, .id = (uint32_t)i, .dev = &n->dev[n->ngpu + i], .inst = -1};
	for (uint32_t g = EG_GPU_I; g <= EG_GPU_CI; g++)
		for (int i = 0; i < n->ngpu; i++)
			for (int k = 0; k < n->dev[i].ninst; k++)
				n->ent[n->nent++] = (Entity){.group = g, .id = (uint32_t)(i * 8 + k), .dev = &n->dev[i], .inst = k};
	for (int i = 0; i < n->nent; i++)
		n->ent[i].node = n;
	n->now_us = n->scenario->start_us;
	for (int i = 0; i < n->ngpu + n->ncpu; i++)
		device_begin(&n->dev[i]);
	engine_advance(n, n->now_us);
}

Entity *engine_entity(Node *n, uint32_t group, uint32_t id)
{
	if (group == EG_NONE)
		return &n->ent[0];
	if (group == EG_GPU)
		return id < (uint32_t)n->ngpu ? &n->ent[1 + id] : NULL;
	if (group == EG_CPU)
		return id < (uint32_t)n->ncpu ? &n->ent[1 + (uint32_t)n->ngpu + id] : NULL;
	for (int i = 1 + n->ngpu + n->ncpu; i < n->nent; i++)
		if (n->ent[i].group == group && n->ent[i].id == id)
			return &n->ent[i];
	return NULL;
}

/* snap reads an entity at t, which is not in the past of its device. */
static void snap(Node *n, const Entity *e, int64_t t_us, Snap *s)
{
	if (!e->dev) {
		memset(s, 0, sizeof *s);
		s->t_us = t_us;
		return;
	}
	play(e->dev, t_us / 1000);
	take(e->dev, e->inst, t_us, s);
	if (!e->dev->cpu)
		return;
	int per = n->ngpu / n->ncpu;
	for (int i = e->dev->index * per; i < (e->dev->index + 1) * per; i++) {
		Snap g;
		play(&n->dev[i], t_us / 1000);
		take(&n->dev[i], -1, t_us, &g);
		s->module_mw += g.mean_mw;
	}
}

static Snap *ring_at(const Sampler *s, int64_t i)
{
	return &s->ring[(s->head + i) % s->cap];
}

static void sampler_sample(Node *n, Sampler *s, int64_t t)
{
	while (s->n > 2 && ring_at(s, 1)->t_us < t - s->keep_us) { /* what is read last must stay */
		s->head = (s->head + 1) % s->cap;
		s->n--;
	}
	if (s->n == s->cap && s->cap < RING_MAX) {
		int64_t cap = s->cap ? s->cap * 2 : 4;
		Snap *ring = must(malloc((size_t)cap * sizeof *ring));
		for (int64_t i = 0; i < s->n; i++)
			ring[i] = *ring_at(s, i);
		free(s->ring);
		s->ring = ring;
		s->cap = cap;
		s->head = 0;
	} else if (s->n == s->cap) {
		s->head = (s->head + 1) % s->cap;
		s->n--;
	}
	snap(n, s->entity, t, ring_at(s, s->n));
	s->n++;
}

static void clock_sample(Node *n, Clock *c, int64_t t)
{
	for (Sampler *s = c->samplers; s; s = s->clock_next)
		if (!s->n || ring_at(s, s->n - 1)->t_us < t)
			sampler_sample(n, s, t);
}

/* restart is the host engine beginning anew: watches, groups, samples and connections are gone. */
static void restart(Node *n)
{
	engine_clear(n);
	n->manual = false;
	n->epoch++;
}

/* node_event passes the next boot, end or restart of the engine, whichever comes first. */
static void node_event(Node *n, int64_t at)
{
	restart(n);
	while (n->next_restart < n->nrestarts && n->restarts_ms[n->next_restart] * 1000 <= at)
		n->next_restart++;
	if (n->next_power >= n->npowers || n->powers[n->next_power].t_ms * 1000 > at)
		return;
	n->up = n->powers[n->next_power++].boot;
	n->boots += n->up;
}

int engine_advance(Node *n, int64_t t)
{
	if (t < n->now_us)
		return -1;
	for (;;) {
		int64_t at = n->next_power < n->npowers ? n->powers[n->next_power].t_ms * 1000 : NEVER;
		if (n->next_restart < n->nrestarts && n->restarts_ms[n->next_restart] * 1000 < at)
			at = n->restarts_ms[n->next_restart] * 1000;
		Clock *due = NULL;
		for (Clock *c = n->clocks; c && !n->manual; c = c->next)
			if (c->due_us < at) { /* at the same instant the boot comes first and takes the watches with it */
				at = c->due_us;
				due = c;
			}
		if (at > t)
			break;
		n->now_us = at;
		if (due) {
			clock_sample(n, due, at);
			due->due_us += due->interval_us;
		} else {
			node_event(n, at);
		}
	}
	n->now_us = t;
	return 0;
}

/* engine_sample_due samples the watches that are due, in manual mode. */
void engine_sample_due(Node *n)
{
	for (Clock *c = n->clocks; c; c = c->next)
		if (c->due_us <= n->now_us) {
			clock_sample(n, c, n->now_us);
			c->due_us = n->now_us + c->interval_us;
		}
}

static void sampler_drop(Node *n, Sampler *s)
{
	if (--s->refs > 0)
		return;
	Sampler **p = &s->entity->samplers;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	Clock *c = s->clock;
	for (p = &c->samplers; *p != s; p = &(*p)->clock_next)
		;
	*p = s->clock_next;
	free(s->ring);
	free(s);
	if (c->samplers)
		return;
	Clock **q = &n->clocks;
	while (*q != c)
		q = &(*q)->next;
	*q = c->next;
	free(c);
}

/* sampler_get finds or makes the sampler of an entity at an interval that is in phase with now. */
static Sampler *sampler_get(Node *n, Entity *e, int64_t interval)
{
	Clock *c = n->clocks;
	while (c && (c->interval_us != interval || (c->due_us - n->now_us) % interval != 0 || n->manual))
		c = c->next;
	for (Sampler *s = e->samplers; s && c; s = s->next)
		if (s->clock == c) {
			s->refs++;
			return s;
		}
	if (!c) {
		c = must(calloc(1, sizeof *c));
		c->interval_us = interval;
		c->due_us = n->now_us + interval;
		c->next = n->clocks;
		n->clocks = c;
	}
	Sampler *s = must(calloc(1, sizeof *s));
	s->entity = e;
	s->clock = c;
	s->refs = 1;
	s->next = e->samplers;
	e->samplers = s;
	s->clock_next = c->samplers;
	c->samplers = s;
	sampler_sample(n, s, n->now_us);
	return s;
}

/* last finds the samples of a watch: the newest, and the one before it when it was already watched then. */
static void last(const Watch *w, Snap **cur, Snap **prev)
{
	*cur = *prev = NULL;
	if (!w->sampler) {
		*cur = w->have ? (Snap *)&w->held : NULL;
		*prev = w->have_prev ? (Snap *)&w->held_prev : NULL;
		return;
	}
	const Sampler *s = w->sampler;
	if (s->n && ring_at(s, s->n - 1)->t_us >= w->since_us)
		*cur = ring_at(s, s->n - 1);
	if (s->n > 1 && ring_at(s, s->n - 2)->t_us >= w->since_us)
		*prev = ring_at(s, s->n - 2);
}

static void watch_stop(Node *n, Watch *w)
{
	Snap *cur, *prev;
	last(w, &cur, &prev);
	w->have = cur != NULL;
	w->have_prev = prev != NULL;
	if (cur)
		w->held = *cur;
	if (prev)
		w->held_prev = *prev;
	w->until_us = n->now_us;
	sampler_drop(n, w->sampler);
	w->sampler = NULL;
}

/* watch_refresh gives one field of one entity the shortest interval and the longest memory that anybody asks for. */
static void watch_refresh(Node *n, Entity *e, uint16_t field)
{
	int64_t interval = 0, keep = 0;
	for (Request *r = n->requests; r; r = r->next) {
		bool in = false, has = false;
		for (int i = 0; i < r->nent && !in; i++)
			in = r->ent[i] == e;
		for (int i = 0; i < r->nfield && in && !has; i++)
			has = r->field[i] == field;
		if (!has)
			continue;
		if (!interval || r->interval_us < interval)
			interval = r->interval_us;
		if (r->keep_us > keep)
			keep = r->keep_us;
	}
	if (!e->watch)
		e->watch = must(calloc(FIELDS_MAX, sizeof *e->watch));
	Watch **at = &e->watch[field_slot(field)];
	if (!*at)
		*at = must(calloc(1, sizeof **at));
	Watch *w = *at;
	if (w->sampler && w->interval_us == interval) {
		if (keep > w->sampler->keep_us)
			w->sampler->keep_us = keep;
		return;
	}
	if (w->sampler)
		watch_stop(n, w);
	if (!interval)
		return;
	w->interval_us = interval;
	w->since_us = n->now_us;
	w->sampler = sampler_get(n, e, interval);
	if (keep > w->sampler->keep_us)
		w->sampler->keep_us = keep;
}

static Entity *home(Node *n, Entity *e, const dcgm_field_meta_t *m)
{
	return m->scope == 0 ? &n->ent[0] : e;
}

static void refresh_all(Node *n, const Request *r)
{
	for (int i = 0; i < r->nent; i++)
		for (int k = 0; k < r->nfield; k++)
			watch_refresh(n, r->ent[i], r->field[k]);
}

static void request_free(Request *r)
{
	free(r->ent);
	free(r->field);
	free(r);
}

/* engine_watch takes r over. A field that cannot be watched refuses the whole request. */
int engine_watch(Node *n, Request *r)
{
	bool global = false;
	for (int i = 0; i < r->nent; i++)
		for (int k = 0; k < r->nfield; k++) {
			const dcgm_field_meta_t *m = field_by_id(r->field[k]);
			global = global || m->scope == 0;
			if (field_profiling(m->fieldId) && r->ent[i]->dev && !r->ent[i]->dev->cpu && !r->ent[i]->dev->model->profiling) {
				request_free(r);
				return ST_PROFILING_NOT_SUPPORTED;
			}
		}
	if (global) { /* global fields live on the node's own entity */
		r->ent = must(realloc(r->ent, (size_t)(r->nent + 1) * sizeof *r->ent));
		r->ent[r->nent++] = &n->ent[0];
	}
	r->next = n->requests;
	n->requests = r;
	for (Request **p = &r->next; *p;) { /* the same watch again replaces the old one */
		Request *q = *p;
		if (q->owner == r->owner && q->group == r->group && q->fields == r->fields) {
			*p = q->next;
			refresh_all(n, q);
			request_free(q);
		} else
			p = &q->next;
	}
	refresh_all(n, r);
	return ST_OK;
}

void engine_unwatch(Node *n, dcgmHandle_t owner, bool any_owner, dcgmGpuGrp_t g, bool any_group, dcgmFieldGrp_t f, bool any_fields)
{
	for (Request **p = &n->requests; *p;) {
		Request *r = *p;
		if ((any_owner || r->owner == owner) && (any_group || r->group == g) && (any_fields || r->fields == f)) {
			*p = r->next;
			refresh_all(n, r);
			request_free(r);
		} else
			p = &r->next;
	}
}

/* engine_clear forgets everything that the engine of a node was told. */
void engine_clear(Node *n)
{
	while (n->requests) {
		Request *r = n->requests;
		n->requests = r->next;
		request_free(r);
	}
	for (int i = 0; i < n->nent; i++) {
		Entity *e = &n->ent[i];
		for (int k = 0; e->watch && k < FIELDS_MAX; k++)
			free(e->watch[k]);
		free(e->watch);
		e->watch = NULL;
		while (e->samplers) {
			Sampler *s = e->samplers;
			e->samplers = s->next;
			free(s->ring);
			free(s);
		}
	}
	while (n->clocks) {
		Clock *c = n->clocks;
		n->clocks = c->next;
		free(c);
	}
	for (int i = 0; n->groups && i < MAX_GROUPS; i++)
		free(n->groups[i].members);
	free(n->groups);
	free(n->fgroups);
	n->groups = NULL;
	n->fgroups = NULL;
}

/* evaluate computes a value and lets the missing and stuck lines of the scenario act on a value. */
static void evaluate(const Entity *e, const dcgm_field_meta_t *m, const Snap *cur, const Snap *prev, Value *out)
{
	value_of(e, m, cur, prev, out);
	for (int i = 0; e->dev && i < e->dev->nfaults; i++) {
		const Fault *f = &e->dev->faults[i];
		if (f->field != m->fieldId || cur->t_us < f->from_us || cur->t_us >= f->to_us)
			continue;
		int64_t ts = out->ts;
		if (f->kind == FAULT_MISSING)
			value_blank(m, BLANK, out);
		else if (f->have)
			value_of(e, m, &f->held[1 + e->inst], &f->held[1 + e->inst], out);
		out->ts = ts;
		return;
	}
}

static void no_value(const dcgm_field_meta_t *m, int status, Value *out)
{
	value_blank(m, BLANK, out);
	out->status = status;
	out->ts = 0;
}

/* XIDs are events: pushed when they happen, whatever the interval. */
static bool xid_seen(const Watch *w, const Node *n, const Xid *x)
{
	return x->t_us >= w->since_us && x->t_us <= (w->sampler ? n->now_us : w->until_us);
}

static void xid_value(const Xid *x, Value *out)
{
	out->status = ST_OK;
	out->ts = x->t_us;
	out->i64 = x->code;
}

void engine_latest(Node *n, Entity *e, const dcgm_field_meta_t *m, Value *out)
{
	e = home(n, e, m);
	Watch *w = e->watch ? e->watch[field_slot(m->fieldId)] : NULL;
	if (!w) {
		no_value(m, ST_NOT_WATCHED, out);
		return;
	}
	if (m->fieldId == 230) {
		no_value(m, ST_NO_DATA, out);
		for (int i = 0; e->group == EG_GPU && i < e->dev->nxids; i++)
			if (xid_seen(w, n, &e->dev->xids[i]))
				xid_value(&e->dev->xids[i], out);
		return;
	}
	Snap *cur, *prev;
	last(w, &cur, &prev);
	if (!cur)
		no_value(m, w->sampler ? ST_NO_DATA : ST_NOT_WATCHED, out);
	else
		evaluate(e, m, cur, prev, out);
}

void engine_live(Node *n, Entity *e, const dcgm_field_meta_t *m, Value *out)
{
	e = home(n, e, m);
	if (field_profiling(m->fieldId) || m->fieldId == 230) {
		no_value(m, ST_NO_DATA, out); /* needs two samples, or an event */
		return;
	}
	Snap s;
	snap(n, e, n->now_us, &s);
	evaluate(e, m, &s, NULL, out);
}

int engine_since(Node *n, Entity *e, const dcgm_field_meta_t *m, int64_t since, Value **out, int64_t *count)
{
	*out = NULL;
	*count = 0;
	e = home(n, e, m);
	Watch *w = e->watch ? e->watch[field_slot(m->fieldId)] : NULL;
	if (!w || (!w->sampler && !w->have))
		return ST_NOT_WATCHED;
	if (m->fieldId == 230) {
		int nx = e->group == EG_GPU ? e->dev->nxids : 0;
		*out = must(malloc(((size_t)nx + 1) * sizeof **out));
		for (int i = 0; i < nx; i++)
			if (xid_seen(w, n, &e->dev->xids[i]) && e->dev->xids[i].t_us >= since)
				xid_value(&e->dev->xids[i], &(*out)[(*count)++]);
		return ST_OK;
	}
	if (!w->sampler) {
		*out = must(malloc(sizeof **out));
		evaluate(e, m, &w->held, w->have_prev ? &w->held_prev : NULL, *out);
		*count = (*out)->ts >= since;
		return ST_OK;
	}
	const Sampler *s = w->sampler;
	int64_t first = s->n; /* the oldest sample that can matter: a value's own time stamp is never later */
	while (first > 0 && ring_at(s, first - 1)->t_us >= since && ring_at(s, first - 1)->t_us >= w->since_us)
		first--;
	*out = must(malloc((size_t)(s->n - first + 1) * sizeof **out));
	for (int64_t i = first; i < s->n; i++) {
		const Snap *prev = i > 0 && ring_at(s, i - 1)->t_us >= w->since_us ? ring_at(s, i - 1) : NULL;
		Value *v = &(*out)[*count];
		evaluate(e, m, ring_at(s, i), prev, v);
		*count += v->ts >= since;
	}
	return ST_OK;
}
