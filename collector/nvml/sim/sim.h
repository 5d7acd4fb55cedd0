/* sim.h: the state of the play. One lock guards all of it; every exported call takes it. */
#ifndef WL_SIM_H
#define WL_SIM_H

#include "nvml.h"

#include <stdbool.h>

/* What is not exported stays inside: a name of ours must not be taken for one of libc. */
#pragma GCC visibility push(hidden)
#define EXPORT __attribute__((visibility("default")))
#define MAX_GPUS 16
#define MAX_INSTANCES 7
#define MAX_FAULTS 64
#define MAX_XIDS 64
#define ZERO (-1) /* the fault of a driver that says 0 for what it does not know */

/* A GPU, or an instance of one. A handle of NVML is a pointer to it. */
struct nvmlDevice_st {
	bool there;
	struct nvmlDevice_st *gpu; /* of an instance; NULL for a GPU */
	int index;
	unsigned instance, slices; /* of an instance */
	char uuid[64], profile[48];

	bool mig, frozen;
	nvmlReturn_t lost;
	unsigned power_mw, busy;  /* busy in percent */
	uint64_t energy;          /* mW times µs since the driver was loaded: the exact integral of the power */
	uint64_t activity;        /* percent times µs */
	unsigned sbe, dbe, replays;
	struct { unsigned field; nvmlFieldValue_t value; } stale;
	struct nvmlDevice_st *instances; /* MAX_INSTANCES of them */
};

/* Sim is everything. */
extern struct sim {
	int64_t now, skew; /* µs since 1970; what time stamps are ahead of it */
	bool wall, driver;
	int initialised, gpus, events, samples; /* handles that are open, of each kind */
	struct nvmlDevice_st gpu[MAX_GPUS];
	struct { int gpu; char what[48]; nvmlReturn_t code; } fault[MAX_FAULTS];
	int faults;
	nvmlEventData_t xid[MAX_XIDS];
	int xids;
} sim;

/* enter locks, plays up to now, and gives the code with which a call must end at once; leave unlocks and hands a code on. */
nvmlReturn_t enter(const char *call, nvmlDevice_t d);
nvmlReturn_t leave(nvmlReturn_t code);

/* staged is the fault that a control line put on a call or a field of a GPU, SUCCESS for none. */
nvmlReturn_t staged(const char *what, nvmlDevice_t d);

/* play_until plays until an instant. */
void play_until(int64_t to);

#pragma GCC visibility pop

#endif
