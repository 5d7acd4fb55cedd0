/* control.c: the play, and wlnvml_set, by which a test drives it. No collector ever calls that. */
#include "sim.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct sim sim;
static struct nvmlDevice_st instances[MAX_GPUS][MAX_INSTANCES];
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;

static int64_t wall(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void play_until(int64_t to)
{
	if (to <= sim.now)
		return;
	for (int i = 0; i < sim.gpus && sim.driver; i++) {
		struct nvmlDevice_st *g = &sim.gpu[i];
		if (!g->frozen)
			g->energy += (uint64_t)(to - sim.now) * g->power_mw;
		g->activity += (uint64_t)(to - sim.now) * g->busy;
	}
	sim.now = to;
}

static void people(int gpus, int64_t now)
{
	memset(&sim, 0, sizeof sim);
	memset(instances, 0, sizeof instances);
	sim.driver = true;
	sim.gpus = gpus;
	sim.now = now;
	for (int i = 0; i < gpus; i++) {
		struct nvmlDevice_st *g = &sim.gpu[i];
		g->there = true;
		g->index = i;
		g->instances = instances[i];
		g->power_mw = 100000 + 50000 * (unsigned)i;
		g->busy = 20 + (unsigned)i;
		snprintf(g->uuid, sizeof g->uuid, "GPU-00000000-0000-0000-0000-%012d", i + 1);
	}
}

/* start gives the library something to show when nobody drives it: two GPUs on the machine's clock. */
static void start(void)
{
	if (sim.gpus || sim.now)
		return;
	people(2, wall());
	sim.wall = true;
}

nvmlReturn_t staged(const char *what, nvmlDevice_t d)
{
	int gpu = d ? (d->gpu ? d->gpu->index : d->index) : -1;
	for (int i = 0; i < sim.faults; i++)
		if (!strcmp(sim.fault[i].what, what) && (sim.fault[i].gpu < 0 || sim.fault[i].gpu == gpu))
			return sim.fault[i].code;
	return SUCCESS;
}

nvmlReturn_t enter(const char *call, nvmlDevice_t d)
{
	pthread_mutex_lock(&mu);
	start();
	if (sim.wall)
		play_until(wall());
	if (!strcmp(call, "nvmlInit_v2"))
		return sim.driver ? staged(call, NULL) : DRIVER_NOT_LOADED;
	if (!sim.initialised)
		return UNINITIALIZED;
	if (d && !d->there)
		return INVALID_ARGUMENT;
	struct nvmlDevice_st *gpu = d && d->gpu ? d->gpu : d;
	bool remembered = strstr(call, "UUID") || strstr(call, "Name") || strstr(call, "Index");
	if (gpu && gpu->lost && !remembered)
		return gpu->lost;
	return staged(call, d);
}

nvmlReturn_t leave(nvmlReturn_t code)
{
	pthread_mutex_unlock(&mu);
	return code;
}

/* fault adds, changes or (with code 0) takes away. */
static int fault(int gpu, const char *what, int code)
{
	int i = 0;
	while (i < sim.faults && (sim.fault[i].gpu != gpu || strcmp(sim.fault[i].what, what)))
		i++;
	if (i == MAX_FAULTS)
		return -1;
	if (i == sim.faults)
		sim.faults++;
	sim.fault[i].gpu = gpu;
	sim.fault[i].code = code;
	snprintf(sim.fault[i].what, sizeof sim.fault[i].what, "%s", what);
	return 0;
}

static void load(bool loaded)
{
	sim.driver = loaded;
	if (loaded)
		return;
	sim.initialised = 0;
	sim.xids = 0;
	for (int i = 0; i < sim.gpus; i++)
		sim.gpu[i].energy = 0;
}

static int instance(struct nvmlDevice_st *g, unsigned id, unsigned slices, const char *profile)
{
	for (int i = 0; i < MAX_INSTANCES; i++) {
		struct nvmlDevice_st *m = &g->instances[i];
		if (m->there)
			continue;
		memset(m, 0, sizeof *m);
		m->there = true;
		m->gpu = g;
		m->instance = id;
		m->slices = slices;
		snprintf(m->uuid, sizeof m->uuid, "MIG-%08x-0000-0000-0000-%012d", (unsigned)(sim.now / 1000000 % 0xffffffff), g->index * 100 + (int)id);
		snprintf(m->profile, sizeof m->profile, "%s", profile);
		return 0;
	}
	return -1;
}

static int xid(struct nvmlDevice_st *g, unsigned id, unsigned number)
{
	if (sim.xids == MAX_XIDS)
		return -1;
	sim.xid[sim.xids++] = (nvmlEventData_t){.device = g, .eventType = 8, .eventData = number, .gpuInstanceId = id, .computeInstanceId = ~0u};
	return 0;
}

static int set(const char *line)
{
	char what[48];
	long long n;
	int gpu;
	unsigned a, b;
	if (sscanf(line, "gpus %d %lld", &gpu, &n) == 2 && gpu >= 0 && gpu <= MAX_GPUS) {
		people(gpu, n);
		return 0;
	}
	if (sscanf(line, "now %lld", &n) == 1) {
		play_until(n);
		return 0;
	}
	if (!strcmp(line, "wall")) {
		sim.now = wall();
		sim.wall = true;
		return 0;
	}
	if (sscanf(line, "skew %lld", &n) == 1) {
		sim.skew = n;
		return 0;
	}
	if (sscanf(line, "driver %d", &gpu) == 1) {
		load(gpu);
		return 0;
	}
	if (sscanf(line, "fail * %47s %u", what, &a) == 2)
		return fault(-1, what, (int)a);
	if (sscanf(line, "%47s %d", what, &gpu) != 2 || gpu < 0 || gpu >= sim.gpus)
		return -1;
	struct nvmlDevice_st *g = &sim.gpu[gpu];
	if (sscanf(line, "fail %*d %47s %u", what, &a) == 2)
		return fault(gpu, what, (int)a);
	if (sscanf(line, "zero %*d %47s", what) == 1)
		return fault(gpu, what, ZERO);
	if (sscanf(line, "power %*d %u", &a) == 1)
		g->power_mw = a;
	else if (sscanf(line, "busy %*d %u", &a) == 1)
		g->busy = a;
	else if (sscanf(line, "lost %*d %u", &a) == 1)
		g->lost = (int)a;
	else if (sscanf(line, "frozen %*d %u", &a) == 1)
		g->frozen = a;
	else if (sscanf(line, "stale %*d %u %u", &a, &b) == 2)
		g->stale.field = b ? a : 0, g->stale.value.timestamp = 0;
	else if (!strcmp(what, "falls"))
		g->energy = 0;
	else if (sscanf(line, "mig %*d %u", &a) == 1)
		g->mig = a;
	else if (sscanf(line, "instance %*d %u %u %47s", &a, &b, what) == 3)
		return instance(g, a, b, what);
	else if (sscanf(line, "destroy %*d %u", &a) == 1) {
		for (int i = 0; i < MAX_INSTANCES; i++)
			if (g->instances[i].instance == a)
				g->instances[i].there = false;
	} else if (sscanf(line, "xid %*d %u %u", &a, &b) == 2)
		return xid(g, a, b);
	else if (sscanf(line, "xid %*d - %u", &b) == 1)
		return xid(g, ~0u, b);
	else
		return -1;
	return 0;
}

/* wlnvml_set plays one line:
 *   gpus N US                     begin anew with N GPUs at an instant (µs since 1970); GPU i draws 100 + 50 i W
 *   now US                        play until then
 *   wall                          be on the machine's clock from now on, as the library is when nobody drives it
 *   skew US                       time stamps are that much ahead of the play
 *   driver 0|1                    unload or load the driver: handles die, counters begin at 0
 *   power GPU MW, busy GPU PCT    from now on
 *   frozen GPU 0|1                the energy counter stands still
 *   falls GPU                     it begins at 0
 *   stale GPU FIELD 0|1           a field keeps the value and the time stamp that it has when it is read next
 *   lost GPU CODE                 every call ends with it; 0 brings the GPU back
 *   fail GPU|* CALL|FIELD CODE    a call by its name, or a field by its number, ends with it; 0 takes the fault away
 *   zero GPU 185|186              the power is 0, and all is said to be well
 *   mig GPU 0|1, instance GPU ID SLICES PROFILE, destroy GPU ID
 *   xid GPU ID|- NUMBER           of an instance, or of the GPU
 * It gives 0, or -1 for a line that it does not understand. */
EXPORT int wlnvml_set(const char *line)
{
	pthread_mutex_lock(&mu);
	int rc = set(line);
	pthread_mutex_unlock(&mu);
	return rc;
}

/* wlnvml_open is how many event sets and samples of GPM are allocated: what a client forgot to free. */
EXPORT int wlnvml_open(void)
{
	pthread_mutex_lock(&mu);
	int n = sim.events + sim.samples;
	pthread_mutex_unlock(&mu);
	return n;
}
