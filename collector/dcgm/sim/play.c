/* play.c: the physics of one device.
 *
 * Power is a whole number of milliwatts over each segment, and a segment ends at every step of the device's 100 ms grid
 * and at every edge of a load, which are whole milliseconds. So energy is a sum of mW × ms: exact µJ, whatever the steps
 * in which time is advanced. Integers only, hence the same bits on every machine.
 *
 *   P = idle + (full − idle)·u·(1 + 3 %·heat) + noise, within [10 W, limit]
 *
 * heat follows u with a time constant of 90 s; noise is a hash of (device, slot). */
#include "wlsim.h"

#include <stdlib.h>
#include <string.h>

enum {
	HEAT_ONE = 1 << 30,
	HEAT_ALPHA = 73, /* of 65536 per slot: 65536 · 0.1 s / 90 s */
	FLOOR_MW = 10000,
	FB_RESERVED_PPM = 4000,
};

static int64_t slot_start(const Device *d)
{
	return d->slot * SLOT_MS + d->phase_ms;
}

static inline int64_t slot_power(const Device *d, int64_t slot, int64_t heat)
{
	uint64_t h = mix64(d->seed + (uint64_t)slot * UINT64_C(0x9e3779b97f4a7c15));
	int64_t noise = (int64_t)(h >> 48) + (int64_t)(h >> 32 & 0xffff) - 65535; /* triangular */
	int64_t p = d->p_base + (d->p_drift * heat >> 30) + (noise * d->p_amp >> 16);
	return p < FLOOR_MW ? FLOOR_MW : p > d->limit_mw ? d->limit_mw : p;
}

static void set_power(Device *d)
{
	d->power_mw = d->up && !d->lost ? slot_power(d, d->slot, d->heat) : 0;
}

static int kind_of(LoadKind k)
{
	return k == LOAD_TRAINING ? 0 : k == LOAD_INFERENCE ? 1 : k == LOAD_CONST ? 2 : 3;
}

/* Share of the frame buffer that a load of this kind holds. */
static int64_t memory_of(LoadKind k)
{
	return k == LOAD_TRAINING ? 820000 : k == LOAD_INFERENCE ? 640000 : k == LOAD_IDLE ? 30000 : 450000;
}

static void usage_add(Usage *s, const Load *l, int32_t u)
{
	s->u[kind_of(l->kind)] += u;
	s->fb_ppm += (int32_t)(memory_of(l->kind) * l->share / 1000);
}

/* usage_close caps the sum at 1, each kind in proportion, and returns it. */
static int64_t usage_close(Usage *s)
{
	int64_t sum = 0, all = 0;
	for (int k = 0; k < KINDS; k++)
		sum += s->u[k];
	for (int k = 0; k < KINDS; k++) {
		if (sum > PPM)
			s->u[k] = (int32_t)((int64_t)s->u[k] * PPM / sum);
		all += s->u[k];
	}
	s->on = all > 0 ? PPM : 0;
	if (s->fb_ppm > 950000)
		s->fb_ppm = 950000;
	s->fb_ppm += FB_RESERVED_PPM;
	return all;
}

static void usage_clear(Usage *s)
{
	memset(s->u, 0, sizeof s->u);
	s->on = 0;
	s->fb_ppm = 0;
}

static void usage_run(Usage *s, uint64_t ms)
{
	for (int k = 0; k < KINDS; k++)
		s->act[k] += (uint64_t)s->u[k] * ms;
	s->busy += (uint64_t)s->on * ms;
}

static void lower(int64_t *a, int64_t b)
{
	if (b < *a)
		*a = b;
}

/* loads_now fills in utilisation at pos_ms and lowers change_ms to its next edge. */
static void loads_now(Device *d)
{
	int64_t t = d->pos_ms;
	int n = 0;
	for (int i = 0; i < d->nactive; i++)
		if (d->loads[d->active[i]].end_ms > t)
			d->active[n++] = d->active[i];
	d->nactive = n;
	for (; d->next_load < d->nloads && d->loads[d->next_load].start_ms <= t; d->next_load++)
		if (d->loads[d->next_load].end_ms > t)
			d->active[d->nactive++] = d->next_load; /* active has room for all loads */
	if (d->next_load < d->nloads)
		lower(&d->change_ms, d->loads[d->next_load].start_ms);

	usage_clear(&d->whole);
	for (int i = 0; i < d->ninst; i++) /* those of other partitions too: nothing runs there */
		usage_clear(&d->part[i]);
	d->u = d->weights = 0;
	for (int i = 0; i < d->nactive; i++) {
		const Load *l = &d->loads[d->active[i]];
		int64_t next;
		int32_t u = load_at(l, t, &next);
		lower(&d->change_ms, next);
		lower(&d->change_ms, l->end_ms);
		if (d->up && !d->lost && (l->instance < 0 || (l->instance >= d->lo && l->instance < d->hi)))
			usage_add(l->instance < 0 ? &d->whole : &d->part[l->instance], l, u);
	}
	if (!d->ninst) {
		d->u = usage_close(&d->whole);
		return;
	}
	for (int i = d->lo; i < d->hi; i++) {
		Usage *p = &d->part[i];
		int s = d->inst[i].slices;
		d->weight[i] = usage_close(p) * s;
		d->weights += d->weight[i];
		for (int k = 0; k < KINDS; k++)
			d->whole.u[k] += p->u[k] * s / SLICES;
		d->whole.on += p->on / SLICES * s;
		d->whole.fb_ppm += p->fb_ppm * d->inst[i].mem_slices / 8;
	}
	d->u = d->weights / SLICES;
}

