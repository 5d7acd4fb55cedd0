/* api.c: the exported calls for life cycle, discovery and attributes. */
#include "wlsim.h"

#include <stdio.h>
#include <string.h>

#if defined __aarch64__
#define ARCH "aarch64"
#else
#define ARCH "x86_64"
#endif

static int enter(dcgmHandle_t h, const void *x, uint32_t have, uint32_t want, Conn **c)
{
	if (!x)
		return ST_BADPARAM;
	if (have != want)
		return ST_VER_MISMATCH;
	return conn_enter(h, c);
}

EXPORT dcgmReturn_t dcgmInit(void)
{
	CALL(dcgmInit);
	return conn_init();
}

EXPORT dcgmReturn_t dcgmShutdown(void)
{
	CALL(dcgmShutdown);
	conn_shutdown();
	return ST_OK;
}

EXPORT dcgmReturn_t dcgmStartEmbedded_v2(dcgmStartEmbeddedV2Params_v1 *p)
{
	CALL(dcgmStartEmbedded_v2);
	dcgmHandle_t h;
	if (!p)
		return ST_BADPARAM;
	if (p->version != VERSION(dcgmStartEmbeddedV2Params_v1, 1) && p->version != VERSION(dcgmStartEmbeddedV2Params_v2, 2) &&
		p->version != VERSION(dcgmStartEmbeddedV2Params_v3, 3))
		return ST_VER_MISMATCH;
	if (p->opMode != 1 && p->opMode != 2)
		return ST_BADPARAM;
	if (conn_embedded(&h)) { /* as the real one: success, and no handle */
		p->dcgmHandle = 0;
		return ST_OK;
	}
	int rc = conn_open(NULL, 0, true, false, p->opMode == 2, &h);
	p->dcgmHandle = rc == ST_OK ? h : 0;
	return rc;
}

EXPORT dcgmReturn_t dcgmStartEmbedded(int32_t op, dcgmHandle_t *h)
{
	CALL(dcgmStartEmbedded);
	if (!h)
		return ST_BADPARAM;
	dcgmStartEmbeddedV2Params_v1 p = {.version = VERSION(dcgmStartEmbeddedV2Params_v1, 1), .opMode = op};
	int rc = dcgmStartEmbedded_v2(&p);
	*h = p.dcgmHandle;
	return rc;
}

EXPORT dcgmReturn_t dcgmStopEmbedded(dcgmHandle_t h)
{
	CALL(dcgmStopEmbedded);
	return h == EMBEDDED_HANDLE ? conn_close(h) : ST_BADPARAM;
}

/* connect_to accepts NODE, NODE:port, tcp://NODE:port and unix:///any/path/NODE. */
static int connect_to(const char *address, bool persist, dcgmHandle_t *h)
{
	if (!address || !*address || !h)
		return ST_BADPARAM;
	const char *scheme = strstr(address, "://");
	if (scheme)
		address = scheme + 3;
	const char *slash = strrchr(address, '/');
	if (slash)
		address = slash + 1;
	return conn_open(address, strcspn(address, ":"), false, persist, false, h);
}

EXPORT dcgmReturn_t dcgmConnect(const char *address, dcgmHandle_t *h)
{
	CALL(dcgmConnect);
	return connect_to(address, false, h);
}

EXPORT dcgmReturn_t dcgmConnect_v2(const char *address, dcgmConnectV2Params_v2 *p, dcgmHandle_t *h)
{
	CALL(dcgmConnect_v2);
	if (!p)
		return ST_BADPARAM;
	if (p->version != VERSION(dcgmConnectV2Params_v2, 2) && p->version != VERSION(dcgmConnectV2Params_v1, 1))
		return ST_VER_MISMATCH;
	return connect_to(address, p->persistAfterDisconnect, h);
}

#ifndef WLSIM_OLD /* a library from before 4.5 and 4.2.3: try how a binding copes without the symbols */
EXPORT dcgmReturn_t dcgmConnect_v3(const char *uri, dcgmConnectV3Params_v1 *p, dcgmHandle_t *h)
{
	CALL(dcgmConnect_v3);
	if (!p)
		return ST_BADPARAM;
	if (p->version != VERSION(dcgmConnectV3Params_v1, 1))
		return ST_VER_MISMATCH;
	return connect_to(uri, p->persistAfterDisconnect, h);
}

