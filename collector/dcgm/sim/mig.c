/* mig.c: the scenario lines that cut a GPU into instances. */
#include "parse.h"

/* slices reads the instances of one partition, which begins at from_ms, behind those of earlier ones. */
static void slices(Parser *p, Device *d, int partition, int64_t from_ms)
{
	static const int base_id[SLICES + 1] = {-1, 7, 3, 1, 1, -1, -1, 0}, memory[SLICES + 1] = {0, 1, 2, 4, 4, 0, 0, 8},
			 profile[SLICES + 1] = {0, 19, 14, 9, 5, 0, 0, 0};
	int sum = 0, mem = 0, next[SLICES + 1] = {0}, n = 0;
	do {
		skip_space(p);
		const char *at = p->at;
		int s = (int)number(p, "compute slices of an instance", 1, SLICES);
		if (!memory[s])
			fail(p, at, "no MIG profile has %d slices: use 1, 2, 3, 4 or 7", s);
		sum += s;
		mem += memory[s];
		if (sum > SLICES || mem > 8)
			fail(p, at, "more than the GPU has: %d of 7 compute slices, %d of 8 memory slices", sum, mem);
		if (d->ninst == MAX_INSTANCES)
			fail(p, at, "more than %d instances in all partitions of a GPU", MAX_INSTANCES);
		Instance *in = &d->inst[d->ninst];
		*in = (Instance){.slices = s, .mem_slices = memory[s], .profile = profile[s], .from_ms = from_ms, .to_ms = NEVER};
		in->gi_id = base_id[s] + next[s == 4 ? 3 : s]++;
		in->id = (uint32_t)(256 * partition + d->index * 8 + n++);
		derive_uuid(in->uuid, "MIG-", p->s->seed, d->node->name, "mig", d->index, d->ninst);
		d->ninst++;
	} while (more(p));
}

void mig_line(Parser *p)
{
	Device *d = take_device(p, NULL, false);
	if (d->ninst || d->nloads)
		fail(p, p->line_at, d->ninst ? "the GPU has MIG instances already" : "mig must stand before the loads of its GPU");
	slices(p, d, 0, 0);
}

/* repartition_line ends the instances that are there and makes others. */
void repartition_line(Parser *p)
{
	Device *d = take_device(p, NULL, false);
	skip_space(p);
	const char *at = p->at;
	int64_t t = time_ms(p, "time of the new partition");
	if (!d->ninst)
		fail(p, p->line_at, "GPU %d of node %s is not in MIG mode: give it a mig line before", d->index, d->node->name);
	int64_t last = d->inst[d->ninst - 1].from_ms;
	if (t <= last || t * 1000 <= p->s->start_us)
		fail(p, at, "the time must lie after the start and after the partition before");
	int partition = (int)(d->inst[d->ninst - 1].id / 256) + 1;
	for (int i = 0; i < d->ninst; i++)
		if (d->inst[i].to_ms == NEVER)
			d->inst[i].to_ms = t;
	slices(p, d, partition, t);
}
