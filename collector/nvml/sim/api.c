/* api.c: the calls of NVML. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTER(d) do { nvmlReturn_t rc_ = enter(__func__, d); if (rc_) return leave(rc_); } while (0)
#define NEED(x) do { if (!(x)) return leave(INVALID_ARGUMENT); } while (0)

static nvmlReturn_t give(char *to, unsigned len, const char *text)
{
	if (!to)
		return leave(INVALID_ARGUMENT);
	if (strlen(text) >= len)
		return leave(INSUFFICIENT_SIZE);
	strcpy(to, text);
	return leave(SUCCESS);
}

static struct nvmlDevice_st *whole(nvmlDevice_t d) { return d->gpu ? d->gpu : d; }

EXPORT nvmlReturn_t nvmlInit_v2(void)
{
	ENTER(NULL);
	sim.initialised++;
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlShutdown(void)
{
	ENTER(NULL);
	sim.initialised--;
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char *v, unsigned len)
{
	ENTER(NULL);
	return give(v, len, "580.95.05");
}

EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *n)
{
	ENTER(NULL);
	NEED(n);
	*n = (unsigned)sim.gpus;
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned i, nvmlDevice_t *d)
{
	ENTER(NULL);
	NEED(d && i < (unsigned)sim.gpus);
	*d = &sim.gpu[i];
	return leave(staged("nvmlDeviceGetHandleByIndex_v2", *d));
}

EXPORT nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *to, unsigned len)
{
	ENTER(d);
	NEED(d);
	return give(to, len, d->uuid);
}

EXPORT nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *to, unsigned len)
{
	char name[96];
	ENTER(d);
	NEED(d);
	snprintf(name, sizeof name, d->gpu ? "NVIDIA H100 80GB HBM3 MIG %s" : "NVIDIA H100 80GB HBM3", d->profile);
	return give(to, len, name);
}

EXPORT nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t d, char *to, unsigned len)
{
	char serial[32];
	ENTER(d);
	NEED(d);
	snprintf(serial, sizeof serial, "16500000%05d", whole(d)->index);
	return give(to, len, serial);
}

EXPORT nvmlReturn_t nvmlDeviceGetVbiosVersion(nvmlDevice_t d, char *to, unsigned len)
{
	ENTER(d);
	return give(to, len, "96.00.A5.00.01");
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, nvmlPciInfo_t *p)
{
	ENTER(d);
	NEED(d && p);
	memset(p, 0, sizeof *p);
	p->bus = 0x1b + 0x10 * (unsigned)whole(d)->index;
	snprintf(p->busId, sizeof p->busId, "%08X:%02X:%02X.0", 0, p->bus & 0xff, 0);
	return leave(SUCCESS);
}

/* Minor numbers are not indices: on real boards they run the other way round, too. */
EXPORT nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t d, unsigned *n)
{
	ENTER(d);
	NEED(d && n);
	*n = (unsigned)(sim.gpus - 1 - whole(d)->index);
	return leave(SUCCESS);
}

static nvmlReturn_t field(struct nvmlDevice_st *g, nvmlFieldValue_t *v)
{
	char number[16];
	snprintf(number, sizeof number, "%u", v->fieldId);
	nvmlReturn_t rc = staged(number, g);
	bool zero = rc == ZERO;
	if (rc && !zero)
		return rc;
	v->valueType = 3;
	v->value.ull = 0;
	v->timestamp = sim.now + sim.skew;
	v->latencyUsec = 5;
	switch (v->fieldId) {
	case 83: v->value.ull = g->energy / 1000000; break;
	case 185:
	case 186: v->valueType = 1; v->value.u = zero ? 0 : g->power_mw; break;
	case 190: v->valueType = 1; v->value.u = 700000; break;
	case 82: v->valueType = 1; v->value.u = 50; break;
	case 94: v->valueType = 1; v->value.u = g->replays; break;
	case 5: v->value.ull = g->sbe; break;
	case 6: v->value.ull = g->dbe; break;
	case 74:
	case 75: v->value.ull = 0; break;
	default: return NOT_SUPPORTED;
	}
	if (g->stale.field == v->fieldId) {
		if (!g->stale.value.timestamp)
			g->stale.value = *v;
		*v = g->stale.value;
	}
	return SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t d, int n, nvmlFieldValue_t *v)
{
	ENTER(d);
	NEED(d && v && n > 0);
	for (int i = 0; i < n; i++)
		v[i].nvmlReturn = d->gpu ? NOT_SUPPORTED : field(d, &v[i]);
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t d, unsigned *least, unsigned *most)
{
	ENTER(d);
	NEED(least && most);
	*least = 200000;
	*most = 700000;
	return leave(SUCCESS);
}