EXPORT dcgmReturn_t dcgmGetGpuChipArchitecture(dcgmHandle_t h, unsigned gpu, uint32_t *arch)
{
	CALL(dcgmGetGpuChipArchitecture);
	Conn *c;
	if (!arch)
		return ST_BADPARAM;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	if (gpu < (unsigned)c->node->ngpu)
		*arch = (uint32_t)c->node->dev[gpu].model->arch;
	else
		rc = ST_BADPARAM;
	conn_leave(c);
	return rc;
}
#endif

EXPORT dcgmReturn_t dcgmDisconnect(dcgmHandle_t h)
{
	CALL(dcgmDisconnect);
	return h == EMBEDDED_HANDLE ? ST_BADPARAM : conn_close(h);
}

static void version_text(const char *version, dcgmVersionInfo_v2 *v)
{
	memset(v->rawBuildInfoString, 0, sizeof v->rawBuildInfoString);
	snprintf(v->rawBuildInfoString, sizeof v->rawBuildInfoString,
		"version:%s;arch:%s;buildtype:Release;buildid:wlsim;builddate:2026-01-01;commit:;branch:;buildplatform:simulated;crc:0",
		version, ARCH);
}

EXPORT dcgmReturn_t dcgmVersionInfo(dcgmVersionInfo_v2 *v)
{
	CALL(dcgmVersionInfo);
	if (!v)
		return ST_BADPARAM;
	if (v->version != VERSION(dcgmVersionInfo_v2, 2))
		return ST_VER_MISMATCH;
	version_text("4.6.0", v);
	return ST_OK;
}

EXPORT dcgmReturn_t dcgmHostengineVersionInfo(dcgmHandle_t h, dcgmVersionInfo_v2 *v)
{
	CALL(dcgmHostengineVersionInfo);
	Conn *c;
	int rc = enter(h, v, v ? v->version : 0, VERSION(dcgmVersionInfo_v2, 2), &c);
	if (rc != ST_OK)
		return rc;
	version_text(c->node->skew ? "4.5.3" : "4.6.0", v);
	conn_leave(c);
	return ST_OK;
}

EXPORT dcgmReturn_t dcgmHostengineIsHealthy(dcgmHandle_t h, dcgmHostengineHealth_v1 *x)
{
	CALL(dcgmHostengineIsHealthy);
	Conn *c;
	int rc = enter(h, x, x ? x->version : 0, VERSION(dcgmHostengineHealth_v1, 1), &c);
	if (rc != ST_OK)
		return rc;
	x->overallHealth = 0;
	conn_leave(c);
	return ST_OK;
}

EXPORT dcgmReturn_t dcgmGetAllDevices(dcgmHandle_t h, unsigned ids[MAX_GPUS], int32_t *count)
{
	CALL(dcgmGetAllDevices);
	Conn *c;
	if (!ids || !count)
		return ST_BADPARAM;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	for (int i = 0; i < c->node->ngpu; i++)
		ids[i] = (unsigned)i;
	*count = c->node->ngpu;
	conn_leave(c);
	return ST_OK;
}

EXPORT dcgmReturn_t dcgmGetAllSupportedDevices(dcgmHandle_t h, unsigned ids[MAX_GPUS], int32_t *count)
{
	CALL(dcgmGetAllSupportedDevices);
	return dcgmGetAllDevices(h, ids, count);
}

EXPORT dcgmReturn_t dcgmGetEntityGroupEntities(dcgmHandle_t h, uint32_t eg, uint32_t *list, int32_t *count, uint32_t flags)
{
	CALL(dcgmGetEntityGroupEntities);
	Conn *c;
	(void)flags;
	if (!count || *count < 0 || (*count && !list) || eg >= EG_COUNT)
		return ST_BADPARAM;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	int have = 0;
	for (int i = 1; i < c->node->nent; i++)
		if (c->node->ent[i].group == eg && !entity_gone(&c->node->ent[i], c->node->now_us)) {
			if (have < *count)
				list[have] = c->node->ent[i].id;
			have++;
		}
	if (eg == EG_NONE || eg == EG_VGPU)
		rc = ST_NOT_SUPPORTED;
	else if (have > *count)
		rc = ST_INSUFFICIENT_SIZE;
	*count = have;
	conn_leave(c);
	return rc;
}

