/* abi.h: the part of DCGM 4.6's C ABI that the simulated library speaks.
 *
 * Owns the struct layouts, version words, return codes and constants, written down from the reference and held in place
 * by static assertions (identical on linux/amd64 and linux/arm64). Leaves behaviour to the other files. */
#ifndef WLSIM_ABI_H
#define WLSIM_ABI_H

#include <stddef.h>
#include <stdint.h>

typedef uintptr_t dcgmHandle_t;
typedef uintptr_t dcgmGpuGrp_t;
typedef uintptr_t dcgmFieldGrp_t;
typedef int32_t dcgmReturn_t;

enum { /* return codes */
	ST_OK = 0,
	ST_BADPARAM = -1,
	ST_GENERIC_ERROR = -3,
	ST_MEMORY = -4,
	ST_NOT_CONFIGURED = -5,
	ST_NOT_SUPPORTED = -6,
	ST_UNINITIALIZED = -10,
	ST_VER_MISMATCH = -12,
	ST_UNKNOWN_FIELD = -13,
	ST_NO_DATA = -14,
	ST_NOT_WATCHED = -16,
	ST_NO_PERMISSION = -17,
	ST_GPU_IS_LOST = -18,
	ST_FUNCTION_NOT_FOUND = -20,
	ST_CONNECTION_NOT_VALID = -21,
	ST_MAX_LIMIT = -24,
	ST_DUPLICATE_KEY = -26,
	ST_REQUIRES_ROOT = -29,
	ST_INSUFFICIENT_SIZE = -31,
	ST_FIELD_UNSUPPORTED_BY_API = -32,
	ST_MODULE_NOT_LOADED = -33,
	ST_IN_USE = -34,
	ST_PROFILING_NOT_SUPPORTED = -36,
	ST_INSTANCE_NOT_FOUND = -45,
	ST_COMPUTE_INSTANCE_NOT_FOUND = -46,
	ST_GPUS_DETACHED = -67,
};

enum { /* entity groups */
	EG_NONE = 0,
	EG_GPU = 1,
	EG_VGPU = 2,
	EG_SWITCH = 3,
	EG_GPU_I = 4,
	EG_GPU_CI = 5,
	EG_LINK = 6,
	EG_CPU = 7,
	EG_CPU_CORE = 8,
	EG_CONNECTX = 9,
	EG_COUNT = 10,
};

enum {
	MAX_GPUS = 32,
	MAX_CPUS = 8,
	MAX_GROUPS = 64,
	MAX_FIELD_GROUPS = 64,
	MAX_FIELDS_PER_GROUP = 128,
	MAX_ENTITIES_PER_GROUP = 1024,
	MAX_HIERARCHY = 448,
	MAX_STR = 256,
	MAX_BLOB = 4096,
};

#define GROUP_ALL_GPUS 0x7fffffffu
#define GROUP_ALL_NVSWITCHES 0x7ffffffeu
#define GROUP_ALL_INSTANCES 0x7ffffffdu
#define GROUP_ALL_COMPUTE_INSTANCES 0x7ffffffcu
#define GROUP_ALL_ENTITIES 0x7ffffffbu
#define GROUP_NULL 0x7ffffffau
#define EMBEDDED_HANDLE ((dcgmHandle_t)0x7fffffff)

#define INT32_BLANK 0x7ffffff0
#define INT64_BLANK INT64_C(0x7ffffffffffffff0)
#define FP64_BLANK 140737488355328.0
enum { BLANK = 0, BLANK_NOT_FOUND = 1, BLANK_NOT_SUPPORTED = 2, BLANK_NOT_PERMISSIONED = 3 };

typedef union {
	int64_t i64;
	double dbl;
	char str[MAX_STR];
	char blob[MAX_BLOB];
} dcgmValue_t;

typedef struct {
	uint32_t version, entityGroupId, entityId;
	uint16_t fieldId, fieldType;
	int32_t status;
	uint32_t unused;
	int64_t ts;
	dcgmValue_t value;
} dcgmFieldValue_v2;

typedef struct {
	uint32_t version;
	uint16_t fieldId, fieldType;
	int32_t status;
	int64_t ts;
	dcgmValue_t value;
} dcgmFieldValue_v1;

typedef struct {
	uint32_t entityGroupId, entityId;
} dcgmGroupEntityPair_t;

typedef struct {
	char shortName[10];
	char unit[4];
	int16_t width;
} dcgm_field_output_format_t;

typedef struct {
	uint16_t fieldId;
	char fieldType;
	uint8_t size;
	char tag[48];
	int32_t scope;
	int32_t nvmlFieldId;
	uint32_t entityLevel;
	dcgm_field_output_format_t *valueFormat;
} dcgm_field_meta_t;

typedef struct {
	uint32_t version, persistAfterDisconnect, timeoutMs, addressIsUnixSocket;
} dcgmConnectV2Params_v2;

typedef struct {
	uint32_t version, persistAfterDisconnect;
} dcgmConnectV2Params_v1;

