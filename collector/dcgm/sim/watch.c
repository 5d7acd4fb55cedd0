/* watch.c: what is watched, and reading it back.
 *
 * A field of an entity is sampled at the shortest interval that anybody asked for and kept as long as anybody asked. Its
 * values are computed from snapshots when they are read. Callers hold node->mu. */
#include "wlsim.h"

#include <stdlib.h>
#include <string.h>

/* stale tells whether a field of a device was not sampled at t: the sampler was there, the field was not read. */
static bool stale(const Device *d, uint16_t field, int64_t t)
{
	for (int i = 0; d && d->stale && i < d->nfaults; i++) {
		const Fault *f = &d->faults[i];
		if (f->kind == FAULT_STALE && f->field == field && t >= f->from_us && t < f->to_us)
			return true;
	}
	return false;
}

/* before finds the newest sample of a watched field among the first n, and counts n down to it. */
static Snap *before(const Watch *w, uint16_t field, int64_t *n)
{
	const Sampler *s = w->sampler;
	while (*n > 0) {
		Snap *at = ring_at(s, --*n);
		if (at->t_us < w->since_us)
			return NULL;
		if (!stale(s->entity->dev, field, at->t_us))
			return at;
	}
	return NULL;
}

/* last finds the samples of a watch: the newest, and the one before it when it was already watched then. */
static void last(const Watch *w, uint16_t field, Snap **cur, Snap **prev)
{
	*cur = *prev = NULL;
	if (!w->sampler) {
		*cur = w->have ? (Snap *)&w->held : NULL;
		*prev = w->have_prev ? (Snap *)&w->held_prev : NULL;
		return;
	}
	int64_t n = w->sampler->n;
	*cur = before(w, field, &n);
	*prev = before(w, field, &n);
}

