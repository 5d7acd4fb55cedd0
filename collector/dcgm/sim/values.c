/* values.c: from snapshots to the values of DCGM fields.
 *
 * Profiling fields are exact means over the watch interval: the difference of two activity integrals over the elapsed
 * time. Fields that the hardware would not have are NOT_SUPPORTED blanks with status 0, as DCGM gives them. */
#include "kind.h"

#include <stdio.h>
#include <string.h>

/* Per kind of load (training, inference, constant, series), in thousandths of sm_active. */
static const int occupancy[KINDS] = {520, 310, 400, 420}, tensor[KINDS] = {560, 240, 450, 350}, dram[KINDS] = {610, 720, 500, 480},
		 fp32[KINDS] = {90, 60, 120, 110}, fp16[KINDS] = {70, 110, 50, 60}, same[KINDS] = {1000, 1000, 1000, 1000};
/* In MB/s at sm_active 1. */
static const int pcie_tx[KINDS] = {2400, 3900, 1500, 1800}, pcie_rx[KINDS] = {5200, 6100, 2500, 3000},
		 nvlink_tx[KINDS] = {310000, 64000, 90000, 120000}, nvlink_rx[KINDS] = {305000, 62000, 90000, 118000};

void value_blank(const dcgm_field_meta_t *m, int why, Value *v)
{
	static const char *const text[] = {"<<<NULL>>>", "<<<NOT_FOUND>>>", "<<<NOT_SUPPORTED>>>", "<<<NOT_PERM>>>"};
	v->status = ST_OK;
	v->blob = 0;
	v->i64 = INT64_BLANK + why;
	v->dbl = FP64_BLANK + why;
	if (m->fieldType == 's' || m->fieldType == 'b')
		snprintf(v->str, sizeof v->str, "%s", text[why]);
}

void value_put(const Value *v, const dcgm_field_meta_t *m, dcgmValue_t *out)
{
	if (m->fieldType == 'd')
		out->dbl = v->dbl;
	else if (m->fieldType == 's')
		strcpy(out->str, v->str);
	else if (m->fieldType == 'b' && v->blob)
		memcpy(out->blob, v->str, (size_t)v->blob);
	else if (m->fieldType == 'b')
		strcpy(out->str, v->str); /* a blank */
	else
		out->i64 = v->i64;
}

/* weigh sums activity × factor in PPM·µs × factor. */
static unsigned __int128 weigh(const uint64_t *act, const int *factor)
{
	unsigned __int128 sum = 0;
	for (int k = 0; k < KINDS; k++)
		sum += (unsigned __int128)act[k] * (unsigned)factor[k];
	return sum;
}

/* mean is the mean of factor × activity over the interval, times 1000 × PPM; of the instant when there is no interval
 * (a stuck field). It says whether there is one. */
static bool mean(const Snap *cur, const Snap *prev, const int *factor, bool stuck, double *out)
{
	uint64_t act[KINDS];
	if (!prev && !stuck)
		return false;
	int64_t us = prev ? cur->t_us - prev->t_us : 1;
	for (int k = 0; k < KINDS; k++)
		act[k] = prev ? cur->act[k] - prev->act[k] : (uint64_t)cur->u[k];
	*out = (double)weigh(act, factor) / ((double)us * 1000.0 * PPM);
	return true;
}

/* bytes is the cumulative traffic since boot: MB/s × s. */
static int64_t bytes(const Snap *cur, const int *rate)
{
	return (int64_t)(weigh(cur->act, rate) / PPM); /* PPM·µs × MB/s = 10^-6 s × 10^6 B/s × PPM */
}

static int64_t now_ppm(const Snap *s, const int *factor)
{
	int64_t sum = 0;
	for (int k = 0; k < KINDS; k++)
		sum += (int64_t)s->u[k] * factor[k];
	return sum / 1000;
}

static Kind node_value(const Entity *e, const dcgm_field_meta_t *m, const Snap *c, Value *v)
{
	switch (m->fieldId) {
	case 1:
		return str(v, driver_version(e->node, c->t_us));
	case 2:
		snprintf(v->str, sizeof v->str, "13.%s", driver_version(e->node, c->t_us));
		return STR;
	case 4:
		return num(v, e->node->ngpu);
	case 5:
		return num(v, 13000);
	}
	return BLANKED;
}

static Kind switch_value(const Entity *e, const dcgm_field_meta_t *m, const Snap *c, Value *v)
{
	int64_t u = now_ppm(c, same), own = (int64_t)(e->sw->seed % 5);
	switch (m->fieldId) {
	case 705:
		return num(v, 38 + own + 60 * u / PPM);
	case 706:
		return num(v, 12 + 4 * u / PPM);
	case 707:
		return num(v, 9 + own / 2 + 8 * u / PPM);
	case 858:
		return num(v, 41 + own + 17 * u / PPM);
	case 861: /* what the GPUs send comes in, in equal parts */
		return num(v, bytes(c, nvlink_rx) / e->node->nsw);
	case 862:
		return num(v, bytes(c, nvlink_tx) / e->node->nsw);
	case 864:
		return num(v, 0);
	case 1524:
		return str(v, "3.0.16");
	}
	return BLANKED;
}