typedef struct {
	uint32_t version, persistAfterDisconnect, timeoutMs;
} dcgmConnectV3Params_v1;

typedef struct { /* the first 32 bytes are common to v1, v2 and v3 */
	uint32_t version;
	int32_t opMode;
	dcgmHandle_t dcgmHandle;
	const char *logFile;
	int32_t severity;
	uint32_t denyListCount;
	uint32_t denyList[10];
} dcgmStartEmbeddedV2Params_v1;

typedef struct {
	uint32_t version;
	int32_t opMode;
	dcgmHandle_t dcgmHandle;
	const char *logFile;
	int32_t severity;
	uint32_t denyListCount;
	const char *serviceAccount;
	uint32_t denyList[10];
} dcgmStartEmbeddedV2Params_v2;

typedef struct {
	uint32_t version;
	int32_t opMode;
	dcgmHandle_t dcgmHandle;
	const char *logFile;
	int32_t severity;
	uint32_t denyListCount;
	const char *serviceAccount;
	uint32_t denyList[16];
} dcgmStartEmbeddedV2Params_v3;

typedef struct {
	uint32_t version;
	char rawBuildInfoString[512];
} dcgmVersionInfo_v2;

typedef struct {
	uint32_t version, overallHealth;
} dcgmHostengineHealth_v1;

typedef struct {
	uint32_t version, count;
	char groupName[MAX_STR];
	dcgmGroupEntityPair_t entityList[MAX_ENTITIES_PER_GROUP];
} dcgmGroupInfo_v3;

typedef struct {
	uint32_t version, numFieldIds;
	dcgmFieldGrp_t fieldGroupId;
	char fieldGroupName[MAX_STR];
	uint16_t fieldIds[MAX_FIELDS_PER_GROUP];
} dcgmFieldGroupInfo_v1;

typedef struct {
	uint32_t version, numFieldGroups;
	dcgmFieldGroupInfo_v1 fieldGroups[MAX_FIELD_GROUPS];
} dcgmAllFieldGroup_v1;

typedef struct {
	int32_t version;
	uint32_t memClock, smClock;
} dcgmClockSet_v1;

typedef struct {
	uint32_t version, count;
	dcgmClockSet_v1 clockSet[256];
} dcgmDeviceSupportedClockSets_v1;

typedef struct {
	uint32_t version, slowdownTemp, shutdownTemp;
} dcgmDeviceThermals_v1;

typedef struct {
	uint32_t version, curPowerLimit, defaultPowerLimit, enforcedPowerLimit, minPowerLimit, maxPowerLimit;
} dcgmDevicePowerLimits_v1;

typedef struct {
	uint32_t version;
	char brandName[MAX_STR], deviceName[MAX_STR], pciBusId[MAX_STR], serial[MAX_STR], uuid[MAX_STR], vbios[MAX_STR],
		inforomImageVersion[MAX_STR];
	uint32_t pciDeviceId, pciSubSystemId;
	char driverVersion[MAX_STR];
	uint32_t virtualizationMode;
} dcgmDeviceIdentifiers_v1;

typedef struct {
	uint32_t version, bar1Total, fbTotal, fbUsed, fbFree;
} dcgmDeviceMemoryUsage_v1;

typedef struct {
	uint32_t version, persistenceModeEnabled, migModeEnabled, confidentialComputeMode;
} dcgmDeviceSettings_v2;

typedef struct {
	uint32_t version;
	dcgmDeviceSupportedClockSets_v1 clockSets;
	dcgmDeviceThermals_v1 thermalSettings;
	dcgmDevicePowerLimits_v1 powerLimits;
	dcgmDeviceIdentifiers_v1 identifiers;
	dcgmDeviceMemoryUsage_v1 memoryUsage;
	dcgmDeviceSettings_v2 settings;
} dcgmDeviceAttributes_v3;

typedef struct {
	char gpuUuid[128];
	uint32_t nvmlGpuIndex, nvmlInstanceId, nvmlComputeInstanceId, nvmlMigProfileId, nvmlProfileSlices;
} dcgmMigEntityInfo_t;

typedef struct {
	dcgmGroupEntityPair_t entity, parent;
	dcgmMigEntityInfo_t info;
} dcgmMigHierarchyInfo_v2;

typedef struct {
	uint32_t version, count;
	dcgmMigHierarchyInfo_v2 entityList[MAX_HIERARCHY];
} dcgmMigHierarchy_v2;

typedef struct {
	uint32_t version, numCpus;
	struct {
		uint32_t cpuId;
		struct {
			uint32_t version;
			uint64_t bitmask[16];
		} ownedCores;
	} cpus[MAX_CPUS];
} dcgmCpuHierarchy_v1;

typedef struct {
	uint32_t version, numCpus;
	struct {
		uint32_t cpuId;
		struct {
			uint32_t version;
			uint64_t bitmask[16];
		} ownedCores;
		char serial[MAX_STR];
	} cpus[MAX_CPUS];
} dcgmCpuHierarchy_v2;

#define VERSION(type, n) ((uint32_t)(sizeof(type) | ((uint32_t)(n) << 24)))

