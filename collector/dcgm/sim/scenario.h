/* scenario.h: what a scenario line says, as it is kept. Quantities as in wlsim.h. */
#ifndef WLSIM_SCENARIO_H
#define WLSIM_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

enum {
	PPM = 1000000,
	SLOT_MS = 100,      /* power changes on this grid, shifted by the device's phase */
	MEAN_SLOTS = 10,    /* field 155 is the mean of this many slots: 1 s */
	SLICES = 7,         /* compute slices of a GPU */
	MAX_INSTANCES = 28, /* of a GPU, those of all its partitions together */
	KINDS = 4,          /* load kinds whose activity is told apart */
	FIELDS_MAX = 512,
};

#define NEVER INT64_MAX
#define DETACHED_US INT64_C(2000000) /* how long the GPUs are away before another driver takes them */

typedef enum { LOAD_IDLE, LOAD_CONST, LOAD_TRAINING, LOAD_INFERENCE, LOAD_SERIES, LOAD_LOOP } LoadKind;

typedef struct {
	char *name;
	int64_t start_ms, step_ms;
	int32_t *u; /* PPM */
	int64_t n;
} Series;

typedef struct {
	int64_t start_ms, end_ms;
	LoadKind kind;
	int32_t level; /* const: PPM */
	int32_t share; /* thousandths of the device */
	int instance;  /* -1: the whole device */
	const Series *series;
	uint64_t seed;
} Load;

typedef struct {
	char name[64];  /* of the model, as in the scenario */
	char title[64]; /* field 50 */
	char brand[32];
	int arch, gpus, cpus;
	int64_t idle_mw, limit_mw, min_limit_mw, mig_idle_mw;
	int64_t fb_mib;
	int sm_mhz, mem_mhz, compute_capability;
	int pcie_gen, nvlinks, pci_device;
	bool energy_counter, profiling, power_instant, mem_temp, grace;
} Model;

/* A MIG instance lives from its partition to the next one. The instances of one partition stand together. */
typedef struct {
	int slices, mem_slices, gi_id, profile;
	uint32_t id; /* of its entities */
	int64_t from_ms, to_ms;
	char uuid[64];
} Instance;

typedef enum { FAULT_BLANK, FAULT_STUCK, FAULT_FILLER, FAULT_STALE } FaultKind;

typedef struct {
	int64_t t_us, code;
	uint16_t field; /* that shows it */
} Event;

typedef struct {
	Event *list;
	int n;
} Events;

typedef struct {
	int64_t from_us, to_us;
} Span;

typedef struct { /* the driver that is loaded at t */
	int64_t t_ms;
	char version[64];
} Driver;

typedef struct { /* the engine's wall clock is set back at t */
	int64_t t_us, by_us;
} Step;

typedef struct { /* calls that take longer than they should */
	int call;
	int64_t from_us, to_us;
	int64_t us; /* 0: until to_us */
	bool over;  /* released; guarded by the node's mu */
} Delay;

typedef struct {
	Events events;
	uint64_t seed;
} Switch;

#endif