/* is_lost plays a GPU to the node's clock to see. */
static bool is_lost(Node *n, Device *d)
{
	play(d, n->now_us / 1000);
	return d->lost;
}

EXPORT dcgmReturn_t dcgmGetGpuStatus(dcgmHandle_t h, unsigned gpu, int32_t *status)
{
	CALL(dcgmGetGpuStatus);
	Conn *c;
	if (!status)
		return ST_BADPARAM;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	if (gpu >= (unsigned)c->node->ngpu)
		rc = ST_BADPARAM;
	else if (driver_away(c->node, c->node->now_us))
		*status = 7;
	else
		*status = is_lost(c->node, &c->node->dev[gpu]) ? 4 : 1;
	conn_leave(c);
	return rc;
}

EXPORT dcgmReturn_t dcgmGetDeviceAttributes(dcgmHandle_t h, unsigned gpu, dcgmDeviceAttributes_v3 *a)
{
	CALL(dcgmGetDeviceAttributes);
	Conn *c;
	int rc = enter(h, a, a ? a->version : 0, VERSION(dcgmDeviceAttributes_v3, 3), &c);
	if (rc != ST_OK)
		return rc;
	Device *d = gpu < (unsigned)c->node->ngpu ? &c->node->dev[gpu] : NULL;
	rc = !d ? ST_BADPARAM :
		c->node->skew ? ST_FUNCTION_NOT_FOUND :
		driver_away(c->node, c->node->now_us) ? ST_GPUS_DETACHED :
		is_lost(c->node, d) ? ST_GPU_IS_LOST : ST_OK;
	if (rc != ST_OK) {
		conn_leave(c);
		return rc;
	}
	const Model *m = d->model;
	memset(a, 0, sizeof *a);
	a->version = VERSION(dcgmDeviceAttributes_v3, 3);
	a->clockSets.version = VERSION(dcgmDeviceSupportedClockSets_v1, 1);
	a->clockSets.count = 1;
	a->clockSets.clockSet[0] = (dcgmClockSet_v1){(int32_t)VERSION(dcgmClockSet_v1, 1), (uint32_t)m->mem_mhz, (uint32_t)m->sm_mhz};
	a->thermalSettings = (dcgmDeviceThermals_v1){VERSION(dcgmDeviceThermals_v1, 1), INT32_BLANK + BLANK_NOT_SUPPORTED,
		INT32_BLANK + BLANK_NOT_SUPPORTED};
	uint32_t w = (uint32_t)(d->limit_mw / 1000), min = (uint32_t)(m->min_limit_mw / 1000);
	a->powerLimits = (dcgmDevicePowerLimits_v1){VERSION(dcgmDevicePowerLimits_v1, 1), w, w, w, min, w};
	dcgmDeviceIdentifiers_v1 *id = &a->identifiers;
	id->version = VERSION(dcgmDeviceIdentifiers_v1, 1);
	snprintf(id->brandName, MAX_STR, "%s", m->brand);
	snprintf(id->deviceName, MAX_STR, "%s", m->title);
	gpu_pci(d, id->pciBusId, MAX_STR);
	snprintf(id->serial, MAX_STR, "%s", d->serial);
	snprintf(id->uuid, MAX_STR, "%s", d->uuid);
	snprintf(id->vbios, MAX_STR, "97.00.9A.00.0F");
	snprintf(id->inforomImageVersion, MAX_STR, "G525.0225.00.05");
	id->pciDeviceId = (uint32_t)m->pci_device << 16 | 0x10de;
	id->pciSubSystemId = 0x10de1000;
	snprintf(id->driverVersion, MAX_STR, "%s", driver_version(c->node, c->node->now_us));
	Snap s;
	take(d, -1, c->node->now_us, &s);
	uint32_t total = (uint32_t)m->fb_mib, reserved = total / 200 + 1, used = (uint32_t)((int64_t)(total - reserved) * s.fb_ppm / PPM);
	a->memoryUsage = (dcgmDeviceMemoryUsage_v1){VERSION(dcgmDeviceMemoryUsage_v1, 1), 262144, total, used, total - reserved - used};
	a->settings = (dcgmDeviceSettings_v2){VERSION(dcgmDeviceSettings_v2, 2), 1, d->ninst > 0, 0};
	conn_leave(c);
	return ST_OK;
}

