/* sampler.c: snapshots of one entity at one interval, and the clocks that take them.
 *
 * Fields of an entity that are watched at the same interval and phase share their snapshots. Callers hold node->mu. */
#include "wlsim.h"

#include <stdlib.h>
#include <string.h>

enum { RING_MAX = 1 << 20 };

/* must: a node that silently lost samples would be worse than none. */
void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* snap reads an entity at t, which is not in the past of its device. */
void snap(Node *n, const Entity *e, int64_t t_us, Snap *s)
{
	if (!e->dev) {
		memset(s, 0, sizeof *s);
		s->t_us = t_us;
		s->detached = !e->sw && driver_away(n, t_us);
		for (int i = 0; e->sw && i < n->ngpu; i++) { /* a switch carries what the GPUs send */
			Snap g;
			play(&n->dev[i], t_us / 1000);
			take(&n->dev[i], -1, t_us, &g);
			for (int k = 0; k < KINDS; k++) {
				s->act[k] += g.act[k];
				s->u[k] += g.u[k] / n->ngpu;
			}
		}
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

Snap *ring_at(const Sampler *s, int64_t i)
{
	return &s->ring[(s->head + i) % s->cap];
}

int entity_gone(const Entity *e, int64_t t_us)
{
	if (e->inst < 0 || (t_us / 1000 >= e->dev->inst[e->inst].from_ms && t_us / 1000 < e->dev->inst[e->inst].to_ms))
		return ST_OK;
	return e->group == EG_GPU_CI ? ST_COMPUTE_INSTANCE_NOT_FOUND : ST_INSTANCE_NOT_FOUND;
}

/* frozen_from is since when some field of an entity shows the last value from before, NEVER when none does. */
static int64_t frozen_from(const Entity *e, int64_t t)
{
	int64_t from = NEVER;
	for (int i = 0; e->dev && e->dev->stale && i < e->dev->nfaults; i++) {
		const Fault *f = &e->dev->faults[i];
		if (f->kind == FAULT_STALE && t >= f->from_us && t < f->to_us && f->from_us < from)
			from = f->from_us;
	}
	return from;
}

static void sampler_sample(Node *n, Sampler *s, int64_t t)
{
	int64_t frozen = frozen_from(s->entity, t);
	while (s->n > 2 && ring_at(s, 1)->t_us < t - s->keep_us && ring_at(s, 2)->t_us < frozen) { /* what is read last must stay */
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

void clock_sample(Node *n, Clock *c, int64_t t)
{
	for (Sampler *s = c->samplers; s; s = s->clock_next)
		if ((!s->n || ring_at(s, s->n - 1)->t_us < t) && !entity_gone(s->entity, t))
			sampler_sample(n, s, t);
}

void sampler_drop(Node *n, Sampler *s)
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
Sampler *sampler_get(Node *n, Entity *e, int64_t interval)
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
