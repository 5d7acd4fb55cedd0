/* check.h: the calls of the simulated library as its checks use them, from the outside. */
#ifndef WLSIM_CHECK_H
#define WLSIM_CHECK_H

#include "../abi.h"

#include <stdio.h>
#include <stdlib.h>

typedef int (*group_cb)(uint32_t eg, uint32_t eid, dcgmFieldValue_v1 *values, int n, void *user);

int32_t dcgmInit(void);
int32_t dcgmShutdown(void);
int32_t dcgmStartEmbedded_v2(dcgmStartEmbeddedV2Params_v1 *);
int32_t dcgmStopEmbedded(dcgmHandle_t);
int32_t dcgmConnect_v2(const char *, dcgmConnectV2Params_v2 *, dcgmHandle_t *);
int32_t dcgmDisconnect(dcgmHandle_t);
int32_t dcgmVersionInfo(dcgmVersionInfo_v2 *);
int32_t dcgmHostengineIsHealthy(dcgmHandle_t, dcgmHostengineHealth_v1 *);
int32_t dcgmGetAllDevices(dcgmHandle_t, unsigned *, int32_t *);
int32_t dcgmGetEntityGroupEntities(dcgmHandle_t, uint32_t, uint32_t *, int32_t *, uint32_t);
int32_t dcgmGetGpuStatus(dcgmHandle_t, unsigned, int32_t *);
int32_t dcgmGetDeviceAttributes(dcgmHandle_t, unsigned, dcgmDeviceAttributes_v3 *);
int32_t dcgmGetGpuInstanceHierarchy(dcgmHandle_t, dcgmMigHierarchy_v2 *);
int32_t dcgmGetCpuHierarchy_v2(dcgmHandle_t, dcgmCpuHierarchy_v2 *);
int32_t dcgmGroupCreate(dcgmHandle_t, int32_t, const char *, dcgmGpuGrp_t *);
int32_t dcgmGroupDestroy(dcgmHandle_t, dcgmGpuGrp_t);
int32_t dcgmGroupAddEntity(dcgmHandle_t, dcgmGpuGrp_t, uint32_t, uint32_t);
int32_t dcgmGroupGetInfo(dcgmHandle_t, dcgmGpuGrp_t, dcgmGroupInfo_v3 *);
int32_t dcgmFieldGroupCreate(dcgmHandle_t, int32_t, const uint16_t *, const char *, dcgmFieldGrp_t *);
int32_t dcgmFieldGroupDestroy(dcgmHandle_t, dcgmFieldGrp_t);
int32_t dcgmFieldGroupGetAll(dcgmHandle_t, dcgmAllFieldGroup_v1 *);
int32_t dcgmWatchFields(dcgmHandle_t, dcgmGpuGrp_t, dcgmFieldGrp_t, int64_t, double, int32_t);
int32_t dcgmUnwatchFields(dcgmHandle_t, dcgmGpuGrp_t, dcgmFieldGrp_t);
int32_t dcgmUpdateAllFields(dcgmHandle_t, int32_t);
int32_t dcgmEntitiesGetLatestValues(
	dcgmHandle_t, const dcgmGroupEntityPair_t *, uint32_t, const uint16_t *, uint32_t, uint32_t, dcgmFieldValue_v2 *);
int32_t dcgmGetValuesSince_v2(dcgmHandle_t, dcgmGpuGrp_t, dcgmFieldGrp_t, int64_t, int64_t *, group_cb, void *);
int32_t dcgmGetLatestValues_v2(dcgmHandle_t, dcgmGpuGrp_t, dcgmFieldGrp_t, group_cb, void *);
dcgm_field_meta_t *DcgmFieldGetById(unsigned short);
const char *errorString(int32_t);

int wlsim_load(const char *);
int wlsim_check(const char *, int64_t);
const char *wlsim_error(void);
int wlsim_advance(const char *, int64_t);
int64_t wlsim_now(const char *);
int wlsim_gpu_uuid(const char *, int, char *, int);
int wlsim_mig_uuid(const char *, int, int, char *, int);
int wlsim_boot_id(const char *, char *, int);
int wlsim_write_truth(const char *);
int64_t wlsim_truth(const char *, int, int64_t);
int wlsim_release(const char *);
uint64_t wlsim_calls(const char *);
int64_t wlsim_cpu_ns(void);

#endif
