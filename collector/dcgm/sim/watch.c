/* watch.c: what is watched, and reading it back.
 *
 * A field of an entity is sampled at the shortest interval that anybody asked for and kept as long as anybody asked. Its
 * values are computed from snapshots when they are read. Callers hold node->mu. */
#include "wlsim.h"

#include <stdlib.h>
#include <string.h>

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
