/* truth.c: what really happened, written down as it is played and never served through the DCGM interface.
 *
 * A row is the exact energy of a device since the start of the scenario, at every edge of its loads, every full hour in
 * UTC and every mark. Resets and reboots do not touch it. */
#include "wlsim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* truth_row records the present and finds when the next row is due. */
void truth_row(Device *d)
{
	const Scenario *s = d->node->scenario;
	int64_t t = d->pos_ms;
	if (d->ntruth == d->captruth) {
		int cap = d->captruth ? d->captruth * 2 : 32;
		TruthRow *p = realloc(d->truth, (size_t)cap * sizeof *p);
		if (!p)
			abort(); /* a truth with holes would be worse */
		d->truth = p;
		d->captruth = cap;
	}
	TruthRow *r = &d->truth[d->ntruth++];
	r->t_ms = t;
	r->uj = d->total_uj;
	memcpy(r->inst_uj, d->inst_uj, sizeof r->inst_uj);

	int64_t next = (t / 3600000 + 1) * 3600000;
	while (d->next_edge < d->nedges && d->edges_ms[d->next_edge] <= t)
		d->next_edge++;
	if (d->next_edge < d->nedges && d->edges_ms[d->next_edge] < next)
		next = d->edges_ms[d->next_edge];
	while (d->next_mark < s->nmarks && s->marks_ms[d->next_mark] <= t)
		d->next_mark++;
	if (d->next_mark < s->nmarks && s->marks_ms[d->next_mark] < next)
		next = s->marks_ms[d->next_mark];
	d->truth_ms = next;
}

/* truth_at is the energy of the row at an instant, -1 when there is none. Rows are in order of time. */
int64_t truth_at(const Device *d, int64_t t_ms)
{
	int lo = 0, hi = d->ntruth;
	while (lo < hi) {
		int mid = lo + (hi - lo) / 2;
		if (d->truth[mid].t_ms < t_ms)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < d->ntruth && d->truth[lo].t_ms == t_ms ? d->truth[lo].uj : -1;
}

static void write_device(FILE *f, const Device *d)
{
	for (int i = 0; i < d->ntruth; i++)
		fprintf(f, "%s,%" PRId64 ",%" PRId64 "\n", d->uuid, d->truth[i].t_ms * 1000, d->truth[i].uj);
	for (int k = 0; k < d->ninst; k++)
		for (int i = 0; i < d->ntruth; i++)
			fprintf(f, "%s,%" PRId64 ",%" PRId64 "\n", d->inst[k].uuid, d->truth[i].t_ms * 1000, d->truth[i].inst_uj[k]);
}

int truth_write(Scenario *s, const char *path, char *err, size_t errlen)
{
	FILE *f = fopen(path, "w");
	if (!f) {
		snprintf(err, errlen, "create truth file %s: %s", path, strerror(errno));
		return -1;
	}
	fputs("entity,t_us,energy_uj\n", f);
	for (int i = 0; i < s->nnode; i++) {
		Node *n = s->node[i];
		pthread_mutex_lock(&n->mu);
		for (int k = 0; k < n->ngpu + n->ncpu; k++) {
			play(&n->dev[k], n->now_us / 1000);
			write_device(f, &n->dev[k]);
		}
		pthread_mutex_unlock(&n->mu);
	}
	bool bad = ferror(f);
	if (fclose(f) != 0 || bad) {
		snprintf(err, errlen, "write truth file %s: %s", path, strerror(errno));
		return -1;
	}
	return 0;
}