static Kind cpu_value(const Device *d, const dcgm_field_meta_t *m, const Snap *c, const Snap *prev, Value *v)
{
	int64_t u = now_ppm(c, same);
	double share;
	switch (m->fieldId) {
	case 1130:
		return watts(v, c->mean_mw);
	case 1131:
		return watts(v, d->limit_mw);
	case 1132:
		return watts(v, 22000 + 8000 * u / PPM);
	case 1133: /* CPU, GPUs, IO, and 45 W of memory and regulators per module */
		return watts(v, c->mean_mw + c->module_mw + 22000 + 8000 * u / PPM + 45000);
	case 1110:
		return dbl(v, (double)(38 + c->heat * 22LL / PPM));
	case 1111:
		return dbl(v, 94);
	case 1112:
		return dbl(v, 99);
	case 1100:
	case 1101:
	case 1103:
		if (!mean(c, prev, same, false, &share))
			return NONE;
		share = 0.02 + share * 0.28;
		return dbl(v, m->fieldId == 1100 ? share : m->fieldId == 1101 ? share * 0.75 : share * 0.25);
	case 1102:
	case 1104:
		return dbl(v, 0);
	case 1140:
		return str(v, "Nvidia");
	case 1141:
		return str(v, "Grace");
	}
	(void)d;
	return BLANKED;
}

static Kind profiling(const Entity *e, const dcgm_field_meta_t *m, const Snap *c, const Snap *prev, bool stuck, Value *v)
{
	const Model *md = e->dev->model;
	const int *factor;
	double x;
	if (!md->profiling)
		return BLANKED;
	switch (m->fieldId) {
	case 1001:
	case 1002:
		factor = same;
		break;
	case 1003:
		factor = occupancy;
		break;
	case 1004:
	case 1014:
		factor = tensor;
		break;
	case 1005:
		factor = dram;
		break;
	case 1006:
	case 1013:
	case 1015:
	case 1016:
		return prev || stuck ? dbl(v, 0) : NONE;
	case 1007:
		factor = fp32;
		break;
	case 1008:
		factor = fp16;
		break;
	case 1009:
		factor = pcie_tx;
		break;
	case 1010:
		factor = pcie_rx;
		break;
	case 1011:
		factor = nvlink_tx;
		break;
	case 1012:
		factor = nvlink_rx;
		break;
	case 1091:
		return num(v, bytes(c, pcie_tx));
	case 1092:
		return num(v, bytes(c, pcie_rx));
	default:
		return BLANKED;
	}
	if (m->fieldId == 1011 || m->fieldId == 1012)
		if (!md->nvlinks)
			return BLANKED;
	if (!mean(c, prev, factor, stuck, &x))
		return NONE;
	if (m->fieldId >= 1009) /* thousandths of GB/s are MB/s */
		return num(v, (int64_t)(x * 1e9));
	if (m->fieldId == 1001) { /* the engine is busy in between too: half way from sm_active to "some load runs" */
		uint64_t us = prev ? (uint64_t)(c->t_us - prev->t_us) : 1;
		uint64_t busy = prev ? c->busy - prev->busy : (uint64_t)c->on;
		return dbl(v, (x + (double)busy / ((double)us * PPM)) / 2);
	}
	return dbl(v, x);
}

static Kind power(const Device *d, const dcgm_field_meta_t *m, const Snap *c, Value *v)
{
	switch (m->fieldId) {
	case 155:
		return watts(v, c->mean_mw);
	case 157: /* an unsupported instant reading is a plain 0 */
		return watts(v, d->model->power_instant ? c->inst_mw : 0);
	case 156:
		return d->model->energy_counter ? (v->ts = c->energy_ts_us, num(v, c->energy_mj)) : BLANKED;
	case 160:
	case 162:
	case 163:
	case 164:
		return watts(v, d->limit_mw);
	case 161:
		return watts(v, d->model->min_limit_mw);
	case 165:
	case 166:
	case 167: /* no profile asked for */
		if (d->model->arch < 10)
			return BLANKED;
		v->blob = 32;
		memset(v->str, 0, 32);
		if (m->fieldId == 167)
			v->str[0] = 0x07;
		return STR;
	case 240:
	case 1420:
		return num(v, c->capped_ms * 1000000);
	case 1428:
	case 1429:
		return BLANKED;
	case 112:
		return num(v, !c->on ? 0x1 : c->capped ? 0x4 : 0);
	}
	return BLANKED;
}