static void hierarchy_entry(const Entity *e, dcgmMigHierarchyInfo_v2 *x)
{
	const Instance *in = &e->dev->inst[e->inst];
	bool ci = e->group == EG_GPU_CI;
	memset(x, 0, sizeof *x);
	x->entity = (dcgmGroupEntityPair_t){e->group, e->id};
	x->parent = ci ? (dcgmGroupEntityPair_t){EG_GPU_I, e->id} : (dcgmGroupEntityPair_t){EG_GPU, (uint32_t)e->dev->index};
	snprintf(x->info.gpuUuid, sizeof x->info.gpuUuid, "%s", e->dev->uuid);
	x->info.nvmlGpuIndex = (uint32_t)e->dev->index;
	x->info.nvmlInstanceId = (uint32_t)in->gi_id;
	x->info.nvmlComputeInstanceId = ci ? 0 : (uint32_t)-1;
	x->info.nvmlMigProfileId = (uint32_t)(ci ? (in->slices == 7 ? 4 : in->slices - 1) : in->profile);
	x->info.nvmlProfileSlices = (uint32_t)in->slices;
}

EXPORT dcgmReturn_t dcgmGetGpuInstanceHierarchy(dcgmHandle_t h, dcgmMigHierarchy_v2 *x)
{
	CALL(dcgmGetGpuInstanceHierarchy);
	Conn *c;
	int rc = enter(h, x, x ? x->version : 0, VERSION(dcgmMigHierarchy_v2, 2), &c);
	if (rc != ST_OK)
		return rc;
	Node *n = c->node;
	x->count = 0;
	for (int i = 0; i < n->ngpu; i++) /* each GPU instance, then its compute instance */
		for (int k = 0; k < n->dev[i].ninst; k++) {
			const Entity *gi = engine_entity(n, EG_GPU_I, n->dev[i].inst[k].id);
			if (entity_gone(gi, n->now_us))
				continue;
			hierarchy_entry(gi, &x->entityList[x->count++]);
			hierarchy_entry(engine_entity(n, EG_GPU_CI, gi->id), &x->entityList[x->count++]);
		}
	conn_leave(c);
	return ST_OK;
}

enum { GRACE_CORES = 72 };

static void cores(int cpu, uint64_t *bitmask)
{
	for (int i = cpu * GRACE_CORES; i < (cpu + 1) * GRACE_CORES; i++)
		bitmask[i / 64] |= UINT64_C(1) << (i % 64);
}

EXPORT dcgmReturn_t dcgmGetCpuHierarchy_v2(dcgmHandle_t h, dcgmCpuHierarchy_v2 *x)
{
	CALL(dcgmGetCpuHierarchy_v2);
	Conn *c;
	int rc = enter(h, x, x ? x->version : 0, VERSION(dcgmCpuHierarchy_v2, 2), &c);
	if (rc != ST_OK)
		return rc;
	if (c->node->ncpu) {
		uint32_t version = x->version;
		memset(x, 0, sizeof *x);
		x->version = version;
		x->numCpus = (uint32_t)c->node->ncpu;
		for (int i = 0; i < c->node->ncpu; i++) {
			x->cpus[i].cpuId = (uint32_t)i;
			cores(i, x->cpus[i].ownedCores.bitmask);
			snprintf(x->cpus[i].serial, MAX_STR, "%s", c->node->dev[c->node->ngpu + i].serial);
		}
	} else
		rc = ST_MODULE_NOT_LOADED; /* sysmon is for Grace only */
	conn_leave(c);
	return rc;
}

EXPORT dcgmReturn_t dcgmGetCpuHierarchy(dcgmHandle_t h, dcgmCpuHierarchy_v1 *x)
{
	CALL(dcgmGetCpuHierarchy);
	Conn *c;
	int rc = enter(h, x, x ? x->version : 0, VERSION(dcgmCpuHierarchy_v1, 1), &c);
	if (rc != ST_OK)
		return rc;
	if (c->node->ncpu) {
		memset(x->cpus, 0, sizeof x->cpus);
		x->numCpus = (uint32_t)c->node->ncpu;
		for (int i = 0; i < c->node->ncpu; i++) {
			x->cpus[i].cpuId = (uint32_t)i;
			cores(i, x->cpus[i].ownedCores.bitmask);
		}
	} else
		rc = ST_MODULE_NOT_LOADED;
	conn_leave(c);
	return rc;
}