#define SIZE(type, n) _Static_assert(sizeof(type) == (n), "size of " #type)
#define AT(type, member, n) _Static_assert(offsetof(type, member) == (n), "offset of " #type "." #member)
#define WORD(type, n, word) _Static_assert(VERSION(type, n) == (word), "version word of " #type)

SIZE(dcgmFieldValue_v2, 4128);
WORD(dcgmFieldValue_v2, 2, 0x02001020);
AT(dcgmFieldValue_v2, fieldId, 12);
AT(dcgmFieldValue_v2, fieldType, 14);
AT(dcgmFieldValue_v2, status, 16);
AT(dcgmFieldValue_v2, ts, 24);
AT(dcgmFieldValue_v2, value, 32);
SIZE(dcgmFieldValue_v1, 4120);
WORD(dcgmFieldValue_v1, 1, 0x01001018);
AT(dcgmFieldValue_v1, fieldId, 4);
AT(dcgmFieldValue_v1, status, 8);
AT(dcgmFieldValue_v1, ts, 16);
AT(dcgmFieldValue_v1, value, 24);
SIZE(dcgmGroupEntityPair_t, 8);
SIZE(dcgm_field_output_format_t, 16);
AT(dcgm_field_output_format_t, unit, 10);
AT(dcgm_field_output_format_t, width, 14);
SIZE(dcgm_field_meta_t, 72);
AT(dcgm_field_meta_t, tag, 4);
AT(dcgm_field_meta_t, scope, 52);
AT(dcgm_field_meta_t, nvmlFieldId, 56);
AT(dcgm_field_meta_t, entityLevel, 60);
AT(dcgm_field_meta_t, valueFormat, 64);
WORD(dcgmConnectV2Params_v2, 2, 0x02000010);
WORD(dcgmConnectV2Params_v1, 1, 0x01000008);
WORD(dcgmConnectV3Params_v1, 1, 0x0100000c);
WORD(dcgmStartEmbeddedV2Params_v1, 1, 0x01000048);
WORD(dcgmStartEmbeddedV2Params_v2, 2, 0x02000050);
WORD(dcgmStartEmbeddedV2Params_v3, 3, 0x03000068);
AT(dcgmStartEmbeddedV2Params_v1, dcgmHandle, 8);
AT(dcgmStartEmbeddedV2Params_v1, denyListCount, 28);
AT(dcgmStartEmbeddedV2Params_v1, denyList, 32);
AT(dcgmStartEmbeddedV2Params_v2, denyList, 40);
AT(dcgmStartEmbeddedV2Params_v3, denyList, 40);
WORD(dcgmVersionInfo_v2, 2, 0x02000204);
WORD(dcgmHostengineHealth_v1, 1, 0x01000008);
WORD(dcgmGroupInfo_v3, 3, 0x03002108);
AT(dcgmGroupInfo_v3, entityList, 264);
WORD(dcgmFieldGroupInfo_v1, 1, 0x01000210);
AT(dcgmFieldGroupInfo_v1, fieldIds, 272);
WORD(dcgmAllFieldGroup_v1, 1, 0x01008408);
WORD(dcgmDeviceAttributes_v3, 3, 0x03001464);
AT(dcgmDeviceAttributes_v3, thermalSettings, 3084);
AT(dcgmDeviceAttributes_v3, powerLimits, 3096);
AT(dcgmDeviceAttributes_v3, identifiers, 3120);
AT(dcgmDeviceAttributes_v3, identifiers.deviceName, 3380);
AT(dcgmDeviceAttributes_v3, identifiers.uuid, 4148);
AT(dcgmDeviceAttributes_v3, identifiers.vbios, 4404);
AT(dcgmDeviceAttributes_v3, identifiers.driverVersion, 4924);
AT(dcgmDeviceAttributes_v3, memoryUsage, 5184);
AT(dcgmDeviceAttributes_v3, memoryUsage.fbTotal, 5192);
AT(dcgmDeviceAttributes_v3, settings, 5204);
AT(dcgmDeviceAttributes_v3, settings.migModeEnabled, 5212);
SIZE(dcgmMigEntityInfo_t, 148);
SIZE(dcgmMigHierarchyInfo_v2, 164);
WORD(dcgmMigHierarchy_v2, 2, 0x02011f08);
AT(dcgmMigEntityInfo_t, nvmlProfileSlices, 144);
WORD(dcgmCpuHierarchy_v1, 1, 0x01000488);
WORD(dcgmCpuHierarchy_v2, 2, 0x02000c88);
AT(dcgmCpuHierarchy_v2, cpus[0].ownedCores, 16);
AT(dcgmCpuHierarchy_v2, cpus[0].ownedCores.bitmask, 24);
AT(dcgmCpuHierarchy_v2, cpus[0].serial, 152);
AT(dcgmCpuHierarchy_v2, cpus[1], 408);
AT(dcgmCpuHierarchy_v1, cpus[1], 152);

#undef SIZE
#undef AT
#undef WORD

#endif