/* spans_fold moves the energy of the span that ends here to the instances. Spans end at changes only, never where
 * somebody happened to stop advancing, so rounding does not depend on the steps. */
static void spans_fold(Device *d)
{
	int slices = 0;
	for (int i = d->lo; i < d->hi; i++)
		slices += d->inst[i].slices;
	for (int i = d->lo; i < d->hi; i++) {
		int s = d->inst[i].slices;
		__int128 rest = d->weights ? (__int128)d->span_rest_uj * d->weight[i] / d->weights : (__int128)d->span_rest_uj * s / slices;
		d->inst_uj[i] += d->span_base_uj * s / SLICES + (int64_t)rest;
	}
	d->span_base_uj = d->span_rest_uj = 0;
}

static void restart_counter(Device *d)
{
	d->base_uj = d->total_uj;
	d->base_ms = d->pos_ms;
}

/* restart_activity begins the counters of work anew; the chip stays as warm as it is. */
static void restart_activity(Device *d)
{
	restart_counter(d);
	d->capped_ms = 0;
	d->since++;
	memset(&d->whole, 0, sizeof d->whole);
	memset(d->part, 0, sizeof d->part);
}

/* find_instances finds those that exist, and when they are made anew. */
static void find_instances(Device *d)
{
	d->lo = d->hi = 0;
	for (int i = 0; i < d->ninst; i++) {
		const Instance *in = &d->inst[i];
		if (in->from_ms > d->pos_ms)
			lower(&d->change_ms, in->from_ms);
		else if (d->pos_ms < in->to_ms) {
			d->lo = d->hi ? d->lo : i;
			d->hi = i + 1;
		}
	}
}

/* settle applies everything that happens at pos_ms and finds the next change. */
static void settle(Device *d)
{
	const Node *n = d->node;
	int64_t t = d->pos_ms;
	spans_fold(d);
	d->change_ms = NEVER;
	for (; d->next_reset < d->nresets && d->resets_ms[d->next_reset] <= t; d->next_reset++)
		restart_counter(d);
	for (; d->next_lost < d->nlosts && d->losts_ms[d->next_lost] <= t; d->next_lost++)
		d->lost = true;
	for (; d->next_plug < d->nplugs && d->plugs_ms[d->next_plug] <= t; d->next_plug++) {
		d->lost = false;
		restart_activity(d);
	}
	for (; d->next_driver < n->ndrivers && n->drivers[d->next_driver].t_ms <= t; d->next_driver++)
		if (!d->cpu)
			restart_activity(d);
	for (; d->next_power < n->npowers && n->powers[d->next_power].t_ms <= t; d->next_power++) {
		d->up = n->powers[d->next_power].boot;
		if (!d->up)
			continue;
		d->lost = false;
		d->heat = 0;
		d->boot_uj = d->total_uj;
		d->boot_ms = t;
		restart_activity(d);
	}
	if (d->next_reset < d->nresets)
		lower(&d->change_ms, d->resets_ms[d->next_reset]);
	if (d->next_lost < d->nlosts)
		lower(&d->change_ms, d->losts_ms[d->next_lost]);
	if (d->next_plug < d->nplugs)
		lower(&d->change_ms, d->plugs_ms[d->next_plug]);
	if (d->next_driver < n->ndrivers)
		lower(&d->change_ms, n->drivers[d->next_driver].t_ms);
	if (d->next_power < n->npowers)
		lower(&d->change_ms, n->powers[d->next_power].t_ms);

	find_instances(d);
	loads_now(d);
	int64_t dyn = (d->full_mw - d->idle_mw) * d->u / PPM;
	d->p_base = d->idle_mw + dyn;
	d->p_drift = dyn * 3 / 100;
	d->p_amp = d->noise_mw / 10 + d->noise_mw * 9 / 10 * d->u / PPM;
	set_power(d);

	if (t == d->truth_ms)
		truth_row(d);
	lower(&d->change_ms, d->truth_ms);
	for (; d->next_fault < d->nfaults && d->faults[d->next_fault].from_us / 1000 <= t; d->next_fault++) {
		Fault *f = &d->faults[d->next_fault];
		if (f->kind != FAULT_STUCK)
			continue;
		for (int i = -1; i < d->ninst; i++)
			take(d, i, f->from_us, &f->held[1 + i]);
		f->have = true;
	}
	if (d->next_fault < d->nfaults)
		lower(&d->change_ms, d->faults[d->next_fault].from_us / 1000);
}