static Kind gauges(const Entity *e, const dcgm_field_meta_t *m, const Snap *c, const Snap *prev, bool stuck, Value *v)
{
	const Device *d = e->dev;
	const Model *md = d->model;
	int64_t temp = 29 + c->heat * 38LL / PPM;
	bool mig = d->ninst > 0;
	switch (m->fieldId) {
	case 100:
		return num(v, c->on ? (c->capped ? md->sm_mhz * 96LL / 100 : md->sm_mhz) : 120);
	case 101:
	case 111:
	case 114:
		return num(v, md->mem_mhz);
	case 102:
	case 115:
		return num(v, md->sm_mhz * 9LL / 10);
	case 110:
	case 113:
		return num(v, md->sm_mhz);
	case 190:
		return num(v, 0);
	case 150:
		return num(v, temp);
	case 140:
		return md->mem_temp ? num(v, temp + 5) : BLANKED;
	case 153:
		return num(v, 87 - temp);
	case 203:
		return mig ? BLANKED : num(v, ((now_ppm(c, same) + c->on) / 2 + 5000) / 10000);
	case 204:
		return mig ? BLANKED : num(v, (now_ppm(c, dram) + 5000) / 10000);
	case 206:
	case 207:
		return mig ? BLANKED : num(v, 0);
	case 449:
	case 843:
	case 897: { /* a rate in MB/s, and 0 at the first sample */
		double tx = 0, rx = 0;
		if (!md->nvlinks)
			return BLANKED;
		if (!mean(c, prev, nvlink_tx, stuck, &tx) || !mean(c, prev, nvlink_rx, stuck, &rx))
			return num(v, 0);
		return num(v, (int64_t)(((m->fieldId == 897 ? 0 : tx) + (m->fieldId == 843 ? 0 : rx)) * 1000));
	}
	case 235:
	case 237:
		return num(v, md->pcie_gen);
	case 236:
	case 238:
		return num(v, 16);
	case 300:
	case 301:
		return num(v, 1);
	case 170:
		return num(v, md->nvlinks ? 3 : 0);
	case 171:
		return md->nvlinks ? num(v, 0) : BLANKED;
	case 173:
		return md->nvlinks ? num(v, 1) : BLANKED;
	case 175:
		return num(v, md->nvlinks ? 1 : 0);
	case 1201:
		return md->nvlinks && md->arch >= 10 ? num(v, bytes(c, nvlink_tx)) : BLANKED;
	case 1203:
		return md->nvlinks && md->arch >= 10 ? num(v, bytes(c, nvlink_rx)) : BLANKED;
	case 285:
		return md->grace ? num(v, 14) : BLANKED;
	case 286:
		return md->grace ? num(v, 1) : BLANKED;
	case 385:
		return num(v, 6144);
	}
	return BLANKED;
}

/* healthy is true for counters and flags that stay 0 on hardware without faults. */
static bool healthy(const Device *d, uint16_t f)
{
	return f == 202 || (f >= 241 && f <= 247) || (f >= 1421 && f <= 1424) || (f >= 310 && f <= 313) || f == 346 || (f >= 386 && f <= 389) ||
		(f >= 393 && f <= 396) || f == 526 || f == 1501 || f == 1507 || f == 1523 ||
		(d->model->nvlinks && d->model->arch >= 10 &&
			(f == 450 || (f >= 1204 && f <= 1214) || f == 1220 || (f >= 1404 && f <= 1419))) ||
		(d->model->grace && f >= 1400 && f <= 1403);
}

static Kind gpu_value(const Entity *e, const dcgm_field_meta_t *m, const Snap *c, const Snap *prev, bool stuck, Value *v)
{
	const Device *d = e->dev;
	uint16_t f = m->fieldId;
	if (field_profiling(f))
		return profiling(e, m, c, prev, stuck, v);
	if (healthy(d, f))
		return num(v, 0);
	Kind k = identity(e, m, v);
	if (k == BLANKED)
		k = memory(e, m, c, v);
	if (k == BLANKED)
		k = power(d, m, c, v);
	if (k == BLANKED)
		k = gauges(e, m, c, prev, stuck, v);
	return k;
}

void value_of(const Entity *e, const dcgm_field_meta_t *m, const Snap *c, const Snap *prev, Value *v)
{
	v->status = ST_OK;
	v->ts = c->t_us;
	v->blob = 0;
	bool stuck = prev == c;
	if (stuck || (prev && prev->since != c->since))
		prev = NULL;
	Kind k;
	if (c->detached) {
		value_blank(m, BLANK, v);
		v->status = ST_GPUS_DETACHED;
		return;
	}
	if (c->lost) {
		value_blank(m, BLANK, v);
		v->status = ST_GPU_IS_LOST;
		return;
	}
	if (e->sw)
		k = switch_value(e, m, c, v);
	else if (!e->dev)
		k = node_value(e, m, c, v);
	else if (e->dev->cpu)
		k = cpu_value(e->dev, m, c, prev, v);
	else
		k = gpu_value(e, m, c, prev, stuck, v);
	if (k == BLANKED)
		value_blank(m, BLANK_NOT_SUPPORTED, v);
	else if (k == NONE)
		value_blank(m, BLANK, v);
}
