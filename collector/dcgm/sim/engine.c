/* engine.c: the host engine of one node: its entities, its virtual clock, its restarts.
 *
 * A field is sampled when it is first watched and then once per interval (watch.c, sampler.c). Sampling follows from the
 * watch times alone, so the steps in which the clock is advanced change nothing. Callers hold node->mu. */
#include "wlsim.h"

#include <stdlib.h>

/* engine_start lists the entities of a node: itself, GPUs, CPUs, switches, instances of all partitions. */
void engine_start(Node *n)
{
	int count = 1 + n->ngpu + n->ncpu + n->nsw;
	for (int i = 0; i < n->ngpu; i++)
		count += 2 * n->dev[i].ninst;
	n->ent = must(calloc((size_t)count, sizeof *n->ent));
	n->ent[n->nent++] = (Entity){.group = EG_NONE, .inst = -1};
	for (int i = 0; i < n->ngpu; i++)
		n->ent[n->nent++] = (Entity){.group = EG_GPU, .id = (uint32_t)i, .dev = &n->dev[i], .inst = -1};
	for (int i = 0; i < n->ncpu; i++)
		n->ent[n->nent++] = (Entity){.group = EG_CPU, .id = (uint32_t)i, .dev = &n->dev[n->ngpu + i], .inst = -1};
	for (int i = 0; i < n->nsw; i++)
		n->ent[n->nent++] = (Entity){.group = EG_SWITCH, .id = (uint32_t)i, .sw = &n->sw[i], .inst = -1};
	for (uint32_t g = EG_GPU_I; g <= EG_GPU_CI; g++)
		for (int i = 0; i < n->ngpu; i++)
			for (int k = 0; k < n->dev[i].ninst; k++)
				n->ent[n->nent++] = (Entity){.group = g, .id = n->dev[i].inst[k].id, .dev = &n->dev[i], .inst = k};
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
	if (n->ndelays)
		pthread_cond_broadcast(&n->moved);
	return 0;
}

int64_t stamp(const Node *n, int64_t t)
{
	int64_t at = t;
	for (int i = 0; i < n->nsteps && n->steps[i].t_us <= t; i++)
		at -= n->steps[i].by_us;
	return at;
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