void device_begin(Device *d)
{
	d->pos_ms = d->node->scenario->start_us / 1000;
	d->slot = (d->pos_ms - d->phase_ms) / SLOT_MS;
	if (d->slot * SLOT_MS + d->phase_ms > d->pos_ms)
		d->slot--;
	d->truth_ms = d->pos_ms;
	settle(d);
}

/* run_slots plays n whole slots during which nothing changes. The inner loop of everything. */
static void run_slots(Device *d, int64_t n)
{
	int64_t target = ((int64_t)HEAT_ONE * d->u) / PPM, heat = d->heat, total = d->total_uj, capped = 0, base = 0;
	int64_t slot = d->slot, limit = d->limit_mw, mig_idle = d->mig_idle_mw;
	bool on = d->up && !d->lost;
	for (int64_t i = 0; i < n; i++, slot++) {
		int64_t p = on ? slot_power(d, slot, heat) : 0;
		total += p * SLOT_MS;
		base += p < mig_idle ? p : mig_idle;
		capped += p == limit;
		d->grid_uj[slot & 15] = total;
		heat += (target - heat) * HEAT_ALPHA >> 16;
	}
	d->span_base_uj += base * SLOT_MS;
	d->span_rest_uj += total - d->total_uj - base * SLOT_MS;
	d->capped_ms += capped * SLOT_MS;
	d->slot = slot;
	d->heat = heat;
	d->total_uj = total;
	d->pos_ms += n * SLOT_MS;
	set_power(d);
}

/* run_part plays within one slot, up to its end at most. */
static void run_part(Device *d, int64_t to)
{
	int64_t ms = to - d->pos_ms, p = d->power_mw, base = p < d->mig_idle_mw ? p : d->mig_idle_mw;
	d->total_uj += p * ms;
	d->span_base_uj += base * ms;
	d->span_rest_uj += (p - base) * ms;
	if (p == d->limit_mw)
		d->capped_ms += ms;
	d->pos_ms = to;
	if (to != slot_start(d) + SLOT_MS)
		return;
	d->grid_uj[d->slot & 15] = d->total_uj;
	d->heat += ((int64_t)HEAT_ONE * d->u / PPM - d->heat) * HEAT_ALPHA >> 16;
	d->slot++;
	set_power(d);
}

void play(Device *d, int64_t to)
{
	while (d->pos_ms < to) {
		int64_t from = d->pos_ms, lim = to < d->change_ms ? to : d->change_ms;
		while (d->pos_ms < lim) {
			int64_t start = slot_start(d), whole = (lim - d->pos_ms) / SLOT_MS;
			if (d->pos_ms == start && whole > 0)
				run_slots(d, whole);
			else
				run_part(d, lim < start + SLOT_MS ? lim : start + SLOT_MS);
		}
		usage_run(&d->whole, (uint64_t)(lim - from));
		for (int i = d->lo; i < d->hi; i++)
			usage_run(&d->part[i], (uint64_t)(lim - from));
		if (d->pos_ms == d->change_ms)
			settle(d);
	}
}

void take(Device *d, int inst, int64_t t_us, Snap *s)
{
	const Usage *u = inst < 0 ? &d->whole : &d->part[inst];
	uint64_t rest = (uint64_t)(t_us - d->pos_ms * 1000);
	int64_t grid = slot_start(d), at = d->grid_uj[(d->slot - 1) & 15];
	memset(s, 0, sizeof *s);
	s->t_us = t_us;
	if (grid >= d->base_ms) {
		s->energy_mj = (at - d->base_uj) / 1000;
		s->energy_ts_us = grid * 1000;
	} else {
		s->energy_ts_us = d->base_ms * 1000; /* the counter restarted after the last grid step */
	}
	if (grid - d->boot_ms >= MEAN_SLOTS * SLOT_MS)
		s->mean_mw = (at - d->grid_uj[(d->slot - 1 - MEAN_SLOTS) & 15]) / (MEAN_SLOTS * SLOT_MS);
	else if (grid > d->boot_ms)
		s->mean_mw = (at - d->boot_uj) / (grid - d->boot_ms);
	else
		s->mean_mw = d->power_mw;
	s->inst_mw = d->power_mw;
	for (int k = 0; k < KINDS; k++) {
		s->act[k] = u->act[k] * 1000 + (uint64_t)u->u[k] * rest;
		s->u[k] = u->u[k];
	}
	s->busy = u->busy * 1000 + (uint64_t)u->on * rest;
	s->on = u->on;
	s->heat = (int32_t)(d->heat * PPM >> 30);
	s->capped_ms = d->capped_ms;
	s->capped = d->power_mw == d->limit_mw;
	s->fb_ppm = u->fb_ppm;
	s->since = d->since;
	s->lost = d->lost;
	s->detached = !d->cpu && driver_away(d->node, t_us);
}