static void watch_stop(Node *n, Watch *w, uint16_t field)
{
	Snap *cur, *prev;
	last(w, field, &cur, &prev);
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
		watch_stop(n, w, field);
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

void request_free(Request *r)
{
	free(r->ent);
	free(r->field);
	free(r);
}

/* engine_watch takes r over. A field that cannot be watched refuses the whole request. */
int engine_watch(Node *n, Request *r)
{
	bool global = false;
	for (int i = 0; i < r->nent; i++) {
		int rc = entity_gone(r->ent[i], n->now_us);
		for (int k = 0; k < r->nfield && rc == ST_OK; k++) {
			const dcgm_field_meta_t *m = field_by_id(r->field[k]);
			global = global || m->scope == 0;
			if (!field_profiling(m->fieldId) || !r->ent[i]->dev || r->ent[i]->dev->cpu)
				continue;
			if (!r->ent[i]->dev->model->profiling)
				rc = ST_PROFILING_NOT_SUPPORTED;
			else if (n->profiling != ST_OK)
				rc = n->profiling;
			else if (n->forbid[field_slot(m->fieldId)])
				rc = ST_NO_PERMISSION;
		}
		if (rc != ST_OK) {
			request_free(r);
			return rc;
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

static bool within(const Span *s, int n, int64_t t)
{
	for (int i = 0; i < n; i++)
		if (t >= s[i].from_us && t < s[i].to_us)
			return true;
	return false;
}

/* evaluate computes a value and lets the lines of the scenario that spoil values act on it. */
static void evaluate(const Entity *e, const dcgm_field_meta_t *m, const Snap *cur, const Snap *prev, Value *out)
{
	const Node *n = e->node;
	value_of(e, m, cur, prev, out);
	int64_t ts = stamp(n, out->ts);
	if (n->nfatals && within(n->fatals, n->nfatals, cur->t_us))
		value_blank(m, BLANK, out);
	else if (n->forbid[field_slot(m->fieldId)])
		value_blank(m, BLANK_NOT_PERMISSIONED, out);
	else
		for (int i = 0; e->dev && i < e->dev->nfaults; i++) {
			const Fault *f = &e->dev->faults[i];
			if (f->kind == FAULT_STALE || f->field != m->fieldId || cur->t_us < f->from_us || cur->t_us >= f->to_us)
				continue;
			if (f->kind == FAULT_FILLER) { /* what daemons before 4.4 leave */
				*out = (Value){.status = ST_NOT_WATCHED};
				return;
			}
			if (f->kind == FAULT_BLANK)
				value_blank(m, f->why, out);
			else if (f->have)
				value_of(e, m, &f->held[1 + e->inst], &f->held[1 + e->inst], out);
			break;
		}
	out->ts = ts;
}

static void no_value(const dcgm_field_meta_t *m, int status, Value *out)
{
	value_blank(m, BLANK, out);
	out->status = status;
	out->ts = 0;
}

/* Events are pushed when they happen, whatever the interval. */
static bool is_event(uint16_t field)
{
	return field == 6 || field == 230 || field == 856 || field == 857;
}

static const Events *events_of(const Entity *e)
{
	static const Events none;
	if (e->group == EG_NONE)
		return &e->node->events;
	return e->group == EG_GPU ? &e->dev->xids : e->sw ? &e->sw->events : &none;
}

static bool event_seen(const Watch *w, const Node *n, const Event *x, uint16_t field)
{
	return x->field == field && x->t_us >= w->since_us && x->t_us <= (w->sampler ? n->now_us : w->until_us);
}

static void event_value(const Node *n, const Event *x, Value *out)
{
	out->status = ST_OK;
	out->ts = stamp(n, x->t_us);
	out->i64 = x->code;
}

void engine_latest(Node *n, Entity *e, const dcgm_field_meta_t *m, Value *out)
{
	e = home(n, e, m);
	Watch *w = e->watch ? e->watch[field_slot(m->fieldId)] : NULL;
	int gone = entity_gone(e, n->now_us);
	if (!w || gone) {
		no_value(m, gone ? gone : ST_NOT_WATCHED, out);
		return;
	}
	if (is_event(m->fieldId)) {
		const Events *x = events_of(e);
		no_value(m, ST_NO_DATA, out);
		for (int i = 0; i < x->n; i++)
			if (event_seen(w, n, &x->list[i], m->fieldId))
				event_value(n, &x->list[i], out);
		return;
	}
	Snap *cur, *prev;
	last(w, m->fieldId, &cur, &prev);
	if (!cur)
		no_value(m, w->sampler ? ST_NO_DATA : ST_NOT_WATCHED, out);
	else
		evaluate(e, m, cur, prev, out);
}

void engine_live(Node *n, Entity *e, const dcgm_field_meta_t *m, Value *out)
{
	e = home(n, e, m);
	int gone = entity_gone(e, n->now_us);
	if (gone || field_profiling(m->fieldId) || is_event(m->fieldId)) {
		no_value(m, gone ? gone : ST_NO_DATA, out); /* needs two samples, or an event */
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
	if (entity_gone(e, n->now_us))
		return entity_gone(e, n->now_us);
	if (!w || (!w->sampler && !w->have))
		return ST_NOT_WATCHED;
	if (is_event(m->fieldId)) {
		const Events *x = events_of(e);
		*out = must(malloc(((size_t)x->n + 1) * sizeof **out));
		for (int i = 0; i < x->n; i++)
			if (event_seen(w, n, &x->list[i], m->fieldId) && stamp(n, x->list[i].t_us) >= since)
				event_value(n, &x->list[i], &(*out)[(*count)++]);
		return ST_OK;
	}
	if (!w->sampler) {
		*out = must(malloc(sizeof **out));
		evaluate(e, m, &w->held, w->have_prev ? &w->held_prev : NULL, *out);
		*count = (*out)->ts >= since;
		return ST_OK;
	}
	const Sampler *s = w->sampler;
	int64_t first = s->n; /* the oldest sample that can matter: a value's own time stamp is never later, nor is the engine's clock */
	while (first > 0 && ring_at(s, first - 1)->t_us >= since && ring_at(s, first - 1)->t_us >= w->since_us)
		first--;
	*out = must(malloc((size_t)(s->n - first + 1) * sizeof **out));
	for (int64_t i = first; i < s->n; i++) {
		if (stale(e->dev, m->fieldId, ring_at(s, i)->t_us))
			continue;
		int64_t at = i;
		const Snap *prev = before(w, m->fieldId, &at);
		Value *v = &(*out)[*count];
		evaluate(e, m, ring_at(s, i), prev, v);
		*count += v->ts >= since;
	}
	return ST_OK;
}