#define NUMBER(name, expression) \
	EXPORT nvmlReturn_t name(nvmlDevice_t d, unsigned *n) \
	{ \
		ENTER(d); \
		NEED(d && n); \
		if (d->gpu) \
			return leave(NOT_SUPPORTED); \
		*n = (unsigned)(expression); \
		return leave(SUCCESS); \
	}

NUMBER(nvmlDeviceGetEnforcedPowerLimit, 700000)
NUMBER(nvmlDeviceGetPowerUsage, staged("185", d) == ZERO ? 0 : d->power_mw)
NUMBER(nvmlDeviceGetPerformanceState, 0)
NUMBER(nvmlDeviceGetPcieReplayCounter, d->replays)
NUMBER(nvmlDeviceGetMaxMigDeviceCount, d->mig ? MAX_INSTANCES : 0)

EXPORT nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, int sensor, unsigned *n)
{
	ENTER(d);
	NEED(d && n && sensor == 0);
	*n = 30 + d->busy / 2;
	return leave(d->gpu ? NOT_SUPPORTED : SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t d, nvmlTemperature_t *t)
{
	ENTER(d);
	NEED(d && t);
	if (t->version != (sizeof *t | 1 << 24))
		return leave(ARGUMENT_VERSION_MISMATCH);
	t->temperature = 30 + (int)d->busy / 2;
	return leave(d->gpu ? NOT_SUPPORTED : SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t d, int clock, unsigned *n)
{
	ENTER(d);
	NEED(d && n && clock >= 0 && clock < 4);
	*n = clock == 2 ? 2619 : 1980;
	return leave(d->gpu ? NOT_SUPPORTED : SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t d, nvmlUtilization_t *u)
{
	ENTER(d);
	NEED(d && u);
	if (d->gpu || d->mig)
		return leave(NOT_SUPPORTED);
	*u = (nvmlUtilization_t){d->busy, d->busy / 2};
	return leave(SUCCESS);
}

static unsigned long long memory(nvmlDevice_t d) { return (80ull << 30) * (d->gpu ? d->slices : 7) / 7; }

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t d, nvmlMemory_t *m)
{
	ENTER(d);
	NEED(d && m);
	*m = (nvmlMemory_t){memory(d), memory(d) / 2, memory(d) / 2};
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, nvmlMemory_v2_t *m)
{
	ENTER(d);
	NEED(d && m);
	if (m->version != (sizeof *m | 2 << 24))
		return leave(ARGUMENT_VERSION_MISMATCH);
	*m = (nvmlMemory_v2_t){m->version, memory(d), memory(d) / 16, memory(d) / 2, memory(d) / 16 * 7};
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t d, unsigned long long *r)
{
	ENTER(d);
	NEED(d && r);
	*r = d->busy ? 4 : 1;
	return leave(d->gpu ? NOT_SUPPORTED : SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned *now, unsigned *pending)
{
	ENTER(d);
	NEED(d && now && pending);
	*now = *pending = d->mig;
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t d, unsigned i, nvmlDevice_t *m)
{
	ENTER(d);
	NEED(d && m && !d->gpu && i < MAX_INSTANCES);
	if (!d->mig || !d->instances[i].there)
		return leave(NOT_FOUND);
	*m = &d->instances[i];
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t d, unsigned *id)
{
	ENTER(d);
	NEED(d && id && d->gpu);
	*id = d->instance;
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t d, nvmlDeviceAttributes_t *a)
{
	ENTER(d);
	NEED(d && a);
	if (!d->gpu)
		return leave(NOT_SUPPORTED);
	memset(a, 0, sizeof *a);
	a->gpuInstanceSliceCount = a->computeInstanceSliceCount = d->slices;
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfo(nvmlDevice_t d, unsigned kind, nvmlGpuInstanceProfileInfo_t *p)
{
	static const unsigned slices[] = {1, 2, 3, 4, 7};
	ENTER(d);
	NEED(d && p && kind < sizeof slices / sizeof *slices);
	memset(p, 0, sizeof *p);
	p->sliceCount = slices[kind];
	return leave(SUCCESS);
}

/* Event sets. What is registered hears everything: a test has one client. */

struct nvmlEventSet_st { int heard; };

EXPORT nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *s)
{
	ENTER(NULL);
	NEED(s);
	*s = calloc(1, sizeof **s);
	sim.events++;
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t s)
{
	nvmlReturn_t rc = enter(__func__, NULL);
	if (rc && rc != UNINITIALIZED)
		return leave(rc);
	NEED(s);
	free(s);
	sim.events--;
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t d, unsigned long long types, nvmlEventSet_t s)
{
	ENTER(d);
	NEED(d && s && types == 8);
	return leave(d->gpu ? NOT_SUPPORTED : SUCCESS);
}

EXPORT nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t s, nvmlEventData_t *e, unsigned timeout)
{
	(void)timeout; /* nobody else could end the wait */
	ENTER(NULL);
	NEED(s && e);
	if (!sim.xids)
		return leave(TIMEOUT);
	*e = sim.xid[0];
	memmove(&sim.xid[0], &sim.xid[1], (size_t)--sim.xids * sizeof sim.xid[0]);
	return leave(SUCCESS);
}

/* GPM. A sample is the activity so far; a metric is what happened between two of them. */

struct nvmlGpmSample_st { int64_t at; uint64_t activity; };

EXPORT nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t d, nvmlGpmSupport_t *s)
{
	ENTER(d);
	NEED(d && s && s->version == 1);
	s->isSupportedDevice = 1;
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *s)
{
	ENTER(NULL);
	NEED(s);
	*s = calloc(1, sizeof **s);
	sim.samples++;
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t s)
{
	nvmlReturn_t rc = enter(__func__, NULL);
	if (rc && rc != UNINITIALIZED)
		return leave(rc);
	NEED(s);
	free(s);
	sim.samples--;
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t d, nvmlGpmSample_t s)
{
	ENTER(d);
	NEED(d && s);
	*s = (struct nvmlGpmSample_st){sim.now, d->activity};
	return leave(SUCCESS);
}

EXPORT nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t d, unsigned instance, nvmlGpmSample_t s)
{
	ENTER(d);
	NEED(d && s && d->mig);
	for (int i = 0; i < MAX_INSTANCES; i++)
		if (d->instances[i].there && d->instances[i].instance == instance) {
			*s = (struct nvmlGpmSample_st){sim.now, d->activity};
			return leave(SUCCESS);
		}
	return leave(NOT_FOUND);
}

EXPORT nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *m)
{
	ENTER(NULL);
	NEED(m && m->version == 1 && m->sample1 && m->sample2);
	int64_t dt = m->sample2->at - m->sample1->at;
	for (unsigned i = 0; i < m->numMetrics; i++) {
		nvmlGpmMetric_t *v = &m->metrics[i];
		v->nvmlReturn = dt > 0 ? SUCCESS : NO_DATA;
		double busy = dt > 0 ? (double)(m->sample2->activity - m->sample1->activity) / (double)dt : 0;
		v->value = v->metricId < 14 ? busy / v->metricId : busy * v->metricId; /* percent, then MiB/s: each metric another */
	}
	return leave(SUCCESS);
}
