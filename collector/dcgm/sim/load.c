/* load.c: how busy each kind of load keeps a device, as a pure function of time.
 *
 * Utilisation is piecewise constant with edges on whole milliseconds; load_at also says when the next edge is, so that
 * play never evaluates a load in between. Integers and hashes only: the same bits on every machine. */
#include "wlsim.h"

enum { MINUTE_MS = 60000, BURST_MS = 30000, REQUEST_MS = 5000 };

/* pick gives a number in [lo, hi] that depends on the load and n. */
static int64_t pick(const Load *l, uint64_t salt, int64_t n, int64_t lo, int64_t hi)
{
	uint64_t h = mix64(l->seed + salt * UINT64_C(0xd1342543de82ef95) + (uint64_t)n * UINT64_C(0x9e3779b97f4a7c15));
	return lo + (int64_t)(h % (uint64_t)(hi - lo + 1));
}

/* Training: 0.90 to 0.98, a new level each minute, and a checkpoint of 6 to 20 s every 10 to 25 minutes. */
static int32_t training(const Load *l, int64_t t, int64_t *next)
{
	int64_t at = t - l->start_ms;
	int64_t period = pick(l, 1, 0, 600000, 1500000), dip = pick(l, 2, 0, 6000, 20000);
	int64_t into = at % period, minute = at / MINUTE_MS;
	int64_t level_end = (minute + 1) * MINUTE_MS, work_end = at - into + period - dip;
	if (at >= work_end) {
		*next = l->start_ms + at - into + period;
		return (int32_t)pick(l, 3, at / period, 250000, 400000);
	}
	*next = l->start_ms + (level_end < work_end ? level_end : work_end);
	int64_t base = pick(l, 4, 0, 910000, 970000);
	return (int32_t)(base + pick(l, 5, minute, -10000, 10000));
}

/* Inference: between 0.2 and 0.7; a day's wave by UTC hour, request noise every 5 s, and bursts of half a minute. */
static int32_t inference(const Load *l, int64_t t, int64_t *next)
{
	static const int32_t wave[25] = { /* PPM by hour */
		270000, 250000, 240000, 235000, 240000, 260000, 300000, 350000, 410000, 460000, 490000, 500000, 490000,
		500000, 510000, 500000, 480000, 450000, 430000, 420000, 400000, 370000, 330000, 300000, 270000};
	int64_t at = t - l->start_ms, n = at / REQUEST_MS;
	*next = l->start_ms + (n + 1) * REQUEST_MS;
	int64_t day = (l->start_ms + n * REQUEST_MS) % 86400000;
	if (day < 0)
		day += 86400000;
	int64_t hour = day / 3600000, part = day % 3600000;
	int64_t u = wave[hour] + (wave[hour + 1] - wave[hour]) * part / 3600000;
	u += pick(l, 6, 0, -60000, 60000);
	u += pick(l, 7, n, -40000, 40000);
	if (pick(l, 8, at / BURST_MS, 0, 11) == 0)
		u += 180000;
	return (int32_t)(u < 200000 ? 200000 : u > 700000 ? 700000 : u);
}

static int32_t series(const Load *l, int64_t t, int64_t *next)
{
	const Series *s = l->series;
	int64_t span = s->step_ms * s->n, at = t - s->start_ms;
	if (l->kind == LOAD_SERIES) {
		if (at < 0) {
			*next = s->start_ms;
			return 0;
		}
		if (at >= span) {
			*next = NEVER;
			return 0;
		}
	}
	int64_t into = at % span;
	if (into < 0)
		into += span;
	int64_t i = into / s->step_ms;
	*next = t + s->step_ms - into % s->step_ms;
	return s->u[i];
}

int32_t load_at(const Load *l, int64_t t_ms, int64_t *next_ms)
{
	int32_t u = 0;
	*next_ms = NEVER;
	switch (l->kind) {
	case LOAD_IDLE:
		break;
	case LOAD_CONST:
		u = l->level;
		break;
	case LOAD_TRAINING:
		u = training(l, t_ms, next_ms);
		break;
	case LOAD_INFERENCE:
		u = inference(l, t_ms, next_ms);
		break;
	case LOAD_SERIES:
	case LOAD_LOOP:
		u = series(l, t_ms, next_ms);
		break;
	}
	return (int32_t)((int64_t)u * l->share / 1000);
}
